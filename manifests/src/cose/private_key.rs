//! P-256 private keys of authors, distributors and root holders. Files are PKCS#8 PEM, as openssl writes them.

use super::key::PublicKey;
use alloc::string::String;
use core::fmt;
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use thiserror::Error;
use zeroize::Zeroizing;

/// Private key that signs. It does not print itself, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct PrivateKey {
    signing: SigningKey,
}

/// Why a key cannot be made, read or written.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum PrivateKeyError {
    /// The 32 bytes are zero or not below the order of the curve: draw again.
    #[error("the bytes are no scalar of P-256: draw again")]
    NotScalar,
    /// Not PKCS#8 (private) or `SubjectPublicKeyInfo` (public) PEM with a P-256 key.
    #[error("not a PEM file with a P-256 key")]
    NotPem,
}

impl PrivateKey {
    /// Makes the key whose scalar is `random`, 32 bytes big-endian from a cryptographic source.
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError::NotScalar`]; fewer than one draw in 2^32 ends so.
    pub fn from_random(random: &[u8; 32]) -> Result<Self, PrivateKeyError> {
        let signing = SigningKey::from_slice(random).map_err(|_| PrivateKeyError::NotScalar)?;
        Ok(Self { signing })
    }

    /// Reads a PKCS#8 PEM file (`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`).
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError::NotPem`].
    pub fn from_pem(pem: &str) -> Result<Self, PrivateKeyError> {
        let signing = SigningKey::from_pkcs8_pem(pem).map_err(|_| PrivateKeyError::NotPem)?;
        Ok(Self { signing })
    }

    /// Writes the key as PKCS#8 PEM; the text is wiped when it is dropped.
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError::NotPem`] if the encoder fails, which no valid key makes it do.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, PrivateKeyError> {
        self.signing.to_pkcs8_pem(LineEnding::LF).map_err(|_| PrivateKeyError::NotPem)
    }

    /// Gives the scalar, 32 bytes big-endian; for sealing, and for a device that keeps it in its own way.
    #[must_use]
    pub fn to_scalar(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_bytes().into())
    }

    /// Gives the public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::from_verifying(self.signing.verifying_key())
    }

    /// Signs a SHA-256 digest: r ‖ s, 64 bytes, deterministic (RFC 6979).
    #[expect(clippy::expect_used, reason = "a prehash as long as the field is never refused")]
    pub(crate) fn sign_digest(&self, digest: &[u8; 32]) -> [u8; 64] {
        let signature: p256::ecdsa::Signature = self.signing.sign_prehash(digest).expect("32 bytes");
        signature.to_bytes().into()
    }
}

impl PublicKey {
    fn from_verifying(key: &p256::ecdsa::VerifyingKey) -> Self {
        let point = key.to_sec1_point(false);
        let (mut x, mut y) = ([0; 32], [0; 32]);
        x.copy_from_slice(&point.as_bytes()[1..33]);
        y.copy_from_slice(&point.as_bytes()[33..65]);
        Self::from_coordinates(x, y)
    }

    /// Reads a `SubjectPublicKeyInfo` PEM file (`openssl pkey -pubout`).
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError::NotPem`].
    pub fn from_pem(pem: &str) -> Result<Self, PrivateKeyError> {
        let key = p256::ecdsa::VerifyingKey::from_public_key_pem(pem).map_err(|_| PrivateKeyError::NotPem)?;
        Ok(Self::from_verifying(&key))
    }

    /// Writes the key as `SubjectPublicKeyInfo` PEM.
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError::NotPem`] if the coordinates are off the curve.
    pub fn to_pem(&self) -> Result<String, PrivateKeyError> {
        p256::ecdsa::VerifyingKey::from_sec1_bytes(&self.to_sec1())
            .ok()
            .and_then(|key| key.to_public_key_pem(LineEnding::LF).ok())
            .ok_or(PrivateKeyError::NotPem)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("kid", &self.public().kid()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn key_file_is_read_back() {
        let key = PrivateKey::from_random(&[7; 32]).unwrap();
        let read = PrivateKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(read.public(), key.public());
        assert_eq!(PublicKey::from_pem(&key.public().to_pem().unwrap()), Ok(key.public()));
    }

    #[test]
    fn zero_is_no_key() {
        assert_eq!(PrivateKey::from_random(&[0; 32]).unwrap_err(), PrivateKeyError::NotScalar);
    }

    #[test]
    fn debug_output_hides_the_scalar() {
        let key = PrivateKey::from_random(&[7; 32]).unwrap();
        assert!(!format!("{key:?}").contains("7, 7, 7"));
    }
}
