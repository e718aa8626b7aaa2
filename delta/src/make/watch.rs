//! Work in progress, looked at and ended from outside.

use core::cell::Cell;
use core::fmt;
use core::ops::ControlFlow;

/// Is told how far the making of a patch is, and says whether to go on.
pub struct Watch<'a> {
    told: Option<&'a dyn Fn(f64) -> ControlFlow<()>>,
    /// Divisions that were written.
    done: Cell<u32>,
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
        Self { told: None, done: Cell::new(0), is_ended: Cell::new(false) }
    }

    /// Counts a division that was written.
    pub(crate) fn step(&self) {
        self.done.set(self.done.get() + 1);
        self.look();
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
    use crate::make::{MakeError, Options, make_watched, make_with};

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
