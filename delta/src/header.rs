//! First bytes of a patch: what it is for, and how much state it takes.

use crate::PatchError;
use crate::codec::Slots;
use crate::digest::{DIGEST_BYTES_MAX, ImageDigest};
use crate::fields::Architecture;
use crate::format::{IMAGE_BYTES_MAX, Profile};
use crate::order::{Layout, Order};
use crate::space::{REGIONS_MAX, Space, WINDOWS_MAX, Window};

/// What the codec is told before the first decision.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) architecture: Architecture,
    pub(crate) tables: Tables,
    pub(crate) base_digest: ImageDigest,
    pub(crate) target_digest: ImageDigest,
    pub(crate) base_size: u32,
    pub(crate) target_size: u32,
    pub(crate) space: Space,
    /// Where base and target share a slot: how.
    pub(crate) layout: Option<Layout>,
}

/// How the words of the state are divided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tables {
    pub(crate) profile: Profile,
    /// Place of the number of chances for bytes in [`LITERALS`].
    pub(crate) literals: u8,
    /// Binary logarithm of the number of substitutions; 0 for none.
    pub(crate) substitution_bits: u8,
    /// Number of anchors: as many as the profile leaves room for.
    pub(crate) anchors: u16,
}

/// Bytes of a header at most: six, digests, sizes, and all regions and windows.
pub(crate) const HEADER_BYTES_MAX: usize =
    6 + 2 * DIGEST_BYTES_MAX + 10 + REGIONS_MAX * (10 + 4) + WINDOWS_MAX * 3;

/// In the three highest bits of the first byte.
pub(crate) const VERSION: u8 = 2;

/// Bits of the first byte.
const POINTERS_FIRST: u8 = 8;
const HAS_OPTIONS: u8 = 16;

/// Bits of the options; the others are for patches that nobody makes yet.
const FULL_DIGESTS: u8 = 1;
const IN_PLACE: u8 = 2;
const TOLD: u8 = 4;

/// Options that this build knows. Devices with a slot for each image refuse what is in place anyway.
const KNOWN: u8 = FULL_DIGESTS | IN_PLACE | if cfg!(feature = "one-slot") { TOLD } else { 0 };

impl Tables {
    /// Divides the words of a profile; `None` where they are too few.
    pub(crate) const fn divided(profile: Profile, literals: u8, substitution_bits: u8) -> Option<Self> {
        let tables = Self { profile, literals, substitution_bits, anchors: 0 };
        let taken = Slots::of(profile).tables + tables.literals() + tables.substitutions();
        match profile.words().checked_sub(taken) {
            Some(left) => Some(Self { anchors: (left / crate::anchors::ANCHOR_WORDS) as u16, ..tables }),
            None => None,
        }
    }

    /// Chances for bytes.
    pub(crate) const fn literals(self) -> usize {
        LITERALS[(self.literals & 7) as usize]
    }

    /// Words of the substitutions.
    pub(crate) const fn substitutions(self) -> usize {
        if self.substitution_bits == 0 { 0 } else { 1 << self.substitution_bits }
    }
}

/// Reads bytes in order. What is missing at the end reads as 0, and is remembered.
struct Bytes<'a> {
    rest: &'a [u8],
    is_short: bool,
}

impl Bytes<'_> {
    #[cfg_attr(target_os = "none", inline(never))]
    fn byte(&mut self) -> u8 {
        let first = self.rest.split_first();
        self.is_short |= first.is_none();
        let (&byte, rest) = first.unwrap_or((&0, &[]));
        self.rest = rest;
        byte
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn word(&mut self) -> u32 {
        u32::from(self.half()) | u32::from(self.half()) << 16
    }

    /// A number in groups of seven bits, lowest first; bits past the 32nd are dropped.
    #[cfg_attr(target_os = "none", inline(never))]
    fn number(&mut self) -> u32 {
        let (mut value, mut shift) = (0, 0);
        while shift < 35 {
            let byte = self.byte();
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
            shift += 7;
        }
        value
    }

    fn signed(&mut self) -> i32 {
        crate::numbers::unzigzag(self.number())
    }

    /// The first bytes of a SHA-256, or all of them.
    fn digest(&mut self, is_full: bool) -> ImageDigest {
        let mut digest = ImageDigest::none(is_full);
        digest.bytes_mut().iter_mut().for_each(|byte| *byte = self.byte());
        digest
    }

    /// Refuses what was read, if it was there.
    fn refused(&self, error: PatchError) -> Result<(), PatchError> {
        if self.is_short { Ok(()) } else { Err(error) }
    }
}

