//! A shard: one UDP socket and one thread that does everything with it.
//!
//! A datagram is decrypted, answered and sent on the shard's thread, without a task or a channel, as
//! long as the [`Service`] knows the answer. What it does not know goes to the owner as an [`Event`].
//! The socket is both client and server: requests may go either way over any session.
//!
//! What moves it all on is a future over a [`Wire`]: [`Shard::spawn`] runs it on a thread over UDP, [`Shard::over`]
//! gives it to a caller who has a wire, an engine and a runtime of their own.

mod command;
mod driver;
mod handle;
mod news;
mod requests;
mod sleep;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bellwether_coap::{Config, Endpoint, ExchangeId, Failure, Instant, Request, Response};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use self::driver::Driver;
pub use self::handle::ShardHandle;
use crate::clock::Clock;
use crate::counters::{Counters, Traffic, TrafficBytes};
use crate::dtls::mbedtls::MbedTls;
use crate::dtls::plain::Plain;
use crate::dtls::{CloseReason, ConnectRefused, Dormant, DtlsConfig, Engine, Established};
use crate::psk::{PskStore, Secret};
use crate::wire::{Udp, Wire};
use crate::{SessionId, entropy};

/// Says how the datagrams of a shard are secured.
#[derive(Clone)]
pub enum Security {
    /// DTLS server; the store knows the clients' keys.
    PskServer(Arc<dyn PskStore>),
    /// DTLS client under one identity.
    PskClient {
        /// The PSK identity: an LwM2M device's endpoint name.
        identity: Vec<u8>,
        /// The key that belongs to it.
        key: Secret,
    },
    /// None: whoever can send to the socket is served, and every identity is unknown.
    Plain,
}

/// Everything a shard is told beforehand.
#[derive(Clone)]
pub struct ShardConfig {
    /// Where to bind. Port 0 takes a free one, see [`ShardHandle::local_addr`].
    pub bind: SocketAddr,
    /// How datagrams are secured.
    pub security: Security,
    /// Bounds and times of the CoAP endpoint.
    pub coap: Config,
    /// Bounds and times of the sessions.
    pub dtls: DtlsConfig,
}

impl ShardConfig {
    /// Makes a configuration with default bounds.
    #[must_use]
    pub fn new(bind: SocketAddr, security: Security) -> Self {
        Self { bind, security, coap: Config::default(), dtls: DtlsConfig::default() }
    }
}

/// Answers requests on the shard's thread: the fast path.
pub trait Service: Send {
    /// Answers `request` at once, or gives `None` to let the owner of the shard answer it. It must not
    /// wait for anything: every peer of the shard waits with it.
    fn answer(&mut self, peer: &Peer, request: &Request) -> Option<Response>;
}

/// Lets the owner answer everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoService;

impl Service for NoService {
    fn answer(&mut self, _: &Peer, _: &Request) -> Option<Response> {
        None
    }
}

/// Describes the other end of a session.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The session.
    pub session: SessionId,
    /// Where it is.
    pub address: SocketAddr,
    /// Who it has shown to be, on a server; an LwM2M device's endpoint name.
    pub identity: Option<Arc<str>>,
    traffic: Arc<Traffic>,
}

impl Peer {
    /// Describes a peer whose traffic nobody counts, as tests of a [`Service`] need it.
    #[must_use]
    pub fn new(session: SessionId, address: SocketAddr, identity: Option<Arc<str>>) -> Self {
        Self { session, address, identity, traffic: Arc::default() }
    }

    /// Reads how many bytes its session has carried until now, or until its end.
    #[must_use]
    pub fn traffic(&self) -> TrafficBytes {
        self.traffic.bytes()
    }

    /// Notes that it was heard.
    fn heard(&self, now: Instant) {
        self.traffic.heard(now);
    }

    fn silence(&self, now: Instant) -> Duration {
        self.traffic.silence(now)
    }
}

impl From<Established> for Peer {
    fn from(established: Established) -> Self {
        let Established { session, address, identity, traffic } = established;
        Self { session, address, identity, traffic }
    }
}

/// Tells the owner of a shard what it must know.
#[derive(Debug)]
pub enum Event {
    /// A peer has begun a session. Sessions of [`ShardHandle::connect`] are not told here.
    Connected(Peer),
    /// A peer asks what the [`Service`] did not answer; answer with [`ShardHandle::respond`].
    Request {
        /// What to answer with.
        exchange: ExchangeId,
        /// Who asks.
        peer: Peer,
        /// What it asks.
        request: Request,
    },
    /// An established session is gone, whoever began it.
    Closed(Peer, CloseReason),
    /// A peer goes on from another address.
    Moved(Peer),
    /// A handshake waits for the key of an identity; answer with [`ShardHandle::supply_key`].
    KeyWanted {
        /// The handshake.
        session: SessionId,
        /// Whose key; who names it has proved nothing yet.
        identity: Arc<str>,
    },
    /// An idle session has left memory and is the owner's to keep. For the owner its peer is still there: requests
    /// to it bring it back.
    Hibernated(Dormant),
    /// A hibernated session has to go on; answer with [`ShardHandle::resume`]. It comes after the session's
    /// [`Event::Hibernated`]. Whoever sent the datagram that wants it may have made its name up.
    SessionWanted(SessionId),
}

