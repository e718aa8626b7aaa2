//! Firmware files as toolchains write them, read into the flat image that flash gets.
//!
//! ```
//! use bellwether_images::{Format, Image};
//!
//! let hex = b":0401000001020304F1\n:00000001FF\n";
//! let image = Image::read(hex.to_vec(), None, None).unwrap();
//! assert_eq!((image.format, image.address), (Format::IntelHex, Some(0x100)));
//! assert_eq!(image.bytes, [1, 2, 3, 4]);
//! ```
//!
//! # What is trusted
//!
//! Nothing. Every length and address of a file is checked before it is used, what a file can make this crate keep is
//! bounded by [`IMAGE_BYTES_MAX`] and [`PIECES_MAX`], and nothing is left out in silence: what does not fit one image
//! is an error that says what can be done.
#![forbid(unsafe_code)]

mod elf;
mod error;
mod esp32;
mod format;
mod intel_hex;
mod layout;
mod uf2;

pub use error::ImageError;
pub use format::Format;
pub use layout::{GAP_BYTES_MAX, IMAGE_BYTES_MAX, PIECES_MAX};

use layout::Layout;

/// A flat image: the bytes that flash holds from one address on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// What the file was.
    pub format: Format,
    /// Where the first byte lies, if the file says so.
    pub address: Option<u64>,
    /// Bytes that the file did not give and that are 0xff here, as in erased flash.
    pub filled: usize,
    /// The image.
    pub bytes: Vec<u8>,
}

impl Image {
    /// Reads a file: as `format`, or as what it is seen to be where that is `None`.
    ///
    /// A file can hold several regions far apart, for example flash and option bytes; `region` is an address in the
    /// one that is meant.
    ///
    /// # Errors
    ///
    /// [`ImageError`] says where in the file, and what can be done.
    pub fn read(file: Vec<u8>, format: Option<Format>, region: Option<u64>) -> Result<Self, ImageError> {
        let format = format.unwrap_or_else(|| Format::of(&file));
        let layout = match format {
            Format::Flat => return Self::as_it_is(format, file, region),
            Format::Esp32 => {
                esp32::check(&file)?;
                return Self::as_it_is(format, file, region);
            }
            Format::Elf => elf::read(&file)?,
            Format::IntelHex => intel_hex::read(&file)?,
            Format::Uf2 => uf2::read(&file)?,
        };
        Self::of_layout(format, layout, region)
    }

    /// Takes a file that flash gets byte by byte.
    fn as_it_is(format: Format, bytes: Vec<u8>, region: Option<u64>) -> Result<Self, ImageError> {
        if region.is_some() {
            return Err(ImageError::NoAddresses { format });
        }
        if bytes.len() > IMAGE_BYTES_MAX {
            return Err(ImageError::TooLarge { bytes: bytes.len() as u64 });
        }
        Ok(Self { format, address: None, filled: 0, bytes })
    }

    fn of_layout(format: Format, layout: Layout, region: Option<u64>) -> Result<Self, ImageError> {
        let chosen = layout.region(region)?;
        let (bytes, filled) = chosen.flatten()?;
        Ok(Self { format, address: Some(chosen.start), filled, bytes })
    }
}
