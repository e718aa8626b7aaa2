//! What is counted for whoever watches the server, and its text form (`OpenMetrics`).
//!
//! No label is anybody's choice: names of devices, gateways and peers are in none, paths are templates, and what is not
//! known is `other`. So a fleet of a million devices has as many series as one of ten.

pub mod process;
mod scrape;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bellwether_decide::campaign::event::{Delivery, Event, EventKind};
use bellwether_decide::key_index::{Reply, Row, Verdict};
use bellwether_net::ShardHandle;
use bellwether_net::coap::{Code, Method, Request};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::ingress::mqtt::Broker;

pub use scrape::CONTENT_TYPE;

/// Names and values of labels, all of them fixed in the program.
pub(crate) type Labels<const N: usize> = [(&'static str, &'static str); N];

type Counts<const N: usize> = Family<Labels<N>, Counter>;
type Times<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Gives a time that only goes forward: to tell how long something took, and for how long something in memory holds.
#[expect(
    clippy::disallowed_methods,
    reason = "the shell's clock: to measure, and for what is kept in memory alone"
)]
pub(crate) fn steady() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// What rooms and doors count while they work.
pub struct Metrics {
    registry: Registry,
    coap_requests: Counts<3>,
    coap_seconds: Times<1>,
    http_requests: Counts<2>,
    http_seconds: Histogram,
    mqtt_commands: Counts<2>,
    rows: Counts<1>,
    answers: Counts<1>,
    events: Counts<1>,
    alarms: Counts<1>,
    queue_mode: Counts<1>,
    failures: Counts<1>,
    grant_seconds: Histogram,
    report_seconds: Histogram,
    commit_seconds: Histogram,
    doors: Mutex<Vec<(&'static str, ShardHandle)>>,
    broker: OnceLock<Arc<Broker>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let times: fn() -> Histogram = latency;
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            coap_requests: Family::default(),
            coap_seconds: Family::new_with_constructor(times),
            http_requests: Family::default(),
            http_seconds: latency(),
            mqtt_commands: Family::default(),
            rows: Family::default(),
            answers: Family::default(),
            events: Family::default(),
            alarms: Family::default(),
            queue_mode: Family::default(),
            failures: Family::default(),
            grant_seconds: latency(),
            report_seconds: latency(),
            commit_seconds: latency(),
            doors: Mutex::default(),
            broker: OnceLock::new(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "coap_requests",
            "Requests of devices and gateways, but for frames from memory",
            self.coap_requests.clone(),
        );
        registry.register("http_requests", "Requests of fleet managers", self.http_requests.clone());
        registry.register("mqtt_commands", "Commands over MQTT", self.mqtt_commands.clone());
        registry.register(
            "table_rows",
            "Messages of devices by the row of the key-index table that fitted",
            self.rows.clone(),
        );
        registry.register("answers", "Answers to update requests", self.answers.clone());
        registry.register(
            "events",
            "Events written to the ledger by what devices do and campaigns decide",
            self.events.clone(),
        );
        registry.register(
            "queue_mode",
            "Devices in queue mode: requests withheld, given up and missed while they slept, and times that they woke",
            self.queue_mode.clone(),
        );
        registry.register("alarms", "Occurrences of alarms", self.alarms.clone());
        registry.register(
            "failures",
            "Requests and steps that failed inside the server, by where it was noticed",
            self.failures.clone(),
        );
        let mut times = |name: &str, help: &str, histogram: Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, histogram);
        };
        times("http_request", "Time to answer a fleet manager", self.http_seconds.clone());
        times("grant", "Time from an update request to its grant, on disk", self.grant_seconds.clone());
        times("report", "Time from a report to its receipt, on disk", self.report_seconds.clone());
        times(
            "commit",
            "Time of a commit that moves an identity, waiting for other writers included",
            self.commit_seconds.clone(),
        );
        let help = "Time to answer a device or gateway";
        self.registry.register_with_unit("coap_request", help, Unit::Seconds, self.coap_seconds.clone());
    }

    /// Watches a socket, under the name of its door.
    pub fn watch(&self, door: &'static str, shard: ShardHandle) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).push((door, shard));
    }

    /// Watches the connections to the broker.
    pub(crate) fn watch_broker(&self, broker: Arc<Broker>) {
        // There is one; a second would be the same.
        let _ = self.broker.set(broker);
    }

    /// The sockets that are watched.
    pub(crate) fn doors(&self) -> Vec<(&'static str, ShardHandle)> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the broker can be used; `None` where none is.
    pub(crate) fn is_broker_connected(&self) -> Option<bool> {
        self.broker.get().map(|broker| broker.is_connected())
    }

    /// Counts an answered request of a device or gateway.
    pub(crate) fn coap(&self, asked: Asked, code: Code, took: Duration) {
        let labels = [("method", asked.method), ("path", asked.path), ("code", class(code))];
        self.coap_requests.get_or_create(&labels).inc();
        self.coap_seconds.get_or_create(&[("path", asked.path)]).observe(took.as_secs_f64());
    }

    /// Counts an answered request of a fleet manager.
    pub(crate) fn http(&self, method: &axum::http::Method, status: u16, took: Duration) {
        let method = HTTP_METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER);
        let code = STATUS_CLASSES.get(usize::from(status / 100)).copied().unwrap_or(OTHER);
        self.http_requests.get_or_create(&[("method", method), ("code", code)]).inc();
        self.http_seconds.observe(took.as_secs_f64());
    }

    /// Counts a command over MQTT; a verb that there is not is `other`.
    pub(crate) fn mqtt(&self, verb: Option<&'static str>, outcome: &'static str) {
        self.mqtt_commands.get_or_create(&[("verb", verb.unwrap_or(OTHER)), ("outcome", outcome)]).inc();
    }

    /// Counts something that failed inside the server.
    pub(crate) fn failed(&self, door: &'static str) {
        self.failures.get_or_create(&[("door", door)]).inc();
    }

    /// Counts the row that a message fell under.
    pub(crate) fn row(&self, row: Row) {
        self.rows.get_or_create(&[("row", row.name())]).inc();
    }

    /// Counts the answer to an update request: what the table decided, and what eligibility and resolution made of it.
    pub(crate) fn answered(&self, reply: &Reply, events: &[Event], took: Duration) {
        let kind = answer_kind(reply, events);
        self.answers.get_or_create(&[("kind", kind)]).inc();
        if matches!(kind, FULL | DELTA) {
            self.grant_seconds.observe(took.as_secs_f64());
        }
    }

    /// Counts a receipted report.
    pub(crate) fn receipted(&self, took: Duration) {
        self.report_seconds.observe(took.as_secs_f64());
    }

    /// Counts a commit.
    pub(crate) fn committed(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// Counts events that are in the ledger now.
    pub(crate) fn recorded(&self, events: &[Event]) {
        for event in events {
            self.events.get_or_create(&[("kind", event.kind.name())]).inc();
        }
    }

    /// Counts what the sleep of a device in queue mode brought about.
    pub(crate) fn slept(&self, what: &'static str) {
        self.queue_mode.get_or_create(&[("what", what)]).inc();
    }

    /// Counts an occurrence of an alarm.
    pub(crate) fn alarm(&self, cause: &'static str) {
        self.alarms.get_or_create(&[("cause", cause)]).inc();
    }
}

