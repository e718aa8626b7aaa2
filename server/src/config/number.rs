//! The keys that are numbers: default and bounds, written once for the server and for its reference.

use super::ConfigError;

/// A key that is a whole number; its unit ends its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Number {
    /// The key.
    pub key: &'static str,
    /// What it is where nothing is said.
    pub default: u64,
    /// The least that it may be.
    pub least: u64,
    /// The most that it may be.
    pub most: u64,
}

impl Number {
    /// Takes what was given, if it is within the bounds, else the default.
    pub(super) fn resolve(&self, given: Option<u64>, refused: &mut Vec<ConfigError>) -> u64 {
        match given {
            Some(value) if !(self.least..=self.most).contains(&value) => {
                let text = format!("must be {} to {}, not {value}", self.least, self.most);
                refused.push(ConfigError::Bounds { key: self.key, text });
                self.default
            }
            given => given.unwrap_or(self.default),
        }
    }
}

/// All of them.
pub const NUMBERS: &[Number] = &[
    GRANT_LIFETIME_S,
    SESSIONS_MAX,
    HIBERNATE_AFTER_S,
    QUEUE_MODE_AWAKE_S,
    ACK_TIMEOUT_MS,
    LEDGER_KEEP_DAYS,
];

pub(super) const GRANT_LIFETIME_S: Number = Number {
    key: "grant_lifetime_s",
    // A week: longer than most devices sleep, short enough that a stolen grant dies soon.
    default: 7 * 86_400,
    least: 60,
    // A year: beyond it a grant outlives the reasons it was given for.
    most: 366 * 86_400,
};

pub(super) const SESSIONS_MAX: Number = Number {
    key: "sessions_max",
    // A fleet of 100,000 devices that are all online; 0.8 GiB of memory when they are.
    default: 100_000,
    least: 1,
    // 80 GiB of memory.
    most: 10_000_000,
};

pub(super) const HIBERNATE_AFTER_S: Number = Number {
    key: "hibernate_after_s",
    // Longer than the 247 s for which a message may come twice (RFC 7252 §4.8.2), shorter than any device sleeps.
    default: 600,
    least: 1,
    most: 366 * 86_400,
};

pub(super) const QUEUE_MODE_AWAKE_S: Number = Number {
    key: "queue_mode_awake_s",
    default: crate::registry::AWAKE_S,
    least: 1,
    // An hour: a device that listens so long is in no queue mode.
    most: 3_600,
};

pub(super) const ACK_TIMEOUT_MS: Number = Number {
    key: "ack_timeout_ms",
    // RFC 7252 §4.8.
    default: 2_000,
    least: 10,
    most: 60_000,
};

pub(super) const LEDGER_KEEP_DAYS: Number = Number {
    key: "ledger_keep_days",
    // Everything: nobody loses a record by not having read of this key.
    default: 0,
    least: 0,
    // A century.
    most: 36_500,
};
