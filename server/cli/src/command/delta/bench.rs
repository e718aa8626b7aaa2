//! What patches take: every profile and mode, side by side.

use std::path::{Path, PathBuf};

use bellwether_delta::make::{Options, make_with};
use bellwether_delta::{Layout, Profile};
use clap::Args;
use serde::Serialize;

use super::{apply, read_image, working};
use crate::failure::Failure;
use crate::file;
use crate::image_file::Reading;
use crate::output::{Output, bytes, table};
use crate::system::Stopwatch;

/// What is measured.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Two images; or a folder with a pairs.tsv, whose columns `pair`, `old` and `new` name pairs and files in it
    #[arg(value_name = "OLD NEW | FOLDER", num_args = 1..=2, required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
}

/// One patch.
#[derive(Debug, Serialize)]
struct Row {
    pair: String,
    mode: &'static str,
    patch_size: usize,
    new_size: usize,
    percent: f64,
    make_s: f64,
    apply_s: f64,
    state_bytes: u32,
}

/// All patches, and the geometric mean of the shares by mode.
#[derive(Debug, Serialize)]
struct Measured {
    rows: Vec<Row>,
    means: Vec<Mean>,
}

#[derive(Debug, Serialize)]
struct Mean {
    mode: &'static str,
    pairs: usize,
    percent: f64,
}

/// Profiles and modes by name; pages of 4 KiB.
const MODES: [(&str, Profile, u8); 5] = [
    ("4 KiB", Profile::Kib4, 0),
    ("8 KiB", Profile::Kib8, 0),
    ("16 KiB", Profile::Kib16, 0),
    ("8 KiB, in place, 4 pages", Profile::Kib8, 4),
    ("8 KiB, in place, 16 pages", Profile::Kib8, 16),
];
const PAGE_BYTES: u32 = 4096;

pub(super) fn run(bench: &Bench, output: Output) -> Result<(), Failure> {
    let pairs = match bench.images.as_slice() {
        [folder] => listed(folder)?,
        [old, new] => vec![(new.display().to_string(), old.clone(), new.clone())],
        _ => Vec::new(),
    };
    let mut rows = Vec::new();
    {
        let _shown = working("making and applying patches");
        for (pair, old, new) in &pairs {
            let [base, target] = [old, new].map(|path| read_image(path, bench.reading));
            let (base, target) = (base?, target?);
            for mode in MODES {
                rows.push(measured(pair, (old, new), (&base, &target), mode)?);
            }
        }
    }
    let means = MODES.iter().filter_map(|(mode, ..)| mean(mode, &rows)).collect();
    output.print(&Measured { rows, means }, Measured::text);
    Ok(())
}

fn measured(
    pair: &str,
    (old, new): (&Path, &Path),
    (base, target): (&[u8], &[u8]),
    (mode, profile, pages): (&'static str, Profile, u8),
) -> Result<Row, Failure> {
    let options = Options { profile, in_place: Layout::new(PAGE_BYTES, pages), ..Options::default() };
    let watch = Stopwatch::started();
    let patch = make_with(base, target, options).map_err(|error| Failure::Usage(error.to_string()))?;
    let make_s = watch.seconds();
    let watch = Stopwatch::started();
    if apply(old, base, new, &patch.bytes)? != target {
        return Err(Failure::file(new, "does not come of its patch; report this"));
    }
    Ok(Row {
        pair: pair.to_owned(),
        mode,
        patch_size: patch.bytes.len(),
        new_size: target.len(),
        percent: super::percent(patch.bytes.len(), target.len()),
        make_s,
        apply_s: watch.seconds(),
        state_bytes: patch.ram,
    })
}

/// Reads the pairs of a folder.
fn listed(folder: &Path) -> Result<Vec<(String, PathBuf, PathBuf)>, Failure> {
    let path = folder.join("pairs.tsv");
    let text = String::from_utf8(file::read_at_most(&path, LIST_BYTES_MAX)?)
        .map_err(|error| Failure::file(&path, error))?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |name: &str| {
        let missing =
            || Failure::file(&path, format!("has no column {name}; its first line names the columns"));
        header.iter().position(|column| *column == name).ok_or_else(missing)
    };
    let (pair, old, new) = (column("pair")?, column("old")?, column("new")?);
    let rows = lines.filter(|line| !line.is_empty()).map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
        (cell(pair).to_owned(), folder.join(cell(old)), folder.join(cell(new)))
    });
    Ok(rows.collect())
}

/// A list of some thousand pairs.
const LIST_BYTES_MAX: u64 = 1 << 20;

/// Geometric mean of a mode's shares; `None` where an image is empty, or there is none.
fn mean(mode: &'static str, rows: &[Row]) -> Option<Mean> {
    let shares: Vec<f64> = rows.iter().filter(|row| row.mode == mode).map(|row| row.percent).collect();
    let pairs = shares.len();
    #[expect(clippy::cast_precision_loss, reason = "pairs are some thousand at the most")]
    let percent = (shares.iter().map(|share| share.ln()).sum::<f64>() / pairs as f64).exp();
    percent.is_finite().then_some(Mean { mode, pairs, percent })
}

impl Measured {
    fn text(&self) -> String {
        let row = |row: &Row| {
            vec![
                row.pair.clone(),
                row.mode.to_owned(),
                bytes(row.patch_size as u64),
                format!("{:.3} %", row.percent),
                format!("{:.2} s", row.make_s),
                format!("{:.3} s", row.apply_s),
                bytes(row.state_bytes.into()),
            ]
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        let table = table(&["PAIR", "MODE", "PATCH", "OF NEW", "MAKE", "APPLY", "STATE"], &rows);
        let mean =
            |mean: &Mean| format!("geometric mean, {}: {:.3} % of {}", mean.mode, mean.percent, mean.pairs);
        std::iter::once(table).chain(self.means.iter().map(mean)).collect::<Vec<_>>().join("\n")
    }
}
