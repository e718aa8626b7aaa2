//! A manifest comes in: verify, store, and only then accept.

use super::bounded::Bounded;
use super::record::{Granted, ManifestRef, Outcome, Part, Stage, State};
use super::updater::{UpdateError, Updater};
use super::verify::{RESULT_CANCELLED, Refused};
use crate::platform::{Flash, Random, Region};
use bellwether_manifests::report::Reason;
use core::time::Duration;

/// Who brings a manifest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum By {
    Server,
    Gateway,
}

/// What became of a manifest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offered {
    /// It is stored, and will be asked for.
    Stored,
    /// It is the one that is worked on.
    Known,
    /// It is not followed; the outcome tells the result.
    Refused {
        /// LwM2M Update Result.
        result: u8,
        /// Reason for the report.
        reason: Reason,
    },
    /// Not now: an image is on trial, or a report that this owes has no free slot. Offer it again.
    Busy,
}

impl<F: Flash, R: Random> Updater<'_, F, R> {
    /// Takes a manifest.
    ///
    /// It replaces one that is worked on, whose grant is then reported failed.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn offer(&mut self, uptime: Duration, envelope: &[u8]) -> Result<Offered, UpdateError<F::Error>> {
        self.take(uptime, envelope, By::Server)
    }

    /// Takes a manifest that a gateway passes on.
    ///
    /// One that is not followed changes no outcome, which the server takes for the answer to its own push, and costs no
    /// write but that of a report that it owes.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn offer_passed_on(
        &mut self,
        uptime: Duration,
        envelope: &[u8],
    ) -> Result<Offered, UpdateError<F::Error>> {
        self.take(uptime, envelope, By::Gateway)
    }

    fn take(&mut self, uptime: Duration, envelope: &[u8], by: By) -> Result<Offered, UpdateError<F::Error>> {
        let offered = self.examine(envelope, uptime).map(|followed| ManifestRef {
            half: self.free_half(),
            bytes: u32::try_from(envelope.len()).unwrap_or(u32::MAX),
            digest: *followed.manifest,
            sequence: followed.sequence,
            reference: Bounded::copy_of(followed.reference.as_bytes()).unwrap_or(Bounded::EMPTY),
            path: Bounded::copy_of(followed.path.as_bytes()).unwrap_or(Bounded::EMPTY),
            parts: followed
                .wanted
                .map(|wanted| wanted.map(|wanted| Part { index: wanted.index, version: wanted.version })),
        });
        let manifest = match offered {
            Ok(manifest) => manifest,
            Err(refused) => return self.refuse(&refused, by),
        };
        if self.record.manifest().is_some_and(|current| current.digest == manifest.digest) {
            return Ok(Offered::Known);
        }
        if manifest.bytes > self.manifest_bytes_max() {
            let (result, reason) = (super::verify::RESULT_NO_FLASH, Reason::OperationFailed);
            return self.refuse(&Refused { result, reason, trusted: None }, by);
        }
        if !self.give_up_open(RESULT_CANCELLED)? {
            return Ok(Offered::Busy);
        }
        self.store(manifest, envelope)?;
        Ok(Offered::Stored)
    }

    /// Tells whether a manifest would replace the one that is worked on without coming after it. A server may want
    /// that; whoever only passes manifests on may not.
    #[must_use]
    pub fn is_behind(&self, uptime: Duration, envelope: &[u8]) -> bool {
        let (Ok(offered), Some(current)) = (self.examine(envelope, uptime), self.record.manifest()) else {
            return false;
        };
        *offered.manifest != current.digest && offered.sequence <= current.sequence
    }

    /// Drops what is worked on, as object 5's Cancel and its reset ask; a grant is reported failed.
    ///
    /// False where it cannot be dropped now: an image is on trial, or no report slot is free.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn drop_update(&mut self, result: u8) -> Result<bool, UpdateError<F::Error>> {
        if !self.give_up_open(result)? {
            return Ok(false);
        }
        self.close(Outcome { result, refused: None });
        self.save()?;
        Ok(true)
    }

    /// Closes an open grant; true where none is open any more. A stored manifest stays for the caller.
    fn give_up_open(&mut self, result: u8) -> Result<bool, UpdateError<F::Error>> {
        match &self.record.state {
            State::None | State::Stored(_) => Ok(true),
            State::Granted(Granted { stage: Stage::Trial, .. }) => Ok(false),
            State::Granted(_) => self.fail(result, Reason::OperationFailed),
        }
    }

    fn store(&mut self, manifest: ManifestRef, envelope: &[u8]) -> Result<(), UpdateError<F::Error>> {
        let offset = u32::from(manifest.half) * self.manifest_bytes_max();
        self.flash.write(Region::Manifest, offset, envelope).map_err(UpdateError::Flash)?;
        self.close(Outcome::default());
        self.record.state = State::Stored(manifest);
        self.save()
    }

    fn refuse(&mut self, refused: &Refused<'_>, by: By) -> Result<Offered, UpdateError<F::Error>> {
        let reported = match &refused.trusted {
            Some(trusted) => self.report_refused(trusted, refused.result, refused.reason)?,
            None => false,
        };
        // What is worked on goes on: nothing of a refused manifest is acted on.
        if by == By::Server {
            self.record.outcome = Outcome { result: refused.result, refused: None };
        }
        if reported || by == By::Server {
            self.save()?;
        }
        Ok(Offered::Refused { result: refused.result, reason: refused.reason })
    }

    /// The half of the manifest region that the record does not name.
    fn free_half(&self) -> u8 {
        self.record.manifest().map_or(0, |current| 1 - current.half.min(1))
    }
}
