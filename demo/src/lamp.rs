//! The lamp's firmware: a real program that says which version it is, tests itself, and shines until its
//! board is switched off.

use std::io::{Read, Write};
use std::process::ExitCode;

/// Runs the firmware: `--self-test` ends at once with 0, anything else shines until standard input closes.
#[must_use]
pub fn run(version: &str) -> ExitCode {
    let self_test = std::env::args().nth(1).is_some_and(|argument| argument == "--self-test");
    let line = if self_test { "passes its self-test" } else { "shines" };
    let said = writeln!(std::io::stdout(), "lamp firmware {version} {line}")
        .and_then(|()| std::io::stdout().flush());
    if said.is_err() {
        return ExitCode::FAILURE;
    }
    if !self_test {
        // The board's power is this program's standard input; what arrives there means nothing.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    }
    ExitCode::SUCCESS
}
