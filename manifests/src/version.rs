//! Versions as integers: what a manifest states of an image, and what a device tells of it.
//!
//! Numbers of a release; of a pre-release then -1 (rc), -2 (beta) or -3 (alpha), and numbers of its own: `1.2-rc.3` is
//! `[1, 2, -1, 3]`.
//!
//! Source: draft-ietf-suit-update-management-14, suit-parameter-version.

use crate::cbor::{CborError, Reader};
use core::fmt;
use minicbor::Encoder;
use minicbor::encode::{Error, Write};

/// Numbers of a release as text: major, minor, patch.
const RELEASE_NUMBERS_MAX: usize = 3;

/// How a version is compared with the one that is named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Comparison {
    /// 1: it is later.
    Greater,
    /// 2: it is this one or later.
    GreaterOrEqual,
    /// 3: it is this one.
    Equal,
    /// 4: it is this one or earlier.
    LesserOrEqual,
    /// 5: it is earlier.
    Lesser,
}

/// Wire number of [`Comparison::Equal`].
const EQUAL: u8 = 3;

/// One or more integers, the first of them not negative, as encoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Version<'a> {
    /// The integers without the head of their array.
    encoded: &'a [u8],
    count: usize,
}

/// Value of the version parameter, `[comparison, [+ int]]`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VersionMatch<'a> {
    /// How to compare.
    pub comparison: Comparison,
    /// What to compare with.
    pub version: Version<'a>,
}

impl<'a> VersionMatch<'a> {
    /// Reads `[comparison, [+ int]]`.
    ///
    /// # Errors
    ///
    /// [`CborError`] for anything else, and for a version that begins with the mark of a pre-release.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(bytes);
        reader.array_of(2)?;
        let comparison = match reader.uint()? {
            1 => Comparison::Greater,
            2 => Comparison::GreaterOrEqual,
            3 => Comparison::Equal,
            4 => Comparison::LesserOrEqual,
            5 => Comparison::Lesser,
            _ => return Err(CborError::Range),
        };
        let count = reader.array()?;
        let start = reader.position();
        for at in 0..count {
            if reader.int()? < 0 && at == 0 {
                return Err(CborError::Range);
            }
        }
        let encoded = reader.since(start);
        reader.finish()?;
        if count == 0 {
            Err(CborError::Range)
        } else {
            Ok(Self { comparison, version: Version { encoded, count } })
        }
    }

    /// Gives the version that is stated, as by an author of an image; `None` for one that others are compared with.
    #[must_use]
    pub fn stated(&self) -> Option<Version<'a>> {
        (self.comparison == Comparison::Equal).then_some(self.version)
    }
}

impl<'a> Version<'a> {
    /// Walks over the integers.
    pub fn numbers(&self) -> impl Iterator<Item = i64> + Clone + use<'a> {
        let mut reader = Reader::new(self.encoded);
        (0..self.count).map_while(move |_| reader.int().ok())
    }
}

impl Version<'_> {
    /// Gives the version as people write it, `1.2-rc.3`, piece by piece; `None` as soon as `put` does.
    // Without the library's formatting, which costs a device 4 KiB of flash.
    pub fn write_text(&self, mut put: impl FnMut(&str) -> Option<()>) -> Option<()> {
        for (at, number) in self.numbers().enumerate() {
            let word = WORDS.iter().find(|(mark, _)| *mark == number);
            if word.is_some() || at > 0 {
                put(if word.is_some() { "-" } else { "." })?;
            }
            match word {
                Some((_, word)) => put(word)?,
                None => put_number(number, &mut put)?,
            }
        }
        Some(())
    }
}

fn put_number(number: i64, put: &mut impl FnMut(&str) -> Option<()>) -> Option<()> {
    if number < 0 {
        put("-")?;
    }
    let (mut left, mut digits, mut start) = (number.unsigned_abs(), [b'0'; 20], 20);
    while left > 0 || start == digits.len() {
        start -= 1;
        digits[start] = b'0' + u8::try_from(left % 10).ok()?;
        left /= 10;
    }
    put(core::str::from_utf8(&digits[start..]).ok()?)
}

/// Writes the version as people do: `1.2-rc.3`.
impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_text(|piece| f.write_str(piece).ok()).ok_or(fmt::Error)
    }
}

/// Marks of pre-releases.
const WORDS: [(i64, &str); 3] = [(-1, "rc"), (-2, "beta"), (-3, "alpha")];

