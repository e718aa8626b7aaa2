//! Chance with a seed that is told, and moments that nobody chose.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::wait;

/// Draws numbers; the same for the same seed.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins with `SEED` of the environment, or else with the time, and prints it.
    ///
    /// # Panics
    ///
    /// Where `SEED` is no number.
    #[expect(clippy::disallowed_methods, reason = "`make soak` gives a seed by the environment")]
    pub fn told() -> Self {
        let asked = std::env::var("SEED").ok();
        let seed = asked.map_or_else(wait::now, |text| text.parse().expect("SEED is a number"));
        println!("SEED={seed}");
        Self(seed)
    }

    /// Begins with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws a number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64, Steele, Lea, Flood 2014.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Draws another chance, for somebody who draws beside this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }

    /// Draws an index of a list.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or_default()
    }

    /// Lets a moment come: after so many milliseconds at most, or, as often, when a log has grown by a few bytes, that
    /// is, right after its process did something.
    #[expect(clippy::disallowed_methods, reason = "a moment in real time that nobody chose")]
    pub fn moment(&mut self, within_ms: u64, log: &Path) {
        let end = Instant::now() + Duration::from_millis(self.below(within_ms));
        let bytes = || std::fs::metadata(log).map_or(0, |file| file.len());
        let enough = (self.below(2) == 0).then(|| bytes() + 1 + self.below(1_500));
        let over = || Instant::now() >= end || enough.is_some_and(|enough| bytes() >= enough);
        wait::until("a moment", wait::LONG, || over().then_some(()), String::new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_draws_the_same_numbers() {
        let draw = || {
            let mut chance = Chance(7);
            [(); 5].map(|()| chance.below(1_000))
        };
        assert_eq!(draw(), draw());
        assert!(draw().iter().any(|number| *number != draw()[0]));
    }
}
