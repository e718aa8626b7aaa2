//! The order of versions.

use std::cmp::Ordering;

/// Compares two versions as their authors write them: by numbers, so 8.0.10 is after 8.0.9.
///
/// A leading `v` and what follows a `+` do not count, and missing numbers are zeros. Alpha, beta and rc come before
/// the release itself, like every other word after a hyphen; a word without a hyphen (`1.0.2k`) comes after it.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (parts(one), parts(other));
    let longest = one.len().max(other.len());
    let nothing = Part { rank: 0, word: String::new() };
    let at = |parts: &[Part], position: usize| parts.get(position).unwrap_or(&nothing).clone();
    (0..longest)
        .map(|i| at(&one, i).cmp(&at(&other, i)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Compares two versions in a manifest's form: non-negative numbers, then -1 (rc), -2 (beta) or -3 (alpha) with
/// numbers of their own. Missing numbers are zeros.
#[must_use]
pub fn compare_arrays(one: &[i64], other: &[i64]) -> Ordering {
    let longest = one.len().max(other.len());
    let at = |array: &[i64], position: usize| array.get(position).copied().unwrap_or(0);
    (0..longest).map(|i| at(one, i).cmp(&at(other, i))).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// A number, or a word with its rank beside numbers. Ordered by rank, then word.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Part {
    rank: i64,
    word: String,
}

fn parts(version: &str) -> Vec<Part> {
    let version = version.split('+').next().unwrap_or_default();
    let version = version.strip_prefix(['v', 'V']).unwrap_or(version);
    let mut parts = Vec::new();
    let mut rest = version;
    let mut hyphen = false;
    while let Some(first) = rest.chars().next() {
        let length = run_length(rest);
        let (run, after) = rest.split_at(length);
        if first.is_ascii_digit() {
            parts.push(Part { rank: run.parse().unwrap_or(i64::MAX), word: String::new() });
        } else if first.is_alphanumeric() {
            parts.push(word(run, hyphen, after));
        }
        hyphen = run.ends_with('-');
        rest = after;
    }
    parts
}

/// Bytes of the longest start that is all digits, all letters, or all separators.
fn run_length(text: &str) -> usize {
    let kind = |c: char| (c.is_ascii_digit(), c.is_alphanumeric());
    let first = text.chars().next().map(kind);
    text.find(|c| Some(kind(c)) != first).unwrap_or(text.len())
}

fn word(run: &str, hyphen: bool, after: &str) -> Part {
    let run = run.to_lowercase();
    // `1.0a2` is an alpha, `1.0.2a` a letter of a fix.
    let numbered = after.trim_start_matches(['.', '-']).starts_with(|c: char| c.is_ascii_digit());
    let rank = match run.as_str() {
        "rc" | "pre" | "preview" => -1,
        "beta" => -2,
        "alpha" => -3,
        "c" if numbered => -1,
        "b" if numbered => -2,
        "a" if numbered => -3,
        "dev" => -4,
        _ if hyphen => -5,
        _ => 0,
    };
    let word = if matches!(rank, -5 | 0) { run } else { String::new() };
    Part { rank, word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_ascending(versions: &[&str]) {
        for pair in versions.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{} before {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert_ascending(&["8.0.9", "8.0.10", "8.1", "10.0"]);
        assert_ascending(&["2021.2.1", "2024.0.4", "2025.0.0"]);
    }

    #[test]
    fn prereleases_come_before_their_release_in_their_order() {
        assert_ascending(&[
            "1.1",
            "1.2-dev",
            "1.2-alpha",
            "1.2-alpha.2",
            "1.2-beta.1",
            "1.2rc1",
            "1.2-rc.3",
            "1.2",
        ]);
        assert_ascending(&["1.0a2", "1.0b1", "1.0"]);
    }

    #[test]
    fn unknown_word_after_hyphen_comes_before_the_release_and_without_it_after() {
        assert_ascending(&["1.0.2-test", "1.0.2", "1.0.2a", "1.0.2k", "1.0.3"]);
    }

    #[test]
    fn leading_v_missing_zeros_and_build_metadata_do_not_count() {
        for (one, other) in [("v2.2", "2.2.0"), ("1.0+5", "1.0+6"), ("1.0-RC1", "1.0-rc.1")] {
            assert_eq!(compare(one, other), Ordering::Equal, "{one} and {other}");
        }
    }

    // draft-ietf-suit-update-management, version encoding: 1.2-rc.3 is [1, 2, -1, 3].
    #[test]
    fn array_with_release_candidate_comes_before_the_release() {
        assert_eq!(compare_arrays(&[1, 2, -1, 3], &[1, 2]), Ordering::Less);
        assert_eq!(compare_arrays(&[1, 2, -2, 9], &[1, 2, -1]), Ordering::Less);
        assert_eq!(compare_arrays(&[1, 2], &[1, 2, 0]), Ordering::Equal);
        assert_eq!(compare_arrays(&[8, 0, 10], &[8, 0, 9]), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn any_texts_have_an_order_that_turns_around(one in ".{0,20}", other in ".{0,20}", third in ".{0,20}") {
            prop_assert_eq!(compare(&one, &other), compare(&other, &one).reverse());
            prop_assert_eq!(compare(&one, &one), Ordering::Equal);
            let mut sorted = [one, other, third];
            sorted.sort_by(|a, b| compare(a, b));
            prop_assert_ne!(compare(&sorted[0], &sorted[2]), Ordering::Greater);
        }
    }
}
