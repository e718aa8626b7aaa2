//! How many unknown roots a device may ask for. Pure.

use std::collections::{HashMap, VecDeque};

use bellwether_manifests::message::Digest;

/// Remembers which roots each device asked for that nothing announced.
///
/// A device that got its descriptor from the server itself asks for roots that the gateway knows nothing of, and is
/// served. One that asks for root after root would throw everything out of the cache.
#[derive(Debug, Default)]
pub struct RootLimit(HashMap<String, VecDeque<(u64, Digest)>>);

impl RootLimit {
    /// Tells whether `child` may ask for `root` at `now_s`, and remembers that it did.
    pub fn admit(&mut self, child: &str, root: &Digest, now_s: u64) -> bool {
        let asked = self.0.entry(child.to_owned()).or_default();
        // The clock may be set back: what was asked for in a year to come must not count until then.
        asked.retain(|(at, _)| at.abs_diff(now_s) < WINDOW_S);
        if asked.iter().any(|(_, known)| known == root) {
            return true;
        }
        if asked.len() >= ROOTS_PER_CHILD_MAX {
            return false;
        }
        asked.push_back((now_s, *root));
        true
    }

    /// Forgets devices that are not the gateway's any more.
    pub fn retain(&mut self, is_child: impl Fn(&str) -> bool) {
        self.0.retain(|child, _| is_child(child));
    }
}

/// Roots that one device may ask for in [`WINDOW_S`]: two updates of eight resources each.
pub const ROOTS_PER_CHILD_MAX: usize = 16;

/// Seconds that a root is remembered.
pub const WINDOW_S: u64 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn child_may_ask_for_so_many_roots_an_hour_and_for_those_again() {
        let mut limit = RootLimit::default();
        let root = |n: usize| [u8::try_from(n).unwrap(); 32];
        assert!((0..ROOTS_PER_CHILD_MAX).all(|n| limit.admit("a", &root(n), 0)));
        assert!(!limit.admit("a", &root(ROOTS_PER_CHILD_MAX), 10));
        assert!(limit.admit("a", &root(0), 10));
        assert!(limit.admit("b", &root(ROOTS_PER_CHILD_MAX), 10));
        assert!(limit.admit("a", &root(ROOTS_PER_CHILD_MAX), WINDOW_S));
    }

    #[test]
    fn clock_that_is_set_back_by_a_year_locks_nobody_out() {
        let (mut limit, year) = (RootLimit::default(), 365 * 86_400);
        for n in 0..=ROOTS_PER_CHILD_MAX {
            limit.admit("a", &[u8::try_from(n).unwrap(); 32], 2 * year);
        }
        assert!(limit.admit("a", &[200; 32], year));
    }
}
