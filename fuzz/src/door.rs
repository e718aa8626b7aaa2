//! The door of fleet managers over MQTT: any message on any topic.

use bellwether_server::commands::dispatch::VERBS;
use bellwether_server::ingress::mqtt::command::{Command, Published};
use bellwether_server::view::Topics;
use bellwether_store::Tenant;

use crate::input::{Input, counted};

/// Below it is all that the server says and hears.
const PREFIX: &str = "bellwether/v1/default";

/// A message: its verb is that of its topic and of no other, its reply goes where commands and events can't be meant,
/// and its frame and its verb read the same request id.
pub(crate) fn message(data: &[u8]) {
    let mut input = Input::new(data);
    let how = input.byte();
    let topic = topic(&mut input);
    let wanted = String::from_utf8_lossy(input.counted());
    let response_topic = (how & 2 != 0).then_some(wanted.as_ref());
    let payload = input.rest();
    let message = Published { topic: &topic, payload, retain: how & 1 != 0, response_topic };
    let Some(command) = Command::read(&Topics::new(&Tenant::default()), &message) else {
        assert!(payload.is_empty() && response_topic.is_none());
        return;
    };
    assert_reply_is_fit(&command, response_topic);
    match command.verb {
        Ok(verb) => {
            assert_eq!(topic, format!("{PREFIX}/commands/{}", verb.path));
            assert!(!message.retain);
            if let Ok(understood) = verb.understand(payload) {
                let id = understood.get("request_id").and_then(|id| id.as_str());
                let fit = |id: &&str| command.request_id.as_deref() == Some(*id);
                assert!(command.request_id.is_none() || id.as_ref().is_none_or(fit), "{id:?}");
            }
        }
        Err(refusal) => assert!(refusal.to_string().len() <= 4_096 + topic.len()),
    }
}

/// One of the server's verbs, or anything.
fn topic(input: &mut Input<'_>) -> String {
    let kind = usize::from(input.byte());
    let tail = String::from_utf8_lossy(input.counted());
    match VERBS.get(kind) {
        Some(verb) => format!("{PREFIX}/commands/{}{tail}", verb.path),
        None => tail.into_owned(),
    }
}

fn assert_reply_is_fit(command: &Command, wanted: Option<&str>) {
    let to = command.reply_to.as_str();
    assert!(!to.is_empty() && !to.starts_with('$') && !to.contains(['+', '#', '\0']), "{to:?}");
    let replies = format!("{PREFIX}/replies");
    let is_ours = to == replies || to.starts_with(&format!("{replies}/"));
    assert!(is_ours || (wanted == Some(to) && !to.starts_with("bellwether/v1/")), "{to:?}");
    if let Some(id) = command.request_id.as_deref() {
        assert!(!id.is_empty() && id.len() <= 64 && !id.contains(['/', '+', '#']), "{id:?}");
        assert!(wanted == Some(to) || to == format!("{replies}/{id}"), "{to:?}");
    }
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let message = |how: u8, kind: u8, topic: &str, wanted: &str, payload: &str| {
        let (topic, wanted) = (counted(topic.as_bytes()), counted(wanted.as_bytes()));
        [&[how, kind][..], &topic, &wanted, payload.as_bytes()].concat()
    };
    let pause = r#"{"request_id":"r-2","campaign":7,"who":"ann","why":"too many failures"}"#;
    let verbs = 0..u8::try_from(VERBS.len()).expect("few");
    let of_each = verbs.map(|verb| message(0, verb, "", "", pause));
    let others = [
        message(2, 1, "", "my/answers", pause),
        message(2, 1, "", "bellwether/v1/default/replies/me", pause),
        message(2, 1, "", "bellwether/v1/default/commands/campaigns/cancel", pause),
        message(1, 1, "", "", pause),
        message(0, 255, "bellwether/v1/default/commands/campaigns/pause", "", "{}"),
        message(0, 255, "bellwether/v1/other/commands/campaigns/pause/now", "", ""),
    ];
    of_each.chain(others).collect()
}
