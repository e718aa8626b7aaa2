//! Requests of ours: one leg after the other until the body is through (RFC 7252 §5.3).

use super::peer::Peer;
use super::{Endpoint, Timer};
use crate::event::{BlockwiseError, Event, Failure, RequestError, RequestId};
use crate::message::{Header, Kind, Message, Received, Token};
use crate::option::set::OptionError;
use crate::request::Request;
use crate::response::Response;
use crate::retransmission::Retransmission;
use crate::time::Instant;
use crate::timers::TimerKey;
use crate::transfer::{Step, Transfer, TransferBounds};
use alloc::vec::Vec;
use core::hash::Hash;

/// One request that has not ended.
pub(super) struct Outgoing<P> {
    peer: P,
    transfer: Transfer,
    leg: Leg,
}

/// Where the message under way stands.
enum Leg {
    /// NSTART holds it back. Message id and token are still to be filled in.
    Queued { bytes: Vec<u8> },
    /// A CON sent, not acknowledged.
    InFlight { sent: Sent, bytes: Vec<u8>, retransmission: Retransmission },
    /// A CON acknowledged empty: the response comes later, in a message of its own. NSTART
    /// counts it no longer (RFC 7252 §4.7).
    Acknowledged { sent: Sent },
    /// A NON sent: an answer may come or not.
    NonSent { sent: Sent },
}

#[derive(Clone, Copy)]
struct Sent {
    message_id: u16,
    token: Token,
    timer: TimerKey,
}

impl Leg {
    fn sent(&self) -> Option<Sent> {
        match self {
            Self::Queued { .. } => None,
            Self::InFlight { sent, .. } | Self::Acknowledged { sent } | Self::NonSent { sent } => Some(*sent),
        }
    }

    fn is_outstanding(&self) -> bool {
        matches!(self, Self::InFlight { .. } | Self::NonSent { .. })
    }
}

impl<P: Copy + Eq + Hash> Endpoint<P> {
    pub(super) fn start_request(
        &mut self,
        now: Instant,
        peer: P,
        request: Request,
    ) -> Result<RequestId, RequestError> {
        let bytes = request.payload.len();
        if bytes > self.config.body_bytes_max {
            return Err(RequestError::BodyTooLarge { bytes });
        }
        let bytes_max = self.config.datagram_bytes_max;
        let transfer = Transfer::new(request, TransferBounds::from(&self.config));
        let bytes = encode(&transfer, bytes_max).ok_or(RequestError::MessageTooLong { bytes_max })?;
        let in_flight_max = self.config.in_flight_max;
        let id = RequestId(self.serial());
        let known = self.peer_or_new(now, peer).ok_or(RequestError::TooManyPeers)?;
        if known.requests.len() >= in_flight_max {
            return Err(RequestError::TooManyInFlight);
        }
        known.last_active = now;
        known.requests.push(id);
        known.queue.push_back(id);
        let leg = Leg::Queued { bytes };
        let outgoing = Outgoing { peer, transfer, leg };
        self.requests.insert(id, outgoing);
        self.send_queued(now, peer);
        Ok(id)
    }

    /// Sends as many queued requests as NSTART leaves room for.
    ///
    /// RFC 7252 §4.7: clients MUST strictly limit the number of simultaneous outstanding
    /// interactions that they maintain to a given server to NSTART.
    pub(super) fn send_queued(&mut self, now: Instant, peer: P) {
        let nstart = self.config.transmission.nstart.max(1);
        while let Some(known) = self.peers.get_mut(&peer) {
            if known.outstanding >= nstart {
                return;
            }
            let Some(id) = known.queue.pop_front() else {
                return;
            };
            known.outstanding += 1;
            let message_id = known.take_message_id();
            self.send_leg(now, peer, id, message_id);
        }
    }

    fn send_leg(&mut self, now: Instant, peer: P, id: RequestId, message_id: u16) {
        let token = self.unused_token(peer);
        let Some(outgoing) = self.requests.get_mut(&id) else {
            return;
        };
        let Leg::Queued { bytes } = &mut outgoing.leg else {
            return;
        };
        let mut bytes = core::mem::take(bytes);
        fill_in(&mut bytes, message_id, token);
        let transmission = self.config.transmission;
        let confirmable = outgoing.transfer.request().confirmable;
        let retransmission = Retransmission::start(&transmission, self.generator.next_u16());
        let wait = if confirmable { retransmission.timeout() } else { self.config.response_wait };
        let sent = Sent {
            message_id,
            token: Token::new(&token),
            timer: self.wheel.insert(now.after(wait), Timer::Request(id)),
        };
        outgoing.leg = if confirmable {
            Leg::InFlight { sent, bytes: bytes.clone(), retransmission }
        } else {
            Leg::NonSent { sent }
        };
        self.transmit(peer, bytes);
    }

