//! One request being answered: everything that is known of it, and what it becomes.

use bellwether_decide::alarm::AlarmKind;
use bellwether_decide::campaign::concerned::concerned;
use bellwether_decide::campaign::event::{By, Delivery, Event, EventKind};
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::eligibility::{self, Facts};
use bellwether_decide::identity::{Confirm, Content, IdentityState, Place, Shares};
use bellwether_decide::key_index::{Decision, GrantDetails, NewGrant, Reply, Verdict};
use bellwether_decide::refusal::Refusal;
use bellwether_keys::mac;
use bellwether_manifests::cbor;
use bellwether_manifests::message::verdict::{Detail, Later};
use bellwether_manifests::message::{self, Answer, List};
use bellwether_store::Digest;
use bellwether_store::device::{Gives, Identity};

use super::asked::Asked;
use super::components::Resolved;
use super::grant::{Terms, placed};
use super::{RequestError, event, failed};
use crate::book::Page;
use crate::core::Core;
use crate::descriptors::{Described, Times};
use crate::vault::PlaceKeys;

/// One request with its decision.
pub(super) struct Turn<'a> {
    pub(super) core: &'a Core,
    pub(super) identity: &'a Identity,
    pub(super) keys: &'a PlaceKeys,
    pub(super) page: &'a Page,
    pub(super) asked: &'a Asked,
    pub(super) decision: &'a Decision,
    /// Campaigns that the device is a target of.
    pub(super) tracked: &'a [(Campaign, Track)],
}

/// What a request became: the answer's bytes, the state to store, the events to write.
pub(super) struct Outcome {
    pub(super) answer: Vec<u8>,
    pub(super) state: IdentityState,
    pub(super) events: Vec<Event>,
    /// What it gives the device.
    pub(super) gives: Option<Given>,
}

/// What a new grant opens, and for which campaign.
pub(super) struct Given {
    campaign: CampaignId,
    images: Vec<Digest>,
}

impl Given {
    /// Takes what a grant is made of.
    pub(super) fn new(campaign: CampaignId, described: &[Described]) -> Self {
        Self { campaign, images: described.iter().map(|one| one.installed).collect() }
    }

    /// What the store holds against what was forbidden meanwhile: to make a resource may take long.
    pub(super) fn of(&self) -> Gives<'_> {
        Gives { campaign: self.campaign, images: &self.images }
    }
}

