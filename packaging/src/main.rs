//! Makes what a release has beside its programs, from the programs' own types.

mod licences;
mod manual;
mod reference;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Makes what a release has beside its programs: manual pages, completions, the configuration reference, licences
#[derive(Debug, Parser)]
#[command(name = "bellwether-packaging", version)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writes docs/configuration.md anew, or another file
    Configuration {
        /// The file
        #[arg(default_value = "docs/configuration.md")]
        file: PathBuf,
    },
    /// Writes manual pages to FOLDER/man/man1 and completions for bash, zsh and fish to FOLDER/completions
    Manual {
        /// The folder; made where it is not there
        folder: PathBuf,
    },
    /// Writes which code of others the programs are made of, and under which licences
    Licences {
        /// The file
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().what {
        What::Configuration { file } => std::fs::write(&file, reference::text()),
        What::Manual { folder } => manual::write(&programs(), &folder),
        What::Licences { file } => licences::text(Path::new("Cargo.toml"))
            .map_err(io::Error::other)
            .and_then(|text| std::fs::write(&file, text)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bellwether-packaging: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command lines of what a release has.
fn programs() -> [clap::Command; 4] {
    [
        bellwether::command(),
        bellwether_server::cli::Cli::command(),
        bellwether_gateway::config::Config::command(),
        bellwether_agent_host::command(),
    ]
}
