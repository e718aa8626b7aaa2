//! A gateway of the demo: a process, and the status file in which it tells how it is.

use std::fs;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::console::Console;
use crate::folder::DataFolder;
use crate::process::{Process, ProcessError};
use crate::walk::STEP;

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    status: PathBuf,
}

/// What its status file says, as far as the demo needs it.
#[derive(Clone, Debug, Deserialize)]
struct Status {
    /// Whether the server is heard.
    uplink: bool,
    children: Children,
    bundles: Vec<Bundle>,
    outbox: Outbox,
    #[serde(flatten)]
    served: Served,
}

#[derive(Clone, Debug, Deserialize)]
struct Children {
    listed: usize,
    connected: usize,
}

#[derive(Clone, Debug, Deserialize)]
struct Bundle {
    grants: usize,
    /// Resources of its descriptors.
    resources: usize,
    /// Those of them that are here whole.
    fetched: usize,
}

#[derive(Clone, Debug, Deserialize)]
struct Outbox {
    reports: usize,
}

/// What a gateway has served since it was started.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Served {
    /// Update requests.
    pub requests: Requests,
    /// Frames.
    pub frames: Frames,
    /// Manifests.
    pub pushes: Pushes,
}

/// Update requests, by who answered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Requests {
    /// The gateway, with a grant that the server had made ahead.
    pub answered_from_bundle: u64,
    /// The gateway, with a grant that had passed through it.
    pub from_kept: u64,
    /// The server.
    pub forwarded: u64,
    /// Nobody: the server could not be reached.
    pub put_off: u64,
}

/// Frames, in bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Frames {
    /// Those that the server gave.
    pub bytes_upstream: u64,
    /// Those given to devices.
    pub bytes_down: u64,
}

/// Manifests, in number.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Pushes {
    /// Those that their devices took.
    pub taken: u64,
}

impl AddAssign for Served {
    fn add_assign(&mut self, other: Self) {
        self.requests.answered_from_bundle += other.requests.answered_from_bundle;
        self.requests.from_kept += other.requests.from_kept;
        self.requests.forwarded += other.requests.forwarded;
        self.requests.put_off += other.requests.put_off;
        self.frames.bytes_upstream += other.frames.bytes_upstream;
        self.frames.bytes_down += other.frames.bytes_down;
        self.pushes.taken += other.pushes.taken;
    }
}

impl Gateway {
    /// Starts the gateway whose unit file is `devices/NAME.unit`; a server that is silent is given up after 46 times
    /// `ack_timeout_ms`.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn start(
        console: &Console,
        folder: &DataFolder,
        name: &str,
        listen: SocketAddr,
        ack_timeout_ms: u32,
    ) -> Result<Self, ProcessError> {
        let line = format!(
            "bellwether-gateway --unit devices/{name}.unit --data {name} --listen {listen} \
             --status devices/{name}.json --ack-timeout-ms {ack_timeout_ms}"
        );
        let process = console.start("bellwether-gateway", &line, &folder.log(name))?;
        Ok(Self { process, status: folder.path().join(format!("devices/{name}.json")) })
    }

    /// Gives the number of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Makes sure that it has not ended.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Ended`], with what it has ended before.
    pub fn is_on(&mut self, what: &str) -> Result<(), ProcessError> {
        self.process.is_on(what)
    }

    /// Waits until it hears the server and so many devices.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn wait_ready(&mut self, children: usize) -> Result<(), ProcessError> {
        self.wait("its devices", STEP, |it| {
            it.uplink && it.children.listed == children && it.children.connected == children
        })
        .map(drop)
    }

    /// Tells what it has served.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn served(&mut self) -> Result<Served, ProcessError> {
        self.wait("its status", STEP, |_| true).map(|it| it.served)
    }

    /// Waits until it has a bundle, and all frames of what the grants in it open.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn wait_prefetched(&mut self) -> Result<(), ProcessError> {
        let is_whole = |bundle: &Bundle| bundle.grants > 0 && bundle.fetched == bundle.resources;
        self.wait("its bundle with all frames", STEP, |it| it.bundles.iter().any(is_whole)).map(drop)
    }

    /// Waits until it keeps reports that the server has not, and gives how many.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn wait_reports(&mut self) -> Result<usize, ProcessError> {
        self.wait("reports to be kept", STEP, |it| it.outbox.reports > 0).map(|it| it.outbox.reports)
    }

    fn wait(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status, ProcessError> {
        let path = &self.status;
        let look = || {
            let status: Option<Status> =
                fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
            Ok(status.filter(|status| wanted(status)))
        };
        self.process.wait_until(what, within, look)
    }
}

/// First wait for an acknowledgement, in milliseconds, of a gateway whose line to the server will be cut.
pub const ACK_TIMEOUT_MS: u32 = 100;
