//! What the gateway remembers of each device: grants that passed through, which are used up, what it asked about.
//!
//! A file a device, replaced as a whole: losing one costs a question to the server and nothing else.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwether_manifests::cbor::{CborError, Reader};
use bellwether_manifests::message::Digest;
use minicbor::Encoder;
use minicbor::encode::{Error as EncodeError, Write};
use sha2::{Digest as _, Sha256};

use crate::counters::Counters;
use crate::disk::{self, Durable};
use crate::held::{GrantKey, HeldGrant};

/// What is remembered of all devices.
#[derive(Debug)]
pub struct Notes {
    folder: PathBuf,
    devices: Mutex<HashMap<String, Note>>,
    counters: Arc<Counters>,
}

/// What is remembered of one device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Note {
    /// Grants that passed through, the newest last.
    grants: VecDeque<(GrantKey, HeldGrant)>,
    /// Numbers of grants that were reported failed or installed: the device takes them no more.
    spent: VecDeque<u64>,
    /// Manifests that the device asked about.
    asked: VecDeque<Digest>,
}

impl Notes {
    /// Reads what is kept; a file that can't be read is as none.
    ///
    /// # Errors
    ///
    /// What the system says if the folder can't be made or read.
    pub fn open(folder: &Path, counters: Arc<Counters>) -> io::Result<Self> {
        disk::make_folder(folder)?;
        let mut devices = HashMap::new();
        for (name, bytes) in disk::read_all(folder, NOTE_BYTES_MAX)? {
            match decode(&bytes) {
                Ok((id, note)) if file_name(&id) == name => drop(devices.insert(id, note)),
                _ => tracing::warn!(name, "a device's notes are not readable and are begun anew"),
            }
        }
        Ok(Self { folder: folder.to_owned(), devices: Mutex::new(devices), counters })
    }

    /// Remembers a grant that the server gave to a device; one for an earlier place goes.
    pub fn keep_grant(&self, key: &GrantKey, grant: &HeldGrant) {
        self.change(&key.id, |note| {
            note.grants.retain(|(kept, _)| kept.place >= key.place && kept != key);
            push_bounded(&mut note.grants, (key.clone(), grant.clone()), GRANTS_PER_CHILD_MAX);
        });
    }

    /// Finds a grant that passed through and may still be used.
    #[must_use]
    pub fn grant(&self, key: &GrantKey, now: u64) -> Option<HeldGrant> {
        let devices = self.locked();
        let (_, grant) = devices.get(&key.id)?.grants.iter().find(|(kept, _)| kept == key)?;
        (now <= grant.not_after).then(|| grant.clone())
    }

    /// Remembers that a grant was reported failed or installed.
    pub fn spend(&self, id: &str, number: u64) {
        self.change(id, |note| {
            note.grants.retain(|(_, grant)| grant.number != number);
            if !note.spent.contains(&number) {
                push_bounded(&mut note.spent, number, SPENT_PER_CHILD_MAX);
            }
        });
    }

    /// Whether a grant was reported failed or installed.
    #[must_use]
    pub fn is_spent(&self, id: &str, number: u64) -> bool {
        self.locked().get(id).is_some_and(|note| note.spent.contains(&number))
    }

    /// Remembers that a device asked about a manifest.
    pub fn note_asked(&self, id: &str, manifest: &Digest) {
        if !self.has_asked(id, manifest) {
            self.change(id, |note| push_bounded(&mut note.asked, *manifest, ASKED_PER_CHILD_MAX));
        }
    }

    /// Whether a device asked about a manifest.
    #[must_use]
    pub fn has_asked(&self, id: &str, manifest: &Digest) -> bool {
        self.locked().get(id).is_some_and(|note| note.asked.contains(manifest))
    }

    /// Forgets devices that are not the gateway's any more.
    pub fn retain(&self, is_child: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.locked().keys().filter(|id| !is_child(id)).cloned().collect();
        for id in gone {
            self.locked().remove(&id);
            self.refused(disk::remove(&self.folder.join(file_name(&id))));
        }
    }

    /// Changes a note and writes it down. The lock is held meanwhile, or an older note could be written last.
    fn change(&self, id: &str, change: impl FnOnce(&mut Note)) {
        let mut devices = self.locked();
        let note = devices.entry(id.to_owned()).or_default();
        let before = note.clone();
        change(note);
        if *note != before {
            let written = disk::replace(&self.folder.join(file_name(id)), &encode(id, note), Durable::No);
            self.refused(written);
        }
    }

