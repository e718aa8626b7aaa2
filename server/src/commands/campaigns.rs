//! Campaigns: launch, progress, why not.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_api as api;
use bellwether_decide::campaign::event::{By, Delivery, Event, EventKind};
use bellwether_decide::campaign::progress::{ClassProgress, Progress};
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::standing::Standing;
use bellwether_decide::campaign::why::{self, Absent};
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState, Policy, Targets};
use bellwether_decide::device::{Device, Endpoint};
use bellwether_decide::explain;
use bellwether_decide::queue_mode::Reach;
use bellwether_decide::tag::Tag;
use bellwether_store::campaign::{Given, Launch, Launched};
use bellwether_store::device::EnrolledDevice;
use bellwether_store::error::AddError;
use bellwether_store::ledger::Scope;

use super::devices::{endpoint, time};
use super::digest;
use super::fleet::tag;
use super::request::{by, command, limit, other_body};
use super::trust::refused;
use crate::book::Page;
use crate::core::Core;
use crate::descriptors::DescriptorError;
use crate::refusal::Refusal;

impl Core {
    /// Launches a campaign, once per request id.
    ///
    /// # Errors
    ///
    /// [`Refusal::conflict`] where the request id was used with another body.
    pub async fn launch(&self, asked: &api::LaunchCampaign) -> Result<api::Campaign, Refusal> {
        if let Some(reply) = self.answered(LAUNCH, &asked.request_id, asked).await? {
            return Ok(reply);
        }
        let by = by(asked.who.as_ref(), asked.why.as_ref())?;
        if !self.descriptors.is_listed() {
            return Err(Refusal::conflict(DescriptorError::NotListed.to_string()));
        }
        let manifest = digest(&asked.manifest)?;
        let page = self.book.page(&manifest).await.map_err(refused)?;
        let page = page.ok_or_else(|| Refusal::not_found("manifest: none with this digest was published"))?;
        let devices = self.targeted(&asked.targets, &page).await?;
        if devices.is_empty() {
            return Err(Refusal::invalid(
                "targets: no enrolled device is among them; see `bellwether device list`",
            ));
        }
        let id = self.store.next_campaign_id(&self.tenant).await.map_err(Refusal::internal)?;
        let campaign = Campaign {
            id,
            manifest,
            targets: kept_targets(&asked.targets, &devices),
            policy: policy(&asked.policy)?,
            launched_at: self.now(),
            state: CampaignState::Running,
        };
        let events = launch_events(&campaign, &devices, by);
        let standing = Standing::of(&Progress::of(id, &events));
        self.refuse_recalled(&page, &standing).await?;
        self.launched(asked, &campaign, &standing, &events).await
    }

    /// Writes a launch down, with what it is answered.
    async fn launched(
        &self,
        asked: &api::LaunchCampaign,
        campaign: &Campaign,
        standing: &Standing,
        events: &[Event],
    ) -> Result<api::Campaign, Refusal> {
        let reply = changed(campaign, standing);
        let command = command(self.now(), LAUNCH, &asked.request_id, asked, &reply)?;
        let launch = Launch { campaign, events, command: Some(&command) };
        match self.store.launch(&self.tenant, launch).await {
            Ok(Launched::New { .. }) => {
                self.wake.notify_one();
                Ok(reply)
            }
            Ok(Launched::Repeated { reply }) => self.repeated(&reply).await,
            Ok(Launched::OtherBody) => Err(other_body(&asked.request_id)),
            Err(AddError::Exists) => Err(Refusal::conflict("the campaign's number is taken; try again")),
            Err(error) => Err(Refusal::internal(error)),
        }
    }

