//! "go?": no image of such a grant is started before a server says so.

use crate::testing::server::{Said, Serve};
use crate::testing::{
    Author, Device, NOW, Server, ask, device, fetch, new_image, report, request, start, take,
};
use crate::update::record::{Outcome, Stage, State};
use crate::update::{Answered, Begun, Ignored, Installed, Work};
use bellwether_manifests::message::{Confirm, GrantOptions, Moment};
use core::time::Duration;

/// A device with a verified image whose grant asks "go?".
fn asking(author: &Author, confirm: Confirm) -> (Device, Server<'_>) {
    let (mut device, mut server) = (device(author), Server::new(author, new_image()));
    server.options = GrantOptions { ask_go: Some(true), ..GrantOptions::default() };
    server.confirm = confirm;
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    fetch(&mut device, &server);
    assert_eq!(device.install(&mut crate::testing::patcher()).unwrap(), Installed::Verified);
    report(&mut device, &mut server);
    assert_eq!(device.work(), Work::AwaitExecute);
    (device, server)
}

#[test]
fn execute_before_go_asks_first_and_swaps_on_go() {
    let author = Author::new();
    for confirm in [Confirm::Both, Confirm::Installed] {
        let (mut device, mut server) = asking(&author, confirm);
        assert_eq!(device.begin_trial().unwrap(), Begun::GoFirst);
        assert_eq!(device.work(), Work::AskGo);
        server.serve = Serve::Verdict(Said::Go);
        assert_eq!(ask(&mut device, &mut server), Answered::Go);
        assert_eq!(server.asked.last().unwrap().go, Some(NOW + 1));
        assert_eq!(device.work(), Work::Reboot);
        let mut flash = device.into_flash();
        assert!(crate::update::trial::select(&mut flash).unwrap().on_trial);
        crate::update::trial::confirm(&mut flash).unwrap();
        let mut device = start(flash, &author);
        report(&mut device, &mut server);
        assert_eq!((server.index, device.record().place.index), (1, 1));
    }
}

#[test]
fn execute_is_not_forgotten_by_a_restart_and_no_image_is_started_by_one() {
    let author = Author::new();
    let (mut device, mut server) = asking(&author, Confirm::Both);
    assert_eq!(device.begin_trial().unwrap(), Begun::GoFirst);
    let mut flash = device.into_flash();
    assert!(!crate::update::trial::select(&mut flash).unwrap().on_trial);
    let mut device = start(flash, &author);
    assert_eq!(device.work(), Work::AskGo);
    assert_eq!(device.begin_trial().unwrap(), Begun::GoFirst);
    server.serve = Serve::Verdict(Said::Go);
    assert_eq!(ask(&mut device, &mut server), Answered::Go);
}

#[test]
fn stop_drops_the_grant_and_what_was_fetched_is_never_started() {
    let author = Author::new();
    let (mut device, mut server) = asking(&author, Confirm::Both);
    device.begin_trial().unwrap();
    server.serve = Serve::Verdict(Said::Stop);
    assert_eq!(ask(&mut device, &mut server), Answered::Stopped);
    assert_eq!((&device.record().state, device.work()), (&State::None, Work::Nothing));
    assert_eq!(device.record().outcome, Outcome { result: 10, refused: None });
    assert_eq!(device.pending_report(), None);
    assert_eq!(device.begin_trial().unwrap(), Begun::NotNow);
    let mut flash = device.into_flash();
    assert!(!crate::update::trial::select(&mut flash).unwrap().on_trial);
}

#[test]
fn go_for_another_grant_or_without_a_question_starts_nothing() {
    let author = Author::new();
    let (mut device, mut server) = asking(&author, Confirm::Both);
    device.begin_trial().unwrap();
    server.serve = Serve::Verdict(Said::GoForAnother);
    assert_eq!(ask(&mut device, &mut server), Answered::NotFollowed { kind: 6 });
    assert_eq!(device.work(), Work::AskGo);
}

#[test]
fn go_or_stop_in_answer_to_another_question_is_not_followed() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    server.serve = Serve::Verdict(Said::Go);
    assert_eq!(ask(&mut device, &mut server), Answered::NotFollowed { kind: 6 });
    server.serve = Serve::Verdict(Said::Stop);
    assert_eq!(ask(&mut device, &mut server), Answered::NotFollowed { kind: 7 });
    assert_eq!(device.work(), Work::Ask);
}

#[test]
fn go_of_an_earlier_question_or_the_grant_itself_is_no_go() {
    let author = Author::new();
    let (mut device, mut server) = (device(&author), Server::new(&author, new_image()));
    server.options = GrantOptions { ask_go: Some(true), ..GrantOptions::default() };
    device.offer(Duration::ZERO, &server.manifest(1)).unwrap();
    let granted = server.answer(&request(&mut device));
    take(&mut device, &granted);
    fetch(&mut device, &server);
    device.install(&mut crate::testing::patcher()).unwrap();
    report(&mut device, &mut server);
    device.begin_trial().unwrap();
    server.serve = Serve::Verdict(Said::Go);
    let earlier = server.answer(&request(&mut device));
    request(&mut device);
    assert!(matches!(take(&mut device, &earlier), Answered::Ignored(Ignored::Open(_))));
    let number = Ignored::Number { number: NOW + 1, highest: NOW + 1 };
    assert_eq!(take(&mut device, &granted), Answered::Ignored(number));
    assert_eq!(device.work(), Work::AskGo);
}

#[test]
fn later_or_refused_in_place_of_go_waits_or_gives_the_update_up() {
    let author = Author::new();
    let (mut device, mut server) = asking(&author, Confirm::Both);
    device.begin_trial().unwrap();
    server.serve = Serve::Verdict(Said::Later(60));
    assert_eq!(ask(&mut device, &mut server), Answered::Later { delay_s: 60, jitter_s: 0 });
    assert_eq!(device.work(), Work::AskGo);
    server.serve = Serve::Verdict(Said::Refused(4));
    assert_eq!(ask(&mut device, &mut server), Answered::Refused { reason: 4 });
    report(&mut device, &mut server);
    assert_eq!(server.reported.last(), Some(&(Moment::Failed, NOW + 1)));
}

#[test]
fn higher_grant_in_place_of_go_replaces_the_one_that_waits() {
    let author = Author::new();
    let (mut device, mut server) = asking(&author, Confirm::Both);
    device.begin_trial().unwrap();
    server.serve = Serve::Full;
    assert!(matches!(ask(&mut device, &mut server), Answered::Granted { .. }));
    let granted = device.record().granted().unwrap();
    assert_eq!((granted.number, device.work()), (NOW + 2, Work::Fetch));
    assert!(matches!(granted.stage, Stage::Accepted(_)));
}
