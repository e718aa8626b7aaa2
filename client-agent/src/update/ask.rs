//! The question: an update request for the manifest that is worked on.
//!
//! Source: protocol.md §2, steps 1 and 2.

use super::record::{COUNTER_STEP, ManifestRef, Outcome, PendingReport, State};
use super::request::{self, Collected, Source};
use super::updater::{Asked, UpdateError, Updater};
use super::verify::{Followed, RESULT_INTEGRITY, Refused};
use crate::platform::{Flash, Random};
use bellwether_keys::mac::{self, SealError};
use bellwether_keys::{UpKey, derive};
use bellwether_manifests::cbor::EncodeError;
use bellwether_manifests::message::request::Unconfirmed;
use bellwether_manifests::message::{RequestOptions, UpdateRequest};
use bellwether_manifests::report::Reason;
use core::time::Duration;
use sha2::{Digest, Sha256};

impl<F: Flash, R: Random> Updater<'_, F, R> {
    /// Gives the path of the request identifier of the manifest that is worked on.
    #[must_use]
    pub fn request_path(&self) -> Option<&str> {
        self.record.manifest().map(|manifest| manifest.path.as_text())
    }

    /// Writes everything stable that this device can state of itself into `out`, and gives its length: CBOR
    /// `[* Scope-Answers]`, as a request would carry it.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Space`] where `out` is smaller than [`request::STABLE_BYTES_MAX`].
    pub fn stable_answers(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        let source = Source { facts: &self.facts, running: self.running(), slot_bytes: self.spare_bytes() };
        request::write_stable(&source, out)
    }

    /// Writes an update request into `out` and gives its length; a request before it is answered no more.
    ///
    /// `scratch` holds the manifest meanwhile, see [`Updater::manifest_bytes_max`]. `None` where there is nothing to
    /// ask for, also since the manifest is not followed any more; the record tells.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn ask(
        &mut self,
        uptime: Duration,
        scratch: &mut [u8],
        out: &mut [u8],
    ) -> Result<Option<usize>, UpdateError<F::Error>> {
        let Some(manifest) = self.record.manifest().cloned() else {
            return Ok(None);
        };
        let Some(followed) = self.follow_kept(&manifest, uptime, scratch)? else {
            return Ok(None);
        };
        let source = Source { facts: &self.facts, running: self.running(), slot_bytes: self.spare_bytes() };
        let Ok(collected) = request::collect(&followed.component, followed.manifest, &source) else {
            self.refuse_kept(RESULT_INTEGRITY, Reason::ParameterUnsupported)?;
            return Ok(None);
        };
        let counter = self.next_counter()?;
        let mut nonce = [0; 8];
        self.random.fill(&mut nonce);
        let place = self.record.place;
        let key = derive::up(&self.link(place)?, &place.of(self.facts.id))?;
        let (length, selector) = self.seal(&key, &followed, &collected, counter, nonce, out)?;
        self.asked = Some(Asked { nonce, place, selector });
        // A "prove" is good once.
        self.echo = None;
        Ok(Some(length))
    }

    /// Verifies the kept manifest anew: it is not believed for having been stored.
    pub(super) fn follow_kept<'s>(
        &mut self,
        manifest: &ManifestRef,
        uptime: Duration,
        scratch: &'s mut [u8],
    ) -> Result<Option<Followed<'s>>, UpdateError<F::Error>> {
        let envelope = self.load_manifest(manifest, scratch)?;
        let (result, reason) = match self.examine(envelope, uptime) {
            Ok(followed) if *followed.manifest == manifest.digest => return Ok(Some(followed)),
            Ok(_) => (RESULT_INTEGRITY, Reason::Unauthorised),
            Err(Refused { result, reason, .. }) => (result, reason),
        };
        self.refuse_kept(result, reason)?;
        Ok(None)
    }

    fn refuse_kept(&mut self, result: u8, reason: Reason) -> Result<(), UpdateError<F::Error>> {
        if matches!(self.record.state, State::Granted(_)) && self.fail(result, reason)? {
            return Ok(());
        }
        // Whoever offered it waits for this device: it was followed once, so its report can be trusted.
        if let State::Stored(manifest) = self.record.state.clone() {
            self.report_unusable(&manifest, 0, result, reason)?;
        }
        self.close(Outcome { result, refused: None });
        self.save()
    }

    fn next_counter(&mut self) -> Result<u64, UpdateError<F::Error>> {
        if self.counter >= self.record.counter_reserved {
            self.record.counter_reserved = self.counter.saturating_add(COUNTER_STEP);
            self.save()?;
        }
        let counter = self.counter;
        self.counter = self.counter.saturating_add(1);
        Ok(counter)
    }

    fn seal(
        &self,
        key: &UpKey,
        followed: &Followed<'_>,
        collected: &Collected,
        counter: u64,
        nonce: [u8; 8],
        out: &mut [u8],
    ) -> Result<(usize, [u8; 32]), SealError> {
        let place = self.record.place;
        let unconfirmed = self.unconfirmed();
        let echo = self.echo.as_ref().filter(|(at, _)| *at == place).map(|(_, echo)| echo.as_slice());
        collected.with_messages(followed.manifest, |selector, volatile| {
            let options = RequestOptions {
                echo,
                unconfirmed: unconfirmed
                    .as_ref()
                    .map(|(grant, report)| Unconfirmed { grant: *grant, report }),
                ..RequestOptions::default()
            };
            let request = UpdateRequest {
                place: place.of(self.facts.id),
                counter,
                fork: &self.record.fork,
                nonce: &nonce,
                selector,
                volatile,
                options,
            };
            Ok((mac::seal_request(key, followed.identifier, &request, out)?, selector.hash()?))
        })?
    }

    /// The confirming report that led to this place, while it has no receipt: grant and digest.
    fn unconfirmed(&self) -> Option<(u64, [u8; 32])> {
        let place = self.record.place;
        let led_here = |report: &&PendingReport| {
            report.confirming
                && report.place.epoch == place.epoch
                && report.place.index.checked_add(1) == Some(place.index)
        };
        let report = self.record.reports.iter().flatten().find(led_here)?;
        Some((report.grant, Sha256::digest(report.bytes.as_slice()).into()))
    }
}
