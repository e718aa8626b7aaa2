//! The one place of the server that reads a clock and draws randomness.

use std::time::{SystemTime, UNIX_EPOCH};

/// Gives seconds since 1970, UTC; 0 where the machine's clock stands before that.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the shell's clock; decisions get the value as an argument")]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Draws random bytes from the system.
///
/// # Errors
///
/// The system has no randomness to give; nothing secret may be made then.
#[expect(clippy::disallowed_methods, reason = "the shell's randomness; rooms get the bytes as an argument")]
pub fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
