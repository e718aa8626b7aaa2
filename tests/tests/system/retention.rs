//! Old events leave the ledger for files, and nothing is in neither.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bellwether_api::{CampaignState, DeviceOutcome, EventPage};
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::device::Endpoint;
use bellwether_store::census::{Censuses as _, Counted};
use bellwether_store::conformance::instance::Instance;
use bellwether_store::ledger::{Ledger as _, Scope};
use bellwether_store::operators::Operators as _;
use bellwether_store::{PostgresStore, SqliteStore, Store, Tenant};
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::program::{self, Program};
use bellwether_tests::wait;
use serde_json::Value;

/// `bellwether-server ledger prune` on a data folder.
fn prune(data: &Path, words: &[&str]) -> std::process::Command {
    let mut command = program::command("bellwether-server");
    // Nobody here listens to a broker.
    command.args(["--mqtt", "off", "ledger", "prune", "--data"]).arg(data).args(words);
    command
}

/// Lines of all exported files, by the number of their event.
fn exported(folder: &Path) -> Vec<(u64, Value)> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let mut lines = Vec::new();
    for file in files.map(|file| file.expect("an entry").path()) {
        // One that is being written counts for nothing.
        if file.extension().is_some_and(|extension| extension == "jsonl") {
            for line in fs::read_to_string(&file).expect("text").lines() {
                let line: Value = serde_json::from_str(line).expect("JSON");
                lines.push((line["id"].as_u64().expect("a number"), line));
            }
        }
    }
    lines.sort_by_key(|(id, _)| *id);
    lines
}

/// Puts events of long ago into a store that no server uses, and counts them as a server does.
fn long_ago(store: &dyn Store, events: u64) {
    let lamp = Endpoint::try_from("lamp-of-old").expect("a name");
    let event = |at| Event { at, campaign: None, device: Some(lamp.clone()), kind: EventKind::Asked };
    let (tenant, events): (_, Vec<Event>) = (Tenant::default(), (1_000..1_000 + events).map(event).collect());
    wait::soon("written", async {
        let until = store.append(&tenant, &events).await.expect("written");
        let after = store.counted(&tenant).await.expect("read");
        assert!(store.count(&tenant, Counted { after, until, ran: &[] }).await.expect("counted"));
        store.close().await;
    });
}

/// Makes the database of a server that is to be started in a folder, with events of long ago.
fn of_long_ago(folder: &Path, events: u64) -> PathBuf {
    let data = folder.join("server");
    fs::create_dir(&data).expect("made");
    fs::set_permissions(&data, Permissions::from_mode(0o700)).expect("set");
    let database = data.join("bellwether.db");
    long_ago(&wait::soon("the store", SqliteStore::open(&database)).expect("opened"), events);
    database
}

/// Waits until the server has counted all of its ledger.
fn wait_counted(fleet: &Fleet) {
    let database = fleet.server.data().join("bellwether.db");
    let counted = || {
        wait::soon("the census", async {
            let (store, tenant) = (SqliteStore::open(&database).await.ok()?, Tenant::default());
            let (counted, figures) = (store.counted(&tenant).await.ok()?, store.figures(&tenant).await.ok()?);
            store.close().await;
            (counted == figures.events).then_some(())
        })
    };
    wait::until("a census", wait::LONG, counted, || fleet.server.tail());
}

/// Numbers of all events of a store that no server uses.
fn kept(database: &Path) -> BTreeSet<u64> {
    wait::soon("the events", async {
        let store = SqliteStore::open(database).await.expect("opened");
        let (mut numbers, mut since) = (BTreeSet::new(), 0);
        loop {
            let page = store.events(&Tenant::default(), Scope::All, since, 1_000).await.expect("read");
            let Some(last) = page.last() else { break };
            since = last.seq;
            numbers.extend(page.iter().map(|one| one.seq));
        }
        store.close().await;
        numbers
    })
}

