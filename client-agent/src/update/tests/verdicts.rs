//! Forward, elsewhere and later.

use crate::testing::server::{Said, Serve};
use crate::testing::{
    Author, Device, NOW, Server, UPTIME, ask, device, fetch, new_image, report, request, start, take,
};
use crate::update::record::{Place, State};
use crate::update::{Answered, Begun, Ignored, Installed, Work};
use bellwether_keys::mac::{self, OpenError};
use bellwether_manifests::cbor;
use bellwether_manifests::message::{self, Answer, Confirm, Detail, Later, List, Moment, Verdict, Window};
use core::time::Duration;
use std::vec::Vec;

const HEAD: [u8; 8] = *b"new head";

fn offered(author: &Author) -> (Device, Server<'_>) {
    let (mut device, server) = (device(author), Server::new(author, new_image()));
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    (device, server)
}

fn at(epoch: u16, index: u16) -> Place {
    Place { epoch, index }
}

#[test]
fn forwarded_device_goes_on_from_the_new_place_in_this_epoch_or_a_later_one() {
    let author = Author::new();
    for place in [at(0, 0), at(0, 7), at(0, 1023), at(1, 0), at(3, 40)] {
        let (mut device, mut server) = offered(&author);
        server.serve = Serve::Verdict(Said::Forward(place, HEAD, NOW + 50));
        assert_eq!(ask(&mut device, &mut server), Answered::Forwarded { place });
        let device = start(device.into_flash(), &author);
        let record = device.record();
        assert_eq!((record.place, record.fork, record.grant_highest), (place, HEAD, NOW + 50));
    }
}

#[test]
fn forwarded_device_updates_under_the_keys_of_the_new_place() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Forward(at(2, 5), HEAD, NOW));
    ask(&mut device, &mut server);
    server.serve = Serve::Full;
    assert_eq!(device.work(), Work::Ask);
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
    report(&mut device, &mut server);
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut flash = device.into_flash();
    crate::update::trial::confirm(&mut flash).unwrap();
    let mut device = start(flash, &author);
    report(&mut device, &mut server);
    assert_eq!((server.index, server.fork), (6, device.record().fork));
    assert_eq!(device.record().place, at(2, 6));
}

#[test]
fn device_is_never_moved_backward() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Forward(at(1, 3), HEAD, NOW));
    ask(&mut device, &mut server);
    for place in [at(0, 1000), at(1, 2)] {
        let nonce = nonce_of(&request(&mut device));
        let key = server.down_key(place.of(crate::testing::ID));
        let detail = Detail::Forward { fork: &HEAD, grant: NOW };
        let verdict = Verdict { place: key.place(), nonce: &nonce, now: NOW, detail };
        let sealed = mac::seal_verdict_to_vec(&key, &verdict).unwrap();
        let wrong = Answered::Ignored(Ignored::Open(OpenError::OtherPlace));
        assert_eq!(take(&mut device, &answer(&sealed)), wrong, "{place:?}");
    }
    assert_eq!(device.record().place, at(1, 3));
}

#[test]
fn place_past_the_chain_or_many_epochs_ahead_is_not_even_derived() {
    let author = Author::new();
    let (mut device, server) = offered(&author);
    let key = server.down_key(at(0, 0).of(crate::testing::ID));
    for place in [at(0, 1024), at(17, 0), at(u16::MAX, u16::MAX)] {
        let nonce = nonce_of(&request(&mut device));
        let stored = bellwether_keys::Secret::new(*key.expose());
        let key = bellwether_keys::DownKey::stored(stored, &place.of(crate::testing::ID)).unwrap();
        let detail = Detail::Forward { fork: &HEAD, grant: NOW };
        let verdict = Verdict { place: key.place(), nonce: &nonce, now: NOW, detail };
        let sealed = mac::seal_verdict_to_vec(&key, &verdict).unwrap();
        let wrong = Answered::Ignored(Ignored::Open(OpenError::OtherPlace));
        assert_eq!(take(&mut device, &answer(&sealed)), wrong, "{place:?}");
    }
}

