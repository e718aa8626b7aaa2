//! Messages that are altered, replayed, or given to another device.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

use std::sync::LazyLock;

use bellwether_keys::chain::{self, ChainLength};
use bellwether_keys::mac::{self, NewReport, OpenError, SealError};
use bellwether_keys::{DownKey, Link, Seed, UpKey, derive};
use bellwether_manifests::cbor::EncodeError;
use bellwether_manifests::message::algorithm::{A256CTR, A256KW};
use bellwether_manifests::message::grant::Shares;
use bellwether_manifests::message::{
    Answers, Confirm, Detail, Grant, GrantOptions, GrantedResource, List, Moment, Place, Receipt,
    RequestOptions, ScopeAnswers, Selector, Skipped, UpdateRequest, Verdict, Wrapped, word,
};
use coset::{CoseMac0, TaggedCborSerializable};
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha2::Sha256;

const PLACE: Place<'_> = Place { id: "meter-1", epoch: 2, index: 3 };
const NONCE: [u8; 8] = [1; 8];

/// Places of which each differs from [`PLACE`] in one element.
const OTHERS: [Place<'_>; 3] =
    [Place { id: "meter-2", ..PLACE }, Place { epoch: 3, ..PLACE }, Place { index: 4, ..PLACE }];

fn link(seed: u8, index: u16) -> Link {
    chain::link(&Seed::new([seed; 32]), index, ChainLength::DEFAULT).unwrap()
}

fn up(place: &Place<'_>) -> UpKey {
    derive::up(&link(5, place.index), place).unwrap()
}

fn down(place: &Place<'_>) -> DownKey {
    derive::down(&link(5, place.index), place).unwrap()
}

const RESOURCE: GrantedResource<'_> = GrantedResource {
    component: 0,
    content: &[1; 32],
    installed: &[2; 32],
    algorithm: A256CTR,
    iv: &[3; 16],
    key: Wrapped { algorithm: A256KW, ephemeral: None, wrapped: &[4; 40] },
};

const fn grant(place: Place<'_>) -> Grant<'_> {
    Grant {
        place,
        grant: 9,
        manifest: &[5; 32],
        selector: &[6; 32],
        resources: List::new(&[RESOURCE]),
        not_after: 100,
        confirm: Confirm::Both,
        options: GrantOptions {
            reseed: None,
            ask_go: None,
            shares: None,
            anchors_edition: None,
            skipped: Skipped::NONE,
        },
    }
}

const fn verdict(place: Place<'_>) -> Verdict<'_> {
    Verdict { place, nonce: &NONCE, now: 7, detail: Detail::Nothing }
}

const fn receipt(place: Place<'_>) -> Receipt<'_> {
    Receipt { place, report: &[7; 32], now: 8 }
}

const REPORT: NewReport<'_> =
    NewReport { grant: 9, moment: Moment::Installed, random: &[1; 16], suit_report: &[0xa0] };

fn with_request<T>(place: Place<'_>, then: impl FnOnce(&UpdateRequest<'_>) -> T) -> T {
    let scopes = [ScopeAnswers { component: None, answers: Answers::default() }];
    then(&UpdateRequest {
        place,
        counter: 1,
        fork: &[0; 8],
        nonce: &NONCE,
        selector: Selector { manifest: &[5; 32], scopes: List::new(&scopes) },
        volatile: List::default(),
        options: RequestOptions::default(),
    })
}

/// One sealed message of every kind.
fn sealed() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "request",
            with_request(PLACE, |request| mac::seal_request_to_vec(&up(&PLACE), "/u", request).unwrap()),
        ),
        ("grant", mac::seal_grant_to_vec(&down(&PLACE), &grant(PLACE)).unwrap()),
        ("verdict", mac::seal_verdict_to_vec(&down(&PLACE), &verdict(PLACE)).unwrap()),
        ("report", mac::seal_report_to_vec(&up(&PLACE), &REPORT).unwrap()),
        ("receipt", mac::seal_receipt_to_vec(&down(&PLACE), &receipt(PLACE)).unwrap()),
    ]
}

