//! Component identifiers and the list of a manifest.

use super::ManifestError;
use crate::cbor::{CborError, Reader};

/// Components of one manifest; also the number of resources of one grant.
pub const COMPONENTS_MAX: usize = 8;

/// Component identifier: array of byte strings, kept as its encoding.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ComponentId<'a> {
    encoded: &'a [u8],
}

impl<'a> ComponentId<'a> {
    /// Reads an encoded identifier, for example `81 43 "app"`.
    ///
    /// # Errors
    ///
    /// [`CborError`] for anything but one array of byte strings.
    pub fn parse(encoded: &'a [u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(encoded);
        let id = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(id)
    }

    /// Reads the identifier that comes next.
    ///
    /// # Errors
    ///
    /// [`CborError`] for anything but an array of byte strings.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, CborError> {
        let start = reader.position();
        for _ in 0..reader.array()? {
            reader.bytes()?;
        }
        Ok(Self { encoded: reader.since(start) })
    }

    /// Gives the encoding.
    #[must_use]
    pub const fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// Walks over the byte strings.
    pub fn parts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.encoded);
        let count = reader.array().unwrap_or(0);
        (0..count).map_while(move |_| reader.bytes().ok())
    }

    /// Tells whether the parts of `prefix` are the first parts of this identifier.
    #[must_use]
    pub fn starts_with(&self, prefix: &ComponentId<'_>) -> bool {
        let mut parts = self.parts();
        prefix.parts().all(|part| parts.next() == Some(part))
    }
}

/// The components of a manifest, in its order; commands name them by index.
#[derive(Clone, Copy, Debug)]
pub struct Components<'a> {
    encoded: &'a [u8],
    count: usize,
}

impl<'a> Components<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, ManifestError> {
        let count = reader.array()?;
        if count == 0 || count > COMPONENTS_MAX {
            return Err(ManifestError::ComponentCount(count));
        }
        let start = reader.position();
        for _ in 0..count {
            ComponentId::read(reader)?;
        }
        Ok(Self { encoded: reader.since(start), count })
    }

    /// Counts the components, 1 ..= [`COMPONENTS_MAX`].
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Tells whether there is none, which no manifest that was read has.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Walks over the identifiers.
    pub fn iter(&self) -> impl Iterator<Item = ComponentId<'a>> + use<'a> {
        let mut reader = Reader::new(self.encoded);
        (0..self.count).map_while(move |_| ComponentId::read(&mut reader).ok())
    }

    /// Gives the identifier at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<ComponentId<'a>> {
        self.iter().nth(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USR: &[u8] = b"\x81\x43usr";
    const USR_BIN: &[u8] = b"\x82\x43usr\x43bin";

    #[test]
    fn prefix_is_by_parts_not_by_bytes() {
        let [usr, usr_bin] = [USR, USR_BIN].map(|id| ComponentId::parse(id).unwrap());
        assert!(usr_bin.starts_with(&usr));
        assert!(!usr.starts_with(&usr_bin));
        let us = ComponentId::parse(b"\x81\x42us").unwrap();
        assert!(!usr.starts_with(&us));
        assert!(usr.starts_with(&ComponentId::parse(b"\x80").unwrap()));
    }
}
