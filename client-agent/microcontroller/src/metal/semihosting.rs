//! What the emulator does for the program: its output, its exit status, its command line, and noise.
//!
//! Source: Arm, "Semihosting for `AArch32` and `AArch64`", release 2.0.

use core::arch::asm;

/// Says text, of which each piece has at most [`PIECE_BYTES`] − 1 bytes.
pub fn say(text: &str) {
    for piece in text.as_bytes().chunks(PIECE_BYTES - 1) {
        // It ends with a zero.
        let mut ended = [0; PIECE_BYTES];
        ended[..piece.len()].copy_from_slice(piece);
        call(SYS_WRITE0, ended.as_mut_ptr() as usize);
    }
}

/// Ends the emulator with this status.
pub fn exit(status: u32) -> ! {
    let mut block = [APPLICATION_EXIT, status as usize];
    loop {
        call(SYS_EXIT_EXTENDED, block.as_mut_ptr() as usize);
    }
}

/// Fills `into` with random bytes of the host; false where it has none.
#[must_use]
pub fn host_noise(into: &mut [u8]) -> bool {
    let mut open = [NOISE.as_ptr() as usize, READ_BINARY, NOISE.len() - 1];
    let file = call(SYS_OPEN, open.as_mut_ptr() as usize);
    if file == usize::MAX {
        return false;
    }
    let mut read = [file, into.as_mut_ptr() as usize, into.len()];
    let missing = call(SYS_READ, read.as_mut_ptr() as usize);
    call(SYS_CLOSE, [file].as_mut_ptr() as usize);
    missing == 0
}

/// Tells whether the emulator was given this word.
#[must_use]
pub fn word_of_command_line(word: &str) -> bool {
    find_word(|said| (said == word.as_bytes()).then_some(())).is_some()
}

/// Gives the number that the emulator was given behind this word.
#[must_use]
pub fn number_of_command_line(word: &str) -> Option<u32> {
    find_word(|said| {
        let digits = said.strip_prefix(word.as_bytes())?;
        let digit = |number: u32, digit: &u8| {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number.checked_mul(10)?.checked_add(u32::from(digit))
        };
        digits.iter().try_fold(0, digit)
    })
}

fn find_word<T>(find: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    let mut line = [0; LINE_BYTES];
    let mut block = [line.as_mut_ptr() as usize, LINE_BYTES];
    if call(SYS_GET_CMDLINE, block.as_mut_ptr() as usize) != 0 {
        return None;
    }
    line.get(..block[1])?.split(|byte| *byte == b' ').find_map(find)
}

/// Asks the emulator for something; `block` is a number or the address of what the operation reads and writes.
fn call(operation: usize, block: usize) -> usize {
    let answer;
    // SAFETY: every caller gives a block of the size that its operation reads and writes, in memory that is borrowed
    // for as long as the call takes; the assembly is taken to read and write memory.
    unsafe {
        asm!("bkpt #0xab", inlateout("r0") operation => answer, in("r1") block, options(nostack, preserves_flags));
    }
    answer
}

const SYS_OPEN: usize = 0x01;
const SYS_CLOSE: usize = 0x02;
const SYS_WRITE0: usize = 0x04;
const SYS_READ: usize = 0x06;
const SYS_GET_CMDLINE: usize = 0x15;
const SYS_EXIT_EXTENDED: usize = 0x20;
const APPLICATION_EXIT: usize = 0x20026;

/// Mode `rb`.
const READ_BINARY: usize = 1;

const NOISE: &[u8] = b"/dev/urandom\0";

/// Bytes of text said at once.
const PIECE_BYTES: usize = 80;

/// Bytes of the command line that are read: the path of the program and a few words.
const LINE_BYTES: usize = 512;
