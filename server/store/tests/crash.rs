//! A writer that is killed in the middle: every row that it acknowledged is there afterwards.
//!
//! The test runs its own binary a second time as the writer, so it has a `main` instead of the test harness.
#![expect(clippy::unwrap_used, reason = "this is a test without the harness that the lint knows")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};

use bellwether_decide::campaign::event::EventKind;
use bellwether_decide::identity::IdentityState;
use bellwether_store::conformance::instance::Instance;
use bellwether_store::conformance::sample::{device, endpoint, event, identity, tenant};
use bellwether_store::device::Transition;
use bellwether_store::ledger::Scope;
use bellwether_store::{PostgresStore, SqliteStore, Store};

const WRITER: &str = "write-until-killed";

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

/// Advances one identity by transitions with an event each, and prints the revision of each that was acknowledged.
async fn write(place: &str) {
    let store = open(place).await;
    let (tenant, id) = (tenant(), endpoint("lamp-1"));
    let mut state = store.identity(&tenant, &id).await.unwrap().unwrap().state;
    loop {
        let next = IdentityState {
            revision: state.revision + 1,
            grant_highest: state.revision + 1,
            ..state.clone()
        };
        let events = [event(1, "lamp-1", EventKind::Installed { grant: next.revision })];
        let step = Transition { events: &events, ..Transition::new(state.revision, &next) };
        store.update_identity(&tenant, &id, step).await.unwrap();
        println!("{}", next.revision);
        std::io::stdout().flush().unwrap();
        state = next;
    }
}

async fn rounds(place: &str) {
    let store = open(place).await;
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    store.close().await;
    for acknowledgements in ROUNDS {
        let last = kill_after(place, acknowledgements);
        check(place, last).await;
        println!("killed after revision {last}: nothing acknowledged is lost");
    }
}

/// Runs the writer, kills it after so many acknowledgements, and returns the last one that came through.
fn kill_after(place: &str, acknowledgements: u64) -> u64 {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .arg(WRITER)
        .arg(place)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut last = 0;
    for _ in 0..acknowledgements {
        last = lines.next().unwrap().unwrap().parse().unwrap();
    }
    // SIGKILL: no destructor runs, no file is closed.
    writer.kill().unwrap();
    writer.wait().unwrap();
    // What was in the pipe when it died was acknowledged too; a last line may be cut.
    lines.map_while(Result::ok).filter_map(|line| line.parse().ok()).fold(last, u64::max)
}

/// Opens the store as the killed writer left it and compares it with what was acknowledged.
async fn check(place: &str, last: u64) {
    let store = open(place).await;
    let state = store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap().state;
    // One step may have been written whose acknowledgement did not come through.
    assert!((last..=last + 1).contains(&state.revision), "{} of {last} acknowledged", state.revision);
    assert_eq!(state.grant_highest, state.revision);
    let mut seq = 0;
    loop {
        let page = store.events(&tenant(), Scope::Device(&endpoint("lamp-1")), seq, u32::MAX).await.unwrap();
        let Some(newest) = page.last() else { break };
        for kept in &page {
            seq += 1;
            assert_eq!(kept.seq, seq);
            assert_eq!(kept.event.kind, EventKind::Installed { grant: seq });
        }
        assert_eq!(newest.seq, seq);
    }
    assert_eq!(seq, state.revision, "state and ledger are of one commit");
    store.close().await;
}
