//! Single facts of the rows that reach beyond one message: restore, resync, re-seeding, forward, operators, bundles.

use super::super::*;
use super::pair::*;
use crate::fork::fork_after;
use crate::identity::{Confirm, GrantState, KeptReport, PROVES_MAX, REISSUES_MAX, Reseed, Shares};
use crate::operator::{self, ReissueError};
use crate::refusal::Refusal;

const SHARE: &[u8] = b"device's share";

fn waiting(pair: &Pair) -> Vec<&KeptReport> {
    pair.state.reports.iter().filter(|kept| kept.ahead.is_some()).collect()
}

/// A proved request of a device at this index with this fork head, and an operator's leave to believe it.
fn proving_at(pair: &mut Pair, index: u16, fork: ForkHead) -> Request {
    pair.state = operator::resync(&pair.state, NOW + 60);
    let mut request = pair.request();
    (request.place.index, request.fork, request.manifest) = (index, fork, OTHER_MANIFEST);
    request.echo = Some(pair.challenged(request.clone()));
    pair.counter += 1;
    request.counter = pair.counter;
    request
}

#[test]
fn resync_takes_place_fork_head_and_counter_and_uses_up_the_leave() {
    let mut pair = Pair::new().granted();
    pair.counter = 100;
    let request = proving_at(&mut pair, 3, [7; 8]);
    pair.take(request.clone());
    assert_eq!((pair.state.place.index, pair.state.fork), (3, [7; 8]));
    assert_eq!(pair.state.counter_highest, Some(request.counter));
    assert_eq!(pair.state.permits.resync_until, None);
    assert!(pair.state.open_grant().is_some_and(|open| open.place.index == 3), "it goes on with row 4");
}

#[test]
fn report_that_was_ahead_is_kept_and_moves_the_index_after_a_resync_to_its_place() {
    let mut pair = restored(Pair::new());
    let ahead = Report {
        place: Place { epoch: 0, index: 3 },
        grant: NOW + 9,
        moment: Moment::Installed,
        digest: [0x71; 32],
        manifest: MANIFEST,
    };
    pair.take(ahead);
    assert_eq!(waiting(&pair).len(), 1);
    // The device's request from before that report was held up on its way.
    let request = proving_at(&mut pair, 3, [7; 8]);
    let decision = pair.take(request);
    assert_eq!((decision.row, pair.state.place.index), (Row::R13, 4));
    assert_eq!(pair.state.fork, fork_after([7; 8], &ahead.digest));
    assert_eq!(pair.state.confirmed[&ahead.place].manifest, MANIFEST);
    assert!(waiting(&pair).is_empty());
    assert!(matches!(decision.reply, Reply::Verdict(Verdict::Prove(_))), "its place was left");
}

#[test]
fn reports_below_and_beyond_a_resync_are_recorded_and_wait_on() {
    let mut pair = restored(Pair::new());
    for (index, moment) in [(5, Moment::Installed), (2, Moment::Installed), (3, Moment::Decrypted)] {
        let place = Place { epoch: 0, index };
        let digest = digest_of(0x72, u64::from(index));
        pair.take(Report { place, grant: NOW + 9, moment, digest, manifest: MANIFEST });
    }
    let request = proving_at(&mut pair, 3, [7; 8]);
    let decision = pair.take(request);
    assert_eq!((pair.state.place.index, decision.alarm), (3, None));
    assert_eq!(waiting(&pair).iter().map(|kept| kept.place.index).collect::<Vec<_>>(), [5]);
}

#[test]
fn report_that_was_ahead_gets_the_same_receipt_again_also_after_it_was_run() {
    let mut pair = restored(Pair::new());
    let place = Place { epoch: 0, index: 3 };
    let ahead =
        Report { place, grant: NOW + 9, moment: Moment::Installed, digest: [0x71; 32], manifest: MANIFEST };
    pair.take(ahead);
    let receipt = pair.state.reports[0].receipt.clone();
    let request = proving_at(&mut pair, 4, [7; 8]);
    pair.take(request);
    assert_eq!(pair.decide(ahead).reply, Reply::Repeat(receipt));
}

