//! Real processes that do not outlive the demo.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use thiserror::Error;

/// Why a process did not do what it had to.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It can't be started, or its log can't be written.
    #[error("{program} can't be run: {source}")]
    Io {
        /// Which one.
        program: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It ended with an error.
    #[error("`{command}` failed:\n{said}")]
    Failed {
        /// What was run.
        command: String,
        /// What it said on standard error.
        said: String,
    },
    /// It ended before it came to the point.
    #[error("{name} ended ({status}) before {what}; {log} says more", log = log.display())]
    Ended {
        /// Which one.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What was waited for.
        what: String,
        /// Where to look.
        log: PathBuf,
    },
    /// It did not come to the point in time.
    #[error("{what} did not happen within {seconds} s; {log} says more", log = log.display())]
    TooLate {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// Where to look.
        log: PathBuf,
    },
    /// Ctrl-C or SIGTERM came.
    #[error("it was told to stop")]
    Stopped,
}

/// Tells every wait to end. Clones share one fate.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends every wait from now on.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Tells whether it was set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits until it is set.
    pub fn wait(&self) {
        while !self.is_set() {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Looks again and again until there is something to see.
    ///
    /// # Errors
    ///
    /// [`ProcessError::TooLate`], [`ProcessError::Stopped`], and what `look` gives.
    #[expect(clippy::disallowed_methods, reason = "the demo is a shell")]
    pub fn wait_until<T>(
        &self,
        what: &str,
        within: Duration,
        log: &Path,
        mut look: impl FnMut() -> Result<Option<T>, ProcessError>,
    ) -> Result<T, ProcessError> {
        let began = Instant::now();
        loop {
            if let Some(seen) = look()? {
                return Ok(seen);
            }
            if self.is_set() {
                return Err(ProcessError::Stopped);
            }
            if began.elapsed() > within {
                let (what, seconds) = (what.to_owned(), within.as_secs());
                return Err(ProcessError::TooLate { what, seconds, log: log.to_owned() });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    stop: Stop,
}

impl Process {
    /// Takes a child that was started, with the file that its output goes to.
    #[must_use]
    pub fn new(name: &str, child: Child, log: &Path, stop: &Stop) -> Self {
        Self { name: name.to_owned(), child, log: log.to_owned(), stop: stop.clone() }
    }

    /// Ends it as a power cut would: SIGKILL.
    pub fn kill(&mut self) {
        // A process that ended by itself can't be killed again; that is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Gives its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    ///
    /// [`ProcessError::TooLate`], [`ProcessError::Stopped`].
    pub fn wait_end(&mut self, within: Duration) -> Result<ExitStatus, ProcessError> {
        let (log, stop) = (self.log.clone(), self.stop.clone());
        let what = format!("the end of {}", self.name);
        stop.wait_until(&what, within, &log, || Ok(self.ended()))
    }

    /// Waits until there is something to see of it; it must not end before.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Ended`], [`ProcessError::TooLate`], [`ProcessError::Stopped`], and what `look` gives.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut look: impl FnMut() -> Result<Option<T>, ProcessError>,
    ) -> Result<T, ProcessError> {
        let (log, stop) = (self.log.clone(), self.stop.clone());
        stop.wait_until(what, within, &log, || {
            // Asked first: what it did before its end is there to be seen after it.
            let ended = self.ended();
            match (look()?, ended) {
                (Some(seen), _) => Ok(Some(seen)),
                (None, None) => Ok(None),
                (None, Some(status)) => {
                    let (name, what) = (self.name.clone(), what.to_owned());
                    Err(ProcessError::Ended { name, status, what, log: log.clone() })
                }
            }
        })
    }

    /// Makes sure that it has not ended.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Ended`], with what it has ended before.
    pub fn is_on(&mut self, what: &str) -> Result<(), ProcessError> {
        self.ended().map_or(Ok(()), |status| {
            let (name, what) = (self.name.clone(), what.to_owned());
            Err(ProcessError::Ended { name, status, what, log: self.log.clone() })
        })
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Opens a log to write behind what is there.
///
/// # Errors
///
/// [`ProcessError::Io`].
pub fn open_log(log: &Path) -> Result<File, ProcessError> {
    let opened = File::options().create(true).append(true).open(log);
    opened.map_err(|source| ProcessError::Io { program: log.display().to_string(), source })
}

const LOOK_EVERY: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    fn start(script: &str) -> (Process, Stop) {
        let stop = Stop::default();
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().expect("a shell");
        (Process::new("sh", child, Path::new("sh.log"), &stop), stop)
    }

    #[test]
    fn wait_ends_with_what_was_waited_for_and_where_to_look() {
        let (mut process, _) = start("sleep 60");
        let error = process.wait_until("its breakfast", SHORT, || Ok(None::<()>)).expect_err("never");
        assert!(
            error.to_string().contains("its breakfast") && error.to_string().contains("sh.log"),
            "{error}"
        );
    }

    #[test]
    fn process_that_ends_early_ends_the_wait_at_once() {
        let (mut process, _) = start("exit 3");
        let error = process.wait_until("its breakfast", LONG, || Ok(None::<()>)).expect_err("ended");
        assert!(matches!(error, ProcessError::Ended { status, .. } if status.code() == Some(3)));
    }

    #[test]
    fn stop_ends_every_wait() {
        let (mut process, stop) = start("sleep 60");
        stop.set();
        assert!(matches!(process.wait_end(LONG), Err(ProcessError::Stopped)));
    }

    #[test]
    fn dropped_process_is_dead() {
        let (process, _) = start("sleep 60");
        let id = process.child.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
