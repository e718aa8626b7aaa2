//! The process whose memory is looked at: the server, or a bare socket.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bellwether_net::{DtlsConfig, Lookup, NoService, PskStore, Secret, Security, Shard, ShardConfig};
use bellwether_server::config::{Config, Flags};
use bellwether_server::shell;
use clap::{Args, Parser};
use serde::Deserialize;

use super::devices::Device;
use crate::Failure;

/// What this process is to be.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The server's data folder; without one, a bare socket
    #[arg(long)]
    data: Option<PathBuf>,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    coaps: SocketAddr,
}

impl Serve {
    /// Serves until it is killed.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        match &self.data {
            Some(data) => runtime.block_on(self.server(data)),
            None => runtime.block_on(self.bare()),
        }
    }

    async fn server(&self, data: &Path) -> Result<(), Failure> {
        let coaps = self.coaps.to_string();
        let words =
            ["bellwether-bench", "--coaps", &coaps, "--coap", ANY, "--http", ANY, "--mqtt", "off", "--data"];
        let words = words.into_iter().map(Path::new).chain([data]);
        let config = Config::resolve(Flags::try_parse_from(words)?)?;
        Ok(shell::run(config, std::future::pending()).await?)
    }

    #[expect(clippy::print_stdout, reason = "the other process reads where this one listens")]
    async fn bare(&self) -> Result<(), Failure> {
        let security = Security::PskServer(Arc::new(OneKey(one_key()?)));
        let dtls = DtlsConfig { sessions_max: usize::MAX, ..DtlsConfig::default() };
        let config = ShardConfig { dtls, ..ShardConfig::new(self.coaps, security) };
        let (shard, mut events) = Shard::spawn(config, Box::new(NoService))?;
        println!("{}", shard.local_addr());
        while events.recv().await.is_some() {}
        Ok(())
    }
}

/// Knows everybody by the same key.
struct OneKey(Secret);

impl PskStore for OneKey {
    fn find(&self, _: &[u8]) -> Lookup {
        Lookup::Key(self.0.clone())
    }
}

fn one_key() -> Result<Secret, Failure> {
    Ok(Secret::new(KEY.to_vec()).ok_or("a key's length")?)
}

/// Devices that a bare socket knows.
pub(super) fn strangers(count: usize) -> Result<Vec<Device>, Failure> {
    let stranger = |number| Ok(Device { name: format!("meter-{number}"), key: Some(one_key()?) });
    (0..count).map(stranger).collect()
}

/// A process that serves; killed when it is dropped.
pub(super) struct Served {
    process: Child,
    pub(super) coaps: SocketAddr,
    pub(super) coap: SocketAddr,
}

#[derive(Deserialize)]
struct Listening {
    coaps: SocketAddr,
    coap: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Served {
    /// Starts a server on any port and waits until it is ready.
    pub(super) fn start(data: &Path) -> Result<Self, Failure> {
        Self::start_at(data, ANY.parse()?)
    }

    /// Starts a server on this port and waits until it is ready.
    pub(super) fn start_at(data: &Path, coaps: SocketAddr) -> Result<Self, Failure> {
        let path = data.join("listening.json");
        // That of the start before would be taken for this one's.
        drop(std::fs::remove_file(&path));
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg("--data").arg(data).args(["--coaps", &coaps.to_string()]);
        let mut process = command.stdin(Stdio::null()).spawn()?;
        loop {
            let read = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
            if let Some(Listening { coaps, coap }) = read {
                return Ok(Self { process, coaps, coap });
            }
            if let Some(status) = process.try_wait()? {
                return Err(format!("the server ended: {status}").into());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Starts a bare socket.
    pub(super) fn start_bare() -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg("serve").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let coaps = line.trim().parse()?;
        Ok(Self { process, coaps, coap: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) })
    }

    /// Ends it as a power cut would.
    pub(super) fn kill(&mut self) {
        // One that ended by itself can't be killed again.
        drop(self.process.kill());
        drop(self.process.wait());
    }

    /// Memory in RAM, once what was just done has settled.
    pub(super) async fn resident_bytes_soon(&self) -> Result<u64, Failure> {
        tokio::time::sleep(SETTLE).await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1_024)
    }

    /// CPU time, user and system.
    pub(super) fn cpu(&self) -> Result<Duration, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let (_, rest) = stat.rsplit_once(')').ok_or("no stat")?;
        let ticks: Vec<u64> =
            rest.split_ascii_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        // A tick is 10 ms on every Linux.
        Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
    }
}

const ANY: &str = "127.0.0.1:0";
const KEY: [u8; 32] = [7; 32];
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Allocators and tasks are quiet by then.
const SETTLE: Duration = Duration::from_secs(2);
