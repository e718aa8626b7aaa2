//! The server in the world: its real rooms and doors over a data folder that survives its crashes.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellwether_net::{Machine, Security, ShardConfig, ShardHandle};
use bellwether_server::commands::dispatch::Verb;
use bellwether_server::config::{Config, Flags};
use bellwether_server::core::{Core, Ground, StartError};
use bellwether_server::dtls_keys::DtlsKeys;
use bellwether_server::frames::{FrameCache, FrameService};
use bellwether_server::ingress::coap;
use bellwether_server::refusal::Refusal;
use bellwether_server::{backup, campaign};
use bellwether_store::images::Images;
use bellwether_store::{SqliteStore, sqlite};
use clap::Parser as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

use super::dice::Dice;
use super::host::Host;
use super::network::Network;
use super::store::{Commits, Kept, wait_for};
use super::time::Wall;
use super::trace::Trace;

/// The server's place in the world, whether it runs or not; clones are the same one.
#[derive(Clone)]
pub struct Server(Arc<Place>);

struct Place {
    folder: TempDir,
    config: Config,
    address: SocketAddr,
    network: Network,
    trace: Trace,
    wall: Wall,
    commits: Arc<Commits>,
    images: Images,
    /// When its backup was made, seconds since 1970.
    backed_up: Mutex<u64>,
    dice: Mutex<Dice>,
    running: watch::Sender<Option<Running>>,
}

/// One start of the server.
#[derive(Clone)]
struct Running {
    host: Arc<Host>,
    store: Arc<Kept>,
    core: Arc<Core>,
    shard: ShardHandle,
}

/// Says that the server crashed before it answered: whether it acted is unknown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the server is not there")]
pub struct Away;

impl Server {
    /// Prepares an empty data folder; nothing runs yet.
    ///
    /// # Panics
    ///
    /// Where no folder is to be had.
    pub fn new(address: SocketAddr, network: &Network, trace: &Trace, wall: &Wall, seed: u64) -> Self {
        let folder = folder("server");
        let data = folder.path();
        let program = [PathBuf::from("bellwether-server"), "--data".into(), data.into()];
        // So short that grants expire within the calm of a run.
        let short = ["--grant-lifetime-s", GRANT_LIFETIME_S, "--hibernate-after-s", HIBERNATE_AFTER_S]
            .map(PathBuf::from);
        let words = program.into_iter().chain(short);
        let flags = Flags::try_parse_from(words);
        let config = Config::resolve(flags.expect("flags")).expect("a configuration");
        Self(Arc::new(Place {
            config,
            folder,
            address,
            network: network.clone(),
            trace: trace.clone(),
            wall: wall.clone(),
            commits: Commits::new(Dice::new(seed, "store")),
            images: Images::in_memory(),
            backed_up: Mutex::default(),
            dice: Mutex::new(Dice::new(seed, "server")),
            running: watch::Sender::new(None),
        }))
    }

    /// Starts it, or starts it again after a crash. `false` where it crashed before it was up.
    ///
    /// # Panics
    ///
    /// Where it runs, or refuses to start.
    pub async fn start(&self) -> bool {
        assert!(!self.is_up(), "the server runs already");
        let place = &self.0;
        let host = self.host();
        let store = Kept::open(&place.folder.path().join(DATABASE), &host, &place.commits, &place.trace);
        let store = store.expect("the data base opens");
        tokio::select! {
            biased;
            started = self.open(&host, &store) => {
                let (core, shard) = started.expect("the server starts");
                place.trace.note(&"server", &"started");
                place.running.send_replace(Some(Running { host, store, core, shard }));
                true
            }
            () = place.commits.stopped() => {
                host.gone().await;
                store.close();
                false
            }
        }
    }

    fn host(&self) -> Arc<Host> {
        let place = &self.0;
        let dice = place.dice.lock().unwrap_or_else(PoisonError::into_inner).fork();
        Host::on(place.address.ip(), &place.network, &place.wall, dice)
    }

