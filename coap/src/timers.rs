//! Timers of an endpoint: a wheel where thousands wait, a list where a handful do.
//!
//! A device on a bare target has about ten at once: there the wheel's slots would be 2 KiB of RAM. Both are the same to
//! their callers.

#[cfg(not(target_os = "none"))]
pub(crate) use crate::wheel::{TimerKey, Wheel as Timers};

#[cfg(target_os = "none")]
pub(crate) use list::{TimerKey, TimerList as Timers};

use crate::time::Instant;

/// Whole milliseconds that have passed.
pub(crate) fn ticks_down(at: Instant) -> u64 {
    u64::try_from(at.0.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds after which a moment has come.
pub(crate) fn ticks_up(at: Instant) -> u64 {
    let part = !at.0.subsec_nanos().is_multiple_of(1_000_000);
    ticks_down(at).saturating_add(u64::from(part))
}

#[cfg(any(target_os = "none", test))]
mod list {
    use crate::time::Instant;
    use alloc::vec::Vec;
    use core::time::Duration;

    /// Timers that carry a value each, in the order in which they were set.
    pub(crate) struct TimerList<T> {
        timers: Vec<Timer<T>>,
        /// Milliseconds up to which everything has expired.
        elapsed: u64,
        /// Numbers timers; never used twice while one of them is there.
        next_number: u32,
    }

    /// Names one timer; it stays harmless after the timer has expired.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub(crate) struct TimerKey(u32);

    struct Timer<T> {
        deadline: u64,
        key: TimerKey,
        value: T,
    }

    impl<T> TimerList<T> {
        pub(crate) const fn new() -> Self {
            Self { timers: Vec::new(), elapsed: 0, next_number: 0 }
        }

        /// Sets a timer; it never expires early, and at most one millisecond late.
        pub(crate) fn insert(&mut self, at: Instant, value: T) -> TimerKey {
            // A timer set for the moment being expired waits for the next one, so that a loop of timers that set each other
            // always ends.
            let deadline = super::ticks_up(at).max(self.elapsed + 1);
            let key = TimerKey(self.next_number);
            self.next_number = self.next_number.wrapping_add(1);
            self.timers.push(Timer { deadline, key, value });
            key
        }

        pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
            let at = self.timers.iter().position(|timer| timer.key == key)?;
            Some(self.timers.remove(at).value)
        }

        /// Takes one expired timer, the earliest first; `None` when all of them were taken.
        pub(crate) fn expire(&mut self, now: Instant) -> Option<T> {
            let now = super::ticks_down(now);
            match self.earliest() {
                Some((at, deadline)) if deadline <= now => {
                    self.elapsed = self.elapsed.max(deadline);
                    Some(self.timers.remove(at).value)
                }
                _ => {
                    self.elapsed = self.elapsed.max(now);
                    None
                }
            }
        }

        /// Returns when [`TimerList::expire`] has work again: the next deadline.
        pub(crate) fn next(&self) -> Option<Instant> {
            self.earliest().map(|(_, deadline)| Instant(Duration::from_millis(deadline)))
        }

        fn earliest(&self) -> Option<(usize, u64)> {
            let deadlines = self.timers.iter().map(|timer| timer.deadline);
            deadlines.enumerate().min_by_key(|(_, deadline)| *deadline)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::list::TimerList;
    use crate::time::Instant;
    use crate::wheel::Wheel;
    use alloc::vec::Vec;
    use core::time::Duration;
    use proptest::prelude::*;

    fn micros(micros: u64) -> Instant {
        Instant(Duration::from_micros(micros))
    }

    /// All that is due, sorted: timers of the same millisecond have no order.
    fn sorted(expire: impl FnMut() -> Option<u64>) -> Vec<u64> {
        let mut values: Vec<u64> = core::iter::from_fn(expire).collect();
        values.sort_unstable();
        values
    }

    #[test]
    fn timers_of_a_list_expire_the_earliest_first() {
        let mut list = TimerList::new();
        for at in [5_000, 1_500, 9_000] {
            list.insert(micros(at), at);
        }
        assert_eq!(list.next(), Some(micros(2_000)));
        assert_eq!(list.expire(micros(1_999)), None);
        assert_eq!(list.expire(micros(6_000)), Some(1_500));
        assert_eq!(list.expire(micros(6_000)), Some(5_000));
        assert_eq!(list.expire(micros(6_000)), None);
    }

    proptest! {
        #[test]
        fn list_and_wheel_expire_the_same_timers_at_the_same_time(
            steps in proptest::collection::vec((0..3_u8, 0..40_000_u64), 0..60),
        ) {
            let (mut list, mut wheel) = (TimerList::new(), Wheel::new());
            let (mut keys, mut now) = (Vec::new(), 0);
            for (step, number) in steps {
                match step {
                    0 => keys.push((list.insert(micros(number), number), wheel.insert(micros(number), number))),
                    1 if !keys.is_empty() => {
                        let (ours, theirs) = keys[usize::try_from(number).unwrap() % keys.len()];
                        prop_assert_eq!(list.cancel(ours), wheel.cancel(theirs));
                    }
                    _ => {
                        now += number / 4;
                        let ours = sorted(|| list.expire(micros(now)));
                        prop_assert_eq!(ours, sorted(|| wheel.expire(micros(now))));
                    }
                }
                prop_assert_eq!(list.next().is_some(), wheel.next().is_some());
                prop_assert!(wheel.next() <= list.next());
            }
        }
    }
}
