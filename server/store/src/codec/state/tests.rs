//! The forms of versions 1 and 2, byte for byte.

use proptest::prelude::*;

use super::*;

/// The sample state as version 1 wrote it; later versions have to read it for ever, so it is never made anew.
const GOLDEN_V1: &str = include_str!("v1.hex");

/// The sample state as version 2 wrote it; never made anew either.
const GOLDEN_V2: &str = include_str!("v2.hex");

fn golden() -> Vec<u8> {
    bytes_of(GOLDEN_V2)
}

fn bytes_of(golden: &str) -> Vec<u8> {
    hex::decode(golden.split_whitespace().collect::<String>()).unwrap()
}

/// What version 1 could say of the sample: nothing was re-seeded, restored, permitted or blocked.
fn sample_of_v1() -> IdentityState {
    let mut state = sample();
    for grant in &mut state.grants {
        (grant.reseed, grant.go) = (None, false);
    }
    for (place, confirmed) in &mut state.confirmed {
        confirmed.leads_to = place.successor().unwrap();
    }
    for report in &mut state.reports {
        report.ahead = None;
    }
    IdentityState {
        revision: state.revision,
        place: state.place,
        fork: state.fork,
        counter_highest: state.counter_highest,
        last: state.last,
        grant_highest: state.grant_highest,
        grants: state.grants,
        confirmed: state.confirmed,
        reports: state.reports,
        proves: state.proves,
        ..IdentityState::new(0)
    }
}

fn sample() -> IdentityState {
    crate::conformance::sample::full_state(3)
}

#[test]
fn state_written_by_version_1_is_still_read() {
    assert_eq!(decode(&bytes_of(GOLDEN_V1), 3).unwrap(), sample_of_v1());
}

#[test]
fn version_2_writes_the_bytes_that_it_always_wrote() {
    assert_eq!(hex::encode(encode(&sample())), hex::encode(golden()));
}

#[test]
fn state_of_a_later_version_is_named_as_such() {
    let mut later = golden();
    later[1] = 3;
    assert!(matches!(decode(&later, 3), Err(CodecError::Version(3))));
}

#[test]
fn every_cut_of_a_state_is_refused() {
    for whole in [golden(), bytes_of(GOLDEN_V1)] {
        for length in 0..whole.len() {
            assert!(decode(&whole[..length], 3).is_err(), "{length}");
        }
    }
}

#[test]
fn state_of_one_version_that_calls_itself_the_other_is_refused() {
    let (mut older, mut newer) = (bytes_of(GOLDEN_V1), golden());
    (older[1], newer[1]) = (2, 1);
    assert!(matches!(decode(&older, 3), Err(CodecError::Malformed(_))));
    assert!(matches!(decode(&newer, 3), Err(CodecError::Malformed(_))));
}

#[test]
fn bytes_after_a_state_are_refused() {
    let longer = [golden(), vec![0]].concat();
    assert!(matches!(decode(&longer, 3), Err(CodecError::Malformed(_))));
}

#[test]
fn every_state_of_a_grant_reads_back() {
    for kept in [
        GrantState::Open,
        GrantState::Decrypted,
        GrantState::Closed,
        GrantState::Failed,
        GrantState::Confirmed,
    ] {
        let mut state = sample();
        state.grants[0].state = kept;
        assert_eq!(decode(&encode(&state), 3).unwrap(), state);
    }
}

#[test]
fn every_row_that_proves_reads_back() {
    for row in [ProveRow::R3, ProveRow::R13, ProveRow::R14] {
        let mut state = sample();
        state.proves[0].row = row;
        assert_eq!(decode(&encode(&state), 3).unwrap(), state);
    }
}

fn place() -> impl Strategy<Value = Place> {
    any::<(u16, u16)>().prop_map(|(epoch, index)| Place { epoch, index })
}

fn confirm() -> impl Strategy<Value = Confirm> {
    prop_oneof![Just(Confirm::Decrypted), Just(Confirm::Installed), Just(Confirm::Both)]
}

fn grant() -> impl Strategy<Value = Grant> {
    let contents = prop::collection::vec(any::<(u64, [u8; 32], [u8; 32])>(), 0..3);
    let numbers = any::<(u64, u64, [u8; 32], [u8; 32], Option<[u8; 32]>, Vec<u8>)>();
    let options = any::<(Option<Option<(Vec<u8>, Vec<u8>)>>, bool)>();
    (place(), place(), contents, numbers, confirm(), options).prop_map(
        |(place, leads_to, contents, numbers, confirm, (reseed, go))| {
            let content = |(component, content, installed)| Content { component, content, installed };
            let (number, not_after, manifest, selector, keys, message) = numbers;
            Grant {
                number,
                place,
                leads_to,
                manifest,
                selector,
                contents: contents.into_iter().map(content).collect(),
                keys,
                not_after,
                confirm,
                message,
                state: GrantState::Open,
                reseed: reseed.map(|shares| Reseed {
                    shares: shares.map(|(server, device)| Shares { server, device }),
                }),
                go,
            }
        },
    )
}

