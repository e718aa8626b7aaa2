//! Which of the two links carries a step of an update.
//!
//! The gateway does, while its link stands. A step that fails there again and again goes to the server for a while,
//! and so does every step while the gateway cannot be reached; what a gateway says ends nothing.

use bellwether_coap::Instant;
use core::time::Duration;

/// A link of the device.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Route {
    /// To the server: registration, LwM2M operations, and steps of updates.
    Server,
    /// To the gateway: steps of updates, hello, a manifest that is pushed and its Execute.
    Gateway,
}

/// What either link can carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// A report.
    Report,
    /// An update request.
    Ask,
    /// A frame.
    Frame,
}

/// How one kind of step fares at the gateway.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Way {
    failures: u8,
    /// Until then the server is asked, where it can be.
    detour_until: Option<Instant>,
}

/// How each kind of step fares at the gateway.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways {
    report: Way,
    ask: Way,
    frame: Way,
}

impl Way {
    /// Counts a failure at the gateway; true where it sends the step on a detour.
    pub(super) fn fail(&mut self, now: Instant, again: Duration) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < FAILURES_MAX {
            return false;
        }
        // After the detour the gateway is tried once before the next one.
        self.failures = FAILURES_MAX - 1;
        self.detour_until = Some(now.after(again));
        true
    }

    /// Takes the news that the gateway served.
    pub(super) fn succeed(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_detour(&self, now: Instant) -> bool {
        self.detour_until.is_some_and(|until| now < until)
    }
}

impl Ways {
    pub(super) fn of(&self, step: Step) -> &Way {
        match step {
            Step::Report => &self.report,
            Step::Ask => &self.ask,
            Step::Frame => &self.frame,
        }
    }

    pub(super) fn of_mut(&mut self, step: Step) -> &mut Way {
        match step {
            Step::Report => &mut self.report,
            Step::Ask => &mut self.ask,
            Step::Frame => &mut self.frame,
        }
    }
}

/// Failures in a row of one kind of step, waits that the gateway asked for among them, before the server is tried:
/// one may be chance, two a restart.
pub const FAILURES_MAX: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: Duration = Duration::from_mins(10);

    #[test]
    fn third_failure_in_a_row_begins_a_detour_that_ends() {
        let (mut way, now) = (Way::default(), Instant(Duration::from_secs(1)));
        assert!(!way.fail(now, AGAIN) && !way.fail(now, AGAIN) && !way.is_detour(now));
        assert!(way.fail(now, AGAIN) && way.is_detour(now));
        assert!(!way.is_detour(now.after(AGAIN)));
    }

    #[test]
    fn success_in_between_begins_the_count_again() {
        let (mut way, now) = (Way::default(), Instant::default());
        way.fail(now, AGAIN);
        way.fail(now, AGAIN);
        way.succeed();
        assert!(!way.fail(now, AGAIN));
    }

    #[test]
    fn one_failure_after_a_detour_begins_the_next_one() {
        let (mut way, now) = (Way::default(), Instant::default());
        assert_eq!([0; 3].map(|_| way.fail(now, AGAIN)), [false, false, true]);
        assert!(way.fail(now.after(AGAIN), AGAIN));
        assert!(way.is_detour(now.after(AGAIN)));
    }
}
