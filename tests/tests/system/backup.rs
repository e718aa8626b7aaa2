//! Backups made while the server works, and servers restored from them with their devices gone on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use bellwether_api::{CampaignState, Device, DeviceOutcome};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::program::{self, Program};
use bellwether_tests::raw_device::Said;
use bellwether_tests::{images, wait};
use sha2::{Digest, Sha256};

/// Runs `bellwether-server` with a command and gives how it ended and what it said.
fn run(words: &[&str], data: &Path, rest: &[&Path]) -> (ExitStatus, String) {
    let mut command = program::command("bellwether-server");
    command.args(&words[..1]).arg("--data").arg(data).args(&words[1..]).args(rest);
    Program::run(command)
}

fn back_up(fleet: &Fleet, name: &str) -> PathBuf {
    let file = fleet.folder().join(name);
    let (status, said) = run(&["backup"], fleet.server.data(), &[&file]);
    assert!(status.success(), "{said}");
    file
}

/// Kills the server as a disk that dies would, and puts a backup in the place of what it had.
fn restore(fleet: &mut Fleet, file: &Path) -> String {
    fleet.server.kill9();
    let (status, said) = run(&["restore", "--replace"], fleet.server.data(), &[file]);
    assert!(status.success(), "{said}");
    // The file tells tools where the server is; the tests wait for a new one.
    fs::write(fleet.server.data().join("listening.json"), "").expect("written");
    fleet.server.restart();
    said
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn backup_of_a_server_at_work_is_whole_and_its_owners_alone_and_holds_no_master_key() {
    let meters = Meters::on(Fleet::start(), 100_000);
    let mut agents: Vec<_> = (1..=2).map(|number| meter(&meters.fleet, &format!("meter-{number}"))).collect();
    let campaign = meters.launch();
    for agent in &mut agents {
        agent.switch_on(&[]);
    }
    // Or further: at work, however late this looks.
    let at_work = || {
        let outcome = meters.fleet.track(&campaign, "meter-1").outcome;
        (!matches!(outcome, DeviceOutcome::Waiting | DeviceOutcome::Offered)).then_some(())
    };
    wait::until("a device at work", wait::LONG, at_work, || meters.fleet.story(&campaign, "meter-1"));
    let before = names(meters.fleet.folder());
    let file = back_up(&meters.fleet, "backup.tar");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    let mut beside = names(meters.fleet.folder());
    beside.retain(|name| name != "backup.tar" && !name.contains("meter-"));
    assert!(beside.iter().all(|name| before.contains(name)), "{beside:?}");

    let bytes = fs::read(&file).expect("the backup");
    let key = fs::read_to_string(meters.fleet.server.data().join("master.key")).expect("the key");
    let key = key.trim().as_bytes();
    assert!(!bytes.windows(key.len()).any(|window| window == key));
    let raw = hex::decode(key).expect("hexadecimal");
    assert!(!bytes.windows(raw.len()).any(|window| window == raw));

    let (status, said) = run(&["backup"], meters.fleet.server.data(), &[&file]);
    assert!(!status.success() && said.contains("exists already"), "{said}");
    for agent in &agents {
        meters.fleet.wait_outcome(&campaign, &agent.name, DeviceOutcome::Installed);
    }
    assert_eq!(meters.fleet.wait_state(&campaign, CampaignState::Finished).classes[0].installed, 2);
}

#[test]
fn backup_makes_a_server_in_another_folder_that_knows_everything() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    let file = back_up(&meters.fleet, "backup.tar");
    meters.fleet.server.stop();

    let other = meters.fleet.folder().join("server-2");
    let (status, said) = run(&["restore"], &other, &[&file]);
    assert!(!status.success() && said.contains("master.key"), "{said}");
    assert_eq!(names(&other), Vec::<String>::new(), "something is left of a restore that failed");
    fs::copy(meters.fleet.server.data().join("master.key"), other.join("master.key")).expect("copied");
    let (status, said) = run(&["restore"], &other, &[&file]);
    assert!(status.success() && said.contains("challenged once"), "{said}");
    for name in ["bellwether.db", "http.token"] {
        assert_eq!(fs::metadata(other.join(name)).expect("there").permissions().mode() & 0o777, 0o600);
    }
    // It takes the place of the first one.
    let first = meters.fleet.server.data().to_owned();
    fs::rename(&first, meters.fleet.folder().join("server-1")).expect("moved");
    fs::rename(&other, &first).expect("moved");
    fs::write(first.join("listening.json"), "").expect("written");
    meters.fleet.server.restart();
    assert_eq!(meters.fleet.show("meter-1").class, "meter");
    meter.reconnect(meters.fleet.server.coaps());
    let said = meter.prove(&meters.manifest.digest);
    let Said::Grant(again) = said else { panic!("no grant: {said:?}") };
    // The same grant, or a new one; the descriptor beside it has the time at which it was made.
    let same = sealed_grant(&again.answer) == sealed_grant(&granted.answer);
    assert!(again.number > granted.number || same, "{again:?} after {granted:?}");
    meter.install(&again, meters.new_digest());
    assert_eq!(meters.fleet.show("meter-1").index, 1);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
}

