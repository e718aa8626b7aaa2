//! The way in for fleet managers over MQTT: commands in, replies out; the verbs are those of HTTP.
//!
//! A command is acknowledged to the broker only after it is on disk and its reply is on the way, so that a server that
//! dies in between gets it again, and answers it again as the first time. Commands are carried out one by one, in the
//! order in which the broker brings them; only questions to a device are acknowledged at once and answered when it
//! has, so that a silent device keeps nobody waiting. One whose connection is lost meanwhile is to be asked again.

mod link;
mod outage;

use std::sync::Arc;

use bellwether_api::Reply;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::caller::{self, Caller};
use crate::commands::dispatch::{COMMAND_BYTES_MAX, VERBS, Verb};
use crate::commands::request::check_request_id;
use crate::config::MqttBroker;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::view::topics::Topics;

pub(crate) use link::{Closed, Heard, Link, Message, Opening};
pub(crate) use outage::{BackOff, Outage};

/// A broker that the server speaks with, over as many connections as there are ways.
pub struct Broker {
    /// Where it is and who we are there.
    pub(crate) at: MqttBroker,
    /// What was said of it.
    pub(crate) outage: Outage,
}

impl Broker {
    /// Takes where the broker is.
    #[must_use]
    pub fn new(at: MqttBroker) -> Arc<Self> {
        Arc::new(Self { at, outage: Outage::default() })
    }

    /// Whether it can be used, as far as was heard last.
    pub(crate) fn is_connected(&self) -> bool {
        self.outage.is_connected()
    }
}

/// Takes commands until the server ends; a broker that is away is tried again.
pub async fn run(core: Arc<Core>, broker: Arc<Broker>) {
    let mut back_off = BackOff::default();
    loop {
        let why = Session::open(&core, &broker).run(&mut back_off).await;
        broker.outage.began(&broker.at.to_string(), &why);
        tokio::time::sleep(back_off.next()).await;
    }
}

/// One connection's life.
struct Session<'a> {
    core: &'a Arc<Core>,
    broker: &'a Broker,
    topics: Topics,
    link: Link,
    /// Questions that wait for their device.
    waiting: JoinSet<Answered>,
}

/// What became of a question to a device.
type Answered = (Box<Message>, Reply);

impl<'a> Session<'a> {
    fn open(core: &'a Arc<Core>, broker: &'a Broker) -> Self {
        let client_id = format!("{}-commands", core.mqtt_name());
        let link = Link::open(&broker.at, &Opening { client_id, keeps_session: true, will: None });
        Self { core, broker, topics: Topics::new(&core.tenant), link, waiting: JoinSet::new() }
    }

    /// Runs until the connection is lost, and says why it was.
    async fn run(&mut self, back_off: &mut BackOff) -> String {
        loop {
            let heard = tokio::select! {
                biased;
                heard = self.link.hear() => heard,
                Some(answered) = self.waiting.join_next() => {
                    // Where the connection is lost meanwhile, that is heard next.
                    if let Ok((message, reply)) = answered {
                        let _ = self.send(&message, &reply).await;
                    }
                    continue;
                }
            };
            match heard {
                // Where it is lost meanwhile, that is heard next.
                Heard::Connected => drop(self.link.subscribe(&self.topics.all_commands()).await),
                Heard::Subscribed(true) => {
                    *back_off = BackOff::default();
                    self.broker.outage.ended(&self.broker.at.to_string());
                }
                Heard::Subscribed(false) => {
                    return "the broker refuses the subscription to commands; see its access list".to_owned();
                }
                // Where the connection is lost meanwhile, it is heard next, and the command comes again.
                Heard::Message(message) => drop(self.take(message).await),
                Heard::Lost(why) => return why,
            }
        }
    }

    /// Carries a command out, answers it, and only then acknowledges it.
    async fn take(&mut self, message: Box<Message>) -> Result<(), Closed> {
        // That is how a retained message is taken back; by 3.1.1 it passes unmarked.
        let takes_back = message.payload.is_empty() && message.response_topic.is_none();
        if takes_back {
            return self.link.acknowledge(&message).await;
        }
        let verb = self.verb(&message);
        if verb.as_ref().is_ok_and(|verb| verb.asks_device) {
            self.link.acknowledge(&message).await?;
            let core = Arc::clone(self.core);
            self.waiting.spawn(async move {
                let reply = answered(&core, verb, &message).await;
                (message, reply)
            });
            return Ok(());
        }
        let reply = answered(self.core, verb, &message).await;
        self.send(&message, &reply).await?;
        self.link.acknowledge(&message).await
    }

