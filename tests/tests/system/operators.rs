//! What whoever runs the server sees on the day that something is wrong: metrics, health, the log.

use std::io::{Read, Write};
use std::net::TcpStream;

use bellwether_api::{CheckState, EventPage, Liveness, Readiness};
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::open_metrics::Scrape;
use bellwether_tests::program::Program;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

fn scraped(fleet: &Fleet) -> Scrape {
    let answer = fleet.server.http_with(None).get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.body);
    Scrape::parse(&answer.body).expect("OpenMetrics")
}

/// The lines of a log, each a JSON object; one that is being written just now does not count yet.
fn lines(log: &str) -> Vec<Value> {
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"))).collect()
}

/// Whether a line was logged in the scope of a request.
fn is_of(line: &Value, request_id: &str) -> bool {
    let spans = line["spans"].as_array().into_iter().flatten();
    spans.chain([&line["span"]]).any(|span| span["id"] == request_id)
}

#[test]
fn metrics_follow_the_rules_and_count_what_happened() {
    let meters = Meters::new();
    let mut meter = meters.device("meter-1");
    let before = scraped(&meters.fleet);
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    meters.fleet.server.http().get("/v1/no/such/path");

    let after = scraped(&meters.fleet);
    let value = |name: &str, labels: &[(&str, &str)]| after.value(name, labels);
    assert_eq!(value("bellwether_devices", &[]), Some(1.0));
    assert_eq!(value("bellwether_registrations", &[]), Some(1.0));
    assert_eq!(value("bellwether_sessions", &[("door", "coaps")]), Some(1.0));
    assert_eq!(value("bellwether_handshakes_total", &[("door", "coaps"), ("outcome", "ok")]), Some(1.0));
    let grants = after.sum("bellwether_grant_seconds_count");
    let of_kind = |kind| value("bellwether_answers_total", &[("kind", kind)]).unwrap_or_default();
    assert_eq!((grants, of_kind("full") + of_kind("delta")), (1.0, 1.0));
    assert_eq!(value("bellwether_events_total", &[("kind", "installed")]), Some(1.0));
    assert_eq!(value("bellwether_report_seconds_count", &[]), Some(2.0));
    assert_eq!(value("bellwether_ready", &[]), Some(1.0));
    let refused = [("method", "GET"), ("code", "4xx")];
    assert_eq!(value("bellwether_http_requests_total", &refused), Some(1.0));
    for more in
        ["process_resident_memory_bytes", "bellwether_data_disk_free_bytes", "process_cpu_seconds_total"]
    {
        assert!(value(more, &[]).is_some_and(|value| value > 0.0), "{more}");
    }
    for (name, kind) in before.types {
        assert_eq!(after.types.get(&name), Some(&kind), "{name}");
    }
}

#[test]
fn series_do_not_grow_with_the_fleet_and_name_nobody() {
    let meters = Meters::new();
    let mut first = meters.device("meter-1");
    meters.launch();
    let granted = first.granted(&meters.manifest.digest);
    first.install(&granted, meters.new_digest());
    let one = scraped(&meters.fleet).series_count();
    let others: Vec<_> = (2..6).map(|number| meters.device(&format!("meter-{number}"))).collect();
    let many = scraped(&meters.fleet);
    assert!(many.series_count() <= one + 2, "{one} → {}", many.series_count());
    assert!(many.label_values().iter().all(|value| !value.contains("meter-")));
    drop(others);
}

#[test]
fn health_says_what_was_looked_at() {
    let fleet = Fleet::start();
    let anyone = fleet.server.http_with(None);
    assert!(anyone.read::<Liveness>("/health/live").live);
    let ready: Readiness = anyone.read("/health/ready");
    assert!(ready.ready);
    let names: Vec<_> = ready.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["store", "disk", "sockets", "broker", "master_key"]);
}

