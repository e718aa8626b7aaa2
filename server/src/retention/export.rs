//! Files of exported events: a JSON object a line, as `bellwether audit export` writes them, each with the row of the ledger.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bellwether_api as api;
use bellwether_decide::campaign::event_json;
use bellwether_store::ledger::Recorded;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::view::told;

/// One line.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    event: api::Event,
    /// The event as the ledger had it: all of it.
    row: Box<RawValue>,
}

/// Writes events in lines.
///
/// # Errors
///
/// None that an event of the ledger can cause: its row is JSON.
pub(super) fn lines(events: &[Recorded]) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::new();
    for recorded in events {
        let row = RawValue::from_string(event_json::encode(&recorded.event))?;
        serde_json::to_writer(&mut lines, &Line { event: told(recorded), row })?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Names the file of events from a number to another.
pub(super) fn name(first: u64, last: u64) -> String {
    format!("events-{first:012}-{last:012}.jsonl")
}

/// Keeps lines in a file of their own in the folder, which is made where it is not there; both are their owner's alone.
/// Durable when it returns: after a crash the file is whole or not there. What another file of this name holds stays.
///
/// # Errors
///
/// What the system says.
pub(super) fn keep(folder: &Path, name: &str, lines: &[u8]) -> io::Result<()> {
    make(folder)?;
    let Some(path) = free(folder, name, lines)? else {
        // A run that ended before it had removed them has left it; that it is durable is not known.
        File::open(folder.join(name))?.sync_all()?;
        return File::open(folder)?.sync_all();
    };
    let temporary = folder.join(TEMPORARY);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(lines)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Makes the folder, and its entry durable.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Finds a name that no file has; `None` where the file of this name holds these lines.
fn free(folder: &Path, name: &str, lines: &[u8]) -> io::Result<Option<PathBuf>> {
    let stem = name.strip_suffix(".jsonl").unwrap_or(name);
    let again = (2..).map(|nth: u32| format!("{stem}.{nth}.jsonl"));
    for name in std::iter::once(name.to_owned()).chain(again) {
        let path = folder.join(&name);
        match std::fs::read(&path) {
            Ok(kept) if kept == lines => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(path)),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The file that is being written; one at a time is.
const TEMPORARY: &str = "events.new";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn export_is_its_owners_alone_and_is_not_written_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("a/ledger");
        for lines in [&b"one\n"[..], b"one\n", b"two\n", b"two\n"] {
            keep(&folder, &name(1, 2), lines).expect("kept");
        }
        let mut files: Vec<_> =
            std::fs::read_dir(&folder).expect("there").map(|it| it.expect("one")).collect();
        files.sort_by_key(std::fs::DirEntry::file_name);
        let names: Vec<_> =
            files.iter().map(|file| file.file_name().into_string().expect("a name")).collect();
        assert_eq!(
            names,
            ["events-000000000001-000000000002.2.jsonl", "events-000000000001-000000000002.jsonl"]
        );
        assert_eq!(std::fs::read(files[1].path()).expect("read"), b"one\n");
        assert!(files.iter().all(|file| file.metadata().expect("there").mode() & 0o777 == 0o600));
        assert_eq!(std::fs::metadata(&folder).expect("there").mode() & 0o777, 0o700);
    }
}
