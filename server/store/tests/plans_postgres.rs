//! How PostgreSQL goes about every statement where it believes in a million rows of each table.
//!
//! All cases of the conformance suite are run once; whatever they ask of the data base is then looked at, as a statement
//! whose values are not known when it is planned: that is how it comes to be run on a connection that stands.
#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

#[path = "plans/suite.rs"]
mod suite;

use std::sync::Mutex;

use bellwether_store::PostgresStore;
use bellwether_store::conformance::instance::Instance;
use bellwether_store::conformance::{
    campaigns, catalogue, census, commands, devices, fleet, gateways, imports, ledger, operators,
    publication, retention, sessions, settings, turns,
};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, StreamExt as _};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use suite::LARGE;

/// Indexes that hold a few of a tenant's rows, and may be gone through, with which.
const OF_FEW: [(&str, &str); 2] =
    [("device_given_up", "devices that were given up"), ("event_act", "what people did")];

/// Cases that run at a time, each in a data base that is emptied behind it: each store has eight connections, and an instance
/// takes sixty.
const AT_A_TIME: usize = 6;

macro_rules! run {
    ($($module:ident :: $case:ident),* $(,)?) => {
        async fn run_all(instance: &Instance, free: &Mutex<Vec<(String, PostgresStore)>>) {
            let take = || free.lock().unwrap().pop().unwrap();
            let cases: Vec<LocalBoxFuture<'_, ()>> = vec![$(Box::pin(async {
                let (name, store) = take();
                $module::$case(&store).await;
                instance.sql(&name, EMPTIES);
                free.lock().unwrap().push((name, store));
            })),*];
            stream::iter(cases).buffer_unordered(AT_A_TIME).collect::<()>().await;
        }
    };
}

bellwether_store::for_each_case!(run);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_goes_through_all_rows_of_a_large_table() {
    let instance = Instance::start(false);
    let mut stores = Vec::new();
    for _ in 0..AT_A_TIME {
        let url = instance.database();
        let store = PostgresStore::open(&url).await.unwrap();
        stores.push((url.rsplit('/').next().unwrap().to_owned(), store));
    }
    let stores = Mutex::new(stores);
    let statements = suite::statements_of(run_all(&instance, &stores)).await;
    let (grown, store) = stores.lock().unwrap().pop().unwrap();
    store.close().await;
    for step in GROWS {
        instance.sql(&grown, step);
    }
    let mut connection = PgConnection::connect(&instance.url(&grown)).await.unwrap();
    // As the connections of a store have it, but for the first: there a plan is made without values at the sixth time.
    let set = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off";
    connection.execute(set).await.unwrap();
    let mut long = Vec::new();
    for statement in &statements {
        let (plan, mut lines) = (plan(&mut connection, statement).await, Vec::new());
        if reads(&plan, "", &mut lines) {
            long.push((statement.clone(), lines));
        }
    }
    suite::refuse(&statements, &long, &[]);
}

async fn plan(connection: &mut PgConnection, statement: &str) -> Value {
    prepare(connection, statement).await;
    let places =
        "SELECT coalesce(cardinality(parameter_types), 0) FROM pg_prepared_statements WHERE name = 'said'";
    let places: i32 = sqlx::query_scalar(places).fetch_one(&mut *connection).await.unwrap();
    let values = vec!["NULL"; usize::try_from(places).unwrap()].join(", ");
    let values = if places > 0 { format!("({values})") } else { values };
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE said{values}");
    let row = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *connection).await.unwrap();
    connection.execute("DEALLOCATE said").await.unwrap();
    let plans: Value = serde_json::from_str(row.get_unchecked(0)).unwrap();
    plans[0]["Plan"].clone()
}

/// Prepares a statement. Of what stands in a place it often says itself what it is; where it does not, that is a text, or one
/// of the places has bytes.
async fn prepare(connection: &mut PgConnection, statement: &str) {
    let (mut kinds, mut bytes_at): (Vec<&str>, usize) = (Vec::new(), 0);
    loop {
        let list = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        let prepare = AssertSqlSafe(format!("PREPARE said{list} AS {statement}"));
        let Err(cause) = connection.execute(prepare).await else { return };
        if let Some(place) = unknown_place(&cause.to_string()) {
            kinds.resize(kinds.len().max(place), "unknown");
            kinds[place - 1] = "text";
        } else {
            assert!(bytes_at < PLACES_MAX, "{statement}: {cause}");
            kinds = vec!["unknown"; bytes_at];
            kinds.push("bytea");
            bytes_at += 1;
        }
    }
}

