//! How often tests that kill processes do so, each time at another moment.

use std::ops::Range;

/// Rounds to go: one, or as many as the environment's `ROUNDS` says.
///
/// # Panics
///
/// Where `ROUNDS` is no number.
#[expect(clippy::disallowed_methods, reason = "`make soak` asks for more rounds by the environment")]
pub fn rounds() -> Range<usize> {
    let asked = std::env::var("ROUNDS").ok();
    0..asked.map_or(1, |text| text.parse().expect("ROUNDS is a number"))
}
