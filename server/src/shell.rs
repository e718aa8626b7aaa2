//! Opens the doors: sockets, rooms, tasks; and closes them.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bellwether_net::{
    Event, Machine, NoService, Secret, Security, Service, Shard, ShardConfig, ShardHandle, ThisMachine,
    supervisor,
};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::core::{Core, StartError};
use crate::dtls_keys::DtlsKeys;
use crate::frames::{FrameCache, FrameService};
use crate::ingress::access::{TOKEN_BYTES_MIN, Tokens};
use crate::ingress::page::{self, Page};
use crate::ingress::{coap, http};
use crate::vault::VaultError;
use crate::{campaign, census, contacts, disk, mqtt, retention, secret_file};

/// What a running server leaves in its data folder, so that tools on the same machine find it.
#[derive(Serialize)]
struct Listening {
    http: String,
    coaps: String,
    coap: Option<String>,
    mqtt: Option<String>,
}

/// Runs the server until it is told to stop.
///
/// # Errors
///
/// [`StartError`] says why it does not start and what to do.
pub async fn run(config: Config, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), StartError> {
    make_folder(&config.data).map_err(StartError::Folder)?;
    let _lock = lock(&config.data)?;
    secret_file::sweep(&config.data).map_err(StartError::Folder)?;
    let listener = TcpListener::bind(config.http).await.map_err(|source| bind_error(config.http, source))?;
    let http_address = listener.local_addr().map_err(|source| bind_error(config.http, source))?;
    let token = |name: &str| http_token(&ThisMachine, &config.data.join(name));
    let tokens = Arc::new(Tokens::new(token("http.token")?, token("http-watch.token")?));
    let (dtls_keys, frames) = (Arc::<DtlsKeys>::default(), Arc::<FrameCache>::default());
    // Bound first, since its port is what devices are told. What they ask waits until the rooms are open.
    let secure = Security::PskServer(Arc::<DtlsKeys>::clone(&dtls_keys));
    let service = Box::new(FrameService::new(Arc::clone(&frames)));
    let cid_secret = cid_secret(&ThisMachine, &config.data.join("connection-ids.key"))?;
    let (coaps, coaps_events) = open_shard(&config, config.coaps, secure, service, cid_secret)?;
    let public_uri =
        config.public_uri.clone().unwrap_or_else(|| format!("coaps://{}", reachable(coaps.local_addr())));
    let core = Core::open(config.clone(), public_uri, dtls_keys, frames).await?;
    core.metrics.watch("coaps", coaps.clone());
    let restored = core.restore_registrations(&coaps).await?;
    tracing::info!(registrations = restored, "devices that sleep are registered");
    let secure_ingress = tokio::spawn(coap::run(Arc::clone(&core), coaps.clone(), coaps_events));
    let sweeper = tokio::spawn(Arc::clone(&core).sweep_sessions());
    let coap = match config.coap {
        None => None,
        Some(address) => {
            let (shard, events) = open_shard(&config, address, Security::Plain, Box::new(NoService), None)?;
            core.metrics.watch("coap", shard.clone());
            tokio::spawn(coap::run(Arc::clone(&core), shard.clone(), events));
            Some(shard)
        }
    };
    let campaigns = tokio::spawn(campaign::run(Arc::clone(&core)));
    let watch = tokio::spawn(disk::watch(Arc::clone(&core)));
    let mqtt = mqtt::start(&core).await?;
    let listening = Listening {
        http: http_address.to_string(),
        coaps: coaps.local_addr().to_string(),
        coap: coap.as_ref().map(|shard| shard.local_addr().to_string()),
        mqtt: mqtt.as_ref().map(|running| running.address.clone()),
    };
    announce(&core, &listening)?;
    supervisor::ready();
    let alive = tokio::spawn(supervisor::alive());

    let contacts = tokio::spawn(contacts::run(Arc::clone(&core)));
    let open = http::Openness::of(http_address);
    let page = Page::new(Arc::clone(&core), Arc::clone(&tokens));
    let followed = tokio::spawn(Arc::clone(&page).follow());
    let counted = tokio::spawn(census::run(Arc::clone(&core)));
    let retained = tokio::spawn(retention::run(Arc::clone(&core)));
    let router = http::router(Arc::clone(&core), tokens, open).merge(page::router(&page));
    // Streams of events would keep their connections open for ever.
    let (store, superseded) = (Arc::clone(&core.store), Arc::new(AtomicBool::new(false)));
    let noticed = Arc::clone(&superseded);
    let stop = async move {
        tokio::select! {
            biased;
            () = stop => {}
            () = store.superseded() => noticed.store(true, Ordering::Relaxed),
        }
        page.close();
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(stop).await;
    supervisor::stopping();
    for task in [followed, counted, retained, campaigns, watch, sweeper, contacts] {
        task.abort();
    }
    drop(mqtt);
    part_from_devices(&core, &coaps, secure_ingress).await;
    if let Some(coap) = coap {
        coap.stop();
    }
    // A folder whose server was stopped has the whole database in one file, for whoever copies it.
    if tokio::time::timeout(CLOSE_AT_MOST, core.store.close()).await.is_err() {
        tracing::warn!("a call to the database does not end; its log stays beside it until the next start");
    }
    alive.abort();
    if superseded.load(Ordering::Relaxed) {
        return Err(StartError::Superseded);
    }
    served.map_err(|source| bind_error(http_address, source))
}

/// Keeps the sessions of devices, who need not notice that there was no server for a while; gateways answer in its place.
async fn part_from_devices(core: &Core, coaps: &ShardHandle, ingress: JoinHandle<()>) {
    core.gateways.part();
    let (socket, awake) = (coaps.local_addr(), coaps.hibernate().await);
    // What the socket gave out before is kept once its events are all seen to.
    if ingress.await.is_err() {
        tracing::error!("the way in for devices ended early");
    }
    core.put_to_sleep(socket, &awake).await;
    tracing::info!(sessions = awake.len(), "sessions are kept for the next start");
}

/// The longest call, a list of everything, takes a fraction of it.
const CLOSE_AT_MOST: Duration = Duration::from_secs(5);

fn open_shard(
    config: &Config,
    address: SocketAddr,
    security: Security,
    service: Box<dyn Service>,
    cid_secret: Option<Secret>,
) -> Result<(ShardHandle, mpsc::Receiver<Event>), StartError> {
    let mut shard = ShardConfig::new(address, security);
    shard.coap.transmission.ack_timeout = Duration::from_millis(config.ack_timeout_ms);
    shard.dtls.sessions_max = usize::try_from(config.sessions_max).unwrap_or(usize::MAX);
    shard.dtls.hibernate_after = Some(Duration::from_secs(config.hibernate_after_s));
    shard.dtls.cid_secret = cid_secret;
    Shard::spawn(shard, service).map_err(|source| bind_error(address, source))
}

/// What a device on this machine can call where the server listens on all addresses.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true if address.is_ipv4() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        true => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port())),
        false => address,
    }
}

