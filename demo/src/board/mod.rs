//! The emulated board of the demo: its programs, its factory, and the emulator that runs it.
//!
//! It is a Cortex-M4 that speaks CoAP over plain UDP, beside devices with DTLS: what it takes and tells is signed or
//! under a MAC from end to end all the same.

pub mod factory;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bellwether_api::Device as Known;

use crate::console::Console;
use crate::folder::DataFolder;
use crate::process::{Process, ProcessError};
use crate::row::{Asked, Got, Image, Row, Served, Traffic};
use crate::uplink::Counts;

/// What was built for the board: its boot loader, and two versions of its firmware.
#[derive(Debug)]
pub struct Programs {
    folder: PathBuf,
}

/// A board that is switched on.
#[derive(Debug)]
pub struct Board {
    process: Process,
    flash: PathBuf,
    log: PathBuf,
    /// What it ran, and the key index at which the server held it, when it was switched on.
    before: (Image, u16),
}

impl Programs {
    /// Builds them, from the folder of the sources; what that says goes to standard error.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Failed`] where a tool can't be had; the script has said which, and the line to run.
    pub fn build() -> Result<Self, ProcessError> {
        let mut script = Command::new(SCRIPT);
        script.arg("--firmware").stdin(Stdio::null()).stderr(Stdio::inherit());
        let output =
            script.output().map_err(|source| ProcessError::Io { program: SCRIPT.to_owned(), source })?;
        let printed = String::from_utf8_lossy(&output.stdout);
        match printed.lines().last().filter(|_| output.status.success()) {
            Some(folder) => Ok(Self { folder: folder.into() }),
            None => Err(ProcessError::Failed {
                command: format!("{SCRIPT} --firmware"),
                said: "the board's programs can't be built; what is missing is said above".to_owned(),
            }),
        }
    }

    /// Names the boot loader.
    #[must_use]
    pub fn loader(&self) -> PathBuf {
        self.folder.join("boot.elf")
    }

    /// Names the firmware of a version.
    #[must_use]
    pub fn firmware(&self, version: &str) -> PathBuf {
        self.folder.join(format!("firmware-{version}.bin"))
    }
}

impl Board {
    /// Switches on the board whose flash is `devices/NAME.nor`, and waits until it is registered.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn switch_on(console: &Console, folder: &DataFolder) -> Result<Self, ProcessError> {
        let flash = folder.path().join(format!("devices/{NAME}.nor"));
        let known: Known = console.ask(&format!("bellwether --json device show {NAME}"))?;
        let before = (confirmed(&flash)?, known.index);
        let log = folder.log(NAME);
        let line = format!(
            "{EMULATOR} -M mps2-an386,memory-backend=nor -nographic -monitor none -serial none \
             -object memory-backend-file,id=nor,mem-path=devices/{NAME}.nor,size=16M,share=on \
             -semihosting-config enable=on,target=native,arg=board -nic user,model=lan9118 -kernel {LOADER}"
        );
        let process = console.start(NAME, &line, &log)?;
        let mut board = Self { process, flash, log, before };
        board.wait("registered", crate::walk::STEP)?;
        Ok(board)
    }

    /// Waits until it says something.
    ///
    /// # Errors
    ///
    /// [`ProcessError`].
    pub fn wait(&mut self, word: &str, within: Duration) -> Result<(), ProcessError> {
        let log = &self.log;
        let what = format!("{NAME} says {word:?}");
        self.process
            .wait_until(&what, within, || Ok(said(log).lines().any(|line| line == word).then_some(())))
    }

    /// Makes its row, by what it said, what stands in its flash, and what passed on its line.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] where its flash can't be read.
    pub fn row(&self, passed: Counts) -> Result<Row, ProcessError> {
        let said = said(&self.log);
        let (ran, index) = self.before.clone();
        let requests = said.lines().filter(|line| *line == "asked").count();
        let requests = u32::try_from(requests).unwrap_or(u32::MAX);
        let got = said.lines().find_map(|line| granted(line, &ran));
        Ok(Row {
            device: NAME.to_owned(),
            asked: Asked { requests, index: (requests > 0).then_some(index) },
            served: if got.is_some() { Served::Server } else { Served::Nobody },
            got,
            ran,
            traffic: Traffic {
                bytes_in: passed.down_bytes,
                bytes_out: passed.up_bytes,
                ..Traffic::default()
            },
            is_plain: true,
            runs: confirmed(&self.flash)?,
            said: said.lines().rev().find(|line| line.starts_with("firmware ")).map(str::to_owned),
            refused: said.lines().any(|line| line == "refused"),
            result: 0,
            why_not: said.lines().find(|line| NOT_UPDATED.contains(line)).map(str::to_owned),
        })
    }
}

