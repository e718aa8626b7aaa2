//! A PostgreSQL of a test's own: real, on a socket in a folder, gone with the test program however that ends.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// A running PostgreSQL that only this test knows.
///
/// PostgreSQL refuses to be run by root, so root runs it as the user `postgres`, who comes with Debian's package.
#[derive(Debug)]
pub struct Instance {
    folder: TempDir,
    durable: bool,
    running: Option<Child>,
    databases: AtomicU32,
}

impl Instance {
    /// Makes and starts one. A durable one survives a power cut as an operator's would; one that is not is faster, and
    /// survives being killed.
    #[must_use]
    pub fn start(durable: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let mut instance = Self { folder, durable, running: None, databases: AtomicU32::new(0) };
        if is_root() {
            fs::set_permissions(instance.folder.path(), Permissions::from_mode(0o711)).unwrap();
            let done = Command::new("chown").arg("postgres:postgres").arg(instance.folder.path()).status();
            assert!(done.is_ok_and(|done| done.success()), "the user postgres is not there: {HINT}");
        }
        let made = instance
            .command("initdb")
            .args(["--pgdata", &instance.data().display().to_string(), "--username", "bellwether"])
            .args(["--auth", "trust", "--no-sync", "--locale", "C", "--encoding", "UTF8"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        instance.start_again();
        instance
    }

    /// Starts it again in the same folder, and waits until it answers.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let mut looks = 0;
        loop {
            let mut keeper = self.keeper();
            // A start fails while children of one that was killed are still there.
            while keeper.try_wait().unwrap().is_none() {
                if self.answers() {
                    self.running = Some(keeper);
                    return;
                }
                looks += 1;
                assert!(looks < LOOKS_MAX, "PostgreSQL does not come up:\n{}", self.log());
                thread::sleep(Duration::from_millis(20));
            }
            looks += 1;
        }
    }

    /// Starts it below a shell that ends it once nobody holds the shell's input any more: tests may be killed.
    fn keeper(&self) -> Child {
        let postgres = self.command("postgres");
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(self.folder.path());
        keeper.arg(postgres.get_program()).args(postgres.get_args()).arg("-D").arg(self.data());
        keeper.arg("-k").arg(self.folder.path()).current_dir(self.folder.path());
        keeper.args(["-c", "listen_addresses=", "-c", "max_connections=60", "-c", "shared_buffers=16MB"]);
        if !self.durable {
            keeper.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        let log = File::create(self.folder.path().join("log")).unwrap();
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// Makes an empty data base and returns its URL.
    #[must_use]
    pub fn database(&self) -> String {
        self.database_like("template0")
    }

    /// Makes a copy of a data base that nobody is connected to, and returns its URL.
    #[must_use]
    pub fn database_like(&self, template: &str) -> String {
        let name = format!("bellwether{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
        self.url(&name)
    }

    /// Returns the URL of a data base.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let host = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://bellwether@{host}/{database}")
    }

    /// Returns the path of the socket that it listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(".s.PGSQL.5432")
    }

    /// Runs a statement as the owner of everything.
    pub fn sql(&self, database: &str, statement: &str) {
        let done = self.psql(database, statement);
        assert!(done.status.success(), "{statement}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Ends it as a power cut would.
    pub fn kill9(&mut self) {
        self.end("-KILL");
    }

    /// Asks it to end at once, with its connections, and waits until it has.
    pub fn stop(&mut self) {
        // "Fast", in PostgreSQL's words.
        self.end("-INT");
    }

    fn end(&mut self, signal: &str) {
        let mut keeper = self.running.take().unwrap();
        // Its end would take the folder away.
        let input = keeper.stdin.take();
        let lock = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let process = lock.lines().next().unwrap();
        assert!(Command::new("kill").args([signal, process]).status().unwrap().success());
        keeper.wait().unwrap();
        drop(input);
    }

    fn answers(&self) -> bool {
        self.psql("postgres", "SELECT 1").status.success()
    }

    fn psql(&self, database: &str, statement: &str) -> std::process::Output {
        Command::new("psql")
            .args(["--no-psqlrc", "--quiet", "--host"])
            .arg(self.folder.path())
            .args(["--username", "bellwether", "--dbname", database, "--command", statement])
            .output()
            .unwrap_or_else(|cause| panic!("psql: {cause}: {HINT}"))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A program of PostgreSQL, run by somebody whom it does not refuse.
    fn command(&self, program: &str) -> Command {
        let path = found(program).unwrap_or_else(|| panic!("{program} is not there: {HINT}"));
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.end("-INT");
        }
    }
}

/// Debian keeps the programs of each version in a folder that is in nobody's path.
fn found(program: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

const HINT: &str = "scripts/tools.sh test installs it (Debian: postgresql)";

/// Looks whether it is up, 20 ms and more apart: a minute for the recovery after a kill, on a machine that does much else.
const LOOKS_MAX: u32 = 3_000;

/// Runs what stands behind the folder's name. The input ends with the test program, whatever that dies of.
const KEEPER: &str = r#"folder=$1; shift
exec 3<&0
"$@" 3<&- & postgres=$!
(cat <&3 >/dev/null; trap '' TERM; kill -INT $postgres 2>/dev/null
while kill -0 $postgres 2>/dev/null; do sleep 0.1; done; rm -rf "$folder") & watch=$!
wait $postgres; kill $watch"#;