/// The first of the two byte strings of an answer.
fn sealed_grant(answer: &[u8]) -> &[u8] {
    let mut decoder = minicbor::Decoder::new(answer);
    assert_eq!(decoder.array().expect("an array"), Some(2));
    decoder.bytes().expect("a grant")
}

#[test]
fn restore_refuses_what_would_lose_or_mix_data_and_changes_nothing() {
    let mut meters = Meters::new();
    meters.fleet.device("meter-1", "meter");
    let data = meters.fleet.server.data().to_owned();
    let file = back_up(&meters.fleet, "backup.tar");
    let refused = |words: &[&str], file: &Path, says: &str| {
        let before = (names(&data), fs::read(data.join("bellwether.db")).expect("read"));
        let (status, said) = run(words, &data, &[file]);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(before == (names(&data), fs::read(data.join("bellwether.db")).expect("read")), "{says}");
    };
    refused(&["restore", "--replace"], &file, "in use by another server");
    meters.fleet.server.stop();
    refused(&["restore"], &file, "--replace");

    let whole = fs::read(&file).expect("read");
    let broken = meters.fleet.folder().join("broken.tar");
    let write = |bytes: &[u8]| fs::write(&broken, bytes).expect("written");
    for cut in [0, 100, whole.len() / 2, whole.len() - 2_000] {
        write(&whole[..cut]);
        refused(&["restore", "--replace"], &broken, "no whole backup");
    }
    for at in [600, whole.len() / 3, whole.len() / 2] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        write(&flipped);
        refused(&["restore", "--replace"], &broken, "no whole backup");
    }
    let key = data.join("master.key");
    let right = fs::read(&key).expect("read");
    fs::write(&key, format!("{}\n", "ab".repeat(32))).expect("written");
    refused(&["restore", "--replace"], &file, "master key");
    fs::write(&key, right).expect("written");
    meters.fleet.server.restart();
    assert_eq!(meters.fleet.show("meter-1").class, "meter");
}

#[test]
fn backup_that_somebody_has_altered_with_its_digests_is_refused() {
    let mut meters = Meters::new();
    let file = back_up(&meters.fleet, "backup.tar");
    meters.fleet.server.stop();
    let data = meters.fleet.server.data().to_owned();
    // A token of his choice, and everything that needs no key made to fit.
    let token = fs::read(data.join("http.token")).expect("the token");
    let mut chosen = token.clone();
    chosen[0] = if token[0] == b'0' { b'1' } else { b'0' };
    let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes)).into_bytes();
    let whole = fs::read(&file).expect("read");
    let altered = replaced(&replaced(&whole, &token, &chosen), &digest(&token), &digest(&chosen));
    fs::write(&file, altered).expect("written");
    let (status, said) = run(&["restore", "--replace"], &data, &[&file]);
    assert!(!status.success() && said.contains("was altered"), "{said}");
    assert_eq!(fs::read(data.join("http.token")).expect("the token"), token);
    meters.fleet.server.restart();
}

/// Replaces what is there once by as many bytes.
fn replaced(whole: &[u8], before: &[u8], after: &[u8]) -> Vec<u8> {
    let found: Vec<_> =
        whole.windows(before.len()).enumerate().filter(|(_, window)| *window == before).collect();
    let [(at, _)] = found[..] else { panic!("it is there {} times", found.len()) };
    [&whole[..at], after, &whole[at + before.len()..]].concat()
}

#[test]
fn interrupted_restore_is_not_taken_for_an_empty_server() {
    let mut meters = Meters::new();
    let file = back_up(&meters.fleet, "backup.tar");
    meters.fleet.server.stop();
    let data = meters.fleet.server.data().to_owned();
    // As it stands once what was there is aside, and the rest has not come yet.
    fs::create_dir(data.join("restoring")).expect("made");
    fs::create_dir(data.join("aside")).expect("made");
    for name in ["bellwether.db", "images"] {
        fs::rename(data.join(name), data.join("aside").join(name)).expect("moved");
    }
    let (status, said) = Program::run(bellwether_tests::server::command(&data));
    assert!(!status.success() && said.contains("was not finished"), "{said}");
    assert!(!data.join("bellwether.db").exists(), "an empty database was made");
    let (status, said) = run(&["restore"], &data, &[&file]);
    assert!(status.success(), "{said}");
    assert!(!data.join("restoring").exists());
    meters.fleet.server.restart();
    let releases: Vec<bellwether_api::Release> = meters.fleet.server.http().read("/v1/releases");
    assert_eq!(releases.len(), 2);
}

fn meter(fleet: &Fleet, name: &str) -> Agent {
    Agent::make_without_patches(fleet, name, "meter", "1.0", "microcontroller")
}

/// Publishes a version, and brings these devices to it.
fn update(meters: &Meters, version: u64, agents: &mut [&mut Agent]) {
    let (manifest, _) = meters.version(version, "");
    let devices: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    let campaign = meters.fleet.launch(&manifest, &format!("--device {}", devices.join(" --device ")));
    for agent in agents {
        agent.run_until_updated();
        meters.fleet.wait_outcome(&campaign, &agent.name, DeviceOutcome::Installed);
    }
}

