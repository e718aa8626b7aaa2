//! Strict reading of deterministic CBOR, and writing into buffers, vectors and digests.
//!
//! [`Reader`] walks over received bytes and refuses everything that RFC 8949 §4.2.1 does not allow: heads longer
//! than needed, indefinite lengths, map keys out of order or twice. What it gives out borrows from the input.

use core::cmp::Ordering;

use thiserror::Error;

mod float;
mod write;

#[cfg(feature = "alloc")]
pub use write::to_vec;
pub use write::{EncodeError, Full, Raw, Sink, digest_of, encoded_len, write_into};
pub(crate) use write::{write_embedded, write_raw};

use float::{fits_half, fits_single};

/// Position in encoded bytes that only moves over well-formed, deterministic CBOR.
#[derive(Clone, Debug)]
pub struct Reader<'b> {
    input: &'b [u8],
    at: usize,
}

/// Why bytes are not the deterministic CBOR that was expected. Drop the message.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum CborError {
    /// The input ends inside an item, or an item claims more than is there.
    #[error("input ends inside an item")]
    Truncated,
    /// Bytes follow after the item.
    #[error("bytes follow after the item")]
    Trailing,
    /// A head or a float has a shorter form.
    #[error("a value is not in its shortest form")]
    NotShortest,
    /// Indefinite length, or a reserved head.
    #[error("indefinite lengths and reserved heads are not allowed")]
    Malformed,
    /// The item is of another type than the structure says.
    #[error("item is of another type")]
    Type,
    /// A number or a length is not what the structure says.
    #[error("number or length is out of range")]
    Range,
    /// A text string is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// Map keys are not in the order of their encoded bytes, or one comes twice.
    #[error("map keys are out of order or doubled")]
    KeyOrder,
    /// Items are nested deeper than [`NESTING_MAX`].
    #[error("items are nested deeper than {NESTING_MAX}")]
    Nesting,
}

/// Type of the next item.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Unsigned integer.
    Uint,
    /// Negative integer.
    Nint,
    /// Byte string.
    Bytes,
    /// Text string.
    Text,
    /// Array.
    Array,
    /// Map.
    Map,
    /// Tag.
    Tag,
    /// `false` or `true`.
    Bool,
    /// `null`.
    Nil,
    /// Float or another simple value.
    Other,
}

impl<'b> Reader<'b> {
    /// Starts at the first byte of `input`.
    #[must_use]
    pub const fn new(input: &'b [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// Number of bytes already read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.at >= self.input.len()
    }

    /// Bytes from `start`, a position taken earlier, to where the reader is now.
    #[must_use]
    pub fn since(&self, start: usize) -> &'b [u8] {
        self.input.get(start..self.at).unwrap_or_default()
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// [`CborError::Trailing`] if bytes are left.
    pub const fn finish(&self) -> Result<(), CborError> {
        if self.is_empty() { Ok(()) } else { Err(CborError::Trailing) }
    }

    /// Tells the type of the next item without moving.
    ///
    /// # Errors
    ///
    /// [`CborError::Truncated`] at the end of the input.
    pub fn kind(&self) -> Result<Kind, CborError> {
        let byte = *self.input.get(self.at).ok_or(CborError::Truncated)?;
        Ok(match (byte >> 5, byte & 0x1f) {
            (UINT, _) => Kind::Uint,
            (NINT, _) => Kind::Nint,
            (BYTES, _) => Kind::Bytes,
            (TEXT, _) => Kind::Text,
            (ARRAY, _) => Kind::Array,
            (MAP, _) => Kind::Map,
            (TAG, _) => Kind::Tag,
            (_, FALSE | TRUE) => Kind::Bool,
            (_, NIL) => Kind::Nil,
            _ => Kind::Other,
        })
    }

