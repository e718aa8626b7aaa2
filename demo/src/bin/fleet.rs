//! `fleet`: many devices in one process.

use std::process::ExitCode;

use bellwether_demo::fleet::cast::{DEVICES_MAX, Share};
use bellwether_demo::fleet::process;
use clap::Parser;

/// Makes devices from their unit files, in the working folder, and switches them on
///
/// Writes a line of JSON with their counts four times a second. Ends when its standard input does.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Number of the first device
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(DEVICES_MAX)))]
    first: u32,
    /// From a device's number to the next one's
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(DEVICES_MAX)))]
    step: u32,
    /// How many devices
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(DEVICES_MAX)))]
    count: u32,
    /// How many may be on their way to their first registration at a time
    #[arg(long, value_name = "N", default_value_t = 64)]
    registering_max: u32,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let share = Share { first: cli.first, step: cli.step, count: cli.count };
    match process::run(share, cli.registering_max) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error}");
            ExitCode::FAILURE
        }
    }
}
