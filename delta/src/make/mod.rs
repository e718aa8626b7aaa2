//! Makes patches. Needs an allocator and about twenty times the image's size in memory.

pub(crate) mod bits;
mod census;
mod detect;
mod explain;
mod layouts;
mod matches;
mod parse;
mod schedule;
mod simulated;
mod suffixes;
mod symbolic;
mod watch;
mod writer;

use std::vec::Vec;

use thiserror::Error;

pub use explain::{Explanation, explain};
pub use simulated::SimulatedSlot;
pub use symbolic::{MergeError, Symbolic};
pub use watch::Watch;

use crate::digest::ImageDigest;
use crate::fields::Architecture;
use crate::format::{Algorithm, IMAGE_BYTES_MAX, Profile};
use crate::header::{Header, Tables};
use crate::order::Layout;
use crate::space::Space;
use parse::{Costs, Images, Piece, Seed};
use schedule::{Plan, Schedule};
use writer::Written;

/// A patch and what its applier must be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// Algorithm of the bytes.
    pub algorithm: Algorithm,
    /// Parameters of the algorithm; empty for the one there is.
    pub parameters: Vec<u8>,
    /// RAM that applying takes, in bytes.
    pub ram: u32,
    /// The patch.
    pub bytes: Vec<u8>,
    /// What the code was taken to be made for.
    pub architecture: Architecture,
    /// Bytes that each [`crate::Subject`] took, in the order of its variants; the header is not among them.
    pub spent: [f32; 7],
}

/// How a patch is to be made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// RAM that applying may take.
    pub profile: Profile,
    /// What the code is made for, where that is known better than by its bytes.
    pub architecture: Option<Architecture>,
    /// Whether the patch has all bytes of both digests: for where no manifest says them.
    pub full_digests: bool,
    /// The pages of a device whose slot both images share; `None` for a slot of its own.
    pub in_place: Option<Layout>,
}

/// Why no patch was made.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum MakeError {
    /// An image is larger than the format can say. Send the full image.
    #[error("image of {bytes} bytes is larger than the {IMAGE_BYTES_MAX} bytes that a patch can cover")]
    ImageTooLarge {
        /// Size of the image.
        bytes: usize,
    },
    /// Whoever watches ended it.
    #[error("making the patch was ended")]
    Ended,
}

/// Makes the patch that turns `base` into `target`, with 8 KiB for the applier.
///
/// The same images give the same patch.
///
/// # Errors
///
/// [`MakeError::ImageTooLarge`].
pub fn make(base: &[u8], target: &[u8]) -> Result<Patch, MakeError> {
    make_with(base, target, Options::default())
}

/// Makes the patch that turns `base` into `target`.
///
/// # Errors
///
/// [`MakeError::ImageTooLarge`].
pub fn make_with(base: &[u8], target: &[u8], options: Options) -> Result<Patch, MakeError> {
    make_watched(base, target, options, &Watch::nobody())
}

/// Makes the patch that turns `base` into `target`, while somebody watches.
///
/// # Errors
///
/// [`MakeError`].
pub fn make_watched(
    base: &[u8],
    target: &[u8],
    options: Options,
    watch: &Watch<'_>,
) -> Result<Patch, MakeError> {
    for bytes in [base.len(), target.len()] {
        if bytes > IMAGE_BYTES_MAX as usize {
            return Err(MakeError::ImageTooLarge { bytes });
        }
    }
    let pair = Pair { base, target, options, watch, told: None };
    let (architecture, Written { bytes, spent, .. }) =
        if base == target { unchanged(pair) } else { shortest(pair) };
    if watch.is_ended() {
        return Err(MakeError::Ended);
    }
    Ok(Patch {
        algorithm: Algorithm::FIELDS,
        parameters: Vec::new(),
        ram: options.profile.bytes(),
        bytes,
        architecture,
        spent,
    })
}

