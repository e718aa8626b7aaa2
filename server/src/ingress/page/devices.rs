//! One device: how it stands, why it is not updated, what it told, and what happened to it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use bellwether_api::{DecommissionDevice, Device, ReadDevice, ReadValue, Reading, ValueKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Page;
use super::campaigns::EventRow;
use super::fleet::TagLink;
use super::frame::{Failed, Frame, html};
use super::visitor::{Order, Own, Sent, Visitor};
use super::words;
use crate::caller;
use crate::commands::dispatch::Verb;
use crate::core::Core;
use crate::refusal::Refusal;

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    frame: Frame,
    device: Device,
    path: String,
    version: String,
    heard: String,
    is_asleep: bool,
    enrolled: String,
    credential: Option<String>,
    standing: Vec<String>,
    advice: Vec<String>,
    told: Vec<(String, String)>,
    days: Vec<Day>,
    reading: Option<Shown>,
    asked: String,
    tags: Vec<TagLink>,
    given_up: Option<String>,
    request_id: String,
}

/// What happened on one day.
struct Day {
    name: String,
    events: Vec<EventRow>,
}

/// What the device answered just now, or why it did not.
enum Shown {
    Values { path: String, values: Vec<ShownValue> },
    Problem(String),
}

struct ShownValue {
    path: String,
    name: String,
    text: String,
}

/// Shows a device.
pub(super) async fn show(
    visitor: Visitor,
    State(page): State<Arc<Page>>,
    Path(endpoint): Path<String>,
) -> Response {
    answer(&page.core, &visitor, &endpoint, None, PATH_AT_FIRST).await
}

/// What the form that reads a device says.
#[derive(Debug, Deserialize)]
pub(super) struct ReadForm {
    form_token: String,
    path: String,
}

impl Own for ReadForm {
    fn form_token(&self) -> &str {
        &self.form_token
    }
}

/// Asks a device for what it has at a path, and shows it with its answer. Nothing is changed by it.
pub(super) async fn read(
    State(page): State<Arc<Page>>,
    Path(endpoint): Path<String>,
    Sent { visitor, form }: Sent<ReadForm>,
) -> Response {
    let path = form.path.trim().to_owned();
    let shown = match asked(&page.core, &endpoint, &path).await {
        Ok(reading) => {
            let values = reading.values.into_iter().map(ShownValue::of).collect();
            Shown::Values { path: reading.path, values }
        }
        Err(refusal) => Shown::Problem(refusal.body().message),
    };
    answer(&page.core, &visitor, &endpoint, Some(shown), &path).await
}

/// What the form that gives a device up says.
#[derive(Debug, Deserialize)]
pub(super) struct GiveUpForm {
    form_token: String,
    request_id: String,
    #[serde(default)]
    why: String,
    /// Whether they have said that they mean it.
    #[serde(default)]
    sure: String,
}

impl Own for GiveUpForm {
    fn form_token(&self) -> &str {
        &self.form_token
    }
}

