//! UF2: blocks of 512 bytes, each with its address and its number.
//!
//! Source: <https://github.com/microsoft/uf2>.

use crate::error::ImageError;
use crate::format::Format;
use crate::layout::Layout;

/// Whether a file starts as one.
pub(crate) fn is(file: &[u8]) -> bool {
    word(file, 0) == Some(MAGIC_FIRST) && word(file, 4) == Some(MAGIC_SECOND)
}

/// Reads the blocks for the main flash.
pub(crate) fn read(file: &[u8]) -> Result<Layout, ImageError> {
    let (blocks, rest) = file.as_chunks::<BLOCK_BYTES>();
    if blocks.is_empty() || !rest.is_empty() {
        return Err(ImageError::CutOff {
            format: Format::Uf2,
            reason: "it is no whole number of blocks of 512 bytes",
        });
    }
    let mut layout = Layout::new(Format::Uf2);
    let mut family = None;
    for (index, block) in blocks.iter().enumerate() {
        let wrong = |reason| ImageError::Uf2Block { block: index, reason };
        let block = Block::parse(block).map_err(wrong)?;
        if block.number as usize != index {
            return Err(wrong("it is out of its place"));
        }
        if block.count as usize != blocks.len() {
            let reason = "it has fewer blocks than it says, or more";
            return Err(ImageError::CutOff { format: Format::Uf2, reason });
        }
        if block.flags & NOT_MAIN_FLASH != 0 {
            continue;
        }
        if *family.get_or_insert(block.family()) != block.family() {
            return Err(wrong(
                "it is for another family of chips than those before it; split the file first",
            ));
        }
        layout.put(u64::from(block.address), block.payload)?;
    }
    Ok(layout)
}

struct Block<'a> {
    flags: u32,
    address: u32,
    number: u32,
    count: u32,
    family: u32,
    payload: &'a [u8],
}

impl<'a> Block<'a> {
    fn parse(block: &'a [u8; BLOCK_BYTES]) -> Result<Self, &'static str> {
        let at = |offset| word(block, offset).ok_or("it is cut off");
        if at(0)? != MAGIC_FIRST || at(4)? != MAGIC_SECOND || at(BLOCK_BYTES - 4)? != MAGIC_LAST {
            return Err("it has not the marks of a UF2 block");
        }
        let flags = at(8)?;
        if flags & FILE_CONTAINER != 0 {
            return Err("it carries a file, not flash");
        }
        let payload =
            block.get(DATA_AT..DATA_AT + DATA_BYTES).and_then(|data| data.get(..at(16).ok()? as usize));
        Ok(Self {
            flags,
            address: at(12)?,
            number: at(20)?,
            count: at(24)?,
            family: at(28)?,
            payload: payload.ok_or("its payload is longer than a block")?,
        })
    }

    fn family(&self) -> Option<u32> {
        (self.flags & HAS_FAMILY != 0).then_some(self.family)
    }
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

const BLOCK_BYTES: usize = 512;
const DATA_AT: usize = 32;
const DATA_BYTES: usize = 476;
const MAGIC_FIRST: u32 = 0x0a32_4655;
const MAGIC_SECOND: u32 = 0x9e5d_5157;
const MAGIC_LAST: u32 = 0x0ab1_6f30;
const NOT_MAIN_FLASH: u32 = 1;
const FILE_CONTAINER: u32 = 0x1000;
const HAS_FAMILY: u32 = 0x2000;

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u32, count: u32, family: u32, address: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short");
        let head = [MAGIC_FIRST, MAGIC_SECOND, HAS_FAMILY, address, length, number, count, family];
        let mut block: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
        block.extend_from_slice(payload);
        block.resize(BLOCK_BYTES - 4, 0);
        block.extend_from_slice(&MAGIC_LAST.to_le_bytes());
        block
    }

    #[test]
    fn payloads_of_all_blocks_make_the_image() {
        let file = [block(0, 2, 7, 0x1000_0000, &[1; 256]), block(1, 2, 7, 0x1000_0100, &[2; 256])].concat();
        assert!(is(&file));
        let region = read(&file).expect("well-formed").region(None).expect("one region");
        assert_eq!(region.flatten(), Ok(([[1; 256], [2; 256]].concat(), 0)));
    }

    #[test]
    fn missing_last_block_is_seen() {
        let error = read(&block(0, 2, 7, 0, b"x")).expect_err("one of two").to_string();
        assert!(error.contains("cut off"), "{error}");
        let file = block(0, 1, 7, 0, b"x");
        assert!(matches!(read(&file[..511]), Err(ImageError::CutOff { .. })));
    }

    #[test]
    fn second_family_is_refused() {
        let file = [block(0, 2, 7, 0, b"x"), block(1, 2, 8, 1, b"y")].concat();
        assert!(read(&file).expect_err("two families").to_string().contains("family"));
    }

    #[test]
    fn payload_longer_than_a_block_is_refused() {
        let mut file = block(0, 1, 7, 0, b"x");
        file[16..20].copy_from_slice(&477_u32.to_le_bytes());
        assert!(read(&file).expect_err("too long").to_string().contains("longer"));
    }
}
