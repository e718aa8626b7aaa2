//! Which key of which identity.

use minicbor::encode::{Encoder, Error, Write};

use super::{MessageError, Part, bound};
use crate::cbor::Reader;

/// Place in a key chain: name of the identity, epoch of its seed, index in the chain.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Place<'a> {
    /// Name of the identity, 1 to 64 bytes: the endpoint name where that is short enough.
    pub id: &'a str,
    /// Which seed: 0 from the factory, one more at each re-seeding.
    pub epoch: u16,
    /// How many updates were confirmed in this epoch.
    pub index: u16,
}

impl<'a> Place<'a> {
    /// Epoch and index: what orders the places of one identity.
    #[must_use]
    pub const fn order(&self) -> (u16, u16) {
        (self.epoch, self.index)
    }

    /// Checks the bounds of the name.
    ///
    /// # Errors
    ///
    /// [`MessageError::Bound`] for a name that is empty or longer than [`NAME_BYTES_MAX`].
    pub const fn check(&self) -> Result<(), MessageError> {
        bound(!self.id.is_empty() && self.id.len() <= NAME_BYTES_MAX, Part::Name)
    }

    /// Reads the three elements.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let place = Self { id: reader.text()?, epoch: reader.u16()?, index: reader.u16()? };
        place.check()?;
        Ok(place)
    }

    /// Writes the three elements.
    pub(crate) fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        self.check().map_err(super::refuse)?;
        encoder.str(self.id)?.u16(self.epoch)?.u16(self.index)?.ok()
    }
}

/// Bytes of a name, by the protocol.
pub const NAME_BYTES_MAX: usize = 64;
