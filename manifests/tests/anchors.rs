//! Anchors documents: the vectors, replacement, and who may sign for what.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made is a failed test")]

use bellwether_manifests::anchors::{
    ANCHORS_AAD, Anchors, AnchorsDraft, AnchorsError, RoleDraft, RoleName, WriteError,
};
use bellwether_manifests::author::{ClassImage, ManifestDraft};
use bellwether_manifests::cose::{PrivateKey, PublicKey, sign};
use bellwether_manifests::envelope::{Envelope, VerifyError};
use bellwether_manifests::manifest::ComponentId;
use proptest::prelude::*;

const SIGNED: &[u8] = include_bytes!("vectors/update/anchors.sign");
const PAYLOAD: &[u8] = include_bytes!("vectors/update/anchors.cbor");

fn vector_key(name: &str) -> PrivateKey {
    let values: serde_json::Value = serde_json::from_str(include_str!("vectors/update/values.json")).unwrap();
    let scalar = hex::decode(values["private keys (scalar)"][name].as_str().unwrap()).unwrap();
    PrivateKey::from_random(&scalar.try_into().unwrap()).unwrap()
}

fn key(n: u8) -> PrivateKey {
    PrivateKey::from_random(&[n; 32]).unwrap()
}

fn role(name: RoleName, threshold: u64, keys: &[PrivateKey], components: &[&[&[u8]]]) -> RoleDraft {
    RoleDraft {
        name,
        threshold,
        keys: keys.iter().map(PrivateKey::public).collect(),
        components: components.iter().map(|parts| parts.iter().map(|part| part.to_vec()).collect()).collect(),
        algorithms: vec![-9],
    }
}

fn draft(edition: u64, root: RoleDraft) -> AnchorsDraft {
    let app: &[&[u8]] = &[b"app"];
    AnchorsDraft {
        edition,
        issued: 1_795_000_000,
        vendor: [7; 16],
        roles: vec![root, role(RoleName::Author, 1, &[key(50)], &[app])],
    }
}

#[test]
fn vector_is_read_and_says_who_may_what() {
    let anchors = Anchors::initial(SIGNED).unwrap();
    assert_eq!((anchors.edition(), anchors.issued()), (3, 1_795_000_000));
    let app = ComponentId::parse(b"\x82\x43app\x41x").unwrap();
    let boot = ComponentId::parse(b"\x81\x44boot").unwrap();
    let author = vector_key("author").public();
    assert_eq!(anchors.author_keys(&app).collect::<Vec<_>>(), [author]);
    assert_eq!(anchors.author_keys(&boot).count(), 0);
    let distributor = vector_key("distributor").public();
    assert_eq!(anchors.distributor_keys().collect::<Vec<_>>(), [distributor]);
    assert_eq!(anchors.distributor(distributor.kid()), Some(distributor));
    assert_eq!(anchors.distributor(author.kid()), None);
    for algorithm in [-9, -65534, -65532, 1, -3, -5, -29] {
        assert!(anchors.allows(algorithm), "{algorithm}");
    }
    assert!(!anchors.allows(24));
}

#[test]
fn vector_is_written_byte_for_byte() {
    let anchors = Anchors::initial(SIGNED).unwrap();
    let roles = anchors.roles().map(|role| RoleDraft {
        name: role.name(),
        threshold: role.threshold(),
        keys: role.keys().collect(),
        components: role.components().map(|id| id.parts().map(<[u8]>::to_vec).collect()).collect(),
        algorithms: role.algorithms().collect(),
    });
    let draft =
        AnchorsDraft { edition: 3, issued: 1_795_000_000, vendor: *anchors.vendor(), roles: roles.collect() };
    assert_eq!(draft.encode(), PAYLOAD);
    // Signatures are deterministic (RFC 6979), so the whole message comes out the same.
    assert_eq!(draft.sign(&[vector_key("root a"), vector_key("root b")]).unwrap(), SIGNED);
}

