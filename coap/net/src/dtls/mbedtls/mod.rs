//! DTLS 1.2 by Mbed TLS: addresses, connection IDs, cookies, bounds and time around its connections.

mod ffi;
mod incoming;
mod keys;
mod saved;
mod session;
mod sleep;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bellwether_coap::Instant;
use thiserror::Error;

use self::ffi::{Connection, Context, Fault, Found, Progress, Role};
use self::session::{Phase, Session};
use self::sleep::Wakes;
use super::admission::Admission;
use super::cid::{self, Cids};
use super::cookie::{Cookies, SECRET_BYTES};
use super::deadlines::Deadlines;
use super::holders::Holders;
use super::record::{BODY_BYTES_MAX, records};
use super::{
    CloseReason, ConnectRefused, Dormant, DtlsConfig, Engine, Outputs, PLAINTEXT_BYTES_MAX, SendError,
};
use crate::SessionId;
use crate::counters::EngineCounters;
use crate::entropy::{self, EntropyError};
use crate::psk::{PskStore, Secret};

pub use self::ffi::SetupError;

/// Secures datagrams by DTLS 1.2 with PSK-AES128-CCM8.
pub struct MbedTls {
    context: Rc<Context>,
    server: bool,
    config: DtlsConfig,
    cids: Cids,
    cookies: Cookies,
    sessions: HashMap<SessionId, Session>,
    addresses: HashMap<SocketAddr, Slots>,
    holders: Holders,
    admission: Admission,
    /// Retransmissions and ends of handshakes.
    handshakes: Deadlines,
    /// When a session was last seen idle, plus `hibernate_after` or `session_idle_max`: looked at again only then.
    idle: Deadlines,
    /// Hibernated sessions that a record came for.
    wakes: Wakes,
    /// Handshakes that wait for their key.
    keys_awaited: usize,
    keys: Option<Arc<dyn PskStore>>,
    next_id: u64,
    counters: EngineCounters,
    plaintext: Box<[u8]>,
}

/// The sessions of one address: one in use, and one that may replace it once verified.
#[derive(Clone, Copy, Default)]
struct Slots {
    live: Option<SessionId>,
    pending: Option<SessionId>,
}

