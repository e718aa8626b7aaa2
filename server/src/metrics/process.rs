//! What the system tells of this process and of its disk.

use std::path::Path;

/// A disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Disk {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// This process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Memory that is in RAM.
    pub resident_bytes: u64,
    /// Memory that was asked for.
    pub virtual_bytes: u64,
    /// CPU seconds, user and system.
    pub cpu_seconds: f64,
    /// Threads.
    pub threads: u64,
    /// Open files and sockets.
    pub open_files: u64,
}

/// Reads how full the disk is that a folder lies on.
#[must_use]
pub fn disk(folder: &Path) -> Option<Disk> {
    let stat = nix::sys::statvfs::statvfs(folder).ok()?;
    let bytes = |blocks: u64| stat.fragment_size().saturating_mul(blocks);
    Some(Disk { free_bytes: bytes(stat.blocks_available()), total_bytes: bytes(stat.blocks()) })
}

/// Reads how this process is; `None` where the system has no `/proc`.
#[must_use]
pub fn process() -> Option<Process> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    parse(&stat, PAGE_BYTES).map(|process| Process { open_files, ..process })
}

/// Reads a line of `/proc/<pid>/stat`. The name in it may hold anything, so fields count from its last bracket.
fn parse(stat: &str, page_bytes: u64) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Numbers of proc(5), where the state behind the name is field 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are three million years")]
    let cpu_seconds = (field(14)? + field(15)?) as f64 / TICKS_PER_SECOND;
    Some(Process {
        resident_bytes: field(24)?.saturating_mul(page_bytes),
        virtual_bytes: field(23)?,
        cpu_seconds,
        threads: field(20)?,
        open_files: 0,
    })
}

/// `sysconf(_SC_CLK_TCK)`: 100 on every Linux, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes of a page on the platforms that the server is built for.
const PAGE_BYTES: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_the_system_is_read_whatever_the_name_of_the_process() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 100 8192000 300 18446744073709551615 1 1";
        let expected = Process {
            resident_bytes: 300 * 4_096,
            virtual_bytes: 8_192_000,
            cpu_seconds: 3.0,
            threads: 9,
            open_files: 0,
        };
        assert_eq!(parse(line, 4_096), Some(expected));
        assert_eq!(parse("7 (a", 4_096), None);
    }

    #[test]
    fn this_process_has_memory_and_the_folder_of_the_system_has_a_disk() {
        assert!(process().is_some_and(|process| process.resident_bytes > 0 && process.open_files > 2));
        assert!(disk(Path::new("/")).is_some_and(|disk| disk.total_bytes >= disk.free_bytes));
        assert_eq!(disk(Path::new("/no/such/folder")), None);
    }
}