    /// Reads an unsigned integer.
    ///
    /// # Errors
    ///
    /// [`CborError`] if the next item is something else.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.head_of(UINT)
    }

    /// Reads an unsigned integer that fits a `u32`.
    ///
    /// # Errors
    ///
    /// [`CborError::Range`] if it does not fit; [`CborError`] if the next item is something else.
    pub fn u32(&mut self) -> Result<u32, CborError> {
        u32::try_from(self.uint()?).map_err(|_| CborError::Range)
    }

    /// Reads an unsigned integer that fits a `u8`.
    ///
    /// # Errors
    ///
    /// [`CborError::Range`] if it does not fit; [`CborError`] if the next item is something else.
    pub fn u8(&mut self) -> Result<u8, CborError> {
        u8::try_from(self.uint()?).map_err(|_| CborError::Range)
    }

    /// Reads an unsigned integer that fits a `u16`.
    ///
    /// # Errors
    ///
    /// [`CborError::Range`] if it does not fit; [`CborError`] if the next item is something else.
    pub fn u16(&mut self) -> Result<u16, CborError> {
        u16::try_from(self.uint()?).map_err(|_| CborError::Range)
    }

    /// Reads an integer that fits an `i64`.
    ///
    /// # Errors
    ///
    /// [`CborError::Range`] if it does not fit; [`CborError`] if the next item is something else.
    pub fn int(&mut self) -> Result<i64, CborError> {
        let (major, value) = self.head()?;
        let value = i64::try_from(value).map_err(|_| CborError::Range)?;
        match major {
            UINT => Ok(value),
            NINT => Ok(-1 - value),
            _ => Err(CborError::Type),
        }
    }

    /// Reads a byte string.
    ///
    /// # Errors
    ///
    /// [`CborError`] if the next item is something else.
    pub fn bytes(&mut self) -> Result<&'b [u8], CborError> {
        let length = self.head_of(BYTES)?;
        self.take(length)
    }

    /// Reads a byte string of exactly `N` bytes.
    ///
    /// # Errors
    ///
    /// [`CborError::Range`] for another length; [`CborError`] if the next item is something else.
    pub fn bytes_exact<const N: usize>(&mut self) -> Result<&'b [u8; N], CborError> {
        self.bytes()?.try_into().map_err(|_| CborError::Range)
    }

    /// Reads a text string.
    ///
    /// # Errors
    ///
    /// [`CborError`] if the next item is something else or not UTF-8.
    pub fn text(&mut self) -> Result<&'b str, CborError> {
        let length = self.head_of(TEXT)?;
        core::str::from_utf8(self.take(length)?).map_err(|_| CborError::Utf8)
    }

    /// Reads `false` or `true`.
    ///
    /// # Errors
    ///
    /// [`CborError`] if the next item is something else.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        match self.kind()? {
            Kind::Bool => Ok(self.byte()? & 0x1f == TRUE),
            _ => Err(CborError::Type),
        }
    }

    /// Reads a `null` if one is next, and tells whether it was.
    ///
    /// # Errors
    ///
    /// [`CborError::Truncated`] at the end of the input.
    pub fn nil(&mut self) -> Result<bool, CborError> {
        let found = self.kind()? == Kind::Nil;
        self.at += usize::from(found);
        Ok(found)
    }

    /// Reads the head of an array and returns the number of its elements.
    ///
    /// # Errors
    ///
    /// [`CborError`] if the next item is something else, or if the rest of the input is too short for so many.
    pub fn array(&mut self) -> Result<usize, CborError> {
        let count = self.head_of(ARRAY)?;
        self.room_for(count)
    }

    /// Reads the head of an array of exactly `count` elements.
    ///
    /// # Errors
    ///
    /// [`CborError::Range`] for another number; [`CborError`] if the next item is something else.
    pub fn array_of(&mut self, count: usize) -> Result<(), CborError> {
        if self.array()? == count { Ok(()) } else { Err(CborError::Range) }
    }

    /// Reads the head of a map and returns the number of its pairs; read the keys through [`KeyOrder`].
    ///
    /// # Errors
    ///
    /// [`CborError`] if the next item is something else, or if the rest of the input is too short for so many.
    pub fn map(&mut self) -> Result<usize, CborError> {
        let count = self.head_of(MAP)?;
        self.room_for(count.checked_mul(2).ok_or(CborError::Truncated)?)?;
        usize::try_from(count).map_err(|_| CborError::Truncated)
    }

    /// Reads a tag number; its content is the next item.
    ///
    /// # Errors
    ///
    /// [`CborError`] if the next item is something else.
    pub fn tag(&mut self) -> Result<u64, CborError> {
        self.head_of(TAG)
    }

    /// Reads any one item, checked through and through, and returns its bytes.
    ///
    /// # Errors
    ///
    /// [`CborError`] for what is not deterministic CBOR or is nested deeper than [`NESTING_MAX`].
    pub fn item(&mut self) -> Result<&'b [u8], CborError> {
        let start = self.at;
        self.skip(NESTING_MAX)?;
        Ok(self.since(start))
    }

    fn skip(&mut self, depth: u8) -> Result<(), CborError> {
        let below = depth.checked_sub(1).ok_or(CborError::Nesting)?;
        match self.kind()? {
            Kind::Uint | Kind::Nint => self.head().map(drop),
            Kind::Bytes => self.bytes().map(drop),
            Kind::Text => self.text().map(drop),
            Kind::Array => {
                let count = self.array()?;
                (0..count).try_for_each(|_| self.skip(below))
            }
            Kind::Map => self.skip_map(below),
            Kind::Tag => {
                self.tag()?;
                self.skip(below)
            }
            Kind::Bool | Kind::Nil => self.byte().map(drop),
            Kind::Other => self.skip_other(),
        }
    }

    fn skip_map(&mut self, depth: u8) -> Result<(), CborError> {
        let mut last: Option<&[u8]> = None;
        for _ in 0..self.map()? {
            let start = self.at;
            self.skip(depth)?;
            let key = self.since(start);
            if last.is_some_and(|last| last >= key) {
                return Err(CborError::KeyOrder);
            }
            last = Some(key);
            self.skip(depth)?;
        }
        Ok(())
    }

    /// Simple values and floats. RFC 8949 §3.3: a simple value below 32 has no two-byte form.
    fn skip_other(&mut self) -> Result<(), CborError> {
        match self.byte()? & 0x1f {
            0..=23 => Ok(()),
            24 if self.byte()? >= 32 => Ok(()),
            25 => self.take(2).map(drop),
            26 => {
                let bits = u32::from_be_bytes(self.array_of_bytes()?);
                if fits_half(bits) { Err(CborError::NotShortest) } else { Ok(()) }
            }
            27 => {
                let bits = u64::from_be_bytes(self.array_of_bytes()?);
                if fits_single(bits) { Err(CborError::NotShortest) } else { Ok(()) }
            }
            _ => Err(CborError::Malformed),
        }
    }

    fn head_of(&mut self, wanted: u8) -> Result<u64, CborError> {
        let start = self.at;
        let (major, value) = self.head()?;
        if major == wanted {
            return Ok(value);
        }
        self.at = start;
        Err(CborError::Type)
    }

    /// Reads major type and argument; only for major types 0 to 6.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let byte = self.byte()?;
        let (major, short) = (byte >> 5, byte & 0x1f);
        if major > TAG {
            return Err(CborError::Type);
        }
        let (value, least) = match short {
            0..=23 => return Ok((major, u64::from(short))),
            24 => (u64::from(self.byte()?), 24),
            25 => (u64::from(u16::from_be_bytes(self.array_of_bytes()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.array_of_bytes()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.array_of_bytes()?), 1 << 32),
            _ => return Err(CborError::Malformed),
        };
        if value < least { Err(CborError::NotShortest) } else { Ok((major, value)) }
    }

    /// Every element takes a byte at least, so a count past the rest of the input is a lie.
    fn room_for(&self, count: u64) -> Result<usize, CborError> {
        let count = usize::try_from(count).map_err(|_| CborError::Truncated)?;
        if count > self.input.len() - self.at { Err(CborError::Truncated) } else { Ok(count) }
    }

    fn take(&mut self, length: u64) -> Result<&'b [u8], CborError> {
        let length = usize::try_from(length).map_err(|_| CborError::Truncated)?;
        let end = self.at.checked_add(length).ok_or(CborError::Truncated)?;
        let taken = self.input.get(self.at..end).ok_or(CborError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn array_of_bytes<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let (taken, _) =
            self.input.get(self.at..).and_then(<[u8]>::split_first_chunk::<N>).ok_or(CborError::Truncated)?;
        self.at += N;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, CborError> {
        let [byte] = self.array_of_bytes()?;
        Ok(byte)
    }
}

