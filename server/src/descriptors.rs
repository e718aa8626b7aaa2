//! What the distributor signs: descriptors, once per selector, equal for all devices with equal selectors; and grants
//! with shares.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bellwether_decide::key_index::CLOCK_AHEAD_S_MAX;
use bellwether_manifests::cbor;
use bellwether_manifests::cose::{PrivateKey, PublicKey, sign1};
use bellwether_manifests::message::descriptor::{Chain, Descriptor, Patch, Resource, ResourceKind};
use bellwether_manifests::message::{Bundle, Grant, List, Skipped, word};
use bellwether_store::Digest;
use bellwether_store::catalogue;
use thiserror::Error;

use crate::frames;

/// What a descriptor says, as far as it is not the same for every selector.
#[derive(Clone, Debug)]
pub struct Described {
    /// Index of the component in the manifest.
    pub component: u32,
    /// Digest of the image that the device ends with.
    pub installed: Digest,
    /// The bytes.
    pub resource: catalogue::Resource,
    /// Digest and patch algorithm of the base, for a delta.
    pub base: Option<catalogue::Base>,
}

/// By which clocks a descriptor is looked at, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The clock here.
    pub now: u64,
    /// The later of it and that of the device that asks.
    pub judged_at: u64,
}

impl Times {
    /// For whoever goes by the clock here.
    #[must_use]
    pub fn at(now: u64) -> Self {
        Self { now, judged_at: now }
    }

    /// For a device that tells what its clock says, as far as a grant is given by it.
    #[must_use]
    pub fn with(now: u64, clock: Option<u64>) -> Self {
        let latest = now.saturating_add(CLOCK_AHEAD_S_MAX);
        Self { now, judged_at: clock.unwrap_or(now).clamp(now, latest) }
    }
}

/// Why no descriptor was made.
#[derive(Debug, Error)]
pub enum DescriptorError {
    /// A value is out of the bounds of the message.
    #[error("the descriptor can't be written")]
    Encode(#[from] cbor::EncodeError),
    /// The anchors in force do not list the key: no device would believe it.
    #[error(
        "the anchors in force do not list this server's key; publish anchors that list the one of `bellwether keys distributor`"
    )]
    NotListed,
    /// A size is out of the bounds of the message.
    #[error("the block size {0} is none of frames")]
    Block(u32),
}

/// Signs descriptors and keeps the newest in memory.
pub struct Descriptors {
    key: PrivateKey,
    listed: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    signed: HashMap<(Digest, Vec<Digest>), Signed>,
    order: VecDeque<(Digest, Vec<Digest>)>,
}

#[derive(Clone)]
struct Signed {
    message: Arc<[u8]>,
    expires: u64,
}

impl Descriptors {
    /// Signs with this key.
    #[must_use]
    pub fn new(key: PrivateKey) -> Self {
        Self { key, listed: AtomicBool::new(false), kept: Mutex::default() }
    }

    /// The public half of the key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// Keeps whether the anchors in force list the key; until they do, nothing is signed.
    pub fn set_listed(&self, listed: bool) {
        self.listed.store(listed, Ordering::Release);
    }

    /// Tells whether the anchors in force list the key.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    /// Gives the signed descriptor for a selector and its contents.
    ///
    /// # Errors
    ///
    /// [`DescriptorError`].
    pub fn signed(
        &self,
        manifest: &Digest,
        selector: &Digest,
        described: &[Described],
        times: Times,
    ) -> Result<Arc<[u8]>, DescriptorError> {
        if !self.is_listed() {
            return Err(DescriptorError::NotListed);
        }
        let contents = described.iter().map(|described| described.resource.content).collect();
        let name = (*selector, contents);
        let known = self.locked().signed.get(&name).cloned();
        if let Some(signed) = known.filter(|signed| signed.expires > times.judged_at + FRESH_S) {
            return Ok(signed.message);
        }
        let expires = times.judged_at + LIFETIME_S;
        let message: Arc<[u8]> = self.sign(manifest, selector, described, (times.now, expires))?.into();
        // One that outlives the others was asked for by a device whose clock is ahead. It is made for that request, and not
        // handed to those whose clock is right; without a grant it is of no use to them.
        if times.judged_at == times.now {
            self.locked().keep(name, Signed { message: Arc::clone(&message), expires });
        }
        Ok(message)
    }

