//! What a device keeps, and the messages that it makes of it.

use std::path::Path;

use bellwether_agent::delta::Algorithm;
use bellwether_keys::chain::{self, Link};
use bellwether_keys::content::{ContentAlgorithm, ContentCipher};
use bellwether_keys::fork::{self, ForkHead};
use bellwether_keys::mac::{self, NewReport};
use bellwether_keys::unit::UnitData;
use bellwether_keys::wrap::{self, WrapAlgorithm, WrapError};
use bellwether_keys::{DownKey, PrivateShare, PublicShare, Seed, UpKey, WrapKey, derive, share};
use bellwether_manifests::author::{class_id, vendor_id};
use bellwether_manifests::cbor;
use bellwether_manifests::definition::{CLASS_ID, IMAGE_DIGEST, PATCH_ALGORITHMS, VENDOR_ID};
use bellwether_manifests::message::algorithm::SHA_256;
use bellwether_manifests::message::request::Unconfirmed;
use bellwether_manifests::message::{
    Answers, Digest, List, Moment, Place, RequestOptions, ScopeAnswers, Selector, StableAnswers,
    UpdateRequest,
};
use bellwether_manifests::report::{Outcome, Reason, Record, ReportDraft};
use bellwether_net::coap::Response;
use minicbor::Encoder;

use super::said::{self, Granted, Said};
use crate::fleet::VENDOR;
use crate::images;

/// Seed, credential and record of a device. A clone of it is a clone of the device.
#[derive(Clone)]
pub struct Identity {
    unit: Vec<u8>,
    /// Its name: endpoint and DTLS identity.
    pub name: String,
    /// Class that it says it is of.
    pub class: String,
    /// Digest of the image that it says it runs.
    pub runs: Digest,
    /// Which seed it has: 0 from the factory.
    pub epoch: u16,
    /// Where it stands in its key chain.
    pub index: u16,
    /// Counter of its last request.
    pub counter: u64,
    /// Fork head.
    pub fork: ForkHead,
    /// Whether it applies patches.
    pub patches: bool,
    draws: u64,
    seed: Seed,
}

/// What a request may carry beside the usual.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Option 1.
    pub echo: Option<Vec<u8>>,
    /// Option 7: grant and report digest.
    pub unconfirmed: Option<(u64, Digest)>,
    /// Another counter than the next one; the identity's own then stays.
    pub counter: Option<u64>,
    /// Option 5: "go?" for the grant of this number.
    pub go: Option<u64>,
    /// Option 6: the device's share for its next seed.
    pub share: Option<PublicShare>,
    /// Option -1: what its clock says, seconds since 1970.
    pub clock: Option<u64>,
}

/// A sealed request, ready to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// What goes over the wire.
    pub bytes: Vec<u8>,
    /// What a verdict on it must carry.
    pub nonce: [u8; 8],
    /// Place whose keys sealed it.
    pub index: u16,
}

/// A sealed report, ready to be sent.
#[derive(Clone, Debug)]
pub struct Report {
    /// What goes over the wire.
    pub bytes: Vec<u8>,
    /// Its SHA-256.
    pub digest: Digest,
    /// Place of its grant.
    pub index: u16,
}

impl Identity {
    /// Reads the unit file of a device that has done nothing yet.
    ///
    /// # Panics
    ///
    /// Where it is none.
    pub fn from_factory(unit: &Path, class: &str, runs: Digest) -> Self {
        let unit = std::fs::read(unit).expect("a unit file");
        let data = UnitData::decode(&unit).expect("a unit file");
        let (name, seed, epoch) = (data.id.to_owned(), data.seed.clone(), data.epoch);
        let class = class.to_owned();
        let (index, counter, fork, draws) = (0, 0, fork::FIRST, 0);
        Self { unit, name, class, runs, epoch, index, counter, fork, patches: true, draws, seed }
    }

    /// Its DTLS key.
    pub fn psk(&self) -> Vec<u8> {
        self.data().dtls_psk.to_vec()
    }

    /// The key of its link with its gateway.
    ///
    /// # Panics
    ///
    /// Where it has no gateway.
    pub fn link_psk(&self) -> Vec<u8> {
        let unit = self.data();
        unit.gateways.get(0).expect("a gateway").psk.to_vec()
    }