    /// What the shell does, without HTTP and MQTT, and without sweeping what has slept for a month.
    async fn open(
        &self,
        host: &Arc<Host>,
        store: &Arc<Kept>,
    ) -> Result<(Arc<Core>, ShardHandle), StartError> {
        let place = &self.0;
        let (dtls_keys, frames) = (Arc::<DtlsKeys>::default(), Arc::<FrameCache>::default());
        let security = Security::PskServer(Arc::<DtlsKeys>::clone(&dtls_keys));
        let mut shard = ShardConfig::new(place.address, security);
        shard.coap.transmission.ack_timeout = Duration::from_millis(place.config.ack_timeout_ms);
        shard.dtls.hibernate_after = Some(Duration::from_secs(place.config.hibernate_after_s));
        let service = Box::new(FrameService::new(Arc::clone(&frames)));
        let (shard, events) = host.open_shard(shard, service).expect("a free port");
        let (machine, store) = (Arc::<Host>::clone(host), Arc::<Kept>::clone(store));
        let ground = Ground { machine, store, images: place.images.clone() };
        let uri = format!("coaps://{}", place.address);
        let core = Core::open_on(ground, place.config.clone(), uri, dtls_keys, frames).await?;
        core.restore_registrations(&shard).await?;
        host.run(coap::run(Arc::clone(&core), shard.clone(), events));
        host.run(campaign::run(Arc::clone(&core)));
        Ok((core, shard))
    }

    /// Asks it to end: the sessions of its devices are put to sleep. One that crashes meanwhile has crashed.
    pub async fn stop(&self) {
        let running = self.0.running.borrow().clone();
        let Some(Running { core, shard, .. }) = running.filter(|running| running.host.is_on()) else {
            return self.crash().await;
        };
        self.0.trace.note(&"server", &"asked to end");
        let sleep = async {
            core.gateways.part();
            let (socket, awake) = (shard.local_addr(), shard.hibernate().await);
            core.put_to_sleep(socket, &awake).await;
        };
        tokio::select! {
            biased;
            () = sleep => {}
            () = self.0.commits.stopped() => {}
        }
        self.crash().await;
    }

    /// Kills it: what it has not committed is gone, with everything in its memory.
    pub async fn crash(&self) {
        let Some(running) = self.0.running.send_replace(None) else { return };
        if running.host.is_on() {
            self.0.trace.note(&"server", &"killed");
            running.host.switch_off();
        }
        running.host.gone().await;
        running.store.close();
    }

    /// Waits until it is stopped at a commit that [`Commits::stop_at`] names, and clears the place up.
    pub async fn stopped(&self) {
        self.0.commits.stopped().await;
        self.crash().await;
    }

    /// Backs its data base up, whether it runs or not.
    ///
    /// # Panics
    ///
    /// Where that fails.
    pub fn back_up(&self) {
        let (database, backup) = (self.0.folder.path().join(DATABASE), self.0.folder.path().join(BACKUP));
        wait_for(sqlite::snapshot(&database, &backup)).expect("a backup");
        *self.0.backed_up.lock().unwrap_or_else(PoisonError::into_inner) = self.0.wall.seconds();
    }

    /// Puts the backup in the place of the data base of a server that is down, as `bellwether-server restore` does; both are
    /// shown before and after.
    ///
    /// # Panics
    ///
    /// Where there is none, or the server runs.
    pub fn put_back(&self, mut show: impl AsyncFnMut(&SqliteStore)) {
        assert!(!self.is_up(), "a server that runs on what is replaced");
        let folder = self.0.folder.path();
        let database = folder.join(DATABASE);
        wait_for(async {
            let store = SqliteStore::open(&database).await.expect("the data base opens");
            show(&store).await;
            store.close().await;
        });
        for name in ["bellwether.db-wal", "bellwether.db-shm"] {
            // Not there once the last connection was closed.
            let _ = std::fs::remove_file(folder.join(name));
        }
        std::fs::rename(folder.join(BACKUP), &database).expect("a backup");
        let (now, made_at) =
            (self.0.wall.seconds(), *self.0.backed_up.lock().unwrap_or_else(PoisonError::into_inner));
        let drawn = self.0.dice.lock().unwrap_or_else(PoisonError::into_inner).draw().to_be_bytes();
        wait_for(async {
            let store = SqliteStore::open(&database).await.expect("the backup opens");
            let until = now + RESYNC_S;
            backup::write_restored(&store, (made_at, now), until, drawn).await.expect("restored");
            show(&store).await;
            store.close().await;
        });
        self.0.trace.note(&"server", &"restored");
    }

