//! Something that is tried again later after a failure.

use super::backoff::Backoff;
use bellwether_coap::Instant;
use core::time::Duration;

/// Says when something may be tried.
#[derive(Debug)]
pub(crate) struct Gate {
    backoff: Backoff,
    opens: Instant,
    /// Whether the wait is one that the server named in a verdict.
    is_named: bool,
}

impl Gate {
    /// Makes an open gate.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { backoff: Backoff::new(first, longest), opens: Instant::default(), is_named: false }
    }

    /// Opens it, and forgets failures.
    pub(crate) fn open(&mut self) {
        self.backoff.reset();
        self.open_once(Instant::default());
    }

    /// Opens it for the next try; what failed before still counts for the wait after it.
    pub(crate) fn open_once(&mut self, now: Instant) {
        self.opens = now;
        self.is_named = false;
    }

    /// Closes it for the next of the growing waits.
    pub(crate) fn close(&mut self, now: Instant, jitter: u8) {
        let wait = self.backoff.next_wait(jitter);
        self.close_for(now, wait);
    }

    /// Closes it for the next of the growing waits, or for `least` where that is longer.
    pub(crate) fn close_for_at_least(&mut self, now: Instant, jitter: u8, least: Duration) {
        let wait = self.backoff.next_wait(jitter);
        self.close_for(now, wait.max(least));
    }

    /// Closes it for a wait.
    pub(crate) fn close_for(&mut self, now: Instant, wait: Duration) {
        self.opens = now.after(wait);
        self.is_named = false;
    }

    /// Closes it for a wait that a verdict of the server named: nobody else shortens it.
    pub(crate) fn close_by_verdict(&mut self, now: Instant, wait: Duration) {
        self.opens = now.after(wait);
        self.is_named = true;
    }

    /// Opens it for the next try, unless the server named the wait.
    pub(crate) fn open_by_hint(&mut self, now: Instant) {
        if !self.is_named {
            self.open_once(now);
        }
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
