//! What an engine gives back, in the order it came about.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use super::CloseReason;
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
}

/// Tells one thing an engine did.
#[derive(Debug)]
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

    fn store(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}
