//! What the board's programs may cost.

use std::fmt::Write;

/// A figure with its bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// How much, in bytes.
    pub measured: u64,
    /// How much it may be; more is an error.
    pub budget: Option<u64>,
    /// How much it shall be one day.
    pub goal: Option<u64>,
}

/// Sets figures as a table.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<34}{:>10}{:>10}{:>10}\n", "bytes", "measured", "budget", "goal");
    for row in rows {
        let bound = |bound: Option<u64>| bound.map(with_commas).unwrap_or_default();
        let (budget, goal) = (bound(row.budget), bound(row.goal));
        let missed = if row.goal.is_some_and(|goal| row.measured > goal) { "  missed" } else { "" };
        // Writing to a String does not fail.
        let _ =
            writeln!(text, "{:<34}{:>10}{budget:>10}{goal:>10}{missed}", row.name, with_commas(row.measured));
    }
    text
}

/// Names the figures that are over their budget.
pub fn over(rows: &[Row]) -> Vec<&'static str> {
    let is_over = |row: &&Row| row.budget.is_some_and(|budget| row.measured > budget);
    rows.iter().filter(is_over).map(|row| row.name).collect()
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let comma = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    let digit = |(at, digit)| if comma(at) { vec![',', digit] } else { vec![digit] };
    digits.chars().enumerate().flat_map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_comma_before_every_third_digit_from_the_end() {
        let texts = [1, 12, 123, 1234, 123_456, 1_234_567].map(with_commas);
        assert_eq!(texts, ["1", "12", "123", "1,234", "123,456", "1,234,567"]);
    }

    #[test]
    fn figure_over_its_budget_is_named_and_one_over_its_goal_is_marked() {
        let row = |name, measured| Row { name, measured, budget: Some(10), goal: Some(5) };
        let rows = [row("small", 5), row("middle", 10), row("large", 11)];
        assert_eq!(over(&rows), ["large"]);
        let text = table(&rows);
        let missed: Vec<bool> = text.lines().skip(1).map(|line| line.ends_with("missed")).collect();
        assert_eq!(missed, [false, true, true]);
    }
}
