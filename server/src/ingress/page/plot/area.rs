//! Counts over time, stacked: steps, since between two counts nothing is known.

use std::fmt::Write;

/// A plot of [`WIDTH`] by [`HEIGHT`] units.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Area {
    /// Bands from the bottom up.
    pub(in super::super) bands: Vec<Band>,
    /// Lines across, with what they stand for.
    pub(in super::super) lines: Vec<Tick>,
    /// Marks below, with what they stand for.
    pub(in super::super) times: Vec<Tick>,
}

/// One band.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Band {
    /// Name of its colour in the style sheet.
    pub(in super::super) colour: &'static str,
    /// What it stands for.
    pub(in super::super) name: String,
    /// How many there are at the end.
    pub(in super::super) last: u64,
    /// Its outline as a path of SVG.
    pub(in super::super) path: String,
}

/// A mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Tick {
    /// Where, in units from the left or from the top.
    pub(in super::super) at: f64,
    /// What it stands for.
    pub(in super::super) text: String,
}

/// Counts of one kind over time.
#[derive(Clone, Debug)]
pub(in super::super) struct Series {
    /// Name of its colour in the style sheet.
    pub(in super::super) colour: &'static str,
    /// What it stands for.
    pub(in super::super) name: String,
    /// By how much it changes after which hour, ordered by hour; what comes before the first hour of the plot counts too.
    pub(in super::super) changes: Vec<(u64, i64)>,
}

impl Area {
    /// Draws series, the lowest first, over the hours from one to another, both counted from 1970. `time` names an hour
    /// for the axis.
    pub(in super::super) fn new(
        series: &[Series],
        (from, until): (u64, u64),
        time: impl Fn(u64) -> String,
    ) -> Self {
        let hours = until.saturating_sub(from).max(1);
        let step = hours.div_ceil(STEPS_MAX).max(1);
        let steps = hours.div_ceil(step);
        let mut floor: Vec<u64> = (0..steps).map(|_| 0).collect();
        let stacked: Vec<_> = series
            .iter()
            .map(|one| {
                let counts = counted(&one.changes, from, step, steps);
                let ceiling = floor.iter().zip(&counts).map(|(below, count)| below + count).collect();
                let below = std::mem::replace(&mut floor, ceiling);
                (one, counts, below, floor.clone())
            })
            .collect();
        let (top, unit) = scale(floor.iter().copied().max().unwrap_or(0));
        let y = |count: u64| HEIGHT - HEIGHT * units(count) / units(top);
        let x = |at: u64| WIDTH * units(at) / units(steps);
        let mut bands = Vec::new();
        for (one, counts, below, ceiling) in &stacked {
            if counts.iter().any(|count| *count > 0) {
                bands.push(Band {
                    colour: one.colour,
                    name: one.name.clone(),
                    last: counts.last().copied().unwrap_or(0),
                    path: outline(below, ceiling, x, y),
                });
            }
        }
        let line = |count| Tick { at: y(count), text: short(count) };
        let marks = MARKS.min(hours);
        let mark =
            |nth: u64| Tick { at: WIDTH * units(nth) / units(marks), text: time(from + hours * nth / marks) };
        Self {
            bands,
            lines: (0..=top / unit).map(|nth| line(nth * unit)).collect(),
            times: (0..=marks).map(mark).collect(),
        }
    }
}

/// The counts at the end of each step.
fn counted(changes: &[(u64, i64)], from: u64, step: u64, steps: u64) -> Vec<u64> {
    let mut left = changes.iter().peekable();
    let mut count = 0_i64;
    (1..=steps)
        .map(|nth| {
            let end = from + nth * step;
            while let Some((_, change)) = left.next_if(|(hour, _)| *hour < end) {
                count += change;
            }
            u64::try_from(count).unwrap_or(0)
        })
        .collect()
}

/// A round number above all counts, and the distance of the lines up to it.
fn scale(most: u64) -> (u64, u64) {
    let mut ten = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let unit = ten.saturating_mul(factor);
            let lines = most.div_ceil(unit).max(1);
            if lines <= LINES_MAX {
                return (lines.saturating_mul(unit), unit);
            }
        }
        ten = ten.saturating_mul(10);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a plot is a few hundred units wide; counts beyond 2^53 are nobody's"
)]
fn units(number: u64) -> f64 {
    number as f64
}

