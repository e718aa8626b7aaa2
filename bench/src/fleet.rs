//! A whole server in a temporary folder, and devices that ask it: everything but the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bellwether_api::{AddDevice, AddGateway, LaunchCampaign, Policy, Security, Targets};
use bellwether_delta::Algorithm;
use bellwether_keys::chain;
use bellwether_keys::derive::{self, UpKey};
use bellwether_keys::mac::{self, NewReport};
use bellwether_keys::unit::UnitData;
use bellwether_manifests::anchors::{AnchorsDraft, RoleDraft, RoleName};
use bellwether_manifests::author::{ClassImage, ManifestDraft, class_id, vendor_id};
use bellwether_manifests::cbor;
use bellwether_manifests::cose::PrivateKey;
use bellwether_manifests::definition::{
    CLASS_ID, FREE_STAGING_BYTES, IMAGE_DIGEST, PATCH_ALGORITHMS, VENDOR_ID,
};
use bellwether_manifests::manifest::ComponentId;
use bellwether_manifests::message::algorithm::{A256CTR, A256KW, ESP256};
use bellwether_manifests::message::{
    Answers, List, Moment, Place, RequestOptions, ScopeAnswers, Selector, UpdateRequest,
};
use bellwether_manifests::report::{Claims, Entry, Outcome, ReportDraft};
use bellwether_net::{Shard, ShardConfig};
use bellwether_server::builder;
use bellwether_server::config::{Config, Flags};
use bellwether_server::core::Core;
use bellwether_server::frames::FrameService;
use bellwether_server::ingress::coap;
use bellwether_server::resolver::Sender;
use bellwether_store::catalogue::{Base, Resource};
use clap::Parser;
use sha2::{Digest as _, Sha256};

use crate::Failure;

/// SHA-256.
pub(crate) type Digest = [u8; 32];

/// The server with all its rooms, its author and its vendor.
pub(crate) struct Fleet {
    pub(crate) core: Arc<Core>,
    author: PrivateKey,
    vendor: [u8; 16],
    /// The anchors that devices and server believe.
    pub(crate) anchors: Vec<u8>,
}

/// An enrolled device.
pub(crate) struct Device {
    pub(crate) name: String,
    /// Key of its link with its gateway; empty without one.
    pub(crate) link_psk: Vec<u8>,
    up: UpKey,
}

/// A manifest that was published.
pub(crate) struct Published {
    /// Its digest, by which it is named.
    pub(crate) digest: Digest,
    pub(crate) envelope: Vec<u8>,
    /// Digest of the image that it brings.
    pub(crate) target: Digest,
}

/// What a device says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) class: &'a str,
    pub(crate) running: &'a Digest,
    pub(crate) applies_deltas: bool,
}

impl Fleet {
    /// Opens a server on an empty folder and publishes anchors.
    pub(crate) async fn open(folder: &Path) -> Result<Self, Failure> {
        Self::open_at(folder, SERVER).await
    }

    /// Opens a server that devices and gateways are told to call at `uri`.
    pub(crate) async fn open_at(folder: &Path, uri: &str) -> Result<Self, Failure> {
        Self::open_with(folder, uri, &[]).await
    }

    /// Opens a server with further flags.
    pub(crate) async fn open_with(folder: &Path, uri: &str, flags: &[&str]) -> Result<Self, Failure> {
        let data = folder.join("data");
        std::fs::create_dir(&data)?;
        let words = [Path::new("bellwether-bench"), Path::new("--data"), &data];
        let flags = Flags::try_parse_from(words.into_iter().chain(flags.iter().map(Path::new)))?;
        let config = Config::resolve(flags)?;
        let core = Core::open(config, uri.to_owned(), Arc::default(), Arc::default()).await?;
        let [root, author] = [1, 2].map(|number| PrivateKey::from_random(&[number; 32]));
        let (root, author) = (root?, author?);
        let vendor = vendor_id("bench.example");
        let role = |name, key, components: &[&str], algorithms: &[i64]| RoleDraft {
            name,
            threshold: 1,
            keys: vec![key],
            components: components.iter().map(|part| vec![part.as_bytes().to_vec()]).collect(),
            algorithms: algorithms.to_vec(),
        };
        let distributor = core.descriptors.public_key();
        let roles = vec![
            role(RoleName::Root, root.public(), &[], &[ESP256]),
            role(RoleName::Author, author.public(), &[COMPONENT], &[ESP256]),
            role(RoleName::Distributor, distributor, &[], &[ESP256, A256CTR, A256KW]),
        ];
        let anchors = AnchorsDraft { edition: 1, issued: 0, vendor, roles }.sign(&[root])?;
        core.put_anchors(&anchors).await?;
        Ok(Self { core, author, vendor, anchors })
    }

