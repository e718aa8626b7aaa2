//! `bellwether-server`: one process, no set-up.

use std::io::IsTerminal;
use std::process::ExitCode;

use bellwether_server::config::{Config, Flags};
use bellwether_server::shell;
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// The Bellwether server: LwM2M devices come in by CoAP over DTLS, fleet managers by HTTP on loopback
///
/// It needs no set-up: the first start makes its data folder with a database, a master key and a token. Back the
/// master key up (DATA/master.key); without it, what is sealed in the database is lost. Then see `bellwether --help`
/// for the way to a first campaign.
#[derive(Debug, Parser)]
#[command(name = "bellwether-server", version)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    /// What to log: error, warn, info, debug, or per module
    #[arg(long, env = "BELLWETHER_LOG", default_value = "info")]
    log: String,
    /// Log as JSON, a line an entry
    #[arg(long, env = "BELLWETHER_LOG_JSON")]
    log_json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    log(&cli.log, cli.log_json);
    let config = match Config::resolve(cli.flags) {
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
        // What the broker's library says of each connection is for its own developers.
        .with_env_filter(EnvFilter::new(format!("rumqttd=off,rumqttc=error,{filter}")))
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if json {
        builder.json().init();
    } else {
        builder.init();
    }
}

/// Ends on Ctrl-C or SIGTERM.
async fn stopped() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
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
