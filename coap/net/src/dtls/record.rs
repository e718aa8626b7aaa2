//! Views of DTLS 1.2 records and of the `ClientHello`, as far as a server must read them before it keeps
//! any state.

use thiserror::Error;

use super::cid::{self, CID_BYTES};
use crate::SessionId;

/// Says that a datagram is not made of DTLS 1.2 records; it is dropped and counted.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[error("not a DTLS 1.2 record")]
pub(crate) struct Malformed;

/// Shows one record of a datagram.
///
/// Source: RFC 6347 §4.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) content: Content,
    pub(crate) epoch: u16,
    /// 48 bits.
    pub(crate) sequence: u64,
    /// The connection ID it was sent to, where it has one.
    pub(crate) cid: Option<SessionId>,
    /// Header and body.
    pub(crate) bytes: &'a [u8],
}

/// Names the content type of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    ChangeCipherSpec,
    Alert,
    Handshake,
    Application,
    /// Encrypted, to a connection ID: what it carries is encrypted too (RFC 9146 §4).
    Cid,
}

impl Record<'_> {
    /// Tells whether the record carries no application traffic: everything in the clear, and the
    /// encrypted rest of a handshake.
    pub(crate) fn is_handshake_traffic(&self) -> bool {
        self.epoch == 0 || matches!(self.content, Content::Handshake | Content::ChangeCipherSpec)
    }
}

/// Splits a datagram into its records; ends after the first malformed one.
pub(crate) fn records(datagram: &[u8]) -> Records<'_> {
    Records { rest: Some(datagram) }
}

/// Iterates over the records of a datagram.
pub(crate) struct Records<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let Some((record, tail)) = split_record(rest) else {
            return Some(Err(Malformed));
        };
        self.rest = (!tail.is_empty()).then_some(tail);
        Some(Ok(record))
    }
}

fn split_record(input: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let mut header = input;
    let &[content, version_major, _, epoch_high, epoch_low, ref sequence @ ..] =
        take(&mut header, HEADER_BYTES - 2)?.first_chunk::<{ HEADER_BYTES - 2 }>()?;
    let content = content_of(content)?;
    let cid = match content {
        Content::Cid => Some(cid::read(*take(&mut header, CID_BYTES)?.first_chunk()?)),
        _ => None,
    };
    let length = usize::from(u16::from_be_bytes(*take(&mut header, 2)?.first_chunk()?));
    // A first ClientHello may say DTLS 1.0 (0xfeff) on the record layer, everything else says 1.2.
    if version_major != VERSION_MAJOR || length == 0 || length > BODY_BYTES_MAX {
        return None;
    }
    let (bytes, tail) = input.split_at_checked(input.len() - header.len() + length)?;
    let epoch = u16::from_be_bytes([epoch_high, epoch_low]);
    let sequence = sequence.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    Some((Record { content, epoch, sequence, cid, bytes }, tail))
}

fn content_of(number: u8) -> Option<Content> {
    match number {
        20 => Some(Content::ChangeCipherSpec),
        21 => Some(Content::Alert),
        22 => Some(Content::Handshake),
        23 => Some(Content::Application),
        25 => Some(Content::Cid),
        _ => None,
    }
}

/// Shows what a stateless server needs of a `ClientHello`.
///
/// Source: RFC 6347 §4.2.1, §4.2.2, §4.3.2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientHello<'a> {
    record_sequence: &'a [u8],
    message_sequence: &'a [u8],
    pub(crate) random: &'a [u8; 32],
    /// Version, random and session id.
    pub(crate) before_cookie: &'a [u8],
    pub(crate) cookie: &'a [u8],
    /// Cipher suites and compression methods.
    pub(crate) after_cookie: &'a [u8],
}

/// Reads a plaintext record as a `ClientHello`; `None` if it is another message.
///
/// # Errors
///
/// [`Malformed`] for a `ClientHello` that is truncated or split into fragments: keeping fragments would be
/// state for an address that proved nothing.
pub(crate) fn client_hello<'a>(record: &Record<'a>) -> Result<Option<ClientHello<'a>>, Malformed> {
    let body = record.bytes.get(HEADER_BYTES..).unwrap_or_default();
    if record.epoch != 0 || record.content != Content::Handshake || body.first() != Some(&CLIENT_HELLO) {
        return Ok(None);
    }
    parse_client_hello(record.bytes, body).map(Some).ok_or(Malformed)
}

