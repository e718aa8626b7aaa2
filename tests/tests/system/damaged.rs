//! A database that is not what was written: found at the start or when it is met, said with what to do, never re-made.

use std::fs;
use std::path::Path;

use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::program::Program;
use bellwether_tests::{server, wait};

/// A server that was used and killed: its last commits are in the log beside the database.
fn killed() -> Meters {
    let mut meters = Meters::new();
    for number in 0..4 {
        meters.fleet.device(&format!("meter-{number}"), "meter");
    }
    meters.fleet.server.kill9();
    meters
}

/// Starts a server that must not start, and must leave the folder as it is; gives what it said at last.
fn refused(data: &Path) -> String {
    // An empty log is as good as none: SQLite makes one where it looks.
    let content = |name: &str| fs::read(data.join(name)).ok().filter(|bytes| !bytes.is_empty());
    let before = ["bellwether.db", "bellwether.db-wal", "master.key", "http.token"].map(content);
    let (status, said) = Program::run(server::command(data));
    assert_eq!(status.code(), Some(1), "{said}");
    let after = ["bellwether.db", "bellwether.db-wal", "master.key", "http.token"].map(content);
    assert!(before == after, "a file was changed: {said}");
    said.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn log_that_is_damaged_before_acknowledged_commits_is_refused() {
    let meters = killed();
    let data = meters.fleet.server.data();
    let log = data.join("bellwether.db-wal");
    let whole = fs::read(&log).expect("the log of a killed server");
    // A bit in the head, in the first frame, in a frame in the middle.
    for at in [9, 32 + 24 + 100, whole.len() / 2] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x20;
        fs::write(&log, &flipped).expect("written");
        let said = refused(data);
        assert!(
            said.contains("bellwether.db-wal is damaged") && said.contains("backup"),
            "byte {at}: {said}"
        );
    }
}

#[test]
fn log_whose_end_was_torn_by_a_power_cut_is_taken_as_it_is() {
    let mut meters = killed();
    let log = meters.fleet.server.data().join("bellwether.db-wal");
    let whole = fs::read(&log).expect("the log of a killed server");
    fs::write(&log, &whole[..whole.len() - 1_000]).expect("written");
    meters.fleet.server.restart();
    assert_eq!(meters.fleet.show("meter-0").class, "meter");
}

#[test]
fn page_that_is_damaged_is_refused_by_the_database_s_name() {
    let mut meters = Meters::new();
    meters.fleet.device("meter-1", "meter");
    meters.fleet.server.stop();
    let data = meters.fleet.server.data();
    let database = data.join("bellwether.db");
    let whole = fs::read(&database).expect("read");
    let pages = whole.len() / PAGE;
    let mut found = 0;
    for page in 1..pages {
        let mut damaged = whole.clone();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0x5a);
        fs::write(&database, &damaged).expect("written");
        // Every eighth is enough: each is a start of a server.
        if page % 8 == 1 {
            let said = refused(data);
            assert!(said.contains("bellwether.db is damaged") && said.contains("backup"), "{page}: {said}");
            found += 1;
        }
    }
    assert!(found > 2, "{pages} pages");
    for end in [whole.len() - PAGE, whole.len() - 100, PAGE, 50] {
        fs::write(&database, &whole[..end]).expect("written");
        let said = refused(data);
        assert!(said.contains("bellwether.db"), "cut at {end}: {said}");
    }
}

#[test]
fn database_that_is_gone_while_its_images_are_here_is_not_made_anew() {
    let mut meters = Meters::new();
    meters.fleet.server.stop();
    let data = meters.fleet.server.data();
    let aside = meters.fleet.folder().join("aside.db");
    fs::rename(data.join("bellwether.db"), &aside).expect("moved");
    let said = refused(data);
    assert!(said.contains("bellwether.db is missing") && said.contains("restore"), "{said}");
    assert!(!data.join("bellwether.db").exists());
    fs::rename(&aside, data.join("bellwether.db")).expect("moved back");
    meters.fleet.server.restart();
}

#[test]
fn damage_that_is_met_at_work_is_told_and_ends_nothing() {
    let mut fleet = Fleet::start();
    for number in 0..30 {
        fleet.enrol(&format!("meter-{number}"), "meter");
    }
    fleet.server.stop();
    fleet.server.restart();
    let database = fleet.server.data().join("bellwether.db");
    let bytes = fs::read(&database).expect("read");
    // All but the first page, in the file that is open.
    let damage = vec![0x5a; bytes.len() - PAGE];
    let file = fs::File::options().write(true).open(&database).expect("opened");
    std::os::unix::fs::FileExt::write_all_at(&file, &damage, PAGE as u64).expect("written");
    let http = fleet.server.http();
    let look = || {
        let paths = ["/v1/devices", "/v1/releases", "/v1/campaigns", "/v1/alarms", "/v1/devices/meter-7"];
        let answers = paths.map(|path| http.get(path));
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 404 | 500)), "{answers:?}");
        answers.into_iter().find(|answer| answer.body.contains("damaged"))
    };
    let told = wait::until("an answer that tells of the damage", wait::LONG, look, || fleet.server.tail());
    assert!(told.refusal().1.contains("restore a backup"), "{told:?}");
    assert_eq!(http.get("/health/live").status, 200, "the server has ended");
    let said = fleet.server.said();
    assert!(said.contains("is damaged. Stop the server and restore a backup"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    fleet.server.kill9();
    assert!(refused(fleet.server.data()).contains("damaged"));
}

/// Bytes of a page, as SQLite chooses if nobody says.
const PAGE: usize = 4_096;
