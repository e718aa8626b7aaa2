//! The endpoint: peers, timers, queues. What each kind of message does is in the files below.

mod bodies;
mod client;
mod peer;
mod receive;
mod server;

use crate::config::Config;
use crate::counters::Counters;
use crate::event::{Event, ExchangeId, Failure, RequestError, RequestId, UnknownExchange};
use crate::generator::Generator;
use crate::map::Map;
use crate::request::Request;
use crate::response::Response;
use crate::seen::SeenBounds;
use crate::time::Instant;
use crate::timers::Timers;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use client::Outgoing;
use core::hash::Hash;
use peer::Peer;
use server::Exchange;

/// A datagram to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit<P> {
    /// Where to.
    pub peer: P,
    /// The datagram's bytes.
    pub bytes: Vec<u8>,
}

/// What an endpoint keeps at a moment; all of it ends by itself when nothing comes any more.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Peers known.
    pub peers: usize,
    /// Requests of ours that have not ended.
    pub requests: usize,
    /// Requests of peers that the application has not answered.
    pub exchanges: usize,
    /// Separate responses that were not acknowledged yet.
    pub separate: usize,
    /// Bodies being received or kept for the next block.
    pub bodies: usize,
    /// Bytes of these bodies.
    pub body_bytes: usize,
}

