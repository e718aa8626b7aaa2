//! Manifests that we make, read by ourselves and by coset.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made is a failed test")]

use bellwether_manifests::author::{
    AuthorError, ClassImage, ComponentDraft, ImageSummary, ManifestDraft, ManifestSummary, Profile, Severing,
    class_id, default_definition, vendor_id,
};
use bellwether_manifests::cose::{PrivateKey, PublicKey, Sign, Sign1, sign, sign1};
use bellwether_manifests::definition::{self, Item, ScopeDraft};
use bellwether_manifests::envelope::{Envelope, VerifyError};
use bellwether_manifests::manifest::{Condition, PAYLOAD_FETCH};
use bellwether_manifests::run::{Identity, Refusal, update};
use bellwether_manifests::version;
use coset::{CborSerializable, TaggedCborSerializable};
use p256::ecdsa::signature::Verifier;
use proptest::prelude::*;

fn key() -> PrivateKey {
    PrivateKey::from_random(&[0x51; 32]).unwrap()
}

fn vendor() -> [u8; 16] {
    vendor_id("example.com")
}

fn image(class: &str, n: u8) -> ClassImage {
    let version = Some(vec![i64::from(n), 0, -1, 3]);
    ClassImage { class: class_id(&vendor(), class), digest: [n; 32], size: 1000 + u64::from(n), version }
}

fn draft() -> ManifestDraft {
    let classes = vec![image("lamp", 1), image("meter", 2)];
    let mut draft = ManifestDraft::new(9, vendor(), classes, "coaps://fw.example.com/m/9".into());
    draft.version = Some("1.0 and 2.0".into());
    draft
}

#[test]
fn ids_are_uuids_of_version_5() {
    // The vendor of the draft's examples, and what Python's uuid makes.
    assert_eq!(hex::encode(vendor_id("arm.com")), "fa6b4a53d5ad5fdfbe9de663e4d41ffe");
    assert_eq!(hex::encode(vendor()), "cfbff0d193755685968c48ce8b15ae17");
    assert_eq!(hex::encode(class_id(&vendor(), "lamp")), "7fd968dfda315a19b45435f5cb2264c7");
}

#[test]
fn every_class_of_a_mixed_fleet_finds_its_image() {
    let envelope = draft().sign(&key()).unwrap();
    let verified = Envelope::parse(&envelope).unwrap().verify([key().public()].as_slice()).unwrap();
    for (class, n) in [("lamp", 1), ("meter", 2)] {
        let class = class_id(&vendor(), class);
        let plan =
            update(&verified, &Identity { vendor: &vendor(), class: &class, device: None, now: 0 }).unwrap();
        let component = &plan.components()[0];
        assert_eq!((component.digest, component.size), (Some(&[n; 32]), Some(1000 + u64::from(n))));
        assert_eq!(component.version.unwrap().to_string(), format!("{n}.0-rc.3"));
        assert_eq!(component.request_identifier(), Some("/u"));
        let definition = component.definition(&mut []).unwrap().unwrap();
        assert_eq!(definition.encoded(), definition::encode(&default_definition()));
    }
    let stranger = class_id(&vendor(), "toaster");
    let refused = update(&verified, &Identity { vendor: &vendor(), class: &stranger, device: None, now: 0 });
    let refusal = Refusal::Condition { condition: Condition::ClassId, component: 0 };
    assert_eq!(refused.unwrap_err().refusal, refusal);
}

#[test]
fn payload_fetch_is_severed_unless_it_must_not_be() {
    let severed = draft().sign(&key()).unwrap();
    let inline = ManifestDraft { severing: Severing::Never, ..draft() }.sign(&key()).unwrap();
    assert!(severed.len() > inline.len());
    // What a distributor may do: drop the severed element. The signature stays right.
    let stripped = stripped(&severed);
    let verified = Envelope::parse(&stripped).unwrap().verify([key().public()].as_slice()).unwrap();
    let class = class_id(&vendor(), "lamp");
    let refused = update(&verified, &Identity { vendor: &vendor(), class: &class, device: None, now: 0 });
    assert_eq!(refused.unwrap_err().refusal, Refusal::Severed(PAYLOAD_FETCH));
}

/// Takes the envelope's element 16 away; the text is too short to be severed.
fn stripped(envelope: &[u8]) -> Vec<u8> {
    let mut decoder = minicbor::Decoder::new(envelope);
    decoder.tag().unwrap();
    assert_eq!(decoder.map().unwrap(), Some(3));
    let start = decoder.position();
    for _ in 0..4 {
        decoder.skip().unwrap();
    }
    [&[0xd8, 107, 0xa2][..], &envelope[start..decoder.position()]].concat()
}

