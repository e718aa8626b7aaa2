//! Keys for one purpose at one place.
//!
//! `key = HKDF-Expand(SHA-256, link, info)`, `info = ["bw1", purpose, algorithm, id, epoch, index]` encoded.
//!
//! Source: RFC 5869 §2.3 for the expansion.

use core::fmt;

use bellwether_manifests::cbor;
use bellwether_manifests::message::algorithm::{A128GCM, A128KW, A256KW, HMAC_256};
use bellwether_manifests::message::place::NAME_BYTES_MAX;
use bellwether_manifests::message::{MessageError, Part, Place};
use hkdf::Hkdf;
use minicbor::encode::{Encode, Encoder, Error as EncoderError, Write};
use sha2::Sha256;
use thiserror::Error;

use crate::chain::Link;
use crate::secret::Secret;
use crate::wrap::WrapAlgorithm;

/// Place that a key carries with it, so that it opens and seals messages of no other place.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct KeyPlace {
    id: [u8; NAME_BYTES_MAX],
    id_bytes: u8,
    epoch: u16,
    index: u16,
}

/// Key for what a device sends: requests and reports.
#[derive(Clone, Debug)]
pub struct UpKey(pub(crate) PlacedKey<32>);

/// Key for what a device gets: grants, verdicts and receipts.
#[derive(Clone, Debug)]
pub struct DownKey(pub(crate) PlacedKey<32>);

/// Key that wraps content keys.
#[derive(Clone, Debug)]
pub enum WrapKey {
    /// For AES-128 key wrap.
    A128Kw(PlacedKey<16>),
    /// For AES-256 key wrap.
    A256Kw(PlacedKey<32>),
}

/// Key for manifests that are encrypted for one device.
#[derive(Clone, Debug)]
pub struct EnvelopeKey(PlacedKey<16>);

/// Key for a MAC beside the author's signature of a manifest.
#[derive(Clone, Debug)]
pub struct ManifestKey(PlacedKey<32>);

/// Secret that belongs to a place.
#[derive(Clone, Debug)]
pub struct PlacedKey<const N: usize> {
    secret: Secret<N>,
    place: KeyPlace,
}

/// Why a key was not derived.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DeriveError {
    /// The link is not the one at the index of the place: walk the chain first.
    #[error("link at {link} gives no key for index {wanted}")]
    OtherIndex {
        /// Index of the link.
        link: u16,
        /// Index of the place.
        wanted: u16,
    },
    /// The name of the identity is empty or too long.
    #[error("name of the identity is out of its bounds")]
    Name,
    /// There is no epoch after 65535.
    #[error("there is no epoch after 65535")]
    Epochs,
    /// The derivation cannot give so many bytes.
    #[error("key length is out of range")]
    Length,
}

/// Derives the key for requests and reports at `place`.
///
/// # Errors
///
/// [`DeriveError`] if the link has another index or the name is out of bounds.
pub fn up(link: &Link, place: &Place<'_>) -> Result<UpKey, DeriveError> {
    expand(link, place, "up", HMAC_256).map(UpKey)
}

/// Derives the key for grants, verdicts and receipts at `place`.
///
/// # Errors
///
/// [`DeriveError`] if the link has another index or the name is out of bounds.
pub fn down(link: &Link, place: &Place<'_>) -> Result<DownKey, DeriveError> {
    expand(link, place, "down", HMAC_256).map(DownKey)
}

/// Derives the key that wraps content keys at `place`.
///
/// # Errors
///
/// [`DeriveError`] if the link has another index or the name is out of bounds.
pub fn wrap(link: &Link, place: &Place<'_>, algorithm: WrapAlgorithm) -> Result<WrapKey, DeriveError> {
    match algorithm {
        WrapAlgorithm::A128Kw => expand(link, place, "wrap", A128KW).map(WrapKey::A128Kw),
        WrapAlgorithm::A256Kw => expand(link, place, "wrap", A256KW).map(WrapKey::A256Kw),
    }
}

/// Derives the key for manifests that are encrypted for one device at `place`.
///
/// # Errors
///
/// [`DeriveError`] if the link has another index or the name is out of bounds.
pub fn envelope(link: &Link, place: &Place<'_>) -> Result<EnvelopeKey, DeriveError> {
    expand(link, place, "envelope", A128GCM).map(EnvelopeKey)
}

/// Derives the key for the MAC of a manifest at `place`.
///
/// # Errors
///
/// [`DeriveError`] if the link has another index or the name is out of bounds.
pub fn manifest(link: &Link, place: &Place<'_>) -> Result<ManifestKey, DeriveError> {
    expand(link, place, "manifest", HMAC_256).map(ManifestKey)
}

