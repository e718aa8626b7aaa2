//! Key chain, derivation, message authentication, key wrap and sealing.
//!
//! The only crate that turns a seed into anything. A message comes out of [`mac`] only after its MAC was verified
//! under a key that is bound to a place; what a device needs works without an allocator. Randomness and time are
//! arguments.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod chain;
pub mod content;
pub mod derive;
pub mod fork;
pub mod mac;
#[cfg(feature = "alloc")]
pub mod sealing;
pub mod secret;
pub mod seed;
pub mod share;
pub mod signed;
pub mod unit;
pub mod wrap;

pub use chain::{ChainLength, Link};
pub use content::{ContentAlgorithm, ContentCipher, ContentKey};
pub use derive::{DownKey, EnvelopeKey, KeyPlace, ManifestKey, UpKey, WrapKey};
pub use secret::{Secret, equal};
pub use seed::Seed;
pub use share::{PrivateShare, PublicShare, SharedSecret};
