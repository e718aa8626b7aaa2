//! Bringing the schema up to date. A step may take as long as it takes: it builds an index on all that there is. What it may
//! not is wait without a word, or for good: for a data base that says nothing any more, or for somebody who hangs with a lock
//! in his hand.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use sqlx::migrate::MigrateError;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, PgPool};
use tokio::time::{sleep, timeout};

use super::fault;
use super::line::silent;
use super::open::{MIGRATIONS, unreachable};
use crate::bounds::{ANSWER_WAIT_MS, LEASE_LOOK_MS, SCHEMA_TOLD_MS};
use crate::error::{OpenError, Schema, TAKEN_BY};

/// Takes the steps that are missing; waits for so long at most for each lock that somebody else holds.
///
/// Of several servers that come at once one takes them, and the others find them taken.
pub(super) async fn migrate(
    name: &str,
    pool: &PgPool,
    schema: Schema,
    lock_wait: Duration,
) -> Result<(), OpenError> {
    if let Some(found) = schema.found.filter(|found| *found < schema.known) {
        tracing::info!("bringing {name} from schema {found} to {}", schema.known);
    }
    let mut taker = pool.acquire().await.map_err(|cause| unreachable(name, cause))?;
    // What it is set to is for the steps alone.
    taker.close_on_drop();
    let mut look = pool.acquire().await.map_err(|cause| unreachable(name, cause))?;
    let prepared = timeout(ANSWER_WITHIN, without_deadline(&mut taker, lock_wait));
    let process =
        prepared.await.unwrap_or_else(|_| Err(silent())).map_err(|cause| unreachable(name, cause))?;
    let held_up = HeldUp::default();
    let taking = pin!(take(&mut taker, schema.found));
    let watched = pin!(held_up.watch(name, &mut look, process));
    match select(taking, watched).await {
        Either::Left((outcome, _)) => outcome.map_err(|cause| refused(name, cause, &held_up, lock_wait)),
        Either::Right((cause, _)) => Err(unreachable(name, cause)),
    }
}

/// Sets a connection to what steps need, and tells the process of PostgreSQL behind it.
async fn without_deadline(taker: &mut PgConnection, lock_wait: Duration) -> Result<i32, sqlx::Error> {
    let milliseconds = lock_wait.as_millis();
    // A step goes through whole tables, which is the fastest way to do so.
    let set =
        format!("SET statement_timeout = 0; SET lock_timeout = {milliseconds}; SET enable_seqscan = on");
    taker.execute(AssertSqlSafe(set)).await?;
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(taker).await
}

async fn take(taker: &mut PgConnection, found: Option<i64>) -> Result<(), MigrateError> {
    // As `run` does, which the compiler takes for one that can't be sent to another thread.
    MIGRATIONS.run_direct(None, &mut *taker, false).await?;
    // A server that is too old for this schema says which one it needs. Another server may have taken the steps, and
    // said so, since this one looked.
    sqlx::query(
        "UPDATE _sqlx_migrations SET description = description || $1 \
         WHERE version > $2 AND description NOT LIKE '% (bellwether-server %'",
    )
    .bind(TAKEN_BY)
    .bind(found.unwrap_or(0))
    .execute(taker)
    .await?;
    Ok(())
}

fn refused(name: &str, cause: MigrateError, held_up: &HeldUp, lock_wait: Duration) -> OpenError {
    let store = name.to_owned();
    match cause {
        // Another program's steps, in a table of the same name.
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) => OpenError::Foreign { store },
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)
            if fault::code(&cause).as_deref() == Some(LOCK_NOT_AVAILABLE) =>
        {
            OpenError::Locked { store, holder: held_up.by(), waited_s: lock_wait.as_secs() }
        }
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => {
            OpenError::Migrate { store, source: fault::fault(cause) }
        }
        cause => OpenError::Migrate { store, source: cause.into() },
    }
}

/// Who holds up the steps, as was seen last.
#[derive(Default)]
struct HeldUp(Mutex<Option<String>>);

impl HeldUp {
    fn by(&self) -> String {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.unwrap_or_else(|| "somebody".to_owned())
    }

    /// Looks whom the process of the steps waits for, and says so; ends where the data base answers no more.
    async fn watch(&self, name: &str, look: &mut PgConnection, process: i32) -> sqlx::Error {
        let mut looks = 0;
        loop {
            sleep(LOOK).await;
            let by = match timeout(ANSWER_WITHIN, holder(look, process)).await {
                Ok(Ok(by)) => by,
                Ok(Err(cause)) => return cause,
                Err(_) => return silent(),
            };
            let Some(by) = by else { continue };
            if looks % LOOKS_A_WORD == 0 {
                tracing::warn!("the schema of {name} waits for {by}, which holds a lock on it");
            }
            looks += 1;
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(by);
        }
    }
}

