//! Campaigns: the list, and one as it goes, with its orders.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Redirect, Response};
use bellwether_api::{CampaignState, ClassProgress, OrderCampaign};
use serde::Deserialize;
use serde_json::json;

use super::Page;
use super::frame::{Failed, Frame, html};
use super::live::{self, Told};
use super::plot::Bar;
use super::visitor::{Order, Own, Sent, Visitor};
use super::words;
use crate::caller;
use crate::commands::dispatch::Verb;
use crate::commands::watch::{Of, Watched, WatchedDevice};
use crate::core::Core;
use crate::ingress::access::Right;
use crate::refusal::Refusal;

#[derive(Template)]
#[template(path = "campaigns.html")]
struct ListPage {
    frame: Frame,
    rows: Vec<Short>,
    next: Option<u64>,
    is_first: bool,
}

/// A campaign in the list.
struct Short {
    id: String,
    state: &'static str,
    launched: String,
    ago: String,
    classes: String,
    done: String,
    whole: String,
    failed: u64,
    bar: Bar,
}

/// Where the list begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Before {
    before: Option<String>,
}

/// Lists campaigns, the latest first.
pub(super) async fn list(
    visitor: Visitor,
    State(page): State<Arc<Page>>,
    Query(asked): Query<Before>,
) -> Response {
    match page.core.latest_campaigns(asked.before.as_deref(), ROWS).await {
        Ok((campaigns, next)) => {
            let now = page.core.now();
            let rows = campaigns.iter().map(|watched| Short::of(watched, now)).collect();
            let frame = Frame::new(&visitor, "campaigns");
            html(StatusCode::OK, &ListPage { frame, rows, next, is_first: asked.before.is_none() })
        }
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

impl Short {
    fn of(watched: &Watched, now: u64) -> Self {
        let campaign = &watched.campaign;
        let sum = sum(&campaign.classes);
        let names: Vec<&str> = campaign.classes.iter().map(|class| class.class.as_str()).collect();
        Self {
            id: campaign.id.clone(),
            state: words::state(campaign.state),
            launched: words::time(campaign.created),
            ago: words::ago(now, campaign.created),
            classes: names.join(", "),
            done: words::count(sum.installed),
            whole: words::count(sum.targeted),
            failed: sum.failed,
            bar: bar(&sum),
        }
    }
}

#[derive(Template)]
#[template(path = "campaign.html")]
struct CampaignPage {
    frame: Frame,
    id: String,
    state: &'static str,
    launched: String,
    manifest: String,
    at_most: Option<u32>,
    orders: Orders,
    progress: Progress,
    devices: Devices,
}

/// The orders that may be given now.
#[derive(Template)]
#[template(path = "campaign_orders.html")]
struct Orders {
    id: String,
    form_token: String,
    request_id: String,
    buttons: Vec<Button>,
}

struct Button {
    order: &'static str,
    name: &'static str,
    explains: &'static str,
    is_grave: bool,
}

/// What changes by itself.
#[derive(Template)]
#[template(path = "campaign_progress.html")]
struct Progress {
    state: &'static str,
    reason: Option<String>,
    share: String,
    done: String,
    whole: String,
    steps: Vec<Step>,
    classes: Vec<ClassRow>,
    reasons: Vec<ReasonRow>,
    events: Vec<EventRow>,
}

/// How many are at one step.
struct Step {
    name: &'static str,
    colour: &'static str,
    count: String,
    is_none: bool,
}

struct ClassRow {
    name: String,
    done: String,
    whole: String,
    failed: u64,
    bar: Bar,
}

struct ReasonRow {
    text: String,
    count: String,
    bar: Bar,
}

pub(super) struct EventRow {
    pub(super) at: String,
    pub(super) clock: String,
    pub(super) kind: String,
    pub(super) endpoint: Option<String>,
    pub(super) path: String,
    pub(super) text: String,
}

/// Shows a campaign.
pub(super) async fn show(
    visitor: Visitor,
    State(page): State<Arc<Page>>,
    Path(id): Path<String>,
    Query(asked): Query<AskedDevices>,
) -> Response {
    match whole(&page, &visitor, &id, &asked).await {
        Ok(shown) => html(StatusCode::OK, &shown),
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

async fn whole(
    page: &Page,
    visitor: &Visitor,
    id: &str,
    asked: &AskedDevices,
) -> Result<CampaignPage, Refusal> {
    let (watched, progress) = Progress::of(&page.core, id).await?;
    Ok(CampaignPage {
        frame: Frame::new(visitor, "campaigns"),
        id: watched.campaign.id.clone(),
        state: words::state(watched.campaign.state),
        launched: words::time(watched.campaign.created),
        manifest: watched.campaign.manifest.clone(),
        at_most: watched.at_most,
        orders: Orders::of(&page.core, visitor, &watched),
        progress,
        devices: Devices::of(&page.core, id, asked).await?,
    })
}

impl Progress {
    async fn of(core: &Core, id: &str) -> Result<(Watched, Self), Refusal> {
        let watched = core.watched_campaign(id).await?;
        let events = core.latest_of_campaign(id, EVENTS_SHOWN).await?;
        let (campaign, sum) = (&watched.campaign, sum(&watched.campaign.classes));
        let step =
            |name, colour, count| Step { name, colour, count: words::count(count), is_none: count == 0 };
        let most = watched.reasons.first().map_or(0, |(_, devices)| *devices);
        let reasons = watched.reasons.iter().take(REASONS_SHOWN).map(|(text, devices)| ReasonRow {
            text: text.clone(),
            count: words::count(*devices),
            bar: Bar::new(&[("failed", *devices)], most),
        });
        let class = |class: &ClassProgress| ClassRow {
            name: class.class.clone(),
            done: words::count(class.installed),
            whole: words::count(class.targeted),
            failed: class.failed,
            bar: bar(class),
        };
        let progress = Self {
            state: words::state(campaign.state),
            reason: campaign.reason.clone(),
            share: words::share(sum.installed, sum.targeted),
            done: words::count(sum.installed),
            whole: words::count(sum.targeted),
            steps: vec![
                step("installed", "installed", sum.installed),
                step("ready to start", "ready", sum.ready),
                step("fetching", "granted", sum.granted),
                step("offered", "offered", sum.offered),
                step("waiting", "waiting", sum.waiting),
                step("failed or refused", "failed", sum.failed),
            ],
            classes: campaign.classes.iter().map(class).collect(),
            reasons: reasons.collect(),
            events: events.into_iter().map(EventRow::of).collect(),
        };
        Ok((watched, progress))
    }
}

impl EventRow {
    /// Puts an event into a row. What happened to a campaign is told without its number: the page says it.
    pub(super) fn of(event: bellwether_api::Event) -> Self {
        let at = words::time(event.at);
        let told = match &event.campaign {
            Some(id) => event.text.strip_prefix(&format!("campaign {id}: ")).unwrap_or(&event.text),
            None => &event.text,
        };
        Self {
            clock: at.get(11..19).unwrap_or(&at).to_owned(),
            at,
            text: told.to_owned(),
            path: event.endpoint.as_deref().map(words::segment).unwrap_or_default(),
            kind: event.kind,
            endpoint: event.endpoint,
        }
    }
}

impl Orders {
    fn of(core: &Core, visitor: &Visitor, watched: &Watched) -> Self {
        let failed = watched.campaign.classes.iter().any(|class| class.failed > 0);
        let may = visitor.session.right == Right::Operate;
        Self {
            id: watched.campaign.id.clone(),
            form_token: visitor.session.form_token.clone(),
            request_id: caller::drawn(&*core.machine),
            buttons: if may { buttons(watched.campaign.state, failed) } else { Vec::new() },
        }
    }
}

/// What makes sense in a state; whether it is done is decided elsewhere.
fn buttons(state: CampaignState, some_failed: bool) -> Vec<Button> {
    let pause = Button {
        order: "pause",
        name: "Pause",
        explains: "Nothing more is offered, granted or started until it is resumed.",
        is_grave: false,
    };
    let resume = Button {
        order: "resume",
        name: "Resume",
        explains: "The campaign goes on where it was.",
        is_grave: false,
    };
    let cancel = Button {
        order: "cancel",
        name: "Cancel",
        explains: "No new offers and no new grants, for good. What devices report still counts.",
        is_grave: true,
    };
    let retry = Button {
        order: "retry-failed",
        name: "Retry failed",
        explains: "Devices that failed or were refused begin anew.",
        is_grave: false,
    };
    let retry = some_failed.then_some(retry);
    match state {
        CampaignState::Running => [pause, cancel].into_iter().chain(retry).collect(),
        CampaignState::Paused => [resume, cancel].into_iter().chain(retry).collect(),
        CampaignState::Halted => retry.into_iter().chain([cancel]).collect(),
        CampaignState::Finished => retry.into_iter().collect(),
        CampaignState::Cancelled => Vec::new(),
    }
}

/// Which devices of the campaign are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AskedDevices {
    of: String,
    after: String,
}

#[derive(Template)]
#[template(path = "campaign_devices.html")]
struct Devices {
    id: String,
    of: &'static str,
    rows: Vec<DeviceRow>,
    next: Option<String>,
}

struct DeviceRow {
    endpoint: String,
    path: String,
    class: String,
    outcome: &'static str,
    colour: String,
    since: String,
    why: Option<String>,
}

impl Devices {
    async fn of(core: &Core, id: &str, asked: &AskedDevices) -> Result<Self, Refusal> {
        let (name, of) = OFS.into_iter().find(|(name, _)| *name == asked.of).unwrap_or(OFS[0]);
        let after = Some(asked.after.as_str());
        let (devices, next) = core.campaign_devices(id, of, after, DEVICES_SHOWN).await?;
        let now = core.now();
        let row = |device: WatchedDevice| DeviceRow {
            path: words::segment(&device.endpoint),
            endpoint: device.endpoint,
            class: device.class,
            outcome: words::outcome(device.outcome),
            colour: words::outcome(device.outcome).replace(' ', "-"),
            since: words::ago(now, device.since),
            why: device.why,
        };
        Ok(Self {
            id: id.to_owned(),
            of: name,
            rows: devices.into_iter().map(row).collect(),
            next: next.map(|next| words::segment(&next)),
        })
    }
}

/// Shows the devices of a campaign: alone for an open page, with everything for everybody else.
pub(super) async fn devices(
    visitor: Visitor,
    State(page): State<Arc<Page>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Query(asked): Query<AskedDevices>,
) -> Response {
    if !headers.contains_key("hx-request") {
        return show(visitor, State(page), Path(id), Query(asked)).await;
    }
    match Devices::of(&page.core, &id, &asked).await {
        Ok(devices) => html(StatusCode::OK, &devices),
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

/// What the form of an order says.
#[derive(Debug, Deserialize)]
pub(super) struct OrderForm {
    form_token: String,
    request_id: String,
    #[serde(default)]
    why: String,
}

impl Own for OrderForm {
    fn form_token(&self) -> &str {
        &self.form_token
    }
}

/// Carries an order out, as the verb of that name does everywhere, and shows the campaign.
pub(super) async fn order(
    State(page): State<Arc<Page>>,
    Path((id, order)): Path<(String, String)>,
    Order(Sent { visitor, form }): Order<OrderForm>,
) -> Response {
    let verb = Verb::find("campaigns", &order).filter(|verb| verb.is_change && ORDERS.contains(&verb.name));
    let Some(verb) = verb else {
        return Failed::new(StatusCode::NOT_FOUND, "There is no such order.").answer(&visitor);
    };
    let asked = OrderCampaign {
        request_id: form.request_id,
        campaign: id.clone(),
        who: visitor.session.who.clone(),
        why: Some(form.why.trim().to_owned()).filter(|why| !why.is_empty()),
    };
    match verb.carry_out(&page.core, json!(asked).to_string().as_bytes()).await {
        Ok(_) => Redirect::to(&format!("/campaigns/{}", words::segment(&id))).into_response(),
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

/// In which state an open page shows its campaign.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Shown {
    state: String,
}

/// Tells an open page how its campaign goes.
pub(super) async fn live(
    visitor: Visitor,
    State(page): State<Arc<Page>>,
    Path(id): Path<String>,
    Query(shown): Query<Shown>,
) -> Response {
    // A campaign that is not there is said at once, not by a stream that never says anything.
    match page.core.watched_campaign(&id).await {
        Ok(watched) => {
            let campaign = watched.campaign.id.parse().unwrap_or_default();
            live::stream(Arc::clone(&page), visitor, Watching { campaign, state: shown.state })
        }
        Err(refusal) => Failed::from(refusal).answer(&visitor),
    }
}

/// A campaign that an open page watches.
pub(super) struct Watching {
    /// Its number.
    pub(super) campaign: u64,
    /// The state in which the page shows it.
    state: String,
}

impl Watching {
    /// Tells how the campaign stands: its progress, and its orders where others make sense now.
    pub(super) async fn tell(&mut self, core: &Core, visitor: &Visitor) -> Result<Told, Refusal> {
        let id = self.campaign.to_string();
        let last = core.latest_of_campaign(&id, 1).await?.first().map_or(0, |event| event.id);
        let (watched, progress) = Progress::of(core, &id).await?;
        let mut events = vec![piece("progress", &progress)];
        let state = words::state(watched.campaign.state);
        if self.state != state {
            state.clone_into(&mut self.state);
            events.push(piece("orders", &Orders::of(core, visitor, &watched)));
        }
        let events = events.into_iter().flatten().collect();
        Ok(Told { events, is_all: watched.as_of >= last })
    }
}

fn piece(name: &str, template: &impl Template) -> Option<Event> {
    template.render().ok().map(|text| Event::default().event(name).data(text))
}

/// Adds classes up.
fn sum(classes: &[ClassProgress]) -> ClassProgress {
    classes.iter().fold(ClassProgress::default(), |mut sum, class| {
        sum.targeted += class.targeted;
        sum.waiting += class.waiting;
        sum.offered += class.offered;
        sum.granted += class.granted;
        sum.ready += class.ready;
        sum.installed += class.installed;
        sum.failed += class.failed;
        sum
    })
}

fn bar(class: &ClassProgress) -> Bar {
    let parts = [
        ("installed", class.installed),
        ("ready", class.ready),
        ("granted", class.granted),
        ("offered", class.offered),
        ("failed", class.failed),
        ("waiting", class.waiting),
    ];
    Bar::new(&parts, class.targeted)
}

const OFS: [(&str, Of); 5] = [
    ("all", Of::All),
    ("failed", Of::Failed),
    ("work", Of::AtWork),
    ("waiting", Of::Waiting),
    ("done", Of::Done),
];

/// Orders that a form may give; a launch has a form of its own.
const ORDERS: [&str; 4] = ["pause", "resume", "cancel", "retry-failed"];

/// Campaigns in a page.
const ROWS: u32 = 20;

/// Devices of a campaign in a page.
const DEVICES_SHOWN: u32 = 25;

/// Events of a campaign on its page: a screen.
const EVENTS_SHOWN: u32 = 25;

/// Reasons of failures on the page.
const REASONS_SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_on_the_page_is_a_verb() {
        for order in ORDERS {
            assert!(Verb::find("campaigns", order).is_some_and(|verb| verb.is_change), "{order}");
        }
        for state in
            [CampaignState::Running, CampaignState::Paused, CampaignState::Halted, CampaignState::Finished]
        {
            for button in buttons(state, true) {
                assert!(ORDERS.contains(&button.order), "{}", button.order);
            }
        }
        assert!(buttons(CampaignState::Cancelled, true).is_empty());
    }
}
