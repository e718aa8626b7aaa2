//! Image and resource bytes: put once under their digest, verified whenever they are read.
//!
//! The folder is `object_store`'s local file system with `with_fsync(true)`: a put writes to a staging file beside the
//! target, syncs it, renames it into place and syncs the folder, so a returned put survives a power cut and a reader
//! never sees half a file. An S3-compatible store later is another constructor, nothing else.
//! What `object_store` does not do is look at the bytes; the digest check here finds a file that rotted or was altered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::Digest;
use crate::bounds::IMAGE_BYTES_MAX;
use crate::error::{Source, StorageFault};

/// Keeps byte strings by their SHA-256.
#[derive(Debug, Clone)]
pub struct Images {
    objects: Arc<dyn ObjectStore>,
}

impl Images {
    /// Opens a folder, and makes it (readable by its owner only) where it is missing.
    ///
    /// # Errors
    ///
    /// [`ImageError::Unreachable`] if the folder cannot be made or entered.
    pub fn open_folder(root: &Path) -> Result<Self, ImageError> {
        make_private_folder(root).map_err(|cause| ImageError::Unreachable {
            root: root.into(),
            source: StorageFault::named(cause),
        })?;
        let folder = LocalFileSystem::new_with_prefix(root).map_err(|cause| ImageError::Unreachable {
            root: root.into(),
            source: StorageFault::named(cause),
        })?;
        Ok(Self { objects: Arc::new(folder.with_fsync(true)) })
    }

    /// Keeps everything in memory, for as long as a clone of this lives: for tests and simulations.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { objects: Arc::new(InMemory::new()) }
    }

    /// Takes away what is left of writes that the end of a process cut short; nobody may be writing there.
    ///
    /// # Errors
    ///
    /// [`ImageError::Unreachable`] if the folder cannot be read.
    pub fn sweep(root: &Path) -> Result<(), ImageError> {
        sweep(root, FOLDERS_DEEP).map_err(|cause| ImageError::Unreachable {
            root: root.into(),
            source: StorageFault::named(cause),
        })
    }

    /// Keeps `bytes` and returns their digest; what is kept already and still whole is not written again.
    ///
    /// The bytes are on disk when this returns. A kept file that no longer matches its digest is replaced.
    ///
    /// # Errors
    ///
    /// [`ImageError::TooLarge`] past [`IMAGE_BYTES_MAX`], [`ImageError::Backend`] if the folder fails.
    pub async fn put(&self, bytes: Vec<u8>) -> Result<Digest, ImageError> {
        if bytes.len() > IMAGE_BYTES_MAX {
            return Err(ImageError::TooLarge { given: bytes.len() });
        }
        let (digest, bytes) = hash(bytes.into()).await?;
        match self.get(&digest).await {
            Ok(_) => return Ok(digest),
            Err(ImageError::Missing | ImageError::Damaged { .. }) => {}
            Err(other) => return Err(other),
        }
        self.objects
            .put_opts(&key(&digest), PutPayload::from_bytes(bytes), PutMode::Overwrite.into())
            .await
            .map_err(backend)?;
        Ok(digest)
    }

    /// Reads the bytes of a digest and verifies them.
    ///
    /// # Errors
    ///
    /// [`ImageError::Missing`], [`ImageError::Damaged`] if what is kept has another digest, [`ImageError::Backend`].
    pub async fn get(&self, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let object = match self.objects.get(&key(digest)).await {
            Err(object_store::Error::NotFound { .. }) => return Err(ImageError::Missing),
            other => other.map_err(backend)?,
        };
        let bytes = object.bytes().await.map_err(backend)?;
        let (found, bytes) = hash(bytes).await?;
        if found != *digest {
            return Err(ImageError::Damaged { digest: *digest });
        }
        Ok(bytes.into())
    }

    /// Throws away what is kept under this digest; that nothing is, is as good.
    ///
    /// # Errors
    ///
    /// [`ImageError::Backend`] if the folder fails.
    pub async fn remove(&self, digest: &Digest) -> Result<(), ImageError> {
        match self.objects.delete(&key(digest)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(cause) => Err(backend(cause)),
        }
    }

    /// Writes a file that nobody reads, and takes it away: finds out whether the disk takes writes.
    ///
    /// # Errors
    ///
    /// [`ImageError::Backend`] with a [`StorageFault`] among its causes.
    pub async fn try_write(&self) -> Result<(), ImageError> {
        let probe = Key::from("probe");
        let bytes = PutPayload::from_static(&[0; PROBE_BYTES]);
        self.objects.put_opts(&probe, bytes, PutMode::Overwrite.into()).await.map_err(backend)?;
        self.objects.delete(&probe).await.map_err(backend)
    }

    /// Tells whether bytes are kept under this digest, without reading them.
    ///
    /// # Errors
    ///
    /// [`ImageError::Backend`] if the folder fails.
    pub async fn exists(&self, digest: &Digest) -> Result<bool, ImageError> {
        match self.objects.head(&key(digest)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(cause) => Err(backend(cause)),
        }
    }
}

/// Why an image was not kept or not given.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Nothing is kept under this digest: publish it again, or make the resource anew.
    #[error("nothing is kept under this digest")]
    Missing,
    /// The kept file was altered or has rotted; putting the right bytes again repairs it.
    #[error("the file kept under {} is damaged", hex::encode(digest))]
    Damaged {
        /// The digest that was asked for.
        digest: Digest,
    },
    /// More than [`IMAGE_BYTES_MAX`].
    #[error("{given} bytes are more than {IMAGE_BYTES_MAX}")]
    TooLarge {
        /// The size that was offered.
        given: usize,
    },
    /// The folder cannot be made or entered.
    #[error("folder {} cannot be used", root.display())]
    Unreachable {
        /// The folder.
        root: PathBuf,
        /// The cause.
        #[source]
        source: Source,
    },
    /// The folder failed: no permission, or a [`StorageFault`] among the causes.
    #[error("the image folder failed")]
    Backend(#[source] Source),
}

