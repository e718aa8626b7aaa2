//! `bellwether`: signs offline, else speaks HTTP with the server like anyone.

mod client;
mod command;
mod device_list;
mod failure;
mod file;
mod image_file;
mod key_file;
mod output;
mod summary;
mod system;
mod unit_file;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::client::Server;
use crate::command::{alarm, audit, campaign, delta, device, gateway, image, keys, manifest, release};
use crate::failure::Failure;
use crate::output::Output;

/// Safe, cheap software updates for constrained devices
///
/// A first update, from nothing:
///
///   bellwether-server &                                            # keeps everything in ./bellwether-data
///   bellwether keys new root.key && bellwether keys new author.key
///   bellwether keys distributor --out distributor.pub
///   bellwether keys anchors --vendor example.com --root root.key --author author.pub \
///       --distributor distributor.pub --out anchors.cose
///   bellwether keys trust anchors.cose
///   bellwether release publish lamp.bin --class lamp --version 2.0.0
///   bellwether device add lamp-1 --class lamp                      # writes lamp-1.unit for the device
///   bellwether manifest make --vendor example.com --sequence 2 --image lamp=lamp.bin --out lamp.suit
///   bellwether manifest sign lamp.suit --key author.key --out lamp.signed.suit
///   bellwether campaign launch --manifest lamp.signed.suit --watch
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment)]
struct Cli {
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
enum Noun {
    /// Keys and anchors: whom devices believe (offline, but for `distributor` and `trust`)
    #[command(subcommand)]
    Keys(keys::Command),
    /// Manifests: make, sign, show (offline), publish
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Releases: images that devices may be brought to, or come from
    #[command(subcommand)]
    Release(release::Command),
    /// Deltas: patches between two images: make, apply, show (offline)
    #[command(subcommand)]
    Delta(delta::Command),
    /// Firmware files: what they hold, and the flat image of ELF, Intel HEX or UF2 (offline)
    #[command(subcommand)]
    Image(image::Command),
    /// Devices: enrol, import, export, tag, list, show, explain, decommission
    #[command(subcommand)]
    Device(device::Command),
    /// Gateways: caches near the devices: enrol, list, show, remove
    #[command(subcommand)]
    Gateway(gateway::Command),
    /// Campaigns: launch, watch, pause, resume, cancel, retry-failed, list, explain
    #[command(subcommand)]
    Campaign(campaign::Command),
    /// Alarms: what needs a person's eye
    #[command(subcommand)]
    Alarm(alarm::Command),
    /// The ledger: who did what, when and why; what became of it
    #[command(subcommand)]
    Audit(audit::Command),
}

/// Describes the command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Does what the command line says.
///
/// # Panics
///
/// Where the system gives no event loop.
#[must_use]
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let output = if cli.json { Output::Json } else { Output::Text };
    match cli.noun {
        Noun::Keys(command) => keys::run(command, &cli.server, output).await,
        Noun::Manifest(command) => manifest::run(command, &cli.server, output).await,
        Noun::Release(command) => release::run(command, &cli.server, output).await,
        Noun::Delta(command) => delta::run(command, output),
        Noun::Image(command) => image::run(command, output),
        Noun::Device(command) => device::run(command, &cli.server, output).await,
        Noun::Gateway(command) => gateway::run(command, &cli.server, output).await,
        Noun::Campaign(command) => campaign::run(command, &cli.server, output).await,
        Noun::Alarm(command) => alarm::run(command, &cli.server, output).await,
        Noun::Audit(command) => audit::run(command, &cli.server, output).await,
    }
}
