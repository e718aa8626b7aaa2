//! ELF: the allocated sections with content, each at its load address, as `objcopy -O binary` takes them.
//!
//! Source: System V ABI, chapters 4 and 5 (gABI 4.1).

use crate::error::ImageError;
use crate::format::Format;
use crate::layout::Layout;

/// Whether a file is a program for flash: ELF, and not one that a system loads from its file.
pub(crate) fn is_for_flash(file: &[u8]) -> bool {
    let Ok(elf) = Elf::parse(file) else {
        // Broken, but ELF: reading it says what is wrong.
        return file.starts_with(MAGIC);
    };
    let is_loaded = elf.segments.iter().any(|segment| matches!(segment.kind, DYNAMIC | INTERPRETER));
    !is_loaded && elf.segments.iter().any(|segment| segment.kind == LOAD)
}

/// Reads the sections at their load addresses; a file without section headers gives its segments.
pub(crate) fn read(file: &[u8]) -> Result<Layout, ImageError> {
    let elf = Elf::parse(file).map_err(ImageError::Elf)?;
    let mut layout = Layout::new(Format::Elf);
    let outside = || ImageError::CutOff { format: Format::Elf, reason: "a part of it lies past its end" };
    for part in elf.parts() {
        layout.put(part.address, part.content(file).ok_or_else(outside)?)?;
    }
    Ok(layout)
}

struct Elf {
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

/// A program header.
struct Segment {
    kind: u32,
    offset: u64,
    /// Where it lies in flash; a program that copies itself into RAM runs elsewhere.
    physical: u64,
    bytes: u64,
}

/// A section header.
struct Section {
    kind: u32,
    flags: u64,
    offset: u64,
    bytes: u64,
}

/// Bytes of the file that go to an address.
struct Part {
    address: u64,
    offset: u64,
    bytes: u64,
}

impl Part {
    fn content<'a>(&self, file: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset).ok()?;
        file.get(start..)?.get(..usize::try_from(self.bytes).ok()?)
    }
}

impl Elf {
    fn parse(file: &[u8]) -> Result<Self, &'static str> {
        let fields = Fields::of(file)?;
        let segments = fields.headers(&Table::SEGMENTS)?.map(|at| fields.segment(at));
        let sections = fields.headers(&Table::SECTIONS)?.map(|at| fields.section(at));
        let outside = "its tables lie past its end";
        Ok(Self {
            segments: segments.collect::<Option<_>>().ok_or(outside)?,
            sections: sections.collect::<Option<_>>().ok_or(outside)?,
        })
    }

    fn parts(&self) -> Vec<Part> {
        let loads = self.segments.iter().filter(|segment| segment.kind == LOAD && segment.bytes > 0);
        if self.sections.is_empty() {
            return loads.map(|s| Part { address: s.physical, offset: s.offset, bytes: s.bytes }).collect();
        }
        let allocated = self
            .sections
            .iter()
            .filter(|section| section.flags & ALLOCATED != 0 && section.kind != NO_BITS && section.bytes > 0);
        // A section that no segment loads goes nowhere.
        let part = |section: &Section| {
            let within = |segment: &&Segment| {
                section.offset >= segment.offset && section.offset - segment.offset < segment.bytes
            };
            let segment = loads.clone().find(within)?;
            let address = segment.physical.saturating_add(section.offset - segment.offset);
            Some(Part { address, offset: section.offset, bytes: section.bytes })
        };
        allocated.filter_map(part).collect()
    }
}

/// Reads numbers as the file's class and byte order have them.
struct Fields<'a> {
    file: &'a [u8],
    is_64: bool,
    is_big_endian: bool,
}

/// Where the head says where a table is, in a file of 32 and of 64 bits.
///
/// Sections are looked up among segments, so the product of both must stay small: a firmware has a dozen segments, and
/// some thousands of sections where each function has its own.
struct Table {
    offset_at: [usize; 2],
    size_at: [usize; 2],
    count_at: [usize; 2],
    entry_bytes: [usize; 2],
    count_max: u16,
}

impl Table {
    const SEGMENTS: Self = Self {
        offset_at: [28, 32],
        size_at: [42, 54],
        count_at: [44, 56],
        entry_bytes: [32, 56],
        count_max: 512,
    };
    const SECTIONS: Self = Self {
        offset_at: [32, 40],
        size_at: [46, 58],
        count_at: [48, 60],
        entry_bytes: [40, 64],
        count_max: 32_768,
    };
}

