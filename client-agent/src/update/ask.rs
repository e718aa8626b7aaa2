//! The question: an update request for the manifest that is worked on.
//!
//! Source: protocol.md §2, steps 1 and 2.

use super::facts::COMPONENTS_MAX;
use super::facts::ShareOffer;
use super::record::{COUNTER_STEP, Granted, ManifestRef, Outcome, PendingReport, Stage, State};
use super::request::{self, Collected, Source};
use super::updater::{Asked, UpdateError, Updater};
use super::verify::{Followed, RESULT_INTEGRITY, Refused};
use crate::platform::{Flash, Random};
use bellwether_keys::UpKey;
use bellwether_keys::mac::{self, SealError};
use bellwether_keys::share::{PrivateShare, PublicShare, SHARE_BYTES, ShareError};
use bellwether_manifests::cbor::EncodeError;
use bellwether_manifests::message::request::Unconfirmed;
use bellwether_manifests::message::{List, RequestOptions, UpdateRequest};
use bellwether_manifests::report::Reason;
use core::time::Duration;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

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
        request::write_stable(&Source::ahead(&self.facts, self.held_images()), out)
    }

    /// Writes an update request into `out` and gives its length; a request before it is answered no more.
    ///
    /// `scratch` holds the manifest meanwhile, see [`Updater::manifest_bytes_max`]; a request has no more than
    /// [`request::OWN_REQUEST_BYTES_MAX`] bytes. `None` where there is nothing to
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
        if self.must_enforce_anchors() {
            self.enforce_anchors(uptime, scratch)?;
        }
        let Some(manifest) = self.record.manifest().cloned() else {
            return Ok(None);
        };
        match self.follow_kept(&manifest, uptime, scratch)? {
            Some(followed) => self.put(&followed, uptime, out),
            None => Ok(None),
        }
    }

    /// Writes the request for a manifest that is followed.
    // By itself: what it collects would else be on the stack while signatures are verified.
    #[inline(never)]
    fn put(
        &mut self,
        followed: &Followed<'_>,
        uptime: Duration,
        out: &mut [u8],
    ) -> Result<Option<usize>, UpdateError<F::Error>> {
        let source = Source { facts: &self.facts, held: self.held_images(), indices: followed.indices };
        let Ok(collected) = request::collect(&followed.component, followed.manifest, &source) else {
            self.refuse_kept(RESULT_INTEGRITY, Reason::ParameterUnsupported)?;
            return Ok(None);
        };
        let share = self.share_to_send()?;
        let counter = self.next_counter()?;
        let mut nonce = [0; 8];
        self.random.fill(&mut nonce);
        let place = self.record.place;
        let key = self.up_key(place)?;
        let question = Question { counter, nonce, share, now: self.now(uptime) };
        let (length, asked) = self.seal(&key, followed, &collected, &question, out)?;
        self.asked = Some(asked);
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
        if matches!(self.record.state, State::Stored(_)) {
            self.report_unusable(0, result, reason)?;
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

    /// Gives the public half of the share for the next seed where it is to be sent; the private one is in the record
    /// before that, and stays the same until the place moves.
    fn share_to_send(&mut self) -> Result<Option<PublicShare>, UpdateError<F::Error>> {
        let at_end = self.record.place.index >= self.record.chain_length.last_index();
        let offers = match self.facts.share_offer {
            ShareOffer::Never => false,
            ShareOffer::AtChainEnd => at_end,
            ShareOffer::Always => true,
        };
        if self.record.share.is_none() {
            if !offers {
                return Ok(None);
            }
            self.record.share = Some(self.draw_share()?);
            self.save()?;
        }
        Ok(self.record.share.as_ref().map(PrivateShare::public).transpose()?)
    }

    fn draw_share(&mut self) -> Result<PrivateShare, ShareError> {
        let mut random = Zeroizing::new([0; SHARE_BYTES]);
        for _ in 1..SHARE_DRAWS_MAX {
            self.random.fill(&mut *random);
            if let Ok(share) = PrivateShare::from_random(*random) {
                return Ok(share);
            }
        }
        self.random.fill(&mut *random);
        PrivateShare::from_random(*random)
    }

    fn seal(
        &self,
        key: &UpKey,
        followed: &Followed<'_>,
        collected: &Collected,
        question: &Question,
        out: &mut [u8],
    ) -> Result<(usize, Asked), SealError> {
        let Question { counter, nonce, share, now } = question;
        let place = self.record.place;
        let unconfirmed = self.unconfirmed();
        let echo = self.echo.as_ref().filter(|(at, _)| *at == place).map(|(_, echo)| echo.as_slice());
        let go = self.go_wanted();
        collected.with_messages(followed.manifest, |selector, volatile| {
            let asked_for = selector.hash()?;
            let held = self.held(followed.manifest, &asked_for, *now);
            let options = RequestOptions {
                echo,
                resume: held.as_ref().and_then(|held| held.resume),
                held: held.as_ref().map(|held| List::new(&held.contents[..held.count])),
                go,
                share: share.as_ref().map(|share| share.as_bytes().as_slice()),
                unconfirmed: unconfirmed
                    .as_ref()
                    .map(|(grant, report)| Unconfirmed { grant: *grant, report }),
                clock: self.tells_clock.then_some(*now),
                ..RequestOptions::default()
            };
            let request = UpdateRequest {
                place: place.of(self.facts.id),
                counter: *counter,
                fork: &self.record.fork,
                nonce,
                selector,
                volatile,
                options,
            };
            let length = mac::seal_request(key, followed.identifier, &request, out)?;
            Ok((length, Asked { nonce: *nonce, place, selector: asked_for, holds: held.is_some(), go }))
        })?
    }

    /// The grant whose image stands in the spare slot and waits for "go".
    fn go_wanted(&self) -> Option<u64> {
        match self.record.granted()? {
            granted @ Granted { stage: Stage::Executed, .. } => Some(granted.number),
            _ => None,
        }
    }

    /// The descriptor of the open grant, where it answers this question and is still valid.
    fn held<'r>(&'r self, manifest: &'r [u8; 32], selector: &[u8; 32], now: u64) -> Option<Held<'r>> {
        let granted = self.record.granted()?;
        let descriptor = granted.descriptor().ok()?;
        if descriptor.manifest != manifest || descriptor.selector != selector || descriptor.expires <= now {
            return None;
        }
        let resume = match granted.stage {
            Stage::Accepted(progress) if progress.frame > 0 => {
                let resource = descriptor.resources.get(progress.resource.into());
                resource.map(|resource| (resource.chain.root, progress.frame))
            }
            _ => None,
        };
        let mut contents = [manifest; COMPONENTS_MAX];
        let count = descriptor.resources.len();
        for (content, resource) in contents.get_mut(..count)?.iter_mut().zip(descriptor.resources.iter()) {
            *content = resource.content;
        }
        Some(Held { contents, count, resume })
    }

    /// The confirming report that led to this place, while it has no receipt: grant and digest.
    fn unconfirmed(&self) -> Option<(u64, [u8; 32])> {
        let led_here = |report: &&PendingReport| report.led_to == Some(self.record.place);
        let report = self.record.reports.iter().flatten().find(led_here)?;
        Some((report.grant, Sha256::digest(report.bytes.as_slice()).into()))
    }
}

/// What a request has of its own.
struct Question {
    counter: u64,
    nonce: [u8; 8],
    share: Option<PublicShare>,
    now: u64,
}

/// What is held of a descriptor.
struct Held<'r> {
    /// Digests of what is carried; the first `count` of them.
    contents: [&'r [u8; 32]; COMPONENTS_MAX],
    count: usize,
    /// Root and number of the frame where fetching goes on.
    resume: Option<(&'r [u8; 32], u32)>,
}

/// Draws for a share: that one is no scalar of P-256 happens once in 2^32.
const SHARE_DRAWS_MAX: usize = 4;
