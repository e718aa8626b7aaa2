//! A store of SQLite, taken over into PostgreSQL: all rows of all tables in one transaction, and compared before it ends.
//!
//! Sleeping DTLS sessions stay behind: two servers that went on with one would use its numbers twice. Their devices shake
//! hands once.

use std::path::Path;

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, QueryBuilder, Row, SqliteConnection};
use thiserror::Error;

use crate::Digest;
use crate::bounds::{STATEMENT_BYTES_MAX, STATEMENT_VALUES_MAX};
use crate::error::{OpenError, Source};
use crate::postgres::PostgresStore;
use crate::sqlite::{self, SqliteStore};

/// What was copied of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
}

/// Why nothing was copied; the target is as it was, but for its empty tables.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// See [`OpenError`].
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is something in the target.
    #[error("the target is not empty: its table {0} has rows; name an empty data base")]
    NotEmpty(&'static str),
    /// What was written is not what is read back.
    #[error("the rows of {0} read back otherwise than they were written; nothing was kept of them")]
    Differs(&'static str),
    /// A data base failed.
    #[error("a data base failed at the table {table}")]
    Backend {
        /// Which table.
        table: &'static str,
        /// The cause.
        #[source]
        source: Source,
    },
}

/// Copies the store in a file of SQLite, which no server uses, into an empty data base of PostgreSQL, and compares each
/// table by count and digest before anything is kept. `say` is told each table once it is done.
///
/// # Errors
///
/// See [`CopyError`].
pub async fn copy(path: &Path, url: &str, say: impl Fn(&Copied)) -> Result<Vec<Copied>, CopyError> {
    // Brings the file to the schema that the target has.
    SqliteStore::open(path).await?.close().await;
    let target = PostgresStore::open(url).await?;
    let mut source = sqlite::reader(path).await?;
    let mut tx = target.begin().await.map_err(|cause| failed("event", cause))?;
    // A table is read back by one statement, however long it is; and a slow disk may keep the next one waiting.
    for patient in ["SET LOCAL statement_timeout = 0", "SET LOCAL idle_in_transaction_session_timeout = 0"] {
        sqlx::query(patient).execute(&mut *tx).await.map_err(|cause| failed("event", cause))?;
    }
    let patient = tx.patient().map_err(|cause| failed("event", cause))?;
    let mut done = Vec::new();
    for table in &TABLES {
        let copied = copy_table(&mut source, patient, table).await?;
        say(&copied);
        done.push(copied);
    }
    tx.commit().await.map_err(|cause| failed("event", cause))?;
    target.close().await;
    Ok(done)
}

async fn copy_table(
    source: &mut SqliteConnection,
    target: &mut PgConnection,
    table: &Table,
) -> Result<Copied, CopyError> {
    let name = table.name;
    let columns = columns(target, name).await?;
    let list: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let text = format!("SELECT {} FROM {name} ORDER BY {}", list.join(", "), table.key);
    if digest_of_target(target, &text, &columns, name).await?.0 > 0 {
        return Err(CopyError::NotEmpty(name));
    }
    let (mut rows, mut hash, mut waiting, mut bytes) = (0, Sha256::new(), Vec::new(), 0);
    let mut found = sqlx::query(AssertSqlSafe(text.clone())).fetch(source);
    while let Some(row) = found.try_next().await.map_err(|cause| failed(name, cause))? {
        let row = read_source(&row, &columns).map_err(|cause| failed(name, cause))?;
        for value in &row {
            value.add_to(&mut hash);
        }
        rows += 1;
        bytes += row.iter().map(Value::bytes).sum::<usize>();
        waiting.push(row);
        if waiting.len() * columns.len() >= STATEMENT_VALUES_MAX || bytes >= STATEMENT_BYTES_MAX {
            insert(target, name, &list, &columns, std::mem::take(&mut waiting)).await?;
            bytes = 0;
        }
    }
    insert(target, name, &list, &columns, waiting).await?;
    let written: Digest = hash.finalize().into();
    if digest_of_target(target, &text, &columns, name).await? != (rows, written) {
        return Err(CopyError::Differs(name));
    }
    Ok(Copied { table: name, rows })
}

async fn insert(
    target: &mut PgConnection,
    table: &'static str,
    list: &[&str],
    columns: &[Column],
    rows: Vec<Vec<Value>>,
) -> Result<(), CopyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Postgres>::new(format!("INSERT INTO {table} ({}) ", list.join(", ")));
    query.push_values(rows, |mut places, row| {
        for (value, column) in row.into_iter().zip(columns) {
            match (value, column.kind) {
                (Value::Null, Kind::Number) => places.push_bind(None::<i64>),
                (Value::Null, Kind::Flag) => places.push_bind(None::<bool>),
                (Value::Null, Kind::Text) => places.push_bind(None::<String>),
                (Value::Null, Kind::Bytes) => places.push_bind(None::<Vec<u8>>),
                (Value::Number(number), Kind::Flag) => places.push_bind(number != 0),
                (Value::Number(number), _) => places.push_bind(number),
                (Value::Text(text), _) => places.push_bind(text),
                (Value::Bytes(bytes), _) => places.push_bind(bytes),
            };
        }
    });
    query.build().execute(target).await.map_err(|cause| failed(table, cause))?;
    Ok(())
}

/// Counts and hashes what a query gives, in its order.
async fn digest_of_target(
    target: &mut PgConnection,
    text: &str,
    columns: &[Column],
    table: &'static str,
) -> Result<(u64, Digest), CopyError> {
    let (mut rows, mut hash) = (0, Sha256::new());
    let mut found = sqlx::query(AssertSqlSafe(text.to_owned())).fetch(target);
    while let Some(row) = found.try_next().await.map_err(|cause| failed(table, cause))? {
        let row = read_target(&row, columns).map_err(|cause| failed(table, cause))?;
        for value in &row {
            value.add_to(&mut hash);
        }
        rows += 1;
    }
    Ok((rows, hash.finalize().into()))
}

