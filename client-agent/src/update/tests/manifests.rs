//! Manifests that are not followed.

use crate::testing::{Author, Server, ask, device, fetch, new_image, old_image, report};
use crate::testing::{CountingRandom, MemoryFlash};
use crate::update::record::State;
use crate::update::{Answered, Begun, Installed, Offered, Updater};
use bellwether_manifests::message::Moment;
use bellwether_manifests::report::Reason;
use core::time::Duration;
use std::string::String;
use std::vec;

type Device = Updater<'static, MemoryFlash, CountingRandom>;

fn offer(device: &mut Device, envelope: &[u8]) -> Offered {
    device.offer(Duration::ZERO, envelope).unwrap()
}

fn result_of(device: &mut Device, envelope: &[u8]) -> (u8, Reason) {
    match offer(device, envelope) {
        Offered::Refused { result, reason } => {
            assert_eq!(device.record().outcome.result, result);
            assert_eq!(device.record().state, State::None);
            (result, reason)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn manifest_of_a_stranger_is_an_integrity_failure_and_nobody_is_told() {
    let author = Author::new();
    let mut device = device(&author);
    let envelope = author.draft(1, &new_image()).sign(&author.stranger).unwrap();
    assert_eq!(result_of(&mut device, &envelope), (5, Reason::Unauthorised));
    assert_eq!(device.pending_report(), None);
}

#[test]
fn altered_manifest_is_never_followed() {
    let author = Author::new();
    let envelope = author.manifest(1, &new_image());
    for at in (0..envelope.len()).step_by(11) {
        let mut device = device(&author);
        let mut altered = envelope.clone();
        altered[at] ^= 0x20;
        let (result, _) = result_of(&mut device, &altered);
        assert!(matches!(result, 5 | 6), "byte {at}: {result}");
    }
}

#[test]
fn manifest_for_another_class_is_unsupported_and_reported_with_grant_0() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    let mut draft = author.draft(1, &new_image());
    draft.classes.truncate(1);
    let envelope = draft.sign(&author.key).unwrap();
    assert_eq!(result_of(&mut device, &envelope), (6, Reason::ConditionFailed));
    assert_eq!(device.pending_report().unwrap().1, "/u");
    report(&mut device, &mut server);
    assert_eq!(server.reported, [(Moment::Failed, 0)]);
}

#[test]
fn refused_manifest_that_comes_again_is_reported_once() {
    let author = Author::new();
    let mut device = device(&author);
    let mut draft = author.draft(1, &new_image());
    draft.classes.truncate(1);
    let envelope = draft.sign(&author.key).unwrap();
    result_of(&mut device, &envelope);
    result_of(&mut device, &envelope);
    assert!(device.record().has_free_report());
}

#[test]
fn sequence_number_below_the_installed_one_is_refused_and_an_equal_one_is_not() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    let manifest = server.manifest(5);
    offer(&mut device, &manifest);
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut flash = device.into_flash();
    crate::update::trial::confirm(&mut flash).unwrap();
    let mut device = crate::testing::start(flash, &author);
    assert_eq!(device.record().manifest_sequences[0], 5);
    assert_eq!(result_of(&mut device, &author.manifest(4, &old_image())), (8, Reason::ConditionFailed));
    assert_eq!(offer(&mut device, &manifest), Offered::Stored);
}

#[test]
fn request_identifier_on_a_foreign_server_is_an_invalid_uri() {
    let author = Author::new();
    for identifier in
        ["coaps://evil.example/u", "coaps://server.example:56840/u", "//evil.example/u", "/u?x=1", "u"]
    {
        let mut device = device(&author);
        let mut draft = author.draft(1, &new_image());
        draft.request_identifier = String::from(identifier);
        let envelope = draft.sign(&author.key).unwrap();
        assert_eq!(result_of(&mut device, &envelope).0, 7, "{identifier}");
    }
}

#[test]
fn request_identifier_may_name_the_server_of_the_unit_file() {
    let author = Author::new();
    let mut device = device(&author);
    let mut draft = author.draft(1, &new_image());
    draft.request_identifier = String::from("coaps://server.example:5684/updates/u");
    let envelope = draft.sign(&author.key).unwrap();
    assert_eq!(offer(&mut device, &envelope), Offered::Stored);
    assert_eq!(device.request_path(), Some("/updates/u"));
}

#[test]
fn version_is_the_one_that_the_class_states_and_without_one_the_text_is_it() {
    let author = Author::new();
    let mut draft = author.draft(1, &new_image());
    for (stated, expected) in [
        (Some(vec![2, 0, -1, 3]), "2.0-rc.3"),
        (Some(vec![i64::MAX, i64::MAX]), ""),
        (None, "meter 1.4, lamp 2.0.0"),
    ] {
        let mut device = device(&author);
        draft.classes[1].version = stated;
        let envelope = draft.sign(&author.key).unwrap();
        assert_eq!(offer(&mut device, &envelope), Offered::Stored);
        assert_eq!(
            device.record().manifest().unwrap().parts[0].as_ref().unwrap().version.as_text(),
            expected
        );
    }
}

#[test]
fn image_larger_than_the_slot_is_refused_before_anything_is_asked() {
    let author = Author::new();
    let mut device = device(&author);
    let envelope = author.manifest(1, &crate::testing::image(2, crate::testing::SLOT_BYTES + 1));
    assert_eq!(result_of(&mut device, &envelope).0, 2);
}

#[test]
fn manifest_after_its_use_before_is_refused() {
    let author = Author::new();
    let mut device = device(&author);
    let mut draft = author.draft(1, &new_image());
    draft.use_before = Some(crate::testing::BUILT - 1);
    let envelope = draft.sign(&author.key).unwrap();
    assert_eq!(result_of(&mut device, &envelope), (8, Reason::ConditionFailed));
}

#[test]
fn refused_manifest_does_not_disturb_the_update_that_is_under_way() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    let manifest = server.manifest(1);
    offer(&mut device, &manifest);
    ask(&mut device, &mut server);
    let envelope = author.draft(2, &old_image()).sign(&author.stranger).unwrap();
    assert!(matches!(offer(&mut device, &envelope), Offered::Refused { result: 5, .. }));
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
}