#[test]
fn forward_under_the_key_of_the_place_that_asked_moves_nothing() {
    let author = Author::new();
    let (mut device, server) = offered(&author);
    let nonce = nonce_of(&request(&mut device));
    // The payload says (0, 7), the MAC is under the key of (0, 0).
    let key = server.down_key(at(0, 0).of(crate::testing::ID));
    let stored = bellwether_keys::Secret::new(*key.expose());
    let key = bellwether_keys::DownKey::stored(stored, &at(0, 7).of(crate::testing::ID)).unwrap();
    let detail = Detail::Forward { fork: &HEAD, grant: NOW };
    let verdict = Verdict { place: key.place(), nonce: &nonce, now: NOW, detail };
    let sealed = mac::seal_verdict_to_vec(&key, &verdict).unwrap();
    let wrong = Answered::Ignored(Ignored::Open(OpenError::Mac));
    assert_eq!(take(&mut device, &answer(&sealed)), wrong);
    assert_eq!(device.record().place, Place::default());
}

#[test]
fn forward_of_an_earlier_request_moves_nothing() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Forward(at(0, 7), HEAD, NOW));
    let earlier = server.answer(&request(&mut device));
    request(&mut device);
    let wrong = Answered::Ignored(Ignored::Open(OpenError::OtherQuestion));
    assert_eq!(take(&mut device, &earlier), wrong);
    assert_eq!(device.record().place, Place::default());
}

#[test]
fn open_grant_of_the_place_before_gives_way_to_a_new_one_after_forward() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    ask(&mut device, &mut server);
    device.resource_is_gone();
    server.serve = Serve::Verdict(Said::Forward(at(1, 0), HEAD, NOW + 10));
    assert_eq!(ask(&mut device, &mut server), Answered::Forwarded { place: at(1, 0) });
    assert!(matches!(device.record().state, State::Stored(_)));
    server.last_grant = NOW + 10;
    server.serve = Serve::Full;
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
}

#[test]
fn reports_of_the_place_before_are_delivered_after_forward_and_lead_nowhere_any_more() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.confirm = Confirm::Decrypted;
    ask(&mut device, &mut server);
    fetch(&mut device, &server);
    device.install(&mut crate::testing::patcher()).unwrap();
    assert_eq!(device.begin_trial().unwrap(), Begun::Trial);
    let mut flash = device.into_flash();
    crate::update::trial::confirm(&mut flash).unwrap();
    let mut device = start(flash, &author);
    // One report is receipted, the other waits while an operator moves the device on.
    let receipt = server.receipt(device.pending_report().unwrap().0).unwrap();
    device.receipt(UPTIME, &receipt).unwrap();
    server.image = crate::testing::image(3, 9_000);
    device.offer(Duration::ZERO, &server.manifest(2)).unwrap();
    server.serve = Serve::Verdict(Said::Forward(at(2, 1), HEAD, NOW + 10));
    ask(&mut device, &mut server);
    server.serve = Serve::Verdict(Said::Later(1));
    ask(&mut device, &mut server);
    assert_eq!(server.asked.last().unwrap().unconfirmed, None);
    report(&mut device, &mut server);
    assert_eq!(server.reported.last().unwrap().0, Moment::Installed);
}

#[test]
fn confirm_that_led_to_a_place_is_told_no_more_once_an_operator_put_another_head_there() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.confirm = Confirm::Decrypted;
    ask(&mut device, &mut server);
    fetch(&mut device, &server);
    device.install(&mut crate::testing::patcher()).unwrap();
    assert!(device.drop_update(10).unwrap());
    server.image = crate::testing::image(3, 9_000);
    device.offer(Duration::ZERO, &server.manifest(2)).unwrap();
    server.serve = Serve::Verdict(Said::Forward(at(0, 1), HEAD, NOW + 10));
    assert_eq!(ask(&mut device, &mut server), Answered::Forwarded { place: at(0, 1) });
    assert!(server.asked.last().unwrap().unconfirmed.is_some());
    server.serve = Serve::Verdict(Said::Later(1));
    ask(&mut device, &mut server);
    assert_eq!(server.asked.last().unwrap().unconfirmed, None);
}

