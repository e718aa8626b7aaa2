//! Patches in place, checkpoints and changes: hostile ones stay in their bounds.

use bellwether_delta::make::{Options, SimulatedSlot, Symbolic, make_with};
use bellwether_delta::{
    Base, Layout, Outline, OutsideSlice, Patcher, PatcherOf, Profile, Sink, checkpoint_bytes, format,
};
use sha2::{Digest as _, Sha256};

use crate::input::{Input, counted};

/// Room that a hostile layout may ask for.
const SPARE_BYTES_MAX: u32 = 1 << 20;

/// A hostile patch in place: sizes, the base, then the patch, whose options and digest are put right. Whatever it writes lies
/// inside the slot, and its checkpoints can be gone on from.
pub(crate) fn in_place(data: &[u8]) {
    let mut input = Input::new(data);
    let target_bytes = input.u16() % 8192;
    let piece_bytes = usize::from(input.byte()) + 1;
    let base = input.counted();
    let mut patch = input.rest().to_vec();
    let Some(head) = patch.get_mut(..13) else { return };
    head[0] |= 16;
    // With a sequence of pages that the patch tells, or without.
    head[2] = 2 | head[2] & 4;
    head[5..].copy_from_slice(&Sha256::digest(base)[..8]);
    let Some(layout) = Outline::parse(&patch).ok().and_then(|outline| outline.layout) else { return };
    if layout.page_bytes().saturating_mul(layout.spare_pages()) > SPARE_BYTES_MAX {
        return;
    }
    let base_bytes = u32::try_from(base.len()).expect("short");
    let mut slot = SimulatedSlot::new(base, target_bytes.into(), layout);
    let mut patcher = Patcher::new(-2, base_bytes, target_bytes.into(), &[]).expect("known");
    let pushed = patch.chunks(piece_bytes).try_for_each(|piece| patcher.push_in_place(piece, &mut slot));
    let ended = pushed.and_then(|()| patcher.finish_in_place(&mut slot));
    assert_eq!(ended.is_ok(), patcher.is_complete());
    // The newest checkpoint is of what the slot holds, and ends as this did.
    let checkpoint = slot.checkpoint().to_vec();
    if checkpoint.is_empty() {
        assert_eq!(slot.image(base.len()), base, "nothing was written");
        return;
    }
    let again = Patcher::resume_in_place(&mut Whole(&checkpoint), &mut slot);
    let mut again = again.expect("the checkpoint is whole");
    let rest = patch.get(again.patch_at() as usize..).unwrap_or_default();
    let ended_again = again.push_in_place(rest, &mut slot).and_then(|()| again.finish_in_place(&mut slot));
    assert_eq!(ended_again.is_ok(), ended.is_ok(), "{ended:?}, then {ended_again:?}");
}

pub(crate) fn in_place_seeds() -> Vec<Vec<u8>> {
    let patches = crate::delta::pairs().into_iter().chain([scattered()]).flat_map(|(base, target)| {
        [1, 3].map(|spare| {
            let options = Options { in_place: Layout::new(256, spare), ..Options::default() };
            let patch = make_with(&base, &target, options).expect("short").bytes;
            let target_bytes = u16::try_from(target.len()).expect("short");
            [&target_bytes.to_be_bytes()[..], &[7], &counted(&base), &patch].concat()
        })
    });
    patches.collect()
}

/// Pieces that are far from where they were, so that the patch tells the sequence of its pages.
fn scattered() -> (Vec<u8>, Vec<u8>) {
    let piece =
        |number: usize| (0..90_usize).map(move |at| ((number * 90 + at + 1) * 0x9e37_79b1).to_le_bytes()[2]);
    let image = |step: usize| (0..24).flat_map(|place| piece(place * step % 24)).collect();
    (image(1), image(7))
}

/// A checkpoint in memory, all of it there.
struct Whole<'a>(&'a [u8]);

impl Base for Whole<'_> {
    type Error = core::convert::Infallible;

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Self::Error> {
        let at = offset as usize;
        buf.copy_from_slice(&self.0[at..at + buf.len()]);
        Ok(())
    }
}

