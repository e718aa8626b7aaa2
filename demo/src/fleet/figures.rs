//! What a process costs its machine, as Linux tells it.

use std::fs;
use std::ops::Add;
use std::time::Duration;

/// What a process has cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cost {
    /// Processor time, user and system.
    pub processor: Duration,
    /// Resident memory now, in KiB.
    pub resident_kib: u64,
    /// Most that it ever was, in KiB.
    pub resident_most_kib: u64,
}

impl Cost {
    /// Reads what a process has cost until now; `None` on systems without `/proc`.
    #[must_use]
    pub fn of(process: u32) -> Option<Self> {
        let read = |file| fs::read_to_string(format!("/proc/{process}/{file}")).ok();
        Some(Self {
            processor: processor(&read("stat")?)?,
            resident_kib: kib(&read("status")?, "VmRSS:")?,
            resident_most_kib: kib(&read("status")?, "VmHWM:")?,
        })
    }
}

impl Add for Cost {
    type Output = Self;

    /// Adds what another process has cost; both need not have been largest at the same time.
    fn add(self, other: Self) -> Self {
        Self {
            processor: self.processor + other.processor,
            resident_kib: self.resident_kib + other.resident_kib,
            resident_most_kib: self.resident_most_kib + other.resident_most_kib,
        }
    }
}

/// Fields 14 and 15 of `/proc/PID/stat`, counted behind the name, which may have blanks (`proc_pid_stat(5)`).
fn processor(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * MILLISECONDS_PER_TICK))
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// `USER_HZ` is 100 on every architecture that this runs on.
const MILLISECONDS_PER_TICK: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_with_blanks_and_brackets() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 120 34 0 0 20 0 1 0 5 6 7";
        assert_eq!(processor(stat), Some(Duration::from_millis(1_540)));
        assert_eq!(processor("7 (a"), None);
    }

    #[test]
    fn memory_is_read_by_its_name() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!((kib(status, "VmRSS:"), kib(status, "VmHWM:")), (Some(1024), Some(2048)));
        assert_eq!(kib(status, "VmSwap:"), None);
    }
}
