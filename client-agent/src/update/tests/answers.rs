//! Answers, frames and receipts that are altered, replayed or for others.

use crate::testing::server::{Parts, Said, Serve};
use crate::testing::{
    Author, CountingRandom, Device, NOW, Server, UPTIME, ask, device, fetch, new_image, old_image, report,
    request, take,
};
use crate::update::fetch::ALTERED_MAX;
use crate::update::record::State;
use crate::update::{Answered, Begun, Fetched, Ignored, Installed, Receipted, Unusable, Work};
use bellwether_keys::mac::OpenError;
use bellwether_manifests::message::{GrantOptions, Moment};
use core::time::Duration;

fn offered(author: &Author) -> (Device, Server<'_>) {
    let (mut device, server) = (device(author), Server::new(author, new_image()));
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    (device, server)
}

/// What comes of a grant that was altered before it was sealed.
fn altered(serve: Serve, alter: fn(&mut Parts)) -> (Answered, Device) {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = serve;
    server.alter = Some(alter);
    let answered = ask(&mut device, &mut server);
    (answered, device)
}

fn is_ignored(serve: Serve, alter: fn(&mut Parts), why: Ignored) {
    let (answered, device) = altered(serve, alter);
    assert_eq!(answered, Answered::Ignored(why));
    assert_eq!((device.work(), device.pending_report()), (Work::Ask, None));
}

fn is_unusable(serve: Serve, alter: fn(&mut Parts), why: Unusable) {
    let (answered, device) = altered(serve, alter);
    assert_eq!(answered, Answered::Unusable(why));
    let failed = device.record().reports[0].as_ref().unwrap();
    assert_eq!((failed.moment, failed.grant), (Moment::Failed, NOW + 1));
    assert_eq!(device.work(), Work::Nothing);
}

#[test]
fn answer_altered_in_any_byte_changes_nothing() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    let answer = server.answer(&request(&mut device));
    for at in (0..answer.len()).step_by(7) {
        let mut altered = answer.clone();
        altered[at] ^= 1;
        let answered = take(&mut device, &altered);
        assert!(matches!(answered, Answered::Ignored(_)), "byte {at}: {answered:?}");
    }
    assert!(matches!(take(&mut device, &answer), Answered::Granted { .. }));
}

#[test]
fn verdict_on_an_earlier_request_is_not_taken_for_one_on_this() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Refused(4));
    let earlier = server.answer(&request(&mut device));
    request(&mut device);
    let wrong = Answered::Ignored(Ignored::Open(OpenError::OtherQuestion));
    assert_eq!(take(&mut device, &earlier), wrong);
    assert_eq!(device.work(), Work::Ask);
}

#[test]
fn answer_without_an_open_request_is_ignored() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    let answer = server.answer(&request(&mut device));
    take(&mut device, &answer);
    assert_eq!(take(&mut device, &answer), Answered::Ignored(Ignored::Unasked));
}

#[test]
fn answer_of_another_device_is_not_authentic_here() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    request(&mut device);
    let mut other = crate::testing::factory_flash();
    let mut store = crate::update::record::RecordStore::new();
    let mut record = store.load(&mut other).unwrap();
    record.seed = bellwether_keys::Seed::new([0x0F; 32]);
    store.save(&mut other, &record).unwrap();
    let mut other = crate::testing::start(other, &author);
    other.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    let (mut scratch, mut out) = (std::vec![0; 8192], std::vec![0; 4096]);
    let length = other.ask(UPTIME, &mut scratch, &mut out).unwrap().unwrap();
    assert_eq!(server.try_answer(&out[..length]), Err(OpenError::Mac));
    let answer = server.answer(&request(&mut device));
    let answered = take(&mut other, &answer);
    assert_eq!(answered, Answered::Ignored(Ignored::Open(OpenError::Mac)));
}

#[test]
fn grant_is_not_taken_twice_nor_below_the_highest() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    let first = server.answer(&request(&mut device));
    take(&mut device, &first);
    device.resource_is_gone();
    request(&mut device);
    assert_eq!(take(&mut device, &first), Answered::SameGrant);
    device.resource_is_gone();
    let second = server.answer(&request(&mut device));
    assert!(matches!(take(&mut device, &second), Answered::Granted { .. }));
    device.resource_is_gone();
    request(&mut device);
    let number = Ignored::Number { number: NOW + 1, highest: NOW + 2 };
    assert_eq!(take(&mut device, &first), Answered::Ignored(number));
}

