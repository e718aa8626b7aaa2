//! A gateway, or a server, that replays, delays, mixes, invents and alters: the device notices, or goes on.

use crate::testing::server::{Said, Serve};
use crate::testing::{
    Author, BUILT, Device, MemoryFlash, NOW, Server, UPTIME, ask, device, fetch, new_image, old_image,
    report, request, sha256, start, take,
};
use crate::update::fetch::ALTERED_MAX;
use crate::update::record::State;
use crate::update::{AnchorsTaken, Answered, Begun, Fetched, Ignored, Installed, Receipted, Work, trial};
use bellwether_keys::mac::OpenError;
use bellwether_manifests::cbor;
use bellwether_manifests::message::{Answer, Confirm, Moment};
use core::cell::RefCell;
use core::time::Duration;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::vec::Vec;

fn offered(author: &Author) -> (Device, Server<'_>) {
    let (mut device, server) = (device(author), Server::new(author, new_image()));
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    (device, server)
}

/// Grant of one answer, descriptor of another.
fn mixed(grant: &[u8], descriptor: &[u8]) -> Vec<u8> {
    let (grant, descriptor) = (Answer::decode(grant).unwrap(), Answer::decode(descriptor).unwrap());
    cbor::to_vec(&Answer { message: grant.message, descriptor: descriptor.descriptor }).unwrap()
}

#[test]
fn grant_of_the_update_before_is_not_taken_again() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    let first = server.answer(&request(&mut device));
    take(&mut device, &first);
    fetch(&mut device, &server);
    device.install(&mut crate::testing::patcher()).unwrap();
    report(&mut device, &mut server);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut flash = device.into_flash();
    trial::confirm(&mut flash).unwrap();
    let mut device = start(flash, &author);
    report(&mut device, &mut server);
    // The same manifest once more: its grant is of a place that was passed.
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    request(&mut device);
    assert_eq!(take(&mut device, &first), Answered::Ignored(Ignored::Open(OpenError::Mac)));
    assert_eq!((device.record().place.index, device.work()), (1, Work::Ask));
}

#[test]
fn grant_that_failed_is_not_taken_again_at_the_same_place() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    let first = server.answer(&request(&mut device));
    take(&mut device, &first);
    assert!(device.drop_update(10).unwrap());
    report(&mut device, &mut server);
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    request(&mut device);
    let number = Ignored::Number { number: NOW + 1, highest: NOW + 1 };
    assert_eq!(take(&mut device, &first), Answered::Ignored(number));
}

#[test]
fn grant_that_was_held_back_until_it_expired_is_not_taken() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.not_after = BUILT + 60;
    let late = server.answer(&request(&mut device));
    let answered = device.answer(Duration::from_secs(61), &mut std::vec![0; 8192], &late).unwrap();
    assert_eq!(answered, Answered::Ignored(Ignored::Expired));
    assert_eq!(device.record().state, State::Stored(device.record().manifest().unwrap().clone()));
}

#[test]
fn device_that_found_an_answer_expired_tells_its_clock_until_it_takes_a_grant() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.not_after = BUILT;
    assert_eq!(ask(&mut device, &mut server), Answered::Ignored(Ignored::Expired));
    server.not_after = BUILT + 3_600;
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    device.resource_is_gone();
    ask(&mut device, &mut server);
    let told: Vec<Option<u64>> = server.asked.iter().map(|asked| asked.clock).collect();
    assert_eq!(told, [None, Some(BUILT + UPTIME.as_secs()), None]);
}

#[test]
fn descriptor_of_another_answer_is_noticed() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    let full = server.answer(&request(&mut device));
    server.serve = Serve::Delta(old_image());
    let delta = server.answer(&request(&mut device));
    assert_eq!(take(&mut device, &mixed(&delta, &full)), Answered::Ignored(Ignored::Mismatch));
    assert_eq!(take(&mut device, &mixed(&full, &delta)), Answered::Ignored(Ignored::Mismatch));
    assert!(matches!(take(&mut device, &delta), Answered::Granted { base: Some(_), .. }));
}

#[test]
fn grant_without_descriptor_is_not_taken_where_none_is_held() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    let answer = server.answer(&request(&mut device));
    let message = Answer::decode(&answer).unwrap().message;
    let bare = cbor::to_vec(&Answer { message, descriptor: None }).unwrap();
    assert_eq!(take(&mut device, &bare), Answered::Ignored(Ignored::NoDescriptor));
}

