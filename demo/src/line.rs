//! The line to the server, as a process that is told to be cut and mended.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout};

use crate::console::Console;
use crate::process::{Process, ProcessError};
use crate::uplink::Counts;

/// A line that was laid; it is gone with this value.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    _process: Process,
}

impl Line {
    /// Lays a line that leads nowhere yet.
    ///
    /// # Errors
    ///
    /// [`ProcessError`], also where what it says is no address.
    pub fn lay(console: &Console, log: &std::path::Path) -> Result<Self, ProcessError> {
        let (process, to, from) = console.start_talking(PROGRAM, log)?;
        let mut from = BufReader::new(from);
        let said = hear(&mut from)?;
        let address = said.parse().map_err(|_| failed("", &said))?;
        Ok(Self { address, to, from, _process: process })
    }

    /// What devices and gateways are told to call.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("coaps://{}", self.address)
    }

    /// Gives the address that it is called at.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells what has passed.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] where its process is gone.
    pub fn count(&mut self) -> Result<Counts, ProcessError> {
        self.say("count")
    }

    /// Leads it to the server.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] where its process is gone.
    pub fn lead_to(&mut self, server: SocketAddr) -> Result<(), ProcessError> {
        self.say(&format!("to {server}")).map(drop)
    }

    /// Cuts it, and gives what had passed.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] where its process is gone.
    pub fn cut(&mut self) -> Result<Counts, ProcessError> {
        self.say("cut")
    }

    /// Mends it, and gives what had passed.
    ///
    /// # Errors
    ///
    /// [`ProcessError`] where its process is gone.
    pub fn mend(&mut self) -> Result<Counts, ProcessError> {
        self.say("mend")
    }

    fn say(&mut self, words: &str) -> Result<Counts, ProcessError> {
        writeln!(self.to, "{words}").map_err(gone)?;
        let said = hear(&mut self.from)?;
        serde_json::from_str(&said).map_err(|_| failed(words, &said))
    }
}

fn hear(from: &mut impl BufRead) -> Result<String, ProcessError> {
    let mut line = String::new();
    from.read_line(&mut line).map_err(gone)?;
    Ok(line.trim_end().to_owned())
}

fn gone(source: std::io::Error) -> ProcessError {
    ProcessError::Io { program: PROGRAM.to_owned(), source }
}

fn failed(words: &str, said: &str) -> ProcessError {
    ProcessError::Failed { command: format!("{PROGRAM}: {words}"), said: said.to_owned() }
}

const PROGRAM: &str = "uplink";
