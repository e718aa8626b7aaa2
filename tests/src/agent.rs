//! The real agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::fleet::{Fleet, PATIENCE, VENDOR};
use crate::program::{self, Program};
use crate::server::{ACK_TIMEOUT_FLAG, ACK_TIMEOUT_MS};
use crate::wait;

/// A device of the factory: a flash file, and a process while it is switched on.
#[derive(Debug)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// What it logs, as `RUST_LOG` has it.
    pub log_filter: &'static str,
    folder: PathBuf,
    flash: PathBuf,
    status: PathBuf,
    log: PathBuf,
    program: Option<Program>,
}

impl Agent {
    /// Enrols a device and makes its flash; it stays off.
    ///
    /// # Panics
    ///
    /// Where server or factory refuse.
    pub fn make(fleet: &Fleet, name: &str, class: &str, version: &str, kind: &str) -> Self {
        Self::made(fleet, (name, class, version, kind), &[])
    }

    /// Enrols a device that takes full images only, and makes its flash; it stays off.
    ///
    /// # Panics
    ///
    /// Where server or factory refuse.
    pub fn make_without_patches(fleet: &Fleet, name: &str, class: &str, version: &str, kind: &str) -> Self {
        Self::made(fleet, (name, class, version, kind), &["--no-patch"])
    }

    /// Enrols a microcontroller behind a gateway and makes its flash; it stays off.
    ///
    /// # Panics
    ///
    /// Where server or factory refuse.
    pub fn make_behind(fleet: &Fleet, name: &str, class: &str, version: &str, gateway: &str) -> Self {
        let unit = fleet.device_behind(name, class, gateway);
        Self::flashed(fleet, &unit, (name, class, version, "microcontroller"), &[])
    }

    /// Enrols a microcontroller behind a gateway that takes full images only; it stays off.
    ///
    /// # Panics
    ///
    /// Where server or factory refuse.
    pub fn make_behind_without_patches(
        fleet: &Fleet,
        name: &str,
        class: &str,
        version: &str,
        gateway: &str,
    ) -> Self {
        let unit = fleet.device_behind(name, class, gateway);
        Self::flashed(fleet, &unit, (name, class, version, "microcontroller"), &["--no-patch"])
    }

    fn made(fleet: &Fleet, what: (&str, &str, &str, &str), flags: &[&str]) -> Self {
        let unit = fleet.device(what.0, what.1);
        Self::flashed(fleet, &unit, what, flags)
    }

    /// Makes the flash of a device from this unit file, as (name, class, version, kind); it stays off.
    ///
    /// # Panics
    ///
    /// Where the factory refuses.
    pub fn flashed(
        fleet: &Fleet,
        unit: &Path,
        (name, class, version, kind): (&str, &str, &str, &str),
        flags: &[&str],
    ) -> Self {
        let agent = Self::named(fleet.folder(), name);
        let mut command = program::command("bellwether-agent");
        command.arg("flash").arg("--unit").arg(unit).arg("--out").arg(&agent.flash);
        command
            .args(["--class", class, "--vendor", VENDOR, "--kind", kind, "--version", version])
            .args(flags);
        command.arg("--image").arg(fleet.folder().join(format!("{class}-{version}.bin")));
        let output = command.output().expect("the factory runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        agent
    }

    /// Takes a device whose flash is in a folder already; it stays off.
    pub fn kept(folder: &Path, name: &str) -> Self {
        Self::named(folder, name)
    }

    /// Copies its flash into another device, as a thief would; it stays off.
    ///
    /// # Panics
    ///
    /// Where the flash can't be copied.
    #[must_use]
    pub fn clone_as(&self, name: &str) -> Self {
        let clone = Self::named(&self.folder, name);
        fs::copy(&self.flash, &clone.flash).expect("copied");
        clone
    }

    /// Switches it on with further flags.
    ///
    /// # Panics
    ///
    /// Where it runs already.
    pub fn switch_on(&mut self, flags: &[&str]) {
        assert!(self.program.is_none(), "{} runs already", self.name);
        let mut command = program::command("bellwether-agent");
        command.arg("run").arg("--flash").arg(&self.flash).arg("--status").arg(&self.status);
        command.args(flags);
        if !flags.contains(&ACK_TIMEOUT_FLAG) {
            command.args([ACK_TIMEOUT_FLAG, ACK_TIMEOUT_MS]);
        }
        command.env("RUST_LOG", self.log_filter);
        // Images that run go into the test's folder, and with it, even where their device is killed.
        command.env("TMPDIR", &self.folder);
        self.program = Some(Program::start(command, &self.log));
    }

    /// Cuts its power.
    ///
    /// # Panics
    ///
    /// Where it is off.
    pub fn kill9(&mut self) {
        self.program.take().expect("a device that is on").kill9();
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its flash file; nothing is there before it was made.
    pub fn flash(&self) -> &Path {
        &self.flash
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// Where it is off, or does not end.
    pub fn wait_end(&mut self) -> ExitStatus {
        let mut program = self.program.take().expect("a device that is on");
        program.wait_end(PATIENCE)
    }

    /// Switches it on until it cuts its own power at a point.
    ///
    /// # Panics
    ///
    /// Where it does not come there.
    pub fn run_until(&mut self, point: &str) {
        self.switch_on(&["--halt-at", point]);
        let status = self.wait_end();
        assert_eq!(status.code(), Some(HALTED), "{} did not come to {point}\n{}", self.name, self.tail());
    }

    /// Switches it on until its update is over and acknowledged, and it runs the new image.
    ///
    /// # Panics
    ///
    /// Where it does not come there.
    pub fn run_until_updated(&mut self) {
        self.switch_on(&["--exit-when-updated"]);
        let status = self.wait_end();
        assert!(status.success(), "{} was not updated: {status}\n{}", self.name, self.tail());
    }

    /// Takes away what it told of itself, so that what it tells next is new.
    pub fn forget_status(&self) {
        // It may have told nothing yet.
        let _ = fs::remove_file(&self.status);
    }

    /// What it tells of itself.
    ///
    /// # Panics
    ///
    /// Where it tells nothing.
    pub fn status(&self) -> serde_json::Value {
        let look = || serde_json::from_slice(&fs::read(&self.status).ok()?).ok();
        wait::until("a status", wait::LONG, look, || self.tail())
    }

    /// Waits until what it tells of itself is so.
    ///
    /// # Panics
    ///
    /// Where it does not become so.
    pub fn wait_status(&self, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
        let look = || is_so(&self.status()).then_some(());
        wait::until(what, PATIENCE, look, || format!("{:#}\n{}", self.status(), self.tail()));
    }

    /// All that it ever said.
    pub fn said(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The end of what it said.
    pub fn tail(&self) -> String {
        program::tail(&self.log)
    }

    fn named(folder: &Path, name: &str) -> Self {
        let path = |extension: &str| folder.join(format!("{name}.{extension}"));
        let (flash, status, log) = (path("flash"), path("status.json"), path("log"));
        Self {
            name: name.to_owned(),
            log_filter: "info",
            folder: folder.to_owned(),
            flash,
            status,
            log,
            program: None,
        }
    }
}

/// Exit status of an agent that cut its own power.
pub const HALTED: i32 = 3;
