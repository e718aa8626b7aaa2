//! What a patcher writes down of itself, so that it goes on after a power cut.

use crate::apply::Known;
use crate::codec::Codec;
use crate::coder::Decoder;
use crate::digest::{DIGEST_BYTES_MAX, Hash, ImageDigest};
use crate::error::PatchError;
use crate::fields::Architecture;
use crate::format::Profile;
use crate::header::{Header, Tables};
use crate::image::{Base, OUT_BYTES};
use crate::order::Layout;
use crate::outline::Outline;
use crate::space::{REGIONS_MAX, Region, Space, WINDOWS_MAX, Window};

/// Bytes that a checkpoint of a profile has: the state, [`CHECKPOINT_BESIDES_BYTES`], and no more.
#[must_use]
pub const fn checkpoint_bytes(profile: Profile) -> usize {
    2 * profile.words() + CHECKPOINT_BESIDES_BYTES
}

/// Bytes of a checkpoint besides the state: what the header said, the coder, what was not given out yet, and a check.
pub const CHECKPOINT_BESIDES_BYTES: usize =
    HEADER_BYTES + Codec::SAVED_BYTES + 12 + OUT_BYTES + 2 + 8 + CHECK_BYTES;

const _: () = assert!(checkpoint_bytes(Profile::Kib4) <= 4096);
const _: () = assert!(checkpoint_bytes(Profile::Kib8) <= 8192);
const _: () = assert!(checkpoint_bytes(Profile::Kib16) <= 16_384);

/// Version, architecture, tables, layout, digest, sizes, regions and windows.
const HEADER_BYTES: usize = 3 + 3 + 1 + DIGEST_BYTES_MAX + 8 + 3 + 12 * REGIONS_MAX + 3 * WINDOWS_MAX;

/// First bytes of the SHA-256 of all before them.
const CHECK_BYTES: usize = 8;
const VERSION: u8 = 1;

/// Gives out the numbers of a checkpoint, or takes them in: the same walk for both.
pub(crate) struct Record<'a> {
    /// Passes bytes over; false where that failed.
    pass: &'a mut dyn FnMut(&mut [u8]) -> bool,
    /// Whether nothing failed. What comes after it is not passed.
    is_whole: bool,
}

impl Record<'_> {
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn bytes(&mut self, bytes: &mut [u8]) {
        self.is_whole = self.is_whole && (self.pass)(bytes);
    }

    pub(crate) fn u8(&mut self, value: &mut u8) {
        self.bytes(core::slice::from_mut(value));
    }

    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn u16(&mut self, value: &mut u16) {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes);
        *value = u16::from_le_bytes(bytes);
    }

    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn u32(&mut self, value: &mut u32) {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes);
        *value = u32::from_le_bytes(bytes);
    }

    pub(crate) fn i32(&mut self, value: &mut i32) {
        let mut unsigned = value.cast_unsigned();
        self.u32(&mut unsigned);
        *value = unsigned.cast_signed();
    }

    pub(crate) fn u64(&mut self, value: &mut u64) {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes);
        *value = u64::from_le_bytes(bytes);
    }
}

/// Writes a checkpoint in pieces.
struct Writing<W, E> {
    write: W,
    piece: [u8; PIECE_BYTES],
    length: usize,
    at: u32,
    hash: Hash,
    failed: Option<E>,
}

/// A piece of a checkpoint: what small flash writes at once.
const PIECE_BYTES: usize = 64;

impl<E, W: FnMut(u32, &[u8]) -> Result<(), E>> Writing<W, E> {
    /// Takes bytes; says whether they were written, as far as that had to be.
    fn put(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() && self.failed.is_none() {
            let room = &mut self.piece[self.length..];
            let (head, rest) = bytes.split_at(room.len().min(bytes.len()));
            room[..head.len()].copy_from_slice(head);
            self.length += head.len();
            bytes = rest;
            if self.length == PIECE_BYTES {
                self.flush();
            }
        }
        self.failed.is_none()
    }

    fn flush(&mut self) {
        if self.length > 0 && self.failed.is_none() {
            self.failed = (self.write)(self.at, &self.piece[..self.length]).err();
            self.at += self.length as u32;
            self.length = 0;
        }
    }
}

