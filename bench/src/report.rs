//! Prints what was measured: text as it comes, or one JSON document at the end.

use serde::Serialize;
use serde_json::Value;

use crate::Failure;
use crate::figure::{Figure, Spread, Table, Taken};
use crate::machine::{self, Machine};

/// All that was measured in one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    load_average_after: String,
    figures: Vec<Figure>,
    tables: Vec<Table>,
    notes: Vec<String>,
    #[serde(skip)]
    json: bool,
}

impl Report {
    /// Begins a report with the machine's facts.
    pub(crate) fn begin(machine: Machine, json: bool) -> Self {
        if !json {
            let Machine { cpu, cpus, kernel, rustc, sources, load_average_before } = &machine;
            println!("machine  {cpu}, {cpus} CPUs; Linux {kernel}");
            println!("sources  {sources}; {rustc}; release build");
            println!("load     {load_average_before} over 1, 5 and 15 minutes");
            println!("read as  median [min-max]; a ratio is ours by the peer's, round by round\n");
        }
        let (figures, tables, notes) = (Vec::new(), Vec::new(), Vec::new());
        Self { machine, load_average_after: String::new(), figures, tables, notes, json }
    }

    /// Takes the results of one measurement.
    pub(crate) fn take(&mut self, taken: Taken) {
        if !self.json {
            taken.figures.iter().for_each(print_figure);
            taken.tables.iter().for_each(print_table);
            taken.notes.iter().for_each(|note| println!("note: {note}"));
            println!();
        }
        self.figures.extend(taken.figures);
        self.tables.extend(taken.tables);
        self.notes.extend(taken.notes);
    }

    /// Ends the report.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.load_average_after = machine::load_average();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&self)?);
        } else {
            println!("load     {} at the end", self.load_average_after);
        }
        Ok(())
    }
}

fn print_figure(figure: &Figure) {
    let Figure { name, unit, layer, engine, spread, peer, .. } = figure;
    println!("{name}");
    println!("  ours   {} {unit}, n = {}", text(spread), spread.n);
    println!("         {engine}; {layer}");
    if let Some(peer) = peer {
        println!("  peer   {} {unit}", text(&peer.spread));
        println!("         {}", peer.engine);
        println!("  ratio  {}", text(&peer.ratio));
    }
}

fn print_table(table: &Table) {
    println!("{}  ({}; {})", table.name, table.engine, table.layer);
    let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let width = |column: usize| {
        let longest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        longest.unwrap_or(0).max(table.columns[column].chars().count())
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("  {}", padded.collect::<Vec<_>>().join("  "));
    };
    line(table.columns.clone());
    for row in &rows {
        line(row.iter().map(String::as_str).collect());
    }
}

fn text(Spread { median, min, max, .. }: &Spread) -> String {
    format!("{} [{}-{}]", number(*median), number(*min), number(*max))
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(exact) if exact.is_f64() => number(exact.as_f64().unwrap_or_default()),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Writes three significant digits, or the whole number where that is longer.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        assert_eq!([1234.5, 61.62, 7.346, 0.0614].map(number), ["1234", "61.6", "7.35", "0.061"]);
    }

    #[test]
    fn report_is_one_json_document_with_the_machine_and_all_figures() {
        let mut report = Report::begin(Machine::read(), true);
        let figure = Figure::new("name", "unit", "layer", "engine", &[1.0]).expect("a sample");
        let figure = figure.beside("peer", &[1.0], &[2.0]).expect("a sample");
        report.take(Taken { figures: vec![figure], ..Taken::default() });
        let json = serde_json::to_value(&report).expect("serialised");
        assert_eq!(json["figures"][0]["median"], 1.0);
        assert_eq!(json["figures"][0]["peer"]["ratio"]["n"], 1);
        assert!(json["machine"]["kernel"].is_string());
    }
}
