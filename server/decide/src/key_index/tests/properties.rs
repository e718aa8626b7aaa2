//! What holds for every sequence of messages, honest, replayed or altered.

use super::pair::{OLD_IMAGE, OTHER_MANIFEST, Pair, stored};
use crate::fork::fork_after;
use crate::identity::{Confirm, IdentityState, Moment, Place};
use crate::key_index::{Arrival, Decision, Reply, Report, Request, Unconfirmed};
use crate::operator;
use proptest::prelude::*;

/// One step of a sequence.
#[derive(Clone, Debug)]
enum Step {
    /// A request as an honest device sends it, then altered.
    Ask { other: bool, selector: u8, alter: Alter },
    /// A report about one of the kept grants, or about none.
    Tell { grant: usize, moment: Moment, place: i8, digest: u8 },
    /// An earlier message, unchanged.
    Replay(usize),
    /// Time passes; the open grant's circumstances change.
    Pass { seconds: u32, bytes_present: bool, cancelled: bool, outranked: bool },
    /// The policy of the campaign changes.
    Reseed(bool),
    /// The store was restored; its state is as old as it was.
    Restore,
    /// An operator does something, for so many seconds.
    Operate(Verb, u32),
}

#[derive(Clone, Copy, Debug)]
enum Verb {
    Resync,
    Reissue,
    Forward,
    Block,
    Unblock,
}

#[derive(Clone, Debug)]
enum Alter {
    Nothing,
    Fork(u8),
    Place(i8),
    Counter(u64),
    Echo,
    EchoBelow,
    Unconfirmed { grant: usize, report: u8, head_right: bool },
    Go,
}

fn alter() -> impl Strategy<Value = Alter> {
    prop_oneof![
        4 => Just(Alter::Nothing),
        1 => any::<u8>().prop_map(Alter::Fork),
        1 => (-2_i8..3).prop_map(Alter::Place),
        1 => (0_u64..20).prop_map(Alter::Counter),
        1 => Just(Alter::Echo),
        1 => Just(Alter::EchoBelow),
        2 => (0_usize..4, 0_u8..4, any::<bool>())
            .prop_map(|(grant, report, head_right)| Alter::Unconfirmed { grant, report, head_right }),
        1 => Just(Alter::Go),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let moment = prop_oneof![Just(Moment::Decrypted), Just(Moment::Installed), Just(Moment::Failed)];
    prop_oneof![
        4 => (any::<bool>(), 0_u8..2, alter())
            .prop_map(|(other, selector, alter)| Step::Ask { other, selector, alter }),
        3 => (0_usize..5, moment, -1_i8..2, 0_u8..6)
            .prop_map(|(grant, moment, place, digest)| Step::Tell { grant, moment, place, digest }),
        2 => any::<usize>().prop_map(Step::Replay),
        1 => (0_u32..100_000, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(seconds, bytes_present, cancelled, outranked)| Step::Pass {
                seconds, bytes_present, cancelled, outranked,
            }
        ),
        1 => any::<bool>().prop_map(Step::Reseed),
        1 => Just(Step::Restore),
        1 => (verb(), 0_u32..100_000).prop_map(|(verb, for_s)| Step::Operate(verb, for_s)),
    ]
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        Just(Verb::Resync),
        Just(Verb::Reissue),
        Just(Verb::Forward),
        Just(Verb::Block),
        Just(Verb::Unblock),
    ]
}

fn operated(state: &IdentityState, verb: Verb, until: u64) -> IdentityState {
    match verb {
        Verb::Resync => operator::resync(state, until),
        Verb::Reissue => operator::reissue(state, super::pair::MANIFEST).unwrap_or_else(|_| state.clone()),
        Verb::Forward => operator::forward(state, until),
        Verb::Block => operator::block(state, until),
        Verb::Unblock => operator::unblock(state),
    }
}

fn moved(place: Place, by: i8) -> Place {
    Place { index: place.index.saturating_add_signed(i16::from(by)), ..place }
}

fn ask(pair: &mut Pair, other: bool, selector: u8, alter: &Alter) -> Request {
    let mut request = pair.request();
    if other {
        request.manifest = OTHER_MANIFEST;
    }
    request.selector = [selector; 32];
    request.running = vec![(0, OLD_IMAGE)];
    let token = pair.state.proves.last().map(|out| (out.token.to_vec(), out.place));
    match alter {
        Alter::Nothing => {}
        Alter::Fork(byte) => request.fork[0] ^= byte,
        Alter::Place(by) => request.place = moved(request.place, *by),
        Alter::Counter(counter) => request.counter = *counter,
        Alter::Echo => request.echo = token.map(|(token, _)| token),
        Alter::EchoBelow => {
            request.place = token.as_ref().map_or(request.place, |(_, place)| *place);
            request.echo = token.map(|(token, _)| token);
        }
        Alter::Unconfirmed { grant, report, head_right } => {
            let report = [*report; 32];
            let grant = pair.state.grants.get(*grant).map_or(1, |grant| grant.number);
            request.unconfirmed = Some(Unconfirmed { grant, report });
            request.place = moved(request.place, 1);
            request.fork = fork_after(request.fork, &if *head_right { report } else { [0xEE; 32] });
        }
        Alter::Go => request.go = Some(1),
    }
    // The digest of a real request covers all of it.
    request.digest[0] = selector;
    request.digest[1] = u8::from(other);
    request.digest[2..10].copy_from_slice(&request.fork);
    request.digest[10..12].copy_from_slice(&request.place.index.to_be_bytes());
    request
}

