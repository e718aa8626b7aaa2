//! `bellwether-agent`: a device on this machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    bellwether_agent_host::main()
}
