//! The frames of one resource as far as they are there and verified. Pure: no file, no network.
//!
//! Every byte in a [`Body`] was checked against the chain that begins with the root, so a body can't hold anything
//! but the beginning of the one content that the root names: whoever offers another one, the first that verifies
//! stands. How long the frames are is not told by anybody; the chain itself shows it.

use bellwether_manifests::frame::{BLOCK_SIZES, DIGEST_BYTES, verify_frame};
use bellwether_manifests::message::Digest;
use thiserror::Error;

/// The verified beginning of a resource, or all of it.
#[derive(Clone, Debug)]
pub struct Body {
    root: Digest,
    framed: Vec<u8>,
    /// Bytes of a frame with its digest; the last may be shorter. Unknown before the first frame.
    frame_bytes: Option<usize>,
    complete: bool,
}

/// The bytes are not what the chain announces. Ask for them again.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("bytes are not what the chain announces")]
pub struct Altered;

/// What there is of a block that is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// The block.
    Here {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether more come after it.
        more: bool,
    },
    /// The body must first have so many bytes.
    Missing(u64),
    /// The body ends before it.
    PastEnd,
}

impl Body {
    /// Starts with nothing but the name.
    #[must_use]
    pub const fn new(root: Digest) -> Self {
        Self { root, framed: Vec::new(), frame_bytes: None, complete: false }
    }

    /// Takes what was kept of a resource up to the first byte that is not right, and tells whether all was.
    ///
    /// What is left ends where a block to be fetched begins.
    #[must_use]
    pub fn load(root: Digest, kept: Vec<u8>) -> (Self, bool) {
        let mut body = Self::new(root);
        let mut at = 0;
        while let Some(rest) = kept.get(at..).filter(|rest| !rest.is_empty() && !body.complete) {
            match body.frame(&kept[..at], rest) {
                Ok((length, is_last)) => {
                    at += length;
                    body.complete = is_last;
                }
                Err(Altered) => break,
            }
        }
        let intact = at == kept.len();
        body.framed = kept;
        body.framed.truncate(if body.complete { at } else { at - at % FETCH_BYTES });
        (body, intact)
    }

    /// Takes the next bytes; `more` tells whether the sender has more after them. All of them or none.
    ///
    /// # Errors
    ///
    /// [`Altered`] if any of them is not what the chain announces.
    pub fn append(&mut self, bytes: &[u8], more: bool) -> Result<(), Altered> {
        let before = self.framed.len();
        let taken = self.append_frames(bytes, more);
        if taken.is_err() {
            self.framed.truncate(before);
            self.complete = false;
        }
        taken
    }

    fn append_frames(&mut self, mut rest: &[u8], more: bool) -> Result<(), Altered> {
        if self.complete || rest.is_empty() {
            return Err(Altered);
        }
        while !rest.is_empty() {
            let known = self.frame_bytes;
            let framed = std::mem::take(&mut self.framed);
            let found = self.frame(&framed, rest);
            self.framed = framed;
            let Ok((length, is_last)) = found else {
                self.frame_bytes = known;
                return Err(Altered);
            };
            self.framed.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
            self.complete = is_last;
            if is_last && !rest.is_empty() {
                return Err(Altered);
            }
        }
        if self.complete == more { Err(Altered) } else { Ok(()) }
    }

    /// Verifies the frame that begins `rest` and comes after `before`; gives its length and whether it is the last.
    fn frame(&mut self, before: &[u8], rest: &[u8]) -> Result<(usize, bool), Altered> {
        let expected = before.last_chunk::<DIGEST_BYTES>().unwrap_or(&self.root);
        for whole in lengths(self.frame_bytes) {
            let frame = &rest[..whole.min(rest.len())];
            let is_last = frame.last_chunk::<DIGEST_BYTES>() == Some(&END);
            // A frame that is shorter than the others is the last one.
            if (is_last || frame.len() == whole) && verify_frame(expected, frame, is_last).is_ok() {
                self.frame_bytes.get_or_insert(whole);
                return Ok((frame.len(), is_last));
            }
        }
        Err(Altered)
    }

    /// Gives block `number` of `size` bytes, if it is there.
    #[must_use]
    pub fn piece(&self, number: u32, size: usize) -> Piece {
        let from = (number as usize).saturating_mul(size);
        let end = from.saturating_add(size);
        if self.complete || end <= self.framed.len() {
            return match self.framed.get(from..end.min(self.framed.len())) {
                Some(bytes) if !bytes.is_empty() => {
                    let more = !self.complete || end < self.framed.len();
                    Piece::Here { bytes: bytes.to_vec(), more }
                }
                _ => Piece::PastEnd,
            };
        }
        Piece::Missing(end as u64)
    }

    /// The name.
    #[must_use]
    pub const fn root(&self) -> &Digest {
        &self.root
    }

    /// The verified bytes.
    #[must_use]
    pub fn framed(&self) -> &[u8] {
        &self.framed
    }

    /// Number of verified bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.framed.len() as u64
    }

    /// Whether nothing is there yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.framed.is_empty()
    }

    /// Whether the last frame is there.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }
}

