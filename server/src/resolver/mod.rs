//! Answers update requests: the key-index table, eligibility, resolution, then a grant or a verdict.
//!
//! Everything is on disk before the answer leaves. Two requests of one identity that race are told apart by
//! compare-and-set: the loser reads again and decides again.

pub(crate) mod ahead;
mod asked;
mod components;
pub(crate) mod grant;
mod turn;

use std::sync::Arc;

use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::stage::Track;
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use bellwether_decide::eligibility;
use bellwether_decide::identity::{Grant, Place};
use bellwether_decide::key_index::{self, Arrival, Context, Decision, OpenGrant, Reply, Request};
use bellwether_keys::mac::{self, OpenError};
use bellwether_manifests::cose::mac0::Mac0;
use bellwether_manifests::message::peek::attached_payload;
use bellwether_manifests::message::{self, UpdateRequest};
use bellwether_store::Digest;
use bellwether_store::device::{EpochKeys, Identity, KeyStep, Transition};
use bellwether_store::error::UpdateError;
use thiserror::Error;

use self::turn::{Given, Outcome, Turn};
use crate::book::{BookError, Page};
use crate::core::{Core, Counters};
use crate::metrics::steady;
use crate::vault::PlaceKeys;

/// Why an update request has no answer in the protocol; the wire gets a bare CoAP code.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The bytes are no request, or none of a manifest that is here.
    #[error("the request can't be read: {0}")]
    Malformed(&'static str),
    /// The MAC is wrong (row 1), or the identity is not the one of the session.
    #[error("the request is not authentic")]
    NotAuthentic,
    /// Nobody enrolled the name (row 2).
    #[error("the identity is unknown")]
    Unknown,
    /// The server failed; the device may ask again.
    #[error("the server failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Who sent a message, as far as the connection tells.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The DTLS identity; `None` over plain UDP.
    pub identity: Option<String>,
    /// Where it is, `address:port`, with the gateway's name where one forwarded the message.
    pub address: String,
}

impl Core {
    /// Answers one update request that came to `path`.
    ///
    /// # Errors
    ///
    /// [`RequestError`] where there is nobody to give an authenticated answer to.
    pub async fn resolve(
        &self,
        sender: &Sender,
        path: &[String],
        bytes: &[u8],
    ) -> Result<Vec<u8>, RequestError> {
        let began = steady();
        let claimed = mac::peek_place(bytes).map_err(|_| self.malformed("no place"))?;
        let place = Place { epoch: claimed.epoch, index: claimed.index };
        // Before the manifest is looked up: an unknown name is told nothing of what is here.
        let mut identity = self.identity_of(sender, claimed.id).await?;
        let page = self.page_of(path, bytes).await?;
        for _ in 0..CONFLICTS_MAX {
            let (keyed, asked) = self.open_request(&identity, place, &page, bytes)?;
            let tracked = self.tracked(&identity, &asked.request.manifest).await?;
            let Request { manifest, clock, .. } = &asked.request;
            let context = self.context(&identity, manifest, &tracked, *clock).await?;
            let arrival = Arrival::Request(asked.request.clone());
            let decision = key_index::decide(&identity.state, &arrival, &context);
            self.metrics.row(decision.row);
            self.registry.heard(&identity.endpoint, &sender.address, self.now(), false);
            self.registry.awake(&identity.endpoint, self.steady());
            tracing::debug!(device = %identity.endpoint, row = decision.row.name(), "an update request");
            if let Reply::Repeat(answer) = &decision.reply
                && !decision.changes(&identity.state)
            {
                self.metrics.answered(&decision.reply, &[], began.elapsed());
                return Ok(answer.clone());
            }
            let entered = self.entered(&identity, &decision, &keyed)?;
            let turn = Turn {
                core: self,
                identity: &identity,
                keys: &keyed.keys,
                page: &page,
                asked: &asked,
                decision: &decision,
                tracked: &tracked,
            };
            let mut outcome = turn.carry_out().await?;
            outcome.state.epochs_shared.extend(keyed.shared_epoch(&decision));
            if self.stored(sender, &identity, &decision, &entered, &outcome).await? {
                self.look_at([identity.endpoint.clone()]);
                self.metrics.answered(&decision.reply, &outcome.events, began.elapsed());
                return Ok(outcome.answer);
            }
            identity = self.identity_of(sender, claimed.id).await?;
        }
        Err(failed("the identity changes faster than it can be decided on"))
    }

    /// Finds the manifest that a request names, if the request came to where that manifest says.
    async fn page_of(&self, path: &[String], bytes: &[u8]) -> Result<Arc<Page>, RequestError> {
        let message = Mac0::decode(bytes).map_err(|_| self.malformed("no COSE_Mac0"))?;
        let request = UpdateRequest::decode(message.payload).map_err(|_| self.malformed("no request"))?;
        let page = match self.book.page(request.selector.manifest).await {
            Ok(page) => page.ok_or_else(|| self.malformed("unknown manifest"))?,
            // Its author was one when it was published, and is none any more.
            Err(BookError::Verify(_)) => {
                return Err(self.malformed("a manifest that the anchors do not allow"));
            }
            Err(error) => return Err(failed(error)),
        };
        if path_of(page.request_identifier()) == path {
            return Ok(page);
        }
        Err(self.malformed("not the manifest's request identifier"))
    }

