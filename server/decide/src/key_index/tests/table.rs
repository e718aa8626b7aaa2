//! The table, a case a line: the row that must fit, what stands and arrives, what must come out.

use super::pair::*;
use crate::alarm::AlarmKind;
use crate::identity::IdentityState;
use crate::identity::{Confirm, Moment, Place};
use crate::key_index::{Arrival, BUSY_DELAY_S, Decision, PROVE_LIFETIME_S, Reply, Report, Row, Verdict};
use crate::operator;
use crate::refusal::Refusal;

/// What must come out of a case.
#[derive(Debug)]
enum Expected {
    New(u64),
    Held(u64),
    Same(&'static str),
    Nothing,
    Later(u32),
    Refused(Refusal),
    Prove,
    Receipt,
    Go(u64),
    Stop(u64),
    /// Index of the new place, highest grant number.
    Forward(u16, u64),
    /// A new grant that leads to the next epoch.
    Reseeding(u64),
}

struct Case {
    row: Row,
    what: &'static str,
    /// Brings the state and the message.
    given: fn() -> (Pair, Arrival),
    reply: Expected,
    alarm: Option<AlarmKind>,
    /// Place after it.
    index: u16,
}

const fn case(
    row: Row,
    what: &'static str,
    given: fn() -> (Pair, Arrival),
    reply: Expected,
    alarm: Option<AlarmKind>,
    index: u16,
) -> Case {
    Case { row, what, given, reply, alarm, index }
}

const SUSPECT: Expected = Expected::Refused(Refusal::IdentityInDoubt);
const SENT: Expected = Expected::Refused(Refusal::AlreadySent);
const BLOCKED: Expected = Expected::Refused(Refusal::Blocked);
const BEHIND: Expected = Expected::Refused(Refusal::AheadOfServer);

#[rustfmt::skip]
const TABLE: &[Case] = &[
    case(Row::R3, "same request again gets the same bytes", || {
        let mut pair = Pair::new();
        let request = pair.request();
        pair.take(request.clone());
        (pair, request.into())
    }, Expected::Same("answer 1"), None, 0),
    case(Row::R3, "request before the last one, replayed", || {
        let mut pair = Pair::new();
        let request = pair.request();
        pair.take(request.clone());
        (pair.granted(), request.into())
    }, Expected::Prove, None, 0),
    case(Row::R3, "another request with the last counter", || {
        asking(Pair::new().granted(), |request| { request.counter = 1; request.digest = [9; 32]; })
    }, Expected::Prove, None, 0),
    case(Row::R3, "proved in time, but another request went further meanwhile", || {
        let (mut pair, arrival) = stale_counter_proving(3);
        pair.counter = 10;
        (pair.granted(), arrival)
    }, Expected::Prove, None, 0),
    case(Row::R3, "echo that was never issued is as none", || {
        asking(Pair::new().granted(), |request| { request.counter = 1; request.echo = Some(vec![9; 16]); })
    }, Expected::Prove, None, 0),
    case(Row::R3, "four proves out already: later", || {
        let mut pair = Pair::new().granted();
        for number in 0..4 {
            let mut request = pair.request();
            (request.counter, request.digest) = (1, digest_of(0x66, number));
            pair.take(request);
        }
        asking(pair, |request| request.counter = 1)
    }, Expected::Later(60), None, 0),

    case(Row::R3, "first request after a restore, though its counter is good", || {
        asking(restored(Pair::updated()), |_| ())
    }, Expected::Prove, None, 1),
    case(Row::R3, "counter that may be a replay after a forward", || {
        asking(forwarded().0, |_| ())
    }, Expected::Prove, None, 1),

    case(Row::R4, "first request of a new device", || asking(Pair::new(), |_| ()), Expected::New(NOW), None, 0),
    case(Row::R4, "first counter may be 0", || asking(Pair::new(), |r| r.counter = 0), Expected::New(NOW), None, 0),
    case(Row::R4, "next manifest after an update", || {
        asking(Pair::updated(), |request| request.manifest = OTHER_MANIFEST)
    }, Expected::New(NOW + 1), None, 1),
    case(Row::R4, "same manifest after its grant failed", || {
        asking(Pair::new().granted().reported(Moment::Failed), |_| ())
    }, Expected::New(NOW + 1), None, 0),
    case(Row::R4, "last place of the chain is left by re-seeding", || {
        asking(at_chain_end(), |request| request.manifest = OTHER_MANIFEST)
    }, Expected::Reseeding(NOW + 1), None, 1),
    case(Row::R4, "the policy wants a new seed before the chain ends", || {
        let mut pair = Pair::new();
        pair.context.reseed_wanted = true;
        asking(pair, |_| ())
    }, Expected::Reseeding(NOW), None, 0),
    case(Row::R4, "epochs and places are used up", || {
        let mut pair = Pair::new();
        pair.state = IdentityState::new(u16::MAX);
        pair.context.chain_length = 1;
        asking(pair, |_| ())
    }, Expected::Refused(Refusal::ChainEnd), None, 0),
    case(Row::R4, "same manifest after its grant was stopped", || {
        let mut pair = Pair::new().granted();
        pair.context.open.cancelled = true;
        let mut request = pair.request();
        request.go = Some(NOW);
        pair.take(request);
        pair.context.open.cancelled = false;
        asking(pair, |_| ())
    }, Expected::New(NOW + 1), None, 0),
    case(Row::R4, "blocked by an operator", || {
        asking(blocked(Pair::new()), |_| ())
    }, BLOCKED, None, 0),
    case(Row::R4, "the block is over", || {
        let mut pair = blocked(Pair::new());
        pair.context.now = BLOCKED_UNTIL + 1;
        asking(pair, |_| ())
    }, Expected::New(BLOCKED_UNTIL + 1), None, 0),
    case(Row::R4, "unblocked", || {
        let mut pair = blocked(Pair::new());
        pair.state = operator::unblock(&pair.state);
        asking(pair, |_| ())
    }, Expected::New(NOW), None, 0),
    case(Row::R4, "proved itself after a restore", || {
        let mut pair = restored(Pair::updated());
        let request = pair.request();
        let echo = Some(pair.challenged(request));
        asking(pair, |request| (request.echo, request.manifest) = (echo, OTHER_MANIFEST))
    }, Expected::New(NOW + 1), None, 1),
    case(Row::R4, "second request after a restore", || {
        let mut pair = heard_since_restore();
        pair.state.grants.clear();
        asking(pair, |_| ())
    }, Expected::New(NOW + 1), None, 0),
    case(Row::R4, "proved a higher counter after a replay was challenged", || {
        let mut pair = Pair::new().granted().reported(Moment::Failed);
        let mut request = pair.request();
        (request.counter, request.digest) = (1, digest_of(0x77, 1));
        request.echo = Some(pair.challenged(request.clone()));
        request.counter = 2;
        (pair, request.into())
    }, Expected::New(NOW + 1), None, 0),

    case(Row::R5, "asks again while its grant is open", || {
        asking(Pair::new().granted(), |_| ())
    }, Expected::Held(NOW), None, 0),
    case(Row::R5, "asks again after the decrypted report", || {
        asking(Pair::new().granted().reported(Moment::Decrypted), |_| ())
    }, Expected::Held(NOW), None, 0),
    case(Row::R5, "proved a higher counter after a replay was challenged", || {
        stale_counter_proving(3)
    }, Expected::Held(NOW), None, 0),
    case(Row::R5, "in the last second of the grant", || {
        let mut pair = Pair::new().granted();
        pair.context.now = NOW + LATER_S;
        asking(pair, |_| ())
    }, Expected::Held(NOW), None, 0),

    case(Row::R6, "grant expired", || {
        let mut pair = Pair::new().granted();
        pair.context.now = NOW + LATER_S + 1;
        asking(pair, |_| ())
    }, Expected::New(NOW + LATER_S + 1), None, 0),
    case(Row::R6, "its bytes are gone", || {
        let mut pair = Pair::new().granted();
        pair.context.open.bytes_present = false;
        asking(pair, |_| ())
    }, Expected::New(NOW + 1), None, 0),
    case(Row::R6, "selector differs", || {
        asking(Pair::new().granted(), |request| request.selector = [1; 32])
    }, Expected::New(NOW + 1), None, 0),
    case(Row::R6, "keys differ", || {
        asking(Pair::new().granted(), |request| request.keys = Some([1; 32]))
    }, Expected::New(NOW + 1), None, 0),
    case(Row::R6, "campaign of the grant was cancelled: decided anew", || {
        let mut pair = Pair::new().granted();
        pair.context.open.cancelled = true;
        asking(pair, |_| ())
    }, Expected::New(NOW + 1), None, 0),
    case(Row::R6, "other manifest while a grant is open", || {
        asking(Pair::new().granted(), |request| request.manifest = OTHER_MANIFEST)
    }, Expected::Later(BUSY_DELAY_S), None, 0),
    case(Row::R6, "other manifest, grant expired", || {
        let mut pair = Pair::new().granted();
        pair.context.now = NOW + LATER_S + 1;
        asking(pair, |request| request.manifest = OTHER_MANIFEST)
    }, Expected::New(NOW + LATER_S + 1), None, 0),
    case(Row::R6, "other manifest, grant cancelled", || {
        let mut pair = Pair::new().granted();
        pair.context.open.cancelled = true;
        asking(pair, |request| request.manifest = OTHER_MANIFEST)
    }, Expected::New(NOW + 1), None, 0),
    case(Row::R6, "keys differ, though the manifest is outranked by none", || {
        let mut pair = Pair::new();
        let mut request = pair.request();
        request.keys = Some([1; 32]);
        pair.take(request);
        asking(pair, |request| request.keys = Some([2; 32]))
    }, Expected::New(NOW + 1), None, 0),
    case(Row::R6, "other manifest of higher priority", || {
        let mut pair = Pair::new().granted();
        pair.context.open.outranked = true;
        asking(pair, |request| request.manifest = OTHER_MANIFEST)
    }, Expected::New(NOW + 1), None, 0),

    case(Row::R7, "runs what it confirmed", || {
        asking(Pair::updated(), |request| request.running = vec![(0, NEW_IMAGE)])
    }, Expected::Nothing, None, 1),
    case(Row::R7, "confirmed, but runs the base", || {
        asking(Pair::updated(), |_| ())
    }, SENT, Some(AlarmKind::RepeatedRequest), 1),
    case(Row::R7, "confirmed, and does not say what it runs", || {
        asking(Pair::updated(), |request| request.running.clear())
    }, SENT, Some(AlarmKind::RepeatedRequest), 1),
    case(Row::R7, "decrypted moved the index, not yet installed", || {
        asking(Pair::new().granted_confirming(Confirm::Decrypted).reported(Moment::Decrypted), |_| ())
    }, Expected::Held(NOW), None, 1),
    case(Row::R7, "decrypted moved the index, and its grant expired: the policy's one more", || {
        let mut pair = Pair::new().granted_confirming(Confirm::Decrypted).reported(Moment::Decrypted);
        pair.context.now = NOW + LATER_S + 1;
        asking(pair, |_| ())
    }, Expected::New(NOW + LATER_S + 1), None, 1),
    case(Row::R7, "its installed report may have overtaken the request", || {
        let pair = Pair::new().granted_confirming(Confirm::Decrypted).reported(Moment::Decrypted);
        asking(pair.reported(Moment::Installed), |_| ())
    }, Expected::Prove, None, 1),
    case(Row::R7, "its installed report did not overtake the request: proved", || {
        let pair = Pair::new().granted_confirming(Confirm::Decrypted).reported(Moment::Decrypted);
        let mut pair = pair.reported(Moment::Installed);
        let request = pair.request();
        let echo = Some(pair.challenged(request));
        asking(pair, |request| request.echo = echo)
    }, SENT, Some(AlarmKind::RepeatedRequest), 1),
    case(Row::R7, "failed after it was confirmed: the policy's one more", || {
        asking(failed_after_confirm(), |_| ())
    }, Expected::New(NOW + 1), None, 1),
    case(Row::R7, "failure report came before the confirming one", || {
        let mut pair = Pair::new().granted_confirming(Confirm::Decrypted);
        let (failed, decrypted) = (pair.report(Moment::Failed), pair.report(Moment::Decrypted));
        pair.take(failed);
        pair.take(decrypted);
        asking(pair, |_| ())
    }, Expected::New(NOW + 1), None, 1),
    case(Row::R7, "failed again after the policy's one more", || {
        asking(failed_after_confirm().granted().reported(Moment::Failed), |_| ())
    }, SENT, Some(AlarmKind::RepeatedRequest), 1),
    case(Row::R7, "failed again after the policy's one more was confirmed too", || {
        let pair = failed_after_confirm().granted_confirming(Confirm::Decrypted);
        asking(pair.reported(Moment::Decrypted).reported(Moment::Failed), |_| ())
    }, SENT, Some(AlarmKind::RepeatedRequest), 2),

    case(Row::R7, "an operator's reissue allows one more", || {
        asking(reissued(Pair::updated()), |_| ())
    }, Expected::New(NOW + 1), None, 1),
    case(Row::R7, "a reissue allows no second one", || {
        asking(reissued(Pair::updated()).granted().reported(Moment::Failed), |_| ())
    }, SENT, Some(AlarmKind::RepeatedRequest), 1),
    case(Row::R7, "a reissue of another manifest does not help", || {
        let mut pair = Pair::updated();
        pair.state.permits.reissue = vec![OTHER_MANIFEST];
        asking(pair, |_| ())
    }, SENT, Some(AlarmKind::RepeatedRequest), 1),
    case(Row::R7, "a reissue counts before the decrypted grant, which the device may have lost", || {
        asking(reissued(Pair::new().granted_confirming(Confirm::Decrypted).reported(Moment::Decrypted)), |_| ())
    }, Expected::New(NOW + 1), None, 1),
    case(Row::R7, "a device that runs it needs no reissue", || {
        asking(reissued(Pair::updated()), |request| request.running = vec![(0, NEW_IMAGE)])
    }, Expected::Nothing, None, 1),
    case(Row::R7, "confirmed by a grant that a restore lost: decided anew", || {
        let (mut pair, arrival) = confirming_lost_grant(1);
        pair.take(arrival);
        let request = pair.request();
        let echo = Some(pair.challenged(request));
        asking(pair, |request| request.echo = echo)
    }, Expected::New(NOW + 8), None, 1),

    case(Row::R8, "failure at s closes its grant", || {
        telling(Pair::new().granted(), Moment::Failed, |_| ())
    }, Expected::Receipt, None, 0),
    case(Row::R8, "a manifest was refused: grant 0", || {
        telling(Pair::new().granted(), Moment::Failed, |report| report.grant = 0)
    }, Expected::Receipt, None, 0),

    case(Row::R9, "installed moves the index", || {
        telling(Pair::new().granted(), Moment::Installed, |_| ())
    }, Expected::Receipt, None, 1),
    case(Row::R9, "decrypted moves it where the grant says so", || {
        telling(Pair::new().granted_confirming(Confirm::Decrypted), Moment::Decrypted, |_| ())
    }, Expected::Receipt, None, 1),
    case(Row::R9, "for a grant that was replaced meanwhile", || {
        let mut pair = Pair::new().granted();
        let report = pair.report(Moment::Installed);
        pair.context.open.bytes_present = false;
        (pair.granted(), report.into())
    }, Expected::Receipt, None, 1),
    case(Row::R9, "for a grant that had been reported failed", || {
        telling(Pair::new().granted().reported(Moment::Failed), Moment::Installed, |_| ())
    }, Expected::Receipt, None, 1),
    case(Row::R9, "although the campaign was cancelled", || {
        let mut pair = Pair::new().granted();
        pair.context.open.cancelled = true;
        telling(pair, Moment::Installed, |_| ())
    }, Expected::Receipt, None, 1),

    case(Row::R9, "unknown grant after a restore", || confirming_lost_grant(1), Expected::Receipt, None, 1),
    case(Row::R9, "unknown grant at the place where it was heard first after a restore", || {
        let pair = heard_since_restore();
        telling(pair, Moment::Installed, |report| { report.grant = NOW + 7; report.digest = [8; 32]; })
    }, Expected::Receipt, None, 1),
    case(Row::R9, "a re-seeding grant leads to the next epoch", || {
        telling(reseeding(), Moment::Installed, |_| ())
    }, Expected::Receipt, None, 0),
    case(Row::R9, "an unknown grant of the last place leads to the next epoch", || {
        let (mut pair, arrival) = confirming_lost_grant(1);
        pair.context.chain_length = 1;
        (pair, arrival)
    }, Expected::Receipt, None, 0),

    case(Row::R9a, "decrypted where installed moves the index", || {
        telling(Pair::new().granted(), Moment::Decrypted, |_| ())
    }, Expected::Receipt, None, 0),
    case(Row::R9a, "failure below s", || {
        telling(Pair::updated(), Moment::Failed, |_| ())
    }, Expected::Receipt, None, 1),
    case(Row::R9a, "decrypted report that arrives after installed", || {
        telling(Pair::updated(), Moment::Decrypted, |_| ())
    }, Expected::Receipt, None, 1),
    case(Row::R9a, "installed after decrypted moved the index", || {
        let pair = Pair::new().granted_confirming(Confirm::Decrypted).reported(Moment::Decrypted);
        telling(pair, Moment::Installed, |_| ())
    }, Expected::Receipt, None, 1),
    case(Row::R9a, "decrypted report of an unknown grant after a restore", || {
        telling(restored(Pair::new().granted()), Moment::Decrypted, |report| report.grant = NOW + 7)
    }, Expected::Receipt, None, 0),
    case(Row::R9a, "confirming report of a place that a resync passed", || {
        let mut pair = resynced();
        pair.state.place.index = 3;
        let about = |report: &mut Report| (report.place.index, report.grant) = (1, NOW + 3);
        telling(pair, Moment::Installed, about)
    }, Expected::Receipt, None, 3),
    case(Row::R9a, "the report of an advance by row 12", || {
        let (mut pair, request) = lost_confirm();
        let report = pair.report(Moment::Installed);
        pair.take(request);
        (pair, report.into())
    }, Expected::Receipt, None, 1),

    case(Row::R10, "same confirming report again", || {
        telling(Pair::updated(), Moment::Installed, |_| ())
    }, Expected::Same("receipt 2"), None, 1),
    case(Row::R10, "same failure report again", || {
        telling(Pair::new().granted().reported(Moment::Failed), Moment::Failed, |_| ())
    }, Expected::Same("receipt 2"), None, 0),

    case(Row::R11, "second confirming report for a place that was left", || {
        telling(Pair::updated(), Moment::Installed, |report| report.digest = [7; 32])
    }, Expected::Receipt, Some(AlarmKind::Clone), 1),
    case(Row::R11, "second confirming report with another grant's number", || {
        telling(Pair::updated(), Moment::Installed, |report| { report.digest = [7; 32]; report.grant = 5; })
    }, Expected::Receipt, Some(AlarmKind::Clone), 1),

    case(Row::R12, "confirm was lost, new manifest", || lost(|_| ()), Expected::New(NOW + 1), None, 1),
    case(Row::R12, "confirm was lost, same manifest: runs it", || {
        lost(|request| request.manifest = MANIFEST)
    }, Expected::Nothing, None, 1),
    case(Row::R12, "confirm was lost for a grant that was replaced", || {
        let (mut pair, request) = lost_confirm();
        pair.context.open.bytes_present = false;
        (pair.granted(), request.into())
    }, Expected::New(NOW + 2), None, 1),

    case(Row::R12, "confirm of a re-seeding grant was lost", || {
        reseeded_request(reseeding())
    }, Expected::New(NOW + 1), None, 0),
    case(Row::R12, "confirm was lost, and the store restored: proved", || {
        let (pair, mut request) = lost_confirm();
        let mut pair = restored(pair);
        request.echo = Some(pair.challenged(request.clone()));
        request.counter += 1;
        (pair, request.into())
    }, Expected::New(NOW + 1), None, 1),
    case(Row::R12, "confirm was lost, and the identity is blocked", || {
        let (pair, request) = lost_confirm();
        (blocked(pair), request.into())
    }, BLOCKED, None, 1),

    case(Row::R13, "confirm was lost, and the store restored", || {
        let (pair, request) = lost_confirm();
        (restored(pair), request.into())
    }, Expected::Prove, None, 0),
    case(Row::R13, "proved by an operator's leave", || {
        let (mut pair, arrival) = ahead_proving();
        pair.state = operator::resync(&pair.state, NOW + 5);
        (pair, arrival)
    }, Expected::New(NOW + 1), None, 3),
    case(Row::R13, "proved while all may resync", || {
        let (mut pair, arrival) = ahead_proving();
        pair.context.resync_all_until = Some(NOW);
        (pair, arrival)
    }, Expected::New(NOW + 1), None, 3),
    case(Row::R13, "an operator's leave that is over", || {
        let (mut pair, arrival) = ahead_proving();
        pair.state = operator::resync(&pair.state, NOW - 1);
        pair.context.resync_all_until = Some(NOW - 1);
        (pair, arrival)
    }, BEHIND, Some(AlarmKind::AheadOfServer), 0),
    case(Row::R13, "an operator's leave, used before", || {
        let mut pair = resynced();
        let mut request = pair.request();
        request.place.index = 5;
        request.echo = Some(pair.challenged(request.clone()));
        (pair, request.into())
    }, BEHIND, Some(AlarmKind::AheadOfServer), 3),
    case(Row::R13, "an operator's leave, not proved", || {
        let mut pair = Pair::new();
        pair.state = operator::resync(&pair.state, NOW + 5);
        asking(pair, |request| request.place.index = 3)
    }, Expected::Prove, None, 0),
    case(Row::R13, "resync into the next epoch", || {
        let mut pair = Pair::new();
        pair.state = operator::resync(&pair.state, NOW + 5);
        let mut request = pair.request();
        request.place = Place { epoch: 1, index: 2 };
        request.echo = Some(pair.challenged(request.clone()));
        request.counter += 1;
        (pair, request.into())
    }, Expected::New(NOW + 1), None, 2),
    case(Row::R13, "another fork head where a lost grant moved it", || {
        let (mut pair, arrival) = confirming_lost_grant(1);
        pair.take(arrival);
        asking(pair, |request| request.fork = [3; 8])
    }, Expected::Prove, None, 1),
    case(Row::R13, "another fork head where a lost grant moved it, proved by an operator's leave", || {
        let (mut pair, arrival) = confirming_lost_grant(1);
        pair.take(arrival);
        pair.state = operator::resync(&pair.state, NOW + 5);
        let mut request = pair.request();
        (request.fork, request.manifest) = ([3; 8], OTHER_MANIFEST);
        request.echo = Some(pair.challenged(request.clone()));
        request.counter += 1;
        (pair, request.into())
    }, Expected::New(NOW + 8), Some(AlarmKind::AheadOfServer), 1),
    case(Row::R13, "confirming report without a grant after a restore", || confirming_lost_grant(-7), Expected::Receipt, None, 0),
    case(Row::R13, "confirming report of a number beyond all clocks after a restore", || {
        let (pair, _) = confirming_lost_grant(1);
        telling(pair, Moment::Installed, |report| report.grant = u64::MAX)
    }, Expected::Receipt, None, 0),
    case(Row::R13, "ahead without option 7", || {
        lost(|request| request.unconfirmed = None)
    }, Expected::Prove, None, 0),
    case(Row::R13, "ahead with a grant that was never given", || {
        lost(|request| if let Some(named) = &mut request.unconfirmed { named.grant = 5; })
    }, Expected::Prove, None, 0),
    case(Row::R13, "option 7 for a grant that leads elsewhere", || {
        lost(|request| request.place.index = 2)
    }, Expected::Prove, None, 0),
    case(Row::R13, "an epoch ahead", || lost(|request| request.place.epoch = 1), Expected::Prove, None, 0),
    case(Row::R13, "ahead, and proved", ahead_proving, BEHIND, Some(AlarmKind::AheadOfServer), 0),
    case(Row::R13, "confirming report for a grant that was never given", || {
        telling(Pair::new().granted(), Moment::Installed, |report| report.grant = 5)
    }, Expected::Receipt, None, 0),
    case(Row::R13, "report of a place ahead", || {
        telling(Pair::new().granted(), Moment::Installed, |report| report.place.index = 4)
    }, Expected::Receipt, None, 0),

    case(Row::R14, "clone asks below the index", || {
        asking(Pair::updated(), |request| { request.place.index = 0; request.fork = [0; 8]; })
    }, Expected::Prove, None, 1),
    case(Row::R14, "old request replayed after the index moved", || {
        let mut pair = Pair::new();
        let request = pair.request();
        pair.take(request.clone());
        (pair.reported(Moment::Installed), request.into())
    }, Expected::Prove, None, 1),
    case(Row::R14, "echo came too late", || {
        clone_proving(|pair, _| pair.context.now += PROVE_LIFETIME_S + 1)
    }, Expected::Prove, None, 1),
    case(Row::R14, "echo was used before", || {
        clone_proving(|pair, request| { pair.take(request.clone()); })
    }, Expected::Prove, None, 1),
    case(Row::R14, "echo with a byte altered", || {
        clone_proving(|_, request| if let Some(echo) = &mut request.echo { echo[0] ^= 1; })
    }, Expected::Prove, None, 1),
    case(Row::R14, "echo cut short", || {
        clone_proving(|_, request| if let Some(echo) = &mut request.echo { echo.truncate(8); })
    }, Expected::Prove, None, 1),

    case(Row::R15, "at s with another fork head", || {
        asking(Pair::updated(), |request| request.fork = [0; 8])
    }, SUSPECT, Some(AlarmKind::Clone), 1),
    case(Row::R15, "fork head counts before the counter", || {
        asking(Pair::new().granted(), |request| { request.fork = [1; 8]; request.counter = 1; })
    }, SUSPECT, Some(AlarmKind::Clone), 0),
    case(Row::R15, "option 7 with grant and place right, head wrong", || {
        lost(|request| request.fork[0] ^= 1)
    }, SUSPECT, Some(AlarmKind::Clone), 0),
    case(Row::R15, "option 7 with another report", || {
        lost(|request| if let Some(named) = &mut request.unconfirmed { named.report[0] ^= 1; })
    }, SUSPECT, Some(AlarmKind::Clone), 0),
    case(Row::R15, "an echo issued below s does not help at s", || {
        clone_proving(|_, request| request.place.index = 1)
    }, SUSPECT, Some(AlarmKind::Clone), 1),

    case(Row::R15, "another fork head after a restore, too", || {
        asking(restored(Pair::updated()), |request| request.fork = [0; 8])
    }, SUSPECT, Some(AlarmKind::Clone), 1),

    case(Row::R15, "another fork head, but an operator lets a device go on", || {
        let mut pair = Pair::updated();
        pair.state = operator::forward(&pair.state, NOW + 5);
        asking(pair, |request| request.fork = [0; 8])
    }, Expected::Prove, None, 1),
    case(Row::R15, "another fork head, and the operator's leave is over", || {
        let mut pair = Pair::updated();
        pair.state = operator::forward(&pair.state, NOW - 1);
        asking(pair, |request| request.fork = [0; 8])
    }, SUSPECT, Some(AlarmKind::Clone), 1),

    case(Row::R17, "may swap: its grant is open", || {
        asking(Pair::new().granted(), |request| request.go = Some(NOW))
    }, Expected::Go(NOW), None, 0),
    case(Row::R17, "may swap after the decrypted report", || {
        asking(Pair::new().granted().reported(Moment::Decrypted), |request| request.go = Some(NOW))
    }, Expected::Go(NOW), None, 0),
    case(Row::R17, "its grant expired", || {
        let mut pair = Pair::new().granted();
        pair.context.now = NOW + LATER_S + 1;
        asking(pair, |request| request.go = Some(NOW))
    }, Expected::Stop(NOW), None, 0),
    case(Row::R17, "its campaign was cancelled", || {
        let mut pair = Pair::new().granted();
        pair.context.open.cancelled = true;
        asking(pair, |request| request.go = Some(NOW))
    }, Expected::Stop(NOW), None, 0),
    case(Row::R17, "its grant was replaced", || {
        let mut pair = Pair::new().granted();
        pair.context.open.bytes_present = false;
        asking(pair.granted(), |request| request.go = Some(NOW))
    }, Expected::Stop(NOW), None, 0),
    case(Row::R17, "nothing was granted", || {
        asking(Pair::new(), |request| request.go = Some(NOW))
    }, Expected::Stop(NOW), None, 0),
    case(Row::R17, "blocked by an operator", || {
        asking(blocked(Pair::new().granted()), |request| request.go = Some(NOW))
    }, BLOCKED, None, 0),

    case(Row::R18, "clone proves the key of a place that was left", || {
        clone_proving(|_, _| ())
    }, SUSPECT, Some(AlarmKind::CloneOrRolledBack), 1),
    case(Row::R18, "in the last second of the prove", || {
        clone_proving(|pair, _| pair.context.now += PROVE_LIFETIME_S)
    }, SUSPECT, Some(AlarmKind::CloneOrRolledBack), 1),
    case(Row::R18, "whatever its counter", || {
        clone_proving(|_, request| request.counter = 1_000_000)
    }, SUSPECT, Some(AlarmKind::CloneOrRolledBack), 1),
    case(Row::R18, "goes on by an operator's leave", || {
        clone_proving(|pair, _| pair.state = operator::forward(&pair.state, NOW + 5))
    }, Expected::Forward(1, NOW), None, 1),
    case(Row::R18, "goes on at s by an operator's leave, its open grant is closed", || {
        let (mut pair, arrival) = stale_counter_proving(2);
        pair.state = operator::forward(&pair.state, NOW + 5);
        (pair, arrival)
    }, Expected::Forward(0, NOW), None, 0),
    case(Row::R18, "goes on at s with the fork head of the server, by an operator's leave", || {
        let mut pair = Pair::updated();
        pair.state = operator::forward(&pair.state, NOW + 5);
        let mut request = pair.request();
        request.fork = [0; 8];
        request.echo = Some(pair.challenged(request.clone()));
        request.counter += 1;
        (pair, request.into())
    }, Expected::Forward(1, NOW), None, 1),
    case(Row::R18, "an operator's leave that is over", || {
        clone_proving(|pair, _| pair.state = operator::forward(&pair.state, NOW - 1))
    }, SUSPECT, Some(AlarmKind::CloneOrRolledBack), 1),
    case(Row::R18, "no leave carries over an epoch made with shares", || {
        clone_proving(|pair, _| {
            pair.state = operator::forward(&pair.state, NOW + 5);
            pair.state.place = Place { epoch: 1, index: 1 };
            pair.state.epochs_shared.insert(1);
        })
    }, SUSPECT, Some(AlarmKind::CloneOrRolledBack), 1),
    case(Row::R18, "a leave carries over an epoch that both compute", || {
        clone_proving(|pair, _| {
            pair.state = operator::forward(&pair.state, NOW + 5);
            pair.state.place = Place { epoch: 1, index: 1 };
        })
    }, Expected::Forward(1, NOW), None, 1),
    case(Row::R18, "blocked by an operator, whatever leave it has", || {
        clone_proving(|pair, _| pair.state = operator::forward(&operator::block(&pair.state, NOW + 5), NOW + 5))
    }, BLOCKED, None, 1),
    case(Row::R18, "the leave stays until the device goes on, in case its answer is lost", || {
        let (mut pair, arrival) = clone_proving(|pair, _| pair.state = operator::forward(&pair.state, NOW + 5));
        pair.take(arrival);
        let mut request = pair.request();
        (request.place.index, request.fork) = (0, [0; 8]);
        request.echo = Some(pair.challenged(request.clone()));
        request.counter += 1;
        (pair, request.into())
    }, Expected::Forward(1, NOW), None, 1),
    case(Row::R18, "a leave that was used carries no second device", || {
        let (mut pair, echo) = forwarded();
        let mut request = pair.request();
        request.echo = Some(echo);
        pair.counter += 1;
        pair.take(request);
        let mut request = pair.request();
        (request.place.index, request.fork) = (0, [0; 8]);
        request.echo = Some(pair.challenged(request.clone()));
        request.counter += 1;
        (pair, request.into())
    }, SUSPECT, Some(AlarmKind::CloneOrRolledBack), 1),
    case(Row::R18, "proves at s with a counter that was passed", || {
        stale_counter_proving(2)
    }, SUSPECT, Some(AlarmKind::CloneOrRolledBack), 0),
];

#[test]
fn every_case_of_the_table_meets_its_row_reply_alarm_and_place() {
    for case in TABLE {
        let (mut pair, arrival) = (case.given)();
        let decision = pair.decide(arrival);
        let told = format!("row {} ({}): {decision:#?}", case.row.name(), case.what);
        assert_eq!(decision.row, case.row, "{told}");
        assert!(answers(&decision, &case.reply), "{:?} expected, {told}", case.reply);
        assert_eq!(decision.alarm.as_ref().map(|alarm| alarm.kind), case.alarm, "{told}");
        assert_eq!(decision.state.place.index, case.index, "{told}");
    }
}

fn answers(decision: &Decision, expected: &Expected) -> bool {
    match (&decision.reply, expected) {
        (Reply::NewGrant(new), Expected::New(number)) => {
            new.number == *number
                && !new.reseed
                && new.place == decision.state.place
                && new.leads_to.index == new.place.index + 1
        }
        (Reply::HeldGrant { number, .. }, Expected::Held(expected)) => number == expected,
        (Reply::Repeat(bytes), Expected::Same(text)) => bytes == text.as_bytes(),
        (Reply::NewGrant(new), Expected::Reseeding(number)) => {
            let next = Place { epoch: new.place.epoch + 1, index: 0 };
            new.number == *number && new.reseed && new.leads_to == next
        }
        (Reply::Verdict(Verdict::Go { grant }), Expected::Go(expected)) => grant == expected,
        (Reply::Verdict(Verdict::Stop { grant }), Expected::Stop(expected)) => {
            grant == expected && decision.state.open_grant().is_none_or(|open| open.number != *grant)
        }
        (Reply::Verdict(Verdict::Forward { place, fork, grant }), Expected::Forward(index, highest)) => {
            let state = &decision.state;
            (*place, *fork, *grant) == (state.place, state.fork, state.grant_highest)
                && (place.index, grant) == (*index, highest)
                && state.open_grant().is_none()
        }
        (Reply::Verdict(Verdict::Nothing), Expected::Nothing) | (Reply::Receipt, Expected::Receipt) => true,
        (Reply::Verdict(Verdict::Later { delay_s }), Expected::Later(delay)) => delay_s == delay,
        (Reply::Verdict(Verdict::Refused(refusal)), Expected::Refused(expected)) => refusal == expected,
        (Reply::Verdict(Verdict::Prove(token)), Expected::Prove) => {
            decision.state.proves.iter().any(|out| out.token == *token)
        }
        _ => false,
    }
}
