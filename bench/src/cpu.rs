//! CPU time and place of one thread of this process, seen from another.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::Failure;

/// A thread of this process.
pub(crate) struct Thread {
    id: i32,
    schedule: PathBuf,
}

impl Thread {
    /// Finds the thread of this name; names of more than 15 bytes are cut by the system.
    pub(crate) fn named(name: &str) -> Result<Self, Failure> {
        for entry in fs::read_dir("/proc/self/task")? {
            let entry = entry?;
            let found = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            if found.trim_end() == name {
                let id = entry.file_name().to_string_lossy().parse()?;
                return Ok(Self { id, schedule: entry.path().join("schedstat") });
            }
        }
        Err(format!("no thread of this process is named {name}").into())
    }

    /// Reads the time it has been on a CPU. What it uses now is added when it next sleeps, or by the next tick.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        let text = fs::read_to_string(&self.schedule)?;
        let nanoseconds = text.split(' ').next().unwrap_or_default();
        Ok(Duration::from_nanos(nanoseconds.parse()?))
    }

    /// Keeps it on one CPU.
    pub(crate) fn pin(&self, cpu: usize) -> Result<(), Failure> {
        pin(Pid::from_raw(self.id), cpu)
    }
}

/// Keeps the calling thread on one CPU; threads that it starts from then on stay there too.
pub(crate) fn pin_self(cpu: usize) -> Result<(), Failure> {
    pin(Pid::from_raw(0), cpu)
}

/// Names two CPUs that this process may use, for server and load; `None` where it has one alone.
pub(crate) fn two() -> Result<Option<(usize, usize)>, Failure> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).collect();
    Ok(match cpus.as_slice() {
        [first, .., last] => Some((*first, *last)),
        _ => None,
    })
}

fn pin(thread: Pid, cpu: usize) -> Result<(), Failure> {
    let mut one = CpuSet::new();
    one.set(cpu)?;
    Ok(sched_setaffinity(thread, &one)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_thread_is_found_by_its_name_and_uses_time() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("at-work".to_owned()).spawn(move || {
            let mut turns = 0u64;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                turns = std::hint::black_box(turns + 1);
            }
        });
        let found = loop {
            if let Ok(found) = Thread::named("at-work") {
                break found;
            }
        };
        while found.cpu().expect("read") < Duration::from_millis(5) {}
        drop(stop);
        thread.expect("started").join().expect("ended");
        assert!(Thread::named("never-at-work").is_err());
    }
}
