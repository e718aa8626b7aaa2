//! Messages behind a right MAC, wrapped keys, sealed records: what stands past the door is judged the same.

use bellwether_keys::chain::{self, ChainLength};
use bellwether_keys::mac::{self, OpenError};
use bellwether_keys::sealing::{Label, MasterKey};
use bellwether_keys::wrap::{self, WrapAlgorithm};
use bellwether_keys::{ContentAlgorithm, ContentCipher, ContentKey, DownKey, Seed, UpKey, derive};
use bellwether_manifests::cbor::Raw;
use bellwether_manifests::cose::mac0;
use bellwether_manifests::message::peek::peek;
use bellwether_manifests::message::{Grant, Place, Receipt, Report, UpdateRequest, Verdict, Wrapped, word};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::input::Input;
use crate::vector;

const SEED: [u8; 32] = [5; 32];

/// Where a message stands that claims no place that a key exists for.
const ELSEWHERE: Place<'_> = Place { id: "meter-1", epoch: 2, index: 3 };

fn keys(place: &Place<'_>) -> Option<(UpKey, DownKey)> {
    let link = chain::link(&Seed::new(SEED), place.index, ChainLength::DEFAULT).ok()?;
    Some((derive::up(&link, place).ok()?, derive::down(&link, place).ok()?))
}

/// Puts any payload under a right MAC.
fn sealed(key: &[u8; 32], words: &[&[u8]], payload: &[u8]) -> Vec<u8> {
    let mut message = vec![0; mac0::encoded_len(payload.len())];
    let tag = |payload: &[u8]| {
        let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
        mac0::mac_structure(words, payload, |piece| hmac.update(piece));
        hmac.finalize().into_bytes().into()
    };
    mac0::write_into(&Raw(payload), tag, &mut message).expect("it has room");
    message
}

/// A payload of each kind under the key of the place that it claims: opening says what reading says.
pub(crate) fn opened(data: &[u8]) {
    let mut input = Input::new(data);
    let (kind, flip) = (input.byte() % 5, input.u16());
    let payload = input.rest();
    let claimed = peek(payload).map_or(ELSEWHERE, |seen| seen.place);
    let (place, (up, down)) = match keys(&claimed) {
        Some(keys) => (claimed, keys),
        None => (ELSEWHERE, keys(&ELSEWHERE).expect("it exists")),
    };
    let message = match kind {
        0 => sealed(up.expose(), &[word::REQUEST, b"/u"], payload),
        1 => sealed(down.expose(), &[word::GRANT], payload),
        2 => sealed(down.expose(), &[word::VERDICT], payload),
        3 => sealed(down.expose(), &[word::RECEIPT], payload),
        _ => payload.to_vec(),
    };
    let opened = |message: &[u8]| match kind {
        0 => mac::open_request(&up, "/u", message).map(|request| request.place == place),
        1 => mac::open_grant(&down, message).map(|grant| grant.place == place),
        2 => nonce_of(payload, |nonce| {
            mac::open_verdict(&down, nonce, message).map(|verdict| verdict.place == place)
        }),
        3 => report_of(payload, |report| {
            mac::open_receipt(&down, report, message).map(|receipt| receipt.place == place)
        }),
        _ => mac::open_report(&up, message).map(|report| report.report.place == place),
    };
    let readable = match kind {
        0 => UpdateRequest::decode(payload).is_ok(),
        1 => Grant::decode(payload).is_ok_and(|grant| grant.options.shares.is_none()),
        2 => Verdict::decode(payload).is_ok(),
        3 => Receipt::decode(payload).is_ok(),
        // Its MAC is in it: nobody without the key makes one.
        _ => false,
    };
    let answer = opened(&message);
    match answer {
        Ok(placed) => assert!(readable && placed),
        Err(OpenError::Mac) => assert_eq!(kind, 4, "the MAC is right"),
        Err(OpenError::OtherPlace) => assert!(place == ELSEWHERE || kind == 4),
        Err(_) => assert!(!readable),
    }
    if !message.is_empty() {
        let mut altered = message.clone();
        let at = usize::from(flip / 8) % altered.len();
        altered[at] ^= 1 << (flip % 8);
        assert!(opened(&altered).is_err(), "an altered message opens");
    }
    let _ = mac::open_reply(&down, &[0; 8], &message);
}

fn nonce_of<T>(payload: &[u8], then: impl FnOnce(&[u8; 8]) -> T) -> T {
    match Verdict::decode(payload) {
        Ok(verdict) => then(verdict.nonce),
        Err(_) => then(&[0; 8]),
    }
}