    /// The devices that a campaign is for: the named ones, or those of the named classes, or all that the manifest
    /// serves.
    async fn targeted(&self, targets: &api::Targets, page: &Page) -> Result<Vec<Device>, Refusal> {
        let named: Vec<Endpoint> =
            targets.endpoints.iter().map(|name| endpoint(name)).collect::<Result<_, _>>()?;
        if !named.is_empty() {
            let found = self.store.devices_named(&self.tenant, &named).await.map_err(Refusal::internal)?;
            if let Some(missing) =
                named.iter().find(|name| !found.iter().any(|one| one.device.endpoint == **name))
            {
                return Err(Refusal::not_found(format!("no device named {missing} is enrolled")));
            }
            if !targets.classes.is_empty() || !targets.tags.is_empty() {
                return Err(Refusal::invalid("targets.endpoints: goes with neither classes nor tags"));
            }
            if let Some(gone) = found.iter().find(|one| one.retired_at.is_some()) {
                return Err(Refusal::conflict(format!("{} was decommissioned", gone.device.endpoint)));
            }
            return Ok(found.into_iter().map(|one| one.device).collect());
        }
        let tags: Vec<Tag> =
            targets.tags.iter().map(|text| tag("targets.tags", text)).collect::<Result<_, _>>()?;
        let mut devices = Vec::new();
        let mut after: Option<Endpoint> = None;
        loop {
            let rows = self.device_rows(tags.first(), after.as_ref(), PAGE).await?;
            let Some(last) = rows.last() else {
                return Ok(devices);
            };
            after = Some(last.device.endpoint.clone());
            for row in self.having_all(&tags, rows).await? {
                let chosen = if targets.classes.is_empty() {
                    !page.targets(&self.class(&row.device.class).await?).is_empty()
                } else {
                    targets.classes.contains(&row.device.class)
                };
                if chosen {
                    devices.push(row.device);
                }
            }
        }
    }

    /// Leaves those out that were decommissioned, and those without one of the tags.
    async fn having_all(
        &self,
        tags: &[Tag],
        rows: Vec<EnrolledDevice>,
    ) -> Result<Vec<EnrolledDevice>, Refusal> {
        let mut rows: Vec<_> = rows.into_iter().filter(|row| row.retired_at.is_none()).collect();
        if tags.len() > 1 {
            let names: Vec<Endpoint> = rows.iter().map(|row| row.device.endpoint.clone()).collect();
            let kept = self.store.tags_of(&self.tenant, &names).await.map_err(Refusal::internal)?;
            let has_all =
                |name: &Endpoint| kept.get(name).is_some_and(|has| tags.iter().all(|tag| has.contains(tag)));
            rows.retain(|row| has_all(&row.device.endpoint));
        }
        Ok(rows)
    }

