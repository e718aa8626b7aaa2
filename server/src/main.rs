//! `bellwether-server`: one process, no set-up.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bellwether_net::ThisMachine;
use bellwether_server::backup::{self, BackupError, Wish};
use bellwether_server::config::{Config, Flags, Place, StoreAt};
use bellwether_server::shell;
use bellwether_server::store_care::{self, CareError, FINDINGS_MAX};
use bellwether_store::copy::Copied;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The Bellwether server: LwM2M devices come in by CoAP over DTLS, fleet managers by HTTP on loopback
///
/// It needs no set-up: the first start makes its data folder with a database, a master key and a token. Back the
/// master key up (DATA/master.key); without it, what is sealed in the database is lost. Then see `bellwether --help`
/// for the way to a first campaign. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "bellwether-server", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
    /// What to log: error, warn, info, debug, or per module
    #[arg(long, env = "BELLWETHER_LOG", default_value = "info")]
    log: String,
    /// Log as JSON, a line an entry
    #[arg(long, env = "BELLWETHER_LOG_JSON")]
    log_json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Backs the data folder up to one file, while the server runs
    ///
    /// The file is a tar archive, its owner's alone: database, images, the token of HTTP and the broker's login, with
    /// the SHA-256 of each, sealed under the master key. That key is not in it, nor is the configuration file: keep those
    /// elsewhere.
    Backup {
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
    /// Looks through the database, or takes it to PostgreSQL, while no server runs on it
    Store {
        #[command(subcommand)]
        what: StoreCommand,
    },
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Reads what must not be forgotten as the server would, and every image of a release with its digest
    ///
    /// Ends with 1 where something is wrong, and says what.
    Check {
        #[command(flatten)]
        place: Place,
    },
    /// Copies the database of a data folder into an empty PostgreSQL, compares it, and moves the file aside
    ///
    /// Everything goes over in one transaction, or nothing. Images and keys stay in the data folder. Then start the server
    /// with --store and the same URL. DTLS sessions of sleeping devices stay behind: those devices shake hands once.
    Copy {
        #[command(flatten)]
        place: Place,
        /// Where it goes: `postgres://USER@HOST:PORT/NAME`
        #[arg(long, env = "BELLWETHER_COPY_TO", value_name = "URL", hide_env_values = true)]
        to: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    log(&cli.log, cli.log_json);
    let done = match cli.command {
        Some(Command::Backup { place, file }) => match Config::resolve(cli.flags.at(place)) {
            Ok(config) => back_up(&config, &file).await,
            Err(error) => return fail(&error),
        },
        Some(Command::Restore { place, file, replace, resync_days }) => {
            match Config::resolve(cli.flags.at(place)) {
                Ok(config) => restore(&config, &file, replace, resync_days).await,
                Err(error) => return fail(&error),
            }
        }
        Some(Command::Store { what }) => return care(what, cli.flags).await,
        None => return serve(cli.flags).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn back_up(config: &Config, file: &Path) -> Result<(), BackupError> {
    if config.store != StoreAt::Folder {
        return Err(BackupError::Elsewhere(config.data.clone()));
    }
    let say = |line: &str| eprintln!("{line}");
    let command = config.master_key_command.as_deref();
    let made = backup::make(&config.data, file, command, Arc::new(ThisMachine), say).await?;
    println!("{}: {} files, {} bytes, digests verified", file.display(), made.files, made.bytes);
    match &config.master_key_command {
        None => println!(
            "The master key is not in it: keep a copy of {} elsewhere, without it the backup opens nothing.",
            config.data.join("master.key").display()
        ),
        Some(_) => println!("The master key is not in it: without it the backup opens nothing."),
    }
    Ok(())
}

async fn restore(config: &Config, file: &Path, replace: bool, days: u32) -> Result<(), BackupError> {
    let command = config.master_key_command.as_deref();
    if config.store != StoreAt::Folder {
        return Err(BackupError::Elsewhere(config.data.clone()));
    }
    let resync_s = u64::from(days) * 86_400;
    let wish = Wish { data: &config.data, file, master_key_command: command, replace, resync_s };
    let done = backup::restore(&wish, Arc::new(ThisMachine)).await?;
    let at = |seconds| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds));
    println!("{}: restored as it was at {}", config.data.display(), at(done.made_at));
    if let Some(aside) = done.aside {
        println!("What was there before is in {}; remove it once all is well.", aside.display());
    }
    if done.missing > 0 {
        println!("{} images of releases were not in the backup: publish those releases again.", done.missing);
    }
    if done.resync_until > 0 {
        println!(
            "Every device is challenged once and taken where it proves to stand, until {}.",
            at(done.resync_until)
        );
    } else {
        println!("Devices that went on since then are refused until `bellwether device resync`.");
    }
    println!("Commands that were given since then are lost: give them again.");
    Ok(())
}

async fn care(what: StoreCommand, flags: Flags) -> ExitCode {
    let (StoreCommand::Check { place } | StoreCommand::Copy { place, .. }) = &what;
    let config = match Config::resolve(flags.at(place.clone())) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let done = match what {
        StoreCommand::Check { .. } => check_store(&config).await,
        StoreCommand::Copy { to, .. } => match StoreAt::read(to) {
            Ok(to) => copy_store(&config, &to).await,
            Err(error) => return fail(&error),
        },
    };
    match done {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn check_store(config: &Config) -> Result<ExitCode, CareError> {
    let checked = store_care::check(config).await?;
    println!(
        "{} devices, {} gateways, {} campaigns, {} events, {} releases",
        checked.devices, checked.gateways, checked.campaigns, checked.events, checked.releases
    );
    for finding in &checked.findings {
        println!("{finding}");
    }
    match checked.findings.len() {
        0 => println!("All can be read, and every image is whole."),
        FINDINGS_MAX => println!("And perhaps more."),
        _ => {}
    }
    Ok(if checked.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn copy_store(config: &Config, to: &StoreAt) -> Result<ExitCode, CareError> {
    let say = |copied: &Copied| eprintln!("{}: {} rows, the same in both", copied.table, copied.rows);
    let (copied, aside) = store_care::copy(config, to, say).await?;
    let rows: u64 = copied.iter().map(|copied| copied.rows).sum();
    println!("{rows} rows in {} tables are copied, and read back the same.", copied.len());
    println!("What was copied is {} now; remove it once all is well.", aside.display());
    println!("Start the server with --store and the URL that --to had, and the same data folder.");
    Ok(ExitCode::SUCCESS)
}

async fn serve(flags: Flags) -> ExitCode {
    let config = match Config::resolve(flags) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    match shell::run(config, stopped()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn log(filter: &str, json: bool) {
    let builder = tracing_subscriber::fmt()
        // What the broker's library says of each connection is for its own developers. The data base's shows the lines of
        // ~/.pgpass that it can't read.
        .with_env_filter(EnvFilter::new(format!(
            "rumqttd=off,rumqttc=error,sqlx_postgres::options=off,{filter}"
        )))
        .with_ansi(std::io::stderr().is_terminal())
        // Told on the same stream, that a line can't be written would end the task that says it.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    if json {
        builder.json().init();
    } else {
        builder.init();
    }
}

/// Ends on Ctrl-C or SIGTERM. Listens from the call on, so that a start that is told to stop does so in good order.
fn stopped() -> impl Future<Output = ()> {
    let (interrupt, terminate) = (told(SignalKind::interrupt()), told(SignalKind::terminate()));
    async {
        tokio::select! {
            () = interrupt => {}
            () = terminate => {}
        }
    }
}

fn told(kind: SignalKind) -> impl Future<Output = ()> {
    let listening = signal(kind);
    async {
        match listening {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Says what went wrong with all its causes; an error that repeats its cause says it once.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = next.source();
    }
    eprintln!("bellwether-server: {text}");
    ExitCode::FAILURE
}

/// Devices that sleep for weeks have asked by then; whoever copied a device's flash gains no more by it than one update.
const RESYNC_DAYS: u32 = 30;
