//! What the conformance suite asks of a data base, and whether any of it takes long where there are many rows.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// Tables of which there may be a million rows, and what statements call them.
pub(crate) const LARGE: [(&str, &str); 19] = [
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

/// Statements that may on every data base, with the beginning of what stands in them, and why.
const ALLOWED: [Allowed; 4] = [
    ("$4 IS NULL ORDER BY seq DESC LIMIT", "it ends at its limit"),
    ("ORDER BY slept_at, session LIMIT", "it ends at its limit"),
    ("SELECT seq + 1 FROM event", "it walks along the key to the first event that is not old, once a day"),
    (
        "SELECT count(*) FROM session",
        "it goes through an index alone, between two sweeps of what has expired",
    ),
];

/// A part of a statement, and why it may.
pub(crate) type Allowed = (&'static str, &'static str);

/// A statement, with the lines of its plan.
pub(crate) type Planned = (String, Vec<String>);

/// Runs the suite and tells which statements were said to the data base. Listens from the first call on: once a program.
pub(crate) async fn statements_of(suite: impl Future<Output = ()>) -> BTreeSet<String> {
    static SAID: Said = Said(Mutex::new(BTreeSet::new()));
    tracing::subscriber::set_global_default(Listener(&SAID)).unwrap();
    suite.await;
    let statements = std::mem::take(&mut *SAID.0.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(statements.len() > 150, "only {} statements were heard of", statements.len());
    statements
}

/// Refuses statements that go through a large table, but for those that may here or everywhere.
pub(crate) fn refuse(statements: &BTreeSet<String>, long: &[Planned], allowed: &[Allowed]) {
    let allowed: Vec<&str> = ALLOWED.iter().chain(allowed).map(|(part, _)| *part).collect();
    for part in &allowed {
        assert!(statements.iter().any(|statement| statement.contains(part)), "nobody says {part} any more");
    }
    let wrong: Vec<String> = long
        .iter()
        .filter(|(statement, _)| !allowed.iter().any(|part| statement.contains(part)))
        .map(|(statement, lines)| format!("{statement}\n    {}", lines.join("\n    ")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
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
