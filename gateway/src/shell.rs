//! Opens the doors: folder, sockets, tasks; and closes them.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bellwether_manifests::link::GatewayUnit;
use bellwether_manifests::message::{MessageError, Part};
use bellwether_net::{
    DtlsConfig, Event, Machine, PskTable, Secret, Security, ShardConfig, ShardHandle, ThisMachine, supervisor,
};
use serde::Serialize;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::counters::Counters;
use crate::disk::{self, Durable};
use crate::frames::FrameService;
use crate::gateway::{Gateway, OpenError};
use crate::server::Credential;
use crate::{devices, metrics, server, status, tasks};

/// Why a gateway does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The unit file can't be read.
    #[error("the unit file {path} can't be read")]
    Unit {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The unit file is none of a gateway.
    #[error("the unit file is none of a gateway")]
    UnitFormat(#[from] MessageError),
    /// The data folder can't be used.
    #[error("the data folder can't be used")]
    Folder(#[source] io::Error),
    /// Another gateway works there.
    #[error("another gateway works in {0}")]
    InUse(PathBuf),
    /// The address is taken or unusable.
    #[error("can't listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Whoever reaches the address could read them.
    #[error("metrics are given without a token, so on loopback alone, and {0} is not there")]
    Exposed(SocketAddr),
    /// What is kept can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What a running gateway leaves in its data folder, so that tools on the same machine find it.
#[derive(Serialize)]
struct Listening {
    coaps: String,
    metrics: Option<String>,
}

/// A gateway at work. Dropping it ends its tasks at once, as the end of the process does.
pub struct Running {
    /// What it shares.
    pub gateway: Arc<Gateway>,
    shard: ShardHandle,
    tasks: JoinSet<()>,
    _lock: File,
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
///
/// [`StartError`] says why it does not start and what to do.
pub async fn run(mut config: Config, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let metrics = match config.metrics {
        Some(address) => Some(metrics_listener(address).await?),
        None => None,
    };
    // Port 0 leaves the choice to the system; the one that it chose is told.
    config.metrics = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
    let mut running = start(Arc::new(ThisMachine), config)?;
    if let Some(listener) = metrics {
        let (gateway, shard) = (Arc::clone(&running.gateway), running.shard.clone());
        running.tasks.spawn(metrics::run(gateway, shard, listener));
    }
    supervisor::ready();
    running.tasks.spawn(supervisor::alive());
    stop.await;
    supervisor::stopping();
    running.stop().await;
    Ok(())
}

async fn metrics_listener(address: SocketAddr) -> Result<TcpListener, StartError> {
    if !metrics::is_private(&address) {
        return Err(StartError::Exposed(address));
    }
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })
}

/// Starts the gateway. Must be called inside a runtime.
///
/// # Errors
///
/// [`StartError`] says why it does not start and what to do.
pub fn start(machine: Arc<dyn Machine>, config: Config) -> Result<Running, StartError> {
    let unit = read_unit(&config)?;
    let unit = GatewayUnit::decode(&unit)?;
    disk::make_folder(&config.data).map_err(StartError::Folder)?;
    let lock = disk::lock(&config.data).map_err(StartError::Folder)?;
    let lock = lock.ok_or_else(|| StartError::InUse(config.data.clone()))?;
    disk::sweep(&config.data).map_err(StartError::Folder)?;
    let (keys, counters) = (Arc::<PskTable>::default(), Arc::<Counters>::default());
    let cache = Gateway::open_cache(&config.data, config.cache_mib, &counters).map_err(StartError::Folder)?;
    let service = FrameService::new(Arc::clone(&cache), Arc::clone(&counters));
    let opened = Gateway::open(machine, config, unit.anchors, Arc::clone(&keys), cache, counters)?;
    let gateway = Arc::new(opened);
    let (shard, events) = open_shard(&gateway, keys, service)?;
    announce(&gateway.config, &shard).map_err(StartError::Folder)?;

    let mut running = JoinSet::new();
    running.spawn(devices::run(Arc::clone(&gateway), shard.clone(), events));
    running.spawn(server::run(Arc::clone(&gateway), credential(&unit)?));
    running.spawn(tasks::push(Arc::clone(&gateway)));
    running.spawn(tasks::tell(Arc::clone(&gateway)));
    running.spawn(tasks::deliver(Arc::clone(&gateway)));
    running.spawn(tasks::fetch_ahead(Arc::clone(&gateway)));
    running.spawn(status::run(Arc::clone(&gateway), unit.name.to_owned()));
    Ok(Running { gateway, shard, tasks: running, _lock: lock })
}

impl Running {
    /// Where devices come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shard.local_addr()
    }

    /// Ends all tasks, tells server and devices, and frees the port.
    pub async fn stop(mut self) {
        let (gateway, shard) = (Arc::clone(&self.gateway), self.shard.clone());
        // First the sockets, while their owners still hold them: so both ends hear of it.
        let machine = Arc::clone(&gateway.machine);
        let stopped = machine.beside(move || {
            gateway.uplink.close();
            shard.stop();
        });
        // A thread that can't be waited for ends with the process.
        let _ = stopped.await;
        self.tasks.shutdown().await;
    }
}

fn read_unit(config: &Config) -> Result<Zeroizing<Vec<u8>>, StartError> {
    let failed = |source| StartError::Unit { path: config.unit.clone(), source };
    let read = disk::read(&config.unit, UNIT_BYTES_MAX).map_err(failed)?;
    read.map(Zeroizing::new).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

fn credential(unit: &GatewayUnit<'_>) -> Result<Credential, StartError> {
    let key = Secret::new(unit.psk.to_vec()).ok_or(MessageError::Bound(Part::Key))?;
    let servers = unit.servers.iter().map(str::to_owned).collect();
    Ok(Credential { name: unit.name.to_owned(), key, servers })
}

fn open_shard(
    gateway: &Gateway,
    keys: Arc<PskTable>,
    service: FrameService,
) -> Result<(ShardHandle, mpsc::Receiver<Event>), StartError> {
    let config = &gateway.config;
    let mut shard = ShardConfig::new(config.listen, Security::PskServer(keys));
    let ack_timeout = Duration::from_millis(config.ack_timeout_ms);
    shard.coap.transmission.ack_timeout = ack_timeout;
    shard.dtls = DtlsConfig { retransmit_first: ack_timeout / 2, ..DtlsConfig::default() };
    let bind = |source| StartError::Bind { address: config.listen, source };
    gateway.machine.open_shard(shard, Box::new(service)).map_err(bind)
}

fn announce(config: &Config, shard: &ShardHandle) -> io::Result<()> {
    let metrics = config.metrics.map(|address| address.to_string());
    let listening = Listening { coaps: shard.local_addr().to_string(), metrics };
    let text = serde_json::to_vec(&listening)?;
    disk::replace(&config.data.join("listening.json"), &text, Durable::No)?;
    tracing::info!(coaps = listening.coaps, metrics = listening.metrics, "ready");
    Ok(())
}

/// Bytes of a unit file: anchors of the largest size, eight servers, and the rest.
const UNIT_BYTES_MAX: u64 = 16 * 1024;
