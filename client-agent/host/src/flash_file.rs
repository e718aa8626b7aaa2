//! The device's flash in a file: a header that the factory writes, then the regions.
//!
//! | offset | what |
//! |---|---|
//! | 0 | magic, length of the header, header (see [`Header`]) |
//! | 64 KiB | record, boot state, manifests, slots A and B of each component, anchors |
//!
//! The file holds secrets: it is made for its owner alone (0600), and one process at a time locks it.

use crate::header::{Header, HeaderError};
use bellwether_agent::platform::{Flash, Region};
use bellwether_agent::update::boot::{BOOT_COPY_BYTES, BOOT_COPY_BYTES_OF_ONE};
use bellwether_agent::update::journal::COPY_BYTES_MAX;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// An open and locked flash file.
#[derive(Debug)]
pub(crate) struct FlashFile {
    file: File,
    /// Bytes of a slot of each component.
    slot_bytes: Vec<u32>,
}

/// Why a flash file could not be made or opened.
#[derive(Debug, Error)]
pub(crate) enum FlashFileError {
    /// Choose another name, or remove the file.
    #[error("{} exists already; a flash is never overwritten, choose another --out", .0.display())]
    Exists(PathBuf),
    /// Make one with `bellwether-agent flash`.
    #[error("{} does not exist; make it with `bellwether-agent flash`", .0.display())]
    NotFound(PathBuf),
    /// Stop the other process first.
    #[error("{} is in use by another process; stop that one first", .0.display())]
    InUse(PathBuf),
    /// The file is something else, or damaged.
    #[error("{} is not a flash file of this program", path.display())]
    NotAFlash {
        /// The file.
        path: PathBuf,
        /// What is wrong with its header.
        #[source]
        source: HeaderError,
    },
    /// The operating system refused.
    #[error("{} cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl FlashFile {
    /// Makes a flash file, all regions erased.
    ///
    /// # Errors
    ///
    /// [`FlashFileError::Exists`], [`FlashFileError::Io`].
    pub(crate) fn create(path: &Path, header: &Header) -> Result<Self, FlashFileError> {
        let failed = |source| FlashFileError::Io { path: path.to_owned(), source };
        let options = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = options.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => FlashFileError::Exists(path.to_owned()),
            _ => failed(source),
        })?;
        lock(&file, path)?;
        let flash = Self { file, slot_bytes: slot_bytes(header) };
        flash.fill(header).map_err(|source| {
            // The error says more than a failure to clear up after it.
            let _ = std::fs::remove_file(path);
            failed(source)
        })?;
        Ok(flash)
    }

    /// Writes the header and every byte behind it: a device's flash is all there, and so must its file be, or a disk
    /// that others fill would end an update in the middle.
    fn fill(&self, header: &Header) -> io::Result<()> {
        let body = header.encode();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        let start = Zeroizing::new([MAGIC.as_slice(), &length, &body].concat());
        self.file.write_all_at(&start, 0)?;
        let (mut at, erased) = (start.len() as u64, vec![0; ERASED_BYTES]);
        while at < self.end() {
            let bytes = usize::try_from(self.end() - at).unwrap_or(usize::MAX).min(ERASED_BYTES);
            self.file.write_all_at(&erased[..bytes], at)?;
            at += bytes as u64;
        }
        self.file.sync_all()
    }

    /// Opens a flash file and locks it for this process.
    ///
    /// # Errors
    ///
    /// See [`FlashFileError`].
    pub(crate) fn open(path: &Path) -> Result<(Self, Header), FlashFileError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => FlashFileError::NotFound(path.to_owned()),
            _ => FlashFileError::Io { path: path.to_owned(), source },
        };
        let foreign = |source| FlashFileError::NotAFlash { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        lock(&file, path)?;
        let mut start = [0; HEAD_BYTES];
        file.read_exact_at(&mut start, 0).map_err(failed)?;
        let (magic, length) = start.split_at(MAGIC.len());
        let length = length.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        if magic != MAGIC || length > REGIONS_START - HEAD_BYTES as u64 {
            return Err(foreign(HeaderError::Magic));
        }
        let mut body = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or_default()]);
        file.read_exact_at(&mut body, HEAD_BYTES as u64).map_err(failed)?;
        let header = Header::decode(&body).map_err(foreign)?;
        let flash = Self { file, slot_bytes: slot_bytes(&header) };
        if flash.file.metadata().map_err(failed)?.len() < flash.end() {
            flash.file.set_len(flash.end()).map_err(failed)?;
        }
        Ok((flash, header))
    }

    /// Writes a header over the one that is there, after [`Header::forget_seed`]: its length is the same, and a power
    /// cut leaves bytes of the seed, which the next start takes away.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn write_header(&mut self, header: &Header) -> io::Result<()> {
        self.file.write_all_at(&header.encode(), HEAD_BYTES as u64)?;
        self.file.sync_all()
    }

    /// Makes a copy of a flash file with another header, and puts it in the place of the one that is there: a power cut leaves
    /// one or the other.
    ///
    /// # Errors
    ///
    /// See [`FlashFileError`]; the file is as it was.
    pub(crate) fn with_header(path: &Path, header: &Header) -> Result<(), FlashFileError> {
        let failed = |source: io::Error| FlashFileError::Io { path: path.to_owned(), source };
        let body = header.encode();
        let length = u32::try_from(body.len())
            .ok()
            .filter(|length| u64::from(*length) <= REGIONS_START - HEAD_BYTES as u64);
        let length = length.ok_or_else(|| failed(io::ErrorKind::FileTooLarge.into()))?.to_be_bytes();
        let beside = path.with_extension("flash.new");
        let written = (|| {
            // Its permissions are copied first, so nobody else reads it meanwhile.
            std::fs::copy(path, &beside)?;
            let file = OpenOptions::new().write(true).open(&beside)?;
            file.write_all_at(&vec![0; usize::try_from(REGIONS_START).unwrap_or_default()], 0)?;
            file.write_all_at(&Zeroizing::new([MAGIC.as_slice(), &length, &body].concat()), 0)?;
            file.sync_all()?;
            std::fs::rename(&beside, path)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        })();
        written.map_err(|source| {
            // The error says more than a failure to clear up after it.
            let _ = std::fs::remove_file(&beside);
            failed(source)
        })
    }

    /// Reads the first `bytes` of a slot's region.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(crate) fn read_slot(&mut self, region: Region, bytes: u32) -> io::Result<Vec<u8>> {
        let mut image = vec![0; bytes as usize];
        self.read(region, 0, &mut image)?;
        Ok(image)
    }

    fn offset(&self, region: Region) -> u64 {
        let manifest = u64::from(RECORD_BYTES + self.boot_bytes());
        let slots = manifest + u64::from(MANIFEST_BYTES);
        // Two slots for each component before this one.
        let pairs = |count: u8| -> u64 {
            self.slot_bytes.iter().take(count.into()).map(|bytes| 2 * u64::from(*bytes)).sum()
        };
        let before = match region {
            Region::Record => 0,
            Region::Boot => RECORD_BYTES.into(),
            Region::Manifest => manifest,
            Region::SlotA(component) => slots + pairs(component),
            Region::SlotB(component) => slots + pairs(component) + u64::from(self.slot_of(component)),
            // Behind everything, so that a file of an earlier program only grows.
            Region::Anchors => slots + pairs(u8::MAX),
        };
        REGIONS_START + before
    }

    fn slot_of(&self, component: u8) -> u32 {
        self.slot_bytes.get(usize::from(component)).copied().unwrap_or(0)
    }

    /// Files of earlier programs have room for one component.
    fn boot_bytes(&self) -> u32 {
        if self.slot_bytes.len() > 1 { BOOT_BYTES } else { BOOT_BYTES_OF_ONE }
    }

    fn end(&self) -> u64 {
        self.offset(Region::Anchors) + u64::from(ANCHORS_BYTES)
    }

    fn place(&self, region: Region, offset: u32, length: usize) -> io::Result<u64> {
        let end = u64::from(offset) + length as u64;
        if end > u64::from(self.bytes(region)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "outside of the flash region"));
        }
        Ok(self.offset(region) + u64::from(offset))
    }
}