/// Tells why an engine could not be made.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum EngineError {
    /// The operating system has no randomness for us.
    #[error("no randomness for cookies")]
    Entropy(#[from] EntropyError),
    /// Mbed TLS has no memory, or takes the identity or key for unusable.
    #[error("the DTLS engine could not be set up")]
    Setup(#[from] SetupError),
}

impl MbedTls {
    /// Makes an engine that answers clients whose keys `store` has.
    ///
    /// # Errors
    ///
    /// [`EngineError`] if randomness or memory is missing.
    pub fn server(store: Arc<dyn PskStore>, config: DtlsConfig) -> Result<Self, EngineError> {
        Self::new(&Role::Server(store), config)
    }

    /// Makes an engine that begins sessions under one identity.
    ///
    /// # Errors
    ///
    /// [`EngineError`] if randomness or memory is missing, or the identity is empty or too long.
    pub fn client(identity: Vec<u8>, key: Secret, config: DtlsConfig) -> Result<Self, EngineError> {
        Self::new(&Role::Client { identity, key }, config)
    }

    fn new(role: &Role, config: DtlsConfig) -> Result<Self, EngineError> {
        let mut secret = [0; SECRET_BYTES];
        entropy::fill(&mut secret)?;
        Ok(Self {
            context: Context::new(role, &config)?,
            server: matches!(role, Role::Server(_)),
            cids: Cids::new(config.shard, config.cid_secret.as_ref())?,
            cookies: Cookies::new(secret),
            sessions: HashMap::new(),
            addresses: HashMap::new(),
            holders: Holders::default(),
            admission: Admission::new(config.handshakes_in_progress_max, config.handshakes_per_address_max),
            handshakes: Deadlines::default(),
            idle: Deadlines::default(),
            wakes: Wakes::new(&config),
            keys_awaited: 0,
            keys: match role {
                Role::Server(store) => Some(Arc::clone(store)),
                Role::Client { .. } => None,
            },
            next_id: 0,
            counters: EngineCounters::default(),
            plaintext: vec![0; BODY_BYTES_MAX].into_boxed_slice(),
            config,
        })
    }

    /// Allocates a handshake with `address`.
    fn begin(
        &mut self,
        address: SocketAddr,
        hello_random: Option<[u8; 32]>,
        now: Instant,
    ) -> Result<SessionId, ConnectRefused> {
        if !self.admission.begin(address.ip()) {
            return Err(ConnectRefused::TooManyHandshakes);
        }
        let Some((id, connection)) = self.name_and_connection() else {
            self.admission.end(address.ip());
            return Err(ConnectRefused::Setup);
        };
        let give_up = now.after(self.config.handshake_timeout);
        self.sessions.insert(id, Session::new(connection, address, hello_random, give_up, now));
        self.addresses.entry(address).or_default().pending = Some(id);
        self.counters.handshakes_begun += 1;
        Ok(id)
    }

    /// Names a new session: on a server by the connection ID that it offers, on a client by a number.
    fn name_and_connection(&mut self) -> Option<(SessionId, Connection)> {
        if !self.server {
            self.next_id += 1;
            return Some((SessionId(self.next_id), Connection::new(&self.context, None).ok()?));
        }
        loop {
            let id = self.cids.draw().ok()?;
            if !self.sessions.contains_key(&id) && !self.is_waking(id) {
                return Some((id, Connection::new(&self.context, Some(cid::write(id))).ok()?));
            }
        }
    }

    /// Moves a handshake on, by a record or because it is time to.
    fn step(
        &mut self,
        id: SessionId,
        record: Option<(&[u8], Option<Found>)>,
        now: Instant,
        out: &mut Outputs,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let (record, found) = record.map_or((None, None), |(bytes, found)| (Some(bytes), found));
        let progress = session.connection.handshake(record, found, now);
        self.flush(id, true, out);
        match progress {
            Progress::Waiting => self.rearm(id),
            Progress::Done => self.establish(id, now, out),
            Progress::Failed(Fault::Alert | Fault::CloseNotify) => {
                self.fail(id, CloseReason::HandshakeRefused, out);
            }
            Progress::Failed(Fault::Code(_)) => self.fail(id, CloseReason::HandshakeFailed, out),
        }
    }

    fn rearm(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        if let Phase::Handshake { give_up, .. } = session.phase {
            let at = session.connection.deadline().map_or(give_up, |at| at.min(give_up));
            self.handshakes.arm(id, at);
        }
    }

    /// Makes a verified handshake the session in use of its address.
    fn establish(&mut self, id: SessionId, now: Instant, out: &mut Outputs) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.go_live(now);
        let established = session.established(id);
        let address = session.address;
        self.admission.end(address.ip());
        self.handshakes.disarm(id);
        self.counters.handshakes_ok += 1;
        let slots = self.addresses.entry(address).or_default();
        slots.pending = None;
        if let Some(before) = slots.live.replace(id)
            && !self.is_found_elsewhere(before, established.identity.as_deref())
        {
            self.drop_live(before, CloseReason::Replaced, out);
        }
        self.enter(id, established.identity.as_ref(), now, out);
        out.established(established);
    }

    /// Tells whether a session whose address has gone to another one's goes on by its connection ID: unless it is
    /// of the same peer, which has begun anew.
    fn is_found_elsewhere(&self, id: SessionId, identity: Option<&str>) -> bool {
        self.sessions
            .get(&id)
            .is_some_and(|session| session.has_cid && session.identity.as_deref() != identity)
    }

    /// Counts a session among those in use, and makes room for it.
    fn enter(&mut self, id: SessionId, identity: Option<&Arc<str>>, now: Instant, out: &mut Outputs) {
        if self.counters.sessions_now >= self.config.sessions_max as u64 {
            self.evict_one(now, out);
        }
        self.counters.sessions_now += 1;
        let most = self.config.sessions_per_identity_max;
        if let Some(oldest) = identity.and_then(|identity| self.holders.add(identity, id, most)) {
            // Who repeats a record of a session that was left behind wakes it: that must not end the one in use.
            if !(self.keeps_sleepers() && self.hibernate(oldest, now, out)) {
                self.evict(oldest, CloseReason::Evicted, now, out);
            }
        }
        if let Some(due) = self.idle_deadline(id) {
            self.idle.arm(id, due);
        }
    }

    /// Ends a handshake without a session.
    fn fail(&mut self, id: SessionId, reason: CloseReason, out: &mut Outputs) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        self.admission.end(session.address.ip());
        self.handshakes.disarm(id);
        self.release_address(session.address, id);
        self.forget_key(&session);
        self.counters.handshakes_failed += 1;
        if session.connection.shown().is_some_and(|shown| !shown.known) {
            self.counters.identities_unknown += 1;
        }
        // On a server nobody has heard of this session yet.
        if !self.server {
            out.closed(id, reason);
        }
    }

    /// Ends an established session and frees its address.
    fn end(&mut self, id: SessionId, reason: CloseReason, out: &mut Outputs) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        self.release_address(session.address, id);
        self.drop_live(id, reason, out);
    }

    fn drop_live(&mut self, id: SessionId, reason: CloseReason, out: &mut Outputs) {
        self.leave(id);
        out.closed(id, reason);
    }

    /// Takes a session out of those in use.
    fn leave(&mut self, id: SessionId) {
        if let Some(identity) = self.sessions.remove(&id).and_then(|session| session.identity) {
            self.holders.remove(&identity, id);
        }
        self.idle.disarm(id);
        self.counters.sessions_now = self.counters.sessions_now.saturating_sub(1);
    }

    fn release_address(&mut self, address: SocketAddr, id: SessionId) {
        let Some(slots) = self.addresses.get_mut(&address) else {
            return;
        };
        slots.live = slots.live.filter(|&live| live != id);
        slots.pending = slots.pending.filter(|&pending| pending != id);
        if slots.live.is_none() && slots.pending.is_none() {
            self.addresses.remove(&address);
        }
    }

    /// Hibernates or closes the session that has been idle longest.
    fn evict_one(&mut self, now: Instant, out: &mut Outputs) {
        while let Some((checked, id)) = self.idle.pop_first() {
            // A session heard since it was queued goes back to its true place, so the first one that
            // is in its true place has waited longest. Each return is paid for by a datagram.
            match self.idle_deadline(id) {
                Some(due) if due > checked => self.idle.arm(id, due),
                _ if self.keeps_sleepers() && self.hibernate(id, now, out) => return,
                _ => return self.evict(id, CloseReason::Evicted, now, out),
            }
        }
    }

    fn evict(&mut self, id: SessionId, reason: CloseReason, now: Instant, out: &mut Outputs) {
        self.counters.sessions_evicted += 1;
        self.say_goodbye(id, now, out);
        self.end(id, reason, out);
    }

    fn say_goodbye(&mut self, id: SessionId, now: Instant, out: &mut Outputs) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.connection.close_notify(now);
            self.flush(id, false, out);
        }
    }

    /// Hands out what Mbed TLS wrote for `id`; tells how many datagrams.
    fn flush(&mut self, id: SessionId, handshake: bool, out: &mut Outputs) -> usize {
        let Some(session) = self.sessions.get(&id) else {
            return 0;
        };
        let mut count = 0;
        self.context.drain_outgoing(|datagram| {
            count += 1;
            session.traffic.sent(datagram.len(), handshake);
            self.counters.datagrams_out += 1;
            self.counters.traffic.sent(datagram.len(), handshake);
            out.transmit(session.address, datagram);
        });
        count
    }

    fn on_handshake_due(&mut self, id: SessionId, now: Instant, out: &mut Outputs) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        match session.phase {
            Phase::Handshake { alerted: true, .. } => self.fail(id, CloseReason::HandshakeRefused, out),
            Phase::Handshake { give_up, .. } if give_up <= now => {
                self.fail(id, CloseReason::HandshakeTimeout, out);
            }
            Phase::Handshake { .. } => self.step(id, None, now, out),
            Phase::Live => {}
        }
    }
}

