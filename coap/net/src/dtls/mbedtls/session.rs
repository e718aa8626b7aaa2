//! One session and how far it is.

use std::net::SocketAddr;
use std::sync::Arc;

use bellwether_coap::Instant;

use super::ffi::{Connection, Fault};
use crate::SessionId;
use crate::counters::Traffic;
use crate::dtls::record::{Content, Record};
use crate::dtls::{Established, Outputs};

/// One handshake or established session.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) address: SocketAddr,
    /// The random of the `ClientHello` that began it, on a server.
    pub(super) hello_random: Option<[u8; 32]>,
    pub(super) phase: Phase,
    /// When the peer last proved to be there.
    pub(super) heard: Instant,
    pub(super) traffic: Arc<Traffic>,
}

/// How far a session is.
pub(super) enum Phase {
    Handshake {
        give_up: Instant,
        /// Whether somebody sent an alert in the clear.
        alerted: bool,
        /// Whether the peer has said that its next records are encrypted.
        cipher_changed: bool,
    },
    Live,
}

impl Session {
    pub(super) fn new(
        connection: Connection,
        address: SocketAddr,
        hello_random: Option<[u8; 32]>,
        give_up: Instant,
        now: Instant,
    ) -> Self {
        Self {
            connection,
            address,
            hello_random,
            phase: Phase::Handshake { give_up, alerted: false, cipher_changed: false },
            heard: now,
            traffic: Arc::default(),
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Notes a record of its handshake before it is acted on.
    pub(super) fn note(&mut self, record: &Record<'_>) {
        self.traffic.received(record.bytes.len(), record.is_handshake_traffic());
        if let Phase::Handshake { cipher_changed, .. } = &mut self.phase {
            *cipher_changed |= record.content == Content::ChangeCipherSpec;
        }
    }

    /// Tells whether an encrypted record can be meant for this handshake. Mbed TLS would keep an earlier
    /// one for the peer's Finished and fail on it, so anybody could end a handshake with a forged one.
    /// A true one that came too early is said again.
    pub(super) fn awaits_encrypted(&self) -> bool {
        matches!(self.phase, Phase::Handshake { cipher_changed: true, .. })
    }

    /// Describes the session; the identity is verified by now.
    pub(super) fn established(&self, id: SessionId) -> Established {
        Established {
            session: id,
            address: self.address,
            identity: self.connection.shown().and_then(|shown| shown.identity.clone()),
            traffic: Arc::clone(&self.traffic),
        }
    }

    /// Opens all that waits and hands it out; tells how many records carried data.
    pub(super) fn read_all(
        &mut self,
        id: SessionId,
        plaintext: &mut [u8],
        out: &mut Outputs,
    ) -> Result<usize, Fault> {
        let mut count = 0;
        while let Some(length) = self.connection.read(plaintext)? {
            count += 1;
            out.data(id, &plaintext[..length]);
        }
        Ok(count)
    }
}
