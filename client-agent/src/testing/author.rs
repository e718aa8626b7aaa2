//! An author, a distributor and a stranger, with anchors that know the first two.

use bellwether_manifests::anchors::{Anchors, AnchorsDraft, RoleDraft, RoleName};
use bellwether_manifests::author::{ClassImage, ComponentDraft, ManifestDraft, class_id, vendor_id};
use bellwether_manifests::cose::PrivateKey;
use bellwether_manifests::message::algorithm::{A128CTR, A256CTR, A256KW, ESP256};
use std::boxed::Box;
use std::string::String;
use std::vec;
use std::vec::Vec;

pub(crate) struct Author {
    pub(crate) vendor: [u8; 16],
    pub(crate) root: PrivateKey,
    pub(crate) key: PrivateKey,
    pub(crate) distributor: PrivateKey,
    pub(crate) stranger: PrivateKey,
    anchors: &'static [u8],
}

/// Who is believed from one document on.
pub(crate) struct Edition<'k> {
    pub(crate) number: u64,
    pub(crate) root: &'k PrivateKey,
    pub(crate) author: &'k PrivateKey,
    pub(crate) distributor: &'k PrivateKey,
}

impl Edition<'_> {
    pub(crate) fn draft(&self, vendor: [u8; 16]) -> AnchorsDraft {
        let role = |name, key: &PrivateKey, components: &[&str], algorithms: &[i64]| RoleDraft {
            name,
            threshold: 1,
            keys: vec![key.public()],
            components: components.iter().map(|part| vec![part.as_bytes().to_vec()]).collect(),
            algorithms: algorithms.to_vec(),
        };
        let used = [ESP256, A128CTR, A256CTR, A256KW];
        AnchorsDraft {
            edition: self.number,
            issued: super::BUILT - 1000 * (10 - self.number),
            vendor,
            roles: vec![
                role(RoleName::Root, self.root, &[], &[ESP256]),
                role(RoleName::Author, self.author, &["app", "radio"], &[ESP256]),
                role(RoleName::Distributor, self.distributor, &[], &used),
            ],
        }
    }
}

impl Author {
    pub(crate) fn new() -> Self {
        let [root, key, distributor, stranger] =
            [1, 2, 3, 4].map(|number| PrivateKey::from_random(&[number; 32]).unwrap());
        let vendor = vendor_id("example.com");
        let first = Edition { number: 1, root: &root, author: &key, distributor: &distributor };
        let anchors =
            Box::leak(first.draft(vendor).sign(core::slice::from_ref(&root)).unwrap().into_boxed_slice());
        Self { vendor, root, key, distributor, stranger, anchors }
    }

    /// The document after the first, with these keys.
    pub(crate) fn replacing(&self, edition: &Edition<'_>) -> Vec<u8> {
        let signers = [self.root.clone(), edition.root.clone()];
        let signers = if self.root.public() == edition.root.public() { &signers[..1] } else { &signers[..] };
        edition.draft(self.vendor).sign(signers).unwrap()
    }

    /// Who is believed from the first document on.
    pub(crate) fn edition(&self, number: u64) -> Edition<'_> {
        Edition { number, root: &self.root, author: &self.key, distributor: &self.distributor }
    }

    pub(crate) fn anchors(&self) -> Anchors<'static> {
        Anchors::initial(self.anchors).unwrap()
    }

    pub(crate) fn class(&self, name: &str) -> [u8; 16] {
        class_id(&self.vendor, name)
    }

    /// A draft for the class of the device and another one.
    pub(crate) fn draft(&self, sequence: u64, image: &[u8]) -> ManifestDraft {
        let other =
            ClassImage { class: self.class("meter"), digest: [0x0D; 32], size: 1, version: Some(vec![1, 4]) };
        let mine = ClassImage {
            class: self.class(super::CLASS),
            digest: super::sha256(image),
            size: image.len() as u64,
            version: Some(vec![2, 0, 0]),
        };
        let reference = String::from("coaps://server.example:5684/m/1");
        let mut draft = ManifestDraft::new(sequence, self.vendor, vec![other, mine], reference);
        draft.version = Some(String::from("meter 1.4, lamp 2.0.0"));
        draft
    }

    /// The second component of the same classes.
    pub(crate) fn radio(&self, image: &[u8]) -> ComponentDraft {
        let mine = ClassImage {
            class: self.class(super::CLASS),
            digest: super::sha256(image),
            size: image.len() as u64,
            version: Some(vec![1, 1]),
        };
        let other = ClassImage { class: self.class("meter"), digest: [0x0E; 32], ..mine.clone() };
        ComponentDraft { component: vec![b"radio".to_vec()], classes: vec![other, mine] }
    }

    pub(crate) fn manifest(&self, sequence: u64, image: &[u8]) -> Vec<u8> {
        self.draft(sequence, image).sign(&self.key).unwrap()
    }
}
