//! Measurements with stable names, each beside a peer that runs in the same run.
//!
//! Absolute times do not carry over from machine to machine, nor from hour to hour on a busy one; the ratio to a
//! peer that was measured in turns with ours does. Nothing here is a gate: the figures are printed.

mod block2;
mod bytes;
mod clock;
mod cpu;
mod device;
mod figure;
mod firmware;
mod fleet;
mod grants;
mod loss;
mod machine;
mod mqtt;
mod registered;
mod report;
mod store;
mod upstream;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::firmware::Firmware;
use crate::machine::Machine;
use crate::report::Report;

/// Why a measurement has no figure. Nobody handles it; it is told to who runs the bench.
type Failure = Box<dyn Error + Send + Sync>;

/// Prints the figures of Bellwether, each beside a peer in the same run
///
/// Everything stays on loopback and in a temporary folder, and ends within three minutes.
#[derive(Debug, Parser)]
#[command(name = "bellwether-bench", version)]
struct Cli {
    /// Folder of two or more firmware images named by their version, as in 1.10.0.bin
    #[arg(long)]
    images: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Subject>,
    /// Devices of `--only registered`
    #[arg(long, default_value_t = registered::DEVICES)]
    devices: usize,
    #[command(subcommand)]
    inner: Option<Inner>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Subject {
    /// CPU per served block of 1,024 bytes, by the server and by a gateway
    Block2,
    /// Bytes that an update takes to a device
    Bytes,
    /// Grants per second
    Grants,
    /// Commands and events per second through mosquitto
    Mqtt,
    /// Bytes between a gateway and its server
    Upstream,
    /// What loss costs an update
    Loss,
    /// Instructions of what a device does
    Device,
    /// Durable writes per second, by both stores; only where it is named
    Store,
    /// Memory of a registered device, and how long a killed server takes to have all back; only where it is named
    Registered,
}

/// What the bench asks of itself in another process.
#[derive(Debug, Subcommand)]
enum Inner {
    /// Repeats one piece of a device's work, for an instruction counter around this process
    #[command(hide = true)]
    Work(device::Work),
    /// Is the server, or a bare socket with sessions, whose memory is looked at from outside
    #[command(hide = true)]
    Serve(registered::Serve),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.inner {
        Some(Inner::Work(work)) => work.run(),
        Some(Inner::Serve(serve)) => serve.run(),
        None => measure(&cli),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bellwether-bench: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Writes an error with what caused it; one that repeats its cause says it once.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

fn measure(cli: &Cli) -> Result<(), Failure> {
    let wanted = |subject| cli.only.is_empty() || cli.only.contains(&subject);
    let mut report = Report::begin(Machine::read(), cli.json);
    let firmware = if wanted(Subject::Bytes) || wanted(Subject::Device) {
        Some(Firmware::choose(cli.images.as_deref())?)
    } else {
        None
    };
    if wanted(Subject::Block2) {
        report.take(block2::measure(block2::Effort::FULL)?);
    }
    if wanted(Subject::Grants) {
        report.take(grants::measure(grants::Effort::FULL)?);
    }
    if wanted(Subject::Mqtt) {
        report.take(mqtt::measure(mqtt::Effort::FULL)?);
    }
    if wanted(Subject::Upstream) {
        report.take(upstream::measure()?);
    }
    if wanted(Subject::Loss) {
        report.take(loss::measure()?);
    }
    if let Some(firmware) = firmware.as_ref().filter(|_| wanted(Subject::Bytes)) {
        report.take(bytes::measure(firmware)?);
    }
    if let Some(firmware) = firmware.as_ref().filter(|_| wanted(Subject::Device)) {
        report.take(device::measure(firmware)?);
    }
    if cli.only.contains(&Subject::Store) {
        report.take(store::measure(store::Effort::FULL)?);
    }
    if cli.only.contains(&Subject::Registered) {
        report.take(registered::measure(cli.devices)?);
    }
    report.finish()
}