    /// Opens its socket for devices and gateways, and gives the address.
    pub(crate) fn listen(&self) -> Result<SocketAddr, Failure> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let keys = Arc::clone(&self.core.dtls_keys) as _;
        let config = ShardConfig::new(any, bellwether_net::Security::PskServer(keys));
        let service = FrameService::new(Arc::clone(&self.core.frames));
        let (shard, events) = Shard::spawn(config, Box::new(service))?;
        let address = shard.local_addr();
        tokio::spawn(coap::run(Arc::clone(&self.core), shard, events));
        Ok(address)
    }

    /// Enrols a gateway and gives its unit file.
    pub(crate) async fn enrol_gateway(&self, name: &str) -> Result<Vec<u8>, Failure> {
        // Nobody looks it up here: devices are told the address that the gateway has then.
        let asked = AddGateway { name: name.to_owned(), uri: "coaps://127.0.0.1:5684".to_owned() };
        Ok(hex::decode(self.core.add_gateway(&asked).await?.unit)?)
    }

    /// Keeps an image for a class.
    pub(crate) async fn release(&self, class: &str, version: &str, image: &[u8]) -> Result<Digest, Failure> {
        self.core.publish_release(class, COMPONENT, version, image).await?;
        Ok(Sha256::digest(image).into())
    }

    /// Signs and publishes a manifest that brings a class to an image.
    pub(crate) async fn manifest(
        &self,
        sequence: u64,
        class: &str,
        image: &[u8],
    ) -> Result<Published, Failure> {
        let target = Sha256::digest(image).into();
        let class = class_id(&self.vendor, class);
        let image = ClassImage { class, digest: target, size: image.len() as u64, version: None };
        let draft = ManifestDraft::new(sequence, self.vendor, vec![image], REFERENCE.to_owned());
        let envelope = draft.sign(&self.author)?;
        let published = self.core.publish_manifest(&envelope).await?;
        let mut digest = [0; 32];
        hex::decode_to_slice(&published.digest, &mut digest)?;
        Ok(Published { digest, envelope, target })
    }

    /// Waits until the resource that brings devices to the manifest's image is made: by a delta from `base`, or
    /// whole.
    pub(crate) async fn resource(
        &self,
        published: &Published,
        base: Option<Digest>,
    ) -> Result<Resource, Failure> {
        let algorithm = i64::from(Algorithm::FIELDS.0);
        let base = base.map(|digest| Base { digest, algorithm });
        Ok(self.core.builder.resource(&builder::shared(published.target, base)).await?)
    }

    /// Enrols a device.
    pub(crate) async fn enrol(&self, name: &str, class: &str) -> Result<Device, Failure> {
        self.enrolled(name, class, None).await
    }

    /// Enrols a device behind a gateway.
    pub(crate) async fn enrol_behind(
        &self,
        name: &str,
        class: &str,
        gateway: &str,
    ) -> Result<Device, Failure> {
        self.enrolled(name, class, Some(gateway.to_owned())).await
    }

    async fn enrolled(&self, name: &str, class: &str, gateway: Option<String>) -> Result<Device, Failure> {
        let asked = AddDevice {
            chain_length: None,
            endpoint: name.to_owned(),
            class: class.to_owned(),
            security: Security::Psk,
            gateway,
        };
        let added = self.core.add_device(&asked).await?;
        let bytes = hex::decode(&added.unit)?;
        let unit = UnitData::decode(&bytes)?;
        let link = chain::link(&unit.seed, 0, unit.chain_length)?;
        let link_psk = unit.gateways.get(0).map(|gateway| gateway.psk.to_vec()).unwrap_or_default();
        Ok(Device { name: name.to_owned(), link_psk, up: derive::up(&link, &unit.first_place())? })
    }

    /// Launches a campaign for these devices, all at once.
    pub(crate) async fn launch(&self, manifest: &Digest, devices: &[Device]) -> Result<(), Failure> {
        let endpoints: Vec<String> = devices.iter().map(|device| device.name.clone()).collect();
        let request_id = format!("{} and {}", endpoints.first().map_or("", String::as_str), endpoints.len());
        let campaign = LaunchCampaign {
            request_id,
            manifest: hex::encode(manifest),
            targets: Targets { endpoints, ..Targets::default() },
            policy: Policy::default(),
            who: None,
            why: None,
        };
        self.core.launch(&campaign).await?;
        Ok(())
    }

    /// Asks for a device as its session would.
    pub(crate) async fn ask(&self, device: &Device, request: &[u8]) -> Result<Vec<u8>, Failure> {
        Ok(self.core.resolve(&device.sender(), &[REQUEST_PATH.to_owned()], request).await?)
    }

    /// Writes the request of a device that has just verified the manifest.
    pub(crate) fn request(
        &self,
        device: &Device,
        manifest: &Digest,
        facts: &Facts<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let class = class_id(&self.vendor, facts.class);
        let [vendor, class] = [self.vendor, class].map(|uuid| [&[BYTES_16], &uuid[..]].concat());
        let running = [&DIGEST_IN_BYTES[..], facts.running].concat();
        let mut about_device = vec![(VENDOR_ID, vendor.as_slice()), (CLASS_ID, class.as_slice())];
        if facts.applies_deltas {
            about_device.push((PATCH_ALGORITHMS, &ALGORITHM_MINUS_2));
        }
        let (about_image, volatile) =
            ([(IMAGE_DIGEST, running.as_slice())], [(FREE_STAGING_BYTES, &STAGING[..])]);
        let scope = |component, answers| {
            Ok::<_, Failure>(ScopeAnswers { component, answers: Answers::new(answers)? })
        };
        let stable = [scope(None, &about_device[..])?, scope(Some(0), &about_image[..])?];
        let volatile = [scope(None, &volatile[..])?];
        let request = UpdateRequest {
            place: device.place(),
            counter: 1,
            fork: &[0; 8],
            nonce: &[7; 8],
            selector: Selector { manifest, scopes: List::new(&stable) },
            volatile: List::new(&volatile),
            options: RequestOptions::default(),
        };
        Ok(mac::seal_request_to_vec(&device.up, &format!("/{REQUEST_PATH}"), &request)?)
    }
}