fn tell(pair: &Pair, grant: usize, moment: Moment, place: i8, digest: u8) -> Report {
    let about = pair.state.grants.get(grant);
    let at = about.map_or(pair.state.place, |grant| grant.place);
    Report {
        place: moved(at, place),
        grant: about.map_or(0, |grant| grant.number),
        moment,
        digest: [digest << 2 | moment.number(); 32],
        manifest: super::pair::MANIFEST,
    }
}

fn check_one(pair: &Pair, arrival: &Arrival, decision: &Decision) -> Result<(), TestCaseError> {
    let (before, after) = (&pair.state, &decision.state);
    prop_assert!(after.place >= before.place, "the index went back");
    prop_assert_eq!(decision.changes(before), decision.state != *before);
    if let Arrival::Request(request) = arrival
        && matches!(decision.reply, Reply::NewGrant(_) | Reply::HeldGrant { .. })
    {
        prop_assert_eq!(request.place, after.place, "granted at another place");
        prop_assert_eq!(request.fork, after.fork, "granted to another fork head");
        prop_assert!(!after.is_blocked(pair.context.now), "granted to a blocked identity");
        prop_assert!(!after.is_stale(pair.context.restores), "granted to a stale identity");
    }
    if let Reply::NewGrant(new) = &decision.reply {
        prop_assert!(new.number > before.grant_highest);
        prop_assert_eq!(new.place, after.place);
        prop_assert!(new.leads_to > new.place);
    }
    Ok(())
}

/// The same message again, right after it was decided: the same bytes.
fn check_duplicate(pair: &mut Pair, arrival: &Arrival, decision: &Decision) -> Result<(), TestCaseError> {
    let kept = match arrival {
        Arrival::Request(_) => decision.keep.is_some(),
        Arrival::Report(_) => true,
    };
    if !kept {
        return Ok(());
    }
    let again = pair.decide(arrival.clone());
    let first = match (arrival, &decision.reply) {
        (_, Reply::Repeat(bytes)) => Some(bytes.clone()),
        (Arrival::Request(_), _) => pair.state.last.as_ref().map(|last| last.answer.clone()),
        (Arrival::Report(_), _) => pair.state.reports.last().map(|kept| kept.receipt.clone()),
    };
    match again.reply {
        Reply::Repeat(bytes) => prop_assert_eq!(Some(bytes), first),
        other => prop_assert!(false, "a duplicate was answered {:?}", other),
    }
    Ok(())
}

fn run(steps: &[Step], confirm: Confirm) -> Result<(), TestCaseError> {
    let mut pair = Pair::new();
    let mut sent: Vec<Arrival> = Vec::new();
    for step in steps {
        let arrival = match step {
            Step::Ask { other, selector, alter } => ask(&mut pair, *other, *selector, alter).into(),
            Step::Tell { grant, moment, place, digest } => {
                tell(&pair, *grant, *moment, *place, *digest).into()
            }
            Step::Replay(which) if !sent.is_empty() => sent[which % sent.len()].clone(),
            Step::Replay(_) => continue,
            Step::Pass { seconds, bytes_present, cancelled, outranked } => {
                pair.context.now += u64::from(*seconds);
                let open = &mut pair.context.open;
                (open.bytes_present, open.cancelled, open.outranked) =
                    (*bytes_present, *cancelled, *outranked);
                continue;
            }
            Step::Reseed(wanted) => {
                pair.context.reseed_wanted = *wanted;
                continue;
            }
            Step::Restore => {
                pair.context.restores += 1;
                continue;
            }
            Step::Operate(verb, for_s) => {
                pair.state = operated(&pair.state, *verb, pair.context.now + u64::from(*for_s));
                continue;
            }
        };
        let decision = pair.decide(arrival.clone());
        check_one(&pair, &arrival, &decision)?;
        let (number, place) = (pair.state.grant_highest, pair.state.place);
        pair.state = stored(&decision, &arrival, confirm);
        prop_assert!(
            pair.state.grants.iter().filter(|grant| grant.is_open()).count() <= 1,
            "two open grants"
        );
        prop_assert!(pair.state.grant_highest >= number && pair.state.place >= place);
        check_duplicate(&mut pair, &arrival, &decision)?;
        sent.push(arrival);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_moves_back_doubles_a_grant_or_answers_a_duplicate_otherwise(
        steps in prop::collection::vec(step(), 1..60),
        confirm in prop_oneof![Just(Confirm::Decrypted), Just(Confirm::Installed), Just(Confirm::Both)],
    ) {
        run(&steps, confirm)?;
    }
}
