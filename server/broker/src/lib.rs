//! The embedded MQTT broker: for one machine, with one login.
//!
//! One port takes MQTT 3.1.1 and 5. What it is not: it has no access lists, so whoever can log in may publish and read
//! everything, commands included; it has no TLS, so it listens on loopback alone; retained messages, sessions and what
//! waits for a client are in memory, and gone when the process ends; a client that falls further behind than
//! [`WAITING_BYTES_MAX`] loses messages; a client of 3.1.1 is let go when a message with properties of MQTT 5 comes its
//! way, such as a reply with correlation data to somebody else. A publisher has its acknowledgement before a subscriber has the message. For
//! more than one machine, for roles and for durable sessions, run a broker of your own.
//!
//! The library (rumqttd) listens on two loopback ports of its own, one a version; the front hands each connection on.

mod front;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rumqttd::protocol::Protocol;
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The one login.
#[derive(Clone)]
pub struct Login {
    /// Who.
    pub user: String,
    /// The password that goes with it.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why the broker does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address is not on loopback: this broker is for one machine.
    #[error("{0} is not on loopback")]
    NotLoopback(SocketAddr),
    /// Another process has the address.
    #[error("{address} can't be bound: {source}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// No free port was found for the broker's inside.
    #[error("no port of loopback is free")]
    NoPort,
}

/// A running broker; it takes no more connections once this is dropped.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Broker {
    /// Starts a broker; it answers when this returns.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn start(listen: SocketAddr, login: Login) -> Result<Self, StartError> {
        if !listen.ip().is_loopback() {
            return Err(StartError::NotLoopback(listen));
        }
        let failed = |source| StartError::Bind { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let router = Router::new(0, router_config()).spawn();
        let (v4, v4_task) =
            inside("3.1.1", &login, |settings| Server::new(settings, router.clone(), V4)).await?;
        let (v5, v5_task) = inside("5", &login, |settings| Server::new(settings, router.clone(), V5)).await?;
        let front = tokio::spawn(front::run(listener, front::Doors { v4, v5 }));
        Ok(Self { address, tasks: vec![v4_task, v5_task, front] })
    }

    /// Where clients come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Opens the library's own port for one version; it binds by itself, so a port that somebody takes first is tried anew.
async fn inside<P: Protocol + Clone + Send + Sync + 'static>(
    version: &str,
    login: &Login,
    server: impl Fn(ServerSettings) -> Server<P>,
) -> Result<(SocketAddr, JoinHandle<()>), StartError> {
    for _ in 0..PORTS_TRIED_MAX {
        let address = free_port().await?;
        let mut server = server(settings(version, address, login));
        let mut task = tokio::spawn(async move {
            // It ends where it can't bind; there is nothing else that ends it.
            drop(server.start(LinkType::Remote).await);
        });
        tokio::select! {
            _ = &mut task => {}
            () = answers(address) => return Ok((address, task)),
        }
    }
    Err(StartError::NoPort)
}

async fn free_port() -> Result<SocketAddr, StartError> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let failed = |source| StartError::Bind { address: any, source };
    let probe = TcpListener::bind(any).await.map_err(failed)?;
    probe.local_addr().map_err(failed)
}

async fn answers(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn router_config() -> RouterConfig {
    RouterConfig {
        max_connections: CONNECTIONS_MAX,
        max_outgoing_packet_count: OUTGOING_PACKETS_MAX,
        max_segment_size: WAITING_BYTES_MAX / SEGMENTS,
        max_segment_count: SEGMENTS,
        ..RouterConfig::default()
    }
}

fn settings(version: &str, listen: SocketAddr, login: &Login) -> ServerSettings {
    let connections = ConnectionSettings {
        connection_timeout_ms: LOGIN_MS_MAX,
        max_payload_size: PAYLOAD_BYTES_MAX,
        max_inflight_count: IN_FLIGHT_MAX,
        auth: Some([(login.user.clone(), login.password.clone())].into()),
        external_auth: None,
        dynamic_filters: false,
    };
    let next_connection_delay_ms = 1;
    ServerSettings { name: version.to_owned(), listen, tls: None, next_connection_delay_ms, connections }
}

/// Clients at the same time: fleet managers and their tools, not devices.
pub const CONNECTIONS_MAX: usize = 256;

/// Bytes that the broker keeps of each subscription for clients that are behind; more is lost to them.
pub const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of one message: progress of a campaign with a thousand classes has a quarter of it.
pub const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// The log of a subscription is let go of by the segment.
const SEGMENTS: usize = 4;

/// Messages on their way to one client without its acknowledgement.
const IN_FLIGHT_MAX: usize = 100;

/// Packets that one client is handed at a time, before it is another's turn; the library's own value.
const OUTGOING_PACKETS_MAX: u64 = 200;

/// Time for a client to log in: a slow one on loopback takes less, and an open connection that says nothing costs one of
/// [`CONNECTIONS_MAX`].
const LOGIN_MS_MAX: u16 = 10_000;

/// Ports that are tried before it is given up.
const PORTS_TRIED_MAX: usize = 16;

/// Between looks whether the library listens yet.
const LOOK_EVERY: Duration = Duration::from_millis(5);
