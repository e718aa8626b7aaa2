//! Time since the start, from a timer of the board, and the watchdog.

use crate::metal::{TIMER, WATCHDOG};
use core::time::Duration;

/// Time since it was started. Read it more often than once in 171 s, after which the timer begins anew.
#[derive(Debug)]
pub struct Clock {
    read_last: u32,
    ticks: u64,
}

impl Clock {
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        TIMER.write(RELOAD, u32::MAX);
        TIMER.write(VALUE, u32::MAX);
        TIMER.write(CONTROL, ENABLED);
        Self { read_last: u32::MAX, ticks: 0 }
    }

    /// Tells the time since the start.
    pub fn now(&mut self) -> Duration {
        let value = TIMER.read(VALUE);
        // It counts down.
        self.ticks += u64::from(self.read_last.wrapping_sub(value));
        self.read_last = value;
        Duration::from_nanos(self.ticks.saturating_mul(TICK_NANOSECONDS))
    }
}

/// Starts the watchdog, or puts it off: the board restarts where this is not done again within [`PATIENCE`].
pub fn put_off_watchdog() {
    WATCHDOG.write(WATCHDOG_LOCK, WATCHDOG_KEY);
    WATCHDOG.write(WATCHDOG_LOAD, WATCHDOG_TICKS);
    WATCHDOG.write(WATCHDOG_CLEAR, 1);
    WATCHDOG.write(WATCHDOG_CONTROL, INTERRUPT | RESTART);
}

/// How long a program may be busy without erasing a sector, which puts the watchdog off too. The longest such work is to
/// verify a signature, or the digest of a whole image: half a second, or ten times that on a machine with other work.
pub const PATIENCE: Duration = Duration::from_secs(PATIENCE_S as u64);
const PATIENCE_S: u32 = 10;

// Timer.
const CONTROL: usize = 0x00;
const VALUE: usize = 0x04;
const RELOAD: usize = 0x08;
const ENABLED: u32 = 1;

/// The board's clock: 25 MHz, of mps2-an505 20 MHz.
const TICK_NANOSECONDS: u64 = if cfg!(an505) { 50 } else { 40 };
const TICKS_PER_S: u32 = if cfg!(an505) { 20_000_000 } else { 25_000_000 };

// Watchdog: it counts down twice, says so after the first time, and restarts the board after the second.
const WATCHDOG_LOAD: usize = 0x000;
const WATCHDOG_CONTROL: usize = 0x008;
const WATCHDOG_CLEAR: usize = 0x00c;
const WATCHDOG_LOCK: usize = 0xc00;
const WATCHDOG_KEY: u32 = 0x1ACC_E551;
const INTERRUPT: u32 = 1;
const RESTART: u32 = 1 << 1;
const WATCHDOG_TICKS: u32 = PATIENCE_S / 2 * TICKS_PER_S;
