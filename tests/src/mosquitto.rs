//! The real mosquitto, with the files that this project ships for it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mqtt::Login;
use crate::program::{self, Program};
use crate::wait;

/// A running mosquitto with users `server`, `manager` and `observer`.
#[derive(Debug)]
pub struct Mosquitto {
    folder: PathBuf,
    port: u16,
    program: Option<Program>,
    /// What stands in its configuration beside the shipped lines.
    further: String,
}

impl Mosquitto {
    /// Starts it in `folder`, on a free port.
    ///
    /// # Panics
    ///
    /// Where it does not come up.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, String::new())
    }

    /// Starts it with further lines of configuration.
    ///
    /// # Panics
    ///
    /// Where it does not come up.
    pub fn start_with(folder: &Path, further: String) -> Self {
        let folder = folder.join("mosquitto");
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("bellwether.acl"), ACL).expect("written");
        for (position, user) in USERS.iter().enumerate() {
            add_user(&folder, user, position == 0);
        }
        let mut mosquitto = Self { folder, port: 0, program: None, further };
        mosquitto.start_again();
        mosquitto
    }

    /// Starts it again on the same port and folder, or at first on a port that is free.
    ///
    /// # Panics
    ///
    /// Where it does not come up.
    pub fn start_again(&mut self) {
        assert!(self.program.is_none(), "mosquitto runs");
        let (is_first, log) = (self.port == 0, self.log());
        let up = wait::until(
            "mosquitto",
            wait::LONG,
            || {
                if is_first {
                    self.port = free_port();
                }
                self.try_start()
            },
            || program::tail(&log),
        );
        self.program = Some(up);
    }

    /// Ends it as a power cut would.
    ///
    /// # Panics
    ///
    /// Where it is off.
    pub fn kill9(&mut self) {
        self.program.take().expect("a broker that is on").kill9();
    }

    /// Asks it to end and waits until it has: it saves its sessions.
    ///
    /// # Panics
    ///
    /// Where it is off, or does not end.
    pub fn stop(&mut self) {
        let mut program = self.program.take().expect("a broker that is on");
        program.terminate();
        program.wait_end(wait::LONG);
    }

    /// Stops it in the middle of what it does: it takes no more in and gives nothing out. Gone on with by
    /// [`Self::go_on`].
    ///
    /// # Panics
    ///
    /// Where it is off.
    pub fn freeze(&self) {
        self.program.as_ref().expect("a broker that is on").signal("STOP");
    }

    /// Lets it go on after [`Self::freeze`].
    ///
    /// # Panics
    ///
    /// Where it is off.
    pub fn go_on(&self) {
        self.program.as_ref().expect("a broker that is on").signal("CONT");
    }

    /// How a user gets in.
    pub fn login(&self, user: &str) -> Login {
        let (user, password) = (Some(user.to_owned()), password(user));
        Login { host: "127.0.0.1".to_owned(), port: self.port, user, password }
    }

    /// Flags of a server that speaks with it, its password in a file.
    ///
    /// # Panics
    ///
    /// Where the file can't be written.
    pub fn flags(&self, version: &str) -> Vec<String> {
        self.flags_of(&format!("mqtt://server@127.0.0.1:{}", self.port), version)
    }

    /// The same for a URL of another of its listeners.
    ///
    /// # Panics
    ///
    /// Where the file can't be written.
    pub fn flags_of(&self, url: &str, version: &str) -> Vec<String> {
        let file = self.folder.join("server.password");
        fs::write(&file, password("server")).expect("written");
        let file = file.display().to_string();
        ["--mqtt", url, "--mqtt-password-file", &file, "--mqtt-version", version].map(str::to_owned).to_vec()
    }

    /// What it said.
    pub fn tail(&self) -> String {
        program::tail(&self.log())
    }

    fn log(&self) -> PathBuf {
        self.folder.join("mosquitto.log")
    }

    /// Starts the process; `None` where it ended at once, such as when another process has the port.
    fn try_start(&self) -> Option<Program> {
        let file = self.folder.join("mosquitto.conf");
        fs::write(&file, self.configuration()).expect("written");
        let mut command = Command::new("/usr/sbin/mosquitto");
        command.arg("-c").arg(&file).env_clear();
        // Its listeners stand when it says so; that somebody answers at the port could be another process's doing.
        let starts = || fs::read_to_string(self.log()).map_or(0, |log| log.matches(RUNNING).count());
        let before = starts();
        let mut program = Program::start(command, &self.log());
        let look = || {
            let (ended, is_up) = (program.ended().is_some(), starts() > before);
            (ended || is_up).then_some(!ended)
        };
        let is_up = wait::until("mosquitto or its end", wait::LONG, look, || program::tail(&self.log()));
        is_up.then_some(program)
    }

    /// The shipped file with this broker's port and paths. Run by root it would become another user, who could not
    /// read the test's folder.
    fn configuration(&self) -> String {
        let folder = self.folder.display().to_string();
        let shipped = CONFIGURATION
            .replace("listener 1883", &format!("listener {}", self.port))
            .replace("/etc/mosquitto", &folder)
            .replace("/var/lib/mosquitto", &folder);
        assert!(shipped.contains(&folder) && !shipped.contains("1883 "), "{shipped}");
        format!("{shipped}\nuser root\n{}", self.further)
    }
}

fn add_user(folder: &Path, user: &str, is_first: bool) {
    let file = folder.join("bellwether.passwd");
    let mut command = Command::new("mosquitto_passwd");
    command.arg("-b").args(is_first.then_some("-c")).arg(&file).args([user, &password(user)]);
    let output = command.output().expect("mosquitto_passwd runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("private");
}

fn password(user: &str) -> String {
    format!("the password of {user}")
}

/// A port that is free now.
///
/// # Panics
///
/// Where there is none.
pub fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a port");
    probe.local_addr().expect("its address").port()
}

/// The end of the line that it says once it listens.
const RUNNING: &str = " running\n";
const USERS: [&str; 3] = ["server", "manager", "observer"];
const CONFIGURATION: &str = include_str!("../../docs/mosquitto/mosquitto.conf");
const ACL: &str = include_str!("../../docs/mosquitto/bellwether.acl");
