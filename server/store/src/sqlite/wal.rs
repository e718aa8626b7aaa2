//! The write-ahead log, read before SQLite reads it.
//!
//! SQLite takes the first frame that does not fit as the log's end, since a power cut leaves such a tail, and silently
//! drops all commits behind a damaged frame. Here the two are told apart: a frame that continues a commit was only
//! written once that commit had returned, so a whole commit with a whole continuation behind a frame that does not fit
//! proves that acknowledged commits would be lost. Damage of the very last commit can't be told from a power cut.
//!
//! Source: "WAL-mode File Format", <https://www.sqlite.org/walformat.html>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Says what is wrong with a log whose commits SQLite would drop; `None` for one that it reads as it was written, or
/// where there is none.
///
/// # Errors
///
/// What the system says.
pub(super) fn damage(path: &Path) -> io::Result<Option<String>> {
    match File::open(path) {
        Ok(file) => read(&mut BufReader::with_capacity(BUFFER_BYTES, file)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

fn read(log: &mut impl Read) -> io::Result<Option<String>> {
    let mut head = [0; HEAD_BYTES];
    if fill(log, &mut head)? < HEAD_BYTES {
        // It is synced before the first frame is written: nothing was ever committed in this log.
        return Ok(None);
    }
    let Some(format) = Format::of(&head) else {
        let mut one = [0];
        let has_frames = fill(log, &mut one)? > 0;
        return Ok(has_frames.then(|| "its head is damaged".to_owned()));
    };
    let mut frame = vec![0; FRAME_HEAD_BYTES + format.page_bytes];
    let mut scan = Scan { before: format.sums, misfit: None, committed: false };
    let mut number = 0_u64;
    while fill(log, &mut frame)? == frame.len() {
        if scan.take(&format, &frame, number) {
            let at = scan.misfit.unwrap_or_default();
            return Ok(Some(format!(
                "its frame {at} is damaged, and commits that were acknowledged follow it"
            )));
        }
        number += 1;
    }
    Ok(None)
}

/// What the head says.
struct Format {
    big_endian: bool,
    page_bytes: usize,
    salts: [u8; 8],
    sums: [u32; 2],
}

impl Format {
    fn of(head: &[u8; HEAD_BYTES]) -> Option<Self> {
        let big_endian = match word(head, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let page_bytes = usize::try_from(word(head, 8)).ok()?;
        let sums = sums(big_endian, [0, 0], &head[..24]);
        let salts = head[16..24].try_into().ok()?;
        let whole = sums == [word(head, 24), word(head, 28)];
        (whole && page_bytes.is_power_of_two() && (512..=PAGE_BYTES_MAX).contains(&page_bytes))
            .then_some(Self { big_endian, page_bytes, salts, sums })
    }
}

/// How far the frames were read.
struct Scan {
    /// Checksums of the frame before.
    before: [u32; 2],
    /// The first frame that does not fit.
    misfit: Option<u64>,
    /// Whether the whole frames behind it hold a whole commit.
    committed: bool,
}

impl Scan {
    /// Takes the next frame; `true` where it proves that a commit behind a misfit was acknowledged.
    fn take(&mut self, format: &Format, frame: &[u8], number: u64) -> bool {
        let (head, page) = frame.split_at(FRAME_HEAD_BYTES);
        let stored = [word(head, 16), word(head, 20)];
        let summed = sums(format.big_endian, sums(format.big_endian, self.before, &head[..8]), page);
        let fits = head[8..16] == format.salts && summed == stored;
        self.before = stored;
        if !fits {
            self.misfit.get_or_insert(number);
            self.committed = false;
            return false;
        }
        let proves = self.committed;
        // A frame that ends a commit says how many pages the data base has then.
        self.committed |= self.misfit.is_some() && word(head, 4) != 0;
        proves
    }
}

/// The log's checksum: a sum of 32-bit words in which each depends on its place.
fn sums(big_endian: bool, before: [u32; 2], bytes: &[u8]) -> [u32; 2] {
    let read = |four: &[u8]| {
        let four = four.try_into().unwrap_or_default();
        if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    };
    bytes.chunks_exact(8).fold(before, |[one, two], words| {
        let one = one.wrapping_add(read(&words[..4])).wrapping_add(two);
        [one, two.wrapping_add(read(&words[4..])).wrapping_add(one)]
    })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// Reads until the buffer is full or the file ends; gives how much was read.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(filled)
}

const HEAD_BYTES: usize = 32;
const FRAME_HEAD_BYTES: usize = 24;

/// The largest page that SQLite knows.
const PAGE_BYTES_MAX: usize = 65_536;

/// A log has about 4 MB after a crash: a thousand pages, the size from which SQLite copies it back.
const BUFFER_BYTES: usize = 256 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 512;

    /// A log with these commits, each of so many frames.
    fn log(commits: &[usize]) -> Vec<u8> {
        let mut head = [&0x377f_0682_u32.to_be_bytes()[..], &3_007_000_u32.to_be_bytes()].concat();
        head.extend(512_u32.to_be_bytes());
        head.extend([0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        let mut before = sums(false, [0, 0], &head);
        let mut bytes = [head, stored(before)].concat();
        for (commit, frames) in commits.iter().enumerate() {
            for frame in 1..=*frames {
                let ends = if frame == *frames { 9_u32 } else { 0 };
                let start = [7_u32.to_be_bytes(), ends.to_be_bytes()].concat();
                let page = [u8::try_from(commit * 16 + frame).unwrap(); PAGE];
                before = sums(false, sums(false, before, &start), &page);
                bytes.extend([&start[..], &[1, 2, 3, 4, 5, 6, 7, 8], &stored(before), &page].concat());
            }
        }
        bytes
    }

    fn stored([one, two]: [u32; 2]) -> Vec<u8> {
        [one.to_be_bytes(), two.to_be_bytes()].concat()
    }

    fn said(bytes: &[u8]) -> Option<String> {
        read(&mut &bytes[..]).unwrap()
    }

    /// Where the page of a frame begins.
    fn page(frame: usize) -> usize {
        HEAD_BYTES + frame * (FRAME_HEAD_BYTES + PAGE) + FRAME_HEAD_BYTES
    }

    #[test]
    fn whole_log_and_one_that_a_power_cut_ended_anywhere_are_not_damaged() {
        let whole = log(&[1, 3, 2, 1]);
        for end in 0..=whole.len() {
            assert_eq!(said(&whole[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn torn_last_commit_is_not_damage() {
        let mut torn = log(&[1, 3]);
        for frame in 1..4 {
            torn[page(frame) + 5] ^= 1;
            assert_eq!(said(&torn), None, "frame {frame}");
        }
    }

    #[test]
    fn flipped_bit_before_an_acknowledged_commit_is_damage() {
        for frame in 0..4 {
            for at in [page(frame), page(frame) + 511, page(frame) - 2, page(frame) - 12] {
                let mut bytes = log(&[1, 3, 2, 1]);
                bytes[at] ^= 0x10;
                let said = said(&bytes).expect("damage");
                assert!(said.contains(&format!("frame {frame} ")), "byte {at}: {said}");
            }
        }
    }

    #[test]
    fn overwritten_stretch_of_the_log_is_damage() {
        let mut bytes = log(&[1, 3, 2, 2, 1]);
        bytes[page(1) + 100..page(3) + 300].fill(0);
        assert!(said(&bytes).is_some());
    }

    #[test]
    fn damaged_head_is_damage_once_there_are_frames() {
        let mut bytes = log(&[1]);
        bytes[9] ^= 1;
        assert!(said(&bytes).is_some_and(|said| said.contains("head")));
        assert_eq!(said(&bytes[..HEAD_BYTES]), None);
    }

    #[test]
    fn frames_of_an_earlier_round_behind_the_end_are_not_damage() {
        let mut bytes = log(&[1, 1]);
        let mut earlier = log(&[2, 2, 2]).split_off(HEAD_BYTES);
        for frame in earlier.chunks_mut(FRAME_HEAD_BYTES + PAGE) {
            frame[8] ^= 0xFF;
        }
        bytes.extend(earlier);
        assert_eq!(said(&bytes), None);
    }

    #[test]
    fn frames_of_commits_that_failed_behind_the_end_are_not_damage() {
        // Each attempt was longer than the next and began at the same frame: only what was rolled back is left of them.
        let mut bytes = log(&[1, 9]);
        let second = log(&[1, 6]);
        bytes[..second.len()].copy_from_slice(&second);
        let third = log(&[1, 2]);
        bytes[..third.len()].copy_from_slice(&third);
        assert_eq!(said(&bytes), None);
    }
}
