//! How SQLite goes about every statement: it knows no statistics of its tables, takes "the rows of a tenant" to be ten, and may
//! go through a million of them for one.
//!
//! All cases of the conformance suite are run once; whatever they ask of the data base is then looked at.
#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bellwether_store::SqliteStore;
use bellwether_store::conformance::{
    campaigns, catalogue, census, commands, devices, fleet, gateways, imports, ledger, operators,
    publication, retention, sessions, settings, turns,
};
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, StreamExt as _};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// Tables of which there may be a million rows.
const LARGE: [(&str, &str); 19] = [
    ("device", "device"),
    ("identity", "i"),
    ("identity", "identity"),
    ("epoch", "e"),
    ("epoch", "epoch"),
    ("session", "session"),
    ("contact", "contact"),
    ("track", "track"),
    ("event", "event"),
    ("running", "running"),
    ("device_tag", "device_tag"),
    ("import_row", "r"),
    ("import_row", "import_row"),
    ("unit_due", "unit_due"),
    ("census_running", "census_running"),
    ("census_running", "ran"),
    ("command", "command"),
    ("alarm", "alarm"),
    ("resource", "resource"),
];

/// Statements that may, with the beginning of what stands in them, and why.
const ALLOWED: [(&str, &str); 7] = [
    ("max(seq)", "it reads the last row of the key"),
    ("$4 IS NULL ORDER BY seq DESC LIMIT", "it ends at its limit"),
    ("AND endpoint IS NULL) ORDER BY seq DESC LIMIT", "it ends at its limit"),
    ("ORDER BY slept_at, session LIMIT", "it ends at its limit"),
    ("SELECT seq + 1 FROM event", "it walks along the key to the first event that is not old, once a day"),
    (
        "SELECT count(*) FROM session",
        "it goes through an index alone, between two sweeps of what has expired",
    ),
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
    static SAID: Said = Said(Mutex::new(BTreeSet::new()));
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    SqliteStore::open(&made).await.unwrap().close().await;
    tracing::subscriber::set_global_default(Listener(&SAID)).unwrap();
    run_all(&made, folder.path()).await;
    let statements = std::mem::take(&mut *SAID.0.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(statements.len() > 150, "only {} statements were heard of", statements.len());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&made);
    let mut connection = options.connect().await.unwrap();
    let mut wrong = Vec::new();
    for statement in &statements {
        let is_allowed = ALLOWED.iter().any(|(part, _)| statement.contains(part));
        let lines = plan(&mut connection, statement).await;
        if !is_allowed && lines.iter().any(|line| is_long(line)) {
            wrong.push(format!("{statement}\n    {}", lines.join("\n    ")));
        }
    }
    for (part, _) in ALLOWED {
        assert!(statements.iter().any(|statement| statement.contains(part)), "nobody says {part} any more");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
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
    let is_large = LARGE.iter().any(|(_, called)| *called == table);
    is_large && (how == "SCAN" || (how == "SEARCH" && line.ends_with("(tenant=?)")))
}

/// What was asked of the data base.
struct Said(Mutex<BTreeSet<String>>);

/// Listens to what the library logs of each statement.
struct Listener(&'static Said);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut statement = Statement::default();
        event.record(&mut statement);
        // A short one stands in the summary alone.
        let text = if statement.whole.trim().is_empty() { statement.summary } else { statement.whole };
        let text = text.trim();
        if ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|word| text.starts_with(word)) {
            self.0.0.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Statement {
    summary: String,
    whole: String,
}

impl Visit for Statement {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.whole),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
