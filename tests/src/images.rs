//! Firmware that tests make up.

/// Makes an image of a microcontroller: `bytes` that do not compress, the same for the same seed.
pub fn image(seed: u32, bytes: usize) -> Vec<u8> {
    // xorshift32, Marsaglia 2003.
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..bytes).map(|_| next()).collect()
}

/// Makes the next version of an image: an insertion, a deletion and scattered changes.
pub fn next_version(image: &[u8]) -> Vec<u8> {
    let third = image.len() / 3;
    let mut next = image.to_vec();
    next.drain(2 * third..2 * third + 100);
    next.splice(third..third, b"a new function of the firmware".repeat(8));
    for at in (0..next.len()).step_by(997) {
        next[at] ^= 0x55;
    }
    next
}

/// SHA-256 of an image.
pub fn digest(image: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(image).into()
}

/// Makes an image that is a program of this machine: it says its version and runs until its input closes; its
/// self-test ends with `self_test`. What fills it up to `bytes` depends on the version.
pub fn program(version: &str, self_test: u8, bytes: usize) -> Vec<u8> {
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --self-test ]; then exit {self_test}; fi\n\
         echo \"lamp firmware {version} shines\"\ncat >/dev/null\nexit 0\n# "
    );
    let seed = version.bytes().fold(7, |seed: u32, byte| seed.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let filling = image(seed, bytes.saturating_sub(script.len()));
    let filling = filling.into_iter().map(|byte| b'a' + byte % 26);
    script.into_bytes().into_iter().chain(filling).collect()
}