impl Turn<'_> {
    /// Makes the answer that the table decided on.
    pub(super) async fn carry_out(&self) -> Result<Outcome, RequestError> {
        match &self.decision.reply {
            Reply::NewGrant(new) => self.new_grant(new).await,
            Reply::HeldGrant { place, number } => self.held_grant(*place, *number).await,
            // Whoever pauses a campaign wants nobody to swap images now; the grant stands.
            Reply::Verdict(Verdict::Go { .. }) if self.is_paused() => {
                self.verdict(Verdict::Later { delay_s: PAUSED_DELAY_S }, Vec::new())
            }
            Reply::Verdict(verdict) if self.is_put_off_for_its_clock() => {
                self.verdict(*verdict, self.first_asked())
            }
            Reply::Verdict(verdict) => self.verdict(*verdict, self.ending_events(*verdict)),
            Reply::Repeat(answer) => {
                let (answer, state) = (answer.clone(), self.decision.state.clone());
                Ok(Outcome { answer, state, events: Vec::new(), gives: None })
            }
            Reply::Receipt => Err(failed("no such reply to a request")),
        }
    }

    /// Tells whether the campaign that the open grant belongs to is stopped for a while.
    fn is_paused(&self) -> bool {
        let open = self.decision.state.open_grant();
        let campaigns = || self.tracked.iter().map(|(campaign, _)| campaign);
        open.and_then(|open| eligibility::preferred(&open.manifest, campaigns()))
            .is_some_and(|campaign| campaign.state == CampaignState::Paused)
    }

    async fn new_grant(&self, new: &NewGrant) -> Result<Outcome, RequestError> {
        let device =
            self.core.store.device(&self.core.tenant, &self.identity.endpoint).await.map_err(failed)?;
        let device = device.ok_or(RequestError::Unknown)?.device;
        let campaigns: Vec<Campaign> = self.tracked.iter().map(|(campaign, _)| campaign.clone()).collect();
        let manifest = &self.asked.request.manifest;
        // That it was sent before is row 7's, which the table has decided already.
        let facts = Facts { device: Some(&device), manifest, campaigns: &campaigns, sent_before: false };
        let campaign = match eligibility::check(&facts).outcome {
            Ok(campaign) => campaign,
            Err(Refusal::CampaignPaused) => {
                return self.verdict(Verdict::Later { delay_s: PAUSED_DELAY_S }, Vec::new());
            }
            Err(refusal) => {
                let refusal = self.told_of_recall(refusal).await?;
                let refused = EventKind::Refused { reason: refusal.text().to_owned() };
                return self.verdict(Verdict::Refused(refusal), self.events(&refused));
            }
        };
        let asked = self.event(Some(campaign), EventKind::Asked);
        match self.core.resolve_components(self.page, &self.asked.answers).await? {
            Resolved::Verdict(verdict @ Verdict::Later { .. }, _) => self.verdict(verdict, vec![asked]),
            Resolved::Verdict(verdict, kind) => {
                let mut events = self.events(&kind);
                events.insert(0, asked);
                self.verdict(verdict, events)
            }
            Resolved::Resources(described) => {
                let resolved = self.event(Some(campaign), resolved_event(new.number, &described));
                let go = campaigns.iter().any(|one| one.id == campaign && one.policy.ask_go);
                let made = self.grant(new, go, &described, vec![asked, resolved])?;
                Ok(Outcome { gives: Some(Given::new(campaign, &described)), ..made })
            }
        }
    }

    /// A campaign may be halted for a recall: its devices are told so.
    async fn told_of_recall(&self, refusal: Refusal) -> Result<Refusal, RequestError> {
        let Some(class) = self.asked.answers.class.filter(|_| refusal == Refusal::CampaignHalted) else {
            return Ok(refusal);
        };
        let images: Vec<_> = self.page.targets(&class).iter().map(|target| target.digest).collect();
        let recalled = self.core.is_recalled(&self.identity.endpoint, &images).await.map_err(failed)?;
        Ok(if recalled { Refusal::ReleaseRecalled } else { refusal })
    }

    fn is_put_off_for_its_clock(&self) -> bool {
        self.decision.alarm.as_ref().is_some_and(|alarm| alarm.kind == AlarmKind::ClocksApart)
    }

    /// A device that asked has the manifest, and need not be offered it any more. Told once, however often it asks.
    fn first_asked(&self) -> Vec<Event> {
        let knows = |id: CampaignId| {
            let mut of_campaign = self.tracked.iter().filter(|(campaign, _)| campaign.id == id);
            of_campaign.any(|(_, track)| !matches!(track.stage, Stage::Waiting | Stage::Offered))
        };
        let campaigns = concerned(self.tracked, &self.asked.request.manifest, 0);
        let news = campaigns.into_iter().filter(|id| !knows(*id));
        news.map(|id| self.event(Some(id), EventKind::Asked)).collect()
    }

    /// What the ledger is told of a verdict that the table gave by itself: a device that will not ask again must not
    /// be waited for. A doubted identity (rows 15 and 18) says nothing about the device.
    fn ending_events(&self, verdict: Verdict) -> Vec<Event> {
        let kind = match verdict {
            Verdict::Nothing => EventKind::AlreadyCurrent,
            Verdict::Refused(
                refusal @ (Refusal::AlreadySent | Refusal::AheadOfServer | Refusal::ChainEnd),
            ) => EventKind::Refused { reason: refusal.text().to_owned() },
            Verdict::Stop { grant } => return self.stopped(grant),
            _ => return Vec::new(),
        };
        self.events(&kind)
    }

    /// A device whose grant ended before it might start its image has given the update up and reports nothing: a
    /// campaign that goes on would wait for it for ever.
    fn stopped(&self, grant: u64) -> Vec<Event> {
        let waits = |(campaign, track): &&(Campaign, Track)| {
            // Where its image stands, newer grants were made ahead and never reached it, or the store is an old one that
            // knows none.
            let is_of_it =
                track.stage == Stage::Decrypted && campaign.manifest == self.asked.request.manifest;
            matches!(campaign.state, CampaignState::Running | CampaignState::Paused)
                && (track.grant == grant || is_of_it)
                && track.is_in_flight()
        };
        let failed = EventKind::Failed { grant, reason: GRANT_ENDED.to_owned() };
        let by = By { who: Some("the server".to_owned()), why: Some(GRANT_ENDED.to_owned()), request: None };
        // It is put back at once, to be offered the manifest and given another grant: nothing is wrong with it.
        let kinds = [failed, EventKind::Retried { by }];
        let campaigns = self.tracked.iter().filter(waits).map(|(campaign, _)| campaign.id);
        campaigns.flat_map(|id| kinds.clone().map(|kind| self.event(Some(id), kind))).collect()
    }

    /// One event for each campaign that it counts in.
    fn events(&self, kind: &EventKind) -> Vec<Event> {
        let campaigns = concerned(self.tracked, &self.asked.request.manifest, 0);
        campaigns.into_iter().map(|campaign| self.event(Some(campaign), kind.clone())).collect()
    }

    fn grant(
        &self,
        new: &NewGrant,
        go: bool,
        described: &[Described],
        events: Vec<Event>,
    ) -> Result<Outcome, RequestError> {
        let lifetime_s = self.core.config.grant_lifetime_s;
        let shares = self.core.shares(self.identity, new)?;
        let request = &self.asked.request;
        let (manifest, selector) = (&request.manifest, &request.selector);
        let not_after = new.judged_at + lifetime_s;
        let terms = Terms { new, manifest, selector, not_after, shares: shares.as_ref(), go };
        let message = self.core.grant_message(self.identity, self.keys, &terms, described)?;
        let answer = self.answer(&message, described)?;
        // Here it ends by the clock here: else an identity would be held by it for as long as its device is ahead.
        let details = details(described, self.core.now() + lifetime_s, shares, go, message);
        let state = self.decision.granted(new, details, &answer);
        Ok(Outcome { answer, state, events, gives: None })
    }

    async fn held_grant(&self, place: Place, number: u64) -> Result<Outcome, RequestError> {
        let grant = self.decision.state.grant(place, number);
        let grant = grant.ok_or_else(|| failed("the grant is not in the state"))?;
        // Not resolved again: a base or a delta that came since would lead to another content than the grant opens.
        let described = self.core.granted_resources(grant).await?;
        let described = described.ok_or_else(|| failed("the grant's contents are not there"))?;
        let answer = self.answer(&grant.message, &described)?;
        let state = self.decision.answered(&answer);
        Ok(Outcome { answer, state, events: Vec::new(), gives: None })
    }

    /// Puts grant and descriptor together; a descriptor that the device holds is left out.
    fn answer(&self, message: &[u8], described: &[Described]) -> Result<Vec<u8>, RequestError> {
        let (request, held) = (&self.asked.request, &self.asked.held);
        let holds_all = held.len() == described.len()
            && described.iter().all(|described| held.contains(&described.resource.content));
        let descriptor = if holds_all {
            None
        } else {
            let times = Times::with(self.core.now(), request.clock);
            let descriptors = &self.core.descriptors;
            Some(descriptors.signed(&request.manifest, &request.selector, described, times).map_err(failed)?)
        };
        cbor::to_vec(&Answer { message, descriptor: descriptor.as_deref() }).map_err(failed)
    }

    fn verdict(&self, verdict: Verdict, events: Vec<Event>) -> Result<Outcome, RequestError> {
        let message = match verdict {
            Verdict::Forward { place, fork, grant } => {
                // Under the key of where the device is to go on, which proves that the server stands there.
                let keys = self.core.keys(self.identity, place)?;
                self.sealed_verdict(&keys, place, Detail::Forward { fork: &fork, grant })?
            }
            other => self.verdict_in_place(other)?,
        };
        let answer = cbor::to_vec(&Answer { message: &message, descriptor: None }).map_err(failed)?;
        let state = self.decision.answered(&answer);
        Ok(Outcome { answer, state, events, gives: None })
    }

    fn verdict_in_place(&self, verdict: Verdict) -> Result<Vec<u8>, RequestError> {
        let token;
        let detail = match verdict {
            Verdict::Nothing => Detail::Nothing,
            Verdict::Later { delay_s } => Detail::Later(later(u64::from(delay_s))),
            Verdict::Refused(refusal) => Detail::Refused { reason: refusal.number(), text: refusal.text() },
            Verdict::Prove(drawn) => {
                token = drawn;
                Detail::Prove(&token)
            }
            Verdict::Go { grant } => Detail::Go(grant),
            Verdict::Stop { grant } => Detail::Stop(grant),
            Verdict::Forward { .. } => return Err(failed("a forward is sealed at its own place")),
        };
        self.sealed_verdict(self.keys, self.asked.request.place, detail)
    }

    fn sealed_verdict(
        &self,
        keys: &PlaceKeys,
        place: Place,
        detail: Detail<'_>,
    ) -> Result<Vec<u8>, RequestError> {
        let place = placed(self.identity, place);
        let verdict = message::Verdict { place, nonce: &self.asked.nonce, now: self.core.now(), detail };
        mac::seal_verdict_to_vec(&keys.down, &verdict).map_err(failed)
    }

    fn event(&self, campaign: Option<CampaignId>, kind: EventKind) -> Event {
        event(self.core.now(), campaign, self.identity, kind)
    }
}

