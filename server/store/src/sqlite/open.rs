//! Opening the file: made whole or not at all, checked, migrated.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};

use super::turn::Turns;
use super::{SqliteStore, fault, wal};
use crate::bounds::{BUSY_WAIT_MS, READERS_MAX};
use crate::error::{OpenError, Schema, StorageFault, TAKEN_BY, taken_by};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

pub(super) async fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    let found = File::open(path);
    match found.and_then(|file| file.metadata()) {
        Ok(kept) if kept.len() == 0 => return Err(damaged(path, "it is empty")),
        Ok(_) => {}
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => make(path).await?,
        Err(cause) => return Err(unreachable_file(path, cause)),
    }
    match wal::damage(&beside(path, "-wal")) {
        Ok(None) => {}
        Ok(Some(detail)) => return Err(damaged(&beside(path, "-wal"), &detail)),
        Err(cause) => return Err(unreachable_file(path, cause)),
    }
    if !has_whole_pages(path).map_err(|cause| unreachable_file(path, cause))? {
        return Err(damaged(path, "its last page is cut short"));
    }
    let found = check(path).await?;
    let writer = connect_writer(path, found.found).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options(path).read_only(true))
        .await
        .map_err(|cause| classified(path, cause))?;
    Ok(SqliteStore { writer, readers, found, turns: Turns::default() })
}

/// Makes the file under another name and renames it, so that a half-made one is never taken for a store.
async fn make(path: &Path) -> Result<(), OpenError> {
    for remains in ["-wal", "-journal"].map(|suffix| beside(path, suffix)) {
        if remains.exists() {
            return Err(damaged(path, &format!("it is missing, but {} is here", remains.display())));
        }
    }
    let new = beside(path, ".new");
    for left_over in [new.clone(), beside(&new, "-journal")] {
        remove(&left_over).map_err(|cause| unreachable_file(path, cause))?;
    }
    make_private_file(&new).map_err(|cause| unreachable_file(path, cause))?;
    let mut connection = options(&new)
        .journal_mode(SqliteJournalMode::Delete)
        .connect()
        .await
        .map_err(|cause| classified(path, cause))?;
    migrate(path, &mut connection, None).await?;
    connection.close().await.map_err(|cause| classified(path, cause))?;
    publish(&new, path).map_err(|cause| unreachable_file(path, cause))
}

async fn connect_writer(path: &Path, found: Option<i64>) -> Result<SqlitePool, OpenError> {
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        // Where a write fails for want of room, SQLite ends the transaction by itself, and the connection still counts
        // it: no other one would ever begin on it.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .connect_with(options(path).journal_mode(SqliteJournalMode::Wal))
        .await
        .map_err(|cause| classified(path, cause))?;
    let mut connection = writer.acquire().await.map_err(|cause| classified(path, cause))?;
    migrate(path, &mut connection, found).await?;
    drop(connection);
    Ok(writer)
}

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // A seed that is destroyed is overwritten with zeros in its page, not only unlinked from it.
        .pragma("secure_delete", "FAST")
        .busy_timeout(Duration::from_millis(BUSY_WAIT_MS))
}

/// Tells whether the file ends with a page. SQLite takes the missing part of the last one for zeros, and its check finds
/// nothing wrong with what was lost. A file that is being copied back from the log may end anywhere: that is done again.
fn has_whole_pages(path: &Path) -> io::Result<bool> {
    let log = std::fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len());
    let mut head = [0; 18];
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if log > 0 || bytes < head.len() as u64 {
        return Ok(true);
    }
    io::Read::read_exact(&mut file, &mut head)?;
    let page = match u64::from(u16::from_be_bytes([head[16], head[17]])) {
        // As the format says it, since it does not fit.
        1 => 65_536,
        page => page,
    };
    // The check says what else is wrong with such a head.
    Ok(!page.is_power_of_two() || bytes.is_multiple_of(page))
}

