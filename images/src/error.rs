//! What can be wrong with a file, and what to do about it.

use std::fmt;

use thiserror::Error;

use crate::format::Format;
use crate::layout::{GAP_BYTES_MAX, IMAGE_BYTES_MAX, PIECES_MAX};

/// Why a file gives no image.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ImageError {
    /// A line of an Intel HEX file is wrong.
    #[error("line {line} is no Intel HEX record: {reason}")]
    HexLine {
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A block of a UF2 file is wrong.
    #[error("block {block} of the UF2 file is wrong: {reason}")]
    Uf2Block {
        /// Block, from 0.
        block: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An ELF file is wrong.
    #[error("the ELF file is wrong: {0}")]
    Elf(&'static str),
    /// An ESP32 image is wrong.
    #[error("the ESP32 image is wrong: {0}")]
    Esp32(&'static str),
    /// The file ends before its last record or block.
    #[error("the {format} file is cut off: {reason}; fetch or build it again")]
    CutOff {
        /// What the file is.
        format: Format,
        /// What is missing.
        reason: &'static str,
    },
    /// Two pieces of the file lie on the same place.
    #[error("the file has two values for the byte at {address:#010x}")]
    Overlap {
        /// The place.
        address: u64,
    },
    /// The file names a place that no processor reaches.
    #[error("the file has bytes for {address:#x}, which no processor reaches")]
    Address {
        /// The place.
        address: u64,
    },
    /// The file has more pieces than a firmware needs.
    #[error("the file is scattered over more than {PIECES_MAX} pieces: no firmware is")]
    Scattered,
    /// The file holds nothing.
    #[error("the {format} file holds no bytes for flash")]
    Empty {
        /// What the file is.
        format: Format,
    },
    /// The image is larger than a device's flash.
    #[error("the image has {bytes} bytes, more than the {IMAGE_BYTES_MAX} that are read")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// The file holds regions far apart, and it was not said which is meant.
    #[error(
        "the file holds regions more than {GAP_BYTES_MAX} bytes apart: {regions}; name the one that is meant by an \
         address in it"
    )]
    Regions {
        /// The regions.
        regions: Regions,
    },
    /// No region of the file has that address.
    #[error("the file has no bytes near {address:#010x}; it holds {regions}")]
    NoRegion {
        /// What was asked for.
        address: u64,
        /// What there is.
        regions: Regions,
    },
    /// A region was asked of a file without addresses.
    #[error("a {format} file says no addresses, so no region of it can be chosen")]
    NoAddresses {
        /// What the file is.
        format: Format,
    },
}

/// Regions of a file for people, the first few of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Regions(pub(crate) Vec<(u64, u64)>);

impl fmt::Display for Regions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (start, bytes)) in self.0.iter().take(REGIONS_SHOWN).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{bytes} bytes from {start:#010x}")?;
        }
        match self.0.len().checked_sub(REGIONS_SHOWN) {
            Some(more @ 1..) => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

/// As many as fit a line or two.
const REGIONS_SHOWN: usize = 4;
