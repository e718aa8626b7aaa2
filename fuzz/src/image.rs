//! Firmware files: whatever they hold, an image keeps its bounds, and says nothing that the file did not.

use bellwether_images::{Format, IMAGE_BYTES_MAX, Image};

/// Reads a file as what it is seen to be, and as each kind; then the image itself as a flat file.
pub(crate) fn file(data: &[u8]) {
    let seen = Image::read(data.to_vec(), None, None);
    let format = Format::of(data);
    assert_eq!(seen, Image::read(data.to_vec(), Some(format), None), "what is seen is what is read");
    for format in [Format::Flat, Format::Elf, Format::IntelHex, Format::Uf2, Format::Esp32] {
        let Ok(image) = Image::read(data.to_vec(), Some(format), None) else {
            assert!(format != Format::Flat, "every short file is a flat image");
            continue;
        };
        assert!(image.bytes.len() <= IMAGE_BYTES_MAX && image.filled <= image.bytes.len());
        let given = image.bytes.len() - image.filled;
        // Text and containers are larger than what they hold; the parts of an ELF file may share their bytes.
        assert!(format == Format::Elf || given <= data.len(), "{given} bytes of {}", data.len());
        let Some(address) = image.address else {
            assert_eq!(image.bytes, data, "a file without addresses is its own image");
            continue;
        };
        let last = address + image.bytes.len() as u64 - 1;
        for inside in [address, last] {
            let again = Image::read(data.to_vec(), Some(format), Some(inside));
            assert_eq!(again.as_ref(), Ok(&image), "the only region is the one with {inside:#x}");
        }
        assert!(Image::read(data.to_vec(), Some(format), Some(last + 1)).is_err());
    }
}

/// Small files of each kind.
pub(crate) fn file_seeds() -> Vec<Vec<u8>> {
    let hex = b":020000040800F2\n:0C00000048656C6C6F2C206C616D7021E9\n:0400000508000001EE\n:00000001FF\n";
    let segmented = b":020000021000EC\r\n:0100000055AA\r\n:0108000055A2\r\n:00000001FF\r\n";
    vec![hex.to_vec(), segmented.to_vec(), uf2(), elf(1, &words_32), elf(2, &words_64), esp32()]
}

fn uf2() -> Vec<u8> {
    let block = |number: u32| {
        let head =
            [0x0a32_4655, 0x9e5d_5157, 0x2000, 0x1000_0000 + number * 256, 256, number, 2, 0xe48b_ff56];
        let mut block: Vec<u8> = head.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
        block.resize(508, 0x5a);
        block.extend(0x0ab1_6f30_u32.to_le_bytes());
        block
    };
    [block(0), block(1)].concat()
}

/// An address, offset or size, as the class of a file has it.
type Words = dyn Fn(&[u64]) -> Vec<u8>;

fn words_32(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes().into_iter().take(4)).collect()
}

fn words_64(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// One segment in flash with one section in it.
fn elf(class: u8, words: &Words) -> Vec<u8> {
    let halves = |halves: &[u16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>();
    let (head, segment, section): (u16, u16, u16) = if class == 1 { (52, 32, 40) } else { (64, 56, 64) };
    let content_at = u64::from(head + segment);
    let start = [b"\x7fELF", &[class, 1, 1][..], &[0; 9], &halves(&[2, 40, 1, 0])].concat();
    let tables = words(&[0, head.into(), content_at + 16]);
    let sizes = [&[0; 4][..], &halves(&[head, segment, 1, section, 1, 0])].concat();
    let place = words(&[content_at, 0x2000_0000, 0x0800_0000, 16, 16]);
    let (load, flags) = (1_u32.to_le_bytes(), 5_u32.to_le_bytes());
    let segment = if class == 1 {
        [&load[..], &place, &flags, &words(&[4])].concat()
    } else {
        [&load[..], &flags, &place, &words(&[4])].concat()
    };
    let kind = [0_u32.to_le_bytes(), 1_u32.to_le_bytes()].concat();
    let section = [&kind[..], &words(&[2, 0, content_at, 16]), &[0; 8], &words(&[4, 0])].concat();
    [&start[..], &tables, &sizes, &segment, b"sixteen bytes ..", &section].concat()
}

/// One segment, its checksum, and no digest.
fn esp32() -> Vec<u8> {
    let mut image = vec![0xe9, 1];
    image.resize(24, 0);
    image.extend(0x3f40_0020_u32.to_le_bytes());
    image.extend(4_u32.to_le_bytes());
    image.extend([1, 2, 4, 8]);
    image.resize(47, 0);
    image.push(0xef ^ 0x0f);
    image
}