fn parse_client_hello<'a>(record: &'a [u8], mut body: &'a [u8]) -> Option<ClientHello<'a>> {
    let header = take(&mut body, HANDSHAKE_HEADER_BYTES)?;
    let (length, fragment_offset, fragment_length) = (&header[1..4], &header[6..9], &header[9..12]);
    if fragment_offset != [0, 0, 0] || fragment_length != length {
        return None;
    }
    let length = usize::try_from(u32::from_be_bytes([0, length[0], length[1], length[2]])).ok()?;
    let hello = body.get(..length)?;
    let mut rest = hello;
    take(&mut rest, 2)?;
    let random = take(&mut rest, 32)?.first_chunk()?;
    take_counted(&mut rest)?;
    let before_cookie = &hello[..hello.len() - rest.len()];
    let cookie = take_counted(&mut rest)?;
    let from_suites = rest;
    let suites = take(&mut rest, 2)?;
    take(&mut rest, usize::from(u16::from_be_bytes([suites[0], suites[1]])))?;
    take_counted(&mut rest)?;
    Some(ClientHello {
        record_sequence: &record[5..11],
        message_sequence: &header[4..6],
        random,
        before_cookie,
        cookie,
        after_cookie: &from_suites[..from_suites.len() - rest.len()],
    })
}

/// Shows a part of a handshake message, or the whole of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) kind: u8,
    /// Bytes of the whole message.
    pub(crate) length: usize,
    pub(crate) message_sequence: u16,
    pub(crate) offset: usize,
    pub(crate) body: &'a [u8],
}

/// Iterates over the handshake messages and parts of such in a plaintext record; ends before the first malformed one.
///
/// Source: RFC 6347 §4.2.2.
pub(crate) fn fragments<'a>(record: &Record<'a>) -> impl Iterator<Item = Fragment<'a>> {
    let is_readable = record.epoch == 0 && record.content == Content::Handshake;
    let body = record.bytes.get(HEADER_BYTES..).filter(|_| is_readable);
    let mut rest = body.unwrap_or_default();
    std::iter::from_fn(move || split_fragment(&mut rest))
}

fn split_fragment<'a>(rest: &mut &'a [u8]) -> Option<Fragment<'a>> {
    let header: &[u8; HANDSHAKE_HEADER_BYTES] = take(rest, HANDSHAKE_HEADER_BYTES)?.first_chunk()?;
    let &[kind, l0, l1, l2, s0, s1, o0, o1, o2, b0, b1, b2] = header;
    let number = |a, b, c| usize::try_from(u32::from_be_bytes([0, a, b, c])).ok();
    let (length, offset) = (number(l0, l1, l2)?, number(o0, o1, o2)?);
    let body = take(rest, number(b0, b1, b2)?)?;
    let is_within = offset.checked_add(body.len()).is_some_and(|end| end <= length);
    is_within.then_some(Fragment {
        kind,
        length,
        message_sequence: u16::from_be_bytes([s0, s1]),
        offset,
        body,
    })
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (head, tail) = input.split_at_checked(count)?;
    *input = tail;
    Some(head)
}

/// Takes a value with a length byte before it.
fn take_counted<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = take(input, 1)?[0];
    take(input, usize::from(count))
}

/// Writes the datagram that asks the sender of `hello` to say it again with `cookie`.
///
/// It is smaller than any `ClientHello`, so a forged source address amplifies nothing.
///
/// Source: RFC 6347 §4.2.1, §4.2.2.
pub(crate) fn hello_verify_request(hello: &ClientHello<'_>, cookie: &[u8; COOKIE_BYTES]) -> Vec<u8> {
    const BODY: u8 = 3 + COOKIE_LENGTH;
    const MESSAGE: u8 = 12 + BODY;
    let mut datagram = Vec::with_capacity(HEADER_BYTES + usize::from(MESSAGE));
    // §4.2.1: the server should say version 1.0 here, whatever it will negotiate.
    datagram.extend_from_slice(&[22, VERSION_MAJOR, VERSION_1_0, 0, 0]);
    // §4.2.1: the record sequence number is the ClientHello's, since the server counts nothing yet.
    datagram.extend_from_slice(hello.record_sequence);
    datagram.extend_from_slice(&[0, MESSAGE, HELLO_VERIFY_REQUEST, 0, 0, BODY]);
    // The message number too: a client whose first cookie has expired waits for number 1, not 0.
    datagram.extend_from_slice(hello.message_sequence);
    datagram.extend_from_slice(&[0, 0, 0, 0, 0, BODY, VERSION_MAJOR, VERSION_1_0, COOKIE_LENGTH]);
    datagram.extend_from_slice(cookie);
    datagram
}

const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
const VERSION_MAJOR: u8 = 0xfe;
const VERSION_1_0: u8 = 0xff;
const HANDSHAKE_HEADER_BYTES: usize = 12;

/// Type, version, epoch, sequence number, length; a connection ID stands before the length.
pub(crate) const HEADER_BYTES: usize = 13;

/// The record bodies the engine has room for: 2,048 bytes of content and 256 for nonce, tag and padding.
pub(crate) const BODY_BYTES_MAX: usize = 2048 + 256;

