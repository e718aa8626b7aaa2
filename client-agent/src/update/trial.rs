//! Trial boot, as the boot loader does it: choose a slot, confirm it or go back.
//!
//! Everything is one write of the boot state, so power loss at any point goes forward or back:
//!
//! | cut | what the next boot does |
//! |---|---|
//! | before the boot state is marked | the old image; the update core begins the trial again |
//! | after that, in any boot on trial | the new image on trial again, at most [`ATTEMPTS_MAX`] times, then the old one |
//! | after [`confirm`] | the new image; the update core finds it running and reports |
//! | after [`roll_back`] | the old image; the update core finds the mark and reports |

use super::boot::{BootError, BootState, BootStore, Image, Slot, Trial};
use super::slot::digest_of_slot;
use crate::platform::Flash;

/// What a boot loader starts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selected {
    /// The slot that it stands in.
    pub slot: Slot,
    /// The image.
    pub image: Image,
    /// Whether it must pass its self-test and be confirmed first.
    pub on_trial: bool,
}

/// Chooses what to start, counts a boot on trial, and checks the image's digest.
///
/// An image on trial whose digest is wrong is rolled back at once.
///
/// # Errors
///
/// [`BootError::Missing`] also where the confirmed slot does not hold what the boot state says.
pub fn select<F: Flash>(flash: &mut F) -> Result<Selected, BootError<F::Error>> {
    let mut store = BootStore::new();
    let mut state = store.load(flash)?;
    if let Trial::Pending { grant, attempts } = state.trial {
        let spare = state.active.other();
        let whole = attempts < ATTEMPTS_MAX && holds_image(flash, &state, spare)?;
        state.trial =
            if whole { Trial::Pending { grant, attempts: attempts + 1 } } else { Trial::Failed { grant } };
        store.save(flash, &state)?;
    }
    let slot = state.chosen();
    let on_trial = slot != state.active;
    if !on_trial && !holds_image(flash, &state, slot)? {
        return Err(BootError::Missing);
    }
    let image = state.image(slot).cloned().ok_or(BootError::Missing)?;
    Ok(Selected { slot, image, on_trial })
}

/// Makes the image on trial the confirmed one; without a trial nothing changes.
///
/// # Errors
///
/// See [`BootError`].
pub fn confirm<F: Flash>(flash: &mut F) -> Result<(), BootError<F::Error>> {
    let mut store = BootStore::new();
    let mut state = store.load(flash)?;
    if matches!(state.trial, Trial::Pending { .. }) {
        state.active = state.active.other();
        state.trial = Trial::None;
        store.save(flash, &state)?;
    }
    Ok(())
}

/// Gives up the image on trial; without a trial nothing changes.
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

/// Asks the boot loader to try `image` in the spare slot.
///
/// # Errors
///
/// See [`BootError`].
pub(crate) fn begin<F: Flash>(
    flash: &mut F,
    store: &mut BootStore,
    state: &mut BootState,
    image: Image,
    grant: u64,
) -> Result<(), BootError<F::Error>> {
    let mut next = state.clone();
    next.set_image(state.active.other(), Some(image));
    next.trial = Trial::Pending { grant, attempts: 0 };
    store.save(flash, &next)?;
    *state = next;
    Ok(())
}

fn holds_image<F: Flash>(flash: &mut F, state: &BootState, slot: Slot) -> Result<bool, BootError<F::Error>> {
    let Some(image) = state.image(slot) else {
        return Ok(false);
    };
    if image.bytes > flash.bytes(slot.region()) {
        return Ok(false);
    }
    let digest = digest_of_slot(flash, slot, image.bytes).map_err(BootError::Flash)?;
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

    /// Old image in slot A, new one in slot B, and the trial begun.
    fn flash_on_trial() -> MemoryFlash {
        let mut flash = MemoryFlash::new(1024);
        flash.write(Slot::A.region(), 0, b"old").unwrap();
        flash.write(Slot::B.region(), 0, b"newer").unwrap();
        let mut state =
            BootState { active: Slot::A, images: [Some(image(b"old")), None], trial: Trial::None };
        let mut store = BootStore::new();
        store.save(&mut flash, &state).unwrap();
        begin(&mut flash, &mut store, &mut state, image(b"newer"), 7).unwrap();
        flash
    }

    fn trial(flash: &mut MemoryFlash) -> Trial {
        BootStore::new().load(flash).unwrap().trial
    }

    #[test]
    fn image_on_trial_boots_until_its_attempts_are_spent_then_the_old_one() {
        let mut flash = flash_on_trial();
        for _ in 0..ATTEMPTS_MAX {
            let selected = select(&mut flash).unwrap();
            assert_eq!((selected.slot, selected.on_trial), (Slot::B, true));
        }
        assert_eq!(
            select(&mut flash).unwrap(),
            Selected { slot: Slot::A, image: image(b"old"), on_trial: false }
        );
        assert_eq!(trial(&mut flash), Trial::Failed { grant: 7 });
    }

    #[test]
    fn confirmed_image_boots_without_trial() {
        let mut flash = flash_on_trial();
        select(&mut flash).unwrap();
        confirm(&mut flash).unwrap();
        assert_eq!(
            select(&mut flash).unwrap(),
            Selected { slot: Slot::B, image: image(b"newer"), on_trial: false }
        );
    }

    #[test]
    fn rolled_back_image_leaves_its_grant_marked() {
        let mut flash = flash_on_trial();
        roll_back(&mut flash).unwrap();
        assert_eq!(select(&mut flash).unwrap().slot, Slot::A);
        assert_eq!(trial(&mut flash), Trial::Failed { grant: 7 });
    }

    #[test]
    fn damaged_image_on_trial_is_never_started() {
        let mut flash = flash_on_trial();
        flash.write(Slot::B.region(), 1, b"?").unwrap();
        assert_eq!(select(&mut flash).unwrap().slot, Slot::A);
        assert_eq!(trial(&mut flash), Trial::Failed { grant: 7 });
    }

    #[test]
    fn damaged_confirmed_image_is_not_started() {
        let mut flash = flash_on_trial();
        roll_back(&mut flash).unwrap();
        flash.write(Slot::A.region(), 1, b"?").unwrap();
        assert!(matches!(select(&mut flash), Err(BootError::Missing)));
    }

    #[test]
    fn confirming_twice_does_not_swap_back() {
        let mut flash = flash_on_trial();
        confirm(&mut flash).unwrap();
        confirm(&mut flash).unwrap();
        assert_eq!(select(&mut flash).unwrap().slot, Slot::B);
    }
}
