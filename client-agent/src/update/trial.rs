//! Trial boot, as the boot loader does it: choose the slots, confirm them or go back.
//!
//! Everything is one write of the boot state, for all components together, so power loss at any point goes forward or
//! back:
//!
//! | cut | what the next boot does |
//! |---|---|
//! | before the boot state is marked | the old images; the update core begins the trial again |
//! | after that, in any boot on trial | the new images on trial again, at most [`ATTEMPTS_MAX`] times, then the old ones |
//! | after [`confirm`] | the new images; the update core finds them running and reports |
//! | after [`roll_back`] | the old images; the update core finds the mark and reports |

use super::boot::{BootError, BootState, BootStore, ComponentSet, Image, Slot, Trial};
use super::facts::COMPONENTS_MAX;
use super::slot::digest_of_slot;
use crate::platform::Flash;

/// What a boot loader starts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selected {
    /// Whether it must pass its self-test and be confirmed first.
    pub on_trial: bool,
    state: BootState,
}

impl Selected {
    /// Gives the image of a component; `None` for one that the device does not have.
    #[must_use]
    pub fn image(&self, component: usize) -> Option<&Image> {
        self.state.image(component, self.slot(component))
    }

    /// Gives the slot that the image of a component stands in.
    #[must_use]
    pub fn slot(&self, component: usize) -> Slot {
        self.state.chosen(component)
    }

    /// Walks over the components: number, slot and image.
    pub fn components(&self) -> impl Iterator<Item = (usize, Slot, &Image)> {
        (0..COMPONENTS_MAX)
            .filter_map(|component| Some((component, self.slot(component), self.image(component)?)))
    }
}

/// Chooses what to start, counts a boot on trial, and checks the digests of all images.
///
/// Images on trial, of which one has a wrong digest, are rolled back at once.
///
/// # Errors
///
/// [`BootError::Missing`] also where a confirmed slot does not hold what the boot state says.
pub fn select<F: Flash>(flash: &mut F) -> Result<Selected, BootError<F::Error>> {
    let mut store = BootStore::new();
    let mut state = store.load(flash)?;
    if let Trial::Pending { grant, attempts, components } = state.trial {
        let whole = attempts < ATTEMPTS_MAX && holds_chosen(flash, &state)?;
        state.trial = if whole {
            Trial::Pending { grant, attempts: attempts + 1, components }
        } else {
            Trial::Failed { grant }
        };
        store.save(flash, &state)?;
    }
    let on_trial = matches!(state.trial, Trial::Pending { .. });
    if !on_trial && !holds_chosen(flash, &state)? {
        return Err(BootError::Missing);
    }
    Ok(Selected { on_trial, state })
}

/// Makes the images on trial the confirmed ones, in one write; without a trial nothing changes.
///
/// # Errors
///
/// See [`BootError`].
pub fn confirm<F: Flash>(flash: &mut F) -> Result<(), BootError<F::Error>> {
    let mut store = BootStore::new();
    let mut state = store.load(flash)?;
    if let Trial::Pending { components, .. } = state.trial {
        for (component, slots) in state.components.iter_mut().enumerate() {
            if components.has(component) {
                slots.active = slots.active.other();
            }
        }
        state.trial = Trial::None;
        store.save(flash, &state)?;
    }
    Ok(())
}

/// Gives up the images on trial; without a trial nothing changes.
///
/// # Errors
///
/// See [`BootError`].
pub fn roll_back<F: Flash>(flash: &mut F) -> Result<(), BootError<F::Error>> {
    let mut store = BootStore::new();
    let mut state = store.load(flash)?;
    if let Trial::Pending { grant, .. } = state.trial {
        state.trial = Trial::Failed { grant };
        store.save(flash, &state)?;
    }
    Ok(())
}

/// Asks the boot loader to try images in spare slots: at most one for each component.
///
/// # Errors
///
/// See [`BootError`].
pub(crate) fn begin<F: Flash>(
    flash: &mut F,
    store: &mut BootStore,
    state: &mut BootState,
    images: [Option<Image>; COMPONENTS_MAX],
    grant: u64,
) -> Result<(), BootError<F::Error>> {
    let mut next = state.clone();
    let mut components = ComponentSet::NONE;
    for (component, image) in images.into_iter().enumerate().filter(|(_, image)| image.is_some()) {
        next.set_image(component, state.active(component).other(), image);
        components = components.with(component);
    }
    next.trial = Trial::Pending { grant, attempts: 0, components };
    store.save(flash, &next)?;
    *state = next;
    Ok(())
}