/// Gives a device up, as the verb does everywhere, and shows it.
pub(super) async fn decommission(
    State(page): State<Arc<Page>>,
    Path(endpoint): Path<String>,
    Order(Sent { visitor, form }): Order<GiveUpForm>,
) -> Response {
    if form.sure != "yes" {
        return Failed::new(StatusCode::BAD_REQUEST, NOT_SURE).answer(&visitor);
    }
    let asked = DecommissionDevice {
        request_id: form.request_id,
        endpoint: endpoint.clone(),
        why: form.why.trim().to_owned(),
        who: visitor.session.who.clone(),
    };
    match carried_out(&page.core, &asked).await {
        Ok(()) => Redirect::to(&format!("/devices/{}", words::segment(&endpoint))).into_response(),
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

async fn carried_out(core: &Arc<Core>, asked: &DecommissionDevice) -> Result<(), Refusal> {
    let verb =
        Verb::find("devices", "decommission").ok_or_else(|| Refusal::not_found("there is no such verb"))?;
    verb.carry_out(core, json!(asked).to_string().as_bytes()).await.map(drop)
}

async fn asked(core: &Arc<Core>, endpoint: &str, path: &str) -> Result<Reading, Refusal> {
    let verb = Verb::find("devices", "read").ok_or_else(|| Refusal::not_found("there is no such verb"))?;
    let asked = ReadDevice { request_id: None, endpoint: endpoint.to_owned(), path: path.to_owned() };
    let reply = verb.carry_out(core, json!(asked).to_string().as_bytes()).await?;
    serde_json::from_value(reply).map_err(Refusal::internal)
}

async fn answer(
    core: &Core,
    visitor: &Visitor,
    endpoint: &str,
    reading: Option<Shown>,
    asked: &str,
) -> Response {
    match whole(core, visitor, endpoint, reading, asked).await {
        Ok(page) => html(StatusCode::OK, &page),
        Err(refusal) => Failed::from(refusal).answer(visitor),
    }
}

async fn whole(
    core: &Core,
    visitor: &Visitor,
    endpoint: &str,
    reading: Option<Shown>,
    asked: &str,
) -> Result<DevicePage, Refusal> {
    let device = core.device(endpoint).await?;
    let story = core.explain(endpoint).await?;
    let now = core.now();
    let digest = device.runs.as_deref().map(words::short);
    Ok(DevicePage {
        frame: Frame::new(visitor, "fleet"),
        path: words::segment(endpoint),
        version: device.version.clone().or_else(|| digest.map(str::to_owned)).unwrap_or_default(),
        is_asleep: device.queue_mode.as_ref().is_some_and(|queue| queue.asleep),
        heard: device
            .heard
            .map_or_else(|| "never heard yet".to_owned(), |at| format!("heard {}", words::ago(now, at))),
        enrolled: words::time(device.created),
        credential: credential(&device, now),
        standing: story.standing,
        advice: story.advice,
        told: core.characteristics(endpoint).await?,
        days: days(story.events),
        reading,
        asked: asked.to_owned(),
        tags: TagLink::all(device.tags.clone()),
        given_up: device.decommissioned.map(words::time),
        request_id: caller::drawn(&*core.machine),
        device,
    })
}

/// Which credential is taken of a device, where it is not the one from the factory alone.
fn credential(device: &Device, now: u64) -> Option<String> {
    let number = device.credential;
    if device.decommissioned.is_some() || (number <= 1 && !device.credential_waits) {
        return None;
    }
    if !device.credential_waits {
        return Some(format!("number {number}"));
    }
    let since = device.credential_waits_since;
    let since = since.map(|at| format!(" since {} ({})", words::time(at), words::ago(now, at)));
    Some(format!(
        "number {number} works until number {} is used, which waits for it{}",
        number + 1,
        since.unwrap_or_default()
    ))
}

/// Puts events under their days, the latest first.
fn days(events: Vec<bellwether_api::Event>) -> Vec<Day> {
    let mut days: Vec<Day> = Vec::new();
    for event in events.into_iter().rev().take(EVENTS_SHOWN) {
        // Here the campaign is worth saying, and the device is not.
        let event = bellwether_api::Event { endpoint: None, ..event };
        let (text, at) = (event.text.clone(), words::time(event.at));
        let row = EventRow { text, ..EventRow::of(event) };
        let name = at.get(..10).unwrap_or(&at);
        match days.last_mut() {
            Some(day) if day.name == name => day.events.push(row),
            _ => days.push(Day { name: name.to_owned(), events: vec![row] }),
        }
    }
    days
}

impl ShownValue {
    fn of(value: ReadValue) -> Self {
        let text = match (&value.value, value.kind) {
            (Value::Number(at), ValueKind::Time) => at.as_u64().map_or_else(|| at.to_string(), words::time),
            (Value::String(text), _) => text.clone(),
            (Value::Null, _) => "not a number".to_owned(),
            (other, _) => other.to_string(),
        };
        let unit = value.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        Self { path: value.path, name: value.name.unwrap_or_default(), text: format!("{text}{unit}") }
    }
}

const NOT_SURE: &str = "A device is given up only where it is said that this is meant: its keys are destroyed, and nothing \
     brings them back. Go back and tick the box.";

/// The object that every device has, with what it is.
const PATH_AT_FIRST: &str = "/3/0";

/// Events on the page of a device; the ledger has the rest.
const EVENTS_SHOWN: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_that_waits_is_shown_with_since_when_and_with_what_works_until_then() {
        let shown = |number: u64, waits: bool, since: Option<u64>| {
            let told = serde_json::json!({
                "endpoint": "lamp-1", "class": "lamp", "security": "psk", "created": 1, "epoch": 0, "index": 0, "told": false,
                "credential": number, "credential_waits": waits, "credential_waits_since": since,
            });
            credential(&serde_json::from_value(told).expect("a device"), 951_782_400 + 7_200)
        };
        assert_eq!((shown(1, false, None), shown(2, false, None)), (None, Some("number 2".to_owned())));
        assert_eq!(
            shown(1, true, Some(951_782_400)).as_deref(),
            Some(
                "number 1 works until number 2 is used, which waits for it since 2000-02-29 00:00:00Z (2 h ago)"
            )
        );
        let cut = shown(2, true, None);
        assert_eq!(cut.as_deref(), Some("number 2 works until number 3 is used, which waits for it"));
    }

    #[test]
    fn events_lie_under_their_days_with_the_latest_first() {
        let event = |at, text: &str| bellwether_api::Event {
            id: at,
            at,
            kind: "asked".into(),
            text: text.into(),
            campaign: None,
            endpoint: Some("lamp-1".into()),
            grant: None,
            bytes: None,
            reason: None,
            who: None,
            why: None,
            request_id: None,
        };
        let days = days(vec![event(86_399, "a"), event(86_400, "b"), event(90_000, "c")]);
        let told: Vec<_> = days
            .iter()
            .map(|day| {
                (day.name.as_str(), day.events.iter().map(|one| one.text.as_str()).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(told, [("1970-01-02", vec!["c", "b"]), ("1970-01-01", vec!["a"])]);
    }
}
