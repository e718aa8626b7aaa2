//! The real gateway.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde::Deserialize;

use crate::fleet::Fleet;
use crate::program::{self, Program};
use crate::server::{ACK_TIMEOUT_FLAG, ACK_TIMEOUT_MS};
use crate::wait;

/// A gateway that is enrolled: its unit file, its data folder, and a process while it is switched on.
#[derive(Debug)]
pub struct Gateway {
    /// Its name.
    pub name: String,
    unit: PathBuf,
    data: PathBuf,
    status: PathBuf,
    log: PathBuf,
    listen: SocketAddr,
    metrics: Option<SocketAddr>,
    flags: Vec<String>,
    program: Option<Program>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Listening {
    coaps: SocketAddr,
    metrics: Option<SocketAddr>,
}

impl Gateway {
    /// Enrols a gateway that devices are to call on a free port; it stays off.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn enrol(fleet: &Fleet, name: &str) -> Self {
        Self::enrol_at(fleet, name, free_port())
    }

    /// Enrols a gateway of which devices are told that it is at `uri`, while it listens on a free port of its own.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn enrol_behind(fleet: &Fleet, name: &str, uri: &str) -> Self {
        Self::enrolled(fleet, name, uri, free_port())
    }

    fn enrol_at(fleet: &Fleet, name: &str, listen: SocketAddr) -> Self {
        Self::enrolled(fleet, name, &format!("coaps://{listen}"), listen)
    }

    fn enrolled(fleet: &Fleet, name: &str, uri: &str, listen: SocketAddr) -> Self {
        fleet.cli.done(&format!("gateway add {name} --uri {uri} --out {name}.unit"));
        let path = |extension: &str| fleet.folder().join(format!("{name}.{extension}"));
        Self {
            name: name.to_owned(),
            unit: path("unit"),
            data: path("data"),
            status: path("status.json"),
            log: path("log"),
            listen,
            metrics: None,
            flags: Vec::new(),
            program: None,
        }
    }

    /// Gives it further flags, for this start and all after it.
    #[must_use]
    pub fn with_flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Switches it on and waits until it listens.
    ///
    /// # Panics
    ///
    /// Where it runs already, or does not come to listen.
    pub fn start(&mut self) {
        assert!(self.program.is_none(), "{} runs already", self.name);
        let listening = self.data.join("listening.json");
        // That of the start before would be taken for this one's.
        let _ = fs::remove_file(&listening);
        let mut program = self.launch();
        let look = || {
            if let Some(status) = program.ended() {
                let said = program.tail();
                assert!(said.contains(PORT_TAKEN), "{} ended ({status})\n{said}", self.name);
                program = self.launch();
            }
            serde_json::from_slice::<Listening>(&fs::read(&listening).ok()?).ok()
        };
        let found = wait::until("a gateway that listens", wait::LONG, look, || program::tail(&self.log));
        (self.listen, self.metrics) = (found.coaps, found.metrics);
        self.program = Some(program);
    }

    fn launch(&self) -> Program {
        Program::start(self.command(), &self.log)
    }

    /// The command that starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = program::command("bellwether-gateway");
        command.arg("--unit").arg(&self.unit).arg("--data").arg(&self.data);
        command.args(["--listen", &self.listen.to_string()]).arg("--status").arg(&self.status);
        if self.flags.iter().all(|flag| flag != ACK_TIMEOUT_FLAG) {
            command.args([ACK_TIMEOUT_FLAG, ACK_TIMEOUT_MS]);
        }
        command.args(&self.flags);
        command
    }

    /// Ends it as a power cut would.
    ///
    /// # Panics
    ///
    /// Where it is off.
    pub fn kill9(&mut self) {
        self.program.take().expect("a gateway that is on").kill9();
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Panics
    ///
    /// Where it is off, or does not end.
    pub fn stop(&mut self) -> ExitStatus {
        let mut program = self.program.take().expect("a gateway that is on");
        program.terminate();
        program.wait_end(wait::LONG)
    }

    /// Cuts its power and gives it back.
    pub fn kill_and_restart(&mut self) {
        self.kill9();
        self.start();
    }

    /// Where it gives its metrics, where a flag asks for them.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Where devices come in.
    pub fn coaps(&self) -> SocketAddr {
        self.listen
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// Where it is off.
    pub fn process(&self) -> u32 {
        self.program.as_ref().expect("a gateway that is on").id()
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its unit file.
    pub fn unit(&self) -> &Path {
        &self.unit
    }

    /// What it tells of itself.
    ///
    /// # Panics
    ///
    /// Where it tells nothing.
    pub fn status(&self) -> serde_json::Value {
        let look = || serde_json::from_slice(&fs::read(&self.status).ok()?).ok();
        wait::until("a status of the gateway", wait::LONG, look, || self.tail())
    }

    /// Waits until what it tells of itself is so.
    ///
    /// # Panics
    ///
    /// Where it does not become so.
    pub fn wait_status(&self, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
        let look = || is_so(&self.status()).then_some(());
        wait::until(what, wait::LONG, look, || format!("{:#}\n{}", self.status(), self.tail()));
    }

    /// All that is in its memory now, as whoever owns the machine can read it.
    ///
    /// # Panics
    ///
    /// Where it is off, or the system does not let this process look.
    pub fn memory(&self) -> Vec<u8> {
        let program = self.program.as_ref().expect("a gateway that is on");
        program.memory()
    }

    /// All that it ever said.
    pub fn said(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The end of what it said.
    pub fn tail(&self) -> String {
        program::tail(&self.log)
    }
}

/// A port that is free now. Devices are told it before the gateway starts, so it can't be left to the system; where
/// another process takes it meanwhile, the gateway is started again.
fn free_port() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.local_addr().expect("an address")
}

/// What a gateway says that finds another process on its port.
const PORT_TAKEN: &str = "can't listen on";
