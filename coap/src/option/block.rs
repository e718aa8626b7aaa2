//! Block1 and Block2 option value (RFC 7959 §2.2).

use thiserror::Error;

/// Position and size of one block of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Block {
    /// Index of the block in the body, 0 ..= 2^20 - 1.
    pub number: u32,
    /// Whether more blocks follow this one.
    pub more: bool,
    /// Size of every block but the last.
    pub size: BlockSize,
}

/// Payload bytes per block: a power of two, 16 ..= 1024.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct BlockSize {
    exponent: u8, // SZX, 0 ..= 6
}

/// Why an option value is no block.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BlockError {
    /// Answer with 4.00 Bad Request.
    #[error("block size exponent 7 is reserved")]
    ReservedSize,
    /// Treat as an option not recognised.
    #[error("block option is {0} bytes long, at most 3 are allowed")]
    TooLong(usize),
}

impl Block {
    /// Largest block number, from the 20 bits that hold it.
    pub const NUMBER_MAX: u32 = (1 << 20) - 1;

    /// Names the first block of a body, or asks for it.
    #[must_use]
    pub const fn first(size: BlockSize) -> Self {
        Self::ask(0, size)
    }

    /// Asks for one block: `more` has no meaning there and is unset.
    #[must_use]
    pub const fn ask(number: u32, size: BlockSize) -> Self {
        Self { number, more: false, size }
    }

    /// Reads an option value of 0 ..= 3 bytes, big-endian, leading zeros dropped.
    ///
    /// # Errors
    ///
    /// [`BlockError::TooLong`] past 3 bytes, [`BlockError::ReservedSize`] for exponent 7.
    ///
    /// Source: RFC 7959 §2.2.
    pub fn parse(value: &[u8]) -> Result<Self, BlockError> {
        if value.len() > 3 {
            return Err(BlockError::TooLong(value.len()));
        }
        let bits = value.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        Ok(Self {
            number: bits >> 4,
            more: bits & 0b1000 != 0,
            size: BlockSize::from_exponent((bits & 0b111) as u8)?,
        })
    }

    /// Gives the number that stands in the option; a block number past [`Block::NUMBER_MAX`] is cut to 20 bits.
    #[must_use]
    pub fn to_bits(self) -> u32 {
        let number = self.number & Self::NUMBER_MAX;
        number << 4 | u32::from(self.more) << 3 | u32::from(self.size.exponent)
    }

    /// Returns the offset of this block in the body, in bytes.
    #[must_use]
    pub fn offset_bytes(self) -> usize {
        self.number as usize * self.size.bytes()
    }
}

impl BlockSize {
    /// 16 bytes, the least there is.
    pub const MIN: Self = Self { exponent: 0 };
    /// 1024 bytes, the most there is.
    pub const MAX: Self = Self { exponent: 6 };

    /// Takes the exponent of the wire (SZX): 0 is 16 bytes, 6 is 1024 bytes.
    ///
    /// # Errors
    ///
    /// [`BlockError::ReservedSize`] for an exponent past 6.
    pub const fn from_exponent(exponent: u8) -> Result<Self, BlockError> {
        match exponent {
            0..=6 => Ok(Self { exponent }),
            _ => Err(BlockError::ReservedSize),
        }
    }

    /// Returns the exponent of the wire (SZX), 0 ..= 6.
    #[must_use]
    pub const fn exponent(self) -> u8 {
        self.exponent
    }

    /// Returns the payload bytes of a block, 16 ..= 1024.
    #[must_use]
    pub const fn bytes(self) -> usize {
        16 << self.exponent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_value_is_first_and_only_block_of_16_bytes() {
        assert_eq!(Block::parse(&[]), Ok(Block::first(BlockSize::MIN)));
    }

    #[test]
    fn reserved_exponent_is_rejected() {
        assert_eq!(Block::parse(&[0x07]), Err(BlockError::ReservedSize));
    }

    #[test]
    fn fourth_byte_is_rejected() {
        assert_eq!(Block::parse(&[0; 4]), Err(BlockError::TooLong(4)));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_are_rejected(value in proptest::collection::vec(any::<u8>(), 0..5)) {
            if let Ok(block) = Block::parse(&value) {
                prop_assert!(block.number <= Block::NUMBER_MAX);
                prop_assert!((16..=1024).contains(&block.size.bytes()));
                let (bytes, zeros) = crate::option::uint::encode(block.to_bits());
                prop_assert_eq!(Block::parse(&bytes[zeros..]), Ok(block));
            }
        }
    }
}
