//! Sessions that sleep: hibernated when idle, fetched when a record comes for them.

use std::collections::HashMap;
use std::net::SocketAddr;

use bellwether_coap::Instant;

use super::MbedTls;
use super::ffi::Connection;
use super::session::Session;
use crate::SessionId;
use crate::dtls::admission::Admission;
use crate::dtls::deadlines::Deadlines;
use crate::dtls::record::{Record, records};
use crate::dtls::{CloseReason, Dormant, DtlsConfig, Outputs, cid};

/// Sessions that are being fetched, and the records that wait for them.
pub(super) struct Wakes {
    held: HashMap<SessionId, Vec<Held>>,
    /// Each counts for the place that its first record came from.
    admission: Admission,
    give_up: Deadlines,
}

impl Wakes {
    pub(super) fn new(config: &DtlsConfig) -> Self {
        Self {
            held: HashMap::new(),
            admission: Admission::new(config.wakes_max, config.wakes_per_address_max),
            give_up: Deadlines::default(),
        }
    }

    /// Takes what waits for a session that is not awaited any more.
    fn take(&mut self, id: SessionId) -> Vec<Held> {
        self.give_up.disarm(id);
        let held = self.held.remove(&id).unwrap_or_default();
        if let Some((from, _)) = held.first() {
            self.admission.end(from.ip());
        }
        held
    }
}

/// A record, and where it came from.
type Held = (SocketAddr, Box<[u8]>);

impl MbedTls {
    pub(super) fn keeps_sleepers(&self) -> bool {
        self.server && self.config.hibernate_after.is_some()
    }

    pub(super) fn is_waking(&self, id: SessionId) -> bool {
        self.wakes.held.contains_key(&id)
    }

    pub(super) fn wakes_now(&self) -> usize {
        self.wakes.admission.in_progress()
    }

    pub(super) fn next_wake_timeout(&self) -> Option<Instant> {
        self.wakes.give_up.next()
    }

    /// Drops records whose session nobody brought in time.
    pub(super) fn give_up_wakes(&mut self, now: Instant) {
        while let Some(id) = self.wakes.give_up.pop_due(now) {
            self.counters.rejected += self.wakes.take(id).len() as u64;
        }
    }

    /// Tells when an established session has been idle for long enough, if nothing more is heard of it.
    pub(super) fn idle_deadline(&self, id: SessionId) -> Option<Instant> {
        let session = self.sessions.get(&id)?;
        let after = self.config.hibernate_after.filter(|_| self.server && session.has_cid);
        Some(
            session
                .heard
                .after(after.unwrap_or(self.config.session_idle_max).min(self.config.session_idle_max)),
        )
    }

    /// Hibernates or closes a session that was idle for long; one that can't be hibernated yet is kept for
    /// `session_idle_max`, and looked at again on the way.
    pub(super) fn on_idle_due(&mut self, id: SessionId, now: Instant, out: &mut Outputs) {
        let Some(due) = self.idle_deadline(id) else { return };
        if due > now {
            return self.idle.arm(id, due);
        }
        let Some(session) = self.sessions.get(&id) else { return };
        let (end, has_cid) = (session.heard.after(self.config.session_idle_max), session.has_cid);
        if self.keeps_sleepers() && has_cid && self.hibernate(id, now, out) {
            return;
        }
        match self.config.hibernate_after {
            Some(after) if end > now => self.idle.arm(id, now.after(after).min(end)),
            _ => self.evict(id, CloseReason::Idle, now, out),
        }
    }

    /// Gives a session out of memory; `false` if it has to stay.
    pub(super) fn hibernate(&mut self, id: SessionId, now: Instant, out: &mut Outputs) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let Some(dormant) = session.hibernate(id, now) else { return false };
        self.release_address(dormant.address, id);
        self.leave(id);
        self.counters.sessions_hibernated += 1;
        out.hibernated(dormant);
        true
    }

    /// Keeps a record of a session that is not in memory, and asks for it.
    pub(super) fn on_record_of_absent(
        &mut self,
        from: SocketAddr,
        id: SessionId,
        record: &Record<'_>,
        now: Instant,
        out: &mut Outputs,
    ) {
        if !self.keeps_sleepers() {
            self.counters.rejected += 1;
            return;
        }
        if let Some(held) = self.wakes.held.get_mut(&id) {
            if held.len() < HELD_RECORDS_MAX {
                held.push((from, record.bytes.into()));
            } else {
                self.counters.wakes_refused += 1;
            }
            return;
        }
        if !self.wakes.admission.begin(from.ip()) {
            self.counters.wakes_refused += 1;
            return;
        }
        self.wakes.held.insert(id, vec![(from, record.bytes.into())]);
        self.wakes.give_up.arm(id, now.after(self.config.handshake_timeout));
        self.counters.wakes_asked += 1;
        out.wanted(id);
    }

    /// Goes on with a session that was fetched, or drops what waited for it.
    pub(super) fn on_fetched(
        &mut self,
        id: SessionId,
        dormant: Option<Dormant>,
        now: Instant,
        out: &mut Outputs,
    ) -> bool {
        let held = self.wakes.take(id);
        let goes_on = dormant.is_some_and(|dormant| self.wake(id, &dormant, now, out));
        if !goes_on {
            self.counters.rejected += held.len() as u64;
        }
        for (from, bytes) in held.iter().filter(|_| goes_on) {
            if let Some(Ok(record)) = records(bytes).next() {
                self.open_cid_record(*from, id, &record, now, out);
            }
        }
        goes_on
    }

    fn wake(&mut self, id: SessionId, dormant: &Dormant, now: Instant, out: &mut Outputs) -> bool {
        let is_ours = self.server && dormant.session == id && cid::shard(id) == self.config.shard;
        if !is_ours || self.sessions.contains_key(&id) {
            return false;
        }
        let (secret, floor) = (dormant.secret(), dormant.sequence_floor());
        let Ok(connection) = Connection::load(&self.context, cid::write(id), secret, floor) else {
            return false;
        };
        let session = Session::resumed(connection, dormant, now);
        let established = session.established(id);
        self.sessions.insert(id, session);
        self.addresses.entry(dormant.address).or_default().live.get_or_insert(id);
        self.enter(id, Some(&dormant.identity), now, out);
        self.counters.sessions_resumed += 1;
        out.resumed(established);
        true
    }
}

/// Records that wait for one session: a request of two blocks and what is said again of them.
const HELD_RECORDS_MAX: usize = 4;
