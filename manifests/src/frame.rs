//! Self-verifying frames: a block of the content and the digest of the next frame.
//!
//! `frame_i = block_i ‖ H_(i+1)`, `H_i = SHA-256(frame_i)`, root = `H_0`; the last frame ends in 32 zero bytes. Who
//! knows the root can check every frame as it arrives, without a key and before it is written anywhere.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::message::Digest;

/// How a content is cut into frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    content_bytes: u64,
    block_bytes: u16,
    frames: u32,
}

/// Why frames are not what the descriptor says.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum FrameError {
    /// The content is empty, or has more frames than a `u32` counts.
    #[error("content is empty or too long to be framed")]
    Content,
    /// The block size is none of 96, 224, 480, 992.
    #[error("{0} is no block size")]
    BlockSize(u64),
    /// The frame is not what was announced: ask for this frame alone again.
    #[error("frame does not have the announced digest")]
    Digest,
    /// The frame has another length than its place in the content gives it: ask for it again.
    #[error("frame is {found} bytes long, not {expected}")]
    Length {
        /// Bytes the frame must have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
    /// The chain ends before or after the content does: the descriptor can't be followed.
    #[error("chain and content do not end together")]
    End,
    /// All frames have been taken already.
    #[error("all frames are there already")]
    Complete,
}

impl Layout {
    /// Lays `content_bytes` bytes out in blocks of `block_bytes`.
    ///
    /// # Errors
    ///
    /// [`FrameError::BlockSize`], or [`FrameError::Content`] for an empty content or more than 2^32 - 1 frames.
    pub fn new(content_bytes: u64, block_bytes: u16) -> Result<Self, FrameError> {
        if !BLOCK_SIZES.contains(&block_bytes) {
            return Err(FrameError::BlockSize(block_bytes.into()));
        }
        match u32::try_from(content_bytes.div_ceil(block_bytes.into())) {
            Ok(frames @ 1..) => Ok(Self { content_bytes, block_bytes, frames }),
            _ => Err(FrameError::Content),
        }
    }

    /// Number of frames, at least one.
    #[must_use]
    pub const fn frames(&self) -> u32 {
        self.frames
    }

    /// Bytes of a block; the last one may be shorter.
    #[must_use]
    pub const fn block_bytes(&self) -> u16 {
        self.block_bytes
    }

    /// Bytes of the content without the digests.
    #[must_use]
    pub const fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Bytes of all frames together.
    #[must_use]
    pub fn framed_bytes(&self) -> u64 {
        self.content_bytes + u64::from(self.frames) * DIGEST_BYTES as u64
    }

    /// Offset in the content of the first byte of block `number`.
    #[must_use]
    pub fn block_offset(&self, number: u32) -> u64 {
        u64::from(number) * u64::from(self.block_bytes)
    }

    /// Bytes of frame `number` with its digest; `None` past the end.
    #[must_use]
    pub fn frame_len(&self, number: u32) -> Option<usize> {
        if number >= self.frames {
            return None;
        }
        let left = self.content_bytes - self.block_offset(number);
        let block = left.min(self.block_bytes.into());
        usize::try_from(block).ok().map(|block| block + DIGEST_BYTES)
    }

    /// Whether frame `number` is the last one.
    #[must_use]
    pub const fn is_last(&self, number: u32) -> bool {
        number + 1 == self.frames
    }
}

/// Block bytes for a CoAP block size exponent, so that one CoAP block is one frame: 2^(SZX + 4) - 32.
///
/// `None` for exponents below 3, where several CoAP blocks make one frame of 128 bytes, and for the reserved 7.
#[must_use]
pub const fn block_bytes(szx: u8) -> Option<u16> {
    match szx {
        3..=6 => Some((1 << (szx + 4)) - 32),
        _ => None,
    }
}

/// Splits a frame into its block and the digest of the next frame, if it is the one that `expected` announces.
///
/// # Errors
///
/// [`FrameError::Digest`] if it is another one; [`FrameError::End`] if it announces a next frame exactly when it is
/// the last; [`FrameError::Length`] if there is no byte before the digest.
pub fn verify_frame<'f>(
    expected: &Digest,
    frame: &'f [u8],
    is_last: bool,
) -> Result<(&'f [u8], &'f Digest), FrameError> {
    if Digest::from(Sha256::digest(frame)) != *expected {
        return Err(FrameError::Digest);
    }
    match frame.split_last_chunk::<DIGEST_BYTES>() {
        Some((block, next)) if !block.is_empty() => {
            if is_last == (*next == END) {
                Ok((block, next))
            } else {
                Err(FrameError::End)
            }
        }
        _ => Err(FrameError::Length { expected: DIGEST_BYTES + 1, found: frame.len() }),
    }
}

/// Where a download stands: all that must be kept to go on after a restart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Resume {
    /// Digest of frame 0, which names the content.
    pub root: Digest,
    /// Number of the next frame.
    pub frame: u32,
    /// Digest that the next frame must have.
    pub expected: Digest,
}

impl Resume {
    /// Starts before the first frame.
    #[must_use]
    pub const fn start(root: Digest) -> Self {
        Self { root, frame: 0, expected: root }
    }

    /// Whether all frames have been taken.
    #[must_use]
    pub const fn is_complete(&self, layout: &Layout) -> bool {
        self.frame >= layout.frames
    }