#[test]
fn broker_that_is_away_degrades_the_server_and_leaves_it_ready() {
    // Had by this test and never listened at: nobody else's broker comes to be there.
    let closed = TcpSocket::new_v4().expect("a socket");
    closed.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let closed_at = closed.local_addr().expect("an address");
    let fleet = Fleet::start_with(&["--mqtt", &format!("mqtt://{closed_at}")]);
    let ready: Readiness = fleet.server.http().read("/health/ready");
    assert!(ready.ready);
    assert_eq!(ready.status, CheckState::Degraded);
    let scrape = scraped(&fleet);
    assert_eq!(scrape.value("bellwether_mqtt_connected", &[]), Some(0.0));
    assert!(scrape.value("bellwether_mqtt_outbox_events", &[]).is_some_and(|events| events > 0.0));
    drop(closed);
}

#[test]
fn beyond_loopback_metrics_and_readiness_want_the_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = bellwether_tests::server::Server::start_with(folder.path(), &["--http", "0.0.0.0:0"]);
    for path in ["/metrics", "/health/ready"] {
        assert_eq!(server.http_with(None).get(path).status, 401, "{path}");
        assert_eq!(server.http().get(path).status, 200, "{path}");
    }
    assert_eq!(server.http_with(None).get("/health/live").status, 200);
}

#[test]
fn on_loopback_too_the_token_is_wanted_of_pages_and_proxies_that_ask_for_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = bellwether_tests::server::Server::start(folder.path());
    for path in ["/metrics", "/health/ready"] {
        assert_eq!(server.http_with(None).get(path).status, 200, "{path}");
        for header in [("host", "rebound.example"), ("x-forwarded-for", "192.0.2.1")] {
            assert_eq!(server.http_with(None).get_with(path, &[header]).status, 401, "{path} {header:?}");
            assert_eq!(server.http().get_with(path, &[header]).status, 200, "{path} {header:?}");
        }
    }
}

#[test]
fn request_is_found_in_answer_ledger_and_log_by_one_id() {
    let fleet = Fleet::start_with(&["--log", "debug", "--log-json"]);
    let body = json!({"endpoint": "lamp-1", "class": "lamp"});
    let said =
        [("x-request-id", "repair-7"), ("x-bellwether-who", "J%C3%B6rg"), ("x-bellwether-why", "new%20lamp")];
    let answer = fleet.server.http().post_with("/v1/devices", &body, &said);
    assert_eq!((answer.status, answer.request_id.as_str()), (200, "repair-7"));

    let acts: EventPage = fleet.server.http().read("/v1/events?acts=true");
    let enrolled = acts.events.iter().find(|event| event.kind == "device_enrolled").expect("in the ledger");
    assert_eq!(enrolled.request_id.as_deref(), Some("repair-7"));
    assert_eq!((enrolled.who.as_deref(), enrolled.why.as_deref()), (Some("Jörg"), Some("new lamp")));

    let log = lines(&fleet.server.said());
    let of_it: Vec<_> = log.iter().filter(|line| is_of(line, "repair-7")).collect();
    assert!(of_it.iter().any(|line| line["fields"]["what"] == "device_enrolled"), "{of_it:?}");
    assert!(of_it.iter().any(|line| line["fields"]["status"] == 200), "{of_it:?}");
}

#[test]
fn refusal_names_its_request_and_an_unfit_id_is_replaced() {
    let fleet = Fleet::start();
    let answer = fleet.server.http().get_with("/v1/devices/nobody", &[("x-request-id", "a b")]);
    assert_eq!(answer.status, 404);
    assert_ne!(answer.request_id, "a b");
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(body["request_id"], answer.request_id.as_str());
    let unsaid = fleet.server.http_with(None).get("/v1/devices");
    let body: Value = serde_json::from_str(&unsaid.body).expect("JSON");
    assert_eq!((unsaid.status, &body["request_id"]), (401, &Value::from(unsaid.request_id.as_str())));
}

#[test]
fn nothing_that_anybody_sends_forges_a_line_of_the_log() {
    const FORGED: &str = "2026-01-01T00:00:00Z ERROR forged";
    for flags in [&["--log", "trace"][..], &["--log", "trace", "--log-json"]] {
        let fleet = Fleet::start_with(flags);
        let http = fleet.server.http();
        let name = format!("a\n{FORGED}\u{1b}[2J");
        http.post("/v1/devices", &json!({"endpoint": name, "class": name}));
        http.post(
            "/v1/commands/devices/block",
            &json!({"request_id": name, "endpoint": name, "why": name, "who": name}),
        );
        http.get("/v1/devices/a%0A2026-01-01T00:00:00Z%20ERROR%20forged%1B%5B2J");
        http.get_with("/v1/devices", &[("x-bellwether-why", "a%0A2026-01-01T00:00:00Z%20ERROR%20forged")]);
        let said = fleet.server.said();
        assert!(!said.lines().any(|line| line.starts_with(FORGED)), "{said}");
        assert!(!said.contains('\u{1b}'), "an escape sequence reaches the terminal");
    }
}

