//! `bellwether device`: enrolment and what is known of devices.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bellwether_api::{
    AddDevice, DecommissionDevice, Device, Explanation, NewCredential, NewDevice, OrderDevice, QueueMode,
    ReadDevice, ReadValue, Reading, ReplaceCredential, ResyncAll, Resynced, Security,
};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::audit::humantime;
use super::campaign::{Reasoned, random_id};
use super::{device_bulk, tag};
use crate::client::{Client, Server, percent_encoded};
use crate::failure::Failure;
use crate::output::{Output, short, table};
use crate::{system, unit_file};

/// Devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Enrols a device and writes its unit file
    ///
    /// The unit file (mode 0600) holds the device's seed, DTLS key and anchors. It is written once: the
    /// server keeps the seed sealed and never shows it again. Put it into the device, then delete it.
    Add {
        /// Endpoint name, 1 to 64 bytes; also the device's DTLS identity
        endpoint: String,
        /// Class name, as in the author's manifests
        #[arg(long)]
        class: String,
        /// How the device is reached
        #[arg(long, value_enum, default_value = "psk")]
        security: Protection,
        /// Name of the gateway that it sends its update requests to, see `bellwether gateway`
        #[arg(long, value_name = "NAME")]
        gateway: Option<String>,
        /// Updates until it needs a new seed, 1 to 4096 [default: 1024]
        #[arg(long, value_name = "N")]
        chain_length: Option<u16>,
        /// Where to write the unit file [default: ENDPOINT.unit]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Lists devices
    List {
        /// Only those with this tag
        #[arg(long, value_name = "TAG")]
        tag: Option<String>,
    },
    /// Enrols the devices of a list, all or none, and writes their unit files
    ///
    /// The list is CSV with a header (endpoint, class and, where wanted, security, gateway, `chain_length`, tags) or a JSON
    /// object a line with the same fields. It is checked whole before anybody is enrolled; what is wrong is named with its
    /// line. Unit files (folder 0700, files 0600) are handed out until they were received, and never again: where this
    /// breaks off, run it again with the same list.
    ///
    ///   bellwether device import fleet.csv --dry-run
    ///   bellwether device import fleet.csv --units units
    #[command(verbatim_doc_comment)]
    Import(device_bulk::Import),
    /// Writes the devices as a list that `import` takes, without keys; decommissioned ones are left out
    Export(device_bulk::Export),
    /// Tags: puts them to devices, takes them off, lists them
    #[command(subcommand)]
    Tag(tag::Command),
    /// Gives a device up, for good: its keys are destroyed, its sessions end, campaigns go on without it
    ///
    /// Right when a device was scrapped, sold or stolen. On its next contact it is refused. Its name stays taken, so
    /// that the ledger never speaks of two devices by one name; a backup from before still has its keys. To refuse a
    /// device for a while only, block it.
    Decommission {
        /// Endpoint name
        endpoint: String,
        #[command(flatten)]
        reasoned: Reasoned,
    },
    /// DTLS credentials: replaces one
    #[command(subcommand)]
    Credential(Credential),
    /// Shows one device
    Show {
        /// Endpoint name
        endpoint: String,
    },
    /// Asks a registered device for what it has at a path
    ///
    /// Objects 1, 3 and 5 are shown with names, types and units; what is unknown here is shown as the device
    /// wrote it. A device that sleeps does not answer.
    Read {
        /// Endpoint name
        endpoint: String,
        /// Object, instance, resource or resource instance: /3, /3/0, /3/0/9, /3/0/6/1
        path: String,
    },
    /// Takes a device off the list of its gateway: from then on it asks the server itself
    Detach {
        /// Endpoint name
        endpoint: String,
    },
    /// Takes a device that is ahead of the server where it proves to stand, once
    ///
    /// Right after the alarm "ahead of the server", when you know why: the database was restored from a
    /// backup, or the device installed updates that the server did not see. The device proves place, fork
    /// head and counter under its key, and they are taken; the server never goes backward. With --all:
    /// "the database was restored from a backup": every device is challenged once, and until then what
    /// each proves is taken.
    Resync(Resync),
    /// Lets a device have an update that it confirmed once more
    ///
    /// Right after the alarm "repeated request", when the device honestly lost what it installed: it was
    /// reflashed on the bench, or its flash was replaced. One new grant, then refused again.
    Reissue(Reissue),
    /// Lets a device that lost its state go on from where the server stands
    ///
    /// Right after the alarm "clone or rolled-back device", when you know that there is one device only and
    /// that its flash was restored from a copy. Never for a device that you can't see: a clone would be
    /// let go on in its stead. Not possible over an epoch that was opened with shares.
    Forward(Order),
    /// Refuses every request of a device; its reports still count
    ///
    /// Right when a device was stolen or its identity cloned: nothing more is granted to whoever holds it.
    Block(Order),
    /// Ends a block
    Unblock(Order),
    /// Tells the story of a device: what it was offered, what it asked, what it got, and why not
    Explain {
        /// Endpoint name
        endpoint: String,
    },
}

