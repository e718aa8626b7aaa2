//! Sessions as DTLS makes them, without its cryptography, so that a run can be repeated to the byte.
//!
//! It does what the DTLS engine promises: a handshake of two round trips in which the client shows that it has the key
//! of its identity; a session that has a number of its own and so survives that its client's address changes; a record
//! that comes twice is dropped; what no session can use is dropped without an answer. A server's session that is idle is
//! given to whoever keeps it, and asked for again. It secures nothing.

mod sleep;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bellwether_net::coap::Instant;
use bellwether_net::dtls::{
    CloseReason, ConnectRefused, Engine, Established, Outputs, PLAINTEXT_BYTES_MAX, SendError,
};
use bellwether_net::{Dormant, DtlsConfig, EngineCounters, Lookup, PskStore, Secret, SessionId, Traffic};
use sha2::{Digest as _, Sha256};

use self::sleep::Waiting;
use self::wire::{Message, SessionNumber, Window};
use super::dice::Dice;

/// Which end this is, and the keys that it knows.
pub(super) enum Role {
    /// Answers; the store knows the clients' keys.
    Server(Arc<dyn PskStore>),
    /// Begins, under one identity.
    Client {
        /// Name of the key.
        identity: String,
        /// The key.
        key: Secret,
    },
}

/// The engine of one socket.
pub(super) struct Bare {
    role: Role,
    config: DtlsConfig,
    dice: Dice,
    sessions: BTreeMap<SessionId, Session>,
    /// Who has to wait for the key of an identity.
    asked: BTreeMap<SessionId, Hello>,
    /// Records of sessions that are being looked for.
    wanted: BTreeMap<SessionId, Vec<Waiting>>,
    last_id: u64,
    counters: EngineCounters,
}

/// A client's first message.
#[derive(Clone, PartialEq)]
struct Hello {
    from: SocketAddr,
    nonce: u64,
    proof: [u8; 32],
    identity: Arc<str>,
}

struct Session {
    stage: Stage,
    address: SocketAddr,
    identity: Option<Arc<str>>,
    /// Drawn by the client, to tell its handshakes apart.
    nonce: u64,
    /// Drawn by the server.
    number: Option<SessionNumber>,
    sent: u64,
    window: Window,
    heard: Instant,
    /// How old it was when it came here, and when that was.
    age: Duration,
    since: Instant,
    traffic: Arc<Traffic>,
}

enum Stage {
    /// A client waits for the answer of its last message, and sends it again.
    Asking {
        again: Instant,
        wait: Duration,
        give_up: Instant,
    },
    /// A server waits for the client's proof.
    Offered {
        give_up: Instant,
    },
    Established,
}

impl Bare {
    /// Makes an engine without sessions; `dice` draw its nonces and session numbers.
    pub(super) fn new(role: Role, config: DtlsConfig, dice: Dice) -> Self {
        let (sessions, counters) = (BTreeMap::new(), EngineCounters::default());
        let (asked, wanted) = (BTreeMap::new(), BTreeMap::new());
        Self { role, config, dice, sessions, asked, wanted, last_id: 0, counters }
    }

    /// A server's session is named by its number, so that the name means nothing else after a restart.
    fn begin(&mut self, session: Session) -> SessionId {
        self.last_id += 1;
        let id = SessionId(session.number.map_or(self.last_id, |number| number.0));
        self.sessions.insert(id, session);
        id
    }

    fn asking(&self, now: Instant, give_up: Instant) -> Stage {
        let wait = self.config.retransmit_first;
        Stage::Asking { again: now.after(wait), wait, give_up }
    }

    fn numbered(&self, number: SessionNumber) -> Option<SessionId> {
        let found = self.sessions.iter().find(|(_, session)| session.number == Some(number));
        found.map(|(id, _)| *id)
    }

    fn transmit(&mut self, to: SocketAddr, message: &Message<'_>, out: &mut Outputs) {
        let datagram = message.encode();
        self.counters.datagrams_out += 1;
        out.transmit(to, &datagram);
    }

    /// Sends what a client's handshake has come to.
    fn ask(&mut self, id: SessionId, out: &mut Outputs) {
        let (Role::Client { identity, key }, Some(session)) = (&self.role, self.sessions.get(&id)) else {
            return;
        };
        let (to, nonce) = (session.address, session.nonce);
        let (identity, proof) = (identity.clone(), proof_of(key, nonce));
        match session.number {
            None => self.transmit(to, &Message::Hello { nonce, proof, identity: identity.as_bytes() }, out),
            Some(number) => self.transmit(to, &Message::Finish { number }, out),
        }
    }