impl<'a> Fields<'a> {
    fn of(file: &'a [u8]) -> Result<Self, &'static str> {
        if !file.starts_with(MAGIC) {
            return Err("it does not start with 0x7f and ELF");
        }
        match (file.get(4), file.get(5)) {
            (Some(class @ 1..=2), Some(order @ 1..=2)) => {
                Ok(Self { file, is_64: *class == 2, is_big_endian: *order == 2 })
            }
            _ => Err("its class or byte order is not known"),
        }
    }

    /// Returns where each header of a table stands.
    fn headers(&self, table: &Table) -> Result<impl Iterator<Item = usize>, &'static str> {
        let class = usize::from(self.is_64);
        let cut_off = "its head is cut off";
        let offset = self.word(table.offset_at[class]).ok_or(cut_off)?;
        let size = usize::from(self.half(table.size_at[class]).ok_or(cut_off)?);
        let count = self.half(table.count_at[class]).ok_or(cut_off)?;
        let count = if offset == 0 { 0 } else { count };
        if count > table.count_max {
            return Err("it has more sections or segments than a firmware needs");
        }
        if count > 0 && size < table.entry_bytes[class] {
            return Err("its tables have too short entries");
        }
        let start = usize::try_from(offset).ok().filter(|&start| start <= self.file.len());
        // Both factors have 16 bits, and the start is inside the file: no overflow.
        let start = start.filter(|start| start + usize::from(count) * size <= self.file.len());
        let start = start.ok_or("its tables lie past its end")?;
        Ok((0..usize::from(count)).map(move |index| start + index * size))
    }

    fn segment(&self, at: usize) -> Option<Segment> {
        let [offset, physical, bytes] = if self.is_64 { [8, 24, 32] } else { [4, 12, 16] };
        Some(Segment {
            kind: self.number(at)?,
            offset: self.word(at + offset)?,
            physical: self.word(at + physical)?,
            bytes: self.word(at + bytes)?,
        })
    }

    fn section(&self, at: usize) -> Option<Section> {
        let [offset, bytes] = if self.is_64 { [24, 32] } else { [16, 20] };
        Some(Section {
            kind: self.number(at + 4)?,
            flags: self.word(at + 8)?,
            offset: self.word(at + offset)?,
            bytes: self.word(at + bytes)?,
        })
    }

    fn half(&self, at: usize) -> Option<u16> {
        let bytes = *self.file.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn number(&self, at: usize) -> Option<u32> {
        let bytes = *self.file.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// An address, an offset or a size: of the width of the class.
    fn word(&self, at: usize) -> Option<u64> {
        if !self.is_64 {
            return self.number(at).map(u64::from);
        }
        let bytes = *self.file.get(at..)?.first_chunk()?;
        Some(if self.is_big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }
}

const MAGIC: &[u8] = b"\x7fELF";
/// Kinds of segments: `PT_LOAD`, `PT_DYNAMIC`, `PT_INTERP`.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
/// A section without content in the file: `SHT_NOBITS`.
const NO_BITS: u32 = 8;
/// A section that is there when the program runs: `SHF_ALLOC`.
const ALLOCATED: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of 32 bits, little-endian: one segment of 8 bytes for RAM, kept in flash, and one without content.
    fn file(section_kind: u32) -> Vec<u8> {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let halves = |halves: &[u16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>();
        let head =
            [b"\x7fELF\x01\x01\x01".as_slice(), &[0; 9], &halves(&[2, 40]), &words(&[1, 0, 52, 84 + 12, 0])];
        let sizes = halves(&[52, 32, 1, 40, 2, 0]);
        // Kind, offset, where it runs, where it lies, bytes in the file and in memory, flags, alignment.
        let segment = words(&[LOAD, 80, 0x2000_0000, 0x0800_0000, 16, 64, 6, 4]);
        let section = |kind, flags, offset, bytes| words(&[0, kind, flags, 0, offset, bytes, 0, 0, 4, 0]);
        let content = b"headCODE".to_vec();
        let sections = [section(section_kind, 2, 84 + 4, 4), section(1, 0, 84, 4)].concat();
        [head.concat(), sizes, segment, content, words(&[0]), sections].concat()
    }

    #[test]
    fn section_lies_where_its_segment_is_kept_not_where_it_runs() {
        let file = file(1);
        assert!(is_for_flash(&file));
        let region = read(&file).expect("well-formed").region(None).expect("one region");
        assert_eq!(region.start, 0x0800_0008);
        assert_eq!(region.flatten(), Ok((b"CODE".to_vec(), 0)));
    }

    #[test]
    fn section_without_content_gives_nothing() {
        let error = read(&file(NO_BITS)).expect("well-formed").region(None).expect_err("nothing");
        assert_eq!(error, ImageError::Empty { format: Format::Elf });
    }

    #[test]
    fn file_without_sections_gives_its_segments() {
        let mut file = file(1);
        file[48] = 0;
        let region = read(&file).expect("well-formed").region(None).expect("one region");
        assert_eq!((region.start, region.flatten().expect("small").0.len()), (0x0800_0000, 16));
    }

    #[test]
    fn program_with_an_interpreter_is_kept_as_a_file() {
        let mut file = file(1);
        file[52] = 3;
        assert!(!is_for_flash(&file));
        assert_eq!(Format::of(&file), Format::Flat);
    }

    #[test]
    fn every_cut_file_is_refused() {
        let file = file(1);
        for length in 4..file.len() {
            assert!(read(&file[..length]).is_err(), "{length}");
        }
    }
}
