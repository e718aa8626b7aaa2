//! From fetched bytes to verified images in the spare slots, and to their trial.
//!
//! All components are patched and checked before the boot state names one of them; from there on they go together.

use super::boot::{Image, Slot, Trial};
use super::bounded::Bounded;
use super::facts::COMPONENTS_MAX;
use super::record::{Granted, Outcome, Stage, State};
use super::slot::{PIECE_BYTES, digest_of_range, digest_of_slot};
use super::trial;
use super::updater::{NO_IMAGE, UpdateError, Updater};
use super::verify::{RESULT_FAILED, RESULT_INTEGRITY, RESULT_SUCCESS};
use crate::platform::{Flash, Random, Region};
use bellwether_delta::{ApplyError, Base, PatcherOf, Sink};
use bellwether_manifests::message::{Confirm, MessageError, Moment, Part, Patch, Resource};
use bellwether_manifests::report::{Outcome as SuitOutcome, Reason};
use core::cell::RefCell;

/// What became of the word to start the image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begun {
    /// The next boot starts the spare slots.
    Trial,
    /// The grant wants "go?" to be asked first; that the image may be started is in the record.
    GoFirst,
    /// No verified images wait, the report that the trial will owe has no slot, or new anchors are still to be
    /// enforced.
    NotNow,
}

/// What became of an installation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Installed {
    /// The images stand in the spare slots and have the digests that the author signed.
    Verified,
    /// One has not; the grant was given up.
    GivenUp,
    /// Nothing is complete yet.
    Unasked,
}

/// What [`Updater::make_images`] made, for [`Updater::take_images`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Made {
    /// Number of the grant.
    grant: u64,
    /// Whether all images are those that were signed.
    whole: bool,
}

