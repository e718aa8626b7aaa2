//! The answer: everything that a device checks before it writes anything.
//!
//! What is not authentic, not fresh or not for this request is ignored, and asked for again later. A grant that is
//! authentic and that this device cannot use is reported failed under its number.
//!
//! Source: protocol.md §2, step 3.

use super::boot::Image;
use super::bounded::Bounded;
use super::facts::{COMPONENT_INDEX, Facts};
use super::fetch::{frames_path, layout};
use super::install::staging_offset;
use super::record::{Granted, Outcome, Progress, Stage, State};
use super::report::failure;
use super::updater::{Asked, UpdateError, Updater};
use super::verify::{Followed, RESULT_FAILED, RESULT_NO_FLASH, RESULT_SUCCESS};
use crate::platform::{Flash, Random};
use bellwether_keys::derive;
use bellwether_keys::mac::{self, OpenError, Reply};
use bellwether_manifests::cose::Sign1;
use bellwether_manifests::definition::DEFINITION_BYTES_MAX;
use bellwether_manifests::message::{
    Answer, Descriptor, Detail, Grant, MessageError, Moment, Resource, ResourceKind, Verdict, word,
};
use bellwether_manifests::report::Reason;
use core::time::Duration;
use thiserror::Error;

/// What an answer came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answered {
    /// A grant was accepted; frames can be fetched.
    Granted {
        /// Digest of the base, if a delta was granted.
        base: Option<[u8; 32]>,
        /// Bytes as carried.
        content_bytes: u64,
    },
    /// The open grant came again; fetching goes on.
    SameGrant,
    /// The grant cannot be used here, and is reported failed.
    Unusable(Unusable),
    /// Ask again at once, with the server's echo.
    Prove,
    /// Ask again after so many seconds.
    Later {
        /// Least wait.
        delay_s: u64,
        /// Most to add at random.
        jitter_s: u64,
    },
    /// There is nothing to do: the device runs what it should. The manifest is closed.
    Nothing,
    /// Refused for good. The manifest is closed.
    Refused {
        /// Number of the reason.
        reason: i64,
    },
    /// Verdict of a kind that this device does not follow, such as another distributor: ask again later.
    NotFollowed {
        /// Kind of the verdict.
        kind: u8,
    },
    /// Not an answer to the open request; it changed nothing. Ask again later.
    Ignored(Ignored),
}

/// Why an answer is ignored.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Ignored {
    /// No request is open.
    #[error("no request is open")]
    Unasked,
    /// Not an answer at all.
    #[error("not an answer")]
    Message(#[from] MessageError),
    /// Not authentic, for another device or place, or for another request.
    #[error("not authentic, or not for this request")]
    Open(#[from] OpenError),
    /// For another manifest or another selector.
    #[error("for another manifest or selector")]
    OtherQuestion,
    /// Not above the highest grant that was kept.
    #[error("grant {number} is not above {highest}")]
    Number {
        /// Number of the grant.
        number: u64,
        /// Highest that was kept.
        highest: u64,
    },
    /// It has expired.
    #[error("expired")]
    Expired,
    /// No descriptor came with it, and none is held.
    #[error("without descriptor")]
    NoDescriptor,
    /// The descriptor is not signed by a distributor that is believed.
    #[error("descriptor is not signed by a distributor that is believed")]
    Distributor,
    /// Grant and descriptor are not about the same content.
    #[error("grant and descriptor are about different contents")]
    Mismatch,
    /// An image is on trial, or a report that the grant owes would have no slot.
    #[error("no grant can be taken now")]
    Busy,
}

/// Why an authentic grant cannot be used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Unusable {
    /// An option asks for what this device does not do: re-seeding, "go?", later anchors.
    #[error("option {0} is not followed here")]
    Option(u8),
    /// The chain ends here, and the grant does not re-seed.
    #[error("the key chain ends and the grant does not re-seed")]
    ChainEnds,
    /// More than one component, a further manifest, inline content, or no location on this server.
    #[error("resource of a form that is not fetched here")]
    Form,
    /// The author did not sign this image.
    #[error("the image is not the one that the author signed")]
    Installed,
    /// The delta is from another base than what runs.
    #[error("the delta is not from what runs")]
    Precursor,
    /// Image, or image and patch together, do not fit the spare slot.
    #[error("the image does not fit")]
    Size,
    /// An algorithm that the anchors do not list, or that is not supported.
    #[error("algorithm {0} is not used here")]
    Algorithm(i64),
    /// The content key does not unwrap.
    #[error("the content key does not unwrap")]
    Key,
    /// Grant or descriptor are longer than the record keeps.
    #[error("grant or descriptor are too long")]
    TooLong,
}

