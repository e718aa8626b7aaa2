//! `bellwether device tag`: what operators call groups of devices.

use bellwether_api::{DeviceTags, ListTags, TagCount, TagDevices, TagPage, TaggedDevices};
use clap::{Args, Subcommand};

use super::campaign::random_id;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, table};

/// Tags.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts a tag to devices
    ///
    ///   bellwether device tag add roof lamp-1 lamp-2
    ///   bellwether campaign launch --manifest lamp.signed.suit --tag roof
    #[command(verbatim_doc_comment)]
    Add(Change),
    /// Takes a tag off devices
    Remove(Change),
    /// Lists the tags that devices have, with how many devices have each
    List,
}

/// Which tag, which devices.
#[derive(Args, Debug)]
pub(crate) struct Change {
    /// The tag: 1 to 64 bytes, letters, digits and - _ . : / = @ +
    tag: String,
    /// Endpoint names
    #[arg(required = true, value_name = "ENDPOINT")]
    devices: Vec<String>,
    /// Why, for whoever reads the ledger
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Who orders it, for whoever reads the ledger
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    who: Option<String>,
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn run(command: Command, client: &Client, output: Output) -> Result<(), Failure> {
    match command {
        Command::Add(change) => {
            let added = vec![change.tag.clone()];
            apply(client, change, added, Vec::new(), output).await
        }
        Command::Remove(change) => {
            let removed = vec![change.tag.clone()];
            apply(client, change, Vec::new(), removed, output).await
        }
        Command::List => {
            let tags = all(client).await?;
            output.print(&tags, |tags| counted(tags));
            Ok(())
        }
    }
}

/// Changes the tags of the devices, as many at a time as the server takes; those of one request all or none.
async fn apply(
    client: &Client,
    change: Change,
    add: Vec<String>,
    remove: Vec<String>,
    output: Output,
) -> Result<(), Failure> {
    let Change { devices, who, why, .. } = change;
    let mut tagged = TaggedDevices { devices: Vec::new() };
    for endpoints in devices.chunks(DEVICES_AT_A_TIME) {
        let asked = TagDevices {
            request_id: random_id()?,
            endpoints: endpoints.to_vec(),
            add: add.clone(),
            remove: remove.clone(),
            who: who.clone(),
            why: why.clone(),
        };
        let now: TaggedDevices = client.post("/v1/commands/devices/tag", &asked).await?;
        tagged.devices.extend(now.devices);
    }
    output.print(&tagged, |tagged| listed(&tagged.devices));
    Ok(())
}

async fn all(client: &Client) -> Result<Vec<TagCount>, Failure> {
    let mut asked = ListTags { limit: Some(PAGE), ..ListTags::default() };
    let mut tags = Vec::new();
    loop {
        let page: TagPage = client.post("/v1/commands/devices/tags", &asked).await?;
        tags.extend(page.tags);
        match page.next {
            Some(next) => asked.after = Some(next),
            None => return Ok(tags),
        }
    }
}

fn listed(devices: &[DeviceTags]) -> String {
    let rows: Vec<_> = devices.iter().map(|one| vec![one.endpoint.clone(), one.tags.join(" ")]).collect();
    table(&["DEVICE", "TAGS"], &rows)
}

fn counted(tags: &[TagCount]) -> String {
    let rows: Vec<_> = tags.iter().map(|one| vec![one.tag.clone(), one.devices.to_string()]).collect();
    table(&["TAG", "DEVICES"], &rows)
}

/// As many as the server takes in one request.
const DEVICES_AT_A_TIME: usize = 500;

/// As many as the server gives in one page.
const PAGE: u32 = 1_000;
