//! What is counted: per session while it runs, and over a whole shard.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bellwether_coap::Instant;

/// Counts the UDP payload bytes of one session, handshake apart. Written by the shard, read by anyone.
///
/// On the server the first `ClientHello` and its `HelloVerifyRequest` are in the shard's figures only: no
/// session exists when they pass.
#[derive(Debug, Default)]
pub struct Traffic {
    handshake_in: AtomicU64,
    handshake_out: AtomicU64,
    application_in: AtomicU64,
    application_out: AtomicU64,
    /// When the last message came, in microseconds of the shard's clock.
    heard_us: AtomicU64,
}

/// Bytes of UDP payload, both ways.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TrafficBytes {
    /// Records of handshakes received, retransmissions included.
    pub handshake_in: u64,
    /// Records of handshakes sent, retransmissions included.
    pub handshake_out: u64,
    /// Everything else received: CoAP messages with their record overhead, alerts.
    pub application_in: u64,
    /// Everything else sent.
    pub application_out: u64,
}

impl Traffic {
    /// Reads the four counts.
    #[must_use]
    pub fn bytes(&self) -> TrafficBytes {
        TrafficBytes {
            handshake_in: self.handshake_in.load(Ordering::Relaxed),
            handshake_out: self.handshake_out.load(Ordering::Relaxed),
            application_in: self.application_in.load(Ordering::Relaxed),
            application_out: self.application_out.load(Ordering::Relaxed),
        }
    }

    /// Counts what came, in bytes of UDP payload.
    pub fn received(&self, bytes: usize, handshake: bool) {
        let counter = if handshake { &self.handshake_in } else { &self.application_in };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes that a message of the peer came, which is that peer's beyond doubt.
    pub(crate) fn heard(&self, now: Instant) {
        self.heard_us.store(u64::try_from(now.0.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Tells how long ago the last message came; since the shard's start, where none did.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.0.saturating_sub(Duration::from_micros(self.heard_us.load(Ordering::Relaxed)))
    }

    /// Counts what was sent, in bytes of UDP payload.
    pub fn sent(&self, bytes: usize, handshake: bool) {
        let counter = if handshake { &self.handshake_out } else { &self.application_out };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Totals of one engine since it was made; they only grow, but for those that end in `_now`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EngineCounters {
    /// UDP payload bytes of everybody, those without a session included.
    pub traffic: TrafficBytes,
    /// Datagrams handed in.
    pub datagrams_in: u64,
    /// Datagrams handed out.
    pub datagrams_out: u64,
    /// Datagrams that are not, or not wholly, made of DTLS 1.2 records.
    pub malformed: u64,
    /// Well-formed records that no session could use: forged, tampered, replayed, late, of nobody.
    pub rejected: u64,
    /// `ClientHello`s without a good cookie, answered by a `HelloVerifyRequest` and forgotten.
    pub cookies_sent: u64,
    /// Handshakes begun, both roles.
    pub handshakes_begun: u64,
    /// Handshakes that ended in a session.
    pub handshakes_ok: u64,
    /// Handshakes that ended otherwise.
    pub handshakes_failed: u64,
    /// Of the failed ones: those of an identity nobody has.
    pub identities_unknown: u64,
    /// Verified `ClientHello`s dropped since as many handshakes ran as allowed.
    pub handshakes_refused: u64,
    /// Sessions closed to make room, or after `session_idle_max`.
    pub sessions_evicted: u64,
    /// Idle sessions given out of memory, to be kept elsewhere.
    pub sessions_hibernated: u64,
    /// Hibernated sessions that went on.
    pub sessions_resumed: u64,
    /// Times a peer went on from another address, by its connection ID.
    pub rebinds: u64,
    /// Keys that the store did not have in memory, asked of the owner.
    pub keys_asked: u64,
    /// Handshakes that were not let wait for their key, since as many wait as allowed.
    pub keys_refused: u64,
    /// Hibernated sessions asked of the owner since a record came for them.
    pub wakes_asked: u64,
    /// Records for hibernated sessions dropped since as many wait as allowed.
    pub wakes_refused: u64,
    /// Handshakes in progress now.
    pub handshakes_now: u64,
    /// Sessions established now.
    pub sessions_now: u64,
    /// Handshakes that wait for their key now.
    pub keys_awaited_now: u64,
    /// Hibernated sessions that are being fetched for a record now.
    pub wakes_now: u64,
}

impl TrafficBytes {
    pub(crate) fn received(&mut self, bytes: usize, handshake: bool) {
        *(if handshake { &mut self.handshake_in } else { &mut self.application_in }) += bytes as u64;
    }

    pub(crate) fn sent(&mut self, bytes: usize, handshake: bool) {
        *(if handshake { &mut self.handshake_out } else { &mut self.application_out }) += bytes as u64;
    }
}

/// Totals of one shard since its start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Datagrams, handshakes and sessions.
    pub sessions: EngineCounters,
    /// CoAP messages and exchanges.
    pub coap: bellwether_coap::Counters,
    /// Datagrams that came while the shard did not listen.
    pub datagrams_missed: u64,
    /// Datagrams that the socket did not take, or that are longer than a record.
    pub datagrams_unsent: u64,
    /// Requests answered by 5.03 since the owner had no room for their event.
    pub requests_refused: u64,
    /// Keys and sessions not asked of the owner since it had no room for the event.
    pub lookups_refused: u64,
}