    /// Stops it at commits.
    pub fn commits(&self) -> &Commits {
        &self.0.commits
    }

    /// Its wall clock, which survives it.
    pub fn wall(&self) -> &Wall {
        &self.0.wall
    }

    /// Where devices and gateways find it.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.0.running.borrow().as_ref().is_some_and(|running| running.host.is_on())
    }

    /// The rooms of the start that runs now.
    pub fn core(&self) -> Option<Arc<Core>> {
        self.0
            .running
            .borrow()
            .as_ref()
            .filter(|running| running.host.is_on())
            .map(|running| Arc::clone(&running.core))
    }

    /// Does something with its rooms, as a fleet manager does over HTTP.
    ///
    /// # Errors
    ///
    /// [`Away`] where it is not there, or crashes before it is done.
    pub async fn with<T>(&self, act: impl AsyncFnOnce(&Arc<Core>) -> T) -> Result<T, Away> {
        let core = self.core().ok_or(Away)?;
        let mut running = self.0.running.subscribe();
        let is_another =
            |now: &Option<Running>| !now.as_ref().is_some_and(|now| Arc::ptr_eq(&now.core, &core));
        tokio::select! {
            biased;
            outcome = act(&core) => Ok(outcome),
            _ = running.wait_for(is_another) => Err(Away),
        }
    }

    /// Carries out a verb of fleet managers: JSON in, JSON out.
    ///
    /// # Errors
    ///
    /// [`Away`] where it is not there, or crashes before it has answered.
    ///
    /// # Panics
    ///
    /// Where there is no such verb.
    pub async fn carry_out(
        &self,
        noun: &str,
        name: &str,
        asked: &Value,
    ) -> Result<Result<Value, Refusal>, Away> {
        let verb = Verb::find(noun, name).expect("a verb");
        let body = asked.to_string();
        self.with(async |core| verb.carry_out(core, body.as_bytes()).await).await
    }

    /// Looks into its store past the server, between two of its calls; `None` while it is down.
    pub fn look<T>(&self, look: impl AsyncFnOnce(&SqliteStore) -> T) -> Option<T> {
        let running = self.0.running.borrow().clone()?;
        Some(wait_for(look(running.store.inside())))
    }
}

/// Makes a folder, in memory where the machine has one for that: worlds are many, and none of them outlives its run.
pub(super) fn folder(of: &str) -> TempDir {
    let mut name = tempfile::Builder::new();
    name.prefix("bellwether-world-").suffix(of);
    name.tempdir_in("/dev/shm").or_else(|_| name.tempdir()).expect("a folder")
}

/// Address of a server that nobody asked to be elsewhere.
pub fn usual_address() -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 0, 0, 1]), 5684)
}

const DATABASE: &str = "bellwether.db";

const BACKUP: &str = "backup.db";

/// Thirty days, as `bellwether-server restore` has it.
const RESYNC_S: u64 = 30 * 86_400;

/// An hour, where a week is usual.
const GRANT_LIFETIME_S: &str = "3600";

/// Hardly more than the 247 s for which a CoAP endpoint remembers messages (RFC 7252 §4.8.2), so that devices sleep between
/// two signs of life.
const HIBERNATE_AFTER_S: &str = "250";

#[cfg(test)]
mod tests {
    use bellwether_api::AddGateway;
    use bellwether_manifests::anchors::{AnchorsDraft, RoleDraft, RoleName};
    use bellwether_manifests::author::vendor_id;
    use bellwether_manifests::cose::PrivateKey;
    use bellwether_manifests::message::algorithm::{A256CTR, A256KW, ESP256};

    use super::super::dice::Dice;
    use super::super::gateway::Gateway;
    use super::super::network::Conditions;
    use super::super::store::Stop;
    use super::super::time;
    use super::*;

    const NOW: u64 = 1_790_000_000;

