//! Paint on the part of the stack that nothing used yet, to see later how far it was used.

use core::arch::asm;

unsafe extern "C" {
    static __bss_end: u32;
    static __stack_top: u32;
}

/// Paints the free part of the stack; call it once, at the start.
#[inline(never)]
pub fn paint() {
    let here: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {here}, sp", here = out(reg) here, options(nomem, nostack, preserves_flags)) };
    let mut at = lowest();
    while at < here - MARGIN_BYTES {
        // SAFETY: words between the static data and the stack pointer, less a margin for this function: nothing of the
        // program lies there.
        unsafe { (at as *mut u32).write_volatile(PAINT) };
        at += WORD_BYTES;
    }
}

/// Tells how many bytes of the stack were used at the most since [`paint`]; bytes that were reserved but not written
/// under the deepest write are missed.
#[must_use]
pub fn peak_bytes() -> usize {
    let top = (&raw const __stack_top) as usize;
    let mut at = lowest();
    // SAFETY: words of RAM below the end of the stack.
    while at < top && unsafe { (at as *const u32).read_volatile() } == PAINT {
        at += WORD_BYTES;
    }
    top - at
}

fn lowest() -> usize {
    (&raw const __bss_end) as usize
}

const PAINT: u32 = 0xC0DE_F00D;
const WORD_BYTES: usize = 4;

/// Bytes below the stack pointer that are left alone: more than this function's frame.
const MARGIN_BYTES: usize = 128;
