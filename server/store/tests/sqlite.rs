//! The SQLite store against the conformance suite, and what is particular to a file.
#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of test functions")]

use std::path::{Path, PathBuf};

use bellwether_decide::campaign::event::EventKind;
use bellwether_store::conformance::sample::{
    NOW, child, device, endpoint, event, full_state, gateway, identity, tenant,
};
use bellwether_store::conformance::{
    campaigns, catalogue, census, commands, devices, fleet, gateways, imports, ledger, operators,
    publication, retention, sessions, settings, turns,
};
use bellwether_store::device::{Devices, EnrolledDevice, EpochKeys, KeyStep, Security, Transition};
use bellwether_store::gateway::Gateways;
use bellwether_store::ledger::{Ledger, Scope};
use bellwether_store::settings::Settings;
use bellwether_store::{OpenError, Schema, SqliteStore, Tenant};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

macro_rules! run {
    ($($module:ident :: $case:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (_folder, path) = place();
            let store = SqliteStore::open(&path).await.unwrap();
            $module::$case(&store).await;
            store.close().await;
        }
    )*};
}

bellwether_store::for_each_case!(run);

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bellwether.db");
    (folder, path)
}

/// Makes a store with one device and one event, and closes it.
async fn filled() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    fill(&store).await;
    store.close().await;
    (folder, path)
}

async fn fill(store: &SqliteStore) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    store.append(&tenant(), &[event(1, "lamp-1", EventKind::Asked)]).await.unwrap();
}

async fn is_filled(store: &SqliteStore) -> bool {
    store.device(&tenant(), &endpoint("lamp-1")).await.unwrap() == Some(device("lamp-1"))
        && store.events(&tenant(), Scope::All, 0, 10).await.unwrap().len() == 1
}

