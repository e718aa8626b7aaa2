//! Server and gateway under systemd: they say when they are ready, that they live, and that they end.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use bellwether_tests::fleet::Fleet;
use bellwether_tests::program::{self, Program};
use bellwether_tests::{server, wait};

/// What systemd listens at.
struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Supervisor {
    fn new(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(wait::LONG)).expect("set");
        Self { socket, path }
    }

    /// Has a command think that systemd started it and wants to hear of it every 100 ms.
    fn adopt(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "100000");
    }

    fn hears(&self, words: &str) {
        let mut heard = Vec::new();
        let mut room = [0; 256];
        while heard.last().is_none_or(|last| last != words) {
            let bytes =
                self.socket.recv(&mut room).unwrap_or_else(|error| panic!("{words}: {error}: {heard:?}"));
            heard.push(String::from_utf8_lossy(&room[..bytes]).trim().to_owned());
        }
    }

    /// Hears a whole life.
    fn watches(&self, program: &mut Program) {
        self.hears("READY=1");
        for _ in 0..3 {
            self.hears("WATCHDOG=1");
        }
        program.terminate();
        self.hears("STOPPING=1");
        assert!(program.wait_end(wait::LONG).success(), "{}", program.tail());
    }
}

#[test]
fn server_says_that_it_is_ready_once_it_listens_that_it_lives_and_that_it_ends() {
    let folder = Fleet::new_folder();
    let (supervisor, data) = (Supervisor::new(folder.path()), folder.path().join("server"));
    let mut command = server::command(&data);
    command.args(["--mqtt", "off"]);
    supervisor.adopt(&mut command);
    let mut program = Program::start(command, &folder.path().join("log"));
    supervisor.hears("READY=1");
    assert!(data.join("listening.json").exists(), "it was ready before it listened");
    program.terminate();
    supervisor.hears("STOPPING=1");
    assert!(program.wait_end(wait::LONG).success());

    let mut command = server::command(&data);
    command.args(["--mqtt", "off"]);
    supervisor.adopt(&mut command);
    supervisor.watches(&mut Program::start(command, &folder.path().join("log")));
}

#[test]
fn gateway_says_so_too() {
    let fleet = Fleet::start();
    fleet.cli.done("gateway add site-1 --uri coaps://127.0.0.1:5684 --out site-1.unit");
    let supervisor = Supervisor::new(fleet.folder());
    let mut command = program::command("bellwether-gateway");
    command.arg("--unit").arg(fleet.folder().join("site-1.unit")).args(["--listen", "127.0.0.1:0"]);
    command.arg("--data").arg(fleet.folder().join("site-1"));
    supervisor.adopt(&mut command);
    supervisor.watches(&mut Program::start(command, &fleet.folder().join("site-1.log")));
}