/// Reads bytes from `at` on into whatever `walk` passes.
fn taken<R: Base>(read: &mut R, mut at: u32, walk: impl FnOnce(&mut Record<'_>)) -> Result<(), R::Error> {
    let mut failed = None;
    let mut pass = |bytes: &mut [u8]| {
        failed = read.read(at, bytes).err();
        at += bytes.len() as u32;
        failed.is_none()
    };
    walk(&mut Record { pass: &mut pass, is_whole: true });
    failed.map_or(Ok(()), Err)
}

/// Everything that a checkpoint holds besides the words of the state.
pub(crate) struct Saved<'a> {
    pub(crate) known: &'a mut Known,
    pub(crate) codec: &'a mut Codec,
    pub(crate) decoder: &'a mut Decoder,
    pub(crate) out: &'a mut [u8; OUT_BYTES],
    pub(crate) out_length: &'a mut usize,
    pub(crate) taken: &'a mut u32,
    /// Where base and target share a slot: first bytes of the SHA-256 of the page whose place is taken next.
    pub(crate) page: &'a mut u64,
}

/// Writes a checkpoint by pieces: where each starts, and its bytes.
pub(crate) fn write<E>(
    saved: &mut Saved<'_>,
    words: &mut [u16],
    write: impl FnMut(u32, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (piece, hash) = ([0; PIECE_BYTES], Hash::new());
    let mut writing = Writing { write, piece, length: 0, at: 0, hash, failed: None };
    let mut head = Head::of(saved);
    let mut pass = |bytes: &mut [u8]| {
        writing.hash.take(bytes);
        writing.put(bytes)
    };
    let mut record = Record { pass: &mut pass, is_whole: true };
    head.pass(&mut record);
    saved.pass(&mut record, words);
    let check = writing.hash.end();
    writing.put(&check[..CHECK_BYTES]);
    writing.flush();
    writing.failed.map_or(Ok(()), Err)
}

/// Reads what stands at the start of a checkpoint, once its check was found right.
pub(crate) fn head<R: Base>(read: &mut R) -> Result<Result<Head, PatchError>, R::Error> {
    let mut head = Head::default();
    taken(read, 0, |record| head.pass(record))?;
    let Some(profile) = Profile::numbered(head.tables >> 6).filter(|_| head.version == VERSION) else {
        return Ok(Err(PatchError::Checkpoint));
    };
    let end = (checkpoint_bytes(profile) - CHECK_BYTES) as u32;
    let (mut hash, mut piece, mut at) = (Hash::new(), [0; PIECE_BYTES], 0);
    while at < end {
        let length = (end - at).min(PIECE_BYTES as u32);
        let piece = &mut piece[..length as usize];
        read.read(at, piece)?;
        hash.take(piece);
        at += length;
    }
    let mut check = [0; CHECK_BYTES];
    read.read(end, &mut check)?;
    Ok(if hash.end().starts_with(&check) { Ok(head) } else { Err(PatchError::Checkpoint) })
}

/// Returns how many bytes of the target were made when a checkpoint of `patch` was written; `None` where it is torn, or
/// of another patch, such as the one before. Of two checkpoints, the one with more is the newer.
///
/// # Errors
///
/// Those of reading.
pub fn checkpoint_made<C: Base>(checkpoint: &mut C, patch: &Outline) -> Result<Option<u32>, C::Error> {
    // With what came of another patch, this one would spoil a slot that is whole.
    if !head(checkpoint)?.is_ok_and(|head| head.is_of(patch)) {
        return Ok(None);
    }
    let mut made = [0; 4];
    checkpoint.read(HEADER_BYTES as u32, &mut made)?;
    Ok(Some(u32::from_le_bytes(made)))
}

/// Reads what follows the head, and the words; the caller checks what it holds.
pub(crate) fn body<R: Base>(saved: &mut Saved<'_>, words: &mut [u16], read: &mut R) -> Result<(), R::Error> {
    taken(read, HEADER_BYTES as u32, |record| saved.pass(record, words))
}

impl Saved<'_> {
    #[cfg_attr(target_os = "none", inline(never))]
    fn pass(&mut self, record: &mut Record<'_>, words: &mut [u16]) {
        self.codec.pass(record);
        self.decoder.pass(record);
        record.u32(self.taken);
        record.bytes(self.out);
        let mut length = *self.out_length as u16;
        record.u16(&mut length);
        *self.out_length = length.into();
        record.u64(self.page);
        for word in words {
            record.u16(word);
        }
    }
}

