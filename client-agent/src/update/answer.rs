//! The answer: everything that a device checks before it writes anything.
//!
//! What is not authentic, not fresh or not for this request is ignored, and asked for again later. A grant that is
//! authentic and that this device cannot use is reported failed under its number.
//!
//! Source: protocol.md §2, step 3.

use super::advance::Next;
use super::grant::Signed;
use super::record::Place;
use super::updater::{Asked, UpdateError, Updater};
use super::verify::{Followed, RESULT_FAILED, RESULT_NO_FLASH};
use crate::platform::{Flash, Random};
use bellwether_keys::mac::{self, OpenError, Reply};
use bellwether_keys::signed;
use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::cose::{KeyId, PublicKey, Sign1};
use bellwether_manifests::definition::DEFINITION_BYTES_MAX;
use bellwether_manifests::message::{self, Answer, Grant, MessageError, Verdict, peek};
use bellwether_manifests::report::Reason;
use core::time::Duration;
use thiserror::Error;

/// What an answer came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answered {
    /// A grant was accepted; frames can be fetched.
    Granted {
        /// Digest of the base of the first delta, if one was granted; [`Updater::resources`] tells each.
        base: Option<[u8; 32]>,
        /// Bytes as carried, of all resources.
        content_bytes: u64,
    },
    /// The open grant came again; fetching goes on.
    SameGrant,
    /// The grant cannot be used here, and is reported failed.
    Unusable(Unusable),
    /// Ask again at once, with the server's echo.
    Prove,
    /// Ask again after so many seconds, in which windows and "not before" are counted in.
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
    /// Start what stands in the spare slot: the boot loader must run now.
    Go,
    /// The grant was dropped, and the manifest with it: its image is never started.
    Stopped,
    /// An operator moved this identity on. Ask again at once, from there.
    Forwarded {
        /// The place that counts now.
        place: Place,
    },
    /// Ask at another server of the unit file, or at another path; [`Updater::request_path`] gives it.
    Elsewhere {
        /// Index in [`super::Facts::servers`]; `None`: the server that was asked.
        server: Option<usize>,
    },
    /// A verdict that cannot be followed here, such as a distributor that the unit file does not name, or a "go" for
    /// another grant: ask again later.
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
    /// A signed grant is not by a distributor that is believed, or opens nothing under the keys of this device.
    #[error("grant is not signed by a distributor that is believed, for this device")]
    Signer,
    /// It needs anchors that are not here yet: ask again when they are.
    #[error("grant needs edition {edition} of the anchors")]
    AnchorsNeeded {
        /// The least edition that will do.
        edition: u64,
    },
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
    /// An option asks for what this device does not do, or not in this grant.
    #[error("option {0} is not followed here")]
    Option(u8),
    /// The chain ends here, and the grant does not re-seed.
    #[error("the key chain ends and the grant does not re-seed")]
    ChainEnds,
    /// A component that the manifest does not fetch here, a further manifest, inline content, or no location on this server.
    #[error("resource of a form that is not fetched here")]
    Form,
    /// The author did not sign this image.
    #[error("the image is not the one that the author signed")]
    Installed,
    /// What is not granted does not run yet: components would be mixed that the author did not put together.
    #[error("the grant leaves out a component that does not run its image yet")]
    Incomplete,
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
    /// The shares for the next seed are none, or not with the one that this device sent.
    #[error("the shares for the next seed are not with the one that was sent")]
    Share,
    /// Grant or descriptor are longer than the record keeps.
    #[error("grant or descriptor are too long")]
    TooLong,
}

impl Unusable {
    pub(super) fn result(self) -> u8 {
        match self {
            Self::Size | Self::TooLong => RESULT_NO_FLASH,
            _ => RESULT_FAILED,
        }
    }

    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Option(_) | Self::ChainEnds | Self::Form => Reason::ParameterUnsupported,
            Self::Installed | Self::Precursor | Self::Incomplete => Reason::ConditionFailed,
            Self::Algorithm(_) => Reason::AlgorithmUnsupported,
            Self::Key | Self::Share => Reason::Unauthorised,
            Self::Size | Self::TooLong => Reason::OperationFailed,
        }
    }
}

