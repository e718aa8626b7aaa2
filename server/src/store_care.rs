//! What an operator does with a store while no server uses it: look through all of it, take it elsewhere, cut its ledger.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellwether_decide::alarm::AlarmKey;
use bellwether_decide::campaign::event::By;
use bellwether_decide::campaign::standing::Standing;
use bellwether_decide::device::Endpoint;
use bellwether_net::ThisMachine;
use bellwether_store::copy::{self, Copied, CopyError};
use bellwether_store::images::{ImageError, Images};
use bellwether_store::ledger::Scope;
use bellwether_store::{Digest, OpenError, PostgresStore, SqliteStore, Store, StoreError, Tenant};
use thiserror::Error;

use crate::backup::DATABASE;
use crate::config::{Config, Mqtt, StoreAt};
use crate::core::StartError;
use crate::retention::{Cut, CutError, Cutting};
use crate::shell;

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Checked {
    /// Devices with all their identities.
    pub devices: u64,
    /// Gateways.
    pub gateways: u64,
    /// Campaigns with all their devices.
    pub campaigns: u64,
    /// Events of the ledger.
    pub events: u64,
    /// The event from which on the ledger is whole, where it was cut; else 0.
    pub whole_from: u64,
    /// Releases, each with its image.
    pub releases: u64,
    /// What is wrong, a line each; at most [`FINDINGS_MAX`].
    pub findings: Vec<String>,
}

