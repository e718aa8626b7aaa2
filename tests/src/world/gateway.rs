//! A gateway in the world: its real tasks over a data folder that survives its crashes.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwether_gateway::config::Config;
use bellwether_gateway::gateway::Gateway as Rooms;
use bellwether_gateway::shell::{self, Running};
use clap::Parser as _;
use tempfile::TempDir;

use super::dice::Dice;
use super::host::Host;
use super::network::Network;
use super::server::folder;
use super::time::Wall;
use super::trace::Trace;

/// A gateway's place in the world, whether it runs or not; clones are the same one.
#[derive(Clone)]
pub struct Gateway(Arc<Place>);

struct Place {
    name: String,
    folder: TempDir,
    address: SocketAddr,
    network: Network,
    trace: Trace,
    wall: Wall,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    starts: u32,
    running: Option<(Arc<Host>, Running)>,
}

impl Gateway {
    /// Prepares a gateway with its unit file; nothing runs yet.
    ///
    /// # Panics
    ///
    /// Where no folder is to be had.
    pub fn new(
        name: &str,
        unit: &[u8],
        address: SocketAddr,
        network: &Network,
        trace: &Trace,
        wall: &Wall,
        dice: Dice,
    ) -> Self {
        let folder = folder(name);
        fs::write(folder.path().join("unit"), unit).expect("written");
        fs::create_dir(data(folder.path(), 0)).expect("made");
        Self(Arc::new(Place {
            name: name.to_owned(),
            folder,
            address,
            network: network.clone(),
            trace: trace.clone(),
            wall: wall.clone(),
            state: Mutex::new(State { dice, starts: 0, running: None }),
        }))
    }

    /// Starts it, or starts it again after a crash.
    ///
    /// # Panics
    ///
    /// Where it runs, or refuses to start.
    pub fn start(&self) {
        let place = &self.0;
        let mut state = self.state();
        assert!(state.running.is_none(), "{} runs already", place.name);
        // What still runs of the one before may write into its folder, and no further.
        let (before, now) =
            (data(place.folder.path(), state.starts), data(place.folder.path(), state.starts + 1));
        copy(&before, &now).expect("copied");
        fs::remove_dir_all(&before).expect("removed");
        state.starts += 1;
        let host = Host::on(place.address.ip(), &place.network, &place.wall, state.dice.fork());
        let running = shell::start(Arc::<Host>::clone(&host), self.config(&now)).expect("the gateway starts");
        place.trace.note(&place.name, &"started");
        state.running = Some((host, running));
    }

    fn config(&self, data: &Path) -> Config {
        let unit = self.0.folder.path().join("unit");
        let listen = self.0.address.to_string();
        let words: [PathBuf; 7] = [
            "bellwether-gateway".into(),
            "--unit".into(),
            unit,
            "--data".into(),
            data.into(),
            "--listen".into(),
            listen.into(),
        ];
        Config::try_parse_from(words).expect("flags")
    }

    /// Kills it: what it has not written to its folder is gone.
    pub async fn crash(&self) {
        let Some((host, running)) = self.state().running.take() else { return };
        self.0.trace.note(&self.0.name, &"killed");
        host.switch_off();
        drop(running);
        host.gone().await;
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.state().running.is_some()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where devices find it.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Its wall clock, which survives it.
    pub fn wall(&self) -> &Wall {
        &self.0.wall
    }

    /// The rooms of the start that runs now.
    pub fn rooms(&self) -> Option<Arc<Rooms>> {
        self.state().running.as_ref().map(|(_, running)| Arc::clone(&running.gateway))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn data(folder: &Path, start: u32) -> PathBuf {
    folder.join(format!("data-{start}"))
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
