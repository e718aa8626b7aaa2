//! Key files: PKCS#8 PEM for private keys, `SubjectPublicKeyInfo` PEM for public ones, as openssl writes them.

use std::path::{Path, PathBuf};

use bellwether_manifests::cose::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::file::{self, Access};
use crate::system;

/// A key as a file holds it.
#[derive(Debug)]
pub(crate) enum KeyFile {
    /// One that signs.
    Private(PrivateKey),
    /// One that verifies.
    Public(PublicKey),
}

impl KeyFile {
    /// Reads either kind.
    ///
    /// # Errors
    ///
    /// [`Failure::File`] says how to make a key.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = Zeroizing::new(file::read(path)?);
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let private = PrivateKey::from_pem(text).map(Self::Private);
        private
            .or_else(|_| PublicKey::from_pem(text).map(Self::Public))
            .map_err(|_| Failure::file(path, NOT_A_KEY))
    }

    /// Gives the public half.
    #[must_use]
    pub(crate) fn public(&self) -> PublicKey {
        match self {
            Self::Private(key) => key.public(),
            Self::Public(key) => *key,
        }
    }
}

/// Reads a key that signs.
///
/// # Errors
///
/// [`Failure::File`], also for a public key.
pub(crate) fn read_private(path: &Path) -> Result<PrivateKey, Failure> {
    match KeyFile::read(path)? {
        KeyFile::Private(key) => Ok(key),
        KeyFile::Public(_) => {
            Err(Failure::file(path, "is a public key and can't sign; name the private key's file"))
        }
    }
}

/// Reads a key that verifies.
///
/// # Errors
///
/// [`Failure::File`], also for a private key: it has no business here.
pub(crate) fn read_public(path: &Path) -> Result<PublicKey, Failure> {
    match KeyFile::read(path)? {
        KeyFile::Public(key) => Ok(key),
        KeyFile::Private(_) => Err(Failure::file(
            path,
            format!(
                "is a private key, which should not travel; name its public half, {}",
                public_path(path).display()
            ),
        )),
    }
}

/// Makes a key and leaves its private half at `path`, its public half beside it.
///
/// # Errors
///
/// [`Failure::File`] where one of the two is there already; then neither is written.
pub(crate) fn make(path: &Path) -> Result<(PublicKey, PathBuf), Failure> {
    let beside = public_path(path);
    if beside == path {
        let text = "ends in .pub, which is the public half's name; choose another, e.g. author.key";
        return Err(Failure::file(path, text));
    }
    let key = random_key()?;
    let (private_pem, public_pem) = (key.to_pem(), key.public().to_pem());
    let private_pem = private_pem.map_err(|error| Failure::file(path, error))?;
    let public_pem = public_pem.map_err(|error| Failure::file(&beside, error))?;
    // The public half first: where the private one then can't be written, what is left is no secret.
    file::write_new(&beside, public_pem.as_bytes(), Access::Public)?;
    if let Err(failure) = file::write_new(path, private_pem.as_bytes(), Access::Secret) {
        std::fs::remove_file(&beside).map_err(|error| Failure::file(&beside, error))?;
        return Err(failure);
    }
    Ok((key.public(), beside))
}

fn random_key() -> Result<PrivateKey, Failure> {
    let mut scalar = Zeroizing::new([0; 32]);
    loop {
        system::fill_random(scalar.as_mut())?;
        // Fewer than one draw in 2^32 is no scalar of the curve.
        if let Ok(key) = PrivateKey::from_random(&scalar) {
            return Ok(key);
        }
    }
}

fn public_path(path: &Path) -> PathBuf {
    path.with_extension("pub")
}

const NOT_A_KEY: &str = "is no PEM file with a P-256 key; make one with: bellwether keys new FILE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_key_is_read_back_from_both_halves() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("author.key");
        let (public, beside) = make(&path).expect("new");
        assert_eq!(beside, folder.path().join("author.pub"));
        assert_eq!(read_private(&path).expect("private").public(), public);
        assert_eq!(read_public(&beside).expect("public"), public);
    }

    #[test]
    fn key_is_not_overwritten_and_no_half_of_another_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("author.key");
        std::fs::write(&path, "mine").expect("written");
        assert!(make(&path).is_err());
        assert_eq!(std::fs::read(&path).expect("there"), b"mine");
        assert!(!folder.path().join("author.pub").exists());
    }

    #[test]
    fn public_key_of_another_pair_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, beside) = (folder.path().join("author.key"), folder.path().join("author.pub"));
        std::fs::write(&beside, "theirs").expect("written");
        assert!(make(&path).is_err());
        assert_eq!(std::fs::read(&beside).expect("there"), b"theirs");
        assert!(!path.exists());
    }

    #[test]
    fn halves_are_not_taken_for_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("author.key");
        let (_, beside) = make(&path).expect("new");
        let error = read_public(&path).expect_err("private");
        assert!(error.to_string().contains("author.pub"), "{error}");
        assert!(read_private(&beside).is_err());
    }

    #[test]
    fn name_of_a_public_half_is_refused_for_a_private_one() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(make(&folder.path().join("author.pub")).is_err());
    }
}
