//! Encryption of contents: AES in counter mode, at any offset.
//!
//! The frame chain authorises the bytes before they come here; counter mode alone authenticates nothing.
//!
//! Source: RFC 9459 §4 (AES-CTR in COSE), NIST SP 800-38A §6.5.

use aes::{Aes128, Aes256};
use bellwether_manifests::message::algorithm::{A128CTR, A256CTR};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use thiserror::Error;

use crate::secret::Secret;

/// Algorithm of a content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ContentAlgorithm {
    /// AES-128 in counter mode.
    A128Ctr,
    /// AES-256 in counter mode.
    A256Ctr,
}

/// Key of one ciphertext; never used for a second one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContentKey {
    algorithm: ContentAlgorithm,
    secret: Secret<32>,
}

/// Encrypts and decrypts, which is the same, in place and at any offset.
pub struct ContentCipher(Engine);

enum Engine {
    A128(Ctr128BE<Aes128>),
    A256(Ctr128BE<Aes256>),
}

/// Why a content was not encrypted or decrypted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ContentError {
    /// The content algorithm is not one of those here.
    #[error("content algorithm {0} is not supported")]
    Algorithm(i64),
    /// The key is not as long as the algorithm needs.
    #[error("content key has the wrong length")]
    KeyLength,
    /// The initialisation vector is not 16 bytes long.
    #[error("initialisation vector is not {IV_BYTES} bytes long")]
    IvLength,
    /// The offset is past what the counter reaches.
    #[error("offset is past the end of the key stream")]
    Offset,
}

impl ContentAlgorithm {
    /// Number of the algorithm in messages.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::A128Ctr => A128CTR,
            Self::A256Ctr => A256CTR,
        }
    }

    /// Bytes of its key.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::A128Ctr => 16,
            Self::A256Ctr => 32,
        }
    }
}

impl TryFrom<i64> for ContentAlgorithm {
    type Error = ContentError;

    fn try_from(number: i64) -> Result<Self, ContentError> {
        match number {
            A128CTR => Ok(Self::A128Ctr),
            A256CTR => Ok(Self::A256Ctr),
            other => Err(ContentError::Algorithm(other)),
        }
    }
}

impl ContentKey {
    /// Takes a key of the algorithm's length.
    ///
    /// # Errors
    ///
    /// [`ContentError::KeyLength`] for another length.
    pub fn new(algorithm: ContentAlgorithm, key: &[u8]) -> Result<Self, ContentError> {
        if key.len() != algorithm.key_bytes() {
            return Err(ContentError::KeyLength);
        }
        let mut secret = Secret::new([0; 32]);
        secret.expose_mut().get_mut(..key.len()).ok_or(ContentError::KeyLength)?.copy_from_slice(key);
        Ok(Self { algorithm, secret })
    }

    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> ContentAlgorithm {
        self.algorithm
    }

    /// Shows the bytes to a wrap, or to what stores them sealed.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.secret.expose().get(..self.algorithm.key_bytes()).unwrap_or_default()
    }
}

impl ContentCipher {
    /// Starts at offset 0.
    ///
    /// # Errors
    ///
    /// [`ContentError::IvLength`] if `iv` is not 16 bytes long.
    pub fn new(key: &ContentKey, iv: &[u8]) -> Result<Self, ContentError> {
        if iv.len() != IV_BYTES {
            return Err(ContentError::IvLength);
        }
        let engine = match key.algorithm {
            ContentAlgorithm::A128Ctr => Ctr128BE::new_from_slices(key.expose(), iv).map(Engine::A128),
            ContentAlgorithm::A256Ctr => Ctr128BE::new_from_slices(key.expose(), iv).map(Engine::A256),
        };
        engine.map(Self).map_err(|_| ContentError::KeyLength)
    }

    /// Encrypts or decrypts `bytes`, which stand at `offset` in the content.
    ///
    /// # Errors
    ///
    /// [`ContentError::Offset`] past what the counter reaches; the bytes are then as before.
    pub fn apply_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), ContentError> {
        let done = match &mut self.0 {
            Engine::A128(engine) => engine.try_seek(offset).and_then(|()| engine.try_apply_keystream(bytes)),
            Engine::A256(engine) => engine.try_seek(offset).and_then(|()| engine.try_apply_keystream(bytes)),
        };
        done.map_err(|_| ContentError::Offset)
    }
}

impl core::fmt::Debug for ContentCipher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ContentCipher([redacted])")
    }
}

/// Bytes of the initialisation vector: the first counter block.
pub const IV_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // NIST SP 800-38A, F.5.1 and F.5.5: CTR-AES128 and CTR-AES256, first two blocks.
    #[test]
    fn published_examples_are_encrypted_as_published() {
        let iv = hex::decode("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").unwrap();
        let plain = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";
        let short = "2b7e151628aed2a6abf7158809cf4f3c";
        let long = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
        for (algorithm, key, cipher) in [
            (
                ContentAlgorithm::A128Ctr,
                short,
                "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff",
            ),
            (
                ContentAlgorithm::A256Ctr,
                long,
                "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
            ),
        ] {
            let key = ContentKey::new(algorithm, &hex::decode(key).unwrap()).unwrap();
            let mut bytes = hex::decode(plain).unwrap();
            ContentCipher::new(&key, &iv).unwrap().apply_at(0, &mut bytes).unwrap();
            assert_eq!(hex::encode(bytes), cipher);
        }
    }

    #[test]
    fn key_or_vector_of_another_length_is_refused() {
        assert_eq!(ContentKey::new(ContentAlgorithm::A256Ctr, &[0; 16]), Err(ContentError::KeyLength));
        let key = ContentKey::new(ContentAlgorithm::A128Ctr, &[0; 16]).unwrap();
        assert!(matches!(ContentCipher::new(&key, &[0; 12]), Err(ContentError::IvLength)));
    }

    #[test]
    fn galois_mode_is_named_as_not_supported() {
        assert_eq!(ContentAlgorithm::try_from(1), Err(ContentError::Algorithm(1)));
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_give_the_whole(
            plain in proptest::collection::vec(any::<u8>(), 1..400), cut: prop::sample::Index, iv: [u8; 16],
        ) {
            let key = ContentKey::new(ContentAlgorithm::A256Ctr, &[9; 32]).unwrap();
            let mut cipher = ContentCipher::new(&key, &iv).unwrap();
            let mut whole = plain.clone();
            cipher.apply_at(0, &mut whole).unwrap();
            let at = cut.index(plain.len());
            let (left, right) = whole.split_at_mut(at);
            cipher.apply_at(at as u64, right).unwrap();
            cipher.apply_at(0, left).unwrap();
            prop_assert_eq!(whole, plain);
        }
    }
}