#[test]
fn profiles_carry_the_same_definition() {
    for profile in [Profile::Private, Profile::FetchArguments, Profile::Query] {
        let envelope = ManifestDraft { profile, ..draft() }.sign(&key()).unwrap();
        let envelope = Envelope::parse(&envelope).unwrap();
        let summary = ManifestSummary::new(&envelope.verify([key().public()].as_slice()).unwrap()).unwrap();
        assert_eq!(summary.definition, Some(definition::encode(&default_definition())), "{profile:?}");
        assert_eq!(summary.request_identifier.as_deref(), Some("/u"));
    }
}

#[test]
fn summary_says_what_devices_will_find() {
    let envelope = draft().sign(&key()).unwrap();
    let envelope = Envelope::parse(&envelope).unwrap();
    let summary = ManifestSummary::new(&envelope.verify([key().public()].as_slice()).unwrap()).unwrap();
    assert_eq!((summary.sequence_number, summary.digest), (9, *envelope.digest()));
    assert_eq!(summary.reference_uri.as_deref(), Some("coaps://fw.example.com/m/9"));
    assert_eq!(summary.version.as_deref(), Some("1.0 and 2.0"));
    assert_eq!((summary.vendors, summary.components), (vec![vendor()], vec![vec![b"app".to_vec()]]));
    let classes: Vec<_> = summary.classes.into_iter().map(|class| (class.class, class.images)).collect();
    let expected = |name, n: u8| {
        let version = Some(format!("{n}.0-rc.3"));
        let image = ImageSummary { component: 0, digest: [n; 32], size: Some(1000 + u64::from(n)), version };
        (class_id(&vendor(), name), vec![image])
    };
    assert_eq!(classes, [expected("lamp", 1), expected("meter", 2)]);
    assert_eq!(summary.asked, [(None, vec![1, 2, -306, -307]), (Some(0), vec![3, 28])]);
    assert_eq!((summary.signers, summary.verified), (vec![key().public().kid()], true));
}

#[test]
fn shown_manifest_is_not_called_verified() {
    let envelope = draft().sign(&key()).unwrap();
    let summary = ManifestSummary::unverified(&Envelope::parse(&envelope).unwrap()).unwrap();
    assert_eq!((summary.signers, summary.verified), (vec![key().public().kid()], false));
    assert_eq!(summary.classes.len(), 2);
}

/// Two classes with two components each.
fn with_radio() -> ManifestDraft {
    let radio = vec![image("lamp", 3), image("meter", 4)];
    draft().with(ComponentDraft { component: vec![b"radio".to_vec()], classes: radio })
}

#[test]
fn every_component_of_a_class_has_its_image() {
    for profile in [Profile::Private, Profile::FetchArguments, Profile::Query] {
        let envelope = ManifestDraft {
            profile,
            use_before: Some(500),
            devices: vec![[1; 16], [2; 16]],
            priority: Some(3),
            ..with_radio()
        };
        let envelope = envelope.sign(&key()).unwrap();
        let parsed = Envelope::parse(&envelope).unwrap();
        let summary = ManifestSummary::unverified(&parsed).unwrap();
        assert_eq!(summary.components, [vec![b"app".to_vec()], vec![b"radio".to_vec()]]);
        assert_eq!((summary.priority, summary.devices.len()), (Some(3), 2));
        for (class, digests) in [("lamp", [1, 3]), ("meter", [2, 4])] {
            let class = class_id(&vendor(), class);
            let found = summary.classes.iter().find(|found| found.class == class).unwrap();
            let images: Vec<_> =
                found.images.iter().map(|image| (image.component, image.digest[0])).collect();
            assert_eq!(images, [(0, digests[0]), (1, digests[1])]);
        }
        let asked: Vec<_> = summary.asked.iter().map(|(component, _)| *component).collect();
        assert_eq!(asked, [None, Some(0), Some(1)]);
    }
}

#[test]
fn component_without_name_twice_or_for_other_classes_is_refused() {
    let refused = |component: &[u8], classes| {
        let component = if component.is_empty() { vec![] } else { vec![component.to_vec()] };
        draft().with(ComponentDraft { component, classes }).sign(&key()).unwrap_err()
    };
    let both = vec![image("lamp", 3), image("meter", 4)];
    assert!(matches!(refused(b"", both.clone()), AuthorError::Component));
    assert!(matches!(refused(b"app", both.clone()), AuthorError::Component));
    assert!(matches!(refused(b"radio", both[..1].to_vec()), AuthorError::Classes));
    assert!(matches!(refused(b"radio", vec![both[0].clone(), both[0].clone()]), AuthorError::Classes));
}

