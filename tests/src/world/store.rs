//! The server's store in the world: the real one, whose commits are counted and can be the last thing that the server
//! does.
//!
//! Every call waits for SQLite with the whole world: no time passes meanwhile, and nothing else runs, so threads of the
//! data base decide nothing. Around each call the world's time goes on a little, as dice have it, so that others get
//! in between.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use async_trait::async_trait;
use bellwether_decide::alarm::{AlarmKey, Occurrence};
use bellwether_decide::campaign::event::Event;
use bellwether_decide::campaign::progress::Progress;
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::standing::Standing;
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use bellwether_decide::release::{Class, ReleaseId};
use bellwether_decide::tag::Tag;
use bellwether_store::campaign::{AtWork, Campaigns, Command, Given, Launch, Launched, MoveError, Ordered};
use bellwether_store::catalogue::{
    Catalogue, CataloguedRelease, Manifest, ManifestSummary, NewRelease, Recalling, Resource, ResourceKey,
};
use bellwether_store::census::{Asked, Census, Censuses, Counted};
use bellwether_store::device::{
    Devices, EnrolledDevice, Identity, NewCredential, NewIdentity, Restores, Retirement, Transition, Updated,
};
use bellwether_store::error::{AddError, OpenError, StoreError, UpdateError};
use bellwether_store::fleet::{Background, Fleets, Running, TagCount, TagDevicesError, Tagging, Tags};
use bellwether_store::gateway::{Gateway, Gateways, KeptBundle};
use bellwether_store::import::{
    Committed, Import, ImportCommit, Imports, StageError, StagedDevice, StagedName, UnitDue,
};
use bellwether_store::ledger::{Cut, KeptAlarm, Ledger, Recorded, Scope};
use bellwether_store::operators::{Contact, Figures, Operators};
use bellwether_store::publication::Publications;
use bellwether_store::session::{KeptRegistration, KeptSession, Sessions};
use bellwether_store::settings::{Anchors, Settings};
use bellwether_store::{Digest, Sealed, SqliteStore, Store, Tenant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::dice::Dice;
use super::host::Host;
use super::trace::Trace;

/// When to stop the server, next to one of its commits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// The commit is not made any more.
    Before,
    /// It is made, and nobody hears of it.
    After,
}

/// Counts the commits of one server over all its starts, and stops it at one of them.
#[derive(Debug)]
pub struct Commits {
    state: Mutex<State>,
    stopped: Notify,
}

#[derive(Debug)]
struct State {
    made: u64,
    wakings: u64,
    stop: Option<(u64, Stop)>,
    dice: Dice,
}

impl Commits {
    /// Begins at none; `dice` draw how long calls take.
    pub fn new(dice: Dice) -> Arc<Self> {
        let state = Mutex::new(State { made: 0, wakings: 0, stop: None, dice });
        Arc::new(Self { state, stopped: Notify::new() })
    }

    /// Tells how many were asked for so far.
    pub fn count(&self) -> u64 {
        self.locked().made
    }

    /// Tells how often sessions that sleep were looked for.
    pub fn wakings(&self) -> u64 {
        self.locked().wakings
    }

    /// Stops the server at the n-th commit from here, 1 for the next one.
    pub fn stop_at(&self, nth: u64, stop: Stop) {
        let mut state = self.locked();
        state.stop = Some((state.made + nth, stop));
    }

    /// Waits until the server was stopped at a commit.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more; gives its number, and whether it is the last and how.
    fn next(&self, name: &str) -> (u64, Option<Stop>) {
        let mut state = self.locked();
        state.made += 1;
        state.wakings += u64::from(name == "take_sessions");
        let (number, stop) = (state.made, state.stop);
        let stop = stop.filter(|(at, _)| *at == number).map(|(_, stop)| stop);
        if stop.is_some() {
            state.stop = None;
        }
        (number, stop)
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(self.locked().dice.between(0, DELAY_MOST_US))
    }
}

/// The store of one start of the server.
pub struct Kept {
    inner: SqliteStore,
    host: Arc<Host>,
    commits: Arc<Commits>,
    trace: Trace,
}

