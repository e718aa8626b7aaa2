//! The one place of the gateway that reads clocks and draws randomness.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Gives seconds since 1970, UTC; 0 where the machine's clock stands before that. It may be wrong by years.
#[must_use]
pub fn now() -> u64 {
    wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Gives the time as file systems know it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell's clock; decisions get the value as an argument")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Gives a time that only goes forward, for waits and rates.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell's clock; decisions get the value as an argument")]
pub fn steady() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Adds up to half of `wait` at random, so that what failed together is not tried again together.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell's randomness")]
pub fn jittered(wait: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the wait is the plain one, which is right too.
    let _ = getrandom::fill(&mut byte);
    wait + wait * u32::from(byte[0]) / 512
}
