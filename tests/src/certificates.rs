//! Certificates of a test: an authority, and what it has signed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// An authority.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub certificate: PathBuf,
}

/// A certificate and its key, in files.
#[derive(Clone, Debug)]
pub struct Certified {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key, mode 600.
    pub key: PathBuf,
}

impl Authority {
    /// Makes one in a folder.
    ///
    /// # Panics
    ///
    /// Where the library or the disk refuses.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let certificate = folder.join(format!("{name}.pem"));
        fs::write(&certificate, pem).expect("written");
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key), certificate }
    }

    /// Certifies a name, for these hosts.
    ///
    /// # Panics
    ///
    /// Where the library or the disk refuses.
    pub fn certify(&self, name: &str, hosts: &[&str]) -> Certified {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        let path = |extension: &str| self.folder.join(format!("{name}.{extension}"));
        let certified = Certified { certificate: path("pem"), key: path("key") };
        fs::write(&certified.certificate, certificate).expect("written");
        fs::write(&certified.key, key.serialize_pem()).expect("written");
        fs::set_permissions(&certified.key, fs::Permissions::from_mode(0o600)).expect("private");
        certified
    }
}
