//! `COSE_Mac0`: an attached payload under a shared key, HMAC 256/256, tag 17.
//!
//! No key is handled here: who has one feeds [`mac_structure`] to it.
//!
//! Source: RFC 9052 §6.2, §6.3; narrowed to one algorithm and no unprotected header.

use minicbor::encode::{Encode, Encoder, Error, Write};
use thiserror::Error;

use crate::cbor::{self, CborError, EncodeError, Reader};

/// A message in the only form that is taken, its tag not verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mac0<'a> {
    /// What the tag covers, together with the external data. Believe it only after verification.
    pub payload: &'a [u8],
    /// HMAC-SHA-256 over the structure that [`mac_structure`] gives.
    pub tag: &'a [u8; TAG_BYTES],
}

/// Why bytes are no `COSE_Mac0` of this protocol. Drop the message.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Mac0Error {
    /// The bytes are not the deterministic CBOR that was expected; a detached payload counts as such.
    #[error("message is not the expected deterministic CBOR")]
    Cbor(#[from] CborError),
    /// Another COSE structure, or none.
    #[error("tag is {0}, not {MAC0_TAG}")]
    Tag(u16),
    /// The protected header is not exactly {1: 5}.
    #[error("protected header is not HMAC 256/256 alone")]
    Protected,
    /// The unprotected header is not empty.
    #[error("unprotected header is not empty")]
    Unprotected,
}

impl<'a> Mac0<'a> {
    /// Reads the one form that is taken.
    ///
    /// # Errors
    ///
    /// [`Mac0Error`] with the part that differs.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Mac0Error> {
        let mut reader = Reader::new(bytes);
        let tag = reader.tag()?;
        if tag != MAC0_TAG {
            return Err(Mac0Error::Tag(cbor::told(tag)));
        }
        reader.array_of(4)?;
        if reader.bytes()? != PROTECTED {
            return Err(Mac0Error::Protected);
        }
        if reader.map()? != 0 {
            return Err(Mac0Error::Unprotected);
        }
        let payload = reader.bytes()?;
        let tag = reader.bytes_exact()?;
        reader.finish()?;
        Ok(Self { payload, tag })
    }

    /// Feeds the bytes under this message's tag to `sink`, as [`mac_structure`] does.
    pub fn structure(&self, external_aad: &[&[u8]], sink: impl FnMut(&[u8])) {
        mac_structure(external_aad, self.payload, sink);
    }
}

impl<C> Encode<C> for Mac0<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        encoder.tag(minicbor::data::Tag::new(MAC0_TAG))?.array(4)?;
        encoder.bytes(&PROTECTED)?.map(0)?.bytes(self.payload)?.bytes(self.tag)?.ok()
    }
}

/// Feeds the encoded `MAC_structure` to `sink`, piece by piece and without allocation.
///
/// `external_aad` is given in pieces that are joined.
///
/// Source: RFC 9052 §6.3.
pub fn mac_structure(external_aad: &[&[u8]], payload: &[u8], mut sink: impl FnMut(&[u8])) {
    sink(&[0x84]);
    sink(CONTEXT);
    sink(&[0x40 | PROTECTED_BYTES]);
    sink(&PROTECTED);
    bytes_head(external_aad.iter().map(|piece| piece.len()).sum(), &mut sink);
    for piece in external_aad {
        sink(piece);
    }
    bytes_head(payload.len(), &mut sink);
    sink(payload);
}

/// Writes a message with the encoded `value` as payload to the start of `buffer` and returns the number of bytes.
///
/// `tag` gets the payload and computes the tag over its [`mac_structure`]. The payload is written once, in its place.
///
/// # Errors
///
/// [`EncodeError::Space`] if the buffer is too small, [`EncodeError::Invalid`] if the value cannot be encoded.
pub fn write_into(
    value: &impl Encode<()>,
    tag: impl FnOnce(&[u8]) -> [u8; TAG_BYTES],
    buffer: &mut [u8],
) -> Result<usize, EncodeError> {
    let payload_bytes = cbor::encoded_len(value)?;
    let message_bytes = encoded_len(payload_bytes);
    let buffer = buffer.get_mut(..message_bytes).ok_or(EncodeError::Space)?;
    let (head, rest) = buffer.split_at_mut(message_bytes - payload_bytes - TAG_ITEM_BYTES);
    let (payload, tail) = rest.split_at_mut(payload_bytes);
    cbor::write_into(value, payload)?;
    let tag = tag(payload);
    cbor::write_into(&Head { payload_bytes }, head)?;
    cbor::write_into(&minicbor::bytes::ByteArray::from(tag), tail)?;
    Ok(message_bytes)
}

