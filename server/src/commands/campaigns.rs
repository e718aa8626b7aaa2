//! Campaigns: launch, progress, cancel.

use std::collections::BTreeSet;

use bellwether_api as api;
use bellwether_decide::campaign::event::{By, Delivery, Event, EventKind};
use bellwether_decide::campaign::progress::Progress;
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState, Policy, Targets};
use bellwether_decide::device::{Device, Endpoint};
use bellwether_store::campaign::{Command, Launch, Launched, MoveError};
use bellwether_store::error::AddError;
use bellwether_store::ledger::{Recorded, Scope};
use sha2::{Digest as _, Sha256};

use super::devices::endpoint;
use super::trust::refused;
use super::{digest, releases::named};
use crate::book::Page;
use crate::clock;
use crate::core::Core;
use crate::refusal::Refusal;

impl Core {
    /// Launches a campaign, once per request id.
    ///
    /// # Errors
    ///
    /// [`Refusal::conflict`] where the request id was used with another body.
    pub async fn launch(&self, asked: &api::LaunchCampaign) -> Result<api::Campaign, Refusal> {
        named("request_id", &asked.request_id)?;
        let manifest = digest(&asked.manifest)?;
        let page = self.book.page(&manifest).await.map_err(refused)?;
        let page = page.ok_or_else(|| Refusal::not_found("no such manifest was published"))?;
        let devices = self.targeted(&asked.targets, &page).await?;
        if devices.is_empty() {
            return Err(Refusal::invalid(
                "no enrolled device is among the targets; see `bellwether device list`",
            ));
        }
        let id = self.store.next_campaign_id(&self.tenant).await.map_err(Refusal::internal)?;
        let now = clock::now();
        let campaign = Campaign {
            id,
            manifest,
            targets: kept_targets(&asked.targets, &devices),
            policy: policy(&asked.policy)?,
            launched_at: now,
            state: CampaignState::Running,
        };
        let body = serde_json::to_vec(asked).map_err(Refusal::internal)?;
        let command = Command {
            request_id: asked.request_id.clone(),
            body: Sha256::digest(&body).into(),
            reply: id.0.to_string().into_bytes(),
            at: now,
        };
        let events = launch_events(id, &devices, now);
        let launch = Launch { campaign: &campaign, events: &events, command: Some(&command) };
        match self.store.launch(&self.tenant, launch).await {
            Ok(Launched::New { .. }) => {
                self.wake.notify_one();
                self.campaign(&id.0.to_string()).await
            }
            Ok(Launched::Repeated { reply }) => self.campaign(&String::from_utf8_lossy(&reply)).await,
            Ok(Launched::OtherBody) => Err(Refusal::conflict(format!(
                "request id {:?} was used for another campaign; choose a new one",
                asked.request_id
            ))),
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
            return Ok(found.into_iter().map(|one| one.device).collect());
        }
        let mut devices = Vec::new();
        let mut after: Option<Endpoint> = None;
        loop {
            let rows =
                self.store.devices(&self.tenant, after.as_ref(), PAGE).await.map_err(Refusal::internal)?;
            let Some(last) = rows.last() else {
                return Ok(devices);
            };
            after = Some(last.device.endpoint.clone());
            for row in rows {
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

    /// Lists campaigns, the oldest first, without their devices.
    ///
    /// # Errors
    ///
    /// [`Refusal::internal`].
    pub async fn campaigns(&self) -> Result<Vec<api::Campaign>, Refusal> {
        let campaigns =
            self.store.campaigns(&self.tenant, None, None, PAGE).await.map_err(Refusal::internal)?;
        let mut described = Vec::with_capacity(campaigns.len());
        for campaign in campaigns {
            let progress = self.progress(campaign.id).await?;
            described.push(describe(&campaign, &progress, Vec::new()));
        }
        Ok(described)
    }

    /// Shows one campaign with all its devices.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub async fn campaign(&self, id: &str) -> Result<api::Campaign, Refusal> {
        let id = campaign_id(id)?;
        let campaign = self.store.campaign(&self.tenant, id).await.map_err(Refusal::internal)?;
        let campaign = campaign.ok_or_else(|| missing(id))?;
        let progress = self.progress(id).await?;
        let mut devices = Vec::with_capacity(progress.tracks.len());
        for (endpoint, track) in &progress.tracks {
            devices.push(self.describe_track(id, endpoint, track).await?);
        }
        Ok(describe(&campaign, &progress, devices))
    }

    async fn progress(&self, id: CampaignId) -> Result<Progress, Refusal> {
        let progress = self.store.progress(&self.tenant, id).await.map_err(Refusal::internal)?;
        progress.ok_or_else(|| missing(id))
    }

    async fn describe_track(
        &self,
        campaign: CampaignId,
        endpoint: &Endpoint,
        track: &Track,
    ) -> Result<api::CampaignDevice, Refusal> {
        let got = if track.grant == 0 { None } else { self.got(campaign, endpoint, track.grant).await? };
        Ok(api::CampaignDevice {
            endpoint: endpoint.to_string(),
            class: track.class.clone(),
            outcome: outcome(track.stage),
            got,
            reason: track.reason.clone(),
        })
    }

    /// What a device was given under a grant, as the ledger tells it.
    async fn got(
        &self,
        campaign: CampaignId,
        endpoint: &Endpoint,
        number: u64,
    ) -> Result<Option<api::Got>, Refusal> {
        let scope = Scope::Device(endpoint);
        let events = self.store.events(&self.tenant, scope, 0, PAGE).await.map_err(Refusal::internal)?;
        let given = events.iter().rev().find_map(|Recorded { event, .. }| match &event.kind {
            EventKind::Resolved { delivery, grant, bytes, .. }
                if event.campaign == Some(campaign) && *grant == number =>
            {
                Some((*delivery, *bytes))
            }
            _ => None,
        });
        Ok(match given {
            None => None,
            Some((Delivery::Full, bytes)) => Some(api::Got::Full { bytes }),
            Some((Delivery::Delta { base, .. }, bytes)) => {
                let version = self.version_of(&base).await.map_err(Refusal::internal)?;
                Some(api::Got::Delta { base: version.unwrap_or_else(|| hex::encode(base)), bytes })
            }
        })
    }

    /// Ends a campaign: no new offers and no new grants.
    ///
    /// # Errors
    ///
    /// [`Refusal::conflict`] where it is over already.
    pub async fn cancel(&self, id: &str) -> Result<api::Campaign, Refusal> {
        let number = campaign_id(id)?;
        let campaign = self.store.campaign(&self.tenant, number).await.map_err(Refusal::internal)?;
        let state = campaign.ok_or_else(|| missing(number))?.state;
        if !matches!(state, CampaignState::Running | CampaignState::Halted) {
            return Err(Refusal::conflict(format!("campaign {id} is {} already", state.name())));
        }
        let event = Event {
            at: clock::now(),
            campaign: Some(number),
            device: None,
            kind: EventKind::Cancelled { by: By::default() },
        };
        match self.store.move_campaign(&self.tenant, number, state, &[event]).await {
            Ok(_) => self.campaign(id).await,
            Err(MoveError::Conflict { found }) => {
                Err(Refusal::conflict(format!("campaign {id} became {} meanwhile; look again", found.name())))
            }
            Err(error) => Err(Refusal::internal(error)),
        }
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

fn launch_events(id: CampaignId, devices: &[Device], at: u64) -> Vec<Event> {
    let targeted = u32::try_from(devices.len()).unwrap_or(u32::MAX);
    let launched = Event {
        at,
        campaign: Some(id),
        device: None,
        kind: EventKind::Launched { targeted, by: By::default() },
    };
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

fn campaign_id(text: &str) -> Result<CampaignId, Refusal> {
    let number =
        text.parse().map_err(|_| Refusal::invalid(format!("{text:?} is no campaign: a number is")))?;
    Ok(CampaignId(number))
}

fn missing(id: CampaignId) -> Refusal {
    Refusal::not_found(format!("there is no campaign {}", id.0))
}

fn describe(campaign: &Campaign, progress: &Progress, devices: Vec<api::CampaignDevice>) -> api::Campaign {
    let classes = progress.classes().into_iter().map(|(class, counts)| api::ClassProgress {
        class,
        targeted: counts.targeted.into(),
        waiting: counts.waiting.into(),
        offered: u64::from(counts.offered) + u64::from(counts.asked),
        granted: counts.downloading.into(),
        ready: counts.decrypted.into(),
        installed: u64::from(counts.installed) + u64::from(counts.current),
        failed: u64::from(counts.failed) + u64::from(counts.refused),
    });
    let state = progress.state;
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
        reason: (state == CampaignState::Halted).then(|| "too many devices failed".to_owned()),
        created: campaign.launched_at,
        classes: classes.collect(),
        devices,
    }
}

fn outcome(stage: Stage) -> api::DeviceOutcome {
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

/// Rows read at a time.
const PAGE: u32 = 1_000;

const PER_MILLE: u16 = 1_000;
