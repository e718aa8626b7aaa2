//! A gateway in this process that says what it is told to, and keeps what the server puts to it.

use std::net::SocketAddr;
use std::path::Path;

use bellwether_manifests::anchors::Anchors;
use bellwether_manifests::cbor;
use bellwether_manifests::link::{Children, GatewayUnit, Hint, HintKind, Hints};
use bellwether_manifests::message::{Answer, Bundle, List, content_format};
use bellwether_net::coap::{Code, ETag, Method, Request, Response};

use crate::raw_device::{self, Identity, Line, Said};
use crate::wait;

/// A gateway with its line to the server.
pub struct RawGateway {
    /// Its name.
    pub name: String,
    /// Its line to the server.
    pub line: Line,
    anchors: Vec<u8>,
    psk: Vec<u8>,
}

/// A bundle whose signature was right.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its edition.
    pub edition: u64,
    /// Name of the campaign.
    pub campaign: String,
    /// The manifest's envelope.
    pub envelope: Vec<u8>,
    /// Grants, as they came.
    pub grants: Vec<Vec<u8>>,
    /// Descriptors, as they came.
    pub descriptors: Vec<Vec<u8>>,
    /// Whom to push the manifest to.
    pub push: Vec<String>,
    /// Whether it withdraws the campaign.
    pub withdrawn: bool,
    /// Until when it may be used.
    pub not_after: u64,
}

impl RawGateway {
    /// Reads a unit file, connects, and says that it is here.
    ///
    /// # Panics
    ///
    /// Where the server does not take it.
    pub fn switch_on(server: SocketAddr, unit: &Path) -> Self {
        let unit = std::fs::read(unit).expect("a unit file");
        let unit = GatewayUnit::decode(&unit).expect("a gateway's unit file");
        let (name, psk) = (unit.name.to_owned(), unit.psk.to_vec());
        let line = Line::connect(server, &name, psk.clone());
        let gateway = Self { name, line, anchors: unit.anchors.to_vec(), psk };
        assert_eq!(gateway.here().code, Code::CHANGED, "{} is not taken", gateway.name);
        gateway
    }

    /// Loses its line and makes a new one, as after a reboot of either side.
    ///
    /// # Panics
    ///
    /// Where the server does not take it.
    pub fn reconnect(&mut self, server: SocketAddr) {
        self.line = Line::connect(server, &self.name, self.psk.clone());
        assert_eq!(self.here().code, Code::CHANGED, "{} is not taken", self.name);
    }

    /// Says that it is here.
    pub fn here(&self) -> Response {
        self.line.send(Request::new(Method::Post, "/g").with_query("lt=60"))
    }

    /// Reads its list of devices, unless it still has that of this tag.
    pub fn list(&self, known: Option<ETag>) -> Response {
        let etags = known.into_iter().collect();
        self.line.send(Request { etags, ..Request::new(Method::Get, "/g/c") })
    }

    /// Reads its list of devices: names with the keys of their links.
    ///
    /// # Panics
    ///
    /// Where it gets none.
    pub fn children(&self) -> Vec<(String, Vec<u8>)> {
        let response = self.list(None);
        assert_eq!(response.code, Code::CONTENT);
        let children = Children::decode(&response.payload).expect("a list of devices").children;
        children.iter().map(|child| (child.endpoint.to_owned(), child.psk.to_vec())).collect()
    }

    /// Tells what it has seen of a device.
    ///
    /// # Panics
    ///
    /// Where a value is out of bounds.
    pub fn hint(&self, campaign: &str, endpoint: &str, what: HintKind, detail: &str) -> Response {
        let hints = [Hint { campaign, endpoint, what, detail }];
        let body = cbor::to_vec(&Hints(List::new(&hints))).expect("hints");
        self.line.post("/g/t", CBOR, &body)
    }

    /// Forwards a device's request, and reads what comes back as the device does.
    pub fn forward(&self, identity: &Identity, request: &raw_device::Request) -> Said {
        identity.read(request, &self.line.send_request(&request.bytes))
    }

    /// Waits for the bundle of this number, from 1 on, and verifies it.
    ///
    /// # Panics
    ///
    /// Where none comes, or one that no distributor signed.
    pub fn bundle(&self, number: usize) -> Held {
        let look = || self.line.heard().bundles.get(number - 1).cloned();
        let message = wait::until("a bundle from the server", wait::LONG, look, String::new);
        let anchors = Anchors::initial(&self.anchors).expect("anchors");
        let bundle = Bundle::verify(&message, &anchors).expect("a bundle of the distributor");
        let push = bundle.policy.push.unwrap_or_default();
        Held {
            edition: bundle.edition,
            campaign: bundle.campaign.to_owned(),
            envelope: bundle.envelope.to_vec(),
            grants: bundle.grants.iter().map(<[u8]>::to_vec).collect(),
            descriptors: bundle.descriptors.iter().map(<[u8]>::to_vec).collect(),
            push: push.iter().map(|name| name.0.to_owned()).collect(),
            withdrawn: bundle.is_withdrawn(),
            not_after: bundle.not_after,
        }
    }
}

impl Held {
    /// Answers a device's request from the bundle's only grant, and reads the answer as the device does.
    ///
    /// # Panics
    ///
    /// Where there is not exactly one grant with one descriptor.
    pub fn answer(&self, identity: &Identity, request: &raw_device::Request) -> Said {
        let ([grant], [descriptor]) = (self.grants.as_slice(), self.descriptors.as_slice()) else {
            panic!("{} grants and {} descriptors", self.grants.len(), self.descriptors.len());
        };
        let answer = Answer { message: grant, descriptor: Some(descriptor) };
        let body = cbor::to_vec(&answer).expect("an answer");
        let response = Response::new(Code::CHANGED).with_payload(content_format::ANSWER, body);
        identity.read(request, &response)
    }
}

/// Content-Format application/cbor (RFC 8949 §9.2).
const CBOR: u16 = 60;
