//! What a patch says, one unit of the target after the other. Maker and applier walk through it alike: one tells a
//! [`Coder`] what it knows from a [`Truth`], the other learns it from the coder.

mod bytes;
mod copies;
mod fields;
mod flow;
mod pages;
mod saved;
mod slots;

#[cfg(feature = "one-slot")]
pub(crate) use pages::Spares;
pub(crate) use pages::told_words;
pub(crate) use slots::Slots;
use slots::{FIELD_MORE_AT, HIT_AT, HIT_CLASS_WORDS, HIT_SOURCE_AT};

use core::ops::Range;

use crate::PatchError;
use crate::anchors::{ANCHOR_WORDS, Anchors};
use crate::chance::{Chances, EVEN, FINE_WORDS, WEIGHT_ONE, Weights};
use crate::coder::Coder;
use crate::fields::{Architecture, KINDS};
use crate::header::Header;
use crate::order::Order;
use crate::space::Space;
use crate::substitutions::Substitutions;

/// Where copies come from.
pub(crate) trait Source {
    /// Returns what surrounds a place of an image; zeros stand outside of `there`. What can't be read is whatever it is:
    /// who implements this tells after the step.
    fn view(&mut self, from: Origin, at: u32, there: Range<u32>) -> View;
}

/// What surrounds a place of an image, the first byte lowest; zeros stand outside the image.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct View {
    /// Four bytes before the place.
    pub(crate) before: u32,
    /// Eight bytes from it on.
    pub(crate) bytes: u64,
}

pub(crate) const VIEW_BYTES: usize = 12;
/// Bytes of a view before its place.
pub(crate) const VIEW_BEFORE: usize = 4;

impl View {
    /// The view that these bytes are.
    pub(crate) const fn of([a, b, c, d, bytes @ ..]: [u8; VIEW_BYTES]) -> Self {
        Self { before: u32::from_le_bytes([a, b, c, d]), bytes: u64::from_le_bytes(bytes) }
    }
}

/// What a step works with.
pub(crate) struct Desk<'a, C, S, T> {
    pub(crate) chances: Chances<'a, C>,
    pub(crate) source: &'a mut S,
    pub(crate) truth: &'a T,
}

/// Says that a copy starts outside of its image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Outside(pub(crate) Origin);

impl Outside {
    /// What is wrong with the patch, after so many bytes of the target.
    pub(crate) const fn error(self, produced: u32) -> PatchError {
        match self.0 {
            Origin::Base => PatchError::OutsideBase { produced },
            Origin::Target => PatchError::OutsideTarget { produced },
        }
    }
}

/// What is to be written. A reading coder needs none: see [`Unknown`].
pub(crate) trait Truth {
    /// What stands at `at`, where neither a literal nor a copy has to go on.
    fn part(&self, at: u32) -> Part;

    /// Bytes that a copy still has from `at` on, after `length` bytes of it.
    fn left(&self, at: u32, length: u32) -> u32;

    /// The target's bytes from `at` on, the first one lowest.
    fn bytes(&self, at: u32) -> u64;

    /// The page that is made after another one, and the spare page for what the base has there.
    fn page(&self, before: u32) -> (u32, u32);
}

/// What the next bytes of the target are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    Literal,
    /// A copy from this place of the base.
    Base(u32),
    /// A copy from this earlier place of the target.
    #[cfg_attr(not(any(test, feature = "make")), expect(dead_code, reason = "made by the maker alone"))]
    Target(u32),
}

/// The truth of those who read it.
pub(crate) struct Unknown;

impl Truth for Unknown {
    fn part(&self, _: u32) -> Part {
        Part::Literal
    }

    fn left(&self, _: u32, _: u32) -> u32 {
        0
    }

    fn bytes(&self, _: u32) -> u64 {
        0
    }

    fn page(&self, _: u32) -> (u32, u32) {
        (0, 0)
    }
}

