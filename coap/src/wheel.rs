//! A hierarchical timer wheel: insert and cancel in constant time, whatever else is waiting.
//!
//! Eight levels of 64 slots. A slot of level n spans 64^n ticks of one millisecond; an entry
//! stands at the level of the highest digit (base 64) in which its deadline differs from the
//! time reached, and moves down when the time reaches its slot. So every occupied slot lies
//! ahead, and the first slot of the lowest occupied level is the next one to come.

use crate::time::Instant;
use crate::timers::{ticks_down, ticks_up};
use alloc::vec::Vec;
use core::time::Duration;

/// Timers that carry a value each.
pub(crate) struct Wheel<T> {
    /// Ticks up to which everything has expired.
    elapsed: u64,
    levels: [Level; LEVELS],
    entries: Vec<Entry<T>>,
    free: u32,
    /// Entries touched so far, to show that work does not grow with what only waits.
    #[cfg(test)]
    pub(crate) touched: u64,
}

/// Names one timer; it stays harmless after the timer has expired.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct Level {
    occupied: u64,
    heads: [u32; SLOTS],
}

struct Entry<T> {
    value: Option<T>,
    deadline: u64,
    generation: u32,
    level: usize,
    slot: usize,
    previous: u32,
    next: u32,
}

impl<T> Wheel<T> {
    pub(crate) fn new() -> Self {
        let level = Level { occupied: 0, heads: [NONE; SLOTS] };
        Self {
            elapsed: 0,
            levels: [level; LEVELS],
            entries: Vec::new(),
            free: NONE,
            #[cfg(test)]
            touched: 0,
        }
    }

    /// Sets a timer; it never expires early, and at most one tick late.
    pub(crate) fn insert(&mut self, at: Instant, value: T) -> TimerKey {
        // A timer set for the tick being expired waits for the next one, so that a loop of
        // timers that set each other always ends.
        let deadline = ticks_up(at).clamp(self.elapsed + 1, TICKS_MAX);
        let index = self.allocate(deadline, value);
        self.link(index);
        TimerKey { index, generation: self.entries[index as usize].generation }
    }

    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        self.unlink(key.index);
        self.release(key.index)
    }

    /// Takes one expired timer, the earliest first; `None` when all of them were taken.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<T> {
        let now = ticks_down(now).min(TICKS_MAX - 1);
        loop {
            let (level, slot, start) = match self.next_slot() {
                Some(next) if next.2 <= now => next,
                _ => {
                    self.elapsed = self.elapsed.max(now);
                    return None;
                }
            };
            self.elapsed = self.elapsed.max(start);
            let index = self.levels[level].heads[slot];
            if level == 0 {
                self.unlink(index);
                return self.release(index);
            }
            self.move_down(index);
        }
    }

    /// Returns when [`Wheel::expire`] has work again: the next deadline, or earlier.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next_slot().map(|(_, _, start)| Instant(Duration::from_millis(start)))
    }

    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        let slot = self.levels[level].occupied.trailing_zeros();
        let shift = DIGIT_BITS * bits(level);
        let above = self.elapsed >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        Some((level, slot as usize, above | u64::from(slot) << shift))
    }

    /// Links every entry of a chain again, each at a lower level than before.
    fn move_down(&mut self, mut index: u32) {
        while index != NONE {
            let next = self.entries[index as usize].next;
            self.unlink(index);
            self.link(index);
            index = next;
        }
    }

    fn link(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline;
        let highest = (u64::BITS - 1).saturating_sub((self.elapsed ^ deadline).leading_zeros());
        let level = (highest / DIGIT_BITS) as usize;
        let slot = ((deadline >> (DIGIT_BITS * bits(level))) % SLOTS_U64) as usize;
        let head = self.levels[level].heads[slot];
        let entry = &mut self.entries[index as usize];
        (entry.level, entry.slot) = (level, slot);
        (entry.previous, entry.next) = (NONE, head);
        if let Some(head) = self.entries.get_mut(head as usize) {
            head.previous = index;
        }
        self.levels[level].heads[slot] = index;
        self.levels[level].occupied |= 1 << slot;
        #[cfg(test)]
        {
            self.touched += 1;
        }
    }

    fn unlink(&mut self, index: u32) {
        let entry = &self.entries[index as usize];
        let (level, slot) = (entry.level, entry.slot);
        let (previous, next) = (entry.previous, entry.next);
        if let Some(next) = self.entries.get_mut(next as usize) {
            next.previous = previous;
        }
        if let Some(previous) = self.entries.get_mut(previous as usize) {
            previous.next = next;
        } else {
            self.levels[level].heads[slot] = next;
        }
        if self.levels[level].heads[slot] == NONE {
            self.levels[level].occupied &= !(1 << slot);
        }
    }

    fn allocate(&mut self, deadline: u64, value: T) -> u32 {
        if let Some(entry) = self.entries.get_mut(self.free as usize) {
            let index = self.free;
            self.free = entry.next;
            (entry.deadline, entry.value) = (deadline, Some(value));
            return index;
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(NONE);
        self.entries.push(Entry {
            value: Some(value),
            deadline,
            generation: 0,
            level: 0,
            slot: 0,
            previous: NONE,
            next: NONE,
        });
        index
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        entry.value.take()
    }
}

