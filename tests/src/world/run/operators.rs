//! Fleet managers: launch, pause, cancel, and ask again under the same request id until they are answered.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellwether_api::Campaign;
use bellwether_server::core::Core;
use bellwether_store::campaign::Campaigns as _;
use bellwether_store::{SqliteStore, Tenant};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::world::desk::{Desk, FIRST, SECOND, Signed};
use crate::world::plan::{Act, Plan};
use crate::world::server::Server;

/// Everybody who gives orders; one after the other, as they come.
pub(super) struct Operators {
    /// `None`: something is to be ordered again.
    orders: mpsc::UnboundedSender<Option<Act>>,
    office: Arc<Office>,
    /// The manifests of both campaigns.
    pub(super) manifests: Vec<Signed>,
}

struct Office {
    server: Server,
    endpoints: Vec<String>,
    policy: Value,
    second: Signed,
    anchors: Vec<u8>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    acknowledged: Vec<String>,
    /// Campaigns by name, in the order of their launches.
    campaigns: Vec<String>,
    /// Everything that was begun, under its request id, in order.
    begun: Vec<(Act, String)>,
    /// What is to be ordered again before anything else.
    again: VecDeque<(Act, String)>,
    given: u64,
    done: u64,
}

impl Operators {
    /// Publishes the first manifest and launches its campaign.
    pub(super) async fn begin(server: &Server, desk: &Desk, plan: &Plan) -> Self {
        let core = server.core().expect("a server that runs");
        let (first, second) = (desk.manifest(1, FIRST), desk.manifest(2, SECOND));
        core.publish_manifest(&first.envelope).await.expect("a manifest is taken");
        let endpoints = (0..plan.devices.len()).map(|number| format!("device-{number}")).collect();
        let policy = json!({
            "at_most": plan.policy.at_most, "reseed": plan.policy.reseed, "ask_go": plan.policy.ask_go,
        });
        let office = Arc::new(Office {
            server: server.clone(),
            endpoints,
            policy,
            second: second.clone(),
            anchors: desk.anchors(&core, 2),
            told: Mutex::default(),
        });
        assert!(office.launch("launch-1", &first).await, "a launch that is not refused");
        let (orders, inbox) = mpsc::unbounded_channel();
        tokio::spawn(work(Arc::clone(&office), inbox));
        Self { orders, office, manifests: vec![first, second] }
    }

    /// Orders something.
    pub(super) fn order(&self, act: Act) {
        self.office.told().given += 1;
        let _ = self.orders.send(Some(act));
    }

    /// Names commands that were answered with success and that a store does not know.
    pub(super) async fn hold_against(&self, store: &SqliteStore, tenant: &Tenant, broken: &mut Vec<String>) {
        for id in self.acknowledged() {
            if store.command(tenant, &id).await.expect("the store").is_none() {
                broken.push(format!("command {id} was acknowledged"));
            }
        }
    }

    /// Takes that this store is an old one: what was ordered since is ordered again, under the same ids, and in the same
    /// order as before.
    pub(super) async fn restored(&self, store: &SqliteStore, tenant: &Tenant) {
        let begun = self.office.told().begun.clone();
        let acknowledged = self.acknowledged();
        let mut known = Vec::new();
        for id in acknowledged.into_iter().chain(begun.iter().map(|(_, id)| id.clone())) {
            if store.command(tenant, &id).await.expect("the store").is_some() {
                known.push(id);
            }
        }
        let kept = store.campaigns(tenant, None, None, u32::MAX).await.expect("the store");
        let kept: Vec<_> = kept.iter().map(|campaign| campaign.id.0.to_string()).collect();
        let mut told = self.office.told();
        told.acknowledged.retain(|id| known.contains(id));
        told.campaigns.retain(|name| kept.contains(name));
        told.again = begun.into_iter().filter(|(_, id)| !known.contains(id)).collect();
        told.given += told.again.len() as u64;
        let _ = self.orders.send(None);
    }

    /// Tells what was not answered yet.
    pub(super) fn waiting(&self) -> Option<String> {
        let told = self.office.told();
        (told.done < told.given).then(|| format!("{} of {} orders", told.given - told.done, told.given))
    }