impl Engine for MbedTls {
    fn on_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant, out: &mut Outputs) {
        self.counters.datagrams_in += 1;
        for record in records(datagram) {
            let Ok(record) = record else {
                self.counters.malformed += 1;
                return;
            };
            self.on_record(from, &record, now, out);
        }
    }

    fn connect(
        &mut self,
        to: SocketAddr,
        now: Instant,
        out: &mut Outputs,
    ) -> Result<SessionId, ConnectRefused> {
        if self.server {
            return Err(ConnectRefused::ServerRole);
        }
        if let Some(stale) = self.addresses.get(&to).and_then(|slots| slots.pending) {
            self.fail(stale, CloseReason::Replaced, out);
        }
        let session = self.begin(to, None, now)?;
        self.step(session, None, now, out);
        Ok(session)
    }

    fn send(
        &mut self,
        session: SessionId,
        plaintext: &[u8],
        now: Instant,
        out: &mut Outputs,
    ) -> Result<(), SendError> {
        let Some(found) = self.sessions.get_mut(&session).filter(|found| found.is_live()) else {
            return Err(SendError::NoSession);
        };
        if plaintext.is_empty() || plaintext.len() > PLAINTEXT_BYTES_MAX {
            return Err(SendError::TooLong { bytes: plaintext.len() });
        }
        let outcome = found.connection.write(plaintext, now);
        self.flush(session, false, out);
        outcome.map_err(|_| {
            self.end(session, CloseReason::Exhausted, out);
            SendError::NoSession
        })
    }

    fn close(&mut self, session: SessionId, now: Instant, out: &mut Outputs) {
        match self.sessions.get(&session).map(Session::is_live) {
            Some(true) => {
                self.say_goodbye(session, now, out);
                self.end(session, CloseReason::Local, out);
            }
            Some(false) => self.fail(session, CloseReason::Local, out),
            None => {}
        }
    }

    fn close_all_of(&mut self, identity: &str, now: Instant, out: &mut Outputs) {
        let theirs = self.sessions.iter().filter(|(_, session)| session.named() == Some(identity));
        let mut theirs: Vec<_> = theirs.map(|(id, _)| *id).collect();
        theirs.sort_unstable();
        for id in theirs {
            self.close(id, now, out);
        }
    }

    fn supply_key(&mut self, session: SessionId, key: Option<Secret>, now: Instant, out: &mut Outputs) {
        self.on_key(session, key, now, out);
    }

    fn resume(
        &mut self,
        session: SessionId,
        dormant: Option<Dormant>,
        now: Instant,
        out: &mut Outputs,
    ) -> bool {
        self.on_fetched(session, dormant, now, out)
    }

    fn hibernates(&self) -> bool {
        self.keeps_sleepers()
    }

    fn hibernate_all(&mut self, now: Instant, out: &mut Outputs) {
        let mut sessions: Vec<_> = self.sessions.keys().copied().collect();
        sessions.sort_unstable();
        for session in sessions {
            self.hibernate(session, now, out);
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outputs) {
        while let Some(id) = self.handshakes.pop_due(now) {
            self.on_handshake_due(id, now, out);
        }
        while let Some(id) = self.idle.pop_due(now) {
            self.on_idle_due(id, now, out);
        }
        self.give_up_wakes(now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let wakes = self.next_wake_timeout();
        self.handshakes.next().into_iter().chain(self.idle.next()).chain(wakes).min()
    }

    fn counters(&self) -> EngineCounters {
        EngineCounters {
            handshakes_now: self.admission.in_progress() as u64,
            keys_awaited_now: self.keys_awaited as u64,
            wakes_now: self.wakes_now() as u64,
            ..self.counters
        }
    }
}
