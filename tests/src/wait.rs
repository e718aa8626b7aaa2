//! Waiting for a condition, never for a time: bounded, and with the logs in the failure.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Runtime;

/// Looks until there is something to see.
///
/// `tell` is asked for what else the failure should say: logs, states.
///
/// # Panics
///
/// After `within`, with `what` and what `tell` says.
#[expect(clippy::disallowed_methods, reason = "tests with real processes wait in real time")]
pub fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
    tell: impl FnOnce() -> String,
) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        if Instant::now() > end {
            let (seconds, told) = (within.as_secs(), tell());
            panic!("{what}: not within {seconds} s\n{told}");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Seconds since 1970, as the processes under test count them.
///
/// # Panics
///
/// On a clock before 1970.
#[expect(clippy::disallowed_methods, reason = "the processes under test read the same clock")]
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

/// Runs a future to its end, at most for [`LONG`].
///
/// # Panics
///
/// When it takes longer.
pub fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(async {
        tokio::time::timeout(LONG, future)
            .await
            .unwrap_or_else(|_| panic!("{what}: not within {} s", LONG.as_secs()))
    })
}

/// Lets a future run beside the test.
pub fn beside(future: impl Future<Output = ()> + Send + 'static) {
    RUNTIME.spawn(future);
}

/// What one step takes at the most, on a busy machine with debug binaries; no measure of speed.
pub const LONG: Duration = Duration::from_mins(1);

const LOOK_EVERY: Duration = Duration::from_millis(10);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
});
