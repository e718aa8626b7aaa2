//! Making a server's data folder from a backup.
//!
//! Everything is verified in a folder beside the data before anything of the data is touched; then what was there is
//! moved aside, and the database comes last. A server finds a folder without a database and with the rest of a restore
//! and does not start, so a restore that was killed is seen and run again.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::operator::Act;
use bellwether_store::campaign::Command;
use bellwether_store::device::Devices;
use bellwether_store::settings::Settings;
use bellwether_store::{Sealed, SqliteStore, Tenant};
use sha2::{Digest, Sha256};
use tar::Archive;

use super::{
    BackupError, CONTENTS, CONTENTS_BYTES_MAX, Contents, DATABASE, Entry, FORMAT, IMAGES, SEAL, SEALED_AS,
    SMALL_FILES, image_path, read_failed, sync_folder, write_failed,
};
use crate::core::DISTRIBUTOR_SETTING;
use crate::shell;
use crate::vault::{DISTRIBUTOR_KEY, Vault};
use bellwether_net::Machine;

/// What an operator wants.
#[derive(Debug)]
pub struct Wish<'a> {
    /// The data folder.
    pub data: &'a Path,
    /// The backup.
    pub file: &'a Path,
    /// Prints the master key, instead of the file in `data`.
    pub master_key_command: Option<&'a str>,
    /// Whether a server's data in the folder is moved aside.
    pub replace: bool,
    /// Seconds for which the places that devices prove are taken; 0: none are, until `device resync`.
    pub resync_s: u64,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// When the backup was made, seconds since 1970.
    pub made_at: u64,
    /// Last second in which proved places are taken, seconds since 1970; 0: none are.
    pub resync_until: u64,
    /// Where what was there before is now.
    pub aside: Option<PathBuf>,
    /// Images of releases that the backup does not have.
    pub missing: usize,
}

/// Makes the data folder of a server from a backup. Every identity is stale then: its first request is answered
/// "prove", and what it proves is taken for a while.
///
/// # Errors
///
/// See [`BackupError`]; the data is as it was, unless moving it failed half-way, which a server then refuses.
pub async fn restore(wish: &Wish<'_>, machine: Arc<dyn Machine>) -> Result<Restored, BackupError> {
    let data = wish.data;
    shell::make_folder(data).map_err(crate::core::StartError::Folder)?;
    let _lock = shell::lock(data)?;
    let occupied = OURS.iter().any(|name| data.join(name).exists());
    // What a restore was moving when it ended stands there for nobody; one that ended before has moved nothing.
    let is_half_moved = data.join(STAGING).exists() && !data.join(DATABASE).exists();
    if occupied && !wish.replace && !is_half_moved {
        return Err(BackupError::Occupied(data.to_owned()));
    }
    let staging = data.join(STAGING);
    remove_folder(&staging).map_err(write_failed(&staging))?;
    make_private_folder(&staging).map_err(write_failed(&staging))?;
    let prepared = match unpack(wish.file, &staging) {
        Ok(unpacked) => {
            let prepared = prepare(wish, &staging, machine, &unpacked).await;
            prepared.map(|until| (unpacked.contents, until))
        }
        Err(error) => Err(error),
    };
    let (contents, resync_until) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            // The error says more than a failure to clear up after it.
            let _ = remove_folder(&staging);
            return Err(error);
        }
    };
    let aside = exchange(data, &staging, contents.made_at).map_err(write_failed(data))?;
    Ok(Restored { made_at: contents.made_at, resync_until, aside, missing: contents.missing.len() })
}

/// What a backup says of itself; not yet to be believed.
#[derive(Debug)]
pub struct Unpacked {
    contents: Contents,
    /// SHA-256 of the text that says so.
    digest: [u8; 32],
    /// That digest, sealed.
    seal: Sealed,
}

