//! Connection IDs: how a session is found whatever address its peer has now (RFC 9146).
//!
//! Layout of the 8 bytes that a server hands out, the only place that knows it:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | number of the shard, so that whoever stands before several shards can tell whose it is |
//! | 1–5 | 40 random bits |
//! | 6–7 | the first 16 bits of an HMAC-SHA-256 over what is before them |
//!
//! Read as a big-endian number it is the session's [`SessionId`], before and after it was hibernated. The
//! random bits are drawn again while a session in memory has them. Of a billion sessions that a server makes while
//! it keeps a million, a thousand meet another one's; such a pair has different keys, so what it costs is one
//! handshake.
//!
//! A record to a session that is not in memory is only looked up if its connection ID is one that we handed out, as far
//! as the 16 bits tell: whoever makes them up needs 65,000 datagrams for each look-up, and 2^36 for one that wakes a
//! session of a million. Who sees a session's datagrams can repeat its connection ID, and has one look-up for it.

use hmac::digest::Key;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::SessionId;
use crate::entropy::{self, EntropyError};
use crate::psk::Secret;

/// Makes the connection IDs of one shard, and knows them again.
pub(crate) struct Cids {
    shard: u8,
    keyed: Hmac<Sha256>,
}

impl Cids {
    /// Takes the secret that tells them from made-up ones; draws one where there is none.
    pub(crate) fn new(shard: u8, secret: Option<&Secret>) -> Result<Self, EntropyError> {
        let mut block = [0; BLOCK_BYTES];
        match secret {
            Some(secret) => block.iter_mut().zip(secret.expose()).for_each(|(to, from)| *to = *from),
            None => entropy::fill(&mut block)?,
        }
        Ok(Self { shard, keyed: Hmac::new(&Key::<Hmac<Sha256>>::from(block)) })
    }

    /// Draws a connection ID.
    pub(crate) fn draw(&self) -> Result<SessionId, EntropyError> {
        let mut bytes = [0; CID_BYTES];
        entropy::fill(&mut bytes)?;
        bytes[0] = self.shard;
        let mac = self.mac(bytes);
        bytes[MAC_AT..].copy_from_slice(&mac);
        Ok(read(bytes))
    }

    /// Tells whether a connection ID is of this shard, and not just made up.
    pub(crate) fn handed_out(&self, session: SessionId) -> bool {
        let bytes = write(session);
        bytes[0] == self.shard && self.mac(bytes).ct_eq(&bytes[MAC_AT..]).into()
    }

    fn mac(&self, bytes: [u8; CID_BYTES]) -> [u8; CID_BYTES - MAC_AT] {
        let mut mac = self.keyed.clone();
        mac.update(&bytes[..MAC_AT]);
        let [first, second, ..]: [u8; 32] = mac.finalize().into_bytes().into();
        [first, second]
    }
}

/// Reads a connection ID.
pub(crate) fn read(bytes: [u8; CID_BYTES]) -> SessionId {
    SessionId(u64::from_be_bytes(bytes))
}

/// Writes the connection ID of a session.
pub(crate) fn write(session: SessionId) -> [u8; CID_BYTES] {
    session.0.to_be_bytes()
}

/// Tells which shard handed it out.
pub(crate) fn shard(session: SessionId) -> u8 {
    write(session)[0]
}

/// The length of every connection ID that we hand out.
pub(crate) const CID_BYTES: usize = 8;

/// Where the bytes begin that prove the others.
const MAC_AT: usize = 6;

/// The block of SHA-256: a shorter key of an HMAC is filled up with zeros (RFC 2104 §2).
const BLOCK_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn cids(shard: u8, secret: &[u8]) -> Cids {
        Cids::new(shard, Secret::new(secret.to_vec()).as_ref()).unwrap()
    }

    #[test]
    fn connection_id_is_known_again_by_whoever_has_the_secret_and_the_shard() {
        let drawn = cids(3, b"secret").draw().unwrap();
        assert!(cids(3, b"secret").handed_out(drawn));
        assert_eq!(shard(drawn), 3);
        for other in [cids(4, b"secret"), cids(3, b"another"), Cids::new(3, None).unwrap()] {
            let drawn: Vec<_> = (0..4).map(|_| cids(3, b"secret").draw().unwrap()).collect();
            // By chance, one in 65,536 is.
            assert!(!drawn.iter().all(|&drawn| other.handed_out(drawn)));
        }
    }

    #[test]
    fn one_made_up_connection_id_in_65_536_looks_like_ours() {
        let cids = cids(0, b"secret");
        let all = (0..=u16::MAX).map(|last| SessionId(0x0012_3456_789a_0000 | u64::from(last)));
        assert_eq!(all.filter(|&made_up| cids.handed_out(made_up)).count(), 1);
    }
}
