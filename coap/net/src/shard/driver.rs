//! The shard's heart: wire, engine, endpoint and service, moved on together.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellwether_coap::{Code, Endpoint, Event as CoapEvent, ExchangeId, Instant, Request, Response};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::command::{Command, Reply, Ticket};
use super::news::News;
use super::requests::Requests;
use super::sleep::Sleepers;
use super::{ConnectError, Event, Peer, RequestError, Service};
use crate::SessionId;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::dtls::{CloseReason, Engine, Output, Outputs, SendError};
use crate::wire::Wire;

/// Everything that is worked on at a wake.
pub(super) struct Driver<W, E: ?Sized> {
    wire: W,
    pub(super) engine: Box<E>,
    pub(super) endpoint: Endpoint<SessionId>,
    service: Box<dyn Service>,
    clock: Clock,
    /// What the engine gave and is not yet acted on, and an empty one to swap it with.
    pub(super) outputs: Outputs,
    spare: Outputs,
    pub(super) peers: HashMap<SessionId, Peer>,
    connecting: HashMap<SessionId, oneshot::Sender<Result<Peer, ConnectError>>>,
    requests: Requests,
    pub(super) events: mpsc::Sender<Event>,
    news: News,
    pub(super) sleepers: Sleepers,
    pub(super) counters: Counters,
    published: Arc<Mutex<Counters>>,
    room: Box<[u8]>,
    /// What comes in is lost, as with a radio that is off.
    is_deaf: bool,
}

/// What woke the driver.
enum Wake {
    Command(Option<Command>),
    Readable,
    Due,
    /// The owner has taken an event, or has gone.
    Room,
}

impl<W: Wire, E: Engine + ?Sized> Driver<W, E> {
    /// Puts the parts together; must be called inside the runtime that will run them.
    pub(super) fn new(
        (wire, engine, endpoint, service): (W, Box<E>, Endpoint<SessionId>, Box<dyn Service>),
        clock: Clock,
        events: mpsc::Sender<Event>,
        published: Arc<Mutex<Counters>>,
    ) -> Self {
        Self {
            wire,
            engine,
            endpoint,
            service,
            clock,
            outputs: Outputs::new(),
            spare: Outputs::new(),
            peers: HashMap::new(),
            connecting: HashMap::new(),
            requests: Requests::default(),
            events,
            news: News::default(),
            sleepers: Sleepers::default(),
            counters: Counters::default(),
            published,
            room: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
            is_deaf: false,
        }
    }

