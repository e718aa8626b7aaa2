//! The form of version 1, byte for byte.

use proptest::prelude::*;

use super::*;

/// The sample state as version 1 wrote it; later versions have to read it for ever, so it is never made anew.
const GOLDEN_V1: &str = include_str!("v1.hex");

fn golden() -> Vec<u8> {
    hex::decode(GOLDEN_V1.split_whitespace().collect::<String>()).unwrap()
}

fn sample() -> IdentityState {
    crate::conformance::sample::full_state(3)
}

#[test]
fn state_written_by_version_1_is_still_read() {
    assert_eq!(decode(&golden(), 3).unwrap(), sample());
}

#[test]
fn version_1_writes_the_bytes_that_it_always_wrote() {
    assert_eq!(hex::encode(encode(&sample())), hex::encode(golden()));
}

#[test]
fn state_of_a_later_version_is_named_as_such() {
    let mut later = golden();
    later[1] = 2;
    assert!(matches!(decode(&later, 3), Err(CodecError::Version(2))));
}

#[test]
fn every_cut_of_a_state_is_refused() {
    let whole = golden();
    for length in 0..whole.len() {
        assert!(decode(&whole[..length], 3).is_err(), "{length}");
    }
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
    (place(), place(), contents, numbers, confirm()).prop_map(
        |(place, leads_to, contents, numbers, confirm)| {
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
            }
        },
    )
}

fn confirmed() -> impl Strategy<Value = Confirmed> {
    (any::<(u64, [u8; 32], [u8; 32], Vec<(u64, [u8; 32])>, u32)>(), confirm()).prop_map(
        |(values, confirm)| {
            let (grant, report, manifest, installed, given_again) = values;
            Confirmed { grant, confirm, report, manifest, installed, given_again }
        },
    )
}

fn report() -> impl Strategy<Value = KeptReport> {
    let moments = [Moment::Decrypted, Moment::Installed, Moment::Failed];
    (any::<([u8; 32], u64, Vec<u8>)>(), place(), prop::sample::select(moments.to_vec())).prop_map(
        |((digest, grant, receipt), place, moment)| KeptReport { digest, place, grant, moment, receipt },
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

fn state() -> impl Strategy<Value = IdentityState> {
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
    fn state_with_an_altered_byte_never_panics(at in 0..400_usize, byte: u8) {
        let mut altered = golden();
        if let Some(place) = altered.get_mut(at) {
            *place = byte;
        }
        let _ = decode(&altered, 3);
    }
}
