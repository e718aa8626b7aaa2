//! Why the store did not do what it was asked.

use std::io;

use thiserror::Error;

/// A cause that no caller can act on, kept for the log.
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What is wrong with the disk, or with what lies on it: found among the causes of an error by [`StorageFault::of`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageFault {
    /// Nothing can be written; what is written already can be read. Goes on by itself once the disk takes writes.
    #[error("the disk takes no writes: it is full, a quota is used up, or it is mounted read-only")]
    Unwritable(#[source] Source),
    /// The data base does not answer. Goes on by itself once it does.
    #[error("the data base does not answer")]
    Away(#[source] Source),
    /// What was written is not what is read. Restore a backup.
    #[error("the file is damaged")]
    Damaged(#[source] Source),
}

impl StorageFault {
    /// Finds the fault among an error and its causes, if it comes of one.
    #[must_use]
    pub fn of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |error| error.source()).find_map(|cause| cause.downcast_ref())
    }

    /// Names the fault that an error of files stands for, else gives the error back.
    pub(crate) fn named<E: std::error::Error + Send + Sync + 'static>(error: E) -> Source {
        let causes =
            std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |error| error.source());
        let refused = |cause: &(dyn std::error::Error + 'static)| {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            kind.is_some_and(|kind| UNWRITABLE.contains(&kind))
        };
        if causes.into_iter().any(refused) { Self::Unwritable(error.into()).into() } else { error.into() }
    }
}

/// What the system says of a disk that takes no writes; `FileTooLarge` comes of a process's own limit.
const UNWRITABLE: [io::ErrorKind; 4] = [
    io::ErrorKind::StorageFull,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::ReadOnlyFilesystem,
    io::ErrorKind::FileTooLarge,
];

/// Why a read or a write failed; nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The caller gave more than a named bound allows. Do not retry.
    #[error("{what} is past its bound of {max}")]
    OutOfBounds {
        /// Which value.
        what: &'static str,
        /// The bound, in the unit of the value.
        max: u64,
    },
    /// The parts of what the caller gave contradict each other. Do not retry.
    #[error("the {what} contradicts its key")]
    Contradiction {
        /// Which part.
        what: &'static str,
    },
    /// The caller named a row that something else needs, and it is not there. Do not retry.
    #[error("the row that this one belongs to is missing")]
    NoParent,
    /// A kept row cannot be read: written by a later version, or altered from outside. An operator must look.
    #[error("a kept {what} cannot be read")]
    Unreadable {
        /// Which kind of row.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        reason: Source,
    },
    /// The data base itself failed: lock held too long, file gone, or a [`StorageFault`] among the causes. Retry later.
    #[error("the data base failed")]
    Backend(#[source] Source),
}

/// Why a row was not added; nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AddError {
    /// A row with this key is there already and was left as it is.
    #[error("it is there already")]
    Exists,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a compare-and-set did not set; nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// Someone else wrote first. Read again, decide again.
    #[error("revision {expected} was expected, {found} is kept")]
    Conflict {
        /// What the caller had read.
        expected: u64,
        /// What is kept now.
        found: u64,
    },
    /// The caller's new state does not raise the revision, so a later conflict would go unseen. Do not retry.
    #[error("the new revision {given} is not above {expected}")]
    NotRaised {
        /// What the caller had read.
        expected: u64,
        /// The revision of the new state.
        given: u64,
    },
    /// There is no such row.
    #[error("there is no such row")]
    Missing,
    /// What was to be given was forbidden since the caller looked. Read again, decide again.
    #[error("its campaign was stopped, or its release was recalled")]
    Forbidden,
    /// The identity has keys of this epoch, which would be lost. Do not retry.
    #[error("keys of epoch {0} are kept already")]
    EpochKept(u16),
    /// A command with this request id was carried out before. Read what it was answered.
    #[error("a command with this request id was carried out before")]
    CommandKept,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which schema a store has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Schema {
    /// The one that is there; `None` where there is none yet.
    pub found: Option<i64>,
    /// The last one that this program knows.
    pub known: i64,
}

/// What a step of the schema says of the program that took it, behind the step's own description.
pub(crate) const TAKEN_BY: &str = concat!(" (bellwether-server ", env!("CARGO_PKG_VERSION"), ")");

/// Reads which program took a step.
pub(crate) fn taken_by(description: &str) -> Option<String> {
    let (_, by) = description.rsplit_once(" (")?;
    by.strip_suffix(')').map(ToOwned::to_owned)
}

/// Why a store was not opened; it was left as it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file is damaged. Restore it from a backup; nothing is re-made silently.
    #[error("{store} is damaged ({detail}); restore it from a backup (bellwether-server restore)")]
    Damaged {
        /// The file, or the data base and where it is.
        store: String,
        /// What the check found first.
        detail: String,
    },
    /// The file is a data base of some other program.
    #[error("{store} is a data base, but not one of this server")]
    Foreign {
        /// The file, or the data base and where it is.
        store: String,
    },
    /// Another server works on the data base.
    #[error(
        "{store} is in use by another server; stop that one, or give this one a data base of its own. A server whose machine \
         vanished is missed within half a minute"
    )]
    InUse {
        /// The data base and where it is.
        store: String,
    },
    /// A later version of the server has written this file. Use that version.
    #[error(
        "{store} has schema {found}{}, this server ({}) knows schemas up to {known}; use the later server",
        by.as_ref().map(|by| format!(", made by {by}")).unwrap_or_default(),
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The file, or the data base and where it is.
        store: String,
        /// Its schema.
        found: i64,
        /// The last schema this program knows.
        known: i64,
        /// Which program made that schema, where that is written down.
        by: Option<String>,
    },
    /// The schema could not be brought up to date.
    #[error("{store} could not be migrated")]
    Migrate {
        /// The file, or the data base and where it is.
        store: String,
        /// The cause.
        #[source]
        source: Source,
    },
    /// Somebody else holds a lock on the data base that a step of the schema needs.
    #[error(
        "{store} could not be migrated: {waited_s} seconds were waited for {holder}, which holds a lock on it. Start again once \
         that is done, or end it as PostgreSQL's administrator: SELECT pg_terminate_backend(PROCESS)"
    )]
    Locked {
        /// The data base and where it is.
        store: String,
        /// Who holds it, as far as PostgreSQL tells.
        holder: String,
        /// How long it was waited.
        waited_s: u64,
    },
    /// The URL of the data base can't be read.
    #[error(
        "the URL of the data base can't be read: {reason}; it is postgres://USER:PASSWORD@HOST:PORT/NAME"
    )]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// PostgreSQL is there and has no such data base.
    #[error("{store} does not exist; make it with createdb, owned by the server's user")]
    NoDatabase {
        /// The data base and where it is.
        store: String,
    },
    /// PostgreSQL is there and does not let this user in.
    #[error(
        "{store} refuses the user or the password: that of the URL, or of ~/.pgpass, which must have mode 600"
    )]
    Login {
        /// The data base and where it is.
        store: String,
    },
    /// The store could not be reached: folder missing, no permission, disk full, nobody listening.
    #[error("{store} could not be opened")]
    Unreachable {
        /// The file, or the data base and where it is.
        store: String,
        /// The cause.
        #[source]
        source: Source,
    },
}
