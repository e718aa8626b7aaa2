//! `bellwether-demo`: the main job with real processes, and one table at the end.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bellwether_demo::board::Programs;
use bellwether_demo::console::{Console, SERVER_DATA};
use bellwether_demo::crowd;
use bellwether_demo::crowd::cast::CROWD;
use bellwether_demo::crowd::ending::Ending;
use bellwether_demo::firmware::Firmware;
use bellwether_demo::fleet;
use bellwether_demo::fleet::cast::DEVICES_MAX;
use bellwether_demo::folder::DataFolder;
use bellwether_demo::process::Stop;
use bellwether_demo::setting::Setting;
use bellwether_demo::walk::{Stage, Walk};
use clap::Parser;

/// Shows one signed manifest, one campaign over MQTT, seven devices and a gateway, with real processes on this machine
///
/// Server, gateway and devices stay up until Ctrl-C, and the last lines tell what to try. Everything is on loopback
/// and in one folder.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// End by itself: with status 0 only if every device ended as it must
    #[arg(long)]
    exit: bool,
    /// Firmware for the meters: a folder of two or more versions, named by version (1.9.0.bin, 1.10.0.bin); the
    /// highest is the target [default: versions of an open firmware, fetched; else made up]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// One device more: an emulated Cortex-M4 with firmware of its own (see docs/microcontroller.md); builds it first
    #[arg(long)]
    microcontroller: bool,
    /// Another demo: so many devices, 24 to 10000. 24: four classes, three versions, two gateways, and all that can befall a
    /// device, each a process. More: one class in a few processes, most of it behind gateways, with a progress bar, rate,
    /// bytes saved, bytes by gateways and by the server, and the memory of both
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(i64::from(CROWD)..=i64::from(DEVICES_MAX)),
        conflicts_with = "microcontroller"
    )]
    devices: Option<u32>,
    /// Where everything is kept; cleared of an earlier run first
    #[arg(long, value_name = "DIR", default_value = "demo-data")]
    data: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match show(&cli) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                eprintln!("Not as it must be: {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("The demo stops here: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Shows everything, and gives what is not as it must be.
fn show(cli: &Cli) -> Result<Vec<String>, Box<dyn Error>> {
    let stop = Stop::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn(stop_on_signal(stop.clone()));
    let programs = std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();

    let board = cli.microcontroller.then(Programs::build).transpose()?;
    let folder = DataFolder::open(&cli.data)?;
    if let Some(devices) = cli.devices.filter(|devices| *devices > CROWD) {
        return show_fleet(&Console::new(&programs, folder.path(), &stop), &folder, devices, cli);
    }
    let firmware = match &cli.images {
        Some(images) => Firmware::from_folder(images)?,
        None => Firmware::open_or_made_up(&folder.firmware(), &folder.log("firmware"))?,
    };
    introduce(&firmware, cli);
    let console = Console::new(&programs, folder.path(), &stop);
    let mut setting = Setting::new(&console, &folder, &firmware, &programs, board.as_ref())?;
    if cli.devices.is_some() {
        crowd::cast::make_images(&mut setting)?;
        let shown = crowd::show::show(&setting)?;
        let faults = conclude_crowd(&shown.endings);
        if !cli.exit {
            println!("Server, gateways and devices stay up until Ctrl-C.");
            stop.wait();
        }
        return Ok(faults);
    }
    let stage = Walk::new(&setting).go()?;
    let faults = conclude(&stage);
    if !cli.exit {
        suggest(&programs, &cli.data);
        stop.wait();
    }
    Ok(faults)
}

/// Shows a fleet in a few processes, and gives what is not as it must be.
fn show_fleet(
    console: &Console,
    folder: &DataFolder,
    devices: u32,
    cli: &Cli,
) -> Result<Vec<String>, Box<dyn Error>> {
    let data = &cli.data;
    println!("One signed manifest, one campaign, {devices} devices. Everything is in {}.", data.display());
    println!();
    println!("$ cd {} && export BELLWETHER_DATA={SERVER_DATA}", data.display());
    let shown = fleet::show::show(console, folder, devices)?;
    println!();
    print!("{}", shown.outcome.text());
    println!();
    let faults = shown.outcome.faults();
    if faults.is_empty() {
        println!("Every device ended as it must.");
    }
    if !cli.exit {
        println!("Server and devices stay up until Ctrl-C.");
        console.stop().wait();
    }
    Ok(faults)
}

async fn stop_on_signal(stop: Stop) {
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
    stop.set();
}

fn introduce(firmware: &Firmware, cli: &Cli) {
    let data = &cli.data;
    let versions: Vec<&str> = firmware.versions.iter().map(|(version, _)| version.as_str()).collect();
    let cast = match (cli.devices, cli.microcontroller) {
        (Some(_), _) => "24 devices of four classes, two gateways",
        (None, true) => "seven devices and an emulated microcontroller, one gateway",
        (None, false) => "seven devices, one gateway",
    };
    println!("One signed manifest, one campaign, {cast}. Everything is in {}.", data.display());
    println!("The meters' firmware: {}; versions {}.", firmware.source, versions.join(", "));
    println!();
    println!("$ cd {} && export BELLWETHER_DATA={SERVER_DATA}", data.display());
}

/// Prints the table of the twenty-four, and gives what is not as it must be.
fn conclude_crowd(endings: &[Ending]) -> Vec<String> {
    println!();
    println!("{}", crowd::ending::table(endings));
    println!();
    let faults: Vec<String> = endings.iter().flat_map(Ending::faults).collect();
    if faults.is_empty() {
        println!("Every device ended as it must.");
    }
    faults
}

/// Prints the table and the alarms, and gives what is not as it must be.
fn conclude(stage: &Stage) -> Vec<String> {
    println!();
    println!("{}", stage.outcome.table());
    println!();
    for line in stage.outcome.frames_told(&stage.expected) {
        println!("{line}");
    }
    for alarm in &stage.alarms {
        let from = alarm.addresses.join(", ");
        println!("Alarm: {}, {} (from {from}): {}", alarm.kind, alarm.device, alarm.text);
    }
    println!();
    if let Some(board) = stage.outcome.rows.iter().find(|row| row.is_plain) {
        println!(
            "{} is an emulated Cortex-M4 without DTLS: the manifest is signed, and its requests, grants and reports are \
             under MACs from end to end; what it registers as, anyone on the way can read.",
            board.device
        );
    }
    let faults = stage.outcome.faults(&stage.expected);
    if faults.is_empty() {
        println!("Every device ended as it must.");
    }
    faults
}

fn suggest(programs: &Path, data: &Path) {
    let programs = std::env::current_dir()
        .ok()
        .and_then(|here| programs.strip_prefix(here).ok().map(Path::to_owned))
        .unwrap_or_else(|| programs.to_owned());
    let server = data.join(SERVER_DATA);
    println!();
    println!("Server, gateway and devices stay up until Ctrl-C. Try, in another terminal:");
    for line in [
        "device list",
        "device explain meter-1",
        "device explain meter-4",
        "gateway list",
        "alarm list",
        "release list",
    ] {
        println!("  {}/bellwether --data {} {line}", programs.display(), server.display());
    }
    let envelope = data.join("fleet.signed.suit");
    let anchors = data.join("anchors.cose");
    println!(
        "  {}/bellwether manifest show {} --anchors {}",
        programs.display(),
        envelope.display(),
        anchors.display()
    );
}
