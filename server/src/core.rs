//! The rooms of the server under one roof, and how they are opened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bellwether_manifests::cose::PrivateKey;
use bellwether_net::{Machine, ThisMachine};
use bellwether_store::device::Restores;
use bellwether_store::error::{OpenError, StoreError};
use bellwether_store::images::{ImageError, Images};
use bellwether_store::{PostgresStore, Schema, SqliteStore, Store, Tenant};
use thiserror::Error;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::backup::{DATABASE, STAGING};
use crate::book::Book;
use crate::builder::Builder;
use crate::bundles::BundleDesk;
use crate::census::Desk;
use crate::commands::reading::READS_MAX;
use crate::config::{Config, StoreAt};
use crate::descriptors::Descriptors;
use crate::disk::Disk;
use crate::dtls_keys::DtlsKeys;
use crate::frames::FrameCache;
use crate::gateways::Gateways;
use crate::health::Health;
use crate::lineup::Lineup;
use crate::metrics::{Metrics, steady};
use crate::quiet::Quieted;
use crate::recalls::Unsettled;
use crate::registry::Registry;
use crate::steps::Steps;
use crate::vault::{DISTRIBUTOR_KEY, Vault, VaultError};

/// Everything that a room may need of another. Rooms are `impl Core` blocks in files of their own.
pub struct Core {
    /// Time, randomness, and threads for work that takes long.
    pub machine: Arc<dyn Machine>,
    /// What was set.
    pub config: Config,
    /// Whose rows all calls are about.
    pub tenant: Tenant,
    /// What must not be forgotten.
    pub store: Arc<dyn Store>,
    /// Images and ciphertexts.
    pub images: Images,
    /// Seeds and keys.
    pub vault: Arc<Vault>,
    /// Manifests.
    pub book: Book,
    /// Resources.
    pub builder: Arc<Builder>,
    /// Signed descriptors.
    pub descriptors: Descriptors,
    /// Frames that are served from memory.
    pub frames: Arc<FrameCache>,
    /// Who can be reached.
    pub registry: Registry,
    /// Gateways, and which devices each of them lists.
    pub gateways: Gateways,
    /// DTLS keys of devices and gateways that came lately.
    pub dtls_keys: Arc<DtlsKeys>,
    /// What was turned away.
    pub counters: Counters,
    /// How the disk of the data folder is.
    pub disk: Disk,
    /// What is counted for whoever watches.
    pub metrics: Metrics,
    /// Whether the server can do its work.
    pub health: Health,
    /// What anybody can cause is said rarely.
    pub(crate) quiet: Quieted,
    /// Bundles on their way to gateways.
    pub bundles: BundleDesk,
    /// How fleet and campaigns stand, counted lately.
    pub(crate) census: Desk,
    /// Whether the wall clock has stepped.
    pub(crate) steps: Steps,
    /// Edition of the anchors in force; 0 before the first.
    pub anchors_edition: Mutex<u64>,
    /// Held by the round that brings newer anchors to everyone.
    pub spreading: tokio::sync::Mutex<()>,
    /// Held, shared, while sleeping sessions are kept with what was registered over them.
    pub(crate) keeping: tokio::sync::RwLock<()>,
    /// Places of those who wait for a device that is read.
    pub reads: Semaphore,
    /// Wakes the campaigns: something happened.
    pub wake: Notify,
    /// Whom campaigns look at next.
    pub(crate) lineup: Lineup,
    /// Whether recalls have halted their campaigns.
    pub(crate) recalls: Unsettled,
    /// What operators said about the whole store, as it stands there.
    pub restores: RwLock<Restores>,
    /// When the server started, seconds since 1970.
    pub started: u64,
    /// The same on the clock that only goes forward.
    opened: Instant,
    /// What devices are told to call.
    pub public_uri: String,
}

/// What a server stands on.
pub struct Ground {
    /// Time, randomness, and threads for work that takes long.
    pub machine: Arc<dyn Machine>,
    /// What must not be forgotten.
    pub store: Arc<dyn Store>,
    /// Images and ciphertexts.
    pub images: Images,
}

/// What was turned away without leaving a trace elsewhere.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages whose MAC was wrong (row 1).
    pub wrong_mac: AtomicU64,
    /// Messages that are not of the protocol.
    pub malformed: AtomicU64,
}

