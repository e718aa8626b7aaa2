//! Says what anybody can cause at most once a minute, with how often it happened: a flood must not fill the disk.

use std::sync::{Mutex, PoisonError};

/// Lets one line through a minute, and counts those that it holds back.
#[derive(Debug, Default)]
pub(crate) struct Quiet(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// Second from which on a line passes.
    next_at: u64,
    count: u64,
}

impl Quiet {
    /// Tells whether to say it now: with how often it happened since it was said last, this time included.
    #[must_use]
    pub(crate) fn pass(&self, now: u64) -> Option<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.count += 1;
        // A clock that was set back must not silence anything for years.
        if now < held.next_at && held.next_at - now <= EVERY_S {
            return None;
        }
        held.next_at = now.saturating_add(EVERY_S);
        Some(std::mem::take(&mut held.count))
    }
}

/// What anybody can cause, a kind each.
#[derive(Debug, Default)]
pub(crate) struct Quieted {
    /// Messages that are none of the protocol.
    pub(crate) malformed: Quiet,
    /// Messages whose MAC is wrong.
    pub(crate) not_authentic: Quiet,
    /// Names that nobody enrolled.
    pub(crate) unknown: Quiet,
    /// Alarms: each is in the ledger once a day, and counted.
    pub(crate) alarm: Quiet,
    /// Tokens that are none of ours, and what else the page's login refuses.
    pub(crate) login: Quiet,
    /// Requests that failed here: with a full disk, all of them.
    pub(crate) failed: Quiet,
}

/// Seconds between two lines of one kind.
const EVERY_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_is_said_once_a_minute_with_its_count() {
        let quiet = Quiet::default();
        assert_eq!(quiet.pass(1_000), Some(1));
        for now in [1_000, 1_010, 1_059] {
            assert_eq!(quiet.pass(now), None);
        }
        assert_eq!(quiet.pass(1_060), Some(4));
    }

    #[test]
    fn clock_that_is_set_back_silences_nothing() {
        let quiet = Quiet::default();
        assert_eq!(quiet.pass(1_000_000), Some(1));
        assert_eq!(quiet.pass(5), Some(1));
    }
}
