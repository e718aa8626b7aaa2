//! Whom a device believes: the numbered anchors document with its roles, thresholds and algorithms.
//!
//! [`Anchors::initial`] reads the document that a device is born with, which must at least agree with itself;
//! [`Anchors::replacing`] reads its successor, signed by enough of the old and of the new root keys.

mod verify;
#[cfg(feature = "author")]
mod write;

pub use verify::{Count, Standing};
#[cfg(feature = "author")]
pub use write::{AnchorsDraft, RoleDraft, WriteError, cosign};

use crate::cbor::{CborError, KeyOrder, Kind, Reader};
use crate::cose::sign1::{CoseError, SignatureError};
use crate::cose::{Algorithm, KeyId, PublicKey};
use crate::envelope::{Authors, Signers};
use crate::manifest::ComponentId;
use thiserror::Error;

/// Roles of one document: root, distributor, operator, and an author for each of 13 component prefixes.
pub const ROLES_MAX: usize = 16;
/// Keys of one role.
pub const ROLE_KEYS_MAX: usize = 16;
/// `External_aad` of the document.
pub const ANCHORS_AAD: &[u8] = b"bw1 anchors";

/// Why a document is not believed. Keep the one that is there.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum AnchorsError {
    /// Not deterministic CBOR of the shape of an anchors document.
    #[error("not an anchors document")]
    Cbor(#[from] CborError),
    /// Not a `COSE_Sign` of our form.
    #[error("not a signed anchors document")]
    Cose(#[from] CoseError),
    /// A version that is not known here.
    #[error("anchors version {0} is not known")]
    Version(u64),
    /// An option that is not known here.
    #[error("anchors option {0} is not known")]
    Option(i64),
    /// A role of an unknown name, too many roles, or not exactly one root role.
    #[error("roles are unknown, too many, or without exactly one root")]
    Roles,
    /// A role's threshold is 0 or above its number of keys, its keys are too many, doubled, or none of P-256, or it
    /// lists no algorithm.
    #[error("a role's threshold, keys or algorithms are not valid")]
    Role,
    /// A signer of a root role did not verify: altered.
    #[error("a root signature is wrong")]
    Signature(#[from] SignatureError),
    /// Fewer distinct root keys signed than the role asks for.
    #[error("fewer root keys signed than the threshold asks for")]
    Threshold,
    /// The edition is not above the one that is to be replaced.
    #[error("edition {0} is not newer")]
    Edition(u64),
    /// The document speaks for another vendor.
    #[error("the document speaks for another vendor")]
    Vendor,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RoleName {
    /// Sign the next anchors.
    Root,
    /// Sign manifests for the role's components.
    Author,
    /// Sign descriptors, grants and bundles.
    Distributor,
    /// Approve campaigns.
    Operator,
}

impl RoleName {
    /// Gives the name in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Author => "author",
            Self::Distributor => "distributor",
            Self::Operator => "operator",
        }
    }

    fn from_text(name: &str) -> Option<Self> {
        [Self::Root, Self::Author, Self::Distributor, Self::Operator]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

/// An anchors document whose signatures were right. Borrows from it.
#[derive(Clone, Copy, Debug)]
pub struct Anchors<'a> {
    edition: u64,
    issued: u64,
    vendor: &'a [u8; 16],
    roles: &'a [u8],
    role_count: usize,
}

/// One role of a document.
#[derive(Clone, Copy, Debug)]
pub struct Role<'a> {
    name: RoleName,
    threshold: u64,
    keys: &'a [u8],
    key_count: usize,
    components: &'a [u8],
    component_count: usize,
    algorithms: &'a [u8],
    algorithm_count: usize,
}

impl<'a> Anchors<'a> {
    /// Reads the payload of a signed document; the caller proves it.
    fn parse(payload: &'a [u8]) -> Result<Self, AnchorsError> {
        let mut reader = Reader::new(payload);
        let elements = reader.array()?;
        match reader.uint()? {
            1 if elements == 6 => {}
            1 => return Err(CborError::Range.into()),
            other => return Err(AnchorsError::Version(other)),
        }
        let (edition, issued, vendor) = (reader.uint()?, reader.uint()?, reader.bytes_exact()?);
        let role_count = reader.array()?;
        let start = reader.position();
        if role_count > ROLES_MAX {
            return Err(AnchorsError::Roles);
        }
        for _ in 0..role_count {
            Role::read(&mut reader)?;
        }
        let anchors = Self { edition, issued, vendor, roles: reader.since(start), role_count };
        read_options(&mut reader)?;
        reader.finish()?;
        if anchors.named(RoleName::Root).count() == 1 { Ok(anchors) } else { Err(AnchorsError::Roles) }
    }

    /// Gives the number of the document; a higher one replaces it.
    #[must_use]
    pub const fn edition(&self) -> u64 {
        self.edition
    }

    /// Gives the time of issue, seconds since 1970: author-signed, so a floor for the device's clock.
    #[must_use]
    pub const fn issued(&self) -> u64 {
        self.issued
    }

    /// Gives the vendor that the document speaks for.
    #[must_use]
    pub const fn vendor(&self) -> &'a [u8; 16] {
        self.vendor
    }

    /// Walks over the roles.
    pub fn roles(&self) -> impl Iterator<Item = Role<'a>> + use<'a> {
        let mut reader = Reader::new(self.roles);
        // Read once already, with every check.
        (0..self.role_count).map_while(move |_| Role::read(&mut reader).ok())
    }

    fn named(&self, name: RoleName) -> impl Iterator<Item = Role<'a>> + use<'a> {
        self.roles().filter(move |role| role.name == name)
    }

    /// Walks over the keys that may sign manifests for `component`, alone or with others.
    pub fn author_keys(&self, component: &ComponentId<'_>) -> impl Iterator<Item = PublicKey> {
        self.named(RoleName::Author).filter(|role| role.covers(component)).flat_map(|role| role.keys())
    }

    /// Walks over the keys that may sign descriptors, grants and bundles.
    pub fn distributor_keys(&self) -> impl Iterator<Item = PublicKey> + use<'a> {
        self.named(RoleName::Distributor).flat_map(|role| role.keys())
    }

    /// Gives the distributor's key with this id.
    #[must_use]
    pub fn distributor(&self, kid: KeyId) -> Option<PublicKey> {
        self.distributor_keys().find(|key| key.kid() == kid)
    }

    /// Tells whether the distributor may use this content or wrap algorithm, by its COSE number.
    #[must_use]
    pub fn allows(&self, algorithm: i64) -> bool {
        self.named(RoleName::Distributor).any(|role| role.allows(algorithm))
    }
}

