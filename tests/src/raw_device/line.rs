//! A device's session with the server, by DTLS or plain UDP, and what it hears over it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bellwether_manifests::frame::{Layout, Resume};
use bellwether_manifests::message::content_format;
use bellwether_net::coap::{Block, BlockSize, Code, Method, Request, Response};
use bellwether_net::{
    ConnectError, Event, NoService, RequestError, Secret, Security, SessionId, Shard, ShardConfig,
    ShardHandle,
};
use tokio::sync::mpsc::Receiver;

use super::Granted;
use crate::wait;

/// A session with the server.
pub struct Line {
    shard: ShardHandle,
    session: SessionId,
    heard: Arc<Mutex<Heard>>,
}

/// What the server asked of the device.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Manifests that were put to /5/0/0.
    pub manifests: Vec<Vec<u8>>,
    /// Executes of /5/0/2.
    pub executes: usize,
    /// Anchors that were put to /26250/0/0, or to /a of a gateway.
    pub anchors: Vec<Vec<u8>>,
    /// Bundles that were put to /b of a gateway.
    pub bundles: Vec<Vec<u8>>,
    /// Times that a gateway was told that its list of devices changed.
    pub children_changed: usize,
    /// What it answers to a Read of these paths, whatever is accepted but what it says it does not have.
    pub readable: Vec<(&'static str, Response)>,
    /// Reads, each with what would be accepted.
    pub reads: Vec<(String, Option<u16>)>,
    /// What /26250/0 tells, on a device that has it.
    pub told: Option<Told>,
}

/// What a device tells of itself in object 26250.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Edition of its anchors; anchors that are written to it raise it by one.
    pub edition: u64,
    /// Its stable answers.
    pub answers: Vec<u8>,
}

impl Line {
    /// Connects under an identity.
    ///
    /// # Panics
    ///
    /// Where the server does not take it.
    pub fn connect(server: SocketAddr, identity: &str, psk: Vec<u8>) -> Self {
        Self::try_connect(server, identity, psk).expect("a session")
    }

    /// Connects under an identity, if the server takes it.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    ///
    /// # Panics
    ///
    /// Where there is no free port.
    pub fn try_connect(server: SocketAddr, identity: &str, psk: Vec<u8>) -> Result<Self, ConnectError> {
        let key = Secret::new(psk).expect("a key");
        Self::open(server, Security::PskClient { identity: identity.as_bytes().to_vec(), key })
    }

    /// Speaks plain UDP.
    ///
    /// # Panics
    ///
    /// Where there is no free port.
    pub fn plain(server: SocketAddr) -> Self {
        Self::open(server, Security::Plain).expect("nothing to refuse")
    }

    fn open(server: SocketAddr, security: Security) -> Result<Self, ConnectError> {
        let mut config = ShardConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), security);
        // A killed server is noticed soon: after 46 times this, or in the middle of an answer after half a minute.
        config.coap.transmission.ack_timeout = Duration::from_millis(100);
        config.coap.response_wait = Duration::from_secs(30);
        config.dtls.retransmit_first = Duration::from_millis(100);
        config.dtls.handshake_timeout = Duration::from_secs(5);
        // More than a server takes, so that it has to say so.
        config.coap.body_bytes_max = 1024 * 1024;
        let (shard, events) = Shard::spawn(config, Box::new(NoService)).expect("a free port");
        let session = wait::soon("a handshake", shard.connect(server))?.session;
        let heard = Arc::<Mutex<Heard>>::default();
        wait::beside(listen(shard.clone(), events, Arc::clone(&heard)));
        Ok(Self { shard, session, heard })
    }

    /// Registers and gives the location.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn register(&self, name: &str) -> String {
        let response = self.send(Self::registration(name));
        assert_eq!(response.code, Code::CREATED, "{name} can't register");
        response.location_path.join("/")
    }

    /// A Register that is in order.
    pub fn registration(name: &str) -> Request {
        let request = Request::new(Method::Post, "/rd").with_query(&format!("ep={name}"));
        let request = request.with_query("lt=3600").with_query("lwm2m=1.1").with_query("b=U");
        request.with_payload(LINK_FORMAT, OBJECTS.as_bytes().to_vec())
    }

    /// Registers with object 26250, which tells this; the server reads it right after.
    ///
    /// # Panics
    ///
    /// Where the server refuses.
    pub fn register_telling(&self, name: &str, told: Told) -> String {
        self.heard.lock().expect("a listener").told = Some(told);
        let response = self.try_register(name, format!("{OBJECTS},</26250/0>").as_bytes());
        assert_eq!(response.code, Code::CREATED, "{name} can't register");
        response.location_path.join("/")
    }

    /// Registers under a name with an object list.
    pub fn try_register(&self, name: &str, objects: &[u8]) -> Response {
        self.send(Self::registration(name).with_payload(LINK_FORMAT, objects.to_vec()))
    }

    /// Sends bytes as an update request to `/u`.
    pub fn send_request(&self, bytes: &[u8]) -> Response {
        self.post("/u", content_format::REQUEST, bytes)
    }

    /// Sends bytes as a report to `/u/r`.
    pub fn send_report(&self, bytes: &[u8]) -> Response {
        self.post("/u/r", content_format::REPORT, bytes)
    }

    /// Posts a body.
    pub fn post(&self, path: &str, format: u16, body: &[u8]) -> Response {
        self.send(Request::new(Method::Post, path).with_payload(format, body.to_vec()))
    }

    /// Asks for one block of what stands under a path.
    pub fn block(&self, path: &str, number: u32) -> Response {
        self.send(Request::new(Method::Get, path).with_block2(Block::ask(number, BlockSize::MAX)))
    }

    /// Fetches the content of a grant, every frame verified against the one before.
    ///
    /// # Panics
    ///
    /// Where a frame does not come or verify.
    pub fn fetch(&self, granted: &Granted) -> Vec<u8> {
        let layout = Layout::new(granted.content_bytes, granted.block_bytes).expect("a layout");
        let (mut resume, mut content) = (Resume::start(granted.root), Vec::new());
        for number in 0..layout.frames() {
            let response = self.block(&granted.location, number);
            assert_eq!(response.code, Code::CONTENT, "frame {number}");
            content.extend_from_slice(resume.accept(&layout, &response.payload).expect("the frame"));
        }
        content
    }

    /// Sends a request and must get a response.
    ///
    /// # Panics
    ///
    /// Where none comes.
    pub fn send(&self, request: Request) -> Response {
        self.try_send(request).expect("a response")
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// [`RequestError`] where no response comes.
    pub fn try_send(&self, request: Request) -> Result<Response, RequestError> {
        wait::soon("a response", self.shard.request(self.session, request))
    }

    /// Takes what comes in, or loses it, as with a radio that is off.
    pub fn listen(&self, listens: bool) {
        wait::soon("a radio that is switched", self.shard.listen(listens));
    }

    /// Datagrams that came while it did not listen.
    pub fn missed(&self) -> u64 {
        self.shard.counters().datagrams_missed
    }

    /// What the server asked of the device until now.
    ///
    /// # Panics
    ///
    /// Where the listener died.
    pub fn heard(&self) -> Heard {
        self.heard.lock().expect("a listener").clone()
    }

    /// Sets what a Read of a path is answered with; where another format is asked for, that is not acceptable.
    ///
    /// # Panics
    ///
    /// Where the listener died.
    pub fn has(&self, path: &'static str, answer: Response) {
        self.heard.lock().expect("a listener").readable.push((path, answer));
    }

    /// Takes back all that [`Self::has`] set.
    ///
    /// # Panics
    ///
    /// Where the listener died.
    pub fn clear_readable(&self) {
        self.heard.lock().expect("a listener").readable.clear();
    }

    /// Waits until a manifest came.
    ///
    /// # Panics
    ///
    /// Where none comes.
    pub fn manifest(&self) -> Vec<u8> {
        let look = || self.heard().manifests.pop();
        wait::until("a manifest from the server", wait::LONG, look, String::new)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shard.stop();
    }
}

