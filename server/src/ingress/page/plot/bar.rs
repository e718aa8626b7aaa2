//! A bar in parts.

/// A bar of [`WIDTH`] units whose parts lie side by side.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) struct Bar {
    /// The parts that are not empty.
    pub(in super::super) parts: Vec<Part>,
}

/// One part of a bar.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) struct Part {
    /// Name of its colour in the style sheet.
    pub(in super::super) colour: &'static str,
    /// Where it begins.
    pub(in super::super) x: u64,
    /// How long it is.
    pub(in super::super) width: u64,
}

impl Bar {
    /// Lays parts side by side, each as long as its share of `whole`; little is never nothing.
    pub(in super::super) fn new(parts: &[(&'static str, u64)], whole: u64) -> Self {
        let some: Vec<_> = parts.iter().filter(|(_, count)| *count > 0).collect();
        let least = LEAST * some.len() as u64;
        let mut x = 0;
        let place = |(colour, count): &&(&'static str, u64)| {
            let share = u128::from(*count) * u128::from(WIDTH - least.min(WIDTH)) / u128::from(whole.max(1));
            let width = LEAST + u64::try_from(share).unwrap_or(WIDTH);
            let part = Part { colour, x, width: width.min(WIDTH - x) };
            x += part.width;
            part
        };
        Self { parts: some.iter().map(place).collect() }
    }
}

/// Units of a bar's length.
const WIDTH: u64 = 1_000;

/// The least length of a part: it can be seen on a phone.
const LEAST: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_side_by_side_and_fill_the_bar() {
        let bar = Bar::new(&[("a", 3), ("b", 0), ("c", 1)], 4);
        let parts: Vec<_> = bar.parts.iter().map(|part| (part.colour, part.x, part.width)).collect();
        assert_eq!(parts, [("a", 0, 747), ("c", 747, 253)]);
    }

    #[test]
    fn one_of_a_million_is_seen_and_nothing_is_not() {
        let bar = Bar::new(&[("a", 1), ("b", 999_999)], 1_000_000);
        assert_eq!((bar.parts[0].width, bar.parts[1].x), (LEAST, LEAST));
        assert!(bar.parts.iter().all(|part| part.x + part.width <= WIDTH));
        assert_eq!(Bar::new(&[("a", 0)], 0).parts, []);
        assert!(
            Bar::new(&[("a", u64::MAX), ("b", u64::MAX)], u64::MAX)
                .parts
                .iter()
                .all(|part| part.x + part.width <= WIDTH)
        );
    }
}