#[test]
fn one_root_key_is_not_two_however_often_it_signs() {
    for refused in [
        include_bytes!("vectors/update/refused-one-root.sign").as_slice(),
        include_bytes!("vectors/update/refused-one-root-twice.sign"),
    ] {
        assert_eq!(Anchors::initial(refused).unwrap_err(), AnchorsError::Threshold);
    }
}

#[test]
fn altered_document_is_refused_at_every_byte() {
    for at in 0..SIGNED.len() {
        let mut altered = SIGNED.to_vec();
        altered[at] ^= 1;
        assert!(Anchors::initial(&altered).is_err(), "byte {at}");
    }
}

#[test]
fn strangers_are_skipped_and_a_listed_signer_that_fails_refuses() {
    let draft = draft(1, role(RoleName::Root, 1, &[key(1), key(2)], &[]));
    let with_stranger = sign(&draft.encode(), &[ANCHORS_AAD], &[key(9), key(1)]);
    assert!(Anchors::initial(&with_stranger).is_ok());
    // Key 2's signature over another document, put beside a right one by key 1.
    let other = sign(b"other", &[ANCHORS_AAD], &[key(2)]);
    let right = sign(&draft.encode(), &[ANCHORS_AAD], &[key(1)]);
    let mut mixed = right.clone();
    let head = right.len() - SIGNER_BYTES - 1;
    mixed[head] = 0x82;
    mixed.extend_from_slice(&other[other.len() - SIGNER_BYTES..]);
    assert!(matches!(Anchors::initial(&mixed).unwrap_err(), AnchorsError::Signature(_)));
}

/// 83, bstr of 13, a0, bstr of 64.
const SIGNER_BYTES: usize = 1 + 14 + 1 + 66;

#[test]
fn replacement_needs_the_old_and_the_new_roots() {
    let first = draft(1, role(RoleName::Root, 1, &[key(1)], &[])).sign(&[key(1)]).unwrap();
    let current = Anchors::initial(&first).unwrap();
    let next = draft(2, role(RoleName::Root, 2, &[key(2), key(3)], &[]));
    let by = |keys: &[PrivateKey]| sign(&next.encode(), &[ANCHORS_AAD], keys);
    assert_eq!(Anchors::replacing(&by(&[key(1), key(2), key(3)]), &current).unwrap().edition(), 2);
    for keys in [&[key(2), key(3)][..], &[key(1), key(2)], &[key(1)]] {
        assert_eq!(Anchors::replacing(&by(keys), &current).unwrap_err(), AnchorsError::Threshold);
    }
}

#[test]
fn replacement_is_newer_and_of_the_same_vendor() {
    let root = || role(RoleName::Root, 1, &[key(1)], &[]);
    let first = draft(4, root()).sign(&[key(1)]).unwrap();
    let current = Anchors::initial(&first).unwrap();
    let same = draft(4, root()).sign(&[key(1)]).unwrap();
    assert_eq!(Anchors::replacing(&same, &current).unwrap_err(), AnchorsError::Edition(4));
    let mut foreign = draft(5, root());
    foreign.vendor = [8; 16];
    let foreign = foreign.sign(&[key(1)]).unwrap();
    assert_eq!(Anchors::replacing(&foreign, &current).unwrap_err(), AnchorsError::Vendor);
}

#[test]
fn document_that_nobody_would_believe_is_not_signed() {
    let root = || role(RoleName::Root, 1, &[key(1)], &[]);
    let refused = |draft: &AnchorsDraft| {
        let WriteError::NotBelieved(error) = draft.sign(&[key(1)]).unwrap_err();
        error
    };
    let mut high = draft(1, root());
    high.roles[0].threshold = 2;
    assert_eq!(refused(&high), AnchorsError::Role);
    let mut doubled = draft(1, root());
    doubled.roles[1].keys.push(key(50).public());
    assert_eq!(refused(&doubled), AnchorsError::Role);
    let mut rootless = draft(1, root());
    rootless.roles.remove(0);
    assert_eq!(refused(&rootless), AnchorsError::Roles);
    let mut foreign_root = draft(1, root());
    foreign_root.roles[0].algorithms = vec![-19];
    assert_eq!(refused(&foreign_root), AnchorsError::Threshold);
}

