//! Sequences of pages that the patch tells, in place: which page of the target is made next, and in which spare page what the
//! base has there is kept. Whatever was kept in it is gone from then on.
//!
//! Words of the state behind the anchors hold the chances of both decisions, the present page, the page in each spare
//! one plus 1, and a bit per page that is begun.

use core::ops::Range;

use super::{Codec, Origin, Outside, Place, Truth};
use crate::chance::{Chances, EVEN};
use crate::coder::{Coder, Subject};
use crate::order::Order;
#[cfg(feature = "one-slot")]
use crate::order::SPARES_MAX;

const FOLLOWS_AT: usize = 0;
const TURN_AT: usize = 1;
const PAGE_AT: usize = 2;
const SPARES_AT: usize = 3;

/// Words of the state that a sequence takes; none where the patch does not tell it.
pub(crate) fn told_words(order: &Order) -> usize {
    let layout = order.layout().filter(|layout| layout.is_told());
    layout.map_or(0, |layout| SPARES_AT + layout.spare_pages() as usize + order.pages().div_ceil(16) as usize)
}

/// Where each page of the base is that was begun.
#[cfg(feature = "one-slot")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spares {
    /// The page in each spare one plus 1; 0 for none.
    pages: [u16; SPARES_MAX],
    /// The page that is begun next, or was begun last, and its spare page.
    pub(crate) page: u32,
    pub(crate) spare: u32,
    /// Pages that are begun, with that one.
    pub(crate) begun: u32,
}

#[cfg(feature = "one-slot")]
impl Spares {
    /// The spare page that holds a page of the base.
    pub(crate) fn of(&self, page: u32) -> Option<u32> {
        let found = self.pages.iter().position(|&kept| u32::from(kept) == page + 1);
        found.map(|spare| spare as u32)
    }
}

