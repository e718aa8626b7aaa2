//! The board's flash chip, played by a window of memory; the power can be cut in the middle of one of its operations.

use crate::clock::put_off_watchdog;
use crate::console::{Said, say};
use crate::layout::SECTOR_BYTES;
use crate::metal::{self, FLASH};
use crate::nor::Chip;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Operations of this program so far, and the one in which the power is cut; 0 for none.
static DONE: AtomicU32 = AtomicU32::new(0);
static CUT_AT: AtomicU32 = AtomicU32::new(0);

/// The phase whose operations are told, by its position; [`SILENT`] for none.
static TOLD: AtomicUsize = AtomicUsize::new(SILENT);
/// The page that was programmed last, and where the word behind the last one of it is.
static NEXT: AtomicU32 = AtomicU32::new(u32::MAX);

/// What writes to the flash, one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Phase {
    /// The boot loader.
    Boot,
    /// The firmware, confirmed.
    Work,
    /// The firmware on trial.
    Trial,
}

/// Does with the phase that begins what the emulator was told: with `cut=`, `boot-cut=` or `trial-cut=` and a number it
/// cuts the power in that operation from now on, counted from 1, a word that is programmed or a sector that is erased;
/// with `trace` it says where each sector or page begins: `operation`, and such a word and number.
pub fn begin(phase: Phase) {
    let position = phase as usize;
    if let Some(operation) = metal::number_of_command_line(CUTS[position]) {
        CUT_AT.store(DONE.load(Ordering::Relaxed).saturating_add(operation), Ordering::Relaxed);
    }
    if metal::word_of_command_line("trace") {
        DONE.store(0, Ordering::Relaxed);
        TOLD.store(position, Ordering::Relaxed);
    }
}

/// The chip.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoardChip;

impl Chip for BoardChip {
    fn read(&self, at: u32, into: &mut [u8]) {
        let (mut left, mut at) = (into, at as usize);
        while !left.is_empty() {
            let word = FLASH.read(at - at % 4).to_le_bytes();
            let taken = &word[at % 4..];
            let taken = &taken[..taken.len().min(left.len())];
            let (now, later) = left.split_at_mut(taken.len());
            now.copy_from_slice(taken);
            (left, at) = (later, at + taken.len());
        }
    }

    fn program(&mut self, at: u32, word: u32) {
        let goes_on = at == NEXT.swap(at + 4, Ordering::Relaxed) && !at.is_multiple_of(PAGE_BYTES);
        let is_cut = is_cut(!goes_on);
        // Of a word that is cut off, some bits are programmed and others are not.
        let programmed = if is_cut { word | TORN } else { word };
        FLASH.write(at as usize, FLASH.read(at as usize) & programmed);
        if is_cut {
            switch_off("power cut in a word\n");
        }
    }

    fn erase(&mut self, at: u32) {
        // Whoever writes an image gets on, however slow the board is: each sector is erased once.
        put_off_watchdog();
        NEXT.store(u32::MAX, Ordering::Relaxed);
        let is_cut = is_cut(true);
        let end = if is_cut { at + ERASED_OF_CUT_BYTES } else { at + SECTOR_BYTES };
        for word in (at..end).step_by(4) {
            FLASH.write(word as usize, u32::MAX);
        }
        if is_cut {
            switch_off("power cut in an erasure\n");
        }
    }
}

/// Counts an operation, tells where a sector or page begins with it, and whether the power is cut in it.
fn is_cut(begins: bool) -> bool {
    let number = DONE.load(Ordering::Relaxed).saturating_add(1);
    DONE.store(number, Ordering::Relaxed);
    let told = CUTS.get(TOLD.load(Ordering::Relaxed)).filter(|_| begins);
    if let Some(word) = told {
        say(&[Said::Text("operation "), Said::Text(word), Said::Number(number)]);
    }
    number == CUT_AT.load(Ordering::Relaxed)
}

fn switch_off(words: &str) -> ! {
    metal::say(words);
    metal::exit(STATUS_POWER_CUT)
}

/// The words of the phases.
const CUTS: [&str; 3] = ["boot-cut=", "cut=", "trial-cut="];
const SILENT: usize = usize::MAX;

/// What a serial flash chip programs at once, at the most.
const PAGE_BYTES: u32 = 256;

/// Exit status of a board whose power was cut.
const STATUS_POWER_CUT: u32 = 7;

/// Bits of a word that were not programmed when the power went.
const TORN: u32 = 0xA5A5_5A5A;

/// Bytes of a sector that were erased when the power went.
const ERASED_OF_CUT_BYTES: u32 = SECTOR_BYTES / 4;