fn manifest_by(key: &PrivateKey, component: &[&[u8]]) -> Vec<u8> {
    let class = ClassImage { class: [1; 16], digest: [2; 32], size: 3, version: None };
    let mut draft = ManifestDraft::new(1, [7; 16], vec![class], "coaps://h/m/1".into());
    draft.component = component.iter().map(|part| part.to_vec()).collect();
    draft.sign(key).unwrap()
}

#[test]
fn author_signs_for_listed_components_only() {
    let document = draft(1, role(RoleName::Root, 1, &[key(1)], &[])).sign(&[key(1)]).unwrap();
    let anchors = Anchors::initial(&document).unwrap();
    let verify = |envelope: &[u8]| Envelope::parse(envelope).unwrap().verify(&anchors).map(drop);
    assert_eq!(verify(&manifest_by(&key(50), &[b"app"])), Ok(()));
    assert_eq!(verify(&manifest_by(&key(50), &[b"app", b"module"])), Ok(()));
    assert_eq!(verify(&manifest_by(&key(50), &[b"boot"])), Err(VerifyError::Component(0)));
    // The root signs anchors, never manifests.
    assert_eq!(verify(&manifest_by(&key(1), &[b"app"])), Err(VerifyError::Signature));
}

#[test]
fn author_threshold_of_two_is_not_met_by_one() {
    let mut draft = draft(1, role(RoleName::Root, 1, &[key(1)], &[]));
    let app: &[&[u8]] = &[b"app"];
    draft.roles[1] = role(RoleName::Author, 2, &[key(50), key(51)], &[app]);
    let document = draft.sign(&[key(1)]).unwrap();
    let anchors = Anchors::initial(&document).unwrap();
    let envelope = manifest_by(&key(50), &[b"app"]);
    assert_eq!(Envelope::parse(&envelope).unwrap().verify(&anchors).unwrap_err(), VerifyError::Component(0));
}

#[test]
fn author_role_without_components_may_sign_for_none() {
    let mut draft = draft(1, role(RoleName::Root, 1, &[key(1)], &[]));
    draft.roles[1].components.clear();
    let document = draft.sign(&[key(1)]).unwrap();
    let anchors = Anchors::initial(&document).unwrap();
    let envelope = manifest_by(&key(50), &[b"app"]);
    assert_eq!(Envelope::parse(&envelope).unwrap().verify(&anchors).unwrap_err(), VerifyError::Component(0));
}

proptest! {
    #[test]
    fn signed_garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), whole in any::<bool>()) {
        let mut payload = if whole { garbage.clone() } else { PAYLOAD.to_vec() };
        if !whole {
            let at = at.index(payload.len());
            for (place, byte) in payload[at..].iter_mut().zip(&garbage) {
                *place = *byte;
            }
        }
        let document = sign(&payload, &[ANCHORS_AAD], &[vector_key("root a"), vector_key("root b")]);
        if let Ok(anchors) = Anchors::initial(&document) {
            prop_assert!(anchors.roles().count() > 0);
        }
    }
}

#[test]
fn key_id_is_that_of_the_vectors() {
    // The first signer of the vector: 83 4d a2 01 28 04 48 kid.
    let at = SIGNED.windows(7).position(|bytes| bytes == b"\x83\x4d\xa2\x01\x28\x04\x48").unwrap() + 7;
    let root: PublicKey = vector_key("root a").public();
    assert_eq!(root.kid()[..], SIGNED[at..at + 8]);
}
