//! Updates that end well.

use crate::testing::server::{Said, Serve};
use crate::testing::{
    Author, Device, Server, ask, device, fetch, new_image, old_image, report, sha256, start,
};
use crate::update::record::{Outcome, Place, State};
use crate::update::{
    AnchorsTaken, Answered, Begun, Facts, Ignored, Installed, Offered, Receipted, Updater, Work, trial,
};
use bellwether_manifests::cose::{P256, PublicKey, SignatureVerifier};
use bellwether_manifests::message::{Confirm, Moment};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::time::Duration;
use std::vec;

/// Boots what the boot state chooses, confirms it where it is on trial, and starts the update core on it.
fn boot(device: Device, author: &Author, self_test: bool) -> Device {
    let mut flash = device.into_flash();
    let selected = trial::select(&mut flash).unwrap();
    if selected.on_trial {
        let settle = if self_test { trial::confirm } else { trial::roll_back };
        settle(&mut flash).unwrap();
        trial::select(&mut flash).unwrap();
    }
    start(flash, author)
}

/// Takes the manifest, asks, fetches and installs, up to the trial.
fn to_trial(device: &mut Device, server: &mut Server<'_>) {
    let manifest = server.manifest(1);
    assert_eq!(device.offer(Duration::ZERO, &manifest).unwrap(), Offered::Stored);
    assert!(matches!(ask(device, server), Answered::Granted { .. }));
    fetch(device, server);
    assert_eq!(device.work(), Work::Install);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
    report(device, server);
    assert_eq!(device.work(), Work::AwaitExecute);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    assert_eq!(device.work(), Work::Reboot);
}

#[test]
fn full_image_runs_and_place_and_fork_head_move_with_its_report() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    to_trial(&mut device, &mut server);
    let mut device = boot(device, &author, true);
    assert_eq!(device.running().digest, sha256(&new_image()));
    assert_eq!(device.running().version_text(), "2.0.0");
    assert_eq!(device.record().place, Place { epoch: 0, index: 1 });
    assert_eq!(device.record().outcome, Outcome { result: 1, refused: None });
    report(&mut device, &mut server);
    assert_eq!((server.index, server.fork), (1, device.record().fork));
    let moments: vec::Vec<Moment> = server.reported.iter().map(|(moment, _)| *moment).collect();
    assert_eq!(moments, [Moment::Decrypted, Moment::Installed]);
}

/// An engine of the board, which counts what it is asked and says no from some time on.
#[derive(Debug)]
struct Engine {
    asked: AtomicU32,
    answers: AtomicU32,
}

impl SignatureVerifier for Engine {
    fn verify(&self, key: &PublicKey, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        let asked = self.asked.fetch_add(1, Relaxed) + 1;
        asked <= self.answers.load(Relaxed) && P256.verify(key, digest, signature)
    }
}

#[test]
fn signatures_are_checked_by_the_engine_of_the_board_alone() {
    let author = Author::new();
    let engine = Engine { asked: AtomicU32::new(0), answers: AtomicU32::new(u32::MAX) };
    let facts = Facts { signatures: &engine, ..crate::testing::facts(&author) };
    let (flash, memory) = (crate::testing::factory_flash(), crate::testing::memory());
    let mut device =
        Updater::start(flash, crate::testing::CountingRandom(7), facts, memory, Duration::ZERO).unwrap();
    let mut server = Server::new(&author, new_image());
    let manifest = server.manifest(1);
    assert_eq!(device.offer(Duration::ZERO, &manifest).unwrap(), Offered::Stored);
    assert_eq!(engine.asked.load(Relaxed), 1);
    let (mut scratch, mut out) = (vec![0; 8192], vec![0; 4096]);
    let length = device.ask(Duration::ZERO, &mut scratch, &mut out).unwrap().unwrap();
    assert_eq!(engine.asked.load(Relaxed), 2, "the manifest that is kept");
    let answer = server.answer(&out[..length]);
    // The manifest again, and then the descriptor, to which it says no.
    engine.answers.store(3, Relaxed);
    let answered = device.answer(Duration::ZERO, &mut scratch, &answer).unwrap();
    assert_eq!((answered, engine.asked.load(Relaxed)), (Answered::Ignored(Ignored::Distributor), 4));
    engine.answers.store(u32::MAX, Relaxed);
    let answered = device.answer(Duration::ZERO, &mut scratch, &answer).unwrap();
    assert!(matches!(answered, Answered::Granted { .. }));
    // An engine that says no to everything lets nothing in.
    engine.answers.store(0, Relaxed);
    let refused = device.offer(Duration::ZERO, &server.manifest(2)).unwrap();
    assert!(matches!(refused, Offered::Refused { .. }), "{refused:?}");
    let refused =
        device.take_anchors(Duration::ZERO, &mut scratch, &author.replacing(&author.edition(2))).unwrap();
    assert!(matches!(refused, AnchorsTaken::Refused(_)), "{refused:?}");
}

