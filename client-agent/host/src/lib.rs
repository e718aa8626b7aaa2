//! The device's Linux shell: flash in a file, clock, network.
//!
//! Everything that decides is in `bellwether-agent`; here are the file that is its flash, the boot loader's loop, the
//! program that is its image, and the links to its server and its gateway.

mod cli;
mod clock;
mod credential;
mod device;
mod flash_file;
pub mod fleet;
mod halt;
mod header;
mod image;
mod link;
mod prepare;
mod random;
mod server;
mod session;
mod status;

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use device::Finished;
use status::StatusFile;
use std::error::Error;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Describes the command line, for manual pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        // Told on the same stream, that a line can't be written would end the device.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .init();
    let done = match &cli.command {
        Command::Flash(args) => prepare::prepare(args).map(|()| Finished::Well).map_err(Into::into),
        Command::Run(args) => switch_on(args),
        Command::Credential(args) => credential::replace(args).map(|()| Finished::Well).map_err(Into::into),
    };
    match done {
        Ok(Finished::Well) => ExitCode::SUCCESS,
        Ok(Finished::NotUpdated) => ExitCode::FAILURE,
        Err(error) => {
            tell(&*error);
            ExitCode::from(STATUS_ERROR)
        }
    }
}

fn switch_on(args: &cli::RunArgs) -> Result<Finished, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(device::run(args, StatusFile::new(args.status.clone())))?)
}

/// Prints an error with its causes, one line each.
fn tell(error: &dyn Error) {
    eprintln!("bellwether-agent: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  since {error}");
        cause = error.source();
    }
}

/// Exit status of a device that cannot go on, or of a flash that was not made.
const STATUS_ERROR: u8 = 2;
