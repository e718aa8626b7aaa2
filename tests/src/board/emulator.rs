//! The emulator.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::fleet::PATIENCE;
use crate::program::{self, Program};

/// A board: a flash file, and a process while it is switched on.
#[derive(Debug)]
pub struct Board {
    loader: PathBuf,
    flash: PathBuf,
    log: PathBuf,
    program: Option<Program>,
}

impl Board {
    /// Takes a flash; the board stays off. `loader` is the boot loader's program.
    pub fn new(loader: &Path, flash: &Path) -> Self {
        let (loader, flash, log) = (loader.to_owned(), flash.to_owned(), flash.with_extension("log"));
        Self { loader, flash, log, program: None }
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
        command.args([
            "-M",
            "mps2-an386,memory-backend=nor",
            "-nographic",
            "-monitor",
            "none",
            "-serial",
            "none",
        ]);
        command.arg("-object").arg(format!("memory-backend-file,id=nor,mem-path={flash},size=16M,share=on"));
        command.arg("-semihosting-config").arg(format!("enable=on,target=native,arg={words}"));
        command.args(["-nic", "user,model=lan9118"]).arg("-kernel").arg(&self.loader);
        self.program = Some(Program::start(command, &self.log));
    }

    /// Waits until it has switched itself off.
    ///
    /// # Panics
    ///
    /// Where it is off, or does not end.
    pub fn wait_end(&mut self) -> ExitStatus {
        self.program.take().expect("a board that is on").wait_end(PATIENCE)
    }

    /// All that it ever said.
    pub fn said(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Its flash.
    pub fn flash(&self) -> &Path {
        &self.flash
    }
}

/// Debian's.
const EMULATOR: &str = "/usr/bin/qemu-system-arm";
