//! Which devices were told to start an image, and for which report. Pure.

use std::collections::HashMap;
use std::time::Duration;

use bellwether_manifests::message::Digest;
use tokio::time::Instant;

/// The newest Execute of each device.
#[derive(Debug, Default)]
pub struct Executes(HashMap<String, (Digest, Instant)>);

impl Executes {
    /// Tells whether `child` may be told to start an image for this report, and remembers that it was.
    ///
    /// A device repeats its report until the receipt comes. One that answered is not told again at each of them.
    pub fn admit(&mut self, child: &str, report: Digest, now: Instant) -> bool {
        let told = self.0.get(child).filter(|(other, _)| *other == report);
        if told.is_some_and(|(_, at)| now.saturating_duration_since(*at) < AGAIN) {
            return false;
        }
        self.0.insert(child.to_owned(), (report, now));
        true
    }

    /// Forgets an Execute that did not reach its device.
    pub fn forget(&mut self, child: &str) {
        self.0.remove(child);
    }

    /// Forgets devices that are not the gateway's any more.
    pub fn retain(&mut self, is_child: impl Fn(&str) -> bool) {
        self.0.retain(|child, _| is_child(child));
    }
}

/// Time after which a device is told again: what it lacked, such as room for a report, may be there then.
const AGAIN: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn device_is_told_once_for_a_report_and_again_after_a_while_or_for_another() {
        let (mut executes, now) = (Executes::default(), clock::steady());
        assert!(executes.admit("a", [1; 32], now) && executes.admit("b", [1; 32], now));
        assert!(!executes.admit("a", [1; 32], now + AGAIN / 2));
        assert!(executes.admit("a", [1; 32], now + AGAIN));
        assert!(executes.admit("a", [2; 32], now + AGAIN));
        executes.forget("a");
        assert!(executes.admit("a", [2; 32], now + AGAIN));
    }
}
