//! `board-factory`: makes the flash of an emulated board.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use bellwether_demo::board::factory::{self, Made};
use clap::Parser;

/// Makes the flash of an emulated board beside its unit file, as a factory does: FILE.nor for FILE.unit
#[derive(Debug, Parser)]
struct Cli {
    /// Unit file, from `bellwether device add --security none`
    #[arg(long, value_name = "FILE")]
    unit: PathBuf,
    /// Domain name of the vendor
    #[arg(long, value_name = "DOMAIN")]
    vendor: String,
    /// Class of the device
    #[arg(long, value_name = "NAME")]
    class: String,
    /// Firmware that the board runs at first
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// Version of that firmware
    #[arg(long)]
    version: String,
    /// Where the server takes CoAP over plain UDP, on this machine's loopback
    #[arg(long, value_name = "HOST:PORT")]
    server: SocketAddr,
}

fn main() -> ExitCode {
    match make(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("board-factory: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let image = std::fs::read(&cli.image).map_err(|error| format!("{}: {error}", cli.image.display()))?;
    let made = Made {
        unit: &cli.unit,
        vendor: &cli.vendor,
        class: &cli.class,
        image: &image,
        version: &cli.version,
        patches: true,
        server: cli.server,
    };
    println!("{}", factory::flash(&made)?.display());
    Ok(())
}