    /// Lists a page of campaigns, the oldest first, without their devices.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for a page that can't be.
    pub async fn campaigns(&self, asked: &api::ListCampaigns) -> Result<api::CampaignPage, Refusal> {
        let limit = limit(asked.limit)?;
        let after = asked.after.as_deref().map(campaign_id).transpose()?;
        let state = asked.state.map(decided_state);
        let rows =
            self.store.campaigns(&self.tenant, state, after, limit).await.map_err(Refusal::internal)?;
        let is_full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| is_full).map(|last| last.id.0.to_string());
        let mut campaigns = Vec::with_capacity(rows.len());
        for campaign in rows {
            let standing = self.standing(campaign.id).await?;
            campaigns.push(self.shown(&campaign, &standing, Vec::new()).await?);
        }
        Ok(api::CampaignPage { campaigns, next })
    }

    /// Tells how a campaign stands, what was ordered by whom, and why its devices are not done.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub async fn explain_campaign(
        &self,
        asked: &api::ExplainCampaign,
    ) -> Result<api::CampaignExplanation, Refusal> {
        let (id, limit) = (campaign_id(&asked.campaign)?, limit(asked.limit)?);
        let campaign = self.store.campaign(&self.tenant, id).await.map_err(Refusal::internal)?;
        let campaign = campaign.ok_or_else(|| missing(id))?;
        let standing = self.standing(id).await?;
        let mut lines = why::standing(&standing, self.absent(&standing).await?);
        lines.extend(self.ordered_so_far(id).await?);
        if !campaign.state.may_go_on() {
            lines.extend(self.cut_since(campaign.launched_at).await.map_err(Refusal::internal)?);
        }
        let after = asked.after.as_deref().filter(|name| !name.is_empty()).map(endpoint).transpose()?;
        let rows = self.store.tracks_in(&self.tenant, id, &NOT_DONE, after.as_ref(), limit).await;
        let rows = rows.map_err(Refusal::internal)?;
        let is_full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| is_full).map(|(endpoint, _)| endpoint.to_string());
        let steady = self.steady();
        let not_done = |(endpoint, track): &(Endpoint, Track)| {
            let why = why::not_done(&campaign, track, self.registry.reach(endpoint, steady))?;
            Some(api::NotDone { endpoint: endpoint.to_string(), outcome: outcome(track.stage), why })
        };
        let devices = rows.iter().filter_map(not_done).collect();
        Ok(api::CampaignExplanation { campaign: id.0.to_string(), lines, devices, next })
    }

    /// Counts the waiting devices of a campaign that are not registered now, or sleep; `None` where there are too many to
    /// look at.
    async fn absent(&self, standing: &Standing) -> Result<Option<Absent>, Refusal> {
        if standing.count(|stage| stage == Stage::Waiting) > AWAY_LOOKED_AT_MAX {
            return Ok(None);
        }
        let (mut absent, mut after): (Absent, Option<Endpoint>) = (Absent::default(), None);
        let steady = self.steady();
        loop {
            let waiting = [Stage::Waiting];
            let rows =
                self.store.tracks_in(&self.tenant, standing.campaign, &waiting, after.as_ref(), PAGE).await;
            let rows = rows.map_err(Refusal::internal)?;
            let Some((last, _)) = rows.last() else { return Ok(Some(absent)) };
            after = Some(last.clone());
            for (endpoint, _) in &rows {
                match self.registry.reach(endpoint, steady) {
                    Reach::Here => {}
                    Reach::Asleep => absent.asleep += 1,
                    Reach::Away => absent.away += 1,
                }
            }
        }
    }

    /// What happened to a campaign as a whole, in sentences.
    async fn ordered_so_far(&self, id: CampaignId) -> Result<Vec<String>, Refusal> {
        let events =
            self.store.events(&self.tenant, Scope::Whole(id), 0, PAGE).await.map_err(Refusal::internal)?;
        let told =
            events.iter().map(|one| format!("{}  {}", time(one.event.at), explain::happened(&one.event)));
        Ok(told.collect())
    }

    /// Shows a campaign as it stands now, without its devices; `None` where there is none.
    pub(crate) async fn campaign_in_short(&self, id: CampaignId) -> Result<Option<api::Campaign>, Refusal> {
        let Some(campaign) = self.store.campaign(&self.tenant, id).await.map_err(Refusal::internal)? else {
            return Ok(None);
        };
        self.shown(&campaign, &self.standing(id).await?, Vec::new()).await.map(Some)
    }

    /// Shows one campaign with the first thousand of its devices.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub async fn campaign(&self, id: &str) -> Result<api::Campaign, Refusal> {
        self.campaign_page(id, &api::DevicesOfCampaign::default()).await
    }

    /// Shows one campaign with a page of its devices.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`], [`Refusal::invalid`] for a page that can't be.
    pub async fn campaign_page(
        &self,
        id: &str,
        page: &api::DevicesOfCampaign,
    ) -> Result<api::Campaign, Refusal> {
        let id = campaign_id(id)?;
        let limit = limit(page.limit.or(Some(PAGE)))?;
        let after = page.after.as_deref().map(endpoint).transpose()?;
        let campaign = self.store.campaign(&self.tenant, id).await.map_err(Refusal::internal)?;
        let campaign = campaign.ok_or_else(|| missing(id))?;
        let standing = self.standing(id).await?;
        let tracks = self.store.tracks(&self.tenant, id, after.as_ref(), limit).await;
        let tracks = tracks.map_err(Refusal::internal)?;
        let is_full = tracks.len() == limit as usize;
        let next = tracks.last().filter(|_| is_full).map(|(endpoint, _)| endpoint.to_string());
        let devices = self.describe_tracks(id, &tracks).await?;
        Ok(api::Campaign { next, ..self.shown(&campaign, &standing, devices).await? })
    }

    /// Describes a campaign with why it was halted, if it was.
    async fn shown(
        &self,
        campaign: &Campaign,
        standing: &Standing,
        devices: Vec<api::CampaignDevice>,
    ) -> Result<api::Campaign, Refusal> {
        self.with_reason(campaign.id, describe(campaign, standing, devices)).await
    }

    /// Puts to the description of a campaign why it was halted, if it was.
    pub(super) async fn with_reason(
        &self,
        id: CampaignId,
        mut shown: api::Campaign,
    ) -> Result<api::Campaign, Refusal> {
        if shown.state == api::CampaignState::Halted {
            let events = self.store.latest_events(&self.tenant, Scope::Whole(id), PAGE).await;
            let events = events.map_err(Refusal::internal)?;
            let why = events.iter().rev().find_map(|one| halted_since(&one.event.kind));
            shown.reason = Some(why.unwrap_or_else(|| FAILURES.to_owned()));
        }
        Ok(shown)
    }

    pub(super) async fn standing(&self, id: CampaignId) -> Result<Standing, Refusal> {
        let standing = self.store.standing(&self.tenant, id).await.map_err(Refusal::internal)?;
        standing.ok_or_else(|| missing(id))
    }

    async fn describe_tracks(
        &self,
        id: CampaignId,
        tracks: &[(Endpoint, Track)],
    ) -> Result<Vec<api::CampaignDevice>, Refusal> {
        let grants = tracks.iter().filter(|(_, track)| track.grant != 0);
        let grants: Vec<(Endpoint, u64)> =
            grants.map(|(endpoint, track)| (endpoint.clone(), track.grant)).collect();
        let given = self.store.given(&self.tenant, id, &grants).await.map_err(Refusal::internal)?;
        let bases = given.values().filter_map(|given| match given.delivery {
            Delivery::Delta { base, .. } => Some(base),
            Delivery::Full => None,
        });
        let versions = self.versions_of(bases).await.map_err(Refusal::internal)?;
        let got = |given: &Given| match given.delivery {
            Delivery::Full => api::Got::Full { bytes: given.bytes },
            Delivery::Delta { base, .. } => {
                let version = versions.get(&base).cloned();
                api::Got::Delta { base: version.unwrap_or_else(|| hex::encode(base)), bytes: given.bytes }
            }
        };
        let described = |(endpoint, track): &(Endpoint, Track)| api::CampaignDevice {
            endpoint: endpoint.to_string(),
            class: track.class.clone(),
            outcome: outcome(track.stage),
            got: given.get(endpoint).map(got),
            reason: track.reason.clone(),
        };
        Ok(tracks.iter().map(described).collect())
    }
}

