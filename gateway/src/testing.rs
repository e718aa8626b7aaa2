//! What tests are made of: a vendor, its keys, one release, and messages about it. No MAC in it is right, for no
//! gateway can check one.

use bellwether_manifests::anchors::{Anchors, AnchorsDraft, RoleDraft, RoleName};
use bellwether_manifests::author::{ClassImage, ManifestDraft};
use bellwether_manifests::cbor;
use bellwether_manifests::cose::mac0::Mac0;
use bellwether_manifests::cose::{PrivateKey, sign1};
use bellwether_manifests::envelope::Envelope;
use bellwether_manifests::frame::FrameChain;
use bellwether_manifests::message::algorithm::{A256CTR, A256KW};
use bellwether_manifests::message::bundle::Name;
use bellwether_manifests::message::request::Unconfirmed;
use bellwether_manifests::message::{
    Answer, Answers, Bundle, Chain, Confirm, Descriptor, Digest, Grant, GrantOptions, GrantedResource, List,
    Moment, Place, Policy, Receipt, Report, RequestOptions, Resource, ResourceKind, ScopeAnswers, Selector,
    Skipped, UpdateRequest, Window, Wrapped, word,
};
use minicbor::Encode;
use sha2::{Digest as _, Sha256};

use crate::held::GrantKey;

/// 00:00:12 of a Thursday long ago, so that the clock of any machine is later.
pub(crate) const NOW: u64 = 1_600_300_812;
/// When descriptors were signed.
pub(crate) const ISSUED: u64 = NOW - 12;
/// When grants and bundles end: later than the clock of any machine.
pub(crate) const NOT_AFTER: u64 = 4_000_000_000;
/// Number of the grants in bundles.
pub(crate) const GRANT: u64 = 1_600_300_800;

fn key(n: u8) -> PrivateKey {
    PrivateKey::from_random(&[n; 32]).unwrap()
}

/// Signs manifests: 1 is the author of the anchors.
fn author(n: u8) -> PrivateKey {
    key(49 + n)
}

/// Signs descriptors and bundles: 1 is the distributor of the anchors.
fn distributor(n: u8) -> PrivateKey {
    key(99 + n)
}

pub(crate) fn anchors(edition: u64, day: u64) -> Vec<u8> {
    anchors_with(edition, day, 1)
}

pub(crate) fn anchors_with(edition: u64, day: u64, distributor: u8) -> Vec<u8> {
    signed_anchors(edition, day, distributor, &key(1))
}

pub(crate) fn foreign_anchors(edition: u64) -> Vec<u8> {
    signed_anchors(edition, 1, 1, &key(2))
}

fn signed_anchors(edition: u64, day: u64, by: u8, root: &PrivateKey) -> Vec<u8> {
    let role = |name, key: &PrivateKey, components| RoleDraft {
        name,
        threshold: 1,
        keys: vec![key.public()],
        components,
        algorithms: vec![-9],
    };
    let app = vec![vec![b"app".to_vec()]];
    let roles = vec![
        role(RoleName::Root, root, vec![]),
        role(RoleName::Author, &author(1), app),
        role(RoleName::Distributor, &distributor(by), vec![]),
    ];
    let draft = AnchorsDraft { edition, issued: ISSUED - 1_000 + day, vendor: [7; 16], roles };
    draft.sign(&[PrivateKey::from_random(&root.to_scalar()).unwrap()]).unwrap()
}

fn mac0(value: &impl Encode<()>) -> Vec<u8> {
    cbor::to_vec(&Mac0 { payload: &cbor::to_vec(value).unwrap(), tag: &[0xee; 32] }).unwrap()
}

/// One release.
pub(crate) struct World {
    content: Vec<u8>,
    envelope: Vec<u8>,
    manifest: Digest,
}

/// What a bundle is made of.
#[derive(Clone, Copy)]
pub(crate) struct BundleOf<'a> {
    pub(crate) edition: u64,
    pub(crate) campaign: &'a str,
    pub(crate) granted: &'a [&'a str],
    pub(crate) push: &'a [&'a str],
    pub(crate) windows: &'a [Window],
    pub(crate) at_a_time: u64,
    pub(crate) bytes_per_s: u64,
    pub(crate) not_after: u64,
    pub(crate) signed_by: u8,
    pub(crate) author: u8,
    pub(crate) described_by: u8,
    pub(crate) ask_go: bool,
}