#[test]
fn newer_manifest_replaces_the_one_that_is_worked_on_and_its_grant_is_reported_failed() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    let manifest = server.manifest(1);
    offer(&mut device, &manifest);
    ask(&mut device, &mut server);
    let grant = device.record().granted().unwrap().number;
    assert_eq!(offer(&mut device, &manifest), Offered::Known);
    assert_eq!(offer(&mut device, &author.manifest(2, &new_image())), Offered::Stored);
    report(&mut device, &mut server);
    assert_eq!(server.reported, [(Moment::Failed, grant)]);
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
}

#[test]
fn refused_manifests_leave_a_slot_for_the_report_that_the_trial_owes() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    let manifest = server.manifest(1);
    offer(&mut device, &manifest);
    ask(&mut device, &mut server);
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    // Before it restarts, the device is offered what is not for it.
    for sequence in 2..4 {
        let mut draft = author.draft(sequence, &new_image());
        draft.classes.truncate(1);
        let envelope = draft.sign(&author.key).unwrap();
        assert!(matches!(offer(&mut device, &envelope), Offered::Refused { result: 6, .. }));
    }
    let mut flash = device.into_flash();
    crate::update::trial::confirm(&mut flash).unwrap();
    let mut device = crate::testing::start(flash, &author);
    assert_eq!(device.record().place.index, 1);
    report(&mut device, &mut server);
    assert_eq!(server.reported.last().map(|(moment, _)| *moment), Some(Moment::Installed));
    assert_eq!((server.index, server.fork), (1, device.record().fork));
}

#[test]
fn manifest_that_expires_before_its_grant_is_reported_with_grant_0() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    let mut draft = author.draft(1, &new_image());
    draft.use_before = Some(crate::testing::NOW);
    assert_eq!(offer(&mut device, &draft.sign(&author.key).unwrap()), Offered::Stored);
    // The verdict tells the time, and it is past the manifest's.
    server.serve = crate::testing::server::Serve::Verdict(crate::testing::server::Said::Later(1));
    ask(&mut device, &mut server);
    let (mut scratch, mut out) = (std::vec![0; 8192], std::vec![0; 4096]);
    assert_eq!(device.ask(crate::testing::UPTIME, &mut scratch, &mut out).unwrap(), None);
    assert_eq!(device.record().state, State::None);
    report(&mut device, &mut server);
    assert_eq!(server.reported, [(Moment::Failed, 0)]);
}
