//! When a CON message is sent again (RFC 7252 §4.2).

use crate::config::Transmission;
use core::time::Duration;

/// The waits between the transmissions of one CON message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retransmission {
    timeout: Duration,
    retransmits: u32,
}

impl Retransmission {
    /// Starts with the wait after the first transmission.
    ///
    /// `jitter` spreads it over `ACK_TIMEOUT` ..= `ACK_TIMEOUT * ACK_RANDOM_FACTOR`: 0 is the
    /// shortest, 65535 the longest.
    pub(crate) fn start(transmission: &Transmission, jitter: u16) -> Self {
        let longest = transmission.ack_timeout.saturating_mul(transmission.ack_random_percent.max(100)) / 100;
        let spread = longest.saturating_sub(transmission.ack_timeout);
        let timeout = transmission.ack_timeout + spread / u32::from(u16::MAX) * u32::from(jitter);
        Self { timeout, retransmits: 0 }
    }

    pub(crate) fn timeout(self) -> Duration {
        self.timeout
    }

    /// Counts a timeout; returns the next wait, or `None` when the message is given up.
    ///
    /// RFC 7252 §4.2: when the timeout is triggered and the counter is less than
    /// `MAX_RETRANSMIT`, the message is retransmitted, the counter incremented, and the timeout
    /// doubled.
    pub(crate) fn next(&mut self, transmission: &Transmission) -> Option<Duration> {
        if self.retransmits >= transmission.max_retransmit.min(RETRANSMITS_MAX) {
            return None;
        }
        self.retransmits += 1;
        self.timeout = self.timeout.saturating_mul(2);
        Some(self.timeout)
    }
}

/// Doubling 16 times makes 36 hours of 2 s; nobody waits longer.
const RETRANSMITS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(jitter: u16) -> (u32, Duration) {
        let transmission = Transmission::default();
        let mut retransmission = Retransmission::start(&transmission, jitter);
        let (mut sent, mut waited) = (1, retransmission.timeout());
        while let Some(wait) = retransmission.next(&transmission) {
            sent += 1;
            waited += wait;
        }
        (sent, waited)
    }

    // RFC 7252 §4.8.2
    #[test]
    fn longest_jitter_gives_up_at_max_transmit_wait_after_five_transmissions() {
        let (sent, waited) = waits(u16::MAX);
        assert_eq!(sent, 5);
        let longest = Transmission::default().max_transmit_wait();
        let rounding = Duration::from_millis(2);
        assert!(waited <= longest && waited + rounding > longest, "{waited:?}");
    }

    #[test]
    fn shortest_jitter_waits_ack_timeout_times_31() {
        assert_eq!(waits(0), (5, Duration::from_secs(62)));
    }
}
