//! No security: datagrams as they are, for devices enrolled without it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bellwether_coap::Instant;

use super::deadlines::Deadlines;
use super::{
    CloseReason, ConnectRefused, DtlsConfig, Engine, Established, Outputs, PLAINTEXT_BYTES_MAX, SendError,
};
use crate::SessionId;
use crate::counters::{EngineCounters, Traffic};

/// Passes datagrams on. A session is an address that has spoken lately; nobody is who they say.
pub struct Plain {
    config: DtlsConfig,
    sessions: HashMap<SessionId, Session>,
    addresses: HashMap<SocketAddr, SessionId>,
    idle: Deadlines,
    next_id: u64,
    counters: EngineCounters,
}

struct Session {
    address: SocketAddr,
    heard: Instant,
    traffic: Arc<Traffic>,
}

impl Plain {
    /// Makes an engine without sessions. Of `config` it heeds `sessions_max` and `session_idle_max`.
    #[must_use]
    pub fn new(config: DtlsConfig) -> Self {
        Self {
            config,
            sessions: HashMap::new(),
            addresses: HashMap::new(),
            idle: Deadlines::default(),
            next_id: 0,
            counters: EngineCounters::default(),
        }
    }

    fn session_of(&mut self, address: SocketAddr, now: Instant, out: &mut Outputs) -> SessionId {
        if let Some(&id) = self.addresses.get(&address) {
            return id;
        }
        if self.sessions.len() >= self.config.sessions_max {
            self.evict_one(out);
        }
        self.next_id += 1;
        let id = SessionId(self.next_id);
        let traffic = Arc::<Traffic>::default();
        out.established(Established { session: id, address, identity: None, traffic: Arc::clone(&traffic) });
        self.sessions.insert(id, Session { address, heard: now, traffic });
        self.addresses.insert(address, id);
        self.idle.arm(id, now.after(self.config.session_idle_max));
        id
    }

    fn evict_one(&mut self, out: &mut Outputs) {
        while let Some((checked, id)) = self.idle.pop_first() {
            match self.idle_deadline(id) {
                Some(due) if due > checked => self.idle.arm(id, due),
                _ => return self.evict(id, CloseReason::Evicted, out),
            }
        }
    }

    fn evict(&mut self, id: SessionId, reason: CloseReason, out: &mut Outputs) {
        self.counters.sessions_evicted += 1;
        self.end(id, reason, out);
    }

    fn end(&mut self, id: SessionId, reason: CloseReason, out: &mut Outputs) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        self.addresses.remove(&session.address);
        self.idle.disarm(id);
        out.closed(id, reason);
    }

    fn idle_deadline(&self, id: SessionId) -> Option<Instant> {
        let session = self.sessions.get(&id)?;
        Some(session.heard.after(self.config.session_idle_max))
    }
}

impl Engine for Plain {
    fn on_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant, out: &mut Outputs) {
        self.counters.datagrams_in += 1;
        self.counters.traffic.received(datagram.len(), false);
        let id = self.session_of(from, now, out);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.heard = now;
            session.traffic.received(datagram.len(), false);
            out.data(id, datagram);
        }
    }

    fn connect(
        &mut self,
        to: SocketAddr,
        now: Instant,
        out: &mut Outputs,
    ) -> Result<SessionId, ConnectRefused> {
        // What the peer held for the old session may be gone, so a new one begins.
        if let Some(&before) = self.addresses.get(&to) {
            self.end(before, CloseReason::Replaced, out);
        }
        Ok(self.session_of(to, now, out))
    }

    fn send(
        &mut self,
        session: SessionId,
        plaintext: &[u8],
        _now: Instant,
        out: &mut Outputs,
    ) -> Result<(), SendError> {
        let found = self.sessions.get(&session).ok_or(SendError::NoSession)?;
        if plaintext.len() > PLAINTEXT_BYTES_MAX {
            return Err(SendError::TooLong { bytes: plaintext.len() });
        }
        self.counters.datagrams_out += 1;
        self.counters.traffic.sent(plaintext.len(), false);
        found.traffic.sent(plaintext.len(), false);
        out.transmit(found.address, plaintext);
        Ok(())
    }

    fn close(&mut self, session: SessionId, _now: Instant, out: &mut Outputs) {
        self.end(session, CloseReason::Local, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outputs) {
        while let Some(id) = self.idle.pop_due(now) {
            match self.idle_deadline(id) {
                Some(due) if due > now => self.idle.arm(id, due),
                _ => self.evict(id, CloseReason::Idle, out),
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.idle.next()
    }

    fn counters(&self) -> EngineCounters {
        EngineCounters { sessions_now: self.sessions.len() as u64, ..self.counters }
    }
}