impl Flash for FlashFile {
    type Error = io::Error;

    fn bytes(&self, region: Region) -> u32 {
        match region {
            Region::Record => RECORD_BYTES,
            Region::Boot => self.boot_bytes(),
            Region::Manifest => MANIFEST_BYTES,
            Region::SlotA(component) | Region::SlotB(component) => self.slot_of(component),
            Region::Anchors => ANCHORS_BYTES,
        }
    }

    fn read(&mut self, region: Region, offset: u32, into: &mut [u8]) -> io::Result<()> {
        let at = self.place(region, offset, into.len())?;
        self.file.read_exact_at(into, at)
    }

    fn write(&mut self, region: Region, offset: u32, from: &[u8]) -> io::Result<()> {
        let at = self.place(region, offset, from.len())?;
        self.file.write_all_at(from, at)
    }

    fn commit(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn slot_bytes(header: &Header) -> Vec<u32> {
    header.components.iter().map(|component| component.slot_bytes).collect()
}

fn lock(file: &File, path: &Path) -> Result<(), FlashFileError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => FlashFileError::InUse(path.to_owned()),
        TryLockError::Error(source) => FlashFileError::Io { path: path.to_owned(), source },
    })
}

/// First bytes of a flash file; the last one is the layout's version.
const MAGIC: &[u8; 8] = b"bwflash\x01";
const HEAD_BYTES: usize = MAGIC.len() + 4;

