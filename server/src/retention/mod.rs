//! Cuts the ledger: what is old is exported to files, and removed once those are on disk.
//!
//! Whenever it is ended, each event is in the ledger or in a file, or in both: the next run exports and removes what is
//! left. Events are removed some at a time, each time in a commit that other writers share.

mod export;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::deed::Deed;
use bellwether_decide::retention::{Held, Readers};
use bellwether_net::{Machine, WorkLost};
use bellwether_store::bounds::LIST_ROWS_MAX;
use bellwether_store::error::StoreError;
use bellwether_store::ledger::Recorded;
use bellwether_store::{Store, Tenant};
use thiserror::Error;

use crate::config::Mqtt;
use crate::core::Core;

/// What is to be cut.
#[derive(Clone, Copy)]
pub struct Cutting<'a> {
    /// Where the ledger is.
    pub store: &'a dyn Store,
    /// Whose.
    pub tenant: &'a Tenant,
    /// Whose clock and disk.
    pub machine: &'a dyn Machine,
    /// Where exported events go.
    pub folder: &'a Path,
    /// What happened before it goes, seconds since 1970.
    pub before: u64,
    /// Whether a broker gets the events: then those that it has not acknowledged stay.
    pub has_broker: bool,
}

/// What was cut.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cut {
    /// Events that were removed, or would be.
    pub events: u64,
    /// The event from which on the ledger is whole; 0 where nothing goes.
    pub kept_from: u64,
    /// Why events that are old enough stay, beside those of campaigns that go on.
    pub held: Option<Held>,
}

/// Why the ledger was not cut, or not to the end; what is not exported is still in it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CutError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The files can't be written.
    #[error("{} can't be written: nothing is removed that is not exported; see --ledger-folder", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// An event has no JSON form.
    #[error("an event can't be exported")]
    Line(#[from] serde_json::Error),
    /// The server ends.
    #[error(transparent)]
    Lost(#[from] WorkLost),
}

/// Cuts the ledger of a server once a day, until the server ends; returns at once where everything is kept.
pub async fn run(core: Arc<Core>) {
    let Some(keep_s) = core.config.ledger_keep_s() else { return };
    loop {
        let wait = match core.cut_ledger(keep_s).await {
            Ok(cut) => {
                if cut.events > 0 {
                    tracing::info!(
                        events = cut.events,
                        kept_from = cut.kept_from,
                        "old events were exported and removed"
                    );
                }
                // At a start the census may be behind; it catches up.
                if cut.held == Some(Held::Census) { COUNTED_AFTER } else { CUT_EVERY }
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the ledger can't be cut; it is tried again"
                );
                TRY_AGAIN_AFTER
            }
        };
        tokio::time::sleep(wait).await;
    }
}

impl Core {
    async fn cut_ledger(&self, keep_s: u64) -> Result<Cut, CutError> {
        let folder = self.config.ledger_folder();
        let cutting = Cutting {
            store: &*self.store,
            tenant: &self.tenant,
            machine: &*self.machine,
            folder: &folder,
            before: self.now().saturating_sub(keep_s),
            has_broker: self.config.mqtt != Mqtt::Off,
        };
        cutting.cut(By::default()).await
    }
}

impl Cutting<'_> {
    /// Exports and removes what is old, and writes into the ledger that it did.
    ///
    /// # Errors
    ///
    /// See [`CutError`]; what was removed before stays removed, and is exported.
    pub async fn cut(&self, by: By) -> Result<Cut, CutError> {
        let (mut cut, until) = self.bounds().await?;
        let mut since = 0;
        loop {
            let events = self.next(since, until).await?;
            let Some(last) = events.last() else { break };
            since = last.seq;
            self.export(&events).await?;
            for some in events.chunks(LIST_ROWS_MAX as usize) {
                let numbers: Vec<u64> = some.iter().map(|one| one.seq).collect();
                cut.events += self.store.remove_events(self.tenant, &numbers, self.machine.now()).await?;
            }
        }
        if cut.events > 0 {
            cut.kept_from = self.store.cut(self.tenant).await?.map_or(0, |cut| cut.kept_from);
            let deed = Deed::LedgerCut { events: cut.events, kept_from: cut.kept_from };
            let kind = EventKind::Done { deed, by };
            let event = Event { at: self.machine.now(), campaign: None, device: None, kind };
            self.store.append(self.tenant, &[event]).await?;
        }
        Ok(cut)
    }

    /// Tells what [`Cutting::cut`] would do.
    ///
    /// # Errors
    ///
    /// See [`CutError`].
    pub async fn look(&self) -> Result<Cut, CutError> {
        let (mut cut, until) = self.bounds().await?;
        let mut since = 0;
        loop {
            let page = self.store.unneeded_events(self.tenant, since, until, LIST_ROWS_MAX).await?;
            let Some(last) = page.last() else { return Ok(cut) };
            since = last.seq;
            cut.kept_from = last.seq + 1;
            cut.events += page.len() as u64;
        }
    }

    /// Finds the first event that stays.
    async fn bounds(&self) -> Result<(Cut, u64), CutError> {
        let (store, tenant) = (self.store, self.tenant);
        let readers = Readers {
            last: store.figures(tenant).await?.events,
            counted: store.counted(tenant).await?,
            published: if self.has_broker { Some(store.published(tenant).await?) } else { None },
        };
        let old = store.old_until(tenant, self.before, self.machine.now()).await?;
        let (readable, held) = readers.until();
        let held = (readable < old).then_some(held);
        Ok((Cut { held, ..Cut::default() }, old.min(readable)))
    }

    /// Reads what goes into the next file.
    async fn next(&self, since: u64, until: u64) -> Result<Vec<Recorded>, CutError> {
        let mut events: Vec<Recorded> = Vec::new();
        while events.len() < FILE_EVENTS_MAX {
            let since = events.last().map_or(since, |last| last.seq);
            let page = self.store.unneeded_events(self.tenant, since, until, LIST_ROWS_MAX).await?;
            if page.is_empty() {
                break;
            }
            events.extend(page);
        }
        Ok(events)
    }

    async fn export(&self, events: &[Recorded]) -> Result<(), CutError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        let (name, lines) = (export::name(first.seq, last.seq), export::lines(events)?);
        let folder = self.folder.to_owned();
        let written = self.machine.beside(move || export::keep(&folder, &name, &lines)).await?;
        written.map_err(|source| CutError::Folder { path: self.folder.to_owned(), source })
    }
}

/// Lines of a file: some 5 MB, which are held in memory while they are written.
const FILE_EVENTS_MAX: usize = 10_000;

/// Between two cuts: a file a day, and a ledger that is at most a day longer than it was asked to be.
const CUT_EVERY: Duration = Duration::from_hours(24);

/// The census counts some ten thousand events a second.
const COUNTED_AFTER: Duration = Duration::from_secs(5);

/// After a failure, such as a full disk.
const TRY_AGAIN_AFTER: Duration = Duration::from_hours(1);
