//! A server for one device: keys, grants, frames and receipts by the protocol, without its table of rows.

use super::{Author, ID, NOW, SEED};
use crate::update::record;
use bellwether_keys::fork::{self, ForkHead};
use bellwether_keys::mac::{self, OpenError};
use bellwether_keys::share::{PrivateShare, PublicShare, agree};
use bellwether_keys::wrap::{self, WrapAlgorithm};
use bellwether_keys::{
    ChainLength, ContentAlgorithm, ContentCipher, ContentKey, DownKey, Seed, UpKey, chain, derive,
};
use bellwether_manifests::cbor;
use bellwether_manifests::cose::sign1;
use bellwether_manifests::frame::FrameChain;
use bellwether_manifests::message::algorithm::A256CTR;
use bellwether_manifests::message::grant::Shares;
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
    Elsewhere(Vec<&'static str>),
    /// Go or stop, for the grant that was asked for.
    Go,
    Stop,
    /// Go, for another grant.
    GoForAnother,
    /// Forward to this place, fork head and grant number.
    Forward(record::Place, ForkHead, u64),
}

/// What the second component gets.
#[derive(Clone, Debug)]
pub(crate) struct Radio {
    pub(crate) image: Vec<u8>,
    /// The base of a delta; none: the whole image.
    pub(crate) base: Option<Vec<u8>>,
    /// Whether grants have something for it.
    pub(crate) is_granted: bool,
}

/// The resource of the second component, made.
struct RadioMade {
    content: Vec<u8>,
    content_digest: [u8; 32],
    plain: Vec<u8>,
    root: [u8; 32],
    location: String,
    key: ContentKey,
    installed: [u8; 32],
    base: Option<[u8; 32]>,
}

