//! Windows of a "later": when they are open next.

use bellwether_manifests::message::{List, Window};

/// When to ask again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Slot {
    /// Seconds since 1970.
    pub(super) opens: u64,
    /// Seconds that are left of the window then.
    pub(super) left_s: u64,
}

/// Finds the first second from `from` on (since 1970, UTC) that lies in one of the windows.
///
/// Without windows that is any time. `None` where no window ever opens.
pub(super) fn next_open(from: u64, windows: List<'_, Window>) -> Option<Slot> {
    if windows.is_empty() {
        return Some(Slot { opens: from, left_s: u64::MAX });
    }
    windows.iter().filter_map(|window| next_of(from, window)).min_by_key(|slot| slot.opens)
}

/// A window may reach over the days after the one it opens on, so days before are looked at as well.
fn next_of(from: u64, window: Window) -> Option<Slot> {
    let today = from / DAY_S;
    let days = today.saturating_sub(WEEK_DAYS)..=today.saturating_add(WEEK_DAYS);
    days.filter(|day| window.weekdays >> weekday(*day) & 1 == 1).find_map(|day| {
        let opens = day.saturating_mul(DAY_S).saturating_add(window.start_s.into());
        let closes = opens.saturating_add(window.duration_s.into());
        let at = opens.max(from);
        (at < closes).then(|| Slot { opens: at, left_s: closes - at })
    })
}

/// Bit of a day since 1970, which began on a Thursday; Monday is 0.
const fn weekday(day: u64) -> u64 {
    (day % WEEK_DAYS + 3) % WEEK_DAYS
}

const DAY_S: u64 = 86_400;
const WEEK_DAYS: u64 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Monday, 5 January 2026, 00:00.
    const MONDAY: u64 = 1_767_571_200;
    const HOUR: u32 = 3600;

    fn next(from: u64, windows: &[Window]) -> Option<(u64, u64)> {
        next_open(from, List::new(windows)).map(|slot| (slot.opens, slot.left_s))
    }

    #[test]
    fn without_windows_any_time_is_right() {
        assert_eq!(next(MONDAY, &[]), Some((MONDAY, u64::MAX)));
    }

    #[test]
    fn window_of_today_is_waited_for_and_its_rest_is_told() {
        let nights = Window { start_s: 2 * HOUR, duration_s: HOUR, weekdays: 0x7f };
        assert_eq!(next(MONDAY, &[nights]), Some((MONDAY + 7200, 3600)));
        assert_eq!(next(MONDAY + 9000, &[nights]), Some((MONDAY + 9000, 1800)));
        assert_eq!(next(MONDAY + 10_800, &[nights]), Some((MONDAY + 86_400 + 7200, 3600)));
    }

    #[test]
    fn window_that_began_days_ago_is_still_open() {
        let weekend = Window { start_s: 22 * HOUR, duration_s: 3 * 86_400, weekdays: 1 << 4 };
        let monday_noon = MONDAY + 43_200;
        assert_eq!(next(monday_noon, &[weekend]), Some((monday_noon, 36_000)));
    }

    #[test]
    fn first_of_several_windows_counts_and_one_without_a_day_never_opens() {
        let never = Window { start_s: 0, duration_s: HOUR, weekdays: 0 };
        let sunday = Window { start_s: 0, duration_s: HOUR, weekdays: 1 << 6 };
        let tuesday = Window { start_s: 0, duration_s: HOUR, weekdays: 1 << 1 };
        assert_eq!(next(MONDAY, &[never]), None);
        assert_eq!(next(MONDAY, &[sunday, never, tuesday]), Some((MONDAY + 86_400, 3600)));
    }

    proptest! {
        #[test]
        fn what_is_found_lies_in_the_window(
            from: u64, start_s in 0u32..86_400, duration_s in 0u32..=7 * 86_400, weekdays in 0u8..=0x7f,
        ) {
            let window = Window { start_s, duration_s, weekdays };
            if let Some((opens, left_s)) = next(from, &[window]) {
                prop_assert!(opens >= from && window.contains(opens));
                prop_assert!(window.contains(opens + (left_s - 1)));
            } else {
                prop_assert!(weekdays == 0 || duration_s == 0 || from > u64::MAX - 15 * 86_400);
            }
        }
    }
}
