//! The committed corpus: one file a target, `corpus/NAME.pack`, since thousands of small files are no good reading.
//!
//! A pack is a sequence of inputs, each behind its length in two bytes, in the order of their lengths.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Folder of the packs.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Reads the inputs of a target.
///
/// # Errors
///
/// What the system says, and [`io::ErrorKind::InvalidData`] for a pack that was cut.
pub fn read(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(folder().join(format!("{target}.pack")))?;
    let mut rest = &bytes[..];
    let mut inputs = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk() {
        let cut = || io::Error::new(io::ErrorKind::InvalidData, "the pack was cut");
        let (input, tail) = tail.split_at_checked(u16::from_be_bytes(*length).into()).ok_or_else(cut)?;
        inputs.push(input.to_vec());
        rest = tail;
    }
    Ok(inputs)
}

/// Writes the inputs of a target, each once.
///
/// # Errors
///
/// What the system says, and [`io::ErrorKind::InvalidInput`] for an input of more than 65,535 bytes.
pub fn write(target: &str, inputs: &[Vec<u8>]) -> io::Result<()> {
    let mut inputs = inputs.to_vec();
    inputs.sort_by(|one, other| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
    inputs.dedup();
    let mut pack = Vec::new();
    for input in inputs {
        let length =
            u16::try_from(input.len()).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        pack.extend_from_slice(&length.to_be_bytes());
        pack.extend_from_slice(&input);
    }
    std::fs::create_dir_all(folder())?;
    std::fs::write(folder().join(format!("{target}.pack")), pack)
}

/// Writes each input into a file of its own, as libFuzzer wants them.
///
/// # Errors
///
/// What the system says.
pub fn unpack(inputs: &[Vec<u8>], into: &Path) -> io::Result<()> {
    std::fs::create_dir_all(into)?;
    for input in inputs {
        let name = hex::encode(&Sha256::digest(input)[..10]);
        std::fs::write(into.join(name), input)?;
    }
    Ok(())
}

/// Reads the files of a folder.
///
/// # Errors
///
/// What the system says.
pub fn read_folder(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    std::fs::read_dir(folder)?.map(|entry| std::fs::read(entry?.path())).collect()
}