fn confirmed() -> impl Strategy<Value = Confirmed> {
    (any::<(u64, [u8; 32], [u8; 32], Vec<(u64, [u8; 32])>, u32)>(), confirm(), place()).prop_map(
        |(values, confirm, leads_to)| {
            let (grant, report, manifest, installed, given_again) = values;
            Confirmed { grant, confirm, report, manifest, installed, leads_to, given_again }
        },
    )
}

fn report() -> impl Strategy<Value = KeptReport> {
    let moments = [Moment::Decrypted, Moment::Installed, Moment::Failed];
    let plain = any::<([u8; 32], u64, Vec<u8>, Option<[u8; 32]>)>();
    (plain, place(), prop::sample::select(moments.to_vec())).prop_map(
        |((digest, grant, receipt, ahead), place, moment)| KeptReport {
            digest,
            place,
            grant,
            moment,
            receipt,
            ahead,
        },
    )
}

fn prove() -> impl Strategy<Value = Prove> {
    let rows = [ProveRow::R3, ProveRow::R13, ProveRow::R14];
    (any::<([u8; 16], Option<u64>, u64)>(), place(), prop::sample::select(rows.to_vec())).prop_map(
        |((token, counter_highest, expires), place, row)| Prove {
            token,
            row,
            place,
            counter_highest,
            expires,
        },
    )
}

/// Writes what version 2 appended over a state.
fn appended(state: IdentityState) -> impl Strategy<Value = IdentityState> {
    let known = (any::<u64>(), prop::option::of(place()), any::<(bool, Option<u64>, u16)>());
    let epochs = prop::collection::btree_set(any::<u16>(), 0..3);
    let allowed = any::<(Option<u64>, Vec<[u8; 32]>, Option<(u64, bool)>, Option<u64>)>();
    (known, epochs, allowed).prop_map(move |(known, epochs_shared, allowed)| {
        let (restores, unknown_at, (fork_unsure, counter_doubtful, seed_oldest)) = known;
        let (resync_until, reissue, forward, blocked_until) = allowed;
        let forward = forward.map(|(until, used)| ForwardPermit { until, used });
        IdentityState {
            restores,
            unknown_at,
            fork_unsure,
            counter_doubtful,
            seed_oldest,
            epochs_shared,
            permits: Permits { resync_until, reissue, forward },
            blocked_until,
            ..state.clone()
        }
    })
}

fn state() -> impl Strategy<Value = IdentityState> {
    state_of_v1().prop_flat_map(appended)
}

fn state_of_v1() -> impl Strategy<Value = IdentityState> {
    let plain = any::<([u8; 8], Option<u64>, Option<([u8; 32], Vec<u8>)>, u64, u64)>();
    let grants = prop::collection::vec(grant(), 0..3);
    let kept = prop::collection::btree_map(place(), confirmed(), 0..3);
    let reports = prop::collection::vec(report(), 0..3);
    let proves = prop::collection::vec(prove(), 0..3);
    (plain, place(), grants, kept, reports, proves).prop_map(
        |(plain, place, grants, confirmed, reports, proves)| {
            let (fork, counter_highest, last, grant_highest, revision) = plain;
            let last = last.map(|(request, answer)| LastAnswer { request, answer });
            IdentityState {
                revision,
                place,
                fork,
                counter_highest,
                last,
                grant_highest,
                grants,
                confirmed,
                reports,
                proves,
                ..IdentityState::new(place.epoch)
            }
        },
    )
}

proptest! {
    #[test]
    fn every_state_reads_back(state in state()) {
        prop_assert_eq!(decode(&encode(&state), state.revision).unwrap(), state);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = decode(&bytes, 0);
    }

    #[test]
    fn state_with_an_altered_byte_never_panics(at in 0..700_usize, byte: u8) {
        let mut altered = golden();
        if let Some(place) = altered.get_mut(at) {
            *place = byte;
        }
        let _ = decode(&altered, 3);
        let mut altered = bytes_of(GOLDEN_V1);
        if let Some(place) = altered.get_mut(at) {
            *place = byte;
        }
        let _ = decode(&altered, 3);
    }
}
