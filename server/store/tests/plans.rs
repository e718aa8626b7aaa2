//! How SQLite goes about every statement: it knows no statistics of its tables, takes "the rows of a tenant" to be ten, and may
//! go through a million of them for one.
//!
//! All cases of the conformance suite are run once; whatever they ask of the data base is then looked at.
#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

#[path = "plans/suite.rs"]
mod suite;

use std::path::Path;

use bellwether_store::SqliteStore;
use bellwether_store::conformance::{
    campaigns, catalogue, census, commands, devices, fleet, gateways, imports, ledger, operators,
    publication, retention, sessions, settings, turns,
};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, StreamExt as _};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};

/// Statements that may, with the beginning of what stands in them, and why.
const ALLOWED: [suite::Allowed; 3] = [
    ("max(seq)", "it reads the last row of the key"),
    ("AND endpoint IS NULL) ORDER BY seq DESC LIMIT", "it ends at its limit"),
    (
        "INSERT INTO device (tenant, endpoint, vendor, class, security, dtls_sealed, enabled, added_at, gateway, \
         link_sealed) SELECT",
        "rows that lost their device are looked for where there are some, and there are none",
    ),
];

/// Stores that are open together: each has five threads.
const AT_A_TIME: usize = 8;

macro_rules! run {
    ($($module:ident :: $case:ident),* $(,)?) => {
        async fn run_all(made: &Path, folder: &Path) {
            let cases: Vec<LocalBoxFuture<'_, ()>> = vec![$(Box::pin(async {
                let path = folder.join(concat!(stringify!($module), "-", stringify!($case)));
                std::fs::copy(made, &path).unwrap();
                let store = SqliteStore::open(&path).await.unwrap();
                $module::$case(&store).await;
                store.close().await;
            })),*];
            stream::iter(cases).buffer_unordered(AT_A_TIME).collect::<()>().await;
        }
    };
}

bellwether_store::for_each_case!(run);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_goes_through_all_rows_of_a_large_table() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    SqliteStore::open(&made).await.unwrap().close().await;
    let statements = suite::statements_of(run_all(&made, folder.path())).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&made);
    let mut connection = options.connect().await.unwrap();
    let mut long = Vec::new();
    for statement in &statements {
        let lines = plan(&mut connection, statement).await;
        if lines.iter().any(|line| is_long(line)) {
            long.push((statement.clone(), lines));
        }
    }
    suite::refuse(&statements, &long, &ALLOWED);
}

async fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = sqlx::query(explain).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect()
}

/// Tells whether a line of a plan means all rows of a large table, or all of a tenant.
fn is_long(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (how, table) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_large = suite::LARGE.iter().any(|(_, called)| *called == table);
    is_large && (how == "SCAN" || (how == "SEARCH" && line.ends_with("(tenant=?)")))
}
