//! The DTLS engine's tests, over a wire in memory and in virtual time.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod blockwise;
mod cid;
mod faults;
mod handshake;
mod keys;
mod session;
mod sleep;
mod wire;