impl Counters {
    /// Counts one more.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data folder can't be made.
    #[error("the data folder can't be used: {0}")]
    Folder(#[source] std::io::Error),
    /// Another server works on the folder.
    #[error("{} is in use by another server; stop that one, or name another folder with --data", .0.display())]
    InUse(std::path::PathBuf),
    /// The database can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database is gone, and what lay beside it is not.
    #[error(
        "{} is missing, but {} is here: name the data base with --store if it is elsewhere, restore a backup \
         (bellwether-server restore --replace), or move the images away to begin empty",
        database.display(), images.display()
    )]
    DatabaseMissing {
        /// The database.
        database: std::path::PathBuf,
        /// The folder that belongs to it.
        images: std::path::PathBuf,
    },
    /// A restore was ended before it had moved the database into its place.
    #[error("a restore into {} was not finished: run bellwether-server restore again", .0.display())]
    RestoreUnfinished(std::path::PathBuf),
    /// The database failed.
    #[error("the database failed: {0}")]
    Store(#[from] StoreError),
    /// Another server has taken the data base over.
    #[error(
        "another server works on the data base now: this one ends, since what it has in memory does not hold any more. Find out \
         who started the other, and leave one of them"
    )]
    Superseded,
    /// The image folder can't be used.
    #[error("the image folder can't be used: {0}")]
    Images(#[from] ImageError),
    /// A store of PostgreSQL was named, and the data folder has one of SQLite.
    #[error(
        "{} is here, and another store was named: take it over with bellwether-server store copy --to URL, which moves it \
         aside", database.display()
    )]
    TwoStores {
        /// The file of SQLite.
        database: std::path::PathBuf,
    },
    /// The data base is empty, and the data folder has images of another one.
    #[error(
        "the data base is empty, but {} has images: name the data base that they belong to with --store, or move them \
         away to begin empty", images.display()
    )]
    EmptyStore {
        /// The folder that belongs to another data base.
        images: std::path::PathBuf,
    },
    /// The vault does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The distributor's key can't be used.
    #[error("the distributor's key can't be used")]
    Distributor,
    /// An address can't be bound.
    #[error("{address} can't be bound: {source}; is another server running?")]
    Bind {
        /// Which one.
        address: std::net::SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The embedded broker does not start.
    #[error(
        "the embedded broker does not start: {0}; name your own with --mqtt, or switch it off with --mqtt off"
    )]
    Broker(String),
    /// Small secrets can't be kept.
    #[error(transparent)]
    Secret(#[from] crate::secret_file::SecretFileError),
    /// The secret of connection IDs can't be kept, and can be done without.
    #[error(
        "{0}; or remove it: another one is drawn, and each device whose session sleeps makes one handshake more"
    )]
    CidSecret(#[source] crate::secret_file::SecretFileError),
}

impl Core {
    /// Opens the data folder on this machine, and the rooms as [`Core::open_on`] does.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what to do.
    pub async fn open(
        config: Config,
        public_uri: String,
        dtls_keys: Arc<DtlsKeys>,
        frames: Arc<FrameCache>,
    ) -> Result<Arc<Self>, StartError> {
        let store = open_store(&config).await?;
        let images = Images::open_folder(&config.data.join("images"))?;
        Images::sweep(&config.data.join("images"))?;
        let ground = Ground { machine: Arc::new(ThisMachine), store, images };
        Self::open_on(ground, config, public_uri, dtls_keys, frames).await
    }

    /// Opens vault and keys; `public_uri` is what new devices are told to call. Keys of devices and frames go where
    /// the socket's thread looks for them.
    ///
    /// # Errors
    ///
    /// [`StartError`] says what to do.
    pub async fn open_on(
        ground: Ground,
        config: Config,
        public_uri: String,
        dtls_keys: Arc<DtlsKeys>,
        frames: Arc<FrameCache>,
    ) -> Result<Arc<Self>, StartError> {
        let Ground { machine, store, images } = ground;
        let tenant = Tenant::default();
        let command = config.master_key_command.as_deref();
        // Once something is sealed, a new master key would open nothing and hide that the old one is lost.
        let fresh = store.setting(&tenant, DISTRIBUTOR_SETTING).await?.is_none();
        let key_file = config.data.join("master.key");
        let vault = Vault::open(Arc::clone(&machine), tenant.as_str(), &key_file, command, fresh)?;
        let vault = Arc::new(vault);
        let distributor = distributor_key(&*machine, &*store, &tenant, &vault).await?;
        let book = Book::new(Arc::clone(&store), tenant.clone());
        let builder = Builder::new(
            Arc::clone(&machine),
            Arc::clone(&store),
            tenant.clone(),
            images.clone(),
            Arc::clone(&vault),
            Arc::clone(&frames),
        );
        let restores = RwLock::new(store.restores(&tenant).await?);
        let registry = Registry::new(config.queue_mode_awake_s);
        let core = Arc::new(Self {
            started: machine.now(),
            opened: steady(),
            machine,
            config,
            tenant,
            store,
            images,
            vault,
            book,
            builder: Arc::new(builder),
            descriptors: Descriptors::new(distributor),
            frames,
            registry,
            gateways: Gateways::default(),
            dtls_keys,
            counters: Counters::default(),
            disk: Disk::default(),
            metrics: Metrics::default(),
            health: Health::default(),
            quiet: Quieted::default(),
            bundles: BundleDesk::default(),
            census: Desk::default(),
            steps: Steps::default(),
            anchors_edition: Mutex::default(),
            spreading: tokio::sync::Mutex::new(()),
            keeping: tokio::sync::RwLock::default(),
            reads: Semaphore::new(READS_MAX),
            wake: Notify::new(),
            lineup: Lineup::default(),
            recalls: Unsettled::default(),
            restores,
            public_uri,
        });
        if let Some(anchors) = core.store.anchors(&core.tenant).await? {
            core.anchors_come_into_force(&anchors.document);
        }
        core.load_gateways().await?;
        core.load_children().await?;
        Ok(core)
    }
}