#[test]
fn images_that_were_made_for_a_grant_that_is_closed_are_not_taken() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    assert_eq!(device.make_images(&mut crate::testing::patcher()).unwrap(), None);
    assert_eq!(device.offer(Duration::ZERO, &server.manifest(1)).unwrap(), Offered::Stored);
    ask(&mut device, &mut server);
    fetch(&mut device, &server);
    let made = device.make_images(&mut crate::testing::patcher()).unwrap().unwrap();
    assert_eq!(device.work(), Work::Install, "nothing is written yet");
    assert!(device.drop_update(9).unwrap());
    assert_eq!(device.take_images(made).unwrap(), Installed::Unasked);
    // Another grant: what was made before says nothing about its images.
    report(&mut device, &mut server);
    assert_eq!(device.offer(Duration::ZERO, &server.manifest(2)).unwrap(), Offered::Stored);
    ask(&mut device, &mut server);
    fetch(&mut device, &server);
    assert_eq!((device.work(), device.take_images(made).unwrap()), (Work::Install, Installed::Unasked));
    let made = device.make_images(&mut crate::testing::patcher()).unwrap().unwrap();
    assert_eq!(device.take_images(made).unwrap(), Installed::Verified);
}

#[test]
fn report_that_is_put_off_lets_the_next_one_go_first_and_has_its_turn_again() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    let manifest = server.manifest(1);
    assert_eq!(device.offer(Duration::ZERO, &manifest).unwrap(), Offered::Stored);
    ask(&mut device, &mut server);
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
    device.report_put_off();
    assert_eq!(device.pending_moment(), Some(Moment::Decrypted), "there is no other yet");
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, &author, true);
    assert_eq!(device.pending_moment(), Some(Moment::Decrypted));
    device.report_put_off();
    assert_eq!(device.pending_moment(), Some(Moment::Installed));
    device.report_put_off();
    assert_eq!(device.pending_moment(), Some(Moment::Decrypted));
    device.report_put_off();
    for moment in [Moment::Installed, Moment::Decrypted] {
        let receipt = server.receipt(device.pending_report().unwrap().0).unwrap();
        assert_eq!(device.receipt(Duration::ZERO, &receipt).unwrap(), Receipted::Done(moment));
    }
    assert_eq!(device.pending_report(), None);
}

#[test]
fn delta_runs_after_it_was_staged_beside_the_image() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    server.serve = Serve::Delta(old_image());
    to_trial(&mut device, &mut server);
    let device = boot(device, &author, true);
    assert_eq!(device.running().digest, sha256(&new_image()));
}

#[test]
fn second_update_goes_to_the_other_slot_under_the_next_key() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    to_trial(&mut device, &mut server);
    let mut device = boot(device, &author, true);
    report(&mut device, &mut server);
    server.image = crate::testing::image(3, 9_000);
    let manifest = server.manifest(2);
    assert_eq!(device.offer(Duration::ZERO, &manifest).unwrap(), Offered::Stored);
    server.serve = Serve::Delta(new_image());
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
    report(&mut device, &mut server);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut device = boot(device, &author, true);
    report(&mut device, &mut server);
    assert_eq!(device.running().digest, sha256(&server.image));
    assert_eq!((server.index, device.record().place.index), (2, 2));
}

#[test]
fn image_that_fails_its_self_test_is_rolled_back_and_reported_under_its_grant() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    to_trial(&mut device, &mut server);
    let grant = device.record().granted().unwrap().number;
    let mut device = boot(device, &author, false);
    assert_eq!(device.running().digest, sha256(&old_image()));
    assert_eq!(device.record().place.index, 0);
    assert_eq!(device.record().outcome.result, 8);
    assert!(device.owes_failure());
    report(&mut device, &mut server);
    assert_eq!(server.reported.last(), Some(&(Moment::Failed, grant)));
    assert_eq!(device.record().state, State::None);
}

#[test]
fn decrypted_report_moves_the_place_where_the_grant_says_so_and_the_installed_one_then_does_not() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    server.confirm = Confirm::Decrypted;
    to_trial(&mut device, &mut server);
    assert_eq!((device.record().place.index, server.index), (1, 1));
    let fork = device.record().fork;
    let mut device = boot(device, &author, true);
    report(&mut device, &mut server);
    assert_eq!((device.record().place.index, device.record().fork), (1, fork));
    assert_eq!(server.fork, fork);
}

#[test]
fn confirm_without_receipt_is_told_in_the_next_request() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    to_trial(&mut device, &mut server);
    let mut device = boot(device, &author, true);
    let waiting = device.pending_report().unwrap().0.to_vec();
    server.image = crate::testing::image(3, 9_000);
    let manifest = server.manifest(2);
    assert_eq!(device.offer(Duration::ZERO, &manifest).unwrap(), Offered::Stored);
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    let told = server.asked.last().unwrap().unconfirmed.unwrap();
    assert_eq!(told.1, sha256(&waiting));
    assert_eq!((server.index, server.fork), (1, device.record().fork));
}

#[test]
fn nothing_to_do_ends_with_success() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, old_image()));
    let manifest = server.manifest(1);
    device.offer(Duration::ZERO, &manifest).unwrap();
    server.serve = Serve::Verdict(Said::Nothing);
    assert_eq!(ask(&mut device, &mut server), Answered::Nothing);
    assert_eq!(device.record().outcome, Outcome { result: 1, refused: None });
    assert_eq!(device.work(), Work::Nothing);
}

#[test]
fn counters_rise_over_restarts_and_skip_what_was_reserved() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    server.serve = Serve::Verdict(Said::Later(1));
    let manifest = server.manifest(1);
    device.offer(Duration::ZERO, &manifest).unwrap();
    for _ in 0..70 {
        ask(&mut device, &mut server);
    }
    let mut device = start(device.into_flash(), &author);
    ask(&mut device, &mut server);
    let counters: vec::Vec<u64> = server.asked.iter().map(|asked| asked.counter).collect();
    assert!(counters.is_sorted_by(|before, after| before < after), "{counters:?}");
    assert_eq!(counters.last(), Some(&129));
}
