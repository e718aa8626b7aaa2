//! Shares for the next seed: one P-256 key of each side, of which only the public halves travel.
//!
//! With both, the next seed hangs on a secret that even who knows this seed has not: a programmer who saw it, a
//! record that was read out. Source: the update protocol, "Re-seeding"; SEC 1 §3.3.1 for the agreement.

use bellwether_manifests::cose::PublicKey;
use bellwether_manifests::message::Place;
use hkdf::Hkdf;
use p256::elliptic_curve::sec1::ToSec1Point;
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::derive::{DeriveError, Info};
use crate::secret::Secret;

/// Private half of a share: a scalar of P-256, kept for as long as the grant that names its public half is open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrivateShare(Secret<SHARE_BYTES>);

/// Public half of a share: a point that is known to lie on P-256.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicShare {
    point: p256::PublicKey,
    encoded: [u8; PublicKey::ENCODED_BYTES],
}

/// What both sides compute from their own private and the other's public share: 32 bytes, an x coordinate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedSecret(Secret<SHARE_BYTES>);

/// Why bytes are not a share.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ShareError {
    /// The 32 bytes are zero or not below the order of the curve: draw again. Fewer than one draw in 2^32 ends so.
    #[error("the bytes are no scalar of P-256: draw again")]
    NotScalar,
    /// Not the encoded `COSE_Key` of a point of P-256. Refuse the message that it came in.
    #[error("not the COSE_Key of a point of P-256")]
    NotPoint,
    /// The name of the identity is out of its bounds.
    #[error(transparent)]
    Derive(#[from] DeriveError),
}

impl PrivateShare {
    /// Takes 32 random bytes, or the scalar that [`Self::expose`] gave.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotScalar`].
    pub fn from_random(random: [u8; SHARE_BYTES]) -> Result<Self, ShareError> {
        let share = Self(Secret::new(random));
        share.key().map(|_| share)
    }

    /// Derives the server's share for the seed of `epoch` of the identity `id` from a secret of the vault.
    ///
    /// The same secret, identity and epoch give the same share, so that nothing has to be kept while a grant is out.
    ///
    /// # Errors
    ///
    /// [`ShareError::Derive`] for a name out of bounds.
    pub fn derive(secret: &[u8; 32], id: &str, epoch: u16) -> Result<Self, ShareError> {
        let hkdf = Hkdf::<Sha256>::from_prk(secret).map_err(|_| DeriveError::Length)?;
        // A candidate that is no scalar is passed over, as RFC 6979 §3.2 does; one in 2^32 is.
        for attempt in 0..DRAWS_MAX {
            let info = Info::new("share", 0, &Place { id, epoch, index: attempt })?;
            let mut candidate = Secret::new([0; SHARE_BYTES]);
            hkdf.expand(info.as_bytes(), candidate.expose_mut()).map_err(|_| DeriveError::Length)?;
            let share = Self(candidate);
            if share.key().is_ok() {
                return Ok(share);
            }
        }
        Err(ShareError::NotScalar)
    }

    /// Shows the scalar to what stores it: the record of a device.
    #[must_use]
    pub const fn expose(&self) -> &[u8; SHARE_BYTES] {
        self.0.expose()
    }

    /// Computes the public half.
    ///
    /// # Errors
    ///
    /// None for a share that was made; [`ShareError::NotScalar`] if its memory was altered.
    pub fn public(&self) -> Result<PublicShare, ShareError> {
        Ok(PublicShare::new(self.key()?.public_key()))
    }

    /// Gives the key that the library works with; it is wiped when it is dropped.
    fn key(&self) -> Result<p256::SecretKey, ShareError> {
        p256::SecretKey::from_slice(self.expose()).map_err(|_| ShareError::NotScalar)
    }
}

impl PublicShare {
    /// Reads the encoded `COSE_Key` of a share.
    ///
    /// # Errors
    ///
    /// [`ShareError::NotPoint`] for another form, another curve, or coordinates off the curve.
    pub fn parse(cose_key: &[u8]) -> Result<Self, ShareError> {
        let key = PublicKey::parse(cose_key).map_err(|_| ShareError::NotPoint)?;
        let point = key.point().ok_or(ShareError::NotPoint)?;
        let point = p256::PublicKey::from_affine(point).map_err(|_| ShareError::NotPoint)?;
        Ok(Self { point, encoded: key.encode() })
    }

