//! The abstract machine's rules, on manifests made for each of them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a fixture that cannot be made is a failed test")]

mod forge;

use bellwether_manifests::cbor::CborError;
use bellwether_manifests::envelope::{Envelope, VerifyError};
use bellwether_manifests::manifest::{Condition, ManifestError};
use bellwether_manifests::run::{COMMANDS_MAX, Identity, Refusal, Refused, update};
use forge::{
    CLASS, OTHER, VENDOR, array, authors, bool, bytes, digest, envelope, int, manifest, manifest_of, nil,
    policy, run_sequence, sequence, set, shared, text, try_each,
};
use proptest::prelude::*;

const US: Identity<'_> = Identity { vendor: &VENDOR, class: &CLASS, device: Some(&OTHER), now: 1000 };

fn fetch() -> Vec<(i64, Vec<u8>)> {
    vec![set(&[(21, text("/u"))]), policy(21), policy(3)]
}

fn verify_error(manifest: &[u8]) -> ManifestError {
    let envelope = envelope(manifest);
    let verified = Envelope::parse(&envelope).unwrap().verify(authors().as_slice());
    match verified.unwrap_err() {
        VerifyError::Manifest(error) => error,
        other => panic!("{other}"),
    }
}

/// URI and size that component 0 ends with.
fn run(manifest: &[u8]) -> Result<(Option<String>, Option<u64>), Refused> {
    let envelope = envelope(manifest);
    let verified = Envelope::parse(&envelope).unwrap().verify(authors().as_slice()).unwrap();
    let plan = update(&verified, &US)?;
    let component = &plan.components()[0];
    Ok((component.uri.map(String::from), component.size))
}

fn run_shared(more: &[(i64, Vec<u8>)]) -> Result<Option<u64>, Refusal> {
    let run = run(&manifest(&shared(more), &[(16, sequence(&fetch()))]));
    run.map(|(_, size)| size).map_err(|refused| refused.refusal)
}

fn failed(condition: Condition) -> Refusal {
    Refusal::Condition { condition, component: 0 }
}

fn wrong_class() -> Vec<u8> {
    sequence(&[set(&[(2, bytes(&OTHER)), (14, int(1))]), policy(2)])
}

fn right_class(size: i64) -> Vec<u8> {
    sequence(&[set(&[(2, bytes(&CLASS)), (14, int(size))]), policy(2)])
}

#[test]
fn first_branch_that_does_not_fail_is_taken() {
    assert_eq!(run_shared(&[try_each(&[wrong_class(), right_class(2), right_class(3)])]), Ok(Some(2)));
}

#[test]
fn try_each_without_a_fitting_branch_names_the_condition() {
    assert_eq!(run_shared(&[try_each(&[wrong_class(), wrong_class()])]), Err(failed(Condition::ClassId)));
}

#[test]
fn nil_branch_lets_go_on() {
    let branches = array(&[bytes(&wrong_class()), bytes(&wrong_class()), nil()]);
    assert!(run_shared(&[(15, branches)]).is_ok());
}

#[test]
fn hard_failure_in_a_branch_aborts_all() {
    let hard = sequence(&[set(&[(13, bool(false))]), policy(14)]);
    assert_eq!(run_shared(&[try_each(&[hard, right_class(2)])]), Err(failed(Condition::Abort)));
}

#[test]
fn soft_failure_ends_a_run_sequence_and_nothing_else() {
    let soft = run_sequence(&[set(&[(13, bool(true)), (14, int(8))]), policy(14), set(&[(14, int(9))])]);
    assert_eq!(run_shared(&[soft]), Ok(Some(8)));
    assert_eq!(run_shared(&[run_sequence(&[policy(14)])]), Err(failed(Condition::Abort)));
}

#[test]
fn inner_sequence_does_not_inherit_soft_failure() {
    let inner = sequence(&[run_sequence(&[policy(14)])]);
    assert_eq!(run_shared(&[try_each(&[inner, right_class(2)])]), Err(failed(Condition::Abort)));
}

#[test]
fn soft_failure_outside_of_a_nested_sequence_is_refused() {
    let manifest = manifest(&shared(&[set(&[(13, bool(true))])]), &[]);
    assert_eq!(verify_error(&manifest), ManifestError::Parameter(13));
}

#[test]
fn condition_without_its_parameter_fails() {
    for (label, condition) in
        [(24, Condition::DeviceId), (4, Condition::UseBefore), (5, Condition::ComponentSlot)]
    {
        assert_eq!(run_shared(&[policy(label)]), Err(failed(condition)));
    }
}

