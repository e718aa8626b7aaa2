//! What connections to a broker are protected by: whose certificates are believed, and the one that we show.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::secret_file::{self, SecretFileError};

/// Files in PEM. They are read at every connection, so that renewed certificates need no restart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tls {
    /// Authorities whose brokers are believed; `None`: those of this machine.
    pub authorities: Option<PathBuf>,
    /// Who we are there by certificate.
    pub identity: Option<TlsIdentity>,
}

/// A certificate of ours and its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsIdentity {
    /// The certificate, followed by those between it and its authority.
    pub certificate: PathBuf,
    /// Its key; its owner's alone (0600).
    pub key: PathBuf,
}

/// Why TLS can't be set up. Nothing of a key is ever in it.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{} can't be read ({source})", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A file has no certificate in it.
    #[error("{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),
    /// The key can't be used.
    #[error(transparent)]
    SecretFile(#[from] SecretFileError),
    /// There is no file of the key.
    #[error("{} is not there", .0.display())]
    NoKeyFile(PathBuf),
    /// The file of the key has none in it.
    #[error(
        "{} holds no key in PEM; one with a password must be stored without: openssl pkey -in OLD -out NEW",
        .0.display()
    )]
    NoKey(PathBuf),
    /// Certificate and key are not of each other, or of a kind that is not known.
    #[error("{} and {} can't be used together ({source})", certificate.display(), key.display())]
    Identity {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// This machine lists no authorities.
    #[error("this machine lists no certificate authorities; name the broker's with mqtt_ca_file")]
    NoAuthorities,
    /// The library refuses its own defaults.
    #[error("TLS can't be set up")]
    Library(#[source] rustls::Error),
}

impl Tls {
    /// Reads the files and makes what a connection needs.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file.
    pub fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Library)?
            .with_root_certificates(self.roots()?);
        let Some(TlsIdentity { certificate, key }) = &self.identity else {
            return Ok(Arc::new(builder.with_no_client_auth()));
        };
        let chain = certificates(certificate)?;
        let client = builder.with_client_auth_cert(chain, private_key(key)?).map_err(|source| {
            TlsError::Identity { certificate: certificate.clone(), key: key.clone(), source }
        })?;
        Ok(Arc::new(client))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let Some(path) = &self.authorities else {
            // One that this library can't read is not worth a refusal: the broker's may be another.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            return if roots.is_empty() { Err(TlsError::NoAuthorities) } else { Ok(roots) };
        };
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|_| TlsError::NoCertificate(path.clone()))?;
        }
        Ok(roots)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::NoCertificate(path.to_owned())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem: Zeroizing<String> =
        secret_file::read(path)?.ok_or_else(|| TlsError::NoKeyFile(path.to_owned()))?;
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| TlsError::NoKey(path.to_owned()))
}
