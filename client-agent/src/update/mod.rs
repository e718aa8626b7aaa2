//! The update core: from a manifest to a confirmed image, with no allocator and no IO of its own.

pub mod boot;
pub mod bounded;
pub mod journal;
pub mod record;
#[cfg(test)]
pub(crate) mod testing;