fn announce(core: &Core, listening: &Listening) -> Result<(), StartError> {
    let text = serde_json::to_string(listening).map_err(|error| StartError::Folder(error.into()))?;
    secret_file::write(&core.config.data.join("listening.json"), &text)?;
    tracing::info!(http = listening.http, coaps = listening.coaps, tell = core.public_uri, "ready");
    let token = core.config.data.join("http.token");
    tracing::info!(
        "the page to watch: http://{}/ ; log in with the token in {} (http-watch.token beside it only reads)",
        listening.http,
        token.display()
    );
    if core.config.public_uri.is_none() && core.config.coaps.ip().is_unspecified() {
        tracing::warn!("unit files tell devices to call this machine only; set --public-uri for others");
    }
    Ok(())
}

/// Reads the token, or draws one at the first start.
fn http_token(machine: &dyn Machine, path: &Path) -> Result<Zeroizing<String>, StartError> {
    if let Some(token) = secret_file::read(path)? {
        if Tokens::is_guessable(&token) {
            tracing::warn!(
                file = %path.display(),
                "its token can be guessed: write one of {TOKEN_BYTES_MIN} random letters or more, or remove the file and start \
                 anew, and another one is drawn"
            );
        }
        return Ok(token);
    }
    let drawn = Zeroizing::new(machine.random::<32>().map_err(VaultError::from)?);
    let token = Zeroizing::new(hex::encode(drawn.as_ref()));
    secret_file::write(path, &token)?;
    Ok(token)
}

/// Reads the secret of connection IDs. It outlives the process, as sleeping sessions do; it is no part of a backup, which
/// has none of them. One that is missing or holds something else is made anew, at the price of a handshake for each that
/// sleeps; one that can't be read is not: the next start may find it again.
fn cid_secret(machine: &dyn Machine, path: &Path) -> Result<Option<Secret>, StartError> {
    let kept = secret_file::read(path).map_err(StartError::CidSecret)?;
    let decoded = kept.as_ref().and_then(|text| hex::decode(text.as_bytes()).ok());
    if let Some(secret) = decoded.filter(|bytes| bytes.len() == CID_SECRET_BYTES).and_then(Secret::new) {
        return Ok(Some(secret));
    }
    if kept.is_some() {
        tracing::warn!(file = %path.display(), "it holds no secret and is made anew: sessions that sleep end");
    }
    let drawn = Zeroizing::new(machine.random::<CID_SECRET_BYTES>().map_err(VaultError::from)?);
    let text = Zeroizing::new(hex::encode(drawn.as_ref()));
    secret_file::write(path, &text).map_err(StartError::CidSecret)?;
    Ok(Secret::new(drawn.to_vec()))
}

/// Bytes of that secret: as many as its HMAC is strong.
const CID_SECRET_BYTES: usize = 32;

pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Keeps other servers off the folder until this process ends, however it ends.
pub(crate) fn lock(path: &Path) -> Result<File, StartError> {
    let folder = File::open(path).map_err(StartError::Folder)?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(StartError::Folder(source)),
    }
}

fn bind_error(address: SocketAddr, source: std::io::Error) -> StartError {
    StartError::Bind { address, source }
}