/// The lengths that a whole frame can have: the known one, or all that there are.
fn lengths(known: Option<usize>) -> impl Iterator<Item = usize> {
    let all = BLOCK_SIZES.map(|block| usize::from(block) + DIGEST_BYTES);
    all.into_iter().filter(move |length| known.is_none_or(|known| known == *length))
}

/// Bytes of a block that is fetched: the largest of CoAP, which the frames of every size divide.
pub const FETCH_BYTES: usize = 1024;

/// What stands in the last frame instead of a digest.
const END: Digest = [0; DIGEST_BYTES];

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_manifests::frame::FrameChain;
    use proptest::prelude::*;

    fn framed(content: &[u8], block: u16) -> (Digest, Vec<u8>) {
        let chain = FrameChain::build(content, block).unwrap();
        (chain.root(), chain.framed())
    }

    fn fill(body: &mut Body, framed: &[u8]) {
        let mut rest = &framed[usize::try_from(body.len()).unwrap()..];
        while !rest.is_empty() {
            let (block, tail) = rest.split_at(rest.len().min(FETCH_BYTES));
            body.append(block, !tail.is_empty()).unwrap();
            rest = tail;
        }
    }

    #[test]
    fn second_body_under_one_name_is_not_taken_and_the_first_stands() {
        let (root, first) = framed(&[1; 5_000], 992);
        let (_, second) = framed(&[2; 5_000], 992);
        let mut body = Body::new(root);
        assert_eq!(body.append(&second[..FETCH_BYTES], true), Err(Altered));
        body.append(&first[..FETCH_BYTES], true).unwrap();
        assert_eq!(body.append(&second[FETCH_BYTES..2 * FETCH_BYTES], true), Err(Altered));
        fill(&mut body, &first);
        assert_eq!(body.framed(), first);
        assert_eq!(body.append(&second[..FETCH_BYTES], true), Err(Altered));
        assert_eq!(Body::load(root, second).0.len(), 0);
    }

    #[test]
    fn end_that_comes_too_early_or_too_late_is_altered() {
        let (root, bytes) = framed(&[7; 1_500], 992);
        let mut body = Body::new(root);
        assert_eq!(body.append(&bytes[..FETCH_BYTES], false), Err(Altered));
        body.append(&bytes[..FETCH_BYTES], true).unwrap();
        assert_eq!(body.append(&bytes[FETCH_BYTES..], true), Err(Altered));
        body.append(&bytes[FETCH_BYTES..], false).unwrap();
        assert!(body.is_complete());
    }

    #[test]
    fn piece_that_is_not_there_yet_says_how_much_is_missing() {
        let (root, bytes) = framed(&[7; 3_000], 992);
        let mut body = Body::new(root);
        assert_eq!(body.piece(2, 1024), Piece::Missing(3_072));
        body.append(&bytes[..FETCH_BYTES], true).unwrap();
        assert!(matches!(body.piece(3, 256), Piece::Here { more: true, .. }));
        fill(&mut body, &bytes);
        assert!(matches!(body.piece(3, 1024), Piece::Here { more: false, .. }));
        assert_eq!(body.piece(4, 1024), Piece::PastEnd);
        assert_eq!(body.piece(u32::MAX, 1024), Piece::PastEnd);
    }

    proptest! {
        #[test]
        fn any_content_comes_back_and_any_altered_byte_is_seen(
            content in proptest::collection::vec(any::<u8>(), 1..6_000),
            block in proptest::sample::select(&BLOCK_SIZES[..]),
            at: prop::sample::Index,
            cut: prop::sample::Index,
        ) {
            let (root, bytes) = framed(&content, block);
            let mut body = Body::new(root);
            fill(&mut body, &bytes);
            prop_assert_eq!(body.framed(), &bytes[..]);
            prop_assert!(body.is_complete());
            let (loaded, intact) = Body::load(root, bytes.clone());
            prop_assert!(intact && loaded.is_complete());
            // A torn tail is cut, and what is left can be gone on with.
            let cut = cut.index(bytes.len());
            let (mut torn, _) = Body::load(root, bytes[..cut].to_vec());
            prop_assert!(torn.len() <= cut as u64 && !torn.is_complete());
            fill(&mut torn, &bytes);
            prop_assert_eq!(torn.framed(), &bytes[..]);
            // So is everything from an altered byte on.
            let mut altered = bytes.clone();
            let at = at.index(bytes.len());
            altered[at] ^= 1;
            let (mut left, intact) = Body::load(root, altered);
            prop_assert!(!intact && left.len() <= at as u64);
            fill(&mut left, &bytes);
            prop_assert_eq!(left.framed(), &bytes[..]);
        }

        #[test]
        fn arbitrary_bytes_are_never_taken(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), root: Digest) {
            let (body, _) = Body::load(root, bytes.clone());
            prop_assert!(body.is_empty());
            prop_assert_eq!(Body::new(root).append(&bytes, true), Err(Altered));
        }
    }
}
