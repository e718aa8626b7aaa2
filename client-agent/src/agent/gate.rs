//! Something that is tried again later after a failure.

use super::backoff::Backoff;
use bellwether_coap::Instant;
use core::time::Duration;

/// Says when something may be tried.
#[derive(Debug)]
pub(crate) struct Gate {
    backoff: Backoff,
    opens: Instant,
}

impl Gate {
    /// Makes an open gate.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { backoff: Backoff::new(first, longest), opens: Instant::default() }
    }

    /// Opens it, and forgets failures.
    pub(crate) fn open(&mut self) {
        self.backoff.reset();
        self.opens = Instant::default();
    }

    /// Opens it for the next try; what failed before still counts for the wait after it.
    pub(crate) fn open_once(&mut self, now: Instant) {
        self.opens = now;
    }

    /// Closes it for the next of the growing waits.
    pub(crate) fn close(&mut self, now: Instant, jitter: u8) {
        self.opens = now.after(self.backoff.next_wait(jitter));
    }

    /// Closes it for a wait that the server named.
    pub(crate) fn close_for(&mut self, now: Instant, wait: Duration) {
        self.opens = now.after(wait);
    }

    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.opens <= now
    }

    /// Tells whether nothing has failed since it was opened.
    pub(crate) fn is_fresh(&self) -> bool {
        self.backoff.is_fresh()
    }

    /// Tells when it opens.
    pub(crate) fn opens(&self) -> Instant {
        self.opens
    }
}
