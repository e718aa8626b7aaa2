//! `uplink`: a line between devices and their server that can be cut.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use bellwether_demo::uplink::Uplink;
use clap::Parser;

/// Carries datagrams between devices and their server, and can be cut
///
/// Reads a word a line: `to ADDRESS`, `cut`, `mend`, `move DATAGRAMS TIMES`, `count`. Answers each with a line: the address that devices call,
/// then what passed until now, as JSON. Ends when its standard input does.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Address that devices call
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    match serve(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("uplink: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(cli: &Cli) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let uplink = Arc::new(runtime.block_on(Uplink::open(cli.listen))?);
    let line = Arc::clone(&uplink);
    runtime.spawn(async move { line.carry().await });
    say(&uplink.address()?.to_string())?;
    for line in io::stdin().lock().lines() {
        say(&obey(&uplink, &line?))?;
    }
    Ok(())
}

/// Does what a line says, and gives the answer.
fn obey(uplink: &Uplink, line: &str) -> String {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("to", server) => match server.parse() {
            Ok(server) => uplink.lead_to(server),
            Err(error) => return format!("{server:?}: {error}"),
        },
        ("cut", "") => uplink.cut(),
        ("mend", "") => uplink.mend(),
        ("move", how) => match how.split_once(' ').map(|(every, times)| (every.parse(), times.parse())) {
            Some((Ok(every), Ok(times))) => uplink.translate_every(every, times),
            _ => return format!("{how:?} is not DATAGRAMS TIMES"),
        },
        ("count", "") => {}
        _ => return format!("{line:?} is none of: to ADDRESS, cut, mend, move DATAGRAMS TIMES, count"),
    }
    serde_json::to_string(&uplink.counts()).unwrap_or_else(|error| error.to_string())
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
