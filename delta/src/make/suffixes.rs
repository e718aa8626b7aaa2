//! Sorts all suffixes of a text, in linear time.
//!
//! Source: G. Nong, S. Zhang, W. H. Chan, "Linear Suffix Array Construction by Almost Pure Induced-Sorting", 2009.

use std::vec;
use std::vec::Vec;

const NONE: u32 = u32::MAX;

/// A letter of a text: a byte, or the name of a piece of it.
trait Letter: Copy + Eq {
    fn index(self) -> usize;
}

impl Letter for u8 {
    fn index(self) -> usize {
        self.into()
    }
}

impl Letter for u32 {
    fn index(self) -> usize {
        self as usize
    }
}

/// Returns where the suffixes of `text` start, in the order of the suffixes. `text` is shorter than 2^31.
pub(crate) fn sorted(text: &[u8]) -> Vec<u32> {
    induced(text, 256)
}

/// Starts of the buckets of each letter: where its suffixes of the larger and of the smaller type begin.
struct Buckets {
    large: Vec<u32>,
    small: Vec<u32>,
}

/// One bit per suffix: whether it is smaller than the one after it.
struct Types(Vec<u64>);

impl Types {
    fn of<L: Letter>(text: &[L]) -> Self {
        let mut types = Self(vec![0; text.len().div_ceil(64)]);
        let mut is_small = false;
        for at in (0..text.len() - 1).rev() {
            let (here, next) = (text[at].index(), text[at + 1].index());
            is_small = if here == next { is_small } else { here < next };
            types.0[at / 64] |= u64::from(is_small) << (at % 64);
        }
        types
    }

    fn is_small(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 != 0
    }

    /// Whether a suffix is smaller than the one after it, but the one before it is not smaller than this one.
    fn is_leftmost(&self, at: usize) -> bool {
        at > 0 && self.is_small(at) && !self.is_small(at - 1)
    }
}

fn induced<L: Letter>(text: &[L], letters: usize) -> Vec<u32> {
    match text.len() {
        0 => return Vec::new(),
        1 => return vec![0],
        _ => {}
    }
    let types = Types::of(text);
    let buckets = buckets(text, &types, letters);
    let leftmost: Vec<u32> =
        (1..text.len()).filter(|&at| types.is_leftmost(at)).map(|at| at as u32).collect();
    let mut array = induce(text, &types, &buckets, &leftmost);
    if !leftmost.is_empty() {
        array.retain(|&at| types.is_leftmost(at as usize));
        array.shrink_to_fit();
        let (names, count) = named(text, &leftmost, &array);
        drop(array);
        let mut again = induced(&names, count);
        drop(names);
        for at in &mut again {
            *at = leftmost[*at as usize];
        }
        drop(leftmost);
        array = induce(text, &types, &buckets, &again);
    }
    array
}

fn buckets<L: Letter>(text: &[L], types: &Types, letters: usize) -> Buckets {
    let (mut large, mut small) = (vec![0_u32; letters + 1], vec![0_u32; letters + 1]);
    for (at, letter) in text.iter().enumerate() {
        if types.is_small(at) {
            large[letter.index() + 1] += 1;
        } else {
            small[letter.index()] += 1;
        }
    }
    for at in 0..=letters {
        small[at] += large[at];
        if at < letters {
            large[at + 1] += small[at];
        }
    }
    Buckets { large, small }
}

fn induce<L: Letter>(text: &[L], types: &Types, buckets: &Buckets, leftmost: &[u32]) -> Vec<u32> {
    let mut array = vec![NONE; text.len()];
    let mut next = buckets.small.clone();
    for &start in leftmost {
        let bucket = &mut next[text[start as usize].index()];
        array[*bucket as usize] = start;
        *bucket += 1;
    }
    let mut next = buckets.large.clone();
    let last = text.len() - 1;
    let bucket = &mut next[text[last].index()];
    array[*bucket as usize] = last as u32;
    *bucket += 1;
    for at in 0..text.len() {
        let start = array[at];
        if start != NONE && start >= 1 && !types.is_small(start as usize - 1) {
            let bucket = &mut next[text[start as usize - 1].index()];
            array[*bucket as usize] = start - 1;
            *bucket += 1;
        }
    }
    let mut next = buckets.large.clone();
    for at in (0..text.len()).rev() {
        let start = array[at];
        if start != NONE && start >= 1 && types.is_small(start as usize - 1) {
            let bucket = &mut next[text[start as usize - 1].index() + 1];
            *bucket -= 1;
            array[*bucket as usize] = start - 1;
        }
    }
    array
}

/// Names the pieces between leftmost suffixes in their order; equal pieces have one name.
fn named<L: Letter>(text: &[L], leftmost: &[u32], ordered: &[u32]) -> (Vec<u32>, usize) {
    // Two leftmost suffixes are never neighbours: half the places are enough.
    let mut number = vec![NONE; text.len().div_ceil(2)];
    for (at, &start) in leftmost.iter().enumerate() {
        number[start as usize / 2] = at as u32;
    }
    let mut names = vec![0_u32; leftmost.len()];
    let piece = |start: u32| {
        let next = number[start as usize / 2] as usize + 1;
        let end = leftmost.get(next).map_or(text.len(), |&end| end as usize + 1);
        (&text[start as usize..end], next == leftmost.len())
    };
    let mut name = 0;
    for pair in ordered.windows(2) {
        let ((before, was_last), (here, is_last)) = (piece(pair[0]), piece(pair[1]));
        if is_last || was_last || before != here {
            name += 1;
        }
        names[number[pair[1] as usize / 2] as usize] = name;
    }
    (names, name as usize + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_comparison(text: &[u8]) -> Vec<u32> {
        let mut starts: Vec<u32> = (0..text.len() as u32).collect();
        starts.sort_by_key(|&start| &text[start as usize..]);
        starts
    }

    proptest! {
        #[test]
        fn suffixes_are_sorted(text in proptest::collection::vec(0..4_u8, 0..200)) {
            prop_assert_eq!(sorted(&text), by_comparison(&text));
        }
    }

    #[test]
    fn runs_and_repeats_are_sorted() {
        for text in [&[0xff; 300][..], &b"abcabcabc".repeat(40), b"", b"a", b"mississippi"] {
            assert_eq!(sorted(text), by_comparison(text));
        }
    }
}
