//! Backups of a server that runs, and servers made from them.
//!
//! A backup is one tar file that `tar tvf` lists: the database as it was at one commit, the images and contents that it
//! refers to, the token of HTTP and the login of the embedded broker; last, `backup.json` with the SHA-256 of each, and
//! `backup.seal` with that of `backup.json`, sealed under the master key. A backup that was cut short has no such end and
//! is refused, and so is one that somebody without that key has put together: he could roll single identities back, let
//! removed gateways in again, lift blocks, or choose the token. An older backup as a whole is none to tell from the one
//! that was meant, but by its time, which `restore` prints. The master key is never in it: who finds a backup can read
//! names and states, no seed and no key, but with the token and the login can give orders to whoever they reach. Nor is the configuration file, which is not the server's.

mod make;
mod restore;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bellwether_store::error::{OpenError, StoreError, UpdateError};
use bellwether_store::images::ImageError;
use bellwether_store::sqlite::SnapshotError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::core::StartError;
use crate::vault::VaultError;

pub use make::{Made, make};
pub(crate) use restore::STAGING;
pub use restore::{Restored, Unpacked, Wish, restore, unpack, write_restored};

/// Why no backup was made, or none restored; the data folder is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A backup is never written over another file.
    #[error("{} exists already; name a file that does not, a backup never replaces one", .0.display())]
    Exists(PathBuf),
    /// There is nothing to back up.
    #[error("there is no database in {}; name the data folder of a server with --data", .0.display())]
    Nothing(PathBuf),
    /// The database is not in the data folder.
    #[error(
        "the database is in PostgreSQL: use pg_dump and pg_restore for it, and copy the folder {} after each dump; see \
         \"PostgreSQL\" in docs/operating.md", .0.display()
    )]
    Elsewhere(PathBuf),
    /// The database can't be copied.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// An image can't be read.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// A file can't be written: what to do depends on the cause.
    #[error("{} can't be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Releases whose image is gone or damaged are in the backup without it. The backup is there, and good for the rest.
    #[error(
        "{} is made, but without {missing} of the images of releases, which are missing or damaged in the data folder: \
         publish those releases again, then make another backup", path.display()
    )]
    Incomplete {
        /// The backup.
        path: PathBuf,
        /// How many images are not in it.
        missing: usize,
    },
    /// The file is not a whole backup.
    #[error("{} is no whole backup: {what}; nothing was restored, take another one", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// What the backup says of itself is not what was sealed under this master key.
    #[error(
        "{} was altered after it was made; nothing was restored, take another one, and look at who can write there", .0.display()
    )]
    Altered(PathBuf),
    /// There is a server's data in the folder.
    #[error(
        "{} holds a server's data; name an empty folder, or say --replace, which moves what is there aside", .0.display()
    )]
    Occupied(PathBuf),
    /// Another process works on the folder, or it can't be made.
    #[error(transparent)]
    Folder(#[from] StartError),
    /// The restored database is not one that this server can use.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The restored database can't be written.
    #[error("the restored database failed")]
    Store(#[from] StoreError),
    /// The restore can't be noted in it.
    #[error("the restored database failed")]
    Update(#[from] UpdateError),
    /// The master key is missing, or is not the one that belongs to the backup.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// The last entry of a backup: what is in it.
#[derive(Debug, Deserialize, Serialize)]
struct Contents {
    /// Version of this format.
    format: u32,
    /// Seconds since 1970.
    made_at: u64,
    /// Version of the server that made it.
    server: String,
    /// Last migration of the database.
    schema: i64,
    /// Every other entry by its path.
    files: BTreeMap<String, Entry>,
    /// SHA-256 of images of releases that were gone or damaged.
    missing: Vec<String>,
}

/// What is in the backup under one path.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// Where an image lies, below the data folder and in a backup.
fn image_path(name: &str) -> String {
    format!("{IMAGES}/{}/{name}", &name[..2])
}

fn write_failed(path: &Path) -> impl Fn(io::Error) -> BackupError + '_ {
    |source| BackupError::Write { path: path.to_owned(), source }
}

fn read_failed(path: &Path) -> impl Fn(io::Error) -> BackupError + '_ {
    |source| BackupError::Read { path: path.to_owned(), source }
}

/// Makes the entries of a folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    std::fs::File::open(folder)?.sync_all()
}

/// 2: the backup is sealed.
const FORMAT: u32 = 2;
pub(crate) const DATABASE: &str = "bellwether.db";
const IMAGES: &str = "images";
const CONTENTS: &str = "backup.json";
const SEAL: &str = "backup.seal";

/// The label of that seal.
const SEALED_AS: &str = "backup";

/// Small files of the data folder that fleet managers have copies of.
const SMALL_FILES: [&str; 3] = ["http.token", "http-watch.token", "mqtt.json"];

/// Bytes of a small file: a token and a login have less than 300.
const SMALL_FILE_BYTES_MAX: u64 = 4_096;

/// What a backup says of itself is no longer, in bytes: a million images, about 200 bytes for each.
const CONTENTS_BYTES_MAX: u64 = 200_000_000;
