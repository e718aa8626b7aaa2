//! `bellwether delta`: patches between two images, made, applied and looked into offline.

mod bench;
mod merge;
mod show;

use std::convert::Infallible;
use std::num::NonZeroU8;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bellwether_delta::format::WORDS_16;
use bellwether_delta::make::{Options, Patch, SimulatedSlot, Watch, make_watched};
use bellwether_delta::{
    Algorithm, ApplyError, Architecture, Layout, Outline, OutsideSlice, PatchError, PatcherOf, Profile,
};
use bellwether_images::IMAGE_BYTES_MAX;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::file::{self, Access};
use crate::image_file::Reading;
use crate::output::{Output, bytes};

/// Deltas.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes the patch that turns one image into another
    ///
    /// The same images always give the same patch. It takes about two seconds for a MiB, and twenty times the image's
    /// size in memory. A device applies it with the RAM of the profile, whatever the images' sizes.
    ///
    ///   bellwether delta make lamp-1.0.bin lamp-1.1.bin lamp.patch
    ///   bellwether delta make --profile 16 lamp-1.0.hex lamp-1.1.hex lamp.patch
    ///   bellwether delta make --in-place 4 lamp-1.0.bin lamp-1.1.bin lamp.patch
    #[command(verbatim_doc_comment)]
    Make {
        #[command(flatten)]
        making: Making,
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
    /// a patch that was cut or altered. OLD may go on after the image, as a copy of a whole slot does.
    ///
    ///   bellwether delta apply lamp-1.0.bin lamp.patch lamp-1.1.bin
    ///   bellwether delta apply --dry-run lamp-1.0.bin lamp.patch
    #[command(verbatim_doc_comment)]
    Apply {
        /// What the device runs; - for standard input
        old: PathBuf,
        /// From `delta make`; - for standard input
        patch: PathBuf,
        /// Where the image goes; - for standard output
        #[arg(required_unless_present = "dry_run")]
        new: Option<PathBuf>,
        /// Write nothing: say what the patch makes of the image, and whether that is what it should
        #[arg(long, conflicts_with = "new")]
        dry_run: bool,
        #[command(flatten)]
        reading: Reading,
    },
    /// Shows what a patch is for; with --base, where its bytes went
    ///
    ///   bellwether delta show lamp.patch --base lamp-1.0.bin
    #[command(verbatim_doc_comment)]
    Show {
        /// From `delta make`; - for standard input
        patch: PathBuf,
        /// The image that it is for; - for standard input
        #[arg(long, value_name = "OLD")]
        base: Option<PathBuf>,
        #[command(flatten)]
        reading: Reading,
    },
    /// Merges patches that follow each other into one, without the images between them
    ///
    /// With the image that the first patch starts from, the patch from there to the last image is made: it is never
    /// larger than one that is made of both images. With --change, or where no image is given, what is written is the
    /// change itself: a file that says where each byte comes from and how it differs. Changes are merged without any
    /// image; keep one per release instead of the images.
    ///
    ///   bellwether delta merge --images lamp-1.0.bin 1.0-1.1.patch 1.1-1.2.patch 1.0-1.2.patch
    ///   bellwether delta merge --images lamp-1.0.bin --change 1.0-1.1.patch 1.0-1.1.change
    ///   bellwether delta merge 1.0-1.1.change 1.1-1.2.change 1.0-1.2.change
    #[command(verbatim_doc_comment)]
    Merge(merge::Merge),
    /// Makes and applies patches of every profile and mode, and prints what they take
    ///
    ///   bellwether delta bench lamp-1.0.bin lamp-1.1.bin
    ///   bellwether delta bench firmware/
    #[command(verbatim_doc_comment)]
    Bench(bench::Bench),
}

