//! Copies of the file for backups, made while a server writes to it; and what a copy needs before it is used again.

use std::fs::File;
use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions, Connection, SqliteConnection};
use thiserror::Error;

use super::SqliteStore;
use super::failed::backend;
use super::fault::fault;
use super::open;
use crate::Digest;
use crate::columns::digest;
use crate::error::{OpenError, Source, StoreError};

/// What a copy of the data base refers to in the folder of images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Images of releases: nobody else has them.
    pub images: Vec<Digest>,
    /// Contents of resources: made again where they are missing, under new keys.
    pub contents: Vec<Digest>,
    /// Last migration of its schema.
    pub schema: i64,
}

/// Why no copy was made; nothing is left of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// There is no data base, or it is damaged, foreign or newer.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy can't be written, or what is copied can't be read.
    #[error("{} could not be copied to {}", from.display(), to.display())]
    Copy {
        /// The data base.
        from: PathBuf,
        /// The copy.
        to: PathBuf,
        /// The cause.
        #[source]
        source: Source,
    },
}

/// Copies the data base at `from`, as it was at one commit, to `to`, which must not exist; mode 0600, on disk when
/// this returns. Servers may write meanwhile. Nothing that was deleted is in the copy.
///
/// # Errors
///
/// See [`SnapshotError`].
pub async fn snapshot(from: &Path, to: &Path) -> Result<Snapshot, SnapshotError> {
    let failed = |source: Source| SnapshotError::Copy { from: from.to_owned(), to: to.to_owned(), source };
    let mut connection = open::reader(from).await?;
    open::make_private_file(to).map_err(|cause| failed(cause.into()))?;
    let copied = match copy(&mut connection, to).await {
        Ok(()) => File::open(to).and_then(|file| file.sync_all()).map_err(Source::from),
        Err(cause) => Err(fault(cause)),
    };
    let read = match copied {
        Ok(()) => contents(to).await.map_err(Source::from),
        Err(cause) => Err(cause),
    };
    read.map_err(|cause| {
        // Half a copy is of no use; that it can't be taken away is the smaller trouble.
        let _ = std::fs::remove_file(to);
        failed(cause)
    })
}

/// `VACUUM INTO` reads in one transaction: it sees one commit, and in WAL mode it holds nobody up.
async fn copy(connection: &mut SqliteConnection, to: &Path) -> Result<(), sqlx::Error> {
    let path = to.to_str().ok_or_else(|| sqlx::Error::Configuration("the path is not UTF-8".into()))?;
    sqlx::query("VACUUM INTO ?").bind(path).execute(connection).await.map(drop)
}

async fn contents(copy: &Path) -> Result<Snapshot, StoreError> {
    // Immutable: the copy is nobody else's, so no side file is made.
    let mut connection =
        open::options(copy).read_only(true).immutable(true).connect().await.map_err(backend)?;
    let images = digests(&mut connection, "SELECT DISTINCT digest FROM release ORDER BY digest").await?;
    let contents = digests(&mut connection, "SELECT DISTINCT content FROM resource ORDER BY content").await?;
    let schema = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&mut connection)
        .await
        .map_err(backend)?;
    connection.close().await.map_err(backend)?;
    Ok(Snapshot { images, contents, schema })
}

async fn digests(connection: &mut SqliteConnection, select: &'static str) -> Result<Vec<Digest>, StoreError> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar(select).fetch_all(connection).await.map_err(backend)?;
    rows.into_iter().map(|row| digest(row, "digest of an image")).collect()
}

impl SqliteStore {
    /// Takes away what must not be used twice: sessions that a copy of the data base has, and the original had too.
    ///
    /// # Errors
    ///
    /// [`StoreError::Backend`].
    pub async fn forget_sessions(&self) -> Result<(), StoreError> {
        let kept: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'session'",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(backend)?;
        if kept > 0 {
            sqlx::query("DELETE FROM session").execute(&self.writer).await.map_err(backend)?;
        }
        Ok(())
    }
}