/// What the campaign is kept as being for: names where names were asked for, else classes. Which devices these are
/// was settled at launch, by a `Targeted` event each; a list of a million names in the campaign would be read with
/// every request.
fn kept_targets(asked: &api::Targets, devices: &[Device]) -> Targets {
    if asked.endpoints.is_empty() {
        let classes: BTreeSet<&str> = devices.iter().map(|device| device.class.as_str()).collect();
        return Targets::Classes(classes.into_iter().map(str::to_owned).collect());
    }
    Targets::Endpoints(devices.iter().map(|device| device.endpoint.clone()).collect())
}

fn launch_events(campaign: &Campaign, devices: &[Device], by: By) -> Vec<Event> {
    let (id, at) = (campaign.id, campaign.launched_at);
    let targeted = u32::try_from(devices.len()).unwrap_or(u32::MAX);
    let launched = Event { at, campaign: Some(id), device: None, kind: EventKind::Launched { targeted, by } };
    let target = |device: &Device| Event {
        at,
        campaign: Some(id),
        device: Some(device.endpoint.clone()),
        kind: EventKind::Targeted { class: device.class.clone() },
    };
    std::iter::once(launched).chain(devices.iter().map(target)).collect()
}

fn policy(asked: &api::Policy) -> Result<Policy, Refusal> {
    if asked.at_most == Some(0) {
        return Err(Refusal::invalid("policy.at_most: at least 1 device must be at work at a time"));
    }
    let failure_per_mille_max = u32::from(asked.abort_failed_per_mille.unwrap_or(PER_MILLE));
    if failure_per_mille_max > u32::from(PER_MILLE) {
        return Err(Refusal::invalid("policy.abort_failed_per_mille: at most 1000"));
    }
    let failure_sample_min = asked.abort_sample_min.unwrap_or(1);
    let (reseed, ask_go) = (asked.reseed, asked.ask_go);
    Ok(Policy { in_flight_max: asked.at_most, failure_per_mille_max, failure_sample_min, reseed, ask_go })
}

pub(super) fn campaign_id(text: &str) -> Result<CampaignId, Refusal> {
    let number =
        text.parse().map_err(|_| Refusal::invalid(format!("{text:?} is no campaign: a number is")))?;
    Ok(CampaignId(number))
}

