//! The power is cut at every page write while a patch is applied into a second slot: the base stays, and starting again
//! with the patch's first byte ends with the target, whatever the slot holds by then.
#![cfg(feature = "make")]
#![expect(clippy::expect_used, reason = "a test stops at the first thing that is not as it must be")]

use bellwether_delta::make::make;
use bellwether_delta::{Base, OUT_BYTES, OutsideSlice, Patcher, Sink};

/// A slot of flash whose power goes after some pages.
struct Slot {
    bytes: Vec<u8>,
    at: usize,
    pages_left: usize,
}

/// The power went.
#[derive(Debug)]
struct Cut;

impl Sink for Slot {
    type Error = Cut;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Cut> {
        let place = self.bytes.get_mut(self.at..self.at + bytes.len()).expect("inside the slot");
        let Some(left) = self.pages_left.checked_sub(1) else {
            // The page that was being written is half there, and half what it was.
            let half = bytes.len() / 2;
            place[..half].copy_from_slice(&bytes[..half]);
            return Err(Cut);
        };
        place.copy_from_slice(bytes);
        (self.at, self.pages_left) = (self.at + bytes.len(), left);
        Ok(())
    }

    fn read_back(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), Cut> {
        let start = offset as usize;
        assert!(start + buf.len() <= self.at, "reads what this run has not written");
        buf.copy_from_slice(&self.bytes[start..start + buf.len()]);
        Ok(())
    }
}

/// A base that counts what is read of it, and is never written.
struct Flash<'a>(&'a [u8]);

impl Base for Flash<'_> {
    type Error = OutsideSlice;

    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), OutsideSlice> {
        let mut base = self.0;
        base.read(offset, buf)
    }
}

/// Applies a patch from its first byte; false where the power went.
fn apply(patch: &[u8], base: &[u8], slot: &mut Slot, size: usize) -> bool {
    let [base_size, target_size] = [base.len(), size].map(|bytes| u32::try_from(bytes).expect("small"));
    let mut patcher = Patcher::new(-2, base_size, target_size, &[]).expect("known");
    slot.at = 0;
    for piece in patch.chunks(48) {
        if patcher.push(piece, &mut Flash(base), slot).is_err() {
            return false;
        }
    }
    patcher.finish(&mut Flash(base), slot).is_ok()
}

/// A program of `functions` pieces that call each other, with one put in between, and a table that repeats itself.
fn program(functions: u32, is_new: bool) -> Vec<u8> {
    let moved = if is_new { 24 } else { 0 };
    let start = |number: u32| number * 64 + if number > functions / 2 { moved } else { 0 };
    let mut image = Vec::new();
    for number in 0..functions {
        if is_new && number == functions / 2 + 1 {
            image.extend((0..24).map(|at| at * 5));
        }
        for call in 0..16_u32 {
            let to = start((number * 7 + call * 3) % functions);
            let from = u32::try_from(image.len()).expect("small") + 4;
            let half = to.wrapping_sub(from) >> 1;
            // BL of Thumb, and an instruction that stays.
            let (high, low) = (0xf000 | half >> 11 & 0x7ff, 0xf800 | half & 0x7ff);
            let filler = 0x2000 | number.wrapping_mul(call) & 0xff;
            let halves = if call % 2 == 0 { [high, low] } else { [filler, 0x4770] };
            image.extend(halves.into_iter().flat_map(|half| half.to_le_bytes().into_iter().take(2)));
        }
    }
    // Only the new image has it, so that its second half is a copy of the first.
    let table = (0..120_u32).flat_map(|at| at.wrapping_mul(0x9e37_79b1).to_le_bytes());
    if is_new {
        let table: Vec<u8> = table.collect();
        image.extend(&table);
        image.extend(&table);
    }
    image
}

#[test]
fn power_cut_at_every_page_and_once_more_ends_with_the_target() {
    for functions in [3, 24] {
        let (base, target) = (program(functions, false), program(functions, true));
        let patch = make(&base, &target).expect("small").bytes;
        assert!(patch.len() < target.len() * 3 / 4, "the table is taken twice");
        let pages = target.len().div_ceil(OUT_BYTES);
        for first in 0..pages {
            for second in [0, pages - 1] {
                let mut slot = Slot { bytes: vec![0xff; target.len()], at: 0, pages_left: first };
                assert!(!apply(&patch, &base, &mut slot, target.len()), "{first} of {pages}");
                slot.pages_left = second;
                assert!(!apply(&patch, &base, &mut slot, target.len()), "{second} of {pages}");
                slot.pages_left = pages;
                assert!(apply(&patch, &base, &mut slot, target.len()), "after {first} and {second}");
                assert_eq!(slot.bytes, target);
            }
        }
    }
}
