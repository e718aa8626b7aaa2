//! The lease of the one server that works on a data base: a lock of a connection of its own, which PostgreSQL takes back
//! by itself when that connection ends, however it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::bounds::{CONNECTION_WAIT_MS, LEASE_LOOK_MS, LEASE_WAIT_MS};
use crate::error::{StorageFault, StoreError};

/// A lease, held or being taken again; given up when this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    is_held: Arc<AtomicBool>,
    keeper: JoinHandle<()>,
}

/// Why nothing is written.
#[derive(Clone, Copy, Debug, Error)]
#[error(
    "the lock of the server that works on the data base is lost: its connection has ended, or another server has it now; \
     it is asked for again, stop the other one"
)]
struct NotHeld;

impl Lease {
    /// Takes the lease; `None` where another server has it and keeps it.
    pub(super) async fn take(options: PgConnectOptions) -> Result<Option<Self>, sqlx::Error> {
        // One that was killed a moment ago has it until PostgreSQL sees that its connection has ended.
        for _ in 0..LEASE_WAIT_MS / LEASE_RETRY_MS {
            if let Some(connection) = try_take(&options).await? {
                return Ok(Some(Self::kept(options, connection)));
            }
            sleep(Duration::from_millis(LEASE_RETRY_MS)).await;
        }
        Ok(None)
    }

    fn kept(options: PgConnectOptions, connection: PgConnection) -> Self {
        let is_held = Arc::new(AtomicBool::new(true));
        let keeper = tokio::spawn(keep(options, connection, Arc::clone(&is_held)));
        Self { is_held, keeper }
    }

    /// Tells whether the lease is held, as far as was seen last.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.is_held.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(StoreError::Backend(StorageFault::Away(NotHeld.into()).into()))
    }

    /// Gives it up.
    pub(super) fn end(&self) {
        self.keeper.abort();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end();
    }
}

async fn try_take(options: &PgConnectOptions) -> Result<Option<PgConnection>, sqlx::Error> {
    let mut connection = options.connect().await?;
    let is_taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(SERVER_LOCK)
        .fetch_one(&mut connection)
        .await?;
    Ok(is_taken.then_some(connection))
}

/// Looks whether the connection stands, and takes the lease again where it does not.
async fn keep(options: PgConnectOptions, mut connection: PgConnection, is_held: Arc<AtomicBool>) {
    let look = Duration::from_millis(LEASE_LOOK_MS);
    let answer_within = Duration::from_millis(CONNECTION_WAIT_MS);
    loop {
        sleep(look).await;
        if matches!(timeout(answer_within, connection.ping()).await, Ok(Ok(()))) {
            continue;
        }
        is_held.store(false, Ordering::Relaxed);
        connection = loop {
            if let Ok(Ok(Some(taken))) = timeout(answer_within, try_take(&options)).await {
                break taken;
            }
            sleep(look).await;
        };
        is_held.store(true, Ordering::Relaxed);
    }
}

/// Between two tries at a start.
const LEASE_RETRY_MS: u64 = 100;

/// "BWSV"; locks of this kind are counted per data base.
const SERVER_LOCK: i64 = 0x4257_5356;
