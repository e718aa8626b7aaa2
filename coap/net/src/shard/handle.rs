//! The owner's side of a shard.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bellwether_coap::{ExchangeId, Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::command::{Command, Ticket};
use super::{ConnectError, Peer, RequestError};
use crate::SessionId;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::dtls::Dormant;
use crate::psk::Secret;

/// Speaks to a running shard, from any thread. The shard stops when its last handle is dropped.
#[derive(Clone)]
pub struct ShardHandle {
    local_addr: SocketAddr,
    commands: mpsc::UnboundedSender<Command>,
    clock: Clock,
    tickets: Arc<AtomicU64>,
    counters: Arc<Mutex<Counters>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl ShardHandle {
    pub(super) fn new(
        local_addr: SocketAddr,
        commands: mpsc::UnboundedSender<Command>,
        (clock, counters): (Clock, Arc<Mutex<Counters>>),
        thread: Option<JoinHandle<()>>,
    ) -> Self {
        let thread = Arc::new(Mutex::new(thread));
        Self { local_addr, commands, clock, tickets: Arc::default(), counters, thread }
    }

    /// Tells where the socket is bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Makes a session with `address` and waits for its handshake. An older session with the same
    /// address lives until the new one is verified, and is then closed; an unfinished handshake with it is
    /// given up.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] tells whether the peer was asked at all.
    pub async fn connect(&self, address: SocketAddr) -> Result<Peer, ConnectError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Connect { to: address, reply });
        answer.await.unwrap_or(Err(ConnectError::Stopped))
    }

    /// Sends a request and waits for its response. Dropping the future cancels the request.
    ///
    /// # Errors
    ///
    /// [`RequestError`] tells whether anything was sent. A response with an error code is no error.
    pub async fn request(&self, session: SessionId, request: Request) -> Result<Response, RequestError> {
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        let mut guard = CancelOnDrop { handle: self, ticket: Some(ticket) };
        self.tell(Command::Request { session, request: Box::new(request), ticket, reply });
        let answer = answer.await;
        guard.ticket = None;
        answer.unwrap_or(Err(RequestError::Stopped))
    }

    /// Answers a request. One that was abandoned, or whose peer is gone, is left unanswered.
    pub fn respond(&self, exchange: ExchangeId, response: Response) {
        self.tell(Command::Respond { exchange, response: Box::new(response) });
    }

    /// Ends a session and tells its peer; an unknown one is left unknown.
    pub fn close(&self, session: SessionId) {
        self.tell(Command::Close(session));
    }

    /// Closes all sessions and handshakes of an identity whose key is no longer good.
    pub fn close_all_of(&self, identity: &str) {
        self.tell(Command::CloseAllOf(identity.into()));
    }

    /// Answers [`Event::KeyWanted`](super::Event::KeyWanted); `None`: nobody has that name.
    pub fn supply_key(&self, session: SessionId, key: Option<Secret>) {
        self.tell(Command::SupplyKey { session, key });
    }

    /// Answers [`Event::SessionWanted`](super::Event::SessionWanted); `None`: it is not kept. Whoever gives one has
    /// taken it away from where it was kept, for good.
    pub fn resume(&self, session: SessionId, dormant: Option<Dormant>) {
        self.tell(Command::Resume { session, dormant: dormant.map(Box::new) });
    }

    /// Stops the shard like [`ShardHandle::stop`], but gives the sessions that can be hibernated, without a word to
    /// their peers. Those told by [`Event::Hibernated`](super::Event::Hibernated) before are not among them.
    pub async fn hibernate(&self) -> Vec<Dormant> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Hibernate(reply));
        let dormant = answer.await.unwrap_or_default();
        self.stop();
        dormant
    }

    /// Takes what comes in, as at the start, or loses it from now on, as a radio that is switched off does; returns once it is
    /// so. What is sent still goes out, and sessions stay.
    pub async fn listen(&self, listens: bool) {
        let (done, told) = oneshot::channel();
        self.tell(Command::Listen { listens, done });
        // A stopped shard hears nothing anyhow.
        let _ = told.await;
    }

    /// Tells how long ago the last message of a peer of this shard came. One that goes on after it slept is another
    /// [`Peer`]: this one is heard no more.
    #[must_use]
    pub fn silence(&self, peer: &Peer) -> Duration {
        peer.silence(self.clock.now())
    }

    /// Reads the totals. They include everything that led to the last event or answer.
    #[must_use]
    pub fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the thread still serves the socket.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Closes all sessions, tells their peers, frees the port, and waits for the thread to end, where it has one.
    pub fn stop(&self) {
        self.tell(Command::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread ended by a panic has said so itself; nothing is left to stop.
            let _ = thread.join();
        }
    }

    /// Hands a command over; a stopped shard drops it, and with it the place for the answer.
    fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

/// Frees the place of a request whose caller has gone away.
struct CancelOnDrop<'a> {
    handle: &'a ShardHandle,
    ticket: Option<Ticket>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.handle.tell(Command::Cancel(ticket));
        }
    }
}
