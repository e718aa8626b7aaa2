//! P-256 public keys as `COSE_Key`, their ids, and the check of a signature.

use core::fmt;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::elliptic_curve::point::AffineCoordinates;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// First 8 bytes of SHA-256 of the encoded public `COSE_Key`.
pub type KeyId = [u8; 8];

/// Signature algorithm that a COSE header names. Both are ECDSA on P-256 with SHA-256.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Algorithm {
    /// ESP256, -9: what Bellwether writes. Source: RFC 9864 §2.1.
    Esp256,
    /// ES256, -7: accepted in SUIT envelopes of other authors. Source: RFC 9053 §2.1.
    Es256,
}

impl Algorithm {
    /// Gives the number of the algorithm in the IANA COSE registry.
    #[must_use]
    pub const fn label(self) -> i64 {
        match self {
            Self::Esp256 => -9,
            Self::Es256 => -7,
        }
    }

    /// Reads a number of the IANA COSE registry; `None` for one that is not checked here.
    #[must_use]
    pub const fn from_label(label: i64) -> Option<Self> {
        match label {
            -9 => Some(Self::Esp256),
            -7 => Some(Self::Es256),
            _ => None,
        }
    }
}

/// Why bytes are not a public key.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum KeyError {
    /// Not `{1: 2, -1: 1, -2: bstr .size 32, -3: bstr .size 32}` in deterministic CBOR.
    #[error("not a P-256 COSE_Key with x and y")]
    NotP256,
    /// The coordinates are not a point of the curve.
    #[error("the coordinates are not a point of P-256")]
    OffCurve,
}

/// Public key on P-256, as coordinates.
///
/// Reading checks the form, not the curve: the check of a signature does that, since a device may have its own
/// engine for it ([`SignatureVerifier`]). [`PublicKey::check_point`] asks at once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PublicKey {
    x: [u8; 32],
    y: [u8; 32],
}

// Everything but the coordinates is fixed: {1: 2, -1: 1, -2: x, -3: y}.
const HEAD: [u8; 8] = [0xa4, 0x01, 0x02, 0x20, 0x01, 0x21, 0x58, 0x20];
const MIDDLE: [u8; 3] = [0x22, 0x58, 0x20];
const X: usize = HEAD.len();
const Y: usize = X + 32 + MIDDLE.len();

impl PublicKey {
    /// Bytes of an encoded public `COSE_Key`.
    pub const ENCODED_BYTES: usize = Y + 32;

    /// Takes big-endian coordinates as they are.
    #[must_use]
    pub const fn from_coordinates(x: [u8; 32], y: [u8; 32]) -> Self {
        Self { x, y }
    }

    /// Reads an encoded `COSE_Key` of exactly [`Self::ENCODED_BYTES`].
    ///
    /// # Errors
    ///
    /// [`KeyError::NotP256`] for anything but the four public parameters of a P-256 key in deterministic order.
    ///
    /// Source: RFC 9053 §7.1.1.
    pub fn parse(cose_key: &[u8]) -> Result<Self, KeyError> {
        let key: &[u8; Self::ENCODED_BYTES] = cose_key.try_into().map_err(|_| KeyError::NotP256)?;
        if key[..X] != HEAD || key[X + 32..Y] != MIDDLE {
            return Err(KeyError::NotP256);
        }
        let (mut x, mut y) = ([0; 32], [0; 32]);
        x.copy_from_slice(&key[X..X + 32]);
        y.copy_from_slice(&key[Y..]);
        Ok(Self { x, y })
    }

