//! What a device answered to the characteristic definition, as far as resolution needs it.

use bellwether_decide::release::Class;
use bellwether_decide::resolve::{Question, Target as Wanted};
use bellwether_manifests::cbor::{CborError, Reader};
use bellwether_manifests::definition::{
    CLASS_ID, FREE_STAGING_BYTES, IMAGE_DIGEST, PATCH_ALGORITHMS, VENDOR_ID,
};
use bellwether_manifests::message::algorithm::SHA_256;
use bellwether_manifests::message::{Selector, StableAnswers, UpdateRequest};
use bellwether_store::Digest;

use crate::book::Target;

/// Answers of one request, read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answers {
    /// Vendor and class (1, 2), where it told both.
    pub class: Option<Class>,
    /// Installed image per component (3).
    pub running: Vec<(u64, Digest)>,
    /// Patch algorithms that it applies (-306).
    pub algorithms: Vec<i64>,
    /// Free bytes for staging (-307), for the component that told its own, or else (`None`) for whichever.
    pub staging_bytes: Vec<(Option<u64>, u64)>,
}

impl Answers {
    /// Reads the answers of a request; `None` where one has another type than its characteristic.
    #[must_use]
    pub fn read(request: &UpdateRequest<'_>) -> Option<Self> {
        let mut staging_bytes = Vec::new();
        for scope in request.volatile {
            if let Some(value) = scope.answers.get(FREE_STAGING_BYTES) {
                staging_bytes.push((scope.component.map(u64::from), read_uint(value).ok()?));
            }
        }
        Some(Self { staging_bytes, ..Self::of(&request.selector)? })
    }

    /// Reads the answers of a selector, which has none that are volatile.
    #[must_use]
    pub fn of(selector: &Selector<'_>) -> Option<Self> {
        let device = |id| selector.answer(None, id);
        let uuid = |id| device(id).map(read_uuid).transpose();
        let class = match (uuid(VENDOR_ID).ok()?, uuid(CLASS_ID).ok()?) {
            (Some(vendor), Some(class)) => Some(Class { vendor, class }),
            _ => None,
        };
        let mut running = Vec::new();
        for scope in selector.scopes {
            if let (Some(component), Some(value)) = (scope.component, scope.answers.get(IMAGE_DIGEST)) {
                running.push((u64::from(component), read_digest(value).ok()?));
            }
        }
        let algorithms = device(PATCH_ALGORITHMS).map(read_numbers).transpose().ok()?.unwrap_or_default();
        Some(Self { class, running, algorithms, staging_bytes: Vec::new() })
    }

    /// Reads what a device told of itself when it registered.
    #[must_use]
    pub fn told(told: &StableAnswers<'_>) -> Option<Self> {
        let device = told.scopes.into_iter().find(|scope| scope.component.is_none());
        let algorithms = device.and_then(|scope| scope.answers.get(PATCH_ALGORITHMS));
        let algorithms = algorithms.map(read_numbers).transpose().ok()?.unwrap_or_default();
        let mut running = Vec::new();
        for scope in told.scopes {
            if let (Some(component), Some(value)) = (scope.component, scope.answers.get(IMAGE_DIGEST)) {
                running.push((u64::from(component), read_digest(value).ok()?));
            }
        }
        Some(Self { class: None, running, algorithms, staging_bytes: Vec::new() })
    }

    /// Puts the answers as the question about one component.
    #[must_use]
    pub fn question(&self, class: Class, target: &Target) -> Question {
        let component = u64::from(target.component);
        let staging = |of: Option<u64>| self.staging_bytes.iter().find(|(scope, _)| *scope == of);
        let staging = staging(Some(component)).or_else(|| staging(None));
        let running = self.running.iter().find(|(index, _)| *index == component).map(|(_, digest)| *digest);
        Question {
            class,
            component: target.id.clone(),
            target: Some(Wanted { digest: target.digest, size: target.size }),
            running,
            algorithms: self.algorithms.clone(),
            staging_bytes: staging.map(|(_, bytes)| *bytes),
            // No characteristic carries it: devices list only algorithms that they have the memory for.
            patch_ram_bytes: None,
        }
    }
}

/// Byte string of 16 bytes.
fn read_uuid(value: &[u8]) -> Result<[u8; 16], CborError> {
    let mut reader = Reader::new(value);
    let uuid = *reader.bytes_exact()?;
    reader.finish()?;
    Ok(uuid)
}

/// Byte string that holds a `SUIT_Digest`.
fn read_digest(value: &[u8]) -> Result<Digest, CborError> {
    let mut outer = Reader::new(value);
    let mut inner = Reader::new(outer.bytes()?);
    outer.finish()?;
    inner.array_of(2)?;
    if inner.int()? != SHA_256 {
        return Err(CborError::Type);
    }
    let digest = *inner.bytes_exact()?;
    inner.finish()?;
    Ok(digest)
}

/// Byte string that holds an array of integers.
fn read_numbers(value: &[u8]) -> Result<Vec<i64>, CborError> {
    let mut outer = Reader::new(value);
    let mut inner = Reader::new(outer.bytes()?);
    outer.finish()?;
    let count = inner.array()?;
    let numbers = (0..count).map(|_| inner.int()).collect::<Result<Vec<_>, _>>()?;
    inner.finish()?;
    Ok(numbers)
}

fn read_uint(value: &[u8]) -> Result<u64, CborError> {
    let mut reader = Reader::new(value);
    let number = reader.uint()?;
    reader.finish()?;
    Ok(number)
}