impl Kept {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub fn open(
        path: &Path,
        host: &Arc<Host>,
        commits: &Arc<Commits>,
        trace: &Trace,
    ) -> Result<Arc<Self>, OpenError> {
        let inner = wait_for(SqliteStore::open(path))?;
        let (host, commits, trace) = (Arc::clone(host), Arc::clone(commits), trace.clone());
        Ok(Arc::new(Self { inner, host, commits, trace }))
    }

    /// Closes the file, after its server was stopped.
    pub fn close(&self) {
        wait_for(self.inner.close());
    }

    /// The store itself, whose calls nobody counts: for whoever looks in from outside of the world. Wait for its
    /// calls with [`wait_for`].
    pub fn inside(&self) -> &SqliteStore {
        &self.inner
    }

    async fn read<T>(&self, _: &str, call: impl Future<Output = T>) -> T {
        self.pass_time().await;
        wait_for(call)
    }

    async fn write<T>(&self, name: &str, call: impl Future<Output = T>) -> T {
        self.pass_time().await;
        let (number, stop) = self.commits.next(name);
        if stop == Some(Stop::Before) {
            return self.stop(&format!("stopped before commit {number}, {name}")).await;
        }
        let outcome = wait_for(call);
        self.trace.note(&"store", &format!("commit {number}, {name}"));
        if stop == Some(Stop::After) {
            return self.stop(&format!("stopped after commit {number}, {name}")).await;
        }
        outcome
    }

    async fn stop<T>(&self, why: &str) -> T {
        self.trace.note(&"server", &why);
        self.host.switch_off();
        self.commits.stopped.notify_one();
        pending().await
    }

    /// What runs of a killed server waits here for ever.
    async fn pass_time(&self) {
        if self.host.is_on() {
            sleep(self.commits.delay()).await;
        }
        if !self.host.is_on() {
            pending::<()>().await;
        }
    }
}

#[async_trait]
impl Store for Kept {
    async fn close(&self) {}

    async fn superseded(&self) {
        pending::<()>().await;
    }
}

/// Waits for a future of the data base, and lets nothing else of the world go on meanwhile.
///
/// # Panics
///
/// Where the data base's runtime can't be made.
pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    static DATA_BASE: OnceLock<Runtime> = OnceLock::new();
    let runtime = DATA_BASE.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    });
    // What the future needs of a runtime, timers and tasks, is that one's, whose time is the machine's.
    let _inside = runtime.enter();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

macro_rules! forward {
    ($part:ident; $($kind:ident $name:ident($($given:ident: $of:ty),*) -> $outcome:ty;)*) => {
        #[async_trait]
        impl $part for Kept {
            $(async fn $name(&self, $($given: $of),*) -> $outcome {
                self.$kind(stringify!($name), self.inner.$name($($given),*)).await
            })*
        }
    };
}

