//! `bellwether image`: what a firmware file holds, offline.

use std::path::{Path, PathBuf};

use bellwether_images::{IMAGE_BYTES_MAX, Image};
use clap::Subcommand;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::file::{self, Access};
use crate::image_file::Reading;
use crate::output::{Output, bytes, table};

/// Firmware files.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows what a firmware file is read as: format, size, address, digest
    Show {
        /// ELF, Intel HEX, UF2, ESP32 or flat file; - for standard input
        file: PathBuf,
        #[command(flatten)]
        reading: Reading,
    },
    /// Writes the flat image that flash gets of a firmware file
    ///
    ///   bellwether image extract app.elf app.bin
    #[command(verbatim_doc_comment)]
    Extract {
        /// ELF, Intel HEX, UF2, ESP32 or flat file; - for standard input
        file: PathBuf,
        /// Where the image goes; - for standard output
        out: PathBuf,
        #[command(flatten)]
        reading: Reading,
    },
}

/// What a file holds.
#[derive(Debug, Serialize)]
struct Shown {
    format: String,
    size: u64,
    /// Where the first byte lies, if the file says so.
    address: Option<u64>,
    /// Bytes of gaps, which are 0xff.
    filled: u64,
    digest: String,
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Show { file, reading } => {
            let image = read(&file, reading)?;
            output.print(&Shown::of(&image), Shown::text);
        }
        Command::Extract { file, out, reading } => {
            let image = read(&file, reading)?;
            file::write_output(&out, &image.bytes, Access::Public)?;
            if !file::is_pipe(&out) {
                let shown = Shown::of(&image);
                output.print(&shown, |shown| format!("{} to {}", bytes(shown.size), out.display()));
            }
        }
    }
    Ok(())
}

fn read(path: &Path, reading: Reading) -> Result<Image, Failure> {
    reading.read(path, IMAGE_BYTES_MAX as u64)
}

impl Shown {
    fn of(image: &Image) -> Self {
        Self {
            format: image.format.to_string(),
            size: image.bytes.len() as u64,
            address: image.address,
            filled: image.filled as u64,
            digest: hex::encode(Sha256::digest(&image.bytes)),
        }
    }

    fn text(&self) -> String {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![row("size", bytes(self.size))];
        rows.extend(self.address.map(|address| row("address", format!("{address:#010x}"))));
        if self.filled > 0 {
            rows.push(row("gaps", bytes(self.filled)));
        }
        rows.push(row("digest", self.digest.clone()));
        table(&["format", &self.format], &rows)
    }
}
