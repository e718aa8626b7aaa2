//! Anchors that replace those of the unit file: verified by the ones in force, kept in flash, enforced at once.
//!
//! The document is written first, the record after it. The record says under which edition everything in it was last
//! checked; so a power cut between the two leaves the check to be made, and the open update waits for it.
//!
//! Source: protocol.md §7.

use super::answer::signer_is_believed;
use super::journal::{BODY_BYTES_MAX, Journal, JournalError};
use super::record::{Granted, Stage, State};
use super::updater::{UpdateError, Updater};
use super::verify::{Followed, RESULT_INTEGRITY};
use crate::platform::{Flash, Random, Region};
use bellwether_manifests::anchors::{Anchors, AnchorsError};
use bellwether_manifests::report::Reason;
use core::fmt;
use core::time::Duration;

/// What became of an anchors document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AnchorsTaken {
    /// It is in force.
    Taken {
        /// Its edition.
        edition: u64,
    },
    /// It was in force already.
    Known,
    /// It has more bytes than this device keeps: than the memory for it, or than [`ANCHORS_BYTES_MAX`].
    TooLong,
    /// It does not replace what is in force.
    Refused(AnchorsError),
}

impl<F: Flash, R: Random> Updater<'_, F, R> {
    /// Gives the anchors in force: the newest of those that were taken, or the unit file's.
    #[must_use]
    pub fn anchors(&self) -> Anchors<'_> {
        self.kept_anchors.newer_than(self.facts.anchors.edition()).unwrap_or(self.facts.anchors)
    }

    /// Gives the edition of the anchors in force.
    #[must_use]
    pub fn anchors_edition(&self) -> u64 {
        self.facts.anchors.edition().max(self.kept_anchors.edition)
    }

    /// Takes a signed anchors document that replaces the one in force.
    ///
    /// An update that is worked on and that the new anchors do not allow is given up, with a report. `scratch` holds
    /// the manifest meanwhile, see [`Updater::manifest_bytes_max`].
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn take_anchors(
        &mut self,
        uptime: Duration,
        scratch: &mut [u8],
        document: &[u8],
    ) -> Result<AnchorsTaken, UpdateError<F::Error>> {
        if !document.is_empty() && self.kept_anchors.document() == document {
            return Ok(AnchorsTaken::Known);
        }
        if document.len() > self.kept_anchors.room() {
            return Ok(AnchorsTaken::TooLong);
        }
        let edition = match Anchors::replacing_with(&self.facts.signatures, document, &self.anchors()) {
            Ok(anchors) => anchors.edition(),
            Err(error) => return Ok(AnchorsTaken::Refused(error)),
        };
        self.kept_anchors.store(&mut self.flash, document, edition)?;
        self.enforce_anchors(uptime, scratch)?;
        Ok(AnchorsTaken::Taken { edition })
    }

    /// Tells whether what is worked on was not checked yet under the anchors in force.
    pub(super) fn must_enforce_anchors(&self) -> bool {
        self.record.anchors_edition < self.anchors_edition()
    }

    /// Checks what is worked on under the anchors in force; one write of the record.
    pub(super) fn enforce_anchors(
        &mut self,
        uptime: Duration,
        scratch: &mut [u8],
    ) -> Result<(), UpdateError<F::Error>> {
        self.record.anchors_edition = self.anchors_edition();
        self.raise_floor(self.anchors().issued(), uptime);
        let on_trial = matches!(self.record.state, State::Granted(Granted { stage: Stage::Trial, .. }));
        // What is on trial is settled first; its author was checked before it was started.
        if let Some(manifest) = self.record.manifest().filter(|_| !on_trial).cloned() {
            let Some(followed) = self.follow_kept(&manifest, uptime, scratch)? else {
                // It has been given up, and that was written.
                return Ok(());
            };
            if !self.distributors_are_believed(&followed) {
                return self.give_up(RESULT_INTEGRITY, Reason::Unauthorised);
            }
        }
        self.save()
    }

    /// Whether descriptor and grant of what is open are by distributors that are believed now.
    fn distributors_are_believed(&self, followed: &Followed<'_>) -> bool {
        let anchors = self.anchors();
        self.record.granted().is_none_or(|granted| {
            [granted.descriptor.as_slice(), granted.grant.as_slice()]
                .into_iter()
                .all(|message| signer_is_believed(message, &anchors, followed))
        })
    }
}

/// The document that replaced the unit file's, in flash and in memory.
pub(super) struct KeptAnchors<'a> {
    journal: Journal,
    document: &'a mut [u8],
    length: usize,
    /// Its edition, so that it is not read anew at every step; 0 without a document.
    edition: u64,
}

impl<'a> KeptAnchors<'a> {
    /// None was read yet; `memory` is for it.
    pub(super) fn unread(memory: &'a mut [u8]) -> Self {
        Self { journal: Journal::new(Region::Anchors), document: memory, length: 0, edition: 0 }
    }

    /// Bytes that a document may have.
    fn room(&self) -> usize {
        self.document.len().min(ANCHORS_BYTES_MAX)
    }

    /// Reads the newest document; there may be none.
    pub(super) fn load<F: Flash>(&mut self, flash: &mut F) -> Result<(), UpdateError<F::Error>> {
        let length = match self.journal.load(flash, self.document) {
            Ok(length) => length.unwrap_or(0),
            // Taken by a program with more memory for it.
            Err(JournalError::TooLong(_)) => 0,
            Err(JournalError::Flash(error)) => return Err(UpdateError::Flash(error)),
        };
        // Damage or a later program's form: none. The edition in the record then stops the device, if it counted.
        if let Ok(anchors) = Anchors::verified_before(&self.document[..length]) {
            (self.length, self.edition) = (length, anchors.edition());
        }
        Ok(())
    }

    fn document(&self) -> &[u8] {
        &self.document[..self.length]
    }

    fn newer_than(&self, edition: u64) -> Option<Anchors<'_>> {
        if self.edition <= edition {
            return None;
        }
        Anchors::verified_before(self.document()).ok()
    }

    fn store<F: Flash>(
        &mut self,
        flash: &mut F,
        document: &[u8],
        edition: u64,
    ) -> Result<(), UpdateError<F::Error>> {
        self.journal.store(flash, document).map_err(from_journal)?;
        self.document[..document.len()].copy_from_slice(document);
        (self.length, self.edition) = (document.len(), edition);
        Ok(())
    }
}

impl fmt::Debug for KeptAnchors<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptAnchors({} bytes)", self.length)
    }
}

fn from_journal<E>(error: JournalError<E>) -> UpdateError<E> {
    match error {
        JournalError::Flash(error) => UpdateError::Flash(error),
        JournalError::TooLong(_) => UpdateError::Buffer,
    }
}

/// Bytes of a document that is kept: what one sector holds beside the journal's own. Four roles with four P-256 keys
/// each and eight signatures have less.
pub const ANCHORS_BYTES_MAX: usize = BODY_BYTES_MAX;
