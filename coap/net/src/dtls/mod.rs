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
//! - A peer with a connection ID is followed to another address only by a record that is authentic and newer
//!   than every one seen before (RFC 9146 §6). Somebody on the path who delivers such a record first, from an
//!   address of another, can thus draw our next datagrams there: at most the few that are sent without an answer.
//! - What was hibernated goes on with the replay window that it had, so a record read before is not read again;
//!   while it was away nobody read any. Its own sequence numbers jump, see [`Dormant`].
//! - An identity that nobody has is looked up like any other, and then fails where a wrong key does.

mod admission;
mod cid;
mod cookie;
mod deadlines;
mod dormant;
mod holders;
mod key_exchange;
pub mod mbedtls;
mod output;
pub mod plain;
mod record;

use std::net::SocketAddr;
use std::time::Duration;

use bellwether_coap::Instant;
use thiserror::Error;

pub use dormant::Dormant;
pub use output::{Established, Output, Outputs};

use crate::SessionId;
use crate::counters::EngineCounters;
use crate::psk::Secret;

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

    /// Ends all sessions and handshakes of an identity whose key is no longer good. An engine without identities
    /// ignores it.
    fn close_all_of(&mut self, identity: &str, now: Instant, out: &mut Outputs) {
        let _ = (identity, now, out);
    }

    /// Answers [`Output::KeyWanted`]: the handshake goes on with the key, or as if with a wrong one. An engine
    /// that asks for none ignores it.
    fn supply_key(&mut self, session: SessionId, key: Option<Secret>, now: Instant, out: &mut Outputs) {
        let _ = (session, key, now, out);
    }

    /// Answers [`Output::Wanted`], or brings a hibernated session back to send to its peer; `false` if it does
    /// not go on: there is none, or not of this engine. An engine that hibernates none ignores it.
    fn resume(
        &mut self,
        session: SessionId,
        dormant: Option<Dormant>,
        now: Instant,
        out: &mut Outputs,
    ) -> bool {
        let _ = (session, dormant, now, out);
        false
    }

    /// Tells whether sessions that are not here may be asked for.
    fn hibernates(&self) -> bool {
        false
    }

    /// Gives every session that can be hibernated out of memory, each as an [`Output::Hibernated`].
    fn hibernate_all(&mut self, now: Instant, out: &mut Outputs) {
        let _ = (now, out);
    }

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
    /// Established sessions of one identity; beyond it, its oldest one is hibernated, or else ends. Default 4: a device that changed its
    /// address has left one behind, and so has a copy of it; more would let one key take the room of all others.
    pub sessions_per_identity_max: usize,
    /// Time without data from the peer after which a session is closed. Default 86,400 s, the default
    /// lifetime of an LwM2M registration (OMA LwM2M 1.1 core, server object, resource 1).
    pub session_idle_max: Duration,
    /// Whether connection IDs are used with peers that can (RFC 9146). Default true: without, a peer behind an
    /// address translator needs a new handshake whenever that has forgotten it.
    pub connection_ids: bool,
    /// Time without data from the peer after which a session with a connection ID is hibernated; `None`:
    /// never, it stays in memory until `session_idle_max`. Default `None`, since somebody has to keep it. Longer
    /// than the 247 s for which a CoAP endpoint remembers messages (RFC 7252 §4.8.2), or it would answer one twice.
    pub hibernate_after: Option<Duration>,
    /// Number of this shard, in the first byte of each connection ID. Default 0.
    pub shard: u8,
    /// Tells connection IDs of sessions that are not in memory from made-up ones. Default `None`: the engine draws one of
    /// its own, and sessions that another one hibernated can't be asked for by their peers. 32 random bytes, kept.
    pub cid_secret: Option<Secret>,
    /// Handshakes that wait for a key which is looked up, each with up to 4 KiB. Default 256: at a
    /// millisecond a look-up they do not wait for each other.
    pub keys_awaited_max: usize,
    /// Hibernated sessions that are being fetched, each with up to 8 KiB of records. Default 256, as above. Made-up
    /// connection IDs take none of these places, but for one in 65,536.
    pub wakes_max: usize,
    /// Of those, for records from one IPv4 address or IPv6 /64 network. Default 64, a quarter as for handshakes: who has
    /// many connection IDs, his own or overheard, keeps no other place waiting; a site beyond it says it again.
    pub wakes_per_address_max: usize,
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
            connection_ids: true,
            hibernate_after: None,
            shard: 0,
            cid_secret: None,
            keys_awaited_max: 256,
            wakes_max: 256,
            wakes_per_address_max: 64,
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