#[test]
fn nothing_that_was_invented_or_said_of_another_request_ends_no_update() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Nothing);
    let earlier = server.answer(&request(&mut device));
    request(&mut device);
    let replayed = Answered::Ignored(Ignored::Open(OpenError::OtherQuestion));
    assert_eq!(take(&mut device, &earlier), replayed);
    // Made by someone without the key, for the request that is open.
    let mut invented = server.answer(&request(&mut device));
    *invented.last_mut().unwrap() ^= 1;
    assert_eq!(take(&mut device, &invented), Answered::Ignored(Ignored::Open(OpenError::Mac)));
    assert_eq!(device.work(), Work::Ask);
    server.serve = Serve::Full;
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
}

#[test]
fn prove_of_an_earlier_request_is_not_answered() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Prove(b"earlier".to_vec()));
    let earlier = server.answer(&request(&mut device));
    server.serve = Serve::Verdict(Said::Later(1));
    request(&mut device);
    assert!(matches!(take(&mut device, &earlier), Answered::Ignored(_)));
    server.answer(&request(&mut device));
    assert_eq!(server.asked.last().unwrap().echo, None);
}

#[test]
fn altered_frames_are_fetched_again_and_at_last_elsewhere_or_given_up() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    let wanted = device.frame_wanted().unwrap();
    let mut altered = server.frame(&wanted.root, 0).unwrap();
    altered[0] ^= 1;
    for _ in 1..ALTERED_MAX {
        assert_eq!(device.frame(&altered).unwrap(), Fetched::Altered { number: 0 });
    }
    // The right one, from another way, resets the count.
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
}

#[test]
fn frame_of_another_resource_or_another_number_is_noticed() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Delta(old_image());
    let delta = server.answer(&request(&mut device));
    server.serve = Serve::Full;
    ask(&mut device, &mut server);
    let root = device.frame_wanted().unwrap().root;
    let described = Answer::decode(&delta).unwrap().descriptor.unwrap();
    let payload = bellwether_manifests::message::peek::attached_payload(described).unwrap();
    let descriptor = bellwether_manifests::message::Descriptor::decode(payload).unwrap();
    let other = *descriptor.resources.get(0).unwrap().chain.root;
    for frame in [server.frame(&other, 0).unwrap(), server.frame(&root, 1).unwrap()] {
        assert_eq!(device.frame(&frame).unwrap(), Fetched::Altered { number: 0 });
    }
}

#[test]
fn higher_grant_goes_on_with_the_frames_that_are_there_and_needs_no_descriptor() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    let root = device.frame_wanted().unwrap().root;
    for number in 0..5 {
        device.frame(&server.frame(&root, number).unwrap()).unwrap();
    }
    device.resource_is_gone();
    let content = *device.record().granted().unwrap().descriptor().unwrap().resources.get(0).unwrap().content;
    // The server draws no new key: the bytes are there again, and the grant is a new one.
    server.reuses_key = true;
    server.spares_descriptors = true;
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    let asked = server.asked.last().unwrap();
    assert_eq!((asked.resume, &asked.held), (Some((root, 5)), &std::vec![content]));
    assert_eq!(device.record().granted().unwrap().number, NOW + 2);
    assert_eq!(device.frame_wanted().unwrap().number, 5);
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
}

#[test]
fn descriptor_that_has_expired_is_not_named_as_held() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.alter = Some(|parts| parts.expires = NOW);
    ask(&mut device, &mut server);
    server.alter = None;
    device.resource_is_gone();
    server.answer(&request(&mut device));
    assert_eq!(server.asked.last().unwrap().held.len(), 1);
    server.serve = Serve::Verdict(Said::Later(1));
    // The verdict tells the time, and it is past the descriptor's.
    ask(&mut device, &mut server);
    ask(&mut device, &mut server);
    let asked = server.asked.last().unwrap();
    assert_eq!((asked.held.len(), asked.resume), (0, None));
}

#[test]
fn higher_grant_is_not_kept_once_the_trial_has_begun() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    device.resource_is_gone();
    let asked = request(&mut device);
    let second = server.answer(&asked);
    // The first goes on meanwhile, since its frames come from another way.
    fetch(&mut device, &server);
    device.install(&mut crate::testing::patcher()).unwrap();
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    assert_eq!(take(&mut device, &second), Answered::Ignored(Ignored::Busy));
    assert_eq!(device.record().grant_highest, NOW + 1);
}

