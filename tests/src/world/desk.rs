//! The author's desk and the factory's: keys, anchors, images, manifests, unit files.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_api::{AddDevice, AddGateway, Security};
use bellwether_manifests::anchors::{AnchorsDraft, RoleDraft, RoleName};
use bellwether_manifests::author::{ClassImage, ComponentDraft, ManifestDraft, class_id, vendor_id};
use bellwether_manifests::cose::PrivateKey;
use bellwether_manifests::envelope::Envelope;
use bellwether_manifests::message::algorithm::{A256CTR, A256KW, ESP256};
use bellwether_server::core::Core;
use sha2::{Digest as _, Sha256};

use super::device::Digest;
use super::dice::Dice;
use crate::images;

/// Who signs in one world, and what is signed.
pub struct Desk {
    root: [u8; 32],
    author: [u8; 32],
    other_author: [u8; 32],
    vendor: [u8; 16],
    /// The images of each component, by version: an application, and a radio where there are two.
    pub images: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

/// A signed manifest.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Its envelope.
    pub envelope: Vec<u8>,
    /// Its digest, its name everywhere.
    pub digest: Digest,
    /// What a device runs that has followed it, as [`running`] names it.
    pub target: Digest,
}

impl Desk {
    /// Draws keys, and images of about so many bytes for one component or two.
    pub fn new(dice: &mut Dice, image_bytes: usize, components: usize) -> Self {
        let mut draw = || {
            let mut scalar = [0; 32];
            dice.fill(&mut scalar[1..]);
            scalar
        };
        let (root, author, other_author) = (draw(), draw(), draw());
        let seed = u32::try_from(dice.between(1, 1 << 30)).unwrap_or(1);
        let sizes = [(seed, image_bytes), (seed ^ 1, image_bytes / 2)];
        let first: Vec<Vec<u8>> =
            sizes.iter().take(components).map(|(seed, bytes)| images::image(*seed, *bytes)).collect();
        let next = |images: &[Vec<u8>]| images.iter().map(|image| images::next_version(image)).collect();
        let second: Vec<Vec<u8>> = next(&first);
        let third = next(&second);
        let images = [(FACTORY, first), (FIRST, second), (SECOND, third)].into_iter().collect();
        Self { root, author, other_author, vendor: vendor_id(VENDOR), images }
    }

    /// Names what a device runs that runs a version.
    pub fn digest(&self, version: &str) -> Digest {
        let digests: Vec<Digest> = self.images[version].iter().map(|image| images::digest(image)).collect();
        running(&digests)
    }

    /// Signs anchors; from edition 2 on another author is in them too.
    ///
    /// # Panics
    ///
    /// Where it is refused.
    pub fn anchors(&self, core: &Core, edition: u64) -> Vec<u8> {
        let role = |name, keys, components: &[&str], algorithms: &[i64]| RoleDraft {
            name,
            threshold: 1,
            keys,
            components: components.iter().map(|part| vec![part.as_bytes().to_vec()]).collect(),
            algorithms: algorithms.to_vec(),
        };
        let mut authors = vec![key(&self.author).public()];
        authors.extend((edition > 1).then(|| key(&self.other_author).public()));
        let distributors = vec![core.descriptors.public_key()];
        let roles = vec![
            role(RoleName::Root, vec![key(&self.root).public()], &[], &[ESP256]),
            role(RoleName::Author, authors, &COMPONENTS, &[ESP256]),
            role(RoleName::Distributor, distributors, &[], &[ESP256, A256CTR, A256KW]),
        ];
        let draft = AnchorsDraft { edition, issued: 0, vendor: self.vendor, roles };
        draft.sign(&[key(&self.root)]).expect("anchors")
    }

    /// Signs a manifest that brings the class to a version.
    ///
    /// # Panics
    ///
    /// Where it is refused.
    pub fn manifest(&self, sequence: u64, version: &str) -> Signed {
        let target = self.digest(version);
        let class = class_id(&self.vendor, CLASS);
        let images: Vec<ClassImage> = self.images[version]
            .iter()
            .map(|image| ClassImage {
                class,
                digest: images::digest(image),
                size: image.len() as u64,
                version: None,
            })
            .collect();
        let mut draft =
            ManifestDraft::new(sequence, self.vendor, vec![images[0].clone()], reference(sequence));
        if let Some(radio) = images.get(1) {
            let component = vec![COMPONENTS[1].as_bytes().to_vec()];
            draft = draft.with(ComponentDraft { component, classes: vec![radio.clone()] });
        }
        let envelope = draft.sign(&key(&self.author)).expect("a manifest");
        let digest = *Envelope::parse(&envelope).expect("an envelope").digest();
        Signed { envelope, digest, target }
    }

    /// Publishes anchors and images.
    ///
    /// # Panics
    ///
    /// Where it is refused.
    pub async fn publish(&self, core: &Arc<Core>) {
        core.put_anchors(&self.anchors(core, 1)).await.expect("anchors are taken");
        for (version, images) in &self.images {
            for (component, image) in COMPONENTS.iter().zip(images) {
                core.publish_release(CLASS, component, version, image).await.expect("a release is taken");
            }
        }
        for (component, image) in COMPONENTS.iter().zip(&self.images[FACTORY]) {
            core.publish_release(FOREIGN, component, FACTORY, image).await.expect("a release is taken");
        }
    }

    /// Enrols a device and gives its unit file.
    ///
    /// # Panics
    ///
    /// Where it is refused.
    pub async fn enrol(&self, core: &Arc<Core>, name: &str, class: &str, gateway: Option<String>) -> Vec<u8> {
        let asked = AddDevice {
            chain_length: None,
            endpoint: name.to_owned(),
            class: class.to_owned(),
            security: Security::Psk,
            gateway,
        };
        let new = core.add_device(&asked).await.expect("a device is taken");
        hex::decode(new.unit).expect("hexadecimal")
    }

    /// Enrols a gateway and gives its unit file.
    ///
    /// # Panics
    ///
    /// Where it is refused.
    pub async fn enrol_gateway(&self, core: &Arc<Core>, name: &str, uri: String) -> Vec<u8> {
        let asked = AddGateway { name: name.to_owned(), uri };
        let new = core.add_gateway(&asked).await.expect("a gateway is taken");
        hex::decode(new.unit).expect("hexadecimal")
    }
}

/// Names what a device runs by the digests of its components' images: that of the only one, or a hash of all. So
/// components that belong to different versions are an image that nobody signed.
pub fn running(digests: &[Digest]) -> Digest {
    match digests {
        [only] => *only,
        all => Sha256::digest(all.concat()).into(),
    }
}

fn key(scalar: &[u8; 32]) -> PrivateKey {
    PrivateKey::from_random(scalar).expect("a key")
}

fn reference(sequence: u64) -> String {
    format!("coaps://10.0.0.1/m/{sequence}")
}

/// Vendor of the world.
pub const VENDOR: &str = "example.com";
/// Class that manifests serve.
pub const CLASS: &str = "meter";
/// Class that they do not serve.
pub const FOREIGN: &str = "lamp";
/// Version that devices leave the factory with.
pub const FACTORY: &str = "1.0";
/// What the first campaign brings.
pub const FIRST: &str = "2.0";
/// What the second campaign brings.
pub const SECOND: &str = "3.0";
const COMPONENTS: [&str; 2] = ["app", "radio"];
