//! Work in progress, looked at and ended from outside.

use core::cell::Cell;
use core::fmt;
use core::ops::ControlFlow;

/// Is told how far the making of a patch is, and says whether to go on.
pub struct Watch<'a> {
    told: Option<&'a dyn Fn(f64) -> ControlFlow<()>>,
    /// Divisions that were written.
    done: Cell<u32>,
    /// Bytes compared and ways followed so far: what time goes into, counted.
    work: Cell<u64>,
    is_ended: Cell<bool>,
}

/// Divisions that are written for most pairs; more of them pass as nearly all.
const USUAL: f64 = 16.0;
const NEARLY_ALL: f64 = 0.99;

impl<'a> Watch<'a> {
    /// Tells `told` the share that is done, 0 to 1, some times a second; [`ControlFlow::Break`] ends the work.
    pub fn new(told: &'a dyn Fn(f64) -> ControlFlow<()>) -> Self {
        Self { told: Some(told), ..Self::nobody() }
    }

    /// Nobody looks.
    #[must_use]
    pub const fn nobody() -> Self {
        Self { told: None, done: Cell::new(0), work: Cell::new(0), is_ended: Cell::new(false) }
    }

    /// Counts a division that was written.
    pub(crate) fn step(&self) {
        self.done.set(self.done.get() + 1);
        self.look();
    }

    /// Counts bytes that were compared, or ways that were followed by one byte.
    pub(crate) fn count(&self, work: u64) {
        self.work.set(self.work.get() + work);
    }

    /// Tells how far it is; says whether to go on.
    pub(crate) fn look(&self) -> bool {
        if let Some(told) = self.told {
            let share = (f64::from(self.done.get()) / USUAL).min(NEARLY_ALL);
            self.is_ended.set(self.is_ended.get() || told(share).is_break());
        }
        !self.is_ended.get()
    }

    /// Whether the work was ended, and what came of it is of no use.
    pub(crate) const fn is_ended(&self) -> bool {
        self.is_ended.get()
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("done", &self.done).finish_non_exhaustive()
    }
}

/// Steps of the maker between two looks: some milliseconds.
pub(crate) const LOOK_STEPS: usize = 1 << 15;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::fields::Architecture;
    use crate::make::{Division, MakeError, Maker, Options, Pair, make_watched, make_with};

    fn noise(count: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..count).map(|_| next()).collect()
    }

    /// The word whose every suffix has many near-repeats.
    fn fibonacci(count: usize) -> Vec<u8> {
        let (mut one, mut two) = (b"a".to_vec(), b"ab".to_vec());
        while two.len() < count {
            let next = [&two[..], &one[..]].concat();
            (one, two) = (two, next);
        }
        two.truncate(count);
        two
    }

    /// A period in which one byte of each turn differs, so that many alignments are all nearly right.
    fn nearly_periodic(count: usize) -> Vec<u8> {
        let (period, places) = (noise(256), noise(count));
        let mut image: Vec<u8> = period.iter().copied().cycle().take(count).collect();
        for (turn, place) in image.chunks_mut(256).zip(places) {
            let place = usize::from(place) % turn.len();
            turn[place] ^= 0x55;
        }
        image
    }

    /// Work of dividing an image whose pieces were moved, at a layout.
    fn work_of(base: &[u8], layout: Option<crate::Layout>) -> u32 {
        let (third, half) = (base.len() / 3, base.len() / 2);
        let target = [&base[..third], &base[half..], &noise(100), &base[third..half]].concat();
        let watch = Watch::nobody();
        let options = Options { in_place: layout, ..Options::default() };
        let pair = Pair { base, target: &target, options, watch: &watch, told: None };
        Division::new(Maker::new(pair, (Architecture::Thumb, false)), Vec::new());
        u32::try_from(watch.work.get()).unwrap()
    }

    #[test]
    fn work_grows_as_the_image_does_and_no_faster() {
        type Kind = (&'static str, fn(usize) -> Vec<u8>);
        let kinds: [Kind; 6] = [
            ("one byte", |count| std::vec![0xff; count]),
            ("period 257", |count| noise(257).into_iter().cycle().take(count).collect()),
            ("nearly periodic", nearly_periodic),
            ("Fibonacci", fibonacci),
            ("two letters", |count| noise(count).into_iter().map(|byte| byte & 1).collect()),
            ("random", noise),
        ];
        let sizes = [1_u32 << 14, 1 << 17];
        for layout in [None, crate::Layout::new(512, 4)] {
            for (name, image) in kinds {
                let work =
                    sizes.map(|count| f64::from(work_of(&image(count as usize), layout)) / f64::from(count));
                // In place, ways that wait for their bytes of the base come in addition, up to a bound of their own.
                let is_linear = layout.is_some() || work[1] < work[0] * 1.5 + 4.0;
                assert!(is_linear, "{name}: {work:?} a byte");
                assert!(work[1] < WORK_MAX, "{name}, {layout:?}: {work:?} a byte");
            }
        }
    }

    /// Ways that are followed at a time, those that wait, and what is compared before.
    const WORK_MAX: f64 = 64.0;

    #[test]
    fn work_is_told_and_ends_at_every_look() {
        let base: Vec<u8> =
            (0..1500_u32).flat_map(|at| (at.wrapping_mul(0x9e37_79b1) >> 7).to_le_bytes()).collect();
        let mut target = base.clone();
        target.splice(900..1000, *b"another function");
        let options = Options { in_place: crate::Layout::new(1024, 2), ..Options::default() };
        let shares = core::cell::RefCell::new(Vec::new());
        let told = |share| {
            shares.borrow_mut().push(share);
            ControlFlow::Continue(())
        };
        let patch = make_watched(&base, &target, options, &Watch::new(&told)).unwrap();
        assert_eq!(patch, make_with(&base, &target, options).unwrap());
        let shares = shares.into_inner();
        assert!(shares.is_sorted() && shares.iter().all(|share| (0.0..1.0).contains(share)));
        for last in (0..shares.len()).step_by(7) {
            let left = Cell::new(last);
            let told = |_| {
                let more = left.get().checked_sub(1);
                more.map_or(ControlFlow::Break(()), |more| {
                    left.set(more);
                    ControlFlow::Continue(())
                })
            };
            let ended = make_watched(&base, &target, options, &Watch::new(&told));
            assert_eq!(ended, Err(MakeError::Ended), "at look {last}");
        }
    }
}
