//! Two alternating copies of a small document in one region: a write cut short leaves the older copy valid.
//!
//! A copy is `version ‖ sequence (4) ‖ length (2) ‖ body ‖ CRC-32 of all before (4)`, numbers big-endian. The copy
//! with the highest sequence and a right CRC counts; the next write goes to the other one.

use crate::platform::{Flash, Region};
use thiserror::Error;
use zeroize::Zeroizing;

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

    /// Reads the body of the newest valid copy into `into` and gives its length; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`JournalError::TooLong`] where the body has more bytes than `into`, [`JournalError::Flash`] as the flash says.
    pub fn load<F: Flash>(
        &mut self,
        flash: &mut F,
        into: &mut [u8],
    ) -> Result<Option<usize>, JournalError<F::Error>> {
        let (copy, found) = match (self.find(flash, 0)?, self.find(flash, 1)?) {
            (None, None) => return Ok(None),
            (Some(first), None) => (0, first),
            (Some(first), Some(second)) if second.sequence <= first.sequence => (0, first),
            (_, Some(second)) => (1, second),
        };
        self.sequence = found.sequence;
        self.next = 1 - copy;
        let body = into.get_mut(..found.length).ok_or(JournalError::TooLong(found.length))?;
        let at = self.offset(flash, copy).saturating_add(length_of(&[0; HEAD_BYTES]));
        flash.read(self.region, at, body).map_err(JournalError::Flash)?;
        Ok(Some(found.length))
    }

    /// Writes `body` as the newest copy, in one write between two commits.
    ///
    /// The first commit makes everything that the body speaks of durable before it.
    ///
    /// # Errors
    ///
    /// [`JournalError::TooLong`] past the bytes of a copy, [`JournalError::Flash`] as the flash says.
    pub fn store<F: Flash>(&mut self, flash: &mut F, body: &[u8]) -> Result<(), JournalError<F::Error>> {
        let mut copy = [0; COPY_BYTES_MAX];
        copy.get_mut(BODY_AT..BODY_AT + body.len())
            .ok_or(JournalError::TooLong(body.len()))?
            .copy_from_slice(body);
        let stored = self.store_in_place(flash, &mut copy, body.len());
        zeroize::Zeroize::zeroize(&mut copy);
        stored
    }

    /// Writes the body of `length` bytes that stands in `copy` from [`BODY_AT`] on, as [`Journal::store`] does; what is
    /// around it is filled in.
    ///
    /// # Errors
    ///
    /// As [`Journal::store`]; [`JournalError::TooLong`] also where `copy` has no room for what is around the body.
    pub fn store_in_place<F: Flash>(
        &mut self,
        flash: &mut F,
        copy: &mut [u8],
        length: usize,
    ) -> Result<(), JournalError<F::Error>> {
        let too_long = JournalError::TooLong(length);
        let total = HEAD_BYTES + length + CRC_BYTES;
        let (Ok(told), true) = (u16::try_from(length), total <= self.copy_bytes(flash)) else {
            return Err(too_long);
        };
        let copy = copy.get_mut(..total).ok_or(too_long)?;
        let sequence = self.sequence.wrapping_add(1);
        copy[0] = VERSION;
        copy[1..5].copy_from_slice(&sequence.to_be_bytes());
        copy[5..7].copy_from_slice(&told.to_be_bytes());
        let (document, crc) = copy.split_at_mut(total - CRC_BYTES);
        crc.copy_from_slice(&(!crc32(CRC_START, document)).to_be_bytes());
        flash.commit().map_err(JournalError::Flash)?;
        let at = self.offset(flash, self.next);
        flash.write(self.region, at, copy).map_err(JournalError::Flash)?;
        flash.commit().map_err(JournalError::Flash)?;
        self.sequence = sequence;
        self.next = 1 - self.next;
        Ok(())
    }

    /// Reads a copy in pieces; `None` where it is not whole.
    fn find<F: Flash>(self, flash: &mut F, copy: u8) -> Result<Option<Found>, JournalError<F::Error>> {
        let (room, mut at) = (self.copy_bytes(flash), self.offset(flash, copy));
        let mut read = |into: &mut [u8]| {
            flash.read(self.region, at, into).map_err(JournalError::Flash)?;
            at = at.saturating_add(length_of(into));
            Ok(())
        };
        let mut head = [0; HEAD_BYTES];
        if room < HEAD_BYTES + CRC_BYTES {
            return Ok(None);
        }
        read(&mut head)?;
        let [version, s0, s1, s2, s3, l0, l1] = head;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if version != VERSION || HEAD_BYTES + length + CRC_BYTES > room {
            return Ok(None);
        }
        let (mut crc, mut left) = (crc32(CRC_START, &head), length);
        // Secrets may pass through it.
        let mut piece = Zeroizing::new([0; PIECE_BYTES]);
        while left > 0 {
            let piece = &mut piece[..left.min(PIECE_BYTES)];
            read(piece)?;
            crc = crc32(crc, piece);
            left -= piece.len();
        }
        let mut told = [0; CRC_BYTES];
        read(&mut told)?;
        let is_whole = !crc == u32::from_be_bytes(told);
        Ok(is_whole.then_some(Found { sequence: u32::from_be_bytes([s0, s1, s2, s3]), length }))
    }

    /// Where a copy begins; the second one in the middle of the region.
    fn offset<F: Flash>(self, flash: &F, copy: u8) -> u32 {
        if copy == 0 { 0 } else { flash.bytes(self.region) / 2 }
    }

    fn copy_bytes<F: Flash>(self, flash: &F) -> usize {
        (flash.bytes(self.region) as usize / 2).min(COPY_BYTES_MAX)
    }
}