    fn on_hello(&mut self, from: SocketAddr, hello: (u64, [u8; 32], &[u8]), now: Instant, out: &mut Outputs) {
        let (nonce, proof, identity) = hello;
        let Role::Server(store) = &self.role else { return };
        let found = store.find(identity);
        let Ok(name) = std::str::from_utf8(identity) else {
            self.counters.identities_unknown += 1;
            return self.transmit(from, &Message::Refused { nonce }, out);
        };
        let hello = Hello { from, nonce, proof, identity: name.into() };
        match found {
            Lookup::Key(key) => self.greet(&hello, Some(&key), now, out),
            Lookup::Nobody => self.greet(&hello, None, now, out),
            Lookup::Later if self.asked.values().any(|asked| *asked == hello) => {}
            Lookup::Later => {
                self.last_id += 1;
                let id = SessionId(self.last_id);
                self.counters.keys_asked += 1;
                out.key_wanted(id, Arc::clone(&hello.identity));
                self.asked.insert(id, hello);
            }
        }
    }

    fn greet(&mut self, hello: &Hello, key: Option<&Secret>, now: Instant, out: &mut Outputs) {
        let Hello { from, nonce, proof, identity } = hello.clone();
        if key.is_none_or(|key| proof_of(key, nonce) != proof) {
            self.counters.identities_unknown += 1;
            return self.transmit(from, &Message::Refused { nonce }, out);
        }
        let asked_before = |session: &&Session| session.nonce == nonce && session.address == from;
        if let Some(session) = self.sessions.values().find(asked_before) {
            if let (Stage::Offered { .. }, Some(number)) = (&session.stage, session.number) {
                self.transmit(from, &Message::Welcome { nonce, number }, out);
            }
            return;
        }
        self.counters.handshakes_begun += 1;
        let number = SessionNumber(self.dice.draw());
        let give_up = now.after(self.config.handshake_timeout);
        let mut session = Session::begun(from, now, nonce, Stage::Offered { give_up });
        (session.identity, session.number) = (Some(identity), Some(number));
        self.begin(session);
        self.transmit(from, &Message::Welcome { nonce, number }, out);
    }

    fn on_welcome(&mut self, nonce: u64, number: SessionNumber, now: Instant, out: &mut Outputs) {
        let wait = self.config.retransmit_first;
        let asking = |session: &&mut Session| session.nonce == nonce && session.number.is_none();
        let mut sessions = self.sessions.iter_mut();
        let Some((id, session)) = sessions.find(|(_, session)| asking(session)) else { return };
        let (id, Stage::Asking { give_up, .. }) = (*id, &session.stage) else { return };
        session.stage = Stage::Asking { again: now.after(wait), wait, give_up: *give_up };
        session.number = Some(number);
        self.ask(id, out);
    }

    fn on_refused(&mut self, nonce: u64, out: &mut Outputs) {
        let asking = |session: &Session| session.nonce == nonce && session.number.is_none();
        let found = self.sessions.iter().find(|(_, session)| asking(session)).map(|(id, _)| *id);
        if let Some(id) = found {
            self.fail(id, CloseReason::HandshakeRefused, out);
        }
    }

    fn on_finish(&mut self, from: SocketAddr, number: SessionNumber, now: Instant, out: &mut Outputs) {
        let (Role::Server(_), Some(id)) = (&self.role, self.numbered(number)) else { return };
        if self.sessions.get(&id).is_some_and(|session| matches!(session.stage, Stage::Offered { .. })) {
            self.establish(id, from, now, out);
        }
        self.transmit(from, &Message::Done { number }, out);
    }

    fn on_done(&mut self, from: SocketAddr, number: SessionNumber, now: Instant, out: &mut Outputs) {
        let (Role::Client { .. }, Some(id)) = (&self.role, self.numbered(number)) else { return };
        if self.sessions.get(&id).is_some_and(|session| matches!(session.stage, Stage::Asking { .. })) {
            self.establish(id, from, now, out);
        }
    }

