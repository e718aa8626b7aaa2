//! Makes patches. Needs an allocator and about thirty times the images' size in memory.

mod detect;
mod explain;
mod layouts;
mod matches;
mod parse;
mod simulated;
mod suffixes;
mod writer;

use std::vec::Vec;

use thiserror::Error;

pub use explain::{Explanation, explain};
pub use simulated::SimulatedSlot;

use crate::digest::ImageDigest;
use crate::fields::Architecture;
use crate::format::{Algorithm, IMAGE_BYTES_MAX, Profile};
use crate::header::{Header, Tables};
use crate::order::Layout;
use crate::space::Space;
use parse::{Costs, Images, Piece};
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
    for bytes in [base.len(), target.len()] {
        if bytes > IMAGE_BYTES_MAX as usize {
            return Err(MakeError::ImageTooLarge { bytes });
        }
    }
    let guess = options.architecture.unwrap_or_else(|| detect::architecture(base));
    let mut guesses = Vec::from([(Architecture::Plain, false)]);
    if guess != Architecture::Plain {
        guesses.push((guess, false));
    }
    if matches!(guess, Architecture::Thumb | Architecture::RiscV) {
        guesses.push((guess, true));
    }
    let made = guesses.into_iter().map(|(architecture, pointers_first)| {
        (architecture, Maker::new(base, target, (architecture, pointers_first), options).best())
    });
    let best = made.min_by_key(|(_, written)| written.bytes.len());
    let (architecture, Written { bytes, spent }) = best.unwrap_or_default();
    Ok(Patch {
        algorithm: Algorithm::FIELDS,
        parameters: Vec::new(),
        ram: options.profile.bytes(),
        bytes,
        architecture,
        spent,
    })
}

/// One pair of images under one guess of what they are.
struct Maker<'a> {
    base: &'a [u8],
    target: &'a [u8],
    header: Header,
}

impl<'a> Maker<'a> {
    fn new(
        base: &'a [u8],
        target: &'a [u8],
        (architecture, pointers_first): (Architecture, bool),
        options: Options,
    ) -> Self {
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
        Self { base, target, header }
    }

    /// Divides the target in several ways, and returns the shortest patch.
    fn best(mut self) -> Written {
        let space: &Space = &self.header.space;
        let architecture = self.header.architecture;
        let mut masked = detect::masked(self.base, architecture, space, |at| space.of_base(at));
        masked.extend(detect::masked(self.target, architecture, space, |at| space.of_target(at)));
        let Some(layout) = self.header.layout else {
            return self.best_in_order(&masked);
        };
        let mut best: Option<Written> = None;
        for layout in layouts::likeliest(self.base, self.target, &masked, layout) {
            self.header.layout = Some(layout);
            let other = self.best_in_order(&masked);
            if best.as_ref().is_none_or(|best| other.bytes.len() < best.bytes.len()) {
                best = Some(other);
            }
        }
        best.unwrap_or_default()
    }

    /// The shortest patch of those that make the target in the header's order.
    fn best_in_order(&mut self, masked: &[u8]) -> Written {
        let order = self.header.order();
        let (base, target) = masked.split_at(self.base.len());
        let matches = matches::find(base, target, &order);
        let images = Images { base: self.base, target: self.target, masked, order };
        let [ways @ .., last] = Costs::TRIED.map(|costs| parse::parse(&images, &matches, &costs));
        let (mut pieces, mut best) = (last.clone(), self.written(&last));
        for way in ways {
            let other = self.written(&way);
            if other.bytes.len() < best.bytes.len() {
                (pieces, best) = (way, other);
            }
        }
        let first = self.header.tables;
        for tables in &tables_of(first.profile)[1..] {
            let kept = self.header.tables;
            self.header.tables = *tables;
            let other = self.written(&pieces);
            if other.bytes.len() < best.bytes.len() {
                best = other;
            } else {
                self.header.tables = kept;
            }
        }
        self.header.tables = first;
        best
    }

    fn written(&self, pieces: &[Piece]) -> Written {
        writer::write(&self.header, self.base, self.target, pieces)
    }
}

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