    async fn send(&mut self, message: &Message, reply: &Reply) -> Result<(), Closed> {
        let topic = self.topics.reply(message.response_topic.as_deref(), reply.request_id.as_deref());
        self.link.reply(message, &topic, serde_json::to_vec(reply).unwrap_or_default()).await
    }

    fn verb(&self, message: &Message) -> Result<&'static Verb, Refusal> {
        if message.retain {
            return Err(Refusal::invalid(RETAINED));
        }
        let verb = self.topics.verb(&message.topic).and_then(|(noun, name)| Verb::find(noun, name));
        verb.ok_or_else(|| Refusal::not_found(unknown(&message.topic)))
    }
}

/// Carries a command out under its request id, or a drawn one where it has none, and makes the reply.
async fn answered(core: &Arc<Core>, verb: Result<&'static Verb, Refusal>, message: &Message) -> Reply {
    let given = request_id(&message.payload);
    let request_id = given.clone().unwrap_or_else(|| caller::drawn(&*core.machine));
    let path = verb.as_ref().ok().map(|verb| verb.path);
    let span = tracing::info_span!("request", id = request_id, door = "mqtt", verb = path);
    let work = async {
        let outcome = match verb {
            Ok(verb) => verb.carry_out(core, &message.payload).await,
            Err(refusal) => Err(refusal),
        };
        counted(core, path, &outcome);
        reply(given, outcome)
    };
    Caller { request_id, ..Caller::default() }.scope(span, work).await
}

fn counted(core: &Core, verb: Option<&'static str>, outcome: &Result<Value, Refusal>) {
    let told = match outcome {
        Ok(_) => "ok",
        Err(refusal) => match refusal.cause() {
            None => "refused",
            Some(cause) => {
                core.blame_disk(cause);
                core.metrics.failed("mqtt");
                core.health.doubt();
                "failed"
            }
        },
    };
    core.metrics.mqtt(verb, told);
}

/// Reads the request id alone, so that whatever else is wrong can be answered.
fn request_id(payload: &[u8]) -> Option<String> {
    if payload.len() > COMMAND_BYTES_MAX {
        return None;
    }
    let value: Value = serde_json::from_slice(payload).ok()?;
    let id = value.get("request_id")?.as_str()?;
    check_request_id(id).is_ok().then(|| id.to_owned())
}

fn reply(request_id: Option<String>, outcome: Result<Value, Refusal>) -> Reply {
    match outcome {
        Ok(value) => Reply { request_id, ok: Some(value), error: None },
        Err(refusal) => Reply { request_id, ok: None, error: Some(refusal.body()) },
    }
}

fn unknown(topic: &str) -> String {
    let known: Vec<String> = VERBS.iter().map(|verb| format!("{}/{}", verb.noun, verb.name)).collect();
    format!("there is no verb at {topic}; there are {}", known.join(", "))
}

const RETAINED: &str = "the command was published with retain set, so the broker would bring it again for ever; publish \
                        it without, and take this one back with an empty retained message";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_is_found_in_a_command_that_is_wrong_otherwise() {
        assert_eq!(request_id(br#"{"request_id":"r1","colour":"red"}"#).as_deref(), Some("r1"));
        for none in [&b"{"[..], b"[]", br#"{"request_id":7}"#, br#"{"request_id":"a/b"}"#] {
            assert_eq!(request_id(none), None);
        }
    }

    #[test]
    fn reply_has_what_was_asked_for_or_why_not() {
        let good = serde_json::to_value(reply(Some("r".into()), Ok(Value::from(7)))).expect("JSON");
        assert_eq!(good, serde_json::json!({"request_id": "r", "ok": 7}));
        let bad = serde_json::to_value(reply(None, Err(Refusal::invalid("no")))).expect("JSON");
        assert_eq!(bad, serde_json::json!({"error": {"code": "invalid", "message": "no"}}));
    }
}