    /// The seed of its epoch.
    pub fn seed(&self) -> [u8; 32] {
        *self.seed.expose()
    }

    /// The anchors that it was made with.
    pub fn anchors(&self) -> Vec<u8> {
        self.data().anchors.to_vec()
    }

    /// Makes a request to `/u`, sealed at its place.
    ///
    /// # Panics
    ///
    /// Where a value is out of bounds.
    pub fn request(&mut self, manifest: &Digest, options: &Options) -> Request {
        if options.counter.is_none() {
            self.counter += 1;
        }
        let counter = options.counter.unwrap_or(self.counter);
        let nonce = self.draw().to_be_bytes();
        let answers = self.answers();
        let device: Vec<_> = answers.0.iter().map(|(id, value)| (*id, value.as_slice())).collect();
        let component = [(IMAGE_DIGEST, answers.1.as_slice())];
        let scopes = [
            ScopeAnswers { component: None, answers: Answers::new(&device).expect("answers") },
            ScopeAnswers { component: Some(0), answers: Answers::new(&component).expect("answers") },
        ];
        let unconfirmed = options.unconfirmed.as_ref();
        let request = UpdateRequest {
            place: self.place(self.index),
            counter,
            fork: &self.fork,
            nonce: &nonce,
            selector: Selector { manifest, scopes: List::new(&scopes) },
            volatile: List::default(),
            options: RequestOptions {
                echo: options.echo.as_deref(),
                unconfirmed: unconfirmed.map(|(grant, report)| Unconfirmed { grant: *grant, report }),
                go: options.go,
                share: options.share.as_ref().map(|share| &share.as_bytes()[..]),
                clock: options.clock,
                ..RequestOptions::default()
            },
        };
        let bytes = mac::seal_request_to_vec(&self.up(self.index), "/u", &request).expect("a request");
        Request { bytes, nonce, index: self.index }
    }

    /// Everything stable that it can state of itself, as object 26250 carries it.
    ///
    /// # Panics
    ///
    /// Where a value is out of bounds.
    pub fn stable_answers(&self) -> Vec<u8> {
        let answers = self.answers();
        let device: Vec<_> = answers.0.iter().map(|(id, value)| (*id, value.as_slice())).collect();
        let component = [(IMAGE_DIGEST, answers.1.as_slice())];
        let scopes = [
            ScopeAnswers { component: None, answers: Answers::new(&device).expect("answers") },
            ScopeAnswers { component: Some(0), answers: Answers::new(&component).expect("answers") },
        ];
        cbor::to_vec(&StableAnswers { scopes: List::new(&scopes) }).expect("within bounds")
    }

    /// Makes a report on a grant.
    ///
    /// # Panics
    ///
    /// Where a value is out of bounds.
    pub fn report(&mut self, granted: &Granted, moment: Moment) -> Report {
        self.report_on(granted.index, granted.number, &granted.manifest, moment)
    }

    /// Makes a report on any grant of any number.
    ///
    /// # Panics
    ///
    /// Where a value is out of bounds.
    pub fn report_on(&mut self, index: u16, grant: u64, manifest: &Digest, moment: Moment) -> Report {
        let outcome = match moment {
            Moment::Failed => {
                Outcome::Failure { code: 8, record: Record::default(), reason: Reason::OperationFailed }
            }
            _ => Outcome::Success,
        };
        let draft = ReportDraft { manifest_uri: "r", manifest, nonce: None, entries: &[], outcome };
        let suit_report = cbor::to_vec(&draft).expect("a SUIT_Report");
        let mut random = [0; 16];
        random[..8].copy_from_slice(&self.draw().to_be_bytes());
        let report = NewReport { grant, moment, random: &random, suit_report: &suit_report };
        let bytes = mac::seal_report_to_vec(&self.up(index), &report).expect("a report");
        let digest = images::digest(&bytes);
        Report { bytes, digest, index }
    }

    /// Moves place and fork head over a confirming report.
    pub fn confirm(&mut self, report: &Report) {
        self.fork = fork::next(&self.fork, &report.digest);
        self.index = report.index + 1;
    }