/// Divides a target in every way there is, and returns the shortest patch.
fn shortest(pair: Pair<'_>) -> (Architecture, Written) {
    let guess = pair.options.architecture.unwrap_or_else(|| likeliest_architecture(pair));
    let layouts = layouts(pair, guess);
    let made = layouts
        .iter()
        .map(|(in_place, told)| Division::likeliest(pair.in_place(*in_place, told.as_ref()), guess).best());
    made.min_by_key(|(_, written)| written.bytes.len()).unwrap_or_default()
}

/// What the base seems to be made for; where that tells nothing, as when there is none, what the target does. Its calls
/// are then known in what it copies from itself: what a branch filter does for a full image.
fn likeliest_architecture(pair: Pair<'_>) -> Architecture {
    match detect::architecture(pair.base) {
        Architecture::Plain => detect::architecture(pair.target),
        known => known,
    }
}

/// Copies the base as it is, however large it is: there is nothing to look for.
fn unchanged(pair: Pair<'_>) -> (Architecture, Written) {
    let whole = Piece { target_at: 0, length: pair.base.len() as u32, source: Some(0) };
    let pieces = if pair.base.is_empty() { &[][..] } else { &[whole] };
    (Architecture::Plain, Maker::new(pair, (Architecture::Plain, false)).written(pieces))
}

/// Ways to lay the images out in a slot that they share; the one way there is where they do not.
fn layouts(pair: Pair<'_>, guess: Architecture) -> Vec<(Option<Layout>, Option<Schedule>)> {
    let Some(layout) = pair.options.in_place else {
        return Vec::from([(None, None)]);
    };
    let masked = Maker::new(pair, (guess, false)).masked();
    let likeliest = layouts::likeliest(pair, &masked, layout).into_iter();
    likeliest.map(|(layout, told)| (Some(layout), told)).collect()
}

/// What a patch is made of, how, and who watches.
#[derive(Clone, Copy)]
struct Pair<'a> {
    base: &'a [u8],
    target: &'a [u8],
    options: Options,
    watch: &'a Watch<'a>,
    /// The sequence of pages, where the layout says that the patch tells it.
    told: Option<&'a Schedule>,
}

impl<'a> Pair<'a> {
    /// The same, in this layout.
    fn in_place(self, in_place: Option<Layout>, told: Option<&'a Schedule>) -> Self {
        Self { options: Options { in_place, ..self.options }, told, ..self }
    }
}

/// One pair of images under one guess of what they are.
struct Maker<'a> {
    base: &'a [u8],
    target: &'a [u8],
    header: Header,
    watch: &'a Watch<'a>,
    told: Option<&'a Schedule>,
}

impl<'a> Maker<'a> {
    fn new(pair: Pair<'a>, (architecture, pointers_first): (Architecture, bool)) -> Self {
        let Pair { base, target, options, watch, told } = pair;
        let space = detect::space(base, target, architecture).settled(base.len() as u32);
        let header = Header {
            architecture,
            tables: tables_of(options.profile)[0],
            base_digest: ImageDigest::of(base, options.full_digests),
            target_digest: ImageDigest::of(target, options.full_digests),
            base_size: base.len() as u32,
            target_size: target.len() as u32,
            space: Space { pointers_first, ..space },
            layout: options.in_place,
        };
        Self { base, target, header, watch, told }
    }

    /// Both images with their fields masked.
    fn masked(&self) -> Vec<u8> {
        let (architecture, space) = (self.header.architecture, &self.header.space);
        let mut masked = detect::masked(self.base, architecture, space, |at| space.of_base(at));
        masked.extend(detect::masked(self.target, architecture, space, |at| space.of_target(at)));
        masked
    }