fn report_of<T>(payload: &[u8], then: impl FnOnce(&[u8; 32]) -> T) -> T {
    match Receipt::decode(payload) {
        Ok(receipt) => then(receipt.report),
        Err(_) => then(&[0; 32]),
    }
}

pub(crate) fn opened_seeds() -> Vec<Vec<u8>> {
    let kinds = [(0, "request"), (1, "grant"), (2, "verdict"), (3, "receipt"), (4, "report")];
    let of = |(kind, prefix): (u8, &str)| -> Vec<Vec<u8>> {
        vector::update(prefix).into_iter().map(|payload| [&[kind, 0, 77][..], &payload].concat()).collect()
    };
    kinds.into_iter().flat_map(of).collect()
}

/// Wrapped content keys, content from any offset, sealed records.
pub(crate) fn unwrapped(data: &[u8]) {
    let mut input = Input::new(data);
    let (kind, offset) = (input.byte(), u64::from(input.u16()) << (input.byte() % 50));
    let secret = input.take(32);
    let bytes = input.rest();
    let algorithms = [ContentAlgorithm::A128Ctr, ContentAlgorithm::A256Ctr];
    let algorithm = algorithms[usize::from(kind) % algorithms.len()];
    let link = chain::link(&Seed::new(SEED), 3, ChainLength::DEFAULT).expect("in the chain");
    let how = if kind & 2 == 0 { WrapAlgorithm::A128Kw } else { WrapAlgorithm::A256Kw };
    let key = derive::wrap(&link, &ELSEWHERE, how).expect("a key");
    let hostile = Wrapped { algorithm: kind.cast_signed().into(), ephemeral: None, wrapped: bytes };
    assert!(wrap::unwrap(&key, &hostile, algorithm).is_err(), "nobody without the key wraps one");
    assert!(wrap::unwrap(&key, &Wrapped { algorithm: how.number(), ..hostile }, algorithm).is_err());
    if let Ok(content) = ContentKey::new(algorithm, secret) {
        let wrapped = wrap::wrap(&key, &content).expect("a key of its length");
        let back = wrap::unwrap(&key, &wrapped.get(), algorithm).expect("it was wrapped for this key");
        assert_eq!(back.expose(), content.expose());
        deciphered(&content, offset, bytes);
    }
    let label = Label { tenant: "default", kind: "seed", id: "meter-1" };
    assert!(MasterKey::new([9; 32]).open(&label, data).is_err(), "nobody without the key seals");
}

/// Deciphering in pieces is deciphering at once.
fn deciphered(key: &ContentKey, offset: u64, bytes: &[u8]) {
    let cipher = || ContentCipher::new(key, &[3; 16]).expect("a vector of 16 bytes");
    let (mut whole, mut pieces) = (bytes.to_vec(), bytes.to_vec());
    if cipher().apply_at(offset, &mut whole).is_err() {
        return;
    }
    let mut at = offset;
    for piece in pieces.chunks_mut(7) {
        cipher().apply_at(at, piece).expect("inside of the whole");
        at += piece.len() as u64;
    }
    assert_eq!(pieces, whole);
}

pub(crate) fn unwrapped_seeds() -> Vec<Vec<u8>> {
    vec![
        [&[0, 0, 9, 3][..], &[7; 32], &[1; 24]].concat(),
        [&[3, 0, 200, 20][..], &[7; 32], &[1; 40]].concat(),
    ]
}

/// The report's own MAC is right where its SUIT report is anything.
pub(crate) fn reported(data: &[u8]) {
    let mut input = Input::new(data);
    let (moment, grant) = (input.byte(), input.u16());
    let suit_report = input.rest();
    let (up, _) = keys(&ELSEWHERE).expect("it exists");
    let Ok(moment) = bellwether_manifests::message::Moment::try_from(moment % 4) else { return };
    let new = mac::NewReport { grant: grant.into(), moment, random: &[1; 16], suit_report };
    let Ok(message) = mac::seal_report_to_vec(&up, &new) else { return };
    let opened = mac::open_report(&up, &message).expect("its own key opens it");
    assert_eq!(opened.suit_report, suit_report);
    assert_eq!(Report::decode(&message).map(|report| (report.place, report.moment)), Ok((ELSEWHERE, moment)));
    let other = keys(&Place { index: 4, ..ELSEWHERE }).expect("it exists").0;
    assert!(mac::open_report(&other, &message).is_err());
}

pub(crate) fn reported_seeds() -> Vec<Vec<u8>> {
    crate::manifest::suit_report_seeds()
        .into_iter()
        .map(|report| [&[2, 0, 9][..], &report].concat())
        .collect()
}
