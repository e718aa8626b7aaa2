//! Dry runs write nothing, and what stands behind the base in its slot is of no concern.

#![cfg(feature = "make")]

use core::cell::Cell;

use bellwether_delta::make::{Options, SimulatedSlot, make, make_with};
use bellwether_delta::{ApplyError, Base, HashOnly, Layout, NotKept, OutsideSlice, PatchError, Patcher};

fn base() -> Vec<u8> {
    (0..1024_u32).flat_map(|at| (at.wrapping_mul(0x9e37_79b1) >> 5).to_le_bytes()).collect()
}

/// The base with a table put in twice, so that its second half is a copy of the first.
fn target() -> Vec<u8> {
    let table: Vec<u8> = (0..150_u32).flat_map(|at| at.wrapping_mul(0x85eb_ca6b).to_le_bytes()).collect();
    let mut target = base();
    target.splice(700..700, table.iter().copied());
    target.extend(&table);
    target
}

fn size(image: &[u8]) -> u32 {
    u32::try_from(image.len()).unwrap_or(u32::MAX)
}

fn dry(patch: &[u8], kept: &mut [u8]) -> Result<(), ApplyError<OutsideSlice, NotKept>> {
    let (base, target) = (base(), target());
    let mut patcher = Patcher::new(-2, size(&base), size(&target), &[])?;
    let mut nowhere = HashOnly::new(kept);
    for piece in patch.chunks(100) {
        patcher.push(piece, &mut &base[..], &mut nowhere)?;
    }
    patcher.finish(&mut &base[..], &mut nowhere)
}

#[test]
fn dry_run_says_whether_the_patch_gives_its_target() {
    let (base, target) = (base(), target());
    let patch = make(&base, &target).unwrap().bytes;
    assert_eq!(dry(&patch, &mut vec![0; target.len()]), Ok(()));
    let mut altered = patch.clone();
    let last = altered.len() - 3;
    altered[last] ^= 4;
    assert!(matches!(dry(&altered, &mut vec![0; target.len()]), Err(ApplyError::Patch(_))));
}

#[test]
fn dry_run_that_keeps_too_little_is_told_apart_from_a_bad_patch() {
    let patch = make(&base(), &target()).unwrap().bytes;
    for kept in [0, 1, 600] {
        assert_eq!(dry(&patch, &mut vec![0; kept]), Err(ApplyError::Sink(NotKept)), "{kept} bytes kept");
    }
}

/// A slot with more in it than the base.
struct Slot<'a> {
    bytes: &'a [u8],
    farthest: &'a Cell<usize>,
}

impl Base for Slot<'_> {
    type Error = OutsideSlice;

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), OutsideSlice> {
        self.farthest.set(self.farthest.get().max(offset as usize + buf.len()));
        (&mut &*self.bytes).read(offset, buf)
    }
}

#[test]
fn what_stands_behind_the_base_is_never_read() {
    let (base, target) = (base(), target());
    let patch = make(&base, &target).unwrap().bytes;
    let slot = [&base[..], &[0xa5; 3000]].concat();
    let farthest = Cell::new(0);
    let mut patcher = Patcher::new(-2, size(&base), size(&target), &[]).unwrap();
    let (mut made, mut old) = (Vec::new(), Slot { bytes: &slot, farthest: &farthest });
    patcher.push(&patch, &mut old, &mut made).unwrap();
    patcher.finish(&mut old, &mut made).unwrap();
    assert!(made == target);
    assert_eq!(farthest.get(), base.len());
    // Who takes all of the slot for the base is told of it before the first write.
    let mut patcher = Patcher::new(-2, size(&slot), size(&target), &[]).unwrap();
    let refused = patcher.push(&patch, &mut &slot[..], &mut HashOnly::new(&mut [])).unwrap_err();
    assert!(matches!(refused, ApplyError::Patch(PatchError::Sizes { .. })));
}

#[test]
fn what_stands_behind_the_base_in_the_slot_that_both_share_changes_nothing() {
    let (base, target) = (base(), target());
    let layout = Layout::new(512, 2).unwrap();
    let options = Options { in_place: Some(layout), ..Options::default() };
    for (old, new) in [(&base, &target), (&target, &base)] {
        let patch = make_with(old, new, options).unwrap().bytes;
        let mut slot = SimulatedSlot::new(&[&old[..], &[0xa5; 3000]].concat(), new.len(), layout);
        let mut patcher = Patcher::new(-2, size(old), size(new), &[]).unwrap();
        patcher.push_in_place(&patch, &mut slot).unwrap();
        patcher.finish_in_place(&mut slot).unwrap();
        assert!(slot.image(new.len()) == &new[..]);
    }
}