    /// Writes the public `COSE_Key`.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::ENCODED_BYTES] {
        let mut key = [0; Self::ENCODED_BYTES];
        key[..X].copy_from_slice(&HEAD);
        key[X..X + 32].copy_from_slice(&self.x);
        key[X + 32..Y].copy_from_slice(&MIDDLE);
        key[Y..].copy_from_slice(&self.y);
        key
    }

    /// Computes the key id: first 8 bytes of SHA-256 of [`Self::encode`].
    #[must_use]
    pub fn kid(&self) -> KeyId {
        let mut kid = [0; 8];
        kid.copy_from_slice(&Sha256::digest(self.encode())[..8]);
        kid
    }

    /// Writes the point in SEC1 uncompressed form, `04 ‖ x ‖ y`.
    #[must_use]
    pub fn to_sec1(&self) -> [u8; 65] {
        let mut point = [4; 65];
        point[1..33].copy_from_slice(&self.x);
        point[33..].copy_from_slice(&self.y);
        point
    }

    /// Checks that the coordinates are a point of the curve.
    ///
    /// # Errors
    ///
    /// [`KeyError::OffCurve`].
    pub fn check_point(&self) -> Result<(), KeyError> {
        self.point().map(|_| ()).ok_or(KeyError::OffCurve)
    }

    /// Gives the point of the curve that the coordinates are; `None` where they are none.
    // Not by way of SEC1: its reader can take square roots, for 3 KiB of flash and 2 KiB of stack.
    #[must_use]
    pub fn point(&self) -> Option<p256::AffinePoint> {
        p256::AffinePoint::from_coordinates(&self.x.into(), &self.y.into()).into_option()
    }
}

/// Checks ECDSA signatures on P-256. A device with an engine of its own implements it; [`P256`] is the default.
pub trait SignatureVerifier: fmt::Debug {
    /// Checks `signature` (r ‖ s, big-endian) by `key` over a SHA-256 `digest`; `false` also for a key off the curve.
    fn verify(&self, key: &PublicKey, digest: &[u8; 32], signature: &[u8; 64]) -> bool;
}

impl<T: SignatureVerifier + ?Sized> SignatureVerifier for &T {
    fn verify(&self, key: &PublicKey, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        T::verify(self, key, digest, signature)
    }
}

/// The check in software.
#[derive(Clone, Copy, Debug, Default)]
pub struct P256;

impl SignatureVerifier for P256 {
    fn verify(&self, key: &PublicKey, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        let Some(Ok(key)) = key.point().map(p256::ecdsa::VerifyingKey::from_affine) else {
            return false;
        };
        p256::ecdsa::Signature::from_slice(signature)
            .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn point_off_the_curve_verifies_nothing() {
        let key = PublicKey::from_coordinates([1; 32], [1; 32]);
        assert_eq!(key.check_point(), Err(KeyError::OffCurve));
        assert!(!P256.verify(&key, &[0; 32], &[1; 64]));
    }

    #[test]
    fn coordinates_are_a_point_exactly_where_sec1_says_so() {
        // The base point of P-256. Source: SP 800-186 §3.2.1.3.
        let x = hex::decode("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296").unwrap();
        let y = hex::decode("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5").unwrap();
        let (x, y): ([u8; 32], [u8; 32]) = (x.try_into().unwrap(), y.try_into().unwrap());
        let altered = |mut bytes: [u8; 32], at: usize, bit: u8| {
            bytes[at] ^= bit;
            bytes
        };
        for (x, y) in [(x, y), (x, altered(y, 31, 1)), (altered(x, 0, 0x80), y), (y, x), ([0; 32], [0; 32])]
            .into_iter()
            .chain([([0xff; 32], y), (x, [0xff; 32])])
        {
            let key = PublicKey::from_coordinates(x, y);
            let sec1 = p256::PublicKey::from_sec1_bytes(&key.to_sec1()).ok();
            assert_eq!(key.point(), sec1.map(|key| *key.as_affine()));
        }
    }

    #[test]
    fn key_with_another_order_of_parameters_is_refused() {
        let mut bytes = PublicKey::from_coordinates([1; 32], [2; 32]).encode();
        bytes[1..3].copy_from_slice(&[0x20, 0x01]);
        bytes[3..5].copy_from_slice(&[0x01, 0x02]);
        assert_eq!(PublicKey::parse(&bytes), Err(KeyError::NotP256));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(key) = PublicKey::parse(&bytes) {
                prop_assert_eq!(&key.encode()[..], &bytes[..]);
            }
        }

        #[test]
        fn written_key_is_read_back(x: [u8; 32], y: [u8; 32]) {
            let key = PublicKey::from_coordinates(x, y);
            prop_assert_eq!(PublicKey::parse(&key.encode()), Ok(key));
        }
    }
}
