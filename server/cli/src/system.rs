//! What only the machine can say: the time, and randomness.

use std::time::{Instant, SystemTime};

use crate::failure::Failure;

/// Reads the clock, in seconds since 1970.
///
/// # Errors
///
/// [`Failure::Usage`] if it stands before 1970.
#[expect(clippy::disallowed_methods, reason = "the command line is a shell: its clock is the machine's")]
pub(crate) fn now() -> Result<u64, Failure> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since
        .map(|since| since.as_secs())
        .map_err(|_| Failure::Usage("this machine's clock stands before 1970; set it".to_owned()))
}

/// Draws random bytes from the system.
///
/// # Errors
///
/// [`Failure::Usage`] if it has none.
#[expect(clippy::disallowed_methods, reason = "the command line is a shell: its randomness is the system's")]
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes).map_err(|error| Failure::Usage(format!("the system gives no randomness: {error}")))
}

/// Time since something began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the command line is a shell: its clock is the machine's")]
    pub(crate) fn started() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
