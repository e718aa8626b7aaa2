//! Numbers that a peer cannot foresee, from one seed (`ChaCha20`, RFC 8439 §2.3).

/// A stream of numbers; the same seed gives the same stream.
pub(crate) struct Generator {
    seed: [u32; 8],
    /// Low half, high half.
    counter: [u32; 2],
    block: [u32; 16],
    used: usize,
}

impl Generator {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(seed.chunks_exact(4)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        Self { seed: words, counter: [0; 2], block: [0; 16], used: 16 }
    }

    pub(crate) fn next(&mut self) -> u32 {
        if self.used == self.block.len() {
            self.block = block(&self.seed, self.counter, [0; 2]);
            self.count();
            self.used = 0;
        }
        let word = self.block[self.used];
        self.used += 1;
        word
    }

    fn count(&mut self) {
        let (low, carry) = self.counter[0].overflowing_add(1);
        self.counter = [low, self.counter[1].wrapping_add(u32::from(carry))];
    }

    /// Returns a number in 0 ..= 65535.
    pub(crate) fn next_u16(&mut self) -> u16 {
        (self.next() >> 16) as u16
    }
}

fn block(seed: &[u32; 8], counter: [u32; 2], nonce: [u32; 2]) -> [u32; 16] {
    let mut start = [0; 16];
    start[..4].copy_from_slice(&CONSTANTS);
    start[4..12].copy_from_slice(seed);
    start[12..14].copy_from_slice(&counter);
    start[14..].copy_from_slice(&nonce);
    let mut state = start;
    for _ in 0..10 {
        for [a, b, c, d] in QUARTERS {
            quarter_round(&mut state, a, b, c, d);
        }
    }
    for (word, first) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(first);
    }
    state
}

fn quarter_round(state: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    for (sum, add, turn, by) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        state[sum] = state[sum].wrapping_add(state[add]);
        state[turn] = (state[turn] ^ state[sum]).rotate_left(by);
    }
}

/// "expand 32-byte k", little-endian.
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// The four columns, then the four diagonals.
const QUARTERS: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8439 §2.3.2. The RFC's 96-bit nonce starts in the high half of our counter.
    #[test]
    fn block_function_gives_the_test_vector() {
        let seed = core::array::from_fn(|n| u8::try_from(n).unwrap());
        let words = Generator::new(seed).seed;
        let state = block(&words, [1, 0x0900_0000], [0x4a00_0000, 0]);
        assert_eq!(state[..4], [0xe4e7_f110, 0x1559_3bd1, 0x1fdd_0f50, 0xc471_20a3]);
        assert_eq!(state[12..], [0xd19c_12b5, 0xb94e_16de, 0xe883_d0cb, 0x4e3c_50a2]);
    }

    #[test]
    fn same_seed_gives_same_numbers_and_another_seed_others() {
        let draw = |seed| {
            let mut generator = Generator::new([seed; 32]);
            core::array::from_fn::<u32, 40, _>(|_| generator.next())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
