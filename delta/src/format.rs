//! Numbers and bounds that makers and appliers of patches agree on.
//!
//! # Algorithm -1
//!
//! The patch is one range-coded bit stream ([`Algorithm::COPY_INSERT`]), without a header: sizes and
//! algorithm stand in the descriptor of the resource. It is a sequence of rounds until the target is
//! complete; each decision is one bit under an adaptive probability, see `model.rs`.
//!
//! | field | coded as | meaning |
//! |---|---|---|
//! | copy length | number | bytes taken from the base, may be 0 |
//! | shift | number, zigzag; only after a copy length above 0 | change of (base position - target position) |
//! | copied bytes | hit flag each; after a miss the byte of the target | |
//! | insert length | number; only if the target is not complete | bytes that follow, may be 0, not both |
//! | inserted bytes | eight bits each, high bit first | |
//!
//! A number n is written as the position of the highest set bit of n + 1 in unary, then the bits below it.

use crate::PatchError;

/// Patch algorithm by its number, as descriptors and characteristic -306 carry it.
///
/// Negative numbers are this project's own. Wire numbers: never reorder, never reuse.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Algorithm(pub i32);

impl Algorithm {
    /// Copies with differences and inserts, range-coded. Takes no parameters.
    pub const COPY_INSERT: Self = Self(-1);

    /// Every algorithm that [`crate::Patcher`] applies: what a device lists as characteristic -306.
    pub const ALL: &'static [Self] = &[Self::COPY_INSERT];

    /// Checks a number and the parameters that come with it.
    ///
    /// # Errors
    ///
    /// [`PatchError::UnknownAlgorithm`], [`PatchError::Parameters`].
    pub const fn parse(number: i32, parameters: &[u8]) -> Result<Self, PatchError> {
        match Self(number) {
            Self::COPY_INSERT if parameters.is_empty() => Ok(Self::COPY_INSERT),
            Self::COPY_INSERT => Err(PatchError::Parameters),
            Self(_) => Err(PatchError::UnknownAlgorithm(number)),
        }
    }
}

/// Largest base or target, in bytes: 256 MiB, so that every number of a patch fits 31 bits.
pub const IMAGE_BYTES_MAX: u32 = 1 << 28;

/// Returns the RAM that applying takes, in bytes: the patcher itself, not the stack it is called on.
///
/// # Errors
///
/// [`PatchError::UnknownAlgorithm`], [`PatchError::Parameters`].
pub const fn ram_bytes(algorithm: i32, parameters: &[u8]) -> Result<u32, PatchError> {
    match Algorithm::parse(algorithm, parameters) {
        Ok(_) => Ok(PATCHER_BYTES),
        Err(error) => Err(error),
    }
}

/// Highest bit of a number plus one: a zigzag shift between two alignments is below 2^30.
pub(crate) const NUMBER_WIDTH_MAX: u8 = 30;

/// What descriptors announce; the patcher is checked against it when the crate is built.
pub(crate) const PATCHER_BYTES: u32 = 8 * 1024;
const _: () = assert!(size_of::<crate::Patcher>() <= PATCHER_BYTES as usize);