    /// In which order the target is made.
    fn plan(&self) -> Plan<'a> {
        Plan { order: self.header.order(), told: self.told }
    }

    fn written(&self, pieces: &[Piece]) -> Written {
        self.watch.step();
        writer::write((&self.header, self.plan()), [self.base, self.target], pieces, self.watch, None)
            .unwrap_or_default()
    }

    /// Writes a division, unless it takes so much more than another on the way that it won't be shorter in the end.
    fn written_against(&self, pieces: &[Piece], other: &Written) -> Option<Written> {
        self.watch.step();
        writer::write((&self.header, self.plan()), [self.base, self.target], pieces, self.watch, Some(other))
    }
}

/// The target, divided under one guess of what the images are.
struct Division<'a> {
    maker: Maker<'a>,
    /// Both images with their fields masked, and where their pieces are alike.
    masked: Vec<u8>,
    seeds: Vec<Seed>,
    costs: Costs,
    pieces: Vec<Piece>,
    written: Written,
}

impl<'a> Division<'a> {
    /// Divides under a guess, and under others that would make less of the same pieces.
    fn likeliest(pair: Pair<'a>, guess: Architecture) -> Self {
        let of = |guess| Maker::new(pair, guess);
        let mut best = Self::new(of((guess, false)), Vec::new());
        if matches!(guess, Architecture::Thumb | Architecture::RiscV) {
            let maker = of((guess, true));
            let other = maker.written_against(&best.pieces, &best.written);
            if other.is_some_and(|other| other.bytes.len() < best.written.bytes.len()) {
                // What the other masks showed alike counts as well: the two disagree where code is new. The rest is
                // let go of first, as it is a tenth of all memory.
                let seeds = best.seeds;
                drop((best.masked, best.pieces, best.written));
                best = Self::new(maker, seeds);
            }
        }
        if guess != Architecture::Plain {
            let maker = of((Architecture::Plain, false));
            let most = best.written.bytes.len() * 105 / 100;
            // Where nothing was recognised, the masks did harm as well.
            let other = maker.written_against(&best.pieces, &best.written);
            if other.is_some_and(|other| other.bytes.len() < most) {
                let plain = Self::new(maker, Vec::new());
                best = if plain.written.bytes.len() < best.written.bytes.len() { plain } else { best };
            }
        }
        best
    }

    /// Divides under a guess; `seeds` are worth trying too.
    fn new(maker: Maker<'a>, mut seeds: Vec<Seed>) -> Self {
        let (masked, costs, plan) = (maker.masked(), Costs::TRIED[0], maker.plan());
        let matches = matches::find(&masked, maker.header.base_size, &plan, maker.watch);
        let images =
            Images { base: maker.base, target: maker.target, masked: &masked, plan, watch: maker.watch };
        parse::add_seeds(&images, matches, &mut seeds);
        let pieces = parse::parse(&images, &seeds, &costs);
        let written = maker.written(&pieces);
        Self { maker, masked, seeds, costs, pieces, written }
    }

    /// Divides the target at other costs and the state in other ways, and returns the shortest patch.
    fn best(mut self) -> (Architecture, Written) {
        if self.written.bytes.len() >= self.maker.target.len() {
            // Neither the base nor the target itself tells anything: other costs and tables won't either.
            self.try_without_base();
            return (self.maker.header.architecture, self.written);
        }
        for costs in &Costs::TRIED[1..] {
            self.try_costs(*costs);
        }
        for _ in 0..MEASURED {
            let literals: u64 = self.literals().sum();
            let costs = self.written.census.costs(&self.costs, literals);
            if !self.try_costs(costs) {
                break;
            }
        }
        if self.written.bytes.len() * 4 > self.maker.target.len() {
            self.try_without_base();
        }
        let profile = self.maker.header.tables.profile;
        let fewer: &[Profile] = match profile {
            Profile::Kib4 => &[],
            Profile::Kib8 => &[Profile::Kib4],
            Profile::Kib16 => &[Profile::Kib8, Profile::Kib4],
        };
        // Where little is coded, little can be learned: a smaller state has fewer chances to teach.
        let fewer = fewer.iter().filter(|_| self.written.bytes.len() < TAUGHT_BYTES);
        let fewer = fewer.flat_map(|&profile| tables_of(profile));
        let tried: Vec<Tables> = tables_of(profile)[1..].iter().chain(fewer).copied().collect();
        for tables in &tried {
            let kept = self.maker.header.tables;
            self.maker.header.tables = *tables;
            match self.maker.written_against(&self.pieces, &self.written) {
                Some(other) if other.bytes.len() < self.written.bytes.len() => self.written = other,
                _ => self.maker.header.tables = kept,
            }
        }
        (self.maker.header.architecture, self.written)
    }

