//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{Flags, Place};

/// The Bellwether server: LwM2M devices come in by CoAP over DTLS, fleet managers by HTTP on loopback
///
/// It needs no set-up: the first start makes its data folder with a database, a master key and a token. Back the
/// master key up (DATA/master.key); without it, what is sealed in the database is lost. Then see `bellwether --help`
/// for the way to a first campaign. Without a command it serves.
#[derive(Debug, Parser)]
#[command(
    name = "bellwether-server",
    version,
    after_help = "Examples:\n  \
                  bellwether-server                                      # everything in ./bellwether-data\n  \
                  bellwether-server --config /etc/bellwether/server.toml\n  \
                  bellwether-server check-config --config /etc/bellwether/server.toml\n  \
                  bellwether-server backup --data /var/lib/bellwether-server /backups/today.tar"
)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What the server is told.
    #[command(flatten)]
    pub flags: Flags,
    /// What to log: error, warn, info, debug, or per module
    #[arg(long, env = "BELLWETHER_LOG", default_value = "info")]
    pub log: String,
    /// Log as JSON, a line an entry
    #[arg(long, env = "BELLWETHER_LOG_JSON")]
    pub log_json: bool,
}

/// What `bellwether-server` does beside serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Backs the data folder up to one file, while the server runs
    ///
    /// The file is a tar archive, its owner's alone: database, images, the token of HTTP and the broker's login, with
    /// the SHA-256 of each, sealed under the master key. That key is not in it, nor is the configuration file: keep those
    /// elsewhere.
    Backup {
        /// Where the data is.
        #[command(flatten)]
        place: Place,
        /// The backup; a file that is not there yet
        file: PathBuf,
    },
    /// Makes a data folder from a backup, while no server runs on it
    ///
    /// Put the master key into the folder first (DATA/master.key). Every digest is verified, and the seal, before anything
    /// is changed. Devices that went on since the backup are challenged once and taken where they prove to stand.
    Restore {
        /// Where the data is.
        #[command(flatten)]
        place: Place,
        /// The backup
        file: PathBuf,
        /// Move a server's data that is in the folder aside, into a folder beside it
        #[arg(long)]
        replace: bool,
        /// Days for which devices are taken where they prove to stand; 0: only after `bellwether device resync`
        #[arg(long, default_value_t = RESYNC_DAYS)]
        resync_days: u32,
    },
    /// Says every mistake of a configuration at once; starts nothing, changes nothing
    ///
    /// Give it what the server is given: flags go before the word check-config, or into the environment and the file.
    /// Mistakes and warnings go to standard error, with line and column where they stand in the file; to standard output
    /// goes what the server would use, passwords withheld, each with who said so. Ends with 1 where there is a mistake.
    ///
    /// Examples:
    ///
    ///   bellwether-server check-config --config /etc/bellwether/server.toml
    ///   bellwether-server --http 127.0.0.1:9000 check-config --try --json
    #[command(verbatim_doc_comment)]
    CheckConfig {
        /// Where the data is.
        #[command(flatten)]
        place: Place,
        /// Really bind the sockets, look into the database, reach the broker and run the command for the master key
        #[arg(long = "try")]
        attempt: bool,
        /// Print JSON, for scripts
        #[arg(long)]
        json: bool,
    },
    /// Asks the server that is at work on the data folder whether it is well
    ///
    /// Prints each check with what it found; ends with 0 where the server can do its work, else with 1.
    Health {
        /// Where the data is.
        #[command(flatten)]
        place: Place,
    },
    /// Cuts the ledger, while no server runs on it; a server does so by itself with --ledger-keep-days
    Ledger {
        /// What.
        #[command(subcommand)]
        what: LedgerCommand,
    },
    /// Looks through the database, or takes it to PostgreSQL, while no server runs on it
    Store {
        /// What.
        #[command(subcommand)]
        what: StoreCommand,
    },
}

/// What is done with a store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Reads what must not be forgotten as the server would, and every image of a release with its digest
    ///
    /// Ends with 1 where something is wrong, and says what.
    Check {
        /// Where the data is.
        #[command(flatten)]
        place: Place,
    },
    /// Copies the database of a data folder into an empty PostgreSQL, compares it, and moves the file aside
    ///
    /// Everything goes over in one transaction, or nothing. Images and keys stay in the data folder. Then start the server
    /// with --store and the same URL. DTLS sessions of sleeping devices stay behind: those devices shake hands once.
    Copy {
        /// Where the data is.
        #[command(flatten)]
        place: Place,
        /// Where it goes: `postgres://USER@HOST:PORT/NAME`
        #[arg(long, env = "BELLWETHER_COPY_TO", value_name = "URL", hide_env_values = true)]
        to: String,
    },
}

/// What is done with a ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Exports what happened before a time to files, and removes it from the ledger
    ///
    /// Events of campaigns that go on or were halted stay, as do those that were not counted yet or that the broker has not
    /// acknowledged, and the last one. Ended in the middle, it loses nothing: run it again.
    ///
    /// Examples:
    ///
    ///   bellwether-server ledger prune --before 400d --dry-run
    ///   bellwether-server ledger prune --before 2026-01-01 --to /archive/ledger --yes
    #[command(verbatim_doc_comment)]
    Prune {
        /// Where the data is.
        #[command(flatten)]
        place: Place,
        /// A day or a moment of UTC, `2026-01-01` or `2026-01-01T12:00:00Z`, or how long ago, `400d`
        #[arg(long, value_name = "WHEN")]
        before: String,
        /// Folder for the exported events [default: that of --ledger-folder]
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
        /// Say what would go; change nothing
        #[arg(long, conflicts_with = "yes")]
        dry_run: bool,
        /// Do it
        #[arg(long)]
        yes: bool,
        /// Who wants it, for the ledger
        #[arg(long)]
        who: Option<String>,
        /// Why, for the ledger
        #[arg(long)]
        why: Option<String>,
    },
}

/// Devices that sleep for weeks have asked by then; whoever copied a device's flash gains no more by it than one update.
const RESYNC_DAYS: u32 = 30;
