//! Options on the wire: each with the difference of its number to the one before (RFC 7252 §3.1).

use alloc::vec::Vec;

/// Walks over the options of a message, up to its payload.
#[derive(Clone, Debug)]
pub(crate) struct Options<'a> {
    rest: &'a [u8],
    number: u16,
}

/// What follows the token is no sequence of options.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Malformed;

/// Writes options, each with a number no lower than that of the one before.
#[derive(Debug)]
pub(crate) struct OptionWriter<'a> {
    out: &'a mut Vec<u8>,
    last: u16,
}

impl<'a> Options<'a> {
    /// Takes what follows the token.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, number: 0 }
    }

    /// Reads the next option's number and value; `None` once there are no more.
    pub(crate) fn next(&mut self) -> Result<Option<(u16, &'a [u8])>, Malformed> {
        let Some((&head, mut rest)) = self.rest.split_first() else { return Ok(None) };
        if head == PAYLOAD_MARKER {
            return Ok(None);
        }
        let step = extended(head >> 4, &mut rest)?;
        let length = extended(head & 0x0f, &mut rest)?;
        let number = u32::from(self.number) + step;
        let (value, rest) = rest.split_at_checked(length as usize).ok_or(Malformed)?;
        self.number = u16::try_from(number).map_err(|_| Malformed)?;
        self.rest = rest;
        Ok(Some((self.number, value)))
    }

    /// Walks over what is left and gives the payload.
    ///
    /// RFC 7252 §3: a payload marker followed by a zero-length payload MUST be processed as a message format error.
    pub(crate) fn payload(mut self) -> Result<&'a [u8], Malformed> {
        while self.next()?.is_some() {}
        match self.rest {
            [] => Ok(&[]),
            [_] => Err(Malformed),
            [_, payload @ ..] => Ok(payload),
        }
    }
}

impl<'a> OptionWriter<'a> {
    /// Writes behind what is there, which ends with the token.
    pub(crate) const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, last: 0 }
    }

    /// Writes an option; one that no message has room for stands there cut, and makes the message too long.
    pub(crate) fn add(&mut self, number: u16, value: &[u8]) {
        let (step, step_more) = nibble(usize::from(number.saturating_sub(self.last)));
        let (length, length_more) = nibble(value.len());
        self.out.push(step << 4 | length);
        for (nibble, more) in [(step, step_more), (length, length_more)] {
            let [high, low] = more.to_be_bytes();
            if nibble == IN_TWO_BYTES {
                self.out.push(high);
            }
            if nibble >= IN_ONE_BYTE {
                self.out.push(low);
            }
        }
        self.out.extend_from_slice(value);
        self.last = number;
    }
}

/// Reads what stands for a nibble.
fn extended(nibble: u8, rest: &mut &[u8]) -> Result<u32, Malformed> {
    let more = match nibble {
        ..IN_ONE_BYTE => return Ok(nibble.into()),
        IN_ONE_BYTE => 1,
        IN_TWO_BYTES => 2,
        _ => return Err(Malformed),
    };
    let (bytes, behind) = rest.split_at_checked(more).ok_or(Malformed)?;
    *rest = behind;
    let number = bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    Ok(number + if nibble == IN_ONE_BYTE { ONE_BYTE_FROM } else { TWO_BYTES_FROM })
}

/// The nibble for a number, and what stands in the bytes after it, if any do.
fn nibble(number: usize) -> (u8, u16) {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let more = |from: u32| u16::try_from(number - from).unwrap_or(u16::MAX);
    match number {
        ..ONE_BYTE_FROM => (number.to_be_bytes()[3], 0),
        ONE_BYTE_FROM..TWO_BYTES_FROM => (IN_ONE_BYTE, more(ONE_BYTE_FROM)),
        _ => (IN_TWO_BYTES, more(TWO_BYTES_FROM)),
    }
}

/// Stands before a payload.
pub(crate) const PAYLOAD_MARKER: u8 = 0xff;

// RFC 7252 §3.1: up to 12 in the nibble, up to 268 in one byte more, else in two.
const IN_ONE_BYTE: u8 = 13;
const IN_TWO_BYTES: u8 = 14;
const ONE_BYTE_FROM: u32 = 13;
const TWO_BYTES_FROM: u32 = 269;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use coap_lite::{CoapOption, Packet};
    use proptest::prelude::*;

    #[test]
    fn every_form_of_step_and_length_comes_back() {
        let options = [(12, 12), (25, 13), (293, 268), (562, 269), (562, 0), (u16::MAX, 1000)];
        let values = options.map(|(number, length)| (number, vec![7; length]));
        let mut bytes = Vec::new();
        let mut writer = OptionWriter::new(&mut bytes);
        for (number, value) in &values {
            writer.add(*number, value);
        }
        let mut read = Options::new(&bytes);
        for (number, value) in &values {
            assert_eq!(read.next(), Ok(Some((*number, value.as_slice()))));
        }
        assert_eq!(read.next(), Ok(None));
    }

    #[test]
    fn number_past_the_last_is_refused() {
        // 65,535, then one more.
        let mut options = Options::new(&[0xe0, 0xfe, 0xf2, 0x10]);
        assert_eq!(options.next(), Ok(Some((u16::MAX, &[][..]))));
        assert_eq!(options.next(), Err(Malformed));
    }

    /// Bytes like those of options: small heads, and those that ask for more.
    fn like_options() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![0..4_u8, any::<u8>(), (0..16_u8).prop_map(|step| step << 4), Just(0xff)];
        proptest::collection::vec(byte, 0..60)
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_another_codec_reads(options in like_options()) {
            let message = [&[0x40, 1, 0, 0][..], &options].concat();
            let theirs = Packet::from_bytes(&message);
            let mut ours = Vec::new();
            let mut walk = Options::new(&options);
            while let Ok(Some((number, value))) = walk.next() {
                ours.push((number, value.to_vec()));
            }
            match (Options::new(&options).payload(), theirs) {
                (Ok(payload), Ok(packet)) => {
                    let values = |(number, values): (&u16, &alloc::collections::LinkedList<Vec<u8>>)| {
                        values.iter().map(|value| (*number, value.clone())).collect::<Vec<_>>()
                    };
                    prop_assert_eq!(ours, packet.options().flat_map(values).collect::<Vec<_>>());
                    prop_assert_eq!(payload, packet.payload);
                }
                // The other codec lets a marker without a payload pass.
                (Err(Malformed), Ok(packet)) => {
                    prop_assert!(packet.payload.is_empty());
                    prop_assert_eq!(options.last(), Some(&PAYLOAD_MARKER));
                }
                (ours, theirs) => prop_assert!(ours.is_err() && theirs.is_err()),
            }
        }

        #[test]
        fn what_is_written_is_what_another_codec_writes(
            options in proptest::collection::vec((any::<u16>(), 0..400_usize), 0..8),
        ) {
            let mut options = options;
            options.sort_unstable_by_key(|(number, _)| *number);
            let mut ours = vec![0x40, 1, 0, 0];
            let mut writer = OptionWriter::new(&mut ours);
            let mut packet = Packet::new();
            packet.header.code = coap_lite::MessageClass::from(1);
            for (number, length) in options {
                writer.add(number, &vec![9; length]);
                packet.add_option(CoapOption::from(number), vec![9; length]);
            }
            prop_assert_eq!(ours, packet.to_bytes_unlimited().unwrap());
        }
    }
}
