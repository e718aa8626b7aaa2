//! The options of one message, read and written.

use super::block::{Block, BlockError};
use super::etag::ETag;
use super::wire::{OptionWriter, Options};
use super::{RawOption, number, uint};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use thiserror::Error;

/// The options of one message, each read once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct OptionSet {
    pub(crate) path: Vec<String>,
    pub(crate) query: Vec<String>,
    pub(crate) content_format: Option<u16>,
    pub(crate) accept: Option<u16>,
    pub(crate) etags: Vec<ETag>,
    pub(crate) max_age: Option<u32>,
    pub(crate) location_path: Vec<String>,
    pub(crate) location_query: Vec<String>,
    pub(crate) block1: Option<Block>,
    pub(crate) block2: Option<Block>,
    pub(crate) size1: Option<u32>,
    pub(crate) size2: Option<u32>,
    pub(crate) other: Vec<RawOption>,
}

/// Why the message as a whole is refused for one of its options.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum OptionError {
    /// Answer with 4.02, or reject a response.
    #[error("critical option {0} is not understood")]
    Critical(u16),
    /// Answer with 4.00.
    #[error("block size exponent 7 is reserved")]
    ReservedBlockSize,
    /// Answer with 5.05.
    #[error("this is no forward proxy")]
    Proxy,
}

/// What became of one option value.
enum Taken {
    Yes,
    /// Not recognised: no such option here, a length out of bounds, or one occurrence too many.
    No,
    Refused(OptionError),
}

impl OptionSet {
    /// Reads the options of a message; `critical_options` are those the application reads.
    ///
    /// It ends where they are malformed, which whoever reads the message asks before.
    pub(crate) fn read(mut options: Options<'_>, critical_options: &[u16]) -> Result<Self, OptionError> {
        let mut set = Self::default();
        while let Ok(Some((number, value))) = options.next() {
            match set.take(number, value) {
                Taken::Yes => {}
                Taken::Refused(error) => return Err(error),
                Taken::No => set.take_unrecognised(number, value, critical_options)?,
            }
        }
        Ok(set)
    }

    fn take(&mut self, number: u16, value: &[u8]) -> Taken {
        match number {
            number::URI_PATH => push_text(&mut self.path, value),
            number::URI_QUERY => push_text(&mut self.query, value),
            number::LOCATION_PATH => push_text(&mut self.location_path, value),
            number::LOCATION_QUERY => push_text(&mut self.location_query, value),
            number::CONTENT_FORMAT => set_once(&mut self.content_format, uint16(value)),
            number::ACCEPT => set_once(&mut self.accept, uint16(value)),
            number::MAX_AGE => set_once(&mut self.max_age, uint::decode(value)),
            number::SIZE1 => set_once(&mut self.size1, uint::decode(value)),
            number::SIZE2 => set_once(&mut self.size2, uint::decode(value)),
            number::BLOCK1 => set_block(&mut self.block1, value),
            number::BLOCK2 => set_block(&mut self.block2, value),
            number::ETAG => match ETag::new(value) {
                Ok(etag) => {
                    self.etags.push(etag);
                    Taken::Yes
                }
                Err(_) => Taken::No,
            },
            // RFC 7252 §5.10.2: an endpoint unable or unwilling to act as a forward-proxy MUST
            // answer a Proxy-Uri with 5.05.
            number::PROXY_URI | number::PROXY_SCHEME => Taken::Refused(OptionError::Proxy),
            _ => Taken::No,
        }
    }

    /// RFC 7252 §5.4.1: an elective option that is not recognised MUST be silently ignored, a
    /// critical one refuses the message. §5.4.3 and §5.4.5 treat wrong lengths and surplus
    /// occurrences alike.
    fn take_unrecognised(
        &mut self,
        number: u16,
        value: &[u8],
        critical_options: &[u16],
    ) -> Result<(), OptionError> {
        let recognised = HAS_FIELD.contains(&number);
        let understood = IS_KEPT.contains(&number) || critical_options.contains(&number);
        if is_critical(number) && (recognised || !understood) {
            return Err(OptionError::Critical(number));
        }
        if !recognised {
            let value = value.to_vec();
            self.other.push(RawOption { number, value });
        }
        Ok(())
    }

    /// Writes the options in the order of their numbers.
    pub(crate) fn write(&self, writer: &mut OptionWriter<'_>) {
        let mut from = 0;
        for number in HAS_FIELD {
            self.write_other(writer, from..=number - 1);
            self.write_field(writer, number);
            from = number;
        }
        self.write_other(writer, from..=u16::MAX);
    }