/// Answers as a device or a gateway does that takes everything.
async fn listen(shard: ShardHandle, mut events: Receiver<Event>, heard: Arc<Mutex<Heard>>) {
    while let Some(event) = events.recv().await {
        let Event::Request { exchange, request, .. } = event else {
            continue;
        };
        let response = heard.lock().expect("a listener").answer(request);
        shard.respond(exchange, response);
    }
}

impl Heard {
    fn answer(&mut self, request: Request) -> Response {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        let kept = match (request.method, path.as_slice()) {
            (Method::Put, ["5", "0", "0"]) => &mut self.manifests,
            (Method::Put, ["26250", "0", "0"] | ["a"]) => {
                if let Some(told) = &mut self.told {
                    told.edition += 1;
                }
                &mut self.anchors
            }
            (Method::Put, ["b"]) => &mut self.bundles,
            (Method::Post, ["5", "0", "2"]) => {
                self.executes += 1;
                return Response::new(Code::CHANGED);
            }
            (Method::Post, ["g", "c"]) => {
                self.children_changed += 1;
                return Response::new(Code::CHANGED);
            }
            (Method::Get, ["26250", "0", resource]) => return self.tell(resource),
            (Method::Get, _) => return self.read(&path.join("/"), request.accept),
            _ => return Response::new(Code::NOT_FOUND),
        };
        kept.push(request.payload);
        Response::new(Code::CHANGED)
    }

    fn read(&mut self, path: &str, accept: Option<u16>) -> Response {
        self.reads.push((path.to_owned(), accept));
        let found = self.readable.iter().filter(|(known, _)| *known == path).map(|(_, answer)| answer);
        let fits = |answer: &&Response| accept.is_none() || accept == answer.content_format;
        match (found.clone().find(fits), found.count()) {
            (Some(answer), _) => answer.clone(),
            (None, 0) => Response::new(Code::NOT_FOUND),
            (None, _) => Response::new(Code::NOT_ACCEPTABLE),
        }
    }

    fn tell(&self, resource: &str) -> Response {
        let found = Response::new(Code::CONTENT);
        match (&self.told, resource) {
            (Some(told), "1") => found.with_payload(TEXT, told.edition.to_string().into_bytes()),
            (Some(told), "2") => found.with_payload(OCTET_STREAM, told.answers.clone()),
            _ => Response::new(Code::NOT_FOUND),
        }
    }
}

/// Content-Formats text/plain and application/octet-stream (RFC 7252 §12.3).
const TEXT: u16 = 0;
const OCTET_STREAM: u16 = 42;

/// What every device here has.
const OBJECTS: &str = "</>;rt=\"oma.lwm2m\";ct=\"0 40 42 11542\",</1/0>,</3/0>,</5/0>";

/// Content-Format application/link-format (RFC 7252 §12.3).
const LINK_FORMAT: u16 = 40;
