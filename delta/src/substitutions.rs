//! Bytes that changed in the same way elsewhere: the same word of the base became the same word of the target.

/// A hashed table from what surrounds a byte of the base to how far that byte differed in the target, in words of
/// the state: the difference in the high eight bits, five bits of the hash, three of trust.
#[derive(Clone, Debug, Default)]
pub(crate) struct Substitutions {
    start: usize,
    /// Binary logarithm of the number of entries; 0 for no table.
    bits: u8,
}

/// What the table says about a byte.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Expected {
    /// Difference to the byte of the base.
    pub(crate) difference: u8,
    /// 0: nothing known; 1 and 2: by the third key; 3 and 4: by the second; 5 and 6: by the first. The higher of two
    /// is trusted more.
    pub(crate) source: u8,
}

/// Places of a byte in the table, the surest first.
pub(crate) type Places = [(usize, u16); 3];

impl Substitutions {
    pub(crate) const fn new(start: usize, bits: u8) -> Self {
        Self { start, bits }
    }

    pub(crate) const fn is_used(&self) -> bool {
        self.bits > 0
    }

    /// Finds the places of a byte by keys that tell what surrounds it, the surest first.
    pub(crate) fn places(&self, keys: [u64; 3]) -> Places {
        keys.map(|key| {
            let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let at = (hash >> (64 - u32::from(self.bits))) as usize;
            (self.start + at, (hash >> 20 & 31) as u16)
        })
    }

    pub(crate) fn expected(words: &[u16], places: &Places) -> Expected {
        for (&(at, check), source) in places.iter().zip([5, 3, 1]) {
            let entry = words[at];
            let trust = entry & 7;
            if trust > 0 && entry >> 3 & 31 == check {
                return Expected { difference: (entry >> 8) as u8, source: source + u8::from(trust > 2) };
            }
        }
        Expected::default()
    }

    /// Learns how far the byte at these places differed.
    pub(crate) fn learn(words: &mut [u16], places: &Places, difference: u8) {
        for &(at, check) in places {
            let entry = &mut words[at];
            let (kept, trust) = ((*entry >> 8) as u8, *entry & 7);
            let made = |trust: u16| u16::from(difference) << 8 | check << 3 | trust;
            if trust > 0 && *entry >> 3 & 31 == check {
                *entry = if kept == difference {
                    *entry & !7 | (trust + 1).min(7)
                } else if trust > 1 && difference == 0 {
                    *entry & !7 | (trust - 1).min(3)
                } else {
                    made(u16::from(difference != 0))
                };
            } else if difference != 0 {
                *entry = if trust > 3 { *entry & !7 | (trust - 1) } else { made(1) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_surroundings_expect_the_same_difference() {
        let (table, mut words) = (Substitutions::new(1, 4), [0; 17]);
        let places = table.places([7, 9, 11]);
        assert_eq!(Substitutions::expected(&words, &places), Expected::default());
        Substitutions::learn(&mut words, &places, 5);
        assert_eq!(Substitutions::expected(&words, &places), Expected { difference: 5, source: 5 });
        Substitutions::learn(&mut words, &places, 0);
        assert_eq!(Substitutions::expected(&words, &places), Expected::default());
    }
}
