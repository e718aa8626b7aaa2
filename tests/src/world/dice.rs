//! Random numbers of one seed: the same in each run, and independent for each name.

/// Draws numbers; `SplitMix64`, which is good enough for faults and small enough to read.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Makes the dice of a seed for a purpose: other purposes draw other numbers, in whatever order they do it.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let start = purpose
            .bytes()
            .fold(seed ^ FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        let mut dice = Self(start);
        dice.draw();
        dice
    }

    /// Draws 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Makes further dice, whose draws move these no more.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.draw())
    }

    /// Draws from `least..=most`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.draw() % (most.saturating_sub(least) + 1)
    }

    /// Says yes `permille` times in a thousand.
    pub fn happens(&mut self, permille: u32) -> bool {
        self.draw() % 1000 < u64::from(permille)
    }

    /// Draws one of several.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        let last = of.len().checked_sub(1).expect("something to choose from");
        let at = self.between(0, last as u64);
        of[usize::try_from(at).expect("an index")].clone()
    }

    /// Fills `into`.
    pub fn fill(&mut self, into: &mut [u8]) {
        for piece in into.chunks_mut(8) {
            let bits = self.draw().to_be_bytes();
            piece.copy_from_slice(&bits[..piece.len()]);
        }
    }
}

/// FNV-1a, 64 bits.
pub(super) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
pub(super) const FNV_PRIME: u64 = 0x0100_0000_01b3;
