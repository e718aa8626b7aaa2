//! Every verb in one table: what MQTT and HTTP carry out, and what both documents tell of.

use std::pin::Pin;
use std::sync::Arc;

use bellwether_api::{
    AskDevice, AskWhoRuns, Campaign, CampaignExplanation, CampaignPage, DecommissionDevice, Device,
    DevicePage, EventPage, ExplainCampaign, Explanation, ExportPage, LaunchCampaign, ListCampaigns,
    ListDevices, ListEvents, ListTags, OrderCampaign, OrderDevice, ReadDevice, Reading, RecallRelease,
    Release, ResyncAll, Resynced, TagDevices, TagPage, TaggedDevices, WhoRuns,
};
use bellwether_decide::campaign::order::Order;
use bellwether_decide::operator::Act;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::request::read;
use crate::core::Core;
use crate::refusal::Refusal;

/// What fleet managers may ask for, under one name everywhere: the topic `commands/<noun>/<verb>`, the path
/// `/v1/commands/<noun>/<verb>`.
pub struct Verb {
    /// What it is about.
    pub noun: &'static str,
    /// What is to be done.
    pub name: &'static str,
    /// Both, as `noun/name`.
    pub path: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Whether it changes anything; then a request id is required, and the same request is carried out once.
    pub is_change: bool,
    /// Whether its answer is a device's, which may take its time; nothing else may have to wait for that.
    pub asks_device: bool,
    /// What it takes.
    pub request: Described,
    /// What it is answered with.
    pub reply: Described,
    understand: Understand,
    run: Run,
}

type Understand = fn(&[u8]) -> Result<Value, Refusal>;
type Run = for<'a> fn(&'a Arc<Core>, &'a [u8]) -> Running<'a>;
type Running<'a> = Pin<Box<dyn Future<Output = Result<Value, Refusal>> + Send + 'a>>;

/// A wire type, as the documents need it.
pub struct Described {
    /// Name of the type.
    pub name: fn() -> String,
    /// The type with all types in it.
    pub schemas: fn() -> Vec<(String, RefOr<Schema>)>,
}

impl Described {
    const fn of<T: ToSchema + PartialSchema>() -> Self {
        Self { name: || T::name().into_owned(), schemas: schemas::<T> }
    }
}

/// Collects the schema of a type and of the types in it, by name.
#[must_use]
pub fn schemas<T: ToSchema + PartialSchema>() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
}

impl Verb {
    /// Finds a verb.
    #[must_use]
    pub fn find(noun: &str, name: &str) -> Option<&'static Self> {
        VERBS.iter().find(|verb| verb.noun == noun && verb.name == name)
    }

    /// Reads a command and gives it back as it was understood; nothing is carried out.
    ///
    /// # Errors
    ///
    /// [`Refusal`] names the field.
    pub fn understand(&self, body: &[u8]) -> Result<Value, Refusal> {
        (self.understand)(body)
    }

    /// Carries a command out: its JSON in, the reply's JSON out. What it changed is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`Refusal`] names the field, or says why the state of things forbids it.
    pub async fn carry_out(&self, core: &Arc<Core>, body: &[u8]) -> Result<Value, Refusal> {
        if body.len() > COMMAND_BYTES_MAX {
            let text =
                format!("the command is {} bytes long; at most {COMMAND_BYTES_MAX} are taken", body.len());
            return Err(Refusal::too_large(text));
        }
        (self.run)(core, body).await
    }
}

fn value(reply: impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(reply).map_err(Refusal::internal)
}

macro_rules! verb {
    ($noun:literal $name:literal $summary:literal, $change:expr, $request:ty => $reply:ty, $core:ident, $asked:ident, $run:expr) => {
        Verb {
            noun: $noun,
            name: $name,
            path: concat!($noun, "/", $name),
            summary: $summary,
            is_change: $change,
            asks_device: false,
            request: Described::of::<$request>(),
            reply: Described::of::<$reply>(),
            understand: |body| read::<$request>(body).and_then(value),
            run: |$core, body| {
                Box::pin(async move {
                    let $asked: $request = read(body)?;
                    let reply: $reply = $run.await?;
                    value(reply)
                })
            },
        }
    };
}

