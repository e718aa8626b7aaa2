//! Envelopes of the draft and of the proposed profiles, byte for byte, as others made them.

#![expect(clippy::unwrap_used, reason = "a fixture that cannot be made is a failed test")]

use bellwether_manifests::cbor;
use bellwether_manifests::cose::{DetachedSign1, P256, PrivateKey, PublicKey};
use bellwether_manifests::definition::DEFINITION_BYTES_MAX;
use bellwether_manifests::envelope::{Envelope, VerifiedManifest, VerifyError};
use bellwether_manifests::manifest::{ComponentId, Condition, INSTALL, ManifestError, PAYLOAD_FETCH};
use bellwether_manifests::report::{Claims, Entry, Outcome, Reason, Record, ReportDraft, SuitReport};
use bellwether_manifests::run::{self, Device, Identity, Refusal};
use sha2::{Digest, Sha256};

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("vectors/suit/", $name)).as_slice()
    };
}

const VENDOR: [u8; 16] = *b"\xfa\x6b\x4a\x53\xd5\xad\x5f\xdf\xbe\x9d\xe6\x63\xe4\xd4\x1f\xfe";
const CLASS: [u8; 16] = *b"\x14\x92\xaf\x14\x25\x69\x5e\x48\xbf\x42\x9b\x2d\x51\xf2\xab\x45";
const US: Identity<'_> = Identity { vendor: &VENDOR, class: &CLASS, device: None, now: 0 };

/// K1, which signed every example of the draft.
fn author() -> PublicKey {
    let pem = include_str!("vectors/suit/K1_trust_anchor_p256_public.pem");
    PublicKey::from_pem(pem).unwrap()
}

