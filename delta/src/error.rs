//! What can go wrong with a patch.

use thiserror::Error;

/// Why a patch cannot be applied. Take the full image instead.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PatchError {
    /// This crate does not know the algorithm.
    #[error("patch algorithm {0} is not known here")]
    UnknownAlgorithm(i32),
    /// The algorithm does not take these parameters.
    #[error("parameters do not belong to the patch algorithm")]
    Parameters,
    /// An image is larger than [`crate::IMAGE_BYTES_MAX`].
    #[error("image of {bytes} bytes is larger than a patch can cover")]
    ImageTooLarge {
        /// Size of the image.
        bytes: u32,
    },
    /// The patch starts with a header that this crate does not know.
    #[error("patch is malformed: its header is not known here")]
    Header,
    /// The patch needs more state than the patcher has.
    #[error("patch needs {words} words of state, which is more than there are here")]
    State {
        /// Words of 16 bits.
        words: u32,
    },
    /// The patch is for a slot that base and target share, or is not and there is one: take the other way to apply it.
    #[error("patch is not for as many slots as there are here")]
    InPlace,
    /// The images or the pages that the patch wants kept do not fit. Nothing was written.
    #[error("patch needs a slot of {slot} bytes and {spare} spare ones, in pages of {page}")]
    Room {
        /// Bytes of the slot.
        slot: u32,
        /// Bytes of the spare pages.
        spare: u32,
        /// Bytes of a page.
        page: u32,
    },
    /// The checkpoint is torn, or not of what is in flash. Take the older one.
    #[error("checkpoint is damaged, or not of this flash")]
    Checkpoint,
    /// The patch is for images of other sizes.
    #[error("patch is for a base of {base} bytes and a target of {target}")]
    Sizes {
        /// Size of its base.
        base: u32,
        /// Size of its target.
        target: u32,
    },
    /// What runs is not what the patch is for. Nothing was written.
    #[error("the base is not the one that the patch is for")]
    WrongBase,
    /// The patch was altered: what came out is not the target.
    #[error("patch is malformed: what it makes is not the target")]
    WrongTarget,
    /// The patch copies from outside the base.
    #[error("patch is malformed: copies from outside the base at byte {produced} of the target")]
    OutsideBase {
        /// Bytes of the target before it.
        produced: u32,
    },
    /// The patch copies from before the start of the target.
    #[error("patch is malformed: copies from before the target at byte {produced} of it")]
    OutsideTarget {
        /// Bytes of the target before it.
        produced: u32,
    },
    /// The target is complete and the patch goes on.
    #[error("patch is malformed: it goes on after the end of the target")]
    TrailingInput,
    /// The patch ended early.
    #[error("patch ended after {produced} bytes of the target")]
    Incomplete {
        /// Bytes of the target that were given out.
        produced: u32,
    },
    /// An earlier piece ended in an error.
    #[error("patch was given up after an earlier error")]
    GivenUp,
}

/// Why a piece of a patch was not taken. The patcher takes no more after it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ApplyError<B, S> {
    /// The patch is at fault. Take the full image instead.
    #[error("{0}")]
    Patch(PatchError),
    /// The base could not be read.
    #[error("base could not be read")]
    Base(B),
    /// The target could not be written.
    #[error("target could not be written")]
    Sink(S),
}

impl<B, S> From<PatchError> for ApplyError<B, S> {
    fn from(error: PatchError) -> Self {
        Self::Patch(error)
    }
}