/// Authors by component prefix, threshold and algorithm.
impl Authors for Anchors<'_> {
    fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.named(RoleName::Author).flat_map(|role| role.keys())
    }

    fn authorises(&self, component: &ComponentId<'_>, signers: &Signers) -> bool {
        let signed = |role: &Role<'_>, kid: KeyId| {
            signers.iter().any(|(signer, algorithm)| signer == kid && role.allows(algorithm.label()))
        };
        self.named(RoleName::Author)
            .filter(|role| role.covers(component))
            .any(|role| role.reaches_threshold(|kid| signed(&role, kid)))
    }
}

impl<'a> Role<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, AnchorsError> {
        reader.array_of(5)?;
        let name = RoleName::from_text(reader.text()?).ok_or(AnchorsError::Roles)?;
        let threshold = reader.uint()?;
        let (key_count, keys) = list(reader, |reader| {
            PublicKey::parse(reader.item()?).map(drop).map_err(|_| AnchorsError::Role)
        })?;
        let (component_count, components) =
            list(reader, |reader| match ComponentId::read(reader)?.parts().next() {
                Some(_) => Ok(()),
                None => Err(AnchorsError::Role),
            })?;
        let (algorithm_count, algorithms) = list(reader, |reader| Ok(reader.int().map(|_| ())?))?;
        let role = Self {
            name,
            threshold,
            keys,
            key_count,
            components,
            component_count,
            algorithms,
            algorithm_count,
        };
        if role.is_valid() { Ok(role) } else { Err(AnchorsError::Role) }
    }

    fn is_valid(&self) -> bool {
        let doubled = self.keys().enumerate().any(|(n, key)| self.keys().take(n).any(|other| other == key));
        (1..=self.key_count as u64).contains(&self.threshold)
            && self.key_count <= ROLE_KEYS_MAX
            && self.algorithm_count > 0
            && !doubled
    }

    /// Gives the name.
    #[must_use]
    pub const fn name(&self) -> RoleName {
        self.name
    }

    /// Gives the number of distinct keys that must sign.
    #[must_use]
    pub const fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Walks over the keys.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> + use<'a> {
        let mut reader = Reader::new(self.keys);
        (0..self.key_count).map_while(move |_| PublicKey::parse(reader.item().ok()?).ok())
    }

    /// Walks over the component prefixes.
    pub fn components(&self) -> impl Iterator<Item = ComponentId<'a>> + use<'a> {
        let mut reader = Reader::new(self.components);
        (0..self.component_count).map_while(move |_| ComponentId::read(&mut reader).ok())
    }

    /// Walks over the COSE numbers of the algorithms.
    pub fn algorithms(&self) -> impl Iterator<Item = i64> + use<'a> {
        let mut reader = Reader::new(self.algorithms);
        (0..self.algorithm_count).map_while(move |_| reader.int().ok())
    }

    /// Tells whether the role lists the algorithm.
    #[must_use]
    pub fn allows(&self, algorithm: i64) -> bool {
        self.algorithms().any(|listed| listed == algorithm)
    }

    /// Tells whether one of the role's prefixes fits. A role without components may sign for none.
    #[must_use]
    pub fn covers(&self, component: &ComponentId<'_>) -> bool {
        self.components().any(|prefix| component.starts_with(&prefix))
    }

    /// Counts distinct keys: the role's keys are distinct, and each counts once however often it signed.
    fn reaches_threshold(&self, signed: impl Fn(KeyId) -> bool) -> bool {
        let count = self.keys().filter(|key| signed(key.kid())).count();
        count as u64 >= self.threshold
    }

    fn key(&self, kid: KeyId) -> Option<PublicKey> {
        self.keys().find(|key| key.kid() == kid)
    }

    fn allows_signatures(&self) -> bool {
        self.allows(Algorithm::Esp256.label())
    }
}

/// Reads an array whose elements `read` accepts; gives their number and their bytes.
fn list<'a>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<(), AnchorsError>,
) -> Result<(usize, &'a [u8]), AnchorsError> {
    let count = reader.array()?;
    let start = reader.position();
    (0..count).try_for_each(|_| read(reader))?;
    Ok((count, reader.since(start)))
}

fn read_options(reader: &mut Reader<'_>) -> Result<(), AnchorsError> {
    if reader.kind()? != Kind::Map {
        return Err(CborError::Type.into());
    }
    let mut order = KeyOrder::default();
    for _ in 0..reader.map()? {
        match order.next(reader)? {
            key if key >= 0 => return Err(AnchorsError::Option(key)),
            _ => drop(reader.item()?),
        }
    }
    Ok(())
}