#[test]
fn named_device_and_date_are_asked() {
    assert!(run_shared(&[set(&[(24, bytes(&OTHER))]), policy(24)]).is_ok());
    assert_eq!(run_shared(&[set(&[(24, bytes(&CLASS))]), policy(24)]), Err(failed(Condition::DeviceId)));
    assert!(run_shared(&[set(&[(4, int(1001))]), policy(4)]).is_ok());
    assert_eq!(run_shared(&[set(&[(4, int(1000))]), policy(4)]), Err(failed(Condition::UseBefore)));
}

#[test]
fn unknown_commands_and_parameters_are_refused_even_where_nobody_comes() {
    let unreached = try_each(&[right_class(1), sequence(&[policy(26)])]);
    assert_eq!(verify_error(&manifest(&shared(&[unreached]), &[])), ManifestError::Command(26));
    let unreached = try_each(&[right_class(1), sequence(&[set(&[(26, int(1))])])]);
    assert_eq!(verify_error(&manifest(&shared(&[unreached]), &[])), ManifestError::Parameter(26));
}

#[test]
fn stated_version_is_part_of_the_plan_and_a_compared_one_is_not() {
    let version = |match_: &[u8]| {
        let envelope =
            envelope(&manifest(&shared(&[set(&[(28, bytes(match_))])]), &[(16, sequence(&fetch()))]));
        let verified = Envelope::parse(&envelope).unwrap().verify(authors().as_slice()).unwrap();
        update(&verified, &US).unwrap().components()[0].version.map(|version| version.to_string())
    };
    assert_eq!(version(b"\x82\x03\x84\x01\x02\x20\x03").as_deref(), Some("1.2-rc.3"));
    assert_eq!(version(b"\x82\x02\x81\x01"), None);
}

#[test]
fn malformed_version_and_a_condition_on_it_are_refused() {
    let with = |commands: &[(i64, Vec<u8>)]| verify_error(&manifest(&shared(commands), &[]));
    let wrong_type = with(&[set(&[(28, bytes(b"\x82\x03\x81\x611"))])]);
    assert_eq!(wrong_type, ManifestError::Cbor(CborError::Type));
    let version = set(&[(28, bytes(b"\x82\x03\x81\x01"))]);
    assert_eq!(with(&[version, policy(28)]), ManifestError::Command(28));
}

#[test]
fn commands_stand_only_in_their_sections() {
    assert_eq!(verify_error(&manifest(&shared(&[policy(21)]), &[])), ManifestError::Command(21));
    assert_eq!(
        verify_error(&manifest(&shared(&[]), &[(16, sequence(&[policy(23)]))])),
        ManifestError::Command(23)
    );
    let definition = set(&[(-257, bytes(&[0x80]))]);
    assert_eq!(verify_error(&manifest(&shared(&[definition]), &[])), ManifestError::Parameter(-257));
}

#[test]
fn unlisted_component_is_refused() {
    assert_eq!(verify_error(&manifest(&shared(&[(12, int(1))]), &[])), ManifestError::ComponentIndex(1));
    assert_eq!(verify_error(&manifest(&shared(&[(12, int(700))]), &[])), ManifestError::ComponentIndex(700));
}

#[test]
fn sequences_nested_too_deep_are_refused() {
    let mut deep = run_sequence(&[policy(2)]);
    for _ in 0..3 {
        deep = run_sequence(&[deep]);
    }
    assert_eq!(verify_error(&manifest(&shared(&[deep]), &[])), ManifestError::Depth);
}

#[test]
fn manifest_that_asks_for_no_class_is_refused() {
    let careless = sequence(&[set(&[(1, bytes(&VENDOR)), (3, digest(7))]), policy(1)]);
    let refused = run(&manifest(&careless, &[(16, sequence(&fetch()))])).unwrap_err();
    assert_eq!(refused.refusal, Refusal::Unconditional);
}

#[test]
fn fetch_without_uri_or_digest_is_refused() {
    let no_uri = run(&manifest(&shared(&[]), &[(16, sequence(&[policy(21)]))])).unwrap_err();
    assert_eq!((no_uri.refusal, no_uri.section, no_uri.offset), (Refusal::NoUri(0), 16, 1));
    let ids = set(&[(1, bytes(&VENDOR)), (2, bytes(&CLASS))]);
    let no_digest = sequence(&[ids, policy(1), policy(2)]);
    let refused = run(&manifest(&no_digest, &[(16, sequence(&fetch()))])).unwrap_err();
    assert_eq!(refused.refusal, Refusal::NoDigest(0));
}

