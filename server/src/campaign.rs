//! Campaigns: planned by a pure function, carried out here. One task, so that nothing is offered twice.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::campaign::lapse::Lapse;
use bellwether_decide::campaign::plan::{OFFERS_MAX, Plan, is_due, lost, plan, room, sleeps_over_its_offer};
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::standing::Standing;
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::Digest;
use bellwether_manifests::envelope::VerifyError;
use bellwether_store::campaign::{AtWork, MoveError};
use bellwether_store::error::StoreError;
use thiserror::Error;

use crate::book::BookError;
use crate::core::Core;
use crate::lineup::{Look, Stretch};
use crate::recalls::by_server;

/// Why a campaign's step was not carried out; it is tried again.
#[derive(Debug, Error)]
pub enum StepError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Its manifest can't be used.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// Carries campaigns out until the server ends: woken by what happens, and every few seconds for what is due.
pub async fn run(core: Arc<Core>) {
    let mut tick = tokio::time::interval(TICK);
    loop {
        let is_tick = tokio::select! {
            // The tick first: it comes once a second at most, so nothing waits long behind it.
            biased;
            _ = tick.tick() => {
                core.registry.sweep(core.steady());
                // Also where there is no campaign: a step must not be found when the first one comes.
                core.lapse();
                core.catch_up();
                true
            }
            // What happens at the same time is planned for at the same time.
            () = core.wake.notified() => {
                tokio::time::sleep(GATHER).await;
                false
            }
        };
        if let Err(error) = core.step(is_tick).await {
            core.blame_disk(&error);
            core.metrics.failed("campaigns");
            core.health.doubt();
            if let Some(count) = core.quiet.failed.pass(core.now()) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, count, "campaigns wait: a step failed; told at most once a minute");
            }
        }
    }
}

impl Core {
    /// Takes the next step of every running campaign.
    async fn step(self: &Arc<Self>, is_tick: bool) -> Result<(), StepError> {
        let marked = self.lineup.take_marked();
        let taken = self.step_all(&marked, is_tick).await;
        if taken.is_err() {
            // Who was to be looked at is found by a round.
            self.lineup.begin_anew();
        }
        taken
    }

