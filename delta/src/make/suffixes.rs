//! Finds the longest piece of the base that the target goes on with.

use std::vec;
use std::vec::Vec;

/// All suffixes of an image, sorted.
pub(crate) struct Suffixes<'a> {
    image: &'a [u8],
    sorted: Vec<u32>,
}

/// Longest comparison in a search, in bytes. It bounds the time on images with long runs of one byte;
/// a match of this length is extended where it is used.
pub(crate) const COMPARED_BYTES_MAX: usize = 256;

impl<'a> Suffixes<'a> {
    /// Sorts by prefix doubling: a counting sort a round, and as many rounds as the length of the longest
    /// repeat has binary digits. `image` is at most [`crate::IMAGE_BYTES_MAX`] long.
    pub(crate) fn new(image: &'a [u8]) -> Self {
        let length = u32::try_from(image.len()).unwrap_or(u32::MAX);
        let mut rank: Vec<u32> = image.iter().map(|byte| u32::from(*byte)).collect();
        let mut sorted = sorted_by_rank((0..length).collect(), &rank, 256);
        let mut step = 1;
        while step < length {
            let by_second = in_order_of_second(&sorted, step, length);
            let classes = rank.iter().max().map_or(0, |top| *top as usize + 1);
            sorted = sorted_by_rank(by_second, &rank, classes);
            rank = ranked(&sorted, &rank, step);
            let is_unique = sorted.last().is_some_and(|&last| rank[last as usize] == length - 1);
            if is_unique {
                break;
            }
            step *= 2;
        }
        Self { image, sorted }
    }

    /// Returns position and length of the longest match of the start of `target`; the length stops at
    /// [`COMPARED_BYTES_MAX`].
    pub(crate) fn longest_match(&self, target: &[u8]) -> (usize, usize) {
        let target = head(target);
        let at = self.sorted.partition_point(|&start| head(&self.image[start as usize..]) < target);
        let neighbours = [at.checked_sub(1), Some(at)].into_iter().flatten();
        let starts = neighbours.filter_map(|at| self.sorted.get(at)).map(|&start| start as usize);
        let matches = starts.map(|start| (start, common_bytes(&self.image[start..], target)));
        matches.max_by_key(|(_, length)| *length).unwrap_or((0, 0))
    }
}

/// Number of bytes that both start with.
pub(crate) fn common_bytes(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(COMPARED_BYTES_MAX)]
}

/// Stable counting sort of suffixes by `rank`, which is below `classes`.
fn sorted_by_rank(suffixes: Vec<u32>, rank: &[u32], classes: usize) -> Vec<u32> {
    let mut next = vec![0_u32; classes + 1];
    for &class in rank {
        next[class as usize + 1] += 1;
    }
    for class in 1..next.len() {
        next[class] += next[class - 1];
    }
    let mut sorted = vec![0; suffixes.len()];
    for suffix in suffixes {
        let place = &mut next[rank[suffix as usize] as usize];
        sorted[*place as usize] = suffix;
        *place += 1;
    }
    sorted
}

/// Suffixes in the order of what stands `step` bytes later; those with nothing there come first.
fn in_order_of_second(sorted: &[u32], step: u32, length: u32) -> Vec<u32> {
    let ended = length - step..length;
    ended.chain(sorted.iter().filter_map(|suffix| suffix.checked_sub(step))).collect()
}

/// New ranks: equal for suffixes that agree in twice `step` bytes.
fn ranked(sorted: &[u32], rank: &[u32], step: u32) -> Vec<u32> {
    let pair = |suffix: u32| (rank[suffix as usize], rank.get((suffix + step) as usize).copied());
    let mut ranks = vec![0; rank.len()];
    let mut class = 0;
    for neighbours in sorted.windows(2) {
        class += u32::from(pair(neighbours[0]) != pair(neighbours[1]));
        ranks[neighbours[1] as usize] = class;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn run_of_one_byte_is_sorted_and_searched() {
        let image = vec![0xff; 5000];
        let suffixes = Suffixes::new(&image);
        assert_eq!(suffixes.longest_match(&image).1, COMPARED_BYTES_MAX);
        assert_eq!(suffixes.longest_match(&[0xff, 0xff, 1]).1, 2);
        assert_eq!(suffixes.longest_match(&[1]).1, 0);
    }

    #[test]
    fn empty_image_matches_nothing() {
        assert_eq!(Suffixes::new(&[]).longest_match(b"abc"), (0, 0));
    }

    proptest! {
        #[test]
        fn any_image_is_sorted(image in proptest::collection::vec(0..4_u8, 0..80)) {
            let suffixes = Suffixes::new(&image);
            prop_assert!(suffixes.sorted.is_sorted_by_key(|&start| &image[start as usize..]));
            prop_assert_eq!(suffixes.sorted.len(), image.len());
        }

        #[test]
        fn longest_match_is_the_longest(image in proptest::collection::vec(0..3_u8, 0..60), target in proptest::collection::vec(0..3_u8, 0..12)) {
            let (start, length) = Suffixes::new(&image).longest_match(&target);
            prop_assert_eq!(&image[start..start + length], &target[..length]);
            let best = (0..image.len()).map(|start| common_bytes(&image[start..], &target)).max();
            prop_assert_eq!(length, best.unwrap_or(0));
        }
    }
}
