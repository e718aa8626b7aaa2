//! Grants: everything that a device checks before it writes anything.
//!
//! Source: protocol.md §2, step 3.

use super::answer::{Answered, Ignored, Unusable, allows_signer};
use super::facts::Facts;
use super::fetch::{frames_path, layout};
use super::install::staging_offset;
use super::record::{DESCRIPTOR_BYTES_MAX, GRANT_BYTES_MAX, Granted, Outcome, Progress, Stage, State};
use super::request::Held;
use super::updater::{Asked, UpdateError, Updater};
use super::verify::{Followed, Wanted};
use crate::platform::{Flash, Random};
use bellwether_keys::share::{PrivateShare, PublicShare};
use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::cose::{PublicKey, Sign1, SignatureVerifier};
use bellwether_manifests::message::grant::Shares;
use bellwether_manifests::message::{Answer, Descriptor, Grant, Resource, ResourceKind, word};
use core::time::Duration;

/// An authentic grant.
pub(super) struct Signed<'m> {
    pub(super) grant: Grant<'m>,
    /// The distributor's key, where it is signed instead of under a MAC.
    pub(super) signer: Option<PublicKey>,
}

/// The messages of one answer, authentic.
struct Received<'m> {
    grant: Grant<'m>,
    message: &'m [u8],
    descriptor_message: &'m [u8],
    descriptor: Descriptor<'m>,
}

/// What an answer with a grant came to, before anything was written.
enum Checked {
    Usable(Usable),
    Unusable(Unusable),
    Ignored(Ignored),
}

/// What is kept, or told, of a grant that can be used.
struct Usable {
    progress: Progress,
    base: Option<[u8; 32]>,
    content_bytes: u64,
}

/// A grant's answer as it came, and what it is held against.
struct Claim<'c, 'm> {
    grant: &'c Signed<'m>,
    message: &'m [u8],
    /// The descriptor that came, or the one that is held.
    descriptor: Option<&'m [u8]>,
    asked: &'c Asked,
    now: u64,
}