#[test]
fn grant_for_another_manifest_or_selector_is_ignored() {
    is_ignored(Serve::Full, |parts| parts.grant_manifest[0] ^= 1, Ignored::OtherQuestion);
    is_ignored(Serve::Full, |parts| parts.selector[0] ^= 1, Ignored::OtherQuestion);
    is_ignored(Serve::Full, |parts| parts.descriptor_selector[0] ^= 1, Ignored::OtherQuestion);
}

#[test]
fn descriptor_of_another_content_is_ignored() {
    is_ignored(Serve::Full, |parts| parts.content[0] ^= 1, Ignored::Mismatch);
}

#[test]
fn expired_descriptor_or_grant_is_ignored() {
    is_ignored(Serve::Full, |parts| parts.expires = crate::testing::BUILT, Ignored::Expired);
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.not_after = crate::testing::BUILT;
    assert_eq!(ask(&mut device, &mut server), Answered::Ignored(Ignored::Expired));
}

#[test]
fn descriptor_signed_by_a_stranger_is_ignored() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.strange = true;
    assert_eq!(ask(&mut device, &mut server), Answered::Ignored(Ignored::Distributor));
}

#[test]
fn image_that_the_author_did_not_sign_is_refused() {
    is_unusable(Serve::Full, |parts| parts.installed[0] ^= 1, Unusable::Installed);
}

#[test]
fn delta_whose_base_is_not_what_runs_is_refused() {
    let other_base = crate::testing::image(9, old_image().len());
    is_unusable(Serve::Delta(other_base), |_| {}, Unusable::Precursor);
}

#[test]
fn algorithm_that_is_not_listed_is_refused() {
    is_unusable(Serve::Delta(old_image()), |parts| parts.patch_algorithm = -99, Unusable::Algorithm(-99));
    // AES-192 in counter mode.
    is_unusable(Serve::Full, |parts| parts.algorithm = -65533, Unusable::Algorithm(-65533));
}

#[test]
fn resource_that_is_somewhere_else_is_refused() {
    is_unusable(Serve::Full, |parts| parts.location = "coaps://cdn.example/f".into(), Unusable::Form);
}

#[test]
fn grant_that_needs_later_anchors_is_not_taken_and_not_failed() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.options = GrantOptions { anchors_edition: Some(2), ..GrantOptions::default() };
    let needed = Answered::Ignored(Ignored::AnchorsNeeded { edition: 2 });
    assert_eq!(ask(&mut device, &mut server), needed);
    assert_eq!((device.work(), device.pending_report()), (Work::Ask, None));
    assert_eq!(device.record().grant_highest, 0);
}

#[test]
fn grant_that_did_not_fit_leaves_its_number_behind() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.alter = Some(|parts| parts.installed[0] ^= 1);
    ask(&mut device, &mut server);
    assert_eq!(device.record().grant_highest, NOW + 1);
    assert_eq!(device.record().place.index, 0);
}

#[test]
fn proof_goes_back_once_under_the_same_place() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Prove(b"prove it".to_vec()));
    assert_eq!(ask(&mut device, &mut server), Answered::Prove);
    server.serve = Serve::Verdict(Said::Refused(18));
    assert_eq!(ask(&mut device, &mut server), Answered::Refused { reason: 18 });
    let echoes: std::vec::Vec<_> = server.asked.iter().map(|asked| asked.echo.clone()).collect();
    assert_eq!(echoes, [None, Some(b"prove it".to_vec())]);
    assert_eq!(server.asked[0].selector, server.asked[1].selector);
}

#[test]
fn refused_device_keeps_result_8_and_does_not_ask_again() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Refused(3));
    ask(&mut device, &mut server);
    let device = crate::testing::start(device.into_flash(), &author);
    assert_eq!((device.record().outcome.result, device.record().outcome.refused), (8, Some(3)));
    assert_eq!((device.work(), &device.record().state), (Work::Nothing, &State::None));
}

#[test]
fn later_waits_as_long_as_the_server_says() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Later(77));
    assert_eq!(ask(&mut device, &mut server), Answered::Later { delay_s: 77, jitter_s: 0 });
    assert_eq!(device.work(), Work::Ask);
}

