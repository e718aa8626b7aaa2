//! The disk of the data folder: noticed when it takes no writes or gives back what was not written, said once, watched
//! until it is well again.
//!
//! Nothing is acknowledged before it is written, so a full disk loses nothing: whoever asks is told to ask again, and
//! what waits goes on by itself. A damaged database stays so until an operator restores it.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellwether_store::StorageFault;

use crate::config::StoreAt;
use crate::core::Core;

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It takes no writes.
    Unwritable,
    /// It is a data base elsewhere, and does not answer.
    Away,
    /// It gives back what was not written.
    Damaged,
}

/// How the disk is, as far as is known.
#[derive(Debug, Default)]
pub struct Disk(Mutex<Option<Fault>>);

impl Fault {
    /// Finds the fault among an error and its causes.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        StorageFault::of(error).map(|fault| match fault {
            StorageFault::Damaged(_) => Self::Damaged,
            StorageFault::Away(_) => Self::Away,
            _ => Self::Unwritable,
        })
    }
}

impl Disk {
    fn fault(&self) -> Option<Fault> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a fault down; `true` where it is news. Damage is never outdone.
    fn fails(&self, fault: Fault) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = *known != Some(fault) && *known != Some(Fault::Damaged);
        if news {
            *known = Some(fault);
        }
        news
    }

    /// Takes down that writes are taken; `true` where it is news.
    fn writes(&self) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = matches!(*known, Some(Fault::Unwritable | Fault::Away));
        if news {
            *known = None;
        }
        news
    }
}

impl Core {
    /// Says what keeps the server from working: which folder, what is wrong with it, what to do; `None` while all is
    /// well. Readiness asks here.
    #[must_use]
    pub fn disk_fault(&self) -> Option<String> {
        self.disk.fault().map(|fault| self.said(fault))
    }

    /// Looks whether an error comes of the disk, and says so once.
    pub(crate) fn blame_disk(&self, error: &(dyn Error + 'static)) {
        if let Some(fault) = Fault::of(error) {
            self.disk_fails(fault);
        }
    }

    pub(crate) fn disk_fails(&self, fault: Fault) {
        if self.disk.fails(fault) {
            tracing::error!(folder = %self.config.data.display(), "{}", self.said(fault));
        }
    }

    fn said(&self, fault: Fault) -> String {
        let folder = self.config.data.display();
        let elsewhere = self.config.store != StoreAt::Folder;
        match fault {
            Fault::Unwritable if elsewhere => format!(
                "the data base, or {folder}, takes no writes: its disk is full, a quota is used up, or it is read-only. \
                 Make room there; nothing that was acknowledged is lost, and the server goes on by itself"
            ),
            Fault::Damaged if elsewhere => {
                "the data base is damaged, says PostgreSQL. Stop the server and restore a backup of it (pg_restore); see \
                 \"PostgreSQL\" in docs/operating.md"
                    .to_owned()
            }
            Fault::Unwritable => format!(
                "{folder} takes no writes: its disk is full, a quota is used up, or it is mounted read-only. Make room \
                 there; nothing that was acknowledged is lost, and the server goes on by itself"
            ),
            Fault::Away => "the data base does not answer. Start it, or look at the way to it; nothing that was acknowledged is \
                 lost, and the server goes on by itself"
                .to_owned(),
            Fault::Damaged => format!(
                "the database in {folder} is damaged. Stop the server and restore a backup (bellwether-server restore); \
                 keep the damaged folder until then"
            ),
        }
    }

    /// Finds out whether the data folder takes writes.
    pub async fn try_disk(&self) {
        let written = match self.store.try_write(&self.tenant).await {
            Ok(()) => {
                self.images.try_write().await.map_err(|error| Box::new(error) as Box<dyn Error + Send + Sync>)
            }
            Err(error) => Err(error.into()),
        };
        match written {
            Ok(()) => {
                self.forget_left().await;
                if self.disk.writes() {
                    tracing::info!(folder = %self.config.data.display(), "the store takes writes again");
                    self.look_at_all();
                }
            }
            Err(error) => self.blame_disk(&*error),
        }
    }
}

/// Looks at the disk until the server ends: now and then, and often while it takes no writes.
pub async fn watch(core: Arc<Core>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for look in 0_u32.. {
        looks.tick().await;
        if look.is_multiple_of(WELL_LOOKS)
            || matches!(core.disk.fault(), Some(Fault::Unwritable | Fault::Away))
        {
            core.try_disk().await;
        }
    }
}

/// While it takes no writes: devices are told to come back after 15 s, and it is to be known by then.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// While it is well, a look a minute: each costs two synced writes.
const WELL_LOOKS: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_disk_is_said_once_and_is_over_with_the_first_write() {
        let disk = Disk::default();
        assert!(!disk.writes());
        assert!(disk.fails(Fault::Unwritable));
        assert!(!disk.fails(Fault::Unwritable));
        assert_eq!(disk.fault(), Some(Fault::Unwritable));
        assert!(disk.writes());
        assert_eq!(disk.fault(), None);
    }

    #[test]
    fn data_base_that_comes_back_is_over_with_the_first_write() {
        let disk = Disk::default();
        assert!(disk.fails(Fault::Away));
        assert!(!disk.fails(Fault::Away));
        assert!(disk.writes());
        assert_eq!(disk.fault(), None);
    }

    #[test]
    fn damage_is_over_with_a_restore_alone() {
        let disk = Disk::default();
        assert!(disk.fails(Fault::Unwritable));
        assert!(disk.fails(Fault::Damaged));
        assert!(!disk.fails(Fault::Unwritable));
        assert!(!disk.writes());
        assert_eq!(disk.fault(), Some(Fault::Damaged));
    }
}