/// Something authentic.
enum Opened<'m> {
    /// A grant, and the distributor's key where it is signed.
    Grant(Grant<'m>, Option<PublicKey>),
    /// A verdict under the key of the place that asked.
    Verdict(Verdict<'m>),
    /// A verdict under the key of the place that it leads to.
    Forward(Verdict<'m>, Next),
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
        match self.open(&asked, answer.message)? {
            Ok(Opened::Grant(grant, signer)) => {
                self.take_grant(uptime, scratch, &asked, &answer, &Signed { grant, signer })
            }
            Ok(Opened::Verdict(verdict)) => self.take_verdict(uptime, &asked, &verdict),
            Ok(Opened::Forward(verdict, next)) => self.take_forward(uptime, &verdict, next),
            Err(ignored) => Ok(Answered::Ignored(ignored)),
        }
    }

    fn open<'m>(
        &self,
        asked: &Asked,
        message: &'m [u8],
    ) -> Result<Result<Opened<'m>, Ignored>, UpdateError<F::Error>> {
        if let Ok(signer) = signed::signer_of_grant(message) {
            return Ok(self.open_signed(asked, signer, message));
        }
        match peek::peek_cose(message) {
            Ok(claimed) if claimed.kind == Some(FORWARD) => self.open_forward(asked, claimed.place, message),
            Ok(_) => {
                let opened = mac::open_reply(&self.down_key(asked.place)?, &asked.nonce, message);
                Ok(opened.map_err(Ignored::from).map(|reply| match reply {
                    Reply::Grant(grant) => Opened::Grant(grant, None),
                    Reply::Verdict(verdict) => Opened::Verdict(verdict),
                }))
            }
            Err(error) => Ok(Err(error.into())),
        }
    }

    fn open_signed<'m>(
        &self,
        asked: &Asked,
        signer: KeyId,
        message: &'m [u8],
    ) -> Result<Opened<'m>, Ignored> {
        let key = self.anchors().distributor(signer).ok_or(Ignored::Signer)?;
        let place = asked.place.of(self.facts.id);
        let grant = signed::open_signed_grant(&self.facts.signatures, &key, &place, message)
            .map_err(|_| Ignored::Signer)?;
        Ok(Opened::Grant(grant, Some(key)))
    }

    /// The key is that of the place to which the verdict leads; what it claims only chooses it.
    fn open_forward<'m>(
        &self,
        asked: &Asked,
        claimed: message::Place<'_>,
        message: &'m [u8],
    ) -> Result<Result<Opened<'m>, Ignored>, UpdateError<F::Error>> {
        let place = Place { epoch: claimed.epoch, index: claimed.index };
        if claimed.id != self.facts.id {
            return Ok(Err(OpenError::OtherPlace.into()));
        }
        let Some(next) = self.ahead(place)? else {
            return Ok(Err(OpenError::OtherPlace.into()));
        };
        let key = next.down_key(self.facts.id, self.record)?;
        let opened = mac::open_verdict(&key, &asked.nonce, message);
        Ok(opened.map(|verdict| Opened::Forward(verdict, next)).map_err(Ignored::from))
    }
}

/// Whether a message that was kept is by a distributor that is believed now; one with a MAC has no such signer.
pub(super) fn signer_is_believed(message: &[u8], anchors: &Anchors<'_>, followed: &Followed<'_>) -> bool {
    let Ok(signed) = Sign1::parse(message) else {
        return true;
    };
    anchors.distributor(signed.kid()).is_some_and(|key| allows_signer(followed, &key))
}

/// Whether the manifest lets this distributor serve it: it may narrow them down.
pub(super) fn allows_signer(followed: &Followed<'_>, key: &PublicKey) -> bool {
    let mut scratch = [0; DEFINITION_BYTES_MAX];
    let definition = followed.component.definition(&mut scratch).ok().flatten();
    // It was verified, so it has a definition.
    definition.is_some_and(|definition| definition.options().allows_signer(key))
}

/// Kind of the verdict "forward", the only one under the key of another place.
const FORWARD: u64 = 8;