#[test]
fn image_match_before_the_fetch_asks_the_device() {
    let refused = run(&manifest(&shared(&[]), &[(16, sequence(&[policy(3)]))])).unwrap_err();
    assert_eq!(refused.refusal, failed(Condition::ImageMatch));
}

fn two(shared: &[u8], fetch: &[u8]) -> Vec<u8> {
    manifest_of(&[array(&[bytes(b"a")]), array(&[bytes(b"b")])], shared, &[(16, fetch.to_vec())])
}

#[test]
fn sequence_of_several_components_must_choose_first() {
    let choose = (12, int(0));
    let fetch = sequence(&[vec![choose], fetch()].concat());
    assert_eq!(verify_error(&two(&shared(&[]), &fetch)), ManifestError::NoComponentChosen);
}

#[test]
fn choosing_all_runs_commands_and_sequences_once_for_each() {
    let choose_all = (12, bool(true));
    let ids = [set(&[(1, bytes(&VENDOR)), (2, bytes(&CLASS)), (3, digest(7))]), policy(1), policy(2)];
    let shared = sequence(
        &[vec![choose_all.clone()], ids.to_vec(), vec![try_each(&[wrong_class(), right_class(4)])]].concat(),
    );
    let fetch = sequence(&[vec![choose_all], fetch()].concat());
    let envelope = envelope(&two(&shared, &fetch));
    let verified = Envelope::parse(&envelope).unwrap().verify(authors().as_slice()).unwrap();
    let plan = update(&verified, &US).unwrap();
    let sizes: Vec<_> = plan.fetches().map(|(index, component)| (index, component.size)).collect();
    assert_eq!(sizes, [(0, Some(4)), (1, Some(4))]);
}

#[test]
fn manifest_that_multiplies_its_commands_is_cut_off() {
    let components: Vec<_> = (0..8u8).map(|n| array(&[bytes(&[n])])).collect();
    let choose_all = (12, bool(true));
    let mut body = vec![choose_all.clone(), policy(1)];
    for _ in 0..3 {
        body = vec![choose_all.clone(), run_sequence(&body), run_sequence(&body)];
    }
    let ids = [set(&[(1, bytes(&VENDOR)), (2, bytes(&CLASS))]), policy(1), policy(2)];
    let shared = sequence(&[vec![choose_all.clone()], ids.to_vec(), body].concat());
    let envelope = envelope(&manifest_of(&components, &shared, &[(7, sequence(&[choose_all, policy(1)]))]));
    let verified = Envelope::parse(&envelope).unwrap().verify(authors().as_slice()).unwrap();
    assert_eq!(update(&verified, &US).unwrap_err().refusal, Refusal::TooLong);
    const { assert!(COMMANDS_MAX >= 1024) };
}

proptest! {
    /// Rightly signed garbage: whatever an author's tool may write, a device must not fall over it.
    #[test]
    fn signed_garbage_never_panics(
        garbage in proptest::collection::vec(any::<u8>(), 0..60),
        whole in any::<bool>(),
        at in any::<prop::sample::Index>(),
    ) {
        let good = manifest(&shared(&[try_each(&[wrong_class(), right_class(2)])]), &[(16, sequence(&fetch()))]);
        let mut manifest = if whole { garbage.clone() } else { good };
        if !whole {
            let at = at.index(manifest.len());
            for (place, byte) in manifest[at..].iter_mut().zip(&garbage) {
                *place = *byte;
            }
        }
        let envelope = envelope(&manifest);
        if let Ok(verified) = Envelope::parse(&envelope).unwrap().verify(authors().as_slice()) {
            let _ = verified.request_identifier();
            if let Ok(plan) = update(&verified, &US) {
                for component in plan.components() {
                    let _ = component.definition(&mut [0; 64]);
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_an_envelope_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = Envelope::parse(&bytes);
    }

    #[test]
    fn envelope_with_any_bytes_overwritten_never_panics(
        garbage in proptest::collection::vec(any::<u8>(), 1..8), at in any::<prop::sample::Index>(),
    ) {
        let mut altered = envelope(&manifest(&shared(&[]), &[(16, sequence(&fetch()))]));
        let at = at.index(altered.len());
        for (place, byte) in altered[at..].iter_mut().zip(&garbage) {
            *place = *byte;
        }
        if let Ok(envelope) = Envelope::parse(&altered) {
            let _ = envelope.integrated("x");
            let _ = envelope.verify(authors().as_slice());
        }
    }
}