/// Whether every chosen slot holds the image that the boot state says; there must be one of the first component.
fn holds_chosen<F: Flash>(flash: &mut F, state: &BootState) -> Result<bool, BootError<F::Error>> {
    for component in 0..state.count().max(1) {
        if !holds_image(flash, state, component, state.chosen(component))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds_image<F: Flash>(
    flash: &mut F,
    state: &BootState,
    component: usize,
    slot: Slot,
) -> Result<bool, BootError<F::Error>> {
    let Some(image) = state.image(component, slot) else {
        return Ok(false);
    };
    let region = slot.region(component);
    if image.bytes > flash.bytes(region) {
        return Ok(false);
    }
    let digest = digest_of_slot(flash, region, image.bytes).map_err(BootError::Flash)?;
    Ok(digest == image.digest)
}

/// Boots of one image on trial: power cuts are not its fault, but an image that always dies looks the same.
pub const ATTEMPTS_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryFlash;
    use crate::update::bounded::Bounded;
    use sha2::{Digest, Sha256};

    fn image(bytes: &[u8]) -> Image {
        Image {
            digest: Sha256::digest(bytes).into(),
            bytes: u32::try_from(bytes.len()).unwrap(),
            version: Bounded::copy_of(b"1").unwrap(),
        }
    }

    /// Flash of a device with two components, old images in slots A, new ones in slots B, and the trial of some begun.
    fn flash_on_trial(of: [bool; 2]) -> MemoryFlash {
        let mut flash = MemoryFlash::new(1024);
        for component in [0, 1] {
            flash.write(Slot::A.region(component), 0, b"old").unwrap();
            flash.write(Slot::B.region(component), 0, b"newer").unwrap();
        }
        let mut state = BootState::factory([image(b"old"), image(b"old")]);
        let mut store = BootStore::new();
        store.save(&mut flash, &state).unwrap();
        let images = of.map(|tried| tried.then(|| image(b"newer")));
        begin(&mut flash, &mut store, &mut state, images, 7).unwrap();
        flash
    }

    fn trial(flash: &mut MemoryFlash) -> Trial {
        BootStore::new().load(flash).unwrap().trial
    }

    /// Whether each component starts its new image, and whether that is on trial.
    fn starts_new(flash: &mut MemoryFlash) -> ([bool; 2], bool) {
        let selected = select(flash).unwrap();
        assert_eq!(selected.components().count(), 2);
        let new = [0, 1].map(|component| selected.image(component) == Some(&image(b"newer")));
        (new, selected.on_trial)
    }

    #[test]
    fn images_on_trial_boot_until_their_attempts_are_spent_then_the_old_ones() {
        let mut flash = flash_on_trial([true, true]);
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(starts_new(&mut flash), ([true, true], true));
        }
        assert_eq!(starts_new(&mut flash), ([false, false], false));
        assert_eq!(trial(&mut flash), Trial::Failed { grant: 7 });
    }

    #[test]
    fn confirmed_images_boot_without_trial() {
        for of in [[true, true], [true, false], [false, true]] {
            let mut flash = flash_on_trial(of);
            assert_eq!(starts_new(&mut flash), (of, true));
            confirm(&mut flash).unwrap();
            assert_eq!(starts_new(&mut flash), (of, false));
        }
    }

    #[test]
    fn rolled_back_images_leave_their_grant_marked() {
        let mut flash = flash_on_trial([true, true]);
        roll_back(&mut flash).unwrap();
        assert_eq!(starts_new(&mut flash), ([false, false], false));
        assert_eq!(trial(&mut flash), Trial::Failed { grant: 7 });
    }

    #[test]
    fn damaged_image_on_trial_is_never_started_and_neither_is_the_one_that_came_with_it() {
        for component in [0, 1] {
            let mut flash = flash_on_trial([true, true]);
            flash.write(Slot::B.region(component), 1, b"?").unwrap();
            assert_eq!(starts_new(&mut flash), ([false, false], false));
            assert_eq!(trial(&mut flash), Trial::Failed { grant: 7 });
        }
    }

    #[test]
    fn damaged_confirmed_image_is_not_started() {
        for component in [0, 1] {
            let mut flash = flash_on_trial([true, true]);
            roll_back(&mut flash).unwrap();
            flash.write(Slot::A.region(component), 1, b"?").unwrap();
            assert!(matches!(select(&mut flash), Err(BootError::Missing)));
        }
    }

    #[test]
    fn confirming_twice_does_not_swap_back() {
        let mut flash = flash_on_trial([true, true]);
        confirm(&mut flash).unwrap();
        confirm(&mut flash).unwrap();
        assert_eq!(starts_new(&mut flash), ([true, true], false));
    }
}