impl Unusable {
    fn result(self) -> u8 {
        match self {
            Self::Size | Self::TooLong => RESULT_NO_FLASH,
            _ => RESULT_FAILED,
        }
    }

    fn reason(self) -> Reason {
        match self {
            Self::Option(_) | Self::ChainEnds | Self::Form => Reason::ParameterUnsupported,
            Self::Installed | Self::Precursor => Reason::ConditionFailed,
            Self::Algorithm(_) => Reason::AlgorithmUnsupported,
            Self::Key => Reason::Unauthorised,
            Self::Size | Self::TooLong => Reason::OperationFailed,
        }
    }
}

/// The messages of one answer, authentic.
struct Received<'m> {
    grant: Grant<'m>,
    message: &'m [u8],
    descriptor_message: &'m [u8],
    descriptor: Descriptor<'m>,
}

impl<F: Flash, R: Random> Updater<'_, F, R> {
    /// Takes the answer to the open request.
    ///
    /// # Errors
    ///
    /// See [`UpdateError`].
    pub fn answer(
        &mut self,
        uptime: Duration,
        scratch: &mut [u8],
        bytes: &[u8],
    ) -> Result<Answered, UpdateError<F::Error>> {
        let Some(asked) = self.asked else {
            return Ok(Answered::Ignored(Ignored::Unasked));
        };
        let answer = match Answer::decode(bytes) {
            Ok(answer) => answer,
            Err(error) => return Ok(Answered::Ignored(error.into())),
        };
        let key = derive::down(&self.link(asked.place)?, &asked.place.of(self.facts.id))?;
        match mac::open_reply(&key, &asked.nonce, answer.message) {
            Ok(Reply::Grant(grant)) => self.take_grant(uptime, scratch, &asked, &answer, &grant),
            Ok(Reply::Verdict(verdict)) => self.take_verdict(uptime, &asked, &verdict),
            Err(error) => Ok(Answered::Ignored(error.into())),
        }
    }

    fn take_verdict(
        &mut self,
        uptime: Duration,
        asked: &Asked,
        verdict: &Verdict<'_>,
    ) -> Result<Answered, UpdateError<F::Error>> {
        self.asked = None;
        self.believe_time(verdict.now, uptime);
        match verdict.detail {
            Detail::Nothing => {
                self.end(Outcome { result: RESULT_SUCCESS, refused: None })?;
                Ok(Answered::Nothing)
            }
            Detail::Refused { reason, text } => {
                self.refusal = Bounded::copy_of(text.as_bytes()).unwrap_or(Bounded::EMPTY);
                self.end(Outcome { result: RESULT_FAILED, refused: Some(reason) })?;
                Ok(Answered::Refused { reason })
            }
            Detail::Prove(echo) => {
                self.echo = Bounded::copy_of(echo).map(|echo| (asked.place, echo));
                Ok(Answered::Prove)
            }
            Detail::Later(later) => Ok(self.later(uptime, &later)),
            Detail::Elsewhere(_) | Detail::Go(_) | Detail::Stop(_) | Detail::Forward { .. } => {
                Ok(Answered::NotFollowed { kind: verdict.detail.kind() })
            }
        }
    }

    /// Waits at least the delay, and until the given time; windows are the server's to keep when it is asked again.
    fn later(&self, uptime: Duration, later: &bellwether_manifests::message::Later<'_>) -> Answered {
        let until = later.not_before.map_or(0, |time| time.saturating_sub(self.now(uptime)));
        Answered::Later { delay_s: later.delay_s.max(until), jitter_s: later.jitter_s }
    }

    /// Ends the manifest by a verdict. A grant that is open all the same is reported failed, so that it closes.
    fn end(&mut self, outcome: Outcome) -> Result<(), UpdateError<F::Error>> {
        if matches!(self.record.state, State::Granted(_)) {
            self.report_granted(Moment::Failed, failure(outcome.result, Reason::OperationFailed))?;
        }
        self.close(outcome);
        self.save()
    }

    fn take_grant(
        &mut self,
        uptime: Duration,
        scratch: &mut [u8],
        asked: &Asked,
        answer: &Answer<'_>,
        grant: &Grant<'_>,
    ) -> Result<Answered, UpdateError<F::Error>> {
        let Some(manifest) = self.record.manifest().cloned() else {
            return Ok(Answered::Ignored(Ignored::Unasked));
        };
        let Some(followed) = self.follow_kept(&manifest, uptime, scratch)? else {
            return Ok(Answered::Ignored(Ignored::OtherQuestion));
        };
        if let Some(open) = self.same_as_open(grant, answer.message) {
            self.ask_again = false;
            self.asked = None;
            return Ok(if open { Answered::SameGrant } else { Answered::Ignored(self.too_low(grant)) });
        }
        let received = match self.check_fresh(uptime, asked, answer, grant, &followed) {
            Ok(received) => received,
            Err(ignored) => return Ok(Answered::Ignored(ignored)),
        };
        match self.check_usable(&received, &followed)? {
            Ok(()) => self.accept(&received),
            Err(unusable) => self.refuse_grant(grant, unusable),
        }
    }

    /// Whether the grant has the open one's number: then, whether it is that one, byte for byte.
    fn same_as_open(&self, grant: &Grant<'_>, message: &[u8]) -> Option<bool> {
        let open = self.record.granted().filter(|open| open.number == grant.grant)?;
        Some(open.grant.as_slice() == message)
    }

    fn too_low(&self, grant: &Grant<'_>) -> Ignored {
        Ignored::Number { number: grant.grant, highest: self.record.grant_highest }
    }

    /// Is it for this question, new, unexpired, and with a descriptor that a distributor signed for it?
    fn check_fresh<'m>(
        &self,
        uptime: Duration,
        asked: &Asked,
        answer: &Answer<'m>,
        grant: &Grant<'m>,
        followed: &Followed<'_>,
    ) -> Result<Received<'m>, Ignored> {
        let now = self.now(uptime);
        if grant.manifest != followed.manifest || *grant.selector != asked.selector {
            return Err(Ignored::OtherQuestion);
        }
        if grant.grant <= self.record.grant_highest {
            return Err(self.too_low(grant));
        }
        if grant.not_after <= now {
            return Err(Ignored::Expired);
        }
        if !self.may_take_grant() {
            return Err(Ignored::Busy);
        }
        let descriptor_message = answer.descriptor.ok_or(Ignored::NoDescriptor)?;
        let descriptor = open_descriptor(descriptor_message, &self.facts, followed)?;
        if descriptor.manifest != grant.manifest || descriptor.selector != grant.selector {
            return Err(Ignored::OtherQuestion);
        }
        if descriptor.expires <= now {
            return Err(Ignored::Expired);
        }
        if !same_contents(grant, &descriptor) {
            return Err(Ignored::Mismatch);
        }
        Ok(Received { grant: *grant, message: answer.message, descriptor_message, descriptor })
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
        let checked = check_options(&received.grant, &self.facts)
            .and_then(|()| {
                let ends = self.record.place.index >= self.record.chain_length.last_index();
                if ends { Err(Unusable::ChainEnds) } else { Ok(()) }
            })
            .and_then(|()| only_resource(received))
            .and_then(|resource| {
                check_resource(&resource, followed, self.running(), &self.facts, self.spare_bytes())
            });
        if let Err(unusable) = checked {
            return Ok(Err(unusable));
        }
        self.check_key(received)
    }

    fn check_key(&self, received: &Received<'_>) -> Result<Result<(), Unusable>, UpdateError<F::Error>> {
        let Some(resource) = received.grant.resources.get(0) else {
            return Ok(Err(Unusable::Form));
        };
        for algorithm in [resource.algorithm, resource.key.algorithm] {
            if !self.facts.anchors.allows(algorithm) {
                return Ok(Err(Unusable::Algorithm(algorithm)));
            }
        }
        let Some(granted) = self.granted(received) else {
            return Ok(Err(Unusable::TooLong));
        };
        let unwraps = self.content_key(&granted, &resource)?.is_some();
        Ok(if unwraps { Ok(()) } else { Err(Unusable::Key) })
    }

    fn granted(&self, received: &Received<'_>) -> Option<Granted> {
        let root = *received.descriptor.resources.get(0)?.chain.root;
        Some(Granted {
            manifest: self.record.manifest()?.clone(),
            place: self.record.place,
            number: received.grant.grant,
            grant: Bounded::copy_of(received.message)?,
            descriptor: Bounded::copy_of(received.descriptor_message)?,
            stage: Stage::Accepted(Progress { frame: 0, expected: root }),
        })
    }

    /// Keeps the grant; one that was open is replaced. The request is closed.
    fn accept(&mut self, received: &Received<'_>) -> Result<Answered, UpdateError<F::Error>> {
        let Some(granted) = self.granted(received) else {
            return self.refuse_grant(&received.grant, Unusable::TooLong);
        };
        self.record.grant_highest = granted.number;
        self.record.state = State::Granted(granted);
        self.asked = None;
        self.ask_again = false;
        self.altered = 0;
        self.save()?;
        let resource = received.descriptor.resources.get(0);
        Ok(Answered::Granted {
            base: resource.and_then(|resource| resource.patch).map(|patch| *patch.precursor),
            content_bytes: resource.map_or(0, |resource| resource.content_bytes),
        })
    }

    /// Reports a grant failed under its number, without having kept it.
    fn refuse_grant(
        &mut self,
        grant: &Grant<'_>,
        unusable: Unusable,
    ) -> Result<Answered, UpdateError<F::Error>> {
        let Some(manifest) = self.record.manifest().cloned() else {
            return Ok(Answered::Ignored(Ignored::Unasked));
        };
        self.record.grant_highest = grant.grant;
        self.report_unusable(&manifest, grant.grant, unusable.result(), unusable.reason())?;
        self.close(Outcome { result: unusable.result(), refused: None });
        self.save()?;
        Ok(Answered::Unusable(unusable))
    }
}

