//! Patches: hostile ones stay in their bounds, honest ones give the target.

use bellwether_delta::make::make;
use bellwether_delta::{Base, OUT_BYTES, OutsideSlice, Patcher, Sink};

use sha2::{Digest as _, Sha256};

use crate::input::{Input, counted};

/// A base that must never be read outside of its size.
struct Guarded<'a>(&'a [u8]);

impl Base for Guarded<'_> {
    type Error = OutsideSlice;

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), OutsideSlice> {
        let end = offset as usize + buf.len();
        assert!(end <= self.0.len(), "read up to {end} of {} bytes", self.0.len());
        let mut base = self.0;
        base.read(offset, buf)
    }
}

/// A sink that takes no byte beyond the target and no piece of another size.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Bounded {
    limit: usize,
    taken: Vec<u8>,
}

impl Sink for Bounded {
    type Error = OutsideSlice;

    fn write(&mut self, bytes: &[u8]) -> Result<(), OutsideSlice> {
        self.taken.extend_from_slice(bytes);
        assert!(self.taken.len() <= self.limit, "{} of {} bytes", self.taken.len(), self.limit);
        assert!(
            bytes.len() == OUT_BYTES || self.taken.len() == self.limit,
            "a piece of {} bytes",
            bytes.len()
        );
        Ok(())
    }

    fn read_back(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), OutsideSlice> {
        Guarded(&self.taken).read(offset, buf)
    }
}

/// How applying ended, and what had come out by then.
fn apply(patch: &[u8], base: &[u8], target_bytes: u16, piece_bytes: usize) -> (String, Vec<u8>) {
    let base_bytes = u32::try_from(base.len()).expect("short");
    let mut patcher = Patcher::new(-2, base_bytes, target_bytes.into(), &[]).expect("known");
    let mut sink = Bounded { limit: target_bytes.into(), taken: Vec::new() };
    for piece in patch.chunks(piece_bytes) {
        if let Err(error) = patcher.push(piece, &mut Guarded(base), &mut sink) {
            let again = patcher.push(piece, &mut Guarded(base), &mut sink);
            assert!(again.is_err(), "what was given up stays given up");
            return (error.to_string(), sink.taken);
        }
        assert_eq!(patcher.produced() as usize, sink.taken.len());
    }
    let ended = patcher.finish(&mut Guarded(base), &mut sink);
    assert_eq!(ended.is_ok(), patcher.is_complete());
    assert!(ended.is_err() || sink.taken.len() == usize::from(target_bytes));
    (format!("{ended:?}"), sink.taken)
}

/// A hostile patch: sizes, the base, then the patch. Pieces of any size give the same bytes and the same end.
///
/// The digest of the base is put right, so that not every input ends there.
pub(crate) fn hostile(data: &[u8]) {
    let mut input = Input::new(data);
    let target_bytes = input.u16() % 8192;
    let piece_bytes = usize::from(input.byte()) + 1;
    let base = input.counted();
    let mut patch = input.rest().to_vec();
    if let Some(digest) = patch.get_mut(2..10) {
        digest.copy_from_slice(&Sha256::digest(base)[..8]);
    }
    let whole = apply(&patch, base, target_bytes, patch.len().max(1));
    let (ended, given) = apply(&patch, base, target_bytes, piece_bytes);
    // A piece is refused as a whole when the target was complete before its end: both say so.
    assert_eq!((ended, given), whole);
}

pub(crate) fn hostile_seeds() -> Vec<Vec<u8>> {
    pairs()
        .into_iter()
        .map(|(base, target)| {
            let patch = make(&base, &target).expect("short").bytes;
            let target_bytes = u16::try_from(target.len()).expect("short");
            [&target_bytes.to_be_bytes()[..], &[7], &counted(&base), &patch].concat()
        })
        .collect()
}

/// An honest patch between any two images: it gives the target, and is no larger than a bound.
pub(crate) fn honest(data: &[u8]) {
    let mut input = Input::new(data);
    let piece_bytes = usize::from(input.byte()) + 1;
    let base = input.counted();
    let target = input.rest();
    let Ok(target_bytes) = u16::try_from(target.len()) else { return };
    let patch = make(base, target).expect("short");
    // Nine bits for a byte that the model did not expect, and the flush of the coder.
    assert!(patch.bytes.len() <= target.len() * 5 / 4 + 64, "{} for {}", patch.bytes.len(), target.len());
    let (ended, given) = apply(&patch.bytes, base, target_bytes, piece_bytes);
    assert_eq!((ended.as_str(), &given[..]), ("Ok(())", target));
}

pub(crate) fn honest_seeds() -> Vec<Vec<u8>> {
    pairs().into_iter().map(|(base, target)| [&[9][..], &counted(&base), &target].concat()).collect()
}

/// Images like firmware's: words that count up, runs, text, and edits of them.
pub(crate) fn pairs() -> Vec<(Vec<u8>, Vec<u8>)> {
    let words: Vec<u8> = (0_u32..120).flat_map(|at| (0x2000_0000 + at * 4).to_le_bytes()).collect();
    let mut moved = words.clone();
    moved.splice(40..40, *b"a new function");
    moved.drain(200..230);
    let mut changed = words.clone();
    for at in (0..changed.len()).step_by(37) {
        changed[at] = changed[at].wrapping_add(8);
    }
    let text = b"lamp version 1, 60 watts".to_vec();
    vec![
        (words.clone(), words.clone()),
        (words.clone(), moved.clone()),
        (moved, changed.clone()),
        (Vec::new(), text.clone()),
        (text.clone(), b"lamp version 2, 60 watts and a dimmer".to_vec()),
        (vec![0xff; 600], [vec![0xff; 300], text].concat()),
        (changed, Vec::new()),
    ]
}
