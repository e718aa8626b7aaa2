//! From a message to the command in it and the way of its reply. Nothing is carried out here.

use serde_json::Value;

use crate::commands::dispatch::{COMMAND_BYTES_MAX, VERBS, Verb};
use crate::commands::request::check_request_id;
use crate::refusal::Refusal;
use crate::view::topics::Topics;

/// A message as the broker brought it.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// Where it was published.
    pub topic: &'a str,
    /// What it says.
    pub payload: &'a [u8],
    /// Whether the broker keeps it for whoever comes.
    pub retain: bool,
    /// Where its sender wants the reply.
    pub response_topic: Option<&'a str>,
}

/// The frame of a command: what is known before its verb reads it.
pub struct Command {
    /// What is asked for, or why nothing can be.
    pub verb: Result<&'static Verb, Refusal>,
    /// Its request id, where it has a good one: whatever else is wrong can be answered.
    pub request_id: Option<String>,
    /// Topic of its reply.
    pub reply_to: String,
}

impl Command {
    /// Reads a message; `None` where it does nothing but take a retained one back.
    #[must_use]
    pub fn read(topics: &Topics, message: &Published<'_>) -> Option<Self> {
        // By 3.1.1 it passes unmarked.
        if message.payload.is_empty() && message.response_topic.is_none() {
            return None;
        }
        let request_id = request_id(message.payload);
        let reply_to = topics.reply(message.response_topic, request_id.as_deref());
        Some(Self { verb: verb(topics, message), request_id, reply_to })
    }
}

fn verb(topics: &Topics, message: &Published<'_>) -> Result<&'static Verb, Refusal> {
    if message.retain {
        return Err(Refusal::invalid(RETAINED));
    }
    let verb = topics.verb(message.topic).and_then(|(noun, name)| Verb::find(noun, name));
    verb.ok_or_else(|| Refusal::not_found(unknown(message.topic)))
}

/// Reads the request id alone.
fn request_id(payload: &[u8]) -> Option<String> {
    if payload.len() > COMMAND_BYTES_MAX {
        return None;
    }
    let value: Value = serde_json::from_slice(payload).ok()?;
    let id = value.get("request_id")?.as_str()?;
    check_request_id(id).is_ok().then(|| id.to_owned())
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
    use bellwether_store::Tenant;

    #[test]
    fn request_id_is_found_in_a_command_that_is_wrong_otherwise() {
        assert_eq!(request_id(br#"{"request_id":"r1","colour":"red"}"#).as_deref(), Some("r1"));
        for none in [&b"{"[..], b"[]", br#"{"request_id":7}"#, br#"{"request_id":"a/b"}"#] {
            assert_eq!(request_id(none), None);
        }
    }

    #[test]
    fn retained_command_is_refused_and_an_empty_message_takes_one_back() {
        let topics = Topics::new(&Tenant::default());
        let topic = "bellwether/v1/default/commands/campaigns/pause";
        let message = |payload, retain, response_topic| Published { topic, payload, retain, response_topic };
        let read = |message| Command::read(&topics, &message);
        let refused = read(message(br#"{"request_id":"r"}"#, true, None)).expect("a command");
        assert!(refused.verb.is_err_and(|refusal| refusal.message == RETAINED));
        assert_eq!(refused.reply_to, "bellwether/v1/default/replies/r");
        assert!(read(message(b"", true, None)).is_none());
        assert!(read(message(b"", false, None)).is_none());
        let empty = read(message(b"", false, Some("my/answers"))).expect("a command");
        assert_eq!(
            (empty.verb.map(|verb| verb.path).ok(), empty.reply_to),
            (Some("campaigns/pause"), "my/answers".into())
        );
    }
}
