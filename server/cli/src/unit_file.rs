//! Unit files: written once, for their owner alone.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::failure::Failure;
use crate::file;

/// Writes the unit data that the server answers; `parts` takes the answer apart into what is printed and the data in
/// hexadecimal. The file is opened before the server is asked: secrets that can't be written down would be lost.
///
/// # Errors
///
/// [`Failure`]; then no file is left.
pub(crate) async fn write<A, T>(
    out: &Path,
    answer: impl Future<Output = Result<A, Failure>>,
    parts: impl FnOnce(A) -> (T, String),
) -> Result<T, Failure> {
    let mut open = OpenOptions::new();
    let mut file = open
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out)
        .map_err(|error| file::not_made(out, &error))?;
    let written = answer.await.and_then(|answer| {
        let (enrolled, unit) = parts(answer);
        let unit = hex::decode(&unit).map_err(|error| Failure::file(out, error))?;
        file.write_all(&unit).and_then(|()| file.sync_all()).map_err(|error| Failure::file(out, error))?;
        Ok(enrolled)
    });
    if written.is_err() {
        // Nothing was written; an empty unit file would only stand in the way of the next try.
        std::fs::remove_file(out).map_err(|error| Failure::file(out, error))?;
    }
    written
}
