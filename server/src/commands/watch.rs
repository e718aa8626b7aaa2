//! What whoever watches asks beyond the verbs: pages and counts that read no more than they show.

use std::collections::BTreeMap;

use bellwether_api as api;
use bellwether_decide::campaign::Campaign;
use bellwether_decide::campaign::stage::Stage;
use bellwether_decide::campaign::why;
use bellwether_decide::device::Endpoint;
use bellwether_decide::queue_mode::Reach;
use bellwether_decide::tag::Tag;
use bellwether_manifests::author::ManifestSummary;
use bellwether_manifests::definition::{
    BATTERY, CLASS_ID, FREE_STAGING_BYTES, HARDWARE_REVISION, IMAGE_DIGEST, PATCH_ALGORITHMS, REGION,
    VENDOR_ID, VERSION,
};
use bellwether_manifests::message::StableAnswers;
use bellwether_store::Digest;
use bellwether_store::catalogue::{Resource, ResourceKey};
use bellwether_store::device::EnrolledDevice;
use bellwether_store::ledger::Scope;

use super::campaigns::{campaign_id, counted, missing, outcome};
use super::devices::{endpoint, time};
use super::fleet::tag;
use crate::answers::Answers;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::view::told;

/// A campaign as it is watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    /// How it stands, without its devices.
    pub(crate) campaign: api::Campaign,
    /// Why devices failed or were refused, the most frequent reason first.
    pub(crate) reasons: Vec<(String, u64)>,
    /// Number of the last event that is counted in.
    pub(crate) as_of: u64,
    /// Devices at work at the same time, where that is bounded.
    pub(crate) at_most: Option<u32>,
}

/// Which devices of a campaign are looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Of {
    /// All.
    All,
    /// Those that failed or were refused.
    Failed,
    /// Those that are at work.
    AtWork,
    /// Those that wait.
    Waiting,
    /// Those that run their update.
    Done,
}

/// A device of a campaign as it is watched.
#[derive(Clone, Debug)]
pub(crate) struct WatchedDevice {
    /// Endpoint name.
    pub(crate) endpoint: String,
    /// Class name.
    pub(crate) class: String,
    /// How far it is.
    pub(crate) outcome: api::DeviceOutcome,
    /// Since when, seconds since 1970.
    pub(crate) since: u64,
    /// Why not, where it does not run its update.
    pub(crate) why: Option<String>,
}

impl Core {
    /// Lists a page of campaigns, the latest first, with the number to go on from.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for a page that can't be.
    pub(crate) async fn latest_campaigns(
        &self,
        before: Option<&str>,
        rows_max: u32,
    ) -> Result<(Vec<Watched>, Option<u64>), Refusal> {
        let before = before.map(campaign_id).transpose()?;
        let rows = self.store.latest_campaigns(&self.tenant, before, rows_max).await;
        let rows = rows.map_err(Refusal::internal)?;
        let is_full = rows.len() == rows_max as usize;
        let next = rows.last().filter(|last| is_full && last.id.0 > 1).map(|last| last.id.0);
        let mut campaigns = Vec::with_capacity(rows.len());
        for campaign in &rows {
            campaigns.push(self.watched(campaign).await?);
        }
        Ok((campaigns, next))
    }

