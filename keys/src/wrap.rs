//! Content keys, wrapped for one device by AES key wrap (RFC 3394).

use aes::{Aes128, Aes256};
use aes_kw::{AesKw, KeyInit};
use bellwether_manifests::message::Wrapped;
use bellwether_manifests::message::algorithm::{A128KW, A256KW};
use bellwether_manifests::message::grant::WRAPPED_BYTES_MAX;
use thiserror::Error;

use crate::content::{ContentAlgorithm, ContentKey};
use crate::derive::WrapKey;
use crate::secret::Secret;

/// Algorithm of a key wrap under a key that both sides derive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WrapAlgorithm {
    /// AES-128 key wrap.
    A128Kw,
    /// AES-256 key wrap.
    A256Kw,
}

/// A wrapped content key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WrappedKey {
    algorithm: WrapAlgorithm,
    bytes: [u8; WRAPPED_BYTES_MAX],
    length: usize,
}

/// Why a key was not wrapped or unwrapped.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum WrapError {
    /// The wrap algorithm is not one of those here.
    #[error("wrap algorithm {0} is not supported")]
    Algorithm(i64),
    /// The wrap is for a key of the other algorithm, or carries an ephemeral key.
    #[error("wrap is not for this kind of key")]
    OtherKey,
    /// The wrapped key is not as long as its content algorithm needs.
    #[error("wrapped key has the wrong length")]
    Length,
    /// The wrap was altered or made under another key.
    #[error("wrapped key does not verify")]
    Integrity,
}

impl WrapAlgorithm {
    /// Number of the algorithm in messages.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::A128Kw => A128KW,
            Self::A256Kw => A256KW,
        }
    }
}

impl TryFrom<i64> for WrapAlgorithm {
    type Error = WrapError;

    fn try_from(number: i64) -> Result<Self, WrapError> {
        match number {
            A128KW => Ok(Self::A128Kw),
            A256KW => Ok(Self::A256Kw),
            other => Err(WrapError::Algorithm(other)),
        }
    }
}

impl WrappedKey {
    /// The wrapped key as it stands in a grant.
    #[must_use]
    pub fn get(&self) -> Wrapped<'_> {
        let wrapped = self.bytes.get(..self.length).unwrap_or_default();
        Wrapped { algorithm: self.algorithm.number(), ephemeral: None, wrapped }
    }
}

impl WrapKey {
    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> WrapAlgorithm {
        match self {
            Self::A128Kw(_) => WrapAlgorithm::A128Kw,
            Self::A256Kw(_) => WrapAlgorithm::A256Kw,
        }
    }
}

/// Wraps a content key.
///
/// # Errors
///
/// [`WrapError::Length`] if the cipher refuses the length, which no content key has.
pub fn wrap(key: &WrapKey, content: &ContentKey) -> Result<WrappedKey, WrapError> {
    let mut bytes = [0; WRAPPED_BYTES_MAX];
    let plain = content.expose();
    let wrapped = match key {
        WrapKey::A128Kw(key) => AesKw::<Aes128>::new(key.expose().into()).wrap_key(plain, &mut bytes),
        WrapKey::A256Kw(key) => AesKw::<Aes256>::new(key.expose().into()).wrap_key(plain, &mut bytes),
    };
    let length = wrapped.map_err(|_| WrapError::Length)?.len();
    Ok(WrappedKey { algorithm: key.algorithm(), bytes, length })
}

/// Unwraps a content key for `algorithm`.
///
/// # Errors
///
/// [`WrapError`]; of another device's wrap [`WrapError::Integrity`].
pub fn unwrap(
    key: &WrapKey,
    wrapped: &Wrapped<'_>,
    algorithm: ContentAlgorithm,
) -> Result<ContentKey, WrapError> {
    if WrapAlgorithm::try_from(wrapped.algorithm)? != key.algorithm() || wrapped.ephemeral.is_some() {
        return Err(WrapError::OtherKey);
    }
    if wrapped.wrapped.len() != algorithm.key_bytes() + 8 {
        return Err(WrapError::Length);
    }
    let mut plain = Secret::new([0; 32]);
    let buffer = plain.expose_mut();
    let unwrapped = match key {
        WrapKey::A128Kw(key) => AesKw::<Aes128>::new(key.expose().into()).unwrap_key(wrapped.wrapped, buffer),
        WrapKey::A256Kw(key) => AesKw::<Aes256>::new(key.expose().into()).unwrap_key(wrapped.wrapped, buffer),
    };
    let unwrapped = unwrapped.map_err(|_| WrapError::Integrity)?;
    ContentKey::new(algorithm, unwrapped).map_err(|_| WrapError::Length)
}