fn open(kind: &str, up: &UpKey, down: &DownKey, message: &[u8]) -> Result<(), OpenError> {
    match kind {
        "request" => mac::open_request(up, "/u", message).map(drop),
        "grant" => mac::open_grant(down, message).map(drop),
        "verdict" => mac::open_verdict(down, &NONCE, message).map(drop),
        "report" => mac::open_report(up, message).map(drop),
        _ => mac::open_receipt(down, &[7; 32], message).map(drop),
    }
}

#[test]
fn message_of_every_kind_opens_at_its_place() {
    for (kind, message) in sealed() {
        assert_eq!(open(kind, &up(&PLACE), &down(&PLACE), &message), Ok(()), "{kind}");
    }
}

#[test]
fn message_given_to_another_place_does_not_open() {
    for (kind, message) in sealed() {
        for place in OTHERS {
            assert_eq!(
                open(kind, &up(&place), &down(&place), &message),
                Err(OpenError::Mac),
                "{kind} at {place:?}"
            );
        }
    }
}

#[test]
fn message_given_to_a_device_with_another_seed_does_not_open() {
    let other = link(6, PLACE.index);
    let (up, down) = (derive::up(&other, &PLACE).unwrap(), derive::down(&other, &PLACE).unwrap());
    for (kind, message) in sealed() {
        assert_eq!(open(kind, &up, &down, &message), Err(OpenError::Mac), "{kind}");
    }
}

#[test]
fn message_of_one_kind_does_not_open_as_another() {
    let (up, down) = (up(&PLACE), down(&PLACE));
    for (sealed_as, message) in sealed() {
        for opened_as in ["request", "grant", "verdict", "report", "receipt"] {
            let opened = open(opened_as, &up, &down, &message);
            assert_eq!(opened.is_ok(), opened_as == sealed_as, "{sealed_as} as {opened_as}");
        }
    }
}

/// Seals any payload under the down key of [`PLACE`], as only its holder could.
fn forged(payload: &impl minicbor::Encode<()>, aad: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1000];
    let key = down_bytes();
    let tag = |payload: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        bellwether_manifests::cose::mac0::mac_structure(&[aad], payload, |piece| mac.update(piece));
        mac.finalize().into_bytes().into()
    };
    let written = bellwether_manifests::cose::mac0::write_into(payload, tag, &mut out).unwrap();
    out.truncate(written);
    out
}

/// The down key at [`PLACE`], derived here once more.
fn down_bytes() -> Vec<u8> {
    let mut info = Vec::new();
    let mut encoder = minicbor::Encoder::new(&mut info);
    encoder.array(6).unwrap().str("bw1").unwrap().str("down").unwrap().u8(5).unwrap();
    encoder.str(PLACE.id).unwrap().u16(PLACE.epoch).unwrap().u16(PLACE.index).unwrap();
    let mut key = vec![0; 32];
    let link = link(5, PLACE.index);
    hkdf::Hkdf::<Sha256>::from_prk(link.expose()).unwrap().expand(&info, &mut key).unwrap();
    key
}

#[test]
fn message_under_the_right_key_that_says_another_place_is_refused() {
    let key = down(&PLACE);
    assert_eq!(mac::open_grant(&key, &forged(&grant(PLACE), word::GRANT)), Ok(grant(PLACE)));
    for place in OTHERS {
        let grant = forged(&grant(place), word::GRANT);
        assert_eq!(mac::open_grant(&key, &grant), Err(OpenError::OtherPlace));
        let verdict = forged(&verdict(place), word::VERDICT);
        assert_eq!(mac::open_verdict(&key, &NONCE, &verdict), Err(OpenError::OtherPlace));
        let receipt = forged(&receipt(place), word::RECEIPT);
        assert_eq!(mac::open_receipt(&key, &[7; 32], &receipt), Err(OpenError::OtherPlace));
    }
}

