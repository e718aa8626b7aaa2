//! Delta updates: made on the server, applied as a stream in small RAM.
//!
//! A patch turns a *base* image that a device runs into the *target* image. [`Patcher`] takes the patch in
//! pieces of any size, reads the base where it needs it, and gives the target out in order. It is `no_std`,
//! allocates nothing, and is a value of at most 8 KiB ([`ram_bytes`]; [`PatcherOf`] of 4 or 16), whatever the images' sizes.
//!
//! ```
//! # #[cfg(feature = "make")] {
//! use bellwether_delta::{Algorithm, Patcher, make};
//!
//! let (base, target) = (b"lamp version 1, 60 watts", b"lamp version 2, 60 watts");
//! let patch = make::make(base, target).unwrap();
//!
//! let mut slot = Vec::new();
//! let mut patcher = Patcher::new(patch.algorithm.0, 24, 24, &patch.parameters).unwrap();
//! for piece in patch.bytes.chunks(5) {
//!     patcher.push(piece, &mut &base[..], &mut slot).unwrap();
//! }
//! patcher.finish(&mut &base[..], &mut slot).unwrap();
//! assert_eq!(slot, target);
//! # }
//! ```
//!
//! # After a power cut
//!
//! With a slot for each image a patcher need keep nothing in flash: the same patch over the same base gives the same bytes
//! at the same place, so a device starts again with the patch's first byte, and its sink may skip what the slot already
//! holds. Or it stops after any [`OUT_BYTES`] ([`PatcherOf::push_page`]), writes itself down
//! ([`PatcherOf::checkpoint`], [`checkpoint_bytes`]) and goes on from there ([`PatcherOf::resume`]), without what came
//! of the patch before.
//!
//! # One slot
//!
//! A patch that was made for it takes the place of its base, page by page ([`Slot`], [`PatcherOf::push_in_place`]): pages of
//! the base are kept in a few spare ones as long as the patch may need them, and a checkpoint is saved before each page.
//! Whatever write the power goes in, [`PatcherOf::resume_in_place`] goes on from the newest whole one of this very patch
//! ([`checkpoint_made`]): those of the patch before may still be there.
//!
//! # Dry run
//!
//! The header of a patch and its base are checked before anything is given out. To know that the whole patch gives its target,
//! push it with [`HashOnly`] in place of a slot: nothing is written.
//!
//! # What a device builds in
//!
//! Each architecture is a feature, and so is one slot for both images; all are on by default. Without its architecture a
//! patch is refused as [`PatchError::Header`], and one for a single slot as [`PatchError::InPlace`].
//!
//! # What is trusted
//!
//! Nothing. A malformed patch ends in an error; it never reads outside the base, never gives out more than
//! the target's size, and never runs longer than a fixed number of steps per byte of the target. It may give
//! out wrong bytes before, so the digest of the result decides.
#![no_std]
#![forbid(unsafe_code)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "positions are below 2^28, chances and weights below 2^16, and what is cut off is meant to be"
)]

#[cfg(any(test, feature = "make"))]
extern crate std;

mod anchors;
mod apply;
mod chance;
mod checkpoint;
mod codec;
mod coder;
mod digest;
mod dry;
mod error;
mod fields;
pub mod format;
mod header;
mod image;
#[cfg(any(test, feature = "make"))]
pub mod make;
mod numbers;
#[cfg(feature = "one-slot")]
mod one_slot;
mod order;
mod outline;
mod space;
mod store;
mod substitutions;

pub use apply::PatcherOf;
pub use checkpoint::{CHECKPOINT_BESIDES_BYTES, checkpoint_bytes, checkpoint_made};
pub use coder::Subject;
pub use digest::ImageDigest;
pub use dry::{HashOnly, NotKept};
pub use error::{ApplyError, PatchError};
pub use fields::Architecture;
pub use format::{Algorithm, IMAGE_BYTES_MAX, Profile, ram_bytes};
pub use image::{Base, OUT_BYTES, OutsideSlice, Sink};
#[cfg(feature = "one-slot")]
pub use one_slot::{Area, Room, Slot};
pub use order::Layout;
pub use outline::Outline;

/// A patcher with 8 KiB, as [`Algorithm::FIELDS`] takes.
pub type Patcher = PatcherOf<{ format::WORDS_8 }>;
