//! `bellwether device`: enrolment and what is known of devices.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bellwether_api::{AddDevice, Device, Explanation, NewDevice, Security};
use clap::{Subcommand, ValueEnum};

use crate::client::{Client, Server, percent_encoded};
use crate::failure::Failure;
use crate::file;
use crate::output::{Output, short, table};

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
        /// Where to write the unit file [default: ENDPOINT.unit]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Lists devices
    List,
    /// Shows one device
    Show {
        /// Endpoint name
        endpoint: String,
    },
    /// Tells the story of a device: what it was offered, what it asked, what it got, and why not
    Explain {
        /// Endpoint name
        endpoint: String,
    },
}

/// How datagrams are protected.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Protection {
    /// DTLS 1.2 with a pre-shared key
    Psk,
    /// Plain UDP; works only where the server has `--coap`
    None,
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn run(command: Command, server: &Server, output: Output) -> Result<(), Failure> {
    let client = Client::new(server)?;
    match command {
        Command::Add { endpoint, class, security, out } => {
            let security = match security {
                Protection::Psk => Security::Psk,
                Protection::None => Security::None,
            };
            let out = out.unwrap_or_else(|| PathBuf::from(format!("{endpoint}.unit")));
            add(&client, &AddDevice { endpoint, class, security }, &out, output).await
        }
        Command::List => {
            let devices: Vec<Device> = client.get("/v1/devices").await?;
            output.print(&devices, |devices| list(devices));
            Ok(())
        }
        Command::Show { endpoint } => {
            let device: Device = client.get(&format!("/v1/devices/{}", percent_encoded(&endpoint))).await?;
            output.print(&device, show);
            Ok(())
        }
        Command::Explain { endpoint } => {
            let path = format!("/v1/devices/{}/explain", percent_encoded(&endpoint));
            let story: Explanation = client.get(&path).await?;
            output.print(&story, |story| story.lines.join("\n"));
            Ok(())
        }
    }
}

/// Opens the unit file before the server is asked: a seed that can't be written down would be lost.
async fn add(client: &Client, asked: &AddDevice, out: &Path, output: Output) -> Result<(), Failure> {
    let mut open = OpenOptions::new();
    let mut file = open
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .map_err(|error| file::not_made(out, &error))?;
    let answer: Result<NewDevice, Failure> = client.post("/v1/devices", asked).await;
    let written = answer.and_then(|new| {
        let unit = hex::decode(&new.unit).map_err(|error| Failure::file(out, error))?;
        file.write_all(&unit).and_then(|()| file.sync_all()).map_err(|error| Failure::file(out, error))?;
        Ok(new.device)
    });
    match written {
        Ok(device) => {
            output.print(&device, |device| {
                format!(
                    "Enrolled {} of class {}. Its unit file: {}",
                    device.endpoint,
                    device.class,
                    out.display()
                )
            });
            Ok(())
        }
        Err(failure) => {
            // Nothing was written; an empty unit file would only stand in the way of the next try.
            std::fs::remove_file(out).map_err(|error| Failure::file(out, error))?;
            Err(failure)
        }
    }
}

fn list(devices: &[Device]) -> String {
    let row = |device: &Device| {
        vec![
            device.endpoint.clone(),
            device.class.clone(),
            running(device),
            format!("{}.{}", device.epoch, device.index),
            device.registered.clone().unwrap_or_else(|| "no".to_owned()),
        ]
    };
    table(&["DEVICE", "CLASS", "RUNS", "INDEX", "REGISTERED"], &devices.iter().map(row).collect::<Vec<_>>())
}

fn show(device: &Device) -> String {
    let security = match device.security {
        Security::Psk => "DTLS with a pre-shared key",
        Security::None => "none (plain UDP)",
    };
    format!(
        "device      {}\nclass       {}\nsecurity    {security}\nruns        {}\nkey index   {} in epoch {}\nregistered  {}",
        device.endpoint,
        device.class,
        running(device),
        device.index,
        device.epoch,
        device.registered.as_deref().unwrap_or("no"),
    )
}

fn running(device: &Device) -> String {
    match (&device.version, &device.runs) {
        (Some(version), _) => version.clone(),
        (None, Some(digest)) => format!("image {}", short(digest)),
        (None, None) => "not yet known".to_owned(),
    }
}
