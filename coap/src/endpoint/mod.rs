//! The endpoint: peers, timers, queues.

use crate::config::Config;
use crate::counters::Counters;
use crate::event::{Event, ExchangeId, RequestError, RequestId, UnknownExchange};
use crate::request::Request;
use crate::response::Response;
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::hash::Hash;

/// A datagram to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit<P> {
    /// Where to.
    pub peer: P,
    /// The datagram's bytes.
    pub bytes: Vec<u8>,
}

/// A CoAP client and server for many peers.
///
/// `P` names a peer: whatever the owner can send a datagram to, such as the number of a session.
/// A new session must be a new `P`, or [`Endpoint::forget`] must come first: message ids,
/// tokens and half-sent bodies belong to one session (RFC 7252 §9.1.1, RFC 7959 §2.4).
pub struct Endpoint<P> {
    counters: Counters,
    events: VecDeque<Event<P>>,
    transmits: VecDeque<Transmit<P>>,
}

impl<P: Copy + Eq + Hash> Endpoint<P> {
    /// Makes an endpoint that knows no peer.
    ///
    /// Message ids, tokens and retransmission jitter all come from `seed`, so it must be drawn
    /// afresh for each endpoint and kept from peers.
    #[must_use]
    pub fn new(_config: Config, _seed: [u8; 32]) -> Self {
        Self {
            counters: Counters::default(),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
        }
    }

    /// Takes a datagram that came from `peer`; what is malformed is counted and dropped, or
    /// answered as RFC 7252 §4.2 and §5.4.1 ask.
    pub fn handle_datagram(&mut self, _now: Instant, _peer: P, _datagram: &[u8]) {
        self.counters.received += 1;
    }

    /// Acts on every timer that is due; call it when [`Endpoint::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// Returns the next datagram to send; drain it after each call that feeds.
    pub fn poll_transmit(&mut self) -> Option<Transmit<P>> {
        self.transmits.pop_front()
    }

    /// Returns when to call [`Endpoint::handle_timeout`] at the latest.
    ///
    /// It may be earlier than the next retransmission (a timer changes its wheel), never later.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Returns the next event; drain it after each call that feeds.
    pub fn poll_event(&mut self) -> Option<Event<P>> {
        self.events.pop_front()
    }

    /// Sends a request, or queues it behind those that NSTART allows.
    ///
    /// # Errors
    ///
    /// [`RequestError`] tells which bound is in the way; nothing was sent then.
    pub fn request(
        &mut self,
        _now: Instant,
        _peer: P,
        _request: Request,
    ) -> Result<RequestId, RequestError> {
        Err(RequestError::TooManyPeers)
    }

    /// Answers a request of a peer: piggybacked on the acknowledgement if that is still open,
    /// else in a message of its own.
    ///
    /// # Errors
    ///
    /// [`UnknownExchange`] if it was answered before, abandoned, or its peer is gone.
    pub fn respond(
        &mut self,
        _now: Instant,
        _exchange: ExchangeId,
        _response: Response,
    ) -> Result<(), UnknownExchange> {
        Err(UnknownExchange)
    }

    /// Ends a request of ours without an event; a late response is reset.
    pub fn cancel(&mut self, _id: RequestId) {}

    /// Drops all state of a peer whose session is gone; its requests fail with
    /// [`Failure::PeerGone`](crate::Failure::PeerGone).
    pub fn forget(&mut self, _peer: P) {}

    /// Returns what was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
