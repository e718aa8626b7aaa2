//! The fork head: a short hash over all confirming reports of an identity.

use crate::identity::{Digest, ForkHead};
use sha2::{Digest as _, Sha256};

/// Moves a fork head over a confirming report: the first 8 bytes of SHA-256("bw1 fork" ‖ head ‖ report digest).
#[must_use]
pub fn fork_after(head: ForkHead, report: &Digest) -> ForkHead {
    let hash: Digest =
        Sha256::new().chain_update(b"bw1 fork").chain_update(head).chain_update(report).finalize().into();
    let mut next = ForkHead::default();
    next.copy_from_slice(&hash[..8]);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    // Published vector "report-installed": its digest, and the fork head after it.
    #[test]
    fn fork_head_moves_as_the_published_vector_says() {
        let head = [0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08];
        let report = [
            0xad, 0x05, 0x12, 0xa7, 0xa7, 0x4d, 0x26, 0x31, 0xfc, 0x6c, 0x78, 0xe8, 0x9a, 0xbc, 0x45, 0x4c,
            0x3f, 0xf1, 0x48, 0x55, 0xb5, 0xbf, 0xcc, 0xa2, 0xc9, 0x62, 0x7c, 0xef, 0x14, 0xa5, 0xa9, 0x16,
        ];
        assert_eq!(fork_after(head, &report), [0x73, 0x2e, 0x52, 0x66, 0xd9, 0x3f, 0xc1, 0x0c]);
    }
}
