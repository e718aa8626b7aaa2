//! Numbers and bounds that makers and appliers of patches agree on. The format itself is in `FORMAT.md`.

use crate::PatchError;

/// Patch algorithm by its number, as descriptors and characteristic -306 carry it.
///
/// Negative numbers are this project's own. Wire numbers: never reorder, never reuse. -1 was the first format,
/// which no version makes or applies any more.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Algorithm(pub i32);

impl Algorithm {
    /// Copies whose fields follow what they point to, and literals. Takes no parameters, and 8 KiB.
    pub const FIELDS: Self = Self(-2);

    /// Every algorithm that [`crate::Patcher`] applies: what a device lists as characteristic -306.
    pub const ALL: &'static [Self] = &[Self::FIELDS];

    /// Checks a number and the parameters that come with it.
    ///
    /// # Errors
    ///
    /// [`PatchError::UnknownAlgorithm`], [`PatchError::Parameters`].
    pub const fn parse(number: i32, parameters: &[u8]) -> Result<Self, PatchError> {
        match Self(number) {
            Self::FIELDS if parameters.is_empty() => Ok(Self::FIELDS),
            Self::FIELDS => Err(PatchError::Parameters),
            Self(_) => Err(PatchError::UnknownAlgorithm(number)),
        }
    }
}

/// RAM that applying a patch takes, buffers included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub enum Profile {
    /// 4 KiB.
    Kib4 = 0,
    /// 8 KiB.
    #[default]
    Kib8 = 1,
    /// 16 KiB.
    Kib16 = 2,
}

impl Profile {
    /// Words of state that patches of the profile use.
    #[must_use]
    pub const fn words(self) -> usize {
        match self {
            Self::Kib4 => WORDS_4,
            Self::Kib8 => WORDS_8,
            Self::Kib16 => WORDS_16,
        }
    }

    /// Bytes that a patcher of the profile takes at most.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        4096 << self as u32
    }

    pub(crate) const fn numbered(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Kib4),
            1 => Some(Self::Kib8),
            2 => Some(Self::Kib16),
            _ => None,
        }
    }
}

/// Bytes of a patcher besides the words of its state: buffers, history, digest.
const BESIDES_BYTES: usize = 1408;

/// Words of state in 4 KiB.
pub const WORDS_4: usize = (4096 - BESIDES_BYTES) / 2;
/// Words of state in 8 KiB.
pub const WORDS_8: usize = (8192 - BESIDES_BYTES) / 2;
/// Words of state in 16 KiB.
pub const WORDS_16: usize = (16_384 - BESIDES_BYTES) / 2;

/// Largest base or target, in bytes: 256 MiB, so that every number of a patch fits 31 bits.
pub const IMAGE_BYTES_MAX: u32 = 1 << 28;

/// Returns the RAM that applying takes, in bytes: the patcher itself, not the stack it is called on.
///
/// # Errors
///
/// [`PatchError::UnknownAlgorithm`], [`PatchError::Parameters`].
pub const fn ram_bytes(algorithm: i32, parameters: &[u8]) -> Result<u32, PatchError> {
    match Algorithm::parse(algorithm, parameters) {
        Ok(_) => Ok(Profile::Kib8.bytes()),
        Err(error) => Err(error),
    }
}

const _: () = assert!(size_of::<crate::PatcherOf<WORDS_4>>() <= 4096);
const _: () = assert!(size_of::<crate::PatcherOf<WORDS_8>>() <= 8192);
const _: () = assert!(size_of::<crate::PatcherOf<WORDS_16>>() <= 16_384);
