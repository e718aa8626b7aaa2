//! What a patch says of itself, and where its bytes went.

use std::path::Path;

use bellwether_delta::make::{Explanation, explain};
use bellwether_delta::{Layout, Outline, Subject};
use serde::Serialize;

use super::{architecture_name, base_of, outline, percent, refused};
use crate::failure::Failure;
use crate::output::{bytes, table};

/// A patch, for people and scripts.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    format: u8,
    profile_bytes: u32,
    architecture: &'static str,
    patch_size: usize,
    old_size: u32,
    new_size: u32,
    percent: f64,
    /// SHA-256 of the old image, as far as the patch has it.
    old_digest: String,
    new_digest: String,
    /// Where both images share a slot: its pages.
    in_place: Option<InPlace>,
    /// Where the bytes went; only where the base was there.
    bytes: Option<Vec<Spent>>,
    decisions: Option<u64>,
}

/// The pages of a device with one slot.
#[derive(Debug, Serialize)]
struct InPlace {
    page_bytes: u32,
    spare_pages: u32,
    /// Pages that are made together where the new image is made from its end on.
    block_pages: Option<u32>,
    /// Whether the patch says itself in which sequence the pages are made.
    is_told: bool,
}

impl From<Layout> for InPlace {
    fn from(layout: Layout) -> Self {
        Self {
            page_bytes: layout.page_bytes(),
            spare_pages: layout.spare_pages(),
            block_pages: layout.descends(),
            is_told: layout.is_told(),
        }
    }
}

impl InPlace {
    fn text(&self) -> String {
        let (pages, page) = (self.spare_pages, bytes(self.page_bytes.into()));
        let order = match self.block_pages {
            None if self.is_told => "in a sequence of pages that it tells".to_owned(),
            None => "from its start on".to_owned(),
            Some(pages) => format!("from its end on, {pages} pages at a time"),
        };
        format!("one slot and {pages} spare pages of {page}; written {order}")
    }
}

/// Bytes that something took.
#[derive(Debug, Serialize)]
struct Spent {
    on: &'static str,
    bytes: f64,
}

/// Counts what each part of a patch took.
pub(super) fn explained(
    base_path: &Path,
    base: &[u8],
    file: &Path,
    patch: &[u8],
) -> Result<Explanation, Failure> {
    let base = base_of(base_path, base, &outline(file, patch)?)?;
    explain(base, patch).map_err(|error| refused(file, error))
}

impl Shown {
    pub(super) fn new(outline: &Outline, patch_size: usize, explanation: Option<Explanation>) -> Self {
        Self {
            format: outline.version,
            profile_bytes: outline.profile.bytes(),
            architecture: architecture_name(outline.architecture),
            patch_size,
            old_size: outline.base_size,
            new_size: outline.target_size,
            percent: percent(patch_size, outline.target_size as usize),
            old_digest: hex::encode(outline.base_digest.bytes()),
            new_digest: hex::encode(outline.target_digest.bytes()),
            in_place: outline.layout.map(InPlace::from),
            bytes: explanation.map(|explanation| spent(&explanation)),
            decisions: explanation.map(|explanation| explanation.decisions),
        }
    }

    pub(super) fn text(&self) -> String {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            row("for", format!("{}, SHA-256 {}", bytes(self.old_size.into()), self.old_digest)),
            row("makes", format!("{}, SHA-256 {}", bytes(self.new_size.into()), self.new_digest)),
            row("code", self.architecture.to_owned()),
            row("device", format!("{} of RAM to apply it", bytes(self.profile_bytes.into()))),
        ];
        rows.extend(self.in_place.as_ref().map(|in_place| row("in place", in_place.text())));
        let size = format!("{}, {:.2} % of what it makes", bytes(self.patch_size as u64), self.percent);
        let head = table(&["patch", &size], &rows);
        let Some(spent) = &self.bytes else {
            return format!("{head}\n\nWhere the bytes went: add --base OLD");
        };
        let share = |one: &Spent| {
            let share = if self.patch_size == 0 { 0.0 } else { one.bytes * 100.0 / whole(self.patch_size) };
            vec![one.on.to_owned(), format!("{:>9.1}", one.bytes), format!("{share:>5.1} %")]
        };
        let rows: Vec<_> = spent.iter().map(share).collect();
        format!("{head}\n\n{}", table(&["SPENT ON", "BYTES", "SHARE"], &rows))
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn whole(size: usize) -> f64 {
    size as f64
}

fn spent(explanation: &Explanation) -> Vec<Spent> {
    let header = Spent { on: "header", bytes: whole(explanation.header) };
    let subjects = SUBJECTS
        .iter()
        .zip(explanation.spent)
        .map(|(&subject, bytes)| Spent { on: name(subject), bytes: bytes.into() });
    std::iter::once(header).chain(subjects).collect()
}

/// In the order in which [`Explanation::spent`] has them.
const SUBJECTS: [Subject; 7] = [
    Subject::Flow,
    Subject::Seek,
    Subject::Field,
    Subject::Target,
    Subject::Hit,
    Subject::Difference,
    Subject::Literal,
];

const fn name(subject: Subject) -> &'static str {
    match subject {
        Subject::Flow => "starts and ends of copies",
        Subject::Seek => "places of copies",
        Subject::Field => "fields as expected or not",
        Subject::Target => "fields with new targets",
        Subject::Hit => "bytes as before or not",
        Subject::Difference => "bytes that differ",
        Subject::Literal => "bytes that are new",
    }
}
