//! The devices of the gateway and the keys of the links to them: in memory, and on disk so that devices can connect
//! while the server is away.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bellwether_manifests::link::{CHILDREN_MAX, Children};
use bellwether_manifests::message::MessageError;
use bellwether_net::{PskTable, Secret};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::disk::{self, Durable};

/// Who may connect.
#[derive(Debug)]
pub struct Family {
    path: PathBuf,
    keys: Arc<PskTable>,
    names: Mutex<BTreeSet<String>>,
}

/// Why a list of children is not taken.
#[derive(Debug, Error)]
pub enum ChildrenError {
    /// It is none.
    #[error("the list of children is malformed")]
    Malformed(#[from] MessageError),
    /// The disk refuses.
    #[error("the list of children can't be kept")]
    Disk(#[from] io::Error),
}

impl Family {
    /// Reads what is kept and fills the table of keys.
    ///
    /// # Errors
    ///
    /// [`ChildrenError`] if the kept list can't be read.
    pub fn open(path: &Path, keys: Arc<PskTable>) -> Result<Self, ChildrenError> {
        let family = Self { path: path.to_owned(), keys, names: Mutex::default() };
        if let Some(bytes) = disk::read(path, LIST_BYTES_MAX)?.map(Zeroizing::new) {
            family.fill(&Children::decode(&bytes)?);
        }
        Ok(family)
    }

    /// Takes the server's list; gives the names that are no children any more.
    ///
    /// # Errors
    ///
    /// [`ChildrenError`]; the old list stands then.
    pub fn take(&self, bytes: &[u8]) -> Result<Vec<String>, ChildrenError> {
        let children = Children::decode(bytes)?;
        disk::replace(&self.path, bytes, Durable::Yes)?;
        Ok(self.fill(&children))
    }

    fn fill(&self, children: &Children<'_>) -> Vec<String> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *names);
        for child in &children.children {
            if let Some(key) = Secret::new(child.psk.to_vec()) {
                self.keys.insert(child.endpoint, key);
                names.insert(child.endpoint.to_owned());
            }
        }
        let gone: Vec<String> = before.difference(&names).cloned().collect();
        for name in &gone {
            self.keys.remove(name.as_bytes());
        }
        gone
    }

    /// Whether this is a device of the gateway.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Number of devices.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Bytes of the list: names of the largest size and keys.
const LIST_BYTES_MAX: u64 = (CHILDREN_MAX * 104 + 16) as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_manifests::link::Child;
    use bellwether_manifests::message::List;

    use std::os::unix::fs::MetadataExt;

    fn list(names: &[&str]) -> Zeroizing<Vec<u8>> {
        let children: Vec<Child<'_>> =
            names.iter().map(|name| Child { endpoint: name, psk: &[7; 32] }).collect();
        Children { edition: 1, children: List::new(&children) }.encode().unwrap()
    }

    #[test]
    fn children_can_connect_after_a_restart_without_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("children");
        Family::open(&path, Arc::default()).unwrap().take(&list(&["a", "b"])).unwrap();
        let keys = Arc::<PskTable>::default();
        let family = Family::open(&path, Arc::clone(&keys)).unwrap();
        assert!(family.has("a") && keys.psk(b"b").is_some());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn child_that_is_taken_off_the_list_loses_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::<PskTable>::default();
        let family = Family::open(&folder.path().join("children"), Arc::clone(&keys)).unwrap();
        family.take(&list(&["a", "b"])).unwrap();
        assert_eq!(family.take(&list(&["b"])).unwrap(), ["a"]);
        assert!(!family.has("a") && keys.psk(b"a").is_none() && keys.psk(b"b").is_some());
        assert!(family.take(b"garbage").is_err());
        assert!(family.has("b"));
    }
}