/// All that a board ever said.
fn said(log: &Path) -> String {
    fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Reads `granted delta of 123 bytes`.
fn granted(line: &str, ran: &Image) -> Option<Got> {
    let (kind, bytes) = line.strip_prefix("granted ")?.strip_suffix(" bytes")?.split_once(" of ")?;
    let bytes = bytes.parse().ok()?;
    match kind {
        "delta" => Some(Got::Delta { base: ran.clone(), bytes, of: None }),
        _ => Some(Got::Full { bytes }),
    }
}

fn confirmed(flash: &Path) -> Result<Image, ProcessError> {
    let read = factory::confirmed(flash);
    let (version, digest) = read.map_err(|error| ProcessError::Failed {
        command: format!("reading the flash of {NAME}"),
        said: error.to_string(),
    })?;
    Ok(Image { version, digest: hex::encode(digest) })
}

/// Its name.
pub const NAME: &str = "board-1";
/// Its class.
pub const CLASS: &str = "board";
/// The version that it runs at first.
pub const BEFORE: &str = "1.0.0";
/// The version that the campaign brings.
pub const TARGET: &str = "2.0.0";
/// Where its boot loader lies, in the demo's folder.
pub const LOADER: &str = "images/board-boot.elf";

/// Debian's.
const EMULATOR: &str = "/usr/bin/qemu-system-arm";
/// Checks the tools and builds.
const SCRIPT: &str = "scripts/microcontroller.sh";
/// What it says of an update that it does not follow.
const NOT_UPDATED: [&str; 4] = ["refused", "given up", "reporting failed", "grant unusable"];

/// Names the image of one of its versions, in the demo's folder.
#[must_use]
pub fn image(version: &str) -> String {
    format!("images/board-{version}.bin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran() -> Image {
        Image { version: BEFORE.to_owned(), digest: "d".to_owned() }
    }

    #[test]
    fn grant_is_read_from_what_the_board_says() {
        let delta = granted("granted delta of 123 bytes", &ran());
        assert_eq!(delta, Some(Got::Delta { base: ran(), bytes: 123, of: None }));
        assert_eq!(granted("granted image of 9 bytes", &ran()), Some(Got::Full { bytes: 9 }));
        assert_eq!(granted("granted nothing", &ran()), None);
        assert_eq!(granted("frame 3 of 9", &ran()), None);
    }

    #[test]
    fn flash_of_a_factory_holds_its_image_confirmed_and_a_damaged_one_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let unit = folder.path().join("board-1.unit");
        fs::write(&unit, b"no unit file").expect("written");
        let made = factory::Made {
            unit: &unit,
            vendor: "example.com",
            class: CLASS,
            image: b"image",
            version: BEFORE,
            patches: true,
            server: ([127, 0, 0, 1], 5683).into(),
        };
        assert!(matches!(factory::flash(&made), Err(factory::FactoryError::Unit(_))));
        let flash = folder.path().join("board-1.nor");
        fs::write(&flash, b"short").expect("written");
        assert!(matches!(factory::confirmed(&flash), Err(factory::FactoryError::Damaged(_))));
    }
}