    /// Takes the next frame, returns its block and moves on; after an error the place is the same as before.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; after [`FrameError::Digest`] and [`FrameError::Length`] the same frame can be asked for again.
    pub fn accept<'f>(&mut self, layout: &Layout, frame: &'f [u8]) -> Result<&'f [u8], FrameError> {
        let expected = layout.frame_len(self.frame).ok_or(FrameError::Complete)?;
        if frame.len() != expected {
            return Err(FrameError::Length { expected, found: frame.len() });
        }
        let (block, next) = verify_frame(&self.expected, frame, layout.is_last(self.frame))?;
        self.frame += 1;
        self.expected = *next;
        Ok(block)
    }
}

/// The digests over a content, from which any frame can be made.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
pub struct FrameChain<'c> {
    content: &'c [u8],
    layout: Layout,
    /// Digest of every frame, and the 32 zero bytes at the end.
    digests: Vec<Digest>,
}

#[cfg(feature = "alloc")]
impl<'c> FrameChain<'c> {
    /// Computes the chain from the last frame to the first.
    ///
    /// # Errors
    ///
    /// [`FrameError::BlockSize`], [`FrameError::Content`].
    pub fn build(content: &'c [u8], block_bytes: u16) -> Result<Self, FrameError> {
        let layout = Layout::new(content.len() as u64, block_bytes)?;
        let mut digests = Vec::with_capacity(layout.frames as usize + 1);
        let mut next = END;
        digests.push(next);
        for block in content.chunks(block_bytes.into()).rev() {
            next = Sha256::new().chain_update(block).chain_update(next).finalize().into();
            digests.push(next);
        }
        digests.reverse();
        Ok(Self { content, layout, digests })
    }

    /// Digest of the first frame.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.digests.first().copied().unwrap_or(END)
    }

    /// How the content is laid out.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// All frames in their order, each as block and digest of the next frame.
    #[must_use]
    pub fn frames(&self) -> impl ExactSizeIterator<Item = (&'c [u8], &Digest)> + '_ {
        self.content.chunks(self.layout.block_bytes.into()).zip(self.digests.iter().skip(1))
    }

    /// All frames, one after the other: the body that is served.
    #[must_use]
    pub fn framed(&self) -> Vec<u8> {
        let mut framed = Vec::with_capacity(self.content.len() + self.digests.len() * DIGEST_BYTES);
        for (block, next) in self.frames() {
            framed.extend_from_slice(block);
            framed.extend_from_slice(next);
        }
        framed
    }
}

/// Bytes of the digest at the end of each frame.
pub const DIGEST_BYTES: usize = 32;

/// What stands in the last frame instead of a digest.
const END: Digest = [0; DIGEST_BYTES];

/// Block sizes for size exponents 3 to 6.
pub const BLOCK_SIZES: [u16; 4] = [96, 224, 480, 992];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn block_sizes_are_those_of_the_exponents() {
        assert_eq!([3, 4, 5, 6].map(block_bytes), BLOCK_SIZES.map(Some));
        assert_eq!([0, 2, 7, 255].map(block_bytes), [None; 4]);
    }

    #[test]
    fn empty_content_and_odd_block_size_are_refused() {
        assert_eq!(Layout::new(0, 992), Err(FrameError::Content));
        assert_eq!(Layout::new(u64::MAX, 96), Err(FrameError::Content));
        assert_eq!(Layout::new(10, 1024), Err(FrameError::BlockSize(1024)));
    }

    #[test]
    fn chain_that_ends_early_or_goes_on_past_the_end_is_refused() {
        let mut frame = std::vec![7; 100];
        frame.extend(END);
        let digest = Sha256::digest(&frame).into();
        assert_eq!(verify_frame(&digest, &frame, false), Err(FrameError::End));
        assert!(verify_frame(&digest, &frame, true).is_ok());
        let digest = Sha256::digest([7; 100]).into();
        assert_eq!(verify_frame(&digest, &[7; 100], true), Err(FrameError::End));
    }

    #[cfg(feature = "alloc")]
    proptest! {
        #[test]
        fn content_comes_back_and_any_altered_byte_is_seen(
            content in proptest::collection::vec(any::<u8>(), 1..3000),
            block in proptest::sample::select(&BLOCK_SIZES[..]),
            at: prop::sample::Index,
        ) {
            let chain = FrameChain::build(&content, block).unwrap();
            let layout = chain.layout();
            let framed = chain.framed();
            prop_assert_eq!(framed.len() as u64, layout.framed_bytes());
            prop_assert_eq!(chain.frames().len(), layout.frames() as usize);
            let mut resume = Resume::start(chain.root());
            let (mut back, mut rest) = (Vec::new(), &framed[..]);
            while let Some(length) = layout.frame_len(resume.frame) {
                let (frame, tail) = rest.split_at(length);
                let mut altered = frame.to_vec();
                altered[at.index(length)] ^= 1;
                let before = resume;
                prop_assert_eq!(resume.accept(&layout, &altered), Err(FrameError::Digest));
                prop_assert!(resume.accept(&layout, &frame[1..]).is_err());
                prop_assert_eq!(resume, before);
                back.extend_from_slice(resume.accept(&layout, frame).unwrap());
                rest = tail;
            }
            prop_assert_eq!(back, content);
            prop_assert!(resume.is_complete(&layout));
            prop_assert_eq!(resume.accept(&layout, &framed), Err(FrameError::Complete));
        }
    }
}
