//! Starts that must fail, and say why without making anything anew.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::program::Program;
use bellwether_tests::server;

/// A server that was used and stopped.
fn stopped() -> Meters {
    let mut meters = Meters::new();
    meters.fleet.device("meter-1", "meter");
    assert!(meters.fleet.server.stop().success());
    meters
}

fn data(meters: &Meters) -> PathBuf {
    meters.fleet.server.data().to_owned()
}

/// Starts a server that must not start; gives what it said.
fn refused(data: &Path) -> String {
    let (status, said) = Program::run(server::command(data));
    assert_eq!(status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("bellwether-server: "), "{said}");
    last
}

#[test]
fn stopped_server_starts_again_on_what_it_kept() {
    let mut meters = stopped();
    meters.fleet.server.restart();
    assert_eq!(meters.fleet.show("meter-1").class, "meter");
    let releases: Vec<bellwether_api::Release> = meters.fleet.server.http().read("/v1/releases");
    assert_eq!(releases.len(), 2);
}

#[test]
fn corrupted_database_is_refused_by_its_name_and_left_as_it_is() {
    let meters = stopped();
    let data = data(&meters);
    let (database, key) = (data.join("bellwether.db"), data.join("master.key"));
    let (whole, master) = (fs::read(&database).expect("read"), fs::read(&key).expect("read"));
    let head = [&[0x5a; 100][..], &whole[100..]].concat();
    let half = whole[..whole.len() / 2].to_vec();
    for (what, corrupt) in [("head", head), ("half", half), ("text", b"not a database at all".to_vec())] {
        fs::write(&database, &corrupt).expect("written");
        let said = refused(&data);
        assert!(said.contains("bellwether.db"), "{what}: {said}");
        assert_eq!(fs::read(&database).expect("read"), corrupt, "{what}");
        assert_eq!(fs::read(&key).expect("read"), master, "{what}");
    }
}

#[test]
fn emptied_database_is_not_taken_for_a_new_one() {
    let meters = stopped();
    let database = data(&meters).join("bellwether.db");
    fs::write(&database, b"").expect("written");
    let said = refused(&data(&meters));
    assert!(said.contains("bellwether.db"), "{said}");
}

#[test]
fn other_master_key_is_refused() {
    let meters = stopped();
    let key = data(&meters).join("master.key");
    fs::write(&key, format!("{}\n", "ab".repeat(32))).expect("written");
    let said = refused(&data(&meters));
    assert!(said.contains("master key") && said.contains("restore"), "{said}");
    assert_eq!(fs::read_to_string(&key).expect("read").trim(), "ab".repeat(32));
}

#[test]
fn missing_master_key_is_refused_and_no_new_one_is_drawn() {
    let meters = stopped();
    let key = data(&meters).join("master.key");
    let kept = fs::read(&key).expect("read");
    fs::remove_file(&key).expect("removed");
    let said = refused(&data(&meters));
    assert!(said.contains("master") && said.contains("restore"), "{said}");
    assert!(!key.exists(), "a new key that opens nothing stands in the place of the lost one");
    // Restored, everything is there again.
    let mut meters = meters;
    fs::write(&key, kept).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    meters.fleet.server.restart();
    assert_eq!(meters.fleet.show("meter-1").class, "meter");
}

#[test]
fn malformed_master_key_is_refused() {
    let meters = stopped();
    let key = data(&meters).join("master.key");
    for text in ["", "abcd", &"zz".repeat(32)] {
        fs::write(&key, text).expect("written");
        let said = refused(&data(&meters));
        assert!(said.contains("64 hexadecimal digits"), "{said}");
    }
}

#[test]
fn secrets_are_their_owners_alone_and_a_server_refuses_those_that_are_not() {
    let meters = stopped();
    let data = data(&meters);
    assert_eq!(mode(&data), 0o700);
    for name in ["master.key", "http.token", "connection-ids.key", "bellwether.db", "listening.json"] {
        assert_eq!(mode(&data.join(name)) & 0o077, 0, "{name}");
    }
    assert_eq!(mode(&meters.fleet.folder().join("meter-1.unit")), 0o600);
    assert_eq!(mode(&meters.fleet.folder().join("author.key")), 0o600);
    for name in ["master.key", "http.token", "connection-ids.key"] {
        let path = data.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        let said = refused(&data);
        assert!(said.contains(name) && said.contains("chmod 600"), "{said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
    }
}

#[test]
fn secret_of_connection_ids_that_cant_be_read_is_told_with_both_ways_out() {
    let mut meters = stopped();
    let path = data(&meters).join("connection-ids.key");
    let secret = fs::read(&path).expect("a secret");
    let ways = "or remove it: another one is drawn";
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
    let said = refused(&data(&meters));
    assert!(said.contains("(mode 640): run chmod 600 on it") && said.contains(ways), "{said}");
    // Also to root, who can read every file.
    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("made");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("set");
    let said = refused(&data(&meters));
    assert!(said.contains("connection-ids.key can't be read (Is a directory"), "{said}");
    assert!(said.contains("chown, chmod 600") && said.contains(ways), "{said}");

    fs::remove_dir(&path).expect("removed");
    meters.fleet.server.restart();
    assert_eq!(meters.fleet.show("meter-1").class, "meter");
    assert_ne!(fs::read(&path).expect("a secret"), secret);
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn port_that_is_taken_is_named() {
    let meters = Meters::new();
    let other = tempfile_folder();
    let taken = meters.fleet.server.coaps().to_string();
    let mut command = bellwether_tests::program::command("bellwether-server");
    command.arg("--data").arg(other.path().join("server"));
    command.args(["--http", "127.0.0.1:0", "--coaps", &taken]);
    let (status, said) = Program::run(command);
    assert!(!status.success() && said.contains(&taken), "{said}");
    assert!(said.contains("another server"), "{said}");
}

#[test]
fn second_server_on_the_same_data_is_refused() {
    let meters = Meters::new();
    let said = refused(meters.fleet.server.data());
    assert!(said.contains("another"), "{said}");
    assert_eq!(meters.fleet.server.http().get("/health").status, 200);
}

#[test]
fn misspelt_configuration_is_refused_by_its_key() {
    let folder = tempfile_folder();
    let config = folder.path().join("server.toml");
    fs::write(&config, "ack_timeuot_ms = 100\n").expect("written");
    let mut command = server::command(&folder.path().join("server"));
    command.arg("--config").arg(&config);
    let (status, said) = Program::run(command);
    assert!(!status.success() && said.contains("ack_timeuot_ms"), "{said}");
    assert!(!folder.path().join("server").exists(), "something was made before the configuration was read");
}

#[test]
fn master_key_from_a_command_leaves_no_file_and_must_stay_the_same() {
    let mut fleet = Fleet::start_with(&["--master-key-command", &format!("echo {}", "07".repeat(32))]);
    fleet.device("meter-1", "meter");
    let data = fleet.server.data().to_owned();
    assert!(!data.join("master.key").exists());
    assert!(fleet.server.stop().success());
    fleet.server.restart();
    assert_eq!(fleet.show("meter-1").class, "meter");
    assert!(fleet.server.stop().success());
    for (command, says) in
        [(format!("echo {}", "08".repeat(32)), "master key"), ("exit 3".to_owned(), "command")]
    {
        let mut start = server::command(&data);
        start.args(["--master-key-command", &command]);
        let (status, said) = Program::run(start);
        assert!(!status.success() && said.contains(says), "{command}: {said}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

fn tempfile_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bellwether-test-").tempdir().expect("a folder")
}
