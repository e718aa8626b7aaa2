//! How far the device is connected.

use super::gate::Gate;
use super::{Purpose, Ticket};
use alloc::string::String;
use alloc::vec::Vec;
use bellwether_coap::Instant;
use lwm2m_rs::firmware::UpdateResult;

/// A link: its state, when it may be made anew, and the one request that is under way on it.
#[derive(Debug)]
pub(super) struct Link<S> {
    pub(super) state: S,
    pub(super) gate: Gate,
    pub(super) under_way: Option<(Ticket, Purpose)>,
}

/// Where a link is on its way to a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Session {
    Down,
    /// The shell is making one.
    Connecting,
    Up,
}

/// How far the device is connected to the server.
#[derive(Debug)]
pub(super) enum Server {
    /// Not registered.
    Unregistered(Session),
    /// Registered.
    Registered {
        /// Path of the registration.
        location: Vec<String>,
        /// When to update it.
        update_at: Instant,
        /// When the server answered last.
        heard_at: Instant,
    },
}

/// How far the device is connected to the gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) session: Session,
    /// Whether the newest try to make a session, or the newest hello, failed, and nothing was heard since. A session
    /// that ended otherwise may come back at once, as after a restart of the gateway, and is waited for.
    pub(super) dead: bool,
    /// When to say hello next.
    pub(super) hello_at: Instant,
    /// Since when the session stands, or stood last.
    pub(super) up_at: Instant,
    /// When it may push a manifest again: each can cost a write and a question.
    pub(super) push_gate: Gate,
    /// Update Result of what it pushed last; the record's is for the server.
    pub(super) pushed: UpdateResult,
}

impl Gateway {
    /// Starts without a session.
    pub(super) fn new(push_gate: Gate) -> Self {
        let at = Instant::default();
        let (session, pushed) = (Session::Down, UpdateResult::Initial);
        Self { session, dead: false, hello_at: at, up_at: at, push_gate, pushed }
    }
}

impl<S> Link<S> {
    pub(super) const fn new(state: S, gate: Gate) -> Self {
        Self { state, gate, under_way: None }
    }

    pub(super) const fn is_free(&self) -> bool {
        self.under_way.is_none()
    }

    pub(super) fn take_under_way(&mut self, ticket: Ticket) -> Option<Purpose> {
        let (_, purpose) = self.under_way.take_if(|(under_way, _)| *under_way == ticket)?;
        Some(purpose)
    }
}

impl Server {
    /// Tells where it is on its way to a session.
    pub(super) const fn session(&self) -> Session {
        match self {
            Self::Unregistered(session) => *session,
            Self::Registered { .. } => Session::Up,
        }
    }
}