    fn establish(&mut self, id: SessionId, address: SocketAddr, now: Instant, out: &mut Outputs) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        (session.stage, session.address, session.heard) = (Stage::Established, address, now);
        let (identity, traffic) = (session.identity.clone(), Arc::clone(&session.traffic));
        self.counters.handshakes_ok += 1;
        self.end_others_of(address, id, out);
        self.make_room_for(identity.as_ref(), (id, now), out);
        out.established(Established { session: id, address, identity, traffic });
    }

    fn end_others_of(&mut self, address: SocketAddr, id: SessionId, out: &mut Outputs) {
        let same = |(other, session): &(&SessionId, &Session)| **other != id && session.address == address;
        let others: Vec<_> = self.sessions.iter().filter(same).map(|(other, _)| *other).collect();
        for other in others {
            self.end(other, CloseReason::Replaced, out);
        }
    }

    fn make_room_for(
        &mut self,
        identity: Option<&Arc<str>>,
        (id, now): (SessionId, Instant),
        out: &mut Outputs,
    ) {
        let Some(identity) = identity else { return };
        let is_his = |(other, session): &(&SessionId, &Session)| {
            **other != id && session.is_established() && session.identity.as_ref() == Some(identity)
        };
        let his: Vec<_> = self.sessions.iter().filter(is_his).map(|(other, _)| *other).collect();
        let too_many = (his.len() + 1).saturating_sub(self.config.sessions_per_identity_max);
        for oldest in his.into_iter().take(too_many) {
            if self.keeps_sleepers() {
                self.hibernate(oldest, now, out);
                continue;
            }
            self.counters.sessions_evicted += 1;
            self.end(oldest, CloseReason::Evicted, out);
        }
    }

    fn on_record(
        &mut self,
        from: SocketAddr,
        record: (SessionNumber, u64, &[u8]),
        now: Instant,
        out: &mut Outputs,
    ) {
        let (number, sent, payload) = record;
        let Some(id) = self.numbered(number) else {
            return self.on_record_of_absent(from, record, out);
        };
        // RFC 6347 §4.2.4: to a client, what comes under the new keys says as much as the last message of the handshake.
        if matches!(self.role, Role::Client { .. }) {
            self.on_done(from, number, now, out);
        }
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.is_established()) else {
            return;
        };
        let is_newest = session.window.is_newest(sent);
        if !session.window.take(sent) {
            self.counters.rejected += 1;
            return;
        }
        session.heard = now;
        session.traffic.received(payload.len() + wire::RECORD_BYTES, false);
        if is_newest {
            session.address = from;
        }
        if payload.is_empty() {
            self.end(id, CloseReason::Peer, out);
        } else {
            out.data(id, payload);
        }
    }

    fn fail(&mut self, id: SessionId, reason: CloseReason, out: &mut Outputs) {
        self.counters.handshakes_failed += 1;
        self.end(id, reason, out);
    }

    /// Forgets a session; whoever has heard of it, or has begun it, is told.
    fn end(&mut self, id: SessionId, reason: CloseReason, out: &mut Outputs) {
        let Some(session) = self.sessions.remove(&id) else { return };
        if !matches!(session.stage, Stage::Offered { .. }) {
            out.closed(id, reason);
        }
    }

    fn due(&self, session: &Session) -> Instant {
        match session.stage {
            Stage::Asking { again, give_up, .. } => again.min(give_up),
            Stage::Offered { give_up } => give_up,
            Stage::Established => {
                let longest = self.config.hibernate_after.filter(|_| self.keeps_sleepers());
                session.heard.after(longest.unwrap_or(self.config.session_idle_max))
            }
        }
    }

    fn on_due(&mut self, id: SessionId, now: Instant, out: &mut Outputs) {
        let keeps_sleepers = self.keeps_sleepers();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match &mut session.stage {
            Stage::Asking { give_up, .. } | Stage::Offered { give_up } if *give_up <= now => {
                self.fail(id, CloseReason::HandshakeTimeout, out);
            }
            Stage::Asking { again, wait, .. } => {
                *wait = wait.saturating_mul(2);
                *again = now.after(*wait);
                self.ask(id, out);
            }
            Stage::Offered { .. } => {}
            Stage::Established if keeps_sleepers => self.hibernate(id, now, out),
            Stage::Established => {
                self.counters.sessions_evicted += 1;
                self.end(id, CloseReason::Idle, out);
            }
        }
    }
}

impl Session {
    fn begun(address: SocketAddr, now: Instant, nonce: u64, stage: Stage) -> Self {
        Self {
            stage,
            address,
            identity: None,
            nonce,
            number: None,
            sent: 0,
            window: Window::default(),
            heard: now,
            age: sleep::NEW,
            since: now,
            traffic: Arc::default(),
        }
    }

