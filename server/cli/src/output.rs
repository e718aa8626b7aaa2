//! Prints for people as tables, for scripts as JSON.

use serde::Serialize;

/// How answers are printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Output {
    /// Tables and sentences.
    Text,
    /// One JSON value.
    Json,
}

impl Output {
    /// Prints a value: as JSON, or as the text made of it.
    #[expect(clippy::print_stdout, reason = "printing is what this command is for")]
    pub(crate) fn print<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) {
        match self {
            Self::Text => println!("{}", text(value)),
            Self::Json => match serde_json::to_string_pretty(value) {
                Ok(json) => println!("{json}"),
                Err(error) => eprintln!("{error}"),
            },
        }
    }
}

/// Lays rows out in columns as wide as their widest cell, header first.
#[must_use]
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &&Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The first 12 digits of a digest: enough to tell them apart by eye.
#[must_use]
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

/// A byte count with separators: `118,968 B`.
#[must_use]
pub(crate) fn bytes(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    format!("{} B", groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["lamp-1".to_owned(), "x".to_owned()], vec!["m".to_owned(), "yy".to_owned()]];
        assert_eq!(table(&["name", "v"], &rows), "name    v\nlamp-1  x\nm       yy");
    }

    #[test]
    fn byte_counts_are_grouped_by_three() {
        assert_eq!([bytes(7), bytes(1_234), bytes(118_968)], ["7 B", "1,234 B", "118,968 B"]);
    }
}