#[test]
fn flood_of_bad_messages_leaves_one_line_and_a_count() {
    let meters = Meters::on(Fleet::start_with(&["--log", "info"]), 4_000);
    let meter = meters.device("meter-1");
    let before = meters.fleet.server.said().lines().count();
    for _ in 0..200 {
        meter.send_request(b"no request at all");
    }
    let scrape = scraped(&meters.fleet);
    let malformed = scrape.value("bellwether_messages_turned_away_total", &[("reason", "malformed")]);
    assert!(malformed.is_some_and(|count| count >= 200.0), "{malformed:?}");
    let after = meters.fleet.server.said().lines().count();
    assert!(after - before <= 3, "{} lines", after - before);
}

#[test]
fn everything_that_people_do_is_in_the_ledger() {
    let meters = Meters::new();
    let mut gateway = meters.fleet.gateway("gw-1");
    gateway.start();
    meters.fleet.device_behind("meter-9", "meter", "gw-1");
    let _meter = meters.device("meter-1");
    let campaign = meters.launch();
    let cli = &meters.fleet.cli;
    cli.done(&format!("campaign pause {campaign} --who kim --why storm"));
    cli.done(&format!("campaign cancel {campaign} --who kim --why storm"));
    cli.done("device block meter-1 --why stolen");
    cli.done("device detach meter-9");
    cli.done("gateway remove gw-1");
    let acts: EventPage = meters.fleet.server.http().read("/v1/events?acts=true");
    let kinds: Vec<_> = acts.events.iter().map(|event| event.kind.as_str()).collect();
    let expected = [
        "anchors_published",
        "release_published",
        "release_published",
        "gateway_enrolled",
        "device_enrolled",
        "device_enrolled",
        "manifest_published",
        "launched",
        "paused",
        "cancelled",
        "blocked",
        "device_detached",
        "gateway_removed",
    ];
    assert_eq!(kinds, expected);
    assert!(acts.events.iter().all(|event| event.request_id.is_some()));
    let first: EventPage = meters.fleet.server.http().read("/v1/events?acts=true&limit=2");
    let next = first.next.expect("there are more");
    let second: EventPage =
        meters.fleet.server.http().read(&format!("/v1/events?acts=true&limit=2&since={next}"));
    assert_eq!(second.events, acts.events[2..4]);
}

#[test]
fn gateway_gives_its_metrics_on_loopback_alone() {
    let meters = Meters::new();
    let mut gateway = meters.fleet.gateway("gw-1").with_flags(&["--metrics", "127.0.0.1:0"]);
    gateway.start();
    let port = gateway.metrics().expect("an address").port();
    let text = http_get(port, "localhost", "/metrics");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let scrape = Scrape::parse(body).expect("OpenMetrics");
    assert_eq!(scrape.value("bellwether_gateway_bundles", &[]), Some(0.0));
    assert_eq!(scrape.types["bellwether_gateway_frames_down_bytes"], "counter");
    assert!(http_get(port, "localhost", "/").starts_with("HTTP/1.1 404"));
    // A page in a browser whose name was made to point here.
    let refused = http_get(port, "rebound.example", "/metrics");
    assert!(refused.starts_with("HTTP/1.1 403") && !refused.contains("bellwether"), "{refused}");

    let mut exposed = meters.fleet.gateway("gw-2").command();
    exposed.args(["--metrics", "0.0.0.0:0"]);
    let (status, said) = Program::run(exposed);
    assert!(!status.success() && said.contains("loopback"), "{said}");
}

/// Asks as simply as can be, and gives all that comes back.
fn http_get(port: u16, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a listener");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}
