//! The messages and frames against vectors that an independent program made.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test, a panic is the answer")]

mod built;
mod frames;

use std::fs;
use std::path::PathBuf;

use bellwether_manifests::cbor::{self, CborError};
use bellwether_manifests::cose::mac0::{Mac0, Mac0Error};
use bellwether_manifests::message::algorithm::ECDH_ES_A128KW;
use bellwether_manifests::message::peek::{attached_payload, peek, peek_cose};
use bellwether_manifests::message::request::Unconfirmed;
use bellwether_manifests::message::{
    Answer, Bundle, Confirm, Descriptor, Digest, Grant, MessageError, Place, Receipt, Report, Selector,
    UpdateRequest, Verdict, word,
};
use coset::{CoseMac0, TaggedCborSerializable};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const PLACE: Place<'_> = Place { id: "urn:dev:bw-0001", epoch: 0, index: 7 };
const IDENTIFIER: &[u8] = b"coaps://fw.example.com/u";

fn vectors() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/update")
}

fn file(name: &str) -> Vec<u8> {
    fs::read(vectors().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Names of all vectors that start and end so.
fn names(start: &str, end: &str) -> Vec<String> {
    let entries =
        fs::read_dir(vectors()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        entries.filter(|name| name.starts_with(start) && name.ends_with(end)).collect();
    names.sort();
    names
}

/// Names of the bare messages; anchors have a test of their own.
fn messages() -> Vec<String> {
    names("", ".cbor").into_iter().filter(|name| name != "anchors.cbor").collect()
}

fn value(path: &[&str]) -> Vec<u8> {
    let values: Value = serde_json::from_slice(&file("values.json")).unwrap();
    let found = path.iter().fold(&values, |value, key| &value[key]);
    hex::decode(found.as_str().unwrap_or_else(|| panic!("{path:?}"))).unwrap()
}

fn sha256(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Decodes and encodes a message by the kind that its file name says.
fn rewritten(name: &str, bytes: &[u8]) -> Result<Vec<u8>, MessageError> {
    let kind = name.split(['-', '.']).next().unwrap();
    let written = match kind {
        "request" => cbor::to_vec(&UpdateRequest::decode(bytes)?),
        "selector" => cbor::to_vec(&Selector::decode(bytes)?),
        "descriptor" => cbor::to_vec(&Descriptor::decode(bytes)?),
        "grant" => cbor::to_vec(&Grant::decode(bytes)?),
        "verdict" => cbor::to_vec(&Verdict::decode(bytes)?),
        "report" => cbor::to_vec(&Report::decode(bytes)?),
        "receipt" => cbor::to_vec(&Receipt::decode(bytes)?),
        "answer" => cbor::to_vec(&Answer::decode(bytes)?),
        "bundle" => cbor::to_vec(&Bundle::decode(bytes)?),
        other => panic!("{other} is no kind of message"),
    };
    Ok(written.unwrap())
}

#[test]
fn every_message_is_written_back_byte_for_byte() {
    let all = messages();
    assert_eq!(all.len(), 34);
    for name in all {
        let bytes = file(&name);
        assert_eq!(rewritten(&name, &bytes).as_ref(), Ok(&bytes), "{name}");
    }
}

#[test]
fn missing_or_trailing_byte_is_refused_in_every_message() {
    for name in messages() {
        let mut bytes = file(&name);
        for end in 0..bytes.len() {
            assert!(rewritten(&name, &bytes[..end]).is_err(), "{name} cut to {end}");
        }
        bytes.push(0);
        assert_eq!(rewritten(&name, &bytes), Err(MessageError::Cbor(CborError::Trailing)), "{name}");
    }
}

#[test]
fn every_mac0_holds_its_payload_and_is_written_back() {
    let all = names("", ".mac0").into_iter().filter(|name| !name.starts_with("refused"));
    for name in all {
        let bytes = file(&name);
        let message = Mac0::decode(&bytes).unwrap();
        assert_eq!(message.payload, file(&name.replace(".mac0", ".cbor")), "{name}");
        assert_eq!(cbor::to_vec(&message).unwrap(), bytes, "{name}");
    }
}

/// The external data of a kind of message, by the start of its file name.
fn external_aad(name: &str) -> Vec<u8> {
    match name.split('-').next().unwrap().split('.').next().unwrap() {
        "request" => [word::REQUEST, IDENTIFIER].concat(),
        "grant" => word::GRANT.to_vec(),
        "verdict" => word::VERDICT.to_vec(),
        "receipt" => word::RECEIPT.to_vec(),
        other => panic!("{other} has no external data"),
    }
}

fn tag(key: &[u8], message: &Mac0<'_>, aad: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    message.structure(&[aad], |piece| mac.update(piece));
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn every_mac_at_the_place_verifies_here_and_with_coset() {
    let mut verified = 0;
    for name in names("", ".mac0").iter().filter(|name| !name.starts_with("refused")) {
        let bytes = file(name);
        if peek_cose(&bytes).unwrap().place != PLACE {
            continue;
        }
        let direction = if name.starts_with("request") { "up" } else { "down" };
        let key = value(&["keys at place", direction]);
        let aad = external_aad(name);
        let message = Mac0::decode(&bytes).unwrap();
        assert_eq!(tag(&key, &message, &aad), message.tag, "{name}");
        let theirs = CoseMac0::from_tagged_slice(&bytes).unwrap();
        theirs
            .verify_payload_tag(
                &aad,
                || hmac::digest::MacError,
                |tag, data| {
                    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
                    mac.update(data);
                    mac.verify_slice(tag)
                },
            )
            .unwrap();
        verified += 1;
    }
    assert_eq!(verified, 18);
}

#[test]
fn head_of_a_report_is_its_external_data_and_its_mac_verifies() {
    for name in ["report-installed", "report-failed"] {
        let bytes = file(&format!("{name}.cbor"));
        let report = Report::decode(&bytes).unwrap();
        let aad = [word::REPORT, report.head().unwrap().as_bytes()].concat();
        assert_eq!(aad, value(&[&format!("{name}: external_aad")]));
        let message = Mac0::decode(report.report).unwrap();
        assert_eq!(tag(&value(&["keys at place", "up"]), &message, &aad), message.tag);
        assert_eq!(report.digest().unwrap(), sha256(&bytes));
        let signed = file(&format!("{name}-signed.cbor"));
        let signed = Report::decode(&signed).unwrap();
        assert_eq!(signed.head().unwrap().as_bytes(), report.head().unwrap().as_bytes());
        assert_eq!(Mac0::decode(signed.report), Err(Mac0Error::Tag(18)));
    }
}

#[test]
fn receipt_names_the_report() {
    for name in ["installed", "failed"] {
        let receipt = file(&format!("receipt-{name}.cbor"));
        let receipt = Receipt::decode(&receipt).unwrap();
        let report = sha256(&file(&format!("report-{name}.cbor")));
        assert_eq!(receipt, Receipt { place: PLACE, report: &report, now: 1_795_000_002 });
    }
}

#[test]
fn request_says_what_the_vector_says() {
    let bytes = file("request.cbor");
    let request = UpdateRequest::decode(&bytes).unwrap();
    assert_eq!((request.place, request.counter), (PLACE, 41));
    assert_eq!(request.fork, b"\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08");
    assert_eq!(request.nonce, b"\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8");
    assert_eq!(request.selector.answer(None, -300), Some(&[3][..]));
    assert_eq!(request.selector.answer(Some(0), -300), None);
    assert_eq!(request.volatile_answer(Some(0), -307), Some(&[0x1a, 0, 1, 0, 0][..]));
    assert_eq!(request.digest().unwrap(), sha256(&bytes));
}

#[test]
fn request_options_say_what_the_vectors_say() {
    let bytes = file("request-resume.cbor");
    let options = UpdateRequest::decode(&bytes).unwrap().options;
    let descriptor = file("descriptor-full.cbor");
    let resource = Descriptor::decode(&descriptor).unwrap().resource(0).unwrap();
    assert_eq!(options.echo, Some(&b"prove-me"[..]));
    assert_eq!(options.resume, Some((resource.chain.root, 2)));
    assert!(options.held.unwrap().iter().eq([resource.content]));

    let bytes = file("request-go.cbor");
    let options = UpdateRequest::decode(&bytes).unwrap().options;
    assert_eq!((options.go, options.skipped.len()), (Some(1_795_000_012), 1));

    let bytes = file("request-ecdh.cbor");
    let options = UpdateRequest::decode(&bytes).unwrap().options;
    assert!(options.wrap_to.is_some() && options.share.is_some() && options.wrap_to != options.share);

    let bytes = file("request-unconfirmed.cbor");
    let options = UpdateRequest::decode(&bytes).unwrap().options;
    let report = sha256(&file("report-installed.cbor"));
    assert_eq!(options.unconfirmed, Some(Unconfirmed { grant: 1_795_000_012, report: &report }));
}

#[test]
fn clock_of_a_device_is_read_beside_options_that_are_skipped() {
    let mut bytes = file("request-go.cbor");
    // {5: number, -7: text}, with -1 put between them.
    let five = bytes.windows(2).rposition(|pair| pair == [0xa2, 0x05]).unwrap();
    bytes[five] = 0xa3;
    let seven = bytes.windows(2).rposition(|pair| pair == [0x26, 0x6e]).unwrap();
    bytes.splice(seven..seven, [0x20, 0x1a, 0x6a, 0xfd, 0x86, 0xcc]);
    let options = UpdateRequest::decode(&bytes).unwrap().options;
    assert_eq!(
        (options.clock, options.go, options.skipped.len()),
        (Some(1_795_000_012), Some(1_795_000_012), 1)
    );
    bytes[seven + 1] = 0x60;
    bytes.splice(seven + 2..seven + 6, []);
    assert!(UpdateRequest::decode(&bytes).is_err(), "a clock that is text");
}

#[test]
fn grant_options_and_ephemeral_keys_are_read() {
    let bytes = file("grant-reseed.cbor");
    let grant = Grant::decode(&bytes).unwrap();
    assert_eq!((grant.options.reseed, grant.options.ask_go), (Some(true), Some(true)));
    assert_eq!((grant.options.anchors_edition, grant.confirm), (Some(3), Confirm::Both));
    let bytes = file("grant-ecdh.cbor");
    let grant = Grant::decode(&bytes).unwrap();
    let shares = grant.options.shares.unwrap();
    assert_ne!(shares.server, shares.device);
    let key = grant.resource(0).unwrap().key;
    assert!(key.algorithm == ECDH_ES_A128KW && key.ephemeral.is_some());
    let bytes = file("grant-two.cbor");
    assert_eq!(Grant::decode(&bytes).unwrap().resources.len(), 2);
}

#[test]
fn answer_carries_grant_and_descriptor_or_a_verdict() {
    let bytes = file("answer.cbor");
    let answer = Answer::decode(&bytes).unwrap();
    assert_eq!(answer.message, file("grant.mac0"));
    assert_eq!(answer.descriptor.unwrap(), file("descriptor-full.sign1"));
    let peeked = answer.peek().unwrap();
    assert_eq!((peeked.kind, peeked.place), (Some(0), PLACE));
    let bytes = file("answer-verdict.cbor");
    let answer = Answer::decode(&bytes).unwrap();
    assert_eq!((answer.peek().unwrap().kind, answer.descriptor), (Some(2), None));
}

#[test]
fn place_is_seen_in_every_message_before_it_is_verified() {
    for name in
        names("", ".mac0").iter().chain(&names("", ".sign1")).filter(|name| !name.contains("version-2"))
    {
        if !name.starts_with("descriptor") && !name.starts_with("bundle") {
            assert_eq!(peek_cose(&file(name)).map(|peek| peek.place.id), Ok(PLACE.id), "{name}");
        }
    }
    assert_eq!(peek(&file("report-failed.cbor")).unwrap().place, PLACE);
    assert_eq!(attached_payload(&file("descriptor-two.sign1")), Ok(&file("descriptor-two.cbor")[..]));
    assert_eq!(peek_cose(&file("refused-version-2.mac0")), Err(MessageError::Version(2)));
}

#[test]
fn refused_vectors_are_refused_for_their_reason() {
    let reasons = [
        ("version-2", MessageError::Version(2)),
        ("option-0", MessageError::UnknownOption(0)),
        ("unknown-option", MessageError::UnknownOption(99)),
        ("duplicate-key", MessageError::Cbor(CborError::KeyOrder)),
        ("map-order", MessageError::Cbor(CborError::KeyOrder)),
    ];
    let key = value(&["keys at place", "down"]);
    for (name, reason) in reasons {
        let bytes = file(&format!("refused-{name}.mac0"));
        let message = Mac0::decode(&bytes).unwrap();
        assert_eq!(tag(&key, &message, word::GRANT), message.tag, "the MAC of {name} is right");
        assert_eq!(Grant::decode(message.payload), Err(reason), "{name}");
    }
    let bytes = file("refused-unprotected-header.mac0");
    assert_eq!(Mac0::decode(&bytes), Err(Mac0Error::Unprotected));
    for name in ["altered", "altered-payload", "receipt-as-grant", "other-place", "up-key"] {
        let bytes = file(&format!("refused-{name}.mac0"));
        let message = Mac0::decode(&bytes).unwrap();
        assert_ne!(tag(&key, &message, word::GRANT), message.tag, "{name}");
    }
}
