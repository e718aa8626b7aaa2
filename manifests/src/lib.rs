//! SUIT manifests and Bellwether's own messages: read, verify, run, author.
//!
//! Reading needs no allocator: every type borrows from the received bytes. The feature `alloc` adds owned
//! values, `author` adds what signs and writes manifests and anchors.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod anchors;
#[cfg(feature = "author")]
pub mod author;
pub mod cbor;
pub mod cose;
pub mod definition;
pub mod envelope;
pub mod frame;
pub mod link;
pub mod manifest;
pub mod message;
pub mod report;
pub mod run;
pub mod version;
