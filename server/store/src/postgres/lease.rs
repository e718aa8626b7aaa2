//! The lease of the one server that works on a data base: a lock of a connection of its own, which PostgreSQL takes back
//! by itself when that connection ends, however it ends.
//!
//! Whoever writes looks whether that connection has the lock still, behind the lock of the one who writes; whoever takes the
//! lease waits for that lock once. So nothing is written under a lease that another server has taken since, however late the
//! loss is noticed.
//!
//! Each server that begins counts up. One that lost its lease and finds that another has begun since does not go on: what it
//! has in memory is not what stands there any more.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::WRITER_LOCK;
use super::failed::backend;
use super::line::{Pool, Transaction, silent};
use crate::bounds::{ANSWER_WAIT_MS, CONNECTION_WAIT_MS, LEASE_LOOK_MS, LEASE_WAIT_MS, OPENING_WAITS_MAX};
use crate::error::{StorageFault, StoreError};

/// A lease, held or being taken again; given up when this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    /// The process of PostgreSQL whose connection has the lock, as far as was seen last; [`NOBODY`] while it is lost.
    holder: Arc<AtomicI32>,
    term: Arc<Term>,
    /// Told whenever the data base does not answer.
    vanished: Arc<Notify>,
    keeper: JoinHandle<()>,
}

/// Which of all servers that ever worked on the data base this one is.
#[derive(Debug, Default)]
struct Term {
    /// 0 until it is counted.
    number: AtomicI64,
    /// Told once another has begun.
    superseded: Notify,
}

