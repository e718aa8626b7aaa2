//! Keys and sleeping sessions, which the owner keeps: what is asked of it, and what waits for its answers.

use std::collections::{HashMap, HashSet, VecDeque};
use std::mem;

use bellwether_coap::{Instant, Request};

use super::command::{Reply, Ticket};
use super::driver::Driver;
use super::{Event, RequestError};
use crate::SessionId;
use crate::dtls::{CloseReason, Dormant, Engine, Established};
use crate::wire::Wire;

/// What waits for the owner.
#[derive(Default)]
pub(super) struct Sleepers {
    /// Hibernated, and the owner has not had room to hear of it yet.
    untold: VecDeque<Dormant>,
    /// The shard stops: what is untold is its answer, not news.
    is_last: bool,
    /// Asked for, and not yet answered: a session that was brought twice would use its nonces twice. No more than
    /// the questions that the owner may be behind.
    asked: HashSet<SessionId>,
    /// Requests to sessions that have to be brought back first.
    requests: HashMap<SessionId, Vec<(Request, Ticket, Reply)>>,
}

impl Sleepers {
    pub(super) fn is_empty(&self) -> bool {
        self.untold.is_empty() || self.is_last
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        if self.is_last { None } else { self.untold.pop_front().map(Event::Hibernated) }
    }

    /// Tells of none any more, however many there will be.
    pub(super) fn keep_all(&mut self) {
        self.is_last = true;
    }

    pub(super) fn take_all(&mut self) -> Vec<Dormant> {
        mem::take(&mut self.untold).into()
    }

    /// Forgets those of an identity that nobody has heard of yet.
    pub(super) fn forget_all_of(&mut self, identity: &str) {
        self.untold.retain(|dormant| *dormant.identity != *identity);
    }

    fn take(&mut self, session: SessionId) -> Option<Dormant> {
        let at = self.untold.iter().position(|dormant| dormant.session == session)?;
        self.untold.remove(at)
    }
}

impl<W: Wire, E: Engine + ?Sized> Driver<W, E> {
    /// Keeps a session that left the engine until the owner hears of it; the endpoint forgets its peer.
    pub(super) fn on_hibernated(&mut self, dormant: Dormant) {
        let session = dormant.session;
        self.endpoint.forget(session);
        self.peers.remove(&session);
        self.sleepers.untold.push_back(dormant);
        if self.sleepers.untold.len() > UNTOLD_MAX
            && !self.sleepers.is_last
            && let Some(lost) = self.sleepers.untold.pop_front()
        {
            let peer = super::Peer::new(lost.session, lost.address, Some(lost.identity));
            self.tell_session(Event::Closed(peer, CloseReason::Evicted));
        }
        self.tell_news();
        self.publish();
    }

    pub(super) fn on_resumed(&mut self, established: Established) {
        self.peers.insert(established.session, established.into());
        self.publish();
    }

    pub(super) fn on_moved(&mut self, session: SessionId, address: std::net::SocketAddr) {
        let Some(peer) = self.peers.get_mut(&session) else { return };
        peer.address = address;
        let peer = peer.clone();
        self.tell_session(Event::Moved(peer));
    }

    /// Asks the owner for a key. Where it has no room, the handshake fails and the peer tries again.
    pub(super) fn on_key_wanted(&mut self, session: SessionId, identity: std::sync::Arc<str>, now: Instant) {
        if self.events.try_send(Event::KeyWanted { session, identity }).is_err() {
            self.counters.lookups_refused += 1;
            self.engine.supply_key(session, None, now, &mut self.outputs);
        }
    }

    /// Asks the owner for a session, unless it has not even heard yet that it sleeps, or was asked already.
    pub(super) fn on_wanted(&mut self, session: SessionId, now: Instant) {
        if self.sleepers.asked.contains(&session) {
            return;
        }
        if let Some(dormant) = self.sleepers.take(session) {
            return self.on_fetched(session, Some(dormant), now);
        }
        // What is untold may be told before it, but never after: the owner would look for what it does not have.
        if !self.sleepers.is_empty() || self.events.try_send(Event::SessionWanted(session)).is_err() {
            self.counters.lookups_refused += 1;
            return self.on_fetched(session, None, now);
        }
        self.sleepers.asked.insert(session);
    }

    /// Takes the owner's answer; one to a question that was not asked, or was answered before, brings nothing.
    pub(super) fn on_answered(&mut self, session: SessionId, dormant: Option<Dormant>, now: Instant) {
        if self.sleepers.asked.remove(&session) {
            self.on_fetched(session, dormant, now);
        }
    }

    /// Goes on with a session that the owner brought, and with the requests that wait for it.
    pub(super) fn on_fetched(&mut self, session: SessionId, dormant: Option<Dormant>, now: Instant) {
        let waiting = self.sleepers.requests.remove(&session).unwrap_or_default();
        let goes_on = self.engine.resume(session, dormant, now, &mut self.outputs);
        self.settle(now);
        for (request, ticket, reply) in waiting {
            if goes_on || self.peers.contains_key(&session) {
                self.request(session, request, ticket, reply, now);
            } else {
                let _ = reply.send(Err(RequestError::NoSession));
            }
        }
    }

    /// Lets a request to a session that is not here wait until it is.
    pub(super) fn request_of_absent(
        &mut self,
        session: SessionId,
        request: Request,
        ticket: Ticket,
        reply: Reply,
        now: Instant,
    ) {
        if !self.engine.hibernates() || self.sleepers.requests.len() >= WAITING_SESSIONS_MAX {
            let _ = reply.send(Err(RequestError::NoSession));
            return;
        }
        let waiting = self.sleepers.requests.entry(session).or_default();
        // Whoever has given up since needs no answer.
        waiting.retain(|(_, _, reply)| !reply.is_closed());
        let is_first = waiting.is_empty();
        waiting.push((request, ticket, reply));
        if is_first {
            self.on_wanted(session, now);
        }
    }
}

/// Hibernated sessions that wait for room among the events: with 500 bytes each, 2 MiB. More are closed.
const UNTOLD_MAX: usize = 4_096;

/// Sessions that requests wait for: as many as the events that the owner may be behind.
const WAITING_SESSIONS_MAX: usize = super::EVENTS_MAX;