impl Device {
    /// Who it is to the server.
    pub(crate) fn sender(&self) -> Sender {
        Sender { identity: Some(self.name.clone()), address: "127.0.0.1:5684".to_owned() }
    }

    /// Writes a report of success; as devices do, one of the moment "decrypted" does not say what runs.
    pub(crate) fn report(
        &self,
        moment: Moment,
        grant: u64,
        manifest: &Digest,
        runs: Option<(&Digest, u64)>,
    ) -> Result<Vec<u8>, Failure> {
        let component = ComponentId::parse(COMPONENT_ID).map_err(|error| format!("component: {error}"))?;
        let claims = runs.map(|(digest, size)| {
            Entry::Claims(Claims { component, digest: Some(digest), size: Some(size), version: None })
        });
        let suit_report = cbor::to_vec(&ReportDraft {
            nonce: None,
            entries: claims.as_slice(),
            outcome: Outcome::Success,
            manifest_uri: REFERENCE,
            manifest,
        })?;
        let report = NewReport { grant, moment, random: &[5; 16], suit_report: &suit_report };
        Ok(mac::seal_report_to_vec(&self.up, &report)?)
    }

    fn place(&self) -> Place<'_> {
        Place { id: &self.name, epoch: 0, index: 0 }
    }
}

const SERVER: &str = "coaps://127.0.0.1:5684";
const COMPONENT: &str = "app";
/// `['app']` in CBOR.
const COMPONENT_ID: &[u8] = b"\x81\x43app";
const REFERENCE: &str = "coaps://127.0.0.1:5684/m/bench";
const REQUEST_PATH: &str = "u";
/// CBOR heads and values of the answers.
const BYTES_16: u8 = 0x50;
const DIGEST_IN_BYTES: [u8; 6] = [0x58, 0x24, 0x82, 0x2f, 0x58, 0x20];
const ALGORITHM_MINUS_2: [u8; 3] = [0x42, 0x81, 0x21];
/// 4 MiB of free staging bytes.
const STAGING: [u8; 5] = [0x1a, 0x00, 0x40, 0x00, 0x00];
