//! `bellwether delta`: patches between two images, made, applied and looked into offline.

mod patch_file;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bellwether_delta::make::{self, Patch};
use bellwether_delta::{ApplyError, OutsideSlice, Patcher, ram_bytes};
use bellwether_images::IMAGE_BYTES_MAX;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::file::{self, Access};
use crate::image_file::Reading;
use crate::output::{Output, bytes, table};
use patch_file::{Facts, Header};

/// Deltas.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes the patch that turns one image into another
    ///
    /// The same images always give the same patch. It takes about a second for a MiB, and thirty times the images' size
    /// in memory. A device applies it in 8 KiB of RAM, whatever the images' sizes.
    ///
    ///   bellwether delta make lamp-1.0.bin lamp-1.1.bin lamp.patch
    ///   bellwether delta make lamp-1.0.hex lamp-1.1.hex lamp.patch
    #[command(verbatim_doc_comment)]
    Make {
        /// What the device runs; - for standard input
        old: PathBuf,
        /// What it shall run; - for standard input
        new: PathBuf,
        /// Where the patch goes; - for standard output
        patch: PathBuf,
        #[command(flatten)]
        reading: Reading,
    },
    /// Applies a patch as a device does, and writes the image that it makes
    ///
    /// The image is written whole or not at all. Nothing is made of another image than the patch is for, and nothing of
    /// a patch that was cut or altered.
    ///
    ///   bellwether delta apply lamp-1.0.bin lamp.patch lamp-1.1.bin
    #[command(verbatim_doc_comment)]
    Apply {
        /// What the device runs; - for standard input
        old: PathBuf,
        /// From `delta make`; - for standard input
        patch: PathBuf,
        /// Where the image goes; - for standard output
        new: PathBuf,
        #[command(flatten)]
        reading: Reading,
    },
    /// Shows what a patch is for, and what it needs
    Show {
        /// From `delta make`; - for standard input
        patch: PathBuf,
    },
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    patch_size: usize,
    old_size: usize,
    new_size: usize,
    /// Of the new image's size.
    percent: f64,
    /// RAM that applying takes, in bytes.
    state_bytes: u32,
    new_digest: String,
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::Make { old, new, patch, reading } => {
            only_one_pipe(&[&old, &new])?;
            make(&old, &new, &patch, reading, output)
        }
        Command::Apply { old, patch, new, reading } => {
            only_one_pipe(&[&old, &patch])?;
            let base = read_image(&old, reading)?;
            let target = apply(&old, &base, &patch, &read_patch(&patch)?)?;
            file::write_output(&new, &target, Access::Public)?;
            if !file::is_pipe(&new) {
                let applied = Applied { size: target.len(), digest: hex::encode(Sha256::digest(&target)) };
                output.print(&applied, |applied| {
                    format!("{} to {}\nSHA-256 {}", bytes(applied.size as u64), new.display(), applied.digest)
                });
            }
            Ok(())
        }
        Command::Show { patch } => {
            let content = read_patch(&patch)?;
            let (header, _) = header(&patch, &content)?;
            output.print(&Shown::new(&header, content.len()), Shown::text);
            Ok(())
        }
    }
}

/// What a patch says of itself.
#[derive(Debug, Serialize)]
struct Shown {
    algorithm: i32,
    patch_size: usize,
    old_size: u32,
    new_size: u32,
    percent: f64,
    /// First bytes of the old image's SHA-256.
    old_digest: String,
    new_digest: String,
    /// RAM that applying takes, in bytes.
    state_bytes: u32,
}

impl Shown {
    fn new(header: &Header, patch_size: usize) -> Self {
        Self {
            algorithm: header.algorithm.0,
            patch_size,
            old_size: header.old.size,
            new_size: header.new.size,
            percent: percent(patch_size, header.new.size as usize),
            old_digest: hex::encode(header.old.digest),
            new_digest: hex::encode(header.new.digest),
            state_bytes: ram_bytes(header.algorithm.0, &[]).unwrap_or_default(),
        }
    }

    fn text(&self) -> String {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let rows = [
            row("for", format!("{}, SHA-256 {}…", bytes(self.old_size.into()), self.old_digest)),
            row("makes", format!("{}, SHA-256 {}…", bytes(self.new_size.into()), self.new_digest)),
            row("device", format!("{} of RAM to apply it", bytes(self.state_bytes.into()))),
        ];
        let size = format!("{}, {:.2} % of what it makes", bytes(self.patch_size as u64), self.percent);
        table(&["patch", &size], &rows)
    }
}

/// What was applied.
#[derive(Debug, Serialize)]
struct Applied {
    size: usize,
    digest: String,
}

fn make(old: &Path, new: &Path, out: &Path, reading: Reading, output: Output) -> Result<(), Failure> {
    let (base, target) = (read_image(old, reading)?, read_image(new, reading)?);
    let patch = {
        let _shown = working("making the patch");
        make::make(&base, &target).map_err(|error| Failure::Usage(error.to_string()))?
    };
    let header = Header { algorithm: patch.algorithm, old: Facts::of(&base), new: Facts::of(&target) };
    let file = header.before(&patch.bytes);
    // A fault of the maker must not reach a device.
    if apply(old, &base, out, &file)? != target {
        return Err(Failure::file(
            out,
            "was not written: the patch does not make the new image; report this",
        ));
    }
    file::write_output(out, &file, Access::Public)?;
    if !file::is_pipe(out) {
        output.print(&Made::of(&patch, file.len(), &base, &target), |made| made.text(out));
    }
    Ok(())
}

