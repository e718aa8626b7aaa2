//! Whether what a device was given has ended, by a clock that may have been set meanwhile.

/// What is known of the time that has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lapse {
    /// Seconds since 1970, by the wall clock.
    pub now: u64,
    /// Seconds for which the server has run.
    pub running_s: u64,
    /// Seconds since the wall clock was seen to step; `None` where it was not.
    pub stepped_s: Option<u64>,
    /// Life of a grant.
    pub grant_lifetime_s: u64,
}

impl Lapse {
    /// Tells whether what was given at a time, by the wall clock of then, has ended since.
    ///
    /// After a step nobody knows how long ago that was, but it has ended once a whole life has passed by a clock that does
    /// not step. What was given in time to come was given before the clock was set back, perhaps while no server ran.
    #[must_use]
    pub fn has_ended(&self, given: u64) -> bool {
        let even_s = self.stepped_s.unwrap_or(u64::MAX);
        let passed_s = match self.now.checked_sub(given) {
            Some(passed_s) => passed_s.min(even_s),
            None => self.running_s.min(even_s),
        };
        passed_s > self.grant_lifetime_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: u64 = 3_600;

    fn ended(passed: i64, running_s: u64, stepped_s: Option<u64>) -> bool {
        let now = 1_800_000_000;
        Lapse { now, running_s, stepped_s, grant_lifetime_s: LIFE }
            .has_ended(now.saturating_add_signed(-passed))
    }

    #[test]
    fn what_was_given_a_life_ago_has_ended() {
        assert!(ended(3_601, 5, None) && !ended(3_600, 5, None));
        assert!(ended(3_601, 9_000, Some(3_601)));
    }

    #[test]
    fn clock_that_was_set_ahead_ends_nothing_before_a_life_has_passed() {
        assert!(!ended(1_000_000, 9_000, Some(3_600)));
        assert!(ended(1_000_000, 9_000, Some(3_601)));
    }

    #[test]
    fn what_was_given_in_time_to_come_ends_once_the_server_has_run_for_a_life() {
        assert!(!ended(-1_000_000, 3_600, None));
        assert!(ended(-1_000_000, 3_601, None));
        assert!(!ended(-1_000_000, 9_000, Some(3_600)));
        assert!(ended(-1_000_000, 9_000, Some(3_601)));
    }
}