impl Codec {
    /// Sets the words of a sequence that the patch tells, and begins its first page.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn begin_told(&mut self, words: &mut [u16]) {
        if self.order.is_told() && self.order.target_size > 0 {
            let first = self.order.first_page();
            words[self.told_at + FOLLOWS_AT] = EVEN;
            words[self.told_at + TURN_AT] = EVEN;
            self.take_page(words, first, 0);
            self.block = self.order.page(first);
            self.position = self.block.start;
        }
    }

    /// Begins a page, whose base goes to a spare one.
    #[cfg_attr(target_os = "none", inline(never))]
    fn take_page(&mut self, words: &mut [u16], page: u32, spare: u32) {
        words[self.told_at + PAGE_AT] = page as u16;
        words[self.told_at + SPARES_AT + spare as usize] = page as u16 + 1;
        let (at, bit) = self.begun_at(page);
        words[at] |= bit;
    }

    /// Word and bit that say whether a page is begun.
    #[cfg_attr(target_os = "none", inline(never))]
    fn begun_at(&self, page: u32) -> (usize, u16) {
        let spare_pages = self.order.layout().map_or(0, crate::Layout::spare_pages);
        (self.told_at + SPARES_AT + spare_pages as usize + (page / 16) as usize, 1 << (page % 16))
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn is_begun(&self, words: &[u16], page: u32) -> bool {
        let (at, bit) = self.begun_at(page);
        words[at] & bit != 0
    }

    /// Words with the page in each spare one.
    #[cfg_attr(target_os = "none", inline(never))]
    fn spares<'a>(&self, words: &'a [u16]) -> &'a [u16] {
        let spare_pages = self.order.layout().map_or(0, crate::Layout::spare_pages);
        &words[self.told_at + SPARES_AT..][..spare_pages as usize]
    }

    /// Where each page of the base is that was begun; `None` where the patch does not tell it.
    #[cfg(feature = "one-slot")]
    pub(crate) fn told_spares(&self, words: &[u16]) -> Option<Spares> {
        if !self.order.is_told() {
            return None;
        }
        let mut spares = Spares { page: words[self.told_at + PAGE_AT].into(), ..Spares::default() };
        let kept = self.spares(words);
        spares.pages[..kept.len()].copy_from_slice(kept);
        spares.spare = spares.of(spares.page).unwrap_or(0);
        spares.begun = self.count_begun(words);
        Some(spares)
    }

    /// Pages that are begun, with the present one.
    #[cfg_attr(target_os = "none", inline(never))]
    fn count_begun(&self, words: &[u16]) -> u32 {
        let (first, _) = self.begun_at(0);
        words[first..][..self.order.pages().div_ceil(16) as usize].iter().map(|bits| bits.count_ones()).sum()
    }

    /// Says whether a page of the base is there now.
    pub(super) fn is_kept(&self, words: &[u16], page: u32) -> bool {
        if self.order.is_told() {
            self.is_told_kept(words, page)
        } else {
            self.order.is_kept(page, self.position)
        }
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn is_told_kept(&self, words: &[u16], page: u32) -> bool {
        page >= self.order.pages()
            || !self.is_begun(words, page)
            || self.spares(words).iter().any(|&kept| u32::from(kept) == page + 1)
    }

    /// The stretch of the target that is made and that `at` is in, within its page.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn told_made(&self, words: &[u16], at: u32) -> Range<u32> {
        let page = self.order.page(self.order.page_of(at));
        if self.block.contains(&at) {
            page.start..self.position
        } else if at < self.order.target_size && self.is_begun(words, self.order.page_of(at)) {
            page
        } else {
            at..at
        }
    }

    /// Codes which page is made next, and where its base is kept. A copy goes on into the page behind it.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn begin_told_page<C: Coder, T: Truth>(
        &mut self,
        chances: &mut Chances<'_, C>,
        truth: &T,
    ) -> Result<(), Outside> {
        chances.turn_to(Subject::Flow);
        let before = u32::from(chances.words[self.told_at + PAGE_AT]);
        let spare_pages = self.spares(chances.words).len() as u32;
        let (mut page, mut spare) = truth.page(before);
        let behind = before + 1;
        let may_follow = behind < self.order.pages() && !self.is_begun(chances.words, behind);
        let follows = may_follow && chances.code(self.told_at + FOLLOWS_AT, page == behind, PAGE_LESSONS);
        page = if follows { behind } else { even(chances, self.order.pages() - 1, page) };
        let held = self.spares(chances.words).iter().position(|&kept| u32::from(kept) == behind);
        let next = (held.unwrap_or(0) as u32 + 1) % spare_pages;
        let turns = chances.code(self.told_at + TURN_AT, spare == next, PAGE_LESSONS);
        spare = if turns { next } else { even(chances, spare_pages - 1, spare) };
        if page >= self.order.pages() || spare >= spare_pages || self.is_begun(chances.words, page) {
            return Err(Outside(Origin::Target));
        }
        self.take_page(chances.words, page, spare);
        self.block = self.order.page(page);
        if !follows {
            self.position = self.block.start;
            self.place = Place::Open { literals: 0 };
            self.base_end = self.position.wrapping_add_signed(self.alignments[0]);
        }
        Ok(())
    }

    /// Finds the place of a codec that was read; false where the pages can't be as its words say.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn settle_told(&mut self, words: &[u16]) -> bool {
        let (page, pages) = (u32::from(words[self.told_at + PAGE_AT]), self.order.pages());
        let last = pages.saturating_sub(1);
        if pages == 0 {
            return true;
        }
        if page >= pages || !self.is_begun(words, page) {
            return false;
        }
        // All pages that are begun are whole but for the present one; only the last of the target is short.
        let bytes = self.order.layout().map_or(0, crate::Layout::page_bytes);
        let short = bytes - (self.order.target_size - last * bytes);
        let less = if page != last && self.is_begun(words, last) { short } else { 0 };
        let before = (self.count_begun(words) - 1).saturating_mul(bytes) - less.min(bytes);
        self.block = self.order.page(page);
        let Some(into) = self.made.checked_sub(before) else { return false };
        self.position = self.block.start + into;
        self.position <= self.block.end && self.spares(words).iter().any(|&kept| u32::from(kept) == page + 1)
    }
}

/// Codes a number up to `last` in as many even decisions as that has bits.
#[cfg_attr(target_os = "none", inline(never))]
fn even<C: Coder>(chances: &mut Chances<'_, C>, last: u32, value: u32) -> u32 {
    let mut read = 0;
    for place in (0..u32::BITS - last.leading_zeros()).rev() {
        read = read << 1 | u32::from(chances.coder.code(1 << 15, value >> place & 1 != 0));
    }
    read
}

const PAGE_LESSONS: u16 = 13;
