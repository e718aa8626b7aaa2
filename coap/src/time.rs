//! Time as an argument.

use core::time::Duration;

/// Time since the owner's epoch; the shell reads the clock, nothing below it does.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(pub Duration);

impl Instant {
    /// Returns the instant `wait` later, the last representable one on overflow.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}
