//! The update core: from a manifest to a confirmed image, with no allocator and no IO of its own.

mod advance;
pub mod anchors;
pub mod answer;
pub mod ask;
pub mod boot;
pub mod bounded;
pub mod facts;
pub mod fetch;
mod grant;
pub mod install;
pub mod journal;
pub mod offer;
pub mod record;
pub mod report;
pub mod request;
pub mod slot;
pub mod trial;
pub mod updater;
mod verdict;
pub mod verify;
pub mod version;
mod window;

pub use anchors::AnchorsTaken;
pub use answer::{Answered, Ignored, Unusable};
pub use facts::{Facts, ShareOffer};
pub use fetch::{Fetched, FrameWanted};
pub use install::{Begun, Installed, Made};
pub use offer::Offered;
pub use report::Receipted;
pub use updater::{GrantedFor, Memory, UpdateError, Updater, Work};

#[cfg(test)]
mod tests;
