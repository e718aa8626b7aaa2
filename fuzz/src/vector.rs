//! Real messages that targets start from: the vectors of the other crates' tests.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Reads a file of the repository.
pub(crate) fn file(path: &str) -> Vec<u8> {
    std::fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Reads the files of a folder whose names begin and end so.
pub(crate) fn files(folder: &str, prefix: &str, suffix: &str) -> Vec<Vec<u8>> {
    let folder = root().join(folder);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let fits = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(prefix) && name.ends_with(suffix))
    };
    paths.into_iter().filter(fits).map(|path| std::fs::read(path).expect("a file")).collect()
}

/// Messages of update.cddl without their MAC or signature.
pub(crate) fn update(prefix: &str) -> Vec<Vec<u8>> {
    files("manifests/tests/vectors/update", prefix, ".cbor")
}

/// Envelopes of the standard's examples and of our author.
pub(crate) fn envelopes() -> Vec<Vec<u8>> {
    files("manifests/tests/vectors/suit", "", ".suit")
}
