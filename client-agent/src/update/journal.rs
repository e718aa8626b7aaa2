//! Two alternating copies of a small document in one region: a write cut short leaves the older copy valid.
//!
//! A copy is `version ‖ sequence (4) ‖ length (2) ‖ body ‖ CRC-32 of all before (4)`, numbers big-endian. The copy
//! with the highest sequence and a right CRC counts; the next write goes to the other one.

use crate::platform::{Flash, Region};
use thiserror::Error;

/// Where the next copy goes, learnt from the flash.
#[derive(Clone, Copy, Debug)]
pub struct Journal {
    region: Region,
    sequence: u32,
    next: u8,
}

/// Why a journal could not be read or written.
#[derive(Debug, Error)]
pub enum JournalError<E> {
    /// The flash failed; restart the device.
    #[error("flash failed")]
    Flash(#[source] E),
    /// The body is larger than a copy. A bound in this program is wrong.
    #[error("a document of {0} bytes does not fit its flash copy")]
    TooLong(usize),
}

impl Journal {
    /// Names the region; each of its two copies may have half of it, at most [`COPY_BYTES_MAX`].
    #[must_use]
    pub const fn new(region: Region) -> Self {
        Self { region, sequence: 0, next: 0 }
    }

    /// Reads the newest valid copy into `into` and gives the length of its body; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`JournalError::Flash`] as the flash says.
    pub fn load<F: Flash>(
        &mut self,
        flash: &mut F,
        into: &mut [u8; COPY_BYTES_MAX],
    ) -> Result<Option<usize>, JournalError<F::Error>> {
        let first = self.read_copy(flash, 0, into)?.map(|(sequence, _)| sequence);
        let second = self.read_copy(flash, 1, into)?.map(|(sequence, _)| sequence);
        let newest = match (first, second) {
            (None, None) => return Ok(None),
            (Some(_), None) => 0,
            (None, Some(_)) => 1,
            (Some(first), Some(second)) => u8::from(second > first),
        };
        let Some((sequence, length)) = self.read_copy(flash, newest, into)? else {
            return Ok(None);
        };
        self.sequence = sequence;
        self.next = 1 - newest;
        into.copy_within(HEAD_BYTES..HEAD_BYTES + length, 0);
        Ok(Some(length))
    }

    /// Writes `body` as the newest copy, in one write between two commits.
    ///
    /// The first commit makes everything that the body speaks of durable before it.
    ///
    /// # Errors
    ///
    /// [`JournalError::TooLong`] past the bytes of a copy, [`JournalError::Flash`] as the flash says.
    pub fn store<F: Flash>(&mut self, flash: &mut F, body: &[u8]) -> Result<(), JournalError<F::Error>> {
        let total = body.len() + HEAD_BYTES + CRC_BYTES;
        let length = u16::try_from(body.len()).map_err(|_| JournalError::TooLong(body.len()))?;
        if total > self.copy_bytes(flash) {
            return Err(JournalError::TooLong(body.len()));
        }
        let sequence = self.sequence.wrapping_add(1);
        let mut copy = [0; COPY_BYTES_MAX];
        copy[0] = VERSION;
        copy[1..5].copy_from_slice(&sequence.to_be_bytes());
        copy[5..7].copy_from_slice(&length.to_be_bytes());
        copy[HEAD_BYTES..HEAD_BYTES + body.len()].copy_from_slice(body);
        let crc = crc32(&copy[..total - CRC_BYTES]);
        copy[total - CRC_BYTES..total].copy_from_slice(&crc.to_be_bytes());
        flash.commit().map_err(JournalError::Flash)?;
        let at = self.offset(flash, self.next);
        flash.write(self.region, at, &copy[..total]).map_err(JournalError::Flash)?;
        flash.commit().map_err(JournalError::Flash)?;
        zeroize::Zeroize::zeroize(&mut copy);
        self.sequence = sequence;
        self.next = 1 - self.next;
        Ok(())
    }

    fn read_copy<F: Flash>(
        self,
        flash: &mut F,
        copy: u8,
        into: &mut [u8; COPY_BYTES_MAX],
    ) -> Result<Option<(u32, usize)>, JournalError<F::Error>> {
        let room = self.copy_bytes(flash);
        let at = self.offset(flash, copy);
        flash.read(self.region, at, &mut into[..room]).map_err(JournalError::Flash)?;
        Ok(parse(&into[..room]))
    }

