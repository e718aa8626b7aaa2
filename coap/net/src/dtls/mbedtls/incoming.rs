//! What comes in: cookies, handshakes, records by address and by connection ID.

use std::mem;
use std::net::SocketAddr;

use bellwether_coap::Instant;

use super::ffi::Fault;
use super::session::{Phase, Session};
use super::{MbedTls, Slots};
use crate::SessionId;
use crate::dtls::record::{ClientHello, Content, Record, client_hello, hello_verify_request};
use crate::dtls::{CloseReason, Outputs};

impl MbedTls {
    /// Acts on one record of a datagram.
    pub(super) fn on_record(
        &mut self,
        from: SocketAddr,
        record: &Record<'_>,
        now: Instant,
        out: &mut Outputs,
    ) {
        if let Some(id) = record.cid {
            let is_handshake = self.sessions.get(&id).is_some_and(|session| !session.is_live());
            self.counters.traffic.received(record.bytes.len(), is_handshake);
            return self.open_cid_record(from, id, record, now, out);
        }
        self.counters.traffic.received(record.bytes.len(), record.is_handshake_traffic());
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
        self.on_handshake_record(session, record, now, out);
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
            self.on_handshake_record(pending, record, now, out);
        }
    }

    /// Lets the session in use open a record; tells whether it was authentic and new.
    fn read_live(&mut self, slots: Slots, record: &Record<'_>, now: Instant, out: &mut Outputs) -> bool {
        slots.live.is_some_and(|id| self.read(id, record, now, out).is_some())
    }

    /// Acts on a record to a connection ID: its session is found by that, wherever it comes from.
    pub(super) fn open_cid_record(
        &mut self,
        from: SocketAddr,
        id: SessionId,
        record: &Record<'_>,
        now: Instant,
        out: &mut Outputs,
    ) {
        match self.sessions.get(&id) {
            // A handshake does not move: its peer has proved to receive at one address only.
            Some(session) if !session.is_live() => {
                if session.address == from && session.awaits_encrypted() {
                    return self.on_handshake_record(id, record, now, out);
                }
                self.counters.rejected += 1;
            }
            Some(session) => {
                let newest = session.connection.newest();
                match self.read(id, record, now, out) {
                    Some(Read::Data) if record.sequence > newest => self.follow(id, from, out),
                    Some(_) => {}
                    None => self.counters.rejected += 1,
                }
            }
            None if self.server && record.epoch > 0 && self.cids.handed_out(id) => {
                self.on_record_of_absent(from, id, record, now, out);
            }
            None => self.counters.rejected += 1,
        }
    }

    /// Lets an established session open a record; tells what came of it if it was authentic and new.
    pub(super) fn read(
        &mut self,
        id: SessionId,
        record: &Record<'_>,
        now: Instant,
        out: &mut Outputs,
    ) -> Option<Read> {
        let session = self.sessions.get_mut(&id)?;
        session.connection.offer(record.bytes, now);
        let outcome = session.read_all(id, &mut self.plaintext, out);
        if matches!(outcome, Ok(count) if count > 0) {
            session.heard = now;
            session.traffic.received(record.bytes.len(), record.is_handshake_traffic());
        }
        // Only a peer that repeats its last flight makes us write here: it gets ours again.
        let answered = self.flush(id, true, out) > 0;
        match outcome {
            Ok(count) if count > 0 => Some(Read::Data),
            Ok(_) => answered.then_some(Read::Other),
            Err(fault) => {
                self.end(id, closed_by(fault), out);
                Some(Read::Other)
            }
        }
    }

    /// Sends to where the peer's newest authentic record came from.
    ///
    /// Another session that is found by that address alone keeps it: whoever has a key could else take the
    /// address of somebody who has no connection ID.
    ///
    /// Source: RFC 9146 §6.
    fn follow(&mut self, id: SessionId, from: SocketAddr, out: &mut Outputs) {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.address != from) else {
            return;
        };
        let before = mem::replace(&mut session.address, from);
        self.release_address(before, id);
        self.addresses.entry(from).or_default().live.get_or_insert(id);
        self.counters.rebinds += 1;
        out.moved(id, from);
    }
}

/// What an authentic and new record was.
pub(super) enum Read {
    Data,
    /// The end of the session, or the repetition of a handshake's last flight.
    Other,
}

fn closed_by(fault: Fault) -> CloseReason {
    match fault {
        Fault::CloseNotify => CloseReason::Peer,
        Fault::Alert => CloseReason::PeerAlert,
        Fault::Code(_) => CloseReason::PeerFault,
    }
}
