//! What the messages refuse, and that reading is strict for any bytes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in a test, a panic is the answer")]

use std::fs;
use std::path::PathBuf;

use bellwether_manifests::cbor::{self, EncodeError};
use bellwether_manifests::message::{
    Answer, Answers, Bundle, Confirm, Descriptor, Detail, Grant, GrantOptions, GrantedResource, List,
    MessageError, Moment, Part, Place, Receipt, Report, RequestOptions, Resource, ScopeAnswers, Selector,
    StableAnswers, UpdateRequest, Verdict, Wrapped, peek,
};
use proptest::prelude::*;

fn file(name: &str) -> Vec<u8> {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/update");
    fs::read(vectors.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Decodes the bytes as every kind of message and checks that what is taken is written back byte for byte.
fn strict(bytes: &[u8]) {
    fn same<T: minicbor::Encode<()>>(bytes: &[u8], decoded: Result<T, MessageError>) {
        if let Ok(message) = decoded {
            assert_eq!(cbor::to_vec(&message).unwrap(), bytes);
        }
    }
    same(bytes, UpdateRequest::decode(bytes));
    same(bytes, Selector::decode(bytes));
    same(bytes, Descriptor::decode(bytes));
    same(bytes, Grant::decode(bytes));
    same(bytes, Verdict::decode(bytes));
    same(bytes, Report::decode(bytes));
    same(bytes, Receipt::decode(bytes));
    same(bytes, Answer::decode(bytes));
    same(bytes, Bundle::decode(bytes));
    let _ = peek::peek(bytes);
    let _ = peek::peek_cose(bytes);
}

const SAMPLES: [&str; 13] = [
    "request.cbor",
    "request-resume.cbor",
    "request-ecdh.cbor",
    "request-go.cbor",
    "selector.cbor",
    "descriptor-delta.cbor",
    "grant-ecdh.cbor",
    "grant-reseed.cbor",
    "verdict-2.cbor",
    "verdict-8.cbor",
    "report-failed.cbor",
    "answer-verdict.cbor",
    "bundle.cbor",
];

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        strict(&bytes);
    }

    #[test]
    fn altered_message_is_refused_or_is_another_strict_message(
        name in proptest::sample::select(&SAMPLES[..]),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = file(name);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        strict(&bytes);
    }

    #[test]
    fn message_with_bytes_put_in_or_taken_out_is_strict_or_refused(
        name in proptest::sample::select(&SAMPLES[..]),
        at: prop::sample::Index,
        new in proptest::collection::vec(any::<u8>(), 0..4),
        gone in 0usize..4,
    ) {
        let mut bytes = file(name);
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + gone);
        bytes.splice(at..end, new);
        strict(&bytes);
    }

    #[test]
    fn request_comes_back(
        id in "[a-z:0-9]{1,64}", epoch: u16, index: u16, counter: u64, fork: [u8; 8], nonce: [u8; 8],
        manifest: [u8; 32], values in proptest::collection::btree_map(-400i64..-320, 0u8..24, 0..20),
        echo: Option<[u8; 20]>, root: [u8; 32], frame: Option<u32>, go: Option<u64>, clock: Option<u64>,
        free in 0u8..24,
    ) {
        let values: Vec<(i64, [u8; 1])> = values.into_iter().map(|(id, value)| (id, [value])).collect();
        let values: Vec<(i64, &[u8])> = values.iter().map(|(id, value)| (*id, &value[..])).collect();
        let scopes = [ScopeAnswers { component: None, answers: Answers::new(&values).unwrap() }];
        let free = [free];
        let free = [(-307, &free[..])];
        let volatile = [ScopeAnswers { component: Some(3), answers: Answers::new(&free).unwrap() }];
        let request = UpdateRequest {
            place: Place { id: &id, epoch, index },
            counter, fork: &fork, nonce: &nonce,
            selector: Selector { manifest: &manifest, scopes: List::new(&scopes) },
            volatile: List::new(&volatile),
            options: RequestOptions {
                echo: echo.as_ref().map(|echo| &echo[..]),
                resume: frame.map(|frame| (&root, frame)),
                go,
                clock,
                ..RequestOptions::default()
            },
        };
        let bytes = cbor::to_vec(&request).unwrap();
        prop_assert_eq!(UpdateRequest::decode(&bytes), Ok(request));
    }
}