impl<F: Flash, R: Random> Updater<'_, F, R> {
    pub(super) fn take_grant(
        &mut self,
        uptime: Duration,
        scratch: &mut [u8],
        asked: &Asked,
        answer: &Answer<'_>,
        grant: &Signed<'_>,
    ) -> Result<Answered, UpdateError<F::Error>> {
        let Some(manifest) = self.record.manifest().cloned() else {
            return Ok(Answered::Ignored(Ignored::Unasked));
        };
        let Some(followed) = self.follow_kept(&manifest, uptime, scratch)? else {
            return Ok(Answered::Ignored(Ignored::OtherQuestion));
        };
        if let Some(open) = self.same_as_open(&grant.grant, answer.message) {
            // It answers no "go?": whoever holds the grant can send it again.
            if !open || asked.go.is_some() {
                return Ok(Answered::Ignored(self.too_low(&grant.grant)));
            }
            self.ask_again = false;
            self.asked = None;
            return Ok(Answered::SameGrant);
        }
        let claim = Claim {
            grant,
            message: answer.message,
            descriptor: answer.descriptor.or_else(|| self.held_descriptor(asked)),
            asked,
            now: self.now(uptime),
        };
        match self.check(&claim, &followed)? {
            Checked::Usable(usable) => self.accept(&grant.grant, answer, &usable),
            Checked::Unusable(unusable) => self.refuse_grant(&grant.grant, unusable),
            Checked::Ignored(ignored) => {
                // Nobody but this device knows that its clock is ahead: the server can grant by it once it is told.
                self.tells_clock |= ignored == Ignored::Expired;
                Ok(Answered::Ignored(ignored))
            }
        }
    }

    fn check(
        &self,
        claim: &Claim<'_, '_>,
        followed: &Followed<'_>,
    ) -> Result<Checked, UpdateError<F::Error>> {
        let received = match self.check_fresh(claim, followed) {
            Ok(received) => received,
            Err(ignored) => return Ok(Checked::Ignored(ignored)),
        };
        // A signature does not prove who it is for; what it wraps under the key of this device does.
        if claim.grant.signer.is_some() && self.check_key(&received)?.is_err() {
            return Ok(Checked::Ignored(Ignored::Signer));
        }
        if let Err(unusable) = self.check_usable(&received, followed)? {
            return Ok(Checked::Unusable(unusable));
        }
        let Some(progress) = self.progress_of(&received.descriptor) else {
            return Ok(Checked::Unusable(Unusable::TooLong));
        };
        let resources = received.descriptor.resources;
        Ok(Checked::Usable(Usable {
            progress,
            base: resources.iter().find_map(|resource| resource.patch).map(|patch| *patch.precursor),
            content_bytes: resources.iter().map(|resource| resource.content_bytes).sum(),
        }))
    }

    /// Whether the grant has the open one's number: then, whether it is that one, byte for byte.
    fn same_as_open(&self, grant: &Grant<'_>, message: &[u8]) -> Option<bool> {
        let open = self.record.granted().filter(|open| open.number == grant.grant)?;
        Some(open.grant.as_slice() == message)
    }

    fn too_low(&self, grant: &Grant<'_>) -> Ignored {
        Ignored::Number { number: grant.grant, highest: self.record.grant_highest }
    }

    /// The descriptor whose contents the request named.
    fn held_descriptor(&self, asked: &Asked) -> Option<&[u8]> {
        let granted = self.record.granted().filter(|_| asked.holds)?;
        Some(granted.descriptor.as_slice())
    }

    /// Is it for this question, new, unexpired, and with a descriptor that a distributor signed for it?
    fn check_fresh<'m>(
        &self,
        claim: &Claim<'_, 'm>,
        followed: &Followed<'_>,
    ) -> Result<Received<'m>, Ignored> {
        let Signed { grant, signer } = claim.grant;
        if grant.manifest != followed.manifest || *grant.selector != claim.asked.selector {
            return Err(Ignored::OtherQuestion);
        }
        if signer.is_some_and(|signer| !allows_signer(followed, &signer)) {
            return Err(Ignored::Signer);
        }
        if grant.grant <= self.record.grant_highest {
            return Err(self.too_low(grant));
        }
        if grant.not_after <= claim.now {
            return Err(Ignored::Expired);
        }
        if !self.may_take_grant() {
            return Err(Ignored::Busy);
        }
        if let Some(edition) =
            grant.options.anchors_edition.filter(|edition| *edition > self.anchors_edition())
        {
            return Err(Ignored::AnchorsNeeded { edition });
        }
        let descriptor_message = claim.descriptor.ok_or(Ignored::NoDescriptor)?;
        let descriptor =
            open_descriptor(self.facts.signatures, descriptor_message, &self.anchors(), followed)?;
        if descriptor.manifest != grant.manifest || descriptor.selector != grant.selector {
            return Err(Ignored::OtherQuestion);
        }
        if descriptor.expires <= claim.now {
            return Err(Ignored::Expired);
        }
        if !same_contents(grant, &descriptor) {
            return Err(Ignored::Mismatch);
        }
        Ok(Received { grant: *grant, message: claim.message, descriptor_message, descriptor })
    }

    /// No trial, and no decryption that owes a report, begins without a free slot.
    fn may_take_grant(&self) -> bool {
        let on_trial = matches!(self.record.state, State::Granted(Granted { stage: Stage::Trial, .. }));
        self.record.has_free_report() && !on_trial
    }

    /// Can this device use it?
    fn check_usable(
        &self,
        received: &Received<'_>,
        followed: &Followed<'_>,
    ) -> Result<Result<(), Unusable>, UpdateError<F::Error>> {
        let checked =
            self.check_reseeding(&received.grant).and_then(|()| self.check_resources(received, followed));
        if let Err(unusable) = checked {
            return Ok(Err(unusable));
        }
        self.check_key(received)
    }

    /// At the end of the chain there is no next key, so that grant must re-seed; shares must be the ones of now.
    fn check_reseeding(&self, grant: &Grant<'_>) -> Result<(), Unusable> {
        let reseeds = grant.options.reseed == Some(true);
        if !reseeds && self.record.place.index >= self.record.chain_length.last_index() {
            return Err(Unusable::ChainEnds);
        }
        if reseeds && self.record.place.epoch == u16::MAX {
            return Err(Unusable::Option(OPTION_RESEED));
        }
        match grant.options.shares {
            None => Ok(()),
            Some(shares) if reseeds && self.is_with_our_share(&shares) => Ok(()),
            Some(_) => Err(Unusable::Share),
        }
    }

    fn is_with_our_share(&self, shares: &Shares<'_>) -> bool {
        let ours = self.record.share.as_ref().map(PrivateShare::public);
        let is_ours = matches!(ours, Some(Ok(ours)) if ours.as_bytes().as_slice() == shares.device);
        is_ours && PublicShare::parse(shares.server).is_ok()
    }

    /// Is each resource for a component that the manifest fetches, and does every one of those come to its image?
    fn check_resources(&self, received: &Received<'_>, followed: &Followed<'_>) -> Result<(), Unusable> {
        for resource in received.descriptor.resources {
            let (component, wanted) = followed.wanted_at(resource.component).ok_or(Unusable::Form)?;
            if resource.inline.is_some()
                || resource.kind == ResourceKind::Manifest
                || !is_served_here(&resource)
            {
                return Err(Unusable::Form);
            }
            let held = Held { running: self.running_of(component), slot_bytes: self.spare_bytes(component) };
            check_resource(&resource, wanted, &held, &self.facts)?;
        }
        for (component, wanted) in followed.wanted.iter().enumerate() {
            let is_left_out = wanted.as_ref().is_some_and(|wanted| {
                received.descriptor.resource(wanted.index).is_none()
                    && self.running_of(component).digest != *wanted.installed
            });
            if is_left_out {
                return Err(Unusable::Incomplete);
            }
        }
        Ok(())
    }

    fn check_key(&self, received: &Received<'_>) -> Result<Result<(), Unusable>, UpdateError<F::Error>> {
        for resource in received.grant.resources {
            for algorithm in [resource.algorithm, resource.key.algorithm] {
                if !self.anchors().allows(algorithm) {
                    return Ok(Err(Unusable::Algorithm(algorithm)));
                }
            }
        }
        if received.message.len() > GRANT_BYTES_MAX
            || received.descriptor_message.len() > DESCRIPTOR_BYTES_MAX
        {
            return Ok(Err(Unusable::TooLong));
        }
        for resource in received.grant.resources {
            if self.content_key(self.record.place, &resource)?.is_none() {
                return Ok(Err(Unusable::Key));
            }
        }
        Ok(Ok(()))
    }

    /// Fetching goes on where the grant before this one was, if it was for the same bytes; one ciphertext has one key.
    fn progress_of(&self, descriptor: &Descriptor<'_>) -> Option<Progress> {
        let first = descriptor.resources.get(0)?;
        let first = Progress { resource: 0, frame: 0, expected: *first.chain.root };
        let Some((open, progress)) = self.accepted() else { return Some(first) };
        let Ok(before) = open.descriptor() else { return Some(first) };
        let is_same = before.resources.len() == descriptor.resources.len()
            && before.resources.iter().zip(descriptor.resources.iter()).all(|(before, now)| {
                (before.component, before.content, before.chain, before.patch)
                    == (now.component, now.content, now.chain, now.patch)
            });
        Some(if is_same { progress } else { first })
    }

    /// Keeps the grant; one that was open is replaced. The request is closed. What fits was checked before.
    fn accept(
        &mut self,
        grant: &Grant<'_>,
        answer: &Answer<'_>,
        usable: &Usable,
    ) -> Result<Answered, UpdateError<F::Error>> {
        self.record.grant_highest = grant.grant;
        let place = self.record.place;
        let granted = self.record.open_grant().ok_or(UpdateError::Buffer)?;
        (granted.place, granted.number, granted.keys) = (place, grant.grant, None);
        granted.stage = Stage::Accepted(usable.progress);
        granted.grant.set(answer.message).ok_or(UpdateError::Buffer)?;
        // Without one, the held descriptor was meant, and stays.
        if let Some(descriptor) = answer.descriptor {
            granted.descriptor.set(descriptor).ok_or(UpdateError::Buffer)?;
        }
        self.asked = None;
        self.ask_again = false;
        self.tells_clock = false;
        self.altered = 0;
        self.save()?;
        Ok(Answered::Granted { base: usable.base, content_bytes: usable.content_bytes })
    }

    /// Reports a grant failed under its number, without having kept it.
    fn refuse_grant(
        &mut self,
        grant: &Grant<'_>,
        unusable: Unusable,
    ) -> Result<Answered, UpdateError<F::Error>> {
        if !self.report_unusable(grant.grant, unusable.result(), unusable.reason())? {
            return Ok(Answered::Ignored(Ignored::Unasked));
        }
        self.record.grant_highest = grant.grant;
        self.close(Outcome { result: unusable.result(), refused: None });
        self.save()?;
        Ok(Answered::Unusable(unusable))
    }
}

