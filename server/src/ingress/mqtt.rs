//! The way in for fleet managers over MQTT: commands in, replies out; the verbs are those of HTTP.
//!
//! A command is acknowledged to the broker only after it is on disk and its reply is on the way, so that a server that
//! dies in between gets it again, and answers it again as the first time. Commands are carried out one by one, in the
//! order in which the broker brings them; only questions to a device are acknowledged at once and answered when it
//! has, so that a silent device keeps nobody waiting. One whose connection is lost meanwhile is to be asked again.

pub mod command;
mod link;
mod outage;

use std::sync::Arc;

use bellwether_api::Reply;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::caller::{self, Caller};
use crate::config::MqttBroker;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::view::topics::Topics;

use self::command::{Command, Published};
pub(crate) use link::{Closed, Heard, Link, Message, Opening};
pub(crate) use outage::{BackOff, Outage};

/// A broker that the server speaks with, over as many connections as there are ways.
pub struct Broker {
    /// Where it is and who we are there.
    pub(crate) at: MqttBroker,
    /// What was said of it.
    pub(crate) outage: Outage,
    /// Whether a command that is published now would be heard.
    hears_commands: watch::Sender<bool>,
}

impl Broker {
    /// Takes where the broker is.
    #[must_use]
    pub fn new(at: MqttBroker) -> Arc<Self> {
        Arc::new(Self { at, outage: Outage::default(), hears_commands: watch::Sender::new(false) })
    }

    /// Whether it can be used, as far as was heard last: events are taken, and commands come.
    pub(crate) fn is_connected(&self) -> bool {
        self.outage.is_connected() && *self.hears_commands.borrow()
    }

    /// Follows whether commands come: what managers are told as whether the server is there.
    pub(crate) fn hears_commands(&self) -> watch::Receiver<bool> {
        self.hears_commands.subscribe()
    }
}

/// Takes commands until the server ends; a broker that is away is tried again.
pub async fn run(core: Arc<Core>, broker: Arc<Broker>) {
    let mut back_off = BackOff::default();
    loop {
        let why = Session::open(&core, &broker).run(&mut back_off).await;
        broker.hears_commands.send_replace(false);
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
type Answered = (Box<Message>, Answer);

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
                    if let Ok((message, answer)) = answered {
                        let _ = self.send(&message, &answer).await;
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
                    self.broker.hears_commands.send_replace(true);
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
        let Some(command) = Command::read(&self.topics, &published(&message)) else {
            return self.link.acknowledge(&message).await;
        };
        if command.verb.as_ref().is_ok_and(|verb| verb.asks_device) {
            self.link.acknowledge(&message).await?;
            let core = Arc::clone(self.core);
            self.waiting.spawn(async move {
                let answer = answer(&core, command, &message.payload).await;
                (message, answer)
            });
            return Ok(());
        }
        let answer = answer(self.core, command, &message.payload).await;
        self.send(&message, &answer).await?;
        self.link.acknowledge(&message).await
    }

    async fn send(&mut self, message: &Message, answer: &Answer) -> Result<(), Closed> {
        let payload = serde_json::to_vec(&answer.reply).unwrap_or_default();
        self.link.reply(message, &answer.topic, payload).await
    }
}

fn published(message: &Message) -> Published<'_> {
    let Message { topic, payload, retain, response_topic, .. } = message;
    Published { topic, payload, retain: *retain, response_topic: response_topic.as_deref() }
}

/// A reply, and where it goes.
struct Answer {
    topic: String,
    reply: Reply,
}

/// Carries a command out under its request id, or a drawn one where it has none, and makes the reply.
async fn answer(core: &Arc<Core>, command: Command, payload: &[u8]) -> Answer {
    let Command { verb, request_id: given, reply_to: topic } = command;
    let request_id = given.clone().unwrap_or_else(|| caller::drawn(&*core.machine));
    let path = verb.as_ref().ok().map(|verb| verb.path);
    let span = tracing::info_span!("request", id = request_id, door = "mqtt", verb = path);
    let work = async {
        let outcome = match verb {
            Ok(verb) => verb.carry_out(core, payload).await,
            Err(refusal) => Err(refusal),
        };
        counted(core, path, &outcome);
        reply(given, outcome)
    };
    let reply = Caller { request_id, ..Caller::default() }.scope(span, work).await;
    Answer { topic, reply }
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

fn reply(request_id: Option<String>, outcome: Result<Value, Refusal>) -> Reply {
    match outcome {
        Ok(value) => Reply { request_id, ok: Some(value), error: None },
        Err(refusal) => Reply { request_id, ok: None, error: Some(refusal.body()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_has_what_was_asked_for_or_why_not() {
        let good = serde_json::to_value(reply(Some("r".into()), Ok(Value::from(7)))).expect("JSON");
        assert_eq!(good, serde_json::json!({"request_id": "r", "ok": 7}));
        let bad = serde_json::to_value(reply(None, Err(Refusal::invalid("no")))).expect("JSON");
        assert_eq!(bad, serde_json::json!({"error": {"code": "invalid", "message": "no"}}));
    }
}