/// A CoAP client and server for many peers.
///
/// `P` names a peer: whatever the owner can send a datagram to, such as the number of a session.
/// A new session must be a new `P`, or [`Endpoint::forget`] must come first: message ids,
/// tokens and half-sent bodies belong to one session (RFC 7252 §9.1.1).
pub struct Endpoint<P> {
    config: Config,
    counters: Counters,
    generator: Generator,
    peers: Map<P, Peer>,
    requests: Map<RequestId, Outgoing<P>>,
    exchanges: Map<ExchangeId, Exchange<P>>,
    wheel: Timers<Timer<P>>,
    events: VecDeque<Event<P>>,
    transmits: VecDeque<Transmit<P>>,
    held_bytes: usize,
    /// Numbers requests, exchanges and held bodies; never used twice.
    next_serial: u64,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
enum Timer<P> {
    /// Send the request's message again, or give up waiting for its response.
    Request(RequestId),
    /// Send the empty acknowledgement, or give up waiting for the application.
    Exchange(ExchangeId),
    /// Send the separate response with this message id again, or give it up.
    Separate(P, u16),
    /// Drop the held body with this serial number.
    Body(P, u64),
    /// Send what a cancelled request held back.
    Queue(P),
    /// Drop the peer if it was idle.
    Idle(P),
}

impl<P: Copy + Eq + Hash> Endpoint<P> {
    /// Makes an endpoint that knows no peer.
    ///
    /// Message ids, tokens and retransmission jitter all come from `seed`, so it must be drawn
    /// afresh for each endpoint and kept from peers.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Self {
            config,
            counters: Counters::default(),
            generator: Generator::new(seed),
            peers: Map::new(),
            requests: Map::new(),
            exchanges: Map::new(),
            wheel: Timers::new(),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            held_bytes: 0,
            next_serial: 0,
        }
    }

    /// Takes a datagram that came from `peer`; what is malformed is counted and dropped, or
    /// answered as RFC 7252 §4.2 and §5.4.1 ask.
    pub fn handle_datagram(&mut self, now: Instant, peer: P, datagram: &[u8]) {
        self.counters.received += 1;
        if let Some(known) = self.peers.get_mut(&peer) {
            known.last_active = now;
        }
        self.receive(now, peer, datagram);
    }

    /// Acts on every timer that is due; call it when [`Endpoint::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.wheel.expire(now) {
            match timer {
                Timer::Request(id) => self.request_timeout(now, id),
                Timer::Exchange(id) => self.exchange_timeout(now, id),
                Timer::Separate(peer, message_id) => self.separate_timeout(now, peer, message_id),
                Timer::Body(peer, serial) => self.body_timeout(peer, serial),
                Timer::Queue(peer) => self.send_queued(now, peer),
                Timer::Idle(peer) => self.idle_timeout(now, peer),
            }
        }
    }

    /// Returns the next datagram to send; drain it after each call that feeds.
    pub fn poll_transmit(&mut self) -> Option<Transmit<P>> {
        self.transmits.pop_front()
    }

    /// Returns when to call [`Endpoint::handle_timeout`] at the latest.
    ///
    /// It may be earlier than the next retransmission (a timer moves down its wheel), never
    /// later.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// Returns the next event; drain it after each call that feeds.
    pub fn poll_event(&mut self) -> Option<Event<P>> {
        self.events.pop_front()
    }

    /// Sends a request, or queues it behind those that NSTART allows.
    ///
    /// Its end is one [`Event::Response`] or one [`Event::Failed`], unless it is cancelled.
    ///
    /// # Errors
    ///
    /// [`RequestError`] tells which bound is in the way; nothing was sent then.
    pub fn request(&mut self, now: Instant, peer: P, request: Request) -> Result<RequestId, RequestError> {
        self.start_request(now, peer, request)
    }

    /// Answers a request of a peer: piggybacked on the acknowledgement if that is still open,
    /// else in a message of its own.
    ///
    /// # Errors
    ///
    /// [`UnknownExchange`] if it was answered before, abandoned, or its peer is gone.
    pub fn respond(
        &mut self,
        now: Instant,
        exchange: ExchangeId,
        response: Response,
    ) -> Result<(), UnknownExchange> {
        let exchange = self.take_exchange(exchange).ok_or(UnknownExchange)?;
        self.answer_exchange(now, &exchange, response);
        Ok(())
    }

    /// Ends a request of ours without an event; a late response to it is reset.
    ///
    /// A request queued behind it starts with the next [`Endpoint::handle_timeout`], which
    /// [`Endpoint::poll_timeout`] then asks for at once.
    pub fn cancel(&mut self, id: RequestId) {
        if let Some(peer) = self.remove_request(id) {
            self.wheel.insert(Instant::default(), Timer::Queue(peer));
        }
    }

    /// Drops all state of a peer whose session is gone; its requests fail with
    /// [`Failure::PeerGone`].
    pub fn forget(&mut self, peer: P) {
        let Some(gone) = self.peers.remove(&peer) else {
            return;
        };
        self.wheel.cancel(gone.idle);
        for id in gone.requests {
            self.remove_request(id);
            let reason = Failure::PeerGone;
            self.events.push_back(Event::Failed { id, peer, reason });
        }
        for id in gone.exchanges {
            self.take_exchange(id);
        }
        for separate in gone.separate {
            self.wheel.cancel(separate.timer);
        }
        for body in gone.bodies {
            self.wheel.cancel(body.timer);
            self.held_bytes -= body.bytes.len();
        }
    }

    /// Returns what was counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Tells how much is kept right now; it walks over all peers.
    #[must_use]
    pub fn load(&self) -> Load {
        let each = |count: fn(&Peer) -> usize| self.peers.values().map(count).sum();
        Load {
            peers: self.peers.len(),
            requests: self.requests.len(),
            exchanges: self.exchanges.len(),
            separate: each(|peer| peer.separate.len()),
            bodies: each(|peer| peer.bodies.len()),
            body_bytes: self.held_bytes,
        }
    }

    #[cfg(test)]
    pub(crate) fn timers_touched(&self) -> u64 {
        self.wheel.touched
    }

    #[cfg(test)]
    pub(crate) fn has_output(&self) -> bool {
        !self.transmits.is_empty() || !self.events.is_empty()
    }

    fn transmit(&mut self, peer: P, bytes: Vec<u8>) {
        self.counters.sent += 1;
        self.transmits.push_back(Transmit { peer, bytes });
    }

    fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    fn seen_bounds(&self) -> SeenBounds {
        SeenBounds { entries_max: self.config.dedup_ring_max, reply_bytes_max: self.config.replay_bytes_max }
    }

    /// Returns the state of a peer, making it if there is room for one more.
    fn peer_or_new(&mut self, now: Instant, peer: P) -> Option<&mut Peer> {
        if !self.peers.contains_key(&peer) {
            if self.peers.len() >= self.config.peers_max {
                self.counters.peers_refused += 1;
                return None;
            }
            let first = self.generator.next_u16();
            let at = now.after(self.config.peer_idle);
            let idle = self.wheel.insert(at, Timer::Idle(peer));
            self.peers.insert(peer, Peer::new(now, first, idle));
        }
        self.peers.get_mut(&peer)
    }

    /// Drops a peer without work and news; looks again later at any other. So a datagram does
    /// not have to move its peer's timer.
    fn idle_timeout(&mut self, now: Instant, peer: P) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        let idle_at = known.last_active.after(self.config.peer_idle);
        if idle_at <= now && known.is_unused() {
            self.peers.remove(&peer);
            self.counters.peers_evicted += 1;
            return;
        }
        let again = if idle_at <= now { now.after(self.config.peer_idle) } else { idle_at };
        known.idle = self.wheel.insert(again, Timer::Idle(peer));
    }
}
