//! The gateway of the demo: a process, and the status file in which it tells how it is.

use std::fs;
use std::net::SocketAddr;
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

impl Gateway {
    /// Starts the gateway whose unit file is `devices/NAME.unit`.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn start(
        console: &Console,
        folder: &DataFolder,
        name: &str,
        listen: SocketAddr,
    ) -> Result<Self, ProcessError> {
        let line = format!(
            "bellwether-gateway --unit devices/{name}.unit --data {name} --listen {listen} \
             --status devices/{name}.json --ack-timeout-ms {ACK_TIMEOUT_MS}"
        );
        let process = console.start("bellwether-gateway", &line, &folder.log(name))?;
        Ok(Self { process, status: folder.path().join(format!("devices/{name}.json")) })
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

/// A server that is silent is given up after 46 times this.
const ACK_TIMEOUT_MS: u32 = 100;
