//! Randomness of the operating system.

use bellwether_agent::platform::Random;

/// The operating system's generator; checked once, at [`OsRandom::open`].
#[derive(Debug)]
pub(crate) struct OsRandom(());

impl OsRandom {
    /// Draws once, to find out whether there is randomness at all.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn open() -> Result<Self, getrandom::Error> {
        draw(&mut [0; 16])?;
        Ok(Self(()))
    }
}

impl Random for OsRandom {
    fn fill(&mut self, into: &mut [u8]) {
        // Linux's generator does not fail once it has given bytes (getrandom(2)). Should it do so all the same, a
        // nonce of zeros would be refused as a repetition: a device must not go on with one.
        if draw(into).is_err() {
            std::process::abort();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell; its randomness enters here alone")]
fn draw(into: &mut [u8]) -> Result<(), getrandom::Error> {
    getrandom::fill(into)
}
