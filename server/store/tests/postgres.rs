//! The PostgreSQL store against the conformance suite, and what is particular to a data base that others run.
#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

#[path = "postgres/relay.rs"]
mod relay;

use std::sync::OnceLock;
use std::time::Duration;

use bellwether_decide::campaign::event::EventKind;
use bellwether_store::bounds::READERS_MAX;
use bellwether_store::conformance::instance::Instance;
use bellwether_store::conformance::sample::{device, endpoint, event, identity, tenant};
use bellwether_store::conformance::{
    campaigns, catalogue, census, commands, devices, fleet, gateways, imports, ledger, operators,
    publication, retention, sessions, settings, turns,
};
use bellwether_store::device::Devices;
use bellwether_store::import::{Committed, ImportCommit, Imports, StagedDevice};
use bellwether_store::ledger::{Ledger, Scope};
use bellwether_store::publication::Publications;
use bellwether_store::session::Sessions;
use bellwether_store::settings::Settings;
use bellwether_store::{OpenError, PostgresStore, StorageFault, StoreError};
use relay::Relay;
use sqlx::migrate::Migrate;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

/// One PostgreSQL for all cases; it ends with the program.
fn shared() -> &'static Instance {
    static SHARED: OnceLock<Instance> = OnceLock::new();
    SHARED.get_or_init(|| Instance::start(false))
}

/// Makes a data base with our schema: copying one is faster than migrating each.
async fn migrated() -> String {
    static TEMPLATE: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let made = || async {
        shared().sql("postgres", "CREATE DATABASE template_of_ours TEMPLATE template0");
        PostgresStore::open(&shared().url("template_of_ours")).await.unwrap().close().await;
    };
    TEMPLATE.get_or_init(made).await;
    shared().database_like("template_of_ours")
}

macro_rules! run {
    ($($module:ident :: $case:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let store = PostgresStore::open(&migrated().await).await.unwrap();
            $module::$case(&store).await;
            store.close().await;
        }
    )*};
}