impl Made {
    fn of(patch: &Patch, size: usize, base: &[u8], target: &[u8]) -> Self {
        Self {
            patch_size: size,
            old_size: base.len(),
            new_size: target.len(),
            percent: percent(size, target.len()),
            state_bytes: patch.ram,
            new_digest: hex::encode(Sha256::digest(target)),
        }
    }

    fn text(&self, out: &Path) -> String {
        format!(
            "{} to {}: {:.2} % of the new image's {}\nA device needs {} of RAM to apply it.",
            bytes(self.patch_size as u64),
            out.display(),
            self.percent,
            bytes(self.new_size as u64),
            bytes(self.state_bytes.into())
        )
    }
}

/// Share of a patch in an image; of an empty image 0, as there is nothing to compare.
#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn percent(patch: usize, image: usize) -> f64 {
    if image == 0 { 0.0 } else { patch as f64 * 100.0 / image as f64 }
}

/// Applies a patch in memory.
fn apply(old: &Path, base: &[u8], file: &Path, content: &[u8]) -> Result<Vec<u8>, Failure> {
    let (header, patch) = header(file, content)?;
    check_base(old, base, header.old)?;
    let patcher = Patcher::new(header.algorithm.0, header.old.size, header.new.size, &[]);
    let mut patcher = Box::new(patcher.map_err(|error| refused(file, error))?);
    let mut target = Vec::with_capacity(header.new.size as usize);
    let fault = |error: ApplyError<OutsideSlice, OutsideSlice>| match error {
        ApplyError::Patch(error) => refused(file, error),
        ApplyError::Base(error) | ApplyError::Sink(error) => Failure::file(old, error),
    };
    let shown = Going(bar(header.new.size));
    for piece in patch.chunks(PIECE_BYTES) {
        patcher.push(piece, &mut &*base, &mut target).map_err(fault)?;
        shown.0.set_position(patcher.produced().into());
    }
    patcher.finish(&mut &*base, &mut target).map_err(fault)?;
    if Facts::of(&target) != header.new {
        return Err(refused(file, "what it makes is not the image that it is for"));
    }
    Ok(target)
}

/// Reads the header of a patch; its sizes are none that no image has.
fn header<'a>(file: &Path, content: &'a [u8]) -> Result<(Header, &'a [u8]), Failure> {
    let (header, patch) = Header::parse(content).map_err(|error| refused(file, error))?;
    if header.old.size.max(header.new.size) as usize > IMAGE_BYTES_MAX {
        return Err(refused(file, "it is for larger images than there are"));
    }
    Ok((header, patch))
}

/// Says what is wrong with a base, before anything is made of it.
fn check_base(path: &Path, base: &[u8], wanted: Facts) -> Result<(), Failure> {
    let have = Facts::of(base);
    if have == wanted {
        return Ok(());
    }
    let (one, other) = (hex::encode(have.digest), hex::encode(wanted.digest));
    Err(Failure::file(
        path,
        format!(
            "is not the image that the patch is for: it has {} and SHA-256 {one}…, the patch is for {} and {other}…\n\
             Take the image that the device runs, or the patch that starts from this one",
            bytes(have.size.into()),
            bytes(wanted.size.into())
        ),
    ))
}

/// Says what can be done about a patch.
fn refused(path: &Path, reason: impl std::fmt::Display) -> Failure {
    let advice = "if it is a patch, it was cut or altered on its way: fetch it again, or make it anew";
    Failure::file(path, format!("{reason}; {advice}"))
}

fn read_image(path: &Path, reading: Reading) -> Result<Vec<u8>, Failure> {
    Ok(reading.read(path, IMAGE_BYTES_MAX as u64)?.bytes)
}

fn read_patch(path: &Path) -> Result<Vec<u8>, Failure> {
    file::read_at_most(path, PATCH_BYTES_MAX)
}

fn only_one_pipe(paths: &[&Path]) -> Result<(), Failure> {
    if paths.iter().filter(|path| file::is_pipe(path)).count() > 1 {
        return Err(Failure::Usage("only one file can come from standard input; name the other".to_owned()));
    }
    Ok(())
}

/// Shows that something goes on, on a terminal's standard error.
fn working(what: &'static str) -> Going {
    let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg}, {elapsed}")).with_message(what);
    bar.enable_steady_tick(TICK);
    Going(bar)
}

/// Something shown until it is dropped.
struct Going(ProgressBar);

impl Drop for Going {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn bar(size: u32) -> ProgressBar {
    ProgressBar::new(size.into()).with_style(style("applying {bar:30} {bytes} of {total_bytes}"))
}

fn style(template: &str) -> ProgressStyle {
    // The templates are those above; one that does not parse would show the default.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// As much as shows progress often enough.
const PIECE_BYTES: usize = 1024;
/// A patch of the largest image that compresses not at all, and some.
const PATCH_BYTES_MAX: u64 = IMAGE_BYTES_MAX as u64 + (1 << 20);
const TICK: Duration = Duration::from_millis(100);
