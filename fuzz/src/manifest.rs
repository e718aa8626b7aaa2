//! SUIT: envelopes, and manifests past their signature; COSE, definitions, reports, anchors, frames.

use core::cell::Cell;
use std::sync::LazyLock;

use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::author::ManifestSummary;
use bellwether_manifests::cbor::{Reader, to_vec};
use bellwether_manifests::cose::mac0::Mac0;
use bellwether_manifests::cose::{
    DetachedSign1, PrivateKey, PublicKey, Sign, Sign1, SignatureVerifier, sign1_detached,
};
use bellwether_manifests::definition::{self, Definition};
use bellwether_manifests::envelope::{Envelope, VerifiedManifest};
use bellwether_manifests::frame::{FrameChain, Layout, Resume};
use bellwether_manifests::manifest::{COMPONENTS_MAX, ComponentId};
use bellwether_manifests::message::peek::attached_payload;
use bellwether_manifests::report::{ReportDraft, SuitReport};
use bellwether_manifests::run::{self, Device};
use bellwether_manifests::version::{self, VersionMatch};
use sha2::{Digest, Sha256};

use crate::input::{Input, counted};
use crate::vector;

/// Takes every signature, so that what is signed is as hostile as it can be.
#[derive(Debug)]
struct AnySignature;

impl SignatureVerifier for AnySignature {
    fn verify(&self, _: &PublicKey, _: &[u8; 32], _: &[u8; 64]) -> bool {
        true
    }
}

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::from_random(&[0x42; 32]).expect("a key"));

/// A signature block of one of our authors; what it signs does not matter to [`AnySignature`].
static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| sign1_detached(b"", &KEY));

static AUTHORS: LazyLock<[PublicKey; 1]> = LazyLock::new(|| [KEY.public()]);

/// A device that answers each question by the next bit, and counts the questions.
struct Whim {
    bits: u64,
    asked: Cell<u32>,
}

impl Whim {
    fn next(&self) -> bool {
        let asked = self.asked.get();
        self.asked.set(asked + 1);
        // A manifest cannot loop; a condition asks once.
        assert!(asked < 4 * 2048, "a run does not end");
        self.bits >> (asked % 64) & 1 == 1
    }
}

impl Device for Whim {
    fn has_component(&self, _: &ComponentId<'_>) -> bool {
        self.next()
    }
    fn is_vendor(&self, _: &ComponentId<'_>, _: &[u8; 16]) -> bool {
        self.next()
    }
    fn is_class(&self, _: &ComponentId<'_>, _: &[u8; 16]) -> bool {
        self.next()
    }
    fn is_device(&self, _: &[u8; 16]) -> bool {
        self.next()
    }
    fn is_slot(&self, _: &ComponentId<'_>, _: u64) -> bool {
        self.next()
    }
    fn holds_image(&self, _: &ComponentId<'_>, _: &[u8; 32], _: Option<u64>) -> bool {
        self.next()
    }
    fn is_before(&self, _: u64) -> bool {
        self.next()
    }
}

/// An envelope as it comes, with the check of its signature.
pub(crate) fn envelope(data: &[u8]) {
    let Ok(envelope) = Envelope::parse(data) else { return };
    assert!(envelope.integrated("#nothing").is_none_or(|payload| payload.len() < data.len()));
    let _ = ManifestSummary::unverified(&envelope);
    let any = envelope.verify_with(&AnySignature, &AUTHORS[..]);
    if envelope.verify(&AUTHORS[..]).is_ok() {
        assert!(any.is_ok(), "a right signature is one of any");
    }
    if let Ok(manifest) = any {
        followed(&manifest, u64::MAX);
    }
}

/// A manifest past its signature: digests and the block around it are made right.
pub(crate) fn signed(data: &[u8]) {
    let mut input = Input::new(data);
    let bits = input.take(8).iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    let [manifest, payload_fetch, install, text] =
        [input.counted(), input.counted(), input.counted(), input.counted()];
    let mut manifest = manifest.to_vec();
    let mut severed = Vec::new();
    for (key, section, mark) in [(16, payload_fetch, MARKS[0]), (20, install, MARKS[1]), (23, text, MARKS[2])]
    {
        if !section.is_empty() {
            put(&mut manifest, &mark, &Sha256::digest(bytes(section)));
            severed.push((key, section));
        }
    }
    let envelope = around(&manifest, &severed);
    let Ok(envelope) = Envelope::parse(&envelope) else { return };
    let Ok(verified) = envelope.verify_with(&AnySignature, &AUTHORS[..]) else { return };
    assert_eq!(verified.digest(), envelope.digest());
    assert!((1..=COMPONENTS_MAX).contains(&verified.manifest().components().len()));
    followed(&verified, bits);
    followed(&verified, u64::MAX);
}