/// What stands before the payload.
struct Head {
    payload_bytes: usize,
}

impl<C> Encode<C> for Head {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), Error<W::Error>> {
        encoder.tag(minicbor::data::Tag::new(MAC0_TAG))?.array(4)?;
        encoder.bytes(&PROTECTED)?.map(0)?.bytes_len(self.payload_bytes as u64)?.ok()
    }
}

/// Bytes of the encoded message around a payload of `payload_bytes`.
#[must_use]
pub const fn encoded_len(payload_bytes: usize) -> usize {
    // Tag, array and protected header take 6, the empty map 1.
    7 + bytes_head_len(payload_bytes) + payload_bytes + TAG_ITEM_BYTES
}

#[expect(clippy::cast_possible_truncation, reason = "each arm's range fits its type")]
fn bytes_head(length: usize, sink: &mut impl FnMut(&[u8])) {
    const BYTES: u8 = 0x40;
    match length {
        0..=23 => sink(&[BYTES | length as u8]),
        24..=0xff => sink(&[BYTES | 0x18, length as u8]),
        0x100..=0xffff => {
            sink(&[BYTES | 0x19]);
            sink(&(length as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            sink(&[BYTES | 0x1a]);
            sink(&(length as u32).to_be_bytes());
        }
        _ => {
            sink(&[BYTES | 0x1b]);
            sink(&(length as u64).to_be_bytes());
        }
    }
}

const fn bytes_head_len(length: usize) -> usize {
    match length {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Bytes of a tag: HMAC 256/256 is not truncated (RFC 9053 §3.1).
pub const TAG_BYTES: usize = 32;

/// Bytes of an encoded tag: its head takes two.
const TAG_ITEM_BYTES: usize = TAG_BYTES + 2;

/// CBOR tag of `COSE_Mac0` (RFC 9052 §2).
pub const MAC0_TAG: u64 = 17;

/// The encoded protected header {1: 5}.
const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x05];
const PROTECTED_BYTES: u8 = 3;

/// The context word of the structure, encoded.
const CONTEXT: &[u8] = b"\x64MAC0";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn detached_payload_is_refused() {
        let mut bytes = hex::decode("d18443a10105a0f65820").unwrap();
        bytes.extend([0; 32]);
        assert_eq!(Mac0::decode(&bytes), Err(Mac0Error::Cbor(CborError::Type)));
    }

    #[test]
    fn another_algorithm_or_a_second_header_is_refused() {
        for protected in ["43a10104", "44a1011901", "46a20105044178", "40"] {
            let mut bytes = hex::decode(["d184", protected, "a04100", "5820"].concat()).unwrap();
            bytes.extend([0; 32]);
            assert_eq!(Mac0::decode(&bytes), Err(Mac0Error::Protected), "{protected}");
        }
    }

    #[test]
    fn sign1_under_the_wrong_tag_number_is_refused() {
        assert_eq!(Mac0::decode(&[0xd2, 0x84]), Err(Mac0Error::Tag(18)));
    }

    proptest! {
        #[test]
        fn structure_is_what_coset_makes(
            payload in proptest::collection::vec(any::<u8>(), 0..600),
            aad in proptest::collection::vec(any::<u8>(), 0..300),
            cut in any::<prop::sample::Index>(),
        ) {
            let (left, right) = aad.split_at(cut.index(aad.len() + 1));
            let mut ours = Vec::new();
            mac_structure(&[left, right], &payload, |piece| ours.extend_from_slice(piece));
            let protected = coset::HeaderBuilder::new().algorithm(coset::iana::Algorithm::HMAC_256_256).build();
            let protected = coset::ProtectedHeader { original_data: None, header: protected };
            let theirs = coset::mac_structure_data(coset::MacContext::CoseMac0, protected, &aad, &payload);
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Mac0::decode(&bytes);
        }

        #[test]
        fn message_comes_back(payload in proptest::collection::vec(any::<u8>(), 0..300), tag: [u8; 32]) {
            let message = Mac0 { payload: &payload, tag: &tag };
            let bytes = minicbor::to_vec(message).unwrap();
            prop_assert_eq!(bytes.len(), encoded_len(payload.len()));
            prop_assert_eq!(Mac0::decode(&bytes), Ok(message));
            let mut buffer = std::vec![0; bytes.len() + 3];
            let written = write_into(&cbor::Raw(&payload), |_| tag, &mut buffer).unwrap();
            prop_assert_eq!(&buffer[..written], &bytes[..]);
            let short = write_into(&cbor::Raw(&payload), |_| tag, &mut buffer[..written - 1]);
            prop_assert_eq!(short, Err(EncodeError::Space));
            prop_assert!(Mac0::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }
}
