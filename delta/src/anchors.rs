//! Where addresses of the base went in the target: what the fields seen so far tell about the next ones.

use crate::checkpoint::Record;

/// Sorted pairs of an address and how far it moved, in words of the state.
///
/// Code moves in blocks: the nearest pair below an address usually says how far that moved as well.
#[derive(Clone, Debug, Default)]
pub(crate) struct Anchors {
    /// First word of the table.
    start: usize,
    /// Pairs that fit.
    capacity: usize,
    count: usize,
    clock: u32,
}

/// Words of the state for one pair: the address, then the movement in 24 bits and the time in 8.
pub(crate) const ANCHOR_WORDS: usize = 4;

/// What the table says about an address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Told {
    /// Movement of the nearest pair at or below.
    pub(crate) below: Option<i32>,
    /// Address of that pair.
    pub(crate) below_at: u32,
    /// Movement of the nearest pair above.
    pub(crate) above: Option<i32>,
    /// Whether `below` is of this very address.
    pub(crate) is_exact: bool,
}

impl Anchors {
    pub(crate) const fn new(start: usize, capacity: usize) -> Self {
        Self { start, capacity, count: 0, clock: 0 }
    }

    /// Passes what changes to or from a checkpoint.
    pub(crate) fn pass(&mut self, record: &mut Record<'_>) {
        let mut count = self.count as u16;
        record.u16(&mut count);
        self.count = count.into();
        record.u32(&mut self.clock);
    }

    /// Whether the numbers are ones that insertions leave behind, of which there are fewer than 2^30.
    pub(crate) const fn is_sound(&self) -> bool {
        self.count <= self.capacity && self.clock <= 1 << 30
    }

    fn address(&self, words: &[u16], at: usize) -> u32 {
        let word = self.start + at * ANCHOR_WORDS;
        u32::from(words[word]) | u32::from(words[word + 1]) << 16
    }

    fn second(&self, words: &[u16], at: usize) -> u32 {
        let word = self.start + at * ANCHOR_WORDS;
        u32::from(words[word + 2]) | u32::from(words[word + 3]) << 16
    }

    fn movement(&self, words: &[u16], at: usize) -> i32 {
        self.second(words, at).cast_signed() >> 8
    }

    fn put(&mut self, words: &mut [u16], at: usize, address: u32, movement: i32) {
        self.clock += 1;
        let second = (movement << 8).cast_unsigned() | self.clock >> CLOCK_SHIFT & 0xff;
        let word = self.start + at * ANCHOR_WORDS;
        let values = [address & 0xffff, address >> 16, second & 0xffff, second >> 16];
        for (place, value) in words[word..word + ANCHOR_WORDS].iter_mut().zip(values) {
            *place = value as u16;
        }
    }

    /// Pairs at or below an address.
    fn below(&self, words: &[u16], address: u32) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.address(words, middle) <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Returns what is known about an address.
    pub(crate) fn told(&self, words: &[u16], address: u32) -> Told {
        let next = self.below(words, address);
        Told {
            below: next.checked_sub(1).map(|at| self.movement(words, at)),
            below_at: next.checked_sub(1).map_or(0, |at| self.address(words, at)),
            above: (next < self.count).then(|| self.movement(words, next)),
            is_exact: next > 0 && self.address(words, next - 1) == address,
        }
    }

    /// Remembers how far an address moved.
    pub(crate) fn insert(&mut self, words: &mut [u16], address: u32, movement: i32) {
        if movement.unsigned_abs() >= MOVEMENT_MAX || self.capacity == 0 {
            return;
        }
        let mut next = self.below(words, address);
        if next > 0 && self.address(words, next - 1) == address {
            self.put(words, next - 1, address, movement);
            return;
        }
        if self.count == self.capacity {
            let leaves = self.least_wanted(words);
            self.close(words, leaves);
            next -= usize::from(leaves < next);
        }
        let from = self.start + next * ANCHOR_WORDS;
        let end = self.start + self.count * ANCHOR_WORDS;
        words.copy_within(from..end, from + ANCHOR_WORDS);
        self.count += 1;
        self.put(words, next, address, movement);
    }

    /// Finds a pair that says what the one below says already, else the oldest.
    fn least_wanted(&self, words: &[u16]) -> usize {
        let now = self.clock >> CLOCK_SHIFT & 0xff;
        let (mut oldest, mut most) = (0, 0);
        for at in 0..self.count {
            if at > 0 && self.movement(words, at) == self.movement(words, at - 1) {
                return at;
            }
            let age = now.wrapping_sub(self.second(words, at)) & 0xff;
            if age > most {
                (oldest, most) = (at, age);
            }
        }
        oldest
    }

    fn close(&mut self, words: &mut [u16], at: usize) {
        let from = self.start + (at + 1) * ANCHOR_WORDS;
        let end = self.start + self.count * ANCHOR_WORDS;
        words.copy_within(from..end, from - ANCHOR_WORDS);
        self.count -= 1;
    }

    /// Finds what moved to an address, or to the nearest one below: how far it had moved.
    pub(crate) fn moved_to(&self, words: &[u16], address: u32) -> Option<i32> {
        let mut nearest = None;
        for at in 0..self.count {
            let movement = self.movement(words, at);
            let now = self.address(words, at).wrapping_add_signed(movement);
            let distance = address.wrapping_sub(now);
            if distance < NEAR_BYTES && nearest.is_none_or(|(least, _)| distance < least) {
                nearest = Some((distance, movement));
            }
        }
        nearest.map(|(_, movement)| movement)
    }
}

/// Movements that 24 bits hold.
const MOVEMENT_MAX: u32 = 1 << 23;

/// Insertions that count as one moment, so that eight bits tell old from new in the largest table.
const CLOCK_SHIFT: u32 = 3;

/// What lies farther behind an anchor than this seldom moved with it.
const NEAR_BYTES: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_pairs_below_and_above_are_told() {
        let (mut anchors, mut words) = (Anchors::new(2, 4), [0; 18]);
        anchors.insert(&mut words, 0x2000, 8);
        anchors.insert(&mut words, 0x1000, -4);
        assert_eq!(
            anchors.told(&words, 0x1800),
            Told { below: Some(-4), below_at: 0x1000, above: Some(8), is_exact: false }
        );
        assert_eq!(
            anchors.told(&words, 0x2000),
            Told { below: Some(8), below_at: 0x2000, above: None, is_exact: true }
        );
        assert_eq!(
            anchors.told(&words, 0x10),
            Told { below: None, below_at: 0, above: Some(-4), is_exact: false }
        );
        assert_eq!(anchors.moved_to(&words, 0x2010), Some(8));
    }

    #[test]
    fn full_table_gives_up_what_says_nothing_new_then_the_oldest() {
        let (mut anchors, mut words) = (Anchors::new(0, 3), [0; 12]);
        for (address, movement) in [(10, 1), (20, 1), (30, 2)] {
            anchors.insert(&mut words, address, movement);
        }
        anchors.insert(&mut words, 40, 3);
        assert_eq!(anchors.told(&words, 20).below, Some(1));
        assert!(!anchors.told(&words, 20).is_exact);
        assert_eq!(
            anchors.told(&words, 45),
            Told { below: Some(3), below_at: 40, above: None, is_exact: false }
        );
        assert_eq!(anchors.count, 3);
    }
}