/// How a patch is made.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Making {
    /// RAM that the device has for applying, in KiB: more makes smaller patches
    #[arg(long, value_enum, value_name = "KIB", default_value = "8")]
    profile: Kib,
    /// What the code is made for, where that is known better than by its bytes; a wrong one costs bytes only
    #[arg(long, value_enum)]
    architecture: Option<Code>,
    /// Put all 32 bytes of both digests in, not 8: for devices that no signed manifest tells them
    #[arg(long)]
    full_digests: bool,
    /// For a device with one slot: pages of the old image that it can keep aside while the new one takes its place
    #[arg(long, value_name = "PAGES")]
    in_place: Option<NonZeroU8>,
    /// Bytes of a page: what the device erases at a time, or a multiple
    #[arg(long, value_name = "BYTES", default_value = "4096", requires = "in_place")]
    page_size: u32,
}

impl Making {
    fn options(self) -> Result<Options, Failure> {
        Ok(Options {
            profile: self.profile.into(),
            architecture: self.architecture.map(Architecture::from),
            full_digests: self.full_digests,
            in_place: self.in_place.map(|pages| layout(self.page_size, pages)).transpose()?,
        })
    }
}

/// RAM of a device, in KiB.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kib {
    /// 4 KiB
    #[value(name = "4")]
    Four,
    /// 8 KiB: what a server's patches take
    #[value(name = "8")]
    Eight,
    /// 16 KiB
    #[value(name = "16")]
    Sixteen,
}

/// What an image's code is made for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Code {
    /// None, or none of these
    Plain,
    /// Cortex-M
    Thumb,
    /// AVR
    Avr,
    /// RISC-V, 32 or 64 bits
    Riscv,
    /// ESP32, ESP8266 and kin
    Xtensa,
    /// ARM, 64 bits
    Arm64,
    /// x86, 64 bits
    X86,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    patch_size: usize,
    old_size: usize,
    new_size: usize,
    /// Of the new image's size.
    percent: f64,
    architecture: String,
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
        Command::Make { making, old, new, patch, reading } => {
            only_one_pipe(&[&old, &new])?;
            make(&old, &new, &patch, making.options()?, reading, output)
        }
        Command::Merge(merge) => merge::run(&merge, output),
        Command::Bench(bench) => bench::run(&bench, output),
        Command::Apply { old, patch, new, reading, dry_run: _ } => {
            only_one_pipe(&[&old, &patch])?;
            let base = read_image(&old, reading)?;
            let target = apply(&old, &base, &patch, &read_patch(&patch)?)?;
            if let Some(new) = &new {
                file::write_output(new, &target, Access::Public)?;
            }
            if !new.as_deref().is_some_and(file::is_pipe) {
                let applied = Applied { size: target.len(), digest: hex::encode(Sha256::digest(&target)) };
                let place = new
                    .map_or_else(|| "nowhere, as this was a dry run".into(), |new| new.display().to_string());
                output.print(&applied, |applied| {
                    format!("{} to {place}\nSHA-256 {}", bytes(applied.size as u64), applied.digest)
                });
            }
            Ok(())
        }
        Command::Show { patch, base, reading } => {
            only_one_pipe(
                &[Some(patch.as_path()), base.as_deref()].map(|path| path.unwrap_or(Path::new(""))),
            )?;
            let content = read_patch(&patch)?;
            let outline = outline(&patch, &content)?;
            let explanation = match &base {
                Some(path) => Some(show::explained(path, &read_image(path, reading)?, &patch, &content)?),
                None => None,
            };
            output.print(&show::Shown::new(&outline, content.len(), explanation), show::Shown::text);
            Ok(())
        }
    }
}

/// What was applied.
#[derive(Debug, Serialize)]
struct Applied {
    size: usize,
    digest: String,
}

