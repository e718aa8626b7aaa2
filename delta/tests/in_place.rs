//! One slot: the power is cut at every operation of the flash while a patch takes the place of its base, once and twice, and the
//! newest whole checkpoint ends with the target. Likewise with a slot for each, from checkpoints.
#![cfg(feature = "make")]
#![expect(clippy::expect_used, reason = "a test stops at the first thing that is not as it must be")]

use bellwether_delta::make::{Options, make_with};
use bellwether_delta::{
    ApplyError, Area, Base, CHECKPOINT_BESIDES_BYTES, Layout, OUT_BYTES, Outline, OutsideSlice, PatchError,
    Patcher, Profile, Room, Sink, Slot, checkpoint_bytes, checkpoint_made,
};

/// Flash as NOR flash is: erased by pages, written once; and its power.
#[derive(Clone)]
struct Flash {
    slot: Vec<u8>,
    spare: Vec<u8>,
    erase_bytes: u32,
    /// Two checkpoints, and which was begun last.
    checkpoints: [Vec<u8>; 2],
    newer: usize,
    /// Operations that the power lasts for.
    left: usize,
    done: usize,
}

/// The power went.
#[derive(Debug, Eq, PartialEq)]
struct Cut;

const PAGE: u32 = 256;

impl Flash {
    fn new(base: &[u8], target_bytes: usize, layout: Layout) -> Self {
        let page = layout.page_bytes() as usize;
        let mut slot = base.to_vec();
        // What stands behind the base is of no concern.
        slot.resize(base.len().max(target_bytes).next_multiple_of(page), 0x5a);
        let spare = vec![0xa5; page * layout.spare_pages() as usize];
        let checkpoints = [Vec::new(), Vec::new()];
        Self { slot, spare, erase_bytes: PAGE, checkpoints, newer: 0, left: usize::MAX, done: 0 }
    }

    fn area(&mut self, area: Area) -> &mut Vec<u8> {
        match area {
            Area::Slot => &mut self.slot,
            Area::Spare => &mut self.spare,
        }
    }

    /// Does an operation on the bytes from `at` on; where the power goes, on half of them.
    fn operate(
        &mut self,
        area: Area,
        at: u32,
        bytes: usize,
        mut change: impl FnMut(usize, &mut u8),
    ) -> Result<(), Cut> {
        self.done += 1;
        let is_last = self.left == 0;
        self.left = self.left.saturating_sub(1);
        let count = if is_last { bytes / 2 } else { bytes };
        let place = self.area(area).get_mut(at as usize..at as usize + bytes).expect("inside the flash");
        place.iter_mut().take(count).enumerate().for_each(|(at, byte)| change(at, byte));
        if is_last { Err(Cut) } else { Ok(()) }
    }

    /// Starts after a power cut: from the newest whole checkpoint of the patch, or afresh.
    fn started(&mut self, patch: &[u8], [base, target]: [u32; 2]) -> Patcher {
        let newest = Outline::parse(patch).ok().and_then(|outline| {
            let made = |at: usize| checkpoint_made(&mut Padded(&self.checkpoints[at]), &outline);
            (0..2).filter_map(|at| Some((made(at).expect("in memory")?, at))).max()
        });
        let Some((_, at)) = newest else {
            return Patcher::new(-2, base, target, &[]).expect("known");
        };
        self.newer = at;
        let checkpoint = self.checkpoints[at].clone();
        Patcher::resume_in_place(&mut Padded(&checkpoint), self).expect("whole")
    }
}

/// A checkpoint that may be torn: what is missing reads as erased.
struct Padded<'a>(&'a [u8]);

impl Base for Padded<'_> {
    type Error = Cut;

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Cut> {
        for (at, byte) in buf.iter_mut().enumerate() {
            *byte = self.0.get(offset as usize + at).copied().unwrap_or(0xff);
        }
        Ok(())
    }
}

impl Slot for Flash {
    type Error = Cut;

    fn room(&self) -> Room {
        let [slot_bytes, spare_bytes] =
            [&self.slot, &self.spare].map(|area| u32::try_from(area.len()).expect("small"));
        Room { erase_bytes: self.erase_bytes, slot_bytes, spare_bytes }
    }

    fn read(&mut self, area: Area, offset: u32, buf: &mut [u8]) -> Result<(), Cut> {
        let at = offset as usize;
        buf.copy_from_slice(&self.area(area)[at..at + buf.len()]);
        Ok(())
    }

    fn erase(&mut self, area: Area, offset: u32, bytes: u32) -> Result<(), Cut> {
        assert_eq!((offset % PAGE, bytes % PAGE), (0, 0), "whole pages");
        self.operate(area, offset, bytes as usize, |_, byte| *byte = 0xff)
    }