#[test]
fn replay_after_a_restore_proves_nothing_and_the_honest_echo_goes_through_the_table() {
    let mut pair = Pair::new();
    let replayed = pair.request();
    let mut pair = restored(pair);
    assert!(matches!(pair.take(replayed).reply, Reply::Verdict(Verdict::Prove(_))));
    let request = pair.request();
    let echo = Some(pair.challenged(request));
    let mut request = pair.request();
    request.echo = echo;
    assert_eq!(pair.take(request).row, Row::R4);
    assert!(!pair.state.is_stale(pair.context.restores));
}

#[test]
fn number_of_a_lost_grant_is_never_given_again() {
    let (mut pair, report) = confirming_lost_grant(1);
    pair.take(report);
    assert_eq!(pair.state.grant_highest, NOW + 7);
}

#[test]
fn fork_head_of_a_lost_grant_is_sure_once_a_request_shows_it() {
    let (mut pair, report) = confirming_lost_grant(1);
    pair.take(report);
    assert!(pair.state.fork_unsure);
    let request = pair.request();
    let echo = Some(pair.challenged(request));
    let mut request = pair.request();
    (request.echo, request.manifest) = (echo, OTHER_MANIFEST);
    pair.take(request);
    let (mut pair, other) = asking(pair, |request| request.fork = [3; 8]);
    assert_eq!(pair.decide(other).row, Row::R15);
}

#[test]
fn reseeding_confirm_enters_the_next_epoch_with_the_shares_of_its_grant() {
    let shares = Shares { server: b"server's share".to_vec(), device: SHARE.to_vec() };
    let mut pair = reseeding();
    let grant = pair.state.grants.last_mut().expect("a grant");
    assert_eq!(grant.reseed, Some(Reseed { shares: None }));
    grant.reseed = Some(Reseed { shares: Some(shares.clone()) });
    let report = pair.report(Moment::Installed);
    let decision = pair.take(report);
    assert_eq!(decision.enters, Some(Entered { epoch: 1, shares: Some(shares) }));
    assert_eq!(decision.destroy_seed_of, None, "the device has not used the next seed yet");
    assert_eq!(pair.state.place, Place { epoch: 1, index: 0 });
    assert_eq!(pair.state.epochs_shared, [1].into());
    assert_eq!(pair.state.last_index_of(0), Some(0));
}

#[test]
fn row_12_enters_the_next_epoch_and_destroys_the_seed_in_one_step() {
    let (mut pair, arrival) = reseeded_request(reseeding());
    let decision = pair.take(arrival);
    assert_eq!(decision.enters, Some(Entered { epoch: 1, shares: None }));
    assert_eq!((decision.destroy_seed_of, pair.state.seed_oldest), (Some(0), 1));
}

#[test]
fn row_16_destroys_the_old_seed_once() {
    let mut pair = reseeding().reported(Moment::Installed);
    let mut request = pair.request();
    request.manifest = OTHER_MANIFEST;
    assert_eq!(pair.take(request).destroy_seed_of, Some(0));
    let mut request = pair.request();
    request.manifest = OTHER_MANIFEST;
    assert_eq!(pair.take(request).destroy_seed_of, None);
}

#[test]
fn row_16_leaves_the_seed_to_the_device_while_a_clone_only_computes_the_next_one() {
    let (mut pair, arrival) = asking(Pair::new().granted(), |request| {
        request.place = Place { epoch: 1, index: 0 };
    });
    let decision = pair.take(arrival);
    assert_eq!((decision.row, decision.destroy_seed_of), (Row::R13, None));
    assert_eq!(pair.state.seed_oldest, 0);
}