    async fn step_all(self: &Arc<Self>, marked: &BTreeSet<Endpoint>, is_tick: bool) -> Result<(), StepError> {
        self.settle_recalls().await?;
        self.settle_bundles().await?;
        let mut running = BTreeSet::new();
        let mut after = None;
        loop {
            let state = Some(CampaignState::Running);
            let page = self.store.campaigns(&self.tenant, state, after, CAMPAIGNS_PAGE).await?;
            let Some(last) = page.last().map(|campaign| campaign.id) else {
                self.lineup.keep_only(&running);
                return Ok(());
            };
            for campaign in &page {
                running.insert(campaign.id);
                // One whose manifest can't be used any more must not keep the others waiting.
                if let Err(error) = self.step_campaign(campaign, marked, is_tick).await {
                    self.lineup.begin_anew();
                    let error = &error as &(dyn std::error::Error + 'static);
                    self.blame_disk(error);
                    tracing::error!(error, campaign = campaign.id.0, "a campaign waits: its step failed");
                }
            }
            after = Some(last);
        }
    }

    async fn step_campaign(
        self: &Arc<Self>,
        campaign: &Campaign,
        marked: &BTreeSet<Endpoint>,
        is_tick: bool,
    ) -> Result<(), StepError> {
        let now = self.now();
        let Some(standing) = self.store.standing(&self.tenant, campaign.id).await? else {
            return Ok(());
        };
        if self.put_lost_back(campaign, &standing).await? {
            // The next step, which counts anew, looks at these as well.
            self.look_at(marked.iter().cloned());
            return Ok(());
        }
        let due = self.look_for_due(campaign, &standing, marked, is_tick).await?;
        let plan = plan(&campaign.policy, &standing, &due, now);
        if matches!(plan, Plan::Offer(_) | Plan::Wait { .. })
            && let Err(BookError::Verify(error)) = self.book.page(&campaign.manifest).await
        {
            return self.move_on(campaign, paused_for(&error)).await;
        }
        match plan {
            Plan::Offer(devices) => {
                if self.halted_for_recall(campaign, &standing).await? {
                    return Ok(());
                }
                self.offer_planned(campaign, devices, due).await
            }
            Plan::Halt { failure_per_mille } => {
                self.move_on(campaign, EventKind::Halted { failure_per_mille }).await
            }
            Plan::Finish => self.move_on(campaign, EventKind::Finished).await,
            Plan::Wait { .. } | Plan::Over => {
                self.lineup.keep_ready(campaign.id, due.into_iter().map(|(device, _)| device));
                Ok(())
            }
        }
    }

    /// Offers a campaign to those that the plan names; the others that are due wait for room.
    async fn offer_planned(
        self: &Arc<Self>,
        campaign: &Campaign,
        devices: Vec<Endpoint>,
        due: Vec<(Endpoint, Track)>,
    ) -> Result<(), StepError> {
        let mut tracks: BTreeMap<Endpoint, Track> = due.into_iter().collect();
        let named = |device: Endpoint| tracks.remove_entry(&device);
        let planned: Vec<(Endpoint, Track)> = devices.into_iter().filter_map(named).collect();
        self.lineup.keep_ready(campaign.id, tracks.into_keys());
        if planned.len() == OFFERS_MAX {
            // There may be more of them.
            self.wake.notify_one();
        }
        let free = self.not_taken(campaign, planned).await?;
        self.offer_all(campaign, free).await
    }

    /// Halts a campaign that leads to a release that was recalled while it was launched, or just before the server ended.
    async fn halted_for_recall(&self, campaign: &Campaign, standing: &Standing) -> Result<bool, StepError> {
        let Some(page) = self.book.page(&campaign.manifest).await? else { return Ok(false) };
        let Some(release) = self.recalled_for(&page, &standing.class_names()).await? else {
            return Ok(false);
        };
        let by = by_server(release.recalled.as_ref().map_or("", |recall| &recall.why));
        self.halt_for(campaign.id, &release, &by).await?;
        self.wake.notify_one();
        Ok(true)
    }

    /// Finds devices of a campaign that an offer is due to and that can be reached: those that something happened to, those
    /// that waited for room, and those of a stretch of the others.
    async fn look_for_due(
        &self,
        campaign: &Campaign,
        standing: &Standing,
        marked: &BTreeSet<Endpoint>,
        is_tick: bool,
    ) -> Result<Vec<(Endpoint, Track)>, StepError> {
        let (id, room) = (campaign.id, room(&campaign.policy, standing) as usize);
        let (wanted, steady) = (room.min(OFFERS_MAX), self.steady());
        let mut names = marked.clone();
        names.extend(self.lineup.take_ready(id, wanted));
        let mut due = BTreeMap::new();
        if !names.is_empty() {
            let names: Vec<Endpoint> = names.into_iter().collect();
            let tracks = self.store.tracks_of(&self.tenant, id, &names).await?;
            due.extend(tracks.into_iter().filter(|(device, track)| self.is_due(device, track)));
        }
        // Who was offered it before holds a place in flight, and needs no room.
        let stages = if room > 0 { &WAITING_OR_OFFERED[..] } else { &WAITING_OR_OFFERED[1..] };
        let stages = if standing.count(|stage| stages.contains(&stage)) > 0 { stages } else { &[] };
        for _ in 0..if is_tick { STRETCHES_MAX } else { STRETCHES_MIN } {
            let missing = wanted.saturating_sub(due.len());
            if stages.is_empty() || (room > 0 && missing == 0) {
                break;
            }
            let Some(after) = self.lineup.goes_on_after(id, Look::Due, steady) else { break };
            let rows = self.store.tracks_in(&self.tenant, id, stages, after.as_ref(), STRETCH_ROWS).await?;
            self.let_sleepers_go(id, &rows).await?;
            let (stretch, found) = self.due_of(rows, if room > 0 { missing } else { OFFERS_MAX });
            due.extend(found);
            let is_end = stretch.until.is_none();
            // What began in the middle of the names goes on at their beginning.
            let is_whole = after.is_none();
            self.lineup.came(id, Look::Due, stretch, steady);
            if is_end && is_whole {
                break;
            }
        }
        Ok(due.into_iter().collect())
    }

    /// Puts devices back to the start that were sent the manifest long ago, have not asked, and sleep: nobody else waits for
    /// their places until they wake.
    async fn let_sleepers_go(&self, id: CampaignId, rows: &[(Endpoint, Track)]) -> Result<(), StepError> {
        let (now, steady) = (self.now(), self.steady());
        let sleeps = |(device, track): &&(Endpoint, Track)| {
            sleeps_over_its_offer(track, self.registry.reach(device, steady), now)
        };
        let sleepers: BTreeMap<Endpoint, Track> = rows.iter().filter(sleeps).cloned().collect();
        if sleepers.is_empty() {
            return Ok(());
        }
        let waits = |device: &Endpoint| Event {
            at: now,
            campaign: Some(id),
            device: Some(device.clone()),
            kind: EventKind::OfferWaits,
        };
        let events: Vec<Event> = sleepers.keys().map(waits).collect();
        let events = self.store.append_for_unmoved(&self.tenant, id, &sleepers, &events).await?;
        self.metrics.recorded(&events);
        // There is room now; and one may have woken meanwhile.
        self.look_at(sleepers.into_keys());
        Ok(())
    }

    /// Takes those out of a stretch that an offer is due to, up to a number.
    fn due_of(&self, rows: Vec<(Endpoint, Track)>, found_max: usize) -> (Stretch, Vec<(Endpoint, Track)>) {
        let is_last = rows.len() < STRETCH_ROWS as usize;
        let (mut found, mut looked_at) = (Vec::new(), 0);
        let count = rows.len();
        let mut until = None;
        for (device, track) in rows {
            if found.len() >= found_max {
                break;
            }
            looked_at += 1;
            until = Some(device.clone());
            if self.is_due(&device, &track) {
                found.push((device, track));
            }
        }
        let until = until.filter(|_| !is_last || looked_at < count);
        (Stretch { until, rows: looked_at, found: !found.is_empty() }, found)
    }

    /// Tells whether an offer is due to a device that can take one now: over its own session, or by a gateway that is here.
    fn is_due(&self, device: &Endpoint, track: &Track) -> bool {
        let now = self.steady();
        // A registered one is ready, or its answers are awaited, whichever way its offer goes.
        is_due(track, self.now())
            && self.registry.is_ready(device, now).unwrap_or_else(|| self.gateways.reaches(device, now))
    }

    /// Puts devices back to the start of which nobody knows whether they still work on what they were given; not one whose
    /// report came in meanwhile. Tells whether there were any.
    async fn put_lost_back(&self, campaign: &Campaign, standing: &Standing) -> Result<bool, StepError> {
        let (id, steady) = (campaign.id, self.steady());
        if standing.count(|stage| ASKED_OR_LOADING.contains(&stage)) == 0 {
            return Ok(false);
        }
        let Some(after) = self.lineup.goes_on_after(id, Look::Lost, steady) else { return Ok(false) };
        let rows =
            self.store.tracks_in(&self.tenant, id, &ASKED_OR_LOADING, after.as_ref(), STRETCH_ROWS).await?;
        let until =
            rows.last().filter(|_| rows.len() == STRETCH_ROWS as usize).map(|(device, _)| device.clone());
        let stretch = Stretch { until, rows: rows.len(), found: false };
        let tracks: BTreeMap<Endpoint, Track> = rows.into_iter().collect();
        let lost = lost(id, &tracks, &self.lapse());
        let lost = if lost.is_empty() {
            lost
        } else {
            self.store.append_for_unmoved(&self.tenant, id, &tracks, &lost).await?
        };
        self.lineup.came(id, Look::Lost, stretch, steady);
        if lost.is_empty() {
            return Ok(false);
        }
        self.metrics.recorded(&lost);
        // The next step offers them the manifest again.
        self.look_at(lost.into_iter().filter_map(|event| event.device));
        Ok(true)
    }

    /// Lets campaigns look at devices that something happened to.
    pub(crate) fn look_at(&self, devices: impl IntoIterator<Item = Endpoint>) {
        for device in devices {
            self.lineup.mark(device);
        }
        self.wake.notify_one();
    }

    /// Lets campaigns look at all their devices: some may be due that nothing happened to.
    pub(crate) fn look_at_all(&self) {
        self.lineup.begin_anew();
        self.wake.notify_one();
    }

    /// Tells what is known of the time that has passed.
    fn lapse(&self) -> Lapse {
        let (now, running_s) = (self.now(), self.steady());
        let stepped_s = self.steps.look(now, running_s).map(|at| running_s.saturating_sub(at));
        Lapse { now, running_s, stepped_s, grant_lifetime_s: self.config.grant_lifetime_s }
    }

    /// Leaves out the devices that another campaign is at work on.
    ///
    /// A device has room for one manifest. Offered another one it would give up what is half done, and report that as a
    /// failure; or ask for a grant while one is open that it never heard of, and be told "later" until that expires.
    async fn not_taken(
        &self,
        campaign: &Campaign,
        devices: Vec<(Endpoint, Track)>,
    ) -> Result<Vec<(Endpoint, Track)>, StepError> {
        let names: Vec<Endpoint> = devices.iter().map(|(device, _)| device.clone()).collect();
        let mut rivals = BTreeMap::<Endpoint, Vec<AtWork>>::new();
        for one in self.store.at_work_on(&self.tenant, campaign.id, &names).await? {
            rivals.entry(one.endpoint.clone()).or_default().push(one);
        }
        let mut free = Vec::with_capacity(devices.len());
        for (device, track) in devices {
            let others = rivals.get(&device).map_or(&[][..], Vec::as_slice);
            let others = others.iter().map(|one| (one.campaign, &one.manifest, &one.track));
            if !self.is_taken_by(campaign, Some(&track), others).await? {
                free.push((device, track));
            }
        }
        Ok(free)
    }

    /// Tells whether another one of the campaigns of a device is at work on it.
    pub(crate) async fn is_taken(
        &self,
        campaign: &Campaign,
        campaigns: &[(Campaign, Track)],
    ) -> Result<bool, BookError> {
        let ours = campaigns.iter().find(|(one, _)| one.id == campaign.id).map(|(_, track)| track);
        let others = campaigns.iter().filter(|(other, _)| other.state == CampaignState::Running);
        self.is_taken_by(campaign, ours, others.map(|(other, track)| (other.id, &other.manifest, track)))
            .await
    }

    /// The same, of running campaigns by their number, manifest and track of the device.
    async fn is_taken_by<'a>(
        &self,
        campaign: &Campaign,
        ours: Option<&Track>,
        running: impl Iterator<Item = (CampaignId, &'a Digest, &'a Track)>,
    ) -> Result<bool, BookError> {
        let claim = |id, track: &Track| track.claim().map(|claim| (claim, Reverse(id)));
        let ours = ours.and_then(|track| claim(campaign.id, track));
        let others = running.filter(|(other, _, track)| {
            // Where both are at work on it, the one that the device works for goes on; else the one that was launched first.
            let goes_first = claim(*other, track) > ours;
            goes_first && *other != campaign.id && self.is_at_work(track)
        });
        let mut taken = false;
        for (_, manifest, _) in others {
            taken |= !self.may_interrupt(&campaign.manifest, manifest).await?;
        }
        Ok(taken)
    }