/// Runs a manifest twice: the same answers lead to the same plan.
fn followed(manifest: &VerifiedManifest<'_>, bits: u64) {
    let device = || Whim { bits, asked: Cell::new(0) };
    let plan = run::update(manifest, &device());
    assert_eq!(format!("{:?}", run::update(manifest, &device())), format!("{plan:?}"));
    let _ = run::invoke(manifest, &device())
        .map(|plan| assert_eq!(plan.sequence_number(), manifest.manifest().sequence_number()));
    if let Err(refused) = &plan {
        assert!(!refused.to_string().is_empty());
        let _ = (refused.reason(), refused.record(), refused.is_for_others());
    }
    for (index, component) in plan.iter().flat_map(|plan| plan.components().iter().enumerate()) {
        assert!(index < COMPONENTS_MAX);
        let _ = component.request_identifier();
        let mut scratch = [0; 512];
        if let Ok(Some(asked)) = component.definition(&mut scratch) {
            walked(&asked);
        }
    }
    if let Ok(summary) = ManifestSummary::new(manifest) {
        assert_eq!(&summary.digest, manifest.digest());
        assert!(!summary.outranks(&summary));
    }
}

/// Places for the digests of severed sections.
const MARKS: [[u8; 32]; 3] = [[0xd1; 32], [0xd2; 32], [0xd3; 32]];

fn put(bytes: &mut [u8], mark: &[u8], digest: &[u8]) {
    if let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) {
        bytes[at..at + mark.len()].copy_from_slice(digest);
    }
}

fn bytes(value: &[u8]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.bytes(value).expect("a vector has room");
    encoder.into_writer()
}

/// Writes an envelope whose digest is right.
fn around(manifest: &[u8], severed: &[(u8, &[u8])]) -> Vec<u8> {
    let mut digest = minicbor::Encoder::new(Vec::new());
    digest
        .array(2)
        .and_then(|e| e.i8(-16))
        .and_then(|e| e.bytes(&Sha256::digest(bytes(manifest))))
        .expect("room");
    let digest = digest.into_writer();
    let mut authentication = minicbor::Encoder::new(Vec::new());
    authentication.array(2).and_then(|e| e.bytes(&digest)).and_then(|e| e.bytes(&BLOCK)).expect("room");
    let mut envelope = minicbor::Encoder::new(Vec::new());
    let e = envelope.map(2 + severed.len() as u64).and_then(|e| e.u8(2)).expect("room");
    e.bytes(&authentication.into_writer())
        .and_then(|e| e.u8(3))
        .and_then(|e| e.bytes(manifest))
        .expect("room");
    for (key, section) in severed {
        e.u8(*key).and_then(|e| e.bytes(section)).expect("room");
    }
    envelope.into_writer()
}

/// Takes the envelopes of the vectors apart.
pub(crate) fn signed_seeds() -> Vec<Vec<u8>> {
    vector::envelopes().iter().filter_map(|envelope| unwrapped(envelope)).collect()
}

fn unwrapped(envelope: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(envelope);
    if envelope.first()? >> 5 == 6 {
        reader.tag().ok()?;
    }
    let (mut manifest, mut severed) = (Vec::new(), [const { Vec::new() }; 3]);
    for _ in 0..reader.map().ok()? {
        let Ok(key) = reader.int() else { break };
        let Ok(value) = reader.bytes() else { break };
        match key {
            3 => manifest = value.to_vec(),
            16 => severed[0] = value.to_vec(),
            20 => severed[1] = value.to_vec(),
            23 => severed[2] = value.to_vec(),
            _ => {}
        }
    }
    for (section, mark) in severed.iter().zip(MARKS) {
        let digest = Sha256::digest(bytes(section));
        put(&mut manifest, &digest, &mark);
    }
    let parts = [manifest].into_iter().chain(severed).map(|part| counted(&part));
    Some([0xff; 8].into_iter().chain(parts.flatten()).collect())
}

