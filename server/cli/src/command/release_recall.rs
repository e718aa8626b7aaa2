//! `bellwether release recall`, `reinstate` and `who-runs`: what nobody gets any more, and who has it.

use bellwether_api::{AskWhoRuns, RecallRelease, Release, RunningDevice, WhoRuns};
use clap::Args;

use super::campaign::{Reasoned, random_id};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, table};

/// Which release.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Version, as in `bellwether release list`
    version: String,
    /// Class name
    #[arg(long)]
    class: String,
    /// Component name
    #[arg(long, default_value = "app")]
    component: String,
}

/// A recall, or its end.
#[derive(Args, Debug)]
pub(crate) struct Change {
    #[command(flatten)]
    release: Which,
    #[command(flatten)]
    reasoned: Reasoned,
}

/// Recalls a release.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn recall(change: Change, client: &Client, output: Output) -> Result<(), Failure> {
    let release: Release = client.post("/v1/commands/releases/recall", &asked(change)?).await?;
    output.print(&release, |release| format!("Recalled {}: nobody gets it any more", named(release)));
    Ok(())
}

/// Takes a recall back.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn reinstate(change: Change, client: &Client, output: Output) -> Result<(), Failure> {
    let release: Release = client.post("/v1/commands/releases/reinstate", &asked(change)?).await?;
    output.print(&release, |release| {
        let go_on = "campaigns that were halted go on with `bellwether campaign retry-failed`";
        format!("Reinstated {}; {go_on}", named(release))
    });
    Ok(())
}

/// Lists the devices that run a release, all pages in one.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn who_runs(which: Which, client: &Client, output: Output) -> Result<(), Failure> {
    let Which { version, class, component } = which;
    let mut asked =
        AskWhoRuns { request_id: None, class, component, version, after: None, limit: Some(PAGE) };
    let mut found: WhoRuns = client.post(WHO_RUNS, &asked).await?;
    while let Some(next) = found.next.take() {
        asked.after = Some(next);
        let page: WhoRuns = client.post(WHO_RUNS, &asked).await?;
        found.devices.extend(page.devices);
        found.next = page.next;
    }
    output.print(&found, listed);
    Ok(())
}

fn asked(change: Change) -> Result<RecallRelease, Failure> {
    let Change { release: Which { version, class, component }, reasoned } = change;
    let Reasoned { why, who, request_id } = reasoned;
    let request_id = request_id.map_or_else(random_id, Ok)?;
    Ok(RecallRelease { request_id, class, component, version, why, who })
}

fn named(release: &Release) -> String {
    format!("{} {} for {}", release.component, release.version, release.class)
}

fn listed(found: &WhoRuns) -> String {
    let row = |one: &RunningDevice| vec![one.endpoint.clone(), one.since.to_string()];
    let rows: Vec<_> = found.devices.iter().map(row).collect();
    let total = format!("{} device(s) run {}", found.total, named(&found.release));
    if rows.is_empty() { total } else { format!("{total}\n{}", table(&["DEVICE", "SINCE"], &rows)) }
}

const WHO_RUNS: &str = "/v1/commands/releases/who-runs";

/// As many as the server gives in one page.
const PAGE: u32 = 1_000;
