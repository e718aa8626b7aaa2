//! Writing and signing an anchors document: the work of root holders.

use super::{ANCHORS_AAD, Anchors, AnchorsError, RoleName};
use crate::cose::{PrivateKey, PublicKey, Sign, add_signers, sign};
use alloc::vec::Vec;
use minicbor::Encoder;
use minicbor::encode::{Error, Write};
use thiserror::Error as ThisError;

/// A document to be signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnchorsDraft {
    /// Number; higher than that of the document it replaces.
    pub edition: u64,
    /// Time of issue, seconds since 1970.
    pub issued: u64,
    /// Vendor id.
    pub vendor: [u8; 16],
    /// Roles, one of them root.
    pub roles: Vec<RoleDraft>,
}

/// A role to be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoleDraft {
    /// Name.
    pub name: RoleName,
    /// Distinct keys that must sign.
    pub threshold: u64,
    /// Keys.
    pub keys: Vec<PublicKey>,
    /// Component prefixes (author roles).
    pub components: Vec<Vec<Vec<u8>>>,
    /// COSE numbers of the algorithms.
    pub algorithms: Vec<i64>,
}

/// Why a document was not signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ThisError)]
pub enum WriteError {
    /// No device would believe it: change the draft, or sign by more root keys.
    #[error("no device would believe the document")]
    NotBelieved(#[from] AnchorsError),
}

impl AnchorsDraft {
    /// Writes the payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        // Writing into a vector does not fail.
        self.write(&mut encoder).map_or_else(|_| Vec::new(), |()| encoder.into_writer())
    }

    /// Signs the document by `keys`: enough of the root role's, and of the replaced document's where there is one.
    ///
    /// # Errors
    ///
    /// [`WriteError::NotBelieved`] if the document does not agree with itself.
    pub fn sign(&self, keys: &[PrivateKey]) -> Result<Vec<u8>, WriteError> {
        let document = sign(&self.encode(), &[ANCHORS_AAD], keys);
        Anchors::initial(&document)?;
        Ok(document)
    }

    /// Signs the document by `keys`, which may be fewer than it needs: the others are added by [`cosign`].
    ///
    /// # Errors
    ///
    /// [`WriteError::NotBelieved`] for a document that no signature could make believed.
    pub fn sign_in_part(&self, keys: &[PrivateKey]) -> Result<Vec<u8>, WriteError> {
        let document = sign(&self.encode(), &[ANCHORS_AAD], keys);
        Anchors::standing(&document, None)?;
        Ok(document)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        encoder.array(6)?.u8(1)?.u64(self.edition)?.u64(self.issued)?.bytes(&self.vendor)?;
        encoder.array(self.roles.len() as u64)?;
        for role in &self.roles {
            role.write(encoder)?;
        }
        encoder.map(0).map(drop)
    }
}

/// Adds signatures by `keys` to a document; a key that has signed it already signs no second time.
///
/// # Errors
///
/// [`WriteError::NotBelieved`] for a document that is malformed or altered, or for more signatures than one has.
pub fn cosign(document: &[u8], keys: &[PrivateKey]) -> Result<Vec<u8>, WriteError> {
    let signed = Sign::parse(document).map_err(AnchorsError::from)?;
    let new = |key: &&PrivateKey| signed.signers().all(|signer| signer.kid() != key.public().kid());
    let mut missing: Vec<PrivateKey> = Vec::new();
    for key in keys.iter().filter(new) {
        if missing.iter().all(|known| known.public() != key.public()) {
            missing.push(key.clone());
        }
    }
    let document = add_signers(&signed, &[ANCHORS_AAD], &missing);
    Anchors::standing(&document, None)?;
    Ok(document)
}

impl RoleDraft {
    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        encoder.array(5)?.str(self.name.as_str())?.u64(self.threshold)?;
        encoder.array(self.keys.len() as u64)?;
        for key in &self.keys {
            crate::cbor::write_raw(encoder, &key.encode())?;
        }
        encoder.array(self.components.len() as u64)?;
        for component in &self.components {
            encoder.array(component.len() as u64)?;
            for part in component {
                encoder.bytes(part)?;
            }
        }
        encoder.array(self.algorithms.len() as u64)?;
        for algorithm in &self.algorithms {
            encoder.i64(*algorithm)?;
        }
        Ok(())
    }
}