/// The steps along the top from left to right, and along the bottom back.
fn outline(floor: &[u64], ceiling: &[u64], x: impl Fn(u64) -> f64, y: impl Fn(u64) -> f64) -> String {
    let mut path = format!("M0 {:.1}", y(floor.first().copied().unwrap_or(0)));
    let mut draw = |to: u64, count: u64| {
        // Writing into a text does not fail.
        let _ = write!(path, "V{:.1}H{:.1}", y(count), x(to));
    };
    for (to, count) in (1..).zip(ceiling) {
        draw(to, *count);
    }
    let back: Vec<_> = (0..).zip(floor).collect();
    for (to, count) in back.into_iter().rev() {
        draw(to, *count);
    }
    path.push('Z');
    path
}

/// Writes a count for an axis.
fn short(count: u64) -> String {
    match count {
        1_000_000.. => tenths(count, 1_000_000, "M"),
        1_000.. => tenths(count, 1_000, "k"),
        _ => count.to_string(),
    }
}

fn tenths(count: u64, unit: u64, name: &str) -> String {
    match (count / unit, count % unit * 10 / unit) {
        (whole, 0) => format!("{whole}{name}"),
        (whole, tenth) => format!("{whole}.{tenth}{name}"),
    }
}

/// Units of a plot from left to right.
pub(in super::super) const WIDTH: f64 = 720.0;

/// Units of a plot from top to bottom.
pub(in super::super) const HEIGHT: f64 = 168.0;

/// Steps of a plot: one is six units wide, and what is narrower nobody sees.
const STEPS_MAX: u64 = 120;

/// Lines across a plot, but for the bottom one.
const LINES_MAX: u64 = 4;

/// Marks below a plot, but for the first one.
const MARKS: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn series(changes: &[(u64, i64)]) -> Series {
        Series { colour: "v0", name: "1.0".into(), changes: changes.to_vec() }
    }

    #[test]
    fn bands_lie_on_each_other_and_step_at_the_hour() {
        let below = series(&[(0, 4), (12, -2)]);
        let above = series(&[(12, 2)]);
        let plot = Area::new(&[below, above], (10, 14), |hour| format!("{hour} h"));
        // Two of four units are 84 of 168; the hour 12 begins in the middle.
        assert_eq!(
            plot.bands[0].path,
            "M0 168.0V0.0H180.0V0.0H360.0V84.0H540.0V84.0H720.0V168.0H540.0V168.0H360.0V168.0H180.0V168.0H0.0Z"
        );
        assert_eq!(
            plot.bands[1].path,
            "M0 0.0V0.0H180.0V0.0H360.0V0.0H540.0V0.0H720.0V84.0H540.0V84.0H360.0V0.0H180.0V0.0H0.0Z"
        );
        assert_eq!((plot.bands[0].last, plot.bands[1].last), (2, 2));
        let times: Vec<_> = plot.times.iter().map(|tick| tick.text.as_str()).collect();
        assert_eq!(times, ["10 h", "11 h", "12 h", "13 h", "14 h"]);
    }

    #[test]
    fn scale_ends_at_a_round_number_with_few_lines() {
        for (most, expected) in [
            (0, (1, 1)),
            (1, (1, 1)),
            (3, (3, 1)),
            (4, (4, 1)),
            (5, (6, 2)),
            (9, (10, 5)),
            (17, (20, 5)),
            (90, (100, 50)),
            (100_000, (100_000, 50_000)),
        ] {
            assert_eq!(scale(most), expected, "{most}");
        }
        for most in (1..5_000).chain([999_999, 1_234_567]) {
            let (top, unit) = scale(most);
            assert!(top >= most && top % unit == 0 && top / unit <= LINES_MAX, "{most}");
        }
    }

    #[test]
    fn many_hours_are_drawn_in_few_steps_and_nothing_as_nothing() {
        let plot = Area::new(&[series(&[(0, 1)])], (0, 2_160), |hour| hour.to_string());
        assert_eq!(plot.bands[0].path.matches('H').count() as u64, 2 * STEPS_MAX);
        let nothing = Area::new(&[series(&[])], (0, 24), |hour| hour.to_string());
        assert!(nothing.bands.is_empty() && nothing.lines.len() == 2);
        // Counts below nothing would be a mistake in the store; they are drawn as nothing.
        assert!(Area::new(&[series(&[(0, -3)])], (0, 24), |hour| hour.to_string()).bands.is_empty());
    }

    #[test]
    fn counts_on_the_axis_are_short() {
        assert_eq!(
            [0, 950, 2_000, 2_500, 50_000, 1_500_000].map(short),
            ["0", "950", "2k", "2.5k", "50k", "1.5M"]
        );
    }
}