    fn write(&mut self, area: Area, offset: u32, bytes: &[u8]) -> Result<(), Cut> {
        self.operate(area, offset, bytes.len(), |at, byte| {
            assert_eq!(*byte, 0xff, "written without erasing");
            *byte = bytes[at];
        })
    }

    fn save(&mut self, at: u32, piece: &[u8]) -> Result<(), Cut> {
        // The first piece and a few others: a checkpoint has more than all the pages of these images.
        let counts = usize::from(at.is_multiple_of(3072));
        self.done += counts;
        let is_last = counts > 0 && self.left == 0;
        self.left = self.left.saturating_sub(counts);
        if at == 0 {
            self.newer = 1 - self.newer;
            self.checkpoints[self.newer].clear();
        }
        let count = if is_last { piece.len() / 2 } else { piece.len() };
        let checkpoint = &mut self.checkpoints[self.newer];
        assert_eq!(checkpoint.len(), at as usize, "in order");
        checkpoint.extend_from_slice(&piece[..count]);
        if is_last { Err(Cut) } else { Ok(()) }
    }
}

/// Goes on from what is in flash with the patch, up to its end or the power's.
fn go_on(flash: &mut Flash, patch: &[u8], sizes: [u32; 2]) -> Result<(), ApplyError<Cut, Cut>> {
    let mut patcher = flash.started(patch, sizes);
    for piece in patch[patcher.patch_at() as usize..].chunks(40) {
        patcher.push_in_place(piece, flash)?;
    }
    patcher.finish_in_place(flash)
}

/// A program of `functions` pieces that call each other, with one put in at a third and some moved to the end.
fn program(functions: u32, is_new: bool) -> Vec<u8> {
    let mut image = Vec::new();
    let order: Vec<u32> = if is_new {
        (functions / 4..functions).chain(0..functions / 4).collect()
    } else {
        (0..functions).collect()
    };
    for (place, number) in order.into_iter().enumerate() {
        if is_new && place == functions as usize / 3 {
            image.extend((0..50_u8).map(|at| at.wrapping_mul(37)));
        }
        for at in 0..20_u32 {
            image.extend(((number * 20 + at).wrapping_mul(0x9e37_79b1) >> 3).to_le_bytes());
        }
    }
    if is_new {
        let again = image[..300].to_vec();
        image.extend(again);
    }
    image
}

fn pairs() -> Vec<(Vec<u8>, Vec<u8>)> {
    let (old, new) = (program(24, false), program(24, true));
    vec![
        (old.clone(), new.clone()),
        // Both ways: one in which the base's last page is shorter, and one in which it is longer than the target's.
        (new, old.clone()),
        (old.clone(), old[..700].to_vec()),
        (old[..300].to_vec(), old),
        (scattered(0), scattered(3)),
        // Everything moves up by pages: made from the last one on.
        (scattered(0), [&scattered(5)[..1_100], &scattered(0)].concat()),
    ]
}

/// Sixty pieces, none like another, of which every page has some that another turn puts into pages far from it.
fn scattered(turn: u32) -> Vec<u8> {
    let piece = |number: u32| {
        (0..25_u32)
            .flat_map(move |at| ((number * 25 + at + 1).wrapping_mul(0x9e37_79b1) ^ at << 9).to_le_bytes())
    };
    (0..60).map(|place| (place * (1 + turn * 2) + turn) % 60).flat_map(piece).collect()
}

fn made(base: &[u8], target: &[u8], spare: u8, page: u32) -> (Vec<u8>, Layout, [u32; 2]) {
    let layout = Layout::new(page, spare).expect("within bounds");
    let options = Options { in_place: Some(layout), ..Options::default() };
    let patch = make_with(base, target, options).expect("small").bytes;
    let layout = Outline::parse(&patch).expect("made").layout.expect("in place");
    (patch, layout, [base, target].map(|image| u32::try_from(image.len()).expect("small")))
}

