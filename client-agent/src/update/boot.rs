//! The boot state: which slot of each component runs, and whether the others are on trial.
//!
//! Swapping is a change of this document alone; images stay where they are. So all components of an update are swapped
//! in one write, and no boot ever finds one of them new and another one old. A boot loader reads it by
//! [`BootStore::load`] and follows [`BootState::chosen`].

use super::bounded::Bounded;
use super::facts::COMPONENTS_MAX;
use super::journal::{BODY_AT, Journal, JournalError};
use crate::platform::{Flash, Region};
use bellwether_manifests::cbor::{Full, Reader, Sink};
use minicbor::Encoder;
use thiserror::Error;

/// Which slot of each component runs, and whether the others are on trial.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BootState {
    /// Slots of each component; empty ones past the components of the device.
    pub components: [Slots; COMPONENTS_MAX],
    /// The trial of spare slots.
    pub trial: Trial,
}

/// The two slots of a component.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Slots {
    /// The slot whose image is confirmed.
    pub active: Slot,
    /// What stands in slots A and B; `None` where nothing was verified.
    pub images: [Option<Image>; 2],
}

/// One of the two image slots of a component.
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

/// The trial of the images in spare slots, all together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trial {
    /// There is none.
    None,
    /// The spare slots of these components are to be booted; `attempts` boots have begun.
    Pending {
        /// Number of the grant that it belongs to.
        grant: u64,
        /// Boots that have begun.
        attempts: u8,
        /// Whose spare slots.
        components: ComponentSet,
    },
    /// The spare slots' images were tried and given up.
    Failed {
        /// Number of the grant that they belong to.
        grant: u64,
    },
}

/// Components of a device, by number.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ComponentSet(u8);

impl ComponentSet {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Gives the set with one more.
    #[must_use]
    pub const fn with(self, component: usize) -> Self {
        Self(self.0 | 1 << component)
    }

    /// Tells whether a component is in it.
    #[must_use]
    pub const fn has(self, component: usize) -> bool {
        component < COMPONENTS_MAX && self.0 >> component & 1 == 1
    }
}

impl BootState {
    /// Makes the boot state of a device that leaves the factory: an image for each component, in slot A.
    #[must_use]
    pub fn factory(images: impl IntoIterator<Item = Image>) -> Self {
        let mut components = [const { Slots::EMPTY }; COMPONENTS_MAX];
        for (slots, image) in components.iter_mut().zip(images) {
            slots.images[Slot::A.position()] = Some(image);
        }
        Self { components, trial: Trial::None }
    }

    /// Gives the slot of a component that a boot loader starts now.
    #[must_use]
    pub fn chosen(&self, component: usize) -> Slot {
        let active = self.active(component);
        match self.trial {
            Trial::Pending { components, .. } if components.has(component) => active.other(),
            Trial::Pending { .. } | Trial::None | Trial::Failed { .. } => active,
        }
    }

    /// Gives the slot of a component whose image is confirmed.
    #[must_use]
    pub fn active(&self, component: usize) -> Slot {
        self.components.get(component).map_or(Slot::A, |slots| slots.active)
    }

    /// Gives the image in a slot of a component.
    #[must_use]
    pub fn image(&self, component: usize, slot: Slot) -> Option<&Image> {
        self.components.get(component)?.images[slot.position()].as_ref()
    }

    /// Gives the confirmed image of a component.
    #[must_use]
    pub fn running(&self, component: usize) -> Option<&Image> {
        self.image(component, self.active(component))
    }

    /// Replaces the image in a slot of a component.
    pub fn set_image(&mut self, component: usize, slot: Slot, image: Option<Image>) {
        if let Some(slots) = self.components.get_mut(component) {
            slots.images[slot.position()] = image;
        }
    }

    /// Components with a confirmed image: those of the device.
    pub(super) fn count(&self) -> usize {
        (0..COMPONENTS_MAX).take_while(|component| self.running(*component).is_some()).count()
    }
}

impl Slots {
    /// Nothing in either.
    pub const EMPTY: Self = Self { active: Slot::A, images: [None, None] };
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