fn unknown_place(told: &str) -> Option<usize> {
    let (_, place) = told.split_once("could not determine data type of parameter $")?;
    place.split(|one: char| !one.is_ascii_digit()).next()?.parse().ok()
}

/// No statement has more, but those that say of each what it is.
const PLACES_MAX: usize = 9;

/// Tells whether a step of a plan, or one below it, means all rows of a large table, or all of a tenant; writes down how each
/// table is read. `table` is the one whose rows an index is asked for on behalf of a step above.
fn reads(step: &Value, table: &str, lines: &mut Vec<String>) -> bool {
    let word = |key: &str| step[key].as_str().unwrap_or_default();
    let table = step["Relation Name"].as_str().unwrap_or(table);
    let (how, index, by) = (word("Node Type"), word("Index Name"), word("Index Cond"));
    let is_few = OF_FEW.iter().any(|(name, _)| *name == index);
    let is_large = LARGE.iter().any(|(name, _)| *name == table);
    let is_long = match how {
        "Seq Scan" => is_large,
        "Index Scan" | "Index Only Scan" | "Bitmap Index Scan" => {
            is_large && !is_few && !names_more_than_a_tenant(by)
        }
        _ => false,
    };
    if how.ends_with("Scan") {
        lines.push(format!("{how} {index} of {table}: {by} ({})", word("Filter")));
    }
    let below = step["Plans"].as_array().into_iter().flatten();
    below.fold(is_long, |is_long, step| reads(step, table, lines) || is_long)
}

fn names_more_than_a_tenant(condition: &str) -> bool {
    condition.split(" AND ").any(|one| {
        let one = one.trim_start_matches('(');
        !one.is_empty() && !one.starts_with("tenant = ")
    })
}

/// Takes all rows of all tables away.
const EMPTIES: &str = "DO $$ DECLARE one name; BEGIN
       SET LOCAL session_replication_role = replica;
       FOR one IN SELECT relname FROM pg_class
           WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> '_sqlx_migrations'
       LOOP EXECUTE format('DELETE FROM %I', one); END LOOP;
     END $$";

/// Fills each table with a thousand rows, whatever refers to what, and lets the data base believe that there are a thousand
/// times as many. What may be missing is there in one row of a hundred; of campaigns, classes, stages and imports there are
/// a few.
const GROWS: [&str; 4] = [
    "DO $$ DECLARE one record; BEGIN
       FOR one IN SELECT conrelid::regclass AS of, conname FROM pg_constraint
           WHERE contype IN ('c', 'f') AND connamespace = 'public'::regnamespace
       LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.of, one.conname); END LOOP;
     END $$",
    "DO $$ DECLARE one record; BEGIN
       FOR one IN SELECT attrelid::regclass AS of, string_agg(CASE WHEN NOT attnotnull THEN 'CASE WHEN i % 100 = 0 THEN ' ELSE '' END
             || CASE
               WHEN attname = 'tenant' THEN '''default'''
               WHEN attname = 'body' THEN '''{}'''
               WHEN attname IN ('class', 'stage', 'import', 'state') AND atttypid = 'text'::regtype THEN '(i % 5)::text'
               WHEN attname IN ('campaign', 'day', 'hour') THEN 'i % 10'
               WHEN atttypid = 'bigint'::regtype THEN 'i'
               WHEN atttypid = 'boolean'::regtype THEN 'i % 2 = 0'
               WHEN atttypid = 'bytea'::regtype THEN 'sha256(i::text::bytea)'
               ELSE 'i::text' END || CASE WHEN NOT attnotnull THEN ' END' ELSE '' END, ', ' ORDER BY attnum) AS fields
           FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
           WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
             AND relname <> '_sqlx_migrations' GROUP BY attrelid
       LOOP
         EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', one.of);
         EXECUTE format('INSERT INTO %s SELECT %s FROM generate_series(1, 1000) AS i ON CONFLICT DO NOTHING', one.of, one.fields);
       END LOOP;
     END $$",
    "ANALYZE",
    "UPDATE pg_class SET reltuples = reltuples * 1000 WHERE relnamespace = 'public'::regnamespace",
];