    /// Reads the identity that a message claims, if the connection may speak for it.
    pub(crate) async fn identity_of(&self, sender: &Sender, name: &str) -> Result<Identity, RequestError> {
        let id = Endpoint::try_from(name).map_err(|_| self.malformed("no endpoint name"))?;
        let Some(identity) = self.store.identity(&self.tenant, &id).await.map_err(failed)? else {
            self.alarm_unknown(sender, name).await?;
            return Err(RequestError::Unknown);
        };
        // The DTLS identity is the endpoint name, or that of the gateway that lists the device: nobody else asks in
        // its name.
        let speaks = |authentic: &str| {
            authentic == identity.endpoint.as_str() || self.gateways.lists(authentic, &identity.endpoint)
        };
        if sender.identity.as_deref().is_none_or(speaks) {
            return Ok(identity);
        }
        Err(self.not_authentic())
    }

    /// Reads the campaigns of a device that matter for what it asks or says of a manifest: those that go on, and those of this
    /// manifest or of the one that its open grant is for.
    pub(crate) async fn tracked(
        &self,
        identity: &Identity,
        manifest: &Digest,
    ) -> Result<Vec<(Campaign, Track)>, RequestError> {
        let mut manifests = vec![*manifest];
        manifests.extend(identity.state.open_grant().map(|open| open.manifest));
        self.store.campaigns_about(&self.tenant, &identity.endpoint, &manifests).await.map_err(failed)
    }

    /// Derives the keys of a place of an epoch that is kept.
    pub(crate) fn keys(&self, identity: &Identity, place: Place) -> Result<Arc<PlaceKeys>, RequestError> {
        let keys = self.vault.keys(identity, place).map_err(failed)?;
        keys.ok_or_else(|| self.not_authentic())
    }

    async fn context(
        &self,
        identity: &Identity,
        manifest: &Digest,
        tracked: &[(Campaign, Track)],
        clock: Option<u64>,
    ) -> Result<Context, RequestError> {
        let offering = eligibility::preferred(manifest, tracked.iter().map(|(one, _)| one));
        let reseed_wanted = offering.is_some_and(|campaign| campaign.policy.reseed);
        Ok(Context {
            given_again_max: GIVEN_AGAIN_MAX,
            reseed_wanted,
            open: self.open_grant(identity, manifest, tracked, clock).await?,
            ..self.plain_context(identity)?
        })
    }

    /// What is known without looking at campaigns: all that a report needs.
    pub(crate) fn plain_context(&self, identity: &Identity) -> Result<Context, RequestError> {
        let restores = self.restores();
        Ok(Context {
            now: self.now(),
            token: self.machine.random().map_err(failed)?,
            chain_length: identity.chain_length,
            given_again_max: 0,
            reseed_wanted: false,
            restores: restores.count,
            resync_all_until: (restores.resync_until > 0).then_some(restores.resync_until),
            open: NO_GRANT,
        })
    }

    /// What is known of the open grant beside the state: its bytes, its campaigns and its manifest's priority.
    async fn open_grant(
        &self,
        identity: &Identity,
        manifest: &Digest,
        tracked: &[(Campaign, Track)],
        clock: Option<u64>,
    ) -> Result<OpenGrant, RequestError> {
        let Some(grant) = identity.state.open_grant() else {
            return Ok(NO_GRANT);
        };
        Ok(OpenGrant {
            bytes_present: self.granted_resources(grant).await?.is_some(),
            cancelled: is_cancelled(&grant.manifest, tracked)
                || self.is_grant_recalled(identity, grant).await?,
            outranked: self.outranks(manifest, &grant.manifest).await?,
            ended_there: clock.is_some_and(|clock| has_ended(grant, clock)),
        })
    }

    async fn is_grant_recalled(&self, identity: &Identity, grant: &Grant) -> Result<bool, RequestError> {
        let images: Vec<Digest> = grant.contents.iter().map(|content| content.installed).collect();
        self.is_recalled(&identity.endpoint, &images).await.map_err(failed)
    }

    /// Tells whether the author of one manifest calls it more urgent than another.
    async fn outranks(&self, asked: &Digest, open: &Digest) -> Result<bool, RequestError> {
        if asked == open {
            return Ok(false);
        }
        let asked = self.book.page(asked).await.map_err(failed)?;
        match self.book.page(open).await {
            Ok(open) => {
                Ok(asked.zip(open).is_some_and(|(asked, open)| asked.summary.outranks(&open.summary)))
            }
            // A manifest that the anchors no longer allow holds up nobody.
            Err(BookError::Verify(_)) => Ok(true),
            Err(error) => Err(failed(error)),
        }
    }