impl<F: Flash, R: Random> Updater<'_, F, R> {
    /// Applies the patches that there are, and checks the images: state *decrypted*, with the report that it owes.
    ///
    /// `patcher` is the memory for it, whatever it holds; a patch that needs a larger one is given up.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn install<const WORDS: usize>(
        &mut self,
        patcher: &mut PatcherOf<WORDS>,
    ) -> Result<Installed, UpdateError<F::Error>> {
        match self.make_images(patcher)? {
            Some(made) => self.take_images(made),
            None => Ok(Installed::Unasked),
        }
    }

    /// Does the first half of [`Updater::install`]: applies the patches and checks the images; `None` where nothing is
    /// complete yet. The memory of the patcher may go before the second half, [`Updater::take_images`].
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn make_images<const WORDS: usize>(
        &mut self,
        patcher: &mut PatcherOf<WORDS>,
    ) -> Result<Option<Made>, UpdateError<F::Error>> {
        let fetched = self.is_fetched();
        let Some(grant) = self.record.granted().filter(|_| fetched).map(|granted| granted.number) else {
            return Ok(None);
        };
        Ok(Some(Made { grant, whole: self.complete_all(patcher)? }))
    }

    /// Does the second half of [`Updater::install`]: state *decrypted*, or the grant is given up.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn take_images(&mut self, made: Made) -> Result<Installed, UpdateError<F::Error>> {
        let is_open = self.record.granted().is_some_and(|granted| granted.number == made.grant);
        if !is_open || !self.is_fetched() {
            return Ok(Installed::Unasked);
        }
        if !made.whole {
            self.fail(RESULT_INTEGRITY, Reason::OperationFailed)?;
            return Ok(Installed::GivenUp);
        }
        self.set_decrypted()?;
        Ok(Installed::Verified)
    }

    /// Makes the image of each component; false where one is not the one that was signed.
    fn complete_all<const WORDS: usize>(
        &mut self,
        patcher: &mut PatcherOf<WORDS>,
    ) -> Result<bool, UpdateError<F::Error>> {
        let State::Granted(granted) = &self.record.state else { return Ok(false) };
        for resource in granted.descriptor()?.resources {
            let component =
                granted.component(resource.component).ok_or(MessageError::Bound(Part::Component))?;
            let mut slots = Slots {
                flash: &mut self.flash,
                running: self.boot.running(component).unwrap_or(&NO_IMAGE),
                active: self.boot.active(component),
                component,
            };
            if !slots.complete(&resource, patcher).map_err(UpdateError::Flash)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Begins the trial: the next boot starts the spare slots, unless the grant wants "go?" to be asked first.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn begin_trial(&mut self) -> Result<Begun, UpdateError<F::Error>> {
        // No trial begins without a free slot for the report that it will owe, nor before anchors that came are enforced.
        let may_begin = self.record.has_free_report() && !self.must_enforce_anchors();
        let Some(granted) = self.record.granted().filter(|_| may_begin) else {
            return Ok(Begun::NotNow);
        };
        match granted.stage {
            Stage::Executed => return Ok(Begun::GoFirst),
            Stage::Decrypted => {}
            Stage::Accepted(_) | Stage::Trial => return Ok(Begun::NotNow),
        }
        if granted.grant()?.options.ask_go == Some(true) {
            self.set_stage(Stage::Executed);
            self.save()?;
            return Ok(Begun::GoFirst);
        }
        self.start_trial()?;
        Ok(Begun::Trial)
    }

    /// Begins the trial of what is verified; the caller has made sure that it may.
    pub(super) fn start_trial(&mut self) -> Result<(), UpdateError<F::Error>> {
        self.set_stage(Stage::Trial);
        self.save()?;
        self.mark_trial()
    }

    fn set_stage(&mut self, to: Stage) {
        if let State::Granted(Granted { stage, .. }) = &mut self.record.state {
            *stage = to;
        }
    }

    /// Settles a trial by what runs after a boot.
    ///
    /// Source: protocol.md §3, "On boot in state trial".
    pub(super) fn settle_trial(&mut self) -> Result<(), UpdateError<F::Error>> {
        let Some(granted @ Granted { stage: Stage::Trial, .. }) = self.record.granted() else {
            return Ok(());
        };
        let number = granted.number;
        let descriptor = granted.descriptor()?;
        let runs = |resource: Resource<'_>| {
            let component = granted.component(resource.component);
            component.is_some_and(|component| self.running_of(component).digest == *resource.installed)
        };
        if descriptor.resources.iter().all(runs) {
            return self.set_installed();
        }
        match self.boot.trial {
            Trial::Failed { grant } if grant == number => {
                self.fail(RESULT_FAILED, Reason::OperationFailed)?;
                Ok(())
            }
            Trial::Pending { grant, .. } if grant == number => {
                self.reboot = true;
                Ok(())
            }
            // The power went between the record and the boot state: forward.
            _ => self.mark_trial(),
        }
    }

    /// Everything that was granted runs: the report that says so, and what it moves.
    fn set_installed(&mut self) -> Result<(), UpdateError<F::Error>> {
        self.report_granted(Moment::Installed, SuitOutcome::Success)?;
        if let State::Granted(granted) = &self.record.state {
            let installed = self.record.manifest_sequences.iter_mut().zip(&granted.manifest.parts);
            for (sequence, _) in installed.filter(|(_, part)| part.is_some()) {
                *sequence = (*sequence).max(granted.manifest.sequence);
            }
        }
        self.close(Outcome { result: RESULT_SUCCESS, refused: None });
        self.save()
    }

    /// The second write of the beginning; a boot between the two finds the record and comes here again. A component that
    /// runs what was granted already is left where it is.
    fn mark_trial(&mut self) -> Result<(), UpdateError<F::Error>> {
        let Some(granted) = self.record.granted() else {
            return Ok(());
        };
        let descriptor = granted.descriptor()?;
        let mut images = [const { None }; COMPONENTS_MAX];
        for resource in descriptor.resources {
            let component =
                granted.component(resource.component).ok_or(MessageError::Bound(Part::Component))?;
            let part = granted.manifest.parts[component].as_ref();
            if self.running_of(component).digest != *resource.installed {
                images[component] = Some(Image {
                    digest: *resource.installed,
                    bytes: u32::try_from(resource.installed_bytes).unwrap_or(u32::MAX),
                    version: part.map_or(Bounded::EMPTY, |part| part.version.clone()),
                });
            }
        }
        let number = granted.number;
        trial::begin(&mut self.flash, &mut self.boots, &mut self.boot, images, number)?;
        self.reboot = true;
        Ok(())
    }

    fn set_decrypted(&mut self) -> Result<(), UpdateError<F::Error>> {
        let granted = self.record.granted();
        let confirm = granted.map(|granted| granted.grant().map(|grant| grant.confirm)).transpose()?;
        if confirm != Some(Confirm::Installed) {
            // A slot was free when the grant was accepted, and nothing else owes a report meanwhile.
            self.report_granted(Moment::Decrypted, SuitOutcome::Success)?;
        }
        self.set_stage(Stage::Decrypted);
        self.save()
    }
}

