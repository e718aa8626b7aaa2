//! The bytes under a signature, hashed piece by piece: nothing is copied, so nothing is allocated.

use sha2::{Digest, Sha256};

const ARRAY: u8 = 4;
const BYTES: u8 = 2;
const TEXT: u8 = 3;

/// Hashes `["Signature1", protected, external_aad, payload]`; the parts of `aad` are hashed as one string.
///
/// Source: RFC 9052 §4.4.
pub(crate) fn sign1_digest(protected: &[u8], aad: &[&[u8]], payload: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    head(&mut hash, ARRAY, 4);
    string(&mut hash, TEXT, &[b"Signature1"]);
    string(&mut hash, BYTES, &[protected]);
    string(&mut hash, BYTES, aad);
    string(&mut hash, BYTES, &[payload]);
    hash.finalize().into()
}

/// Hashes `["Signature", h'', protected of the signer, external_aad, payload]`.
///
/// Source: RFC 9052 §4.4.
pub(crate) fn sign_digest(protected: &[u8], aad: &[&[u8]], payload: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    head(&mut hash, ARRAY, 5);
    string(&mut hash, TEXT, &[b"Signature"]);
    string(&mut hash, BYTES, &[]);
    string(&mut hash, BYTES, &[protected]);
    string(&mut hash, BYTES, aad);
    string(&mut hash, BYTES, &[payload]);
    hash.finalize().into()
}

/// Hashes `content` as a byte string with its head: how SUIT names a manifest or a severed element.
pub(crate) fn wrapped_digest(content: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    string(&mut hash, BYTES, &[content]);
    hash.finalize().into()
}

fn string(hash: &mut Sha256, major: u8, parts: &[&[u8]]) {
    head(hash, major, parts.iter().map(|part| part.len() as u64).sum());
    for part in parts {
        hash.update(part);
    }
}

fn head(hash: &mut Sha256, major: u8, value: u64) {
    let [.., b3, b2, b1, b0] = value.to_be_bytes();
    let major = major << 5;
    match value {
        0..=23 => hash.update([major | b0]),
        24..=0xff => hash.update([major | 0x18, b0]),
        0x100..=0xffff => hash.update([major | 0x19, b1, b0]),
        0x1_0000..=0xffff_ffff => hash.update([major | 0x1a, b3, b2, b1, b0]),
        _ => {
            hash.update([major | 0x1b]);
            hash.update(value.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minicbor::Encoder;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn hashed_structure_equals_encoded_one(aad: Vec<u8>, split in 0usize..20, payload in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut encoder = Encoder::new(Vec::new());
            encoder.array(4).unwrap().str("Signature1").unwrap().bytes(&[0xa0]).unwrap();
            encoder.bytes(&aad).unwrap().bytes(&payload).unwrap();
            let (left, right) = aad.split_at(split.min(aad.len()));
            let expected: [u8; 32] = Sha256::digest(encoder.into_writer()).into();
            prop_assert_eq!(sign1_digest(&[0xa0], &[left, right], &payload), expected);
        }
    }
}
