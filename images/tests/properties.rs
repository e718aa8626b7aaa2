//! Whatever a file holds: no panic, no more than the bounds, and what a toolchain wrote is read back.

#![expect(clippy::expect_used, reason = "a test stops at the first thing that is not as it must be")]

use bellwether_images::{Format, IMAGE_BYTES_MAX, Image};
use proptest::prelude::*;

const FORMATS: [Option<Format>; 6] = [
    None,
    Some(Format::Flat),
    Some(Format::Elf),
    Some(Format::IntelHex),
    Some(Format::Uf2),
    Some(Format::Esp32),
];

/// Starts by which files of each kind are known.
const STARTS: [&[u8]; 6] =
    [b"", b"\x7fELF\x01\x01", b"\x7fELF\x02\x02", b":02000004", b"UF2\n\x57\x51\x5d\x9e", b"\xe9\x01"];

fn hex_record(offset: u16, kind: u8, data: &[u8]) -> String {
    let count = u8::try_from(data.len()).expect("short");
    let mut bytes = vec![count];
    bytes.extend_from_slice(&offset.to_be_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(data);
    let sum = bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    bytes.push(sum.wrapping_neg());
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!(":{}\r\n", digits.concat())
}

/// Writes an image as Intel HEX, with a new upper address wherever the lower one begins again.
fn hex_file(address: u32, image: &[u8], step: usize) -> String {
    let mut text = String::new();
    let mut at = address;
    for piece in image.chunks(step) {
        // No record crosses a bound of 64 KiB here.
        let room = usize::try_from(0x1_0000 - (at & 0xffff)).expect("small");
        for piece in [&piece[..piece.len().min(room)], &piece[piece.len().min(room)..]] {
            let [high, low, ..] = at.to_be_bytes();
            if !piece.is_empty() {
                text += &hex_record(0, 4, &[high, low]);
                text += &hex_record(u16::try_from(at & 0xffff).expect("masked"), 0, piece);
            }
            at += u32::try_from(piece.len()).expect("short");
        }
    }
    text + ":00000001FF\r\n"
}

fn uf2_file(address: u32, image: &[u8]) -> Vec<u8> {
    let count = u32::try_from(image.chunks(256).len()).expect("short");
    let block = |(number, payload): (u32, &[u8])| {
        let length = u32::try_from(payload.len()).expect("short");
        let head = [0x0a32_4655, 0x9e5d_5157, 0, address + number * 256, length, number, count, 0];
        let mut block: Vec<u8> = head.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        block.extend_from_slice(payload);
        block.resize(508, 0);
        block.extend_from_slice(&0x0ab1_6f30_u32.to_le_bytes());
        block
    };
    (0..).zip(image.chunks(256)).flat_map(block).collect()
}

/// Reads a file in every way; each result keeps the bounds.
fn read_in_every_way(file: &[u8]) {
    for format in FORMATS {
        for region in [None, Some(0), Some(0x0800_0000)] {
            if let Ok(image) = Image::read(file.to_vec(), format, region) {
                assert!(image.bytes.len() <= IMAGE_BYTES_MAX && image.filled <= image.bytes.len());
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        start in prop::sample::select(&STARTS[..]),
        rest in prop::collection::vec(any::<u8>(), 0..700),
    ) {
        read_in_every_way(&[start, &rest].concat());
    }

    #[test]
    fn altered_files_are_read_or_refused(
        image in prop::collection::vec(any::<u8>(), 1..600),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        length in any::<prop::sample::Index>(),
    ) {
        for mut file in [hex_file(0x0800_fff0, &image, 16).into_bytes(), uf2_file(0x1000_0000, &image)] {
            let place = at.index(file.len());
            file[place] = byte;
            read_in_every_way(&file);
            file.truncate(length.index(file.len()));
            read_in_every_way(&file);
        }
    }

    #[test]
    fn image_written_as_intel_hex_is_read_back(
        image in prop::collection::vec(any::<u8>(), 1..600),
        address in 0..0xffff_0000_u32,
        step in 1..=255_usize,
    ) {
        let file = hex_file(address, &image, step).into_bytes();
        let read = Image::read(file, None, None).expect("well-formed");
        prop_assert_eq!(read, Image { format: Format::IntelHex, address: Some(address.into()), filled: 0, bytes: image });
    }

    #[test]
    fn altered_digit_of_intel_hex_is_seen(
        image in prop::collection::vec(any::<u8>(), 1..100),
        at in any::<prop::sample::Index>(),
        flip in 1..16_u8,
    ) {
        let mut file = hex_file(0, &image, 16).into_bytes();
        let digits: Vec<usize> = (0..file.len()).filter(|&at| file[at].is_ascii_hexdigit()).collect();
        let place = digits[at.index(digits.len())];
        let value = char::from(file[place]).to_digit(16).expect("a digit") ^ u32::from(flip);
        file[place] = char::from_digit(value, 16).map(|digit| digit.to_ascii_uppercase() as u8).expect("four bits");
        prop_assert!(Image::read(file, Some(Format::IntelHex), None).is_err());
    }

    #[test]
    fn image_written_as_uf2_is_read_back(image in prop::collection::vec(any::<u8>(), 1..2000)) {
        let read = Image::read(uf2_file(0x1000_0000, &image), None, None).expect("well-formed");
        prop_assert_eq!(read, Image { format: Format::Uf2, address: Some(0x1000_0000), filled: 0, bytes: image });
    }
}

#[test]
fn hex_file_of_lonely_bytes_is_refused_before_memory_is_full() {
    let upper = |high: u8| hex_record(0, 4, &[high, 0]);
    let lonely: String = (0..400_u16).map(|number| hex_record(number * 2, 0, &[1])).collect();
    let file: String = (0..=255).map(|high| upper(high) + &lonely).collect();
    let error = Image::read(file.into_bytes(), None, None).expect_err("102,400 pieces");
    assert!(error.to_string().contains("scattered"), "{error}");
}
