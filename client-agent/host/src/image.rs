//! Images that are programs of this machine: their self-test and their run.
//!
//! An image is executed from a private file, in a folder of mode 0700 that is removed as soon as the image runs: a
//! device that is killed leaves none behind. (A script is opened by its interpreter later; its folder stays with it.) Its standard input
//! is a pipe that closes when the device loses its power, so a program that ends at the end of its input never
//! outlives its device, not even one that was killed.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// An image as an executable file.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    /// Removed with the program, see [`Program::release`].
    folder: TempDir,
    is_script: bool,
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// A script's own file.
    _kept: Option<TempDir>,
    /// Closes when the device does.
    power: Option<ChildStdin>,
}

/// Why an image did not pass its self-test.
#[derive(Debug, Error)]
pub(crate) enum SelfTestError {
    /// It is no program of this machine.
    #[error("the image cannot be executed here")]
    NotExecutable(#[source] io::Error),
    /// It says so.
    #[error("the self-test ended with {0}")]
    Failed(std::process::ExitStatus),
    /// It hangs.
    #[error("the self-test did not end within {} s", SELF_TEST_TIME_MAX.as_secs())]
    TimedOut,
}

impl Program {
    /// Writes an image to a private file.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn write(image: &[u8]) -> io::Result<Self> {
        let private = std::fs::Permissions::from_mode(0o700);
        let folder =
            tempfile::Builder::new().prefix("bellwether-image-").permissions(private.clone()).tempdir()?;
        let path = folder.path().join("image");
        std::fs::write(&path, image)?;
        std::fs::set_permissions(&path, private)?;
        Ok(Self { path, folder, is_script: image.starts_with(b"#!") })
    }

    /// Runs `IMAGE --self-test`; it passes by ending with status 0 in time.
    ///
    /// # Errors
    ///
    /// [`SelfTestError`].
    pub(crate) async fn self_test(self) -> Result<(), SelfTestError> {
        let mut command = Command::new(&self.path);
        command.arg("--self-test").stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = spawn(&mut command).map_err(SelfTestError::NotExecutable)?;
        let _kept = self.release();
        match timeout(SELF_TEST_TIME_MAX, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(SelfTestError::Failed(status)),
            Ok(Err(error)) => Err(SelfTestError::NotExecutable(error)),
            Err(_) => Err(SelfTestError::TimedOut),
        }
    }

    /// Starts the program; each line of its output goes to `lines`, shortened to [`LINE_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn start(self, lines: mpsc::Sender<String>) -> io::Result<Running> {
        let mut command = Command::new(&self.path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(&mut command)?;
        let power = child.stdin.take();
        if let Some(output) = child.stdout.take() {
            tokio::spawn(async move {
                let mut output = BufReader::new(output).lines();
                while let Ok(Some(mut line)) = output.next_line().await {
                    let end = line.floor_char_boundary(LINE_BYTES_MAX);
                    line.truncate(end);
                    if lines.send(line).await.is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Running { child, _kept: self.release(), power })
    }

    /// Removes the folder, unless an interpreter may still have to read the file.
    fn release(self) -> Option<TempDir> {
        self.is_script.then_some(self.folder)
    }
}

/// Starts a program that was just written. A child that another thread has forked, and that has not come to its own
/// program yet, still holds the file open for writing; the system refuses to run it for these microseconds.
fn spawn(command: &mut Command) -> io::Result<Child> {
    command.kill_on_drop(true);
    for _ in 0..BUSY_TRIES_MAX {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => thread::sleep(BUSY_PAUSE),
            ended => return ended,
        }
    }
    command.spawn()
}

impl Running {
    /// Ends the program.
    pub(crate) async fn stop(mut self) {
        drop(self.power.take());
        // It may have ended by itself, which is as good.
        let _ = self.child.kill().await;
    }
}

/// Longest self-test: it must not need the network, so seconds are plenty.
pub(crate) const SELF_TEST_TIME_MAX: Duration = Duration::from_secs(10);

/// How often a file that is held open is tried again: half a second in all, and a fork takes microseconds.
const BUSY_TRIES_MAX: u32 = 100;
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// Bytes of a line of output that is relayed: one line of a log.
pub(crate) const LINE_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn self_test_passes_by_status_0_alone() {
        let passes = Program::write(b"#!/bin/sh\ntest \"$1\" = --self-test\n").unwrap();
        assert!(passes.self_test().await.is_ok());
        let fails = Program::write(b"#!/bin/sh\nexit 7\n").unwrap();
        assert!(matches!(fails.self_test().await, Err(SelfTestError::Failed(_))));
    }

    #[tokio::test]
    async fn image_for_another_machine_does_not_pass() {
        let image = Program::write(b"\x7fELF of another machine").unwrap();
        assert!(matches!(image.self_test().await, Err(SelfTestError::NotExecutable(_))));
    }

    #[tokio::test]
    async fn output_is_relayed_and_the_program_ends_with_its_power() {
        let (sender, mut lines) = mpsc::channel(4);
        let program = Program::write(b"#!/bin/sh\necho lamp firmware 2.0.0\ncat\n").unwrap();
        let mut running = program.start(sender).unwrap();
        assert_eq!(lines.recv().await.as_deref(), Some("lamp firmware 2.0.0"));
        drop(running.power.take());
        assert!(running.child.wait().await.unwrap().success());
    }

    #[tokio::test]
    async fn private_file_is_gone_once_the_program_runs() {
        let program = Program::write(&std::fs::read("/bin/cat").unwrap()).unwrap();
        let path = program.path.clone();
        assert_eq!(path.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let running = program.start(mpsc::channel(1).0).unwrap();
        assert!(!path.parent().unwrap().exists());
        running.stop().await;
    }

    #[tokio::test]
    async fn program_runs_although_its_file_is_held_open_for_a_moment() {
        let program = Program::write(&std::fs::read("/bin/true").unwrap()).unwrap();
        let held = std::fs::OpenOptions::new().append(true).open(&program.path).unwrap();
        let mut command = Command::new(&program.path);
        assert_eq!(command.spawn().unwrap_err().kind(), io::ErrorKind::ExecutableFileBusy);
        let release = thread::spawn(move || {
            thread::sleep(BUSY_PAUSE);
            drop(held);
        });
        assert!(program.self_test().await.is_ok());
        release.join().unwrap();
    }

    #[tokio::test]
    async fn script_keeps_its_file_as_long_as_it_runs() {
        let program = Program::write(b"#!/bin/sh\ncat\n").unwrap();
        let path = program.path.clone();
        let running = program.start(mpsc::channel(1).0).unwrap();
        assert!(path.exists());
        running.stop().await;
        assert!(!path.exists());
    }
}
