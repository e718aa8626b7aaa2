//! The emulator.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::small::RESIDENT;
use crate::fleet::PATIENCE;
use crate::program::{self, Program};

/// A board: a flash file, and a process while it is switched on.
#[derive(Debug)]
pub struct Board {
    machine: Machine,
    loader: PathBuf,
    resident: Option<PathBuf>,
    serial: Option<PathBuf>,
    counter: Option<(PathBuf, PathBuf)>,
    flash: PathBuf,
    log: PathBuf,
    program: Option<Program>,
}

/// Which board it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Machine {
    /// `mps2-an385`.
    CortexM3,
    /// `mps2-an386`.
    CortexM4,
    /// `mps2-an505`.
    CortexM33,
}

impl Machine {
    fn name(self) -> &'static str {
        match self {
            Self::CortexM3 => "mps2-an385",
            Self::CortexM4 => "mps2-an386",
            Self::CortexM33 => "mps2-an505",
        }
    }
}

impl Board {
    /// Takes a flash of a Cortex-M4; the board stays off. `loader` is the boot loader's program.
    pub fn new(loader: &Path, flash: &Path) -> Self {
        Self::of(Machine::CortexM4, loader, flash)
    }

    /// Takes a flash of some board, which stays off. `loader` is the boot loader's program.
    pub fn of(machine: Machine, loader: &Path, flash: &Path) -> Self {
        let (loader, flash, log) = (loader.to_owned(), flash.to_owned(), flash.with_extension("log"));
        Self { machine, loader, resident: None, serial: None, counter: None, flash, log, program: None }
    }

    /// Puts a program, as the flat image that it is in memory, beside the images; it is never updated.
    #[must_use]
    pub fn with_resident(self, program: &Path) -> Self {
        Self { resident: Some(program.to_owned()), ..self }
    }

    /// Connects its serial line with a Unix socket that somebody listens on.
    #[must_use]
    pub fn with_serial_line(self, line: &Path) -> Self {
        Self { serial: Some(line.to_owned()), ..self }
    }

    /// Counts its instructions with a plugin of the emulator, into a file that is there when it has switched itself off.
    #[must_use]
    pub fn with_counter(self, plugin: &Path, counted: &Path) -> Self {
        Self { counter: Some((plugin.to_owned(), counted.to_owned())), ..self }
    }

    /// Switches it on; the firmware is given these words.
    ///
    /// # Panics
    ///
    /// Where it is on, or there is no emulator.
    pub fn switch_on(&mut self, words: &[&str]) {
        assert!(self.program.is_none(), "the board is on");
        let mut command = program::system_command(Path::new(EMULATOR));
        let flash = self.flash.display();
        let words = words.iter().fold(String::from("board"), |words, word| words + ",arg=" + word);
        command.arg("-M").arg(format!("{},memory-backend=nor", self.machine.name()));
        command.args(["-nographic", "-monitor", "none", "-serial"]);
        let none = || String::from("none");
        command.arg(self.serial.as_ref().map_or_else(none, |line| format!("unix:{}", line.display())));
        command.arg("-object").arg(format!("memory-backend-file,id=nor,mem-path={flash},size=16M,share=on"));
        command.arg("-semihosting-config").arg(format!("enable=on,target=native,arg={words}"));
        command.args(["-nic", "user,model=lan9118"]).arg("-kernel").arg(&self.loader);
        if let Some(resident) = &self.resident {
            command
                .arg("-device")
                .arg(format!("loader,file={},addr={RESIDENT:#x},force-raw=on", resident.display()));
        }
        if let Some((plugin, counted)) = &self.counter {
            command.arg("-plugin").arg(format!("{},out={}", plugin.display(), counted.display()));
        }
        self.program = Some(Program::start(command, &self.log));
    }

    /// Waits until it has switched itself off: for as long as it says something, since an emulator that shares its
    /// processor with others is slow.
    ///
    /// # Panics
    ///
    /// Where it is off, says nothing for a minute and a half, or is on for ten minutes.
    #[expect(clippy::disallowed_methods, reason = "an emulator runs in real time")]
    pub fn wait_end(&mut self) -> ExitStatus {
        let mut program = self.program.take().expect("a board that is on");
        let (began, mut said, mut silent_since) = (Instant::now(), 0, Instant::now());
        loop {
            if let Some(status) = program.ended() {
                return status;
            }
            let says = self.said().len();
            if says != said {
                (said, silent_since) = (says, Instant::now());
            }
            let (on, silent) = (began.elapsed(), silent_since.elapsed());
            assert!(
                silent < PATIENCE && on < ON_MAX,
                "{}: on for {on:.1?}, silent for {silent:.1?}\n{}",
                self.log.display(),
                self.said()
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Takes its power at once; what stands in the flash stays. Tells how it ended where it had switched itself off.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        let mut program = self.program.take()?;
        let ended = program.ended();
        program.kill9();
        ended
    }

    /// All that it ever said.
    pub fn said(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Its flash.
    pub fn flash(&self) -> &Path {
        &self.flash
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Throws the board away with its flash and its log.
    ///
    /// # Panics
    ///
    /// Where the files are gone.
    pub fn scrap(self) {
        drop(self.program);
        std::fs::remove_file(&self.flash).expect("the flash");
        std::fs::remove_file(&self.log).expect("the log");
    }
}

/// How long a board may be on: one that restarts again and again says something each time.
const ON_MAX: Duration = Duration::from_mins(10);

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Debian's.
const EMULATOR: &str = "/usr/bin/qemu-system-arm";
