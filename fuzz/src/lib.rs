//! Hostile input for every parser of what comes from outside, and what must hold for it.
//!
//! A target is a function from bytes to nothing: it reads them the way the product does, and asserts more than that
//! nothing panics: what was read can be written and is read as the same, what claims one form has one, bounds of
//! memory and progress hold, and a right signature or MAC is made around what is hostile, so that nothing stops at
//! that door. The same functions are run three ways:
//!
//! - `cargo test -p bellwether-fuzz` replays the committed corpus and mutates it for a fixed number of executions,
//!   the same ones in each run;
//! - `make fuzz` runs them under libFuzzer, which keeps what reaches new code;
//! - `cargo run -p bellwether-fuzz -- run TARGET FILE` replays one input.
//!
//! What is found lies in `corpus/` from then on, and a test in the crate that was at fault.

#[cfg(feature = "services")]
mod backup;
mod cbor;
mod coap;
pub mod corpus;
mod delta;
mod delta_modes;
#[cfg(feature = "services")]
mod door;
#[cfg(feature = "services")]
mod dormant;
#[cfg(feature = "services")]
mod dtls;
mod flash;
#[cfg(feature = "services")]
mod gateway;
mod image;
mod input;
#[cfg(feature = "services")]
mod json;
mod lwm2m;
mod manifest;
mod message;
pub mod mutation;
mod sealed;
#[cfg(feature = "services")]
mod store;
pub mod targets;
mod vector;

pub use targets::{TARGETS, Target};
