//! Writing and signing an anchors document: the work of root holders.

use super::{ANCHORS_AAD, Anchors, AnchorsError, RoleName};
use crate::cose::{PrivateKey, PublicKey, sign};
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

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        encoder.array(6)?.u8(1)?.u64(self.edition)?.u64(self.issued)?.bytes(&self.vendor)?;
        encoder.array(self.roles.len() as u64)?;
        for role in &self.roles {
            role.write(encoder)?;
        }
        encoder.map(0).map(drop)
    }
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
