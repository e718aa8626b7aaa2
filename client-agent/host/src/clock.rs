//! The clock of the device: the one place of this crate that reads it.

use bellwether_agent::coap::Instant;
use std::time::SystemTime;

/// Measures time since it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    /// Starts at zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a shell; its time enters here alone")]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Tells the time since the start.
    #[must_use]
    pub(crate) fn now(self) -> Instant {
        Instant(self.0.elapsed())
    }
}

/// Tells the factory's time, in seconds since 1970: a device that was made then believes no earlier one.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a shell; its time enters here alone")]
pub(crate) fn factory_time() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