fn expand<const N: usize>(
    link: &Link,
    place: &Place<'_>,
    purpose: &str,
    algorithm: i64,
) -> Result<PlacedKey<N>, DeriveError> {
    if link.index() != place.index {
        return Err(DeriveError::OtherIndex { link: link.index(), wanted: place.index });
    }
    let info = Info::new(purpose, algorithm, place)?;
    let mut secret = Secret::new([0; N]);
    let hkdf = Hkdf::<Sha256>::from_prk(link.expose()).map_err(|_| DeriveError::Length)?;
    hkdf.expand(info.as_bytes(), secret.expose_mut()).map_err(|_| DeriveError::Length)?;
    PlacedKey::stored(secret, place)
}

impl UpKey {
    /// Takes a key that was stored, because the seed of its epoch is gone.
    ///
    /// # Errors
    ///
    /// [`DeriveError::Name`] if the name is out of bounds.
    pub fn stored(secret: Secret<32>, place: &Place<'_>) -> Result<Self, DeriveError> {
        PlacedKey::stored(secret, place).map(Self)
    }

    /// Shows the bytes to what stores them: the record of a device.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Place of the key.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        self.0.place()
    }
}

impl DownKey {
    /// Takes a key that was stored, because the seed of its epoch is gone.
    ///
    /// # Errors
    ///
    /// [`DeriveError::Name`] if the name is out of bounds.
    pub fn stored(secret: Secret<32>, place: &Place<'_>) -> Result<Self, DeriveError> {
        PlacedKey::stored(secret, place).map(Self)
    }

    /// Shows the bytes to what stores them: the record of a device.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Place of the key.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        self.0.place()
    }
}

impl WrapKey {
    /// Place of the key.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        match self {
            Self::A128Kw(key) => key.place(),
            Self::A256Kw(key) => key.place(),
        }
    }
}

impl EnvelopeKey {
    /// The key, for a cipher.
    #[must_use]
    pub const fn key(&self) -> &PlacedKey<16> {
        &self.0
    }
}

impl ManifestKey {
    /// The key, for a MAC.
    #[must_use]
    pub const fn key(&self) -> &PlacedKey<32> {
        &self.0
    }
}

impl<const N: usize> PlacedKey<N> {
    fn stored(secret: Secret<N>, place: &Place<'_>) -> Result<Self, DeriveError> {
        Ok(Self { secret, place: KeyPlace::try_from(*place).map_err(|_| DeriveError::Name)? })
    }

    /// Shows the bytes to a cipher.
    #[must_use]
    pub const fn expose(&self) -> &[u8; N] {
        self.secret.expose()
    }

    /// Place of the key.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        self.place.get()
    }
}

impl KeyPlace {
    /// The place.
    #[must_use]
    pub fn get(&self) -> Place<'_> {
        let id = self.id.get(..self.id_bytes.into()).unwrap_or_default();
        Place { id: core::str::from_utf8(id).unwrap_or_default(), epoch: self.epoch, index: self.index }
    }
}

impl TryFrom<Place<'_>> for KeyPlace {
    type Error = MessageError;

    fn try_from(place: Place<'_>) -> Result<Self, MessageError> {
        place.check()?;
        let mut id = [0; NAME_BYTES_MAX];
        let room = id.get_mut(..place.id.len()).ok_or(MessageError::Bound(Part::Name))?;
        room.copy_from_slice(place.id.as_bytes());
        let id_bytes = u8::try_from(place.id.len()).map_err(|_| MessageError::Bound(Part::Name))?;
        Ok(Self { id, id_bytes, epoch: place.epoch, index: place.index })
    }
}

impl fmt::Debug for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// What a derivation is bound to, encoded.
pub(crate) struct Info {
    bytes: [u8; INFO_BYTES_MAX],
    length: usize,
}

impl Info {
    pub(crate) fn new(purpose: &str, algorithm: i64, place: &Place<'_>) -> Result<Self, DeriveError> {
        place.check().map_err(|_| DeriveError::Name)?;
        let mut bytes = [0; INFO_BYTES_MAX];
        let fields = InfoFields { purpose, algorithm, place };
        let length = cbor::write_into(&fields, &mut bytes).map_err(|_| DeriveError::Name)?;
        Ok(Self { bytes, length })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

struct InfoFields<'a> {
    purpose: &'a str,
    algorithm: i64,
    place: &'a Place<'a>,
}

impl<C> Encode<C> for InfoFields<'_> {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), EncoderError<W::Error>> {
        encoder.array(6)?.str("bw1")?.str(self.purpose)?.i64(self.algorithm)?;
        encoder.str(self.place.id)?.u16(self.place.epoch)?.u16(self.place.index)?.ok()
    }
}

/// Bytes of the encoded info: array 1, "bw1" 4, purpose 9, algorithm 5, name 66, epoch and index 6.
const INFO_BYTES_MAX: usize = 91;
