//! Changes inputs the way libFuzzer does, without looking at coverage: the same ones in each run.

/// Draws changes; equal seeds draw equal ones.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// Starts at a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `SplitMix64`: any seed will do, and no table.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// Makes an input of at most `bytes_max` bytes from one of `inputs` and a piece of another.
    pub fn mutated(&mut self, inputs: &[Vec<u8>], words: &[&str], bytes_max: usize) -> Vec<u8> {
        let mut input = inputs.get(self.below(inputs.len())).cloned().unwrap_or_default();
        for _ in 0..=self.below(4) {
            self.change(&mut input, inputs, words);
        }
        input.truncate(bytes_max);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, inputs: &[Vec<u8>], words: &[&str]) {
        let at = self.below(input.len() + 1);
        match self.below(9) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (self.byte() % 8);
                }
            }
            1 => {
                let value = [0, 1, 0x7f, 0x80, 0xff, self.byte()][self.below(6)];
                if let Some(byte) = input.get_mut(at) {
                    *byte = value;
                }
            }
            2 => input.insert(at, self.byte()),
            3 => drop(input.drain(at..(at + self.below(16)).min(input.len()))),
            4 => {
                let piece = input[at..(at + self.below(16)).min(input.len())].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            5 => {
                let other = inputs.get(self.below(inputs.len())).map_or(&[][..], Vec::as_slice);
                let from = self.below(other.len() + 1);
                let piece = &other[from..(from + self.below(64)).min(other.len())];
                let end = (at + if self.byte() & 1 == 0 { 0 } else { piece.len() }).min(input.len());
                input.splice(at..end, piece.iter().copied());
            }
            6 if !words.is_empty() => {
                let word = words[self.below(words.len())].bytes();
                input.splice(at..at, word);
            }
            7 => input.truncate(at),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = byte.wrapping_add(self.byte() % 35).wrapping_sub(17);
                }
            }
        }
    }
}
