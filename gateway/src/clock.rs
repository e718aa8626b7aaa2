//! The one place of the gateway that reads a clock that only goes forward; the wall clock and randomness are its
//! [`Machine`]'s.

use std::time::Duration;

use bellwether_net::Machine;

/// Gives a time that only goes forward, for waits and rates.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell's clock; decisions get the value as an argument")]
pub fn steady() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Adds up to half of `wait` at random, so that what failed together is not tried again together.
#[must_use]
pub fn jittered(machine: &dyn Machine, wait: Duration) -> Duration {
    // Without randomness the wait is the plain one, which is right too.
    let [byte] = machine.random().unwrap_or_default();
    wait + wait * u32::from(byte) / 512
}
