//! Messages built from values are the vectors.

use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::cbor::{self, EncodeError};
use bellwether_manifests::cose::{PrivateKey, sign1};
use bellwether_manifests::frame::FrameChain;
use bellwether_manifests::message::algorithm::{A256CTR, A256KW};
use bellwether_manifests::message::bundle::{BundleError, Name};
use bellwether_manifests::message::selector::salted_digest;
use bellwether_manifests::message::{
    Answers, Bundle, Chain, Confirm, Descriptor, Detail, Digest, Grant, GrantOptions, GrantedResource, Later,
    List, Place, Policy, Resource, ResourceKind, ScopeAnswers, Selector, Verdict, Window, Wrapped, word,
};

use crate::{PLACE, file, sha256, value};

#[test]
fn selector_is_built_from_answers_in_any_order() {
    let bytes = file("selector.cbor");
    let received = Selector::decode(&bytes).unwrap();
    let manifest: Digest = value(&["manifest digest"]).try_into().unwrap();
    let answer = |component, id| received.answer(component, id).unwrap();
    let device = [(-300, answer(None, -300)), (2, answer(None, 2)), (1, answer(None, 1))];
    let component = [(28, answer(Some(0), 28)), (3, answer(Some(0), 3))];
    let scopes = [
        ScopeAnswers { component: None, answers: Answers::new(&device).unwrap() },
        ScopeAnswers { component: Some(0), answers: Answers::new(&component).unwrap() },
    ];
    let built = Selector { manifest: &manifest, scopes: List::new(&scopes) };
    assert_eq!(built, received);
    let mut buffer = [0; 200];
    let written = cbor::write_into(&built, &mut buffer).unwrap();
    assert_eq!(buffer[..written], bytes);
    assert_eq!(cbor::write_into(&built, &mut buffer[..written - 1]), Err(EncodeError::Space));
    assert_eq!(built.hash().unwrap().to_vec(), value(&["selector hash"]));
}

#[test]
fn answers_are_written_in_the_order_of_their_encoded_keys() {
    let values = [(-1, &[0][..]), (65536, &[0]), (-300, &[0]), (28, &[0])];
    let scope = [ScopeAnswers { component: None, answers: Answers::new(&values).unwrap() }];
    let selector = cbor::to_vec(&Selector { manifest: &[0; 32], scopes: List::new(&scope) }).unwrap();
    assert!(selector.ends_with(&value(&["map order"])));
}

#[test]
fn answer_by_digest_is_salted_by_manifest_and_id() {
    let manifest: Digest = value(&["manifest digest"]).try_into().unwrap();
    assert_eq!(salted_digest(&manifest, -300, &[3]).to_vec(), value(&["salted digest of -300 = 3"]));
}

#[test]
fn grant_is_built_byte_for_byte() {
    let bytes = file("grant.cbor");
    let received = Grant::decode(&bytes).unwrap();
    let key = received.resource(0).unwrap().key.wrapped;
    let descriptor = file("descriptor-full.cbor");
    let descriptor = Descriptor::decode(&descriptor).unwrap();
    let resource = descriptor.resource(0).unwrap();
    let iv = value(&["contents", "full", "iv"]);
    let resources = [GrantedResource {
        component: 0,
        content: resource.content,
        installed: resource.installed,
        algorithm: A256CTR,
        iv: &iv,
        key: Wrapped { algorithm: A256KW, ephemeral: None, wrapped: key },
    }];
    let built = Grant {
        place: PLACE,
        grant: 1_795_000_012,
        manifest: descriptor.manifest,
        selector: descriptor.selector,
        resources: List::new(&resources),
        not_after: 1_795_600_000,
        confirm: Confirm::Installed,
        options: GrantOptions::default(),
    };
    assert_eq!(built, received);
    assert_eq!(cbor::to_vec(&built).unwrap(), bytes);
    assert_eq!(built.digest().unwrap(), sha256(&bytes));
}

#[test]
fn delta_descriptor_is_built_byte_for_byte() {
    let bytes = file("descriptor-delta.cbor");
    let received = Descriptor::decode(&bytes).unwrap();
    let found = received.resource(0).unwrap();
    let patch = found.patch.unwrap();
    assert_eq!((patch.algorithm, patch.ram_bytes, patch.parameters), (-1, 8192, &[][..]));
    let inline = found.inline.unwrap();
    let chain = FrameChain::build(inline, 992).unwrap();
    let (content, root) = (sha256(inline), chain.root());
    let plain = sha256(&(0..200).collect::<Vec<u8>>());
    let resources = [Resource {
        component: 0,
        kind: ResourceKind::Delta,
        content: &content,
        content_bytes: 200,
        plain: &plain,
        plain_bytes: 200,
        chain: Chain { block_bytes: 992, root: &root },
        locations: List::default(),
        ..found
    }];
    let built = Descriptor { resources: List::new(&resources), ..received };
    assert_eq!(cbor::to_vec(&built).unwrap(), bytes);
}