impl Header {
    /// In which order the target is made.
    pub(crate) const fn order(&self) -> Order {
        Order { base_size: self.base_size, target_size: self.target_size, layout: self.layout }
    }

    /// Anchors that there is room for; `None` where what is told of the pages leaves none.
    pub(crate) fn anchors(&self) -> Option<usize> {
        let order = self.order();
        if !order.is_told() {
            return Some(self.tables.anchors.into());
        }
        let taken = crate::codec::told_words(&order).div_ceil(crate::anchors::ANCHOR_WORDS);
        let left = usize::from(self.tables.anchors).checked_sub(taken);
        left.filter(|left| *left > 0 && order.pages() < u32::from(u16::MAX))
    }

    /// Reads a header; `None` where `bytes` end before it does. Returns how many bytes it has as well.
    ///
    /// # Errors
    ///
    /// [`PatchError::Header`], [`PatchError::ImageTooLarge`].
    #[cfg(any(test, feature = "make"))]
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, PatchError> {
        let mut header = Self::empty();
        let length = header.read_from(bytes)?;
        Ok(length.map(|length| (header, length)))
    }

    /// What a header is read into.
    pub(crate) fn empty() -> Self {
        Self {
            architecture: Architecture::Plain,
            tables: Tables { profile: Profile::Kib4, literals: 0, substitution_bits: 0, anchors: 0 },
            base_digest: ImageDigest::none(false),
            target_digest: ImageDigest::none(false),
            base_size: 0,
            target_size: 0,
            space: Space::default(),
            layout: None,
        }
    }

    /// Reads a header into an empty one; `None` where `bytes` end before it does, else how many bytes it has.
    ///
    /// # Errors
    ///
    /// [`PatchError::Header`], [`PatchError::ImageTooLarge`].
    pub(crate) fn read_from(&mut self, bytes: &[u8]) -> Result<Option<usize>, PatchError> {
        let mut rest = Bytes { rest: bytes, is_short: false };
        self.read(&mut rest)?;
        match rest.is_short {
            false => Ok(Some(bytes.len() - rest.rest.len())),
            true if bytes.len() < HEADER_BYTES_MAX => Ok(None),
            true => Err(PatchError::Header),
        }
    }

    fn read(&mut self, rest: &mut Bytes<'_>) -> Result<(), PatchError> {
        let (first, tables) = (rest.byte(), rest.byte());
        let options = if first & HAS_OPTIONS == 0 { 0 } else { rest.byte() };
        let (Some(architecture), Some(tables), VERSION, 0) =
            (Architecture::numbered(first & 7), Tables::unpacked(tables), first >> 5, options & !KNOWN)
        else {
            return rest.refused(PatchError::Header);
        };
        (self.architecture, self.tables) = (architecture, tables);
        let is_told = cfg!(feature = "one-slot") && options & TOLD != 0;
        if is_told && options & IN_PLACE == 0 {
            return rest.refused(PatchError::Header);
        }
        if options & IN_PLACE != 0 {
            self.layout = Layout::unpacked([rest.byte(), rest.byte()], is_told);
            if self.layout.is_none() {
                return rest.refused(PatchError::Header);
            }
        }
        let is_full = options & FULL_DIGESTS != 0;
        self.base_digest = rest.digest(is_full);
        self.target_digest = rest.digest(is_full);
        // The base's size is only there where it is another.
        let number = rest.number();
        let more = if number & 1 == 0 { 0 } else { rest.signed() };
        self.target_size = number >> 1;
        self.base_size = self.target_size.wrapping_add_signed(more);
        let bytes = self.base_size.max(self.target_size);
        if bytes > IMAGE_BYTES_MAX {
            return rest.refused(PatchError::ImageTooLarge { bytes });
        }
        if self.anchors().is_none() {
            return rest.refused(PatchError::Header);
        }
        if architecture == Architecture::Plain {
            return Ok(());
        }
        self.space.pointers_first = first & POINTERS_FIRST != 0;
        self.read_space(rest)
    }

