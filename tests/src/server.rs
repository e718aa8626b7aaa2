//! The real server.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde::Deserialize;

use crate::http::Http;
use crate::program::{self, Program};
use crate::wait;

/// A running `bellwether-server` with a data folder of its own.
#[derive(Debug)]
pub struct Server {
    data: PathBuf,
    log: PathBuf,
    extra: Vec<String>,
    program: Program,
    listening: Listening,
}

#[derive(Clone, Debug, Deserialize)]
struct Listening {
    http: SocketAddr,
    coaps: SocketAddr,
    coap: Option<SocketAddr>,
}

impl Server {
    /// Starts a server in `folder` on free ports and waits until it is ready.
    ///
    /// # Panics
    ///
    /// Where it does not become ready.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// Starts a server with further flags.
    ///
    /// # Panics
    ///
    /// Where it does not become ready.
    pub fn start_with(folder: &Path, extra: &[&str]) -> Self {
        let (data, log) = (folder.join("server"), folder.join("server.log"));
        let extra: Vec<String> = extra.iter().map(|flag| (*flag).to_owned()).collect();
        let (program, listening) = launch_until_ready(&data, &log, (free(), free()), &extra);
        Self { data, log, extra, program, listening }
    }

    /// Ends it as a power cut would.
    pub fn kill9(&mut self) {
        self.program.kill9();
    }

    /// Starts it again on the same data and ports; it must have ended.
    ///
    /// # Panics
    ///
    /// Where it does not become ready.
    pub fn restart(&mut self) {
        assert!(self.program.ended().is_some(), "the server still runs");
        // The file of the start before would be taken for that of this one.
        fs::remove_file(self.data.join("listening.json")).expect("removed");
        let Listening { http, coaps, .. } = self.listening.clone();
        (self.program, self.listening) =
            launch_until_ready(&self.data, &self.log, (coaps, http), &self.extra);
    }

    /// Starts it again with other further flags.
    ///
    /// # Panics
    ///
    /// Where it does not become ready.
    pub fn restart_with(&mut self, extra: &[&str]) {
        self.extra = extra.iter().map(|flag| (*flag).to_owned()).collect();
        self.restart();
    }

    /// Asks it to end and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.program.terminate();
        self.program.wait_end(wait::LONG)
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.program.id()
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Where devices come in.
    pub fn coaps(&self) -> SocketAddr {
        self.listening.coaps
    }

    /// Where devices come in without security.
    ///
    /// # Panics
    ///
    /// Where it was not started with `--coap`.
    pub fn coap(&self) -> SocketAddr {
        self.listening.coap.expect("--coap")
    }

    /// Where fleet managers come in over HTTP.
    pub fn http_address(&self) -> SocketAddr {
        self.listening.http
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The token of its HTTP interface.
    ///
    /// # Panics
    ///
    /// Where it can't be read.
    pub fn token(&self) -> String {
        fs::read_to_string(self.data.join("http.token")).expect("a token").trim().to_owned()
    }

    /// Speaks to its HTTP interface with its token.
    pub fn http(&self) -> Http {
        Http::new(self.listening.http, Some(&self.token()))
    }

    /// Speaks to its HTTP interface with this token, or none.
    pub fn http_with(&self, token: Option<&str>) -> Http {
        Http::new(self.listening.http, token)
    }

    /// All that it said.
    pub fn said(&self) -> String {
        self.program.said()
    }

    /// The end of what it said.
    pub fn tail(&self) -> String {
        self.program.tail()
    }
}

/// A command that starts a server on a data folder and free ports.
pub fn command(data: &Path) -> Command {
    command_at(data, free(), free(), &[])
}

fn command_at(data: &Path, coaps: SocketAddr, http: SocketAddr, extra: &[String]) -> Command {
    let mut command = program::command("bellwether-server");
    command.arg("--data").arg(data);
    if extra.iter().all(|flag| flag != "--coaps") {
        command.args(["--coaps", &coaps.to_string()]);
    }
    if extra.iter().all(|flag| flag != "--http") {
        command.args(["--http", &http.to_string()]);
    }
    if extra.iter().all(|flag| flag != ACK_TIMEOUT_FLAG) {
        command.args([ACK_TIMEOUT_FLAG, ACK_TIMEOUT_MS]);
    }
    command
}

fn launch(data: &Path, log: &Path, coaps: SocketAddr, http: SocketAddr, extra: &[String]) -> Program {
    let mut command = command_at(data, coaps, http, extra);
    command.args(extra);
    if extra.iter().all(|flag| flag != "--mqtt" && flag != "--mqtt-listen") {
        command.args(["--mqtt", "off"]);
    }
    Program::start(command, log)
}

/// Starts a server and waits until it is ready. Where another process holds its port just now, it is tried again.
fn launch_until_ready(
    data: &Path,
    log: &Path,
    (coaps, http): (SocketAddr, SocketAddr),
    extra: &[String],
) -> (Program, Listening) {
    let path = data.join("listening.json");
    let mut program = launch(data, log, coaps, http, extra);
    let look = || {
        if let Some(status) = program.ended() {
            let said = program.tail();
            assert!(said.contains(PORT_TAKEN), "the server ended ({status}) before it was ready\n{said}");
            program = launch(data, log, coaps, http, extra);
        }
        serde_json::from_slice(&fs::read(&path).ok()?).ok()
    };
    let listening = wait::until("a server that is ready", wait::LONG, look, || program::tail(log));
    (program, listening)
}

/// A port of loopback that the system chooses.
fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Loopback loses nothing, but a killed peer is to be noticed soon: given up after 46 times this.
pub const ACK_TIMEOUT_MS: &str = "150";

/// How server and agent are told it.
pub const ACK_TIMEOUT_FLAG: &str = "--ack-timeout-ms";

/// What a server says that finds another process on its port.
const PORT_TAKEN: &str = "can't be bound";