    /// Goes over to the next seed by a confirming report: with its own share and the server's, or from the old seed.
    ///
    /// # Panics
    ///
    /// Where a share is none.
    pub fn reseed(&mut self, report: &Report, shares: Option<(&PrivateShare, &[u8])>) {
        let agreed = shares.map(|(ours, theirs)| {
            let theirs = PublicShare::parse(theirs).expect("the server's share");
            share::agree(ours, &theirs).expect("a secret")
        });
        self.seed = self.seed.next(&self.name, self.epoch, agreed.as_ref()).expect("a next epoch");
        self.fork = fork::next(&self.fork, &report.digest);
        (self.epoch, self.index) = (self.epoch + 1, 0);
    }

    /// Goes on where a "forward" says.
    pub fn go_on(&mut self, index: u16, fork: ForkHead) {
        (self.index, self.fork) = (index, fork);
    }

    /// Reads what came back on a request of its epoch.
    pub fn read(&self, request: &Request, response: &Response) -> Said {
        said::read(|index| self.down(index), request, response, &self.anchors())
    }

    /// Checks that these bytes are the receipt of a report.
    ///
    /// # Panics
    ///
    /// Where they are not.
    pub fn check_receipt(&self, report: &Report, receipt: &[u8]) {
        mac::open_receipt(&self.down(report.index), &report.digest, receipt).expect("the report's receipt");
    }

    /// Opens a content under a grant, with this identity's keys.
    ///
    /// # Errors
    ///
    /// [`WrapError`] where the grant's key was not wrapped for this identity.
    ///
    /// # Panics
    ///
    /// Where the grant names no key that can be read.
    pub fn open_content(&self, granted: &Granted, content: &[u8]) -> Result<Vec<u8>, WrapError> {
        let wrapped = granted.wrapped();
        let key = wrap::unwrap(&self.wrap(granted.index), &wrapped, ContentAlgorithm::A256Ctr)?;
        let mut plain = content.to_vec();
        let mut cipher = ContentCipher::new(&key, &granted.iv).expect("an initialisation vector");
        cipher.apply_at(0, &mut plain).expect("decrypted");
        Ok(plain)
    }

    /// The key that opens answers at a place.
    ///
    /// # Panics
    ///
    /// Past the end of the chain.
    pub fn down(&self, index: u16) -> DownKey {
        derive::down(&self.link(index), &self.place(index)).expect("a key")
    }

    fn up(&self, index: u16) -> UpKey {
        derive::up(&self.link(index), &self.place(index)).expect("a key")
    }

    fn wrap(&self, index: u16) -> WrapKey {
        derive::wrap(&self.link(index), &self.place(index), WrapAlgorithm::A256Kw).expect("a key")
    }

    fn link(&self, index: u16) -> Link {
        chain::link(&self.seed, index, self.data().chain_length).expect("an index of the chain")
    }

    fn place(&self, index: u16) -> Place<'_> {
        Place { id: &self.name, epoch: self.epoch, index }
    }

    fn data(&self) -> UnitData<'_> {
        UnitData::decode(&self.unit).expect("read before")
    }

    /// Answers of the device, and the one of its component.
    fn answers(&self) -> (Vec<(i64, Vec<u8>)>, Vec<u8>) {
        let vendor = vendor_id(VENDOR);
        let class = class_id(&vendor, &self.class);
        let mut device = vec![
            (VENDOR_ID, encoded(|to| to.bytes(&vendor).map(drop))),
            (CLASS_ID, encoded(|to| to.bytes(&class).map(drop))),
        ];
        if self.patches {
            let numbers = encoded(|to| to.array(1)?.i32(Algorithm::FIELDS.0).map(drop));
            device.push((PATCH_ALGORITHMS, encoded(|to| to.bytes(&numbers).map(drop))));
        }
        let digest = encoded(|to| to.array(2)?.i64(SHA_256)?.bytes(&self.runs).map(drop));
        (device, encoded(|to| to.bytes(&digest).map(drop)))
    }

    /// Numbers that never come twice stand in for randomness, so that every run sends the same.
    fn draw(&mut self) -> u64 {
        self.draws += 1;
        self.draws
    }
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn encoded(write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Written) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    write(&mut encoder).expect("a vector takes everything");
    encoder.into_writer()
}
