//! DTLS 1.2 by Mbed TLS: addresses, cookies, bounds and time around its connections.

mod ffi;
mod session;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bellwether_coap::Instant;
use thiserror::Error;

use self::ffi::{Connection, Context, Fault, Progress, Role};
use self::session::{Phase, Session};
use super::admission::Admission;
use super::cookie::{Cookies, SECRET_BYTES};
use super::deadlines::Deadlines;
use super::holders::Holders;
use super::record::{
    BODY_BYTES_MAX, ClientHello, Content, Record, client_hello, hello_verify_request, records,
};
use super::{CloseReason, ConnectRefused, DtlsConfig, Engine, Outputs, PLAINTEXT_BYTES_MAX, SendError};
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
    cookies: Cookies,
    sessions: HashMap<SessionId, Session>,
    addresses: HashMap<SocketAddr, Slots>,
    holders: Holders,
    admission: Admission,
    /// Retransmissions and ends of handshakes.
    handshakes: Deadlines,
    /// When a session was last seen idle, plus `session_idle_max`: looked at again only then.
    idle: Deadlines,
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
            context: Context::new(role, config.retransmit_first)?,
            server: matches!(role, Role::Server(_)),
            cookies: Cookies::new(secret),
            sessions: HashMap::new(),
            addresses: HashMap::new(),
            holders: Holders::default(),
            admission: Admission::new(config.handshakes_in_progress_max, config.handshakes_per_address_max),
            handshakes: Deadlines::default(),
            idle: Deadlines::default(),
            next_id: 0,
            counters: EngineCounters::default(),
            plaintext: vec![0; BODY_BYTES_MAX].into_boxed_slice(),
            config,
        })
    }

    fn on_record(&mut self, from: SocketAddr, record: &Record<'_>, now: Instant, out: &mut Outputs) {
        let slots = self.addresses.get(&from).copied().unwrap_or_default();
        if record.epoch > 0 {
            return self.on_protected(slots, record, now, out);
        }
        match client_hello(record) {
            Ok(Some(hello)) if self.server => self.on_client_hello(from, slots, &hello, record, now, out),
            Ok(_) => self.on_plain(slots, record, now, out),
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// Acts on a `ClientHello`: asks for a cookie, goes on with a handshake, or begins one.
    fn on_client_hello(
        &mut self,
        from: SocketAddr,
        slots: Slots,
        hello: &ClientHello<'_>,
        record: &Record<'_>,
        now: Instant,
        out: &mut Outputs,
    ) {
        if !self.cookies.check(from, hello, now) {
            let datagram = hello_verify_request(hello, &self.cookies.make(from, hello, now));
            self.counters.cookies_sent += 1;
            self.counters.datagrams_out += 1;
            self.counters.traffic.sent(datagram.len(), true);
            return out.transmit(from, &datagram);
        }
        if self.began_with(slots.pending, hello) {
            return self.step_pending(slots, record, now, out);
        }
        if self.began_with(slots.live, hello) {
            // The network kept a copy of the ClientHello that made this session.
            self.counters.rejected += 1;
            return;
        }
        if let Some(stale) = slots.pending {
            self.fail(stale, CloseReason::Replaced, out);
        }
        let Ok(session) = self.begin(from, Some(*hello.random), now) else {
            self.counters.handshakes_refused += 1;
            return;
        };
        self.step(session, Some(record), now, out);
    }

    fn began_with(&self, session: Option<SessionId>, hello: &ClientHello<'_>) -> bool {
        session
            .and_then(|id| self.sessions.get(&id))
            .is_some_and(|session| session.hello_random.as_ref() == Some(hello.random))
    }

    /// Acts on a record in the clear that is no `ClientHello` to a server.
    fn on_plain(&mut self, slots: Slots, record: &Record<'_>, now: Instant, out: &mut Outputs) {
        if record.content == Content::Alert {
            return self.on_plain_alert(slots);
        }
        if slots.pending.is_some() {
            return self.step_pending(slots, record, now, out);
        }
        // A client that missed our last flight says its own again, beginning in the clear.
        if !self.read_live(slots, record, now, out) {
            self.counters.rejected += 1;
        }
    }

    /// Notes an alert that anybody may have sent: it counts once the peer has fallen silent.
    fn on_plain_alert(&mut self, slots: Slots) {
        self.counters.rejected += 1;
        let pending = slots.pending.and_then(|id| self.sessions.get_mut(&id));
        if let Some(Session { phase: Phase::Handshake { alerted, .. }, .. }) = pending {
            *alerted = true;
        }
    }

    /// Acts on an encrypted record: the session in use takes what is its own, the handshake that may
    /// replace it the rest.
    fn on_protected(&mut self, slots: Slots, record: &Record<'_>, now: Instant, out: &mut Outputs) {
        if self.read_live(slots, record, now, out) {
            return;
        }
        let pending = slots.pending.and_then(|id| self.sessions.get(&id));
        if pending.is_some_and(Session::awaits_encrypted) {
            return self.step_pending(slots, record, now, out);
        }
        self.counters.rejected += 1;
    }

    fn step_pending(&mut self, slots: Slots, record: &Record<'_>, now: Instant, out: &mut Outputs) {
        if let Some(pending) = slots.pending {
            self.step(pending, Some(record), now, out);
        }
    }

    /// Lets the session in use open a record; tells whether it was authentic and new.
    fn read_live(&mut self, slots: Slots, record: &Record<'_>, now: Instant, out: &mut Outputs) -> bool {
        let Some(id) = slots.live else { return false };
        let Some(session) = self.sessions.get_mut(&id) else {
            return false;
        };
        session.connection.offer(record.bytes, now);
        let outcome = session.read_all(id, &mut self.plaintext, out);
        if matches!(outcome, Ok(count) if count > 0) {
            session.heard = now;
            session.traffic.received(record.bytes.len(), record.is_handshake_traffic());
        }
        // Only a peer that repeats its last flight makes us write here: it gets ours again.
        let answered = self.flush(id, true, out) > 0;
        match outcome {
            Ok(count) => count > 0 || answered,
            Err(fault) => {
                self.end(id, closed_by(fault), out);
                true
            }
        }
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
        let Ok(connection) = Connection::new(&self.context) else {
            self.admission.end(address.ip());
            return Err(ConnectRefused::Setup);
        };
        self.next_id += 1;
        let id = SessionId(self.next_id);
        let give_up = now.after(self.config.handshake_timeout);
        self.sessions.insert(id, Session::new(connection, address, hello_random, give_up, now));
        self.addresses.entry(address).or_default().pending = Some(id);
        self.counters.handshakes_begun += 1;
        Ok(id)
    }

    /// Moves a handshake on, by a record or because it is time to.
    fn step(&mut self, id: SessionId, record: Option<&Record<'_>>, now: Instant, out: &mut Outputs) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if let Some(record) = record {
            session.note(record);
        }
        let progress = session.connection.handshake(record.map(|record| record.bytes), now);
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
        session.phase = Phase::Live;
        session.heard = now;
        let established = session.established(id);
        let address = session.address;
        self.admission.end(address.ip());
        self.handshakes.disarm(id);
        self.counters.handshakes_ok += 1;
        let slots = self.addresses.entry(address).or_default();
        slots.pending = None;
        if let Some(replaced) = slots.live.replace(id) {
            self.drop_live(replaced, CloseReason::Replaced, out);
        }
        if self.counters.sessions_now >= self.config.sessions_max as u64 {
            self.evict_one(now, out);
        }
        self.counters.sessions_now += 1;
        let most = self.config.sessions_per_identity_max;
        let surplus = established.identity.as_ref().and_then(|identity| self.holders.add(identity, id, most));
        if let Some(oldest) = surplus {
            self.evict(oldest, CloseReason::Evicted, now, out);
        }
        self.idle.arm(id, now.after(self.config.session_idle_max));
        out.established(established);
    }

    /// Ends a handshake without a session.
    fn fail(&mut self, id: SessionId, reason: CloseReason, out: &mut Outputs) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        self.admission.end(session.address.ip());
        self.handshakes.disarm(id);
        self.release_address(session.address, id);
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
        let identity = self.sessions.remove(&id).and_then(|session| session.established(id).identity);
        if let Some(identity) = identity {
            self.holders.remove(&identity, id);
        }
        self.idle.disarm(id);
        self.counters.sessions_now = self.counters.sessions_now.saturating_sub(1);
        out.closed(id, reason);
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

    /// Closes the session that has been idle longest.
    fn evict_one(&mut self, now: Instant, out: &mut Outputs) {
        while let Some((checked, id)) = self.idle.pop_first() {
            // A session heard since it was queued goes back to its true place, so the first one that
            // is in its true place has waited longest. Each return is paid for by a datagram.
            match self.idle_deadline(id) {
                Some(due) if due > checked => self.idle.arm(id, due),
                _ => return self.evict(id, CloseReason::Evicted, now, out),
            }
        }
    }

    fn evict(&mut self, id: SessionId, reason: CloseReason, now: Instant, out: &mut Outputs) {
        self.counters.sessions_evicted += 1;
        self.say_goodbye(id, now, out);
        self.end(id, reason, out);
    }

    fn idle_deadline(&self, id: SessionId) -> Option<Instant> {
        let session = self.sessions.get(&id)?;
        Some(session.heard.after(self.config.session_idle_max))
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
            self.counters.traffic.received(record.bytes.len(), record.is_handshake_traffic());
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

    fn handle_timeout(&mut self, now: Instant, out: &mut Outputs) {
        while let Some(id) = self.handshakes.pop_due(now) {
            self.on_handshake_due(id, now, out);
        }
        while let Some(id) = self.idle.pop_due(now) {
            match self.idle_deadline(id) {
                Some(due) if due > now => self.idle.arm(id, due),
                _ => self.evict(id, CloseReason::Idle, now, out),
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.handshakes.next().into_iter().chain(self.idle.next()).min()
    }

    fn counters(&self) -> EngineCounters {
        EngineCounters { handshakes_now: self.admission.in_progress() as u64, ..self.counters }
    }
}

fn closed_by(fault: Fault) -> CloseReason {
    match fault {
        Fault::CloseNotify => CloseReason::Peer,
        Fault::Alert => CloseReason::PeerAlert,
        Fault::Code(_) => CloseReason::PeerFault,
    }
}