/// Unpacks a backup into an empty folder, and holds every byte against what the backup says of itself.
///
/// What is unpacked is never longer than the backup, and lies in the folder alone.
///
/// # Errors
///
/// [`BackupError::Broken`], [`BackupError::Read`], [`BackupError::Write`]; the folder then has what came before.
pub fn unpack(file: &Path, staging: &Path) -> Result<Unpacked, BackupError> {
    let broken = |what: String| BackupError::Broken { path: file.to_owned(), what };
    let mut archive = Archive::new(File::open(file).map_err(read_failed(file))?);
    let mut found = BTreeMap::new();
    let (mut contents, mut seal) = (None, None);
    for entry in archive.entries().map_err(read_failed(file))? {
        let mut entry = entry.map_err(|error| broken(error.to_string()))?;
        let name = entry.path().ok().and_then(|path| path.to_str().map(str::to_owned));
        let name = name.ok_or_else(|| broken("it has a file without a name".to_owned()))?;
        // Others are links, folders, or files with holes, which would be longer on disk than here.
        if !entry.header().entry_type().is_file() {
            return Err(broken(format!("{name} is no plain file")));
        }
        if found.contains_key(&name) {
            return Err(broken(format!("{name} is there twice")));
        }
        if let Some(kept) = [(CONTENTS, &mut contents), (SEAL, &mut seal)]
            .into_iter()
            .find_map(|(known, kept)| (known == name).then_some(kept))
        {
            if entry.size() > CONTENTS_BYTES_MAX {
                return Err(broken(format!("{name} is longer than {CONTENTS_BYTES_MAX} bytes")));
            }
            let mut text = Vec::new();
            entry.read_to_end(&mut text).map_err(|error| broken(error.to_string()))?;
            if kept.replace(text).is_some() {
                return Err(broken(format!("{name} is there twice")));
            }
            continue;
        }
        if !is_ours(&name) {
            return Err(broken(format!("{name} is none of its files")));
        }
        let target = staging.join(&name);
        let kept = keep(&mut entry, &target).map_err(|error| match error {
            Kept::Read(error) => broken(error.to_string()),
            Kept::Write(error) => write_failed(&target)(error),
        })?;
        found.insert(name, kept);
    }
    let end_is_missing = || broken("its end is missing".to_owned());
    let text = contents.ok_or_else(end_is_missing)?;
    let contents: Contents = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    if contents.format != FORMAT {
        return Err(broken(format!("its format is {}, this server knows {FORMAT}", contents.format)));
    }
    compare(&contents.files, &found).map_err(broken)?;
    let seal = Sealed::new(seal.ok_or_else(end_is_missing)?);
    Ok(Unpacked { contents, digest: Sha256::digest(&text).into(), seal })
}

/// Compares what a backup says of itself with what was found in it.
fn compare(said: &BTreeMap<String, Entry>, found: &BTreeMap<String, Entry>) -> Result<(), String> {
    if !said.contains_key(DATABASE) {
        return Err("it has no database".to_owned());
    }
    for (name, entry) in said {
        match found.get(name) {
            None => return Err(format!("{name} is missing")),
            Some(kept) if kept != entry => return Err(format!("{name} is damaged")),
            // An image's name is its digest.
            Some(kept) if name.starts_with(IMAGES) && !name.ends_with(&kept.sha256) => {
                return Err(format!("{name} is another image"));
            }
            Some(_) => {}
        }
    }
    match found.keys().find(|name| !said.contains_key(*name)) {
        Some(name) => Err(format!("{name} is none of its files")),
        None => Ok(()),
    }
}

/// Tells whether a backup may hold a file of this path: nothing is ever written elsewhere.
fn is_ours(name: &str) -> bool {
    let image = name.rsplit('/').next().filter(|last| last.len() == 64);
    let is_image = image.is_some_and(|last| {
        last.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
            && image_path(last) == name
    });
    is_image || name == DATABASE || SMALL_FILES.contains(&name)
}

enum Kept {
    Read(io::Error),
    Write(io::Error),
}

/// Writes an entry to a file of its own, on disk when this returns, and tells what it is.
fn keep(from: &mut impl Read, target: &Path) -> Result<Entry, Kept> {
    if let Some(folder) = target.parent() {
        make_private_folder(folder).map_err(Kept::Write)?;
    }
    let mut open = OpenOptions::new();
    let mut file = open.write(true).create_new(true).mode(0o600).open(target).map_err(Kept::Write)?;
    let (mut sha, mut bytes) = (Sha256::new(), 0_u64);
    let mut buffer = zeroize::Zeroizing::new(vec![0; COPY_BYTES]);
    loop {
        let read = from.read(&mut buffer).map_err(Kept::Read)?;
        if read == 0 {
            break;
        }
        sha.update(&buffer[..read]);
        bytes += read as u64;
        file.write_all(&buffer[..read]).map_err(Kept::Write)?;
    }
    file.sync_all().map_err(Kept::Write)?;
    Ok(Entry { bytes, sha256: hex::encode(sha.finalize()) })
}