/// Reads the integer keys of one map and holds them to the order of RFC 8949 §4.2.1.
#[derive(Clone, Debug, Default)]
pub struct KeyOrder {
    last: Option<i64>,
}

impl KeyOrder {
    /// Reads the next key.
    ///
    /// # Errors
    ///
    /// [`CborError::KeyOrder`] if it does not come after the one before; [`CborError`] if it is no integer.
    pub fn next(&mut self, reader: &mut Reader<'_>) -> Result<i64, CborError> {
        let key = reader.int()?;
        if self.last.is_some_and(|last| key_order(last, key) != Ordering::Less) {
            return Err(CborError::KeyOrder);
        }
        self.last = Some(key);
        Ok(key)
    }
}

/// A number as errors tell it: 65,535 for all that are larger.
#[must_use]
pub fn told(number: u64) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Compares two integer keys as their encoded bytes compare: 0, 1, 2, …, then -1, -2, ….
#[must_use]
pub fn key_order(left: i64, right: i64) -> Ordering {
    match (left < 0, right < 0) {
        (false, false) => left.cmp(&right),
        (true, true) => right.cmp(&left),
        (left, right) => left.cmp(&right),
    }
}

/// Checks that `bytes` are one deterministic item and nothing else.
///
/// # Errors
///
/// [`CborError`] with the reason why not.
pub fn check_item(bytes: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    reader.item()?;
    reader.finish()
}

