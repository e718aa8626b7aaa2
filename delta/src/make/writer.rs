//! Writes a division of the target as a patch.

use core::ops::Range;
use std::vec;
use std::vec::Vec;

use crate::chance::Chances;
use crate::codec::{Codec, Desk, Origin, Part, Source, Truth, VIEW_BEFORE, VIEW_BYTES, View};
use crate::coder::Encoder;
use crate::fields::Architecture;
use crate::header::Header;

use super::bits;
use super::census::Census;
use super::detect::bytes_at;
use super::parse::Piece;
use super::schedule;
use super::watch::{LOOK_STEPS, Watch};

/// What was written, and the bytes that each subject took.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) spent: [f32; 7],
    pub(crate) census: Census,
    /// What all of it took up to each of [`STAGES`] equal parts of the target.
    trail: Vec<u64>,
}

/// Parts of a target at whose ends two divisions are held against each other.
const STAGES: usize = 16;
/// Parts that are written in any case: a model that learns slowly may be the better one.
const STAGES_MIN: usize = 4;
/// By how much a division may be behind another and still come out shorter: so many bytes, and a part of what the other took,
/// which is smaller in the second half.
const BEHIND_BYTES: u64 = 256;
const BEHIND_PART: [u64; 2] = [12, 24];

impl Written {
    /// Says whether a division that took `spent` up to the end of `stage` may still be shorter than this one.
    fn is_reached_by(&self, stage: usize, spent: u64) -> bool {
        let Some(taken) = self.trail.get(stage).filter(|_| stage >= STAGES_MIN) else {
            return true;
        };
        let part = BEHIND_PART[usize::from(stage >= STAGES / 2)];
        spent <= taken + taken / part + 8 * BEHIND_BYTES * bits::BIT
    }
}

/// Writes the patch of a division; `None` where it falls too far behind another one.
pub(crate) fn write(
    (header, plan): (&Header, schedule::Plan<'_>),
    [base, target]: [&[u8]; 2],
    pieces: &[Piece],
    watch: &Watch<'_>,
    other: Option<&Written>,
) -> Option<Written> {
    let mut words = vec![0; header.tables.profile.words()];
    let (mut encoder, mut census, mut trail) = (Encoder::new(), Census::default(), Vec::new());
    let mut codec = Codec::new(header, &mut words);
    let pieces = fitting(&split(pieces, plan), header.architecture);
    let mut images = Slices { base, target };
    let mut truth = Truthful { target, base_size: base.len() as u32, pieces: &pieces, at: 0, plan };
    let (mut steps, stage_bytes) = (0, target.len().div_ceil(STAGES));
    while !codec.is_complete() {
        if steps % LOOK_STEPS == 0 && !watch.look() {
            break;
        }
        steps += 1;
        if codec.made() as usize > (trail.len() + 1) * stage_bytes {
            let spent = encoder.bits.iter().sum();
            if other.is_some_and(|other| !other.is_reached_by(trail.len(), spent)) {
                return None;
            }
            trail.push(spent);
        }
        truth.reach(codec.position());
        let (position, before) = (codec.position(), encoder.bits);
        let chances = Chances { words: &mut words, coder: &mut encoder };
        let step = codec.step(&mut Desk { chances, source: &mut images, truth: &truth });
        debug_assert!(step.is_ok(), "a division lies inside both images");
        let Ok(length) = step else {
            break;
        };
        let mut spent = encoder.bits;
        for (spent, before) in spent.iter_mut().zip(before) {
            *spent -= before;
        }
        census.count(spent, length, if length > 1 { truth.differing(base, position, length) } else { 0 });
    }
    let spent = encoder.bits.map(bits::bytes);
    let mut bytes = header.write();
    bytes.extend(encoder.finish());
    Some(Written { bytes, spent, census, trail })
}

/// Cuts pieces where what comes next is not made next.
fn split(pieces: &[Piece], plan: schedule::Plan<'_>) -> Vec<Piece> {
    let Some(page_bytes) = plan.order.layout.map(crate::Layout::page_bytes) else {
        return pieces.to_vec();
    };
    let mut cut: Vec<Piece> = Vec::with_capacity(pieces.len());
    for &piece in pieces {
        let mut rest = piece;
        while rest.length > 0 {
            let mut length = rest.length.min(page_bytes - rest.target_at % page_bytes);
            while length < rest.length && !plan.starts_anew(rest.target_at + length) {
                length = rest.length.min(length + page_bytes);
            }
            cut.push(Piece { length, ..rest });
            rest.target_at += length;
            rest.length -= length;
            rest.source = rest.source.map(|source| source + length);
        }
    }
    cut
}

/// Moves the ends of literals to where their units end.
fn fitting(pieces: &[Piece], architecture: Architecture) -> Vec<Piece> {
    let unit = architecture.literal_bytes();
    let mut fitting: Vec<Piece> = Vec::with_capacity(pieces.len());
    for &piece in pieces {
        let mut piece = piece;
        if let Some(last) = fitting.last_mut().filter(|last| last.source.is_none()) {
            let end = last.target_at + last.length;
            let whole = end.next_multiple_of(unit);
            // A unit that starts inside the literal is coded whole.
            let more = if end - end % unit >= last.target_at { whole - end } else { 0 };
            let more = more.min(piece.length);
            if piece.source.is_none() {
                last.length += piece.length;
                continue;
            }
            last.length += more;
            piece.target_at += more;
            piece.length -= more;
            piece.source = piece.source.map(|source| source + more);
        }
        if piece.length > 0 {
            fitting.push(piece);
        }
    }
    fitting
}

/// The division, as the codec asks for it.
struct Truthful<'a> {
    target: &'a [u8],
    base_size: u32,
    pieces: &'a [Piece],
    /// The piece that the codec is in.
    at: usize,
    plan: schedule::Plan<'a>,
}