    async fn start_with_anchors(server: &Server) {
        assert!(server.start().await);
        let core = server.core().expect("it runs");
        let [root, author] = [1, 2].map(|number| PrivateKey::from_random(&[number; 32]).expect("a key"));
        let role = |name, key| RoleDraft {
            name,
            threshold: 1,
            keys: vec![key],
            components: if name == RoleName::Author { vec![vec![b"app".to_vec()]] } else { Vec::new() },
            algorithms: vec![ESP256, A256CTR, A256KW],
        };
        let roles = vec![
            role(RoleName::Root, root.public()),
            role(RoleName::Author, author.public()),
            role(RoleName::Distributor, core.descriptors.public_key()),
        ];
        let draft = AnchorsDraft { edition: 1, issued: 0, vendor: vendor_id("world.example"), roles };
        core.put_anchors(&draft.sign(&[root]).expect("signed")).await.expect("taken");
    }

    fn asked() -> AddGateway {
        AddGateway { name: "gw-1".to_owned(), uri: "coaps://10.0.1.1:5684".to_owned() }
    }

    struct Site {
        trace: Trace,
        network: Network,
        server: Server,
    }

    fn site(seed: u64) -> Site {
        let trace = Trace::start(10_000);
        let conditions = Conditions { loss_permille: 200, duplicate_permille: 50, ..Conditions::CALM };
        let network = Network::new(seed, conditions, Some(trace.clone()));
        let server = Server::new(usual_address(), &network, &trace, &Wall::at(NOW), seed);
        Site { trace, network, server }
    }

    async fn gateway_comes(site: &Site, seed: u64) -> Gateway {
        let Site { trace, network, server } = site;
        let added = server.with(async |core| core.add_gateway(&asked()).await).await;
        let unit = hex::decode(added.expect("there").expect("added").unit).expect("hex");
        let address = "10.0.1.1:5684".parse().expect("an address");
        let dice = Dice::new(seed, "gw-1");
        let gateway = Gateway::new("gw-1", &unit, address, network, trace, &Wall::at(NOW), dice);
        gateway.start();
        gateway
    }

    async fn until_session(gateway: &Gateway) {
        let rooms = gateway.rooms().expect("it runs");
        let mut changes = rooms.uplink.changes();
        changes.wait_for(Option::is_some).await.expect("it runs");
    }

    async fn walk(seed: u64) -> (u64, u64) {
        let site = site(seed);
        start_with_anchors(&site.server).await;
        let gateway = gateway_comes(&site, seed).await;
        until_session(&gateway).await;
        site.server.crash().await;
        tokio::time::sleep(Duration::from_mins(3)).await;
        assert!(gateway.rooms().is_some_and(|rooms| !rooms.uplink.is_up()));
        assert!(site.server.start().await);
        until_session(&gateway).await;
        gateway.crash().await;
        gateway.start();
        until_session(&gateway).await;
        tokio::time::sleep(Duration::from_mins(1)).await;
        site.trace.hash()
    }

    #[test]
    fn gateway_finds_the_server_again_after_either_was_killed_and_each_run_of_a_seed_is_the_same() {
        for seed in 0..3 {
            let (first, again) = (time::run(walk(seed)), time::run(walk(seed)));
            assert_eq!(first, again, "seed {seed}");
        }
        assert_ne!(time::run(walk(1)), time::run(walk(2)));
    }

    async fn killed_at(nth: u64, stop: Stop) -> (usize, u64) {
        let site = site(nth);
        let server = &site.server;
        start_with_anchors(server).await;
        server.commits().stop_at(nth, stop);
        let answer = server.with(async |core| core.add_gateway(&asked()).await);
        assert!(
            tokio::select! { biased; answer = answer => answer.is_err(), () = server.commits().stopped() => true }
        );
        server.crash().await;
        assert!(server.start().await);
        let listed = server.with(async |core| core.list_gateways().await).await;
        (listed.expect("there").expect("listed").len(), server.commits().count())
    }

    #[test]
    fn commit_at_which_the_server_is_stopped_is_made_or_not_as_it_was_asked() {
        assert_eq!(time::run(killed_at(1, Stop::Before)).0, 0);
        assert_eq!(time::run(killed_at(1, Stop::After)).0, 1);
    }

    #[test]
    fn wall_clock_steps_while_the_worlds_time_goes_on() {
        time::run(async {
            let wall = Wall::at(NOW);
            tokio::time::sleep(Duration::from_secs(5)).await;
            wall.step(-3_600);
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(wall.seconds(), NOW + 7 - 3_600);
        });
    }
}
