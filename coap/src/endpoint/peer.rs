//! What is known of one peer.

use super::bodies::HeldBody;
use super::server::Separate;
use crate::event::{ExchangeId, RequestId};
use crate::seen::Seen;
use crate::time::Instant;
use crate::timers::TimerKey;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// State of one peer; each list is bounded by the configuration and searched in order.
pub(super) struct Peer {
    next_message_id: u16,
    pub(super) last_active: Instant,
    pub(super) idle: TimerKey,
    pub(super) seen: Seen,
    /// Requests of ours that have not ended, queued or not.
    pub(super) requests: Vec<RequestId>,
    /// Those of them that NSTART holds back.
    pub(super) queue: VecDeque<RequestId>,
    /// Interactions that NSTART counts (RFC 7252 §4.7).
    pub(super) outstanding: usize,
    /// Requests of the peer that the application has not answered.
    pub(super) exchanges: Vec<ExchangeId>,
    /// Separate responses that are not acknowledged.
    pub(super) separate: Vec<Separate>,
    /// Bodies on their way in or out, the oldest first.
    pub(super) bodies: Vec<HeldBody>,
}

impl Peer {
    /// RFC 7252 §4.4 recommends to randomise the first Message ID.
    pub(super) fn new(now: Instant, first_message_id: u16, idle: TimerKey) -> Self {
        Self {
            next_message_id: first_message_id,
            last_active: now,
            idle,
            seen: Seen::default(),
            requests: Vec::new(),
            queue: VecDeque::new(),
            outstanding: 0,
            exchanges: Vec::new(),
            separate: Vec::new(),
            bodies: Vec::new(),
        }
    }

    pub(super) fn take_message_id(&mut self) -> u16 {
        let id = self.next_message_id;
        self.next_message_id = id.wrapping_add(1);
        id
    }

    pub(super) fn is_unused(&self) -> bool {
        self.requests.is_empty()
            && self.exchanges.is_empty()
            && self.separate.is_empty()
            && self.bodies.is_empty()
    }
}
