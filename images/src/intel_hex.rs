//! Intel HEX: lines of `:`, count, address, type, data and checksum.
//!
//! Source: Intel, Hexadecimal Object File Format Specification, revision A (1988).

use crate::error::ImageError;
use crate::format::Format;
use crate::layout::Layout;

/// Whether a file starts as one: a colon, then a whole record's head in digits.
pub(crate) fn is(file: &[u8]) -> bool {
    let Some((b':', rest)) = file.split_first() else {
        return false;
    };
    rest.get(..HEAD_DIGITS).is_some_and(|head| head.iter().all(u8::is_ascii_hexdigit))
}

/// Reads the data records at their addresses.
pub(crate) fn read(file: &[u8]) -> Result<Layout, ImageError> {
    let mut reader = Reader { layout: Layout::new(Format::IntelHex), upper: 0, is_segmented: false };
    let mut has_ended = false;
    for (index, line) in file.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        let wrong = |reason| ImageError::HexLine { line: index + 1, reason };
        match line {
            [] => {}
            _ if has_ended => return Err(wrong("the file goes on after its end-of-file record")),
            _ => has_ended = reader.take(&record(line).map_err(wrong)?, wrong)?,
        }
    }
    if has_ended {
        return Ok(reader.layout);
    }
    Err(ImageError::CutOff { format: Format::IntelHex, reason: "it has no end-of-file record" })
}

/// What the records so far have said.
struct Reader {
    layout: Layout,
    /// What an extended address record adds to the addresses that follow.
    upper: u64,
    /// Whether that was a segment, within which addresses wrap at 64 KiB.
    is_segmented: bool,
}

impl Reader {
    /// Takes a record; true for the last one.
    fn take(
        &mut self,
        record: &Record,
        wrong: impl Fn(&'static str) -> ImageError,
    ) -> Result<bool, ImageError> {
        match (record.kind, record.data()) {
            (0, data) => {
                let offset = u64::from(record.offset);
                // A record may wrap at the end of a segment by the letter; no toolchain writes one.
                if self.is_segmented && offset + data.len() as u64 > 1 << 16 {
                    return Err(wrong("it wraps at the end of its segment"));
                }
                self.layout.put(self.upper + offset, data)?;
            }
            (1, []) => return Ok(true),
            (2, &[high, low]) => {
                self.upper = u64::from(u16::from_be_bytes([high, low])) << 4;
                self.is_segmented = true;
            }
            (4, &[high, low]) => {
                self.upper = u64::from(u16::from_be_bytes([high, low])) << 16;
                self.is_segmented = false;
            }
            // Where the program starts: nothing that flash holds.
            (3 | 5, [_, _, _, _]) => {}
            (1..=5, _) => return Err(wrong("its length does not suit its type")),
            _ => return Err(wrong("its type is not known")),
        }
        Ok(false)
    }
}

struct Record {
    offset: u16,
    kind: u8,
    bytes: [u8; RECORD_BYTES_MAX],
    count: usize,
}

impl Record {
    fn data(&self) -> &[u8] {
        self.bytes.get(4..4 + self.count).unwrap_or_default()
    }
}

fn record(line: &[u8]) -> Result<Record, &'static str> {
    let Some((b':', digits)) = line.split_first() else {
        return Err("it does not start with a colon");
    };
    let (pairs, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() || pairs.len() > RECORD_BYTES_MAX {
        return Err("it has an odd number of digits, or too many");
    }
    let mut bytes = [0; RECORD_BYTES_MAX];
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    let [count, high, low, kind, ..] = bytes;
    if pairs.len() != usize::from(count) + 5 {
        return Err("it is longer or shorter than its count says");
    }
    if bytes.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte)) != 0 {
        return Err("its checksum does not fit");
    }
    Ok(Record { offset: u16::from_be_bytes([high, low]), kind, bytes, count: usize::from(count) })
}

fn digit(digit: u8) -> Result<u8, &'static str> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err("it has a character that is no hexadecimal digit"),
    }
}

/// Count, address and type.
const HEAD_DIGITS: usize = 8;
/// Count, address, type, at most 255 bytes of data, checksum.
const RECORD_BYTES_MAX: usize = 1 + 2 + 1 + 255 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(file: &str) -> String {
        read(file.as_bytes()).expect_err("wrong").to_string()
    }

    fn flat(file: &str) -> (u64, Vec<u8>) {
        let region = read(file.as_bytes()).expect("well-formed").region(None).expect("one region");
        (region.start, region.flatten().expect("small").0)
    }

    #[test]
    fn extended_linear_address_holds_for_all_records_after_it() {
        let file =
            ":020000040800F2\r\n:020100001122CA\r\n:0201020033448 4\r\n:00000001FF\r\n".replace("8 4", "84");
        assert_eq!(flat(&file), (0x0800_0100, vec![0x11, 0x22, 0x33, 0x44]));
    }

    #[test]
    fn segment_address_is_a_sixteenth() {
        assert_eq!(flat(":020000021000EC\n:0100000055AA\n:00000001FF\n"), (0x1_0000, vec![0x55]));
    }

    #[test]
    fn wrong_checksum_is_refused_with_its_line() {
        let said = refused(":0100000055AA\n:0100010055AA\n:00000001FF\n");
        assert!(said.contains("line 2") && said.contains("checksum"), "{said}");
    }

    #[test]
    fn file_without_its_last_record_is_cut_off() {
        assert!(refused(":0100000055AA\n").contains("cut off"));
        assert!(refused(":0100000055AA\n:0100").contains("line 2"));
    }

    #[test]
    fn record_after_the_last_one_is_refused() {
        assert!(refused(":00000001FF\n:0100000055AA\n").contains("goes on"));
    }

    #[test]
    fn record_past_its_segment_is_refused() {
        assert!(refused(":020000021000EC\n:02FFFF005566 45\n".replace(' ', "").as_str()).contains("wraps"));
    }

    #[test]
    fn text_with_a_colon_is_no_hex_file() {
        assert!(is(b":00000001FF") && !is(b":hello, world") && !is(b":00"));
    }
}