/// Why a store was not looked at or not copied.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CareError {
    /// A server works on the folder, or the folder can't be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// See [`OpenError`].
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The image folder can't be used.
    #[error("the image folder can't be used")]
    Images(#[from] ImageError),
    /// See [`CopyError`].
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// See [`CutError`].
    #[error(transparent)]
    Cut(#[from] CutError),
    /// What is to be copied is not SQLite.
    #[error("what is copied is the database in the data folder: leave --store and BELLWETHER_STORE out")]
    NotAFile,
    /// Where it is to go is not PostgreSQL.
    #[error("--to takes the URL of an empty PostgreSQL data base: postgres://USER@HOST:PORT/NAME")]
    NotElsewhere,
    /// There is nothing to look at.
    #[error("there is no database in {}; name the data folder of a server with --data", .0.display())]
    Nothing(PathBuf),
    /// It was copied, and the file could not be moved aside.
    #[error("all is copied, but {} can't be moved aside: move it, or the server does not start with --store", path.display())]
    Aside {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// Reads devices, gateways, campaigns, events, alarms, releases, anchors and bundles as the server would, and every image of
/// a release with its digest.
///
/// # Errors
///
/// See [`CareError`]; what is wrong with rows and images is no error, but in [`Checked::findings`].
pub async fn check(config: &Config) -> Result<Checked, CareError> {
    let _lock = shell::lock(&config.data)?;
    let database = config.data.join(DATABASE);
    let store: Arc<dyn Store> = match &config.store {
        StoreAt::Folder if !database.exists() => return Err(CareError::Nothing(config.data.clone())),
        StoreAt::Folder => Arc::new(SqliteStore::open(&database).await?),
        StoreAt::Postgres(url) => Arc::new(PostgresStore::open(url.reveal()).await?),
    };
    let images = Images::open_folder(&config.data.join("images"))?;
    let mut look = Look { store: &*store, tenant: Tenant::default(), checked: Checked::default() };
    look.at_devices().await?;
    look.at_gateways().await?;
    look.at_campaigns().await?;
    look.at_events().await?;
    look.at_alarms().await?;
    look.at_releases(&images).await?;
    look.at_rest().await?;
    let checked = look.checked;
    store.close().await;
    Ok(checked)
}

/// Copies the database of a data folder that no server uses into an empty PostgreSQL, verified, and moves the file aside.
///
/// Gives what was copied and where the file is now.
///
/// # Errors
///
/// See [`CareError`]; the file is where it was unless all is copied.
pub async fn copy(
    config: &Config,
    to: &StoreAt,
    say: impl Fn(&Copied),
) -> Result<(Vec<Copied>, PathBuf), CareError> {
    let StoreAt::Postgres(url) = to else { return Err(CareError::NotElsewhere) };
    if config.store != StoreAt::Folder {
        return Err(CareError::NotAFile);
    }
    let _lock = shell::lock(&config.data)?;
    let database = config.data.join(DATABASE);
    if !database.exists() {
        return Err(CareError::Nothing(config.data.clone()));
    }
    let copied = copy::copy(&database, url.reveal(), say).await?;
    let aside = move_aside(&database).map_err(|source| CareError::Aside { path: database, source })?;
    Ok((copied, aside))
}

/// Two servers on two copies would give the same numbers twice: the file is not found by a server any more.
fn move_aside(database: &Path) -> Result<PathBuf, std::io::Error> {
    let aside = database.with_extension("db.copied");
    std::fs::rename(database, &aside)?;
    Ok(aside)
}

/// Opens the store of a data folder that no server uses, and cuts its ledger; or tells what that would do.
///
/// # Errors
///
/// See [`CareError`]; what was removed before is exported.
pub async fn prune(config: &Config, wish: Prune<'_>) -> Result<Cut, CareError> {
    let _lock = shell::lock(&config.data)?;
    let database = config.data.join(DATABASE);
    let store: Arc<dyn Store> = match &config.store {
        StoreAt::Folder if !database.exists() => return Err(CareError::Nothing(config.data.clone())),
        StoreAt::Folder => Arc::new(SqliteStore::open(&database).await?),
        StoreAt::Postgres(url) => Arc::new(PostgresStore::serve(url.reveal()).await?),
    };
    let cutting = Cutting {
        store: &*store,
        tenant: &Tenant::default(),
        machine: &ThisMachine,
        folder: wish.folder,
        before: wish.before,
        has_broker: config.mqtt != Mqtt::Off,
    };
    let cut = match wish.by {
        Some(by) => cutting.cut(by).await,
        None => cutting.look().await,
    };
    store.close().await;
    Ok(cut?)
}

/// How a ledger is to be cut.
#[derive(Debug)]
pub struct Prune<'a> {
    /// What happened before it goes, seconds since 1970.
    pub before: u64,
    /// Where exported events go.
    pub folder: &'a Path,
    /// Who wants it, and why; `None`: nothing is changed.
    pub by: Option<By>,
}

struct Look<'a> {
    store: &'a dyn Store,
    tenant: Tenant,
    checked: Checked,
}

impl Look<'_> {
    /// Notes a row that can't be read and goes on; anything else ends the look.
    fn note<T>(&mut self, what: &str, read: Result<T, StoreError>) -> Result<Option<T>, CareError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error @ StoreError::Unreadable { .. }) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                self.find(format!("{what}: {error}: {cause}"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn find(&mut self, finding: String) {
        if self.checked.findings.len() < FINDINGS_MAX {
            self.checked.findings.push(finding);
        }
    }

    async fn at_devices(&mut self) -> Result<(), CareError> {
        let mut after: Option<Endpoint> = None;
        loop {
            let page = self.store.devices(&self.tenant, after.as_ref(), u32::MAX).await;
            let Some(page) = self.note("devices", page)? else { return Ok(()) };
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.device.endpoint.clone());
            for enrolled in &page {
                let name = &enrolled.device.endpoint;
                self.checked.devices += 1;
                let identities = self.store.identities_of(&self.tenant, name).await;
                if let Some(identities) = self.note(&format!("device {name}"), identities)?
                    && identities.is_empty()
                {
                    self.find(format!("device {name}: it has no identity"));
                }
            }
        }
    }

    async fn at_gateways(&mut self) -> Result<(), CareError> {
        let mut after: Option<Endpoint> = None;
        loop {
            let page = self.store.gateways(&self.tenant, after.as_ref(), u32::MAX).await;
            let Some(page) = self.note("gateways", page)? else { return Ok(()) };
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            self.checked.gateways += page.len() as u64;
        }
    }

    async fn at_campaigns(&mut self) -> Result<(), CareError> {
        let mut after = None;
        loop {
            let page = self.store.campaigns(&self.tenant, None, after, u32::MAX).await;
            let Some(page) = self.note("campaigns", page)? else { return Ok(()) };
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for campaign in &page {
                self.checked.campaigns += 1;
                let (id, manifest) = (campaign.id, campaign.manifest);
                let progress = self.store.progress(&self.tenant, id).await;
                let progress = self.note(&format!("campaign {}", id.0), progress)?;
                let standing = self.store.standing(&self.tenant, id).await;
                let standing = self.note(&format!("campaign {}", id.0), standing)?;
                if progress.map(|progress| progress.as_ref().map(Standing::of)) != standing {
                    self.find(format!("campaign {}: its devices are counted otherwise than they are", id.0));
                }
                let kept = self.store.manifest(&self.tenant, &manifest).await;
                if let Some(None) = self.note(&format!("campaign {}", id.0), kept)? {
                    self.find(format!("campaign {}: its manifest is not there", id.0));
                }
            }
        }
    }

    async fn at_events(&mut self) -> Result<(), CareError> {
        let mut seen = 0;
        let cut = self.store.cut(&self.tenant).await;
        let cut = self.note("cut of the ledger", cut)?.flatten();
        // What was removed on purpose is not missing.
        let kept_from = cut.map_or(0, |cut| cut.kept_from);
        self.checked.whole_from = kept_from;
        loop {
            let page = self.store.events(&self.tenant, Scope::All, seen, u32::MAX).await;
            let Some(page) = self.note(&format!("events after {seen}"), page)? else { return Ok(()) };
            let Some(last) = page.last() else { return Ok(()) };
            let whole = page.iter().filter(|one| one.seq >= kept_from).count() as u64;
            if whole > 0 && last.seq + 1 != kept_from.max(seen + 1) + whole {
                self.find(format!("events after {seen}: numbers are missing"));
            }
            seen = last.seq;
            self.checked.events += page.len() as u64;
        }
    }

    async fn at_alarms(&mut self) -> Result<(), CareError> {
        let mut before: Option<AlarmKey> = None;
        loop {
            let page = self.store.alarms(&self.tenant, before.as_ref(), u32::MAX).await;
            let Some(page) = self.note("alarms", page)? else { return Ok(()) };
            let Some(last) = page.last() else { return Ok(()) };
            before = Some(last.key.clone());
        }
    }

    async fn at_releases(&mut self, images: &Images) -> Result<(), CareError> {
        let mut after = None;
        loop {
            let page = self.store.releases(&self.tenant, after, u32::MAX).await;
            let Some(page) = self.note("releases", page)? else { return Ok(()) };
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.release.id);
            for kept in &page {
                self.checked.releases += 1;
                let (release, class) = (&kept.release, &kept.class_name);
                let name = format!("release {} of {class}", release.version);
                self.at_image(images, &name, &release.digest).await?;
                let made = self.store.resources_to(&self.tenant, &release.digest).await;
                self.note(&name, made)?;
            }
        }
    }

    /// Looks at the anchors, the bundles and what brokers were told.
    async fn at_rest(&mut self) -> Result<(), CareError> {
        let anchors = self.store.anchors_since(&self.tenant, 0, u32::MAX).await;
        self.note("anchors", anchors)?;
        let bundles = self.store.bundles(&self.tenant, None, 0).await;
        self.note("bundles", bundles)?;
        let published = self.store.published(&self.tenant).await;
        let Some(published) = self.note("publication", published)? else { return Ok(()) };
        let figures = self.store.figures(&self.tenant).await;
        if let Some(figures) = self.note("tracks", figures)?
            && published > figures.events
        {
            let kept = figures.events;
            self.find(format!(
                "events after {kept}: they were published up to {published}, and are not there"
            ));
        }
        Ok(())
    }

    async fn at_image(&mut self, images: &Images, name: &str, digest: &Digest) -> Result<(), CareError> {
        match images.get(digest).await {
            Ok(_) => {}
            Err(ImageError::Missing) => {
                self.find(format!("{name}: its image is not there; publish it again"));
            }
            Err(ImageError::Damaged { .. }) => {
                self.find(format!("{name}: its image is damaged; publish it again"));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Lines that are told; where more is wrong, these say enough.
pub const FINDINGS_MAX: usize = 100;
