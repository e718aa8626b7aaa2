//! Secrets at rest: AES-256-GCM under the master key of the vault.
//!
//! `sealed = version ‖ nonce ‖ ciphertext ‖ tag`. What a secret is and whose it is are authenticated with it, so a
//! record that is moved to another identity or tenant does not open.

use alloc::vec::Vec;
use core::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use minicbor::encode::{Encode, Encoder, Error as EncoderError, Write};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// Key under which the vault seals everything. If it is lost, every seed is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MasterKey(Secret<32>);

/// What is sealed and whose it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Label<'a> {
    /// Tenant.
    pub tenant: &'a str,
    /// Kind of secret, such as "seed" or "content key".
    pub kind: &'a str,
    /// Whose or which secret of this kind, unique in its tenant.
    pub id: &'a str,
}

/// Why a secret was not sealed or opened.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SealingError {
    /// The record is too short, or the secret too long.
    #[error("sealed record has a wrong length")]
    Length,
    /// The record is of another version: a newer program wrote it.
    #[error("sealed record has the unknown version {0}")]
    Version(u8),
    /// Another master key, another label, or an altered record.
    #[error("sealed record does not open under this master key and label")]
    Integrity,
}

impl MasterKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Seals `secret`; `nonce` must be fresh random bytes, never used before under this key.
    ///
    /// Random nonces of 96 bits allow 2^32 records under one key (NIST SP 800-38D §8.3).
    ///
    /// # Errors
    ///
    /// [`SealingError::Length`] if the secret is longer than the cipher takes.
    pub fn seal(
        &self,
        label: &Label<'_>,
        nonce: &[u8; NONCE_BYTES],
        secret: &[u8],
    ) -> Result<Vec<u8>, SealingError> {
        let payload = Payload { msg: secret, aad: &label.encode()? };
        let sealed = self.cipher().encrypt(nonce.into(), payload).map_err(|_| SealingError::Length)?;
        let mut record = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        record.push(VERSION);
        record.extend_from_slice(nonce);
        record.extend_from_slice(&sealed);
        Ok(record)
    }

    /// Opens what was sealed under the same label.
    ///
    /// # Errors
    ///
    /// [`SealingError`].
    pub fn open(&self, label: &Label<'_>, record: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let (version, rest) = record.split_first().ok_or(SealingError::Length)?;
        if *version != VERSION {
            return Err(SealingError::Version(*version));
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealingError::Length)?;
        let payload = Payload { msg: sealed, aad: &label.encode()? };
        self.cipher().decrypt(nonce.into(), payload).map(Zeroizing::new).map_err(|_| SealingError::Integrity)
    }

    /// Derives a secret of its own for this label, which is not stored anywhere.
    ///
    /// # Errors
    ///
    /// [`SealingError::Length`], which no label ends in.
    pub fn derive(&self, label: &Label<'_>) -> Result<Secret<32>, SealingError> {
        // The label stands in the salt: the cipher above never hashes, so the two uses of the key stay apart.
        let hkdf = Hkdf::<Sha256>::new(Some(&label.encode()?), self.0.expose());
        let mut secret = Secret::new([0; 32]);
        hkdf.expand(b"bw1 derived", secret.expose_mut()).map_err(|_| SealingError::Length)?;
        Ok(secret)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(self.0.expose().into())
    }
}

impl Label<'_> {
    fn encode(&self) -> Result<Vec<u8>, SealingError> {
        bellwether_manifests::cbor::to_vec(self).map_err(|_| SealingError::Length)
    }
}

impl<C> Encode<C> for Label<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), EncoderError<W::Error>> {
        encoder.array(5)?.str("bw1 sealed")?.u8(VERSION)?;
        encoder.str(self.tenant)?.str(self.kind)?.str(self.id)?.ok()
    }
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} ({})", self.kind, self.id, self.tenant)
    }
}

/// Version of the record.
const VERSION: u8 = 1;

/// Bytes of a nonce (NIST SP 800-38D §8.2: 96 bits).
pub const NONCE_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LABEL: Label<'_> = Label { tenant: "default", kind: "seed", id: "meter-1" };

    fn sealed() -> Vec<u8> {
        MasterKey::new([1; 32]).seal(&LABEL, &[2; 12], b"a secret").unwrap()
    }

    #[test]
    fn sealed_secret_opens_under_its_label() {
        let opened = MasterKey::new([1; 32]).open(&LABEL, &sealed()).unwrap();
        assert_eq!(opened.as_slice(), b"a secret");
    }

    #[test]
    fn another_label_or_master_key_does_not_open() {
        let master = MasterKey::new([1; 32]);
        for label in [
            Label { tenant: "other", ..LABEL },
            Label { kind: "link", ..LABEL },
            Label { id: "meter-2", ..LABEL },
            Label { kind: "seedm", id: "eter-1", ..LABEL },
        ] {
            assert_eq!(master.open(&label, &sealed()), Err(SealingError::Integrity), "{label}");
        }
        assert_eq!(MasterKey::new([3; 32]).open(&LABEL, &sealed()), Err(SealingError::Integrity));
    }

    #[test]
    fn derived_secret_is_another_for_each_label_and_master_key() {
        let derived = |key, label: &Label<'_>| MasterKey::new([key; 32]).derive(label).unwrap();
        assert_eq!(derived(1, &LABEL), derived(1, &LABEL));
        for other in [derived(2, &LABEL), derived(1, &Label { id: "meter-2", ..LABEL })] {
            assert_ne!(derived(1, &LABEL), other);
        }
    }

    #[test]
    fn record_of_a_later_version_is_named() {
        let mut record = sealed();
        record[0] = 2;
        assert_eq!(MasterKey::new([1; 32]).open(&LABEL, &record), Err(SealingError::Version(2)));
    }

    proptest! {
        #[test]
        fn altered_record_does_not_open(at: prop::sample::Index, bit in 0u8..8) {
            let mut record = sealed();
            let at = at.index(record.len());
            record[at] ^= 1 << bit;
            prop_assert!(MasterKey::new([1; 32]).open(&LABEL, &record).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(record in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(MasterKey::new([1; 32]).open(&LABEL, &record).is_err());
        }
    }
}