fn make(
    old: &Path,
    new: &Path,
    out: &Path,
    options: Options,
    reading: Reading,
    output: Output,
) -> Result<(), Failure> {
    let (base, target) = (read_image(old, reading)?, read_image(new, reading)?);
    let patch = {
        let shown = Shown(making_bar());
        let told = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share is between 0 and 1"
            )]
            shown.0.set_position((share * 100.0) as u64);
            ControlFlow::Continue(())
        };
        make_watched(&base, &target, options, &Watch::new(&told))
            .map_err(|error| Failure::Usage(error.to_string()))?
    };
    // A fault of the maker must not reach a device.
    let again = apply(old, &base, out, &patch.bytes)?;
    if again != target {
        return Err(Failure::file(
            out,
            "was not written: the patch does not make the new image; report this",
        ));
    }
    file::write_output(out, &patch.bytes, Access::Public)?;
    if !file::is_pipe(out) {
        output.print(&Made::of(&patch, &base, &target), |made| made.text(out));
    }
    Ok(())
}

impl Made {
    fn of(patch: &Patch, base: &[u8], target: &[u8]) -> Self {
        Self {
            patch_size: patch.bytes.len(),
            old_size: base.len(),
            new_size: target.len(),
            percent: percent(patch.bytes.len(), target.len()),
            architecture: architecture_name(patch.architecture).to_owned(),
            state_bytes: patch.ram,
            new_digest: hex::encode(Sha256::digest(target)),
        }
    }