    /// Shows how a campaign stands.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub(crate) async fn watched_campaign(&self, id: &str) -> Result<Watched, Refusal> {
        self.watched(&self.kept_campaign(id).await?).await
    }

    async fn kept_campaign(&self, id: &str) -> Result<Campaign, Refusal> {
        let id = campaign_id(id)?;
        let campaign = self.store.campaign(&self.tenant, id).await.map_err(Refusal::internal)?;
        campaign.ok_or_else(|| missing(id))
    }

    async fn watched(&self, campaign: &Campaign) -> Result<Watched, Refusal> {
        let tally = self.tally(campaign).await?;
        let mut by_reason = BTreeMap::<&str, u64>::new();
        for (reason, devices) in tally.classes.values().flat_map(|class| &class.reasons) {
            *by_reason.entry(reason).or_default() += u64::from(*devices);
        }
        let mut reasons: Vec<(String, u64)> =
            by_reason.into_iter().map(|(reason, devices)| (reason.to_owned(), devices)).collect();
        reasons.sort_by_key(|(_, devices)| std::cmp::Reverse(*devices));
        let shown = counted(campaign, campaign.state, &tally.classes, Vec::new());
        Ok(Watched {
            campaign: self.with_reason(campaign.id, shown).await?,
            reasons,
            as_of: tally.as_of,
            at_most: campaign.policy.in_flight_max,
        })
    }

    /// Lists a page of the devices whose names begin so, of one tag or all, by name, with the name to go on from.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for a name that can't be.
    pub(crate) async fn devices_beginning(
        &self,
        beginning: &str,
        of_tag: Option<&str>,
        after: Option<&str>,
        rows_max: u32,
    ) -> Result<(Vec<api::Device>, Option<String>), Refusal> {
        let of_tag = of_tag.map(|text| tag("tag", text)).transpose()?;
        let beginning = Some(beginning).filter(|text| !text.is_empty()).map(endpoint).transpose()?;
        let after = after.filter(|name| !name.is_empty()).map(endpoint).transpose()?;
        let mut rows = Vec::new();
        // Names that begin so follow right after the beginning, which itself may be one.
        let from = match (&beginning, &after) {
            (Some(beginning), None) => {
                rows.extend(self.device_tagged(beginning, of_tag.as_ref()).await?);
                Some(beginning)
            }
            (_, after) => after.as_ref(),
        };
        let listed = self.device_rows(of_tag.as_ref(), from, rows_max).await?;
        let fits =
            |name: &str| beginning.as_ref().is_none_or(|beginning| name.starts_with(beginning.as_str()));
        rows.extend(listed.into_iter().take_while(|row| fits(row.device.endpoint.as_str())));
        rows.truncate(rows_max as usize);
        let is_full = rows.len() == rows_max as usize;
        let next = rows.last().filter(|_| is_full).map(|last| last.device.endpoint.to_string());
        Ok((self.describe_all(&rows).await?, next))
    }

    /// Finds a device, where it has a tag.
    async fn device_tagged(
        &self,
        name: &Endpoint,
        of_tag: Option<&Tag>,
    ) -> Result<Option<EnrolledDevice>, Refusal> {
        let device = self.store.device(&self.tenant, name).await.map_err(Refusal::internal)?;
        let Some(wanted) = of_tag else { return Ok(device) };
        let names = std::slice::from_ref(name);
        let tags = self.store.tags_of(&self.tenant, names).await.map_err(Refusal::internal)?;
        Ok(device.filter(|_| tags.get(name).is_some_and(|tags| tags.contains(wanted))))
    }

    /// Lists a page of the devices of a campaign by name, with the name to go on from.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub(crate) async fn campaign_devices(
        &self,
        id: &str,
        of: Of,
        after: Option<&str>,
        rows_max: u32,
    ) -> Result<(Vec<WatchedDevice>, Option<String>), Refusal> {
        let campaign = self.kept_campaign(id).await?;
        let (store, tenant) = (&self.store, &self.tenant);
        let after = after.filter(|name| !name.is_empty()).map(endpoint).transpose()?;
        let rows = match of.stages() {
            None => store.tracks(tenant, campaign.id, after.as_ref(), rows_max).await,
            Some(stages) => store.tracks_in(tenant, campaign.id, stages, after.as_ref(), rows_max).await,
        };
        let rows = rows.map_err(Refusal::internal)?;
        let is_full = rows.len() == rows_max as usize;
        let next = rows.last().filter(|_| is_full).map(|(name, _)| name.to_string());
        let steady = self.steady();
        let describe = |(name, track): &(_, bellwether_decide::campaign::stage::Track)| {
            let reach = match self.registry.listening(name, steady) {
                None => Reach::Away,
                Some(listening) if listening.hears() => Reach::Here,
                Some(_) => Reach::Asleep,
            };
            WatchedDevice {
                endpoint: ToString::to_string(name),
                class: track.class.clone(),
                outcome: outcome(track.stage),
                since: track.since,
                why: why::not_done(&campaign, track, reach),
            }
        };
        Ok((rows.iter().map(describe).collect(), next))
    }

    /// Lists the last events of a campaign, the latest first.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for what is no campaign.
    pub(crate) async fn latest_of_campaign(
        &self,
        id: &str,
        rows_max: u32,
    ) -> Result<Vec<api::Event>, Refusal> {
        let scope = Scope::Campaign(campaign_id(id)?);
        let events =
            self.store.latest_events(&self.tenant, scope, rows_max).await.map_err(Refusal::internal)?;
        Ok(events.iter().rev().map(told).collect())
    }
}

