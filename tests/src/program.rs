//! The real binaries as child processes that do not outlive their test.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait;

/// Finds a binary of this workspace, built beside the running test.
///
/// # Panics
///
/// Where it was not built.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    // target/debug/deps/test-0123 → target/debug
    let folder = test.parent().and_then(Path::parent).expect("a target folder");
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not there; build the binaries first: cargo build --workspace --bins",
        path.display()
    );
    path
}

/// A command for a binary that sees nothing of this process's environment.
pub fn command(name: &str) -> Command {
    system_command(&binary(name))
}

/// A command for a program of this machine that sees nothing of this process's environment.
pub fn system_command(program: &Path) -> Command {
    let mut command = bound_to_this_thread(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// Where the system has the means, a process dies with the thread that started it: a test that is killed can't clean
/// up behind itself.
fn bound_to_this_thread(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.is_file() {
        return Command::new(program);
    }
    let mut command = Command::new(setpriv);
    // Past a limit of file sizes a write is to fail, as on a full disk, and not to end the process.
    command.args(["--pdeathsig", "KILL", "--", "/usr/bin/env", "--ignore-signal=XFSZ", "--"]).arg(program);
    command
}

/// A running process with a log; killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a command whose output goes behind what is in `log`.
    ///
    /// # Panics
    ///
    /// Where it can't be started.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let open = || File::options().create(true).append(true).open(log).expect("a log");
        let child = command.stdout(open()).stderr(open()).spawn().expect("started");
        Self { child, log: log.to_owned() }
    }

    /// Its number in the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would: SIGKILL.
    pub fn kill9(&mut self) {
        // One that ended by itself can't be killed again, which is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end: SIGTERM.
    ///
    /// # Panics
    ///
    /// Where `kill` can't be run.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal by its name, such as `STOP`.
    ///
    /// # Panics
    ///
    /// Where `kill` can't be run.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs");
        assert!(sent.success(), "process {id} is gone");
    }

    /// Tells how it ended; `None` while it runs.
    ///
    /// # Panics
    ///
    /// Where the system does not say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Runs a command that ends by itself; gives how it ended and what it said.
    ///
    /// # Panics
    ///
    /// Where it does not end in time.
    pub fn run(command: Command) -> (ExitStatus, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut program = Self::start(command, &folder.path().join("log"));
        let status = program.wait_end(wait::LONG);
        (status, program.said())
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// Where it does not come within `within`.
    pub fn wait_end(&mut self, within: Duration) -> ExitStatus {
        let log = self.log.clone();
        wait::until("the end of a process", within, || self.ended(), || tail(&log))
    }

    /// All of its writable memory, but for pages that are empty.
    ///
    /// # Panics
    ///
    /// Where the system does not let this process look.
    pub fn memory(&self) -> Vec<u8> {
        let folder = PathBuf::from(format!("/proc/{}", self.child.id()));
        let maps = fs::read_to_string(folder.join("maps")).expect("the maps of a child");
        let memory = File::open(folder.join("mem")).expect("the memory of a child");
        let mut all = Vec::new();
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let (from, until) =
                line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
            let [from, until] = [from, until].map(|text| u64::from_str_radix(text, 16).expect("an address"));
            let mut room = vec![0; usize::try_from(until - from).expect("a size")];
            // Pages that were never touched can't always be read.
            if memory.read_exact_at(&mut room, from).is_ok() {
                all.extend(room.chunks(PAGE).filter(|page| **page != [0; PAGE][..page.len()]).flatten());
            }
        }
        assert!(!all.is_empty(), "no memory could be read");
        all
    }

    /// All that it said.
    ///
    /// # Panics
    ///
    /// Where the log can't be read.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).expect("the log")).into_owned()
    }

    /// The end of what it said, for failures.
    pub fn tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The last lines of a log, under its name.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    format!("--- {}\n{}", log.display(), lines[from..].join("\n"))
}

const TAIL_LINES: usize = 60;
const PAGE: usize = 4_096;
