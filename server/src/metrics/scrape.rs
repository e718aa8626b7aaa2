//! The text form: what was counted, and what is there just now.

use std::sync::atomic::Ordering;

use bellwether_store::StoreError;
use bellwether_store::ledger::Scope;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use super::{Counts, Metrics, PREFIX, process};
use crate::core::Core;

/// What a scraper is told that the text is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Core {
    /// Writes all metrics. What can't be read just now is left out, so that the rest is still told.
    pub async fn metrics_text(&self) -> String {
        let mut now = Now { ours: Registry::with_prefix(PREFIX), common: Registry::with_prefix("process") };
        now.devices(self);
        now.sockets(&self.metrics);
        now.server(self).await;
        now.ledger(self).await;
        now.system(self);
        let mut text = String::new();
        // Writing to a text can't fail.
        let _ = encode_registry(&mut text, &self.metrics.registry);
        let _ = encode_registry(&mut text, &now.ours);
        let _ = encode_registry(&mut text, &now.common);
        let _ = encode_eof(&mut text);
        text
    }
}

/// What is there just now.
struct Now {
    ours: Registry,
    /// What has the same name for every program.
    common: Registry,
}

impl Now {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.ours.register(name, help, ConstGauge::new(value));
    }

    fn gauge_in(&mut self, unit: Unit, name: &str, help: &str, value: u64) {
        self.ours.register_with_unit(name, help, unit, ConstGauge::new(value));
    }

    fn devices(&mut self, core: &Core) {
        self.gauge("registrations", "Devices registered now", core.registry.count() as u64);
        let in_queue_mode = core.registry.count_in_queue_mode() as u64;
        self.gauge("registrations_in_queue_mode", "Of them, those in queue mode", in_queue_mode);
        let present = core.gateways.all_present(core.steady()).len() as u64;
        self.gauge("gateways_present", "Gateways with a session now", present);
        let (cached, resources) = core.frames.held();
        self.gauge_in(Unit::Bytes, "frame_cache", "Memory that frames take", cached as u64);
        self.gauge("frame_cache_resources", "Resources whose frames are in memory", resources as u64);
        let sent = ConstCounter::new(core.frames.counts().total());
        self.ours.register("frames_sent", "Frames sent, from memory and from disk", sent);
        let (at_work, waiting) = core.builder.load();
        self.gauge(
            "builds",
            "Images and deltas being made, those that wait for a core included",
            at_work as u64,
        );
        self.gauge("build_waiters", "Requests that wait for one of them", waiting as u64);
    }

    /// Datagrams, sessions and CoAP messages, of all sockets together by door.
    fn sockets(&mut self, metrics: &Metrics) {
        let (sessions, handshakes_now) = (Levels::default(), Levels::default());
        let (handshakes, datagrams, bytes) = (Counts::default(), Counts::default(), Counts::default());
        let (dropped, messages, lives) = (Counts::default(), Counts::default(), Counts::default());
        let waiting = Levels::default();
        for (door, shard) in metrics.doors() {
            let all = shard.counters();
            let (dtls, coap) = (all.sessions, all.coap);
            let door = ("door", door);
            sessions.get_or_create(&[door]).set(level(dtls.sessions_now));
            handshakes_now.get_or_create(&[door]).set(level(dtls.handshakes_now));
            let outcomes = [
                ("ok", dtls.handshakes_ok),
                ("failed", dtls.handshakes_failed.saturating_sub(dtls.identities_unknown)),
                ("unknown_identity", dtls.identities_unknown),
                ("refused", dtls.handshakes_refused),
            ];
            count(&handshakes, door, "outcome", outcomes);
            count(&datagrams, door, "direction", [("in", dtls.datagrams_in), ("out", dtls.datagrams_out)]);
            let traffic = dtls.traffic;
            let both = [
                ("in", traffic.handshake_in + traffic.application_in),
                ("out", traffic.handshake_out + traffic.application_out),
            ];
            count(&bytes, door, "direction", both);
            let reasons = [
                ("no_dtls", dtls.malformed),
                ("no_session", dtls.rejected),
                ("no_coap", coap.malformed),
                ("duplicate", coap.duplicates),
                ("unmatched", coap.unmatched),
                ("peer_table_full", coap.peers_refused),
                ("peer_too_busy", coap.exchanges_refused),
                ("server_too_busy", all.requests_refused),
                ("unsent", all.datagrams_unsent),
                ("too_many_lookups", dtls.keys_refused + dtls.wakes_refused + all.lookups_refused),
            ];
            count(&dropped, door, "reason", reasons);
            let turns = [
                ("hibernated", dtls.sessions_hibernated),
                ("resumed", dtls.sessions_resumed),
                ("moved", dtls.rebinds),
                ("evicted", dtls.sessions_evicted),
            ];
            count(&lives, door, "what", turns);
            waiting.get_or_create(&[door]).set(level(dtls.keys_awaited_now + dtls.wakes_now));
            let told = [
                ("received", coap.received),
                ("sent", coap.sent),
                ("retransmitted", coap.retransmissions),
                ("response_lost", coap.responses_lost),
            ];
            count(&messages, door, "what", told);
        }
        let all = &mut self.ours;
        all.register("sessions", "Sessions established now", sessions);
        all.register("session_turns", "What became of sessions that were established", lives);
        all.register("lookups_pending", "Keys and sleeping sessions that are being looked up now", waiting);
        all.register("handshakes_in_progress", "Handshakes under way now", handshakes_now);
        all.register("handshakes", "Handshakes that ended, and those that were not begun", handshakes);
        all.register("datagrams", "UDP datagrams", datagrams);
        all.register_with_unit("datagram", "UDP payload", Unit::Bytes, bytes);
        all.register("datagrams_dropped", "Datagrams and messages that were not acted on", dropped);
        all.register("coap_messages", "CoAP messages", messages);
    }

    async fn server(&mut self, core: &Core) {
        let counters = &core.counters;
        let turned: Family<_, Counter> = Family::default();
        for (reason, counter) in [("malformed", &counters.malformed), ("wrong_mac", &counters.wrong_mac)] {
            turned.get_or_create(&[("reason", reason)]).inc_by(counter.load(Ordering::Relaxed));
        }
        self.ours.register(
            "messages_turned_away",
            "Update requests and reports that nothing was answered to",
            turned,
        );
        self.gauge_in(Unit::Seconds, "start_time", "When the server started, since 1970", core.started);
        let readiness = core.readiness().await;
        self.gauge("ready", "1 where the server can do its work", u64::from(readiness.ready));
        let checks: Family<_, Gauge> = Family::default();
        for check in &readiness.checks {
            checks.get_or_create(&[("check", check.name.clone())]).set(check.state as i64);
        }
        self.ours.register("check_state", "0 ok, 1 degraded, 2 failing", checks);
        if let Some(connected) = core.metrics.is_broker_connected() {
            self.gauge("mqtt_connected", "1 while the broker can be used", u64::from(connected));
        }
    }

    async fn ledger(&mut self, core: &Core) {
        let Ok(figures) = core.store.figures(&core.tenant).await else { return };
        self.gauge("ledger_last_event", "Number of the last event in the ledger", figures.events);
        if let Ok(cut) = core.store.cut(&core.tenant).await {
            let first = cut.map_or(1, |cut| cut.kept_from);
            self.gauge("ledger_whole_from", "Number of the event from which on the ledger is whole", first);
        }
        self.gauge("devices", "Devices enrolled", figures.devices);
        self.gauge("gateways", "Gateways enrolled", figures.gateways);
        let stages: Family<_, Gauge> = Family::default();
        for (campaign, stage, count) in figures.stages {
            let labels = [("campaign", campaign.0.to_string()), ("state", stage.name().to_owned())];
            stages.get_or_create(&labels).set(level(count));
        }
        self.ours.register("campaign_devices", "Devices by state, of campaigns that go on", stages);
        if core.metrics.broker.get().is_some()
            && let Ok((waiting, age)) = core.outbox(figures.events).await
        {
            self.gauge("mqtt_outbox_events", "Events that the broker has not acknowledged", waiting);
            self.gauge_in(Unit::Seconds, "mqtt_outbox_age", "Age of the oldest of them", age);
        }
    }

    fn system(&mut self, core: &Core) {
        if let Some(disk) = process::disk(&core.config.data) {
            self.gauge_in(
                Unit::Bytes,
                "data_disk_free",
                "Free on the disk of the data folder",
                disk.free_bytes,
            );
            self.gauge_in(
                Unit::Bytes,
                "data_disk_size",
                "Size of the disk of the data folder",
                disk.total_bytes,
            );
        }
        let Some(process) = process::process() else { return };
        let common = &mut self.common;
        common.register_with_unit(
            "resident_memory",
            "Memory in RAM",
            Unit::Bytes,
            ConstGauge::new(process.resident_bytes),
        );
        common.register_with_unit(
            "virtual_memory",
            "Memory asked for",
            Unit::Bytes,
            ConstGauge::new(process.virtual_bytes),
        );
        common.register_with_unit(
            "cpu",
            "CPU time, user and system",
            Unit::Seconds,
            ConstCounter::new(process.cpu_seconds),
        );
        common.register("threads", "Threads", ConstGauge::new(process.threads));
        common.register("open_fds", "Open files and sockets", ConstGauge::new(process.open_files));
    }
}

type Levels = Family<[(&'static str, &'static str); 1], Gauge>;

/// A gauge's value: an i64 holds more sessions than there are addresses.
fn level(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn count<const N: usize>(
    family: &Counts<2>,
    door: (&'static str, &'static str),
    label: &'static str,
    values: [(&'static str, u64); N],
) {
    for (name, value) in values {
        family.get_or_create(&[door, (label, name)]).inc_by(value);
    }
}

impl Core {
    /// Events that the broker has not acknowledged, and the age of the oldest in seconds.
    async fn outbox(&self, last: u64) -> Result<(u64, u64), StoreError> {
        let published = self.store.published(&self.tenant).await?;
        let oldest = self.store.events(&self.tenant, Scope::All, published, 1).await?;
        let age = oldest.first().map_or(0, |recorded| self.now().saturating_sub(recorded.event.at));
        Ok((last.saturating_sub(published), age))
    }
}