    /// Divides the target at other costs; says whether the patch is shorter.
    fn try_costs(&mut self, costs: Costs) -> bool {
        let (base, target, plan) = (self.maker.base, self.maker.target, self.maker.plan());
        let images = Images { base, target, masked: &self.masked, plan, watch: self.maker.watch };
        let pieces = parse::parse(&images, &self.seeds, &costs);
        let written = self.maker.written_against(&pieces, &self.written);
        match written {
            Some(written) if written.bytes.len() < self.written.bytes.len() => {
                (self.costs, self.pieces, self.written) = (costs, pieces, written);
                true
            }
            _ => false,
        }
    }

    /// Divides the target as if there were no base: what is unrelated must not cost more than a full image.
    fn try_without_base(&mut self) {
        let base_size = i64::from(self.maker.header.base_size);
        let all = self.seeds.clone();
        self.seeds.retain(|seed| seed.is_own(base_size));
        self.try_costs(Costs::TRIED[0]);
        self.seeds = all;
    }

    /// What the costs make of each byte of the literals.
    fn literals(&self) -> impl Iterator<Item = u64> {
        let costs = parse::literal_costs(self.maker.target, &self.costs);
        let literals = self.pieces.iter().filter(|piece| piece.source.is_none());
        let places = literals.flat_map(|piece| piece.target_at..piece.target_at + piece.length);
        places.map(move |at| u64::from(costs[at as usize]))
    }
}

/// Patches of so many bytes teach all chances of their profile.
const TAUGHT_BYTES: usize = 4096;

/// Times that the target is divided at the costs of the division before, as long as that helps.
const MEASURED: usize = 2;

/// Divisions of the state that are tried, by profile.
const fn tables_of(profile: Profile) -> &'static [Tables] {
    match profile {
        Profile::Kib4 => TABLES_4,
        Profile::Kib8 => TABLES_8,
        Profile::Kib16 => TABLES_16,
    }
}

const TABLES_4: &[Tables] =
    &[tables(Profile::Kib4, 0, 0), tables(Profile::Kib4, 1, 0), tables(Profile::Kib4, 0, 7)];
const TABLES_8: &[Tables] = &[
    tables(Profile::Kib8, 4, 0),
    tables(Profile::Kib8, 5, 0),
    tables(Profile::Kib8, 5, 8),
    tables(Profile::Kib8, 3, 9),
    tables(Profile::Kib8, 3, 0),
    tables(Profile::Kib8, 3, 8),
    tables(Profile::Kib8, 1, 9),
    tables(Profile::Kib8, 1, 0),
];
const TABLES_16: &[Tables] = &[
    tables(Profile::Kib16, 6, 0),
    tables(Profile::Kib16, 7, 0),
    tables(Profile::Kib16, 7, 10),
    tables(Profile::Kib16, 6, 11),
    tables(Profile::Kib16, 5, 0),
    tables(Profile::Kib16, 5, 10),
    tables(Profile::Kib16, 5, 11),
    tables(Profile::Kib16, 4, 10),
];

#[expect(clippy::panic, reason = "fails the build, not the maker")]
const fn tables(profile: Profile, literals: u8, substitution_bits: u8) -> Tables {
    match Tables::divided(profile, literals, substitution_bits) {
        Some(tables) => tables,
        None => panic!("the tables are larger than the profile"),
    }
}
