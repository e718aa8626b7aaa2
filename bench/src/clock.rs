//! The one place of the bench that reads clocks: of the wall, of a thread, of the process.

use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// Gives the present moment.
#[expect(clippy::disallowed_methods, reason = "a measurement is of time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Gives the present time of day.
#[expect(clippy::disallowed_methods, reason = "files are told when they were used")]
pub(crate) fn system() -> SystemTime {
    SystemTime::now()
}

/// Gives the CPU time that the calling thread has used.
pub(crate) fn thread() -> Result<Duration, nix::Error> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from)
}

/// Gives the CPU time that the calling thread has used since it had used `began`.
pub(crate) fn thread_since(began: Duration) -> Result<Duration, nix::Error> {
    Ok(thread()?.saturating_sub(began))
}

/// Gives the CPU time that all threads of this process have used.
pub(crate) fn process() -> Result<Duration, nix::Error> {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from)
}
