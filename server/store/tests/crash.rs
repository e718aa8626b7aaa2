//! A writer that is killed in the middle: every row that it acknowledged is there afterwards.
//!
//! The test runs its own binary a second time as the writer, so it has a `main` instead of the test harness.
#![expect(clippy::unwrap_used, reason = "this is a test without the harness that the lint knows")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use bellwether_decide::campaign::event::EventKind;
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::IdentityState;
use bellwether_store::conformance::instance::Instance;
use bellwether_store::conformance::sample::{device, endpoint, event, identity, tenant};
use bellwether_store::device::Transition;
use bellwether_store::ledger::Scope;
use bellwether_store::{PostgresStore, SqliteStore, Store};

const WRITER: &str = "write-until-killed";

/// Identities that are written at the same time, and so share commits.
const LAMPS: usize = 8;

/// Acknowledgements after which the writer is killed, one round each: early, and with a log that was checkpointed.
const ROUNDS: [u64; 4] = [1, 7, 150, 1_200];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match &arguments[1..] {
        [mode, place] if mode == WRITER => runtime.block_on(write(place)),
        arguments if arguments.iter().any(|argument| argument == "--list") => {}
        _ => {
            let folder = tempfile::tempdir().unwrap();
            runtime.block_on(rounds(&folder.path().join("bellwether.db").display().to_string()));
            runtime.block_on(rounds(&Instance::start(true).database()));
        }
    }
    ExitCode::SUCCESS
}

async fn open(place: &str) -> Box<dyn Store> {
    if place.starts_with("postgres://") {
        Box::new(PostgresStore::open(place).await.unwrap())
    } else {
        Box::new(SqliteStore::open(place.as_ref()).await.unwrap())
    }
}

/// Advances identities at the same time by transitions with an event each, and prints the name and the revision of each
/// that was acknowledged.
async fn write(place: &str) {
    let store: Arc<dyn Store> = Arc::from(open(place).await);
    let writers = (0..LAMPS).map(|lamp| tokio::spawn(write_one(Arc::clone(&store), lamp)));
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

async fn write_one(store: Arc<dyn Store>, lamp: usize) {
    let (tenant, name) = (tenant(), name(lamp));
    let id = endpoint(&name);
    let mut state = store.identity(&tenant, &id).await.unwrap().unwrap().state;
    loop {
        let next = IdentityState {
            revision: state.revision + 1,
            grant_highest: state.revision + 1,
            ..state.clone()
        };
        let events = [event(1, &name, EventKind::Installed { grant: next.revision })];
        let step = Transition { events: &events, ..Transition::new(state.revision, &next) };
        store.update_identity(&tenant, &id, step).await.unwrap();
        // One write: a line is whole or its end is missing.
        std::io::stdout().write_all(format!("{lamp} {}\n", next.revision).as_bytes()).unwrap();
        std::io::stdout().flush().unwrap();
        state = next;
    }
}

fn name(lamp: usize) -> String {
    format!("lamp-{lamp}")
}

async fn rounds(place: &str) {
    let store = open(place).await;
    for lamp in 0..LAMPS {
        store.add_device(&tenant(), &device(&name(lamp)), &identity(&name(lamp))).await.unwrap();
    }
    store.close().await;
    for acknowledgements in ROUNDS {
        let last = kill_after(place, acknowledgements);
        check(place, &last).await;
        println!("killed after revisions {last:?}: nothing acknowledged is lost");
    }
}

/// Runs the writer, kills it after so many acknowledgements, and returns the last one of each lamp that came through.
fn kill_after(place: &str, acknowledgements: u64) -> [u64; LAMPS] {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .arg(WRITER)
        .arg(place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut last = [0; LAMPS];
    let mut note = |line: String| {
        let (lamp, revision) = line.split_once(' ')?;
        last[lamp.parse::<usize>().ok()?] = revision.parse().ok()?;
        Some(())
    };
    for _ in 0..acknowledgements {
        note(lines.next().unwrap().unwrap()).unwrap();
    }
    // SIGKILL: no destructor runs, no file is closed.
    writer.kill().unwrap();
    writer.wait().unwrap();
    // What was in the pipe when it died was acknowledged too; a last line may be cut.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    // The number of a cut one would be another.
    for line in rest.into_iter().rev().skip(1).rev() {
        note(line);
    }
    last
}

/// Opens the store as the killed writer left it and compares it with what was acknowledged.
async fn check(place: &str, last: &[u64; LAMPS]) {
    let store = open(place).await;
    for (lamp, last) in last.iter().enumerate() {
        let name = endpoint(&name(lamp));
        let state = store.identity(&tenant(), &name).await.unwrap().unwrap().state;
        // One may have been written whose acknowledgement did not come through; a lamp of which none came at all was
        // moved in the rounds before.
        assert!(state.revision >= *last, "lamp {lamp}: {} of {last} acknowledged", state.revision);
        assert_eq!(state.grant_highest, state.revision);
        check_events(&*store, &name, state.revision).await;
    }
    store.close().await;
}

/// State and ledger are of one commit: there is an event for each step, in order.
async fn check_events(store: &dyn Store, name: &Endpoint, revision: u64) {
    let (mut seq, mut steps) = (0, 0);
    loop {
        let page = store.events(&tenant(), Scope::Device(name), seq, u32::MAX).await.unwrap();
        let Some(newest) = page.last() else { break };
        for kept in &page {
            steps += 1;
            assert_eq!(kept.event.kind, EventKind::Installed { grant: steps });
        }
        seq = newest.seq;
    }
    assert_eq!(steps, revision, "{name}: state and ledger are of one commit");
}