    /// Gives its flash region for a component, which must be below [`COMPONENTS_MAX`].
    #[must_use]
    pub fn region(self, component: usize) -> Region {
        let component = u8::try_from(component).unwrap_or(u8::MAX);
        match self {
            Self::A => Region::SlotA(component),
            Self::B => Region::SlotB(component),
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
        Self { journal: Journal::new(Region::Boot) }
    }

    /// Reads the newest valid boot state.
    ///
    /// # Errors
    ///
    /// See [`BootError`].
    pub fn load<F: Flash>(&mut self, flash: &mut F) -> Result<BootState, BootError<F::Error>> {
        let mut body = [0; BOOT_COPY_BYTES];
        let length = self.journal.load(flash, &mut body)?.ok_or(BootError::Missing)?;
        decode(&body[..length]).ok_or(BootError::Missing)
    }

    /// Writes the boot state, in one write.
    ///
    /// # Errors
    ///
    /// See [`BootError`].
    pub fn save<F: Flash>(&mut self, flash: &mut F, state: &BootState) -> Result<(), BootError<F::Error>> {
        let mut copy = [0; BOOT_COPY_BYTES];
        let mut e = Encoder::new(Sink::new(&mut copy[BODY_AT..]));
        encode(&mut e, state).map_err(|_| BootError::TooLong)?;
        let length = e.writer().written();
        Ok(self.journal.store_in_place(flash, &mut copy, length)?)
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

type EncodeResult = Result<(), minicbor::encode::Error<Full>>;

fn encode(e: &mut Encoder<Sink<'_>>, state: &BootState) -> EncodeResult {
    e.array(3)?.u8(VERSION)?;
    // Slots that were never filled are left out, so that one component needs no more room than it did before.
    let filled = |slots: &Slots| *slots != Slots::EMPTY;
    let count = state.components.iter().rposition(filled).map_or(0, |last| last + 1);
    e.array(count as u64)?;
    for slots in &state.components[..count] {
        e.array(3)?.bool(slots.active == Slot::B)?;
        for image in &slots.images {
            match image {
                None => _ = e.null()?,
                Some(image) => {
                    e.array(3)?.bytes(&image.digest)?.u32(image.bytes)?.bytes(image.version.as_slice())?;
                }
            }
        }
    }
    match state.trial {
        Trial::None => e.array(0)?,
        Trial::Pending { grant, attempts, components } => {
            e.array(3)?.u64(grant)?.u8(attempts)?.u8(components.0)?
        }
        Trial::Failed { grant } => e.array(1)?.u64(grant)?,
    };
    Ok(())
}

/// Reads what [`encode`] wrote, of this version or of the first, which had one component.
fn decode(bytes: &[u8]) -> Option<BootState> {
    let d = &mut Reader::new(bytes);
    let mut components = [const { Slots::EMPTY }; COMPONENTS_MAX];
    match (d.array().ok()?, d.u8().ok()?) {
        (5, VERSION_1) => components[0] = decode_slots(d)?,
        (3, VERSION) => {
            let count = d.array().ok()?;
            for slots in components.get_mut(..count)? {
                d.array_of(3).ok()?;
                *slots = decode_slots(d)?;
            }
        }
        _ => return None,
    }
    let trial = match d.array().ok()? {
        0 => Trial::None,
        1 => Trial::Failed { grant: d.uint().ok()? },
        // Of the first version.
        2 => Trial::Pending {
            grant: d.uint().ok()?,
            attempts: d.u8().ok()?,
            components: ComponentSet::NONE.with(0),
        },
        3 => Trial::Pending {
            grant: d.uint().ok()?,
            attempts: d.u8().ok()?,
            components: ComponentSet(d.u8().ok()?),
        },
        _ => return None,
    };
    d.finish().ok()?;
    Some(BootState { components, trial })
}

fn decode_slots(d: &mut Reader<'_>) -> Option<Slots> {
    let active = if d.bool().ok()? { Slot::B } else { Slot::A };
    Some(Slots { active, images: [decode_image(d)?, decode_image(d)?] })
}

#[expect(clippy::option_option, reason = "the outer tells of damage, the inner of an empty slot")]
fn decode_image(d: &mut Reader<'_>) -> Option<Option<Image>> {
    if d.nil().ok()? {
        return Some(None);
    }
    d.array_of(3).ok()?;
    let digest = *d.bytes_exact().ok()?;
    let bytes = d.u32().ok()?;
    Some(Some(Image { digest, bytes, version: Bounded::copy_of(d.bytes().ok()?)? }))
}

/// Bytes of a version text: enough for `major.minor.patch` with a pre-release and a build tag.
pub const VERSION_BYTES_MAX: usize = 32;

/// Bytes that one copy needs: two images of 75 bytes and two heads for each component, the trial, and the journal's own.
pub const BOOT_COPY_BYTES: usize = COMPONENTS_MAX * 160 + 64;

/// The same for a device with one component.
pub const BOOT_COPY_BYTES_OF_ONE: usize = 256;

/// The layout of the body. Never reuse a number.
const VERSION: u8 = 2;
const VERSION_1: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryFlash;
    use proptest::prelude::*;
    use std::vec;

    fn image(number: u8) -> Image {
        Image {
            digest: [number; 32],
            bytes: u32::MAX,
            version: Bounded::copy_of(&[b'1'; VERSION_BYTES_MAX]).unwrap(),
        }
    }

    fn fullest(components: usize, trial: Trial) -> BootState {
        let slots = Slots { active: Slot::B, images: [Some(image(1)), Some(image(2))] };
        let mut state = BootState::factory([]);
        state.components[..components].fill(slots);
        BootState { trial, ..state }
    }

    fn pending(components: ComponentSet) -> Trial {
        Trial::Pending { grant: u64::MAX, attempts: u8::MAX, components }
    }

    fn comes_back(state: &BootState, copy_bytes: usize) {
        let mut flash = MemoryFlash::new(0);
        flash.resize(Region::Boot, 2 * copy_bytes);
        BootStore::new().save(&mut flash, state).unwrap();
        assert_eq!(BootStore::new().load(&mut flash).unwrap(), *state);
    }

    #[test]
    fn every_trial_comes_back_with_images_at_their_bounds() {
        let all = (0..COMPONENTS_MAX).fold(ComponentSet::NONE, ComponentSet::with);
        for trial in [Trial::None, pending(all), Trial::Failed { grant: u64::MAX }] {
            comes_back(&fullest(COMPONENTS_MAX, trial), BOOT_COPY_BYTES);
            comes_back(&fullest(1, trial), BOOT_COPY_BYTES_OF_ONE);
        }
    }

    #[test]
    fn boot_state_of_the_first_version_is_read() {
        let mut bytes = vec![0x85, 1, 0xf5, 0xf6, 0x83, 0x58, 32];
        bytes.extend([7; 32]);
        bytes.extend(*b"\x19\x01\x02\x451.2.0\x82\x05\x02");
        let state = decode(&bytes).unwrap();
        assert_eq!((state.active(0), state.image(0, Slot::A)), (Slot::B, None));
        let running = state.running(0).unwrap();
        assert_eq!((running.digest, running.bytes, running.version_text()), ([7; 32], 258, "1.2.0"));
        let components = ComponentSet::NONE.with(0);
        assert_eq!(state.trial, Trial::Pending { grant: 5, attempts: 2, components });
        assert_eq!((state.count(), state.chosen(0)), (1, Slot::A));
    }

    #[test]
    fn pending_trial_boots_the_spare_slots_of_its_components_alone() {
        let mut state = BootState::factory([image(1), image(2)]);
        let chosen = |state: &BootState| [state.chosen(0), state.chosen(1)];
        assert_eq!(chosen(&state), [Slot::A, Slot::A]);
        state.trial = pending(ComponentSet::NONE.with(1));
        assert_eq!(chosen(&state), [Slot::A, Slot::B]);
        state.trial = pending(ComponentSet::NONE.with(0).with(1));
        assert_eq!(chosen(&state), [Slot::B, Slot::B]);
        state.trial = Trial::Failed { grant: 1 };
        assert_eq!(chosen(&state), [Slot::A, Slot::A]);
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