fn open_descriptor<'m>(
    message: &'m [u8],
    facts: &Facts<'_>,
    followed: &Followed<'_>,
) -> Result<Descriptor<'m>, Ignored> {
    let signed = Sign1::parse(message).map_err(|_| Ignored::Distributor)?;
    let key = facts.anchors.distributor(signed.kid()).ok_or(Ignored::Distributor)?;
    let mut scratch = [0; DEFINITION_BYTES_MAX];
    let definition = followed.component.definition(&mut scratch).ok().flatten();
    // The manifest may narrow the distributors down; it was verified, so it has a definition.
    if !definition.is_some_and(|definition| definition.options().allows_signer(&key)) {
        return Err(Ignored::Distributor);
    }
    let payload = signed.verify(&[word::DESCRIPTOR], &key).map_err(|_| Ignored::Distributor)?;
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

fn check_options(grant: &Grant<'_>, facts: &Facts<'_>) -> Result<(), Unusable> {
    let options = &grant.options;
    // Re-seeding would change the key of the receipts that are still owed, which this record does not keep.
    if options.reseed == Some(true) {
        return Err(Unusable::Option(OPTION_RESEED));
    }
    if options.ask_go == Some(true) {
        return Err(Unusable::Option(OPTION_GO));
    }
    if options.anchors_edition.is_some_and(|edition| edition > facts.anchors.edition()) {
        return Err(Unusable::Option(OPTION_ANCHORS));
    }
    Ok(())
}

