//! The `AsyncAPI` document: MQTT as this server speaks it, made from the same verbs and wire types.

use std::sync::LazyLock;

use axum::Json;
use bellwether_api::{Event, Progress, Registration, Reply, ServerStatus};
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::Answer;
use crate::commands::dispatch::{self, VERBS, Verb};

/// Gives the `AsyncAPI` document of all topics.
#[utoipa::path(get, path = "/v1/asyncapi.json", tag = "server", responses((status = 200, body = Object)))]
pub(super) async fn asyncapi_document() -> Answer<Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(asyncapi);
    Ok(Json(DOCUMENT.clone()))
}

/// Makes the `AsyncAPI` document.
#[must_use]
pub fn asyncapi() -> Value {
    let mut parts = Parts::default();
    parts.channel("replies", "replies/{requestId}", REPLIES);
    for verb in VERBS {
        parts.verb(verb);
    }
    parts.event::<Event>(
        "campaign_events",
        "campaigns/{campaign}/events",
        "A campaign as a whole moved.",
        false,
    );
    parts.event::<Event>("campaign_device", "campaigns/{campaign}/devices/{endpoint}", OF_CAMPAIGN, false);
    parts.event::<Progress>(
        "campaign_progress",
        "campaigns/{campaign}/progress",
        "How a campaign goes.",
        true,
    );
    parts.event::<Event>(
        "device_update",
        "devices/{endpoint}/update",
        "Something happened to a device.",
        false,
    );
    parts.event::<Registration>("device_registration", "devices/{endpoint}/registration", CAME, false);
    parts.event::<Event>("alarm", "alarms/{kind}", "An alarm was raised: once per cause and day.", false);
    parts.event::<ServerStatus>("server_status", "server/status", "Whether the server is there.", true);
    parts.document()
}

#[derive(Default)]
struct Parts {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Parts {
    fn channel(&mut self, name: &str, address: &str, description: &str) {
        let parameters: Map<String, Value> = std::iter::once("tenant")
            .chain(address.split('/').filter_map(|level| level.strip_prefix('{')?.strip_suffix('}')))
            .map(|parameter| (parameter.to_owned(), json!({ "description": meaning(parameter) })))
            .collect();
        let channel = json!({
            "address": format!("bellwether/v1/{{tenant}}/{address}"),
            "description": description,
            "parameters": parameters,
            "messages": {},
        });
        self.channels.insert(name.to_owned(), channel);
    }

    /// Puts a message into a channel, and gives what refers to it there.
    fn message(&mut self, channel: &str, name: &str, schema: &Value) -> Value {
        let message = json!({ "name": name, "contentType": "application/json", "payload": schema });
        self.messages.insert(name.to_owned(), message);
        self.channels[channel]["messages"][name] = json!({ "$ref": format!("#/components/messages/{name}") });
        json!({ "$ref": format!("#/channels/{channel}/messages/{name}") })
    }

    fn schema<T: ToSchema + PartialSchema>(&mut self) -> Value {
        self.take_in(dispatch::schemas::<T>());
        reference(&T::name())
    }

    fn take_in(&mut self, schemas: impl IntoIterator<Item = (String, impl serde::Serialize)>) {
        let known =
            schemas.into_iter().filter_map(|(name, schema)| Some((name, serde_json::to_value(schema).ok()?)));
        self.schemas.extend(known);
    }

    fn verb(&mut self, verb: &Verb) {
        let name = format!("{}_{}", verb.noun, verb.name.replace('-', "_"));
        let channel = format!("commands_{name}");
        self.channel(&channel, &format!("commands/{}/{}", verb.noun, verb.name), COMMANDS);
        self.take_in((verb.request.schemas)());
        self.take_in((verb.reply.schemas)());
        let command = self.message(&channel, &format!("{name}_command"), &reference(&(verb.request.name)()));
        let reply_shape = self.schema::<Reply>();
        let ok = reference(&(verb.reply.name)());
        let whole = json!({ "allOf": [reply_shape, { "type": "object", "properties": { "ok": ok } }] });
        let reply = self.message("replies", &format!("{name}_reply"), &whole);
        let operation = json!({
            "action": "receive",
            "summary": verb.summary,
            "channel": { "$ref": format!("#/channels/{channel}") },
            "messages": [command],
            "reply": { "channel": { "$ref": "#/channels/replies" }, "messages": [reply] },
            "bindings": { "mqtt": { "qos": 1, "retain": false } },
        });
        self.operations.insert(name, operation);
    }