/// Describes the process of PostgreSQL that another one waits for; it tells more of those of the same user.
async fn holder(look: &mut PgConnection, process: i32) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT concat_ws(', ', 'the process ' || pid, nullif(application_name, ''), 'user ' || usename, \
           'from ' || host(client_addr), state, 'since ' || to_char(state_change, 'YYYY-MM-DD HH24:MI:SS TZ')) \
         FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids($1)) ORDER BY backend_start LIMIT 1",
    )
    .bind(process)
    .fetch_optional(look)
    .await
}

const LOOK: Duration = Duration::from_millis(LEASE_LOOK_MS);
const LOOKS_A_WORD: u64 = SCHEMA_TOLD_MS / LEASE_LOOK_MS;
const ANSWER_WITHIN: Duration = Duration::from_millis(ANSWER_WAIT_MS);

/// `lock_not_available`: what `lock_timeout` ends with.
const LOCK_NOT_AVAILABLE: &str = "55P03";

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::sync::Arc;

    use sqlx::Connection as _;
    use sqlx::migrate::Migrate as _;
    use sqlx::postgres::PgPoolOptions;
    use tracing::field::{Field, Visit};
    use tracing::{Event, Metadata, Subscriber, span};

    use super::*;
    use crate::bounds::WRITERS_MAX;
    use crate::conformance::instance::Instance;
    use crate::postgres::PostgresStore;
    use crate::postgres::open::options;

    /// What is said in the log.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    impl Subscriber for Log {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("bellwether")
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            event.record(&mut Message(&mut self.0.lock().expect("no test ends in the middle")));
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    struct Message<'a>(&'a mut Vec<String>);

    impl Visit for Message<'_> {
        fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
            self.0.push(format!("{value:?}"));
        }
    }

    #[tokio::test]
    async fn lock_of_another_is_waited_for_with_a_word_and_not_for_good() {
        let instance = Instance::start(false);
        let url = instance.database();
        let mut other = PgConnection::connect(&url).await.expect("another server");
        other.lock().await.expect("the lock of one that takes steps");
        let process: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut other).await.expect("its process");
        let pool = PgPoolOptions::new().connect_lazy_with(options(&url).expect("a URL"));
        let (log, schema) = (Log::default(), Schema { found: None, known: 1 });
        let listening = tracing::subscriber::set_default(log.clone());

        let refused = migrate("it", &pool, schema, LOOK * 3).await.expect_err("it is kept");

        drop(listening);
        let said = log.0.lock().expect("said").join("\n");
        assert!(said.contains(&format!("the schema of it waits for the process {process}, user")), "{said}");
        let told = refused.to_string();
        assert!(matches!(refused, OpenError::Locked { waited_s: 6, .. }), "{refused:?}");
        assert!(told.contains(&format!("the process {process}, user bellwether, idle")), "{told}");

        other.close().await.expect("it ends");
        migrate("it", &pool, schema, LOOK).await.expect("nobody has the lock");
    }

    /// A step that has a table built anew would else be ended in the middle at every start.
    #[tokio::test]
    async fn step_of_the_schema_has_no_deadline_and_whatever_comes_behind_it_has_one() {
        let instance = Instance::start(false);
        let url = instance.database();
        let name = url.rsplit('/').next().expect("a name");
        for step in [
            "CREATE SCHEMA seen",
            "CREATE TABLE seen.deadline (text TEXT)",
            "CREATE FUNCTION seen.note() RETURNS event_trigger LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO seen.deadline VALUES (current_setting('statement_timeout')); END $$",
            "CREATE EVENT TRIGGER note ON ddl_command_start EXECUTE FUNCTION seen.note()",
        ] {
            instance.sql(name, step);
        }

        let store = PostgresStore::open(&url).await.expect("opened");

        let seen: Vec<String> = sqlx::query_scalar("SELECT DISTINCT text FROM seen.deadline")
            .fetch_all(&store.readers)
            .await
            .expect("what was seen");
        assert_eq!(seen, ["0"]);
        let mut lines = Vec::new();
        for _ in 0..WRITERS_MAX {
            lines.push(store.writer.acquire().await.expect("a connection"));
        }
        for line in &mut lines {
            let deadline: String =
                sqlx::query_scalar("SHOW statement_timeout").fetch_one(line).await.expect("its deadline");
            assert_eq!(deadline, "1min");
        }
    }
}
