//! The store in one SQLite file.
//!
//! WAL with `synchronous = FULL`: a returned write survives a power cut. One connection writes, so writers queue here
//! and not at SQLite's lock; a few others read, each from the last commit. One server at a time uses the file.

/// The rows of a JSON array, as columns `key`, counted from 0, and `value`.
macro_rules! each {
    ($json:literal) => {
        concat!("json_each(", $json, ")")
    };
}

/// The strings of a JSON array, as a list that `IN` takes.
macro_rules! names {
    ($json:literal) => {
        concat!("(SELECT value FROM json_each(", $json, "))")
    };
}

/// The hexadecimal strings of a JSON array, as a list of blobs that `IN` takes.
macro_rules! digests {
    ($json:literal) => {
        concat!("(SELECT unhex(value) FROM json_each(", $json, "))")
    };
}

/// The strings of the JSON array of each row, as a table `each` with the column `value`.
macro_rules! elements {
    ($json:literal) => {
        concat!("json_each(", $json, ") AS each")
    };
}

/// The bytes of a hexadecimal string.
macro_rules! bytes_of {
    ($hex:literal) => {
        concat!("unhex(", $hex, ")")
    };
}

/// The greater of two numbers.
macro_rules! greatest {
    ($one:literal, $other:literal) => {
        concat!("max(", $one, ", ", $other, ")")
    };
}

/// The index that a statement goes by: without statistics, SQLite takes a tenant to have ten rows of a table, and reads
/// the whole of it rather than by an index that begins with the tenant, too.
macro_rules! by_index {
    ($index:literal) => {
        concat!(" INDEXED BY ", $index)
    };
}

/// What kind of event a row of the ledger is; an index stands on it word for word.
macro_rules! kind_of_body {
    () => {
        "body ->> '$.what.kind'"
    };
}

mod fault;
mod open;
mod snapshot;
mod wal;

#[path = "../sql/alarm.rs"]
mod alarm;
#[path = "../sql/background.rs"]
mod background;
#[cfg(any(test, feature = "conformance"))]
#[path = "../sql/bare.rs"]
mod bare;
#[path = "../sql/campaign.rs"]
mod campaign;
#[path = "../sql/catalogue.rs"]
mod catalogue;
#[path = "../sql/census.rs"]
mod census;
#[path = "../sql/device.rs"]
mod device;
#[path = "../sql/event.rs"]
mod event;
#[path = "../sql/failed.rs"]
mod failed;
#[path = "../sql/fleet.rs"]
mod fleet;
#[path = "../sql/gateway.rs"]
mod gateway;
#[path = "../sql/identity.rs"]
mod identity;
#[path = "../sql/import.rs"]
mod import;
#[path = "../sql/ledger.rs"]
mod ledger;
#[path = "../sql/operators.rs"]
mod operators;
#[path = "../sql/publication.rs"]
mod publication;
#[path = "../sql/resource.rs"]
mod resource;
#[path = "../sql/retention.rs"]
mod retention;
#[path = "../sql/retire.rs"]
mod retire;
#[path = "../sql/session.rs"]
mod session;
#[path = "../sql/settings.rs"]
mod settings;
#[path = "../sql/standing.rs"]
mod standing;
#[path = "../sql/track.rs"]
mod track;
#[path = "../sql/turn.rs"]
mod turn;

use std::path::Path;

use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::error::{OpenError, Schema, StorageFault, StoreError};
use failed::backend;

pub(crate) use open::reader;
pub use snapshot::{Snapshot, SnapshotError, snapshot};

// What the statements in `sql/` call the things of their data base.
type Db = Sqlite;
type Pool = SqlitePool;
type Connection = SqliteConnection;
type Arguments = sqlx::sqlite::SqliteArguments;
use SqliteStore as SqlStore;

/// Keeps everything in one SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    found: Schema,
    turns: turn::Turns,
}

impl SqliteStore {
    /// Opens the file, checks it, and brings its schema up to date; makes it, readable by its owner only, where there
    /// is none.
    ///
    /// The check reads the whole file: about a second for a gigabyte.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; an existing file that is not whole is never replaced or repaired.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        open::open(path).await
    }

    /// Tells the schema of a file without changing it; a server may be at work on it.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`], but for damage, of which it sees little.
    pub async fn schema(path: &Path) -> Result<Schema, OpenError> {
        open::schema(path).await
    }

    /// Tells the schema that was there when the store was opened; it is the one that is known now.
    #[must_use]
    pub fn found(&self) -> Schema {
        self.found
    }

    /// Waits for running calls and closes the file; the last connection brings the log into it and takes the log away.
    /// Dropping the store instead loses nothing that was acknowledged.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a transaction that holds the write lock from its first statement on.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        // A deferred transaction that reads first and then writes would fail instead of wait when another process
        // (a backup, a shell) has written in between.
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(backend)
    }

    /// Begins a transaction whose reads are all of one commit.
    async fn begin_read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.readers.begin().await.map_err(backend)
    }
}

/// Names what it means that a savepoint can't be set or gone back to: `SQLite` ends a transaction by itself where the disk
/// refuses a write in the middle of it.
fn without_savepoint(cause: sqlx::Error) -> StoreError {
    match fault::code(&cause) {
        Some(NO_SUCH_SAVEPOINT) => StoreError::Backend(StorageFault::Unwritable(cause.into()).into()),
        _ => backend(cause),
    }
}

/// `SQLITE_ERROR`, which it is said by.
const NO_SUCH_SAVEPOINT: i32 = 1;

#[async_trait::async_trait]
impl crate::Store for SqliteStore {
    async fn close(&self) {
        Self::close(self).await;
    }

    async fn superseded(&self) {
        // The folder is locked until its server ends.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::Sessions;
    use crate::tenant::Tenant;

    #[tokio::test]
    async fn names_that_nobody_keeps_do_not_wait_for_the_writer() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SqlStore::open(&dir.path().join("bellwether.db")).await.expect("opened");
        let (writing, tenant) = (store.begin().await.expect("the writer"), Tenant::default());
        let taken = store.take_sessions(&tenant, &[[1; 8], [2; 8]]);
        let taken = tokio::time::timeout(Duration::from_secs(20), taken).await.expect("it did not wait");
        assert_eq!(taken.expect("looked up"), []);
        drop(writing);
    }
}
