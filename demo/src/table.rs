//! Lays text out in columns; long cells are broken at spaces.

/// A column's head and the width at which its cells are broken.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its head.
    pub head: &'static str,
    /// Characters in a line; a longer word stays whole.
    pub width: usize,
}

/// Renders rows under their heads, two spaces between columns. A newline in a cell begins a line of it.
#[must_use]
pub fn render<const N: usize>(columns: [Column; N], rows: &[[String; N]]) -> String {
    let head = columns.map(|column| vec![column.head.to_owned()]);
    let broken = rows.iter().map(|row| {
        let mut column = columns.iter();
        row.each_ref().map(|cell| column.next().map_or_else(Vec::new, |column| lines(cell, column.width)))
    });
    let all: Vec<[Vec<String>; N]> = std::iter::once(head).chain(broken).collect();
    let longest = |cell: &[String]| cell.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let widths: [usize; N] =
        std::array::from_fn(|column| all.iter().map(|row| longest(&row[column])).max().unwrap_or(0));
    all.iter().map(|row| render_row(row, &widths)).collect::<Vec<_>>().join("\n")
}

fn render_row<const N: usize>(row: &[Vec<String>; N], widths: &[usize; N]) -> String {
    let height = row.iter().map(Vec::len).max().unwrap_or(0);
    let line = |n: usize| {
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let text = cell.get(n).map_or("", String::as_str);
            format!("{text:<width$}")
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

/// Breaks a cell at its newlines, and lines longer than `width` at spaces.
fn lines(cell: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in cell.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 2] = [Column { head: "DEVICE", width: 10 }, Column { head: "WHY", width: 9 }];

    #[test]
    fn long_cells_are_broken_at_spaces_and_short_ones_leave_room() {
        let rows = [["lamp-1".to_owned(), "it is one of two".to_owned()], ["m".to_owned(), "-".to_owned()]];
        let expected = "DEVICE  WHY\nlamp-1  it is one\n        of two\nm       -";
        assert_eq!(render(COLUMNS, &rows), expected);
    }

    #[test]
    fn newline_begins_a_line_of_the_cell() {
        let rows = [["a\nb".to_owned(), "c".to_owned()]];
        assert_eq!(render(COLUMNS, &rows), "DEVICE  WHY\na       c\nb");
    }

    #[test]
    fn word_longer_than_its_column_stays_whole() {
        let rows = [["a".to_owned(), "0123456789abcdef".to_owned()]];
        assert!(render(COLUMNS, &rows).ends_with("0123456789abcdef"));
    }
}
