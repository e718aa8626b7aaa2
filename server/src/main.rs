//! `bellwether-server`: one process, no set-up.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bellwether_api::CheckState;
use bellwether_decide::campaign::event::By;
use bellwether_decide::retention::Held;
use bellwether_net::{Machine, ThisMachine};
use bellwether_server::backup::{self, BackupError, Wish};
use bellwether_server::cli::{Cli, Command, LedgerCommand, StoreCommand};
use bellwether_server::config::check::{self, Told};
use bellwether_server::config::{Config, Flags, StoreAt};
use bellwether_server::retention::Cut;
use bellwether_server::store_care::{self, CareError, FINDINGS_MAX, Prune};
use bellwether_server::{probe, shell};
use bellwether_store::copy::Copied;
use clap::{CommandFactory, FromArgMatches};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
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
        Some(Command::CheckConfig { place, attempt, json }) => {
            return check_config(cli.flags.at(place), &Told::of(&matches), attempt, json).await;
        }
        Some(Command::Health { place }) => return health(cli.flags.at(place)),
        Some(Command::Store { what }) => return care(what, cli.flags).await,
        Some(Command::Ledger { what }) => return prune(what, cli.flags).await,
        None => return serve(cli.flags).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn check_config(flags: Flags, told: &Told, attempt: bool, json: bool) -> ExitCode {
    let mut checked = check::check(flags, told);
    if attempt {
        checked.findings.extend(check::attempt(&checked.config).await);
    }
    if json {
        println!("{}", checked.json());
    } else {
        for finding in &checked.findings {
            eprintln!("{finding}");
        }
        print!("{}", checked.toml());
        eprintln!("{}", checked.verdict());
    }
    if checked.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn health(flags: Flags) -> ExitCode {
    let asked = match Config::resolve(flags) {
        Ok(config) => probe::ask(&config.data),
        Err(error) => return fail(&error),
    };
    let readiness = match asked {
        Ok(readiness) => readiness,
        Err(error) => return fail(&error),
    };
    for check in &readiness.checks {
        let state = match check.state {
            CheckState::Ok => "ok",
            CheckState::Degraded => "degraded",
            CheckState::Failing => "failing",
        };
        println!("{}: {state}: {}", check.name, check.reason);
    }
    if readiness.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
    if checked.whole_from > 0 {
        println!("The ledger was cut: it is whole from event {} on.", checked.whole_from);
    }
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

async fn prune(what: LedgerCommand, flags: Flags) -> ExitCode {
    let LedgerCommand::Prune { place, before, to, dry_run, yes, who, why } = what;
    let config = match Config::resolve(flags.at(place)) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let machine: &dyn Machine = &ThisMachine;
    let Some(before) = moment(&before, machine.now()) else {
        eprintln!(
            "bellwether-server: --before takes a day that has been, 2026-01-01, a moment, 2026-01-01T12:00:00Z, or how long \
             ago, 400d; not {before:?}"
        );
        return ExitCode::FAILURE;
    };
    if !yes && !dry_run {
        eprintln!(
            "bellwether-server: nothing was changed: say --yes to remove events, or --dry-run to hear how many"
        );
        return ExitCode::FAILURE;
    }
    let folder = to.unwrap_or_else(|| config.ledger_folder());
    let by = yes.then_some(By { who, why, request: None });
    match store_care::prune(&config, Prune { before, folder: &folder, by }).await {
        Ok(cut) => {
            tell_cut(&cut, &folder, dry_run);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn tell_cut(cut: &Cut, folder: &Path, is_look: bool) {
    match (cut.events, is_look) {
        (0, _) => println!("No event is old enough and needed no more; the ledger is as it was."),
        (events, true) => println!(
            "{events} events would be exported to {} and removed; the ledger would be whole from event {} on.",
            folder.display(),
            cut.kept_from
        ),
        (events, false) => println!(
            "{events} events are in {}, and in the ledger no more; it is whole from event {} on.",
            folder.display(),
            cut.kept_from
        ),
    }
    match cut.held {
        None => {}
        Some(Held::Last) => println!("The last event stays: its number tells which one comes next."),
        Some(Held::Census) => println!("Some stay that were not counted yet: let a server run for a while."),
        Some(Held::Broker) => {
            println!(
                "Some stay that the broker has not acknowledged; without a broker say --mqtt off before ledger."
            );
        }
    }
}

/// Reads a day, a moment or how long ago; `None` for anything else and for what is to come.
fn moment(text: &str, now: u64) -> Option<u64> {
    let ago = humantime::parse_duration(text).ok().map(|ago| now.checked_sub(ago.as_secs()));
    let read = |text: &str| {
        let moment = humantime::parse_rfc3339_weak(text).ok()?;
        moment.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
    };
    let moment = ago.unwrap_or_else(|| read(text).or_else(|| read(&format!("{text}T00:00:00Z"))))?;
    (moment <= now).then_some(moment)
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
            "rumqttd=off,rumqttc=error,tungstenite=error,async_tungstenite=error,sqlx_postgres::options=off,{filter}"
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