#[test]
fn one_class_stands_in_line_and_named_devices_alone_follow() {
    let devices = vec![[1; 16], [2; 16]];
    let draft = ManifestDraft { classes: vec![image("lamp", 1)], devices, use_before: Some(500), ..draft() };
    let envelope = draft.sign(&key()).unwrap();
    let verified = Envelope::parse(&envelope).unwrap().verify([key().public()].as_slice()).unwrap();
    let (vendor, class) = (vendor(), class_id(&vendor(), "lamp"));
    let run = |device: Option<&[u8; 16]>, now| {
        update(&verified, &Identity { vendor: &vendor, class: &class, device, now })
            .map(drop)
            .map_err(|e| e.refusal)
    };
    let failed = |condition| Err(Refusal::Condition { condition, component: 0 });
    assert_eq!(run(Some(&[2; 16]), 499), Ok(()));
    assert_eq!(run(Some(&[3; 16]), 499), failed(Condition::DeviceId));
    assert_eq!(run(None, 499), failed(Condition::DeviceId));
    assert_eq!(run(Some(&[1; 16]), 500), failed(Condition::UseBefore));
}

#[test]
fn draft_that_cannot_work_is_not_signed() {
    let sign = |draft: ManifestDraft| draft.sign(&key()).unwrap_err();
    assert!(matches!(sign(ManifestDraft { classes: vec![], ..draft() }), AuthorError::Classes));
    let twice = vec![image("lamp", 1), image("lamp", 2)];
    assert!(matches!(sign(ManifestDraft { classes: twice, ..draft() }), AuthorError::Classes));
    assert!(matches!(sign(ManifestDraft { reference_uri: String::new(), ..draft() }), AuthorError::Uri));
    assert!(matches!(
        sign(ManifestDraft { request_identifier: "/u?cd=AA".into(), ..draft() }),
        AuthorError::Uri
    ));
    for version in [vec![], vec![-1, 2]] {
        let classes = vec![ClassImage { version: Some(version), ..image("lamp", 1) }];
        assert!(matches!(sign(ManifestDraft { classes, ..draft() }), AuthorError::Version));
    }
    let empty = vec![ScopeDraft { component: None, items: vec![] }];
    assert!(matches!(sign(ManifestDraft { definition: empty, ..draft() }), AuthorError::Definition(_)));
}

#[test]
fn altered_manifest_is_never_accepted() {
    let original = draft().sign(&key()).unwrap();
    for at in 0..original.len() {
        let mut altered = original.clone();
        altered[at] ^= 0x01;
        let accepted = Envelope::parse(&altered)
            .is_ok_and(|envelope| envelope.verify([key().public()].as_slice()).is_ok());
        assert!(!accepted, "byte {at}");
    }
}

#[test]
fn severed_element_of_another_manifest_is_refused() {
    let one = draft().sign(&key()).unwrap();
    let other = ManifestDraft { request_identifier: "/v".into(), ..draft() }.sign(&key()).unwrap();
    // Both have the same lengths; the severed element follows the manifest.
    let kept = stripped(&one).len();
    let mixed = [&one[..kept], &other[kept..]].concat();
    assert_eq!(one.len(), other.len());
    assert_eq!(
        Envelope::parse(&mixed).unwrap().verify([key().public()].as_slice()).unwrap_err(),
        VerifyError::Severed(PAYLOAD_FETCH)
    );
}

fn verifying(key: &PublicKey) -> p256::ecdsa::VerifyingKey {
    p256::ecdsa::VerifyingKey::from_sec1_bytes(&key.to_sec1()).unwrap()
}

fn check(key: &PublicKey, signature: &[u8], structure: &[u8]) -> Result<(), p256::ecdsa::Error> {
    verifying(key).verify(structure, &p256::ecdsa::Signature::from_slice(signature).unwrap())
}

#[test]
fn coset_reads_and_verifies_our_authentication_block() {
    let envelope = draft().sign(&key()).unwrap();
    let mut decoder = minicbor::Decoder::new(&envelope);
    decoder.tag().unwrap();
    decoder.map().unwrap();
    decoder.u8().unwrap();
    let mut authentication = minicbor::Decoder::new(decoder.bytes().unwrap());
    assert_eq!(authentication.array().unwrap(), Some(2));
    let digest = authentication.bytes().unwrap();
    let block = coset::CoseSign1::from_tagged_slice(authentication.bytes().unwrap()).unwrap();
    assert_eq!(block.protected.header.alg, Some(coset::Algorithm::Assigned(coset::iana::Algorithm::ESP256)));
    let verify = |signature: &[u8], structure: &[u8]| check(&key().public(), signature, structure);
    block.verify_detached_signature(digest, &[], verify).unwrap();
}