#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that a test asks of the server")]
pub(crate) struct Server<'a> {
    author: &'a Author,
    pub(crate) image: Vec<u8>,
    /// The second component of what it updates, if there is one.
    pub(crate) radio: Option<Radio>,
    pub(crate) serve: Serve,
    pub(crate) epoch: u16,
    pub(crate) index: u16,
    pub(crate) chain_length: ChainLength,
    /// The seed of each epoch, from 0 on.
    pub(crate) seeds: Vec<Seed>,
    /// Whether grants re-seed.
    pub(crate) reseed: bool,
    /// Whether it answers a share by its own, in signed grants.
    pub(crate) shares: bool,
    /// Shares that came, by the place they came from.
    pub(crate) device_shares: HashMap<record::Place, Vec<u8>>,
    /// Leaves out descriptors whose contents the device names.
    pub(crate) spares_descriptors: bool,
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
    /// Signs by a stranger.
    pub(crate) strange: bool,
    /// Whether a go was said.
    pub(crate) said_go: bool,
    /// Encrypts under the same key again.
    pub(crate) reuses_key: bool,
    /// What its clock says.
    pub(crate) now: u64,
    /// Wraps under the keys of this seed.
    wraps_by: Option<Seed>,
    /// Puts another share than the device's own into the grant.
    pub(crate) alters_share: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) counter: u64,
    pub(crate) echo: Option<Vec<u8>>,
    pub(crate) unconfirmed: Option<(u64, [u8; 32])>,
    pub(crate) selector: [u8; 32],
    pub(crate) place: record::Place,
    pub(crate) go: Option<u64>,
    pub(crate) resume: Option<([u8; 32], u32)>,
    pub(crate) held: Vec<[u8; 32]>,
    pub(crate) share: Option<Vec<u8>>,
    pub(crate) clock: Option<u64>,
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
            radio: None,
            serve: Serve::Full,
            epoch: 0,
            index: 0,
            chain_length: ChainLength::DEFAULT,
            seeds: std::vec![Seed::new(SEED)],
            reseed: false,
            shares: false,
            device_shares: HashMap::new(),
            spares_descriptors: false,
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
            said_go: false,
            reuses_key: false,
            now: NOW,
            wraps_by: None,
            alters_share: false,
        }
    }

    /// Answers an update request; panics where a real server would drop it.
    pub(crate) fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        self.try_answer(request).unwrap()
    }

    pub(crate) fn try_answer(&mut self, request: &[u8]) -> Result<Vec<u8>, OpenError> {
        let place = mac::peek_place(request)?;
        self.reach(place.epoch);
        let (up, down) = (self.up_key(place), self.down_key(place));
        let request = mac::open_request(&up, "/u", request)?;
        self.follow_unconfirmed(&request);
        let at = record::Place { epoch: place.epoch, index: place.index };
        if let Some(share) = request.options.share {
            let before = self.device_shares.insert(at, share.to_vec());
            assert!(before.is_none_or(|before| before == share), "another share at the same place");
        }
        self.asked.push(Asked {
            place: at,
            go: request.options.go,
            resume: request.options.resume.map(|(root, frame)| (*root, frame)),
            held: request.options.held.map(|held| held.iter().copied().collect()).unwrap_or_default(),
            share: request.options.share.map(<[u8]>::to_vec),
            clock: request.options.clock,
            counter: request.counter,
            echo: request.options.echo.map(<[u8]>::to_vec),
            unconfirmed: request.options.unconfirmed.map(|said| (said.grant, *said.report)),
            selector: request.selector.hash().unwrap(),
        });
        let message = match self.serve.clone() {
            Serve::Full => return Ok(self.grant(&request, &down, None)),
            Serve::Delta(base) => return Ok(self.grant(&request, &down, Some(&base))),
            Serve::Verdict(said) => self.verdict(&request, &down, &said),
        };
        Ok(cbor::to_vec(&Answer { message: &message, descriptor: None }).unwrap())
    }

    /// Answers by a grant whose content key is wrapped under the keys of another seed.
    pub(crate) fn grant_wrapped_by(&mut self, request: &[u8], seed: &Seed) -> Vec<u8> {
        self.wraps_by = Some(seed.clone());
        let answer = self.answer(request);
        self.wraps_by = None;
        answer
    }

    /// Reads the selector of an update request, encoded.
    pub(crate) fn selector_of(&self, request: &[u8]) -> Vec<u8> {
        let place = mac::peek_place(request).unwrap();
        let request = mac::open_request(&self.up_key(place), "/u", request).unwrap();
        cbor::to_vec(&request.selector).unwrap()
    }

    /// Takes a report and gives its receipt: the same for the same report.
    pub(crate) fn receipt(&mut self, report: &[u8]) -> Result<Vec<u8>, OpenError> {
        let place = mac::peek_report_place(report)?;
        let verified = mac::open_report(&self.up_key(place), report)?;
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
        if confirming && (place.epoch, place.index) == (self.epoch, self.index) {
            self.confirm_by(&digest);
        }
        let receipt = Receipt { place: verified.report.place, report: &digest, now: self.now };
        let receipt = mac::seal_receipt_to_vec(&self.down_key(place), &receipt).unwrap();
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
        let draft = self.author.draft(sequence, &self.image);
        let Some(radio) = &self.radio else { return draft.sign(&self.author.key).unwrap() };
        draft.with(self.author.radio(&radio.image)).sign(&self.author.key).unwrap()
    }

    /// Row 12: the confirm was lost, and the request leads on from it.
    fn follow_unconfirmed(&mut self, request: &UpdateRequest<'_>) {
        let Some(said) = request.options.unconfirmed else {
            return;
        };
        let next = if self.reseed { (self.epoch + 1, 0) } else { (self.epoch, self.index + 1) };
        if (request.place.epoch, request.place.index) == next
            && fork::next(&self.fork, said.report) == *request.fork
        {
            self.confirm_by(&said.report.clone());
        }
    }

    fn confirm_by(&mut self, report: &[u8; 32]) {
        self.fork = fork::next(&self.fork, report);
        if self.reseed {
            self.reach(self.epoch + 1);
            (self.epoch, self.index) = (self.epoch + 1, 0);
            self.reseed = false;
        } else {
            self.index += 1;
        }
    }

    /// Computes the seeds up to an epoch: with the shares that the last place of the epoch before it was granted.
    fn reach(&mut self, epoch: u16) {
        while self.seeds.len() <= usize::from(epoch) {
            let last = u16::try_from(self.seeds.len() - 1).unwrap();
            let shared = self.device_shares.iter().find(|(place, _)| self.shares && place.epoch == last);
            let shared =
                shared.map(|(_, share)| agree(&server_share(last), &PublicShare::parse(share).unwrap()));
            let seed = self.seeds[usize::from(last)].next(ID, last, shared.map(Result::unwrap).as_ref());
            self.seeds.push(seed.unwrap());
        }
    }

    fn link(&self, place: Place<'_>) -> chain::Link {
        chain::link(&self.seeds[usize::from(place.epoch)], place.index, self.chain_length).unwrap()
    }

    fn up_key(&self, place: Place<'_>) -> UpKey {
        derive::up(&self.link(place), &place).unwrap()
    }

    pub(crate) fn down_key(&self, place: Place<'_>) -> DownKey {
        derive::down(&self.link(place), &place).unwrap()
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
        key[..8].copy_from_slice(&(if self.reuses_key { NOW + 1 } else { number }).to_be_bytes());
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
            patch_algorithm: bellwether_delta::Algorithm::FIELDS.0.into(),
            expires: NOW + 7200,
            location: format!("/f/{}", hex(&root)),
        };
        if let Some(alter) = self.alter {
            alter(&mut parts);
        }
        let radio = self.radio.clone().filter(|radio| radio.is_granted);
        let radio = radio.map(|radio| self.make_radio(&radio, number));
        let descriptor = self.descriptor(&parts, &content, &plain, base, &root, radio.as_ref());
        let seed = self.wraps_by.as_ref().unwrap_or(&self.seeds[usize::from(request.place.epoch)]);
        let link = chain::link(seed, request.place.index, self.chain_length).unwrap();
        let wrap_key = derive::wrap(&link, &request.place, WrapAlgorithm::A256Kw);
        let wrap_key = wrap_key.unwrap();
        let wrapped = wrap::wrap(&wrap_key, &key).unwrap();
        let radio_wrapped = radio.as_ref().map(|radio| wrap::wrap(&wrap_key, &radio.key).unwrap());
        let mut granted = std::vec![GrantedResource {
            component: 0,
            content: &parts.grant_content,
            installed: &parts.installed,
            algorithm: parts.algorithm,
            iv: &iv,
            key: wrapped.get(),
        }];
        if let (Some(radio), Some(wrapped)) = (&radio, &radio_wrapped) {
            granted.push(GrantedResource {
                component: 1,
                content: &radio.content_digest,
                installed: &radio.installed,
                key: wrapped.get(),
                ..granted[0]
            });
        }
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
        let contents =
            core::iter::once(&parts.content).chain(radio.as_ref().map(|radio| &radio.content_digest));
        let held = request.options.held.is_some_and(|held| held.iter().eq(contents));
        let message = self.seal(down, grant, request.options.share);
        let descriptor = (!held || !self.spares_descriptors).then_some(descriptor.as_slice());
        cbor::to_vec(&Answer { message: &message, descriptor }).unwrap()
    }

    fn make_radio(&mut self, radio: &Radio, number: u64) -> RadioMade {
        let plain = match &radio.base {
            None => radio.image.clone(),
            Some(base) => bellwether_delta::make::make(base, &radio.image).unwrap().bytes,
        };
        let mut key = [0x22; 32];
        key[..8].copy_from_slice(&(if self.reuses_key { NOW + 1 } else { number }).to_be_bytes());
        let key = ContentKey::new(ContentAlgorithm::A256Ctr, &key).unwrap();
        let mut content = plain.clone();
        ContentCipher::new(&key, &[0xA5; 16]).unwrap().apply_at(0, &mut content).unwrap();
        let chain = FrameChain::build(&content, 992).unwrap();
        let root = chain.root();
        let frames = chain.frames().map(|(block, next)| [block, next.as_slice()].concat()).collect();
        self.resources.insert(root, frames);
        RadioMade {
            content_digest: super::sha256(&content),
            content,
            plain,
            root,
            location: format!("/f/{}", hex(&root)),
            key,
            installed: super::sha256(&radio.image),
            base: radio.base.as_deref().map(super::sha256),
        }
    }

    /// With a MAC, or signed where it carries shares.
    fn seal(&self, down: &DownKey, grant: Grant<'_>, share: Option<&[u8]>) -> Vec<u8> {
        let mut grant = grant;
        if self.reseed {
            grant.options.reseed = Some(true);
        }
        let Some(device) = share.filter(|_| self.shares && self.reseed) else {
            return mac::seal_grant_to_vec(down, &grant).unwrap();
        };
        let server = server_share(grant.place.epoch).public().unwrap();
        let other = PrivateShare::from_random([9; 32]).unwrap().public().unwrap();
        let device = if self.alters_share { other.as_bytes() } else { device };
        grant.options.shares = Some(Shares { server: server.as_bytes(), device });
        let key = if self.strange { &self.author.stranger } else { &self.author.distributor };
        sign1(&cbor::to_vec(&grant).unwrap(), &[word::GRANT], key)
    }

    fn descriptor(
        &self,
        parts: &Parts,
        content: &[u8],
        plain: &[u8],
        base: Option<&[u8]>,
        root: &[u8; 32],
        radio: Option<&RadioMade>,
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
        let radio_plain = radio.map(|radio| super::sha256(&radio.plain)).unwrap_or_default();
        let radio_location = [radio.map_or("", |radio| radio.location.as_str())];
        let mut resources = std::vec![Resource {
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
        if let Some(made) = radio {
            let whole = self.radio.as_ref().expect("a radio");
            let patch = made.base.as_ref().zip(whole.base.as_ref()).map(|(precursor, base)| Patch {
                algorithm: bellwether_delta::Algorithm::FIELDS.0.into(),
                precursor,
                precursor_bytes: base.len() as u64,
                ram_bytes: 8192,
                parameters: &[],
            });
            resources.push(Resource {
                component: 1,
                kind: if patch.is_some() { ResourceKind::Delta } else { ResourceKind::Full },
                content: &made.content_digest,
                content_bytes: made.content.len() as u64,
                plain: &radio_plain,
                plain_bytes: made.plain.len() as u64,
                installed: &made.installed,
                installed_bytes: whole.image.len() as u64,
                chain: Chain { block_bytes: 992, root: &made.root },
                locations: List::new(&radio_location),
                patch,
                inline: None,
            });
        }
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

    fn verdict(&mut self, request: &UpdateRequest<'_>, down: &DownKey, said: &Said) -> Vec<u8> {
        let place = match said {
            Said::Forward(place, ..) => Place { id: ID, epoch: place.epoch, index: place.index },
            _ => request.place,
        };
        let go = request.options.go.unwrap_or_default();
        let elsewhere = if let Said::Elsewhere(others) = said { others.as_slice() } else { &[] };
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
            Said::Elsewhere(_) => Detail::Elsewhere(List::new(elsewhere)),
            Said::Go => Detail::Go(go),
            Said::GoForAnother => Detail::Go(go + 1),
            Said::Stop => Detail::Stop(go),
            Said::Forward(_, fork, grant) => Detail::Forward { fork, grant: *grant },
        };
        self.said_go |= *said == Said::Go;
        let verdict = Verdict { place, nonce: request.nonce, now: self.now, detail };
        if let Said::Forward(to, fork, _) = said {
            self.reach(to.epoch);
            (self.epoch, self.index, self.fork) = (to.epoch, to.index, *fork);
            return mac::seal_verdict_to_vec(&self.down_key(place), &verdict).unwrap();
        }
        mac::seal_verdict_to_vec(down, &verdict).unwrap()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The server's share for the seed after an epoch.
fn server_share(epoch: u16) -> PrivateShare {
    PrivateShare::derive(&[0x77; 32], ID, epoch + 1).unwrap()
}