/// State between two steps, besides the words of the state that are passed to each.
#[derive(Clone)]
pub(crate) struct Codec {
    architecture: Architecture,
    space: Space,
    order: Order,
    slots: &'static Slots,
    /// Chances in the table of literals.
    literal_slots: u32,
    anchors: Anchors,
    /// First word of what the patch tells of the sequence of pages.
    told_at: usize,
    substitutions: Substitutions,
    /// Bytes of the target that are coded.
    made: u32,
    /// Place of the next one, and the block that it is in.
    position: u32,
    block: Range<u32>,
    place: Place,
    /// Latest bytes of the target, the newest lowest.
    latest: u64,
    /// Where the latest copy from the base ended, in the base and in the target.
    base_end: u32,
    copy_end: u32,
    /// Base position less target position of the latest copies from the base, newest first.
    alignments: [i32; ALIGNMENTS],
    /// Where the next instruction of the source of the present copy starts.
    instruction_at: u32,
    /// Where the present instruction of that source starts, and what it does.
    instruction_start: u32,
    operation: u8,
    /// Units since the last miss.
    run: u32,
    /// Latest units of copies, newest lowest: whether they missed.
    misses: u32,
    /// Latest movements of fields, newest first.
    movements: [i32; MOVEMENTS],
    /// Per kind of field, whether the latest ones missed.
    field_misses: [u8; KINDS],
    /// Per place in a word, the latest differences of bytes, newest first.
    differences: [[u8; DIFFERENCES]; 4],
    byte_weights: [Weights<5>; BYTE_SETS],
    hit_weights: [Weights<3>; HIT_SETS + 1],
    field_weights: [Weights<3>; KINDS],
}

/// What goes on between two steps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Literals may go on, or a copy starts. `literals` counts those since the last copy.
    Open { literals: u32 },
    /// A copy goes on.
    Copying { from: Origin, at: u32, length: u32 },
}

/// Image that a copy comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    Base,
    Target,
}

const ALIGNMENTS: usize = 6;
const MOVEMENTS: usize = 6;
const DIFFERENCES: usize = 4;
/// Most bytes of a copy are the base's, and most fields went where they are expected.
const HIT_AT_FIRST: u16 = 62_000;
/// Sets of weights for bytes: literal or difference, by the place in a word.
const BYTE_SETS: usize = 8;
/// Classes of runs after which a hit is mixed, each with a set of weights, and one more for substitutions.
const HIT_SETS: usize = 7;

impl Codec {
    /// Starts a patch, and sets the words of its state.
    pub(crate) fn new(header: &Header, words: &mut [u16]) -> Self {
        words.fill(EVEN);
        for at in (HIT_AT..FIELD_MORE_AT).step_by(FINE_WORDS) {
            (words[at], words[at + 1]) = (HIT_AT_FIRST, 2);
        }
        // The longer the run, the rarer the miss that ends it.
        for (class, slots) in words[HIT_AT..HIT_SOURCE_AT].chunks_exact_mut(HIT_CLASS_WORDS).enumerate() {
            for slot in slots.iter_mut().step_by(FINE_WORDS) {
                *slot = (HIT_AT_FIRST.wrapping_neg() >> (class / 3)).wrapping_neg();
            }
        }
        let literals = header.tables.literals();
        let slots = Slots::of(header.tables.profile);
        let substitutions_at = slots.tables + literals;
        let anchors_at = substitutions_at + header.tables.substitutions();
        words[substitutions_at..].fill(0);
        let (_, block) = header.order().place(0);
        let anchors = header.anchors().unwrap_or_default();
        let mut codec = Self {
            architecture: header.architecture,
            space: header.space.clone(),
            order: header.order(),
            slots,
            literal_slots: literals as u32,
            anchors: Anchors::new(anchors_at, anchors),
            told_at: if cfg!(feature = "one-slot") { anchors_at + anchors * ANCHOR_WORDS } else { 0 },
            substitutions: Substitutions::new(substitutions_at, header.tables.substitution_bits),
            made: 0,
            position: block.start,
            block,
            place: Place::Open { literals: 0 },
            latest: 0,
            base_end: 0,
            copy_end: 0,
            alignments: [0; ALIGNMENTS],
            instruction_at: 0,
            instruction_start: 0,
            operation: 0,
            run: 0,
            misses: 0,
            movements: [0; MOVEMENTS],
            field_misses: [0; KINDS],
            differences: [[0; DIFFERENCES]; 4],
            byte_weights: [[(WEIGHT_ONE * 3 / 10) as i16; _]; BYTE_SETS],
            field_weights: [[(WEIGHT_ONE * 4 / 10) as i16; _]; KINDS],
            hit_weights: [[(WEIGHT_ONE * 4 / 10) as i16; _]; HIT_SETS + 1],
        };
        codec.begin_told(words);
        codec
    }

