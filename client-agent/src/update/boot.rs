//! The boot state: which slot runs, and whether the other one is on trial.
//!
//! Swapping is a change of this document alone; images stay where they are. A boot loader reads it by
//! [`BootStore::load`] and follows [`BootState::chosen`].

use super::bounded::Bounded;
use super::journal::{COPY_BYTES_MAX, Journal, JournalError};
use crate::platform::{Flash, Region};
use minicbor::encode::write::{Cursor, EndOfSlice};
use minicbor::{Decoder, Encoder};
use thiserror::Error;

/// Which slot runs, and whether the other one is on trial.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BootState {
    /// The slot whose image is confirmed.
    pub active: Slot,
    /// What stands in slots A and B; `None` where nothing was verified.
    pub images: [Option<Image>; 2],
    /// The trial of the spare slot.
    pub trial: Trial,
}

/// One of the two image slots.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Slot {
    /// [`Region::SlotA`].
    A,
    /// [`Region::SlotB`].
    B,
}

/// An image in a slot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// How many bytes.
    pub bytes: u32,
    /// Its version as text, empty where the manifest does not tell it.
    pub version: Bounded<VERSION_BYTES_MAX>,
}

/// The trial of the spare slot's image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trial {
    /// There is none.
    None,
    /// The spare slot is to be booted; `attempts` boots have begun.
    Pending {
        /// Number of the grant that it belongs to.
        grant: u64,
        /// Boots that have begun.
        attempts: u8,
    },
    /// The spare slot's image was tried and given up.
    Failed {
        /// Number of the grant that it belongs to.
        grant: u64,
    },
}

impl BootState {
    /// Gives the slot that a boot loader starts now.
    #[must_use]
    pub fn chosen(&self) -> Slot {
        match self.trial {
            Trial::Pending { .. } => self.active.other(),
            Trial::None | Trial::Failed { .. } => self.active,
        }
    }

    /// Gives the image of a slot.
    #[must_use]
    pub fn image(&self, slot: Slot) -> Option<&Image> {
        self.images[slot.position()].as_ref()
    }

    /// Replaces the image of a slot.
    pub fn set_image(&mut self, slot: Slot, image: Option<Image>) {
        self.images[slot.position()] = image;
    }
}

impl Slot {
    /// Gives the other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Gives its flash region.
    #[must_use]
    pub fn region(self) -> Region {
        match self {
            Self::A => Region::SlotA,
            Self::B => Region::SlotB,
        }
    }

