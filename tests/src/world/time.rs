//! The world's runtime and its clocks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime::Builder;
use tokio::time::Instant;

use super::trace;

/// Runs a world: one thread, whose time stands still while anything is done and jumps to what is due next.
///
/// # Panics
///
/// Where no runtime is to be had.
pub fn run<T>(world: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(world)
}

/// The wall clock of a machine, which may step while the world's time goes on; clones are the same clock.
#[derive(Clone, Debug)]
pub struct Wall(Arc<Mutex<Set>>);

/// When a clock was set to what.
#[derive(Debug)]
struct Set {
    at: Instant,
    to: SystemTime,
}

impl Wall {
    /// Sets a clock, in seconds since 1970.
    pub fn at(seconds: u64) -> Self {
        Self(Arc::new(Mutex::new(Set { at: trace::now(), to: UNIX_EPOCH + Duration::from_secs(seconds) })))
    }

    /// Reads the clock.
    pub fn now(&self) -> SystemTime {
        let set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        set.to + trace::now().duration_since(set.at)
    }

    /// Reads the clock, in seconds since 1970.
    pub fn seconds(&self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Moves the clock by so many seconds, ahead or back; not before 1970.
    pub fn step(&self, by_s: i64) {
        let to = self.seconds().saturating_add_signed(by_s);
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *set = Set { at: trace::now(), to: UNIX_EPOCH + Duration::from_secs(to) };
    }
}
