//! What the server says of its traffic, as any scraper reads it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::runtime::Builder;

use super::tally::Traffic;
use crate::console::SERVER_DATA;
use crate::process::ProcessError;

/// Where the server listens, as it wrote it.
#[derive(Deserialize)]
struct Listening {
    http: String,
}

/// Asks the server of the demo in `folder` for all UDP payload that it received and sent by now, seen from the other end:
/// what it sent was received by devices and gateways, but for what was lost.
///
/// # Errors
///
/// [`ProcessError`] where it can't be asked, or says nothing of it.
pub fn traffic(folder: &Path) -> Result<Traffic, ProcessError> {
    let listening = folder.join(SERVER_DATA).join("listening.json");
    let program = || listening.display().to_string();
    let text = fs::read(&listening).map_err(|source| ProcessError::Io { program: program(), source })?;
    let Listening { http } = serde_json::from_slice(&text)
        .map_err(|error| ProcessError::Io { program: program(), source: error.into() })?;
    let url = format!("http://{http}/metrics");
    let failed = |said: String| ProcessError::Failed { command: format!("curl {url}"), said };
    let text = fetch(&url).map_err(|error| failed(error.to_string()))?;
    read(&text).ok_or_else(|| failed(format!("it says nothing of {NAME}")))
}

/// On loopback metrics need no token.
fn fetch(url: &str) -> Result<String, Box<dyn std::error::Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let text = async {
        let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build()?;
        client.get(url).send().await?.error_for_status()?.text().await
    };
    Ok(runtime.block_on(text)?)
}

fn read(text: &str) -> Option<Traffic> {
    Some(Traffic { bytes_in: sum(text, "out")?, bytes_out: sum(text, "in")? })
}

/// Sums a direction over all doors.
fn sum(text: &str, direction: &str) -> Option<u64> {
    let label = format!("direction=\"{direction}\"");
    let samples = text.lines().filter(|line| line.starts_with(NAME) && line.contains(&label));
    samples
        .map(|line| line.rsplit_once(' ')?.1.parse().ok())
        .reduce(|all: Option<u64>, one| Some(all? + one?))?
}

/// A server that is at work in a busy machine takes milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

const NAME: &str = "bellwether_datagram_bytes_total{";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_of_all_doors_is_added_and_seen_from_the_other_end() {
        let text = "# TYPE bellwether_datagram_bytes counter\n\
                    bellwether_datagram_bytes_total{door=\"coaps\",direction=\"in\"} 5\n\
                    bellwether_datagram_bytes_total{door=\"coaps\",direction=\"out\"} 70\n\
                    bellwether_datagram_bytes_total{door=\"coap\",direction=\"out\"} 3\n\
                    bellwether_datagrams_total{door=\"coaps\",direction=\"out\"} 900\n";
        assert_eq!(read(text), Some(Traffic { bytes_in: 73, bytes_out: 5 }));
        assert_eq!(read("# EOF\n"), None);
    }
}
