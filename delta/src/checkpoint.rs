//! What a patcher writes down of itself, so that it goes on after a power cut.

use sha2::{Digest, Sha256};

use crate::apply::Known;
use crate::codec::Codec;
use crate::coder::Decoder;
use crate::digest::{DIGEST_BYTES_MAX, ImageDigest};
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
pub(crate) trait Record {
    /// Why a piece could not be written or read.
    type Error;

    /// Passes bytes over.
    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error>;

    fn u8(&mut self, value: &mut u8) -> Result<(), Self::Error> {
        let mut bytes = [*value];
        self.bytes(&mut bytes)?;
        [*value] = bytes;
        Ok(())
    }

    fn u16(&mut self, value: &mut u16) -> Result<(), Self::Error> {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes)?;
        *value = u16::from_le_bytes(bytes);
        Ok(())
    }

    fn u32(&mut self, value: &mut u32) -> Result<(), Self::Error> {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes)?;
        *value = u32::from_le_bytes(bytes);
        Ok(())
    }

    fn i32(&mut self, value: &mut i32) -> Result<(), Self::Error> {
        let mut unsigned = value.cast_unsigned();
        self.u32(&mut unsigned)?;
        *value = unsigned.cast_signed();
        Ok(())
    }

    fn u64(&mut self, value: &mut u64) -> Result<(), Self::Error> {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes)?;
        *value = u64::from_le_bytes(bytes);
        Ok(())
    }
}

/// Writes a checkpoint in pieces.
struct Writing<W> {
    write: W,
    piece: [u8; PIECE_BYTES],
    length: usize,
    at: u32,
    hash: Sha256,
}

/// A piece of a checkpoint: what small flash writes at once.
const PIECE_BYTES: usize = 64;

impl<E, W: FnMut(u32, &[u8]) -> Result<(), E>> Record for Writing<W> {
    type Error = E;

    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), E> {
        self.hash.update(&*bytes);
        self.put(bytes)
    }
}

impl<E, W: FnMut(u32, &[u8]) -> Result<(), E>> Writing<W> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), E> {
        while !bytes.is_empty() {
            let room = &mut self.piece[self.length..];
            let (head, rest) = bytes.split_at(room.len().min(bytes.len()));
            room[..head.len()].copy_from_slice(head);
            self.length += head.len();
            bytes = rest;
            if self.length == PIECE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), E> {
        if self.length > 0 {
            (self.write)(self.at, &self.piece[..self.length])?;
            self.at += self.length as u32;
            self.length = 0;
        }
        Ok(())
    }
}

/// Reads a checkpoint.
struct Taking<'a, R> {
    read: &'a mut R,
    at: u32,
}

impl<R: Base> Record for Taking<'_, R> {
    type Error = R::Error;

    fn bytes(&mut self, bytes: &mut [u8]) -> Result<(), R::Error> {
        self.read.read(self.at, bytes)?;
        self.at += bytes.len() as u32;
        Ok(())
    }
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
    let mut record = Writing { write, piece: [0; PIECE_BYTES], length: 0, at: 0, hash: Sha256::new() };
    let mut head = Head::of(saved);
    head.pass(&mut record)?;
    saved.pass(&mut record)?;
    for word in words {
        record.u16(word)?;
    }
    let check = record.hash.finalize_reset();
    record.put(&check[..CHECK_BYTES])?;
    record.flush()
}

/// Reads what stands at the start of a checkpoint, once its check was found right.
pub(crate) fn head<R: Base>(read: &mut R) -> Result<Result<Head, PatchError>, R::Error> {
    let mut head = Head::default();
    head.pass(&mut Taking { read, at: 0 })?;
    let Some(profile) = Profile::numbered(head.tables >> 6).filter(|_| head.version == VERSION) else {
        return Ok(Err(PatchError::Checkpoint));
    };
    let end = (checkpoint_bytes(profile) - CHECK_BYTES) as u32;
    let (mut hash, mut piece, mut at) = (Sha256::new(), [0; PIECE_BYTES], 0);
    while at < end {
        let length = (end - at).min(PIECE_BYTES as u32);
        let piece = &mut piece[..length as usize];
        read.read(at, piece)?;
        hash.update(&*piece);
        at += length;
    }
    let mut check = [0; CHECK_BYTES];
    read.read(end, &mut check)?;
    Ok(if hash.finalize().starts_with(&check) { Ok(head) } else { Err(PatchError::Checkpoint) })
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
    let mut record = Taking { read, at: HEADER_BYTES as u32 };
    saved.pass(&mut record)?;
    for word in words {
        record.u16(word)?;
    }
    Ok(())
}

impl Saved<'_> {
    fn pass<R: Record>(&mut self, record: &mut R) -> Result<(), R::Error> {
        self.codec.pass(record)?;
        self.decoder.pass(record)?;
        record.u32(self.taken)?;
        record.bytes(self.out)?;
        let mut length = *self.out_length as u16;
        record.u16(&mut length)?;
        *self.out_length = length.into();
        record.u64(self.page)
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
            has_layout: order.layout.is_some().into(),
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

    fn pass<R: Record>(&mut self, record: &mut R) -> Result<(), R::Error> {
        for byte in [&mut self.version, &mut self.architecture, &mut self.tables, &mut self.has_layout] {
            record.u8(byte)?;
        }
        record.bytes(&mut self.layout)?;
        record.u8(&mut self.has_full_digest)?;
        record.bytes(&mut self.digest)?;
        self.sizes.iter_mut().try_for_each(|size| record.u32(size))?;
        record.u8(&mut self.pointers_first)?;
        record.bytes(&mut self.counts)?;
        self.regions.as_flattened_mut().iter_mut().try_for_each(|number| record.u32(number))?;
        for (start, count) in &mut self.windows {
            record.u16(start)?;
            record.u8(count)?;
        }
        Ok(())
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
            _ => Some(Layout::unpacked(self.layout)?),
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
        let digest = if self.has_full_digest == 0 {
            ImageDigest::short(*self.digest.first_chunk()?)
        } else {
            ImageDigest::full(self.digest)
        };
        is_bounded.then_some(Header {
            architecture: Architecture::ALL.get(usize::from(self.architecture)).copied()?,
            tables: Tables::unpacked(self.tables)?,
            base_digest: digest,
            target_digest: digest,
            base_size,
            target_size,
            space: space.settled(base_size),
            layout,
        })
    }
}
