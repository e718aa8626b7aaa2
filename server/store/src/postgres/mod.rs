//! The store in a PostgreSQL data base.
//!
//! One server works on a data base at a time, by a lease; others may read it, copy to it, or migrate it. As with SQLite one transaction writes at a time, by an advisory lock
//! that it holds until its commit: the ledger's numbers have no gaps and appear in their order, no transaction can fail
//! for the sake of another, and none waits for one that waits for it. What is acknowledged is in PostgreSQL's log on disk.

/// The rows of a JSON array, as columns `key`, counted from 0, and `value`.
macro_rules! each {
    ($json:literal) => {
        concat!(
            "(SELECT nth - 1 AS key, value FROM jsonb_array_elements(",
            $json,
            "::jsonb) WITH ORDINALITY AS nths (value, nth)) AS each"
        )
    };
}

/// The strings of a JSON array, as a list that `IN` takes.
macro_rules! names {
    ($json:literal) => {
        concat!("(SELECT jsonb_array_elements_text(", $json, "::jsonb))")
    };
}

/// The hexadecimal strings of a JSON array, as a list of blobs that `IN` takes.
macro_rules! digests {
    ($json:literal) => {
        concat!("(SELECT decode(jsonb_array_elements_text(", $json, "::jsonb), 'hex'))")
    };
}

/// The strings of the JSON array of each row, as a table `each` with the column `value`.
macro_rules! elements {
    ($json:literal) => {
        concat!("jsonb_array_elements_text(", $json, "::jsonb) AS each (value)")
    };
}

/// The bytes of a hexadecimal string.
macro_rules! bytes_of {
    ($hex:literal) => {
        concat!("decode(", $hex, ", 'hex')")
    };
}

/// The greater of two numbers.
macro_rules! greatest {
    ($one:literal, $other:literal) => {
        concat!("greatest(", $one, ", ", $other, ")")
    };
}

/// The index that a statement goes by: this data base knows its tables well enough to choose it.
macro_rules! by_index {
    ($index:literal) => {
        ""
    };
}

/// What kind of event a row of the ledger is; an index stands on it word for word.
macro_rules! kind_of_body {
    () => {
        "body::jsonb #>> '{what,kind}'"
    };
}

mod fault;
mod lease;
mod line;
mod migrate;
mod open;

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

use std::sync::Arc;

use sqlx::Postgres;

use crate::error::{OpenError, Schema, StoreError};
use failed::backend;
use line::{Pool, Transaction};

// What the statements in `sql/` call the things of their data base.
type Db = Postgres;
type Connection = line::Line;
type Arguments = sqlx::postgres::PgArguments;
use PostgresStore as SqlStore;

/// Keeps everything in a PostgreSQL data base.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    writer: Pool,
    readers: Pool,
    found: Schema,
    turns: turn::Turns,
    /// Held by the server that works on the data base.
    lease: Option<Arc<lease::Lease>>,
}

impl PostgresStore {
    /// Connects to the data base of a URL (`postgres://USER:PASSWORD@HOST/NAME`) and brings its schema up to date.
    ///
    /// Without an `sslmode` in the URL, a data base on another machine must show a certificate that is valid for its
    /// name. Of several servers that start at once one migrates, and the others wait for it.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; errors name the data base without its password.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        open::open(url).await
    }

    /// Opens as [`PostgresStore::open`] does, as the one server that works on the data base until [`PostgresStore::close`] or
    /// its end; where its connection ends, nothing is written until it has the data base again.
    ///
    /// # Errors
    ///
    /// [`OpenError::InUse`] where another server works on it.
    pub async fn serve(url: &str) -> Result<Self, OpenError> {
        open::serve(url).await
    }

    /// Reads a URL without connecting.
    ///
    /// # Errors
    ///
    /// [`OpenError::Url`] says what is wrong with it, without it.
    pub fn check_url(url: &str) -> Result<(), OpenError> {
        open::options(url).map(drop)
    }

    /// Connects, and tells the schema of a data base without changing it; servers may be at work on it.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`].
    pub async fn schema(url: &str) -> Result<Schema, OpenError> {
        open::schema(url).await
    }

    /// Tells the schema that was there when the store was opened; it is the one that is known now.
    #[must_use]
    pub fn found(&self) -> Schema {
        self.found
    }

    /// Waits for running calls and closes the connections. Dropping the store instead loses nothing that was
    /// acknowledged.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        if let Some(lease) = &self.lease {
            lease.end();
        }
    }

    /// Begins a transaction that is the only one that writes until it ends.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let holder = self.lease.as_ref().map(|lease| lease.holder()).transpose()?;
        let mut tx = self.writer.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await.map_err(backend)?;
        // Statements behind it see what was committed before the lock was given.
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(WRITER_LOCK)
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        if let Some(holder) = holder {
            lease::fence(&mut tx, holder).await?;
        }
        Ok(tx)
    }

    /// Begins a transaction whose reads are all of one commit.
    async fn begin_read(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        self.readers.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(backend)
    }
}

/// A savepoint that can't be set or gone back to says what is wrong itself.
fn without_savepoint(cause: sqlx::Error) -> StoreError {
    backend(cause)
}

#[async_trait::async_trait]
impl crate::Store for PostgresStore {
    async fn close(&self) {
        Self::close(self).await;
    }

    async fn superseded(&self) {
        match &self.lease {
            Some(lease) => lease.superseded().await,
            None => std::future::pending::<()>().await,
        }
    }
}

/// "BWST": locks of this kind are counted per data base, so that stores in others do not wait for it.
const WRITER_LOCK: i64 = 0x4257_5354;