#[test]
fn share_of_the_device_is_used_only_where_the_grant_reseeds() {
    for (reseed_wanted, expected) in [(true, Some(SHARE.to_vec())), (false, None)] {
        let mut pair = Pair::new();
        pair.context.reseed_wanted = reseed_wanted;
        let (mut pair, arrival) = asking(pair, |request| request.device_share = Some(SHARE.to_vec()));
        match pair.decide(arrival).reply {
            Reply::NewGrant(new) => assert_eq!(new.device_share, expected),
            other => panic!("no grant but {other:?}"),
        }
    }
}

#[test]
fn index_that_a_resync_skipped_is_not_named_as_the_last_of_its_epoch() {
    let mut pair = Pair::updated();
    pair.state = operator::resync(&pair.state, NOW + 60);
    let mut request = pair.request();
    request.place = Place { epoch: 1, index: 0 };
    request.echo = Some(pair.challenged(request.clone()));
    request.counter += 1;
    pair.take(request);
    assert_eq!(pair.state.last_index_of(0), None);
}

#[test]
fn forward_takes_the_counter_of_the_device_and_has_replays_proved() {
    let (pair, _) = forwarded();
    assert_eq!(pair.state.counter_highest, Some(2));
    assert_eq!(pair.state.counter_doubtful, Some(10));
    let (mut beyond, arrival) = asking(pair, |request| {
        (request.counter, request.manifest) = (11, OTHER_MANIFEST);
    });
    assert_eq!(beyond.decide(arrival).row, Row::R4);
}

#[test]
fn clone_that_overhears_a_request_gets_its_grant_and_is_seen_once_either_confirms() {
    // The fork head is all that tells two devices with one seed apart, so its secrecy is what a clone lacks.
    let mut pair = Pair::updated();
    let mut overheard = pair.request();
    overheard.manifest = OTHER_MANIFEST;
    let by_clone = Request { counter: overheard.counter + 1, digest: [0xEE; 32], ..overheard };
    assert!(matches!(pair.take(by_clone).reply, Reply::NewGrant(_)), "the limit that the protocol states");
    let confirmed = pair.report(Moment::Installed);
    pair.take(confirmed);
    let second = Report { digest: [0xEF; 32], ..confirmed };
    assert_eq!(pair.decide(second).alarm.map(|alarm| alarm.kind), Some(AlarmKind::Clone));
}

#[test]
fn block_leaves_reports_and_challenges_as_they_are() {
    let mut pair = blocked(Pair::new().granted()).reported(Moment::Installed);
    assert_eq!(pair.state.place.index, 1);
    let mut request = pair.request();
    (request.place.index, request.fork) = (0, [0; 8]);
    assert_eq!(pair.take(request).row, Row::R14);
    assert_eq!(pair.state.open_grant(), None);
}

#[test]
fn operators_raise_the_revision_and_touch_nothing_else() {
    let state = Pair::updated().state;
    let changed = [
        operator::resync(&state, NOW),
        operator::forward(&state, NOW),
        operator::block(&state, NOW),
        operator::unblock(&state),
        operator::reissue(&state, MANIFEST).expect("it was confirmed"),
    ];
    for mut after in changed {
        assert_eq!(after.revision, state.revision + 1);
        (after.revision, after.blocked_until) = (state.revision, None);
        after.permits = state.permits.clone();
        assert_eq!(after, state);
    }
}

#[test]
fn reissue_is_refused_where_there_is_nothing_to_reissue_or_too_much() {
    let mut state = Pair::updated().state;
    assert_eq!(operator::reissue(&state, OTHER_MANIFEST), Err(ReissueError::NeverConfirmed));
    state.permits.reissue = vec![OTHER_MANIFEST; REISSUES_MAX];
    assert_eq!(operator::reissue(&state, MANIFEST), Err(ReissueError::TooMany));
}

