//! The gateway's metrics as `OpenMetrics` text, on a port of loopback of their own.
//!
//! They hold no secret and no name, and need no token; who wants them elsewhere lets a collector on the same machine
//! fetch them. A request that names another host than this machine is refused, and one for somebody else: a browser whose
//! page has its name point here says that name, and a proxy says for whom it asks. The listener takes one short request at a time from each of a few connections, and answers one path.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bellwether_net::ShardHandle;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::gateway::Gateway;

/// Answers until the task is dropped.
pub async fn run(gateway: Arc<Gateway>, shard: ShardHandle, listener: TcpListener) {
    let at_once = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&at_once).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (gateway, shard) = (Arc::clone(&gateway), shard.clone());
                tokio::spawn(async move {
                    // Whoever does not ask or listen in time is left alone.
                    let _ = timeout(PATIENCE, answer(&gateway, &shard, stream)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a scraper can't be let in");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(gateway: &Gateway, shard: &ShardHandle, mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut room = [0; 1_024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut room).await?;
        if read == 0 || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        head.extend_from_slice(&room[..read]);
    }
    let (status, body) = match (is_local(&head), is_for_metrics(&head)) {
        (false, _) => ("403 Forbidden", String::new()),
        (true, false) => ("404 Not Found", String::new()),
        (true, true) => ("200 OK", text(gateway, shard)),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn is_for_metrics(head: &[u8]) -> bool {
    head.starts_with(b"GET /metrics HTTP/1.") || head.starts_with(b"GET /metrics?")
}

/// Tells whether a request asks this machine by a name that only means itself, and for who sends it.
fn is_local(head: &[u8]) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    let fields = || head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut hosts = fields().filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    let names_itself = hosts.next().is_some_and(|(_, host)| is_loopback(host.trim()));
    let is_proxied = |(name, _): (&str, _)| PROXIED.iter().any(|proxied| name.eq_ignore_ascii_case(proxied));
    names_itself && hosts.next().is_none() && !fields().any(is_proxied)
}

/// Tells whether an authority, with a port or without, is this machine whoever resolves it.
fn is_loopback(authority: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host =
        authority.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(authority, |(host, _)| host);
    let ip = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Writes all metrics.
#[must_use]
pub fn text(gateway: &Gateway, shard: &ShardHandle) -> String {
    let mut registry = Registry::with_prefix("bellwether_gateway");
    levels(&mut registry, gateway);
    counts(&mut registry, gateway);
    socket(&mut registry, shard);
    let mut text = String::new();
    // Writing to a text can't fail.
    let _ = encode(&mut text, &registry);
    text
}

fn levels(registry: &mut Registry, gateway: &Gateway) {
    let (reports, receipts) = gateway.outbox.len();
    let mut gauge = |name: &str, help: &str, value: usize| {
        registry.register(name, help, ConstGauge::new(value as u64));
    };
    gauge("uplink", "1 while a session with the server stands", usize::from(gateway.uplink.is_up()));
    gauge("children", "Devices on the server's list", gateway.family.len());
    gauge("children_connected", "Devices that were heard lately", gateway.connected());
    gauge("bundles", "Bundles that are kept", gateway.shelf.all().len());
    gauge("outbox_reports", "Reports that wait for the server", reports);
    gauge("outbox_receipts", "Receipts that wait for their devices", receipts);
    let mut bytes = |name: &str, help: &str, value: u64| {
        registry.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(value));
    };
    bytes("frame_cache_disk", "Frames on disk", gateway.cache.disk_bytes());
    bytes("frame_cache_memory", "Frames in memory", gateway.cache.memory_bytes());
}

fn counts(registry: &mut Registry, gateway: &Gateway) {
    let all = &gateway.counters;
    let (requests, frames, reports, pushes) = (&all.requests, &all.frames, &all.reports, &all.pushes);
    let answered = [
        ("bundle", &requests.answered_from_bundle),
        ("kept", &requests.from_kept),
        ("server", &requests.forwarded),
        ("put_off", &requests.put_off),
    ];
    family(registry, "requests", "Update requests, by who answered", "by", &answered);
    let passed = [
        ("served", &frames.served),
        ("fetched", &frames.fetched_upstream),
        ("altered_upstream", &frames.altered_upstream),
        ("altered_disk", &frames.altered_disk),
        ("refused", &frames.refused),
    ];
    family(registry, "frames", "Frames, by what became of them", "what", &passed);
    let told = [
        ("kept", &reports.kept),
        ("forwarded", &reports.forwarded),
        ("receipted", &reports.receipts),
        ("refused", &reports.refused),
    ];
    family(registry, "reports", "Reports, by what became of them", "what", &told);
    let outcomes = [("taken", &pushes.taken), ("refused", &pushes.refused), ("unreached", &pushes.unreached)];
    family(registry, "pushes", "Manifests pushed to devices", "outcome", &outcomes);
    let mut count = |name: &str, help: &str, value: u64| {
        registry.register(name, help, ConstCounter::new(value));
    };
    count("malformed", "Messages of devices that are none, or not theirs", all.malformed.get());
    count("disk_errors", "Writes that the disk refused", all.disk_errors.get());
    let mut bytes = |name: &str, help: &str, value: u64| {
        registry.register_with_unit(name, help, Unit::Bytes, ConstCounter::new(value));
    };
    bytes("frames_upstream", "Frames that the server gave, altered ones too", frames.bytes_upstream.get());
    bytes("frames_down", "Frames given to devices", frames.bytes_down.get());
}

fn socket(registry: &mut Registry, shard: &ShardHandle) {
    let dtls = shard.counters().sessions;
    registry.register("sessions", "Sessions with devices now", ConstGauge::new(dtls.sessions_now));
    let handshakes: Counts = Family::default();
    for (outcome, count) in
        [("ok", dtls.handshakes_ok), ("failed", dtls.handshakes_failed), ("refused", dtls.handshakes_refused)]
    {
        handshakes.get_or_create(&[("outcome", outcome)]).inc_by(count);
    }
    registry.register("handshakes", "Handshakes of devices", handshakes);
}

type Counts = Family<[(&'static str, &'static str); 1], Counter>;

fn family(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: &[(&'static str, &crate::counters::Counter)],
) {
    let family: Counts = Family::default();
    for (value, counter) in values {
        family.get_or_create(&[(label, *value)]).inc_by(counter.get());
    }
    registry.register(name, help, family);
}

/// Says whether an address is one where metrics may be had without a token.
#[must_use]
pub fn is_private(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}

/// Headers in which proxies say for whom they ask. RFC 7239, RFC 9110 §7.6.3, and what came before.
const PROXIED: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A scraper or two, and someone who looks.
const CONNECTIONS_MAX: usize = 8;

/// Bytes of a request's head: ours has none that matters.
const HEAD_BYTES_MAX: usize = 8 * 1_024;

/// Time for a request and its answer, on the same machine.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn said(fields: &str) -> bool {
        is_local(format!("GET /metrics HTTP/1.1\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn only_who_asks_this_machine_as_itself_and_for_itself_is_local() {
        for host in ["127.0.0.1:9100", "localhost", "LOCALHOST:1", "[::1]:9100", "[::1]", "127.9.9.9"] {
            assert!(said(&format!("Accept: */*\r\nhOST: {host}\r\n")), "{host}");
        }
        for host in [
            "rebound.example:9100",
            "127.0.0.1.example",
            "localhost.example",
            "192.0.2.1",
            "",
            "a@localhost",
            "127.0.0.1:x",
        ] {
            assert!(!said(&format!("Host: {host}\r\n")), "{host}");
        }
        assert!(!said(""));
        assert!(!said("Host: localhost\r\nHost: rebound.example\r\n"), "two hosts");
        for proxied in PROXIED {
            assert!(!said(&format!("Host: 127.0.0.1\r\n{proxied}: 192.0.2.1\r\n")), "{proxied}");
        }
    }
}
