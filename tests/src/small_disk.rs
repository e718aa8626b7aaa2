//! A disk that gets full: for a test that would otherwise need a machine of its own.
//!
//! A test runs itself again in name spaces of its own, where anyone may mount a `tmpfs` of a few megabytes on a folder;
//! root needs no user name space for that. Where a system allows neither (some containers), writes are refused by a limit
//! of file sizes that is set on the running process: it comes as another error, and as suddenly.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What can be filled.
#[derive(Debug)]
pub enum SmallDisk {
    /// A file system of its own.
    Mounted {
        /// Where it is mounted.
        folder: PathBuf,
    },
    /// A limit of file sizes, for the processes that are named when it is filled.
    Limit,
}

/// Whether the test is to go on in this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Here {
    /// It is: in a name space where folders can be mounted on, or not.
    Yes {
        /// Whether they can.
        mounts: bool,
    },
    /// It has run elsewhere, and well.
    Done,
}

/// Runs the test of this name again where it may mount; the name is that of the test harness.
///
/// # Panics
///
/// Where it fails there.
pub fn enter(test: &str) -> Here {
    if let Some(inside) = std::env::var_os(INSIDE) {
        return Here::Yes { mounts: inside != LIMITED };
    }
    let Some(flags) = [&["-m"][..], &["-Urm"]].into_iter().find(|flags| may_mount(flags)) else {
        println!("no name spaces here: writes are refused by a limit of file sizes");
        return Here::Yes { mounts: false };
    };
    let program = std::env::current_exe().expect("the path of this test");
    let mut command = Command::new("unshare");
    command.args(flags).arg(program).args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    let status = command.env(INSIDE, "1").stdin(Stdio::null()).status().expect("unshare runs");
    assert!(status.success(), "{test}: {status}");
    Here::Done
}

fn may_mount(flags: &[&str]) -> bool {
    let mut command = Command::new("unshare");
    command.args(flags).args(["mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]);
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

impl SmallDisk {
    /// Makes the folder a disk of so many KiB, where folders can be mounted on.
    ///
    /// # Panics
    ///
    /// Where the mount is refused.
    pub fn on(folder: &Path, kib: u32, mounts: bool) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        if !mounts {
            return Self::Limit;
        }
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k,mode=700"), "none"]).arg(folder);
        assert!(mount.status().expect("mount runs").success(), "{}", folder.display());
        Self::Mounted { folder: folder.to_owned() }
    }

    /// Takes the last byte, for everyone or, with a limit, for these processes.
    ///
    /// # Panics
    ///
    /// Where the limit can't be set.
    pub fn fill(&self, processes: &[u32]) {
        match self {
            Self::Limit => limit(processes, "0"),
            Self::Mounted { folder } => {
                let mut filling = File::options()
                    .create(true)
                    .append(true)
                    .open(folder.join(FILLING))
                    .expect("room for a name");
                // Ever less at a time, to the last block.
                for bytes in [256 * 1024, 4_096, 1] {
                    while filling.write_all(&vec![0x5a; bytes]).is_ok() {}
                }
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Panics
    ///
    /// Where it can't be given.
    pub fn free(&self, processes: &[u32]) {
        match self {
            Self::Limit => limit(processes, "unlimited"),
            Self::Mounted { folder } => std::fs::remove_file(folder.join(FILLING)).expect("filled before"),
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Self::Mounted { folder } = self {
            // It is gone with the name space at the latest.
            let _ = Command::new("umount").arg("-l").arg(folder).status();
        }
    }
}

fn limit(processes: &[u32], bytes: &str) {
    for process in processes {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &process.to_string(), &format!("--fsize={bytes}:")]);
        assert!(command.status().expect("prlimit runs").success(), "process {process}");
    }
}

/// Set to this by hand: the test goes on as where no name spaces are.
const LIMITED: &str = "limited";

/// Set in a test that runs again.
const INSIDE: &str = "BELLWETHER_TEST_INSIDE";

/// What takes the room.
const FILLING: &str = "filling";