#[test]
fn name_of_no_or_65_bytes_is_refused() {
    for id in [String::new(), "n".repeat(65)] {
        let receipt = Receipt { place: Place { id: &id, epoch: 0, index: 0 }, report: &[0; 32], now: 0 };
        assert_eq!(cbor::to_vec(&receipt), Err(EncodeError::Invalid));
    }
    let mut bytes = file("receipt-failed.cbor");
    // [1, "urn:dev:bw-0001", …] with an empty name in its place.
    bytes.splice(2..18, [0x60]);
    assert_eq!(Receipt::decode(&bytes), Err(MessageError::Bound(Part::Name)));
}

fn granted(bytes: &[u8]) -> GrantedResource<'_> {
    Grant::decode(bytes).unwrap().resource(0).unwrap()
}

#[test]
fn no_resource_or_nine_are_refused() {
    let bytes = file("grant.cbor");
    let grant = Grant::decode(&bytes).unwrap();
    for count in [0, 9] {
        let resources = vec![granted(&bytes); count];
        let grant = Grant { resources: List::new(&resources), ..grant };
        assert_eq!(cbor::to_vec(&grant), Err(EncodeError::Invalid));
    }
    let resources: Vec<_> =
        (0..8).map(|component| GrantedResource { component, ..granted(&bytes) }).collect();
    let grant = Grant { resources: List::new(&resources), ..grant };
    assert_eq!(Grant::decode(&cbor::to_vec(&grant).unwrap()), Ok(grant));
}

#[test]
fn component_that_comes_twice_is_refused() {
    let bytes = file("grant-two.cbor");
    let grant = Grant::decode(&bytes).unwrap();
    let resources = [granted(&bytes); 2];
    let twice = Grant { resources: List::new(&resources), ..grant };
    assert_eq!(cbor::to_vec(&twice), Err(EncodeError::Invalid));
    let bytes = file("descriptor-two.cbor");
    let descriptor = Descriptor::decode(&bytes).unwrap();
    let resources = [descriptor.resource(1).unwrap(); 2];
    let twice = Descriptor { resources: List::new(&resources), ..descriptor };
    assert_eq!(cbor::to_vec(&twice), Err(EncodeError::Invalid));
    // The second resource of the descriptor follows the head of its array; component 1 becomes 0.
    let (first, second) = (descriptor.resource(0).unwrap(), descriptor.resource(1).unwrap());
    assert_eq!(Resource { component: 0, ..second }, first);
    let mut bytes = bytes.clone();
    let at = bytes.windows(3).rposition(|window| window == [0x8a, 1, 1]).unwrap();
    bytes[at + 1] = 0;
    assert_eq!(Descriptor::decode(&bytes), Err(MessageError::Bound(Part::ComponentThatComesTwice)));
}

#[test]
fn asking_go_after_the_index_moved_is_refused() {
    let bytes = file("grant.cbor");
    let options = GrantOptions { ask_go: Some(true), ..GrantOptions::default() };
    let grant = Grant { confirm: Confirm::Decrypted, options, ..Grant::decode(&bytes).unwrap() };
    assert_eq!(cbor::to_vec(&grant), Err(EncodeError::Invalid));
}

#[test]
fn vector_or_wrap_of_a_wrong_form_is_refused() {
    let bytes = file("grant.cbor");
    let good = granted(&bytes);
    let key = [0xa0];
    for bad in [
        GrantedResource { iv: &good.iv[..12], ..good },
        GrantedResource { key: Wrapped { ephemeral: Some(&key), ..good.key }, ..good },
        GrantedResource { key: Wrapped { wrapped: &[0; 41], ..good.key }, ..good },
    ] {
        let resources = [bad];
        let grant = Grant { resources: List::new(&resources), ..Grant::decode(&bytes).unwrap() };
        assert_eq!(cbor::to_vec(&grant), Err(EncodeError::Invalid));
    }
}

#[test]
fn resource_that_can_not_be_fetched_or_patched_is_refused() {
    let bytes = file("descriptor-delta.cbor");
    let descriptor = Descriptor::decode(&bytes).unwrap();
    let good = descriptor.resource(0).unwrap();
    for bad in [
        Resource { patch: None, ..good },
        Resource { inline: None, ..good },
        Resource { inline: Some(&good.inline.unwrap()[1..]), ..good },
        Resource { content_bytes: 0, inline: Some(&[]), ..good },
    ] {
        let resources = [bad];
        let descriptor = Descriptor { resources: List::new(&resources), ..descriptor };
        assert_eq!(cbor::to_vec(&descriptor), Err(EncodeError::Invalid));
    }
}