bellwether_store::for_each_case!(run);

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_data_base_was_killed() {
    let mut instance = Instance::start(true);
    let url = instance.database();
    let store = PostgresStore::open(&url).await.unwrap();
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let mut acknowledged = 0;
    for number in 0..50 {
        let installed = event(1, "lamp-1", EventKind::Installed { grant: number });
        acknowledged = store.append(&tenant(), &[installed]).await.unwrap();
    }
    instance.kill9();
    let refused = store.append(&tenant(), &[event(1, "lamp-1", EventKind::Asked)]).await.unwrap_err();
    assert!(matches!(StorageFault::of(&refused), Some(StorageFault::Away(_))), "{refused:?}");
    instance.start_again();
    // The same store goes on by itself.
    let events = store.events(&tenant(), Scope::All, 0, 1_000).await.unwrap();
    assert_eq!(events.len() as u64, acknowledged);
    assert_eq!(
        store.append(&tenant(), &[event(1, "lamp-1", EventKind::Asked)]).await.unwrap(),
        acknowledged + 1
    );
    assert!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_in_the_middle_of_which_the_data_base_is_killed_has_enrolled_nobody_and_is_enrolled_again() {
    let mut instance = Instance::start(true);
    let url = instance.database();
    let store = PostgresStore::open(&url).await.unwrap();
    let names = ["lamp-1", "lamp-2", "lamp-3"];
    let staged = |(line, name): (u64, &&str)| StagedDevice {
        line,
        device: device(name),
        identity: identity(name),
        tags: Vec::new(),
    };
    let rows: Vec<StagedDevice> = (1..).zip(&names).map(staged).collect();
    store.stage_import(&tenant(), "spring", &[7; 32], 3, &rows, 5).await.unwrap();
    let enrol = |store: PostgresStore| async move {
        let (state, events) = (identity("lamp-1").state, [event(1, "lamp-1", EventKind::Asked)]);
        let commit = ImportCommit { at: 9, state: &state, events: &events };
        store.commit_import(&tenant(), "spring", commit).await
    };

    // Behind devices, identities and keys.
    let mut operator = hold(&url, "LOCK TABLE unit_due IN ACCESS EXCLUSIVE MODE").await;
    let enrols = tokio::spawn(enrol(store.clone()));
    held_up(&mut operator, 1).await;
    instance.kill9();
    let missed = enrols.await.unwrap().unwrap_err();
    assert!(is_away(&missed), "{missed:?}");
    instance.start_again();

    assert_eq!(store.devices(&tenant(), None, 10).await.unwrap(), []);
    assert_eq!(store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap(), None);
    let left = store.import(&tenant(), "spring").await.unwrap().unwrap();
    assert_eq!((left.staged, left.committed_at, left.due), (3, None, 0));
    assert_eq!(enrol(store.clone()).await.unwrap(), Committed::New);
    assert_eq!(store.devices(&tenant(), None, 10).await.unwrap().len(), 3);
    assert_eq!(store.events(&tenant(), Scope::All, 0, 10).await.unwrap().len(), 1);
}

/// PostgreSQL keeps the plan by which it looks for the row that another refers to; in an import it would go through all new
/// devices for each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_that_another_refers_to_is_looked_up_by_index_though_there_were_few_when_it_was_planned() {
    let url = migrated().await;
    let name = url.rsplit('/').next().unwrap();
    let store = PostgresStore::open(&url).await.unwrap();
    let add = async |number: u32| {
        let name = format!("lamp-{number}");
        store.add_device(&tenant(), &device(&name), &identity(&name)).await.unwrap();
    };
    for number in 0..20 {
        add(number).await;
    }
    // It knows now that there are twenty.
    shared().sql(name, "ANALYZE");
    for number in 20..40 {
        add(number).await;
    }
    store.close().await;
    // Connections tell what they have done when they end, and their end is not waited for.
    let mut look = PgConnection::connect(&url).await.unwrap();
    let read = "SELECT n_tup_ins, seq_scan FROM pg_stat_user_tables WHERE relname = 'device'";
    let seen = async {
        loop {
            let (added, scans): (i64, i64) = sqlx::query_as(read).fetch_one(&mut look).await.unwrap();
            if added == 40 {
                return scans;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(timeout(PATIENCE, seen).await.expect("it is told"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_server_at_work_is_refused_until_the_first_ends() {
    let url = shared().database();
    let first = PostgresStore::serve(&url).await.unwrap();
    let refused = PostgresStore::serve(&url).await.unwrap_err();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
    assert!(refused.to_string().contains("stop that one"), "{refused}");
    // Who only looks is let in.
    PostgresStore::open(&url).await.unwrap().close().await;
    first.close().await;
    let second = PostgresStore::serve(&url).await.unwrap();
    second.try_write(&tenant()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_lost_its_lease_to_another_writes_nothing_until_it_has_it_again() {
    let url = shared().database();
    let store = PostgresStore::serve(&url).await.unwrap();
    let mut other = PgConnection::connect(&url).await.unwrap();
    // Ended by an operator, and taken by another before it is missed.
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database ON oid = database \
                 WHERE locktype = 'advisory' AND datname = current_database()";
    let end = async {
        let mut operator = PgConnection::connect(&url).await.unwrap();
        let count: i64 = sqlx::query_scalar(ended).fetch_one(&mut operator).await.unwrap();
        count
    };
    assert_eq!(end.await, 1);
    sqlx::query("SELECT pg_advisory_lock(1113019222)").execute(&mut other).await.unwrap();
    let refused = store.append(&tenant(), &[event(1, "lamp-1", EventKind::Asked)]).await.unwrap_err();
    assert!(matches!(StorageFault::of(&refused), Some(StorageFault::Away(_))), "{refused:?}");
    let refused = store.set_published(&tenant(), 7).await.unwrap_err();
    assert!(matches!(StorageFault::of(&refused), Some(StorageFault::Away(_))), "{refused:?}");
    store.try_write(&tenant()).await.unwrap_err();
    other.close().await.unwrap();
    while store.append(&tenant(), &[event(1, "lamp-1", EventKind::Asked)]).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_that_lost_its_lease_hears_of_the_one_that_began_since() {
    let url = shared().database();
    let first = PostgresStore::serve(&url).await.unwrap();
    let mut operator = PgConnection::connect(&url).await.unwrap();
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks JOIN pg_database ON oid = database \
                 WHERE locktype = 'advisory' AND datname = current_database()";
    let count: i64 = sqlx::query_scalar(ended).fetch_one(&mut operator).await.unwrap();
    assert_eq!(count, 1);
    let second = PostgresStore::serve(&url).await.unwrap();
    bellwether_store::Store::superseded(&first).await;
    first.append(&tenant(), &[event(1, "lamp-1", EventKind::Asked)]).await.unwrap_err();
    second.append(&tenant(), &[event(1, "lamp-1", EventKind::Asked)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_servers_that_start_at_once_one_migrates_and_both_work() {
    let url = shared().database();
    let (one, other) = tokio::join!(PostgresStore::open(&url), PostgresStore::open(&url));
    let (one, other) = (one.unwrap(), other.unwrap());
    one.try_write(&tenant()).await.unwrap();
    other.try_write(&tenant()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_number_their_events_without_gap_or_double() {
    let url = migrated().await;
    let stores = [PostgresStore::open(&url).await.unwrap(), PostgresStore::open(&url).await.unwrap()];
    let writers = stores.clone().map(|store| {
        tokio::spawn(async move {
            for number in 0..40 {
                let installed = event(1, "lamp-1", EventKind::Installed { grant: number });
                store.append(&tenant(), &[installed]).await.unwrap();
            }
        })
    });
    let mut seen = 0;
    // Whoever pages by number while others write passes none over.
    while seen < 80 {
        for recorded in stores[0].events(&tenant(), Scope::All, seen, 10).await.unwrap() {
            assert_eq!(recorded.seq, seen + 1);
            seen = recorded.seq;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// A data base behind a relay: its own URL, and that of the relay.
async fn relayed() -> (String, String, Relay) {
    let (url, relay) = (migrated().await, Relay::to(shared().socket()).await);
    let through = relay.url(url.rsplit('/').next().unwrap());
    (url, through, relay)
}

/// Keeps others from the ledger, so that their calls are under way.
async fn hold_the_ledger(url: &str) -> PgConnection {
    hold(url, "LOCK TABLE event IN ACCESS EXCLUSIVE MODE").await
}

async fn hold(url: &str, lock: &'static str) -> PgConnection {
    let mut operator = PgConnection::connect(url).await.unwrap();
    for step in ["BEGIN", lock] {
        sqlx::query(step).execute(&mut operator).await.unwrap();
    }
    operator
}

/// Waits until so many calls wait for a lock.
async fn held_up(operator: &mut PgConnection, calls: i64) {
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut *operator).await.unwrap() < calls {
        tokio::task::yield_now().await;
    }
}

fn is_away(error: &StoreError) -> bool {
    matches!(StorageFault::of(error), Some(StorageFault::Away(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_base_whose_machine_vanishes_is_missed_by_all_who_wait_and_used_again_when_it_is_back() {
    let (url, through, relay) = relayed().await;
    let store = PostgresStore::serve(&through).await.unwrap();
    let asked = [event(1, "lamp-1", EventKind::Asked)];
    store.append(&tenant(), &asked).await.unwrap();
    let mut operator = hold_the_ledger(&url).await;
    let read = |store: PostgresStore| async move { store.events(&tenant(), Scope::All, 0, 10).await };
    let reads: Vec<_> = (0..READERS_MAX).map(|_| tokio::spawn(read(store.clone()))).collect();
    let write = tokio::spawn({
        let (store, asked) = (store.clone(), asked.clone());
        async move { store.append(&tenant(), &asked).await }
    });
    held_up(&mut operator, i64::from(READERS_MAX) + 1).await;

    relay.vanish();
    for read in reads {
        let missed = timeout(PATIENCE, read).await.expect("it does not hang").unwrap().unwrap_err();
        assert!(is_away(&missed), "{missed:?}");
    }
    let missed = timeout(PATIENCE, write).await.expect("it does not hang").unwrap().unwrap_err();
    assert!(is_away(&missed), "{missed:?}");
    sqlx::query("ROLLBACK").execute(&mut operator).await.unwrap();

    relay.come_back();
    let goes_on = async { while store.append(&tenant(), &asked).await.is_err() {} };
    timeout(PATIENCE, goes_on).await.expect("it goes on by itself");
    let all: Vec<_> = (0..READERS_MAX * 2).map(|_| read(store.clone())).collect();
    for read in all {
        assert_eq!(timeout(PATIENCE, read).await.expect("it does not hang").unwrap().len(), 2);
    }
}

#[tokio::test]
async fn call_that_is_never_answered_ends_at_its_deadline_though_nobody_looks_after_the_data_base() {
    let (url, through, relay) = relayed().await;
    let store = PostgresStore::open(&through).await.unwrap();
    let mut operator = hold_the_ledger(&url).await;
    let read = tokio::spawn(async move { store.events(&tenant(), Scope::All, 0, 10).await });
    held_up(&mut operator, 1).await;
    relay.vanish();
    // Nothing happens any more, so that the time goes on to the deadline.
    tokio::time::pause();
    let missed = read.await.unwrap().unwrap_err();
    assert!(is_away(&missed), "{missed:?}");
}

#[tokio::test]
async fn server_that_starts_on_a_data_base_that_never_answers_ends_and_says_so() {
    let (_, through, relay) = relayed().await;
    relay.vanish();
    // Nothing happens, so that the time goes on to each deadline.
    tokio::time::pause();
    for opened in [PostgresStore::serve(&through).await, PostgresStore::open(&through).await] {
        let refused = opened.map(drop).unwrap_err();
        assert!(matches!(refused, OpenError::Unreachable { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn server_whose_data_base_vanishes_in_the_middle_of_a_step_ends_and_says_so() {
    let url = shared().database();
    let relay = Relay::to(shared().socket()).await;
    let through = relay.url(url.rsplit('/').next().unwrap());
    let mut operator = PgConnection::connect(&url).await.unwrap();
    operator.lock().await.unwrap();
    let opens = tokio::spawn(async move { PostgresStore::open(&through).await.map(drop) });
    held_up(&mut operator, 1).await;
    relay.vanish();
    // Nothing happens any more, so that the time goes on to the deadline.
    tokio::time::pause();
    let refused = opens.await.unwrap().unwrap_err();
    assert!(matches!(refused, OpenError::Unreachable { .. }), "{refused:?}");
}

/// Long enough for a machine that does much else; the deadline of a statement alone is longer.
const PATIENCE: Duration = Duration::from_secs(45);

#[tokio::test]
async fn data_base_of_another_program_is_refused_and_left_as_it_is() {
    let url = shared().database();
    let name = url.rsplit('/').next().unwrap();
    shared().sql(name, "CREATE TABLE invoice (number BIGINT)");
    assert!(matches!(PostgresStore::open(&url).await, Err(OpenError::Foreign { .. })));
    // Nothing of ours was made: this would fail.
    shared().sql(name, "CREATE TABLE device (name TEXT)");
}

#[tokio::test]
async fn data_base_of_a_later_server_is_refused() {
    let url = migrated().await;
    let name = url.rsplit('/').next().unwrap();
    shared().sql(
        name,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'later (bellwether-server 9.8.7)', TRUE, '', 0)",
    );
    let refused = PostgresStore::open(&url).await;
    assert!(
        matches!(refused, Err(OpenError::Newer { found: 99, by: Some(by), .. }) if by == "bellwether-server 9.8.7")
    );
    assert!(matches!(PostgresStore::schema(&url).await, Err(OpenError::Newer { found: 99, .. })));
}

#[tokio::test]
async fn what_is_wrong_with_the_place_is_said_with_what_to_do() {
    let missing = PostgresStore::open(&shared().url("nowhere")).await.unwrap_err();
    assert!(matches!(missing, OpenError::NoDatabase { .. }), "{missing}");
    let nobody = PostgresStore::open("postgres://bellwether:s3cret@127.0.0.1:1/fleet").await.unwrap_err();
    assert!(matches!(nobody, OpenError::Unreachable { .. }), "{nobody}");
    assert!(!format!("{nobody:?}").contains("s3cret"), "{nobody:?}");
    let garbled = PostgresStore::open("postgres//fleet").await.unwrap_err();
    assert!(garbled.to_string().contains("postgres://USER"), "{garbled}");
}

#[tokio::test]
async fn data_base_that_takes_no_writes_is_told_apart() {
    let url = migrated().await;
    let name = url.rsplit('/').next().unwrap();
    shared().sql(name, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let refused = PostgresStore::open(&url).await.unwrap_err();
    assert!(matches!(StorageFault::of(&refused), Some(StorageFault::Unwritable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_that_another_server_is_putting_is_forgotten_too() {
    let url = migrated().await;
    let store = PostgresStore::open(&url).await.unwrap();
    let (mut other, mut look) =
        (PgConnection::connect(&url).await.unwrap(), PgConnection::connect(&url).await.unwrap());
    for step in [
        "BEGIN",
        // "BWST", as every writer does.
        "SELECT pg_advisory_xact_lock(1113019220)",
        "INSERT INTO session VALUES ('default', '\\x0102030405060708', 'gw-1', 'a', 1, 1, 1, '\\x00', NULL)",
    ] {
        sqlx::query(step).execute(&mut other).await.unwrap();
    }
    let forgets = tokio::spawn(async move { store.forget_sessions_of(&tenant(), "gw-1").await });
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while !forgets.is_finished() {
        if sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut look).await.unwrap() > 0 {
            break;
        }
    }
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(forgets.await.unwrap().unwrap(), 1);
}