#[test]
fn verdicts_of_all_kinds_are_built_byte_for_byte() {
    let windows = [Window { start_s: 3600, duration_s: 7200, weekdays: 127 }];
    let later = Later { delay_s: 3600, not_before: None, windows: List::new(&windows), jitter_s: 300 };
    let details = [
        Detail::Nothing,
        Detail::Later(later),
        Detail::Refused { reason: 4, text: "warranty ended" },
        Detail::Elsewhere(List::new(&["coaps://eu.example.com/u"])),
        Detail::Prove(b"prove-me"),
        Detail::Go(1_795_000_012),
        Detail::Stop(1_795_000_012),
        Detail::Forward { fork: b"\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08", grant: 1_795_000_012 },
    ];
    for detail in details {
        let kind = detail.kind();
        let index = if kind == 8 { 9 } else { 7 };
        let nonce = b"\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8";
        let verdict = Verdict { place: Place { index, ..PLACE }, nonce, now: 1_795_000_001, detail };
        let bytes = file(&format!("verdict-{kind}.cbor"));
        assert_eq!(cbor::to_vec(&verdict).unwrap(), bytes, "{kind}");
        assert_eq!(Verdict::decode(&bytes), Ok(verdict), "{kind}");
    }
}

#[test]
fn bundle_is_built_and_signed_byte_for_byte() {
    let bytes = file("bundle.cbor");
    let received = Bundle::decode(&bytes).unwrap();
    let (descriptor, grant) = (file("descriptor-full.sign1"), file("grant.mac0"));
    let (descriptors, grants) = ([descriptor.as_slice()], [grant.as_slice()]);
    let built = Bundle {
        edition: 5,
        campaign: "spring",
        envelope: received.envelope,
        descriptors: List::new(&descriptors),
        grants: List::new(&grants),
        policy: Policy { bytes_per_s: Some(4096), ..Policy::default() },
        not_after: 1_795_600_000,
    };
    assert_eq!(built, received);
    assert_eq!(cbor::to_vec(&built).unwrap(), bytes);
    let distributor =
        PrivateKey::from_random(&value(&["private keys (scalar)", "distributor"]).try_into().unwrap())
            .unwrap();
    // Signatures are deterministic (RFC 6979), so the whole message comes out the same.
    assert_eq!(built.sign(&distributor).unwrap(), file("bundle.sign1"));
}

#[test]
fn bundle_is_believed_under_the_distributor_of_the_anchors_alone() {
    let (document, message) = (file("anchors.sign"), file("bundle.sign1"));
    let anchors = Anchors::initial(&document).unwrap();
    let bundle = Bundle::verify(&message, &anchors).unwrap();
    assert_eq!((bundle.edition, bundle.campaign, bundle.is_withdrawn()), (5, "spring", false));
    let author =
        PrivateKey::from_random(&value(&["private keys (scalar)", "author"]).try_into().unwrap()).unwrap();
    assert_eq!(Bundle::verify(&bundle.sign(&author).unwrap(), &anchors), Err(BundleError::Stranger));
    for at in 0..message.len() {
        let mut altered = message.clone();
        altered[at] ^= 1;
        assert!(Bundle::verify(&altered, &anchors).is_err(), "byte {at}");
    }
    // The same bytes under another kind's word.
    let distributor =
        PrivateKey::from_random(&value(&["private keys (scalar)", "distributor"]).try_into().unwrap())
            .unwrap();
    let descriptor = sign1(&file("bundle.cbor"), &[word::DESCRIPTOR], &distributor);
    assert!(matches!(Bundle::verify(&descriptor, &anchors), Err(BundleError::Signature(_))));
}

#[test]
fn policy_of_a_bundle_comes_back_with_what_was_skipped() {
    let windows = [Window { start_s: 3_600, duration_s: 7_200, weekdays: 0x7f }];
    let push = [Name("lamp-1"), Name("lamp-2")];
    let built = Bundle {
        edition: 6,
        campaign: "spring",
        envelope: b"envelope",
        descriptors: List::default(),
        grants: List::default(),
        policy: Policy {
            devices_at_a_time: Some(0),
            windows: Some(List::new(&windows)),
            push: Some(List::new(&push)),
            ..Policy::default()
        },
        not_after: 1,
    };
    let mut bytes = cbor::to_vec(&built).unwrap();
    assert_eq!(Bundle::decode(&bytes), Ok(built));
    assert!(built.is_withdrawn());
    // One option more, -2, which a reader may skip, and then one of 4, which it must know.
    let map = bytes.iter().rposition(|byte| *byte == 0xa3).unwrap();
    bytes[map] = 0xa4;
    let end = bytes.len() - 1;
    bytes.splice(end..end, [0x21, 0x00]);
    let skipped = Bundle::decode(&bytes).unwrap();
    assert_eq!(cbor::to_vec(&skipped).unwrap(), bytes);
    bytes[end] = 0x04;
    assert!(Bundle::decode(&bytes).is_err());
}
