//! One session and how far it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bellwether_coap::Instant;

use super::ffi::{Connection, Fault, Found};
use crate::SessionId;
use crate::counters::Traffic;
use crate::dtls::key_exchange::KeyExchange;
use crate::dtls::record::{Content, Record};
use crate::dtls::{Dormant, Established, Outputs};

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
    /// Whether the peer sends to a connection ID; known once the handshake is done.
    pub(super) has_cid: bool,
    /// Who the peer has shown to be, on a server.
    pub(super) identity: Option<Arc<str>>,
    /// How old the session was when this engine began with it, and when that was.
    pub(super) since: (Duration, Instant),
}

/// How far a session is.
pub(super) enum Phase {
    Handshake {
        give_up: Instant,
        /// Whether somebody sent an alert in the clear.
        alerted: bool,
        /// Whether the peer has said that its next records are encrypted.
        cipher_changed: bool,
        /// What has come of the message that names the identity, on a server.
        exchange: KeyExchange,
        key: Key,
    },
    Live,
}

/// What a server knows of the key for a handshake.
pub(super) enum Key {
    /// No identity was named yet.
    Unasked,
    /// It is being looked up, and these records wait for it; with the first one the identity was known.
    Awaited { identity: Arc<str>, held: Vec<Box<[u8]>>, bytes: usize },
    /// It was looked up, and is used by the record with which the identity is known.
    Known(Found),
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
            phase: Phase::Handshake {
                give_up,
                alerted: false,
                cipher_changed: false,
                exchange: KeyExchange::default(),
                key: Key::Unasked,
            },
            heard: now,
            traffic: Arc::default(),
            has_cid: false,
            identity: None,
            since: (Duration::ZERO, now),
        }
    }

    /// Takes a session up that was hibernated.
    pub(super) fn resumed(connection: Connection, dormant: &Dormant, now: Instant) -> Self {
        Self {
            connection,
            address: dormant.address,
            hello_random: None,
            phase: Phase::Live,
            heard: now,
            traffic: Arc::default(),
            has_cid: true,
            identity: Some(Arc::clone(&dormant.identity)),
            since: (dormant.age, now),
        }
    }

    /// Goes from the handshake to what it made.
    pub(super) fn go_live(&mut self, now: Instant) {
        self.phase = Phase::Live;
        self.heard = now;
        self.has_cid = self.connection.has_cid();
        self.identity = self.connection.shown().and_then(|shown| shown.identity.clone());
    }

    /// Gives the session out of memory; `None` if it cannot be, and then nothing has changed.
    pub(super) fn hibernate(&mut self, id: SessionId, now: Instant) -> Option<Dormant> {
        let identity = self.identity.clone().filter(|_| self.has_cid && self.is_live())?;
        let state = self.connection.save()?;
        let (before, since) = self.since;
        let age = before + now.0.saturating_sub(since.0);
        Some(Dormant::new(id, identity, self.address, age, state))
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Notes a record of its handshake before it is acted on.
    pub(super) fn note(&mut self, record: &Record<'_>) {
        self.traffic.received(record.bytes.len(), true);
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

    /// Tells whom the peer has named itself, long before it has proved to be that.
    pub(super) fn named(&self) -> Option<&str> {
        match &self.phase {
            Phase::Live => self.identity.as_deref(),
            Phase::Handshake { key: Key::Awaited { identity, .. }, .. } => Some(identity),
            Phase::Handshake { key: Key::Known(found), .. } => Some(&found.identity),
            // Its key was in memory.
            Phase::Handshake { key: Key::Unasked, .. } => self.connection.shown()?.identity.as_deref(),
        }
    }

    /// Describes the session; the identity is verified by now.
    pub(super) fn established(&self, id: SessionId) -> Established {
        Established {
            session: id,
            address: self.address,
            identity: self.identity.clone(),
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