#[test]
fn coset_reads_our_public_key() {
    let read = coset::CoseKey::from_slice(&key().public().encode()).unwrap();
    assert_eq!(read.kty, coset::KeyType::Assigned(coset::iana::KeyType::EC2));
    assert_eq!(read.params.len(), 3);
    assert_eq!(read.to_vec().unwrap(), key().public().encode());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn coset_and_we_agree_on_sign1(payload in proptest::collection::vec(any::<u8>(), 0..300), aad in ".{0,30}") {
        let message = sign1(&payload, &[aad.as_bytes()], &key());
        let read = coset::CoseSign1::from_tagged_slice(&message).unwrap();
        prop_assert_eq!(read.payload.as_deref(), Some(&payload[..]));
        read.verify_signature(aad.as_bytes(), |signature, structure| check(&key().public(), signature, structure)).unwrap();
        // And back: coset writes the same bytes, which we verify.
        let written = read.to_tagged_vec().unwrap();
        let ours = Sign1::parse(&written).unwrap();
        prop_assert_eq!(ours.verify(&[aad.as_bytes()], &key().public()), Ok(&payload[..]));
    }

    #[test]
    fn coset_and_we_agree_on_sign(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let keys = [key(), PrivateKey::from_random(&[9; 32]).unwrap()];
        let message = sign(&payload, &[b"bw1 anchors"], &keys);
        let read = coset::CoseSign::from_tagged_slice(&message).unwrap();
        for (n, key) in keys.iter().enumerate() {
            read.verify_signature(n, b"bw1 anchors", |signature, structure| check(&key.public(), signature, structure)).unwrap();
        }
        let written = read.to_tagged_vec().unwrap();
        prop_assert_eq!(Sign::parse(&written).unwrap().signers().count(), 2);
    }

    #[test]
    fn any_mixed_fleet_is_written_and_found_again(
        names in proptest::collection::hash_map("[a-z]{1,8}", any::<bool>(), 1..12), never in any::<bool>(), sequence_number in any::<u64>(),
    ) {
        let classes: Vec<_> = names.iter().zip(1..).map(|((name, has_version), n)| {
            let image = image(name, n);
            ClassImage { version: image.version.filter(|_| *has_version), ..image }
        }).collect();
        let severing = if never { Severing::Never } else { Severing::WhenLarger };
        let draft = ManifestDraft { classes: classes.clone(), severing, sequence_number, ..draft() };
        let envelope = draft.sign(&key()).unwrap();
        let summary = ManifestSummary::unverified(&Envelope::parse(&envelope).unwrap()).unwrap();
        prop_assert_eq!(summary.sequence_number, sequence_number);
        let found: Vec<_> = summary.classes.into_iter()
            .map(|found| {
                let image = &found.images[0];
                let version = image.version.as_deref().and_then(version::numbers).map(Iterator::collect);
                ClassImage { class: found.class, digest: image.digest, size: image.size.unwrap(), version }
            })
            .collect();
        prop_assert_eq!(found, classes);
    }

    #[test]
    fn salted_item_and_optional_item_survive(id in any::<i64>()) {
        let definition = vec![ScopeDraft { component: Some(0), items: vec![Item::optional(id)] }];
        let envelope = ManifestDraft { definition: definition.clone(), ..draft() }.sign(&key()).unwrap();
        let summary = ManifestSummary::unverified(&Envelope::parse(&envelope).unwrap()).unwrap();
        prop_assert_eq!(summary.asked, vec![(Some(0), vec![id])]);
    }
}

#[test]
fn more_urgent_manifest_outranks_another_and_one_without_priority_none() {
    let summary = |priority| {
        let signed = ManifestDraft { priority, ..draft() }.sign(&key()).unwrap();
        let envelope = Envelope::parse(&signed).unwrap();
        ManifestSummary::unverified(&envelope).unwrap()
    };
    let [urgent, usual, unsaid] = [Some(-5), Some(0), None].map(summary);
    assert_eq!([urgent.priority, usual.priority, unsaid.priority], [Some(-5), Some(0), None]);
    assert!(urgent.outranks(&usual) && urgent.outranks(&unsaid) && usual.outranks(&unsaid));
    assert!(!usual.outranks(&urgent) && !usual.outranks(&usual) && !unsaid.outranks(&unsaid));
}
