//! Making a backup beside a running server.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellwether_net::Machine;
use bellwether_store::Tenant;
use bellwether_store::images::{ImageError, Images};
use bellwether_store::sqlite::{self, Snapshot};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use super::{
    BackupError, CONTENTS, CONTENTS_BYTES_MAX, Contents, DATABASE, Entry, FORMAT, IMAGES, SEAL, SEALED_AS,
    SMALL_FILE_BYTES_MAX, SMALL_FILES, image_path, read_failed, sync_folder, write_failed,
};
use crate::vault::Vault;

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// Files in it.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Backs a data folder up to a file that is not there yet; `say` hears how far it is.
///
/// It is written under another name, synced and renamed: a file of this name is a whole backup. It is its owner's alone.
///
/// # Errors
///
/// See [`BackupError`]; nothing is left of a backup that failed, but for [`BackupError::Incomplete`].
pub async fn make(
    data: &Path,
    out: &Path,
    master_key_command: Option<&str>,
    machine: Arc<dyn Machine>,
    say: impl Fn(&str),
) -> Result<Made, BackupError> {
    if out.exists() {
        return Err(BackupError::Exists(out.to_owned()));
    }
    let database = data.join(DATABASE);
    if !database.exists() {
        return Err(BackupError::Nothing(data.to_owned()));
    }
    let now = machine.now();
    let key_file = data.join("master.key");
    let vault = Vault::open(machine, Tenant::default().as_str(), &key_file, master_key_command, false)?;
    let (partial, copy) = (beside(out, ".new"), beside(out, ".db.new"));
    // What a backup that was killed has left.
    for left in [&partial, &copy] {
        remove(left).map_err(write_failed(left))?;
    }
    let written = write(data, (&partial, &copy), now, &vault, &say).await;
    let cleared = remove(&copy).map_err(write_failed(&copy));
    let (made, missing) = match written {
        Ok(written) => written,
        Err(error) => {
            // The error says more than a failure to clear up after it.
            let _ = remove(&partial);
            return Err(error);
        }
    };
    std::fs::rename(&partial, out).map_err(write_failed(out))?;
    sync_folder(out.parent().unwrap_or(Path::new(""))).map_err(write_failed(out))?;
    cleared?;
    if missing > 0 {
        return Err(BackupError::Incomplete { path: out.to_owned(), missing });
    }
    Ok(made)
}

async fn write(
    data: &Path,
    (partial, copy): (&Path, &Path),
    now: u64,
    vault: &Vault,
    say: &impl Fn(&str),
) -> Result<(Made, usize), BackupError> {
    say("copying the database");
    // First: images are kept before the row that refers to them, so what this copy refers to is there.
    let snapshot = sqlite::snapshot(&data.join(DATABASE), copy).await?;
    let mut archive = Archive::create(partial)?;
    archive.put_file(DATABASE, copy)?;
    for name in SMALL_FILES {
        archive.put_small(name, &data.join(name))?;
    }
    let missing = put_images(&mut archive, data, &snapshot, say).await?;
    let without = missing.len();
    Ok((archive.finish(now, snapshot.schema, missing, vault)?, without))
}