    fn refused(&self, written: io::Result<()>) {
        if let Err(error) = written {
            self.counters.disk_errors.one();
            tracing::error!(%error, "the disk refuses notes of a device");
        }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Note>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push_bounded<T>(list: &mut VecDeque<T>, value: T, entries_max: usize) {
    list.push_back(value);
    while list.len() > entries_max {
        list.pop_front();
    }
}

/// Names hold any character; a digest of one is always a file name.
fn file_name(id: &str) -> String {
    hex::encode(&Sha256::digest(id)[..16])
}

fn encode(id: &str, note: &Note) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // Writing into a vector does not fail.
    let _ = write(&mut encoder, id, note);
    encoder.into_writer()
}

fn write<W: Write>(encoder: &mut Encoder<W>, id: &str, note: &Note) -> Result<(), EncodeError<W::Error>> {
    encoder.array(5)?.u64(VERSION)?.str(id)?.array(note.grants.len() as u64)?;
    for (_, grant) in &note.grants {
        encoder.bytes(&grant.message)?;
    }
    encoder.array(note.spent.len() as u64)?;
    for number in &note.spent {
        encoder.u64(*number)?;
    }
    encoder.array(note.asked.len() as u64)?;
    for manifest in &note.asked {
        encoder.bytes(manifest)?;
    }
    Ok(())
}

fn decode(bytes: &[u8]) -> Result<(String, Note), CborError> {
    let mut reader = Reader::new(bytes);
    reader.array_of(5)?;
    if reader.uint()? != VERSION {
        return Err(CborError::Range);
    }
    let id = reader.text()?.to_owned();
    let mut note = Note::default();
    for _ in 0..reader.array()? {
        note.grants.extend(HeldGrant::read(reader.bytes()?).filter(|(key, _)| key.id == id));
    }
    for _ in 0..reader.array()? {
        note.spent.push_back(reader.uint()?);
    }
    for _ in 0..reader.array()? {
        note.asked.push_back(*reader.bytes_exact()?);
    }
    reader.finish()?;
    Ok((id, note))
}

/// Version of the files.
const VERSION: u64 = 1;

/// Grants of one device: one is open, the others are for other manifests or selectors.
const GRANTS_PER_CHILD_MAX: usize = 4;

/// Grant numbers of one device that are remembered as used up: more than bundles hold for it at a time.
const SPENT_PER_CHILD_MAX: usize = 16;

/// Manifests of one device that are remembered as asked about.
const ASKED_PER_CHILD_MAX: usize = 16;

/// Bytes of one file: grants of 8 resources each, and the rest.
const NOTE_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use proptest::prelude::*;

    fn grant(world: &testing::World, id: &str, index: u16, number: u64) -> (GrantKey, HeldGrant) {
        HeldGrant::read(&world.grant(id, index, number)).unwrap()
    }

    #[test]
    fn grant_that_passed_through_is_there_after_a_restart() {
        let (folder, world) = (tempfile::tempdir().unwrap(), testing::World::new());
        let notes = Notes::open(folder.path(), Arc::default()).unwrap();
        let (key, held) = grant(&world, "lamp-1", 0, 5);
        notes.keep_grant(&key, &held);
        notes.note_asked("lamp-1", &[7; 32]);
        let again = Notes::open(folder.path(), Arc::default()).unwrap();
        assert_eq!(again.grant(&key, testing::NOW), Some(held));
        assert_eq!(again.grant(&key, testing::NOT_AFTER + 1), None);
        assert!(again.has_asked("lamp-1", &[7; 32]) && !again.has_asked("lamp-2", &[7; 32]));
    }

    #[test]
    fn spent_grant_is_given_no_more() {
        let (folder, world) = (tempfile::tempdir().unwrap(), testing::World::new());
        let notes = Notes::open(folder.path(), Arc::default()).unwrap();
        let (key, held) = grant(&world, "lamp-1", 0, 5);
        notes.keep_grant(&key, &held);
        notes.spend("lamp-1", 5);
        assert_eq!(notes.grant(&key, testing::NOW), None);
        assert!(Notes::open(folder.path(), Arc::default()).unwrap().is_spent("lamp-1", 5));
    }

    #[test]
    fn grant_for_a_later_place_puts_earlier_ones_out() {
        let (folder, world) = (tempfile::tempdir().unwrap(), testing::World::new());
        let notes = Notes::open(folder.path(), Arc::default()).unwrap();
        let (first, held) = grant(&world, "lamp-1", 0, 5);
        notes.keep_grant(&first, &held);
        let (second, held) = grant(&world, "lamp-1", 1, 6);
        notes.keep_grant(&second, &held);
        assert!(notes.grant(&first, testing::NOW).is_none() && notes.grant(&second, testing::NOW).is_some());
    }

    #[test]
    fn device_that_is_no_child_any_more_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::open(folder.path(), Arc::default()).unwrap();
        notes.spend("lamp-1", 5);
        notes.retain(|_| false);
        assert!(!notes.is_spent("lamp-1", 5));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
