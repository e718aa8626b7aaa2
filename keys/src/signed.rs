//! Grants that a distributor signs, instead of a MAC: the only ones that may carry shares for the next seed.
//!
//! A signature does not prove that the grant is for the key of its place, so the reader says which place it stands at.
//! What it opens is still wrapped under the key of that place.

use bellwether_manifests::cose::sign1::{CoseError, SignatureError};
use bellwether_manifests::cose::{KeyId, PublicKey, Sign1, SignatureVerifier};
use bellwether_manifests::message::{Grant, MessageError, Place, word};
use thiserror::Error;

/// Why a signed grant was not opened. Drop it; nothing in it may be believed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum OpenSignedError {
    /// It is no signed message of this protocol.
    #[error("message is not a signed message of this protocol")]
    Form(#[from] CoseError),
    /// The signature does not verify: altered, of another kind, or by another key.
    #[error("signature does not verify")]
    Signature(#[from] SignatureError),
    /// The signature is right, but the message is refused.
    #[error("message is refused")]
    Message(#[from] MessageError),
    /// The signature is right, but the grant is for another place.
    #[error("grant is for another place")]
    OtherPlace,
}

/// Tells which key claims to have signed. **Not verified**: only for choosing the key among the distributor's.
///
/// # Errors
///
/// [`CoseError`] if it is no signed message of this protocol.
pub fn signer_of_grant(message: &[u8]) -> Result<KeyId, CoseError> {
    Sign1::parse(message).map(|signed| signed.kid())
}

/// Opens the grant for `place` that the distributor's `key` signed.
///
/// # Errors
///
/// [`OpenSignedError`].
pub fn open_signed_grant<'a>(
    verifier: &impl SignatureVerifier,
    key: &PublicKey,
    place: &Place<'_>,
    message: &'a [u8],
) -> Result<Grant<'a>, OpenSignedError> {
    let payload = Sign1::parse(message)?.verify_with(verifier, &[word::GRANT], key)?;
    let grant = Grant::decode(payload)?;
    if grant.place == *place { Ok(grant) } else { Err(OpenSignedError::OtherPlace) }
}
