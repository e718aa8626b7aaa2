//! `COSE_Sign1`: one signer. Attached and strict for Bellwether's own messages, detached for SUIT authentication.

use super::key::{Algorithm, KeyId, P256, PublicKey, SignatureVerifier};
use super::structure::sign1_digest;
use crate::cbor::{CborError, KeyOrder, Reader};
use thiserror::Error;

/// CBOR tag of `COSE_Sign1`.
pub const SIGN1_TAG: u64 = 18;

/// Why bytes are not the COSE message that was expected. Drop it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CoseError {
    /// Not deterministic CBOR of the right shape.
    #[error("not a COSE message of this kind")]
    Cbor(#[from] CborError),
    /// The tag is that of another kind.
    #[error("COSE tag {0} is of another kind")]
    Tag(u64),
    /// The protected header is not exactly what this kind has.
    #[error("protected header is not the one of this kind")]
    Protected,
    /// The unprotected header says something.
    #[error("unprotected header is not empty")]
    Unprotected,
    /// The signature algorithm is not one that is checked here.
    #[error("signature algorithm {0} is not supported")]
    Algorithm(i64),
    /// More signers than [`super::sign::SIGNERS_MAX`], or none.
    #[error("number of signers is out of bounds")]
    Signers,
}

/// The signature does not fit the key and the bytes. Drop the message and count it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("signature is wrong")]
pub struct SignatureError;

/// `COSE_Sign1` of one of Bellwether's own kinds: tagged, payload attached, protected `{1: -9, 4: kid}`.
#[derive(Clone, Copy, Debug)]
pub struct Sign1<'a> {
    protected: &'a [u8],
    kid: KeyId,
    payload: &'a [u8],
    signature: &'a [u8; 64],
}

impl<'a> Sign1<'a> {
    /// Reads the message; nothing of it is proven before [`Self::verify`].
    ///
    /// # Errors
    ///
    /// [`CoseError`] for anything but the one form that is written here.
    pub fn parse(message: &'a [u8]) -> Result<Self, CoseError> {
        let mut reader = Reader::new(message);
        expect_tag(&mut reader, SIGN1_TAG)?;
        reader.array_of(4)?;
        let (protected, kid) = own_header(&mut reader)?;
        let payload = reader.bytes()?;
        let signature = reader.bytes_exact()?;
        reader.finish()?;
        Ok(Self { protected, kid, payload, signature })
    }

    /// Gives the id of the key that claims to have signed.
    #[must_use]
    pub const fn kid(&self) -> KeyId {
        self.kid
    }

    /// Gives the payload, whoever wrote it; ask [`Self::verify`] before believing it.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Checks the signature in software and returns the payload; `aad` is the `external_aad` in parts.
    ///
    /// # Errors
    ///
    /// [`SignatureError`], also when `key` has another id than the message names.
    pub fn verify(&self, aad: &[&[u8]], key: &PublicKey) -> Result<&'a [u8], SignatureError> {
        self.verify_with(&P256, aad, key)
    }

    /// Checks the signature with the engine `verifier` and returns the payload.
    ///
    /// # Errors
    ///
    /// [`SignatureError`], also when `key` has another id than the message names.
    pub fn verify_with(
        &self,
        verifier: &impl SignatureVerifier,
        aad: &[&[u8]],
        key: &PublicKey,
    ) -> Result<&'a [u8], SignatureError> {
        let digest = sign1_digest(self.protected, aad, self.payload);
        if key.kid() == self.kid && verifier.verify(key, &digest, self.signature) {
            Ok(self.payload)
        } else {
            Err(SignatureError)
        }
    }
}

/// `COSE_Sign1` without its payload: an authentication block of a SUIT envelope.
///
/// Protected holds the algorithm (-9 or -7) and at most a key id; the key id may also stand unprotected.
#[derive(Clone, Copy, Debug)]
pub struct DetachedSign1<'a> {
    protected: &'a [u8],
    algorithm: Algorithm,
    kid: Option<&'a [u8]>,
    signature: &'a [u8; 64],
}