pub(super) fn missing(id: CampaignId) -> Refusal {
    Refusal::not_found(format!("there is no campaign {}", id.0))
}

fn describe(campaign: &Campaign, standing: &Standing, devices: Vec<api::CampaignDevice>) -> api::Campaign {
    counted(campaign, standing.state, &standing.classes(), devices)
}

/// Describes a campaign by the counts of its classes.
pub(super) fn counted(
    campaign: &Campaign,
    state: CampaignState,
    classes: &BTreeMap<String, ClassProgress>,
    devices: Vec<api::CampaignDevice>,
) -> api::Campaign {
    let classes = classes.iter().map(|(class, counts)| api::ClassProgress {
        class: class.clone(),
        targeted: counts.targeted.into(),
        waiting: counts.waiting.into(),
        offered: u64::from(counts.offered) + u64::from(counts.asked),
        granted: counts.downloading.into(),
        ready: counts.decrypted.into(),
        installed: u64::from(counts.installed) + u64::from(counts.current),
        failed: u64::from(counts.failed) + u64::from(counts.refused),
    });
    api::Campaign {
        id: campaign.id.0.to_string(),
        manifest: hex::encode(campaign.manifest),
        state: match state {
            CampaignState::Running => api::CampaignState::Running,
            CampaignState::Paused => api::CampaignState::Paused,
            CampaignState::Halted => api::CampaignState::Halted,
            CampaignState::Cancelled => api::CampaignState::Cancelled,
            CampaignState::Finished => api::CampaignState::Finished,
        },
        reason: None,
        created: campaign.launched_at,
        classes: classes.collect(),
        devices,
        next: None,
    }
}

/// Why a campaign was halted, where an event says so.
fn halted_since(kind: &EventKind) -> Option<String> {
    match kind {
        EventKind::Halted { .. } => Some(FAILURES.to_owned()),
        EventKind::Recalled { release, by } => {
            let why = by.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            Some(format!("{release} was recalled{why}"))
        }
        _ => None,
    }
}

/// Describes a campaign for the reply to a change, which is kept: classes beyond what a kept reply holds are left out.
pub(super) fn changed(campaign: &Campaign, standing: &Standing) -> api::Campaign {
    let mut reply = describe(campaign, standing, Vec::new());
    reply.classes.truncate(REPLY_CLASSES_MAX);
    reply
}

fn decided_state(state: api::CampaignState) -> CampaignState {
    match state {
        api::CampaignState::Running => CampaignState::Running,
        api::CampaignState::Paused => CampaignState::Paused,
        api::CampaignState::Halted => CampaignState::Halted,
        api::CampaignState::Cancelled => CampaignState::Cancelled,
        api::CampaignState::Finished => CampaignState::Finished,
    }
}

pub(super) fn outcome(stage: Stage) -> api::DeviceOutcome {
    match stage {
        Stage::Waiting => api::DeviceOutcome::Waiting,
        Stage::Offered | Stage::Asked => api::DeviceOutcome::Offered,
        Stage::Downloading => api::DeviceOutcome::Granted,
        Stage::Decrypted => api::DeviceOutcome::Ready,
        Stage::Installed => api::DeviceOutcome::Installed,
        Stage::Current => api::DeviceOutcome::NothingToDo,
        Stage::Failed => api::DeviceOutcome::Failed,
        Stage::Refused => api::DeviceOutcome::Refused,
    }
}

/// Names the verb in what a request's digest is made over: nothing, as it was before there were other verbs.
const LAUNCH: &str = "";

/// Classes in a kept reply: 250 bytes each, and the store keeps 64 KiB.
const REPLY_CLASSES_MAX: usize = 200;

/// Why campaigns are halted by the server.
const FAILURES: &str = "too many devices failed";

/// Rows read at a time.
const PAGE: u32 = 1_000;

/// Waiting devices that are looked at to tell how many of them are away: ten pages.
const AWAY_LOOKED_AT_MAX: u32 = 10_000;

/// Where devices are that do not run their update.
const NOT_DONE: [Stage; 7] = [
    Stage::Waiting,
    Stage::Offered,
    Stage::Asked,
    Stage::Downloading,
    Stage::Decrypted,
    Stage::Failed,
    Stage::Refused,
];

const PER_MILLE: u16 = 1_000;