#[test]
fn altered_frame_alone_is_asked_for_again() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    let wanted = device.frame_wanted().unwrap();
    let frame = |number| server.frame(&wanted.root, number).unwrap();
    assert_eq!(device.frame(&frame(0)).unwrap(), Fetched::Stored { number: 0, of: wanted.of });
    let mut altered = frame(1);
    altered[500] ^= 1;
    assert_eq!(device.frame(&altered).unwrap(), Fetched::Altered { number: 1 });
    assert_eq!(device.frame(&frame(1)[..100]).unwrap(), Fetched::Altered { number: 1 });
    assert_eq!(device.frame(&frame(2)).unwrap(), Fetched::Altered { number: 1 });
    assert_eq!(device.frame_wanted().unwrap().number, 1);
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
}

#[test]
fn frame_that_never_comes_right_ends_the_grant_with_a_report() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    for _ in 1..ALTERED_MAX {
        assert_eq!(device.frame(&[0; 1024]).unwrap(), Fetched::Altered { number: 0 });
    }
    assert_eq!(device.frame(&[0; 1024]).unwrap(), Fetched::GivenUp);
    assert_eq!(device.record().outcome.result, 5);
    report(&mut device, &mut server);
    assert_eq!(server.reported, [(Moment::Failed, NOW + 1)]);
}

#[test]
fn fetching_goes_on_where_the_record_says_after_a_restart() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    for number in 0..18 {
        let root = device.frame_wanted().unwrap().root;
        device.frame(&server.frame(&root, number).unwrap()).unwrap();
    }
    let mut device = crate::testing::start(device.into_flash(), &author);
    assert_eq!(device.frame_wanted().unwrap().number, 16);
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
}

#[test]
fn lost_resource_is_asked_for_again_and_the_new_grant_replaces_the_open_one() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    server.forget_resources();
    device.resource_is_gone();
    assert_eq!(device.work(), Work::Ask);
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    assert_eq!(device.record().grant_highest, NOW + 2);
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
}

#[test]
fn receipt_altered_or_of_another_report_leaves_the_report_waiting() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    fetch(&mut device, &server);
    device.install(&mut crate::testing::patcher()).unwrap();
    let waiting = device.pending_report().unwrap().0.to_vec();
    let receipt = server.receipt(&waiting).unwrap();
    let mut altered = receipt.clone();
    *altered.last_mut().unwrap() ^= 1;
    let wrong = Receipted::Ignored(OpenError::Mac);
    assert_eq!(device.receipt(UPTIME, &altered).unwrap(), wrong);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut flash = device.into_flash();
    crate::update::trial::confirm(&mut flash).unwrap();
    let mut device = crate::testing::start(flash, &author);
    assert!(matches!(device.receipt(UPTIME, &receipt).unwrap(), Receipted::Done(Moment::Decrypted)));
    let replayed = Receipted::Ignored(OpenError::OtherQuestion);
    assert_eq!(device.receipt(UPTIME, &receipt).unwrap(), replayed);
    report(&mut device, &mut server);
    assert_eq!(device.receipt(UPTIME, &receipt).unwrap(), Receipted::Unasked);
}

#[test]
fn time_of_the_server_is_believed_up_to_400_days_past_the_newest_signed_time() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    assert_eq!(device.now(UPTIME), crate::testing::BUILT + 5);
    server.serve = Serve::Verdict(Said::Later(1));
    ask(&mut device, &mut server);
    assert_eq!(device.now(UPTIME), NOW);
    assert_eq!(device.record().time_floor, NOW);
}

#[test]
fn anchors_older_than_those_believed_before_stop_the_device() {
    let author = Author::new();
    let mut flash = crate::testing::factory_flash();
    let mut store = crate::update::record::RecordStore::new();
    let mut record = store.load(&mut flash).unwrap();
    record.anchors_edition = 2;
    store.save(&mut flash, &record).unwrap();
    let started = crate::update::Updater::start(
        flash,
        CountingRandom(1),
        crate::testing::facts(&author),
        crate::testing::memory(),
        Duration::ZERO,
    );
    assert!(matches!(started, Err(crate::update::UpdateError::OldAnchors { found: 1, kept: 2 })));
}
