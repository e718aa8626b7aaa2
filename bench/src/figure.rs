//! Figures: what was measured, where, how often, beside what.

use serde::Serialize;
use serde_json::Value;

use crate::Failure;

/// A measured value with its peer.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    /// Stable: never used for anything else, never renamed.
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// What is inside the value.
    pub(crate) layer: String,
    /// What did it.
    pub(crate) engine: String,
    pub(crate) statistic: &'static str,
    #[serde(flatten)]
    pub(crate) spread: Spread,
    pub(crate) peer: Option<Peer>,
}

/// What the value is to be compared with, from the same rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) engine: String,
    #[serde(flatten)]
    pub(crate) spread: Spread,
    /// Ours by the peer's, round by round.
    pub(crate) ratio: Spread,
}

/// Median and extremes of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) n: usize,
}

/// Values that belong together in rows.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) layer: &'static str,
    pub(crate) engine: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Value>>,
}

/// What one measurement gave.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) figures: Vec<Figure>,
    pub(crate) tables: Vec<Table>,
    /// What must be known to read them.
    pub(crate) notes: Vec<String>,
}

impl Figure {
    /// Makes a figure of a sample.
    pub(crate) fn new(
        name: impl Into<String>,
        unit: &'static str,
        layer: impl Into<String>,
        engine: impl Into<String>,
        sample: &[f64],
    ) -> Result<Self, Failure> {
        Ok(Self {
            name: name.into(),
            unit,
            layer: layer.into(),
            engine: engine.into(),
            statistic: "median [min-max]",
            spread: Spread::of(sample)?,
            peer: None,
        })
    }

    /// Puts a peer's sample beside one of ours, taken in the same rounds.
    pub(crate) fn beside(
        self,
        engine: impl Into<String>,
        ours: &[f64],
        peers: &[f64],
    ) -> Result<Self, Failure> {
        let ratios: Vec<f64> = ours.iter().zip(peers).map(|(ours, peer)| ours / peer).collect();
        let peer = Peer { engine: engine.into(), spread: Spread::of(peers)?, ratio: Spread::of(&ratios)? };
        Ok(Self { peer: Some(peer), ..self })
    }
}

impl Spread {
    /// Sums a sample up; an empty one is a fault of the measurement.
    pub(crate) fn of(sample: &[f64]) -> Result<Self, Failure> {
        let mut sorted = sample.to_vec();
        sorted.sort_by(f64::total_cmp);
        let [min, .., max] = *sorted else {
            return match *sorted {
                [one] => Ok(Self { median: one, min: one, max: one, n: 1 }),
                _ => Err("a measurement has no sample".into()),
            };
        };
        let (half, n) = (sorted.len() / 2, sorted.len());
        let median = if n % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) };
        Ok(Self { median, min, max, n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_sample_is_between_the_middle_two() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).expect("a sample");
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 4.0, n: 4 });
    }

    #[test]
    fn sample_of_one_is_its_own_median() {
        assert_eq!(Spread::of(&[7.0]).expect("a sample"), Spread { median: 7.0, min: 7.0, max: 7.0, n: 1 });
        assert!(Spread::of(&[]).is_err());
    }

    #[test]
    fn ratio_is_taken_round_by_round() {
        // A machine twice as slow in the second round doubles both; the ratio stays.
        let (ours, peers) = ([3.0, 6.0, 3.0], [1.0, 2.0, 1.0]);
        let figure = Figure::new("n", "u", "l", "e", &ours).expect("a sample");
        let peer = figure.beside("p", &ours, &peers).expect("a sample").peer.expect("a peer");
        assert_eq!((peer.ratio.min, peer.ratio.median, peer.ratio.max), (3.0, 3.0, 3.0));
    }
}