fn open_descriptor<'m>(
    signatures: &dyn SignatureVerifier,
    message: &'m [u8],
    anchors: &Anchors<'_>,
    followed: &Followed<'_>,
) -> Result<Descriptor<'m>, Ignored> {
    let signed = Sign1::parse(message).map_err(|_| Ignored::Distributor)?;
    let key = anchors.distributor(signed.kid()).ok_or(Ignored::Distributor)?;
    if !allows_signer(followed, &key) {
        return Err(Ignored::Distributor);
    }
    let payload =
        signed.verify_with(&signatures, &[word::DESCRIPTOR], &key).map_err(|_| Ignored::Distributor)?;
    Ok(Descriptor::decode(payload)?)
}

/// Whether grant and descriptor list the same components with equal content and installed digests.
fn same_contents(grant: &Grant<'_>, descriptor: &Descriptor<'_>) -> bool {
    grant.resources.len() == descriptor.resources.len()
        && grant.resources.iter().zip(descriptor.resources.iter()).all(|(granted, described)| {
            granted.component == described.component
                && granted.content == described.content
                && granted.installed == described.installed
        })
}

/// Whether one of the locations is `/f/<root>` on the server that is asked.
fn is_served_here(resource: &Resource<'_>) -> bool {
    let path = frames_path(resource.chain.root);
    resource.locations.iter().any(|location| location == path.as_text())
}