/// Reads a version's integers from its text, as `2025.0.0` or `1.2-rc.3`.
///
/// `None` for a text that these integers would not give back: with another word, a leading zero, four numbers or a
/// build tag.
#[must_use]
pub fn numbers(text: &str) -> Option<impl Iterator<Item = i64> + Clone + use<'_>> {
    let (release, prerelease) =
        text.split_once('-').map_or((text, None), |(before, after)| (before, Some(after)));
    let release = release.split('.');
    if release.clone().count() > RELEASE_NUMBERS_MAX {
        return None;
    }
    let prerelease = prerelease.into_iter().flat_map(|text| text.split('.').enumerate());
    let prerelease = prerelease.map(|(at, part)| if at == 0 { mark(part) } else { number(part) });
    let parts = release.map(number).chain(prerelease);
    parts.clone().all(|part| part.is_some()).then(|| parts.flatten())
}

fn number(text: &str) -> Option<i64> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

fn mark(word: &str) -> Option<i64> {
    WORDS.iter().find(|(_, known)| *known == word).map(|(mark, _)| *mark)
}

/// Writes `[3, [+ int]]`: it is this version.
///
/// # Errors
///
/// The writer's own.
pub fn write_stated<W: Write>(
    encoder: &mut Encoder<W>,
    numbers: impl Iterator<Item = i64> + Clone,
) -> Result<(), Error<W::Error>> {
    encoder.array(2)?.u8(EQUAL)?.array(numbers.clone().count() as u64)?;
    for number in numbers {
        encoder.i64(number)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn read(text: &str) -> Option<Vec<i64>> {
        numbers(text).map(Iterator::collect)
    }

    fn stated(numbers: &[i64]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        write_stated(&mut encoder, numbers.iter().copied()).unwrap();
        encoder.into_writer()
    }

    // The draft's examples.
    #[test]
    fn text_and_integers_are_the_same_version() {
        let examples: [(&str, &[i64]); 6] = [
            ("1.2.3", &[1, 2, 3]),
            ("1.2-rc.3", &[1, 2, -1, 3]),
            ("1.2-beta", &[1, 2, -2]),
            ("1.2-alpha", &[1, 2, -3]),
            ("1.2.3-alpha.4", &[1, 2, 3, -3, 4]),
            ("2025.0.0", &[2025, 0, 0]),
        ];
        for (text, numbers) in examples {
            assert_eq!(read(text).as_deref(), Some(numbers), "{text}");
            let encoded = stated(numbers);
            assert_eq!(VersionMatch::parse(&encoded).unwrap().version.to_string(), text);
        }
    }

    #[test]
    fn every_integer_has_its_digits() {
        for number in [0, 9, 10, -4, i64::MAX, i64::MIN] {
            let mut text = std::string::String::new();
            put_number(number, &mut |piece| {
                text.push_str(piece);
                Some(())
            });
            assert_eq!(text, number.to_string());
        }
    }

    #[test]
    fn text_that_integers_would_not_give_back_has_none() {
        let texts =
            ["", "1.", ".1", "1.2.3.4", "v1", "1.2-rc3", "1.2-dev", "1.2-", "2024.01", "1+5", "+1", "1--rc"];
        for text in texts.into_iter().chain(["1.2-rc-1", "1.2-rc.", "-rc", "9223372036854775808"]) {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn only_equality_states_a_version() {
        for comparison in 1..=5 {
            let encoded = [0x82, comparison, 0x82, 1, 5];
            let read = VersionMatch::parse(&encoded).unwrap();
            assert_eq!(read.stated().is_some(), comparison == 3, "{comparison}");
        }
    }

    #[test]
    fn malformed_versions_are_refused() {
        // No numbers, a pre-release first, unknown comparisons, a text, something behind, one item only.
        let malformed: [&[u8]; 7] = [
            b"\x82\x03\x80",
            b"\x82\x03\x82\x20\x01",
            b"\x82\x00\x81\x01",
            b"\x82\x06\x81\x01",
            b"\x82\x03\x81\x611",
            b"\x82\x03\x81\x01\x00",
            b"\x81\x03",
        ];
        for bytes in malformed {
            assert!(VersionMatch::parse(bytes).is_err(), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(read) = VersionMatch::parse(&bytes) {
                prop_assert!(!read.version.to_string().is_empty());
            }
        }

        #[test]
        fn any_text_that_has_integers_is_given_back(text in "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(-(rc|beta|alpha|dev)(\\.[0-9]){0,2})?") {
            if let Some(numbers) = read(&text) {
                let encoded = stated(&numbers);
                let version = VersionMatch::parse(&encoded).unwrap().stated().unwrap();
                prop_assert_eq!(version.numbers().collect::<Vec<_>>(), numbers);
                prop_assert_eq!(version.to_string(), text);
            }
        }
    }
}
