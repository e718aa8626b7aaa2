//! A server for one device: keys, grants, frames and receipts by the protocol, without its table of rows.

use super::{Author, ID, NOW, SEED};
use bellwether_keys::fork::{self, ForkHead};
use bellwether_keys::mac::{self, OpenError};
use bellwether_keys::wrap::{self, WrapAlgorithm};
use bellwether_keys::{
    ChainLength, ContentAlgorithm, ContentCipher, ContentKey, DownKey, Seed, UpKey, chain, derive,
};
use bellwether_manifests::cbor;
use bellwether_manifests::cose::sign1;
use bellwether_manifests::frame::FrameChain;
use bellwether_manifests::message::algorithm::A256CTR;
use bellwether_manifests::message::{
    Answer, Chain, Confirm, Descriptor, Detail, Grant, GrantOptions, GrantedResource, List, Moment, Patch,
    Place, Receipt, Resource, ResourceKind, Skipped, UpdateRequest, Verdict, word,
};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::format;
use std::string::String;
use std::vec::Vec;

/// What the server sends for a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Serve {
    /// The whole image.
    #[default]
    Full,
    /// A delta from this base.
    Delta(Vec<u8>),
    /// A verdict.
    Verdict(Said),
}

/// A verdict with values of its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Nothing,
    Later(u64),
    Refused(i64),
    Prove(Vec<u8>),
}

pub(crate) struct Server<'a> {
    author: &'a Author,
    pub(crate) image: Vec<u8>,
    pub(crate) serve: Serve,
    pub(crate) index: u16,
    pub(crate) fork: ForkHead,
    pub(crate) last_grant: u64,
    pub(crate) confirm: Confirm,
    pub(crate) options: GrantOptions<'static>,
    pub(crate) not_after: u64,
    /// Echoes, options 7 and selectors of the requests that came.
    pub(crate) asked: Vec<Asked>,
    /// Moments and grants of the reports that came.
    pub(crate) reported: Vec<(Moment, u64)>,
    receipts: HashMap<[u8; 32], Vec<u8>>,
    resources: HashMap<[u8; 32], Vec<Vec<u8>>>,
    /// Changes grant and descriptor before they are sealed.
    pub(crate) alter: Option<fn(&mut Parts)>,
    /// Signs descriptors by a stranger.
    pub(crate) strange: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) counter: u64,
    pub(crate) echo: Option<Vec<u8>>,
    pub(crate) unconfirmed: Option<(u64, [u8; 32])>,
    pub(crate) selector: [u8; 32],
}

/// What grant and descriptor are made of.
pub(crate) struct Parts {
    pub(crate) number: u64,
    pub(crate) grant_manifest: [u8; 32],
    pub(crate) selector: [u8; 32],
    pub(crate) descriptor_selector: [u8; 32],
    pub(crate) content: [u8; 32],
    pub(crate) grant_content: [u8; 32],
    pub(crate) installed: [u8; 32],
    pub(crate) installed_bytes: u64,
    pub(crate) precursor: [u8; 32],
    pub(crate) algorithm: i64,
    pub(crate) patch_algorithm: i64,
    pub(crate) expires: u64,
    pub(crate) location: String,
}

impl<'a> Server<'a> {
    pub(crate) fn new(author: &'a Author, image: Vec<u8>) -> Self {
        Self {
            author,
            image,
            serve: Serve::Full,
            index: 0,
            fork: fork::FIRST,
            last_grant: NOW,
            confirm: Confirm::Both,
            options: GrantOptions::default(),
            not_after: NOW + 3600,
            asked: Vec::new(),
            reported: Vec::new(),
            receipts: HashMap::new(),
            resources: HashMap::new(),
            alter: None,
            strange: false,
        }
    }