/// The length of the cookies we hand out: a whole HMAC-SHA-256.
pub(crate) const COOKIE_BYTES: usize = COOKIE_LENGTH as usize;
const COOKIE_LENGTH: u8 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello(cookie: &[u8]) -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&[0, u8::try_from(cookie.len()).unwrap()]);
        body.extend_from_slice(cookie);
        body.extend_from_slice(&[0, 2, 0xc0, 0xa8, 1, 0]);
        let length = u8::try_from(body.len()).unwrap();
        let mut datagram = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 9, 0, length + 12];
        datagram.extend_from_slice(&[1, 0, 0, length, 0, 1, 0, 0, 0, 0, 0, length]);
        datagram.extend_from_slice(&body);
        datagram
    }

    fn only_record(datagram: &[u8]) -> Record<'_> {
        let mut records = records(datagram);
        let record = records.next().unwrap().unwrap();
        assert!(records.next().is_none());
        record
    }

    #[test]
    fn client_hello_is_split_around_its_cookie() {
        let datagram = hello(b"cookie");
        let hello = client_hello(&only_record(&datagram)).unwrap().unwrap();
        assert_eq!(hello.cookie, b"cookie");
        assert_eq!(hello.random, &[7; 32]);
        assert_eq!(hello.after_cookie, [0, 2, 0xc0, 0xa8, 1, 0]);
    }

    #[test]
    fn fragmented_client_hello_is_malformed() {
        let mut datagram = hello(b"");
        datagram[HEADER_BYTES + 11] -= 1;
        assert_eq!(client_hello(&only_record(&datagram)).map(|_| ()), Err(Malformed));
    }

    // RFC 6347 §4.2.1: both numbers are the ClientHello's.
    #[test]
    fn hello_verify_request_echoes_both_sequence_numbers() {
        let datagram = hello(b"");
        let hello = client_hello(&only_record(&datagram)).unwrap().unwrap();
        let reply = hello_verify_request(&hello, &[5; COOKIE_BYTES]);
        let record = only_record(&reply);
        assert_eq!(record.content, Content::Handshake);
        assert_eq!(&reply[5..11], &[0, 0, 0, 0, 0, 9]);
        assert_eq!(&reply[17..19], &[0, 1]);
        assert!(reply.ends_with(&[5; COOKIE_BYTES]));
        assert!(reply.len() < datagram.len() + COOKIE_BYTES);
    }

    #[test]
    fn record_that_is_longer_than_its_datagram_is_malformed() {
        let mut datagram = hello(b"");
        datagram.pop();
        assert!(records(&datagram).next().unwrap().is_err());
    }

    #[test]
    fn second_record_of_a_datagram_is_seen() {
        let mut datagram = hello(b"");
        datagram.extend_from_slice(&[20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1]);
        let contents: Vec<_> = records(&datagram).map(|r| r.unwrap().content).collect();
        assert_eq!(contents, [Content::Handshake, Content::ChangeCipherSpec]);
    }

    #[test]
    fn record_to_a_connection_id_is_longer_by_it() {
        let mut datagram = vec![25, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 2, 3, 7, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 1];
        let record = only_record(&datagram);
        assert_eq!((record.content, record.epoch, record.sequence), (Content::Cid, 1, 0x203));
        assert_eq!(record.cid, Some(SessionId(0x0700_0000_0000_0009)));
        assert_eq!(record.bytes.len(), datagram.len());
        datagram.pop();
        assert!(records(&datagram).next().unwrap().is_err());
        assert!(records(&datagram[..15]).next().unwrap().is_err());
    }

    #[test]
    fn fragment_that_exceeds_its_message_or_its_record_is_none() {
        let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 3, 0, 15, 16, 0, 0, 6, 0, 2];
        datagram.extend_from_slice(&[0, 0, 3, 0, 0, 3, 1, 2, 3]);
        let found: Vec<_> = fragments(&only_record(&datagram)).collect();
        assert_eq!((found.len(), found[0].offset, found[0].body), (1, 3, &[1, 2, 3][..]));
        assert_eq!((found[0].kind, found[0].length, found[0].message_sequence), (16, 6, 2));
        for (at, value) in [(21, 4), (24, 4)] {
            let mut lying = datagram.clone();
            lying[at] = value;
            assert_eq!(fragments(&only_record(&lying)).count(), 0, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_records_never_exceed_the_datagram(
            bytes in proptest::collection::vec(any::<u8>(), 0..256)
        ) {
            let mut total = 0;
            for record in records(&bytes).map_while(Result::ok) {
                total += record.bytes.len();
                let _ = client_hello(&record);
                let within: usize = fragments(&record).map(|one| one.body.len()).sum();
                prop_assert!(within <= record.bytes.len());
            }
            prop_assert!(total <= bytes.len());
        }

        #[test]
        fn damaged_client_hello_never_panics(at in 0_usize..90, value: u8, cut in 0_usize..90) {
            let mut datagram = hello(b"0123456789abcdef");
            let at = at % datagram.len();
            datagram[at] = value;
            datagram.truncate(datagram.len().saturating_sub(cut));
            for record in records(&datagram).map_while(Result::ok) {
                let _ = client_hello(&record);
            }
        }
    }
}