/// A connection that has the lock.
struct Taken {
    connection: PgConnection,
    holder: i32,
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
            if let Some(taken) = try_take(&options).await? {
                return Ok(Some(Self::kept(options, taken)));
            }
            sleep(Duration::from_millis(LEASE_RETRY_MS)).await;
        }
        Ok(None)
    }

    fn kept(options: PgConnectOptions, taken: Taken) -> Self {
        let (holder, term) = (Arc::new(AtomicI32::new(taken.holder)), Arc::<Term>::default());
        let vanished = Arc::new(Notify::new());
        let watch =
            Watch { holder: Arc::clone(&holder), term: Arc::clone(&term), vanished: Arc::clone(&vanished) };
        let keeper = tokio::spawn(watch.keep(options, taken.connection));
        Self { holder, term, vanished, keeper }
    }

    /// Tells whoever waits for an answer that none will come.
    pub(super) fn vanished(&self) -> Arc<Notify> {
        Arc::clone(&self.vanished)
    }

    /// Counts this server among those that worked on the data base, once its tables are there.
    pub(super) async fn begin_term(&self, writer: &Pool) -> Result<(), sqlx::Error> {
        let number: i64 = sqlx::query_scalar(
            "INSERT INTO counter (tenant, name, last) VALUES ('', 'server', 1) \
             ON CONFLICT (tenant, name) DO UPDATE SET last = counter.last + 1 RETURNING last",
        )
        .fetch_one(writer)
        .await?;
        self.term.number.store(number, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until another server has begun to work on the data base.
    pub(super) async fn superseded(&self) {
        self.term.superseded.notified().await;
    }

    /// Tells who has the lease for us, as far as was seen last.
    pub(super) fn holder(&self) -> Result<i32, StoreError> {
        match self.holder.load(Ordering::Relaxed) {
            NOBODY => Err(not_held()),
            holder => Ok(holder),
        }
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

/// Makes sure that a holder has the lease still, in a transaction that has the lock of the one who writes: whoever takes the
/// lease from here on waits for the end of that.
pub(super) async fn fence(tx: &mut Transaction<'_, Postgres>, holder: i32) -> Result<(), StoreError> {
    // The high half of a lock's number is its classid, the low half its objid.
    let is_held: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = $1 AND granted \
         AND classid = 0 AND objid::bigint = $2 AND objsubid = 1)",
    )
    .bind(holder)
    .bind(SERVER_LOCK)
    .fetch_one(&mut **tx)
    .await
    .map_err(backend)?;
    if is_held { Ok(()) } else { Err(not_held()) }
}

fn not_held() -> StoreError {
    StoreError::Backend(StorageFault::Away(NotHeld.into()).into())
}

/// Tries once; one who writes may be waited for, but not a data base that says nothing.
async fn try_take(options: &PgConnectOptions) -> Result<Option<Taken>, sqlx::Error> {
    let connection = timeout(OPENS_WITHIN, options.connect()).await.map_err(|_| silent())??;
    timeout(LOCKED_WITHIN, locked(connection)).await.map_err(|_| silent())?
}

async fn locked(mut connection: PgConnection) -> Result<Option<Taken>, sqlx::Error> {
    let (is_taken, holder): (bool, i32) = sqlx::query_as("SELECT pg_try_advisory_lock($1), pg_backend_pid()")
        .bind(SERVER_LOCK)
        .fetch_one(&mut connection)
        .await?;
    if !is_taken {
        return Ok(None);
    }
    // What was begun under the lease of another ends first. The lock goes with the statement.
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(WRITER_LOCK).execute(&mut connection).await?;
    Ok(Some(Taken { connection, holder }))
}

/// Tells whether another server has begun since the one of this term.
async fn is_superseded(options: &PgConnectOptions, term: &Term) -> Result<bool, sqlx::Error> {
    let own = term.number.load(Ordering::Relaxed);
    let mut connection = options.connect().await?;
    let last: Option<i64> =
        sqlx::query_scalar("SELECT last FROM counter WHERE tenant = '' AND name = 'server'")
            .fetch_optional(&mut connection)
            .await?;
    connection.close().await?;
    Ok(own > 0 && last != Some(own))
}

/// Who looks after a lease.
struct Watch {
    holder: Arc<AtomicI32>,
    term: Arc<Term>,
    vanished: Arc<Notify>,
}

impl Watch {
    /// Looks whether the connection stands, and takes the lease again where it does not; ends where another server has begun.
    async fn keep(self, options: PgConnectOptions, mut connection: PgConnection) {
        loop {
            sleep(LOOK).await;
            if matches!(self.within(connection.ping()).await, Some(Ok(()))) {
                continue;
            }
            self.holder.store(NOBODY, Ordering::Relaxed);
            let Some(taken) = self.take_again(&options).await else {
                return self.term.superseded.notify_one();
            };
            connection = taken.connection;
            self.holder.store(taken.holder, Ordering::Relaxed);
        }
    }

    /// Tries to take the lease until it has it; `None` where another server has begun.
    async fn take_again(&self, options: &PgConnectOptions) -> Option<Taken> {
        loop {
            // It may wait for one who writes, however long that takes: that it takes long does not say that nobody answers.
            let taken = timeout(ANSWER_WITHIN, try_take(options)).await;
            // Behind that: whoever begins from here on does not find the lease free.
            if matches!(self.within(is_superseded(options, &self.term)).await, Some(Ok(true))) {
                return None;
            }
            if let Ok(Ok(Some(taken))) = taken {
                return Some(taken);
            }
            sleep(LOOK).await;
        }
    }

    /// Waits for an answer; where there is none, tells those who wait for one.
    async fn within<T>(&self, asked: impl Future<Output = T>) -> Option<T> {
        let answer = timeout(ANSWER_WITHIN, asked).await.ok();
        if answer.is_none() {
            self.vanished.notify_waiters();
        }
        answer
    }
}

const LOOK: Duration = Duration::from_millis(LEASE_LOOK_MS);
const ANSWER_WITHIN: Duration = Duration::from_millis(CONNECTION_WAIT_MS);

/// As long as a store that is being opened waits for its first connection.
const OPENS_WITHIN: Duration = Duration::from_millis(CONNECTION_WAIT_MS * OPENING_WAITS_MAX as u64);
/// For each of the two statements.
const LOCKED_WITHIN: Duration = Duration::from_millis(2 * ANSWER_WAIT_MS);

/// No process has this number.
const NOBODY: i32 = 0;

/// Between two tries at a start.
const LEASE_RETRY_MS: u64 = 100;

/// "BWSV"; locks of this kind are counted per data base.
const SERVER_LOCK: i64 = 0x4257_5356;