impl Core {
    /// Names this server among a broker's clients: the same after every start, another one for every data folder.
    #[must_use]
    pub(crate) fn mqtt_name(&self) -> String {
        format!("bellwether-{}", hex::encode(self.descriptors.public_key().kid()))
    }

    /// Tells the time of the wall clock, in seconds since 1970.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.machine.now()
    }

    /// Tells seconds since the start, by a clock that never steps: for what is kept in memory alone, such as who can
    /// be reached.
    #[must_use]
    pub fn steady(&self) -> u64 {
        steady().duration_since(self.opened).as_secs()
    }

    /// What operators said about the whole store.
    #[must_use]
    pub fn restores(&self) -> Restores {
        *self.restores.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the store where the configuration says.
async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    let database = config.data.join(DATABASE);
    match &config.store {
        StoreAt::Folder => {
            refuse_remains(&config.data, &database)?;
            let store = SqliteStore::open(&database).await?;
            tell_steps(store.found());
            Ok(Arc::new(store))
        }
        // Whoever was enrolled there would be unknown here, and nothing would say so.
        StoreAt::Postgres(_) if database.exists() => Err(StartError::TwoStores { database }),
        StoreAt::Postgres(url) => {
            let store = Arc::new(PostgresStore::serve(url.reveal()).await?);
            tell_steps(store.found());
            refuse_empty(&config.data, &*store).await?;
            Ok(store)
        }
    }
}

/// Says that a store of an earlier version was brought up to date.
fn tell_steps(schema: Schema) {
    if let Some(found) = schema.found.filter(|found| *found < schema.known) {
        tracing::info!("the database was brought from schema {found} to {}", schema.known);
    }
}

/// Refuses an empty data base beside images: they belong to another one, and every device in it would be unknown.
async fn refuse_empty(data: &std::path::Path, store: &dyn Store) -> Result<(), StartError> {
    let images = data.join("images");
    let any = std::fs::read_dir(&images).is_ok_and(|mut entries| entries.next().is_some());
    // The first start draws it before there can be any image.
    if any && store.setting(&Tenant::default(), DISTRIBUTOR_SETTING).await?.is_none() {
        return Err(StartError::EmptyStore { images });
    }
    Ok(())
}

/// Refuses a folder without a database that had one: an empty one in its place would forget every device.
fn refuse_remains(data: &std::path::Path, database: &std::path::Path) -> Result<(), StartError> {
    if database.exists() {
        return Ok(());
    }
    if data.join(STAGING).exists() {
        return Err(StartError::RestoreUnfinished(data.to_owned()));
    }
    // It is made after the database, and never before.
    let images = data.join("images");
    if images.exists() {
        return Err(StartError::DatabaseMissing { database: database.to_owned(), images });
    }
    Ok(())
}

/// Opens the distributor's key, or draws it at the first start. A wrong master key shows itself here.
async fn distributor_key(
    machine: &dyn Machine,
    store: &dyn Store,
    tenant: &Tenant,
    vault: &Vault,
) -> Result<PrivateKey, StartError> {
    let sealed = if let Some(sealed) = store.setting(tenant, DISTRIBUTOR_SETTING).await? {
        sealed
    } else {
        let drawn = zeroize::Zeroizing::new(machine.random::<32>().map_err(VaultError::from)?);
        let sealed = vault.seal(DISTRIBUTOR_KEY, tenant.as_str(), drawn.as_ref())?;
        store.put_setting(tenant, DISTRIBUTOR_SETTING, &sealed).await?
    };
    let opened = vault.open_sealed(DISTRIBUTOR_KEY, tenant.as_str(), &sealed)?;
    let scalar: &[u8; 32] = opened.as_slice().try_into().map_err(|_| StartError::Distributor)?;
    PrivateKey::from_random(scalar).map_err(|_| StartError::Distributor)
}

pub(crate) const DISTRIBUTOR_SETTING: &str = "distributor key";

#[cfg(test)]
mod tests {
    use bellwether_store::settings::Settings;

    use super::*;

    #[tokio::test]
    async fn empty_data_base_beside_images_of_another_is_refused() {
        let (data, elsewhere) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let store = SqliteStore::open(&elsewhere.path().join("another.db")).await.expect("opened");
        let images = Images::open_folder(&data.path().join("images")).expect("opened");
        refuse_empty(data.path(), &store).await.expect("a first start that was cut short");
        images.put(vec![1]).await.expect("kept");
        let refused = refuse_empty(data.path(), &store).await.expect_err("its devices would be forgotten");
        assert!(matches!(refused, StartError::EmptyStore { .. }), "{refused}");
        let sealed = bellwether_store::sealed::Sealed::new(vec![1]);
        store.put_setting(&Tenant::default(), DISTRIBUTOR_SETTING, &sealed).await.expect("kept");
        refuse_empty(data.path(), &store).await.expect("theirs");
    }
}
