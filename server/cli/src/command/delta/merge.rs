//! Patches that follow each other, made one.

use std::path::{Path, PathBuf};

use bellwether_delta::make::{MergeError, Symbolic};
use clap::Args;
use serde::Serialize;

use super::{Making, only_one_pipe, read_image, read_patch, refused, working};
use crate::failure::Failure;
use crate::file::{self, Access};
use crate::image_file::Reading;
use crate::output::{Output, bytes};

/// What is merged.
#[derive(Args, Debug)]
pub(crate) struct Merge {
    #[command(flatten)]
    making: Making,
    /// The image that the first patch starts from: wanted where one of the inputs is a patch, or the output shall be
    #[arg(long, value_name = "OLD")]
    images: Option<PathBuf>,
    /// Write the change itself, not a patch
    #[arg(long)]
    change: bool,
    /// Patches or changes, the first one first, then where the result goes
    #[arg(value_name = "PATCH", num_args = 2.., required = true)]
    patches: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

/// What was merged.
#[derive(Debug, Serialize)]
struct Merged {
    inputs: usize,
    /// Whether the output is a change, not a patch.
    is_change: bool,
    size: usize,
    old_digest: String,
    new_digest: String,
}

pub(super) fn run(merge: &Merge, output: Output) -> Result<(), Failure> {
    let Some((out, inputs)) = merge.patches.split_last() else {
        return Err(Failure::Usage("name the patches, then where the result goes".to_owned()));
    };
    let paths: Vec<&Path> = inputs.iter().map(PathBuf::as_path).chain(merge.images.as_deref()).collect();
    only_one_pipe(&paths)?;
    let base = merge.images.as_deref().map(|path| read_image(path, merge.reading)).transpose()?;
    let _shown = working("merging");
    let change = merged(inputs, base.as_deref())?;
    let content = match &base {
        Some(base) if !merge.change => {
            let options = merge.making.options()?;
            change.patch(base, options).map_err(|error| failed(out, error))?.bytes
        }
        _ => change.to_bytes(),
    };
    file::write_output(out, &content, Access::Public)?;
    if !file::is_pipe(out) {
        let [old, new] = change.digests().map(hex::encode);
        let merged = Merged {
            inputs: inputs.len(),
            is_change: merge.change || base.is_none(),
            size: content.len(),
            old_digest: old,
            new_digest: new,
        };
        output.print(&merged, |merged| {
            let what = if merged.is_change { "change" } else { "patch" };
            format!(
                "{} to {}: the {what} of {} in a row",
                bytes(merged.size as u64),
                out.display(),
                merged.inputs
            )
        });
    }
    Ok(())
}

/// Adds all inputs up; each image follows from the one before.
fn merged(inputs: &[PathBuf], base: Option<&[u8]>) -> Result<Symbolic, Failure> {
    let mut sum: Option<Symbolic> = None;
    let mut image = base.map(<[u8]>::to_vec);
    for path in inputs {
        let content = read_patch(path)?;
        let change = if Symbolic::is_one(&content) {
            let change = Symbolic::from_bytes(&content).map_err(|error| failed(path, error))?;
            image = match image {
                Some(image) => Some(change.target(&image).map_err(|error| failed(path, error.into()))?),
                None => None,
            };
            change
        } else {
            let Some(old) = &image else {
                return Err(Failure::file(
                    path,
                    "is a patch, which says nothing without its image; give --images OLD, the one that the first patch starts from",
                ));
            };
            let (change, new) = Symbolic::of(old, &content).map_err(|error| failed(path, error.into()))?;
            image = Some(new);
            change
        };
        sum = Some(match sum {
            None => change,
            Some(sum) => sum.then(&change).map_err(|error| failed(path, error))?,
        });
    }
    sum.ok_or_else(|| Failure::Usage("name at least one patch".to_owned()))
}

fn failed(path: &Path, error: MergeError) -> Failure {
    match error {
        MergeError::Patch(error) => refused(path, error),
        error => Failure::file(path, error),
    }
}
