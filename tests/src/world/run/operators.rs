//! Fleet managers: launch, pause, cancel, and ask again under the same request id until they are answered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellwether_api::Campaign;
use bellwether_server::core::Core;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::world::desk::{Desk, FIRST, SECOND, Signed};
use crate::world::plan::{Act, Plan};
use crate::world::server::Server;

/// Everybody who gives orders; one after the other, as they come.
pub(super) struct Operators {
    orders: mpsc::UnboundedSender<Act>,
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
        office.launch("launch-1", &first).await;
        let (orders, inbox) = mpsc::unbounded_channel();
        tokio::spawn(work(Arc::clone(&office), inbox));
        Self { orders, office, manifests: vec![first, second] }
    }

    /// Orders something.
    pub(super) fn order(&self, act: Act) {
        self.office.told().given += 1;
        let _ = self.orders.send(act);
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

async fn work(office: Arc<Office>, mut inbox: mpsc::UnboundedReceiver<Act>) {
    while let Some(act) = inbox.recv().await {
        office.carry_out(act).await;
        office.told().done += 1;
    }
}

impl Office {
    async fn carry_out(&self, act: Act) {
        let id = format!("{act:?}-{}", self.told().done);
        match act {
            Act::Pause => self.about_first(&id, "pause").await,
            Act::Resume => self.about_first(&id, "resume").await,
            Act::Cancel => self.about_first(&id, "cancel").await,
            Act::RetryFailed => self.about_first(&id, "retry-failed").await,
            Act::ResyncAll => {
                let asked = json!({"request_id": id, "why": "to be sure"});
                drop(self.ask(&id, "devices", "resync-all", &asked).await);
            }
            Act::Second => {
                self.publish_second().await;
                self.launch(&id, &self.second).await;
            }
            Act::Anchors => {
                self.replace_anchors().await;
            }
        }
    }

    async fn launch(&self, id: &str, manifest: &Signed) {
        let asked = json!({
            "request_id": id,
            "manifest": hex::encode(manifest.digest),
            "targets": {"endpoints": self.endpoints},
            "policy": self.policy,
        });
        let launched =
            self.ask(id, "campaigns", "launch", &asked).await.expect("a launch that is not refused");
        let name = launched["id"].as_str().expect("a campaign with a name").to_owned();
        self.told().campaigns.push(name);
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