#[test]
fn reissue_that_resolution_turned_down_is_still_there() {
    let mut pair = reissued(Pair::updated());
    let request = pair.request();
    let decision = pair.decide(request);
    assert!(matches!(decision.reply, Reply::NewGrant(_)));
    assert_eq!(decision.answered(b"later").permits.reissue, [MANIFEST]);
}

#[test]
fn same_trouble_again_makes_no_second_alarm_that_day() {
    let (mut pair, request, _) = clone_challenged();
    let mut keys = Vec::new();
    for _ in 0..3 {
        let mut request = request.clone();
        request.echo = Some(pair.challenged(request.clone()));
        request.counter = pair.request().counter;
        let alarm = pair.take(request).alarm.expect("an alarm");
        let endpoint = crate::device::Endpoint::try_from("meter-1").expect("a name");
        keys.push(alarm.occurred(&endpoint, "192.0.2.1:1", None, pair.context.now).key());
        pair = pair.granted_other();
    }
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

fn ahead(pair: &Pair) -> Option<Decision> {
    decide_ahead(&pair.state, MANIFEST, SELECTOR, &pair.context)
}

#[test]
fn bundle_carries_a_new_grant_and_then_the_same_one() {
    let mut pair = Pair::new();
    let decision = ahead(&pair).expect("row 4");
    assert!(decision.changes(&pair.state));
    pair.state = stored_ahead(&decision);
    assert_eq!(pair.state.last, None, "no request is remembered");
    let held = ahead(&pair).expect("row 5");
    assert_eq!(held.reply, Reply::HeldGrant { place: pair.state.place, number: NOW });
    assert!(!held.changes(&pair.state));
    let request = pair.request();
    assert_eq!(pair.take(request).row, Row::R5, "the device that asks gets it too");
}

#[test]
fn bundle_replaces_a_grant_that_expired() {
    let mut pair = Pair::new().granted();
    pair.context.now = NOW + LATER_S + 1;
    assert!(matches!(ahead(&pair).expect("row 6").reply, Reply::NewGrant(_)));
}

#[test]
fn bundle_carries_nothing_for_a_busy_stale_blocked_or_updated_identity() {
    let unsure = {
        let (mut pair, report) = confirming_lost_grant(1);
        pair.take(report);
        pair.state.restores = pair.context.restores;
        pair
    };
    let used_up = {
        let mut pair = Pair::new();
        pair.state = IdentityState::new(u16::MAX);
        pair.context.chain_length = 1;
        pair
    };
    for (what, pair) in [
        ("busy with another manifest", Pair::new().granted_other()),
        ("stale", restored(Pair::new())),
        ("blocked", blocked(Pair::new())),
        ("updated", Pair::updated()),
        ("unsure of its fork head", unsure),
        ("at its end", used_up),
    ] {
        assert_eq!(ahead(&pair), None, "{what}");
    }
}

#[test]
fn bundle_never_replaces_a_good_grant_that_the_device_asked_for_itself() {
    let with_keys = |request: &mut Request| request.keys = Some([1; 32]);
    let with_other_answers = |request: &mut Request| request.selector = [9; 32];
    for change in [with_keys as fn(&mut Request), with_other_answers] {
        let mut pair = Pair::new();
        let mut request = pair.request();
        change(&mut request);
        pair.take(request);
        assert_eq!(ahead(&pair), None);
        pair.context.now = NOW + LATER_S + 1;
        assert!(matches!(ahead(&pair).expect("row 6").reply, Reply::NewGrant(_)), "it expired");
    }
}

#[test]
fn stop_closes_that_grant_alone() {
    let mut pair = Pair::new().granted();
    pair.context.open.bytes_present = false;
    let mut pair = pair.granted();
    let mut request = pair.request();
    request.go = Some(NOW);
    pair.take(request);
    let states: Vec<_> = pair.state.grants.iter().map(|grant| grant.state).collect();
    assert_eq!(states, [GrantState::Closed, GrantState::Open]);
}

#[test]
fn confirmation_of_a_stopped_grant_still_counts() {
    let mut pair = Pair::new().granted();
    pair.context.open.cancelled = true;
    let mut request = pair.request();
    request.go = Some(NOW);
    pair.take(request);
    assert_eq!(pair.reported(Moment::Installed).state.place.index, 1);
}

#[test]
fn blocked_identity_is_told_so_again_in_the_same_bytes() {
    let mut pair = blocked(Pair::new());
    let request = pair.request();
    assert_eq!(pair.take(request.clone()).reply, Reply::Verdict(Verdict::Refused(Refusal::Blocked)));
    assert!(matches!(pair.decide(request).reply, Reply::Repeat(_)));
}

#[test]
fn decrypted_grant_that_moved_the_index_is_no_lost_one_after_a_restore() {
    let pair = Pair::new().granted_confirming(Confirm::Decrypted).reported(Moment::Decrypted);
    let (mut pair, installed) = telling(restored(pair), Moment::Installed, |_| ());
    assert_eq!(pair.take(installed).row, Row::R9a);
    assert_eq!(pair.state.place.index, 1);
}

/// A device whose grant has ended by its own clock, so many seconds ahead, and which says so.
fn asking_ahead_by(ahead_s: u64) -> Decision {
    let mut pair = Pair::new().granted();
    pair.context.open.ended_there = true;
    let request = Request { clock: Some(NOW + ahead_s), ..pair.request() };
    pair.decide(request)
}

#[test]
fn grant_that_ended_by_its_devices_clock_is_replaced_by_one_that_is_judged_by_that_clock() {
    for ahead_s in [LATER_S + 1, 400 * 86_400 + 3_600, CLOCK_AHEAD_S_MAX] {
        let decision = asking_ahead_by(ahead_s);
        let Reply::NewGrant(new) = &decision.reply else { panic!("{:?}", decision.reply) };
        assert_eq!((decision.row, new.judged_at, new.number), (Row::R6, NOW + ahead_s, NOW + 1));
        assert_eq!(decision.alarm, None);
    }
}

#[test]
fn device_whose_clock_is_too_far_ahead_is_put_off_with_an_alarm() {
    let decision = asking_ahead_by(CLOCK_AHEAD_S_MAX + 1);
    assert_eq!(decision.reply, Reply::Verdict(Verdict::Later { delay_s: CLOCK_DELAY_S }));
    assert_eq!(decision.alarm.map(|alarm| alarm.kind), Some(AlarmKind::ClocksApart));
}

#[test]
fn clock_that_is_behind_or_not_told_changes_nothing() {
    let mut pair = Pair::new();
    for clock in [None, Some(0), Some(NOW)] {
        let request = Request { clock, ..pair.request() };
        let Reply::NewGrant(new) = pair.decide(request).reply else { panic!("no grant") };
        assert_eq!(new.judged_at, NOW);
    }
}

#[test]
fn clock_ahead_frees_no_device_from_a_grant_of_another_manifest() {
    let mut pair = Pair::new().granted_other();
    pair.context.open.ended_there = true;
    let request = Request { clock: Some(NOW + LATER_S + 1), ..pair.request() };
    let decision = pair.decide(request);
    assert_eq!(decision.reply, Reply::Verdict(Verdict::Later { delay_s: BUSY_DELAY_S }));
}

#[test]
fn challenges_of_before_the_clock_was_set_back_keep_no_device_waiting() {
    let (mut pair, _) = ahead_proving();
    for _ in 0..PROVES_MAX {
        let request = Request { place: Place { epoch: 0, index: 3 }, ..pair.request() };
        pair.take(request);
    }
    let request = Request { place: Place { epoch: 0, index: 3 }, ..pair.request() };
    assert!(matches!(pair.take(request.clone()).reply, Reply::Verdict(Verdict::Later { .. })));
    pair.context.now -= LATER_S;
    assert!(matches!(pair.take(request).reply, Reply::Verdict(Verdict::Prove(_))));
}