#[test]
fn other_server_is_followed_where_the_unit_file_names_it() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Elsewhere(
        ["coaps://evil.example/u", "coaps://server.example:5684/other"].to_vec(),
    ));
    assert_eq!(ask(&mut device, &mut server), Answered::Elsewhere { server: Some(0) });
    let device = start(device.into_flash(), &author);
    assert_eq!((device.request_path(), device.work()), (Some("/other"), Work::Ask));
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Elsewhere(["/near"].to_vec()));
    assert_eq!(ask(&mut device, &mut server), Answered::Elsewhere { server: None });
    assert_eq!(device.request_path(), Some("/near"));
}

#[test]
fn server_that_the_unit_file_does_not_name_is_not_followed() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Elsewhere(["coaps://evil.example/u"].to_vec()));
    assert_eq!(ask(&mut device, &mut server), Answered::NotFollowed { kind: 4 });
    assert_eq!((device.request_path(), device.work()), (Some("/u"), Work::Ask));
}

#[test]
fn later_waits_for_the_delay_the_time_and_the_window_and_jitter_stays_in_it() {
    let author = Author::new();
    let (mut device, server) = offered(&author);
    let second = u32::try_from(NOW % 86_400).unwrap();
    let in_an_hour = |duration_s| Window { start_s: (second + 3600) % 86_400, duration_s, weekdays: 0x7f };
    for (delay_s, not_before, window, expected) in [
        (10, None, None, (10, 600)),
        (10, Some(NOW + 100), None, (100, 600)),
        (500, Some(NOW + 100), None, (500, 600)),
        (10, None, Some(in_an_hour(300)), (3600, 299)),
        (3700, None, Some(in_an_hour(300)), (3700, 199)),
        (3600 + 300, None, Some(in_an_hour(300)), (86_400 + 3600, 299)),
    ] {
        let nonce = nonce_of(&request(&mut device));
        let windows: Vec<Window> = window.into_iter().collect();
        let later = Later { delay_s, not_before, windows: List::new(&windows), jitter_s: 600 };
        let key = server.down_key(Place::default().of(crate::testing::ID));
        let verdict = Verdict { place: key.place(), nonce: &nonce, now: NOW, detail: Detail::Later(later) };
        let sealed = mac::seal_verdict_to_vec(&key, &verdict).unwrap();
        let (delay_s, jitter_s) = expected;
        assert_eq!(take(&mut device, &answer(&sealed)), Answered::Later { delay_s, jitter_s });
    }
}

fn answer(message: &[u8]) -> Vec<u8> {
    cbor::to_vec(&Answer { message, descriptor: None }).unwrap()
}

fn nonce_of(request: &[u8]) -> [u8; 8] {
    let payload = message::peek::attached_payload(request).unwrap();
    *message::UpdateRequest::decode(payload).unwrap().nonce
}

#[test]
fn power_cut_takes_the_time_that_verdicts_told_back_by_less_than_a_day() {
    let author = Author::new();
    let (mut device, mut server) = offered(&author);
    server.serve = Serve::Verdict(Said::Later(600));
    // Said every ten minutes for three days, and nothing else is written meanwhile.
    for now in (NOW..NOW + 3 * 86_400).step_by(600) {
        server.now = now;
        ask(&mut device, &mut server);
    }
    let told = server.now;
    let mut flash = device.into_flash();
    flash.power_on();
    let kept = start(flash, &author).record().time_floor;
    assert!(kept > told - 86_400, "{kept} of {told}");
}