    /// Serves the wire until told to stop, or until nobody can tell any more.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>) {
        loop {
            let (next, has_news) = (self.next_timeout(), self.has_news());
            let wait = next.map(|next| next.0.saturating_sub(self.clock.now().0));
            let wake = wake(&mut inbox, &self.wire, wait, has_news.then_some(&self.events)).await;
            let now = self.clock.now();
            match wake {
                Wake::Command(None | Some(Command::Stop)) => break,
                Wake::Command(Some(Command::Hibernate(reply))) => return self.hibernate(reply, now),
                Wake::Command(Some(command)) => self.on_command(command, now),
                Wake::Readable | Wake::Due | Wake::Room => {}
            }
            self.receive(now);
            self.on_time(now);
            self.tell_news();
            self.publish();
        }
        self.close_all();
        self.publish();
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.engine.next_timeout().into_iter().chain(self.endpoint.poll_timeout()).min()
    }

    fn on_time(&mut self, now: Instant) {
        if self.engine.next_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now, &mut self.outputs);
            self.settle(now);
        }
        if self.endpoint.poll_timeout().is_some_and(|at| at <= now) {
            self.endpoint.handle_timeout(now);
            self.settle(now);
        }
    }

    /// Takes datagrams until there are none, but no more than a batch: commands and timers want a turn.
    fn receive(&mut self, now: Instant) {
        for _ in 0..BATCH_MAX {
            match self.wire.try_receive(&mut self.room) {
                Ok(_) if self.is_deaf => self.counters.datagrams_missed += 1,
                Ok((length, from)) => {
                    let datagram = &self.room[..length];
                    self.engine.on_datagram(from, datagram, now, &mut self.outputs);
                    self.settle(now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An earlier datagram of ours was refused somewhere; whose it was is not told.
                Err(_) => {}
            }
        }
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Connect { to, reply } => self.connect(to, reply, now),
            Command::Request { session, request, ticket, reply } => {
                self.request(session, *request, ticket, reply, now);
            }
            Command::Cancel(ticket) => {
                if let Some(id) = self.requests.cancel(ticket) {
                    self.endpoint.cancel(id);
                }
            }
            Command::Respond { exchange, response } => self.respond(exchange, *response, now),
            Command::Close(session) => self.engine.close(session, now, &mut self.outputs),
            Command::CloseAllOf(identity) => {
                self.sleepers.forget_all_of(&identity);
                self.engine.close_all_of(&identity, now, &mut self.outputs);
            }
            Command::SupplyKey { session, key } => {
                self.engine.supply_key(session, key, now, &mut self.outputs);
            }
            Command::Resume { session, dormant } => {
                self.on_answered(session, dormant.map(|dormant| *dormant), now);
            }
            Command::Listen { listens, done } => {
                // What came before belongs to the time before.
                self.receive(now);
                self.is_deaf = !listens;
                self.publish();
                let _ = done.send(());
            }
            Command::Hibernate(_) | Command::Stop => {}
        }
        self.settle(now);
    }

    fn connect(&mut self, to: SocketAddr, reply: oneshot::Sender<Result<Peer, ConnectError>>, now: Instant) {
        match self.engine.connect(to, now, &mut self.outputs) {
            Ok(session) => drop(self.connecting.insert(session, reply)),
            Err(refused) => drop(reply.send(Err(refused.into()))),
        }
    }

    pub(super) fn request(
        &mut self,
        session: SessionId,
        request: Request,
        ticket: Ticket,
        reply: Reply,
        now: Instant,
    ) {
        if !self.peers.contains_key(&session) {
            return self.request_of_absent(session, request, ticket, reply, now);
        }
        match self.endpoint.request(now, session, request) {
            Ok(id) => self.requests.add(id, ticket, reply),
            Err(error) => drop(reply.send(Err(error.into()))),
        }
    }

    fn respond(&mut self, exchange: ExchangeId, response: Response, now: Instant) {
        // An exchange that is no more was abandoned, and counted, by the endpoint.
        let _ = self.endpoint.respond(now, exchange, response);
    }

    /// Passes on what engine and endpoint gave until neither has anything left.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            let mut batch = mem::replace(&mut self.outputs, mem::take(&mut self.spare));
            while let Some(output) = batch.pop() {
                self.on_output(output, now);
            }
            self.spare = batch;
            let mut quiet = true;
            while let Some(event) = self.endpoint.poll_event() {
                quiet = false;
                self.on_coap_event(event, now);
            }
            while let Some(transmit) = self.endpoint.poll_transmit() {
                quiet = false;
                self.send(transmit.peer, &transmit.bytes, now);
            }
            if quiet && self.outputs.is_empty() {
                return;
            }
        }
    }

    fn on_output(&mut self, output: Output<'_>, now: Instant) {
        match output {
            Output::Transmit { to, datagram } => {
                // A full buffer loses the datagram like a full router would; the peer asks again.
                if self.wire.send(to, datagram).is_err() {
                    self.counters.datagrams_unsent += 1;
                }
            }
            Output::Data { session, bytes } => {
                if let Some(peer) = self.peers.get(&session) {
                    peer.heard(now);
                }
                self.endpoint.handle_datagram(now, session, bytes);
            }
            Output::Established(established) => self.on_established(established.into(), now),
            Output::Closed { session, reason } => self.on_closed(session, reason),
            Output::Moved { session, address } => self.on_moved(session, address),
            Output::KeyWanted { session, identity } => self.on_key_wanted(session, identity, now),
            Output::Wanted { session } => self.on_wanted(session, now),
            Output::Hibernated(dormant) => self.on_hibernated(dormant),
            Output::Resumed(established) => self.on_resumed(established),
        }
    }

    fn on_established(&mut self, peer: Peer, now: Instant) {
        let session = peer.session;
        peer.heard(now);
        self.peers.insert(session, peer.clone());
        self.publish();
        let Some(reply) = self.connecting.remove(&session) else {
            return self.tell_session(Event::Connected(peer));
        };
        if reply.send(Ok(peer)).is_err() {
            // Nobody waits for the session any more, so nobody would ever close it.
            self.engine.close(session, now, &mut self.outputs);
        }
    }

    fn on_closed(&mut self, session: SessionId, reason: CloseReason) {
        self.endpoint.forget(session);
        self.publish();
        if let Some(reply) = self.connecting.remove(&session) {
            let _ = reply.send(Err(ConnectError::Failed(reason)));
        }
        if let Some(peer) = self.peers.remove(&session) {
            self.tell_session(Event::Closed(peer, reason));
        }
    }

    fn send(&mut self, session: SessionId, bytes: &[u8], now: Instant) {
        match self.engine.send(session, bytes, now, &mut self.outputs) {
            Ok(()) => {}
            Err(SendError::NoSession) => self.endpoint.forget(session),
            Err(SendError::TooLong { .. }) => self.counters.datagrams_unsent += 1,
        }
    }

    fn on_coap_event(&mut self, event: CoapEvent<SessionId>, now: Instant) {
        match event {
            CoapEvent::Request { exchange, peer, request } => self.on_request(exchange, peer, request, now),
            CoapEvent::Response { id, response, .. } => {
                self.publish();
                self.requests.finish(id, Ok(response));
            }
            CoapEvent::Failed { id, reason, .. } => {
                self.publish();
                self.requests.finish(id, Err(RequestError::Failed(reason)));
            }
        }
    }

    /// Lets the service answer, else the owner, else nobody for now.
    fn on_request(&mut self, exchange: ExchangeId, session: SessionId, request: Request, now: Instant) {
        let Some(peer) = self.peers.get(&session) else {
            return;
        };
        if let Some(response) = self.service.answer(peer, &request) {
            return self.respond(exchange, response, now);
        }
        let event = Event::Request { exchange, peer: peer.clone(), request };
        self.publish();
        // What waits of the news may tell of this very peer, and must be heard first.
        if self.has_news() || self.events.try_send(event).is_err() {
            self.counters.requests_refused += 1;
            let mut busy = Response::new(Code::SERVICE_UNAVAILABLE);
            busy.max_age = Some(BUSY_MAX_AGE_S);
            self.respond(exchange, busy, now);
        }
    }

    pub(super) fn tell_session(&mut self, event: Event) {
        self.news.add(event);
        self.tell_news();
    }

    fn has_news(&self) -> bool {
        !self.news.is_empty() || !self.sleepers.is_empty()
    }

    pub(super) fn tell_news(&mut self) {
        if self.events.is_closed() {
            self.news = News::default();
        }
        while self.has_news() {
            let Ok(permit) = self.events.try_reserve() else {
                return;
            };
            let Some(event) = self.sleepers.pop().or_else(|| self.news.pop()) else { return };
            permit.send(event);
        }
    }

    /// Ends like [`Driver::run`], but hands the sessions out that can be hibernated.
    fn hibernate(mut self, reply: oneshot::Sender<Vec<crate::dtls::Dormant>>, now: Instant) {
        // What has come in already was sent before the end, and so belongs to the sessions.
        self.receive(now);
        self.sleepers.keep_all();
        self.engine.hibernate_all(now, &mut self.outputs);
        self.settle(now);
        self.close_all();
        self.publish();
        // Nobody waits for them any more: then they are gone, as after a crash.
        let _ = reply.send(self.sleepers.take_all());
    }

    fn close_all(&mut self) {
        let now = self.clock.now();
        let mut sessions: Vec<_> = self.peers.keys().copied().collect();
        sessions.sort_unstable();
        for session in sessions {
            self.engine.close(session, now, &mut self.outputs);
            self.settle(now);
        }
    }

    /// Shows the counters to the handles; called before anything that a reader may wait for.
    pub(super) fn publish(&mut self) {
        self.counters.sessions = self.engine.counters();
        self.counters.coap = *self.endpoint.counters();
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = self.counters;
    }
}

/// Waits for the first of: a command, a datagram, the end of `wait`, room for news among the `events`.
async fn wake<W: Wire>(
    inbox: &mut mpsc::UnboundedReceiver<Command>,
    wire: &W,
    wait: Option<Duration>,
    events: Option<&mpsc::Sender<Event>>,
) -> Wake {
    let room = async {
        match events {
            Some(events) => drop(events.reserve().await),
            None => pending().await,
        }
    };
    tokio::select! {
        // Always in this order, so that the same happenings have the same outcome. None starves: at every wake,
        // datagrams are taken and timers looked at.
        biased;
        command = inbox.recv() => Wake::Command(command),
        () = wire.readable() => Wake::Readable,
        () = sleep(wait.unwrap_or_default()), if wait.is_some() => Wake::Due,
        () = room => Wake::Room,
    }
}

/// Datagrams taken at one wake: a latency of a few milliseconds for commands and timers at full load.
const BATCH_MAX: usize = 64;

/// Room for a received datagram. A longer one is cut and so malformed: no record is that long.
const DATAGRAM_BYTES_MAX: usize = 4_096;

/// Seconds after which a peer that met a full shard should ask again. RFC 7252 §5.9.3.4.
const BUSY_MAX_AGE_S: u32 = 5;