    /// Tells whether a running campaign is at work on the device of a track. What it was given last has ended with the
    /// lifetime of a grant; and what was in hand before a restored store was opened may be over, with nobody left to say so.
    fn is_at_work(&self, track: &Track) -> bool {
        let fresh = !self.lapse().has_ended(track.since);
        track.is_in_flight() && fresh && self.is_known_since_the_start(track)
    }

    /// Tells whether a track is no older than a restored store that was opened. The second of the start counts as before it:
    /// backup, restore and start may share one.
    pub(crate) fn is_known_since_the_start(&self, track: &Track) -> bool {
        track.since > self.started || self.restores().resync_until < self.now()
    }

    /// Tells whether a manifest may go to a device that works on another one: it is more urgent, or the same.
    async fn may_interrupt(&self, manifest: &Digest, worked_on: &Digest) -> Result<bool, BookError> {
        if manifest == worked_on {
            return Ok(true);
        }
        let urgent = self.book.page(manifest).await?;
        match self.book.page(worked_on).await {
            Ok(open) => {
                Ok(urgent.zip(open).is_some_and(|(urgent, open)| urgent.summary.outranks(&open.summary)))
            }
            // A manifest that the anchors no longer allow holds up nobody.
            Err(BookError::Verify(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Writes the offers down, then sends them: one that is lost by a crash is offered again when it is due.
    async fn offer_all(
        self: &Arc<Self>,
        campaign: &Campaign,
        devices: Vec<(Endpoint, Track)>,
    ) -> Result<(), StepError> {
        let Some(page) = self.book.page(&campaign.manifest).await?.filter(|_| !devices.is_empty()) else {
            return Ok(());
        };
        let offered = |device: &Endpoint| Event {
            at: self.now(),
            campaign: Some(campaign.id),
            device: Some(device.clone()),
            kind: EventKind::Offered,
        };
        let ways = self.ways(campaign.id, devices, self.steady()).await?;
        let events: Vec<Event> = ways.direct.iter().chain(&ways.behind).map(offered).collect();
        self.store.append(&self.tenant, &events).await?;
        self.metrics.recorded(&events);
        let envelope = Arc::new(page.envelope.clone());
        for device in ways.direct {
            self.offer(campaign.id, device, Arc::clone(&envelope));
        }
        for gateway in ways.gateways {
            self.send_bundle(campaign.id, gateway);
        }
        Ok(())
    }

    async fn move_on(&self, campaign: &Campaign, kind: EventKind) -> Result<(), StepError> {
        let event = Event { at: self.now(), campaign: Some(campaign.id), device: None, kind };
        tracing::info!(campaign = campaign.id.0, kind = ?event.kind, "a campaign moves on");
        match self.store.move_campaign(&self.tenant, campaign.id, CampaignState::Running, &[event]).await {
            // Somebody cancelled it meanwhile: that stands.
            Ok(_) | Err(MoveError::Conflict { .. } | MoveError::Missing) => {
                // Its devices are free for others.
                self.look_at_all();
                Ok(())
            }
            Err(MoveError::Store(error)) => Err(error.into()),
            Err(other) => Err(StoreError::Backend(other.into()).into()),
        }
    }
}

/// No device would believe the manifest, and none that has it would be answered: the campaign would wait for ever.
fn paused_for(error: &VerifyError) -> EventKind {
    let why = format!(
        "the anchors in force do not allow its manifest ({error}); publish anchors that list its author and resume it, \
         or cancel it"
    );
    EventKind::Paused { by: By { who: Some("the server".to_owned()), why: Some(why), request: None } }
}

/// Plans look again this often without being woken: retries of offers are due by the second.
const TICK: Duration = Duration::from_secs(1);

/// Wait after being woken, for what else happens.
const GATHER: Duration = Duration::from_millis(50);

/// Rows of a stretch of a round, a stage.
const STRETCH_ROWS: u32 = 1_000;

/// Stretches of a step that nothing but the time has woken.
const STRETCHES_MAX: usize = 4;

/// Stretches of any other step: one to the end of the names, and one from their beginning.
const STRETCHES_MIN: usize = 2;

/// Where devices are that may be due; the second kind needs no room.
const WAITING_OR_OFFERED: [Stage; 2] = [Stage::Waiting, Stage::Offered];

/// Where devices are that may be lost.
const ASKED_OR_LOADING: [Stage; 2] = [Stage::Asked, Stage::Downloading];

/// Campaigns read at a time.
const CAMPAIGNS_PAGE: u32 = 100;