    fn is_established(&self) -> bool {
        matches!(self.stage, Stage::Established)
    }
}

impl Engine for Bare {
    fn on_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant, out: &mut Outputs) {
        self.counters.datagrams_in += 1;
        match Message::decode(datagram) {
            None => self.counters.malformed += 1,
            Some(Message::Hello { nonce, proof, identity }) => {
                self.on_hello(from, (nonce, proof, identity), now, out);
            }
            Some(Message::Welcome { nonce, number }) => self.on_welcome(nonce, number, now, out),
            Some(Message::Refused { nonce }) => self.on_refused(nonce, out),
            Some(Message::Finish { number }) => self.on_finish(from, number, now, out),
            Some(Message::Done { number }) => self.on_done(from, number, now, out),
            Some(Message::Record { number, sent, payload }) => {
                self.on_record(from, (number, sent, payload), now, out);
            }
        }
    }

    fn connect(
        &mut self,
        to: SocketAddr,
        now: Instant,
        out: &mut Outputs,
    ) -> Result<SessionId, ConnectRefused> {
        if matches!(self.role, Role::Server(_)) {
            return Err(ConnectRefused::ServerRole);
        }
        let unfinished =
            |(_, session): &(&SessionId, &Session)| session.address == to && !session.is_established();
        let old: Vec<_> = self.sessions.iter().filter(unfinished).map(|(id, _)| *id).collect();
        for id in old {
            self.end(id, CloseReason::Replaced, out);
        }
        self.counters.handshakes_begun += 1;
        let (nonce, give_up) = (self.dice.draw(), now.after(self.config.handshake_timeout));
        let session = Session::begun(to, now, nonce, self.asking(now, give_up));
        let id = self.begin(session);
        self.ask(id, out);
        Ok(id)
    }

    fn send(
        &mut self,
        id: SessionId,
        plaintext: &[u8],
        _: Instant,
        out: &mut Outputs,
    ) -> Result<(), SendError> {
        let found = self.sessions.get_mut(&id).filter(|session| session.is_established());
        let session = found.ok_or(SendError::NoSession)?;
        if plaintext.len() > PLAINTEXT_BYTES_MAX {
            return Err(SendError::TooLong { bytes: plaintext.len() });
        }
        let (to, number) = (session.address, session.number.ok_or(SendError::NoSession)?);
        session.sent += 1;
        session.traffic.sent(plaintext.len() + wire::RECORD_BYTES, false);
        let sent = session.sent;
        self.transmit(to, &Message::Record { number, sent, payload: plaintext }, out);
        Ok(())
    }

    fn close(&mut self, id: SessionId, now: Instant, out: &mut Outputs) {
        // An empty record says that it is the last.
        let _ = self.send(id, &[], now, out);
        self.end(id, CloseReason::Local, out);
    }

    fn supply_key(&mut self, id: SessionId, key: Option<Secret>, now: Instant, out: &mut Outputs) {
        if let Some(hello) = self.asked.remove(&id) {
            self.greet(&hello, key.as_ref(), now, out);
        }
    }

    fn resume(&mut self, id: SessionId, dormant: Option<Dormant>, now: Instant, out: &mut Outputs) -> bool {
        self.wake(id, dormant, now, out)
    }

    fn hibernates(&self) -> bool {
        self.keeps_sleepers()
    }

    fn hibernate_all(&mut self, now: Instant, out: &mut Outputs) {
        self.hibernate_every(now, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outputs) {
        let is_due = |(_, session): &(&SessionId, &Session)| self.due(session) <= now;
        let due: Vec<_> = self.sessions.iter().filter(is_due).map(|(id, _)| *id).collect();
        for id in due {
            self.on_due(id, now, out);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.sessions.values().map(|session| self.due(session)).min()
    }

    fn counters(&self) -> EngineCounters {
        let now = self.sessions.values().filter(|session| session.is_established()).count() as u64;
        let handshakes_now = self.sessions.len() as u64 - now;
        EngineCounters { sessions_now: now, handshakes_now, ..self.counters }
    }
}

fn proof_of(key: &Secret, nonce: u64) -> [u8; 32] {
    Sha256::new().chain_update(key.expose()).chain_update(nonce.to_be_bytes()).finalize().into()
}