/// Where the regions begin: room for a header with long anchors.
const REGIONS_START: u64 = 64 * 1024;
const RECORD_BYTES: u32 = 8192;
const BOOT_BYTES: u32 = 1024;
const BOOT_BYTES_OF_ONE: u32 = 512;
const ANCHORS_BYTES: u32 = 8192;
const _: () = assert!(
    RECORD_BYTES as usize == 2 * COPY_BYTES_MAX
        && BOOT_BYTES as usize >= 2 * BOOT_COPY_BYTES
        && BOOT_BYTES_OF_ONE as usize == 2 * BOOT_COPY_BYTES_OF_ONE
        && ANCHORS_BYTES as usize == 2 * COPY_BYTES_MAX
);

/// Bytes that are erased at a time when a flash is made.
const ERASED_BYTES: usize = 256 * 1024;

/// Two halves of 32 KiB: a manifest for a few classes has 1 KiB, one with texts in many languages a few.
const MANIFEST_BYTES: u32 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::tests::{header, with_radio};
    use std::os::unix::fs::PermissionsExt;

    fn flash_in(folder: &tempfile::TempDir) -> (PathBuf, FlashFile) {
        let path = folder.path().join("device.flash");
        let flash = FlashFile::create(&path, &header()).unwrap();
        (path, flash)
    }

    #[test]
    fn flash_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _flash) = flash_in(&folder);
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn regions_do_not_overlap_and_survive_reopening() {
        let one = [
            Region::Record,
            Region::Boot,
            Region::Manifest,
            Region::SlotA(0),
            Region::SlotB(0),
            Region::Anchors,
        ];
        keep_their_bytes(&header(), &one);
        keep_their_bytes(&with_radio(), &[&one[..], &[Region::SlotA(1), Region::SlotB(1)]].concat());
    }

    fn keep_their_bytes(header: &Header, regions: &[Region]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.flash");
        let mut flash = FlashFile::create(&path, header).unwrap();
        for (number, region) in (1..).zip(regions.iter().copied()) {
            assert_ne!(flash.bytes(region), 0);
            let bytes = vec![number; flash.bytes(region) as usize];
            flash.write(region, 0, &bytes).unwrap();
        }
        drop(flash);
        let (mut flash, read) = FlashFile::open(&path).unwrap();
        assert_eq!(read, *header);
        for (number, region) in (1..).zip(regions.iter().copied()) {
            let mut bytes = vec![0; flash.bytes(region) as usize];
            flash.read(region, 0, &mut bytes).unwrap();
            assert!(bytes.iter().all(|byte| *byte == number), "{region:?}");
        }
    }

    #[test]
    fn range_past_a_region_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (_, mut flash) = flash_in(&folder);
        let last = flash.bytes(Region::SlotA(0)) - 1;
        assert!(flash.write(Region::SlotA(0), last, &[0, 0]).is_err());
        assert!(flash.read(Region::Record, u32::MAX, &mut [0]).is_err());
    }

    #[test]
    fn file_of_an_earlier_program_grows_by_the_region_for_anchors() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut flash) = flash_in(&folder);
        flash.write(Region::SlotB(0), 0, b"image").unwrap();
        flash.file.set_len(flash.offset(Region::Anchors)).unwrap();
        drop(flash);
        let (mut flash, _) = FlashFile::open(&path).unwrap();
        let mut bytes = vec![1; ANCHORS_BYTES as usize];
        flash.read(Region::Anchors, 0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
        assert_eq!(flash.read_slot(Region::SlotB(0), 5).unwrap(), b"image");
    }

    #[test]
    fn seed_of_a_flash_of_an_earlier_program_is_overwritten_in_its_header() {
        use crate::header::tests::unit_file;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.flash");
        let mut header = Header { unit: Zeroizing::new(unit_file()), ..header() };
        let mut flash = FlashFile::create(&path, &header).unwrap();
        flash.write(Region::Record, 0, b"record").unwrap();
        header.forget_seed().unwrap();
        flash.write_header(&header).unwrap();
        drop(flash);
        assert!(!std::fs::read(&path).unwrap().windows(32).any(|window| window == [9; 32]));
        let (mut flash, read) = FlashFile::open(&path).unwrap();
        assert_eq!(read, header);
        assert_eq!(flash.read_slot(Region::Record, 6).unwrap(), b"record");
    }

    #[test]
    fn flash_has_its_room_on_the_disk_from_the_beginning() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, flash) = flash_in(&folder);
        let metadata = std::fs::metadata(path).unwrap();
        assert_eq!(metadata.len(), flash.end());
        assert!(metadata.blocks() * 512 >= flash.end(), "{} blocks", metadata.blocks());
    }

    #[test]
    fn flash_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (path, flash) = flash_in(&folder);
        drop(flash);
        assert!(matches!(FlashFile::create(&path, &header()), Err(FlashFileError::Exists(_))));
    }

    #[test]
    fn second_opener_is_told_that_the_flash_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _flash) = flash_in(&folder);
        assert!(matches!(FlashFile::open(&path), Err(FlashFileError::InUse(_))));
    }

    #[test]
    fn another_file_is_not_taken_for_a_flash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other");
        std::fs::write(&path, [0; 100]).unwrap();
        assert!(matches!(FlashFile::open(&path), Err(FlashFileError::NotAFlash { .. })));
    }
}
