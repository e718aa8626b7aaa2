//! Campaigns: planned by a pure function, carried out here. One task, so that nothing is offered twice.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::campaign::lapse::Lapse;
use bellwether_decide::campaign::plan::{Plan, lost, plan};
use bellwether_decide::campaign::progress::Progress;
use bellwether_decide::campaign::stage::Track;
use bellwether_decide::campaign::{Campaign, CampaignState};
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::Digest;
use bellwether_manifests::envelope::VerifyError;
use bellwether_store::campaign::MoveError;
use bellwether_store::error::StoreError;
use thiserror::Error;

use crate::book::BookError;
use crate::core::Core;
use crate::recalls::classes;

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
        tokio::select! {
            // The tick first: it comes once a second at most, so nothing waits long behind it.
            biased;
            _ = tick.tick() => {
                core.registry.sweep(core.steady());
                // Also where there is no campaign: a step must not be found when the first one comes.
                core.lapse();
                core.catch_up();
            }
            // What happens at the same time is planned for at the same time: a plan reads its whole campaign.
            () = core.wake.notified() => tokio::time::sleep(GATHER).await,
        }
        if let Err(error) = core.step().await {
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
    async fn step(self: &Arc<Self>) -> Result<(), StepError> {
        self.settle_bundles().await?;
        let running = Some(CampaignState::Running);
        let mut after = None;
        loop {
            let page = self.store.campaigns(&self.tenant, running, after, CAMPAIGNS_PAGE).await?;
            let Some(last) = page.last().map(|campaign| campaign.id) else {
                return Ok(());
            };
            for campaign in &page {
                // One whose manifest can't be used any more must not keep the others waiting.
                if let Err(error) = self.step_campaign(campaign).await {
                    let error = &error as &(dyn std::error::Error + 'static);
                    self.blame_disk(error);
                    tracing::error!(error, campaign = campaign.id.0, "a campaign waits: its step failed");
                }
            }
            after = Some(last);
        }
    }

    async fn step_campaign(self: &Arc<Self>, campaign: &Campaign) -> Result<(), StepError> {
        let now = self.now();
        let Some(progress) = self.store.progress(&self.tenant, campaign.id).await? else {
            return Ok(());
        };
        let reachable = self.reachable();
        let lost = lost(&progress, &self.lapse());
        if !lost.is_empty() {
            return self.put_back(&progress, &lost).await;
        }
        let plan = plan(&campaign.policy, &progress, &reachable, now);
        if matches!(plan, Plan::Offer(_) | Plan::Wait { .. })
            && let Err(BookError::Verify(error)) = self.book.page(&campaign.manifest).await
        {
            return self.move_on(campaign, paused_for(&error)).await;
        }
        match plan {
            Plan::Offer(devices) => {
                if self.halted_for_recall(campaign, &progress).await? {
                    return Ok(());
                }
                let free = self.not_taken(campaign, devices).await?;
                self.offer_all(campaign, free, &progress).await
            }
            Plan::Halt { failure_per_mille } => {
                self.move_on(campaign, EventKind::Halted { failure_per_mille }).await
            }
            Plan::Finish => self.move_on(campaign, EventKind::Finished).await,
            Plan::Wait { .. } | Plan::Over => Ok(()),
        }
    }

    /// Halts a campaign that leads to a release that was recalled while it was launched, or just before the server ended.
    async fn halted_for_recall(&self, campaign: &Campaign, progress: &Progress) -> Result<bool, StepError> {
        let Some(page) = self.book.page(&campaign.manifest).await? else { return Ok(false) };
        let Some(release) = self.recalled_for(&page, &classes(progress)).await? else { return Ok(false) };
        let why = release.recalled.as_ref().map(|recall| recall.why.clone());
        let by = By { who: Some("the server".to_owned()), why, request: None };
        self.halt_for(campaign.id, &release, &by).await?;
        self.wake.notify_one();
        Ok(true)
    }

    /// Names the devices that can be offered something now: over their own session, or by a gateway that is here.
    fn reachable(&self) -> Vec<Endpoint> {
        let now = self.steady();
        let mut reachable = self.registry.reachable(now);
        // A registered one is there already, or its answers are awaited, whichever way its offer goes.
        let behind = self.gateways.reachable(now).into_iter();
        reachable.extend(behind.filter(|device| self.registry.find(device, now).is_none()));
        reachable.sort_unstable();
        reachable
    }

    /// Puts devices back to the start of which nobody knows whether they still work on what they were given; not one whose
    /// report came in meanwhile.
    async fn put_back(&self, progress: &Progress, lost: &[Event]) -> Result<(), StepError> {
        let lost = self.store.append_for_unmoved(&self.tenant, progress, lost).await?;
        self.metrics.recorded(&lost);
        // The next step offers them the manifest again.
        self.wake.notify_one();
        Ok(())
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
        devices: Vec<Endpoint>,
    ) -> Result<Vec<Endpoint>, StepError> {
        let mut free = Vec::with_capacity(devices.len());
        for device in devices {
            let campaigns = self.store.campaigns_for(&self.tenant, &device).await?;
            if !self.is_taken(campaign, &campaigns).await? {
                free.push(device);
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
        let claim = |id, track: &Track| track.claim().map(|claim| (claim, Reverse(id)));
        let ours = campaigns.iter().find(|(one, _)| one.id == campaign.id);
        let ours = ours.and_then(|(one, track)| claim(one.id, track));
        let others = campaigns.iter().filter(|(other, track)| {
            // Where both are at work on it, the one that the device works for goes on; else the one that was launched first.
            let goes_first = claim(other.id, track) > ours;
            goes_first && other.id != campaign.id && self.is_at_work(other, track)
        });
        let mut taken = false;
        for (other, _) in others {
            taken |= !self.may_interrupt(&campaign.manifest, &other.manifest).await?;
        }
        Ok(taken)
    }

    /// Tells whether a campaign is at work on the device of a track. What it was given last has ended with the lifetime of
    /// a grant; and what was in hand before a restored store was opened may be over, with nobody left to say so.
    fn is_at_work(&self, campaign: &Campaign, track: &Track) -> bool {
        let fresh = !self.lapse().has_ended(track.since);
        let known = self.is_known_since_the_start(track);
        campaign.state == CampaignState::Running && track.is_in_flight() && fresh && known
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
        devices: Vec<Endpoint>,
        progress: &Progress,
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
        let ways = self.ways(devices, progress, self.steady());
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
            Ok(_) | Err(MoveError::Conflict { .. } | MoveError::Missing) => Ok(()),
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

/// Campaigns read at a time.
const CAMPAIGNS_PAGE: u32 = 100;
