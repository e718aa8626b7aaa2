//! What an operator can set.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// The Bellwether gateway: stands between devices and the server, caches what they fetch, and answers while the
/// server is away
///
/// `bellwether gateway add NAME --uri coaps://HOST:PORT` makes the unit file. DATA holds the keys of the links to the
/// devices and is its owner's alone; it holds no key of a device.
#[derive(Clone, Debug, Eq, Parser, PartialEq)]
#[command(
    name = "bellwether-gateway",
    version,
    after_help = "Examples:\n  \
                  bellwether gateway add site-1 --uri coaps://192.0.2.7:5684    # on the server: writes site-1.unit\n  \
                  bellwether-gateway --unit site-1.unit --data site-1\n  \
                  bellwether-gateway --unit site-1.unit --data site-1 --listen 192.0.2.7:5684 --metrics 127.0.0.1:9100"
)]
pub struct Config {
    /// Unit file of this gateway, which holds the key of its link to the server
    #[arg(long, env = "BELLWETHER_GATEWAY_UNIT")]
    pub unit: PathBuf,
    /// Folder of frames, bundles, reports and the keys of links; made when it is not there
    #[arg(long, env = "BELLWETHER_GATEWAY_DATA")]
    pub data: PathBuf,
    /// Address for devices, by DTLS
    #[arg(long, env = "BELLWETHER_GATEWAY_LISTEN", default_value = "0.0.0.0:5684")]
    pub listen: SocketAddr,
    /// Bytes of frames on disk, in MiB; what was not used for the longest time goes first
    #[arg(
        long,
        env = "BELLWETHER_GATEWAY_CACHE_MIB",
        default_value_t = 512,
        value_parser = clap::value_parser!(u64).range(CACHE_MIB)
    )]
    pub cache_mib: u64,
    /// File that tells how the gateway is, as JSON, replaced as a whole
    #[arg(long, env = "BELLWETHER_GATEWAY_STATUS")]
    pub status: Option<PathBuf>,
    /// Address of loopback at which metrics are given, as `OpenMetrics` text under /metrics
    #[arg(long, env = "BELLWETHER_GATEWAY_METRICS")]
    pub metrics: Option<SocketAddr>,
    /// First wait for an acknowledgement, of devices and of the server, in milliseconds
    #[arg(
        long,
        env = "BELLWETHER_ACK_TIMEOUT_MS",
        default_value_t = 2000,
        value_parser = clap::value_parser!(u64).range(ACK_TIMEOUT_MS)
    )]
    pub ack_timeout_ms: u64,
    /// What to log: error, warn, info, debug, or per module
    #[arg(long, env = "BELLWETHER_LOG", default_value = "info")]
    pub log: String,
    /// Log as JSON, a line an entry
    #[arg(long, env = "BELLWETHER_LOG_JSON")]
    pub log_json: bool,
}

impl Config {
    /// First wait for an acknowledgement.
    #[must_use]
    pub fn ack_timeout(&self) -> Duration {
        Duration::from_millis(self.ack_timeout_ms)
    }

    /// Longest wait for an answer of the server: three retransmissions (2 + 4 + 8 times the first wait) and a little.
    #[must_use]
    pub fn answer_wait(&self) -> Duration {
        self.ack_timeout().saturating_mul(8)
    }

    /// Time that the server is told to count on this gateway's presence; it is told again in half of it.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.ack_timeout().saturating_mul(60).max(Duration::from_secs(2))
    }
}

/// Bounds of the keys that are numbers, by their names.
#[must_use]
pub fn bounds() -> [(&'static str, RangeInclusive<u64>); 2] {
    [("cache_mib", CACHE_MIB), ("ack_timeout_ms", ACK_TIMEOUT_MS)]
}

/// From one image of a small device to a tebibyte, which is more than any site fetches; in bytes it fits a number.
const CACHE_MIB: RangeInclusive<u64> = 1..=1 << 20;
/// As server and agent have it: below it is every answer late, above it nobody waits.
const ACK_TIMEOUT_MS: RangeInclusive<u64> = 10..=60_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &str) -> Result<Config, clap::Error> {
        Config::try_parse_from(format!("bellwether-gateway --unit u --data d {words}").split_whitespace())
    }

    #[test]
    fn numbers_without_sense_are_refused_by_their_flag() {
        for (name, range) in bounds() {
            let flag = format!("--{}", name.replace('_', "-"));
            for value in [*range.start(), *range.end()] {
                assert!(told(&format!("{flag} {value}")).is_ok(), "{flag} {value}");
            }
            // 2^44 MiB are no bytes at all in 64 bits.
            for value in [range.start() - 1, range.end() + 1, 1 << 44] {
                let refused = told(&format!("{flag} {value}")).expect_err("refused").to_string();
                assert!(refused.contains(&flag), "{refused}");
            }
        }
    }
}
