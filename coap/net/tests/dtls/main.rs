//! The DTLS engine's tests, over a wire in memory and in virtual time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod handshake;
mod session;
mod wire;
