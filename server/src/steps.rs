//! Notices that the wall clock steps: what is timed by it then looks as if it had lasted for ever, or not begun.

use std::sync::{Mutex, PoisonError};

/// What was seen of the clock.
#[derive(Debug, Default)]
pub(crate) struct Steps(Mutex<Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// How far the wall clock was ahead of the steady one, in seconds; `None` before the first look.
    ahead_s: Option<u64>,
    /// When it was seen to have stepped, by the steady clock.
    stepped_at: Option<u64>,
}

impl Steps {
    /// Compares both clocks, in seconds, with what they said before, and gives when the wall clock stepped last, by the
    /// steady one.
    pub(crate) fn look(&self, now: u64, steady: u64) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead_s = now.saturating_sub(steady);
        if seen.ahead_s.is_some_and(|before| before.abs_diff(ahead_s) > IGNORED_S_MAX) {
            seen.stepped_at = Some(steady);
        }
        seen.ahead_s = Some(ahead_s);
        seen.stepped_at
    }
}

/// Steps that make no difference: what rounding makes of two looks, and what a machine that was paused, or whose time
/// service steps its clock now and then, is corrected by. Where they counted, nothing would ever end on a machine that
/// has one in each life of a grant, which is 7 days; and a minute is the least life that can be configured.
const IGNORED_S_MAX: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_in_either_direction_is_noticed_when_it_is_made() {
        let steps = Steps::default();
        assert_eq!(steps.look(1_000, 0), None);
        assert_eq!(steps.look(1_011, 10), None, "both are rounded");
        assert_eq!(steps.look(5_000, 20), Some(20));
        assert_eq!(steps.look(5_010, 30), Some(20));
        assert_eq!(steps.look(400, 31), Some(31));
    }

    #[test]
    fn clock_that_is_corrected_by_seconds_again_and_again_has_not_stepped() {
        let steps = Steps::default();
        let corrected = (0..1_000).map(|week| steps.look(1_000 + week * 604_860, week * 604_800));
        assert!(corrected.into_iter().all(|stepped| stepped.is_none()));
        assert_eq!(steps.look(1_000 + 1_000 * 604_860 + 61, 1_000 * 604_800), Some(1_000 * 604_800));
    }

    #[test]
    fn clock_that_is_slewed_has_not_stepped() {
        let steps = Steps::default();
        let slewed = (0..10_000).map(|steady| steps.look(1_000 + steady + steady / 500, steady));
        assert!(slewed.into_iter().all(|stepped| stepped.is_none()));
    }
}