#[test]
fn power_cut_at_every_operation_and_once_more_ends_with_the_target() {
    let mut sequences = [0; 3];
    for (base, target) in pairs() {
        let (patch, layout, sizes) = made(&base, &target, 2, PAGE);
        let is_told = usize::from(layout.is_told());
        sequences[is_told * 2 + usize::from(layout.descends().is_some())] += 1;
        let mut whole = Flash::new(&base, target.len(), layout);
        go_on(&mut whole, &patch, sizes).expect("no cut");
        assert_eq!(whole.slot[..target.len()], target);
        for first in 0..whole.done {
            let mut flash = Flash { left: first, ..Flash::new(&base, target.len(), layout) };
            assert!(go_on(&mut flash, &patch, sizes).is_err(), "{first} of {}", whole.done);
            // Again after a few operations, within the same page or the next.
            flash.left = first % 13;
            let again = go_on(&mut flash, &patch, sizes);
            flash.left = usize::MAX;
            if again.is_err() {
                go_on(&mut flash, &patch, sizes).expect("the newest checkpoint is whole");
            }
            assert_eq!(flash.slot[..target.len()], target, "cut at {first}");
        }
    }
    assert!(sequences.iter().all(|count| *count > 0), "some sequence was not taken: {sequences:?}");
}

#[test]
fn checkpoints_of_the_patch_before_are_no_ones_to_go_on_from() {
    let (first, second) = (program(24, false), program(24, true));
    let third = [&second[..500], &first[200..]].concat();
    let (patch, layout, sizes) = made(&first, &second, 2, PAGE);
    let mut updated = Flash::new(&first, first.len().max(second.len()).max(third.len()), layout);
    go_on(&mut updated, &patch, sizes).expect("no cut");
    let (patch, _, sizes) = made(&second, &third, 2, PAGE);
    let all = {
        let mut whole = Flash { done: 0, ..updated.clone() };
        go_on(&mut whole, &patch, sizes).expect("no cut");
        assert_eq!(whole.slot[..third.len()], third);
        whole.done
    };
    for first in 0..all {
        let mut flash = Flash { left: first, ..updated.clone() };
        assert!(go_on(&mut flash, &patch, sizes).is_err(), "{first} of {all}");
        flash.left = usize::MAX;
        go_on(&mut flash, &patch, sizes).expect("the newest checkpoint is whole");
        assert_eq!(flash.slot[..third.len()], third, "cut at {first}");
    }
}

/// Pieces of a few shapes in an order that a seed draws, each some bytes different from its shape.
fn shuffled(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut draw = move |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    let mut image = Vec::new();
    for _ in 0..30 {
        let shape = draw(5);
        for at in 0..60 + draw(40) {
            let byte = (shape * 977 + at * at * 7 + at) >> 2;
            let byte = if draw(40) == 0 { draw(256) } else { byte };
            image.extend(byte.to_le_bytes().first());
        }
    }
    image
}

#[test]
fn images_that_repeat_themselves_come_back_whatever_is_gone() {
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..24 {
        let (base, target) = (shuffled(seed), shuffled(seed + 1000));
        let (patch, layout, sizes) = made(&base, &target, 1, PAGE);
        orders.insert(layout.descends());
        let mut flash = Flash::new(&base, target.len(), layout);
        go_on(&mut flash, &patch, sizes).expect("honest");
        assert_eq!(flash.slot[..target.len()], target, "seed {seed}");
    }
    assert!(orders.len() > 2, "{orders:?}");
}

#[test]
fn wrong_base_and_missing_room_are_refused_before_the_first_write() {
    let (base, target) = pairs().remove(0);
    let (patch, layout, sizes) = made(&base, &target, 4, 512);
    let flash = Flash::new(&base, target.len(), layout);
    let mut other = flash.clone();
    *other.slot.last_mut().expect("some") ^= 1;
    other.slot[1000] ^= 1;
    let mut short = flash.clone();
    short.slot.truncate(short.slot.len() - 512);
    let mut few = flash.clone();
    few.spare.truncate(3 * 512);
    let coarse = Flash { erase_bytes: 1024, ..flash.clone() };
    let slot = u32::try_from(flash.slot.len()).expect("small");
    let room = PatchError::Room { slot, spare: 4 * 512, page: 512 };
    for (mut flash, refusal) in [(other, PatchError::WrongBase), (short, room), (few, room), (coarse, room)] {
        assert_eq!(go_on(&mut flash, &patch, sizes), Err(refusal.into()));
        assert_eq!(flash.done, 0, "{refusal}");
    }
}

#[test]
fn sequence_of_pages_that_can_not_be_is_refused_before_the_first_write() {
    let (base, target) = (scattered(0), scattered(3));
    let (patch, layout, sizes) = made(&base, &target, 2, PAGE);
    assert!(layout.is_told() && patch[2] == 0b110, "{layout:?}");
    let mut without_slot = patch.clone();
    without_slot[2] = 0b100;
    let mut without_spare = patch.clone();
    without_spare[4] &= 0x0f;
    for altered in [without_slot, without_spare] {
        let mut flash = Flash::new(&base, target.len(), layout);
        assert_eq!(go_on(&mut flash, &altered, sizes), Err(PatchError::Header.into()));
        assert_eq!(flash.done, 0);
    }
    // Whatever else the patch says of its pages, each is begun once, and what comes of it is not taken.
    for at in 22..patch.len() {
        let mut altered = patch.clone();
        altered[at] ^= 0x21;
        let mut flash = Flash::new(&base, target.len(), layout);
        assert!(go_on(&mut flash, &altered, sizes).is_err(), "byte {at}");
    }
}