/// A manifest as it is watched.
#[derive(Clone, Debug)]
pub(crate) struct WatchedManifest {
    /// What everybody is told of it.
    pub(crate) manifest: api::Manifest,
    /// The version in its text.
    pub(crate) version: Option<String>,
    /// What it says, in sentences.
    pub(crate) sentences: Vec<String>,
}

/// Bytes that devices fetch to get from one version of a component to another.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    /// Class name.
    pub(crate) class: String,
    /// Component name.
    pub(crate) component: String,
    /// Versions, the newest first, with the bytes of their images.
    pub(crate) versions: Vec<(String, u64)>,
    /// Those of them that were recalled.
    pub(crate) recalled: Vec<String>,
    /// For each version, in their order, what was made that leads to it: the place of the version that it starts from,
    /// and its bytes as carried.
    pub(crate) deltas: Vec<Vec<(usize, u64)>>,
}

impl Core {
    /// Shows a manifest that the anchors in force allow.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`], [`Refusal::refused`] where its author lost trust.
    pub(crate) async fn watched_manifest(&self, digest: &str) -> Result<WatchedManifest, Refusal> {
        let digest = super::digest(digest)?;
        let page = self.book.page(&digest).await.map_err(super::trust::refused)?;
        let page = page.ok_or_else(|| Refusal::not_found("there is no manifest with this digest"))?;
        let manifest = self.describe_manifest(&page).await?;
        let sentences = sentences(&page.summary);
        Ok(WatchedManifest { manifest, version: page.summary.version.clone(), sentences })
    }

    /// Shows what devices of each class fetch between the latest versions, as far as it was made.
    ///
    /// # Errors
    ///
    /// [`Refusal::internal`].
    pub(crate) async fn delta_sizes(&self) -> Result<Vec<Sizes>, Refusal> {
        let mut by_component = BTreeMap::<(String, String), Vec<api::Release>>::new();
        for release in self.releases().await? {
            let versions =
                by_component.entry((release.class.clone(), release.component.clone())).or_default();
            if versions.len() < VERSIONS_SHOWN {
                versions.push(release);
            }
        }
        let mut all = Vec::with_capacity(by_component.len());
        for ((class, component), releases) in by_component {
            let digests: Vec<Digest> =
                releases.iter().map(|one| super::digest(&one.digest)).collect::<Result<_, _>>()?;
            let mut deltas = Vec::with_capacity(digests.len());
            for target in &digests {
                let made = self.store.resources_to(&self.tenant, target).await.map_err(Refusal::internal)?;
                deltas.push(smallest(&made, &digests));
            }
            let recalled = releases.iter().filter(|one| one.recalled.is_some());
            let recalled = recalled.map(|one| one.version.clone()).collect();
            let versions = releases.into_iter().map(|one| (one.version, one.size)).collect();
            all.push(Sizes { class, component, versions, recalled, deltas });
        }
        Ok(all)
    }

    /// Lists what a device told of itself when it registered, as name and value; empty where it is not registered.
    ///
    /// # Errors
    ///
    /// [`Refusal::internal`].
    pub(crate) async fn characteristics(&self, name: &str) -> Result<Vec<(String, String)>, Refusal> {
        let name = endpoint(name)?;
        let Some(registration) = self.registry.find(&name, self.steady()) else { return Ok(Vec::new()) };
        let formats: Vec<String> = registration.speaks.formats.iter().map(ToString::to_string).collect();
        let mut told = vec![
            ("Registered from".to_owned(), registration.address.to_string()),
            ("Lifetime".to_owned(), format!("{} s", registration.lifetime_s)),
            ("LwM2M".to_owned(), registration.speaks.version.to_string()),
        ];
        if let Some(queue) = self.queue_mode(&name) {
            told.push(("Queue mode".to_owned(), listens(&queue)));
        }
        if !formats.is_empty() {
            told.push(("Formats".to_owned(), formats.join(", ")));
        }
        let answers = self.registry.stable_answers(&name, self.steady());
        let answers = answers.and_then(|bytes| Answers::told(&StableAnswers::decode(&bytes).ok()?));
        let Some(answers) = answers else { return Ok(told) };
        for (component, image) in &answers.running {
            let version = self.version_of(image).await.map_err(Refusal::internal)?;
            let version = version.unwrap_or_else(|| format!("{}…", hex::encode(&image[..6])));
            told.push((format!("Component {component} runs"), version));
        }
        let algorithms: Vec<String> = answers.algorithms.iter().map(ToString::to_string).collect();
        let algorithms =
            if algorithms.is_empty() { "none: whole images only".to_owned() } else { algorithms.join(", ") };
        told.push(("Patch algorithms".to_owned(), algorithms));
        Ok(told)
    }
}

