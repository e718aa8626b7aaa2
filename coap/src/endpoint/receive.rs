//! Which part of the endpoint a datagram is for (RFC 7252 §4.2, §4.3).

use super::Endpoint;
use crate::code::Code;
use crate::message::{Header, Kind, Received};
use crate::time::Instant;
use core::hash::Hash;

impl<P: Copy + Eq + Hash> Endpoint<P> {
    pub(super) fn receive(&mut self, now: Instant, peer: P, datagram: &[u8]) {
        let Some(header) = Header::parse(datagram) else {
            self.counters.malformed += 1;
            return;
        };
        if datagram.len() > self.config.datagram_bytes_max {
            return self.reject_malformed(peer, header);
        }
        match Received::parse(header, datagram, &self.config.critical_options) {
            Some(message) => self.dispatch(now, peer, message),
            None => self.reject_malformed(peer, header),
        }
    }

    fn dispatch(&mut self, now: Instant, peer: P, message: Received) {
        let header = message.header;
        match header.kind {
            // RFC 7252 §4.2: a CON that the recipient cannot process, an Empty one included,
            // MUST be rejected; §1.2 calls the exchange "CoAP ping".
            Kind::Con if header.code == Code::EMPTY => self.send_reset(peer, header.message_id),
            Kind::Ack if header.code == Code::EMPTY => self.acknowledged(now, peer, header),
            Kind::Rst if header.code == Code::EMPTY => self.reset(now, peer, header),
            Kind::Con | Kind::Non if header.code.is_request() => {
                self.receive_request(now, peer, message);
            }
            Kind::Con | Kind::Non | Kind::Ack if header.code.is_response() => {
                self.receive_response(now, peer, message);
            }
            _ => self.reject_malformed(peer, header),
        }
    }

    /// RFC 7252 §4.2: rejecting a CON is effected by sending a matching Reset; rejecting an
    /// ACK or RST by silently ignoring it. §4.3 leaves a NON to us: it is ignored too, so that
    /// garbage brings no answer.
    fn reject_malformed(&mut self, peer: P, header: Header) {
        self.counters.malformed += 1;
        if header.kind == Kind::Con {
            self.send_reset(peer, header.message_id);
        }
    }

    pub(super) fn send_reset(&mut self, peer: P, message_id: u16) {
        self.counters.resets_sent += 1;
        let reset = Header { kind: Kind::Rst, code: Code::EMPTY, message_id };
        self.transmit(peer, reset.alone());
    }

    /// Tells whether a message was seen before, and if so repeats its answer.
    ///
    /// RFC 7252 §4.5: the recipient SHOULD acknowledge each duplicate copy of a CON with the
    /// same ACK or RST, but process it once; a duplicate NON is silently ignored.
    pub(super) fn is_duplicate(&mut self, now: Instant, peer: P, header: Header) -> bool {
        let Some(known) = self.peers.get(&peer) else {
            return false;
        };
        let Some(reply) = known.seen.find(now, header.message_id) else {
            return false;
        };
        let repeated = (header.kind == Kind::Con && !reply.is_empty()).then(|| reply.to_vec());
        self.counters.duplicates += 1;
        if let Some(bytes) = repeated {
            self.transmit(peer, bytes);
        }
        true
    }

    /// Remembers a message; `false` if there is no room for its peer.
    pub(super) fn remember(&mut self, now: Instant, peer: P, header: Header) -> bool {
        let lifetime = match header.kind {
            Kind::Non => self.config.transmission.non_lifetime(),
            _ => self.config.transmission.exchange_lifetime(),
        };
        let bounds = self.seen_bounds();
        let Some(known) = self.peer_or_new(now, peer) else {
            return false;
        };
        known.seen.insert(header.message_id, now.after(lifetime), bounds);
        true
    }

    /// Sends the answer that belongs to a message id, and repeats it for duplicates.
    pub(super) fn transmit_reply(
        &mut self,
        now: Instant,
        peer: P,
        message_id: u16,
        bytes: alloc::vec::Vec<u8>,
    ) {
        let bounds = self.seen_bounds();
        if let Some(known) = self.peers.get_mut(&peer) {
            known.seen.set_reply(now, message_id, &bytes, bounds);
        }
        self.transmit(peer, bytes);
    }

    pub(super) fn send_empty_ack(&mut self, now: Instant, peer: P, message_id: u16) {
        let ack = Header { kind: Kind::Ack, code: Code::EMPTY, message_id };
        self.transmit_reply(now, peer, message_id, ack.alone());
    }
}
