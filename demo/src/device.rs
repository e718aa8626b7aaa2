//! A device of the demo: a process, and the status file in which it tells how it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::console::Console;
use crate::process::{Process, ProcessError};
use crate::row::{Asked, Traffic};

/// What a status file says, as far as the table needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// What runs.
    pub running: Running,
    /// First line that the running image printed.
    pub says: Option<String>,
    /// Whether a registration stands.
    pub registered: bool,
    /// Update requests.
    asked: Requests,
    /// The newest grant.
    pub got: Option<Grant>,
    /// Object 5's Update Result.
    pub result: u8,
    /// Reports that wait for their receipt.
    pub reports_waiting: usize,
    /// UDP payload, over all links.
    traffic: Datagrams,
    /// How the gateway serves.
    gateway: Option<FromGateway>,
    /// The newest verdict.
    pub verdict: Option<String>,
    /// Why the newest update was not followed.
    pub reason: Option<String>,
    /// Whether an update was installed and its report acknowledged.
    pub updated: bool,
    /// How it sleeps, where it is in queue mode.
    pub queue_mode: Option<Sleep>,
}

/// How a device in queue mode sleeps.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub struct Sleep {
    /// Whether its radio is off.
    pub asleep: bool,
    /// Times that it fell asleep.
    pub times: u32,
    /// Datagrams that came while it slept.
    pub missed: u64,
}

/// An image that runs.
#[derive(Clone, Debug, Deserialize)]
pub struct Running {
    /// SHA-256 in hexadecimal.
    pub digest: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Requests {
    requests: u32,
    place: Option<Place>,
}

#[derive(Clone, Debug, Deserialize)]
struct Place {
    index: u16,
}

/// What was granted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Grant {
    /// SHA-256 of a delta's base, in hexadecimal.
    pub base: Option<String>,
    /// Bytes as carried.
    pub content_bytes: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct FromGateway {
    frames: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Datagrams {
    application_in: u64,
    application_out: u64,
    handshake_in: u64,
    handshake_out: u64,
}

impl Status {
    /// Tells whether the server refused for good.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.verdict.as_deref() == Some("refused")
    }

    /// Tells whether the server said that there is nothing to do.
    #[must_use]
    pub fn has_nothing_to_do(&self) -> bool {
        self.verdict.as_deref() == Some("nothing")
    }

    /// Tells whether its radio is off.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.queue_mode.is_some_and(|sleep| sleep.asleep)
    }

    /// Gives what was asked.
    #[must_use]
    pub fn asked(&self) -> Asked {
        Asked { requests: self.asked.requests, index: self.asked.place.as_ref().map(|place| place.index) }
    }

    /// Gives what it cost since the process started.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            bytes_in: self.traffic.application_in,
            bytes_out: self.traffic.application_out,
            handshake_in: self.traffic.handshake_in,
            handshake_out: self.traffic.handshake_out,
        }
    }

    /// Gives how many frames came from the gateway and were right.
    #[must_use]
    pub fn frames_from_gateway(&self) -> u32 {
        self.gateway.map_or(0, |gateway| gateway.frames)
    }
}

/// A device that is switched on.
#[derive(Debug)]
pub struct Device {
    name: String,
    process: Process,
    status: PathBuf,
}

impl Device {
    /// Switches on the device whose flash is `devices/NAME.flash`; `more` goes behind the command.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Io`].
    pub fn switch_on(
        console: &Console,
        folder: &Path,
        log: &Path,
        name: &str,
        more: &str,
    ) -> Result<Self, ProcessError> {
        let status = folder.join(format!("devices/{name}.json"));
        // What an earlier run of this device left would be taken for this one's.
        if status.exists() {
            fs::remove_file(&status)
                .map_err(|source| ProcessError::Io { program: status.display().to_string(), source })?;
        }
        let line =
            format!("bellwether-agent run --flash devices/{name}.flash --status devices/{name}.json{more}");
        let process = console.start(name, &line, log)?;
        Ok(Self { name: name.to_owned(), process, status })
    }

    /// Waits until its status is as wanted, and gives it.
    ///
    /// # Errors
    ///
    /// [`ProcessError::TooLate`], [`ProcessError::Ended`], [`ProcessError::Stopped`].
    pub fn wait(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status, ProcessError> {
        let (what, path) = (format!("{}: {what}", self.name), &self.status);
        self.process.wait_until(&what, within, || Ok(read(path).filter(|status| wanted(status))))
    }

    /// Switches it off, as a power cut would.
    pub fn switch_off(mut self) {
        self.process.kill();
    }

    /// Waits until its process has ended by itself, and gives its last status.
    ///
    /// # Errors
    ///
    /// [`ProcessError::TooLate`], [`ProcessError::Stopped`].
    pub fn wait_end(&mut self, within: Duration) -> Result<Option<Status>, ProcessError> {
        self.process.wait_end(within)?;
        Ok(read(&self.status))
    }
}

/// The file is replaced as a whole, so what can't be read is not there yet.
fn read(path: &Path) -> Option<Status> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const STATUS: &str = r#"{
        "endpoint": "meter-1", "class": "meter", "kind": "microcontroller",
        "running": { "digest": "00ff", "version": "1.0", "bytes": 7 },
        "says": null, "place": { "epoch": 0, "index": 1 }, "registered": true,
        "asked": { "requests": 2, "place": { "epoch": 0, "index": 0 } },
        "got": { "kind": "delta", "base": "aa", "content_bytes": 77 },
        "traffic": { "application_in": 1, "application_out": 2, "handshake_in": 3, "handshake_out": 4 },
        "gateway": { "connected": true, "asked": 1, "frames": 5, "altered": 0, "detours": 0 },
        "state": "idle", "result": 6, "verdict": "refused", "refused": 18, "reason": "so it is",
        "reports_waiting": 0, "updated": false, "event": "Refused"
    }"#;

    /// A status of some device.
    pub(crate) fn status() -> Status {
        serde_json::from_str(STATUS).expect("a status")
    }

    #[test]
    fn status_tells_what_was_asked_granted_and_spent() {
        let status = status();
        assert!(status.refused());
        assert_eq!(status.asked(), Asked { requests: 2, index: Some(0) });
        assert_eq!(status.got, Some(Grant { base: Some("aa".to_owned()), content_bytes: 77 }));
        assert_eq!((status.result, status.reports_waiting), (6, 0));
        let traffic = Traffic { bytes_in: 1, bytes_out: 2, handshake_in: 3, handshake_out: 4 };
        assert_eq!(status.traffic(), traffic);
        assert_eq!(status.frames_from_gateway(), 5);
    }

    #[test]
    fn half_a_file_is_no_status_yet() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("status.json");
        assert!(read(&path).is_none());
        fs::write(&path, &STATUS[..100]).expect("written");
        assert!(read(&path).is_none());
    }
}