impl BundleOf<'_> {
    pub(crate) const DEFAULT: Self = Self {
        edition: 1,
        campaign: "spring",
        granted: &["lamp-1"],
        push: &[],
        windows: &[],
        at_a_time: 2,
        bytes_per_s: 1 << 20,
        not_after: NOT_AFTER,
        signed_by: 1,
        author: 1,
        described_by: 1,
        ask_go: false,
    };
}

impl Default for BundleOf<'_> {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a request is made of.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) id: &'a str,
    pub(crate) index: u16,
    pub(crate) counter: u64,
    /// Numbers of the options; [`CLOCK`] or [`FAR_CLOCK`] alone for the negative one.
    pub(crate) options: &'a [u8],
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self { id: "lamp-1", index: 0, counter: 1, options: &[] }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_content(&vec![0x5a; 20_000])
    }

    pub(crate) fn with_content(content: &[u8]) -> Self {
        let envelope = envelope(content, 1);
        let document = anchors(1, 1);
        let anchors = Anchors::initial(&document).unwrap();
        let manifest = *Envelope::parse(&envelope).unwrap().verify(&anchors).unwrap().digest();
        Self { content: content.to_vec(), envelope, manifest }
    }

    /// The same release, carried in other bytes.
    pub(crate) fn carried_as(&self, content: &[u8]) -> Self {
        Self { content: content.to_vec(), envelope: self.envelope.clone(), manifest: self.manifest }
    }

    pub(crate) fn manifest(&self) -> Digest {
        self.manifest
    }

    pub(crate) fn envelope(&self) -> &[u8] {
        &self.envelope
    }

    pub(crate) fn chain(&self) -> FrameChain<'_> {
        FrameChain::build(&self.content, 992).unwrap()
    }

    pub(crate) fn root(&self) -> Digest {
        self.chain().root()
    }

    pub(crate) fn selector_hash(&self) -> Digest {
        self.with_selector(|selector| selector.hash().unwrap())
    }

    pub(crate) fn key(&self, id: &str) -> GrantKey {
        let place = Place { id, epoch: 0, index: 0 };
        GrantKey::new(&place, &self.manifest, &self.selector_hash())
    }

    fn with_selector<T>(&self, act: impl FnOnce(Selector<'_>) -> T) -> T {
        let answers = [(1, &[0x41, 7][..])];
        let scopes = [ScopeAnswers { component: None, answers: Answers::new(&answers).unwrap() }];
        act(Selector { manifest: &self.manifest, scopes: List::new(&scopes) })
    }

    fn digest(&self) -> Digest {
        Sha256::digest(&self.content).into()
    }

    pub(crate) fn descriptor(&self, signed_by: u8) -> Vec<u8> {
        let (content, root) = (self.digest(), self.root());
        let location = format!("/f/{}", hex::encode(root));
        let locations = [location.as_str()];
        let bytes = self.content.len() as u64;
        let resources = [Resource {
            component: 0,
            kind: ResourceKind::Full,
            content: &content,
            content_bytes: bytes,
            plain: &content,
            plain_bytes: bytes,
            installed: &content,
            installed_bytes: bytes,
            chain: Chain { block_bytes: 992, root: &root },
            locations: List::new(&locations),
            patch: None,
            inline: None,
        }];
        let descriptor = Descriptor {
            manifest: &self.manifest,
            selector: &self.selector_hash(),
            issued: ISSUED,
            expires: NOT_AFTER,
            resources: List::new(&resources),
            skipped: Skipped::NONE,
        };
        sign1(&cbor::to_vec(&descriptor).unwrap(), &[word::DESCRIPTOR], &distributor(signed_by))
    }

    pub(crate) fn grant(&self, id: &str, index: u16, number: u64) -> Vec<u8> {
        self.grant_with(id, index, number, false)
    }

    fn grant_with(&self, id: &str, index: u16, number: u64, ask_go: bool) -> Vec<u8> {
        let content = self.digest();
        let resources = [GrantedResource {
            component: 0,
            content: &content,
            installed: &content,
            algorithm: A256CTR,
            iv: &[3; 16],
            key: Wrapped { algorithm: A256KW, ephemeral: None, wrapped: &[0xcc; 40] },
        }];
        mac0(&Grant {
            place: Place { id, epoch: 0, index },
            grant: number,
            manifest: &self.manifest,
            selector: &self.selector_hash(),
            resources: List::new(&resources),
            not_after: NOT_AFTER,
            confirm: Confirm::Both,
            options: GrantOptions { ask_go: ask_go.then_some(true), ..GrantOptions::default() },
        })
    }

    /// What the server answers to a request.
    pub(crate) fn answer(&self, id: &str, index: u16, number: u64) -> Vec<u8> {
        let (grant, descriptor) = (self.grant(id, index, number), self.descriptor(1));
        cbor::to_vec(&Answer { message: &grant, descriptor: Some(&descriptor) }).unwrap()
    }

    pub(crate) fn request(&self, ask: &Ask<'_>) -> Vec<u8> {
        let cose_key = key(200).public().encode();
        let options = RequestOptions {
            echo: ask.options.contains(&1).then_some(&[1; 8]),
            wrap_to: ask.options.contains(&4).then_some(&cose_key),
            go: ask.options.contains(&5).then_some(GRANT),
            share: ask.options.contains(&6).then_some(&cose_key),
            unconfirmed: ask.options.contains(&7).then_some(Unconfirmed { grant: GRANT, report: &[9; 32] }),
            clock: match ask.options {
                [CLOCK] => Some(NOW),
                [FAR_CLOCK] => Some(u64::MAX),
                _ => None,
            },
            ..RequestOptions::default()
        };
        self.with_selector(|selector| {
            mac0(&UpdateRequest {
                place: Place { id: ask.id, epoch: 0, index: ask.index },
                counter: ask.counter,
                fork: &[0; 8],
                nonce: &[1; 8],
                selector,
                volatile: List::default(),
                options,
            })
        })
    }

    pub(crate) fn report(id: &str, grant: u64, moment: Moment, random: u8) -> Vec<u8> {
        let place = Place { id, epoch: 0, index: 0 };
        cbor::to_vec(&Report { place, grant, moment, random: &[random; 16], report: b"sealed" }).unwrap()
    }

    pub(crate) fn receipt(id: &str, report: &[u8]) -> Vec<u8> {
        let digest = Sha256::digest(report).into();
        mac0(&Receipt { place: Place { id, epoch: 0, index: 0 }, report: &digest, now: NOW })
    }

    pub(crate) fn bundle(&self, of: &BundleOf<'_>) -> Vec<u8> {
        let envelope = envelope(&self.content, of.author);
        let descriptor = self.descriptor(of.described_by);
        let grants: Vec<Vec<u8>> =
            of.granted.iter().map(|id| self.grant_with(id, 0, GRANT, of.ask_go)).collect();
        let descriptors = [descriptor.as_slice()];
        let grants: Vec<&[u8]> = grants.iter().map(Vec::as_slice).collect();
        let push: Vec<Name<'_>> = of.push.iter().map(|name| Name(name)).collect();
        let policy = Policy {
            bytes_per_s: Some(of.bytes_per_s),
            devices_at_a_time: Some(of.at_a_time),
            windows: (!of.windows.is_empty()).then_some(List::new(of.windows)),
            push: (!push.is_empty()).then_some(List::new(&push)),
            ..Policy::default()
        };
        let bundle = Bundle {
            edition: of.edition,
            campaign: of.campaign,
            envelope: &envelope,
            descriptors: List::new(&descriptors),
            grants: List::new(&grants),
            policy,
            not_after: of.not_after,
        };
        bundle.sign(&distributor(of.signed_by)).unwrap()
    }
}

fn envelope(content: &[u8], by: u8) -> Vec<u8> {
    let digest = Sha256::digest(content).into();
    let class = ClassImage { class: [1; 16], digest, size: content.len() as u64, version: None };
    ManifestDraft::new(1, [7; 16], vec![class], "coaps://h/m/1".into()).sign(&author(by)).unwrap()
}

/// Stands for option -1 with a clock that is right.
pub(crate) const CLOCK: u8 = 255;

/// Stands for option -1 with a clock by which everything has expired.
pub(crate) const FAR_CLOCK: u8 = 254;