/// Puts in what the database refers to, each verified; gives the images of releases that can't be.
async fn put_images(
    archive: &mut Archive,
    data: &Path,
    snapshot: &Snapshot,
    say: &impl Fn(&str),
) -> Result<Vec<String>, BackupError> {
    let images = Images::open_folder(&data.join(IMAGES))?;
    let wanted = snapshot.images.iter().map(|digest| (digest, true));
    let wanted: BTreeMap<_, _> =
        snapshot.contents.iter().map(|digest| (digest, false)).chain(wanted).collect();
    let (mut missing, count) = (Vec::new(), wanted.len());
    for (number, (digest, is_release)) in wanted.into_iter().enumerate() {
        let name = hex::encode(digest);
        match images.get(digest).await {
            Ok(bytes) => archive.put(&image_path(&name), &bytes)?,
            Err(ImageError::Missing | ImageError::Damaged { .. }) if is_release => missing.push(name),
            // The server makes it again, under a new key.
            Err(ImageError::Missing | ImageError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // Ten lines, however many there are.
        if (number + 1) * 10 / count > number * 10 / count {
            say(&format!("images: {} of {count}", number + 1));
        }
    }
    Ok(missing)
}

/// A tar file that is being written, with what is in it so far.
struct Archive {
    path: PathBuf,
    tar: Builder<File>,
    files: BTreeMap<String, Entry>,
    bytes: u64,
}

impl Archive {
    fn create(path: &Path) -> Result<Self, BackupError> {
        let mut open = OpenOptions::new();
        let open = open.write(true).create_new(true).mode(0o600).open(path);
        let file = open.map_err(write_failed(path))?;
        file.set_permissions(Permissions::from_mode(0o600)).map_err(write_failed(path))?;
        Ok(Self { path: path.to_owned(), tar: Builder::new(file), files: BTreeMap::new(), bytes: 0 })
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), BackupError> {
        self.append(name, bytes.len() as u64, bytes)?;
        self.note(name, bytes.len() as u64, &Sha256::digest(bytes));
        Ok(())
    }

    fn put_file(&mut self, name: &str, path: &Path) -> Result<(), BackupError> {
        let file = File::open(path).map_err(read_failed(path))?;
        let bytes = file.metadata().map_err(read_failed(path))?.len();
        let mut hashed = Hashed { from: BufReader::new(file), sha: Sha256::new() };
        self.append(name, bytes, &mut hashed)?;
        self.note(name, bytes, &hashed.sha.finalize());
        Ok(())
    }

    /// Puts a small file in, where there is one.
    fn put_small(&mut self, name: &str, path: &Path) -> Result<(), BackupError> {
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        match File::open(path).and_then(|file| file.take(SMALL_FILE_BYTES_MAX).read_to_end(&mut bytes)) {
            Ok(_) => self.put(name, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(read_failed(path)(error)),
        }
    }

    fn append(&mut self, name: &str, bytes: u64, from: impl Read) -> Result<(), BackupError> {
        let mut header = Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        self.tar.append_data(&mut header, name, from).map_err(write_failed(&self.path))
    }

    fn note(&mut self, name: &str, bytes: u64, digest: &[u8]) {
        self.bytes += bytes;
        self.files.insert(name.to_owned(), Entry { bytes, sha256: hex::encode(digest) });
    }

    /// Writes what is in it behind everything else, sealed, and has it on disk.
    fn finish(
        mut self,
        now: u64,
        schema: i64,
        missing: Vec<String>,
        vault: &Vault,
    ) -> Result<Made, BackupError> {
        let files = std::mem::take(&mut self.files);
        let made = Made { files: files.len(), bytes: self.bytes };
        let server = env!("CARGO_PKG_VERSION").to_owned();
        let contents = Contents { format: FORMAT, made_at: now, server, schema, files, missing };
        let text =
            serde_json::to_vec_pretty(&contents).map_err(|error| write_failed(&self.path)(error.into()))?;
        if text.len() as u64 > CONTENTS_BYTES_MAX {
            let error = io::Error::other("there are more images than a backup lists, a million");
            return Err(write_failed(&self.path)(error));
        }
        self.append(CONTENTS, text.len() as u64, text.as_slice())?;
        let seal = vault.seal(SEALED_AS, Tenant::default().as_str(), &Sha256::digest(&text))?;
        self.append(SEAL, seal.as_bytes().len() as u64, seal.as_bytes())?;
        let written = self.tar.into_inner().and_then(|mut file| {
            file.flush()?;
            file.sync_all()
        });
        written.map_err(write_failed(&self.path))?;
        Ok(made)
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    from: R,
    sha: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.sha.update(&buffer[..read]);
        Ok(read)
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
