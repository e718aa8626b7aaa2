//! One message on the wire (RFC 7252 §3).

use crate::code::Code;
use crate::option::set::{OptionError, OptionSet};
use crate::option::wire::{OptionWriter, Options, PAYLOAD_MARKER};
use alloc::vec::Vec;

/// The four bytes that every message starts with, token length aside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) code: Code,
    pub(crate) message_id: u16,
}

/// Message type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Con,
    Non,
    Ack,
    Rst,
}

/// Client-chosen bytes that tie a response to its request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Token {
    bytes: [u8; Self::BYTES_MAX],
    length: u8,
}

/// A message to send.
#[derive(Clone, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) header: Header,
    pub(crate) token: Token,
    pub(crate) options: OptionSet,
    pub(crate) payload: &'a [u8],
}

/// A message received: its form is right, its options may still refuse it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) header: Header,
    pub(crate) token: Token,
    pub(crate) options: Result<OptionSet, OptionError>,
    pub(crate) payload: Vec<u8>,
}

impl Header {
    /// Reads the start of a datagram, or nothing if it is too short or of another version.
    ///
    /// RFC 7252 §3: messages with unknown version numbers MUST be silently ignored.
    pub(crate) fn parse(datagram: &[u8]) -> Option<Self> {
        let [first, code, high, low, ..] = *datagram else {
            return None;
        };
        let kind = match first >> 4 {
            0b0100 => Kind::Con,
            0b0101 => Kind::Non,
            0b0110 => Kind::Ack,
            0b0111 => Kind::Rst,
            _ => return None,
        };
        Some(Self { kind, code: Code(code), message_id: u16::from_be_bytes([high, low]) })
    }

    /// Writes a message that is nothing but this header.
    pub(crate) fn alone(self) -> Vec<u8> {
        self.before_token(0).to_vec()
    }

    fn before_token(self, token_bytes: u8) -> [u8; HEADER_BYTES] {
        let first = 0b0100_0000 | self.kind.bits() << 4 | token_bytes;
        let [high, low] = self.message_id.to_be_bytes();
        [first, self.code.0, high, low]
    }
}

impl Kind {
    fn bits(self) -> u8 {
        match self {
            Self::Con => 0,
            Self::Non => 1,
            Self::Ack => 2,
            Self::Rst => 3,
        }
    }
}

impl Token {
    const BYTES_MAX: usize = 8; // RFC 7252 §3

    /// Takes at most eight bytes; the reader refuses a message with more.
    pub(crate) fn new(value: &[u8]) -> Self {
        let mut token = Self::default();
        for (byte, value) in token.bytes.iter_mut().zip(value) {
            *byte = *value;
            token.length += 1;
        }
        token
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Received {
    /// Reads a datagram whose header was read; `None` is a message format error.
    pub(crate) fn parse(header: Header, datagram: &[u8], critical_options: &[u16]) -> Option<Self> {
        let token_bytes = usize::from(datagram.first()? & 0x0f);
        if token_bytes > Token::BYTES_MAX {
            return None;
        }
        let (token, rest) = datagram.get(HEADER_BYTES..)?.split_at_checked(token_bytes)?;
        let options = Options::new(rest);
        let payload = options.clone().payload().ok()?;
        // RFC 7252 §4.1: an Empty message with bytes after the Message ID is a message format error.
        if header.code == Code::EMPTY && datagram.len() > HEADER_BYTES {
            return None;
        }
        Some(Self {
            header,
            token: Token::new(token),
            options: OptionSet::read(options, critical_options),
            payload: payload.to_vec(),
        })
    }
}

impl Message<'_> {
    /// Writes the message, or nothing if it is longer than `bytes_max`.
    pub(crate) fn to_bytes(&self, bytes_max: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.header.before_token(self.token.length));
        bytes.extend_from_slice(self.token.as_bytes());
        self.options.write(&mut OptionWriter::new(&mut bytes));
        if !self.payload.is_empty() {
            bytes.push(PAYLOAD_MARKER);
            bytes.extend_from_slice(self.payload);
        }
        (bytes.len() <= bytes_max).then_some(bytes)
    }
}

const HEADER_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn parse(datagram: &[u8]) -> Option<Received> {
        Received::parse(Header::parse(datagram)?, datagram, &[])
    }

    #[test]
    fn short_datagram_and_other_version_have_no_header() {
        assert_eq!(Header::parse(&[0x40, 1, 0]), None);
        assert_eq!(Header::parse(&[0x80, 1, 0, 0]), None);
    }

    #[test]
    fn empty_message_is_four_bytes() {
        let header = Header { kind: Kind::Rst, code: Code::EMPTY, message_id: 0x1234 };
        assert_eq!(header.alone(), [0x70, 0, 0x12, 0x34]);
        assert_eq!(Header::parse(&header.alone()), Some(header));
    }

    #[test]
    fn format_errors_are_refused() {
        let errors: [&[u8]; 8] = [
            &[0x49, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], // token of 9 bytes
            &[0x44, 1, 0, 0, 1],                         // token cut off
            &[0x40, 1, 0, 0, 0xf0],                      // option delta 15
            &[0x40, 1, 0, 0, 0x0f],                      // option length 15
            &[0x40, 1, 0, 0, 0xb4, b'a'],                // option cut off
            &[0x40, 1, 0, 0, 0xff],                      // marker without payload
            &[0x40, 0, 0, 0, 0],                         // Empty with a byte more
            &[0x41, 0, 0, 0, 0],                         // Empty with a token
        ];
        for datagram in errors {
            assert!(parse(datagram).is_none(), "{datagram:02x?}");
        }
    }

    #[test]
    fn option_value_that_ends_in_the_marker_byte_is_no_error() {
        let received = parse(&[0x40, 1, 0, 0, 0xd1, 0, 0xff]).unwrap();
        assert_eq!(received.options, Err(OptionError::Critical(13)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(datagram in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&datagram);
        }

        #[test]
        fn messages_come_back_from_the_wire(
            kind in prop_oneof![Just(Kind::Con), Just(Kind::Non), Just(Kind::Ack)],
            code in 1u8..=255,
            message_id in any::<u16>(),
            token in proptest::collection::vec(any::<u8>(), 0..=8),
            payload in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let message = Message {
                header: Header { kind, code: Code(code), message_id },
                token: Token::new(&token),
                options: OptionSet { path: vec!["a".to_string()], ..OptionSet::default() },
                payload: &payload,
            };
            let received = parse(&message.to_bytes(1280).unwrap()).unwrap();
            prop_assert_eq!(received.header, message.header);
            prop_assert_eq!(received.token, message.token);
            prop_assert_eq!(received.options, Ok(message.options));
            prop_assert_eq!(received.payload, payload);
        }
    }
}
