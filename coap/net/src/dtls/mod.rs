//! Datagram security behind one narrow trait without IO.
//!
//! An [`Engine`] takes datagrams, time and plaintext, and gives datagrams, plaintext and news of its
//! sessions into an [`Outputs`]. [`mbedtls`] is DTLS 1.2 with PSK-AES128-CCM8 (`0xC0A8`), for either
//! role; [`plain`] is no security at all, for devices enrolled as such. An engine lives on the thread
//! that made it.
//!
//! What DTLS leaves open, every engine answers alike:
//! - A server keeps nothing for an address that has not repeated a cookie (RFC 6347 §4.2.1).
//! - A new handshake from an address with a session leaves that session alone until it is verified
//!   (RFC 6347 §4.2.8).
//! - Alerts in the clear are forgeable. They do not end a handshake that goes on; they only save the
//!   wait for one that does not.
//! - Nothing that fails authentication ends a session or is answered.

mod admission;
mod cookie;
mod deadlines;
mod holders;
pub mod mbedtls;
mod output;
pub mod plain;
mod record;

use std::net::SocketAddr;
use std::time::Duration;

use bellwether_coap::Instant;
use thiserror::Error;

pub use output::{Established, Output, Outputs};

use crate::SessionId;
use crate::counters::EngineCounters;

/// Secures datagrams between this socket and many peers.
pub trait Engine {
    /// Takes a datagram that came from `from`.
    fn on_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant, out: &mut Outputs);

    /// Begins a session with `to`. It ends in [`Output::Established`] or [`Output::Closed`].
    ///
    /// # Errors
    ///
    /// [`ConnectRefused`] if the engine takes no further session; nothing was sent.
    fn connect(
        &mut self,
        to: SocketAddr,
        now: Instant,
        out: &mut Outputs,
    ) -> Result<SessionId, ConnectRefused>;

    /// Sends `plaintext` as one datagram of an established session.
    ///
    /// # Errors
    ///
    /// [`SendError`] tells whether the session or the plaintext is the reason; nothing was sent.
    fn send(
        &mut self,
        session: SessionId,
        plaintext: &[u8],
        now: Instant,
        out: &mut Outputs,
    ) -> Result<(), SendError>;

    /// Ends a session and tells its peer; an unknown one is left unknown.
    fn close(&mut self, session: SessionId, now: Instant, out: &mut Outputs);

    /// Acts on what is due; call it when [`Engine::next_timeout`] has passed.
    fn handle_timeout(&mut self, now: Instant, out: &mut Outputs);

    /// Tells when to call [`Engine::handle_timeout`] at the latest.
    fn next_timeout(&self) -> Option<Instant>;

    /// Reads the totals.
    fn counters(&self) -> EngineCounters;
}

/// Bounds of an engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DtlsConfig {
    /// Established sessions kept; beyond it, the one idle longest makes room. Default 16,384: an idle
    /// session costs 7.6 KiB, so 125 MiB.
    pub sessions_max: usize,
    /// Established sessions of one identity; beyond it, its oldest one ends. Default 4: a device that changed its
    /// address has left one behind, and so has a copy of it; more would let one key take the room of all others.
    pub sessions_per_identity_max: usize,
    /// Time without data from the peer after which a session is closed. Default 86,400 s, the default
    /// lifetime of an LwM2M registration (OMA LwM2M 1.1 core, server object, resource 1).
    pub session_idle_max: Duration,
    /// Handshakes in progress. Default 1,024: at 12 KiB each they cost 12 MiB, and at a round trip of
    /// one second they allow a thousand devices a second.
    pub handshakes_in_progress_max: usize,
    /// Handshakes in progress from one IPv4 address or IPv6 /64 network. Default 256, a sketch: a site
    /// whose devices come back together behind one address translator, but a quarter of all.
    pub handshakes_per_address_max: usize,
    /// Time a handshake may take. Default 30 s: five transmissions of every flight.
    pub handshake_timeout: Duration,
    /// First retransmission timeout of a flight; it doubles up to 60 s. Default 1 s (RFC 6347
    /// §4.2.4.1); constrained networks want 9 s (RFC 7925 §11).
    pub retransmit_first: Duration,
}

impl Default for DtlsConfig {
    fn default() -> Self {
        Self {
            sessions_max: 16_384,
            sessions_per_identity_max: 4,
            session_idle_max: Duration::from_hours(24),
            handshakes_in_progress_max: 1_024,
            handshakes_per_address_max: 256,
            handshake_timeout: Duration::from_secs(30),
            retransmit_first: Duration::from_secs(1),
        }
    }
}

/// Tells why a session ended, or never came about.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it.
    #[error("closed by us")]
    Local,
    /// The peer closed it.
    #[error("closed by the peer")]
    Peer,
    /// The peer found a fault and says so in an authentic alert.
    #[error("ended by a fatal alert of the peer")]
    PeerAlert,
    /// The peer broke the protocol, in an authentic record.
    #[error("the peer broke the protocol")]
    PeerFault,
    /// The peer has made a new session from the same address.
    #[error("replaced by a new session of the same address")]
    Replaced,
    /// Nothing came for `session_idle_max`.
    #[error("idle for too long")]
    Idle,
    /// It was the longest idle one when `sessions_max` was reached, or its identity's oldest one beyond
    /// `sessions_per_identity_max`.
    #[error("evicted to make room")]
    Evicted,
    /// The handshake took longer than `handshake_timeout`; the peer may not be there.
    #[error("the handshake was not answered in time")]
    HandshakeTimeout,
    /// The peer broke the handshake off: most often it does not know our identity or key.
    #[error("the peer refused the handshake")]
    HandshakeRefused,
    /// The handshake did not verify here: the peer holds another key, or speaks another protocol.
    #[error("the handshake failed")]
    HandshakeFailed,
    /// The session can protect no further record.
    #[error("the session is worn out")]
    Exhausted,
}

/// Tells why a session was not begun.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ConnectRefused {
    /// This engine only answers.
    #[error("a server engine begins no session")]
    ServerRole,
    /// Wait for other handshakes to end.
    #[error("as many handshakes are in progress as allowed")]
    TooManyHandshakes,
    /// The engine could not allocate or set up a session.
    #[error("the engine could not set up a session")]
    Setup,
}

/// Tells why a datagram was not sent.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SendError {
    /// The session is gone or not yet established.
    #[error("no such session is established")]
    NoSession,
    /// Send less.
    #[error("{bytes} bytes do not fit a record")]
    TooLong {
        /// Size of the plaintext, in bytes.
        bytes: usize,
    },
}

/// The longest plaintext of one datagram: what the buffers of a session have room for.
pub const PLAINTEXT_BYTES_MAX: usize = 2048;
