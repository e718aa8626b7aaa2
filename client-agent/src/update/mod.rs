//! The update core: from a manifest to a confirmed image, with no allocator and no IO of its own.

pub mod answer;
pub mod ask;
pub mod boot;
pub mod bounded;
pub mod facts;
pub mod fetch;
pub mod install;
pub mod journal;
pub mod offer;
pub mod record;
pub mod report;
pub mod request;
pub mod slot;
pub mod trial;
pub mod updater;
pub mod verify;
pub mod version;

pub use answer::{Answered, Ignored, Unusable};
pub use facts::Facts;
pub use fetch::{Fetched, FrameWanted};
pub use install::Installed;
pub use offer::Offered;
pub use report::Receipted;
pub use updater::{UpdateError, Updater, Work};

#[cfg(test)]
mod tests;
