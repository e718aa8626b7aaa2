//! `COSE_Sign`: several signers of one payload, as the anchors document has them.

use super::key::{KeyId, P256, PublicKey, SignatureVerifier};
use super::sign1::{CoseError, SignatureError, expect_tag, own_header};
use super::structure::sign_digest;
use crate::cbor::Reader;

/// CBOR tag of `COSE_Sign`.
pub const SIGN_TAG: u64 = 98;

/// Signers that one message may have: old and new root role of [`crate::anchors::ROLE_KEYS_MAX`] keys each.
pub const SIGNERS_MAX: usize = 32;

/// `COSE_Sign` of Bellwether's own: tagged, body protected `h''`, payload attached, signers `{1: -9, 4: kid}`.
#[derive(Clone, Copy, Debug)]
pub struct Sign<'a> {
    payload: &'a [u8],
    signers: &'a [u8],
    count: usize,
}

/// One signature of a [`Sign`].
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    protected: &'a [u8],
    kid: KeyId,
    payload: &'a [u8],
    signature: &'a [u8; 64],
}

impl<'a> Sign<'a> {
    /// Reads the message and the form of every signer; nothing is proven before [`Signer::verify`].
    ///
    /// # Errors
    ///
    /// [`CoseError`] for anything but the one form that is written here.
    pub fn parse(message: &'a [u8]) -> Result<Self, CoseError> {
        let mut reader = Reader::new(message);
        expect_tag(&mut reader, SIGN_TAG)?;
        reader.array_of(4)?;
        if !reader.bytes()?.is_empty() {
            return Err(CoseError::Protected);
        }
        if reader.map()? != 0 {
            return Err(CoseError::Unprotected);
        }
        let payload = reader.bytes()?;
        let count = reader.array()?;
        if count == 0 || count > SIGNERS_MAX {
            return Err(CoseError::Signers);
        }
        let start = reader.position();
        for _ in 0..count {
            Signer::read(&mut reader, payload)?;
        }
        reader.finish()?;
        Ok(Self { payload, signers: reader.since(start), count })
    }

    /// Gives the payload, whoever wrote it.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Walks over the signers in the order of the message.
    pub fn signers(&self) -> impl Iterator<Item = Signer<'a>> + use<'a> {
        let (mut reader, payload) = (Reader::new(self.signers), self.payload);
        (0..self.count).map_while(move |_| Signer::read(&mut reader, payload).ok())
    }
}

impl<'a> Signer<'a> {
    fn read(reader: &mut Reader<'a>, payload: &'a [u8]) -> Result<Self, CoseError> {
        reader.array_of(3)?;
        let (protected, kid) = own_header(reader)?;
        let signature = reader.bytes_exact()?;
        Ok(Self { protected, kid, payload, signature })
    }

    /// Gives the id of the key that claims to have signed.
    #[must_use]
    pub const fn kid(&self) -> KeyId {
        self.kid
    }

    /// Checks this signature in software; `aad` is the `external_aad` in parts.
    ///
    /// # Errors
    ///
    /// [`SignatureError`], also when `key` has another id than the signer names.
    pub fn verify(&self, aad: &[&[u8]], key: &PublicKey) -> Result<(), SignatureError> {
        self.verify_with(&P256, aad, key)
    }

    /// Checks this signature with the engine `verifier`.
    ///
    /// # Errors
    ///
    /// [`SignatureError`], also when `key` has another id than the signer names.
    pub fn verify_with(
        &self,
        verifier: &impl SignatureVerifier,
        aad: &[&[u8]],
        key: &PublicKey,
    ) -> Result<(), SignatureError> {
        let digest = sign_digest(self.protected, aad, self.payload);
        if key.kid() == self.kid && verifier.verify(key, &digest, self.signature) {
            Ok(())
        } else {
            Err(SignatureError)
        }
    }
}