    fn event<T: ToSchema + PartialSchema>(&mut self, name: &str, address: &str, summary: &str, retain: bool) {
        self.channel(name, address, summary);
        let schema = self.schema::<T>();
        let message = self.message(name, &format!("{name}_message"), &schema);
        let operation = json!({
            "action": "send",
            "summary": summary,
            "channel": { "$ref": format!("#/channels/{name}") },
            "messages": [message],
            "bindings": { "mqtt": { "qos": 1, "retain": retain } },
        });
        self.operations.insert(name.to_owned(), operation);
    }

    fn document(self) -> Value {
        json!({
            "asyncapi": "3.0.0",
            "info": {
                "title": "Bellwether over MQTT",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Bytes are hexadecimal, times seconds since 1970. Publish and subscribe at QoS 1.",
            },
            "defaultContentType": "application/json",
            "channels": self.channels,
            "operations": self.operations,
            "components": { "messages": self.messages, "schemas": self.schemas },
        })
    }
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn meaning(parameter: &str) -> &'static str {
    match parameter {
        "tenant" => "`default` until tenants are managed",
        "campaign" => "name of the campaign",
        "endpoint" => "endpoint name; / + # % in it are percent-encoded",
        "kind" => "kind of the alarm, blanks as -",
        "requestId" => "the command's request id",
        _ => "",
    }
}

const COMMANDS: &str = "Commands come at QoS 1 and without retain; one with retain set is refused.";
const REPLIES: &str = "By MQTT 5 a reply goes to the response topic, with the command's correlation data; without one, and \
                       by 3.1.1, here. Where no request id could be read it goes to the level above.";
const OF_CAMPAIGN: &str =
    "Something happened to a device in a campaign; ids rise, and one that comes twice came twice.";
const CAME: &str = "A device came or went; told at once, and lost where no broker is there to take it.";

#[cfg(test)]
mod tests {
    use super::*;

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = asyncapi();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("a reference into this document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_verb_is_an_operation_on_its_topic_with_a_reply() {
        let document = asyncapi();
        for verb in VERBS {
            let name = format!("{}_{}", verb.noun, verb.name.replace('-', "_"));
            let operation = &document["operations"][&name];
            assert_eq!(operation["action"], "receive", "{name}");
            assert_eq!(operation["reply"]["channel"]["$ref"], "#/channels/replies", "{name}");
            let address = format!("bellwether/v1/{{tenant}}/commands/{}/{}", verb.noun, verb.name);
            assert_eq!(document["channels"][format!("commands_{name}")]["address"], address);
        }
    }

    #[test]
    fn operations_use_messages_of_their_own_channel() {
        let document = asyncapi();
        for (name, operation) in document["operations"].as_object().expect("operations") {
            let channel = operation["channel"]["$ref"].as_str().expect("a channel");
            let message = operation["messages"][0]["$ref"].as_str().expect("a message");
            assert!(message.starts_with(&format!("{channel}/messages/")), "{name}");
        }
    }

    #[test]
    fn addresses_of_events_are_those_that_events_go_to() {
        use crate::view::topics::Topics;
        use bellwether_decide::alarm::AlarmKind;
        use bellwether_decide::campaign::CampaignId;
        use bellwether_decide::device::Endpoint;
        let (topics, device) =
            (Topics::new(&bellwether_store::Tenant::default()), Endpoint::try_from("m").expect("a name"));
        let campaign = CampaignId(7);
        let real = [
            ("campaign_events", topics.campaign_events(campaign)),
            ("campaign_device", topics.campaign_device(campaign, &device)),
            ("campaign_progress", topics.progress(campaign)),
            ("device_update", topics.device_update(&device)),
            ("device_registration", topics.device_registration(&device)),
            ("alarm", topics.alarm(AlarmKind::Clone)),
            ("server_status", topics.server_status()),
            ("replies", topics.reply(None, Some("r"))),
        ];
        let document = asyncapi();
        for (name, topic) in real {
            let address = document["channels"][name]["address"].as_str().expect("an address");
            let filled = [
                ("{tenant}", "default"),
                ("{campaign}", "7"),
                ("{endpoint}", "m"),
                ("{kind}", "clone"),
                ("{requestId}", "r"),
            ]
            .iter()
            .fold(address.to_owned(), |address, (parameter, value)| address.replace(parameter, value));
            assert_eq!(filled, topic, "{name}");
        }
    }

    #[test]
    fn parameters_of_addresses_are_described() {
        for (name, channel) in asyncapi()["channels"].as_object().expect("channels") {
            let address = channel["address"].as_str().expect("an address");
            for parameter in address.split('/').filter_map(|level| level.strip_prefix('{')?.strip_suffix('}'))
            {
                let said = channel["parameters"][parameter]["description"].as_str().unwrap_or_default();
                assert!(!said.is_empty(), "{name}: {parameter}");
            }
        }
    }
}