/// Tells why no session came about.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing was sent.
    #[error("the session was not begun")]
    Refused(#[from] ConnectRefused),
    /// The handshake did not succeed; trying again later may help.
    #[error("no session came about")]
    Failed(#[source] CloseReason),
    /// The shard is stopped.
    #[error("the shard is stopped")]
    Stopped,
}

/// Tells why a request has no response.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// Nothing was sent: the session is gone, hibernated ones included; connect again.
    #[error("no such session is established")]
    NoSession,
    /// Nothing was sent: a bound of the endpoint is in the way.
    #[error("the request was not taken")]
    NotTaken(#[from] bellwether_coap::RequestError),
    /// The request was sent, but no response came.
    #[error("the request failed")]
    Failed(#[source] Failure),
    /// The shard is stopped.
    #[error("the shard is stopped")]
    Stopped,
}

/// Starts shards.
pub struct Shard;

impl Shard {
    /// Binds the socket and starts the thread that serves it.
    ///
    /// The receiver holds [`EVENTS_MAX`] events. While it is full, requests that `service` does not
    /// answer get 5.03 with Max-Age; news of sessions waits until there is room.
    ///
    /// # Errors
    ///
    /// The operating system's error if the address is taken or unusable, or no thread or randomness is
    /// to be had.
    pub fn spawn(
        config: ShardConfig,
        service: Box<dyn Service>,
    ) -> io::Result<(ShardHandle, mpsc::Receiver<Event>)> {
        let socket = bind(config.bind)?;
        let local_addr = socket.local_addr()?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (clock, counters) = (Clock::start(), Arc::<Mutex<Counters>>::default());
        let published = Arc::clone(&counters);
        let (started, start) = sync_channel(1);
        let name = format!("shard-{}", local_addr.port());
        let thread = thread::Builder::new().name(name).spawn(move || {
            let begun = (|| -> io::Result<_> {
                let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
                let inside = runtime.enter();
                let (wire, engine) = (Udp::new(socket)?, engine(config.security, config.dtls)?);
                let parts = (wire, engine, endpoint(config.coap)?, service);
                let driver = Driver::new(parts, clock, events, published);
                drop(inside);
                Ok((runtime, driver))
            })();
            match begun {
                Ok((runtime, driver)) => {
                    let _ = started.send(Ok(()));
                    runtime.block_on(driver.run(inbox));
                }
                Err(error) => drop(started.send(Err(error))),
            }
        })?;
        start.recv().map_err(|_| io::Error::other("the shard's thread died at its start"))??;
        Ok((ShardHandle::new(local_addr, commands, (clock, counters), Some(thread)), receiver))
    }

    /// Makes a shard of given parts and leaves it to the caller to run it: the future does everything, and dropping
    /// it is what the end of the process is to other shards. Must be called inside the runtime that will run it,
    /// whose clock is the shard's.
    ///
    /// # Errors
    ///
    /// What the wire says when it is asked for its address.
    pub fn over<W: Wire, E: Engine + ?Sized>(
        wire: W,
        engine: Box<E>,
        endpoint: Endpoint<SessionId>,
        service: Box<dyn Service>,
    ) -> io::Result<(ShardHandle, mpsc::Receiver<Event>, impl Future<Output = ()>)> {
        let local_addr = wire.local_addr()?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (clock, counters) = (Clock::start(), Arc::<Mutex<Counters>>::default());
        let parts = (wire, engine, endpoint, service);
        let driver = Driver::new(parts, clock, events, Arc::clone(&counters));
        Ok((ShardHandle::new(local_addr, commands, (clock, counters), None), receiver, driver.run(inbox)))
    }
}

/// Binds a socket that no other process can share: neither `SO_REUSEADDR` nor `SO_REUSEPORT` is set, so
/// a process left over on the port is an error here instead of a thief of datagrams.
fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Makes the engine; it stays on the thread that calls this.
fn engine(security: Security, config: DtlsConfig) -> io::Result<Box<dyn Engine>> {
    Ok(match security {
        Security::PskServer(store) => Box::new(MbedTls::server(store, config).map_err(io::Error::other)?),
        Security::PskClient { identity, key } => {
            Box::new(MbedTls::client(identity, key, config).map_err(io::Error::other)?)
        }
        Security::Plain => Box::new(Plain::new(config)),
    })
}

fn endpoint(config: Config) -> io::Result<Endpoint<SessionId>> {
    let mut seed = [0; 32];
    entropy::fill(&mut seed).map_err(io::Error::other)?;
    Ok(Endpoint::new(config, seed))
}

/// Events that wait for the owner. At 10,000 requests a second that the service leaves to the owner,
/// this is a tenth of a second.
pub const EVENTS_MAX: usize = 1_024;

/// What a socket buffer should hold: a burst of 4,000 datagrams of 1 KiB. The kernel may give less.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
