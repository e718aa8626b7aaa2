//! Where the power is cut on purpose, for tests and demonstrations.

use bellwether_agent::agent::Event;
use bellwether_agent::update::AnchorsTaken;
use std::str::FromStr;
use thiserror::Error;

/// A point of an update, right after the flash write that makes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HaltPoint {
    /// The manifest is stored, nothing was asked.
    ManifestStored,
    /// The grant is on record, nothing was fetched.
    Granted,
    /// Frame N, counted from 0, stands in flash.
    Frame(u32),
    /// The image is verified, its report is on record and was not sent.
    Decrypted,
    /// The trial is marked, the restart has not begun.
    Trial,
    /// The new image is confirmed and on record, its report was not sent; the next seed with it, where the grant
    /// re-seeds.
    Confirmed,
    /// That the image may be started is on record, "go?" was not sent.
    GoWanted,
    /// An operator's "forward" is on record, nothing was sent from the new place.
    Forwarded,
    /// New anchors are kept and enforced.
    Anchors,
}

/// Not a point of an update.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "not one of manifest-stored, granted, frame:N, decrypted, trial, confirmed, go-wanted, forwarded, anchors"
)]
pub(crate) struct UnknownPoint;

impl FromStr for HaltPoint {
    type Err = UnknownPoint;

    fn from_str(text: &str) -> Result<Self, UnknownPoint> {
        Ok(match text {
            "manifest-stored" => Self::ManifestStored,
            "granted" => Self::Granted,
            "decrypted" => Self::Decrypted,
            "trial" => Self::Trial,
            "confirmed" => Self::Confirmed,
            "go-wanted" => Self::GoWanted,
            "forwarded" => Self::Forwarded,
            "anchors" => Self::Anchors,
            other => {
                let number = other.strip_prefix("frame:").and_then(|number| number.parse().ok());
                Self::Frame(number.ok_or(UnknownPoint)?)
            }
        })
    }
}

impl HaltPoint {
    /// Tells whether an event is this point.
    #[must_use]
    pub(crate) fn is_at(self, event: &Event) -> bool {
        match (self, event) {
            (Self::ManifestStored, Event::ManifestStored)
            | (Self::Granted, Event::Granted { .. })
            | (Self::Decrypted, Event::Decrypted)
            | (Self::Trial, Event::TrialBegun)
            | (Self::GoWanted, Event::GoWanted)
            | (Self::Forwarded, Event::Forwarded { .. })
            | (Self::Anchors, Event::AnchorsOffered(AnchorsTaken::Taken { .. })) => true,
            (Self::Frame(wanted), Event::FrameStored { number, .. }) => wanted == *number,
            _ => false,
        }
    }

    /// Ends the process as a power cut does: no destructor runs, no session is closed, nothing is sent.
    pub(crate) fn halt(self) -> ! {
        tracing::warn!(point = ?self, "power cut, as --halt-at asks");
        std::process::exit(STATUS_HALTED)
    }
}

/// Exit status of a process that cut its own power.
pub(crate) const STATUS_HALTED: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_agent::agent::Route;

    #[test]
    fn every_point_is_read_from_its_name() {
        let named = [
            ("manifest-stored", HaltPoint::ManifestStored),
            ("granted", HaltPoint::Granted),
            ("frame:17", HaltPoint::Frame(17)),
            ("decrypted", HaltPoint::Decrypted),
            ("trial", HaltPoint::Trial),
            ("confirmed", HaltPoint::Confirmed),
            ("go-wanted", HaltPoint::GoWanted),
            ("forwarded", HaltPoint::Forwarded),
            ("anchors", HaltPoint::Anchors),
        ];
        for (name, point) in named {
            assert_eq!(name.parse(), Ok(point));
        }
        for name in ["", "frame", "frame:", "frame:x", "Granted"] {
            assert_eq!(name.parse::<HaltPoint>(), Err(UnknownPoint), "{name}");
        }
    }

    #[test]
    fn frame_point_waits_for_its_own_frame() {
        let point = HaltPoint::Frame(3);
        let stored = |number| Event::FrameStored { number, of: 9, route: Route::Server };
        assert!(!point.is_at(&stored(2)));
        assert!(point.is_at(&stored(3)));
    }
}
