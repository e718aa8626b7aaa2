//! Version 2.0.0 of the lamp's firmware.

use std::process::ExitCode;

fn main() -> ExitCode {
    bellwether_demo::lamp::run("2.0.0")
}
