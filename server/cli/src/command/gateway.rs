//! `bellwether gateway`: caches near the devices.

use std::path::PathBuf;

use bellwether_api::{AddGateway, Gateway, NewGateway};
use clap::Subcommand;

use crate::client::{Client, Server, percent_encoded};
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::unit_file;

/// Gateways.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Enrols a gateway and writes its unit file
    ///
    /// The unit file (mode 0600) holds the key of the gateway's link to the server and the anchors. Give it to
    /// `bellwether-gateway --unit`. Then enrol devices with `bellwether device add --gateway NAME`.
    Add {
        /// Name, 1 to 64 bytes; also the gateway's DTLS identity
        name: String,
        /// Where its devices call it: `coaps://HOST:PORT`
        #[arg(long, value_name = "URI")]
        uri: String,
        /// Where to write the unit file [default: NAME.unit]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Lists gateways
    List,
    /// Shows one gateway
    Show {
        /// Name
        name: String,
    },
    /// Removes a gateway: its key ends at once, and its devices ask the server themselves
    Remove {
        /// Name
        name: String,
    },
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn run(command: Command, server: &Server, output: Output) -> Result<(), Failure> {
    let client = Client::new(server)?;
    match command {
        Command::Add { name, uri, out } => {
            let out = out.unwrap_or_else(|| PathBuf::from(format!("{name}.unit")));
            let asked = AddGateway { name, uri };
            let answer = client.post("/v1/gateways", &asked);
            let gateway = unit_file::write(&out, answer, |new: NewGateway| (new.gateway, new.unit)).await?;
            output.print(&gateway, |gateway| {
                format!("Enrolled gateway {}. Its unit file: {}", gateway.name, out.display())
            });
        }
        Command::List => {
            let gateways: Vec<Gateway> = client.get("/v1/gateways").await?;
            output.print(&gateways, |gateways| list(gateways));
        }
        Command::Show { name } => {
            let gateway: Gateway = client.get(&path(&name)).await?;
            output.print(&gateway, show);
        }
        Command::Remove { name } => {
            let gateway: Gateway = client.delete(&path(&name)).await?;
            output.print(&gateway, |gateway| {
                format!(
                    "Removed gateway {}; its {} devices ask the server themselves",
                    gateway.name, gateway.devices
                )
            });
        }
    }
    Ok(())
}

fn path(name: &str) -> String {
    format!("/v1/gateways/{}", percent_encoded(name))
}

fn list(gateways: &[Gateway]) -> String {
    let row = |gateway: &Gateway| {
        vec![
            gateway.name.clone(),
            gateway.uri.clone(),
            gateway.devices.to_string(),
            gateway.present.clone().unwrap_or_else(|| "no".to_owned()),
        ]
    };
    table(&["GATEWAY", "URI", "DEVICES", "PRESENT"], &gateways.iter().map(row).collect::<Vec<_>>())
}

fn show(gateway: &Gateway) -> String {
    format!(
        "gateway  {}\nuri      {}\ndevices  {}\npresent  {}",
        gateway.name,
        gateway.uri,
        gateway.devices,
        gateway.present.as_deref().unwrap_or("no"),
    )
}