#[test]
fn old_events_are_exported_and_removed_and_whoever_asks_is_told() {
    let fleet = Fleet::start_with(&["--mqtt", "off"]);
    let mut meters = Meters::on(fleet, 4_000);
    let mut meter = meters.device("meter-1");
    let ended = meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());
    meters.fleet.wait_state(&ended, CampaignState::Finished);
    let (third, _) = meters.third();
    let waits = meters.device("meter-2");
    let goes_on = meters.fleet.launch(&third, "--device meter-2");
    drop(waits);
    let data = meters.fleet.server.data().to_owned();
    let whole: EventPage = meters.fleet.server.http().read("/v1/events?limit=1000");
    assert_eq!(whole.cut, None);
    let shown = meters.fleet.show("meter-1");
    wait_counted(&meters.fleet);

    let (status, said) = Program::run(prune(&data, &["--before", "0s", "--yes"]));
    assert!(!status.success() && said.contains("in use by another server"), "{said}");
    meters.fleet.server.stop();
    let (status, said) = Program::run(prune(&data, &["--before", "0s"]));
    assert!(!status.success() && said.contains("--yes"), "{said}");
    for wrong in ["2999-01-01", "soon", "-3d"] {
        let (status, said) = Program::run(prune(&data, &[&format!("--before={wrong}"), "--yes"]));
        assert!(!status.success() && said.contains("--before takes a day"), "{said}");
    }
    let before = kept(&data.join("bellwether.db"));
    let (status, said) = Program::run(prune(&data, &["--before", "0s", "--dry-run"]));
    assert!(status.success() && said.contains("would be exported"), "{said}");
    assert_eq!(kept(&data.join("bellwether.db")), before);
    let (status, said) = Program::run(prune(&data, &["--before", "0s", "--yes", "--who", "kim"]));
    assert!(status.success() && said.contains("is whole from event"), "{said}");

    meters.fleet.server.restart();
    let http = meters.fleet.server.http();
    let now: EventPage = http.read("/v1/events?limit=1000");
    let cut = now.cut.expect("a cut");
    // Each event is where it is said to be, and none is changed.
    let gone = exported(&data.join("ledger"));
    for event in &whole.events {
        let is_kept = now.events.iter().any(|one| one == event);
        let is_exported =
            gone.iter().any(|(id, line)| *id == event.id && line["text"] == event.text.as_str());
        assert!(is_kept != is_exported, "{event:?}");
        let needed = event.campaign.as_deref() == Some(goes_on.as_str());
        assert!(is_kept || !needed, "{event:?}");
    }
    assert!(gone.iter().all(|(_, line)| line["row"]["version"] == 1));
    let told = now.events.iter().find(|one| one.kind == "ledger_cut").expect("told");
    assert!(told.who.as_deref() == Some("kim") && told.text.contains("removed from the ledger"), "{told:?}");
    assert_eq!(http.read::<EventPage>(&format!("/v1/events?since={}", cut.kept_from)).cut, None);
    let files: Vec<_> = fs::read_dir(data.join("ledger")).expect("files").collect();
    let mode = files[0].as_ref().expect("a file").metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // What was made of the events is as it was, and what went with them is said to be gone.
    assert_eq!(meters.fleet.track(&ended, "meter-1").outcome, DeviceOutcome::Installed);
    let after = meters.fleet.show("meter-1");
    assert_eq!((after.version, after.index), (shown.version, shown.index));
    for words in ["device explain meter-1", &format!("campaign explain {ended}")] {
        let said = meters.fleet.cli.done(words);
        assert!(said.contains("was exported and removed from the ledger"), "{words}: {said}");
    }
    let going = meters.fleet.cli.done(&format!("campaign explain {goes_on}"));
    assert!(!going.contains("removed from the ledger"), "{going}");
    meters.fleet.server.stop();
    let mut check = program::command("bellwether-server");
    check.args(["store", "check", "--data"]).arg(&data);
    let (status, said) = Program::run(check);
    assert!(status.success() && said.contains(&format!("whole from event {}", cut.kept_from)), "{said}");
}

#[test]
fn event_is_in_the_ledger_or_in_a_file_wherever_its_removal_is_killed() {
    let folder = Fleet::new_folder();
    let database = of_long_ago(folder.path(), EVENTS);
    let mut fleet = Fleet::start_in(folder, &[]);
    wait_counted(&fleet);
    fleet.server.stop();
    let (data, folder) = (fleet.server.data().to_owned(), fleet.folder().join("exported"));
    let to = folder.to_str().expect("a path");
    let all = kept(&database);
    let mut killed = 0;
    for files in 1.. {
        let mut running = Program::start(
            prune(&data, &["--before", "1d", "--yes", "--to", to]),
            &fleet.folder().join("prune.log"),
        );
        let is_there = || {
            let there = fs::read_dir(&folder).map_or(0, Iterator::count);
            (there >= files || running.ended().is_some()).then_some(())
        };
        wait::until("a file", wait::LONG, is_there, || "no file".to_owned());
        let is_over = running.ended().is_some();
        running.kill9();
        let (in_files, in_ledger) = (exported(&folder), kept(&database));
        let lost: Vec<_> = all
            .iter()
            .filter(|id| {
                !in_ledger.contains(id) && in_files.binary_search_by_key(*id, |(id, _)| *id).is_err()
            })
            .collect();
        assert!(lost.is_empty(), "{lost:?}");
        if is_over {
            break;
        }
        killed += 1;
    }
    assert!(killed > 0, "it was never in the middle");
    let (in_files, in_ledger) = (exported(&folder), kept(&database));
    let once: BTreeSet<u64> = in_files.iter().map(|(id, _)| *id).collect();
    assert_eq!(once.len() as u64, EVENTS);
    assert!(in_ledger.is_disjoint(&once), "it is removed in the end");
}

#[test]
fn server_cuts_its_own_ledger_on_either_data_base_and_goes_on_counting() {
    let instance = Instance::start(false);
    let url = instance.database();
    for store in [vec![], vec!["--store", url.as_str()]] {
        let folder = Fleet::new_folder();
        match store.last() {
            Some(url) => long_ago(&wait::soon("opened", PostgresStore::open(url)).expect("opened"), 2_500),
            None => drop(of_long_ago(folder.path(), 2_500)),
        }
        let keep = [&["--mqtt", "off", "--ledger-keep-days", "400"], &store[..]].concat();
        let fleet = Fleet::start_in(folder, &keep);
        let cut = || {
            let is_told = fleet.server.said().contains("old events were exported and removed");
            fleet.server.http().read::<EventPage>("/v1/events").cut.filter(|_| is_told)
        };
        let found = wait::until("a cut", wait::LONG, cut, || fleet.server.tail());
        let gone = exported(&fleet.server.data().join("ledger"));
        assert!(gone.len() as u64 >= found.kept_from - 1 && found.kept_from > 2_400, "{found:?}");
        let next: EventPage = fleet.server.http().read("/v1/events");
        assert!(next.events.iter().all(|event| event.id >= found.kept_from));
        assert!(next.events.iter().any(|event| event.kind == "ledger_cut"));
    }
}

/// Three files, the last one not full.
const EVENTS: u64 = 21_000;
