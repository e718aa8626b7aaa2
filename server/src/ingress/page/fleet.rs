//! The fleet: what it runs over time, how lately it was heard, and its devices by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use bellwether_api::{Alarm, Device};
use bellwether_store::census::HOUR_S;
use serde::Deserialize;

use super::Page;
use super::frame::{Failed, Frame, html};
use super::plot::{Area, Bar, Series};
use super::visitor::Visitor;
use super::words;
use crate::census::{ClassCount, FleetCount};
use crate::refusal::Refusal;

/// What of the fleet is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// What the names of the devices begin with.
    q: String,
    /// Which tag they have; empty: whichever.
    tag: String,
    /// The name after which the page begins.
    after: String,
    /// How far back the plots go.
    span: String,
}

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    frame: Frame,
    figures: Figures,
    devices: Devices,
}

#[derive(Template)]
#[template(path = "fleet_figures.html")]
struct Figures {
    span: &'static str,
    tiles: Vec<Tile>,
    classes: Vec<ClassPlot>,
    more_classes: usize,
    heard: Vec<Heard>,
    alarms: Vec<AlarmRow>,
    counted: String,
}

/// A number in large.
struct Tile {
    value: String,
    name: &'static str,
    note: String,
    is_bad: bool,
}

struct AlarmRow {
    kind: String,
    device: String,
    text: String,
    ago: String,
    count: u64,
}

/// A class over time.
struct ClassPlot {
    name: String,
    devices: String,
    plot: Area,
    id: usize,
}

/// How many were heard within a time.
struct Heard {
    name: &'static str,
    count: String,
    bar: Bar,
}

#[derive(Template)]
#[template(path = "fleet_devices.html")]
struct Devices {
    asked: String,
    tag: String,
    rows: Vec<Row>,
    first: String,
    next: Option<String>,
    is_first: bool,
}

struct Row {
    endpoint: String,
    path: String,
    class: String,
    version: String,
    /// How it is, in a word.
    state: &'static str,
    /// The style of that word.
    style: &'static str,
    heard: String,
    gateway: Option<String>,
    tags: Vec<TagLink>,
}

/// A tag, with where the devices are that have it.
pub(super) struct TagLink {
    /// The tag.
    pub(super) name: String,
    /// The list of those devices.
    pub(super) path: String,
}

impl TagLink {
    /// Links tags to the devices that have them.
    pub(super) fn all(tags: Vec<String>) -> Vec<Self> {
        let link = |name: String| Self { path: format!("/fleet?tag={}", words::segment(&name)), name };
        tags.into_iter().map(link).collect()
    }
}

/// Sends whoever comes to the fleet.
pub(super) async fn front(_: Visitor) -> Redirect {
    Redirect::to("/fleet")
}

/// Says that there is no such page.
pub(super) async fn nowhere(State(page): State<Arc<Page>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    // A program that misspells a path is not to log in.
    if parts.uri.path().starts_with(bellwether_api::PREFIX) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match Visitor::from_request_parts(&mut parts, &page).await {
        Ok(visitor) => Failed::new(StatusCode::NOT_FOUND, "There is no such page.").answer(&visitor),
        Err(refused) => refused,
    }
}

