//! Connection IDs: how a session is found whatever address its peer has now (RFC 9146).
//!
//! Layout of the 8 bytes that a server hands out, the only place that knows it:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | number of the shard, so that whoever stands before several shards can tell whose it is |
//! | 1–7 | 56 random bits |
//!
//! Read as a big-endian number it is the session's [`SessionId`], before and after it was hibernated. The
//! random bits are drawn again while a session in memory has them. Over the life of a server that makes a
//! billion sessions and keeps a million, the chance that any of them ever meets another one's is 1 in 70; such
//! a pair has different keys, so what it would cost is one handshake. Nobody who does not see a session's
//! datagrams can name it, and so wake it.

use crate::SessionId;
use crate::entropy::{self, EntropyError};

/// Reads a connection ID.
pub(crate) fn read(bytes: [u8; CID_BYTES]) -> SessionId {
    SessionId(u64::from_be_bytes(bytes))
}

/// Writes the connection ID of a session.
pub(crate) fn write(session: SessionId) -> [u8; CID_BYTES] {
    session.0.to_be_bytes()
}

/// Draws a connection ID of a shard.
pub(crate) fn draw(shard: u8) -> Result<SessionId, EntropyError> {
    let mut bytes = [0; CID_BYTES];
    entropy::fill(&mut bytes)?;
    bytes[0] = shard;
    Ok(read(bytes))
}

/// Tells which shard handed it out.
pub(crate) fn shard(session: SessionId) -> u8 {
    write(session)[0]
}

/// The length of every connection ID that we hand out.
pub(crate) const CID_BYTES: usize = 8;