    fn text(&self, out: &Path) -> String {
        format!(
            "{} to {}: {:.2} % of the new image's {}\nCode: {}. A device needs {} of RAM to apply it.",
            bytes(self.patch_size as u64),
            out.display(),
            self.percent,
            bytes(self.new_size as u64),
            self.architecture,
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
fn apply(old: &Path, base: &[u8], file: &Path, patch: &[u8]) -> Result<Vec<u8>, Failure> {
    let outline = outline(file, patch)?;
    let base = base_of(old, base, &outline)?;
    let malformed = |error: PatchError| refused(file, error);
    let mut patcher = Box::new(
        PatcherOf::<WORDS_16>::new(Algorithm::FIELDS.0, outline.base_size, outline.target_size, &[])
            .map_err(malformed)?,
    );
    if let Some(layout) = outline.layout {
        return apply_in_place(base, patch, (layout, outline.target_size), &mut patcher).map_err(malformed);
    }
    let mut target = Vec::with_capacity(outline.target_size as usize);
    let fault = |error: ApplyError<OutsideSlice, OutsideSlice>| match error {
        ApplyError::Patch(error) => malformed(error),
        ApplyError::Base(error) | ApplyError::Sink(error) => Failure::file(old, error),
    };
    let going = Shown(bar(outline.target_size));
    for piece in patch.chunks(PIECE_BYTES) {
        patcher.push(piece, &mut &*base, &mut target).map_err(fault)?;
        going.0.set_position(patcher.produced().into());
    }
    patcher.finish(&mut &*base, &mut target).map_err(fault)?;
    Ok(target)
}

/// Applies a patch as a device with one slot does.
fn apply_in_place(
    base: &[u8],
    patch: &[u8],
    (layout, size): (Layout, u32),
    patcher: &mut PatcherOf<WORDS_16>,
) -> Result<Vec<u8>, PatchError> {
    let fault = |error: ApplyError<Infallible, Infallible>| match error {
        ApplyError::Patch(error) => error,
        ApplyError::Base(never) | ApplyError::Sink(never) => match never {},
    };
    let mut slot = SimulatedSlot::new(base, size as usize, layout);
    let going = Shown(bar(size));
    for piece in patch.chunks(PIECE_BYTES) {
        patcher.push_in_place(piece, &mut slot).map_err(fault)?;
        going.0.set_position(patcher.produced().into());
    }
    patcher.finish_in_place(&mut slot).map_err(fault)?;
    Ok(slot.image(size as usize).to_vec())
}

/// Pages of a device whose slot both images share.
fn layout(page_size: u32, pages: NonZeroU8) -> Result<Layout, Failure> {
    Layout::new(page_size, pages.get()).ok_or_else(|| {
        Failure::Usage(
            "--page-size is a power of two from 256 to 8388608: what the device erases at a time".to_owned(),
        )
    })
}

/// Reads the header of a patch.
fn outline(file: &Path, patch: &[u8]) -> Result<Outline, Failure> {
    let outline = Outline::parse(patch).map_err(|error| refused(file, error))?;
    for size in [outline.base_size, outline.target_size] {
        if size as usize > IMAGE_BYTES_MAX {
            return Err(refused(file, PatchError::ImageTooLarge { bytes: size }));
        }
    }
    Ok(outline)
}

/// Returns the image that a patch is for, without what stands behind it; says which of two images is the wrong one, before
/// anything is made of it.
fn base_of<'a>(path: &Path, old: &'a [u8], outline: &Outline) -> Result<&'a [u8], Failure> {
    let base = old.get(..outline.base_size as usize).unwrap_or(old);
    let digest = Sha256::digest(base);
    if base.len() == outline.base_size as usize && digest.starts_with(outline.base_digest.bytes()) {
        return Ok(base);
    }
    let wanted = hex::encode(outline.base_digest.bytes());
    let have = &hex::encode(Sha256::digest(old))[..wanted.len()];
    Err(Failure::file(
        path,
        format!(
            "is not the image that the patch is for: it has {} and SHA-256 {have}, the patch is for {} and {wanted}\n\
             Take the image that the device runs, or the patch that starts from this one",
            bytes(old.len() as u64),
            bytes(outline.base_size.into())
        ),
    ))
}

/// Says what can be done about a patch.
fn refused(path: &Path, error: PatchError) -> Failure {
    let advice = match error {
        PatchError::Header => "is it a patch, and from a version of Bellwether that is no newer?",
        PatchError::ImageTooLarge { .. } => "send the full image",
        _ => "it was cut or altered on its way; fetch it again, or make it anew",
    };
    Failure::file(path, format!("{error}; {advice}"))
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
fn working(what: &'static str) -> Shown {
    let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg}, {elapsed}")).with_message(what);
    bar.enable_steady_tick(TICK);
    Shown(bar)
}

/// Something shown until it is dropped.
struct Shown(ProgressBar);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn making_bar() -> ProgressBar {
    let bar = ProgressBar::new(100).with_style(style("making the patch {bar:30} {percent} %, {elapsed}"));
    bar.enable_steady_tick(TICK);
    bar
}

fn bar(size: u32) -> ProgressBar {
    ProgressBar::new(size.into()).with_style(style("applying {bar:30} {bytes} of {total_bytes}"))
}

fn style(template: &str) -> ProgressStyle {
    // The templates are those above; one that does not parse would show the default.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Names an architecture as the command line does.
fn architecture_name(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Plain => "plain",
        Architecture::Thumb => "thumb",
        Architecture::Avr => "avr",
        Architecture::RiscV => "riscv",
        Architecture::Xtensa => "xtensa",
        Architecture::Arm64 => "arm64",
        Architecture::X86 => "x86",
    }
}

impl From<Code> for Architecture {
    fn from(code: Code) -> Self {
        match code {
            Code::Plain => Self::Plain,
            Code::Thumb => Self::Thumb,
            Code::Avr => Self::Avr,
            Code::Riscv => Self::RiscV,
            Code::Xtensa => Self::Xtensa,
            Code::Arm64 => Self::Arm64,
            Code::X86 => Self::X86,
        }
    }
}

impl From<Kib> for Profile {
    fn from(kib: Kib) -> Self {
        match kib {
            Kib::Four => Self::Kib4,
            Kib::Eight => Self::Kib8,
            Kib::Sixteen => Self::Kib16,
        }
    }
}

/// As much as shows progress often enough.
const PIECE_BYTES: usize = 1024;
/// A patch of the largest image that compresses not at all, and some.
const PATCH_BYTES_MAX: u64 = IMAGE_BYTES_MAX as u64 + (1 << 20);
const TICK: Duration = Duration::from_millis(100);