    /// Request ids of commands that were answered with success.
    pub(super) fn acknowledged(&self) -> Vec<String> {
        self.office.told().acknowledged.clone()
    }

    /// Shows all campaigns.
    pub(super) async fn shown(&self, core: &Arc<Core>) -> Vec<Campaign> {
        let names = self.office.told().campaigns.clone();
        let mut shown = Vec::new();
        for name in names {
            shown.push(core.campaign(&name).await.expect("a campaign that was launched"));
        }
        shown
    }
}

async fn work(office: Arc<Office>, mut inbox: mpsc::UnboundedReceiver<Option<Act>>) {
    loop {
        let again = office.told().again.pop_front();
        let (act, id) = match again {
            Some(again) => again,
            None => match inbox.recv().await {
                Some(Some(act)) => office.begin(act),
                Some(None) => continue,
                None => return,
            },
        };
        office.carry_out(act, &id).await;
        office.told().done += 1;
    }
}

impl Office {
    fn begin(&self, act: Act) -> (Act, String) {
        let mut told = self.told();
        let begun = (act, format!("{act:?}-{}", told.begun.len()));
        told.begun.push(begun.clone());
        begun
    }

    async fn carry_out(&self, act: Act, id: &str) {
        match act {
            Act::Pause => self.about_first(id, "pause").await,
            Act::Resume => self.about_first(id, "resume").await,
            Act::Cancel => self.about_first(id, "cancel").await,
            Act::RetryFailed => self.about_first(id, "retry-failed").await,
            Act::ResyncAll => {
                let asked = json!({"request_id": id, "why": "to be sure"});
                drop(self.ask(id, "devices", "resync-all", &asked).await);
            }
            Act::Second => {
                self.publish_second().await;
                // A restore between the two takes the manifest away again.
                while !self.launch(id, &self.second).await {
                    self.publish_second().await;
                }
            }
            Act::Anchors => {
                self.replace_anchors().await;
            }
        }
    }

    /// Launches a campaign; `false` where it is refused.
    async fn launch(&self, id: &str, manifest: &Signed) -> bool {
        let asked = json!({
            "request_id": id,
            "manifest": hex::encode(manifest.digest),
            "targets": {"endpoints": self.endpoints},
            "policy": self.policy,
        });
        let Some(launched) = self.ask(id, "campaigns", "launch", &asked).await else { return false };
        let name = launched["id"].as_str().expect("a campaign with a name").to_owned();
        let mut told = self.told();
        if !told.campaigns.contains(&name) {
            told.campaigns.push(name);
        }
        true
    }

    async fn about_first(&self, id: &str, verb: &str) {
        let first = self.told().campaigns[0].clone();
        let asked = json!({"request_id": id, "campaign": first, "who": "an operator"});
        drop(self.ask(id, "campaigns", verb, &asked).await);
    }

    /// Asks until it is answered; `None` where it is refused.
    async fn ask(&self, id: &str, noun: &str, verb: &str, asked: &Value) -> Option<Value> {
        loop {
            match self.server.carry_out(noun, verb, asked).await {
                Ok(Ok(reply)) => {
                    self.told().acknowledged.push(id.to_owned());
                    return Some(reply);
                }
                Ok(Err(_refused)) => return None,
                Err(_away) => sleep(PATIENCE).await,
            }
        }
    }

    async fn publish_second(&self) {
        loop {
            let envelope = self.second.envelope.clone();
            let published = self.server.with(async move |core| core.publish_manifest(&envelope).await).await;
            if published.is_ok() {
                return;
            }
            sleep(PATIENCE).await;
        }
    }

    async fn replace_anchors(&self) {
        loop {
            let anchors = self.anchors.clone();
            let replaced = self.server.with(async move |core| core.put_anchors(&anchors).await).await;
            if replaced.is_ok() {
                return;
            }
            sleep(PATIENCE).await;
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time until a fleet manager asks again.
const PATIENCE: Duration = Duration::from_secs(5);