    /// RFC 7252 §5.3.1: tokens in use to one peer must differ; 32 random bits, as that section
    /// asks of a client on the Internet.
    fn unused_token(&mut self, peer: P) -> [u8; TOKEN_BYTES] {
        loop {
            let token = self.generator.next().to_be_bytes();
            let wanted = Token::new(&token);
            if self.find_request(peer, |sent| sent.token == wanted).is_none() {
                return token;
            }
        }
    }

    fn find_request(&self, peer: P, matches: impl Fn(Sent) -> bool) -> Option<RequestId> {
        let requests = &self.peers.get(&peer)?.requests;
        requests.iter().copied().find(|id| self.leg(*id).and_then(Leg::sent).is_some_and(&matches))
    }

    fn leg(&self, id: RequestId) -> Option<&Leg> {
        self.requests.get(&id).map(|outgoing| &outgoing.leg)
    }

    /// Acts on an empty acknowledgement.
    pub(super) fn acknowledged(&mut self, now: Instant, peer: P, header: Header) {
        let found = self.find_request(peer, |sent| sent.message_id == header.message_id);
        let acknowledged = match found {
            Some(id) => self.await_response(now, id),
            None => self.end_separate(peer, header.message_id),
        };
        if !acknowledged {
            self.counters.unmatched += 1;
        }
        self.send_queued(now, peer);
    }

    /// Stops retransmission; `false` if the leg is not in flight (any more).
    fn await_response(&mut self, now: Instant, id: RequestId) -> bool {
        let Some(outgoing) = self.requests.get_mut(&id) else {
            return false;
        };
        let Leg::InFlight { sent, .. } = outgoing.leg else {
            return false;
        };
        self.wheel.cancel(sent.timer);
        let give_up = now.after(self.config.response_wait);
        let timer = self.wheel.insert(give_up, Timer::Request(id));
        let sent = Sent { timer, ..sent };
        outgoing.leg = Leg::Acknowledged { sent };
        release_slot(self.peers.get_mut(&outgoing.peer));
        true
    }

    /// Acts on a Reset: the peer has no use for the message.
    pub(super) fn reset(&mut self, now: Instant, peer: P, header: Header) {
        let found = self
            .find_request(peer, |sent| sent.message_id == header.message_id)
            .filter(|id| self.leg(*id).is_some_and(Leg::is_outstanding));
        if let Some(id) = found {
            self.fail(now, id, Failure::Reset);
        } else if !self.end_separate(peer, header.message_id) {
            self.counters.unmatched += 1;
        }
    }

    pub(super) fn receive_response(&mut self, now: Instant, peer: P, message: Received) {
        let header = message.header;
        if header.kind != Kind::Ack && self.is_duplicate(now, peer, header) {
            return;
        }
        let Some(id) = self.find_asked(peer, &message) else {
            self.counters.unmatched += 1;
            // RFC 7252 §5.3.2: a CON response that is not expected is rejected with a Reset.
            if header.kind == Kind::Con {
                self.send_reset(peer, header.message_id);
            }
            return;
        };
        if header.kind != Kind::Ack {
            self.remember(now, peer, header);
        }
        match message.options {
            Err(error) => self.refuse_response(now, peer, id, header, error),
            Ok(options) => {
                if header.kind == Kind::Con {
                    self.send_empty_ack(now, peer, header.message_id);
                }
                let block1 = options.block1;
                let response = Response::from_options(header.code, options, message.payload);
                self.end_leg(id);
                self.take_step(now, id, |transfer| transfer.take(response, block1));
            }
        }
    }

    /// RFC 7252 §5.3.2: the token must match, and in a piggybacked response the Message ID too.
    fn find_asked(&self, peer: P, message: &Received) -> Option<RequestId> {
        let message_id = message.header.message_id;
        let piggybacked = message.header.kind == Kind::Ack;
        let id = self.find_request(peer, |sent| {
            sent.token == message.token && (!piggybacked || sent.message_id == message_id)
        })?;
        let acknowledges = matches!(self.leg(id), Some(Leg::InFlight { .. }));
        (acknowledges || !piggybacked).then_some(id)
    }

