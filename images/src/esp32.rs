//! Application images of the ESP32 family and the ESP8266: segments, a checksum, for the ESP32 a digest.
//!
//! Flash gets such a file as it is; it is checked, so that a cut one is not shipped.
//!
//! Source: ESP-IDF Programming Guide, App Image Format; esptool, Firmware Image Format.

use sha2::{Digest, Sha256};

use crate::error::ImageError;
use crate::format::Format;

/// Checks the segments, the checksum and, where there is one, the digest. Bytes after them (padding, a signature) are
/// nobody's business here.
pub(crate) fn check(file: &[u8]) -> Result<(), ImageError> {
    let cut_off = ImageError::CutOff { format: Format::Esp32, reason: "it ends inside its segments" };
    let [MAGIC, segments @ 1..=SEGMENTS_MAX, ..] = *file else {
        return Err(ImageError::Esp32("it has no segment count behind the byte 0xe9"));
    };
    // The ESP8266's images have the short head; of the two readings the one counts whose checksum fits.
    for head in [LONG_HEAD_BYTES, SHORT_HEAD_BYTES] {
        let Some(end) = summed(file, head, segments) else {
            continue;
        };
        let has_digest = head == LONG_HEAD_BYTES && file.get(LONG_HEAD_BYTES - 1) == Some(&1);
        if has_digest && !is_digest_right(file, end).ok_or_else(|| cut_off.clone())? {
            return Err(ImageError::Esp32("its digest does not fit; build it again"));
        }
        return Ok(());
    }
    Err(ImageError::Esp32("it ends inside its segments, or its checksum does not fit"))
}

/// Returns where the image ends behind its checksum, if the segments lie inside the file and the checksum fits.
fn summed(file: &[u8], head: usize, segments: u8) -> Option<usize> {
    let mut at = head;
    let mut sum = CHECKSUM_START;
    for _ in 0..segments {
        let length = file.get(at + 4..at + SEGMENT_HEAD_BYTES)?.first_chunk().copied()?;
        at += SEGMENT_HEAD_BYTES;
        let end = at.checked_add(u32::from_le_bytes(length) as usize)?;
        sum = file.get(at..end)?.iter().fold(sum, |sum, byte| sum ^ byte);
        at = end;
    }
    // The checksum is the last byte of a block of 16.
    let end = (at / 16 + 1) * 16;
    (file.get(end - 1) == Some(&sum)).then_some(end)
}

fn is_digest_right(file: &[u8], end: usize) -> Option<bool> {
    let said = file.get(end..end + 32)?;
    Some(Sha256::digest(file.get(..end)?).as_slice() == said)
}

const MAGIC: u8 = 0xe9;
/// As the boot loader has it.
const SEGMENTS_MAX: u8 = 16;
const SHORT_HEAD_BYTES: usize = 8;
const LONG_HEAD_BYTES: usize = 24;
const SEGMENT_HEAD_BYTES: usize = 8;
const CHECKSUM_START: u8 = 0xef;

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Vec<u8> {
        let mut image = vec![MAGIC, 1];
        image.resize(LONG_HEAD_BYTES - 1, 0);
        image.push(1);
        image.extend_from_slice(&0x3f40_0020_u32.to_le_bytes());
        image.extend_from_slice(&20_u32.to_le_bytes());
        image.extend_from_slice(&[0x5a; 19]);
        image.push(0x11);
        image.resize(63, 0);
        image.push(CHECKSUM_START ^ 0x5a ^ 0x11);
        let digest = Sha256::digest(&image);
        image.extend_from_slice(&digest);
        image
    }

    #[test]
    fn whole_image_is_right_also_with_a_signature_behind_it() {
        assert_eq!(check(&image()), Ok(()));
        assert_eq!(check(&[image(), vec![0xff; 100]].concat()), Ok(()));
    }

    #[test]
    fn altered_segment_breaks_the_checksum() {
        let mut image = image();
        image[40] ^= 1;
        assert!(check(&image).expect_err("altered").to_string().contains("checksum"));
    }

    #[test]
    fn altered_head_breaks_the_digest() {
        let mut image = image();
        image[2] ^= 1;
        assert!(check(&image).expect_err("altered").to_string().contains("digest"));
    }

    #[test]
    fn every_cut_image_is_refused() {
        let image = image();
        for length in 0..image.len() {
            assert!(check(&image[..length]).is_err(), "{length}");
        }
    }
}
