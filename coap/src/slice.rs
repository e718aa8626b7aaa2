//! One block out of a body.

use crate::option::block::{Block, BlockSize};

/// Cuts the block of this number and size out of a body.
///
/// Returns its option and its bytes, or nothing if the body ends before. An empty body has one
/// empty block.
pub(crate) fn slice(body: &[u8], number: u32, size: BlockSize) -> Option<(Block, &[u8])> {
    let start = Block::ask(number, size).offset_bytes();
    if number > Block::NUMBER_MAX || start > body.len() || (start == body.len() && number > 0) {
        return None;
    }
    let end = body.len().min(start + size.bytes());
    let block = Block { number, more: end < body.len(), size };
    Some((block, &body[start..end]))
}

/// Names the block that starts at this offset, a multiple of `size`.
pub(crate) fn number_at(offset: usize, size: BlockSize) -> u32 {
    u32::try_from(offset / size.bytes()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_block_is_the_rest_and_nothing_follows_it() {
        let body = [1; 40];
        let (block, bytes) = slice(&body, 2, BlockSize::MIN).unwrap();
        assert_eq!((block.more, bytes.len()), (false, 8));
        assert_eq!(slice(&body, 3, BlockSize::MIN), None);
    }

    #[test]
    fn body_that_fills_its_blocks_has_no_empty_block_after() {
        let body = [1; 32];
        assert!(!slice(&body, 1, BlockSize::MIN).unwrap().0.more);
        assert_eq!(slice(&body, 2, BlockSize::MIN), None);
    }

    #[test]
    fn empty_body_has_one_empty_block() {
        let first = Block::first(BlockSize::MAX);
        assert_eq!(slice(&[], 0, BlockSize::MAX), Some((first, &[][..])));
    }
}