#[test]
fn patch_for_one_slot_is_not_applied_into_another_and_the_other_way_round() {
    let (base, target) = pairs().remove(0);
    let (patch, layout, sizes) = made(&base, &target, 4, 512);
    let mut patcher = Patcher::new(-2, sizes[0], sizes[1], &[]).expect("known");
    let refused = patcher.push(&patch, &mut &base[..], &mut Vec::new());
    assert_eq!(refused, Err(PatchError::InPlace.into()));
    let patch = make_with(&base, &target, Options::default()).expect("small").bytes;
    let mut flash = Flash::new(&base, target.len(), layout);
    assert_eq!(go_on(&mut flash, &patch, sizes), Err(PatchError::InPlace.into()));
    assert_eq!(flash.done, 0);
}

#[test]
fn checkpoint_is_as_large_as_the_format_says() {
    assert_eq!(CHECKPOINT_BESIDES_BYTES, 744);
    let all = [Profile::Kib4, Profile::Kib8, Profile::Kib16].map(checkpoint_bytes);
    assert_eq!(all, [3432, 7528, 15_720]);
}

#[test]
fn every_altered_byte_of_a_checkpoint_is_noticed() {
    let (base, target) = pairs().remove(0);
    let (patch, layout, sizes) = made(&base, &target, 2, PAGE);
    let mut flash = Flash::new(&base, target.len(), layout);
    go_on(&mut flash, &patch, sizes).expect("no cut");
    let mut flash = Flash { left: flash.done / 2, ..Flash::new(&base, target.len(), layout) };
    assert!(go_on(&mut flash, &patch, sizes).is_err());
    flash.left = usize::MAX;
    let profile = Outline::parse(&patch).expect("made").profile;
    let whole =
        flash.checkpoints.iter().find(|one| one.len() == checkpoint_bytes(profile)).expect("one is whole");
    let whole = whole.clone();
    for at in (0..whole.len()).step_by(7).chain(0..200).chain(whole.len() - 8..whole.len()) {
        let mut altered = whole.clone();
        altered[at] ^= 0x40;
        let refused = Patcher::resume_in_place(&mut Padded(&altered), &mut flash);
        assert!(matches!(refused, Err(ApplyError::Patch(_))), "byte {at}");
    }
}

/// A slot for the target alone.
struct Other(Vec<u8>);

impl Sink for Other {
    type Error = OutsideSlice;

    fn write(&mut self, bytes: &[u8]) -> Result<(), OutsideSlice> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn read_back(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), OutsideSlice> {
        self.0.as_slice().read(offset, buf)
    }
}

#[test]
fn stopping_after_every_page_and_going_on_from_its_checkpoint_gives_the_target() {
    for (base, target) in pairs() {
        let sizes = [&base, &target].map(|image| u32::try_from(image.len()).expect("small"));
        let patch = make_with(&base, &target, Options::default()).expect("small").bytes;
        let mut patcher = Patcher::new(-2, sizes[0], sizes[1], &[]).expect("known");
        let (mut slot, mut at, mut stops) = (Other(Vec::new()), 0, 0);
        loop {
            if at < patch.len() {
                at += patcher.push_page(&patch[at..], &mut &base[..], &mut slot).expect("honest");
            } else if !patcher.finish_page(&mut &base[..], &mut slot).expect("honest") {
                break;
            }
            if stops == slot.0.len().div_ceil(OUT_BYTES) {
                continue;
            }
            stops += 1;
            let mut checkpoint = Vec::new();
            let saved = patcher.checkpoint(|_, piece| {
                checkpoint.extend_from_slice(piece);
                Ok::<_, OutsideSlice>(())
            });
            assert_eq!((saved, checkpoint.len()), (Ok(true), checkpoint_bytes(Profile::Kib8)));
            assert_eq!(patcher.produced() as usize, slot.0.len());
            patcher = Patcher::resume(&mut &checkpoint[..], &mut slot).expect("whole");
            at = patcher.patch_at() as usize;
        }
        assert_eq!(slot.0, target);
        assert_eq!(stops, target.len().div_ceil(OUT_BYTES));
    }
}