    fn position(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

impl Image {
    /// Gives the version as text.
    #[must_use]
    pub fn version_text(&self) -> &str {
        self.version.as_text()
    }
}

/// The boot state and its place in flash.
#[derive(Debug)]
pub struct BootStore {
    journal: Journal,
}

/// Why the boot state could not be read or written.
#[derive(Debug, Error)]
pub enum BootError<E> {
    /// The flash failed; restart the device.
    #[error("boot state: flash failed")]
    Flash(#[source] E),
    /// No valid copy: the flash was never prepared, or both copies are damaged. Prepare it anew.
    #[error("the flash holds no valid boot state; prepare it with an image")]
    Missing,
    /// A bound in this program is wrong.
    #[error("the boot state does not fit its flash copy")]
    TooLong,
}

impl BootStore {
    /// Names the boot state of a flash.
    #[must_use]
    pub const fn new() -> Self {
        Self { journal: Journal::new(Region::Boot, BOOT_COPY_BYTES) }
    }

    /// Reads the newest valid boot state.
    ///
    /// # Errors
    ///
    /// See [`BootError`].
    pub fn load<F: Flash>(&mut self, flash: &mut F) -> Result<BootState, BootError<F::Error>> {
        let mut body = [0; COPY_BYTES_MAX];
        let length = self.journal.load(flash, &mut body)?.ok_or(BootError::Missing)?;
        decode(&body[..length]).ok_or(BootError::Missing)
    }

    /// Writes the boot state, in one write.
    ///
    /// # Errors
    ///
    /// See [`BootError`].
    pub fn save<F: Flash>(&mut self, flash: &mut F, state: &BootState) -> Result<(), BootError<F::Error>> {
        let mut body = [0; BOOT_COPY_BYTES];
        let mut e = Encoder::new(Cursor::new(&mut body[..]));
        encode(&mut e, state).map_err(|_| BootError::TooLong)?;
        let length = e.writer().position();
        Ok(self.journal.store(flash, &body[..length])?)
    }
}

impl Default for BootStore {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> From<JournalError<E>> for BootError<E> {
    fn from(error: JournalError<E>) -> Self {
        match error {
            JournalError::Flash(error) => Self::Flash(error),
            JournalError::TooLong(_) => Self::TooLong,
        }
    }
}

type EncodeResult = Result<(), minicbor::encode::Error<EndOfSlice>>;

fn encode(e: &mut Encoder<Cursor<&mut [u8]>>, state: &BootState) -> EncodeResult {
    e.array(5)?.u8(VERSION)?.bool(state.active == Slot::B)?;
    for image in &state.images {
        match image {
            None => _ = e.null()?,
            Some(image) => {
                e.array(3)?.bytes(&image.digest)?.u32(image.bytes)?.bytes(image.version.as_slice())?;
            }
        }
    }
    match state.trial {
        Trial::None => e.array(0)?,
        Trial::Pending { grant, attempts } => e.array(2)?.u64(grant)?.u8(attempts)?,
        Trial::Failed { grant } => e.array(1)?.u64(grant)?,
    };
    Ok(())
}

fn decode(bytes: &[u8]) -> Option<BootState> {
    let d = &mut Decoder::new(bytes);
    if d.array().ok()?? != 5 || d.u8().ok()? != VERSION {
        return None;
    }
    let active = if d.bool().ok()? { Slot::B } else { Slot::A };
    let images = [decode_image(d)?, decode_image(d)?];
    let trial = match d.array().ok()?? {
        0 => Trial::None,
        1 => Trial::Failed { grant: d.u64().ok()? },
        2 => Trial::Pending { grant: d.u64().ok()?, attempts: d.u8().ok()? },
        _ => return None,
    };
    (d.position() == bytes.len()).then_some(BootState { active, images, trial })
}

#[expect(clippy::option_option, reason = "the outer tells of damage, the inner of an empty slot")]
fn decode_image(d: &mut Decoder<'_>) -> Option<Option<Image>> {
    if d.datatype().ok()? == minicbor::data::Type::Null {
        d.null().ok()?;
        return Some(None);
    }
    if d.array().ok()?? != 3 {
        return None;
    }
    let digest = d.bytes().ok()?.try_into().ok()?;
    let bytes = d.u32().ok()?;
    Some(Some(Image { digest, bytes, version: Bounded::copy_of(d.bytes().ok()?)? }))
}

/// Bytes of a version text: enough for `major.minor.patch` with a pre-release and a build tag.
pub const VERSION_BYTES_MAX: usize = 32;

/// Bytes of one copy: two images of about 75 bytes, the trial, and the journal's own.
pub const BOOT_COPY_BYTES: usize = 256;

/// The layout of the body. Never reuse a number.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryFlash;
    use proptest::prelude::*;

    fn image(number: u8) -> Image {
        Image {
            digest: [number; 32],
            bytes: u32::MAX,
            version: Bounded::copy_of(&[b'1'; VERSION_BYTES_MAX]).unwrap(),
        }
    }

    #[test]
    fn every_trial_comes_back_with_images_at_their_bounds() {
        let trials =
            [Trial::None, Trial::Pending { grant: u64::MAX, attempts: u8::MAX }, Trial::Failed { grant: 1 }];
        for trial in trials {
            let state = BootState { active: Slot::B, images: [Some(image(1)), Some(image(2))], trial };
            let mut flash = MemoryFlash::new(0);
            BootStore::new().save(&mut flash, &state).unwrap();
            assert_eq!(BootStore::new().load(&mut flash).unwrap(), state);
        }
    }

    #[test]
    fn only_a_pending_trial_boots_the_spare_slot() {
        let mut state = BootState { active: Slot::A, images: [None, None], trial: Trial::None };
        assert_eq!(state.chosen(), Slot::A);
        state.trial = Trial::Pending { grant: 1, attempts: 1 };
        assert_eq!(state.chosen(), Slot::B);
        state.trial = Trial::Failed { grant: 1 };
        assert_eq!(state.chosen(), Slot::A);
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