/// A slot that holds some bytes, and takes no more than a few pages.
struct Few(Vec<u8>);

impl Sink for Few {
    type Error = OutsideSlice;

    fn write(&mut self, bytes: &[u8]) -> Result<(), OutsideSlice> {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 8192 { Err(OutsideSlice) } else { Ok(()) }
    }

    fn read_back(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), OutsideSlice> {
        self.0.as_slice().read(offset, buf)
    }
}

/// A hostile checkpoint whose check is right: its first bytes, then the patch that goes on.
pub(crate) fn checkpoint(data: &[u8]) {
    let mut input = Input::new(data);
    let head = input.counted();
    let patch = input.rest();
    let mut checkpoint = vec![0; checkpoint_bytes(Profile::Kib4)];
    let count = head.len().min(checkpoint.len());
    checkpoint[..count].copy_from_slice(&head[..count]);
    // Its version; and the smallest profile, for its size.
    checkpoint[0] = 1;
    checkpoint[2] &= 0x3f;
    let (body, check) = checkpoint.split_at_mut(checkpoint_bytes(Profile::Kib4) - 8);
    check.copy_from_slice(&Sha256::digest(&*body)[..8]);
    let mut sink = Few(vec![0x5a; 1024]);
    let resumed = PatcherOf::<{ format::WORDS_4 }>::resume(&mut &checkpoint[..], &mut sink);
    let Ok(mut patcher) = resumed else { return };
    let base = [0x11; 1024];
    let pushed = patcher.push(patch, &mut &base[..], &mut sink);
    let ended = pushed.and_then(|()| patcher.finish(&mut &base[..], &mut sink));
    assert_eq!(ended.is_ok(), patcher.is_complete());
}

pub(crate) fn checkpoint_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (base, target) in crate::delta::pairs() {
        let options = Options { profile: Profile::Kib4, ..Options::default() };
        let patch = make_with(&base, &target, options).expect("short").bytes;
        let [base_bytes, target_bytes] =
            [&base, &target].map(|image| u32::try_from(image.len()).expect("short"));
        let mut patcher =
            PatcherOf::<{ format::WORDS_4 }>::new(-2, base_bytes, target_bytes, &[]).expect("known");
        let mut sink = Vec::new();
        patcher.push_page(&patch, &mut &base[..], &mut sink).expect("honest");
        let mut saved = Vec::new();
        let is_saved = patcher.checkpoint(|_, piece| {
            saved.extend_from_slice(piece);
            Ok::<_, OutsideSlice>(())
        });
        if is_saved == Ok(true) {
            let rest = &patch[patcher.patch_at() as usize..];
            // Without the check, and without what zeros stand for as well.
            let used = saved.iter().take(saved.len() - 8).rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            seeds.push([&counted(&saved[..used])[..], rest].concat());
        }
    }
    seeds
}

/// A hostile change, of images of at most 16 KiB: what is read is written alike, and adds up with others or is refused.
pub(crate) fn change(data: &[u8]) {
    let mut bytes = data.to_vec();
    if let Some(sizes) = bytes.get_mut(68..72) {
        // Two numbers of two bytes each.
        for (at, size) in sizes.iter_mut().enumerate() {
            *size = if at % 2 == 0 { *size | 0x80 } else { *size & 0x7f };
        }
    }
    let Ok(change) = Symbolic::from_bytes(&bytes) else { return };
    assert_eq!(Symbolic::from_bytes(&change.to_bytes()), Ok(change.clone()));
    let [from, to] = change.digests();
    if from == to {
        let _ = change.then(&change);
    } else {
        assert!(change.then(&change).is_err());
    }
    assert!(change.target(&bytes).is_err(), "a digest of these bytes");
}

pub(crate) fn change_seeds() -> Vec<Vec<u8>> {
    let pairs =
        crate::delta::pairs().into_iter().filter(|(base, target)| base.len().min(target.len()) >= 128);
    let change = |(base, target): (Vec<u8>, Vec<u8>)| {
        let patch = make_with(&base, &target, Options::default()).expect("short").bytes;
        Symbolic::of(&base, &patch).expect("honest").0.to_bytes()
    };
    pairs.map(change).collect()
}