    fn write_field(&self, writer: &mut OptionWriter<'_>, number: u16) {
        let texts = match number {
            number::URI_PATH => &self.path,
            number::URI_QUERY => &self.query,
            number::LOCATION_PATH => &self.location_path,
            number::LOCATION_QUERY => &self.location_query,
            _ => return self.write_number(writer, number),
        };
        for text in texts {
            writer.add(number, text.as_bytes());
        }
    }

    fn write_number(&self, writer: &mut OptionWriter<'_>, number: u16) {
        let value = match number {
            number::CONTENT_FORMAT => self.content_format.map(u32::from),
            number::ACCEPT => self.accept.map(u32::from),
            number::MAX_AGE => self.max_age,
            number::SIZE1 => self.size1,
            number::SIZE2 => self.size2,
            number::BLOCK1 => self.block1.map(Block::to_bits),
            number::BLOCK2 => self.block2.map(Block::to_bits),
            _ => {
                for etag in &self.etags {
                    writer.add(number, etag.as_bytes());
                }
                None
            }
        };
        if let Some(value) = value {
            let (bytes, zeros) = uint::encode(value);
            writer.add(number, bytes.get(zeros..).unwrap_or_default());
        }
    }

    /// Writes those without a field whose numbers are in `numbers`. They are few, and need no sorted copy.
    fn write_other(&self, writer: &mut OptionWriter<'_>, numbers: RangeInclusive<u16>) {
        let mut last = None;
        let next = |last: Option<u16>| {
            let found = self.other.iter().map(|option| option.number);
            found.filter(|number| numbers.contains(number) && last.is_none_or(|last| *number > last)).min()
        };
        while let Some(number) = next(last) {
            for option in self.other.iter().filter(|option| option.number == number) {
                writer.add(number, &option.value);
            }
            last = Some(number);
        }
    }
}

/// RFC 7252 §5.4.6: the lowest bit of the number tells critical (1) from elective (0).
fn is_critical(number: u16) -> bool {
    number & 1 == 1
}

fn push_text(texts: &mut Vec<String>, value: &[u8]) -> Taken {
    match core::str::from_utf8(value) {
        Ok(text) if value.len() <= TEXT_BYTES_MAX => {
            texts.push(text.into());
            Taken::Yes
        }
        _ => Taken::No,
    }
}

fn set_once<T>(field: &mut Option<T>, value: Option<T>) -> Taken {
    match (&field, value) {
        (None, Some(value)) => {
            *field = Some(value);
            Taken::Yes
        }
        _ => Taken::No,
    }
}

fn set_block(field: &mut Option<Block>, value: &[u8]) -> Taken {
    match Block::parse(value) {
        Ok(block) => set_once(field, Some(block)),
        // RFC 7959 §2.2: SZX 7 MUST lead to a 4.00 response code upon reception in a request.
        Err(BlockError::ReservedSize) => Taken::Refused(OptionError::ReservedBlockSize),
        Err(BlockError::TooLong(_)) => Taken::No,
    }
}

fn uint16(value: &[u8]) -> Option<u16> {
    uint::decode(value).and_then(|number| u16::try_from(number).ok())
}

/// RFC 7252 §5.10, table 4: the longest text option.
const TEXT_BYTES_MAX: usize = 255;

/// Options with a field of their own, in the order of their numbers: they never go to `other`.
const HAS_FIELD: [u16; 12] = [
    number::ETAG,
    number::LOCATION_PATH,
    number::URI_PATH,
    number::CONTENT_FORMAT,
    number::MAX_AGE,
    number::URI_QUERY,
    number::ACCEPT,
    number::LOCATION_QUERY,
    number::BLOCK2,
    number::BLOCK1,
    number::SIZE2,
    number::SIZE1,
];