/// The slots of one component.
struct Slots<'s, F> {
    flash: &'s mut F,
    /// What the active one holds.
    running: &'s Image,
    active: Slot,
    component: usize,
}

impl<F: Flash> Slots<'_, F> {
    /// Makes the image out of what was fetched; false where it is not the one that was signed.
    fn complete<const WORDS: usize>(
        &mut self,
        resource: &Resource<'_>,
        patcher: &mut PatcherOf<WORDS>,
    ) -> Result<bool, F::Error> {
        let whole = match &resource.patch {
            None => true,
            Some(patch) => self.apply(resource, patch, patcher)?,
        };
        let bytes = u32::try_from(resource.installed_bytes).unwrap_or(u32::MAX);
        Ok(whole && digest_of_slot(self.flash, self.spare(), bytes)? == *resource.installed)
    }

    /// Applies the staged patch to what runs; false where patch or result are wrong.
    fn apply<const WORDS: usize>(
        &mut self,
        resource: &Resource<'_>,
        patch: &Patch<'_>,
        patcher: &mut PatcherOf<WORDS>,
    ) -> Result<bool, F::Error> {
        let (base, spare) = (self.active.region(self.component), self.spare());
        let (Some(start), Ok(bytes), Ok(target)) = (
            staging_offset(self.flash.bytes(spare), resource.plain_bytes),
            u32::try_from(resource.plain_bytes),
            u32::try_from(resource.installed_bytes),
        ) else {
            return Ok(false);
        };
        let staged = digest_of_range(self.flash, spare, start, bytes)?;
        let algorithm = i32::try_from(patch.algorithm).unwrap_or_default();
        let begun = patcher.begin(algorithm, self.running.bytes, target, patch.parameters);
        if begun.is_err() || staged != *resource.plain {
            return Ok(false);
        }
        let flash = RefCell::new(&mut *self.flash);
        let (mut from, mut to) =
            (SlotBase { flash: &flash, slot: base }, SlotSink { flash: &flash, slot: spare, at: 0 });
        let mut piece = [0; PIECE_BYTES as usize];
        let mut done = 0;
        let mut applied = Ok(());
        while done < bytes && applied.is_ok() {
            let length = (bytes - done).min(PIECE_BYTES);
            let piece = &mut piece[..length as usize];
            flash.borrow_mut().read(spare, start + done, piece)?;
            applied = patcher.push(piece, &mut from, &mut to);
            done += length;
        }
        match applied.and_then(|()| patcher.finish(&mut from, &mut to)) {
            Ok(()) => Ok(true),
            Err(ApplyError::Patch(_)) => Ok(false),
            Err(ApplyError::Base(error) | ApplyError::Sink(error)) => Err(error),
        }
    }

    fn spare(&self) -> Region {
        self.active.other().region(self.component)
    }
}

/// Gives where a patch is staged: at the end of the slot, on an erasable boundary; `None` where it does not fit.
pub(super) fn staging_offset(slot_bytes: u32, patch_bytes: u64) -> Option<u32> {
    let start = slot_bytes.checked_sub(u32::try_from(patch_bytes).ok()?)?;
    Some(start - start % ERASE_BYTES)
}

/// The image that runs, as the patcher reads it.
struct SlotBase<'c, 'f, F> {
    flash: &'c RefCell<&'f mut F>,
    slot: Region,
}

impl<F: Flash> Base for SlotBase<'_, '_, F> {
    type Error = F::Error;

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), F::Error> {
        self.flash.borrow_mut().read(self.slot, offset, buf)
    }
}

/// The spare slot, as the patcher writes it.
struct SlotSink<'c, 'f, F> {
    flash: &'c RefCell<&'f mut F>,
    slot: Region,
    at: u32,
}

impl<F: Flash> Sink for SlotSink<'_, '_, F> {
    type Error = F::Error;

    fn write(&mut self, bytes: &[u8]) -> Result<(), F::Error> {
        self.flash.borrow_mut().write(self.slot, self.at, bytes)?;
        // At most the target's size, which fits the slot.
        self.at = self.at.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    fn read_back(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), F::Error> {
        self.flash.borrow_mut().read(self.slot, offset, buf)
    }
}

/// Sector of common NOR flash: a patch and an image never share one.
const ERASE_BYTES: u32 = 4096;
