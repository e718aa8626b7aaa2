//! `bellwether device`: enrolment and what is known of devices.

use std::path::{Path, PathBuf};

use bellwether_api::{AddDevice, Device, Explanation, NewDevice, Security};
use clap::{Subcommand, ValueEnum};

use crate::client::{Client, Server, percent_encoded};
use crate::failure::Failure;
use crate::output::{Output, short, table};
use crate::unit_file;

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
    /// Takes a device off the list of its gateway: from then on it asks the server itself
    Detach {
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
        Command::Add { endpoint, class, security, gateway, out } => {
            let security = match security {
                Protection::Psk => Security::Psk,
                Protection::None => Security::None,
            };
            let out = out.unwrap_or_else(|| PathBuf::from(format!("{endpoint}.unit")));
            add(&client, &AddDevice { endpoint, class, security, gateway }, &out, output).await
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
        Command::Detach { endpoint } => {
            let path = format!("/v1/devices/{}/gateway", percent_encoded(&endpoint));
            let device: Device = client.delete(&path).await?;
            output.print(&device, |device| format!("{} asks the server itself from now on", device.endpoint));
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
        "device      {}\nclass       {}\nsecurity    {security}\ngateway     {}\nruns        {}\nkey index   {} in epoch {}\nregistered  {}",
        device.endpoint,
        device.class,
        device.gateway.as_deref().unwrap_or("none"),
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
