//! Keys, MACs and ciphers against vectors that an independent program made.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test, a panic is the answer")]

use std::fs;
use std::path::PathBuf;

use bellwether_keys::chain::{self, ChainLength, spaced_links};
use bellwether_keys::mac::{self, NewReport, OpenError, Reply};
use bellwether_keys::signed::{self, OpenSignedError};
use bellwether_keys::wrap::{self, WrapAlgorithm, WrapError};
use bellwether_keys::{
    ContentAlgorithm, ContentCipher, ContentKey, DownKey, PrivateShare, PublicShare, Seed, SharedSecret,
    UpKey, WrapKey, derive, fork, share,
};
use bellwether_manifests::cbor::CborError;
use bellwether_manifests::cose::mac0::Mac0Error;
use bellwether_manifests::cose::{CoseError, P256, PublicKey, SignatureError};
use bellwether_manifests::frame::{Layout, Resume};
use bellwether_manifests::message::{
    Descriptor, Digest, Grant, MessageError, Place, Receipt, UpdateRequest, Verdict,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const ID: &str = "urn:dev:bw-0001";
const PLACE: Place<'_> = Place { id: ID, epoch: 0, index: 7 };
const IDENTIFIER: &str = "coaps://fw.example.com/u";
const NONCE: [u8; 8] = [0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8];
const N: ChainLength = ChainLength::DEFAULT;

/// The vectors stand beside the messages, in the crate that reads them.
fn file(name: &str) -> Vec<u8> {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../manifests/tests/vectors/update");
    fs::read(vectors.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn values() -> Value {
    serde_json::from_slice(&file("values.json")).unwrap()
}

fn value(path: &[&str]) -> Vec<u8> {
    let values = values();
    let found = path.iter().fold(&values, |value, key| &value[key]);
    hex::decode(found.as_str().unwrap_or_else(|| panic!("{path:?}"))).unwrap()
}

fn sha256(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

fn seed() -> Seed {
    Seed::new(value(&["seed"]).try_into().unwrap())
}

fn up(place: &Place<'_>) -> UpKey {
    derive::up(&chain::link(&seed(), place.index, N).unwrap(), place).unwrap()
}

fn down(place: &Place<'_>) -> DownKey {
    derive::down(&chain::link(&seed(), place.index, N).unwrap(), place).unwrap()
}

fn wrap_key(algorithm: WrapAlgorithm) -> WrapKey {
    derive::wrap(&chain::link(&seed(), 7, N).unwrap(), &PLACE, algorithm).unwrap()
}

#[test]
fn links_are_those_of_the_vectors_from_seed_and_from_spaced_links() {
    let spaced: Vec<_> = spaced_links(&seed(), N).collect();
    for index in [0, 1, 6, 7, 8, 1022, 1023] {
        let expected = value(&["chain", &index.to_string()]);
        assert_eq!(chain::link(&seed(), index, N).unwrap().expose()[..], expected);
        let from = spaced.iter().find(|link| link.index() == N.spaced_index(index)).unwrap();
        assert_eq!(from.earlier(index).unwrap().expose()[..], expected);
    }
}

#[test]
fn keys_at_the_place_are_those_of_the_vectors() {
    let link = chain::link(&seed(), 7, N).unwrap();
    let keys = |name| value(&["keys at place", name]);
    // Up and down keys do not show themselves; their MACs below tell.
    let WrapKey::A256Kw(long) = wrap_key(WrapAlgorithm::A256Kw) else { panic!("another algorithm") };
    let WrapKey::A128Kw(short) = wrap_key(WrapAlgorithm::A128Kw) else { panic!("another algorithm") };
    assert_eq!((long.expose().to_vec(), short.expose().to_vec()), (keys("wrap -5"), keys("wrap -3")));
    assert_eq!(derive::envelope(&link, &PLACE).unwrap().key().expose()[..], keys("envelope"));
    assert_eq!(derive::manifest(&link, &PLACE).unwrap().key().expose()[..], keys("manifest"));
}

#[test]
fn link_at_another_index_gives_no_key_for_the_place() {
    let link = chain::link(&seed(), 8, N).unwrap();
    assert!(matches!(derive::up(&link, &PLACE), Err(derive::DeriveError::OtherIndex { link: 8, wanted: 7 })));
    let nameless = Place { id: "", index: 8, ..PLACE };
    assert!(matches!(derive::up(&link, &nameless), Err(derive::DeriveError::Name)));
}

#[test]
fn next_seed_is_that_of_the_vectors_with_and_without_shares() {
    assert_eq!(seed().next(ID, 0, None).unwrap().expose()[..], value(&["next seed"]));
    let shared = shared_secret();
    assert_eq!(seed().next(ID, 0, Some(&shared)).unwrap().expose()[..], value(&["next seed with shares"]));
    assert_eq!(seed().next(ID, u16::MAX, None), Err(derive::DeriveError::Epochs));
}

fn private_share(name: &str) -> PrivateShare {
    let scalar = value(&["private keys (scalar)", name]).try_into().unwrap();
    PrivateShare::from_random(scalar).unwrap()
}

/// What the server agrees on with the share that the device sent.
fn shared_secret() -> SharedSecret {
    let device = private_share("device share").public().unwrap();
    share::agree(&private_share("server share"), &device).unwrap()
}

fn distributor() -> PublicKey {
    let share = private_share("distributor").public().unwrap();
    PublicKey::parse(share.as_bytes()).unwrap()
}

#[test]
fn signed_grant_of_the_vectors_opens_at_its_place_and_gives_both_shares() {
    let message = file("grant-ecdh.sign1");
    assert_eq!(signed::signer_of_grant(&message), Ok(distributor().kid()));
    let grant = signed::open_signed_grant(&P256, &distributor(), &PLACE, &message).unwrap();
    assert_eq!(grant, Grant::decode(&file("grant-ecdh.cbor")).unwrap());
    let shares = grant.options.shares.unwrap();
    assert_eq!(shares.server, private_share("server share").public().unwrap().as_bytes());
    let server = PublicShare::parse(shares.server).unwrap();
    assert_eq!(share::agree(&private_share("device share"), &server), Ok(shared_secret()));
}

#[test]
fn signed_grant_by_another_key_for_another_place_or_altered_does_not_open() {
    let message = file("grant-ecdh.sign1");
    let open = |key: &PublicKey, place: &Place<'_>, message: &[u8]| {
        signed::open_signed_grant(&P256, key, place, message).unwrap_err()
    };
    let other = PublicKey::parse(private_share("device").public().unwrap().as_bytes()).unwrap();
    assert_eq!(open(&other, &PLACE, &message), OpenSignedError::Signature(SignatureError));
    for place in
        [Place { id: "urn:dev:bw-0002", ..PLACE }, Place { epoch: 1, ..PLACE }, Place { index: 8, ..PLACE }]
    {
        assert_eq!(open(&distributor(), &place, &message), OpenSignedError::OtherPlace);
    }
    for position in 0..message.len() {
        let mut altered = message.clone();
        altered[position] ^= 1;
        let refused = signed::open_signed_grant(&P256, &distributor(), &PLACE, &altered);
        assert!(refused.is_err(), "byte {position}");
    }
    let maced = file("grant.mac0");
    assert!(matches!(open(&distributor(), &PLACE, &maced), OpenSignedError::Form(CoseError::Tag(17))));
}

#[test]
fn every_request_opens_and_is_sealed_the_same() {
    for name in ["request", "request-resume", "request-ecdh", "request-go", "request-unconfirmed"] {
        let message = file(&format!("{name}.mac0"));
        let key = up(&mac::peek_place(&message).unwrap());
        let request = mac::open_request(&key, IDENTIFIER, &message).unwrap();
        let bare = file(&format!("{name}.cbor"));
        assert_eq!(request, UpdateRequest::decode(&bare).unwrap());
        assert_eq!(mac::seal_request_to_vec(&key, IDENTIFIER, &request).unwrap(), message, "{name}");
    }
}

#[test]
fn requests_of_the_next_epoch_open_under_the_next_seed_only() {
    let shared = shared_secret();
    let place = Place { epoch: 1, index: 0, ..PLACE };
    let key = |shared| {
        let next = seed().next(ID, 0, shared).unwrap();
        derive::up(&chain::link(&next, 0, N).unwrap(), &place).unwrap()
    };
    let (without, with) = (key(None), key(Some(&shared)));
    let (plain, mixed) = (file("request-epoch1.mac0"), file("request-epoch1-shares.mac0"));
    assert!(mac::open_request(&without, IDENTIFIER, &plain).is_ok());
    assert!(mac::open_request(&with, IDENTIFIER, &mixed).is_ok());
    assert_eq!(mac::open_request(&without, IDENTIFIER, &mixed), Err(OpenError::Mac));
    assert_eq!(mac::open_request(&with, IDENTIFIER, &plain), Err(OpenError::Mac));
    assert_eq!(mac::open_request(&up(&place), IDENTIFIER, &plain), Err(OpenError::Mac));
}

#[test]
fn request_to_another_identifier_or_signed_is_not_opened() {
    let message = file("request.mac0");
    assert_eq!(mac::open_request(&up(&PLACE), "coaps://fw.example.com/v", &message), Err(OpenError::Mac));
    let signed = file("request.sign1");
    let refused = mac::open_request(&up(&PLACE), IDENTIFIER, &signed);
    assert_eq!(refused, Err(OpenError::Form(Mac0Error::Tag(18))));
}

#[test]
fn every_grant_opens_and_is_sealed_the_same() {
    for name in ["grant", "grant-a128", "grant-reseed", "grant-two", "grant-gcm"] {
        let message = file(&format!("{name}.mac0"));
        let grant = mac::open_grant(&down(&PLACE), &message).unwrap();
        assert_eq!(grant, Grant::decode(&file(&format!("{name}.cbor"))).unwrap());
        assert_eq!(mac::seal_grant_to_vec(&down(&PLACE), &grant).unwrap(), message, "{name}");
    }
}

#[test]
fn every_verdict_opens_under_its_place_and_is_sealed_the_same() {
    for kind in 1..=8 {
        let message = file(&format!("verdict-{kind}.mac0"));
        let key = down(&mac::peek_place(&message).unwrap());
        let verdict = mac::open_verdict(&key, &NONCE, &message).unwrap();
        assert_eq!(verdict, Verdict::decode(&file(&format!("verdict-{kind}.cbor"))).unwrap());
        assert_eq!(verdict.place.index, if kind == 8 { 9 } else { 7 });
        assert_eq!(mac::seal_verdict_to_vec(&key, &verdict).unwrap(), message);
        assert_eq!(mac::open_reply(&key, &NONCE, &message), Ok(Reply::Verdict(verdict)));
        assert_eq!(mac::open_verdict(&key, &[0; 8], &message), Err(OpenError::OtherQuestion));
    }
}

#[test]
fn reply_is_a_grant_where_a_grant_came() {
    let message = file("grant.mac0");
    assert!(matches!(mac::open_reply(&down(&PLACE), &NONCE, &message), Ok(Reply::Grant(_))));
}

#[test]
fn every_report_opens_moves_the_fork_head_and_is_sealed_the_same() {
    let head = fork::ForkHead::from([0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08]);
    for name in ["report-installed", "report-failed"] {
        let message = file(&format!("{name}.cbor"));
        let key = up(&mac::peek_report_place(&message).unwrap());
        let opened = mac::open_report(&key, &message).unwrap();
        let report = opened.report;
        let new = NewReport {
            grant: report.grant,
            moment: report.moment,
            random: report.random,
            suit_report: opened.suit_report,
        };
        assert_eq!(mac::seal_report_to_vec(&key, &new).unwrap(), message);
        let after = value(&[&format!("{name}: fork head after, from 0f0e0d0c0b0a0908")]);
        assert_eq!(fork::next(&head, &sha256(&message)).to_vec(), after);
        let signed = file(&format!("{name}-signed.cbor"));
        assert_eq!(mac::open_report(&key, &signed), Err(OpenError::Form(Mac0Error::Tag(18))));
    }
}

#[test]
fn report_with_any_element_altered_does_not_open() {
    let message = file("report-installed.cbor");
    for at in 0..message.len() {
        let mut altered = message.clone();
        altered[at] ^= 1;
        assert!(mac::open_report(&up(&PLACE), &altered).is_err(), "byte {at}");
    }
}

#[test]
fn every_receipt_opens_for_its_report_only() {
    for name in ["installed", "failed"] {
        let report = sha256(&file(&format!("report-{name}.cbor")));
        let message = file(&format!("receipt-{name}.mac0"));
        let receipt = mac::open_receipt(&down(&PLACE), &report, &message).unwrap();
        assert_eq!(receipt, Receipt { place: PLACE, report: &report, now: 1_795_000_002 });
        assert_eq!(mac::seal_receipt_to_vec(&down(&PLACE), &receipt).unwrap(), message);
        assert_eq!(mac::open_receipt(&down(&PLACE), &[0; 32], &message), Err(OpenError::OtherQuestion));
    }
}

#[test]
fn refused_vectors_are_refused_for_their_reason() {
    let cbor = |error| OpenError::Message(MessageError::Cbor(error));
    let reasons = [
        ("altered", OpenError::Mac),
        ("altered-payload", OpenError::Mac),
        ("receipt-as-grant", OpenError::Mac),
        ("other-place", OpenError::Mac),
        ("up-key", OpenError::Mac),
        ("unprotected-header", OpenError::Form(Mac0Error::Unprotected)),
        ("version-2", OpenError::Message(MessageError::Version(2))),
        ("option-0", OpenError::Message(MessageError::UnknownOption(0))),
        ("unknown-option", OpenError::Message(MessageError::UnknownOption(99))),
        ("duplicate-key", cbor(CborError::KeyOrder)),
        ("map-order", cbor(CborError::KeyOrder)),
    ];
    for (name, reason) in reasons {
        let message = file(&format!("refused-{name}.mac0"));
        assert_eq!(mac::open_grant(&down(&PLACE), &message), Err(reason), "{name}");
    }
}

#[test]
fn content_key_of_a_grant_decrypts_the_frames_one_by_one() {
    let grant = file("grant.mac0");
    let grant = mac::open_grant(&down(&PLACE), &grant).unwrap();
    let granted = grant.resource(0).unwrap();
    let descriptor = file("descriptor-full.cbor");
    let resource = Descriptor::decode(&descriptor).unwrap().resource(0).unwrap();
    let algorithm = ContentAlgorithm::try_from(granted.algorithm).unwrap();
    let key = wrap::unwrap(&wrap_key(WrapAlgorithm::A256Kw), &granted.key, algorithm).unwrap();
    let mut cipher = ContentCipher::new(&key, granted.iv).unwrap();
    let layout = Layout::new(resource.content_bytes, resource.chain.block_bytes).unwrap();
    let mut resume = Resume::start(*resource.chain.root);
    let mut plain = Vec::new();
    for number in 0..layout.frames() {
        let frame = file(&format!("frame-{number}.bin"));
        let mut block = resume.accept(&layout, &frame).unwrap().to_vec();
        cipher.apply_at(layout.block_offset(number), &mut block).unwrap();
        plain.extend(block);
    }
    assert_eq!((sha256(&plain), plain.len() as u64), (*resource.plain, resource.plain_bytes));
}

#[test]
fn content_key_of_128_bits_decrypts_the_inline_delta() {
    let grant = file("grant-a128.mac0");
    let grant = mac::open_grant(&down(&PLACE), &grant).unwrap();
    let granted = grant.resource(0).unwrap();
    let wrap_key = wrap_key(WrapAlgorithm::A128Kw);
    let key = wrap::unwrap(&wrap_key, &granted.key, ContentAlgorithm::A128Ctr).unwrap();
    assert_eq!(key.expose(), value(&["contents", "delta", "key"]));
    assert_eq!(wrap::wrap(&wrap_key, &key).unwrap().get(), granted.key);
    let descriptor = file("descriptor-delta.cbor");
    let mut content = Descriptor::decode(&descriptor).unwrap().resource(0).unwrap().inline.unwrap().to_vec();
    ContentCipher::new(&key, granted.iv).unwrap().apply_at(0, &mut content).unwrap();
    assert_eq!(content, (0..200).collect::<Vec<u8>>());
}

#[test]
fn wrap_is_that_of_the_vector() {
    let key = ContentKey::new(ContentAlgorithm::A256Ctr, &value(&["contents", "full", "key"])).unwrap();
    let grant = file("grant.cbor");
    let expected = Grant::decode(&grant).unwrap().resource(0).unwrap().key;
    assert_eq!(wrap::wrap(&wrap_key(WrapAlgorithm::A256Kw), &key).unwrap().get(), expected);
}

#[test]
fn wrap_for_another_place_algorithm_or_key_is_refused() {
    let grant = file("grant.cbor");
    let wrapped = Grant::decode(&grant).unwrap().resource(0).unwrap().key;
    let other_place = Place { index: 6, ..PLACE };
    let other =
        derive::wrap(&chain::link(&seed(), 6, N).unwrap(), &other_place, WrapAlgorithm::A256Kw).unwrap();
    let unwrap = |key: &WrapKey, algorithm| wrap::unwrap(key, &wrapped, algorithm).unwrap_err();
    assert_eq!(unwrap(&other, ContentAlgorithm::A256Ctr), WrapError::Integrity);
    assert_eq!(unwrap(&wrap_key(WrapAlgorithm::A128Kw), ContentAlgorithm::A256Ctr), WrapError::OtherKey);
    assert_eq!(unwrap(&wrap_key(WrapAlgorithm::A256Kw), ContentAlgorithm::A128Ctr), WrapError::Length);
    let signed = file("grant-ecdh.cbor");
    let ephemeral = Grant::decode(&signed).unwrap().resource(0).unwrap().key;
    let refused = wrap::unwrap(&wrap_key(WrapAlgorithm::A128Kw), &ephemeral, ContentAlgorithm::A256Ctr);
    assert_eq!(refused, Err(WrapError::Algorithm(-29)));
}