fn backend<E: std::error::Error + Send + Sync + 'static>(cause: E) -> ImageError {
    ImageError::Backend(StorageFault::named(cause))
}

/// Hashes what is long off the async threads: 256 MB takes a second of CPU.
async fn hash<B: AsRef<[u8]> + Send + 'static>(bytes: B) -> Result<(Digest, B), ImageError> {
    if bytes.as_ref().len() <= HASHED_AT_ONCE_BYTES_MAX {
        return Ok((Sha256::digest(bytes.as_ref()).into(), bytes));
    }
    tokio::task::spawn_blocking(move || (Sha256::digest(bytes.as_ref()).into(), bytes)).await.map_err(backend)
}

/// Bytes that are hashed where they are: in 0.2 ms at most, about what handing them to another thread and back costs.
const HASHED_AT_ONCE_BYTES_MAX: usize = 64 * 1024;

/// Enough to need a block of its own: file systems keep smaller files in their tables.
const PROBE_BYTES: usize = 4_096;

/// Spreads the files over 256 folders: some file systems grow slow with a hundred thousand names in one.
fn key(digest: &Digest) -> Key {
    let name = hex::encode(digest);
    Key::from(format!("{}/{name}", &name[..2]))
}

/// Staging files are named by `object_store` after their target with a `#` and a number.
fn sweep(folder: &Path, deep: u32) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if deep > 0 {
                sweep(&entry.path(), deep - 1)?;
            }
        } else if entry.file_name().to_string_lossy().contains('#') {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Folders below that of the images: those of [`key`].
const FOLDERS_DEEP: u32 = 1;

#[cfg(unix)]
fn make_private_folder(root: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)
}

#[cfg(not(unix))]
fn make_private_folder(root: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Images) {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::open_folder(&dir.path().join("images")).unwrap();
        (dir, images)
    }

    fn file_of(dir: &tempfile::TempDir, digest: &Digest) -> PathBuf {
        let name = hex::encode(digest);
        dir.path().join("images").join(&name[..2]).join(name)
    }

    #[tokio::test]
    async fn put_bytes_come_back_under_their_digest() {
        let (_dir, images) = folder();
        let digest = images.put(b"image".to_vec()).await.unwrap();
        assert_eq!(digest, <Digest>::from(Sha256::digest(b"image")));
        assert!(images.exists(&digest).await.unwrap());
        assert_eq!(images.get(&digest).await.unwrap(), b"image");
    }

    #[tokio::test]
    async fn bytes_that_were_never_put_are_missing() {
        let (_dir, images) = folder();
        assert!(!images.exists(&[7; 32]).await.unwrap());
        assert!(matches!(images.get(&[7; 32]).await, Err(ImageError::Missing)));
    }

    #[tokio::test]
    async fn an_altered_file_is_refused_until_it_is_put_again() {
        let (dir, images) = folder();
        let digest = images.put(b"image".to_vec()).await.unwrap();
        std::fs::write(file_of(&dir, &digest), b"imagE").unwrap();
        assert!(matches!(images.get(&digest).await, Err(ImageError::Damaged { .. })));
        images.put(b"image".to_vec()).await.unwrap();
        assert_eq!(images.get(&digest).await.unwrap(), b"image");
    }

    #[tokio::test]
    async fn removed_bytes_are_missing_and_can_be_removed_again() {
        let (_dir, images) = folder();
        let digest = images.put(b"image".to_vec()).await.unwrap();
        images.remove(&digest).await.unwrap();
        images.remove(&digest).await.unwrap();
        assert!(!images.exists(&digest).await.unwrap());
    }

    #[tokio::test]
    async fn write_that_was_cut_short_is_swept_and_images_stay() {
        let (dir, images) = folder();
        let digest = images.put(b"image".to_vec()).await.unwrap();
        let staged = file_of(&dir, &digest).with_extension("").to_str().unwrap().to_owned() + "#1";
        std::fs::write(&staged, b"ima").unwrap();
        std::fs::write(dir.path().join("images/probe#1"), b"").unwrap();
        Images::sweep(&dir.path().join("images")).unwrap();
        assert!(!Path::new(&staged).exists() && !dir.path().join("images/probe#1").exists());
        assert_eq!(images.get(&digest).await.unwrap(), b"image");
    }

    #[tokio::test]
    async fn probe_leaves_nothing_behind() {
        let (dir, images) = folder();
        images.try_write().await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("images")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn putting_the_same_bytes_twice_writes_once() {
        let (dir, images) = folder();
        let digest = images.put(b"image".to_vec()).await.unwrap();
        let written = std::fs::metadata(file_of(&dir, &digest)).unwrap().modified().unwrap();
        assert_eq!(images.put(b"image".to_vec()).await.unwrap(), digest);
        assert_eq!(std::fs::metadata(file_of(&dir, &digest)).unwrap().modified().unwrap(), written);
    }

    #[tokio::test]
    async fn an_empty_image_is_kept_like_any_other() {
        let (_dir, images) = folder();
        let digest = images.put(Vec::new()).await.unwrap();
        assert_eq!(images.get(&digest).await.unwrap(), b"");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_folder_is_made_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, _images) = folder();
        let mode = std::fs::metadata(dir.path().join("images")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
