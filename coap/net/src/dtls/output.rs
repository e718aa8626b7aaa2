//! What an engine gives back, in the order it came about.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use super::{CloseReason, Dormant};
use crate::SessionId;
use crate::counters::Traffic;

/// Collects what engine calls gave; the owner drains it and hands it in again.
///
/// The bytes lie in one buffer that is kept, so in the steady state a datagram costs no allocation.
#[derive(Default)]
pub struct Outputs {
    bytes: Vec<u8>,
    items: VecDeque<Item>,
}

enum Item {
    Transmit(SocketAddr, Range<usize>),
    Data(SessionId, Range<usize>),
    Established(Established),
    Closed(SessionId, CloseReason),
    Moved(SessionId, SocketAddr),
    KeyWanted(SessionId, Arc<str>),
    Wanted(SessionId),
    Hibernated(Dormant),
    Resumed(Established),
}

/// Tells one thing an engine did.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output<'a> {
    /// A datagram is to be sent.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// The whole UDP payload.
        datagram: &'a [u8],
    },
    /// A session can carry data from now on.
    Established(Established),
    /// Data arrived that its session's peer wrote, once.
    Data {
        /// The session it came by.
        session: SessionId,
        /// What one datagram carried.
        bytes: &'a [u8],
    },
    /// An established session, or one that [`connect`](super::Engine::connect) began, is gone.
    Closed {
        /// The session that is no more.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// The peer of a session goes on from another address.
    Moved {
        /// The session.
        session: SessionId,
        /// Where it is now.
        address: SocketAddr,
    },
    /// A handshake waits for the key of an identity; answer with [`supply_key`](super::Engine::supply_key).
    KeyWanted {
        /// The handshake.
        session: SessionId,
        /// Whose key; who names it has proved nothing yet.
        identity: Arc<str>,
    },
    /// A record came for a session that is not here; answer with [`resume`](super::Engine::resume).
    Wanted {
        /// The session; whoever sent the record may have made it up.
        session: SessionId,
    },
    /// An idle session is given out of memory; what is kept of it is all that is left.
    Hibernated(Dormant),
    /// A hibernated session goes on.
    Resumed(Established),
}

/// Describes a session whose handshake is verified.
#[derive(Clone, Debug)]
pub struct Established {
    /// The new session.
    pub session: SessionId,
    /// Where its peer is.
    pub address: SocketAddr,
    /// The PSK identity that the peer has shown to hold the key of; on the server only.
    pub identity: Option<Arc<str>>,
    /// What it has sent and received so far; goes on counting.
    pub traffic: Arc<Traffic>,
}

impl Outputs {
    /// Makes an empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes out what came about first. The buffer is reused once all is taken.
    pub fn pop(&mut self) -> Option<Output<'_>> {
        let Some(item) = self.items.pop_front() else {
            self.bytes.clear();
            return None;
        };
        Some(match item {
            Item::Transmit(to, range) => Output::Transmit { to, datagram: &self.bytes[range] },
            Item::Data(session, range) => Output::Data { session, bytes: &self.bytes[range] },
            Item::Established(established) => Output::Established(established),
            Item::Closed(session, reason) => Output::Closed { session, reason },
            Item::Moved(session, address) => Output::Moved { session, address },
            Item::KeyWanted(session, identity) => Output::KeyWanted { session, identity },
            Item::Wanted(session) => Output::Wanted { session },
            Item::Hibernated(dormant) => Output::Hibernated(dormant),
            Item::Resumed(established) => Output::Resumed(established),
        })
    }

    /// Tells whether all has been taken out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds a datagram to be sent.
    pub fn transmit(&mut self, to: SocketAddr, datagram: &[u8]) {
        let range = self.store(datagram);
        self.items.push_back(Item::Transmit(to, range));
    }

    /// Adds data that the session's peer wrote.
    pub fn data(&mut self, session: SessionId, bytes: &[u8]) {
        let range = self.store(bytes);
        self.items.push_back(Item::Data(session, range));
    }

    /// Adds that a session can carry data.
    pub fn established(&mut self, established: Established) {
        self.items.push_back(Item::Established(established));
    }

    /// Adds that a session is gone.
    pub fn closed(&mut self, session: SessionId, reason: CloseReason) {
        self.items.push_back(Item::Closed(session, reason));
    }

    /// Says that the peer of a session goes on from another address.
    pub fn moved(&mut self, session: SessionId, address: SocketAddr) {
        self.items.push_back(Item::Moved(session, address));
    }

    /// Asks for the key of an identity.
    pub fn key_wanted(&mut self, session: SessionId, identity: Arc<str>) {
        self.items.push_back(Item::KeyWanted(session, identity));
    }

    /// Asks for a hibernated session.
    pub fn wanted(&mut self, session: SessionId) {
        self.items.push_back(Item::Wanted(session));
    }

    /// Gives a session out.
    pub fn hibernated(&mut self, dormant: Dormant) {
        self.items.push_back(Item::Hibernated(dormant));
    }

    /// Says that a hibernated session goes on.
    pub fn resumed(&mut self, established: Established) {
        self.items.push_back(Item::Resumed(established));
    }

    fn store(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}