    /// Place of the next byte in the target.
    pub(crate) const fn position(&self) -> u32 {
        self.position
    }

    /// Bytes of the target that are coded.
    pub(crate) const fn made(&self) -> u32 {
        self.made
    }

    /// Where the present block ends.
    pub(crate) const fn block_end(&self) -> u32 {
        if cfg!(feature = "one-slot") { self.block.end } else { self.order.target_size }
    }

    /// Bytes of the present block that are coded; what was not given out yet is of no block before it.
    pub(crate) const fn made_of_block(&self) -> u32 {
        self.position - self.block.start
    }

    pub(crate) const fn order(&self) -> Order {
        self.order
    }

    pub(crate) const fn is_complete(&self) -> bool {
        self.made == self.order.target_size
    }

    /// Codes the next unit of a target that is not complete. Returns its bytes: it may be empty, but not twice in
    /// succession; they are the latest ones.
    pub(crate) fn step<C: Coder, S: Source, T: Truth>(
        &mut self,
        desk: &mut Desk<'_, C, S, T>,
    ) -> Result<u32, Outside> {
        let given = match self.place {
            Place::Copying { from, at, length } if at != self.end_of(from) => {
                self.copy(desk, (from, at, length))
            }
            Place::Copying { from, at, .. } => {
                let literals = self.end_copy(from, at);
                self.open(desk, literals)?
            }
            Place::Open { literals } => self.open(desk, literals)?,
        };
        if self.position == self.block.end && !self.is_complete() {
            if self.order.is_told() {
                self.begin_told_page(&mut desk.chances, desk.truth)?;
            } else {
                self.begin_block();
            }
        }
        Ok(given)
    }

    /// The latest eight bytes of the target, the newest lowest.
    pub(crate) const fn latest(&self) -> u64 {
        self.latest
    }

    /// What surrounds a place of an image, as far as it is there.
    fn view<C, S: Source, T>(&self, desk: &mut Desk<'_, C, S, T>, from: Origin, at: u32) -> View {
        let there = match from {
            Origin::Base => self.order.readable(at, |page| self.is_kept(desk.chances.words, page)),
            Origin::Target => self.made_around(desk.chances.words, at),
        };
        desk.source.view(from, at, there)
    }

    /// Takes the bytes of a unit, the latest one lowest. Returns how many they are.
    #[cfg_attr(target_os = "none", inline(never))]
    fn give(&mut self, bytes: u64, length: u32) -> u32 {
        self.latest = if length == 8 { 0 } else { self.latest << (8 * length) } | bytes;
        self.position += length;
        self.made += length;
        length
    }

    pub(crate) const fn space(&self) -> &Space {
        &self.space
    }

    pub(crate) const fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Goes on with the block below. What was copied may go on there, with the base beside it as before.
    fn begin_block(&mut self) {
        (self.position, self.block) = self.order.place(self.made);
        self.place = Place::Open { literals: 0 };
        self.base_end = self.position.wrapping_add_signed(self.alignments[0]);
    }

    /// Where copies from an image end at the latest.
    const fn end_of(&self, image: Origin) -> u32 {
        match image {
            Origin::Base => self.order.base_size,
            Origin::Target => self.order.target_size,
        }
    }

    /// The stretch of the target that is made and that `at` is in.
    fn made_around(&self, words: &[u16], at: u32) -> Range<u32> {
        if self.order.is_told() {
            self.told_made(words, at)
        } else if at < self.block.end {
            self.block.start..self.position
        } else {
            self.block.end..self.order.target_size
        }
    }

    /// Bytes of the block that are still to be coded.
    const fn remaining(&self) -> u32 {
        self.block.end - self.position
    }
}