/// A column, and what is in it.
struct Column {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Number,
    Flag,
    Text,
    Bytes,
}

async fn columns(target: &mut PgConnection, table: &'static str) -> Result<Vec<Column>, CopyError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT column_name::text, data_type::text FROM information_schema.columns \
         WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
    )
    .bind(table)
    .fetch_all(target)
    .await
    .map_err(|cause| failed(table, cause))?;
    let read = |(name, kind): (String, String)| {
        let kind = match kind.as_str() {
            "bigint" => Kind::Number,
            "boolean" => Kind::Flag,
            "text" => Kind::Text,
            "bytea" => Kind::Bytes,
            other => return Err(failed(table, format!("a column of the type {other}"))),
        };
        Ok(Column { name, kind })
    };
    rows.into_iter().map(read).collect()
}

/// A value as both data bases have it: SQLite has no truth values, and counts them.
#[derive(Debug)]
enum Value {
    Null,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Null | Self::Number(_) => 8,
        }
    }

    /// Adds it so that no two rows of other values add the same bytes.
    fn add_to(&self, hash: &mut Sha256) {
        let (kind, bytes) = match self {
            Self::Null => (0_u8, &[][..]),
            Self::Number(number) => (1, &number.to_be_bytes()[..]),
            Self::Text(text) => (2, text.as_bytes()),
            Self::Bytes(bytes) => (3, &bytes[..]),
        };
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }

    fn of(
        kind: Kind,
        number: impl FnOnce() -> Result<Option<i64>, sqlx::Error>,
        text: impl FnOnce() -> Result<Option<String>, sqlx::Error>,
        bytes: impl FnOnce() -> Result<Option<Vec<u8>>, sqlx::Error>,
    ) -> Result<Self, sqlx::Error> {
        let value = match kind {
            Kind::Number | Kind::Flag => number()?.map(Self::Number),
            Kind::Text => text()?.map(Self::Text),
            Kind::Bytes => bytes()?.map(Self::Bytes),
        };
        Ok(value.unwrap_or(Self::Null))
    }
}

fn read_source(row: &SqliteRow, columns: &[Column]) -> Result<Vec<Value>, sqlx::Error> {
    let read = |(at, column): (usize, &Column)| {
        Value::of(column.kind, || row.try_get(at), || row.try_get(at), || row.try_get(at))
    };
    columns.iter().enumerate().map(read).collect()
}

fn read_target(row: &PgRow, columns: &[Column]) -> Result<Vec<Value>, sqlx::Error> {
    let read = |(at, column): (usize, &Column)| {
        let number = || match column.kind {
            Kind::Flag => Ok(row.try_get::<Option<bool>, _>(at)?.map(i64::from)),
            _ => row.try_get(at),
        };
        Value::of(column.kind, number, || row.try_get(at), || row.try_get(at))
    };
    columns.iter().enumerate().map(read).collect()
}

fn failed(table: &'static str, source: impl Into<Source>) -> CopyError {
    CopyError::Backend { table, source: source.into() }
}

/// A table, and in which order its rows are compared: by its key, since both data bases order bytes alike.
struct Table {
    name: &'static str,
    key: &'static str,
}

/// Every table but `session`, those that others refer to first.
const TABLES: [Table; 30] = [
    Table { name: "counter", key: "tenant, name" },
    Table { name: "setting", key: "tenant, name" },
    Table { name: "anchors", key: "tenant, edition" },
    Table { name: "restore", key: "tenant" },
    Table { name: "publication", key: "tenant" },
    Table { name: "gateway", key: "tenant, name" },
    Table { name: "device", key: "tenant, endpoint" },
    Table { name: "device_count", key: "tenant, class, hour" },
    Table { name: "identity", key: "tenant, id" },
    Table { name: "epoch", key: "tenant, id, epoch" },
    Table { name: "contact", key: "tenant, endpoint" },
    Table { name: "device_tag", key: "tenant, endpoint, tag" },
    Table { name: "running", key: "tenant, endpoint, component" },
    Table { name: "import", key: "tenant, id" },
    Table { name: "import_row", key: "tenant, import, line" },
    Table { name: "unit_due", key: "tenant, import, line" },
    Table { name: "ledger_cut", key: "tenant" },
    Table { name: "census", key: "tenant" },
    Table { name: "census_running", key: "tenant, endpoint" },
    Table { name: "census_change", key: "tenant, hour, class, image" },
    Table { name: "manifest", key: "tenant, digest" },
    Table { name: "release", key: "tenant, id" },
    Table { name: "resource", key: "tenant, target, base, algorithm, mode, recipient" },
    Table { name: "campaign", key: "tenant, id" },
    Table { name: "track", key: "tenant, campaign, endpoint" },
    Table { name: "track_count", key: "tenant, campaign, class, stage, failed_once, reason" },
    Table { name: "bundle", key: "tenant, gateway, campaign" },
    Table { name: "alarm", key: "tenant, day, kind, subject" },
    Table { name: "command", key: "tenant, request_id" },
    Table { name: "event", key: "tenant, seq" },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test]
    async fn no_table_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bellwether.db");
        SqliteStore::open(&path).await.unwrap().close().await;
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '_sqlx%'",
        )
        .fetch_all(&mut sqlite::reader(&path).await.unwrap())
        .await
        .unwrap();
        let copied: BTreeSet<&str> = TABLES.iter().map(|table| table.name).chain(["session"]).collect();
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), copied);
    }
}