    /// Where a copy begins; the second one in the middle of the region.
    fn offset<F: Flash>(self, flash: &F, copy: u8) -> u32 {
        if copy == 0 { 0 } else { flash.bytes(self.region) / 2 }
    }

    fn copy_bytes<F: Flash>(self, flash: &F) -> usize {
        (flash.bytes(self.region) as usize / 2).min(COPY_BYTES_MAX)
    }
}

/// Reads the sequence and the body's length of a copy that is whole.
fn parse(copy: &[u8]) -> Option<(u32, usize)> {
    if *copy.first()? != VERSION {
        return None;
    }
    let sequence = u32::from_be_bytes(copy.get(1..5)?.try_into().ok()?);
    let length = usize::from(u16::from_be_bytes(copy.get(5..7)?.try_into().ok()?));
    let end = HEAD_BYTES + length;
    let crc = u32::from_be_bytes(copy.get(end..end + CRC_BYTES)?.try_into().ok()?);
    (crc32(&copy[..end]) == crc).then_some((sequence, length))
}

/// Computes the CRC-32 of IEEE 802.3, bit by bit: a table would cost a kilobyte of flash.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Bytes that a copy may have: one sector of common NOR flash; the record's bounds add up to less.
pub const COPY_BYTES_MAX: usize = 4096;

/// Bytes that the body of a copy may have.
pub const BODY_BYTES_MAX: usize = COPY_BYTES_MAX - HEAD_BYTES - CRC_BYTES;

/// The layout of a copy. Never reuse a number.
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 7;
const CRC_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryFlash;
    use crate::update::boot::BOOT_COPY_BYTES;
    use proptest::prelude::*;

    fn load(flash: &mut MemoryFlash) -> Option<std::vec::Vec<u8>> {
        let mut buffer = [0; COPY_BYTES_MAX];
        let length = Journal::new(Region::Boot).load(flash, &mut buffer).unwrap()?;
        Some(buffer[..length].to_vec())
    }

    #[test]
    fn erased_flash_has_no_copy() {
        assert_eq!(load(&mut MemoryFlash::new(0)), None);
    }

    #[test]
    fn newest_copy_wins() {
        let mut flash = MemoryFlash::new(0);
        let mut journal = Journal::new(Region::Boot);
        for body in [b"one".as_slice(), b"two", b"three"] {
            journal.store(&mut flash, body).unwrap();
            assert_eq!(load(&mut flash).unwrap(), body);
        }
    }

    #[test]
    fn torn_write_leaves_the_copy_before_it() {
        let mut flash = MemoryFlash::new(0);
        let mut journal = Journal::new(Region::Boot);
        journal.store(&mut flash, b"one").unwrap();
        journal.store(&mut flash, b"two").unwrap();
        flash.writes_left = Some(1);
        assert!(journal.store(&mut flash, b"three").is_err());
        flash.power_on();
        assert_eq!(load(&mut flash).unwrap(), b"two");
    }

    #[test]
    fn writing_goes_on_after_a_restart_without_touching_the_newest_copy() {
        let mut flash = MemoryFlash::new(0);
        Journal::new(Region::Boot).store(&mut flash, b"one").unwrap();
        let mut journal = Journal::new(Region::Boot);
        journal.load(&mut flash, &mut [0; COPY_BYTES_MAX]).unwrap();
        flash.writes_left = Some(1);
        assert!(journal.store(&mut flash, b"two").is_err());
        flash.power_on();
        assert_eq!(load(&mut flash).unwrap(), b"one");
    }

    #[test]
    fn body_larger_than_a_copy_is_refused_before_the_flash_is_touched() {
        let mut flash = MemoryFlash::new(0);
        let refused = Journal::new(Region::Boot).store(&mut flash, &[0; BOOT_COPY_BYTES - 10]);
        assert!(matches!(refused, Err(JournalError::TooLong(length)) if length == BOOT_COPY_BYTES - 10));
        assert_eq!(flash.writes, 0);
    }

    #[test]
    fn checksum_is_that_of_ieee_802_3() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn any_flash_content_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