fn walked(definition: &Definition<'_>) {
    let (mut required, mut scopes) = (0, 0);
    for scope in definition.scopes() {
        scopes += 1;
        required += scope.items().filter(|item| item.required).count();
    }
    assert!(scopes > 0);
    assert_eq!(definition.check_known(|_, _| true), Ok(()));
    assert_eq!(definition.check_known(|_, _| false).is_err(), required > 0);
    let _ = (definition.options().manifests().count(), definition.options().allows_signer(&AUTHORS[0]));
}

/// Characteristic definitions, version matches, component ids, URIs.
pub(crate) fn definition(data: &[u8]) {
    if let Ok(read) = Definition::parse(data) {
        assert_eq!(read.encoded(), data);
        walked(&read);
        let uri = definition::with_query("coaps://server/u?x=1", data);
        let (identifier, query) = definition::split_query(&uri);
        assert_eq!((identifier, query.is_some()), ("coaps://server/u?x=1", true));
    }
    if let Ok(text) = core::str::from_utf8(data) {
        let (identifier, query) = definition::split_query(text);
        assert!(text.starts_with(identifier));
        assert_eq!(query.map_or(identifier.len(), |query| identifier.len() + 4 + query.len()), text.len());
        if let Some(numbers) = version::numbers(text) {
            assert!(numbers.count() <= text.len());
        }
    }
    if let Ok(wanted) = VersionMatch::parse(data) {
        assert!(wanted.version.numbers().count() <= data.len());
        let _ = wanted.stated();
    }
    if let Ok(component) = ComponentId::parse(data) {
        assert_eq!(component.encoded(), data);
        assert!(component.starts_with(&component));
        assert!(component.parts().map(<[u8]>::len).sum::<usize>() < data.len());
    }
}

pub(crate) fn definition_seeds() -> Vec<Vec<u8>> {
    let default = definition::encode(&bellwether_manifests::author::default_definition());
    let mut seeds = vec![
        default.clone(),
        b"1.2.3-rc.1".to_vec(),
        b"\x82\x43app\x41\x01".to_vec(),
        b"\x82\x03\x83\x01\x02\x20".to_vec(),
    ];
    seeds.push(definition::encode_fetch_arguments(&default));
    seeds.push(definition::with_query("/u", &default).into_bytes());
    seeds
}

/// COSE messages and keys, as they come.
pub(crate) fn cose(data: &[u8]) {
    if let Ok(message) = Mac0::decode(data) {
        assert_eq!(to_vec(&message).expect("what was read can be written"), data);
        let mut length = 0;
        message.structure(&[b"bw1 ", b"grant"], |piece| length += piece.len());
        assert!(length > message.payload.len());
        assert_eq!(attached_payload(data), Ok(message.payload));
    }
    if let Ok(message) = Sign1::parse(data) {
        assert_eq!(attached_payload(data), Ok(message.payload()));
        let named = message.kid() == AUTHORS[0].kid();
        assert_eq!(message.verify_with(&AnySignature, &[], &AUTHORS[0]).is_ok(), named);
        assert!(message.verify(&[b"bw1 fuzz"], &AUTHORS[0]).is_err(), "nobody signs these words");
    }
    if let Ok(block) = DetachedSign1::parse(data) {
        let _ = (block.algorithm(), block.kid());
        assert!(block.verify_with(&AnySignature, b"digest", &AUTHORS[0]).is_ok());
    }
    if let Ok(message) = Sign::parse(data) {
        assert!(message.signers().count() <= data.len());
        for signer in message.signers() {
            let named = signer.kid() == AUTHORS[0].kid();
            assert_eq!(signer.verify_with(&AnySignature, &[], &AUTHORS[0]).is_ok(), named);
        }
    }
    if let Ok(key) = PublicKey::parse(data) {
        assert_eq!(PublicKey::parse(&key.encode()), Ok(key));
        let on_curve = key.check_point().is_ok();
        assert_eq!(
            bellwether_keys::PublicShare::parse(data).is_ok(),
            on_curve,
            "a share is a point on the curve"
        );
    }
}