/// A request of a device or gateway, as far as labels go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Asked {
    method: &'static str,
    path: &'static str,
}

impl Asked {
    /// Takes the template of a request's path.
    pub(crate) fn of(request: &Request) -> Self {
        let method = match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            _ => OTHER,
        };
        Self { method, path: template(request) }
    }

    /// The template of the path.
    pub(crate) fn path(self) -> &'static str {
        self.path
    }
}

fn template(request: &Request) -> &'static str {
    use bellwether_manifests::message::content_format;
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    match (path.as_slice(), request.content_format) {
        (["rd"], _) => "/rd",
        (["rd", _], _) => "/rd/{location}",
        (["f", _], _) => "/f/{root}",
        // Their paths are their manifests' choice.
        (_, Some(content_format::REQUEST)) => "{update request}",
        (_, Some(content_format::REPORT)) => "{report}",
        (["g", ..], _) => "/g/{gateway}",
        _ => OTHER,
    }
}

fn answer_kind(reply: &Reply, events: &[Event]) -> &'static str {
    let resolved = events.iter().find_map(|event| match event.kind {
        EventKind::Resolved { delivery, .. } => Some(delivery),
        _ => None,
    });
    match (resolved, reply) {
        (Some(Delivery::Full), _) => FULL,
        (Some(Delivery::Delta { .. }), _) => DELTA,
        (None, Reply::Repeat(_)) => "repeated",
        (None, Reply::HeldGrant { .. }) => "grant_again",
        (None, Reply::Verdict(verdict)) => verdict_kind(*verdict),
        // Eligibility or resolution made a verdict of it.
        (None, Reply::NewGrant(_)) => match events.last().map(|event| &event.kind) {
            Some(EventKind::AlreadyCurrent) => "nothing",
            Some(EventKind::Refused { .. }) => "refused",
            _ => "later",
        },
        (None, Reply::Receipt) => OTHER,
    }
}

fn verdict_kind(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Nothing => "nothing",
        Verdict::Later { .. } => "later",
        Verdict::Refused(_) => "refused",
        Verdict::Prove(_) => "prove",
        Verdict::Go { .. } => "go",
        Verdict::Stop { .. } => "stop",
        Verdict::Forward { .. } => "forward",
    }
}

/// The class of a CoAP code, as in RFC 7252 §12.1.
fn class(code: Code) -> &'static str {
    match code.class() {
        2 => "2.xx",
        4 => "4.xx",
        5 => "5.xx",
        _ => OTHER,
    }
}

/// Bounds from a hundredth of a millisecond, a look into memory, to ten seconds, longer than a device waits.
fn latency() -> Histogram {
    Histogram::new([
        0.000_01, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    ])
}

const PREFIX: &str = "bellwether";
const OTHER: &str = "other";
const FULL: &str = "full";
const DELTA: &str = "delta";
const HTTP_METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const STATUS_CLASSES: [&str; 6] = [OTHER, "1xx", "2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_a_request_is_told_as_its_template() {
        let told = |method, path: &str| Asked::of(&Request::new(method, path)).path;
        assert_eq!(told(Method::Post, "/rd"), "/rd");
        assert_eq!(told(Method::Post, "/rd/0a1b"), "/rd/{location}");
        assert_eq!(told(Method::Get, "/f/00"), "/f/{root}");
        assert_eq!(told(Method::Get, "/whatever/an/attacker/likes"), "other");
    }

    #[test]
    fn answer_is_counted_by_what_the_device_got() {
        let event = |kind| Event { at: 0, campaign: None, device: None, kind };
        let delivery = Delivery::Delta { base: [0; 32], algorithm: 1 };
        let resolved = event(EventKind::Resolved { delivery, grant: 1, content: [0; 32], bytes: 1 });
        let prove = Reply::Verdict(Verdict::Prove(Default::default()));
        assert_eq!(answer_kind(&Reply::Receipt, &[resolved]), "delta");
        assert_eq!(answer_kind(&prove, &[]), "prove");
        assert_eq!(answer_kind(&Reply::Repeat(Vec::new()), &[]), "repeated");
    }
}