    fn read_space(&mut self, rest: &mut Bytes<'_>) -> Result<(), PatchError> {
        let (counts, space) = (rest.byte(), &mut self.space);
        (space.regions_count, space.windows_count) = (usize::from(counts & 15), usize::from(counts >> 4));
        let (Some(regions), Some(windows)) =
            (space.regions.get_mut(..space.regions_count), space.windows.get_mut(..space.windows_count))
        else {
            return rest.refused(PatchError::Header);
        };
        let mut before = None;
        for region in regions {
            if let Some(start) = before {
                region.base_start = rest.number().saturating_add(start);
                region.target_start = region.base_start.saturating_add_signed(rest.signed());
            }
            before = Some(region.base_start);
            region.address = rest.word();
        }
        for window in windows {
            *window = Window { start: rest.half(), count: rest.byte() };
        }
        space.settle(self.base_size);
        Ok(())
    }
}

impl Tables {
    pub(crate) const fn unpacked(byte: u8) -> Option<Self> {
        let (profile, literals, substitutions) = (byte >> 6, byte >> 3 & 7, byte & 7);
        let substitution_bits = if substitutions == 0 { 0 } else { SUBSTITUTION_BITS_LESS + substitutions };
        match Profile::numbered(profile) {
            Some(profile) => Self::divided(profile, literals, substitution_bits),
            None => None,
        }
    }

    pub(crate) const fn packed(self) -> u8 {
        let substitutions = self.substitution_bits.saturating_sub(SUBSTITUTION_BITS_LESS);
        (self.profile as u8) << 6 | self.literals << 3 | substitutions
    }
}

/// Sizes of the table of literals, by the number that says them.
const LITERALS: [usize; 8] = [128, 256, 384, 512, 768, 1024, 2048, 4096];
/// Three bits of 1 say a table of substitutions with 128 entries.
const SUBSTITUTION_BITS_LESS: u8 = 6;

#[cfg(any(test, feature = "make"))]
mod write {
    use std::vec::Vec;

    use super::{FULL_DIGESTS, HAS_OPTIONS, Header, IN_PLACE, POINTERS_FIRST, TOLD, VERSION};
    use crate::fields::Architecture;
    use crate::numbers::zigzag;

    impl Header {
        /// Writes the header.
        pub(crate) fn write(&self) -> Vec<u8> {
            let order = if self.space.pointers_first { POINTERS_FIRST } else { 0 };
            let options = if self.base_digest.is_full() { FULL_DIGESTS } else { 0 }
                | if self.layout.is_some() { IN_PLACE } else { 0 }
                | if self.layout.is_some_and(crate::Layout::is_told) { TOLD } else { 0 };
            let has_options = if options == 0 { 0 } else { HAS_OPTIONS };
            let first = VERSION << 5 | has_options | order | self.architecture as u8;
            let mut out = Vec::from([first, self.tables.packed()]);
            if options != 0 {
                out.push(options);
            }
            out.extend(self.layout.into_iter().flat_map(crate::order::Layout::packed));
            out.extend(self.base_digest.bytes());
            out.extend(self.target_digest.bytes());
            let differs = self.base_size != self.target_size;
            number(&mut out, self.target_size << 1 | u32::from(differs));
            if differs {
                number(&mut out, zigzag(self.base_size.wrapping_sub(self.target_size).cast_signed()));
            }
            if self.architecture == Architecture::Plain {
                return out;
            }
            let space = &self.space;
            out.push((space.windows_count << 4 | space.regions_count) as u8);
            let mut before = 0;
            for (at, region) in space.regions.iter().take(space.regions_count).enumerate() {
                if at > 0 {
                    number(&mut out, region.base_start - before);
                    let shift = region.target_start.wrapping_sub(region.base_start).cast_signed();
                    number(&mut out, zigzag(shift));
                }
                before = region.base_start;
                out.extend(region.address.to_le_bytes());
            }
            for window in space.windows.iter().take(space.windows_count) {
                out.extend(window.start.to_le_bytes());
                out.push(window.count);
            }
            out
        }
    }

    fn number(out: &mut Vec<u8>, mut value: u32) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
}
