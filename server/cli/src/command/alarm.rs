//! `bellwether alarm`: what needs a person's eye.

use bellwether_api::Alarm;
use clap::Subcommand;

use crate::client::{Client, Server};
use crate::failure::Failure;
use crate::output::{Output, table};

/// Alarms.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists alarms, newest first: clones, unknown devices, repeated requests
    List,
}

/// Carries the command out.
///
/// # Errors
///
/// [`Failure`] says what to do.
pub(crate) async fn run(command: Command, server: &Server, output: Output) -> Result<(), Failure> {
    let Command::List = command;
    let alarms: Vec<Alarm> = Client::new(server)?.get("/v1/alarms").await?;
    output.print(&alarms, |alarms| describe(alarms));
    Ok(())
}

fn describe(alarms: &[Alarm]) -> String {
    if alarms.is_empty() {
        return "No alarms.".to_owned();
    }
    let row = |alarm: &Alarm| {
        vec![
            alarm.kind.clone(),
            alarm.device.clone(),
            alarm.count.to_string(),
            alarm.addresses.join(", "),
            alarm.text.clone(),
        ]
    };
    table(&["ALARM", "DEVICE", "COUNT", "FROM", "WHAT"], &alarms.iter().map(row).collect::<Vec<_>>())
}