/// Refuses a file that is damaged, foreign or newer, before anything is written to it: not even the journal mode.
async fn check(path: &Path) -> Result<Schema, OpenError> {
    let mut connection = reader(path).await?;
    let findings: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_all(&mut connection)
        .await
        .map_err(|cause| classified(path, cause))?;
    if findings != ["ok"] {
        // A finding has lines; a log has one an entry.
        return Err(damaged(path, &findings.join("; ").replace('\n', " ")));
    }
    let schema = check_schema(path, &mut connection).await?;
    // Dropped, it would end some time later: were it the last one, the log would stay beside a store that was closed, since
    // it can't write.
    connection.close().await.map_err(|cause| classified(path, cause))?;
    Ok(schema)
}

/// Opens a file of ours for reading alone.
pub(crate) async fn reader(path: &Path) -> Result<SqliteConnection, OpenError> {
    let mut connection =
        options(path).read_only(true).connect().await.map_err(|cause| classified(path, cause))?;
    let application: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut connection)
        .await
        .map_err(|cause| classified(path, cause))?;
    if application == APPLICATION_ID {
        Ok(connection)
    } else {
        Err(OpenError::Foreign { store: path.display().to_string() })
    }
}

/// Tells the schema of a file of ours, which may be at work.
pub(super) async fn schema(path: &Path) -> Result<Schema, OpenError> {
    let mut connection = reader(path).await?;
    let schema = check_schema(path, &mut connection).await?;
    connection.close().await.map_err(|cause| classified(path, cause))?;
    Ok(schema)
}

async fn check_schema(path: &Path, connection: &mut SqliteConnection) -> Result<Schema, OpenError> {
    let last: Option<(i64, String)> =
        sqlx::query_as("SELECT version, description FROM _sqlx_migrations ORDER BY version DESC LIMIT 1")
            .fetch_optional(connection)
            .await
            .map_err(|cause| classified(path, cause))?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    match last {
        Some((found, description)) if found > known => {
            let by = taken_by(&description);
            Err(OpenError::Newer { store: path.display().to_string(), found, known, by })
        }
        last => Ok(Schema { found: last.map(|(found, _)| found), known }),
    }
}

async fn migrate(
    path: &Path,
    connection: &mut SqliteConnection,
    found: Option<i64>,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Migrate { store: path.display().to_string(), source };
    MIGRATIONS.run(&mut *connection).await.map_err(|cause| failed(cause.into()))?;
    // A server that is too old for this schema says which one it needs.
    sqlx::query("UPDATE _sqlx_migrations SET description = description || $1 WHERE version > $2")
        .bind(TAKEN_BY)
        .bind(found.unwrap_or(0))
        .execute(connection)
        .await
        .map(drop)
        .map_err(|cause| failed(fault::fault(cause)))
}

/// Tells damage from a file that cannot be reached.
fn classified(path: &Path, cause: sqlx::Error) -> OpenError {
    match fault::code(&cause) {
        Some(code) if fault::is_damage(code) => damaged(path, &cause.to_string()),
        _ => OpenError::Unreachable { store: path.display().to_string(), source: fault::fault(cause) },
    }
}

fn damaged(path: &Path, detail: &str) -> OpenError {
    OpenError::Damaged { store: path.display().to_string(), detail: detail.into() }
}

fn unreachable_file(path: &Path, cause: io::Error) -> OpenError {
    OpenError::Unreachable { store: path.display().to_string(), source: StorageFault::named(cause) }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// Makes an empty file that only its owner can read; SQLite gives its side files the same mode.
pub(super) fn make_private_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Renames the finished file into place, durably.
fn publish(new: &Path, path: &Path) -> io::Result<()> {
    File::open(new)?.sync_all()?;
    std::fs::rename(new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    #[cfg(unix)]
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// "BWST", as the first migration writes it.
const APPLICATION_ID: i64 = 0x4257_5354;