fn bits(level: usize) -> u32 {
    u32::try_from(level).unwrap_or(0)
}

const LEVELS: usize = 8;
const SLOTS: usize = 64;
const SLOTS_U64: u64 = 64;
const DIGIT_BITS: u32 = 6;
/// 64^8 milliseconds, about 8,900 years after the owner's epoch: such a timer never expires.
const TICKS_MAX: u64 = (1 << 48) - 1;
/// No entry. Four billion timers at once are more than memory holds.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    #[test]
    fn part_of_a_millisecond_rounds_up_so_no_timer_is_early() {
        let mut wheel = Wheel::new();
        wheel.insert(Instant(Duration::from_micros(1_500)), ());
        assert_eq!(wheel.expire(ms(1)), None);
        assert_eq!(wheel.expire(ms(2)), Some(()));
    }

    #[test]
    fn cancelled_timer_never_expires_and_its_key_is_harmless_after() {
        let mut wheel = Wheel::new();
        let key = wheel.insert(ms(10), 'a');
        assert_eq!(wheel.cancel(key), Some('a'));
        let other = wheel.insert(ms(20), 'b');
        assert_eq!(wheel.cancel(key), None);
        assert_eq!(wheel.expire(ms(100)), Some('b'));
        assert_eq!(wheel.cancel(other), None);
    }

    #[test]
    fn timer_in_the_past_expires_at_the_next_tick() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.expire(ms(1_000)), None);
        wheel.insert(ms(5), ());
        assert_eq!(wheel.expire(ms(1_000)), None);
        assert_eq!(wheel.expire(ms(1_001)), Some(()));
    }

    #[test]
    fn setting_a_timer_touches_one_entry_however_many_wait() {
        let touched_by_one = |waiting: u64| {
            let mut wheel = Wheel::new();
            for n in 0..waiting {
                wheel.insert(ms(100_000 + n), ());
            }
            let before = wheel.touched;
            let key = wheel.insert(ms(2_000), ());
            wheel.cancel(key);
            wheel.touched - before
        };
        assert_eq!(touched_by_one(1), 1);
        assert_eq!(touched_by_one(100_000), 1);
    }

    proptest! {
        #[test]
        fn timers_expire_in_order_never_early_and_never_past_their_tick(
            timers in proptest::collection::vec((0u64..100_000_000, any::<bool>()), 1..60),
        ) {
            let mut wheel = Wheel::new();
            let keys: Vec<_> = timers.iter().map(|(at, _)| wheel.insert(ms(*at), *at)).collect();
            let mut left: Vec<_> = Vec::new();
            for (key, (at, keep)) in keys.into_iter().zip(&timers) {
                if *keep {
                    left.push((*at).max(1));
                } else {
                    prop_assert_eq!(wheel.cancel(key), Some(*at));
                }
            }
            left.sort_unstable();
            let mut expired = Vec::new();
            while let Some(at) = wheel.next() {
                prop_assert!(left.get(expired.len()).is_some_and(|next| at <= ms(*next)));
                while let Some(value) = wheel.expire(at) {
                    prop_assert_eq!(ms(value.max(1)), at);
                    expired.push(value.max(1));
                }
            }
            prop_assert_eq!(expired, left);
        }
    }
}