/// A copy that is whole.
struct Found {
    sequence: u32,
    /// Bytes of its body.
    length: usize,
}

/// Bytes of a piece of a copy, which are few.
fn length_of(piece: &[u8]) -> u32 {
    u32::try_from(piece.len()).unwrap_or(u32::MAX)
}

/// Goes on with the CRC-32 of IEEE 802.3, bit by bit: a table would cost a kilobyte of flash. It begins with
/// [`CRC_START`], and what comes of it is inverted at the end.
fn crc32(before: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(before, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

const CRC_START: u32 = u32::MAX;

/// Bytes that a copy may have: one sector of common NOR flash; the record's bounds add up to less.
pub const COPY_BYTES_MAX: usize = 4096;

/// Bytes that the body of a copy may have.
pub const BODY_BYTES_MAX: usize = COPY_BYTES_MAX - AROUND_BYTES;

/// Where the body begins in a copy.
pub const BODY_AT: usize = HEAD_BYTES;

/// Bytes of a copy beside its body.
pub const AROUND_BYTES: usize = HEAD_BYTES + CRC_BYTES;

/// The layout of a copy. Never reuse a number.
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 7;
const CRC_BYTES: usize = 4;

/// Bytes that are read at a time where only the checksum is wanted.
const PIECE_BYTES: usize = 64;

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
        assert_eq!(!crc32(CRC_START, b"123456789"), 0xCBF4_3926);
        assert_eq!(!crc32(crc32(CRC_START, b"1234"), b"56789"), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn any_flash_content_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut flash = MemoryFlash::new(0);
            flash.write(Region::Boot, 0, &bytes).unwrap();
            let _ = load(&mut flash);
        }

        #[test]
        fn body_of_any_length_comes_back_and_no_byte_of_it_may_differ(
            body in proptest::collection::vec(any::<u8>(), 0..=BODY_BYTES_MAX),
            at in any::<proptest::sample::Index>(),
            bit in 0..8,
        ) {
            let mut flash = MemoryFlash::new(0);
            Journal::new(Region::Record).store(&mut flash, &body).unwrap();
            let mut into = std::vec![0; body.len()];
            let loaded = Journal::new(Region::Record).load(&mut flash, &mut into).unwrap();
            prop_assert_eq!((loaded, &into), (Some(body.len()), &body));
            if let Some(smaller) = body.len().checked_sub(1) {
                let refused = Journal::new(Region::Record).load(&mut flash, &mut into[..smaller]);
                prop_assert!(matches!(refused, Err(JournalError::TooLong(length)) if length == body.len()));
            }
            let at = u32::try_from(at.index(body.len() + AROUND_BYTES)).unwrap();
            let mut byte = [0];
            flash.read(Region::Record, at, &mut byte).unwrap();
            flash.write(Region::Record, at, &[byte[0] ^ (1_u8 << bit)]).unwrap();
            prop_assert_eq!(Journal::new(Region::Record).load(&mut flash, &mut into).unwrap(), None);
        }
    }
}