/// Opens what a backup says of itself under the master key: then whoever has that key has made it, and all of it.
fn verify(wish: &Wish<'_>, vault: &Vault, unpacked: &Unpacked) -> Result<(), BackupError> {
    let sealed = vault.open_sealed(SEALED_AS, Tenant::default().as_str(), &unpacked.seal)?;
    if sealed[..] == unpacked.digest { Ok(()) } else { Err(BackupError::Altered(wish.file.to_owned())) }
}

/// Opens the database as the server will, under its master key, and writes into it that it was restored.
async fn prepare(
    wish: &Wish<'_>,
    staging: &Path,
    machine: Arc<dyn Machine>,
    unpacked: &Unpacked,
) -> Result<u64, BackupError> {
    let (tenant, now, contents) = (Tenant::default(), machine.now(), &unpacked.contents);
    let drawn = machine.random::<8>().map_err(crate::vault::VaultError::from)?;
    let key_file = wish.data.join("master.key");
    let vault = Vault::open(machine, tenant.as_str(), &key_file, wish.master_key_command, false)?;
    verify(wish, &vault, unpacked)?;
    let store = SqliteStore::open(&staging.join(DATABASE)).await?;
    let distributor = store.setting(&tenant, DISTRIBUTOR_SETTING).await?;
    if let Some(sealed) = distributor {
        vault.open_sealed(DISTRIBUTOR_KEY, tenant.as_str(), &sealed)?;
    }
    let until = if wish.resync_s == 0 { 0 } else { now.saturating_add(wish.resync_s) };
    write_restored(&store, (contents.made_at, now), until, drawn).await?;
    store.close().await;
    Ok(until)
}

/// Writes into a database of `made_at` that it was put back `now`, seconds since 1970: every identity is stale from here
/// on, the places that devices prove are taken through `until` (0: none are), and no session goes on. `drawn` names the
/// restore.
///
/// # Errors
///
/// [`BackupError::Store`] where the database fails.
pub async fn write_restored(
    store: &SqliteStore,
    (made_at, now): (u64, u64),
    until: u64,
    drawn: [u8; 8],
) -> Result<(), BackupError> {
    let why = format!("restored from a backup of {} s before", now.saturating_sub(made_at));
    let request = format!("restore-{}", hex::encode(drawn));
    let by = By {
        who: Some("bellwether-server restore".to_owned()),
        why: Some(why),
        request: Some(request.clone()),
    };
    let kind = EventKind::Operated { act: Act::Resync, by, until: (until > 0).then_some(until) };
    let event = Event { at: now, campaign: None, device: None, kind };
    let command = Command {
        request_id: request,
        body: Sha256::digest(made_at.to_be_bytes()).into(),
        reply: b"\"done\"".to_vec(),
        at: now,
    };
    store.add_restore(&Tenant::default(), until, &[event], &command).await?;
    store.forget_sessions().await?;
    Ok(())
}

/// Moves what is there aside and what was prepared into its place, the database last; gives where the former is.
fn exchange(data: &Path, staging: &Path, made_at: u64) -> io::Result<Option<PathBuf>> {
    let there: Vec<&str> = OURS.into_iter().filter(|name| data.join(name).exists()).collect();
    let mut aside = None;
    if !there.is_empty() {
        let folder = free_name(data, &format!("replaced-by-{made_at}"));
        make_private_folder(&folder)?;
        for name in there {
            fs::rename(data.join(name), folder.join(name))?;
        }
        aside = Some(folder);
    }
    for name in [IMAGES].into_iter().chain(SMALL_FILES) {
        if staging.join(name).exists() {
            fs::rename(staging.join(name), data.join(name))?;
        }
    }
    sync_folder(data)?;
    fs::rename(staging.join(DATABASE), data.join(DATABASE))?;
    sync_folder(data)?;
    remove_folder(staging)?;
    Ok(aside)
}

/// A name in the folder that nothing has.
fn free_name(folder: &Path, name: &str) -> PathBuf {
    let numbered = (2_u32..).map(|number| folder.join(format!("{name}-{number}")));
    let mut names = std::iter::once(folder.join(name)).chain(numbered);
    names.find(|path| !path.exists()).unwrap_or_else(|| folder.join(name))
}

fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where a backup is unpacked, below the data folder: on the same file system, so that a move is one step.
pub(crate) const STAGING: &str = "restoring";

/// What a restore replaces; the master key is not among it.
const OURS: [&str; 6] =
    [DATABASE, "bellwether.db-wal", "bellwether.db-shm", IMAGES, SMALL_FILES[0], SMALL_FILES[1]];

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 256 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_files_of_a_backup_is_unpacked() {
        let image = image_path(&"ab".repeat(32));
        for name in [DATABASE, "http.token", "mqtt.json", &image] {
            assert!(is_ours(name), "{name}");
        }
        let absolute = format!("/{image}");
        let other_folder = format!("images/cd/{}", "ab".repeat(32));
        let above = format!("images/ab/../{}", "ab".repeat(32));
        let upper = format!("images/AB/{}", "AB".repeat(32));
        for name in ["master.key", "../bellwether.db", "images/ab", &absolute, &other_folder, &above, &upper]
        {
            assert!(!is_ours(name), "{name}");
        }
    }

    #[test]
    fn altered_missing_and_added_files_are_told() {
        let entry = |bytes| Entry { bytes, sha256: "cd".repeat(32) };
        let image = image_path(&"cd".repeat(32));
        let whole = || BTreeMap::from([(DATABASE.to_owned(), entry(7)), (image.clone(), entry(1))]);
        assert_eq!(compare(&whole(), &whole()), Ok(()));
        let mut found = whole();
        found.insert(image.clone(), entry(2));
        assert!(compare(&whole(), &found).is_err_and(|said| said.contains("damaged")));
        found.remove(&image);
        assert!(compare(&whole(), &found).is_err_and(|said| said.contains("missing")));
        let mut found = whole();
        found.insert("http.token".to_owned(), entry(1));
        assert!(compare(&whole(), &found).is_err_and(|said| said.contains("none of its files")));
        assert!(compare(&BTreeMap::new(), &BTreeMap::new()).is_err());
    }

    /// A tar file of entries: name, kind, content.
    fn tar_of(folder: &Path, entries: &[(&str, tar::Header, &[u8])]) -> PathBuf {
        let path = folder.join("backup.tar");
        let mut tar = tar::Builder::new(File::create(&path).unwrap());
        for (name, header, content) in entries {
            let mut header = header.clone();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        tar.into_inner().unwrap();
        path
    }

    fn why_not(path: &Path, into: &Path) -> String {
        match unpack(path, into) {
            Err(BackupError::Broken { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn file_with_holes_does_not_become_longer_than_the_backup() {
        let folder = tempfile::tempdir().unwrap();
        let mut sparse = tar::Header::new_gnu();
        sparse.set_entry_type(tar::EntryType::GNUSparse);
        let gnu = sparse.as_gnu_mut().unwrap();
        // A gibibyte, of which nothing is there.
        gnu.realsize.copy_from_slice(b"10000000000\0");
        (gnu.sparse[0].offset, gnu.sparse[0].numbytes) = (*b"10000000000\0", *b"00000000000\0");
        let path = tar_of(folder.path(), &[(DATABASE, sparse, b"")]);
        let into = folder.path().join("into");
        assert_eq!(why_not(&path, &into), "bellwether.db is no plain file");
        assert!(!into.exists());
    }

    #[test]
    fn file_that_is_there_twice_is_the_backups_fault_and_not_the_disks() {
        let folder = tempfile::tempdir().unwrap();
        let plain = tar::Header::new_gnu();
        let path = tar_of(folder.path(), &[(DATABASE, plain.clone(), b"1"), (DATABASE, plain, b"2")]);
        assert_eq!(why_not(&path, &folder.path().join("into")), "bellwether.db is there twice");
    }

    #[test]
    fn account_that_would_fill_the_memory_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup.tar");
        let mut header = tar::Header::new_gnu();
        header.set_path(CONTENTS).unwrap();
        header.set_size(CONTENTS_BYTES_MAX + 1);
        header.set_cksum();
        // The file has no more than the header; its length is believed first.
        fs::write(&path, header.as_bytes()).unwrap();
        let said = why_not(&path, &folder.path().join("into"));
        assert_eq!(said, "backup.json is longer than 200000000 bytes");
    }
}
