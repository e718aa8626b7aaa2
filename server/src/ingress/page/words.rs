//! Numbers, times and names as people read them.

pub(super) use crate::commands::time;
use bellwether_api::{CampaignState, DeviceOutcome};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Writes a count with its thousands apart.
pub(super) fn count(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a number of bytes with about three figures.
pub(super) fn bytes(number: u64) -> String {
    let scales = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let Some((size, unit)) = scales.into_iter().find(|(size, _)| number >= *size) else {
        return format!("{number} B");
    };
    match (number + size / 20) / (size / 10) {
        tenths @ ..1_000 => format!("{}.{} {unit}", tenths / 10, tenths % 10),
        _ => format!("{} {unit}", (number + size / 2) / size),
    }
}

/// Writes how long ago something was.
pub(super) fn ago(now: u64, at: u64) -> String {
    match now.saturating_sub(at) {
        0..=4 => "just now".to_owned(),
        seconds @ 5..=89 => format!("{seconds} s ago"),
        seconds @ 90..=5_399 => format!("{} min ago", (seconds + 30) / 60),
        seconds @ 5_400..=129_599 => format!("{} h ago", (seconds + 1_800) / 3_600),
        seconds => format!("{} days ago", (seconds + 43_200) / 86_400),
    }
}

/// Writes a share in per cent; all and none only where it is all and none.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    match part.saturating_mul(100) / whole {
        0 if part > 0 => "under 1 %".to_owned(),
        per_cent => format!("{per_cent} %"),
    }
}

/// Makes one segment of a path of a name.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

/// The beginning of a digest, as much as a person compares.
pub(super) fn short(digest: &str) -> &str {
    digest.get(..10).unwrap_or(digest)
}

/// Names the state of a campaign.
pub(super) fn state(state: CampaignState) -> &'static str {
    match state {
        CampaignState::Running => "running",
        CampaignState::Paused => "paused",
        CampaignState::Halted => "halted",
        CampaignState::Cancelled => "cancelled",
        CampaignState::Finished => "finished",
    }
}

/// Says how far a device is.
pub(super) fn outcome(outcome: DeviceOutcome) -> &'static str {
    match outcome {
        DeviceOutcome::Waiting => "waiting",
        DeviceOutcome::Offered => "offered",
        DeviceOutcome::Granted => "fetching",
        DeviceOutcome::Ready => "ready to start",
        DeviceOutcome::Installed => "installed",
        DeviceOutcome::Failed => "failed",
        DeviceOutcome::Refused => "refused",
        DeviceOutcome::NothingToDo => "ran it before",
    }
}

/// RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_apart() {
        for (number, text) in [(0_u64, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn bytes_are_written_with_three_figures() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (20_323, "20.3 kB"),
            (99_949, "99.9 kB"),
            (131_072, "131 kB"),
            (1_048_576, "1.0 MB"),
            (33_554_432, "33.6 MB"),
            (512_000_000, "512 MB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn times_are_told_by_how_long_ago_they_were() {
        let told = [0, 5, 89, 90, 5_399, 5_400, 86_400, 129_600, 864_000]
            .map(|seconds| ago(1_000_000, 1_000_000 - seconds));
        let expected = [
            "just now",
            "5 s ago",
            "89 s ago",
            "2 min ago",
            "90 min ago",
            "2 h ago",
            "24 h ago",
            "2 days ago",
            "10 days ago",
        ];
        assert_eq!(told, expected);
        assert_eq!(ago(1, 2), "just now");
    }

    #[test]
    fn name_is_one_segment_of_a_path() {
        assert_eq!(segment("urn:a/b?c#<ü>"), "urn%3Aa%2Fb%3Fc%23%3C%C3%BC%3E");
        assert_eq!(segment("lamp-1.x_y~z"), "lamp-1.x_y~z");
    }

    #[test]
    fn little_is_not_nothing_and_most_is_not_all() {
        assert_eq!(
            [share(0, 9), share(1, 1_000), share(999, 1_000), share(5, 5), share(0, 0)],
            ["0 %", "under 1 %", "99 %", "100 %", "–"]
        );
    }
}
