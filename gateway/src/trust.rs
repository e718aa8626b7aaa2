//! Whose signatures the gateway believes: the anchors of its unit file and all that replaced them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bellwether_manifests::anchors::{Anchors, AnchorsError};
use bellwether_manifests::cbor::Reader;
use bellwether_manifests::link::ANCHORS_BYTES_MAX;
use minicbor::Encoder;
use thiserror::Error;

use crate::disk::{self, Durable};

/// The newest anchors, and on disk the chain of documents that leads to them from the unit file's.
#[derive(Debug)]
pub struct Trust {
    path: PathBuf,
    documents: RwLock<Vec<Arc<[u8]>>>,
}

/// Why anchors are not taken.
#[derive(Debug, Error)]
pub enum TrustError {
    /// They are not believed, or not newer.
    #[error("the anchors are not believed")]
    Anchors(#[from] AnchorsError),
    /// The disk refuses; the sender may try again.
    #[error("the anchors can't be kept")]
    Disk(#[from] io::Error),
    /// The gateway must be given a new unit file.
    #[error("the anchors were replaced too often since the unit file was made")]
    TooMany,
}

impl Trust {
    /// Starts with the unit file's anchors and goes on with what is kept, as far as each document replaces the one
    /// before.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if the unit file's anchors don't agree with themselves, or what is kept can't be read.
    pub fn open(path: &Path, unit: &[u8]) -> Result<Self, TrustError> {
        Anchors::initial(unit)?;
        let mut documents: Vec<Arc<[u8]>> = vec![unit.into()];
        for document in kept(path)? {
            let newest = documents.last().map(Arc::clone).unwrap_or_default();
            let replaces = |current: &Anchors<'_>| Anchors::replacing(&document, current).map(drop);
            match Anchors::initial(&newest).and_then(|current| replaces(&current)) {
                Ok(()) => documents.push(document.into()),
                // A new unit file has caught up with it.
                Err(AnchorsError::Edition(_)) => {}
                Err(error) => tracing::warn!(%error, "kept anchors don't follow from the unit file's"),
            }
        }
        Ok(Self { path: path.to_owned(), documents: RwLock::new(documents) })
    }

    /// The newest document; it was verified.
    #[must_use]
    pub fn document(&self) -> Arc<[u8]> {
        let documents = self.documents.read().unwrap_or_else(PoisonError::into_inner);
        documents.last().map(Arc::clone).unwrap_or_default()
    }

    /// Takes a document that replaces the newest, and has it on disk before it counts. Gives its edition.
    ///
    /// # Errors
    ///
    /// [`TrustError`]; the old one stands then.
    pub fn replace(&self, document: &[u8]) -> Result<u64, TrustError> {
        let mut documents = self.documents.write().unwrap_or_else(PoisonError::into_inner);
        let newest = documents.last().map(Arc::clone).unwrap_or_default();
        let edition = Anchors::replacing(document, &Anchors::initial(&newest)?)?.edition();
        if documents.len() > DOCUMENTS_MAX {
            return Err(TrustError::TooMany);
        }
        let mut chain: Vec<Arc<[u8]>> = documents.clone();
        chain.push(document.into());
        let bytes = encode(chain.get(1..).unwrap_or_default());
        disk::replace(&self.path, &bytes, Durable::Yes)?;
        *documents = chain;
        Ok(edition)
    }
}

fn kept(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let bytes_max = ((ANCHORS_BYTES_MAX + 3) * DOCUMENTS_MAX + 3) as u64;
    let Some(bytes) = disk::read(path, bytes_max)? else {
        return Ok(Vec::new());
    };
    let mut reader = Reader::new(&bytes);
    let read = reader
        .array()
        .and_then(|count| (0..count).map(|_| reader.bytes().map(<[u8]>::to_vec)).collect::<Result<_, _>>());
    read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn encode(documents: &[Arc<[u8]>]) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    // Writing into a vector does not fail.
    let _ = encoder.array(documents.len() as u64).map(drop);
    for document in documents {
        let _ = encoder.bytes(document).map(drop);
    }
    encoder.into_writer()
}

/// Documents after the unit file's: one a month for five years.
const DOCUMENTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn replaced_anchors_are_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anchors");
        let first = testing::anchors(1, 1);
        let trust = Trust::open(&path, &first).unwrap();
        assert_eq!(trust.replace(&testing::anchors(2, 2)).unwrap(), 2);
        assert_eq!(trust.replace(&testing::anchors(5, 2)).unwrap(), 5);
        let again = Trust::open(&path, &first).unwrap();
        assert_eq!(again.document(), trust.document());
        // A unit file that was made anew counts where it is newer.
        let newer = testing::anchors(7, 3);
        assert_eq!(&*Trust::open(&path, &newer).unwrap().document(), &newer[..]);
    }

    #[test]
    fn lower_or_foreign_anchors_are_refused_and_the_old_ones_stand() {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::open(&folder.path().join("anchors"), &testing::anchors(3, 1)).unwrap();
        let refused = |document: &[u8]| trust.replace(document).unwrap_err();
        assert!(matches!(refused(&testing::anchors(3, 1)), TrustError::Anchors(AnchorsError::Edition(3))));
        assert!(matches!(refused(b"garbage"), TrustError::Anchors(_)));
        assert!(matches!(refused(&testing::foreign_anchors(4)), TrustError::Anchors(_)));
        assert_eq!(&*trust.document(), &testing::anchors(3, 1)[..]);
    }
}