    /// Writes the outcome; `false` where somebody else wrote first.
    async fn stored(
        &self,
        sender: &Sender,
        identity: &Identity,
        decision: &Decision,
        entered: &[EpochKeys],
        outcome: &Outcome,
    ) -> Result<bool, RequestError> {
        let alarms: Vec<_> = self.occurrence(sender, identity, decision).into_iter().collect();
        if !decision.changes(&identity.state) {
            self.store.raise(&self.tenant, &alarms).await.map_err(failed)?;
            self.store.append(&self.tenant, &outcome.events).await.map_err(failed)?;
            self.metrics.recorded(&outcome.events);
            return Ok(true);
        }
        let mut events = told_of(identity, decision, self.now());
        events.extend(outcome.events.iter().cloned());
        let transition = Transition {
            events: &events,
            alarms: &alarms,
            keys: KeyStep { added: entered, destroyed_up_to: decision.destroy_seed_of },
            gives: outcome.gives.as_ref().map(Given::of),
            ..Transition::new(identity.state.revision, &outcome.state)
        };
        self.write(identity, transition).await
    }

    /// Writes a transition; `false` where somebody else wrote first.
    pub(crate) async fn write(
        &self,
        identity: &Identity,
        transition: Transition<'_>,
    ) -> Result<bool, RequestError> {
        let (began, events) = (steady(), transition.events);
        match self.store.update_identity(&self.tenant, &identity.id, transition).await {
            Ok(_) => {
                self.metrics.committed(began.elapsed());
                self.metrics.recorded(events);
                Ok(true)
            }
            Err(UpdateError::Conflict { .. } | UpdateError::Forbidden) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    pub(crate) fn malformed(&self, what: &'static str) -> RequestError {
        Counters::count(&self.counters.malformed);
        if let Some(count) = self.quiet.malformed.pass(self.now()) {
            tracing::warn!(what, count, "malformed messages; told at most once a minute");
        }
        RequestError::Malformed(what)
    }

    pub(crate) fn not_authentic(&self) -> RequestError {
        Counters::count(&self.counters.wrong_mac);
        if let Some(count) = self.quiet.not_authentic.pass(self.now()) {
            tracing::warn!(count, "messages that are not authentic; told at most once a minute");
        }
        RequestError::NotAuthentic
    }

    /// Row 1: a message whose MAC is wrong leaves nothing but a count.
    pub(crate) fn turned(&self, error: OpenError) -> RequestError {
        match error {
            OpenError::Mac | OpenError::OtherPlace => self.not_authentic(),
            _ => self.malformed("the message is refused"),
        }
    }
}

/// What the ledger is told of a message of the less usual kind: the row that it fitted.
pub(crate) fn told_of(identity: &Identity, decision: &Decision, at: u64) -> Vec<Event> {
    let row = Some(decision.row).filter(|row| row.is_told());
    let device = Some(identity.endpoint.clone());
    row.map(|row| Event { at, campaign: None, device, kind: EventKind::Fitted { row } }).into_iter().collect()
}

/// Tells whether a grant has ended by the clock of its device. What the device reads counts, not what the state keeps: that
/// is when the grant ends here.
fn has_ended(grant: &Grant, clock: u64) -> bool {
    let told = attached_payload(&grant.message).ok().and_then(|told| message::Grant::decode(told).ok());
    told.is_none_or(|told| told.not_after <= clock)
}

/// Tells whether every campaign that offered a manifest has ended early.
fn is_cancelled(manifest: &Digest, tracked: &[(Campaign, Track)]) -> bool {
    let mut offering = tracked.iter().filter(|(one, _)| one.manifest == *manifest).peekable();
    let ended = |state| matches!(state, CampaignState::Cancelled | CampaignState::Halted);
    offering.peek().is_some() && offering.all(|(one, _)| ended(one.state))
}

/// Turns a failure below into one that the device is told as 5.03.
pub(crate) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RequestError {
    RequestError::Failed(error.into())
}

/// The path segments of a request identifier: of a relative reference or of a `coaps` URI.
pub(crate) fn path_of(request_identifier: &str) -> Vec<String> {
    let after_scheme = request_identifier.split_once("://").map(|(_, rest)| rest);
    let path = after_scheme.map_or(request_identifier, |rest| rest.find('/').map_or("", |at| &rest[at..]));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}

pub(crate) fn event(at: u64, campaign: Option<CampaignId>, identity: &Identity, kind: EventKind) -> Event {
    Event { at, campaign, device: Some(identity.endpoint.clone()), kind }
}

/// Times that a decision is made again after a lost race: each loss means that another request of the same
/// identity went through, and a device has one in flight.
pub(crate) const CONFLICTS_MAX: usize = 8;

const NO_GRANT: OpenGrant =
    OpenGrant { bytes_present: false, cancelled: false, outranked: false, ended_there: false };

/// New grants for an update that was confirmed and then reported failed.
const GIVEN_AGAIN_MAX: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_taken_from_relative_and_absolute_identifiers() {
        for identifier in ["/u", "coaps://fw.example.com/u", "coaps://fw.example.com:5684/u?x=1"] {
            assert_eq!(path_of(identifier), ["u"], "{identifier}");
        }
        assert_eq!(path_of("coaps://fw.example.com/a/b"), ["a", "b"]);
        assert!(path_of("coaps://fw.example.com").is_empty());
    }
}
