//! Types commands as a person would: prints each line, then runs the real thing.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::process::{Process, ProcessError, Stop, open_log};

/// Where commands are typed: in the demo's folder, with our programs.
#[derive(Debug)]
pub struct Console {
    programs: PathBuf,
    folder: PathBuf,
    stop: Stop,
}

impl Console {
    /// Opens one in `folder`, for programs in `programs`.
    #[must_use]
    pub fn new(programs: &Path, folder: &Path, stop: &Stop) -> Self {
        Self { programs: programs.to_owned(), folder: folder.to_owned(), stop: stop.clone() }
    }

    /// Gives what ends every wait.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Types a line, runs it to its end, and gives its standard output.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Failed`] with what it said.
    pub fn run(&self, line: &str) -> Result<String, ProcessError> {
        println!("$ {line}");
        self.run_silently(line)
    }

    /// Runs a line without typing it, and reads the JSON that it prints.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Failed`], also where what it printed is something else.
    pub fn ask<T: DeserializeOwned>(&self, line: &str) -> Result<T, ProcessError> {
        read(line, &self.run_silently(line)?)
    }

    /// Types a line, and reads the JSON that it prints.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Failed`], also where what it printed is something else.
    pub fn type_and_ask<T: DeserializeOwned>(&self, line: &str) -> Result<T, ProcessError> {
        read(line, &self.run(line)?)
    }

    /// Runs a line without typing it, and reads the JSON that it prints, whatever status it ends with.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Failed`] where what it printed is something else.
    pub fn ask_whatever<T: DeserializeOwned>(&self, line: &str) -> Result<T, ProcessError> {
        let (name, mut command) = self.command(line);
        let output = command.output();
        let output = output.map_err(|source| ProcessError::Io { program: name.to_owned(), source })?;
        read(line, &String::from_utf8_lossy(&output.stdout))
    }

    /// Types a line and shows what it prints while it runs.
    ///
    /// # Errors
    ///
    /// [`ProcessError::TooLate`], [`ProcessError::Stopped`], [`ProcessError::Io`]; not for its exit status.
    pub fn watch(&self, line: &str, within: Duration, log: &Path) -> Result<ExitStatus, ProcessError> {
        println!("$ {line}");
        let (name, mut command) = self.command(line);
        let child =
            command.spawn().map_err(|source| ProcessError::Io { program: name.to_owned(), source })?;
        Process::new(name, child, log, &self.stop).wait_end(within)
    }

    /// Types a line and leaves it running with its output in a log.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Io`].
    pub fn start(&self, name: &str, line: &str, log: &Path) -> Result<Process, ProcessError> {
        println!("$ {line} &");
        let (program, mut command) = self.command(line);
        let failed = |source| ProcessError::Io { program: program.to_owned(), source };
        let out = open_log(log)?;
        let err = out.try_clone().map_err(failed)?;
        let child = command.stdout(out).stderr(err).spawn().map_err(failed)?;
        Ok(Process::new(name, child, log, &self.stop))
    }

    /// Starts a program that is spoken to line by line; not typed, since it stands for no program of ours.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Io`].
    pub fn start_talking(
        &self,
        program: &str,
        log: &Path,
    ) -> Result<(Process, ChildStdin, ChildStdout), ProcessError> {
        let (name, mut command) = self.command(program);
        let failed = |source| ProcessError::Io { program: name.to_owned(), source };
        let err = open_log(log)?;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(err).spawn().map_err(failed)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (to, from) = pipes.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        Ok((Process::new(name, child, log, &self.stop), to, from))
    }

    /// Runs a line to its end without typing it, and gives its standard output.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Failed`] with what it said.
    pub fn run_silently(&self, line: &str) -> Result<String, ProcessError> {
        let (name, mut command) = self.command(line);
        let output =
            command.output().map_err(|source| ProcessError::Io { program: name.to_owned(), source })?;
        finished(line, &output)
    }

    /// Splits a line at its spaces; no word of ours has one, since paths are relative to the demo's folder.
    fn command<'a>(&self, line: &'a str) -> (&'a str, Command) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let mut command = Command::new(self.programs.join(name));
        command.args(words).current_dir(&self.folder).stdin(Stdio::null());
        for variable in SETTINGS {
            command.env_remove(variable);
        }
        command.env("BELLWETHER_DATA", SERVER_DATA);
        // What a device without power could not remove is cleared with the folder, at the next run.
        command.env("TMPDIR", self.folder.join(TEMPORARY));
        (name, command)
    }
}

fn read<T: DeserializeOwned>(line: &str, printed: &str) -> Result<T, ProcessError> {
    let failed = |error: serde_json::Error| ProcessError::Failed {
        command: line.to_owned(),
        said: format!("what it printed can't be read: {error}"),
    };
    serde_json::from_str(printed).map_err(failed)
}

fn finished(line: &str, output: &Output) -> Result<String, ProcessError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(ProcessError::Failed { command: line.to_owned(), said })
}

/// The server's folder in the demo's.
pub const SERVER_DATA: &str = "server";

/// Where devices keep what is gone when they are switched off, in the demo's folder.
pub const TEMPORARY: &str = "tmp";

/// What a user may have set for a server of their own; the demo's must not hear of it.
const SETTINGS: [&str; 22] = [
    "BELLWETHER_SERVER",
    "BELLWETHER_TOKEN_FILE",
    "BELLWETHER_CONFIG",
    "BELLWETHER_COAPS",
    "BELLWETHER_COAP",
    "BELLWETHER_HTTP",
    "BELLWETHER_PUBLIC_URI",
    "BELLWETHER_MQTT",
    "BELLWETHER_MQTT_LISTEN",
    "BELLWETHER_MQTT_VERSION",
    "BELLWETHER_MQTT_PASSWORD_FILE",
    "BELLWETHER_MQTT_PASSWORD",
    "BELLWETHER_GATEWAY_UNIT",
    "BELLWETHER_GATEWAY_DATA",
    "BELLWETHER_GATEWAY_LISTEN",
    "BELLWETHER_GATEWAY_CACHE_MIB",
    "BELLWETHER_GATEWAY_STATUS",
    "BELLWETHER_MASTER_KEY_COMMAND",
    "BELLWETHER_GRANT_LIFETIME_S",
    "BELLWETHER_ACK_TIMEOUT_MS",
    "BELLWETHER_LOG",
    "BELLWETHER_LOG_JSON",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn console() -> Console {
        Console::new(Path::new("/bin"), Path::new("/"), &Stop::default())
    }

    #[test]
    fn line_that_fails_is_named_with_what_it_said() {
        let error = console().run("ls /no/such/file").expect_err("fails");
        assert!(error.to_string().contains("`ls /no/such/file`"), "{error}");
        assert!(error.to_string().contains("No such file"), "{error}");
    }

    #[test]
    fn answer_that_is_no_json_is_an_error() {
        assert!(console().ask::<u8>("echo 7").is_ok_and(|read| read == 7));
        assert!(console().ask::<u8>("echo seven").is_err());
    }
}