/// Levels of arrays, maps and tags in one item. A SUIT_Report, the deepest that is carried, needs seven.
pub const NESTING_MAX: u8 = 16;

// Major types and simple values, RFC 8949 §3.1 and §3.3.
const UINT: u8 = 0;
const NINT: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const FALSE: u8 = 20;
const TRUE: u8 = 21;
const NIL: u8 = 22;

#[cfg(test)]
mod tests {
    use super::*;
    use minicbor::Encoder;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn refused(hex: &str) -> CborError {
        check_item(&hex::decode(hex).unwrap()).unwrap_err()
    }

    #[test]
    fn head_longer_than_needed_is_refused() {
        for long in
            ["1817", "190017", "1a0000ffff", "1b00000000ffffffff", "5800", "7803616263", "980100", "d81101"]
        {
            assert_eq!(refused(long), CborError::NotShortest, "{long}");
        }
    }

    #[test]
    fn indefinite_length_is_refused() {
        for indefinite in ["5f4100ff", "7f6161ff", "9fff", "bfff", "1c"] {
            assert_eq!(refused(indefinite), CborError::Malformed, "{indefinite}");
        }
    }

    #[test]
    fn map_keys_out_of_order_or_twice_are_refused() {
        for map in ["a202000100", "a201000100", "a220000100", "a21818000a00"] {
            assert_eq!(refused(map), CborError::KeyOrder, "{map}");
        }
        // {10: 0, 24: 0, -1: 0, "a": 0}: heads of one byte before heads of two, then the next type.
        check_item(&hex::decode("a40a0018180020006161 00".replace(' ', "")).unwrap()).unwrap();
    }

    #[test]
    fn float_with_a_shorter_form_is_refused() {
        // 1.0, 65504.0, 2^-24, infinity and NaN as single; 1.1f32 and 2^-149 as double.
        for float in ["fa3f800000", "fa477fe000", "fa33800000", "fa7f800000", "fa7fc00000"] {
            assert_eq!(refused(float), CborError::NotShortest, "{float}");
        }
        for float in ["fb3ff19999a0000000", "fb36a0000000000000", "fb7ff0000000000000"] {
            assert_eq!(refused(float), CborError::NotShortest, "{float}");
        }
        for float in ["f93c00", "fa477ff000", "fa33000000", "fb3ff199999999999a", "fb3690000000000000"] {
            check_item(&hex::decode(float).unwrap()).unwrap();
        }
    }

    #[test]
    fn counts_past_the_input_are_refused_before_any_loop() {
        for lie in ["9affffffff", "bbffffffffffffffff", "5bffffffffffffffff"] {
            assert_eq!(refused(lie), CborError::Truncated, "{lie}");
        }
    }

    #[test]
    fn nesting_past_the_bound_is_refused() {
        let mut deep = std::vec![0x81; usize::from(NESTING_MAX)];
        deep.push(0);
        assert_eq!(check_item(&deep), Err(CborError::Nesting));
        assert_eq!(check_item(&deep[1..]), Ok(()));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert_eq!(refused("0000"), CborError::Trailing);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if check_item(&bytes).is_ok() {
                let decoded = minicbor::Decoder::new(&bytes).skip();
                prop_assert!(decoded.is_ok());
            }
        }

        #[test]
        fn every_integer_comes_back(value in any::<i64>()) {
            let mut bytes: Vec<u8> = Vec::new();
            Encoder::new(&mut bytes).i64(value).unwrap();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.int(), Ok(value));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn key_order_is_the_order_of_encoded_bytes(left in any::<i64>(), right in any::<i64>()) {
            let encode = |key: i64| minicbor::to_vec(key).unwrap();
            prop_assert_eq!(key_order(left, right), encode(left).cmp(&encode(right)));
        }

        #[test]
        fn floats_are_taken_exactly_in_the_shortest_form(bits in any::<u32>(), tiny in -30i32..20) {
            for single in [f32::from_bits(bits), f32::from_bits(bits & 0xff80_0000), 2f32.powi(tiny)] {
                prop_assume!(!single.is_nan());
                let mut half = Vec::new();
                Encoder::new(&mut half).f16(single).unwrap();
                let back = minicbor::Decoder::new(&half).f16().unwrap();
                let exact = back.to_bits() == single.to_bits();
                prop_assert_eq!(fits_half(single.to_bits()), exact, "{}", single);
                prop_assert!(fits_single(f64::from(single).to_bits()));
            }
        }
    }
}
