//! The fork head: a digest over all confirming reports of an identity, by which two devices with one seed are told
//! apart.

use bellwether_manifests::message::Digest;
use sha2::{Digest as _, Sha256};

/// Fork head of an identity.
pub type ForkHead = [u8; 8];

/// Fork head before the first report; re-seeding does not reset it.
pub const FIRST: ForkHead = [0; 8];

/// Moves the fork head over a confirming report, given by the digest of its bytes.
///
/// First 8 bytes of SHA-256("bw1 fork" ‖ head ‖ digest).
#[must_use]
pub fn next(head: &ForkHead, report: &Digest) -> ForkHead {
    let digest: Digest =
        Sha256::new().chain_update(b"bw1 fork").chain_update(head).chain_update(report).finalize().into();
    let mut next = FIRST;
    next.copy_from_slice(&digest[..8]);
    next
}
