//! A device in this process that says what it is told to: well-formed messages, altered ones, those of others.
//!
//! [`Identity`] is what the factory put into it and what it keeps in flash; cloned, it is a clone. [`Line`] is its
//! DTLS session. Any identity's messages can be sent over any line.

mod identity;
mod line;
mod said;

pub use identity::{Identity, Options, Report, Request};
pub use line::{Heard, Line, Told};
pub use said::{Granted, Said};

use std::net::SocketAddr;
use std::path::Path;

use bellwether_keys::PrivateShare;
use bellwether_manifests::message::{Digest, Moment, content_format};
use bellwether_net::coap::{self, Code, Response};
use bellwether_net::{CloseReason, ConnectError};

use crate::wait;

/// A device with its own line.
pub struct RawDevice {
    /// Who it is.
    pub identity: Identity,
    /// How it reaches the server.
    pub line: Line,
}

impl RawDevice {
    /// Reads a unit file, connects, and registers with object 26250, which tells its answers.
    ///
    /// # Panics
    ///
    /// Where the server does not take it.
    pub fn telling(server: SocketAddr, unit: &Path, class: &str, runs: Digest) -> Self {
        let identity = Identity::from_factory(unit, class, runs);
        let line = Line::connect(server, &identity.name, identity.psk());
        line.register_telling(&identity.name, Told { edition: 1, answers: identity.stable_answers() });
        Self { identity, line }
    }

    /// Reads a unit file, connects, registers.
    ///
    /// # Panics
    ///
    /// Where the server does not take it.
    pub fn switch_on(server: SocketAddr, unit: &Path, class: &str, runs: Digest) -> Self {
        Self::with(server, Identity::from_factory(unit, class, runs))
    }

    /// Switches on a device that has been in use.
    ///
    /// # Panics
    ///
    /// Where the server does not take it.
    pub fn with(server: SocketAddr, identity: Identity) -> Self {
        let line = Line::connect(server, &identity.name, identity.psk());
        line.register(&identity.name);
        Self { identity, line }
    }

    /// Connects a device to its gateway and says that it is there; it is registered nowhere.
    ///
    /// # Panics
    ///
    /// Where the gateway does not take it.
    pub fn behind(gateway: SocketAddr, identity: Identity) -> Self {
        // The gateway hears of a new device a moment after it was enrolled.
        let connect = || Line::try_connect(gateway, &identity.name, identity.link_psk()).ok();
        let line = wait::until("a session with the gateway", wait::LONG, connect, String::new);
        let response = line.send(coap::Request::new(coap::Method::Post, "/h"));
        assert_eq!(response.code, Code::CHANGED, "{} is not heard by its gateway", identity.name);
        Self { identity, line }
    }

    /// Switches on a device that has been in use, if the server takes it.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] where no session comes about.
    ///
    /// # Panics
    ///
    /// Where the server refuses to register it.
    pub fn try_with(server: SocketAddr, identity: Identity) -> Result<Self, ConnectError> {
        let line = Line::try_connect(server, &identity.name, identity.psk())?;
        let registered = line.try_send(Line::registration(&identity.name));
        match registered {
            Ok(response) => assert_eq!(response.code, Code::CREATED, "{} can't register", identity.name),
            Err(_) => return Err(ConnectError::Failed(CloseReason::HandshakeTimeout)),
        }
        Ok(Self { identity, line })
    }

    /// Makes the line anew, as after a reboot of either side, and registers.
    ///
    /// # Panics
    ///
    /// Where the server does not take it.
    pub fn reconnect(&mut self, server: SocketAddr) {
        *self = Self::with(server, self.identity.clone());
    }

    /// Asks for a manifest, well-formed.
    pub fn ask(&mut self, manifest: &Digest) -> Said {
        self.ask_with(manifest, &Options::default())
    }

    /// Asks with options.
    pub fn ask_with(&mut self, manifest: &Digest, options: &Options) -> Said {
        let request = self.identity.request(manifest, options);
        self.put_question(&request)
    }

    /// Asks for a manifest until the gateway is not put off any more, and must be granted it.
    ///
    /// # Panics
    ///
    /// Where it is not.
    pub fn granted_soon(&mut self, manifest: &Digest) -> Granted {
        let ask = || match self.ask(manifest) {
            Said::Grant(granted) => Some(*granted),
            Said::Code(Code::SERVICE_UNAVAILABLE) | Said::Later(_) => None,
            other => panic!("no grant: {other:?}"),
        };
        wait::until("a grant", wait::LONG, ask, String::new)
    }

    /// Sends a request that was made before, and reads what comes.
    pub fn put_question(&self, request: &Request) -> Said {
        let response = self.line.send_request(&request.bytes);
        self.identity.read(request, &response)
    }

    /// Asks for a manifest and must be granted it.
    ///
    /// # Panics
    ///
    /// Where it is not.
    pub fn granted(&mut self, manifest: &Digest) -> Granted {
        match self.ask(manifest) {
            Said::Grant(granted) => *granted,
            other => panic!("{} got no grant: {other:?}", self.identity.name),
        }
    }

    /// Fetches the content of a grant frame by frame, and opens it.
    ///
    /// # Panics
    ///
    /// Where a frame does not come or verify.
    pub fn fetch(&self, granted: &Granted) -> Vec<u8> {
        let content = self.line.fetch(granted);
        self.identity.open_content(granted, &content).expect("the grant opens its content")
    }

    /// Reports and must get the receipt; gives its bytes.
    ///
    /// # Panics
    ///
    /// Where none comes, or one that is not of this report.
    pub fn report(&mut self, report: &Report) -> Vec<u8> {
        let response = self.line.send_report(&report.bytes);
        assert_eq!(response.code, Code::CHANGED, "{} got no receipt", self.identity.name);
        assert_eq!(response.content_format, Some(content_format::RECEIPT));
        self.identity.check_receipt(report, &response.payload);
        response.payload
    }

    /// Proves where it stands: asks, takes the challenge, and sends its echo back.
    ///
    /// # Panics
    ///
    /// Where it is not challenged.
    pub fn prove(&mut self, manifest: &Digest) -> Said {
        match self.ask(manifest) {
            Said::Prove(echo) => self.ask_with(manifest, &Options { echo: Some(echo), ..Options::default() }),
            other => panic!("{} is not challenged: {other:?}", self.identity.name),
        }
    }

    /// Goes the whole way from a re-seeding grant to a confirmed update under the next seed.
    ///
    /// # Panics
    ///
    /// Where a step is not acknowledged.
    pub fn install_reseeding(&mut self, granted: &Granted, image: Digest, share: Option<&PrivateShare>) {
        assert!(granted.reseed, "the grant does not re-seed");
        let decrypted = self.identity.report(granted, Moment::Decrypted);
        self.report(&decrypted);
        let installed = self.identity.report(granted, Moment::Installed);
        self.report(&installed);
        self.identity.reseed(&installed, share.zip(granted.server_share.as_deref()));
        self.identity.runs = image;
    }

    /// Goes the whole way from a grant to a confirmed update that runs `image`.
    ///
    /// # Panics
    ///
    /// Where a step is not acknowledged.
    pub fn install(&mut self, granted: &Granted, image: Digest) {
        let decrypted = self.identity.report(granted, Moment::Decrypted);
        self.report(&decrypted);
        let installed = self.identity.report(granted, Moment::Installed);
        self.report(&installed);
        self.identity.confirm(&installed);
        self.identity.runs = image;
    }

    /// Sends bytes as an update request; gives code and payload.
    pub fn send_request(&self, bytes: &[u8]) -> Response {
        self.line.send_request(bytes)
    }
}
