//! `bellwether`: signs offline, else speaks HTTP with the server like anyone.

use std::process::ExitCode;

fn main() -> ExitCode {
    bellwether::main()
}