impl Truthful<'_> {
    /// Bytes of a unit that are not those of the copy's source.
    fn differing(&self, base: &[u8], position: u32, length: u32) -> usize {
        let piece = self.pieces.get(self.at).filter(|piece| piece.target_at <= position);
        let Some(source) = piece.and_then(|piece| Some(piece.source? + (position - piece.target_at))) else {
            return 0;
        };
        let old = match source.checked_sub(self.base_size) {
            None => bytes_at(base, source as usize),
            Some(own) => bytes_at(self.target, own as usize),
        };
        let differing = (old ^ self.bytes(position)).to_le_bytes();
        differing.iter().take(length as usize).filter(|&&byte| byte != 0).count()
    }

    fn reach(&mut self, position: u32) {
        let is_in = |piece: &Piece| (piece.target_at..piece.target_at + piece.length).contains(&position);
        if !self.pieces.get(self.at).is_some_and(is_in) {
            self.at = self.pieces.partition_point(|piece| piece.target_at + piece.length <= position);
        }
    }
}

impl Truth for Truthful<'_> {
    fn part(&self, at: u32) -> Part {
        let Some(piece) = self.pieces.get(self.at) else {
            return Part::Literal;
        };
        match piece.source {
            None => Part::Literal,
            Some(source) => match (source + (at - piece.target_at)).checked_sub(self.base_size) {
                None => Part::Base(source + (at - piece.target_at)),
                Some(own) => Part::Target(own),
            },
        }
    }

    fn left(&self, at: u32, length: u32) -> u32 {
        let is_this = |piece: &&Piece| piece.source.is_some() && piece.target_at + length == at;
        self.pieces.get(self.at).filter(is_this).map_or(0, |piece| piece.length - length)
    }

    fn bytes(&self, at: u32) -> u64 {
        bytes_at(self.target, at as usize)
    }

    fn page(&self, before: u32) -> (u32, u32) {
        self.plan.next(before)
    }
}

/// Both images in memory.
pub(super) struct Slices<'a> {
    pub(super) base: &'a [u8],
    pub(super) target: &'a [u8],
}

impl Source for Slices<'_> {
    fn view(&mut self, from: Origin, at: u32, there: Range<u32>) -> View {
        let image = match from {
            Origin::Base => self.base,
            Origin::Target => self.target,
        };
        view(image, at as usize, &there)
    }
}

fn view(image: &[u8], at: usize, there: &Range<u32>) -> View {
    let (start, end) = (there.start as usize, image.len().min(there.end as usize));
    let first = at.wrapping_sub(VIEW_BEFORE);
    if let Some(bytes) = image.get(first..end).and_then(<[u8]>::first_chunk).filter(|_| first >= start) {
        return View::of(*bytes);
    }
    let mut view = [0; VIEW_BYTES];
    let first = at.saturating_sub(VIEW_BEFORE).max(start);
    let end = (at + VIEW_BYTES - VIEW_BEFORE).min(end);
    if first < end {
        let into = first + VIEW_BEFORE - at;
        view[into..into + end - first].copy_from_slice(&image[first..end]);
    }
    View::of(view)
}
