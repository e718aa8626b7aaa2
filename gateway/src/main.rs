//! `bellwether-gateway`: stands between devices and the server.

use std::io::IsTerminal;
use std::process::ExitCode;

use bellwether_gateway::config::Config;
use bellwether_gateway::shell;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log))
        .with_ansi(std::io::stderr().is_terminal())
        // Told on the same stream, that a line can't be written would end the task that says it.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    if config.log_json {
        builder.json().init();
    } else {
        builder.init();
    }
    match shell::run(config, stopped()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
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
    eprintln!("bellwether-gateway: {text}");
    ExitCode::FAILURE
}