#[test]
fn volatile_answer_stays_outside_and_stable_answer_inside_of_the_selector() {
    let bytes = file("request.cbor");
    let request = UpdateRequest::decode(&bytes).unwrap();
    let battery = [(-309, &[0][..])];
    let scopes = [ScopeAnswers { component: None, answers: Answers::new(&battery).unwrap() }];
    let selector = Selector { scopes: List::new(&scopes), ..request.selector };
    assert_eq!(cbor::to_vec(&selector), Err(EncodeError::Invalid));
    let stable = [(-300, &[0][..])];
    let scopes = [ScopeAnswers { component: None, answers: Answers::new(&stable).unwrap() }];
    assert_eq!(
        cbor::to_vec(&UpdateRequest { volatile: List::new(&scopes), ..request }),
        Err(EncodeError::Invalid)
    );
}

#[test]
fn stable_answers_come_back_and_hold_neither_a_volatile_answer_nor_a_scope_twice() {
    let (digest, battery) = ([(3, &[0x40][..]), (-300, &[0][..])], [(-309, &[0][..])]);
    let answers = |component, values| ScopeAnswers { component, answers: Answers::new(values).unwrap() };
    let scopes = [answers(None, &digest), answers(Some(0), &digest[..1])];
    let bytes = cbor::to_vec(&StableAnswers { scopes: List::new(&scopes) }).unwrap();
    let back = StableAnswers::decode(&bytes).unwrap();
    assert!(back.scopes.iter().eq(scopes));
    assert_eq!(back.answer(Some(0), 3), Some(&[0x40][..]));
    assert_eq!(cbor::to_vec(&back).unwrap(), bytes);
    for bad in [[answers(None, &digest), answers(None, &digest)], [answers(None, &battery), scopes[1]]] {
        assert_eq!(cbor::to_vec(&StableAnswers { scopes: List::new(&bad) }), Err(EncodeError::Invalid));
    }
    assert_eq!(
        StableAnswers::decode(&[0x81, 0x82, 0xf6, 0xa1, 0x39, 0x01, 0x34, 0]),
        Err(MessageError::Bound(Part::VolatileAnswerInTheSelector))
    );
}

#[test]
fn answer_twice_or_with_a_value_that_is_not_deterministic_is_refused() {
    assert_eq!(Answers::new(&[(1, &[0]), (1, &[1])]), Err(MessageError::Bound(Part::AnswerThatComesTwice)));
    assert!(matches!(Answers::new(&[(1, &[0x18, 0])]), Err(MessageError::Cbor(_))));
    assert!(matches!(Answers::new(&[(1, &[])]), Err(MessageError::Cbor(_))));
}

#[test]
fn scope_that_comes_twice_is_refused() {
    let scopes = [ScopeAnswers { component: Some(1), answers: Answers::default() }; 2];
    let selector = Selector { manifest: &[0; 32], scopes: List::new(&scopes) };
    assert_eq!(selector.hash(), Err(EncodeError::Invalid));
}

#[test]
fn numbers_past_the_known_ones_are_refused() {
    assert_eq!(Confirm::try_from(4), Err(MessageError::Bound(Part::Confirm)));
    assert_eq!(Moment::try_from(0), Err(MessageError::Bound(Part::Moment)));
    let mut verdict = file("verdict-1.cbor");
    verdict[2] = 9;
    assert_eq!(Verdict::decode(&verdict), Err(MessageError::Kind(9)));
    verdict[2] = 0;
    assert_eq!(Verdict::decode(&verdict), Err(MessageError::Kind(0)));
    assert_eq!(Grant::decode(&file("verdict-1.cbor")), Err(MessageError::Kind(1)));
}

#[test]
fn text_or_echo_that_is_too_long_is_refused() {
    let bytes = file("verdict-3.cbor");
    let verdict = Verdict::decode(&bytes).unwrap();
    let text = "x".repeat(257);
    for detail in [Detail::Refused { reason: 1, text: &text }, Detail::Prove(&[0; 65])] {
        assert_eq!(cbor::to_vec(&Verdict { detail, ..verdict }), Err(EncodeError::Invalid));
    }
}