/// Opens the file without the store's checks.
async fn raw(path: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

async fn run_raw(path: &Path, statement: &'static str) {
    let mut connection = raw(path).await;
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The highest number among the migration files.
fn newest() -> i64 {
    let files = std::fs::read_dir(MIGRATIONS).unwrap().map(|file| file.unwrap().file_name());
    let number =
        |name: std::ffi::OsString| name.to_str().unwrap().split('_').next().unwrap().parse().unwrap();
    files.map(number).max().unwrap()
}

const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite");

/// Makes the file as the server of the first schema left it, with one device and its identity.
async fn of_the_first_schema(path: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let first = "0001_first.sql";
    std::fs::copy(Path::new(MIGRATIONS).join(first), folder.path().join(first)).unwrap();
    let mut connection = raw(path).await;
    let migrator = sqlx::migrate::Migrator::new(folder.path()).await.unwrap();
    migrator.run(&mut connection).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO device (tenant, endpoint, vendor, class, security, dtls_sealed, enabled, added_at) \
         VALUES ('default', 'lamp-1', 'lamps.example', 'lamp', 'psk', CAST('sealed credential' AS BLOB), 1, 1800000000), \
                ('default', 'lamp-2', 'lamps.example', 'lamp', 'none', NULL, 1, 1800000000); \
         INSERT INTO anchors (tenant, edition, document, stored_at) VALUES ('default', 1, x'01', 1800000000);",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn file_of_the_first_schema_keeps_its_devices_and_takes_gateways() {
    let (_folder, path) = place();
    of_the_first_schema(&path).await;
    let store = SqliteStore::open(&path).await.unwrap();
    let plain = EnrolledDevice { security: Security::None, ..device("lamp-2") };
    assert_eq!(store.devices(&tenant(), None, 10).await.unwrap(), vec![device("lamp-1"), plain]);
    assert_eq!(store.anchors_since(&tenant(), 0, 10).await.unwrap().len(), 1);
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    store.add_device(&tenant(), &child("lamp-3", "gw-1"), &identity("lamp-3")).await.unwrap();
    let children = store.children(&tenant(), &endpoint("gw-1"), None, 10).await.unwrap();
    assert_eq!(children, vec![child("lamp-3", "gw-1")]);
}

async fn pragma(path: &Path, statement: &'static str) -> i64 {
    let mut connection = raw(path).await;
    sqlx::query_scalar(statement).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn new_file_has_every_migration_and_our_application_id() {
    let (_folder, path) = place();
    SqliteStore::open(&path).await.unwrap().close().await;
    assert_eq!(pragma(&path, "SELECT max(version) FROM _sqlx_migrations WHERE success").await, newest());
    assert_eq!(pragma(&path, "PRAGMA application_id").await, 0x4257_5354);
}

#[tokio::test]
async fn every_table_has_the_tenant_first_in_its_primary_key() {
    let (_folder, path) = place();
    SqliteStore::open(&path).await.unwrap().close().await;
    let mut connection = raw(&path).await;
    let tables: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT t.name, (SELECT c.name FROM pragma_table_info(t.name) c WHERE c.pk = 1) FROM sqlite_schema t \
         WHERE t.type = 'table' AND t.name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND t.name NOT LIKE 'sqlite%'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert!(tables.len() >= 12, "{tables:?}");
    for (table, first) in tables {
        assert_eq!(first.as_deref(), Some("tenant"), "{table}");
    }
}

/// Makes a file of the first schema with an identity in it, whose state is given as the first server wrote it.
async fn with_one_seed_per_identity(path: &Path, state: Vec<u8>) {
    of_the_first_schema(path).await;
    let mut connection = raw(path).await;
    sqlx::query("INSERT INTO identity VALUES ('default', 'lamp-1', 'lamp-1', 1024, ?, ?, 0, ?)")
        .bind(&b"sealed seed"[..])
        .bind(&b"sealed links"[..])
        .bind(state)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn identity_of_the_first_schema_keeps_its_keys_and_its_place_and_can_go_on() {
    let (_other_folder, other) = filled().await;
    let mut connection = raw(&other).await;
    let state: Vec<u8> =
        sqlx::query_scalar("SELECT state FROM identity").fetch_one(&mut connection).await.unwrap();
    let (_folder, path) = place();
    with_one_seed_per_identity(&path, state).await;
    let store = SqliteStore::open(&path).await.unwrap();
    let kept = store.identity(&Tenant::default(), &endpoint("lamp-1")).await.unwrap().unwrap();
    let new = identity("lamp-1");
    assert_eq!(kept.keys, [EpochKeys { epoch: 0, seed: Some(new.seed), links: new.links }]);
    assert_eq!((kept.chain_length, &kept.state), (1_024, &new.state));
    let state = full_state(1);
    let next = EpochKeys { epoch: 1, ..kept.keys[0].clone() };
    let keys = KeyStep { added: &[next], destroyed_up_to: Some(0) };
    let step = Transition { keys, ..Transition::new(0, &state) };
    store.update_identity(&Tenant::default(), &endpoint("lamp-1"), step).await.unwrap();
    let moved = store.identity(&Tenant::default(), &endpoint("lamp-1")).await.unwrap().unwrap();
    assert_eq!((moved.keys.len(), &moved.keys[0].seed), (2, &None));
}

#[tokio::test]
async fn destroyed_seed_is_nowhere_in_the_file() {
    let (_folder, path) = filled().await;
    let sought = identity("lamp-1").seed.as_bytes().to_vec();
    let found = |path: &Path| std::fs::read(path).unwrap().windows(sought.len()).any(|bytes| bytes == sought);
    assert!(found(&path), "the test looks in the wrong place");
    let store = SqliteStore::open(&path).await.unwrap();
    let state = full_state(1);
    let keys = KeyStep { added: &[], destroyed_up_to: Some(0) };
    let step = Transition { keys, ..Transition::new(0, &state) };
    store.update_identity(&tenant(), &endpoint("lamp-1"), step).await.unwrap();
    store.close().await;
    assert!(!found(&path));
}

#[cfg(unix)]
#[tokio::test]
async fn file_and_its_side_files_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    fill(&store).await;
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert_eq!(files, 3, "the file, its log and the log's index");
}

#[tokio::test]
async fn closed_store_has_everything_in_its_file_and_leaves_no_log() {
    for _ in 0..CLOSED_TIMES {
        let (folder, path) = filled().await;
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [path.file_name().unwrap()]);
    }
}

/// A connection that ends later than the store shows only where the machine is busy: a few more tries find it sooner.
const CLOSED_TIMES: usize = 10;

#[tokio::test]
async fn closed_store_opens_again_with_all_it_had() {
    let (_folder, path) = filled().await;
    assert!(is_filled(&SqliteStore::open(&path).await.unwrap()).await);
}

#[tokio::test]
async fn store_dropped_without_close_opens_again_with_all_it_had() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    fill(&store).await;
    drop(store);
    assert!(is_filled(&SqliteStore::open(&path).await.unwrap()).await);
}

#[tokio::test]
async fn copy_taken_with_its_log_while_the_store_is_open_has_what_was_acknowledged() {
    let (folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    fill(&store).await;
    let copy = folder.path().join("copy.db");
    for suffix in ["", "-wal"] {
        let from = format!("{}{suffix}", path.display());
        std::fs::copy(from, format!("{}{suffix}", copy.display())).unwrap();
    }
    assert!(is_filled(&SqliteStore::open(&copy).await.unwrap()).await);
}

#[tokio::test]
async fn dropped_call_leaves_nothing_half_written_and_the_store_usable() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    let tenant = Tenant::default();
    let (lamp, id) = (device("lamp-1"), identity("lamp-1"));
    // Polled once, so that the call is under way, then dropped as a timeout would.
    let polled = futures_poll_once(store.add_device(&tenant, &lamp, &id)).await;
    assert!(polled.is_none(), "the call had no time to end");
    let kept = store.device(&tenant, &endpoint("lamp-1")).await.unwrap().is_some();
    let identity_kept = store.identity(&tenant, &endpoint("lamp-1")).await.unwrap().is_some();
    assert_eq!(kept, identity_kept);
    store.append(&tenant, &[event(1, "lamp-2", EventKind::Asked)]).await.unwrap();
}

async fn futures_poll_once<F: Future>(call: F) -> Option<F::Output> {
    let mut call = std::pin::pin!(call);
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match call.as_mut().poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn file_with_overwritten_pages_is_refused_as_damaged_and_left_as_it_is() {
    let (_folder, path) = filled().await;
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xFF);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(SqliteStore::open(&path).await, Err(OpenError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn damaged_file_with_a_log_beside_it_is_left_as_it_is() {
    let (folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    fill(&store).await;
    let copy = folder.path().join("copy.db");
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xFF);
    std::fs::write(&copy, &bytes).unwrap();
    std::fs::copy(log(&path), log(&copy)).unwrap();
    assert!(matches!(SqliteStore::open(&copy).await, Err(OpenError::Damaged { .. })));
    assert_eq!(std::fs::read(&copy).unwrap(), bytes);
    assert_eq!(std::fs::read(log(&copy)).unwrap(), std::fs::read(log(&path)).unwrap());
}

#[tokio::test]
async fn truncated_file_is_refused_as_damaged() {
    let (_folder, path) = filled().await;
    let length = std::fs::metadata(&path).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
    assert!(matches!(SqliteStore::open(&path).await, Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn file_that_is_no_data_base_is_refused_as_damaged() {
    let (_folder, path) = place();
    std::fs::write(&path, "a letter to my aunt, much longer than any header of a file\n".repeat(100))
        .unwrap();
    assert!(matches!(SqliteStore::open(&path).await, Err(OpenError::Damaged { .. })));
}

#[tokio::test]
async fn empty_file_is_not_taken_for_a_new_store() {
    let (_folder, path) = place();
    std::fs::write(&path, "").unwrap();
    assert!(matches!(SqliteStore::open(&path).await, Err(OpenError::Damaged { .. })));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[tokio::test]
async fn missing_file_with_a_log_beside_it_is_not_made_anew() {
    let (_folder, path) = place();
    let log = format!("{}-wal", path.display());
    std::fs::write(&log, "what is left of a store").unwrap();
    assert!(matches!(SqliteStore::open(&path).await, Err(OpenError::Damaged { .. })));
    assert!(!path.exists());
}

#[tokio::test]
async fn half_made_file_of_an_interrupted_start_is_made_again() {
    let (_folder, path) = place();
    std::fs::write(format!("{}.new", path.display()), "half a store").unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    fill(&store).await;
    assert!(is_filled(&store).await);
}

#[tokio::test]
async fn data_base_of_another_program_is_refused_and_left_as_it_is() {
    let (_folder, path) = place();
    run_raw(&path, "CREATE TABLE recipe (title TEXT)").await;
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path).await, Err(OpenError::Foreign { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn file_of_a_later_server_is_refused_with_both_schema_numbers() {
    let (_folder, path) = filled().await;
    run_raw(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'later', 1, x'00', 0)",
    )
    .await;
    let refused = SqliteStore::open(&path).await;
    assert!(matches!(refused, Err(OpenError::Newer { found: 99, known, .. }) if known == newest()));
}

#[tokio::test]
async fn file_of_a_later_server_is_refused_with_the_version_that_made_it() {
    let (_folder, path) = filled().await;
    // As the server of now writes it down: the later one is this one with another step.
    run_raw(
        &path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 99, description, 1, x'00', 0 FROM _sqlx_migrations ORDER BY version DESC LIMIT 1",
    )
    .await;
    let refused = SqliteStore::open(&path).await.unwrap_err().to_string();
    let by = concat!("has schema 99, made by bellwether-server ", env!("CARGO_PKG_VERSION"));
    assert!(refused.contains(by) && refused.contains("use the later server"), "{refused}");
}

#[tokio::test]
async fn store_says_which_schema_it_found_and_the_program_that_takes_a_step_signs_it_once() {
    let (_folder, path) = filled().await;
    let known = newest();
    let signed = async || {
        let mut connection = raw(&path).await;
        let last = "SELECT description FROM _sqlx_migrations ORDER BY version DESC LIMIT 1";
        let description: String = sqlx::query_scalar(last).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        description.matches("(bellwether-server ").count()
    };
    for _ in 0..2 {
        let store = SqliteStore::open(&path).await.unwrap();
        assert_eq!(store.found(), Schema { found: Some(known), known });
        store.close().await;
        assert_eq!(signed().await, 1);
    }
    assert_eq!(SqliteStore::schema(&path).await.unwrap(), Schema { found: Some(known), known });
}

#[tokio::test]
async fn file_whose_migration_differs_from_ours_is_refused() {
    let (_folder, path) = filled().await;
    run_raw(&path, "UPDATE _sqlx_migrations SET checksum = x'00'").await;
    assert!(matches!(SqliteStore::open(&path).await, Err(OpenError::Migrate { .. })));
}

#[tokio::test]
async fn folder_that_is_missing_is_named_as_unreachable() {
    let (folder, _path) = place();
    let path = folder.path().join("missing").join("bellwether.db");
    let refused = SqliteStore::open(&path).await;
    assert!(matches!(refused, Err(OpenError::Unreachable { .. })));
}

#[tokio::test]
async fn state_written_by_a_later_server_is_unreadable_and_not_guessed() {
    let (_folder, path) = filled().await;
    run_raw(&path, "UPDATE identity SET state = x'8102'").await;
    let store = SqliteStore::open(&path).await.unwrap();
    let refused = store.identity(&tenant(), &endpoint("lamp-1")).await;
    assert!(matches!(refused, Err(bellwether_store::StoreError::Unreadable { .. })));
}

#[tokio::test]
async fn time_past_the_columns_range_is_refused() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).await.unwrap();
    let late =
        bellwether_decide::campaign::event::Event { at: u64::MAX, ..event(1, "lamp-1", EventKind::Asked) };
    let refused = store.append(&tenant(), &[late]).await;
    assert!(matches!(refused, Err(bellwether_store::StoreError::OutOfBounds { .. })));
    let fine = bellwether_decide::campaign::event::Event { at: NOW, ..event(1, "lamp-1", EventKind::Asked) };
    assert_eq!(store.append(&tenant(), &[fine]).await.unwrap(), 1);
}

#[tokio::test]
async fn file_that_is_cut_within_its_last_page_is_refused_and_left_as_it_is() {
    let (_folder, path) = filled().await;
    let whole = std::fs::read(&path).unwrap();
    for cut in [1, 100, 4_095] {
        let rest = &whole[..whole.len() - cut];
        std::fs::write(&path, rest).unwrap();
        let refused = SqliteStore::open(&path).await.unwrap_err();
        assert!(matches!(refused, OpenError::Damaged { .. }), "{cut}: {refused}");
        assert_eq!(std::fs::read(&path).unwrap(), rest);
    }
    std::fs::write(&path, whole).unwrap();
    assert!(is_filled(&SqliteStore::open(&path).await.unwrap()).await);
}

#[tokio::test]
async fn copy_beside_a_writer_is_of_one_commit_and_refers_to_what_is_kept() {
    let (folder, path) = filled().await;
    let store = SqliteStore::open(&path).await.unwrap();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..200 {
                store
                    .append(&tenant(), &[event(1, "lamp-1", EventKind::Installed { grant: number })])
                    .await
                    .unwrap();
            }
        }
    });
    for copy in 0..5 {
        let to = folder.path().join(format!("copy-{copy}.db"));
        bellwether_store::sqlite::snapshot(&path, &to).await.unwrap();
        let copied = SqliteStore::open(&to).await.unwrap();
        let events = copied.events(&tenant(), Scope::All, 0, 1_000).await.unwrap();
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "a gap");
        copied.close().await;
    }
    writer.await.unwrap();
    let again = bellwether_store::sqlite::snapshot(&path, &folder.path().join("copy-0.db")).await;
    assert!(again.is_err(), "a copy was written over a file");
    store.close().await;
}
