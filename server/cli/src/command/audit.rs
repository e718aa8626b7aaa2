//! `bellwether audit`: the ledger, as a list and as lines to keep elsewhere.

use std::path::{Path, PathBuf};

use bellwether_api::{Event, EventPage, LedgerCut};
use clap::{Args, Subcommand};

use crate::client::{Client, Server, percent_encoded};
use crate::failure::Failure;
use crate::output::{Output, table};

/// The ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists what people did, the oldest first; with --all also what devices and campaigns did
    List {
        #[command(flatten)]
        which: Which,
        /// Events at most
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Writes events as JSON, a line an event, to the end of the ledger
    ///
    /// Give the id of the last line as --since to go on where it ended. A copy that is kept elsewhere shows
    /// whether the ledger was altered since: the lines of the same ids must be the same.
    Export {
        #[command(flatten)]
        which: Which,
        /// Where to write; appended to [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Which events.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// What devices and campaigns did, too
    #[arg(long, conflicts_with = "device")]
    all: bool,
    /// Only those of this device, all kinds of them
    #[arg(long, value_name = "ENDPOINT", conflicts_with = "campaign")]
    device: Option<String>,
    /// Only those of this campaign
    #[arg(long, value_name = "ID")]
    campaign: Option<String>,
    /// Only those after the event of this id
    #[arg(long, default_value_t = 0, value_name = "ID")]
    since: u64,
}

impl Which {
    fn path(&self, since: u64, limit: usize) -> String {
        let mut path = format!("/v1/events?since={since}&limit={limit}");
        if !self.all && self.device.is_none() {
            path.push_str("&acts=true");
        }
        for (key, value) in [("endpoint", &self.device), ("campaign", &self.campaign)] {
            if let Some(value) = value {
                path = format!("{path}&{key}={}", percent_encoded(value));
            }
        }
        path
    }
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn run(command: Command, server: &Server, output: Output) -> Result<(), Failure> {
    let client = Client::new(server)?;
    match command {
        Command::List { which, limit } => {
            let mut events: Vec<Event> = Vec::new();
            let mut since = Some(which.since);
            while let Some(from) = since.filter(|_| events.len() < limit) {
                let page: EventPage = client.get(&which.path(from, (limit - events.len()).min(PAGE))).await?;
                events.extend(page.events);
                since = page.next;
                if let Some(cut) = page.cut.filter(|_| from == which.since) {
                    tell(&cut);
                }
            }
            output.print(&events, |events| listed(events));
            Ok(())
        }
        Command::Export { which, out } => export(&client, &which, out.as_deref()).await,
    }
}

async fn export(client: &Client, which: &Which, out: Option<&Path>) -> Result<(), Failure> {
    let mut since = Some(which.since);
    while let Some(from) = since {
        let page: EventPage = client.get(&which.path(from, PAGE)).await?;
        let mut lines = String::new();
        for event in &page.events {
            // Our wire types have text keys and finite numbers alone, so each has a JSON form.
            lines.push_str(&serde_json::to_string(event).unwrap_or_default());
            lines.push('\n');
        }
        write(&lines, out)?;
        if let Some(cut) = page.cut.filter(|_| from == which.since) {
            tell(&cut);
        }
        since = page.next;
    }
    Ok(())
}

/// Says beside the list that it is not all that happened.
#[expect(clippy::print_stderr, reason = "it is no part of what is listed or exported")]
fn tell(cut: &LedgerCut) {
    eprintln!(
        "What happened before {} (event {}) was exported to files of the server and removed from the ledger, last on {}.",
        humantime(cut.kept_since),
        cut.kept_from,
        humantime(cut.cut_at)
    );
}

#[expect(clippy::print_stdout, reason = "printing is what this command is for")]
fn write(lines: &str, out: Option<&Path>) -> Result<(), Failure> {
    use std::io::Write;
    let Some(path) = out else {
        print!("{lines}");
        return Ok(());
    };
    let opened = std::fs::File::options().create(true).append(true).open(path);
    opened.and_then(|mut file| file.write_all(lines.as_bytes())).map_err(|error| Failure::file(path, error))
}

fn listed(events: &[Event]) -> String {
    if events.is_empty() {
        return "Nothing.".to_owned();
    }
    let cell = |text: &Option<String>| text.clone().unwrap_or_default();
    let row = |event: &Event| {
        let about =
            event.endpoint.clone().or_else(|| event.campaign.as_ref().map(|id| format!("campaign {id}")));
        vec![
            event.id.to_string(),
            humantime(event.at),
            cell(&event.who),
            cell(&about),
            event.text.clone(),
            cell(&event.request_id),
        ]
    };
    table(&["ID", "WHEN", "WHO", "ABOUT", "WHAT", "REQUEST"], &events.iter().map(row).collect::<Vec<_>>())
}

/// Writes seconds since 1970 as `2026-11-21 13:04:50Z`, by the days of the Gregorian calendar.
pub(super) fn humantime(at: u64) -> String {
    let (days, second) = (at / 86_400, at % 86_400);
    let (hour, minute, second) = (second / 3_600, second % 3_600 / 60, second % 60);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Finds year, month and day of a number of days since 1970, in eras of 400 years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Events in one page: as many as the server gives.
const PAGE: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_read_them() {
        assert_eq!(humantime(0), "1970-01-01 00:00:00Z");
        assert_eq!(humantime(951_782_400), "2000-02-29 00:00:00Z");
        assert_eq!(humantime(1_795_266_290), "2026-11-21 13:04:50Z");
    }

    #[test]
    fn path_says_which_events() {
        let which = Which { all: false, device: None, campaign: Some("3".to_owned()), since: 0 };
        assert_eq!(which.path(7, 5), "/v1/events?since=7&limit=5&acts=true&campaign=3");
        let which = Which { all: false, device: Some("a b".to_owned()), campaign: None, since: 0 };
        assert_eq!(which.path(0, 5), "/v1/events?since=0&limit=5&endpoint=a%20b");
    }
}
