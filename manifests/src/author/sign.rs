//! Signing an envelope that is there already: by its author, on another machine, or by a second author.

use super::AuthorError;
use super::encode::written;
use crate::cbor::{CborError, Kind, Reader};
use crate::cose::{P256, PrivateKey, sign1_detached};
use crate::envelope::{BLOCKS_MAX, Envelope, EnvelopeError};
use alloc::vec::Vec;

/// Adds a signature by `key` to an envelope, with or without signatures, and gives the new envelope.
///
/// The manifest is checked against the envelope's digest before it is signed, and what is given out is read back
/// and verified by `key`. Everything but the authentication wrapper stays as it is, byte for byte.
///
/// # Errors
///
/// [`AuthorError`]: the envelope is altered or malformed, has this key's signature, or no room for another.
pub fn sign(envelope: &[u8], key: &PrivateKey) -> Result<Vec<u8>, AuthorError> {
    let unsigned = Envelope::parse(envelope).map_err(AuthorError::Envelope)?;
    unsigned.open_unverified().map_err(AuthorError::NotAccepted)?;
    let kid = key.public().kid();
    if unsigned.claimed_kids().any(|claimed| claimed == kid) {
        return Err(AuthorError::SignedAlready);
    }
    let parts = Parts::split(envelope).map_err(|error| AuthorError::Envelope(EnvelopeError::Cbor(error)))?;
    if parts.block_count >= BLOCKS_MAX {
        return Err(AuthorError::Envelope(EnvelopeError::Blocks));
    }
    let signed = parts.joined_with(&sign1_detached(parts.digest, key));
    let read = Envelope::parse(&signed).map_err(AuthorError::Envelope)?;
    read.verify_with(&P256, [key.public()].as_slice()).map_err(AuthorError::NotAccepted)?;
    Ok(signed)
}

/// An envelope cut around its authentication blocks.
struct Parts<'a> {
    /// Tag, head of the map, key of the authentication wrapper.
    before: &'a [u8],
    /// Encoded digest: what every block signs.
    digest: &'a [u8],
    block_count: usize,
    blocks: &'a [u8],
    after: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Cuts an envelope whose form was read before: the wrapper is its first element.
    fn split(envelope: &'a [u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(envelope);
        if reader.kind()? == Kind::Tag {
            reader.tag()?;
        }
        reader.map()?;
        reader.int()?;
        let before = reader.since(0);
        let authentication = reader.bytes()?;
        let after = &envelope[reader.position()..];
        let mut reader = Reader::new(authentication);
        let block_count = reader.array()?.checked_sub(1).ok_or(CborError::Range)?;
        let digest = reader.bytes()?;
        let blocks = &authentication[reader.position()..];
        Ok(Self { before, digest, block_count, blocks, after })
    }

    fn joined_with(&self, block: &[u8]) -> Vec<u8> {
        let mut authentication = written(|encoder| {
            encoder.array(2 + self.block_count as u64)?.bytes(self.digest)?;
            Ok(())
        });
        authentication.extend_from_slice(self.blocks);
        authentication.extend(written(|encoder| encoder.bytes(block).map(drop)));
        let wrapped = written(|encoder| encoder.bytes(&authentication).map(drop));
        [self.before, &wrapped, self.after].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::author::{ClassImage, ManifestDraft, Severing, class_id, vendor_id};
    use crate::envelope::VerifyError;
    use alloc::string::String;
    use alloc::vec;

    fn draft() -> ManifestDraft {
        let vendor = vendor_id("example.com");
        let image = ClassImage { class: class_id(&vendor, "lamp"), digest: [7; 32], size: 7, version: None };
        ManifestDraft {
            version: Some("2.0.0".into()),
            ..ManifestDraft::new(2, vendor, vec![image], String::from("r"))
        }
    }

    fn key(n: u8) -> PrivateKey {
        PrivateKey::from_random(&[n; 32]).unwrap()
    }

    #[test]
    fn unsigned_envelope_signed_apart_equals_the_one_signed_at_once() {
        for severing in [Severing::WhenLarger, Severing::Never] {
            let draft = ManifestDraft { severing, ..draft() };
            let apart = sign(&draft.unsigned().unwrap(), &key(1)).unwrap();
            assert_eq!(apart, draft.sign(&key(1)).unwrap());
        }
    }

    #[test]
    fn unsigned_envelope_is_believed_by_nobody() {
        let envelope = draft().unsigned().unwrap();
        let refused = Envelope::parse(&envelope).unwrap().verify([key(1).public()].as_slice());
        assert_eq!(refused.unwrap_err(), VerifyError::Signature);
    }

    #[test]
    fn second_author_signs_beside_the_first() {
        let envelope = sign(&draft().sign(&key(1)).unwrap(), &key(2)).unwrap();
        let read = Envelope::parse(&envelope).unwrap();
        let verified = read.verify([key(1).public(), key(2).public()].as_slice()).unwrap();
        assert_eq!(verified.signers().iter().count(), 2);
    }

    #[test]
    fn same_key_does_not_sign_twice() {
        let signed = draft().sign(&key(1)).unwrap();
        assert!(matches!(sign(&signed, &key(1)), Err(AuthorError::SignedAlready)));
    }

    #[test]
    fn envelope_without_room_for_another_block_is_refused() {
        let full = (1..=4).fold(draft().unsigned().unwrap(), |envelope, n| sign(&envelope, &key(n)).unwrap());
        assert!(matches!(sign(&full, &key(5)), Err(AuthorError::Envelope(EnvelopeError::Blocks))));
    }

    #[test]
    fn altered_manifest_is_not_signed() {
        let envelope = draft().unsigned().unwrap();
        for at in 0..envelope.len() {
            let mut altered = envelope.clone();
            altered[at] ^= 1;
            // Only the outer tag and heads are not under the digest, and those must have one form.
            assert!(sign(&altered, &key(1)).is_err(), "byte {at}");
        }
    }
}