/// Shows the fleet.
pub(super) async fn show(
    visitor: Visitor,
    State(page): State<Arc<Page>>,
    Query(asked): Query<Asked>,
) -> Response {
    let both = async {
        let figures = Figures::of(&page, &asked).await?;
        Ok::<_, Refusal>((figures, Devices::of(&page, &asked).await?))
    };
    match both.await {
        Ok((figures, devices)) => {
            html(StatusCode::OK, &FleetPage { frame: Frame::new(&visitor, "fleet"), figures, devices })
        }
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

/// Shows the plots alone, for an open page that brings itself up to date.
pub(super) async fn figures(
    visitor: Visitor,
    State(page): State<Arc<Page>>,
    Query(asked): Query<Asked>,
) -> Response {
    match Figures::of(&page, &asked).await {
        Ok(figures) => html(StatusCode::OK, &figures),
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

/// Shows the list of devices: alone for an open page that searches, whole for everybody else.
pub(super) async fn devices(
    visitor: Visitor,
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Response {
    if !headers.contains_key("hx-request") {
        return show(visitor, State(page), Query(asked)).await;
    }
    match Devices::of(&page, &asked).await {
        Ok(devices) => html(StatusCode::OK, &devices),
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

impl Devices {
    async fn of(page: &Page, asked: &Asked) -> Result<Self, Refusal> {
        let (beginning, tag) = (asked.q.trim(), asked.tag.trim());
        let after = Some(asked.after.as_str()).filter(|after| !after.is_empty());
        let of_tag = Some(tag).filter(|tag| !tag.is_empty());
        let (devices, next) = page.core.devices_beginning(beginning, of_tag, after, ROWS).await?;
        let now = page.core.now();
        let tagged = of_tag.map(|tag| format!("&tag={}", words::segment(tag))).unwrap_or_default();
        let first = format!("/fleet/devices?q={}{tagged}", words::segment(beginning));
        Ok(Self {
            asked: beginning.to_owned(),
            rows: devices.into_iter().map(|device| Row::of(device, now)).collect(),
            tag: tag.to_owned(),
            next: next.map(|next| format!("{first}&after={}", words::segment(&next))),
            first,
            is_first: after.is_none(),
        })
    }
}

/// How a device is, in a word, and the style of that.
fn state(device: &Device) -> (&'static str, &'static str) {
    match (&device.registered, &device.queue_mode) {
        _ if device.decommissioned.is_some() => ("decommissioned", "gone"),
        _ if device.blocked_until.is_some() => ("blocked", "bad"),
        (Some(_), Some(queue)) if queue.asleep => ("asleep", ""),
        (Some(_), _) => ("registered", "good"),
        (None, _) => ("away", ""),
    }
}

impl Row {
    fn of(device: Device, now: u64) -> Self {
        let (state, style) = state(&device);
        Self {
            path: words::segment(&device.endpoint),
            version: device
                .version
                .or(device.runs.map(|digest| words::short(&digest).to_owned()))
                .unwrap_or_default(),
            state,
            style,
            tags: TagLink::all(device.tags),
            heard: device.heard.map_or_else(|| "never".to_owned(), |at| words::ago(now, at)),
            gateway: device.gateway,
            endpoint: device.endpoint,
            class: device.class,
        }
    }
}

impl Figures {
    async fn of(page: &Page, asked: &Asked) -> Result<Self, Refusal> {
        let fleet = page.core.fleet_count().await?;
        let (span, hours) =
            SPANS.into_iter().find(|(name, _)| *name == asked.span).unwrap_or(SPANS[SPAN_AT_FIRST]);
        let mut alarms = page.core.alarms().await?;
        let now = page.core.now();
        let lately = alarms.iter().filter(|alarm| now.saturating_sub(alarm.last) < DAY_S).count();
        alarms.truncate(ALARMS_SHOWN);
        let mut classes: Vec<(&String, &ClassCount)> = fleet.classes.iter().collect();
        classes.sort_by_key(|(_, class)| std::cmp::Reverse(class.devices));
        let more_classes = classes.len().saturating_sub(CLASSES_SHOWN);
        let plots = classes.into_iter().take(CLASSES_SHOWN).enumerate();
        Ok(Self {
            span,
            tiles: tiles(&fleet, page.core.registry.count() as u64, lately as u64),
            classes: plots.map(|(id, (name, class))| ClassPlot::of(id, name, class, &fleet, hours)).collect(),
            more_classes,
            heard: heard(&fleet),
            alarms: alarms.into_iter().map(|alarm| AlarmRow::of(alarm, now)).collect(),
            counted: words::ago(now, fleet.at),
        })
    }
}

impl AlarmRow {
    fn of(alarm: Alarm, now: u64) -> Self {
        let ago = words::ago(now, alarm.last);
        Self { kind: alarm.kind, device: alarm.device, text: alarm.text, ago, count: alarm.count }
    }
}

fn tiles(fleet: &FleetCount, here: u64, alarms: u64) -> Vec<Tile> {
    let all = fleet.devices();
    let day = fleet.heard.get(2).copied().unwrap_or(0);
    vec![
        Tile {
            value: words::count(all),
            name: "devices",
            note: match fleet.classes.len() {
                1 => "of 1 class".to_owned(),
                classes => format!("of {classes} classes"),
            },
            is_bad: false,
        },
        Tile {
            value: words::count(here),
            name: "registered now",
            note: words::share(here, all),
            is_bad: false,
        },
        Tile {
            value: words::count(all.saturating_sub(day)),
            name: "silent for a day",
            note: words::share(all.saturating_sub(day), all),
            is_bad: false,
        },
        Tile {
            value: words::count(alarms),
            name: "alarms today",
            note: if alarms == 0 { "all is calm".to_owned() } else { "have a look".to_owned() },
            is_bad: alarms > 0,
        },
    ]
}

impl ClassPlot {
    fn of(id: usize, name: &str, class: &ClassCount, fleet: &FleetCount, hours: u64) -> Self {
        let until = fleet.at / HOUR_S + 1;
        // The newest versions have the strongest colours; whatever is older than they shares the last one.
        let newest = class.versions.len();
        let mut series: Vec<Series> = class
            .versions
            .iter()
            .enumerate()
            .map(|(at, version)| Series {
                colour: COLOURS[(newest - 1 - at).min(COLOURS.len() - 1)],
                name: version.name.clone(),
                changes: version.changes.clone(),
            })
            .collect();
        series.push(Series { colour: "untold", name: "not told yet".to_owned(), changes: untold(class) });
        Self {
            name: name.to_owned(),
            devices: words::count(class.devices),
            plot: Area::new(&series, (until.saturating_sub(hours), until), clock),
            id,
        }
    }
}

/// Devices that came, less those that run something known.
fn untold(class: &ClassCount) -> Vec<(u64, i64)> {
    let mut changes = BTreeMap::<u64, i64>::new();
    for (hour, devices) in &class.enrolled {
        *changes.entry(*hour).or_default() += devices;
    }
    for (hour, devices) in class.versions.iter().flat_map(|version| &version.changes) {
        *changes.entry(*hour).or_default() -= devices;
    }
    changes.into_iter().collect()
}

/// How lately devices were heard, each counted where it belongs and nowhere else.
fn heard(fleet: &FleetCount) -> Vec<Heard> {
    let all = fleet.devices();
    let names = ["within 5 minutes", "within an hour", "within a day", "within a week", "longer ago"];
    let mut counts: Vec<(&'static str, u64)> = Vec::new();
    let mut before = 0;
    for (name, until) in names.into_iter().zip(&fleet.heard) {
        counts.push((name, until.saturating_sub(before)));
        before = *until;
    }
    counts.push(("never", all.saturating_sub(before)));
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let colours = ["v0", "v1", "v2", "v3", "v4", "untold"];
    let row = |((name, count), colour): ((&'static str, u64), &'static str)| Heard {
        name,
        count: words::count(count),
        bar: Bar::new(&[(colour, count)], most),
    };
    counts.into_iter().zip(colours).map(row).collect()
}

/// Names an hour by its day and time.
fn clock(hour: u64) -> String {
    let text = words::time(hour * HOUR_S);
    text.get(5..16).map_or(text.clone(), str::to_owned)
}

/// How far back the plots may go, in hours.
const SPANS: [(&str, u64); 4] = [("day", 24), ("week", 7 * 24), ("month", 30 * 24), ("quarter", 90 * 24)];

const SPAN_AT_FIRST: usize = 1;

/// Names of the colours of versions in the style sheet, the newest first.
const COLOURS: [&str; 6] = ["v0", "v1", "v2", "v3", "v4", "v5"];

/// Devices in a page: two screens.
const ROWS: u32 = 50;

/// Classes with a plot: the largest.
const CLASSES_SHOWN: usize = 8;

/// Alarms on this page; the rest is a command away.
const ALARMS_SHOWN: usize = 6;

const DAY_S: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_heard_counts_once() {
        let class = ClassCount { devices: 100, ..ClassCount::default() };
        let fleet = FleetCount {
            classes: [("lamp".to_owned(), class)].into(),
            heard: vec![10, 30, 60, 60, 95],
            ..FleetCount::default()
        };
        let counts: Vec<_> = heard(&fleet).into_iter().map(|row| row.count).collect();
        assert_eq!(counts, ["10", "20", "30", "0", "35", "5"]);
    }

    #[test]
    fn hour_is_named_by_day_and_time() {
        assert_eq!(clock(498_684), "11-21 12:00");
    }
}
