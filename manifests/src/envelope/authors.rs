//! Who may sign for what, and who did.

use super::BLOCKS_MAX;
use crate::cose::{Algorithm, KeyId, PublicKey};
use crate::manifest::ComponentId;

/// Who may sign for what. [`crate::anchors::Anchors`] implements it, and a list of keys that may sign for all.
pub trait Authors {
    /// Walks over the keys of all authors.
    fn keys(&self) -> impl Iterator<Item = PublicKey>;

    /// Tells whether `signers`, whose signatures were right, are enough for `component`.
    fn authorises(&self, component: &ComponentId<'_>, signers: &Signers) -> bool;
}

/// A list of keys, each of which may sign for every component.
impl Authors for [PublicKey] {
    fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.iter().copied()
    }

    fn authorises(&self, _: &ComponentId<'_>, signers: &Signers) -> bool {
        signers.iter().next().is_some()
    }
}

/// Keys whose signatures on a manifest were right.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signers {
    found: [Option<(KeyId, Algorithm)>; BLOCKS_MAX],
}

impl Signers {
    /// Walks over the ids of the keys and the algorithms they used.
    pub fn iter(&self) -> impl Iterator<Item = (KeyId, Algorithm)> + '_ {
        self.found.iter().flatten().copied()
    }

    pub(super) fn add(&mut self, kid: KeyId, algorithm: Algorithm) {
        if let Some(free) = self.found.iter_mut().find(|found| found.is_none()) {
            *free = Some((kid, algorithm));
        }
    }
}