impl<'a> DetachedSign1<'a> {
    /// Reads the block.
    ///
    /// # Errors
    ///
    /// [`CoseError`] for another form, another header parameter, or an algorithm that is not checked here.
    pub fn parse(block: &'a [u8]) -> Result<Self, CoseError> {
        let mut reader = Reader::new(block);
        expect_tag(&mut reader, SIGN1_TAG)?;
        reader.array_of(4)?;
        let protected = reader.bytes()?;
        let (algorithm, protected_kid) = detached_protected(protected)?;
        let unprotected_kid = detached_unprotected(&mut reader)?;
        if !reader.nil()? {
            return Err(CborError::Type.into());
        }
        let signature = reader.bytes_exact()?;
        reader.finish()?;
        Ok(Self { protected, algorithm, kid: protected_kid.or(unprotected_kid), signature })
    }

    /// Gives the algorithm that the header names.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Gives the key id, if the signer wrote one; other authors form theirs as they like.
    #[must_use]
    pub const fn kid(&self) -> Option<&'a [u8]> {
        self.kid
    }

    /// Checks the signature over the detached `payload` with empty `external_aad`.
    ///
    /// # Errors
    ///
    /// [`SignatureError`].
    pub fn verify_with(
        &self,
        verifier: &impl SignatureVerifier,
        payload: &[u8],
        key: &PublicKey,
    ) -> Result<(), SignatureError> {
        let digest = sign1_digest(self.protected, &[], payload);
        if verifier.verify(key, &digest, self.signature) { Ok(()) } else { Err(SignatureError) }
    }
}

pub(super) fn expect_tag(reader: &mut Reader<'_>, wanted: u64) -> Result<(), CoseError> {
    match reader.tag()? {
        tag if tag == wanted => Ok(()),
        tag => Err(CoseError::Tag(tag)),
    }
}

/// Reads protected `{1: -9, 4: kid}` and unprotected `{}`.
pub(super) fn own_header<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], KeyId), CoseError> {
    let protected = reader.bytes()?;
    let kid = protected.strip_prefix(&OWN_PROTECTED_HEAD).ok_or(CoseError::Protected)?;
    let kid = kid.try_into().map_err(|_| CoseError::Protected)?;
    if reader.map()? != 0 {
        return Err(CoseError::Unprotected);
    }
    Ok((protected, kid))
}

fn detached_protected(protected: &[u8]) -> Result<(Algorithm, Option<&[u8]>), CoseError> {
    let mut reader = Reader::new(protected);
    let (mut order, mut algorithm, mut kid) = (KeyOrder::default(), None, None);
    for _ in 0..reader.map()? {
        match order.next(&mut reader)? {
            ALGORITHM_LABEL => {
                let label = reader.int()?;
                algorithm = Some(Algorithm::from_label(label).ok_or(CoseError::Algorithm(label))?);
            }
            KID_LABEL => kid = Some(reader.bytes()?),
            _ => return Err(CoseError::Protected),
        }
    }
    reader.finish()?;
    Ok((algorithm.ok_or(CoseError::Protected)?, kid))
}

fn detached_unprotected<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, CoseError> {
    match reader.map()? {
        0 => Ok(None),
        1 if reader.int()? == KID_LABEL => Ok(Some(reader.bytes()?)),
        _ => Err(CoseError::Unprotected),
    }
}

// RFC 9052 §3.1.
const ALGORITHM_LABEL: i64 = 1;
const KID_LABEL: i64 = 4;

/// `{1: -9, 4: h'…8 bytes'}` up to the key id.
const OWN_PROTECTED_HEAD: [u8; 5] = [0xa2, 0x01, 0x28, 0x04, 0x48];

