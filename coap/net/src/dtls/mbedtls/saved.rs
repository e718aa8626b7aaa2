//! The form of a saved session, verified before C reads it.
//!
//! Mbed TLS trusts what it is to load: it copies a connection ID of whatever length is said into the 32 bytes that it
//! has for one. Sessions are kept sealed, so only who holds the server's master key could use that; but what takes
//! any bytes in Rust shall not write beyond its own whatever they are.

use super::ffi::PEER_CID_BYTES_MAX;
use crate::dtls::cid::CID_BYTES;

/// Tells whether bytes are the state of a server's session under its connection ID, of any keys and sequence numbers.
///
/// They are (`mbedtls_ssl_context_save`): 8 bytes of version and build; the TLS session behind its length in four;
/// 64 random bytes of the handshake; our connection ID and the peer's, each behind its length in one; what is left is
/// numbers, and the length of a protocol name, of which there is none.
pub(super) fn is_session_of(cid: [u8; CID_BYTES], state: &[u8]) -> bool {
    parts(state).is_some_and(|Parts { session, own, peers, numbers }| {
        session.starts_with(&SESSION_START)
            && own == cid
            && peers.len() <= PEER_CID_BYTES_MAX
            && numbers.len() == NUMBERS_BYTES
            && numbers.last() == Some(&0)
    })
}

/// What of a state has a length that is said in it, and what follows.
struct Parts<'a> {
    session: &'a [u8],
    own: &'a [u8],
    peers: &'a [u8],
    numbers: &'a [u8],
}

fn parts(state: &[u8]) -> Option<Parts<'_>> {
    let (length, rest) = state.get(VERSION_BYTES..)?.split_first_chunk()?;
    let (session, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let (own, rest) = counted(rest.get(RANDOM_BYTES..)?)?;
    let (peers, numbers) = counted(rest)?;
    Some(Parts { session, own, peers, numbers })
}

/// Splits off what stands behind its length in one byte.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Version of Mbed TLS and the options that change the form; C compares them with its own.
const VERSION_BYTES: usize = 8;

/// DTLS 1.2, a server's, PSK-AES128-CCM8.
const SESSION_START: [u8; 4] = [0x03, 0x01, 0xc0, 0xa8];

/// Of the client and of the server, 32 each (RFC 5246 §7.4.1).
const RANDOM_BYTES: usize = 64;

/// Records with a wrong MAC (4), replay window (16), a flag, next sequence number (8), largest datagram (2), length of
/// the protocol's name.
const NUMBERS_BYTES: usize = 4 + 16 + 1 + 8 + 2 + 1;
