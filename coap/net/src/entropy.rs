//! Randomness of the operating system: the one place of this crate that draws it.

use thiserror::Error;

/// Says that the operating system gave no random bytes; no handshake can be made.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[error("the operating system gave no random bytes")]
pub struct EntropyError;

/// Fills `bytes` with randomness of the operating system.
#[expect(clippy::disallowed_methods, reason = "this crate is a shell; its randomness enters here alone")]
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), EntropyError> {
    getrandom::fill(bytes).map_err(|_| EntropyError)
}