#[cfg(feature = "author")]
mod author {
    use super::{SIGN_TAG, Sign, sign_digest};
    use crate::cose::PrivateKey;
    use crate::cose::sign1::own_protected;
    use alloc::vec::Vec;
    use minicbor::Encoder;
    use minicbor::data::Tag;
    use minicbor::encode::Error;

    /// Signs `payload` by every key of `keys`; `aad` is the `external_aad` in parts.
    #[must_use]
    pub fn sign(payload: &[u8], aad: &[&[u8]], keys: &[PrivateKey]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        let written = (|| -> Result<(), Error<_>> {
            encoder.tag(Tag::new(SIGN_TAG))?.array(4)?.bytes(&[])?.map(0)?.bytes(payload)?;
            encoder.array(keys.len() as u64)?;
            Ok(())
        })();
        // Writing into a vector does not fail.
        let mut message = written.map_or_else(|_| Vec::new(), |()| encoder.into_writer());
        for key in keys {
            message.extend(signer(payload, aad, key));
        }
        message
    }

    /// Adds signatures by `keys` to a message that was signed before; `aad` is the `external_aad` in parts.
    #[must_use]
    pub fn add_signers(signed: &Sign<'_>, aad: &[&[u8]], keys: &[PrivateKey]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        let written = (|| -> Result<(), Error<_>> {
            encoder.tag(Tag::new(SIGN_TAG))?.array(4)?.bytes(&[])?.map(0)?.bytes(signed.payload)?;
            encoder.array((signed.count + keys.len()) as u64)?;
            Ok(())
        })();
        let mut message = written.map_or_else(|_| Vec::new(), |()| encoder.into_writer());
        message.extend_from_slice(signed.signers);
        for key in keys {
            message.extend(signer(signed.payload, aad, key));
        }
        message
    }

    fn signer(payload: &[u8], aad: &[&[u8]], key: &PrivateKey) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        let protected = own_protected(key.public().kid());
        let signature = key.sign_digest(&sign_digest(&protected, aad, payload));
        let written = (|| -> Result<(), Error<_>> {
            encoder.array(3)?.bytes(&protected)?.map(0)?.bytes(&signature)?;
            Ok(())
        })();
        written.map_or_else(|_| Vec::new(), |()| encoder.into_writer())
    }
}

#[cfg(feature = "author")]
pub use author::{add_signers, sign};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cose::PrivateKey;
    use proptest::prelude::*;

    #[test]
    fn each_signer_is_verified_by_its_own_key_only() {
        let keys = [1u8, 2].map(|n| PrivateKey::from_random(&[n; 32]).unwrap());
        let message = sign(b"payload", &[b"bw1 anchors"], &keys);
        let read = Sign::parse(&message).unwrap();
        for (n, signer) in read.signers().enumerate() {
            assert_eq!(signer.verify(&[b"bw1 anchors"], &keys[n].public()), Ok(()));
            assert_eq!(signer.verify(&[b"bw1 anchors"], &keys[1 - n].public()), Err(SignatureError));
            assert_eq!(signer.verify(&[b"bw1 bundle"], &keys[n].public()), Err(SignatureError));
        }
    }

    #[test]
    fn signers_that_are_added_one_by_one_make_the_message_that_all_sign_at_once() {
        let keys = [1u8, 2, 3].map(|n| PrivateKey::from_random(&[n; 32]).unwrap());
        let aad: &[&[u8]] = &[b"bw1 anchors"];
        let mut message = sign(b"payload", aad, &keys[..1]);
        for key in &keys[1..] {
            message = add_signers(&Sign::parse(&message).unwrap(), aad, core::slice::from_ref(key));
        }
        assert_eq!(message, sign(b"payload", aad, &keys));
    }

    #[test]
    fn message_without_signers_is_refused() {
        assert_eq!(Sign::parse(&sign(b"payload", &[], &[])).unwrap_err(), CoseError::Signers);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut tagged = std::vec![0xd8, 0x62, 0x84, 0x40, 0xa0];
            tagged.extend_from_slice(&bytes);
            let _ = (Sign::parse(&bytes), Sign::parse(&tagged));
        }
    }
}