fn only_resource<'m>(received: &Received<'m>) -> Result<Resource<'m>, Unusable> {
    let resource = received.descriptor.resources.get(0).ok_or(Unusable::Form)?;
    let single = received.descriptor.resources.len() == 1 && resource.component == COMPONENT_INDEX;
    let fetched = resource.inline.is_none() && resource.kind != ResourceKind::Manifest;
    if single && fetched && is_served_here(&resource) { Ok(resource) } else { Err(Unusable::Form) }
}

/// Whether one of the locations is `/f/<root>` on the server that is asked.
fn is_served_here(resource: &Resource<'_>) -> bool {
    let path = frames_path(resource.chain.root);
    resource.locations.iter().any(|location| location == path.as_text())
}

fn check_resource(
    resource: &Resource<'_>,
    followed: &Followed<'_>,
    running: &Image,
    facts: &Facts<'_>,
    slot_bytes: u32,
) -> Result<(), Unusable> {
    let installed_bytes = u32::try_from(resource.installed_bytes).map_err(|_| Unusable::Size)?;
    if resource.installed != followed.installed
        || followed.installed_bytes.is_some_and(|bytes| bytes != resource.installed_bytes)
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

// Options of a grant, by their keys in update.cddl.
const OPTION_RESEED: u8 = 1;
const OPTION_GO: u8 = 2;
const OPTION_ANCHORS: u8 = 4;
