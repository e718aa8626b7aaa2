//! The seed of an identity, and the seed that follows it.

use bellwether_manifests::message::Place;
use hkdf::HkdfExtract;
use sha2::Sha256;

use crate::derive::{DeriveError, Info};
use crate::secret::Secret;
use crate::share::SharedSecret;

/// Personalised unit data of an identity: from it come all keys of one epoch.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seed(Secret<SEED_BYTES>);

impl Seed {
    /// Takes 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; SEED_BYTES]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Shows the bytes to what stores them: sealed in the vault, in the record of a device.
    #[must_use]
    pub const fn expose(&self) -> &[u8; SEED_BYTES] {
        self.0.expose()
    }

    /// Derives the seed of the epoch after `epoch` for the identity `id`.
    ///
    /// `shared` is what both sides' shares give, if both were sent; without it, who knows this seed knows the next
    /// one.
    ///
    /// # Errors
    ///
    /// [`DeriveError::Name`] for a name out of bounds, [`DeriveError::Epochs`] after epoch 65535.
    pub fn next(&self, id: &str, epoch: u16, shared: Option<&SharedSecret>) -> Result<Self, DeriveError> {
        let epoch = epoch.checked_add(1).ok_or(DeriveError::Epochs)?;
        let info = Info::new("seed", 0, &Place { id, epoch, index: 0 })?;
        let mut extract = HkdfExtract::<Sha256>::new(None);
        extract.input_ikm(self.expose());
        if let Some(shared) = shared {
            extract.input_ikm(shared.expose());
        }
        let (_, hkdf) = extract.finalize();
        let mut next = Secret::new([0; SEED_BYTES]);
        hkdf.expand(info.as_bytes(), next.expose_mut()).map_err(|_| DeriveError::Length)?;
        Ok(Self(next))
    }
}

/// Bytes of a seed, by the protocol.
pub const SEED_BYTES: usize = 32;