#[test]
fn any_answer_any_receipt_and_any_anchors_are_read_without_panic() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    let answer = server.answer(&request(&mut device));
    let anchors = author.replacing(&author.edition(2));
    let (device, mut scratch) = (RefCell::new(device), std::vec![0; 8192]);
    let scratch = RefCell::new(&mut scratch);
    let pieces = (0..3_usize, any::<prop::sample::Index>(), proptest::collection::vec(any::<u8>(), 0..60));
    TestRunner::new(Config::with_cases(400))
        .run(&pieces, |(of, at, bytes)| {
            let (mut device, mut scratch) = (device.borrow_mut(), scratch.borrow_mut());
            // Nothing, an answer or a document, of which a piece was replaced.
            let mut message = [&[][..], &answer, &anchors][of].to_vec();
            let at = at.index(message.len() + 1);
            let end = (at + bytes.len()).min(message.len());
            message.splice(at..end, bytes);
            if message == answer || message == anchors {
                return Ok(());
            }
            let answered = device.answer(UPTIME, &mut scratch, &message).unwrap();
            prop_assert!(matches!(answered, Answered::Ignored(_)), "{answered:?}");
            prop_assert_eq!(device.receipt(UPTIME, &message).unwrap(), Receipted::Unasked);
            let taken = device.take_anchors(UPTIME, &mut scratch, &message).unwrap();
            prop_assert!(matches!(taken, AnchorsTaken::Refused(_)), "{taken:?}");
            Ok(())
        })
        .unwrap();
    assert_eq!(device.borrow().work(), Work::Ask);
}

#[test]
fn update_core_needs_less_memory_than_nine_kilobytes() {
    let bytes = size_of::<Device>() - size_of::<MemoryFlash>();
    assert!(bytes < 9 * 1024, "{bytes} bytes");
}

#[test]
fn every_confirm_moves_the_place_once_and_at_its_own_moment() {
    let author = Author::new();
    for (confirm, moments, after_install) in [
        (Confirm::Decrypted, &[Moment::Decrypted, Moment::Installed][..], 1),
        (Confirm::Installed, &[Moment::Installed][..], 0),
        (Confirm::Both, &[Moment::Decrypted, Moment::Installed][..], 0),
    ] {
        let (mut device, mut server) = offered(&author);
        server.confirm = confirm;
        ask(&mut device, &mut server);
        fetch(&mut device, &server);
        device.install(&mut crate::testing::patcher()).unwrap();
        report(&mut device, &mut server);
        assert_eq!((device.record().place.index, server.index), (after_install, after_install));
        assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
        let mut flash = device.into_flash();
        trial::confirm(&mut flash).unwrap();
        let mut device = start(flash, &author);
        report(&mut device, &mut server);
        let told: Vec<Moment> = server.reported.iter().map(|(moment, _)| *moment).collect();
        assert_eq!(told, moments, "{confirm:?}");
        assert_eq!((server.index, server.fork), (1, device.record().fork), "{confirm:?}");
        assert_eq!(device.running().digest, sha256(&new_image()));
    }
}

#[test]
fn manifest_that_failed_is_asked_for_after_the_receipt_of_its_report_and_another_at_once() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    assert!(device.drop_update(10).unwrap());
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    assert_eq!(device.work(), Work::AwaitReceipt);
    device.offer(Duration::ZERO, &server.manifest(2)).unwrap();
    assert_eq!(device.work(), Work::Ask);
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    assert_eq!(device.work(), Work::AwaitReceipt);
    report(&mut device, &mut server);
    assert_eq!(device.work(), Work::Ask);
}

#[test]
fn time_far_ahead_is_believed_for_400_days_and_no_further() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.now = NOW + 4000 * 86_400;
    server.serve = Serve::Verdict(Said::Later(1));
    ask(&mut device, &mut server);
    assert_eq!(device.record().time_floor, BUILT + 400 * 86_400);
    ask(&mut device, &mut server);
    let device = start(device.into_flash(), &author);
    assert!(device.record().time_floor <= BUILT + 400 * 86_400);
}
