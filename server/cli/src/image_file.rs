//! Images as commands take them: flat, or in a format that a toolchain writes.

use std::path::Path;

use bellwether_images::{Format, Image};
use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::file;
use crate::output::bytes;

/// How an image file is read. It is in the help of every command that takes one.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// What the image files are, where they are not what they look like
    ///
    /// ELF, Intel HEX and UF2 files are read into the flat image that flash gets: bytes at their load addresses, gaps
    /// as 0xff, what erased flash reads as (`objcopy -O binary` fills them with zeros, unless it has --gap-fill 0xff).
    /// ESP32 images are checked and taken as they are. All else is taken as it is, also an ELF program that a system
    /// loads from its file.
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    format: Option<Named>,
    /// Which region of an ELF, Intel HEX or UF2 file, by an address in it, where it holds several, e.g. 0x08000000
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    region: Option<u64>,
}

/// A format by the name that it has on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Named {
    /// The bytes that flash gets
    Flat,
    /// ELF program
    Elf,
    /// Intel HEX
    Hex,
    /// UF2
    Uf2,
    /// Application image for an ESP32 or ESP8266
    Esp32,
}

impl Reading {
    /// Reads an image of at most `image_bytes_max` bytes; `-` is standard input. Says on standard error what was
    /// converted.
    ///
    /// # Errors
    ///
    /// [`Failure::File`] names the file, and what can be done.
    pub(crate) fn read(self, path: &Path, image_bytes_max: u64) -> Result<Image, Failure> {
        let content = file::read_at_most(path, FILE_BYTES_MAX.max(image_bytes_max))?;
        let format = self.format.map(|named| match named {
            Named::Flat => Format::Flat,
            Named::Elf => Format::Elf,
            Named::Hex => Format::IntelHex,
            Named::Uf2 => Format::Uf2,
            Named::Esp32 => Format::Esp32,
        });
        let image = Image::read(content, format, self.region);
        let image = image.map_err(|error| Failure::file(path, advice(&error)))?;
        if image.bytes.len() as u64 > image_bytes_max {
            let text = format!("has an image larger than {image_bytes_max} bytes, the most that is taken");
            return Err(Failure::file(path, text));
        }
        if let Some(text) = converted(&image) {
            eprintln!("{}: {text}", path.display());
        }
        Ok(image)
    }
}

/// Adds the option that helps.
fn advice(error: &bellwether_images::ImageError) -> String {
    use bellwether_images::ImageError;

    match error {
        ImageError::Regions { .. } | ImageError::NoRegion { .. } => format!("{error}: --region ADDRESS"),
        ImageError::TooLarge { .. } | ImageError::NoAddresses { .. } => error.to_string(),
        _ => format!("{error}; --as flat takes the file as it is"),
    }
}

/// Says what was made of a file that flash does not get as it is.
pub(crate) fn converted(image: &Image) -> Option<String> {
    let address = image.address?;
    let length = bytes(image.bytes.len() as u64);
    let filled = match image.filled {
        0 => String::new(),
        filled => format!(", {} of them gaps", bytes(filled as u64)),
    };
    Some(format!("read as {}: {length} from {address:#010x}{filled}", image.format))
}

/// Reads an address in decimal or with 0x.
fn address(text: &str) -> Result<u64, String> {
    let read = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    read.map_err(|_| format!("{text:?} is no address, e.g. 0x08000000"))
}

/// Bound for a file: Intel HEX takes 2.75 bytes for a byte in lines of 16, and a server takes images of 32 MiB.
const FILE_BYTES_MAX: u64 = 96 * 1024 * 1024;
