//! The identity that a client names, in however many fragments its key exchange comes.

use super::record::{Fragment, Record, fragments};
use crate::psk::IDENTITY_BYTES_MAX;

/// Puts the `ClientKeyExchange` of one handshake together, to know whose key is wanted before it is read.
///
/// Nothing here is authentic: what comes last counts, and a handshake that somebody meddles with fails by itself.
///
/// Source: RFC 4279 §2, RFC 6347 §4.2.3.
#[derive(Default)]
pub(crate) struct KeyExchange {
    /// Which message it is, by its number; another one takes its place.
    message_sequence: u16,
    body: Vec<u8>,
    /// Which bytes of it are there.
    is_there: Vec<bool>,
}

impl KeyExchange {
    /// Takes what a record holds of the message; gives the identity if it holds any of it, and all of it is there by
    /// now.
    pub(crate) fn add(&mut self, record: &Record<'_>) -> Option<&[u8]> {
        let mut any = false;
        for fragment in fragments(record).filter(|fragment| fragment.kind == CLIENT_KEY_EXCHANGE) {
            any = true;
            self.fill(&fragment);
        }
        self.identity().filter(|_| any)
    }

    fn fill(&mut self, fragment: &Fragment<'_>) {
        if (fragment.message_sequence, fragment.length) != (self.message_sequence, self.body.len()) {
            // One that is longer names nobody whom we could know.
            let length = if fragment.length <= MESSAGE_BYTES_MAX { fragment.length } else { 0 };
            self.message_sequence = fragment.message_sequence;
            self.body = vec![0; length];
            self.is_there = vec![false; length];
        }
        let range = fragment.offset..fragment.offset + fragment.body.len();
        if let (Some(body), Some(there)) = (self.body.get_mut(range.clone()), self.is_there.get_mut(range)) {
            body.copy_from_slice(fragment.body);
            there.fill(true);
        }
    }

    fn identity(&self) -> Option<&[u8]> {
        let (count, identity) = self.body.split_first_chunk()?;
        let is_whole = self.is_there.iter().all(|&there| there);
        identity.get(..usize::from(u16::from_be_bytes(*count))).filter(|_| is_whole)
    }
}

const CLIENT_KEY_EXCHANGE: u8 = 16;

/// The longest identity and its length.
const MESSAGE_BYTES_MAX: usize = 2 + IDENTITY_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtls::record::records;
    use proptest::prelude::*;

    /// A record with bytes of a key exchange of `length` bytes.
    fn record(sequence: u16, length: usize, offset: usize, bytes: &[u8]) -> Vec<u8> {
        let three = |number: usize| u32::try_from(number).unwrap().to_be_bytes()[1..].to_vec();
        let mut message = vec![16];
        message.extend(three(length));
        message.extend(sequence.to_be_bytes());
        message.extend(three(offset));
        message.extend(three(bytes.len()));
        message.extend_from_slice(bytes);
        let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 3];
        record.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
        record.extend(message);
        record
    }

    fn named(exchange: &mut KeyExchange, datagram: &[u8]) -> Option<Vec<u8>> {
        let record = records(datagram).next().unwrap().unwrap();
        exchange.add(&record).map(<[u8]>::to_vec)
    }

    #[test]
    fn whole_message_names_its_identity_at_once_and_again() {
        let mut exchange = KeyExchange::default();
        for _ in 0..2 {
            let said = named(&mut exchange, &record(2, 6, 0, b"\x00\x04lamp"));
            assert_eq!(said.as_deref(), Some(&b"lamp"[..]));
        }
    }

    #[test]
    fn another_message_takes_the_place_of_the_one_before() {
        let mut exchange = KeyExchange::default();
        assert_eq!(named(&mut exchange, &record(2, 6, 0, b"\x00\x04la")), None);
        assert_eq!(named(&mut exchange, &record(3, 6, 4, b"mp")), None);
        assert_eq!(named(&mut exchange, &record(3, 6, 0, b"\x00\x04so")), Some(b"somp".to_vec()));
    }

    #[test]
    fn message_that_is_too_long_or_lies_about_its_identity_names_nobody() {
        let mut exchange = KeyExchange::default();
        let long = vec![0; MESSAGE_BYTES_MAX + 1];
        assert_eq!(named(&mut exchange, &record(2, long.len(), 0, &long)), None);
        assert!(exchange.body.is_empty());
        assert_eq!(named(&mut exchange, &record(2, 6, 0, b"\x00\x05lamp")), None);
        assert_eq!(named(&mut exchange, &record(2, 1, 0, b"\x00")), None);
        assert_eq!(named(&mut exchange, &record(2, 0, 0, b"")), None);
    }

    #[test]
    fn record_without_any_of_the_message_names_nobody() {
        let mut exchange = KeyExchange::default();
        named(&mut exchange, &record(2, 6, 0, b"\x00\x04lamp"));
        assert_eq!(named(&mut exchange, &[20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 1]), None);
    }

    proptest! {
        #[test]
        fn identity_is_known_exactly_when_the_last_piece_has_come(
            name in "[a-z]{1,40}",
            size in 1_usize..12,
            order in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
        ) {
            let mut body = u16::try_from(name.len()).unwrap().to_be_bytes().to_vec();
            body.extend_from_slice(name.as_bytes());
            let pieces: Vec<_> = body.chunks(size).enumerate()
                .map(|(n, chunk)| record(2, body.len(), n * size, chunk)).collect();
            let (mut exchange, mut seen) = (KeyExchange::default(), std::collections::BTreeSet::new());
            for at in order.iter().map(|index| index.index(pieces.len())).chain(0..pieces.len()) {
                seen.insert(at);
                let said = named(&mut exchange, &pieces[at]);
                prop_assert_eq!(said.is_some(), seen.len() == pieces.len());
                prop_assert!(said.is_none_or(|said| said == name.as_bytes()));
            }
        }
    }
}