#[test]
fn key_does_not_seal_for_another_place() {
    for place in OTHERS {
        assert_eq!(mac::seal_grant_to_vec(&down(&PLACE), &grant(place)), Err(SealError::OtherPlace));
        assert_eq!(mac::seal_verdict_to_vec(&down(&PLACE), &verdict(place)), Err(SealError::OtherPlace));
        assert_eq!(mac::seal_receipt_to_vec(&down(&PLACE), &receipt(place)), Err(SealError::OtherPlace));
        let request = with_request(place, |request| mac::seal_request_to_vec(&up(&PLACE), "/u", request));
        assert_eq!(request, Err(SealError::OtherPlace));
    }
}

#[test]
fn shares_in_a_grant_that_is_only_maced_are_refused() {
    let options =
        GrantOptions { shares: Some(Shares { server: &[0xa0], device: &[0xa0] }), ..grant(PLACE).options };
    let grant = Grant { options, ..grant(PLACE) };
    assert_eq!(mac::seal_grant_to_vec(&down(&PLACE), &grant), Err(SealError::SharesUnsigned));
    assert_eq!(mac::open_grant(&down(&PLACE), &forged(&grant, word::GRANT)), Err(OpenError::SharesUnsigned));
}

#[test]
fn verdict_on_an_earlier_request_is_not_taken() {
    let message = mac::seal_verdict_to_vec(&down(&PLACE), &verdict(PLACE)).unwrap();
    assert_eq!(mac::open_verdict(&down(&PLACE), &[2; 8], &message), Err(OpenError::OtherQuestion));
    assert_eq!(mac::open_reply(&down(&PLACE), &[2; 8], &message), Err(OpenError::OtherQuestion));
}

#[test]
fn buffer_that_is_too_small_by_one_byte_is_told() {
    let full = mac::seal_report_to_vec(&up(&PLACE), &REPORT).unwrap();
    let mut buffer = vec![0; full.len()];
    assert_eq!(mac::seal_report(&up(&PLACE), &REPORT, &mut buffer), Ok(full.len()));
    assert_eq!(buffer, full);
    for short in 0..full.len() {
        let refused = mac::seal_report(&up(&PLACE), &REPORT, &mut buffer[..short]);
        assert_eq!(refused, Err(SealError::Encode(EncodeError::Space)));
    }
}

#[test]
fn sealed_grant_verifies_with_coset() {
    let message =
        CoseMac0::from_tagged_slice(&mac::seal_grant_to_vec(&down(&PLACE), &grant(PLACE)).unwrap()).unwrap();
    let verified = message.verify_payload_tag(
        word::GRANT,
        || hmac::digest::MacError,
        |tag, data| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&down_bytes()).unwrap();
            mac.update(data);
            mac.verify_slice(tag)
        },
    );
    assert_eq!(verified, Ok(()));
}

/// Sealed messages and the keys that open them, made once: walking the chain takes the time of the whole test.
static SEALED: LazyLock<Sealed> = LazyLock::new(|| (up(&PLACE), down(&PLACE), sealed()));

type Sealed = (UpKey, DownKey, Vec<(&'static str, Vec<u8>)>);

proptest! {
    #[test]
    fn message_with_any_bit_altered_does_not_open(which in 0usize..5, at: prop::sample::Index, bit in 0u8..8) {
        let (up, down, sealed) = &*SEALED;
        let (kind, mut message) = sealed[which].clone();
        let at = at.index(message.len());
        message[at] ^= 1 << bit;
        prop_assert!(open(kind, up, down, &message).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_open_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (up, down, _) = &*SEALED;
        for kind in ["request", "grant", "verdict", "report", "receipt"] {
            prop_assert!(open(kind, up, down, &bytes).is_err());
        }
        let _ = mac::peek_place(&bytes);
        let _ = mac::peek_report_place(&bytes);
    }
}