/// Critical options that every server here understands and that need no act: it answers for
/// whatever host and port the datagram came to (RFC 7252 §5.10.1).
const IS_KEPT: [u16; 2] = [number::URI_HOST, number::URI_PORT];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::option::block::BlockSize;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn on_the_wire(options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = OptionWriter::new(&mut bytes);
        for (number, value) in options {
            writer.add(*number, value);
        }
        bytes
    }

    fn read(options: &[(u16, &[u8])]) -> Result<OptionSet, OptionError> {
        OptionSet::read(Options::new(&on_the_wire(options)), &[])
    }

    #[test]
    fn unknown_critical_option_is_refused_and_unknown_elective_one_kept() {
        assert_eq!(read(&[(2_049, b"x")]), Err(OptionError::Critical(2_049)));
        let kept = RawOption { number: 2_048, value: b"x".to_vec() };
        assert_eq!(read(&[(2_048, b"x")]).unwrap().other, vec![kept]);
    }

    #[test]
    fn critical_option_of_the_application_is_kept() {
        let bytes = on_the_wire(&[(number::IF_NONE_MATCH, &[])]);
        let read = |critical: &[u16]| OptionSet::read(Options::new(&bytes), critical);
        assert_eq!(read(&[]), Err(OptionError::Critical(number::IF_NONE_MATCH)));
        let set = read(&[number::IF_NONE_MATCH]).unwrap();
        assert_eq!(set.other[0].number, number::IF_NONE_MATCH);
    }

    // RFC 7252 §5.4.5
    #[test]
    fn second_occurrence_is_refused_if_critical_and_ignored_if_elective() {
        let twice = read(&[(number::ACCEPT, &[40]), (number::ACCEPT, &[42])]);
        assert_eq!(twice, Err(OptionError::Critical(number::ACCEPT)));
        let twice = read(&[(number::MAX_AGE, &[1]), (number::MAX_AGE, &[2])]).unwrap();
        assert_eq!((twice.max_age, twice.other.len()), (Some(1), 0));
    }

    // RFC 7252 §5.4.3
    #[test]
    fn wrong_length_is_refused_if_critical_and_ignored_if_elective() {
        let long = read(&[(number::BLOCK1, &[0; 4])]);
        assert_eq!(long, Err(OptionError::Critical(number::BLOCK1)));
        assert_eq!(read(&[(number::ETAG, &[])]).unwrap(), OptionSet::default());
    }

    #[test]
    fn path_that_is_no_utf8_is_refused() {
        let bad = read(&[(number::URI_PATH, &[0xff])]);
        assert_eq!(bad, Err(OptionError::Critical(number::URI_PATH)));
    }

    #[test]
    fn block_size_exponent_7_and_proxies_have_their_own_answers() {
        let reserved = read(&[(number::BLOCK2, &[7])]);
        assert_eq!(reserved, Err(OptionError::ReservedBlockSize));
        let proxied = read(&[(number::PROXY_URI, b"coap://a/")]);
        assert_eq!(proxied, Err(OptionError::Proxy));
    }

    #[test]
    fn options_without_a_field_stand_where_their_numbers_belong() {
        let other = |number, byte| RawOption { number, value: vec![byte] };
        let set = OptionSet {
            path: vec!["u".to_string()],
            accept: Some(60),
            other: vec![
                other(65_000, 1),
                other(7, 2),
                other(11, 3),
                other(3, 4),
                other(65_000, 5),
                other(61, 6),
            ],
            ..OptionSet::default()
        };
        let mut bytes = Vec::new();
        set.write(&mut OptionWriter::new(&mut bytes));
        let mut options = Options::new(&bytes);
        let mut written = Vec::new();
        while let Ok(Some((number, value))) = options.next() {
            written.push((number, value[0]));
        }
        // One with the number of a field comes after the field.
        let wanted = [(3, 4), (7, 2), (11, b'u'), (11, 3), (17, 60), (61, 6), (65_000, 1), (65_000, 5)];
        assert_eq!(written, wanted);
    }

    proptest! {
        #[test]
        fn options_come_back_from_the_wire(
            path in proptest::collection::vec("[a-zé/]{0,20}", 0..4),
            accept in any::<Option<u16>>(),
            max_age in any::<Option<u32>>(),
            number in 0..=Block::NUMBER_MAX,
            exponent in 0u8..=6,
            tag in proptest::collection::vec(any::<u8>(), 1..=8),
        ) {
            let set = OptionSet {
                path,
                query: vec!["ep=a".to_string()],
                accept,
                max_age,
                etags: vec![ETag::new(&tag).unwrap()],
                block2: Some(Block::ask(number, BlockSize::from_exponent(exponent).unwrap())),
                other: vec![RawOption { number: 65_000, value: vec![1; 300] }],
                ..OptionSet::default()
            };
            let mut bytes = Vec::new();
            set.write(&mut OptionWriter::new(&mut bytes));
            prop_assert_eq!(OptionSet::read(Options::new(&bytes), &[]), Ok(set));
        }
    }
}
