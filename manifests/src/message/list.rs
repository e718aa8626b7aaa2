//! Lists that are read without an allocator and written from a slice.

use core::fmt;

use minicbor::encode::{Encoder, Error, Write};

use super::{Digest, MessageError, Part, bound};
use crate::cbor::{Reader, write_raw};

/// What can stand in a [`List`].
pub trait Element<'a>: Copy {
    /// Reads one element.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with what is wrong about it.
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError>;

    /// Writes one element.
    ///
    /// # Errors
    ///
    /// If the writer fails or the element breaks a bound.
    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>>;
}

/// List of `T`: the checked bytes of a received one, or a slice of values.
#[derive(Clone, Copy)]
pub struct List<'a, T>(Source<'a, T>);

#[derive(Clone, Copy)]
enum Source<'a, T> {
    /// All of `bytes` has been read once as `count` elements, so reading them again can't fail.
    Received {
        count: usize,
        bytes: &'a [u8],
    },
    Values(&'a [T]),
}

impl<'a, T: Element<'a>> List<'a, T> {
    /// Makes a list to be written.
    #[must_use]
    pub const fn new(values: &'a [T]) -> Self {
        Self(Source::Values(values))
    }

    /// Number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Received { count, .. } => count,
            Source::Values(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in their order.
    #[must_use]
    pub fn iter(&self) -> Iter<'a, T> {
        match self.0 {
            Source::Received { count, bytes } => {
                Iter { left: count, reader: Reader::new(bytes), values: &[] }
            }
            Source::Values(values) => Iter { left: values.len(), reader: Reader::new(&[]), values },
        }
    }

    /// The element at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        self.iter().nth(index)
    }

    /// Reads an array of `limits.0 ..= limits.1` elements.
    ///
    /// # Errors
    ///
    /// [`MessageError::Bound`] with `part` for another number; what the elements are refused for.
    pub fn read(reader: &mut Reader<'a>, limits: (usize, usize), part: Part) -> Result<Self, MessageError> {
        let count = reader.array()?;
        bound((limits.0..=limits.1).contains(&count), part)?;
        let start = reader.position();
        for _ in 0..count {
            T::read(reader)?;
        }
        Ok(Self(Source::Received { count, bytes: reader.since(start) }))
    }

    /// Writes an array of `limits.0 ..= limits.1` elements.
    ///
    /// # Errors
    ///
    /// If the writer fails, or for another number or an element that breaks a bound.
    pub fn write<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        limits: (usize, usize),
    ) -> Result<(), Error<W::Error>> {
        if !(limits.0..=limits.1).contains(&self.len()) {
            return Err(Error::message("list has too few or too many elements"));
        }
        encoder.array(self.len() as u64)?;
        match self.0 {
            Source::Received { bytes, .. } => write_raw(encoder, bytes),
            Source::Values(values) => values.iter().try_for_each(|value| value.write(encoder)),
        }
    }
}

impl<'a, T: Element<'a>> Default for List<'a, T> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<'a, T: Element<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Element<'a> + Eq> Eq for List<'a, T> {}

impl<'a, T: Element<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Element<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Element<'a>> IntoIterator for &List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Elements of a [`List`].
#[derive(Clone, Debug)]
pub struct Iter<'a, T> {
    left: usize,
    reader: Reader<'a>,
    values: &'a [T],
}

impl<'a, T: Element<'a>> Iterator for Iter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        if let Some((first, rest)) = self.values.split_first() {
            self.values = rest;
            return Some(*first);
        }
        T::read(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a, T: Element<'a>> ExactSizeIterator for Iter<'a, T> {}

impl<'a> Element<'a> for &'a Digest {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        Ok(reader.bytes_exact()?)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        encoder.bytes(self.as_slice())?.ok()
    }
}

impl<'a> Element<'a> for &'a str {
    fn read(reader: &mut Reader<'a>) -> Result<Self, MessageError> {
        let text = reader.text()?;
        bound((1..=LOCATION_BYTES_MAX).contains(&text.len()), Part::Location)?;
        Ok(text)
    }

    fn write<W: Write>(&self, encoder: &mut Encoder<W>) -> Result<(), Error<W::Error>> {
        if !(1..=LOCATION_BYTES_MAX).contains(&self.len()) {
            return Err(Error::message("location is empty or too long"));
        }
        encoder.str(self)?.ok()
    }
}

/// Bytes of a location: host, path and query of a CoAP URI with two options of the largest size (RFC 7252 §5.10).
pub const LOCATION_BYTES_MAX: usize = 512;