#[cfg(feature = "author")]
pub(super) fn own_protected(kid: KeyId) -> [u8; 13] {
    let mut protected = [0; 13];
    protected[..5].copy_from_slice(&OWN_PROTECTED_HEAD);
    protected[5..].copy_from_slice(&kid);
    protected
}

#[cfg(feature = "author")]
mod author {
    use super::{SIGN1_TAG, own_protected, sign1_digest};
    use crate::cose::PrivateKey;
    use alloc::vec::Vec;
    use minicbor::Encoder;
    use minicbor::data::Tag;
    use minicbor::encode::Error;

    /// Signs one of Bellwether's own messages; `aad` is the `external_aad` in parts.
    #[must_use]
    pub fn sign1(payload: &[u8], aad: &[&[u8]], key: &PrivateKey) -> Vec<u8> {
        let protected = own_protected(key.public().kid());
        write(&protected, Some(payload), &key.sign_digest(&sign1_digest(&protected, aad, payload)))
    }

    /// Signs `payload` into a SUIT authentication block, which does not carry it.
    #[must_use]
    pub fn sign1_detached(payload: &[u8], key: &PrivateKey) -> Vec<u8> {
        let protected = own_protected(key.public().kid());
        write(&protected, None, &key.sign_digest(&sign1_digest(&protected, &[], payload)))
    }

    fn write(protected: &[u8], payload: Option<&[u8]>, signature: &[u8; 64]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        let written = (|| -> Result<(), Error<_>> {
            encoder.tag(Tag::new(SIGN1_TAG))?.array(4)?.bytes(protected)?.map(0)?;
            match payload {
                Some(payload) => encoder.bytes(payload)?,
                None => encoder.null()?,
            };
            encoder.bytes(signature).map(drop)
        })();
        // Writing into a vector does not fail.
        written.map_or_else(|_| Vec::new(), |()| encoder.into_writer())
    }
}

#[cfg(feature = "author")]
pub use author::{sign1, sign1_detached};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cose::PrivateKey;
    use proptest::prelude::*;

    const AAD: &[&[u8]] = &[b"bw1 ", b"receipt"];

    fn key() -> PrivateKey {
        PrivateKey::from_random(&[5; 32]).unwrap()
    }

    #[test]
    fn signed_message_is_read_and_verified() {
        let message = sign1(b"payload", AAD, &key());
        let read = Sign1::parse(&message).unwrap();
        assert_eq!(read.kid(), key().public().kid());
        assert_eq!(read.verify(&[b"bw1 receipt"], &key().public()), Ok(&b"payload"[..]));
    }

    #[test]
    fn other_aad_or_other_key_is_refused() {
        let message = sign1(b"payload", AAD, &key());
        let read = Sign1::parse(&message).unwrap();
        assert_eq!(read.verify(&[b"bw1 grant"], &key().public()), Err(SignatureError));
        let other = PrivateKey::from_random(&[6; 32]).unwrap().public();
        assert_eq!(read.verify(AAD, &other), Err(SignatureError));
    }

    #[test]
    fn message_with_any_byte_altered_is_refused() {
        let message = sign1(b"payload", AAD, &key());
        for at in 0..message.len() {
            let mut altered = message.clone();
            altered[at] ^= 1;
            let verified = Sign1::parse(&altered).is_ok_and(|read| read.verify(AAD, &key().public()).is_ok());
            assert!(!verified, "byte {at}");
        }
    }

    #[test]
    fn detached_block_is_no_own_message_and_an_own_message_no_block() {
        assert!(Sign1::parse(&sign1_detached(b"payload", &key())).is_err());
        assert!(DetachedSign1::parse(&sign1(b"payload", &[], &key())).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut tagged = std::vec![0xd2, 0x84];
            tagged.extend_from_slice(&bytes);
            let _ = (Sign1::parse(&bytes), Sign1::parse(&tagged));
            let _ = (DetachedSign1::parse(&bytes), DetachedSign1::parse(&tagged));
        }
    }
}