fn check_resource(
    resource: &Resource<'_>,
    wanted: &Wanted<'_>,
    held: &Held<'_>,
    facts: &Facts<'_>,
) -> Result<(), Unusable> {
    let Held { running, slot_bytes } = *held;
    let installed_bytes = u32::try_from(resource.installed_bytes).map_err(|_| Unusable::Size)?;
    if resource.installed != wanted.installed
        || wanted.installed_bytes.is_some_and(|bytes| bytes != resource.installed_bytes)
    {
        return Err(Unusable::Installed);
    }
    // Counter mode neither adds nor takes a byte.
    if resource.plain_bytes != resource.content_bytes || installed_bytes > slot_bytes {
        return Err(Unusable::Size);
    }
    layout(resource).map_err(|_| Unusable::Form)?;
    let Some(patch) = resource.patch else {
        let whole = resource.plain_bytes == resource.installed_bytes && resource.plain == resource.installed;
        return if whole { Ok(()) } else { Err(Unusable::Form) };
    };
    if *patch.precursor != running.digest || patch.precursor_bytes != u64::from(running.bytes) {
        return Err(Unusable::Precursor);
    }
    let known = facts.patch_algorithms.iter().any(|algorithm| i64::from(*algorithm) == patch.algorithm);
    let number = i32::try_from(patch.algorithm).ok().filter(|_| known);
    let ram = number.and_then(|number| bellwether_delta::ram_bytes(number, patch.parameters).ok());
    if ram.is_none() {
        return Err(Unusable::Algorithm(patch.algorithm));
    }
    let beside = staging_offset(slot_bytes, resource.plain_bytes).is_some_and(|at| at >= installed_bytes);
    if beside { Ok(()) } else { Err(Unusable::Size) }
}

/// Option of a grant by its key in update.cddl.
const OPTION_RESEED: u8 = 1;