fn verify(envelope: &'static [u8]) -> Result<VerifiedManifest<'static>, VerifyError> {
    Envelope::parse(envelope).unwrap().verify([author()].as_slice())
}

/// A device of the examples: its slot and what it holds.
struct Board {
    slot: u64,
    holds: Option<[u8; 32]>,
}

impl Device for Board {
    fn has_component(&self, component: &ComponentId<'_>) -> bool {
        component.parts().eq([&[0][..]])
    }
    fn is_vendor(&self, _: &ComponentId<'_>, id: &[u8; 16]) -> bool {
        *id == VENDOR
    }
    fn is_class(&self, _: &ComponentId<'_>, id: &[u8; 16]) -> bool {
        *id == CLASS
    }
    fn is_device(&self, _: &[u8; 16]) -> bool {
        false
    }
    fn is_slot(&self, _: &ComponentId<'_>, slot: u64) -> bool {
        self.slot == slot
    }
    fn holds_image(&self, _: &ComponentId<'_>, digest: &[u8; 32], _: Option<u64>) -> bool {
        self.holds.as_ref() == Some(digest)
    }
    fn is_before(&self, _: u64) -> bool {
        false
    }
}

fn hex32(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

const IMAGE_0: &str = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210";
const IMAGE_1: &str = "0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff";

#[test]
fn example_0_has_the_digest_of_the_draft() {
    let manifest = verify(vector!("example0_signed.suit")).unwrap();
    assert_eq!(*manifest.digest(), hex32("6658ea560262696dd1f13b782239a064da7c6c5cbaf52fded428a6fc83c7e5af"));
    assert_eq!(manifest.manifest().sequence_number(), 0);
    assert_eq!(manifest.signers().iter().map(|(kid, _)| kid).collect::<Vec<_>>(), [author().kid()]);
}

#[test]
fn example_0_starts_the_image_that_it_names() {
    let manifest = verify(vector!("example0_signed.suit")).unwrap();
    let plan = run::invoke(&manifest, &Board { slot: 0, holds: Some(hex32(IMAGE_0)) }).unwrap();
    assert!(plan.components()[0].invoke);
    let refused = run::invoke(&manifest, &Board { slot: 0, holds: None }).unwrap_err();
    assert_eq!(refused.refusal, Refusal::Condition { condition: Condition::ImageMatch, component: 0 });
    assert_eq!((refused.section, refused.offset), (7, 1));
}

#[test]
fn example_1_fetches_its_file() {
    let manifest = verify(vector!("example1_signed.suit")).unwrap();
    let plan = run::update(&manifest, &Board { slot: 0, holds: None }).unwrap();
    let component = &plan.components()[0];
    assert_eq!(plan.sequence_number(), 1);
    assert_eq!(component.uri, Some("http://example.com/file.bin"));
    assert_eq!((component.digest, component.size), (Some(&hex32(IMAGE_0)), Some(34768)));
    assert!(component.fetch && component.definition(&mut []).unwrap().is_none());
    assert_eq!(manifest.request_identifier(), Some("http://example.com/file.bin"));
}

#[test]
fn example_3_takes_the_image_of_the_slot() {
    let manifest = verify(vector!("example3_signed.suit")).unwrap();
    for (slot, image, size, uri) in [
        (0, IMAGE_0, 34768, "http://example.com/file1.bin"),
        (1, IMAGE_1, 76834, "http://example.com/file2.bin"),
    ] {
        let plan = run::update(&manifest, &Board { slot, holds: None }).unwrap();
        let component = &plan.components()[0];
        assert_eq!((component.slot, component.digest), (Some(slot), Some(&hex32(image))));
        assert_eq!((component.size, component.uri), (Some(size), Some(uri)));
    }
    let refused = run::update(&manifest, &Board { slot: 2, holds: None }).unwrap_err();
    assert_eq!(refused.refusal, Refusal::Condition { condition: Condition::ComponentSlot, component: 0 });
    assert_eq!(refused.section, 3);
}

#[test]
fn severed_install_is_used_when_carried_and_missed_when_stripped() {
    let manifest = verify(vector!("example2_signed.suit")).unwrap();
    assert!(manifest.text().is_some());
    let board = Board { slot: 0, holds: None };
    let plan = run::update(&manifest, &board).unwrap();
    assert!(plan.components()[0].fetch);
    let stripped = verify(vector!("example2_signed_severed.suit")).unwrap();
    assert_eq!(stripped.digest(), manifest.digest());
    assert_eq!(run::update(&stripped, &board).unwrap_err().refusal, Refusal::Severed(INSTALL));
}

#[test]
fn copying_between_components_is_refused_by_name() {
    assert_eq!(
        verify(vector!("example4_signed.suit")).unwrap_err(),
        VerifyError::Manifest(ManifestError::Element(8))
    );
}

#[test]
fn several_components_are_planned_each() {
    let manifest = verify(vector!("example5_signed.suit")).unwrap();
    let plan = run::update(&manifest, &US).unwrap();
    let planned: Vec<_> =
        plan.fetches().map(|(n, component)| (n, component.uri.unwrap(), component.size)).collect();
    let (one, two) = ("http://example.com/file1.bin", "http://example.com/file2.bin");
    assert_eq!(planned, [(0, one, Some(34768)), (1, two, Some(76834))]);
}

#[test]
fn foreign_class_and_vendor_are_named() {
    let manifest = verify(vector!("x1_manifest_profileP.suit")).unwrap();
    let other = [9; 16];
    for (identity, condition) in [
        (Identity { class: &other, ..US }, Condition::ClassId),
        (Identity { vendor: &other, ..US }, Condition::VendorId),
    ] {
        let refused = run::update(&manifest, &identity).unwrap_err();
        assert_eq!(refused.refusal, Refusal::Condition { condition, component: 0 });
        assert_eq!((refused.reason(), refused.is_for_others()), (Reason::ConditionFailed, true));
    }
}

#[test]
fn device_without_the_component_is_no_target() {
    let manifest = verify(vector!("x1_manifest_profileP.suit")).unwrap();
    let refused = run::update(&manifest, &Board { slot: 0, holds: None }).unwrap_err();
    assert_eq!(refused.refusal, Refusal::Component(0));
}

/// `[[nil, [1, 2, -300, -311]], [0, [3, 28]]]`
const DEFINITION: &str = "8282f684010239012b39013682008203181c";

#[test]
fn profiles_p_s_and_u_give_the_same_definition_and_request_identifier() {
    for envelope in [
        vector!("x0_manifest_profileS.suit"),
        vector!("x0i_manifest_profileS_install.suit"),
        vector!("x0s_manifest_profileS_severed16.suit"),
        vector!("x1_manifest_profileP.suit"),
        vector!("x5_manifest_profileU.suit"),
        vector!("x6_manifest_profileP_severed16.suit"),
    ] {
        let manifest = verify(envelope).unwrap();
        let plan = run::update(&manifest, &US).unwrap();
        let component = &plan.components()[0];
        let mut scratch = [0; DEFINITION_BYTES_MAX];
        let definition = component.definition(&mut scratch).unwrap().unwrap();
        assert_eq!(hex::encode(definition.encoded()), DEFINITION);
        assert_eq!(component.request_identifier(), Some("coaps://fw.example.com/u"));
        assert_eq!(manifest.request_identifier(), Some("coaps://fw.example.com/u"));
        assert_eq!(plan.reference_uri(), Some("coaps://fw.example.com/m/7"));
        assert_eq!((plan.sequence_number(), component.size), (7, Some(6200)));
    }
}

#[test]
fn plain_fetch_asks_no_characteristics() {
    let manifest = verify(vector!("x4_plain_fetch.suit")).unwrap();
    let plan = run::update(&manifest, &US).unwrap();
    assert!(plan.components()[0].definition(&mut []).unwrap().is_none());
}

#[test]
fn stripped_payload_fetch_cannot_be_run() {
    let manifest = verify(vector!("x6_manifest_profileP_severed16_removed.suit")).unwrap();
    assert_eq!(run::update(&manifest, &US).unwrap_err().refusal, Refusal::Severed(PAYLOAD_FETCH));
}

#[test]
fn private_command_and_private_manifest_key_are_refused_by_name() {
    assert_eq!(
        verify(vector!("x2_manifest_profileC.suit")).unwrap_err(),
        VerifyError::Manifest(ManifestError::Command(-257))
    );
    assert_eq!(
        verify(vector!("x3_manifest_private_manifest_key.suit")).unwrap_err(),
        VerifyError::Manifest(ManifestError::Element(-257))
    );
}

#[test]
fn unsigned_envelope_is_refused() {
    for envelope in [
        vector!("example0_unsigned.suit"),
        vector!("example1_unsigned.suit"),
        vector!("example3_unsigned.suit"),
    ] {
        assert_eq!(verify(envelope).unwrap_err(), VerifyError::Signature);
    }
}

#[test]
fn stranger_is_no_author() {
    let stranger = PrivateKey::from_random(&[3; 32]).unwrap().public();
    let envelope = Envelope::parse(vector!("x1_manifest_profileP.suit")).unwrap();
    assert_eq!(envelope.verify([stranger].as_slice()).unwrap_err(), VerifyError::Signature);
}

#[test]
fn envelope_without_its_tag_is_the_same() {
    let tagged = vector!("x1_manifest_profileP.suit");
    let untagged = &tagged[2..];
    let manifest = Envelope::parse(untagged).unwrap().verify([author()].as_slice()).unwrap();
    assert_eq!(manifest.digest(), verify(tagged).unwrap().digest());
}

/// Flips every bit of every byte: what is still accepted must be the same manifest under the same digest.
#[test]
fn altered_envelope_is_never_another_manifest() {
    let original = vector!("x6_manifest_profileP_severed16.suit");
    let verified = verify(original).unwrap();
    let plan = format!("{:?}", run::update(&verified, &US).unwrap());
    let mut accepted = 0;
    for at in 0..original.len() {
        for bit in 0..8 {
            let mut altered = original.to_vec();
            altered[at] ^= 1 << bit;
            let Ok(envelope) = Envelope::parse(&altered) else {
                continue;
            };
            let Ok(manifest) = envelope.verify([author()].as_slice()) else {
                continue;
            };
            accepted += 1;
            assert_eq!(manifest.digest(), verified.digest(), "byte {at}");
            assert_eq!(format!("{:?}", run::update(&manifest, &US).unwrap()), plan, "byte {at}");
        }
    }
    assert_eq!(accepted, 0);
}

#[test]
fn signature_stays_right_when_the_manifest_is_not_valid_here() {
    let error = verify(vector!("x2_manifest_profileC.suit")).unwrap_err();
    assert!(error.signature_was_right());
    assert_eq!(error.reason(), Reason::CommandUnsupported);
    assert!(!VerifyError::Digest.signature_was_right());
}

#[test]
fn draft_key_verifies_the_worked_block() {
    let envelope = vector!("example0_signed.suit");
    // The Sign1 block follows the digest; D is the encoded digest, 36 bytes.
    let at = envelope.windows(2).position(|bytes| bytes == [0xd2, 0x84]).unwrap();
    let block = DetachedSign1::parse(&envelope[at..at + 74]).unwrap();
    let signed =
        hex::decode("822f58206658ea560262696dd1f13b782239a064da7c6c5cbaf52fded428a6fc83c7e5af").unwrap();
    assert_eq!(block.verify_with(&P256, &signed, &author()), Ok(()));
    let private =
        PrivateKey::from_pem(include_str!("vectors/suit/K1_trust_anchor_p256_private.pem")).unwrap();
    assert_eq!(private.public(), author());
}

const SUCCESS: &[u8] = vector!("report_ok.cbor");
const FAILURE: &[u8] = vector!("report_fail.cbor");
const NONCE: &[u8] = b"\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf";

#[test]
fn report_of_success_is_read_and_written_byte_for_byte() {
    let report = SuitReport::parse(SUCCESS).unwrap();
    assert_eq!((report.outcome, report.nonce), (Outcome::Success, Some(NONCE)));
    let entries: Vec<_> = report.entries().collect();
    let [Entry::Claims(claims)] = entries[..] else { panic!("{entries:?}") };
    let target = hex32("ee0301ea4241978c695f1c9e474ba440a395d5f4c4706c9353a4f709188bdb39");
    let component = ComponentId::parse(b"\x81\x43app").unwrap();
    let version = Some(&b"\x82\x03\x83\x01\x05\x00"[..]);
    assert_eq!(claims, Claims { component, digest: Some(&target), size: Some(6200), version });
    assert_eq!(rewritten(&report, &entries), SUCCESS);
}

#[test]
fn report_of_failure_is_read_and_written_byte_for_byte() {
    let report = SuitReport::parse(FAILURE).unwrap();
    let Outcome::Failure { code, record, reason } = report.outcome else { panic!("{report:?}") };
    assert_eq!((code, reason), (-7, Reason::ConditionFailed));
    let found = hex32("2f05d4b689d270cafb02285f35f44866f7dc8a2d368a3f9d1124373eeab31fb1");
    assert_eq!(record, Record { section: 16, offset: 55, component: 0, digest: Some(&found) });
    assert_eq!(rewritten(&report, &[]), FAILURE);
}

fn rewritten(report: &SuitReport<'_>, entries: &[Entry<'_>]) -> Vec<u8> {
    let SuitReport { manifest_uri, manifest, nonce, outcome, .. } = *report;
    let draft = ReportDraft { manifest_uri, manifest, nonce, entries, outcome };
    let mut buffer = [0; 256];
    let length = cbor::write_into(&draft, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn manifest_digest_is_over_the_byte_string_with_its_head() {
    let envelope = vector!("example0_signed.suit");
    let manifest = verify(envelope).unwrap();
    // 03 58 71: key 3, head of 113 bytes, up to the end.
    let at = envelope.windows(3).position(|bytes| bytes == [0x03, 0x58, 0x71]).unwrap() + 1;
    let digest: [u8; 32] = Sha256::digest(&envelope[at..]).into();
    assert_eq!(*manifest.digest(), digest);
}