forward! { Devices;
    write add_device(tenant: &Tenant, device: &EnrolledDevice, identity: &NewIdentity) -> Result<(), AddError>;
    write add_devices(tenant: &Tenant, devices: &[(EnrolledDevice, NewIdentity)]) -> Result<(), AddError>;
    read device(tenant: &Tenant, endpoint: &Endpoint) -> Result<Option<EnrolledDevice>, StoreError>;
    read devices(tenant: &Tenant, after: Option<&Endpoint>, rows_max: u32) -> Result<Vec<EnrolledDevice>, StoreError>;
    read devices_named(tenant: &Tenant, endpoints: &[Endpoint]) -> Result<Vec<EnrolledDevice>, StoreError>;
    write retire_device(tenant: &Tenant, endpoint: &Endpoint, retirement: Retirement<'_>) -> Result<(), UpdateError>;
    write add_credential(tenant: &Tenant, endpoint: &Endpoint, credential: NewCredential<'_>) -> Result<(), UpdateError>;
    write use_credential(tenant: &Tenant, endpoint: &Endpoint, number: u64, events: &[Event]) -> Result<bool, StoreError>;
    read credentials_made(tenant: &Tenant, devices: &[Endpoint]) -> Result<BTreeMap<Endpoint, u64>, StoreError>;
    write set_device_enabled(tenant: &Tenant, endpoint: &Endpoint, enabled: bool) -> Result<(), UpdateError>;
    read identity(tenant: &Tenant, id: &Endpoint) -> Result<Option<Identity>, StoreError>;
    read identities_of(tenant: &Tenant, endpoint: &Endpoint) -> Result<Vec<Identity>, StoreError>;
    write update_identity(tenant: &Tenant, id: &Endpoint, transition: Transition<'_>) -> Result<Updated, UpdateError>;
    read restores(tenant: &Tenant) -> Result<Restores, StoreError>;
    write add_restore(tenant: &Tenant, resync_until: u64, events: &[Event], command: &Command) -> Result<Restores, UpdateError>;
}

forward! { Gateways;
    write add_gateway(tenant: &Tenant, gateway: &Gateway) -> Result<(), AddError>;
    read gateway(tenant: &Tenant, name: &Endpoint) -> Result<Option<Gateway>, StoreError>;
    read gateways(tenant: &Tenant, after: Option<&Endpoint>, rows_max: u32) -> Result<Vec<Gateway>, StoreError>;
    write remove_gateway(tenant: &Tenant, name: &Endpoint) -> Result<(), UpdateError>;
    read children(tenant: &Tenant, name: &Endpoint, after: Option<&Endpoint>, rows_max: u32) -> Result<Vec<EnrolledDevice>, StoreError>;
    write detach(tenant: &Tenant, endpoint: &Endpoint, at: u64) -> Result<(), UpdateError>;
    write next_bundle_edition(tenant: &Tenant, name: &Endpoint, at: u64) -> Result<u64, UpdateError>;
    write put_bundle(tenant: &Tenant, name: &Endpoint, campaign: CampaignId, not_after: u64, at: u64) -> Result<u64, UpdateError>;
    write withdraw_bundle(tenant: &Tenant, name: &Endpoint, campaign: CampaignId, edition: u64) -> Result<(), StoreError>;
    read bundles(tenant: &Tenant, name: Option<&Endpoint>, at: u64) -> Result<Vec<KeptBundle>, StoreError>;
}

forward! { Ledger;
    write append(tenant: &Tenant, events: &[Event]) -> Result<u64, StoreError>;
    read events(tenant: &Tenant, scope: Scope<'_>, since: u64, rows_max: u32) -> Result<Vec<Recorded>, StoreError>;
    read latest_events(tenant: &Tenant, scope: Scope<'_>, rows_max: u32) -> Result<Vec<Recorded>, StoreError>;
    read old_until(tenant: &Tenant, before: u64, now: u64) -> Result<u64, StoreError>;
    read unneeded_events(tenant: &Tenant, since: u64, until: u64, rows_max: u32) -> Result<Vec<Recorded>, StoreError>;
    write remove_events(tenant: &Tenant, numbers: &[u64], at: u64) -> Result<u64, StoreError>;
    read cut(tenant: &Tenant) -> Result<Option<Cut>, StoreError>;
    write raise(tenant: &Tenant, occurrences: &[Occurrence]) -> Result<Vec<AlarmKey>, StoreError>;
    read alarms(tenant: &Tenant, before: Option<&AlarmKey>, rows_max: u32) -> Result<Vec<KeptAlarm>, StoreError>;
}

forward! { Catalogue;
    write add_manifest(tenant: &Tenant, manifest: &Manifest) -> Result<(), AddError>;
    read manifest(tenant: &Tenant, digest: &Digest) -> Result<Option<Manifest>, StoreError>;
    read manifests(tenant: &Tenant, rows_max: u32) -> Result<Vec<ManifestSummary>, StoreError>;
    write add_release(tenant: &Tenant, release: &NewRelease) -> Result<ReleaseId, AddError>;
    read releases(tenant: &Tenant, after: Option<ReleaseId>, rows_max: u32) -> Result<Vec<CataloguedRelease>, StoreError>;
    read releases_with(tenant: &Tenant, digests: &[Digest]) -> Result<Vec<CataloguedRelease>, StoreError>;
    read releases_of(tenant: &Tenant, class: &Class) -> Result<Vec<CataloguedRelease>, StoreError>;
    write set_recall(tenant: &Tenant, recalling: Recalling<'_>) -> Result<(), UpdateError>;
    write put_resource(tenant: &Tenant, key: &ResourceKey, resource: &Resource) -> Result<Resource, StoreError>;
    write replace_resource(tenant: &Tenant, key: &ResourceKey, lost: &Digest, resource: &Resource) -> Result<Resource, StoreError>;
    read resource(tenant: &Tenant, key: &ResourceKey) -> Result<Option<Resource>, StoreError>;
    read resources_to(tenant: &Tenant, target: &Digest) -> Result<Vec<(ResourceKey, Resource)>, StoreError>;
    read resource_by_root(tenant: &Tenant, root: &Digest) -> Result<Option<Resource>, StoreError>;
}

forward! { Campaigns;
    write next_campaign_id(tenant: &Tenant) -> Result<CampaignId, StoreError>;
    write launch(tenant: &Tenant, launch: Launch<'_>) -> Result<Launched, AddError>;
    read command(tenant: &Tenant, request_id: &str) -> Result<Option<Command>, StoreError>;
    read campaign(tenant: &Tenant, id: CampaignId) -> Result<Option<Campaign>, StoreError>;
    read campaigns(tenant: &Tenant, state: Option<CampaignState>, after: Option<CampaignId>, rows_max: u32) -> Result<Vec<Campaign>, StoreError>;
    write move_campaign(tenant: &Tenant, id: CampaignId, expected: CampaignState, events: &[Event]) -> Result<CampaignState, MoveError>;
    write append_for_unmoved(tenant: &Tenant, id: CampaignId, decided: &BTreeMap<Endpoint, Track>, events: &[Event]) -> Result<Vec<Event>, StoreError>;
    write order(tenant: &Tenant, order: Ordered<'_>) -> Result<Launched, MoveError>;
    read progress(tenant: &Tenant, id: CampaignId) -> Result<Option<Progress>, StoreError>;
    read latest_campaigns(tenant: &Tenant, before: Option<CampaignId>, rows_max: u32) -> Result<Vec<Campaign>, StoreError>;
    read standing(tenant: &Tenant, id: CampaignId) -> Result<Option<Standing>, StoreError>;
    read tracks(tenant: &Tenant, id: CampaignId, after: Option<&Endpoint>, rows_max: u32) -> Result<Vec<(Endpoint, Track)>, StoreError>;
    read tracks_in(tenant: &Tenant, id: CampaignId, stages: &[Stage], after: Option<&Endpoint>, rows_max: u32) -> Result<Vec<(Endpoint, Track)>, StoreError>;
    read tracks_of(tenant: &Tenant, id: CampaignId, devices: &[Endpoint]) -> Result<BTreeMap<Endpoint, Track>, StoreError>;
    read in_flight_behind(tenant: &Tenant, id: CampaignId, gateway: &Endpoint, rows_max: u32) -> Result<Vec<(Endpoint, Track)>, StoreError>;
    read at_work_on(tenant: &Tenant, but: CampaignId, devices: &[Endpoint]) -> Result<Vec<AtWork>, StoreError>;
    read given(tenant: &Tenant, id: CampaignId, grants: &[(Endpoint, u64)]) -> Result<BTreeMap<Endpoint, Given>, StoreError>;
    read campaigns_about(tenant: &Tenant, endpoint: &Endpoint, manifests: &[Digest]) -> Result<Vec<(Campaign, Track)>, StoreError>;
    read campaigns_ever(tenant: &Tenant, endpoint: &Endpoint) -> Result<Vec<(Campaign, Track)>, StoreError>;
}

forward! { Settings;
    write add_anchors(tenant: &Tenant, anchors: &Anchors) -> Result<(), AddError>;
    read anchors(tenant: &Tenant) -> Result<Option<Anchors>, StoreError>;
    read anchors_since(tenant: &Tenant, edition: u64, rows_max: u32) -> Result<Vec<Anchors>, StoreError>;
    write put_setting(tenant: &Tenant, name: &str, value: &Sealed) -> Result<Sealed, StoreError>;
    read setting(tenant: &Tenant, name: &str) -> Result<Option<Sealed>, StoreError>;
    read try_write(tenant: &Tenant) -> Result<(), StoreError>;
}

forward! { Operators;
    read figures(tenant: &Tenant) -> Result<Figures, StoreError>;
    write put_contacts(tenant: &Tenant, contacts: &[Contact]) -> Result<(), StoreError>;
    read contact(tenant: &Tenant, endpoint: &Endpoint) -> Result<Option<Contact>, StoreError>;
}

forward! { Fleets;
    write tag_devices(tenant: &Tenant, tagging: Tagging<'_>) -> Result<(), TagDevicesError>;
    read tags_of(tenant: &Tenant, devices: &[Endpoint]) -> Result<Tags, StoreError>;
    read tags(tenant: &Tenant, after: Option<&Tag>, rows_max: u32) -> Result<Vec<TagCount>, StoreError>;
    read devices_tagged(tenant: &Tenant, tag: &Tag, after: Option<&Endpoint>, rows_max: u32) -> Result<Vec<EnrolledDevice>, StoreError>;
    write note_running(tenant: &Tenant, endpoint: &Endpoint, running: &[(u64, Digest)], at: u64) -> Result<(), StoreError>;
    read who_runs(tenant: &Tenant, class: &str, image: &Digest, after: Option<&Endpoint>, rows_max: u32) -> Result<Vec<Running>, StoreError>;
    read backgrounds(tenant: &Tenant, devices: &[Endpoint]) -> Result<BTreeMap<Endpoint, Background>, StoreError>;
    read asked_from(tenant: &Tenant, devices: &[Endpoint]) -> Result<BTreeMap<Endpoint, Digest>, StoreError>;
    read count_running(tenant: &Tenant, class: &str, image: &Digest) -> Result<u64, StoreError>;
}

forward! { Imports;
    write stage_import(tenant: &Tenant, id: &str, content: &Digest, lines: u64, rows: &[StagedDevice], at: u64) -> Result<(), StageError>;
    read import(tenant: &Tenant, id: &str) -> Result<Option<Import>, StoreError>;
    read staged(tenant: &Tenant, id: &str, after: u64, rows_max: u32) -> Result<Vec<StagedName>, StoreError>;
    write commit_import(tenant: &Tenant, id: &str, commit: ImportCommit<'_>) -> Result<Committed, StoreError>;
    read units_due(tenant: &Tenant, id: &str, after: u64, rows_max: u32) -> Result<Vec<UnitDue>, StoreError>;
    write units_received(tenant: &Tenant, id: &str, up_to: u64) -> Result<u64, StoreError>;
    read chain_lengths(tenant: &Tenant, devices: &[Endpoint]) -> Result<BTreeMap<Endpoint, u16>, StoreError>;
    write forget_imports(tenant: &Tenant, begun_before: u64) -> Result<u64, StoreError>;
}

forward! { Censuses;
    read counted(tenant: &Tenant) -> Result<u64, StoreError>;
    write count(tenant: &Tenant, counted: Counted<'_>) -> Result<bool, StoreError>;
    read census(tenant: &Tenant, asked: &Asked) -> Result<Census, StoreError>;
}

forward! { Publications;
    read published(tenant: &Tenant) -> Result<u64, StoreError>;
    write set_published(tenant: &Tenant, seq: u64) -> Result<(), StoreError>;
}

forward! { Sessions;
    write put_sessions(tenant: &Tenant, sessions: &[KeptSession]) -> Result<(), StoreError>;
    write take_sessions(tenant: &Tenant, sessions: &[[u8; 8]]) -> Result<Vec<KeptSession>, StoreError>;
    write forget_sessions_of(tenant: &Tenant, identity: &str) -> Result<u64, StoreError>;
    write forget_registrations_of(tenant: &Tenant, identity: &str) -> Result<u64, StoreError>;
    write sweep_sessions(tenant: &Tenant, now: u64, kept_max: u64) -> Result<u64, StoreError>;
    read kept_registrations(tenant: &Tenant, after: Option<&KeptRegistration>, rows_max: u32) -> Result<Vec<KeptRegistration>, StoreError>;
}

/// What a call takes at the most: a disk that syncs.
const DELAY_MOST_US: u64 = 8_000;