/// DTLS credentials.
#[derive(Debug, Subcommand)]
pub(crate) enum Credential {
    /// Makes a new DTLS key for a device and writes a unit file with it
    ///
    /// The one in force is taken until the device first uses the new one, and refused from then on; its sessions end. The
    /// unit file (mode 0600) has no seed: it is for a device that is at work. Put it there with `bellwether-agent
    /// credential`, then delete it.
    Replace {
        /// Endpoint name
        endpoint: String,
        /// Refuse the one in force from now on: right when it was stolen
        #[arg(long)]
        at_once: bool,
        /// Make another one though a new one waits for its first use; that one is void
        #[arg(long)]
        again: bool,
        #[command(flatten)]
        reasoned: Reasoned,
        /// Where to write the unit file [default: ENDPOINT.unit]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// An order about one device; it is kept in the ledger with who gave it and why.
#[derive(Args, Debug)]
pub(crate) struct Order {
    /// Endpoint name
    endpoint: String,
    #[command(flatten)]
    said: Said,
}

/// An order to take one device, or all, where they stand.
#[derive(Args, Debug)]
pub(crate) struct Resync {
    /// Endpoint name
    #[arg(required_unless_present = "all")]
    endpoint: Option<String>,
    /// The database was restored from a backup: challenge everyone once, and take what they prove
    #[arg(long, conflicts_with = "endpoint")]
    all: bool,
    #[command(flatten)]
    said: Said,
}

/// An order to let a device have an update once more.
#[derive(Args, Debug)]
pub(crate) struct Reissue {
    /// Endpoint name
    endpoint: String,
    /// Digest of the manifest [default: the one that it confirmed last]
    #[arg(long, value_name = "DIGEST")]
    manifest: Option<String>,
    #[command(flatten)]
    said: Said,
}

/// What is said with every order.
#[derive(Args, Debug)]
pub(crate) struct Said {
    /// Why, for whoever reads the ledger
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who orders it, for whoever reads the ledger [default: $USER]
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    who: Option<String>,
    /// How long it holds, e.g. 2d, 12h [default: resync and forward a day, resync --all two, block for ever]
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasting: Option<Duration>,
    /// Until when it holds, seconds since 1970
    #[arg(long, value_name = "SECONDS", conflicts_with = "lasting")]
    until: Option<u64>,
    /// Names the request: the same one again is carried out once [default: a random one]
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

/// How datagrams are protected.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Protection {
    /// DTLS 1.2 with a pre-shared key
    Psk,
    /// Plain UDP; works only where the server has `--coap`
    None,
}

/// What is printed of a new credential.
#[derive(Debug, Serialize)]
struct Replaced {
    endpoint: String,
    number: u64,
    identity: String,
}

async fn replace(
    client: &Client,
    endpoint: &str,
    asked: &ReplaceCredential,
    out: &Path,
    output: Output,
) -> Result<(), Failure> {
    let path = format!("/v1/devices/{}/credential", percent_encoded(endpoint));
    let answer = client.post::<_, NewCredential>(&path, asked);
    let made = unit_file::write(out, answer, |new| {
        (Replaced { endpoint: new.endpoint, number: new.number, identity: new.identity }, new.unit)
    });
    output.print(&made.await?, |made| {
        let before = if asked.at_once {
            "is refused from now on"
        } else {
            "is taken until the device has used this one"
        };
        format!(
            "Made credential {} of {}, under the DTLS identity {:?}; the one before it {before}.\n\
             Put {} into the device (bellwether-agent credential), then delete it.",
            made.number,
            made.endpoint,
            made.identity,
            out.display()
        )
    });
    Ok(())
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn run(command: Command, server: &Server, output: Output) -> Result<(), Failure> {
    let client = Client::new(server)?;
    match command {
        Command::Add { endpoint, class, security, gateway, chain_length, out } => {
            let security = match security {
                Protection::Psk => Security::Psk,
                Protection::None => Security::None,
            };
            let out = out.unwrap_or_else(|| PathBuf::from(format!("{endpoint}.unit")));
            let asked = AddDevice { endpoint, class, security, gateway, chain_length };
            add(&client, &asked, &out, output).await
        }
        Command::Import(asked) => device_bulk::import(&asked, &client, output).await,
        Command::Export(asked) => device_bulk::export(asked, &client).await,
        Command::Tag(command) => tag::run(command, &client, output).await,
        Command::Decommission { endpoint, reasoned: Reasoned { why, who, request_id } } => {
            let request_id = request_id.map_or_else(random_id, Ok)?;
            let asked = DecommissionDevice { request_id, endpoint, why, who };
            let device: Device = client.post("/v1/commands/devices/decommission", &asked).await?;
            output.print(&device, |device| format!("Decommissioned {}: its keys are gone", device.endpoint));
            Ok(())
        }
        Command::Credential(Credential::Replace { endpoint, at_once, again, reasoned, out }) => {
            let Reasoned { why, who, request_id } = reasoned;
            let out = out.unwrap_or_else(|| PathBuf::from(format!("{endpoint}.unit")));
            let request_id = request_id.map_or_else(random_id, Ok)?;
            let asked = ReplaceCredential { request_id, at_once, again, why, who };
            replace(&client, &endpoint, &asked, &out, output).await
        }
        Command::List { tag } => {
            let which = tag.map(|tag| format!("?tag={}", percent_encoded(&tag))).unwrap_or_default();
            let devices: Vec<Device> = client.get(&format!("/v1/devices{which}")).await?;
            output.print(&devices, |devices| list(devices));
            Ok(())
        }
        Command::Show { endpoint } => {
            let device: Device = client.get(&format!("/v1/devices/{}", percent_encoded(&endpoint))).await?;
            output.print(&device, show);
            Ok(())
        }
        Command::Read { endpoint, path } => {
            let asked = ReadDevice { request_id: None, endpoint, path };
            let reading: Reading = client.post("/v1/commands/devices/read", &asked).await?;
            output.print(&reading, values);
            Ok(())
        }
        Command::Detach { endpoint } => {
            let path = format!("/v1/devices/{}/gateway", percent_encoded(&endpoint));
            let device: Device = client.delete(&path).await?;
            output.print(&device, |device| format!("{} asks the server itself from now on", device.endpoint));
            Ok(())
        }
        Command::Resync(Resync { endpoint: None, said, .. }) => resync_all(&client, said, output).await,
        Command::Resync(Resync { endpoint: Some(endpoint), said, .. }) => {
            order(&client, "resync", Order { endpoint, said }, None, output).await
        }
        Command::Reissue(Reissue { endpoint, manifest, said }) => {
            order(&client, "reissue", Order { endpoint, said }, manifest, output).await
        }
        Command::Forward(asked) => order(&client, "forward", asked, None, output).await,
        Command::Block(asked) => order(&client, "block", asked, None, output).await,
        Command::Unblock(asked) => order(&client, "unblock", asked, None, output).await,
        Command::Explain { endpoint } => {
            let path = format!("/v1/devices/{}/explain", percent_encoded(&endpoint));
            let story: Explanation = client.get(&path).await?;
            output.print(&story, told);
            Ok(())
        }
    }
}

/// The story under three headings; one without lines is left out.
fn told(story: &Explanation) -> String {
    let behind = story.standing.len() + story.advice.len();
    let happened = story.lines.get(behind..).unwrap_or_default();
    let parts =
        [("NOW", story.standing.as_slice()), ("WHAT TO DO", &story.advice), ("WHAT HAPPENED", happened)];
    let part = |(heading, lines): (&str, &[String])| format!("{heading}\n  {}", lines.join("\n  "));
    let told = parts.into_iter().filter(|(_, lines)| !lines.is_empty()).map(part);
    told.collect::<Vec<_>>().join("\n\n")
}

/// Until when an order holds, where it was said.
fn until(said: &Said) -> Result<Option<u64>, Failure> {
    match said.lasting {
        Some(lasting) => Ok(Some(system::now()?.saturating_add(lasting.as_secs()))),
        None => Ok(said.until),
    }
}

async fn order(
    client: &Client,
    verb: &str,
    Order { endpoint, said }: Order,
    manifest: Option<String>,
    output: Output,
) -> Result<(), Failure> {
    let until = until(&said)?;
    let Said { why, who, request_id, .. } = said;
    let request_id = request_id.map_or_else(random_id, Ok)?;
    let asked = OrderDevice { request_id, endpoint, why, who, until, manifest };
    let device: Device = client.post(&format!("/v1/commands/devices/{verb}"), &asked).await?;
    output.print(&device, show);
    Ok(())
}

async fn resync_all(client: &Client, said: Said, output: Output) -> Result<(), Failure> {
    let until = until(&said)?;
    let Said { why, who, request_id, .. } = said;
    let request_id = request_id.map_or_else(random_id, Ok)?;
    let asked = ResyncAll { request_id, why, who, until };
    let done: Resynced = client.post("/v1/commands/devices/resync-all", &asked).await?;
    output.print(&done, |done| {
        format!("Every device is challenged once; what it proves is taken until {}", done.until)
    });
    Ok(())
}

async fn add(client: &Client, asked: &AddDevice, out: &Path, output: Output) -> Result<(), Failure> {
    let answer = client.post("/v1/devices", asked);
    let device = unit_file::write(out, answer, |new: NewDevice| (new.device, new.unit)).await?;
    output.print(&device, |device| {
        let by = device.gateway.as_ref().map(|gateway| format!(" behind {gateway}")).unwrap_or_default();
        format!(
            "Enrolled {} of class {}{by}. Its unit file: {}",
            device.endpoint,
            device.class,
            out.display()
        )
    });
    Ok(())
}

fn list(devices: &[Device]) -> String {
    let row = |device: &Device| {
        vec![
            device.endpoint.clone(),
            device.class.clone(),
            running(device),
            format!("{}.{}", device.epoch, device.index),
            match (device.decommissioned, &device.registered) {
                (Some(_), _) => "decommissioned".to_owned(),
                (None, Some(address)) => match &device.queue_mode {
                    Some(queue) if queue.asleep => format!("{address}, asleep"),
                    _ => address.clone(),
                },
                (None, None) => "no".to_owned(),
            },
            device.tags.join(" "),
        ]
    };
    table(
        &["DEVICE", "CLASS", "RUNS", "INDEX", "REGISTERED", "TAGS"],
        &devices.iter().map(row).collect::<Vec<_>>(),
    )
}

fn values(reading: &Reading) -> String {
    let row = |read: &ReadValue| {
        vec![
            read.path.clone(),
            read.name.clone().unwrap_or_default(),
            value(&read.value),
            read.unit.clone().unwrap_or_default(),
        ]
    };
    table(&["PATH", "NAME", "VALUE", "UNIT"], &reading.values.iter().map(row).collect::<Vec<_>>())
}

/// Texts come from the device: what a terminal would act on is escaped.
fn value(value: &serde_json::Value) -> String {
    match value.as_str() {
        Some(text) => text
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .collect(),
        None => value.to_string(),
    }
}

fn show(device: &Device) -> String {
    let security = match device.security {
        Security::Psk => "DTLS with a pre-shared key",
        Security::None => "none (plain UDP)",
    };
    format!(
        "device      {}\nclass       {}\nsecurity    {security}\ngateway     {}\nruns        {}\nkey index   {} in epoch {}\nregistered  {}{}",
        device.endpoint,
        device.class,
        device.gateway.as_deref().unwrap_or("none"),
        running(device),
        device.index,
        device.epoch,
        device.registered.as_deref().unwrap_or("no"),
        notes(device),
    )
}

/// What is not so of most devices.
fn notes(device: &Device) -> String {
    let tags = if device.tags.is_empty() {
        String::new()
    } else {
        format!("\ntags        {}", device.tags.join(" "))
    };
    let credential = credential(device);
    let queue = device.queue_mode.as_ref().map(queue_mode).unwrap_or_default();
    let given_up = device.decommissioned.map(|at| format!("\ndecommissioned at {at}")).unwrap_or_default();
    format!(
        "{queue}{tags}{credential}{}{given_up}",
        match device.blocked_until {
            None => String::new(),
            Some(u64::MAX) => "\nblocked     until it is unblocked".to_owned(),
            Some(until) => format!("\nblocked     until {until}"),
        },
    )
}

/// Which credential is taken of a device, where it is not the one from the factory alone.
fn credential(device: &Device) -> String {
    match (device.credential, device.credential_waits) {
        (0 | 1, false) => String::new(),
        (number, false) => format!("\ncredential  {number}"),
        (number, true) => {
            let since = device.credential_waits_since.map(|at| format!(" since {}", humantime(at)));
            let since = since.unwrap_or_default();
            format!("\ncredential  {number} works until {} is used, which waits for it{since}", number + 1)
        }
    }
}

/// Until when a device in queue mode is awake, or since when it sleeps.
fn queue_mode(queue: &QueueMode) -> String {
    let by = queue.heard_by.map(|at| format!("; heard of by about {}", humantime(at))).unwrap_or_default();
    match (queue.since, queue.until) {
        (Some(since), _) => format!("\nqueue mode  asleep since {}{by}", humantime(since)),
        (None, until) => format!("\nqueue mode  awake until {}", until.map(humantime).unwrap_or_default()),
    }
}

fn running(device: &Device) -> String {
    match (&device.version, &device.runs) {
        (Some(version), _) => version.clone(),
        (None, Some(digest)) => format!("image {}", short(digest)),
        (None, None) => "not yet known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_that_waits_is_shown_with_since_when_and_with_what_works_until_then() {
        let shown = |number: u64, waits: bool, since: Option<u64>| {
            let told = serde_json::json!({
                "endpoint": "lamp-1", "class": "lamp", "security": "psk", "created": 1, "epoch": 0, "index": 0, "told": false,
                "credential": number, "credential_waits": waits, "credential_waits_since": since,
            });
            credential(&serde_json::from_value(told).expect("a device"))
        };
        assert_eq!(
            (shown(1, false, None), shown(2, false, None)),
            (String::new(), "\ncredential  2".to_owned())
        );
        assert_eq!(
            shown(1, true, Some(951_782_400)),
            "\ncredential  1 works until 2 is used, which waits for it since 2000-02-29 00:00:00Z"
        );
        assert_eq!(shown(2, true, None), "\ncredential  2 works until 3 is used, which waits for it");
    }

    #[test]
    fn device_in_queue_mode_is_shown_with_when_it_can_be_reached() {
        let queue = |since: Option<u64>, until, heard_by| QueueMode {
            asleep: since.is_some(),
            since,
            until,
            heard_by,
        };
        let asleep = queue_mode(&queue(Some(951_782_400), None, Some(951_782_700)));
        assert_eq!(
            asleep,
            "\nqueue mode  asleep since 2000-02-29 00:00:00Z; heard of by about 2000-02-29 00:05:00Z"
        );
        assert_eq!(
            queue_mode(&queue(None, Some(951_782_400), None)),
            "\nqueue mode  awake until 2000-02-29 00:00:00Z"
        );
    }
}