fn later(delay_s: u64) -> Later<'static> {
    Later { delay_s, not_before: None, windows: List::new(&[]), jitter_s: delay_s / JITTER_SHARE }
}

/// What the state keeps of a grant.
pub(super) fn details(
    described: &[Described],
    not_after: u64,
    shares: Option<Shares>,
    go: bool,
    message: Vec<u8>,
) -> GrantDetails {
    let content = |described: &Described| Content {
        component: u64::from(described.component),
        content: described.resource.content,
        installed: described.installed,
    };
    let contents = described.iter().map(content).collect();
    GrantDetails { contents, not_after, confirm: Confirm::Both, shares, go, message }
}

pub(super) fn resolved_event(grant: u64, described: &[Described]) -> EventKind {
    let base = described.iter().find_map(|described| described.base);
    let delivery =
        base.map_or(Delivery::Full, |base| Delivery::Delta { base: base.digest, algorithm: base.algorithm });
    let content = described.first().map_or([0; 32], |described| described.resource.content);
    let bytes = described.iter().map(|described| described.resource.content_size).sum();
    EventKind::Resolved { delivery, grant, content, bytes }
}

/// Wait for a device that asks while its campaign is paused: people pause for minutes to days, and a device that asks
/// every ten minutes costs little.
const PAUSED_DELAY_S: u32 = 600;

/// Devices that are told to come back spread over this share of their wait.
const JITTER_SHARE: u64 = 4;

/// Why a device gave up that was told to stop.
const GRANT_ENDED: &str = "its grant had ended before it might start the image";
