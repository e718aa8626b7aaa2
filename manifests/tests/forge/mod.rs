//! Writes envelopes that no author would: any CBOR, rightly signed.

use bellwether_manifests::cose::{PrivateKey, PublicKey, sign1_detached};
use sha2::{Digest, Sha256};

pub(crate) const VENDOR: [u8; 16] = [0x11; 16];
pub(crate) const CLASS: [u8; 16] = [0x22; 16];
pub(crate) const OTHER: [u8; 16] = [0x33; 16];

pub(crate) fn key() -> PrivateKey {
    PrivateKey::from_random(&[0x42; 32]).unwrap()
}

pub(crate) fn authors() -> [PublicKey; 1] {
    [key().public()]
}

pub(crate) fn int(value: i64) -> Vec<u8> {
    minicbor::to_vec(value).unwrap()
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    minicbor::to_vec(value).unwrap()
}

pub(crate) fn bytes(value: &[u8]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.bytes(value).unwrap();
    encoder.into_writer()
}

pub(crate) fn bool(value: bool) -> Vec<u8> {
    vec![if value { 0xf5 } else { 0xf4 }]
}

pub(crate) fn nil() -> Vec<u8> {
    vec![0xf6]
}

pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.array(items.len() as u64).unwrap();
    [encoder.into_writer(), items.concat()].concat()
}

pub(crate) fn map(pairs: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.map(pairs.len() as u64).unwrap();
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| [int(*key), value.clone()].concat()).collect();
    [encoder.into_writer(), pairs.concat()].concat()
}

/// A command sequence without its byte string.
pub(crate) fn sequence(commands: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<_> =
        commands.iter().flat_map(|(label, argument)| [int(*label), argument.clone()]).collect();
    array(&items)
}

/// override-parameters.
pub(crate) fn set(parameters: &[(i64, Vec<u8>)]) -> (i64, Vec<u8>) {
    (20, map(parameters))
}

/// A condition, or a directive that takes a policy.
pub(crate) fn policy(label: i64) -> (i64, Vec<u8>) {
    (label, int(15))
}

pub(crate) fn try_each(sequences: &[Vec<u8>]) -> (i64, Vec<u8>) {
    (15, array(&sequences.iter().map(|sequence| bytes(sequence)).collect::<Vec<_>>()))
}

pub(crate) fn run_sequence(commands: &[(i64, Vec<u8>)]) -> (i64, Vec<u8>) {
    (32, bytes(&sequence(commands)))
}

pub(crate) fn digest(first: u8) -> Vec<u8> {
    bytes(&array(&[int(-16), bytes(&[first; 32])]))
}

/// Vendor and class set and asked for, then `more`.
pub(crate) fn shared(more: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let ids = set(&[(1, bytes(&VENDOR)), (2, bytes(&CLASS)), (3, digest(7)), (14, int(100))]);
    let mut commands = vec![ids, policy(1), policy(2)];
    commands.extend_from_slice(more);
    sequence(&commands)
}

/// A manifest of one component with these sequences.
pub(crate) fn manifest(shared: &[u8], sections: &[(i64, Vec<u8>)]) -> Vec<u8> {
    manifest_of(&[array(&[bytes(b"app")])], shared, sections)
}

pub(crate) fn manifest_of(components: &[Vec<u8>], shared: &[u8], sections: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let common = map(&[(2, array(components)), (4, bytes(shared))]);
    let mut elements = vec![(1, int(1)), (2, int(5)), (3, bytes(&common))];
    elements.extend(sections.iter().map(|(key, section)| (*key, bytes(section))));
    map(&elements)
}

/// Signs a manifest into an envelope.
pub(crate) fn envelope(manifest: &[u8]) -> Vec<u8> {
    let signed = array(&[int(-16), bytes(&Sha256::digest(bytes(manifest)))]);
    let block = sign1_detached(&signed, &key());
    let authentication = array(&[bytes(&signed), bytes(&block)]);
    [vec![0xd8, 107], map(&[(2, bytes(&authentication)), (3, bytes(manifest))])].concat()
}