    /// Shows the encoded `COSE_Key`, as it stands in option 6 of a request and option 3 of a grant.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PublicKey::ENCODED_BYTES] {
        &self.encoded
    }

    fn new(point: p256::PublicKey) -> Self {
        let sec1 = point.to_sec1_point(false);
        let (mut x, mut y) = ([0; 32], [0; 32]);
        if let (Some(from_x), Some(from_y)) = (sec1.x(), sec1.y()) {
            x.copy_from_slice(from_x);
            y.copy_from_slice(from_y);
        }
        Self { point, encoded: PublicKey::from_coordinates(x, y).encode() }
    }
}

impl SharedSecret {
    /// Shows the x coordinate to the derivation of the next seed.
    #[must_use]
    pub const fn expose(&self) -> &[u8; SHARE_BYTES] {
        self.0.expose()
    }
}

/// Computes what both sides share: the x coordinate of `ours` times `theirs`.
///
/// # Errors
///
/// None for a share that was made; [`ShareError::NotScalar`] if its memory was altered.
pub fn agree(ours: &PrivateShare, theirs: &PublicShare) -> Result<SharedSecret, ShareError> {
    let scalar = Zeroizing::new(ours.key()?.to_nonzero_scalar());
    let shared = p256::ecdh::diffie_hellman(&*scalar, theirs.point.as_affine());
    let mut secret = Secret::new([0; SHARE_BYTES]);
    secret.expose_mut().copy_from_slice(shared.raw_secret_bytes());
    Ok(SharedSecret(secret))
}

/// Bytes of a scalar and of a coordinate of P-256.
pub const SHARE_BYTES: usize = 32;

/// Candidates for a derived share; that eight in a row are none happens once in 2^256.
const DRAWS_MAX: u16 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;

    #[test]
    fn zero_and_the_order_of_the_curve_are_no_share() {
        let order = [
            0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
            0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
        ];
        for bytes in [[0; 32], order, [0xff; 32]] {
            assert_eq!(PrivateShare::from_random(bytes), Err(ShareError::NotScalar));
        }
    }

    #[test]
    fn share_and_what_is_agreed_do_not_print() {
        let share = PrivateShare::from_random([0xab; 32]).unwrap();
        let shared = agree(&share, &share.public().unwrap()).unwrap();
        assert_eq!(format!("{share:?} {shared:?}"), "PrivateShare([redacted]) SharedSecret([redacted])");
    }

    #[test]
    fn derived_share_is_another_for_each_secret_identity_and_epoch() {
        let share = |secret, id, epoch| PrivateShare::derive(&[secret; 32], id, epoch).unwrap();
        assert_eq!(share(1, "lamp-1", 1), share(1, "lamp-1", 1));
        for other in [share(2, "lamp-1", 1), share(1, "lamp-2", 1), share(1, "lamp-1", 2)] {
            assert_ne!(share(1, "lamp-1", 1), other);
        }
    }

    #[test]
    fn point_off_the_curve_is_no_share() {
        let off = PublicKey::from_coordinates([1; 32], [1; 32]).encode();
        assert_eq!(PublicShare::parse(&off), Err(ShareError::NotPoint));
    }

    proptest! {
        #[test]
        fn both_sides_agree(ours: [u8; 32], theirs: [u8; 32]) {
            let shares = (PrivateShare::from_random(ours), PrivateShare::from_random(theirs));
            let (Ok(ours), Ok(theirs)) = shares else { return Ok(()) };
            let (at_us, at_them) = (ours.public().unwrap(), theirs.public().unwrap());
            prop_assert_eq!(PublicShare::parse(at_us.as_bytes()), Ok(at_us));
            prop_assert_eq!(agree(&ours, &at_them), agree(&theirs, &at_us));
        }

        #[test]
        fn any_bytes_are_a_share_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(share) = PublicShare::parse(&bytes) {
                prop_assert_eq!(&share.as_bytes()[..], &bytes[..]);
            }
        }
    }
}
