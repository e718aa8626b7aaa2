//! Says once that the broker is away, and once that it is back; and how long to wait between tries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What was said of the broker since it was away; all connections to it share one.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    said: Mutex<Vec<String>>,
    is_connected: AtomicBool,
}

impl Outage {
    /// Says why the broker can't be used, unless that was said already.
    pub(crate) fn began(&self, broker: &str, why: &str) {
        self.is_connected.store(false, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == REASONS_MAX || said.iter().any(|known| known == why) {
            return;
        }
        tracing::warn!(
            broker,
            why,
            "the broker can't be used; it is tried again, and what happens meanwhile stays in the ledger"
        );
        said.push(why.to_owned());
    }

    /// Says that the broker is back, if it was away.
    pub(crate) fn ended(&self, broker: &str) {
        self.is_connected.store(true, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !said.is_empty() {
            said.clear();
            tracing::info!(broker, "the broker is back");
        }
    }
}

impl Outage {
    /// Whether the last that was heard of the broker is that it can be used.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }
}

/// Waits between tries: doubled each time, up to a bound.
#[derive(Debug)]
pub(crate) struct BackOff(Duration);

impl Default for BackOff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl BackOff {
    /// Gives the wait before the next try.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        wait
    }
}

/// Different reasons that are said of one outage: a broker that stops, is away, and does not let us in gives three.
const REASONS_MAX: usize = 8;

/// A broker that restarts is back within a second.
const FIRST: Duration = Duration::from_millis(250);

/// People who have mended their broker wait this long at the most.
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound() {
        let mut back_off = BackOff::default();
        let waits: Vec<u128> = (0..8).map(|_| back_off.next().as_millis()).collect();
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    }
}