pub(crate) fn cose_seeds() -> Vec<Vec<u8>> {
    let folder = "manifests/tests/vectors/update";
    [
        vector::files(folder, "", ".mac0"),
        vector::files(folder, "", ".sign1"),
        vector::files(folder, "", ".sign"),
        vec![BLOCK.clone(), AUTHORS[0].encode().to_vec()],
    ]
    .concat()
}

/// SUIT reports: what was read is the same after it was written.
pub(crate) fn suit_report(data: &[u8]) {
    let Ok(report) = SuitReport::parse(data) else { return };
    let entries: Vec<_> = report.entries().collect();
    let draft = ReportDraft {
        manifest_uri: report.manifest_uri,
        manifest: report.manifest,
        nonce: report.nonce,
        entries: &entries,
        outcome: report.outcome,
    };
    let written = to_vec(&draft).expect("what was read can be written");
    let again = SuitReport::parse(&written).expect("what was written can be read");
    assert_eq!(again.entries().collect::<Vec<_>>(), entries);
    assert_eq!(
        (again.outcome, again.nonce, again.manifest_uri),
        (report.outcome, report.nonce, report.manifest_uri)
    );
    assert!(report.claims().count() <= entries.len());
}

pub(crate) fn suit_report_seeds() -> Vec<Vec<u8>> {
    let within = |report: Vec<u8>| {
        let report = bellwether_manifests::message::Report::decode(&report).ok()?;
        attached_payload(report.report).ok().map(<[u8]>::to_vec)
    };
    let ours = vector::update("report").into_iter().filter_map(within);
    vector::files("manifests/tests/vectors/suit", "report", ".cbor").into_iter().chain(ours).collect()
}

/// Anchors past their signatures, and as they come.
pub(crate) fn anchors(data: &[u8]) {
    if let Ok(anchors) = Anchors::initial_with(&AnySignature, data) {
        let again = Anchors::verified_before(data).expect("it was read before");
        assert_eq!(again.edition(), anchors.edition());
        let mut keys = 0;
        for role in anchors.roles() {
            keys += role.keys().count();
            assert!(role.threshold() <= role.keys().count() as u64);
            for component in role.components() {
                assert!(role.covers(&component));
            }
            for algorithm in role.algorithms() {
                assert!(role.allows(algorithm));
            }
        }
        assert!(anchors.distributor_keys().count() <= keys);
        let replaced = Anchors::replacing_with(&AnySignature, data, &anchors);
        assert!(replaced.is_err(), "an edition does not replace itself");
    }
    let _ = Anchors::initial(data);
    if let Ok(standing) = Anchors::standing(data, None) {
        let _ = standing.is_complete();
    }
}

pub(crate) fn anchors_seeds() -> Vec<Vec<u8>> {
    vector::files("manifests/tests/vectors/update", "", ".sign")
}

/// Frames: a chain over any content is taken frame by frame, and no altered frame is.
pub(crate) fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let (exponent, flip, claimed) = (input.byte(), input.u16(), input.u16());
    let content = input.rest();
    let block_bytes = bellwether_manifests::frame::block_bytes(exponent % 9).unwrap_or(u16::from(exponent));
    if let Ok(layout) = Layout::new(u64::from(claimed) << (exponent % 48), block_bytes) {
        assert!(layout.framed_bytes() > layout.content_bytes());
        assert!(layout.frame_len(layout.frames()).is_none());
    }
    let Ok(chain) = FrameChain::build(content, block_bytes) else { return };
    let (layout, mut resume) = (chain.layout(), Resume::start(chain.root()));
    let mut taken = Vec::new();
    for (block, next) in chain.frames() {
        let frame = [block, &next[..]].concat();
        let mut altered = frame.clone();
        let at = usize::from(flip / 8) % altered.len();
        altered[at] ^= 1 << (flip % 8);
        assert!(resume.accept(&layout, &altered).is_err(), "an altered frame");
        assert!(resume.accept(&layout, &frame[1..]).is_err(), "a short frame");
        taken.extend_from_slice(resume.accept(&layout, &frame).expect("the frame that was announced"));
    }
    assert!(resume.is_complete(&layout));
    assert_eq!(taken, content);
}

pub(crate) fn frames_seeds() -> Vec<Vec<u8>> {
    [(3_u8, 100), (3, 96), (4, 500), (6, 2500)]
        .map(|(exponent, length)| [&[exponent, 0, 9, 1, 1][..], &vec![7; length]].concat())
        .to_vec()
}