/// Says until when a device in queue mode is awake, or since when it sleeps.
fn listens(queue: &api::QueueMode) -> String {
    let by = queue.heard_by.map(|at| format!("; heard of by about {}", time(at))).unwrap_or_default();
    match (queue.since, queue.until) {
        (Some(since), _) => format!("asleep since {}{by}", time(since)),
        (None, until) => format!("awake until {}", until.map(time).unwrap_or_default()),
    }
}

/// The smallest delta from each of these images.
fn smallest(made: &[(ResourceKey, Resource)], images: &[Digest]) -> Vec<(usize, u64)> {
    let mut least = BTreeMap::<usize, u64>::new();
    for (key, resource) in made {
        let from = key.base.and_then(|base| images.iter().position(|image| *image == base.digest));
        if let Some(from) = from {
            let bytes = least.entry(from).or_insert(resource.content_size);
            *bytes = resource.content_size.min(*bytes);
        }
    }
    least.into_iter().collect()
}

/// Says in sentences what a manifest asks for and whom.
fn sentences(summary: &ManifestSummary) -> Vec<String> {
    let mut said = vec![match summary.devices.len() {
        0 => "It is for every device of the classes below.".to_owned(),
        1 => "It is for one device alone, which it names.".to_owned(),
        devices => format!("It is for {devices} devices alone, which it names."),
    }];
    let signers: Vec<String> = summary.signers.iter().map(hex::encode).collect();
    said.push(match signers.len() {
        1 => format!(
            "The author with the key {} signed it, and the anchors in force believe them.",
            signers[0]
        ),
        _ => format!("Authors signed it whom the anchors in force believe: {}.", signers.join(", ")),
    });
    said.push(format!(
        "Its sequence number is {}: a device that took a higher one refuses it.",
        summary.sequence_number
    ));
    let asked: Vec<&str> = summary.asked.iter().flat_map(|(_, ids)| ids).map(|id| question(*id)).collect();
    if !asked.is_empty() {
        let mut asked = asked;
        asked.sort_unstable();
        asked.dedup();
        said.push(format!("Before it gets anything, a device says of itself: {}.", asked.join(", ")));
    }
    if let Some(priority) = summary.priority {
        said.push(format!("Its author calls it of priority {priority}; the smaller, the more urgent."));
    }
    said
}

/// Names what a device is asked for.
fn question(id: i64) -> &'static str {
    match id {
        VENDOR_ID => "its vendor",
        CLASS_ID => "its class",
        IMAGE_DIGEST => "what it runs",
        VERSION => "the version of it",
        HARDWARE_REVISION => "its hardware revision",
        PATCH_ALGORITHMS => "which deltas it can apply",
        FREE_STAGING_BYTES => "how much room it has",
        BATTERY => "its battery",
        REGION => "its region",
        _ => "something that its vendor defines",
    }
}

/// Versions of a component that are set beside each other: what fits on a screen.
const VERSIONS_SHOWN: usize = 8;

impl Of {
    fn stages(self) -> Option<&'static [Stage]> {
        match self {
            Self::All => None,
            Self::Failed => Some(&[Stage::Failed, Stage::Refused]),
            Self::AtWork => Some(&[Stage::Offered, Stage::Asked, Stage::Downloading, Stage::Decrypted]),
            Self::Waiting => Some(&[Stage::Waiting]),
            Self::Done => Some(&[Stage::Installed, Stage::Current]),
        }
    }
}
