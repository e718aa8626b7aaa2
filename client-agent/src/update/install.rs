//! From fetched bytes to a verified image in the spare slot, and to its trial.

use super::boot::{Image, Slot, Trial};
use super::record::{Granted, Outcome, Stage, State};
use super::slot::{PIECE_BYTES, digest_of_range, digest_of_slot};
use super::trial;
use super::updater::{UpdateError, Updater};
use super::verify::{RESULT_FAILED, RESULT_INTEGRITY, RESULT_SUCCESS};
use crate::platform::{Flash, Random};
use bellwether_delta::{ApplyError, Base, Patcher, Sink};
use bellwether_manifests::message::{Confirm, Moment, Patch, Resource};
use bellwether_manifests::report::{Outcome as SuitOutcome, Reason};
use core::cell::RefCell;

/// What became of the word to start the image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begun {
    /// The next boot starts the spare slot.
    Trial,
    /// The grant wants "go?" to be asked first; that the image may be started is in the record.
    GoFirst,
    /// No verified image waits, the report that the trial will owe has no slot, or new anchors are still to be
    /// enforced.
    NotNow,
}

/// What became of an installation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Installed {
    /// The image stands in the spare slot and has the digest that the author signed.
    Verified,
    /// It has not; the grant was given up.
    GivenUp,
    /// Nothing is complete yet.
    Unasked,
}

impl<F: Flash, R: Random> Updater<'_, F, R> {
    /// Applies the patch, if there is one, and checks the image: state *decrypted*, with the report that it owes.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn install(&mut self) -> Result<Installed, UpdateError<F::Error>> {
        if !self.is_fetched() {
            return Ok(Installed::Unasked);
        }
        let Some(granted) = self.record.granted().cloned() else {
            return Ok(Installed::Unasked);
        };
        let descriptor = granted.descriptor()?;
        let Some(resource) = descriptor.resources.get(0) else {
            return Ok(Installed::Unasked);
        };
        let whole = match resource.patch {
            None => true,
            Some(patch) => self.apply(&resource, &patch)?,
        };
        let spare = self.spare();
        let bytes = u32::try_from(resource.installed_bytes).unwrap_or(u32::MAX);
        let right = whole
            && digest_of_slot(&mut self.flash, spare, bytes).map_err(UpdateError::Flash)?
                == *resource.installed;
        if !right {
            self.fail(RESULT_INTEGRITY, Reason::OperationFailed)?;
            return Ok(Installed::GivenUp);
        }
        self.set_decrypted(&granted)?;
        Ok(Installed::Verified)
    }

    /// Begins the trial: the next boot starts the spare slot, unless the grant wants "go?" to be asked first.
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
        let sequence = granted.manifest.sequence;
        let descriptor = granted.descriptor()?;
        let wanted = descriptor.resources.get(0).map(|resource| *resource.installed);
        if Some(self.running().digest) == wanted {
            self.report_granted(Moment::Installed, SuitOutcome::Success)?;
            self.record.manifest_sequence = self.record.manifest_sequence.max(sequence);
            self.close(Outcome { result: RESULT_SUCCESS, refused: None });
            return self.save();
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

    /// The second write of the beginning; a boot between the two finds the record and comes here again.
    fn mark_trial(&mut self) -> Result<(), UpdateError<F::Error>> {
        let Some(granted) = self.record.granted() else {
            return Ok(());
        };
        let descriptor = granted.descriptor()?;
        let Some(resource) = descriptor.resources.get(0) else {
            return Ok(());
        };
        let image = Image {
            digest: *resource.installed,
            bytes: u32::try_from(resource.installed_bytes).unwrap_or(u32::MAX),
            version: granted.manifest.version.clone(),
        };
        let number = granted.number;
        trial::begin(&mut self.flash, &mut self.boots, &mut self.boot, image, number)?;
        self.reboot = true;
        Ok(())
    }

    fn set_decrypted(&mut self, granted: &Granted) -> Result<(), UpdateError<F::Error>> {
        if granted.grant()?.confirm != Confirm::Installed {
            // A slot was free when the grant was accepted, and nothing else owes a report meanwhile.
            self.report_granted(Moment::Decrypted, SuitOutcome::Success)?;
        }
        self.set_stage(Stage::Decrypted);
        self.save()
    }

    /// Applies the staged patch to what runs; false where patch or result are wrong.
    fn apply(&mut self, resource: &Resource<'_>, patch: &Patch<'_>) -> Result<bool, UpdateError<F::Error>> {
        let (Some(start), Ok(bytes), Ok(target)) = (
            staging_offset(self.spare_bytes(), resource.plain_bytes),
            u32::try_from(resource.plain_bytes),
            u32::try_from(resource.installed_bytes),
        ) else {
            return Ok(false);
        };
        let (base, spare) = (self.boot.active, self.spare());
        let staged = digest_of_range(&mut self.flash, spare, start, bytes).map_err(UpdateError::Flash)?;
        let base_bytes = self.running().bytes;
        let algorithm = i32::try_from(patch.algorithm).unwrap_or_default();
        let Ok(mut patcher) = Patcher::new(algorithm, base_bytes, target, patch.parameters) else {
            return Ok(false);
        };
        if staged != *resource.plain {
            return Ok(false);
        }
        let flash = RefCell::new(&mut self.flash);
        let (mut from, mut to) =
            (SlotBase { flash: &flash, slot: base }, SlotSink { flash: &flash, slot: spare, at: 0 });
        let mut piece = [0; PIECE_BYTES as usize];
        let mut done = 0;
        while done < bytes {
            let length = (bytes - done).min(PIECE_BYTES);
            let piece = &mut piece[..length as usize];
            flash.borrow_mut().read(spare.region(), start + done, piece).map_err(UpdateError::Flash)?;
            match patcher.push(piece, &mut from, &mut to) {
                Ok(()) => done += length,
                Err(ApplyError::Patch(_)) => return Ok(false),
                Err(ApplyError::Base(error) | ApplyError::Sink(error)) => {
                    return Err(UpdateError::Flash(error));
                }
            }
        }
        Ok(patcher.finish().is_ok())
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
    slot: Slot,
}

impl<F: Flash> Base for SlotBase<'_, '_, F> {
    type Error = F::Error;

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), F::Error> {
        self.flash.borrow_mut().read(self.slot.region(), offset, buf)
    }
}

/// The spare slot, as the patcher writes it.
struct SlotSink<'c, 'f, F> {
    flash: &'c RefCell<&'f mut F>,
    slot: Slot,
    at: u32,
}

impl<F: Flash> Sink for SlotSink<'_, '_, F> {
    type Error = F::Error;

    fn write(&mut self, bytes: &[u8]) -> Result<(), F::Error> {
        self.flash.borrow_mut().write(self.slot.region(), self.at, bytes)?;
        // At most the target's size, which fits the slot.
        self.at = self.at.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        Ok(())
    }
}

/// Sector of common NOR flash: a patch and an image never share one.
const ERASE_BYTES: u32 = 4096;