/// Every verb.
pub static VERBS: &[Verb] = &[
    verb!("campaigns" "launch" "Launches a campaign for a published manifest.", true,
        LaunchCampaign => Campaign, core, asked, core.launch(&asked)),
    verb!("campaigns" "pause" "Stops a campaign for a while: nothing is offered, granted or started.", true,
        OrderCampaign => Campaign, core, asked, core.order(Order::Pause, &asked)),
    verb!("campaigns" "resume" "Lets a paused campaign go on.", true,
        OrderCampaign => Campaign, core, asked, core.order(Order::Resume, &asked)),
    verb!("campaigns" "cancel" "Ends a campaign: no new offers and no new grants.", true,
        OrderCampaign => Campaign, core, asked, core.order(Order::Cancel, &asked)),
    verb!("campaigns" "retry-failed" "Puts the failed and refused devices of a campaign back to the start.", true,
        OrderCampaign => Campaign, core, asked, core.order(Order::RetryFailed, &asked)),
    verb!("campaigns" "list" "Lists campaigns, the oldest first, without their devices.", false,
        ListCampaigns => CampaignPage, core, asked, core.campaigns(&asked)),
    verb!("campaigns" "explain" "Tells how a campaign stands and why its devices are not done.", false,
        ExplainCampaign => CampaignExplanation, core, asked, core.explain_campaign(&asked)),
    verb!("events" "list" "Lists a page of the ledger: what happened, who ordered it and why.", false,
        ListEvents => EventPage, core, asked, core.events(&asked)),
    verb!("devices" "list" "Lists devices by name.", false,
        ListDevices => DevicePage, core, asked, core.device_page(&asked)),
    verb!("devices" "show" "Shows one device.", false,
        AskDevice => Device, core, asked, core.device(&asked.endpoint)),
    verb!("devices" "explain" "Tells the story of a device.", false,
        AskDevice => Explanation, core, asked, core.explain(&asked.endpoint)),
    Verb {
        asks_device: true,
        ..verb!("devices" "read" "Asks a registered device for what it has at a path.", false,
            ReadDevice => Reading, core, asked, core.read_device(&asked))
    },
    verb!("devices" "resync" "Takes a device that is ahead of the server where it proves to stand, once.", true,
        OrderDevice => Device, core, asked, core.operate(Act::Resync, &asked)),
    verb!("devices" "reissue" "Lets a device have an update that it confirmed once more.", true,
        OrderDevice => Device, core, asked, core.operate(Act::Reissue, &asked)),
    verb!("devices" "forward" "Lets a device that lost its state go on from where the server stands.", true,
        OrderDevice => Device, core, asked, core.operate(Act::Forward, &asked)),
    verb!("devices" "block" "Refuses every request of a device; its reports still count.", true,
        OrderDevice => Device, core, asked, core.operate(Act::Block, &asked)),
    verb!("devices" "unblock" "Ends a block.", true,
        OrderDevice => Device, core, asked, core.operate(Act::Unblock, &asked)),
    verb!("devices" "export" "Lists devices as an import takes them, without those that were decommissioned.", false,
        ListDevices => ExportPage, core, asked, core.export_page(&asked)),
    verb!("devices" "tag" "Puts tags to devices and takes tags off them, of all or none.", true,
        TagDevices => TaggedDevices, core, asked, core.tag_devices(&asked)),
    verb!("devices" "tags" "Lists the tags that devices have.", false,
        ListTags => TagPage, core, asked, core.tag_page(&asked)),
    verb!("devices" "decommission" "Gives a device up: destroys its keys, ends its sessions; there is no way back.", true,
        DecommissionDevice => Device, core, asked, core.decommission(&asked)),
    verb!("releases" "recall" "Recalls a release: nobody gets it any more, and campaigns that lead to it are halted.", true,
        RecallRelease => Release, core, asked, core.recall_release(&asked)),
    verb!("releases" "reinstate" "Takes the recall of a release back.", true,
        RecallRelease => Release, core, asked, core.reinstate_release(&asked)),
    verb!("releases" "who-runs" "Lists the devices that run a release.", false,
        AskWhoRuns => WhoRuns, core, asked, core.who_runs(&asked)),
    verb!("devices" "resync-all" "Says that the database was restored: challenges every device once.", true,
        ResyncAll => Resynced, core, asked, core.resync_all(&asked)),
];

/// Bytes of a command's JSON: 900 endpoint names of 64 bytes, or a class list of any fleet in sight.
pub const COMMAND_BYTES_MAX: usize = 64 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_found_by_noun_and_name_and_no_two_share_them() {
        for verb in VERBS {
            let found = Verb::find(verb.noun, verb.name).expect("itself");
            assert!(std::ptr::eq(found, verb), "{} {}", verb.noun, verb.name);
        }
        assert!(Verb::find("campaigns", "explode").is_none());
    }

    #[test]
    fn changes_require_a_request_id_and_questions_do_not() {
        for verb in VERBS {
            let name = (verb.request.name)();
            let schemas = (verb.request.schemas)();
            let (_, schema) = schemas.iter().find(|(known, _)| *known == name).expect("its own schema");
            let schema = serde_json::to_value(schema).expect("JSON");
            assert!(schema["properties"]["request_id"].is_object(), "{name}");
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            assert_eq!(required.contains(&Value::from("request_id")), verb.is_change, "{name}");
            assert_eq!(schema["additionalProperties"], Value::from(false), "{name} takes unknown fields");
        }
    }
}
