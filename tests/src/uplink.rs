//! The line between devices and server, which a test can cut.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::program;

/// A line as a process of its own; it dies with this value.
#[derive(Debug)]
pub struct Uplink {
    child: Child,
    address: SocketAddr,
    talk: Mutex<Talk>,
}

/// What passed, in datagrams and bytes of UDP payload.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub struct Counts {
    /// Datagrams to the server.
    pub up: u64,
    /// Datagrams from the server.
    pub down: u64,
    /// Bytes to the server.
    pub up_bytes: u64,
    /// Bytes from the server.
    pub down_bytes: u64,
    /// Datagrams that went nowhere.
    pub lost: u64,
}

#[derive(Debug)]
struct Talk {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Uplink {
    /// Lays a line that leads nowhere yet.
    ///
    /// # Panics
    ///
    /// Where its process does not start.
    pub fn open() -> Self {
        let mut command = program::command("uplink");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
        let to = child.stdin.take().expect("its input");
        let from = BufReader::new(child.stdout.take().expect("its output"));
        let mut talk = Talk { to, from };
        let address = talk.hear().parse().expect("its address");
        Self { child, address, talk: Mutex::new(talk) }
    }

    /// What devices are to be told to call.
    pub fn uri(&self) -> String {
        format!("coaps://{}", self.address)
    }

    /// Leads it to a server.
    pub fn lead_to(&self, server: SocketAddr) {
        self.say(&format!("to {server}"));
    }

    /// Cuts it; nothing passes from now on.
    pub fn cut(&self) {
        self.say("cut");
    }

    /// Mends it.
    pub fn mend(&self) {
        self.say("mend");
    }

    /// Gives every device another address on the server's side, after every so many datagrams from it, so many times.
    pub fn translate_every(&self, datagrams: u64, times: u32) {
        self.say(&format!("move {datagrams} {times}"));
    }

    /// Counts what passed until now.
    pub fn counts(&self) -> Counts {
        self.say("count")
    }

    fn say(&self, line: &str) -> Counts {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(talk.to, "{line}").expect("the line's process runs");
        let answer = talk.hear();
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("the line answers {answer}"))
    }
}

impl Talk {
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
