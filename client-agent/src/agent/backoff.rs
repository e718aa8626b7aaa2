//! Waits that double, so that a server that comes back is not met by everyone at once.

use core::time::Duration;

/// Waits between tries of one thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    base: Duration,
    longest: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) const fn new(base: Duration, longest: Duration) -> Self {
        Self { base, longest, tries: 0 }
    }

    /// Gives the wait before the next try: half of it certain, half by `jitter` (0: none of that half).
    pub(crate) fn next_wait(&mut self, jitter: u8) -> Duration {
        // 2^16 times any base is past every longest wait; more would overflow.
        let full = self.base.saturating_mul(1 << self.tries.min(16)).min(self.longest);
        self.tries = self.tries.saturating_add(1);
        full / 2 + full / 2 * u32::from(jitter) / 255
    }

    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    /// Tells whether no try has failed yet.
    pub(crate) fn is_fresh(&self) -> bool {
        self.tries == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(10));
        let waits: std::vec::Vec<_> = (0..5).map(|_| backoff.next_wait(255).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 10, 10]);
        backoff.reset();
        assert_eq!(backoff.next_wait(0), Duration::from_secs(1));
    }

    #[test]
    fn thousandth_wait_is_still_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(10));
        for _ in 0..1000 {
            backoff.next_wait(0);
        }
        assert_eq!(backoff.next_wait(255), Duration::from_secs(10));
    }
}