    /// Answers an update request; panics where a real server would drop it.
    pub(crate) fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        self.try_answer(request).unwrap()
    }

    pub(crate) fn try_answer(&mut self, request: &[u8]) -> Result<Vec<u8>, OpenError> {
        let place = mac::peek_place(request)?;
        let (up, down) = (up_key(place.index), down_key(place.index));
        let request = mac::open_request(&up, "/u", request)?;
        self.follow_unconfirmed(&request);
        self.asked.push(Asked {
            counter: request.counter,
            echo: request.options.echo.map(<[u8]>::to_vec),
            unconfirmed: request.options.unconfirmed.map(|said| (said.grant, *said.report)),
            selector: request.selector.hash().unwrap(),
        });
        let message = match self.serve.clone() {
            Serve::Full => return Ok(self.grant(&request, &down, None)),
            Serve::Delta(base) => return Ok(self.grant(&request, &down, Some(&base))),
            Serve::Verdict(said) => verdict(&request, &down, &said),
        };
        Ok(cbor::to_vec(&Answer { message: &message, descriptor: None }).unwrap())
    }

    /// Takes a report and gives its receipt: the same for the same report.
    pub(crate) fn receipt(&mut self, report: &[u8]) -> Result<Vec<u8>, OpenError> {
        let place = mac::peek_report_place(report)?;
        let verified = mac::open_report(&up_key(place.index), report)?;
        let digest: [u8; 32] = Sha256::digest(report).into();
        if let Some(receipt) = self.receipts.get(&digest) {
            return Ok(receipt.clone());
        }
        self.reported.push((verified.report.moment, verified.report.grant));
        let confirming = match verified.report.moment {
            Moment::Decrypted => self.confirm == Confirm::Decrypted,
            Moment::Installed => self.confirm != Confirm::Decrypted,
            Moment::Failed => false,
        };
        if confirming && verified.report.place.index == self.index {
            self.confirm_by(&digest);
        }
        let receipt = Receipt { place: verified.report.place, report: &digest, now: NOW };
        let receipt = mac::seal_receipt_to_vec(&down_key(place.index), &receipt).unwrap();
        self.receipts.insert(digest, receipt.clone());
        Ok(receipt)
    }

    pub(crate) fn frame(&self, root: &[u8; 32], number: u32) -> Option<Vec<u8>> {
        self.resources.get(root)?.get(number as usize).cloned()
    }

    /// Forgets every resource, as a server that was restored does.
    pub(crate) fn forget_resources(&mut self) {
        self.resources.clear();
    }

    pub(crate) fn manifest(&self, sequence: u64) -> Vec<u8> {
        self.author.manifest(sequence, &self.image)
    }

    /// Row 12: the confirm was lost, and the request leads on from it.
    fn follow_unconfirmed(&mut self, request: &UpdateRequest<'_>) {
        let Some(said) = request.options.unconfirmed else {
            return;
        };
        if request.place.index == self.index + 1 && fork::next(&self.fork, said.report) == *request.fork {
            self.confirm_by(&said.report.clone());
        }
    }

    fn confirm_by(&mut self, report: &[u8; 32]) {
        self.fork = fork::next(&self.fork, report);
        self.index += 1;
    }

    fn grant(&mut self, request: &UpdateRequest<'_>, down: &DownKey, base: Option<&[u8]>) -> Vec<u8> {
        let plain = match base {
            None => self.image.clone(),
            Some(base) => bellwether_delta::make::make(base, &self.image).unwrap().bytes,
        };
        self.last_grant += 1;
        let number = self.last_grant;
        // A fresh key for every ciphertext.
        let mut key = [0x11; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let key = ContentKey::new(ContentAlgorithm::A256Ctr, &key).unwrap();
        let iv = [0xA5; 16];
        let mut content = plain.clone();
        ContentCipher::new(&key, &iv).unwrap().apply_at(0, &mut content).unwrap();
        let chain = FrameChain::build(&content, 992).unwrap();
        let root = chain.root();
        let frames = chain.frames().map(|(block, next)| [block, next.as_slice()].concat()).collect();
        self.resources.insert(root, frames);
        let content_digest: [u8; 32] = Sha256::digest(&content).into();
        let mut parts = Parts {
            number,
            grant_manifest: *request.selector.manifest,
            selector: request.selector.hash().unwrap(),
            descriptor_selector: request.selector.hash().unwrap(),
            content: content_digest,
            grant_content: content_digest,
            installed: super::sha256(&self.image),
            installed_bytes: self.image.len() as u64,
            precursor: base.map(super::sha256).unwrap_or_default(),
            algorithm: A256CTR,
            patch_algorithm: -1,
            expires: NOW + 7200,
            location: format!("/f/{}", hex(&root)),
        };
        if let Some(alter) = self.alter {
            alter(&mut parts);
        }
        let descriptor = self.descriptor(&parts, &content, &plain, base, &root);
        let wrap_key =
            derive::wrap(&link(request.place.index), &place(request.place.index), WrapAlgorithm::A256Kw);
        let wrapped = wrap::wrap(&wrap_key.unwrap(), &key).unwrap();
        let granted = [GrantedResource {
            component: 0,
            content: &parts.grant_content,
            installed: &parts.installed,
            algorithm: parts.algorithm,
            iv: &iv,
            key: wrapped.get(),
        }];
        let grant = Grant {
            place: request.place,
            grant: parts.number,
            manifest: &parts.grant_manifest,
            selector: &parts.selector,
            resources: List::new(&granted),
            not_after: self.not_after,
            confirm: self.confirm,
            options: self.options,
        };
        let message = mac::seal_grant_to_vec(down, &grant).unwrap();
        cbor::to_vec(&Answer { message: &message, descriptor: Some(&descriptor) }).unwrap()
    }

    fn descriptor(
        &self,
        parts: &Parts,
        content: &[u8],
        plain: &[u8],
        base: Option<&[u8]>,
        root: &[u8; 32],
    ) -> Vec<u8> {
        let plain_digest = super::sha256(plain);
        let patch = base.map(|base| Patch {
            algorithm: parts.patch_algorithm,
            precursor: &parts.precursor,
            precursor_bytes: base.len() as u64,
            ram_bytes: 8192,
            parameters: &[],
        });
        let locations = [parts.location.as_str()];
        let resources = [Resource {
            component: 0,
            kind: if base.is_some() { ResourceKind::Delta } else { ResourceKind::Full },
            content: &parts.content,
            content_bytes: content.len() as u64,
            plain: &plain_digest,
            plain_bytes: plain.len() as u64,
            installed: &parts.installed,
            installed_bytes: parts.installed_bytes,
            chain: Chain { block_bytes: 992, root },
            locations: List::new(&locations),
            patch,
            inline: None,
        }];
        let descriptor = Descriptor {
            manifest: &parts.grant_manifest,
            selector: &parts.descriptor_selector,
            issued: NOW,
            expires: parts.expires,
            resources: List::new(&resources),
            skipped: Skipped::default(),
        };
        let key = if self.strange { &self.author.stranger } else { &self.author.distributor };
        sign1(&cbor::to_vec(&descriptor).unwrap(), &[word::DESCRIPTOR], key)
    }
}

fn verdict(request: &UpdateRequest<'_>, down: &DownKey, said: &Said) -> Vec<u8> {
    let detail = match said {
        Said::Nothing => Detail::Nothing,
        Said::Later(delay_s) => Detail::Later(bellwether_manifests::message::Later {
            delay_s: *delay_s,
            not_before: None,
            windows: List::default(),
            jitter_s: 0,
        }),
        Said::Refused(reason) => Detail::Refused { reason: *reason, text: "no" },
        Said::Prove(echo) => Detail::Prove(echo),
    };
    let verdict = Verdict { place: request.place, nonce: request.nonce, now: NOW, detail };
    mac::seal_verdict_to_vec(down, &verdict).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn place(index: u16) -> Place<'static> {
    Place { id: ID, epoch: 0, index }
}

fn link(index: u16) -> chain::Link {
    chain::link(&Seed::new(SEED), index, ChainLength::DEFAULT).unwrap()
}

fn up_key(index: u16) -> UpKey {
    derive::up(&link(index), &place(index)).unwrap()
}

fn down_key(index: u16) -> DownKey {
    derive::down(&link(index), &place(index)).unwrap()
}
