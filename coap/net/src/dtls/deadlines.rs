//! One deadline a session, in order.

use std::collections::{BTreeSet, HashMap};

use bellwether_coap::Instant;

use crate::SessionId;

/// Keeps at most one deadline a session. No operation looks at all of them.
#[derive(Default)]
pub(crate) struct Deadlines {
    queue: BTreeSet<(Instant, SessionId)>,
    armed: HashMap<SessionId, Instant>,
}

impl Deadlines {
    /// Sets the deadline of `session`, in place of the one it had.
    pub(crate) fn arm(&mut self, session: SessionId, at: Instant) {
        if let Some(before) = self.armed.insert(session, at) {
            self.queue.remove(&(before, session));
        }
        self.queue.insert((at, session));
    }

    /// Takes the deadline of `session` away.
    pub(crate) fn disarm(&mut self, session: SessionId) {
        if let Some(before) = self.armed.remove(&session) {
            self.queue.remove(&(before, session));
        }
    }

    /// Takes the earliest deadline out if `now` has reached it.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<SessionId> {
        self.next().filter(|&at| at <= now)?;
        self.pop_first().map(|(_, session)| session)
    }

    /// Takes the earliest deadline out, due or not.
    pub(crate) fn pop_first(&mut self) -> Option<(Instant, SessionId)> {
        let first = self.queue.pop_first()?;
        self.armed.remove(&first.1);
        Some(first)
    }

    /// Tells the earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant(Duration::from_secs(seconds))
    }

    #[test]
    fn rearmed_session_is_due_once_and_at_its_new_time() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(SessionId(1), at(5));
        deadlines.arm(SessionId(1), at(9));
        deadlines.arm(SessionId(2), at(7));
        assert_eq!(deadlines.next(), Some(at(7)));
        assert_eq!(deadlines.pop_due(at(8)), Some(SessionId(2)));
        assert_eq!(deadlines.pop_due(at(8)), None);
        assert_eq!(deadlines.pop_due(at(9)), Some(SessionId(1)));
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn disarmed_session_is_never_due() {
        let mut deadlines = Deadlines::default();
        deadlines.arm(SessionId(1), at(5));
        deadlines.disarm(SessionId(1));
        assert_eq!(deadlines.pop_due(at(100)), None);
    }
}
