//! Connections on which every statement has a deadline.
//!
//! A data base whose machine vanishes says nothing any more, not even that its connections have ended, and the library waits for
//! an answer for as long as a connection stands. Here nobody does: whoever has no answer in time is told that the data base is
//! away, and the connection is given up, since whatever came over it later would answer an earlier question.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::bounds::{ANSWER_WAIT_MS, CONNECTION_WAIT_MS};

type Step = sqlx::Either<PgQueryResult, PgRow>;

/// Connections to the data base.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pool: PgPool,
    /// Told whenever the data base was found not to answer: who waits for it just now need not wait for the deadline.
    vanished: Arc<Notify>,
}

/// A connection while it is used.
#[derive(Debug)]
pub(crate) struct Line {
    /// There until it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    vanished: Arc<Notify>,
    /// Whether a statement has no answer yet.
    is_busy: bool,
    /// Whether a transaction is open that nobody will commit.
    is_given_up: bool,
}

/// A transaction; dropped, it is rolled back.
#[derive(Debug)]
pub(crate) struct Transaction<'c, DB> {
    line: Line,
    is_open: bool,
    of: PhantomData<(&'c (), DB)>,
}

impl Pool {
    /// Takes connections, and who tells that the data base does not answer.
    pub(super) fn new(pool: PgPool, vanished: Arc<Notify>) -> Self {
        Self { pool, vanished }
    }

    /// Waits for a connection.
    pub(super) async fn acquire(&self) -> Result<Line, sqlx::Error> {
        let connection = Some(self.pool.acquire().await?);
        let vanished = Arc::clone(&self.vanished);
        Ok(Line { connection, vanished, is_busy: false, is_given_up: false })
    }

    /// Begins a transaction by a statement.
    pub(super) async fn begin_with(
        &self,
        statement: &'static str,
    ) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut line = self.acquire().await?;
        line.answered(|connection| connection.execute(statement)).await?;
        Ok(Transaction { line, is_open: true, of: PhantomData })
    }

    /// Waits for what is under way, and closes all connections.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

impl Line {
    /// Waits for the answer to what is asked over the connection, up to the deadline.
    async fn answered<'l, T, F>(
        &'l mut self,
        ask: impl FnOnce(&'l mut PgConnection) -> F,
    ) -> Result<T, sqlx::Error>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let Self { connection, vanished, is_busy, .. } = self;
        let connection = connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        // Also where this is dropped in the middle.
        *is_busy = true;
        let vanished = pin!(vanished.notified());
        let asked = pin!(timeout(Duration::from_millis(ANSWER_WAIT_MS), ask(connection)));
        let outcome = match select(asked, vanished).await {
            Either::Left((Ok(outcome), _)) => outcome,
            Either::Left((Err(_), _)) | Either::Right(_) => return Err(silent()),
        };
        *is_busy = false;
        outcome
    }
}

/// That a data base does not answer, as the library says it of one whose connection has ended.
pub(super) fn silent() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the data base has not answered in time").into()
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.is_busy {
            // It can't go back: nobody knows when its answer comes.
            return connection.close_on_drop();
        }
        let Ok(runtime) = Handle::try_current() else { return drop(connection.detach()) };
        let is_given_up = self.is_given_up;
        runtime.spawn(async move {
            if is_given_up && !matches!(timeout(BACK_WITHIN, connection.execute("ROLLBACK")).await, Ok(Ok(_)))
            {
                return drop(connection.detach());
            }
            // The pool asks whether it stands, without a deadline, and counts it among those in use meanwhile.
            let _given_up = timeout(BACK_WITHIN, connection.return_to_pool()).await;
        });
    }
}

const BACK_WITHIN: Duration = Duration::from_millis(CONNECTION_WAIT_MS);

impl<DB> Transaction<'_, DB> {
    /// Keeps what was written.
    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.line.answered(|connection| connection.execute("COMMIT")).await?;
        self.is_open = false;
        Ok(())
    }

    /// Takes back what was written.
    pub(super) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.line.answered(|connection| connection.execute("ROLLBACK")).await?;
        self.is_open = false;
        Ok(())
    }

    /// The connection without a deadline, for whoever has the time: a table is copied by one statement.
    pub(crate) fn patient(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        let connection = self.line.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        Ok(&mut **connection)
    }
}

impl<DB> Deref for Transaction<'_, DB> {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.line
    }
}

impl<DB> DerefMut for Transaction<'_, DB> {
    fn deref_mut(&mut self) -> &mut Line {
        &mut self.line
    }
}

impl<DB> Drop for Transaction<'_, DB> {
    fn drop(&mut self) {
        self.line.is_given_up = self.is_open;
    }
}

impl<'c> Executor<'c> for &'c mut Line {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        // All of it: nobody here reads rows while more of them come.
        one_by_one(self.answered(|connection| connection.fetch_many(query).try_collect()))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(self.answered(|connection| connection.fetch_optional(query)))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(self.answered(move |connection| connection.prepare_with(sql, parameters)))
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(self.answered(move |connection| connection.describe(sql)))
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        one_by_one(async move {
            let mut line = self.acquire().await?;
            line.fetch_many(query).try_collect().await
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move { self.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.acquire().await?.describe(sql).await })
    }
}

/// The steps of a statement, as a stream.
fn one_by_one<'e>(
    all: impl Future<Output = Result<Vec<Step>, sqlx::Error>> + Send + 'e,
) -> BoxStream<'e, Result<Step, sqlx::Error>> {
    stream::once(all).map_ok(|steps| stream::iter(steps.into_iter().map(Ok))).try_flatten().boxed()
}
