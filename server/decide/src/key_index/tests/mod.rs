//! Tests of the key-index table: every row by cases, single facts, and what holds for every sequence.

mod facts;
mod pair;
mod properties;
mod table;

use super::*;
use crate::fork::fork_after;
use crate::identity::GrantState;
use pair::*;

#[test]
fn row_1_drops_a_wrong_mac_without_alarm() {
    assert_eq!(wrong_mac(), Turned { row: Row::R1, alarm: None });
}

#[test]
fn row_2_alarms_an_unknown_name_and_cuts_it_to_64_characters() {
    let turned = unknown_identity(&"x".repeat(1000));
    let alarm = turned.alarm.expect("an alarm");
    assert_eq!((turned.row, alarm.kind), (Row::R2, AlarmKind::UnknownIdentity));
    assert!(alarm.cause.len() < 150, "{}", alarm.cause);
}

#[test]
fn repeated_bytes_leave_the_state_as_it_was() {
    let mut pair = Pair::new();
    let request = pair.request();
    pair.take(request.clone());
    let decision = pair.decide(request);
    assert!(!decision.changes(&pair.state));
    assert_eq!(decision.state, pair.state);
}

#[test]
fn refused_fork_head_leaves_counter_and_last_answer_of_the_honest_device() {
    let pair = Pair::updated();
    let (mut pair, arrival) = asking(pair, |request| {
        request.fork = [3; 8];
        request.counter = u64::MAX;
    });
    let before = pair.state.clone();
    assert!(!pair.decide(arrival.clone()).changes(&before));
    pair.take(arrival);
    assert_eq!(pair.state, before);
}

#[test]
fn failure_closes_that_grant_number_alone() {
    let mut pair = Pair::new().granted();
    let first = pair.report(Moment::Failed);
    pair.context.open.bytes_present = false;
    let mut pair = pair.granted();
    pair.take(first);
    let states: Vec<_> = pair.state.grants.iter().map(|grant| grant.state).collect();
    assert_eq!(states, [GrantState::Failed, GrantState::Open]);
}

#[test]
fn advance_moves_the_fork_head_and_closes_every_grant_of_the_place() {
    let mut pair = Pair::new().granted();
    pair.context.open.bytes_present = false;
    let report = pair.report(Moment::Installed);
    let mut pair = pair.granted();
    assert!(pair.state.open_grant().is_some_and(|open| open.number != report.grant));
    pair.take(report);
    assert_eq!(pair.state.fork, fork_after([0; 8], &report.digest));
    assert!(pair.state.grants.iter().all(|grant| !grant.is_open()));
    let kept = &pair.state.confirmed[&Place { epoch: 0, index: 0 }];
    assert_eq!((kept.grant, kept.report, kept.manifest), (NOW, report.digest, MANIFEST));
}

#[test]
fn new_grant_that_becomes_a_verdict_is_repeated_as_that_verdict() {
    let mut pair = Pair::new();
    let request = pair.request();
    let decision = pair.decide(request.clone());
    assert!(matches!(decision.reply, Reply::NewGrant(_)));
    pair.state = decision.answered(b"refused: no release");
    assert_eq!(pair.decide(request).reply, Reply::Repeat(b"refused: no release".to_vec()));
    assert_eq!(pair.state.open_grant(), None);
}

#[test]
fn grant_numbers_rise_though_the_clock_stands_or_goes_back() {
    let mut pair = Pair::new().granted();
    pair.context.open.bytes_present = false;
    pair.context.now = 5;
    let pair = pair.granted().granted();
    let numbers: Vec<_> = pair.state.grants.iter().map(|grant| grant.number).collect();
    assert_eq!(numbers, [NOW, NOW + 1, NOW + 2]);
}

#[test]
fn kept_grants_and_reports_stay_within_their_limits_and_keep_the_open_one() {
    let mut pair = Pair::new();
    for _ in 0..crate::identity::REPORTS_MAX + 10 {
        pair = pair.granted().reported(Moment::Failed);
    }
    let pair = pair.granted();
    assert_eq!(pair.state.grants.len(), crate::identity::GRANTS_MAX);
    assert_eq!(pair.state.reports.len(), crate::identity::REPORTS_MAX);
    assert!(pair.state.open_grant().is_some());
}

#[test]
fn clone_that_was_copied_before_its_request_gets_no_grant_and_an_alarm() {
    let (mut pair, mut request, token) = clone_challenged();
    request.echo = Some(token);
    request.counter += 1;
    let decision = pair.take(request);
    assert_eq!(decision.row, Row::R18);
    assert_eq!(pair.state.open_grant(), None);
    assert_eq!(pair.state.place.index, 1);
}

#[test]
fn row_12_with_a_lower_counter_keeps_the_highest() {
    let (mut pair, mut request) = lost_confirm();
    request.counter = 0;
    pair.take(request);
    assert_eq!(pair.state.counter_highest, Some(1));
}

#[test]
fn proves_that_expired_make_room_for_new_ones() {
    let mut pair = Pair::new().granted();
    for number in 0..crate::identity::PROVES_MAX as u64 {
        let mut request = pair.request();
        (request.counter, request.digest) = (1, digest_of(0x66, number));
        pair.take(request);
    }
    pair.context.now += PROVE_LIFETIME_S + 1;
    let mut request = pair.request();
    (request.counter, request.digest) = (1, digest_of(0x66, 99));
    let decision = pair.take(request);
    assert!(matches!(decision.reply, Reply::Verdict(Verdict::Prove(_))));
    assert_eq!(pair.state.proves.len(), 1);
}

#[test]
fn grants_of_places_before_the_last_one_are_forgotten() {
    let mut pair = Pair::updated();
    let mut request = pair.request();
    request.manifest = OTHER_MANIFEST;
    pair.take(request);
    let pair = pair.reported(Moment::Installed);
    let places: Vec<_> = pair.state.grants.iter().map(|grant| grant.place.index).collect();
    assert_eq!((pair.state.place.index, places), (2, vec![1]));
}
