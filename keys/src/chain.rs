//! The key chain: later keys are earlier links, so that a leaked one opens nothing that comes after it.
//!
//! `K_N` is the seed, `K_i = SHA-256("bw1" ‖ K_(i+1))`; index i is 0 to N - 1.

use bellwether_manifests::cbor::told;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::secret::Secret;
use crate::seed::Seed;

/// Number of links of a chain, 1 to 4096.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ChainLength(u16);

/// Link of a chain: it gives the keys at its index and at every lower one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    index: u16,
    secret: Secret<LINK_BYTES>,
}

/// Why there is no such link.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ChainError {
    /// A chain has 1 to 4096 links.
    #[error("a chain has 1 to 4096 links, not {0}")]
    Length(u16),
    /// The index is past the end of the chain: the identity must be re-seeded.
    #[error("index {0} is past the end of the chain")]
    PastEnd(u16),
    /// A link gives only the ones before it.
    #[error("index {wanted} comes after the link at {link}")]
    Later {
        /// Index of the link.
        link: u16,
        /// Index that was asked for.
        wanted: u16,
    },
}

impl ChainLength {
    /// Longest chain, by the protocol: 4,096 hashes are what a small device can do in a second.
    pub const MAX: u16 = 4096;

    /// Length unless the identity says otherwise.
    pub const DEFAULT: Self = Self(1024);

    /// Number of links.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The last index; a grant there must re-seed.
    #[must_use]
    pub const fn last_index(self) -> u16 {
        self.0 - 1
    }

    /// Index of the spaced link from which `index` is reached in the fewest steps, see [`spaced_links`].
    #[must_use]
    pub const fn spaced_index(self, index: u16) -> u16 {
        let spaced = index | (SPACING - 1);
        if spaced < self.last_index() { spaced } else { self.last_index() }
    }
}

impl Default for ChainLength {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl TryFrom<u64> for ChainLength {
    type Error = ChainError;

    fn try_from(length: u64) -> Result<Self, ChainError> {
        match u16::try_from(length) {
            Ok(links @ 1..=Self::MAX) => Ok(Self(links)),
            _ => Err(ChainError::Length(told(length))),
        }
    }
}

impl Link {
    /// Takes a link that was stored.
    #[must_use]
    pub const fn new(index: u16, secret: [u8; LINK_BYTES]) -> Self {
        Self { index, secret: Secret::new(secret) }
    }

    /// Its place in the chain.
    #[must_use]
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// Shows the bytes to a derivation, or to what stores them sealed.
    #[must_use]
    pub const fn expose(&self) -> &[u8; LINK_BYTES] {
        self.secret.expose()
    }

    /// Walks to the link at `index`, with one hash for every step.
    ///
    /// # Errors
    ///
    /// [`ChainError::Later`] for an index above this link's own.
    pub fn earlier(&self, index: u16) -> Result<Self, ChainError> {
        if index > self.index {
            return Err(ChainError::Later { link: self.index, wanted: index });
        }
        let mut link = self.clone();
        while link.index > index {
            link.step();
        }
        Ok(link)
    }

    fn step(&mut self) {
        hash_in_place(&mut self.secret);
        self.index -= 1;
    }
}

/// Computes the link at `index` of the chain of `length` links that starts at `seed`.
///
/// # Errors
///
/// [`ChainError::PastEnd`] for an index that the chain does not have.
pub fn link(seed: &Seed, index: u16, length: ChainLength) -> Result<Link, ChainError> {
    if index > length.last_index() {
        return Err(ChainError::PastEnd(index));
    }
    last_link(seed, length).earlier(index)
}

/// Computes the link at the last index.
#[must_use]
pub fn last_link(seed: &Seed, length: ChainLength) -> Link {
    let mut secret = Secret::new(*seed.expose());
    hash_in_place(&mut secret);
    Link { index: length.last_index(), secret }
}

/// Walks the whole chain once and gives the links from which every index is reached in less than [`SPACING`] steps.
///
/// They come from the last index down: the last one itself, then every index that is one below a multiple of the
/// spacing. Which of them serves an index says [`ChainLength::spaced_index`].
pub fn spaced_links(seed: &Seed, length: ChainLength) -> impl Iterator<Item = Link> {
    let mut next = Some(last_link(seed, length));
    core::iter::from_fn(move || {
        let link = next.take()?;
        let below = link.index - link.index % SPACING;
        next = below.checked_sub(1).and_then(|index| link.earlier(index).ok());
        Some(link)
    })
}

fn hash_in_place(secret: &mut Secret<LINK_BYTES>) {
    let hash = Sha256::new().chain_update(b"bw1").chain_update(secret.expose());
    hash.finalize_into(secret.expose_mut().into());
}

/// Bytes of a link: a SHA-256 digest.
pub const LINK_BYTES: usize = 32;

/// Distance of stored links: 16 of them for the usual chain, and 63 hashes at most for a key.
pub const SPACING: u16 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn seed() -> Seed {
        Seed::new([7; 32])
    }

    #[test]
    fn length_zero_and_past_4096_are_refused() {
        for (length, told) in [(0, 0), (4097, 4097), (65537, u16::MAX)] {
            assert_eq!(ChainLength::try_from(length), Err(ChainError::Length(told)));
        }
        assert_eq!(ChainLength::try_from(4096).unwrap().last_index(), 4095);
    }

    #[test]
    fn index_past_the_end_has_no_link() {
        assert_eq!(link(&seed(), 1024, ChainLength::DEFAULT), Err(ChainError::PastEnd(1024)));
    }

    #[test]
    fn link_does_not_lead_to_a_later_one() {
        let early = link(&seed(), 5, ChainLength::DEFAULT).unwrap();
        assert_eq!(early.earlier(6), Err(ChainError::Later { link: 5, wanted: 6 }));
    }

    #[test]
    fn spaced_links_of_the_usual_chain_are_sixteen() {
        let indices: Vec<u16> =
            spaced_links(&seed(), ChainLength::DEFAULT).map(|link| link.index()).collect();
        let expected: Vec<u16> = (0..16).rev().map(|block| block * 64 + 63).collect();
        assert_eq!(indices, expected);
    }

    proptest! {
        #[test]
        fn every_index_is_reached_from_its_spaced_link(length in 1u64..300, index: u16) {
            let length = ChainLength::try_from(length).unwrap();
            let index = index % length.get();
            let spaced: Vec<Link> = spaced_links(&seed(), length).collect();
            let from = spaced.iter().find(|link| link.index() == length.spaced_index(index)).unwrap();
            prop_assert!(from.index() - index < SPACING);
            prop_assert_eq!(from.earlier(index), link(&seed(), index, length));
        }
    }
}
