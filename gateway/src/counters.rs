//! What the gateway counts since it started.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// One number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Counts `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Reads the number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Serialize for Counter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}

/// Everything that is counted, as the status file shows it.
#[derive(Debug, Default, Serialize)]
pub struct Counters {
    /// Update requests.
    pub requests: RequestCounters,
    /// Frames.
    pub frames: FrameCounters,
    /// Reports.
    pub reports: ReportCounters,
    /// Manifests that were pushed to devices.
    pub pushes: PushCounters,
    /// Messages of devices that are none, or not theirs.
    pub malformed: Counter,
    /// Writes that the disk refused.
    pub disk_errors: Counter,
}

/// Update requests, by what became of them.
#[derive(Debug, Default, Serialize)]
pub struct RequestCounters {
    /// Answered with a grant of a bundle.
    pub answered_from_bundle: Counter,
    /// Answered with a grant that had passed through before.
    pub from_kept: Counter,
    /// Answered by the server.
    pub forwarded: Counter,
    /// Answered 5.03: the server can't be reached.
    pub put_off: Counter,
}

/// Frames.
#[derive(Debug, Default, Serialize)]
pub struct FrameCounters {
    /// Blocks given to devices.
    pub served: Counter,
    /// Blocks of 1,024 bytes or less that the server gave and that were right.
    pub fetched_upstream: Counter,
    /// Blocks of the server that were not what the chain announces.
    pub altered_upstream: Counter,
    /// Kept files of which an end was not what the chain announces, and was cut off.
    pub altered_disk: Counter,
    /// Bytes that the server gave, altered ones too.
    pub bytes_upstream: Counter,
    /// Bytes given to devices.
    pub bytes_down: Counter,
    /// Requests for roots that were refused since their child asked for too many.
    pub refused: Counter,
}

/// Reports.
#[derive(Debug, Default, Serialize)]
pub struct ReportCounters {
    /// Written down while the server was away.
    pub kept: Counter,
    /// Brought to the server, at once or later.
    pub forwarded: Counter,
    /// Receipts given to devices.
    pub receipts: Counter,
    /// Not kept: their child has as many waiting as allowed, or the disk refuses.
    pub refused: Counter,
}

/// Manifests that were pushed.
#[derive(Debug, Default, Serialize)]
pub struct PushCounters {
    /// Taken by their device.
    pub taken: Counter,
    /// Refused by their device.
    pub refused: Counter,
    /// Not brought to their device.
    pub unreached: Counter,
}