    /// RFC 7252 §5.4.1: a critical option that is not understood causes a response to be
    /// rejected. Asking again would bring the same answer, so the request ends too.
    fn refuse_response(&mut self, now: Instant, peer: P, id: RequestId, header: Header, error: OptionError) {
        self.counters.options_refused += 1;
        if header.kind == Kind::Con {
            self.send_reset(peer, header.message_id);
        }
        let reason = match error {
            OptionError::Critical(number) => Failure::BadOption { number },
            OptionError::Proxy => Failure::BadOption { number: crate::option::number::PROXY_URI },
            OptionError::ReservedBlockSize => Failure::BlockwiseFailed(BlockwiseError::UnexpectedBlock),
        };
        self.fail(now, id, reason);
    }

    fn take_step(&mut self, now: Instant, id: RequestId, take: impl FnOnce(&mut Transfer) -> Step) {
        let Some(outgoing) = self.requests.get_mut(&id) else {
            return;
        };
        let peer = outgoing.peer;
        match take(&mut outgoing.transfer) {
            Step::Next => {
                // The first leg was checked; a later one is longer by a few bytes at most.
                let bytes = encode(&outgoing.transfer, usize::MAX).unwrap_or_default();
                outgoing.leg = Leg::Queued { bytes };
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.queue.push_front(id);
                }
                self.send_queued(now, peer);
            }
            Step::Deliver(response) => {
                self.remove_request(id);
                self.events.push_back(Event::Response { id, peer, response });
                self.send_queued(now, peer);
            }
            Step::Fail(error) => self.fail(now, id, Failure::BlockwiseFailed(error)),
        }
    }

    pub(super) fn request_timeout(&mut self, now: Instant, id: RequestId) {
        let Some(outgoing) = self.requests.get_mut(&id) else {
            return;
        };
        let peer = outgoing.peer;
        let again = match &mut outgoing.leg {
            Leg::InFlight { sent, bytes, retransmission } => {
                retransmission.next(&self.config.transmission).map(|wait| (sent, wait, bytes.clone()))
            }
            _ => None,
        };
        let Some((sent, wait, bytes)) = again else {
            return self.fail(now, id, Failure::TimedOut);
        };
        sent.timer = self.wheel.insert(now.after(wait), Timer::Request(id));
        self.counters.retransmissions += 1;
        self.transmit(peer, bytes);
    }

    fn fail(&mut self, now: Instant, id: RequestId, reason: Failure) {
        if let Some(peer) = self.remove_request(id) {
            self.events.push_back(Event::Failed { id, peer, reason });
            self.send_queued(now, peer);
        }
    }

    /// Ends the leg under way: its timer and its share of NSTART.
    fn end_leg(&mut self, id: RequestId) {
        let Some(outgoing) = self.requests.get_mut(&id) else {
            return;
        };
        if let Some(sent) = outgoing.leg.sent() {
            self.wheel.cancel(sent.timer);
        }
        if outgoing.leg.is_outstanding() {
            release_slot(self.peers.get_mut(&outgoing.peer));
        }
        outgoing.leg = Leg::Queued { bytes: Vec::new() };
    }

    pub(super) fn remove_request(&mut self, id: RequestId) -> Option<P> {
        self.end_leg(id);
        let peer = self.requests.remove(&id)?.peer;
        if let Some(known) = self.peers.get_mut(&peer) {
            known.requests.retain(|other| *other != id);
            known.queue.retain(|other| *other != id);
        }
        Some(peer)
    }
}

fn release_slot(peer: Option<&mut Peer>) {
    if let Some(peer) = peer {
        peer.outstanding = peer.outstanding.saturating_sub(1);
    }
}

/// Writes the next message of a transfer with room for message id and token.
fn encode(transfer: &Transfer, bytes_max: usize) -> Option<Vec<u8>> {
    let (options, payload) = transfer.next();
    let request = transfer.request();
    let kind = if request.confirmable { Kind::Con } else { Kind::Non };
    let message = Message {
        header: Header { kind, code: request.method.code(), message_id: 0 },
        token: Token::new(&[0; TOKEN_BYTES]),
        options,
        payload,
    };
    message.to_bytes(bytes_max)
}

fn fill_in(bytes: &mut [u8], message_id: u16, token: [u8; TOKEN_BYTES]) {
    if let Some(place) = bytes.get_mut(2..4 + TOKEN_BYTES) {
        place[..2].copy_from_slice(&message_id.to_be_bytes());
        place[2..].copy_from_slice(&token);
    }
}

const TOKEN_BYTES: usize = 4;
