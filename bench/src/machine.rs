//! What the figures were taken on.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// Facts without which no figure means anything.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    /// Commit of the sources, with a mark where they were changed since.
    pub(crate) sources: String,
    /// Over 1, 5 and 15 minutes, before the first measurement.
    pub(crate) load_average_before: String,
}

impl Machine {
    /// Reads them; what can't be had is "unknown".
    pub(crate) fn read() -> Self {
        Self {
            cpu: cpu().unwrap_or_else(unknown),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |text| text.trim().to_owned()),
            rustc: output("rustc", &["--version"]),
            sources: output("git", &["describe", "--always", "--dirty"]),
            load_average_before: load_average(),
        }
    }
}

/// Reads the load average over 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let three: Vec<&str> = text.split(' ').take(3).collect();
    if three.is_empty() { unknown() } else { three.join(" ") }
}

fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map_or_else(unknown, |text| text.trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}