    /// Signs a grant that carries shares for the next seed.
    ///
    /// # Errors
    ///
    /// [`DescriptorError::Encode`] where it breaks a bound.
    pub fn sign_grant(&self, grant: &Grant<'_>) -> Result<Vec<u8>, DescriptorError> {
        Ok(sign1(&cbor::to_vec(grant)?, &[word::GRANT], &self.key))
    }

    /// Signs a bundle; `None` while the anchors in force do not list the key.
    ///
    /// # Errors
    ///
    /// [`cbor::EncodeError`] for a bundle that no gateway would read.
    pub fn sign_bundle(&self, bundle: &Bundle<'_>) -> Result<Option<Vec<u8>>, cbor::EncodeError> {
        if !self.is_listed() {
            return Ok(None);
        }
        bundle.sign(&self.key).map(Some)
    }

    fn sign(
        &self,
        manifest: &Digest,
        selector: &Digest,
        described: &[Described],
        (issued, expires): (u64, u64),
    ) -> Result<Vec<u8>, DescriptorError> {
        let locations: Vec<String> =
            described.iter().map(|described| frames::location(&described.resource.root)).collect();
        let locations: Vec<[&str; 1]> = locations.iter().map(|location| [location.as_str()]).collect();
        let resources: Result<Vec<_>, _> = described
            .iter()
            .zip(&locations)
            .map(|(described, location)| resource(described, location))
            .collect();
        let resources = resources?;
        let descriptor = Descriptor {
            manifest,
            selector,
            issued,
            expires,
            resources: List::new(&resources),
            skipped: Skipped::default(),
        };
        Ok(sign1(&cbor::to_vec(&descriptor)?, &[word::DESCRIPTOR], &self.key))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, name: (Digest, Vec<Digest>), signed: Signed) {
        if self.signed.insert(name.clone(), signed).is_none() {
            self.order.push_back(name);
        }
        while self.order.len() > KEPT_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.signed.remove(&oldest);
            }
        }
    }
}

fn resource<'a>(
    described: &'a Described,
    locations: &'a [&'a str; 1],
) -> Result<Resource<'a>, DescriptorError> {
    let made = &described.resource;
    let patch = described.base.as_ref().zip(made.patch.as_ref()).map(|(base, patch)| Patch {
        algorithm: base.algorithm,
        precursor: &base.digest,
        precursor_bytes: patch.base_size,
        ram_bytes: patch.ram,
        parameters: &patch.parameters,
    });
    Ok(Resource {
        component: described.component,
        kind: if patch.is_some() { ResourceKind::Delta } else { ResourceKind::Full },
        content: &made.content,
        content_bytes: made.content_size,
        plain: &made.plain,
        plain_bytes: made.plain_size,
        installed: &described.installed,
        installed_bytes: made.target_size,
        chain: Chain {
            block_bytes: u16::try_from(made.block).map_err(|_| DescriptorError::Block(made.block))?,
            root: &made.root,
        },
        locations: List::new(locations),
        patch,
        inline: None,
    })
}

/// Seconds that a descriptor can be used: a month, as it opens nothing by itself.
const LIFETIME_S: u64 = 30 * 86_400;
/// Seconds that a descriptor from memory must still have: a week, the default life of a grant.
const FRESH_S: u64 = 7 * 86_400;
/// Descriptors in memory, about 600 bytes each: 2.4 MiB.
const KEPT_MAX: usize = 4_096;