/// What a checkpoint says of its patch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    version: u8,
    architecture: u8,
    tables: u8,
    has_layout: u8,
    layout: [u8; 2],
    has_full_digest: u8,
    digest: [u8; DIGEST_BYTES_MAX],
    sizes: [u32; 2],
    pointers_first: u8,
    counts: [u8; 2],
    regions: [[u32; 3]; REGIONS_MAX],
    windows: [(u16, u8); WINDOWS_MAX],
}

impl Head {
    fn of(saved: &Saved<'_>) -> Self {
        let (order, space) = (saved.codec.order(), saved.codec.space());
        let target = saved.known.target;
        let mut head = Self {
            version: VERSION,
            architecture: saved.codec.architecture() as u8,
            tables: saved.known.tables.packed(),
            has_layout: order.layout.map_or(0, |layout| 1 + u8::from(layout.is_told())),
            layout: order.layout.map_or([0; 2], Layout::packed),
            has_full_digest: target.is_full().into(),
            sizes: [order.base_size, order.target_size],
            pointers_first: space.pointers_first.into(),
            counts: [space.regions_count as u8, space.windows_count as u8],
            ..Self::default()
        };
        head.digest[..target.bytes().len()].copy_from_slice(target.bytes());
        for (place, region) in head.regions.iter_mut().zip(&space.regions) {
            *place = [region.address, region.base_start, region.target_start];
        }
        for (place, window) in head.windows.iter_mut().zip(&space.windows) {
            *place = (window.start, window.count);
        }
        head
    }

    #[cfg_attr(target_os = "none", inline(never))]
    fn pass(&mut self, record: &mut Record<'_>) {
        for byte in [&mut self.version, &mut self.architecture, &mut self.tables, &mut self.has_layout] {
            record.u8(byte);
        }
        record.bytes(&mut self.layout);
        record.u8(&mut self.has_full_digest);
        record.bytes(&mut self.digest);
        self.sizes.iter_mut().for_each(|size| record.u32(size));
        record.u8(&mut self.pointers_first);
        record.bytes(&mut self.counts);
        self.regions.as_flattened_mut().iter_mut().for_each(|number| record.u32(number));
        for (start, count) in &mut self.windows {
            record.u16(start);
            record.u8(count);
        }
    }

    /// Says whether a patch is the one that the checkpoint is of, as far as it knows that.
    fn is_of(&self, patch: &Outline) -> bool {
        self.header().is_some_and(|header| {
            let known = (header.target_digest, header.base_size, header.target_size);
            known == (patch.target_digest, patch.base_size, patch.target_size)
                && header.layout == patch.layout
                && header.architecture == patch.architecture
                && header.tables.profile == patch.profile
        })
    }

    /// The header that it was, as far as applying needs it.
    pub(crate) fn header(&self) -> Option<Header> {
        let layout = match self.has_layout {
            0 => None,
            kind => Some(Layout::unpacked(self.layout, kind > 1)?),
        };
        let [base_size, target_size] = self.sizes;
        let [regions_count, windows_count] = self.counts.map(usize::from);
        let is_bounded = regions_count <= REGIONS_MAX
            && windows_count <= WINDOWS_MAX
            && self.sizes.iter().all(|size| *size <= crate::IMAGE_BYTES_MAX);
        let mut space = Space {
            regions_count,
            windows_count,
            pointers_first: self.pointers_first != 0,
            ..Space::default()
        };
        for (region, &[address, base_start, target_start]) in space.regions.iter_mut().zip(&self.regions) {
            *region = Region { address, base_start, target_start, length: 0 };
        }
        for (window, &(start, count)) in space.windows.iter_mut().zip(&self.windows) {
            *window = Window { start, count };
        }
        let mut digest = ImageDigest::none(self.has_full_digest != 0);
        for (place, byte) in digest.bytes_mut().iter_mut().zip(self.digest) {
            *place = byte;
        }
        let header = Header {
            architecture: Architecture::numbered(self.architecture)?,
            tables: Tables::unpacked(self.tables)?,
            base_digest: digest,
            target_digest: digest,
            base_size,
            target_size,
            space: space.settled(base_size),
            layout,
        };
        (is_bounded && header.anchors().is_some()).then_some(header)
    }
}