/// Since the backup: one device confirmed two updates, one confirmed one that it had a grant of, one has half an image
/// of a grant that nobody knows any more, one has a decrypted image, one was never on, one was killed before its report
/// came through.
#[test]
fn old_backup_is_healed_by_the_devices_themselves() {
    let mut meters = Meters::new();
    let mut agents: Vec<Agent> = ["twice", "granted", "half", "decrypted", "fresh", "unheard"]
        .map(|name| meter(&meters.fleet, name))
        .into();
    let [twice, granted, half, decrypted, fresh, unheard] = agents.as_mut_slice() else { unreachable!() };
    let names = [&*twice, granted, half, decrypted, fresh, unheard].map(|agent| agent.name.clone());
    let campaign = meters.launch();
    twice.run_until_updated();
    granted.run_until("granted");
    let backup = back_up(&meters.fleet, "backup.tar");

    granted.run_until_updated();
    half.run_until("frame:12");
    decrypted.run_until("decrypted");
    unheard.run_until("confirmed");
    update(&meters, 3, &mut [&mut *twice]);
    let served: Vec<Device> = names.iter().map(|name| meters.fleet.show(name)).collect();
    assert_eq!(served.iter().map(|device| device.index).collect::<Vec<_>>(), [2, 1, 0, 0, 0, 0]);

    let said = restore(&mut meters.fleet, &backup);
    assert!(said.contains("challenged once"), "{said}");
    assert_eq!(meters.fleet.show("twice").index, 1);
    assert_eq!(meters.fleet.track(&campaign, "granted").outcome, DeviceOutcome::Granted);
    // The backup's campaign goes on by itself, for whoever is not there yet.
    for agent in [&mut *half, decrypted, fresh, unheard] {
        agent.switch_on(&[]);
        agent.wait_status("version 2.0", |status| status["running"]["version"] == "2.0");
        meters.fleet.wait_outcome(&campaign, &agent.name, DeviceOutcome::Installed);
        // Not before it has the receipt too: what it owes it would tell when it is next on, and that be the end of it.
        agent.wait_status("the receipt", |status| status["updated"] == true);
        agent.kill9();
    }
    // One that finished since what the backup has it at is waited for in that campaign until an operator ends it; that
    // holds up no other.
    assert_eq!(meters.fleet.track(&campaign, "granted").outcome, DeviceOutcome::Granted);
    // Everyone gets the next update, wherever it stood.
    let (next, _) = meters.version(4, "");
    let campaign = meters.fleet.launch(&next, "");
    for agent in &mut agents {
        agent.switch_on(&[]);
    }
    for (agent, index) in agents.iter_mut().zip([3, 2, 2, 2, 2, 2]) {
        // What a device still owes of the update before this one it tells first; that is not the end of this one.
        agent.wait_status("version 4.0", |status| status["running"]["version"] == "4.0");
        meters.fleet.wait_outcome(&campaign, &agent.name, DeviceOutcome::Installed);
        assert_eq!(meters.fleet.show(&agent.name).index, index, "{}", agent.name);
        assert_eq!(meters.fleet.alarm_kinds(&agent.name), Vec::<String>::new(), "{}", agent.name);
    }
    let look = || Some(meters.fleet.campaign(&campaign)).filter(|one| one.state == CampaignState::Finished);
    let ended = wait::until("the end of the campaign", wait::LONG, look, || meters.fleet.server.tail());
    assert_eq!(ended.classes[0].installed, 6);
}

#[test]
fn grant_after_a_restore_never_has_the_number_of_one_that_was_lost_with_other_bytes() {
    let mut meters = Meters::new();
    let mut meter = meters.device("meter-1");
    meters.launch();
    let backup = back_up(&meters.fleet, "backup.tar");
    let lost = meter.granted(&meters.manifest.digest);
    restore(&mut meters.fleet, &backup);
    meter.reconnect(meters.fleet.server.coaps());
    let said = meter.prove(&meters.manifest.digest);
    let Said::Grant(again) = said else { panic!("no grant: {said:?}") };
    assert!(again.number > lost.number, "{} after {}", again.number, lost.number);
    // The device had installed the lost one meanwhile: its report is the truth.
    meter.install(&lost, meters.new_digest());
    assert_eq!(meters.fleet.show("meter-1").index, 1);
    assert!(meters.fleet.alarm_kinds("meter-1").is_empty());
}

#[test]
fn image_that_is_damaged_in_the_data_folder_is_left_out_and_told() {
    let meters = Meters::new();
    let data = meters.fleet.server.data();
    let name = hex::encode(images::digest(&meters.old));
    let image = data.join("images").join(&name[..2]).join(&name);
    fs::write(&image, "rotten").expect("written");
    let file = meters.fleet.folder().join("backup.tar");
    let (status, said) = run(&["backup"], data, &[&file]);
    assert!(!status.success() && said.contains("without 1 of the images"), "{said}");
    assert!(file.exists());
}
