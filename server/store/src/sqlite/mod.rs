//! The store in one SQLite file.
//!
//! WAL with `synchronous = FULL`: a returned write survives a power cut. One connection writes, so writers queue here
//! and not at SQLite's lock; a few others read, each from the last commit. One server at a time uses the file.

mod alarm;
mod campaign;
mod catalogue;
mod device;
mod event;
mod gateway;
mod identity;
mod ledger;
mod open;
mod operators;
mod publication;
mod resource;
mod session;
mod settings;
mod snapshot;
mod track;
mod value;
mod wal;

use std::path::Path;

use sqlx::{Sqlite, SqlitePool, Transaction};

use crate::error::{OpenError, StoreError};
use value::backend;

pub use snapshot::{Snapshot, SnapshotError, snapshot};

/// Keeps everything in one SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
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
}

#[async_trait::async_trait]
impl crate::Store for SqliteStore {
    async fn close(&self) {
        Self::close(self).await;
    }
}
