//! The site that others' code is set upon by `make interop`: a real server with enrolled devices, and one walk through
//! an update whose messages and keys are written down.
//!
//! Usage: `interop_site FOLDER`. It writes `FOLDER/site.json` and says `ready`; at `walk` on its standard input it
//! walks, writes `FOLDER/walk.json` and says `walked`; at the end of its input it ends.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "it stops at the first thing that is not as it must be, and the rows of the table then fail"
)]

use std::io::{BufRead, stdin};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bellwether_keys::PrivateShare;
use bellwether_keys::unit::UnitData;
use bellwether_manifests::message::{Answer, Moment, content_format};
use bellwether_net::coap::{Block, BlockSize, Code, Method, Request as CoapRequest, Response};
use bellwether_net::{Event, NoService, PskTable, Secret, Security, Shard, ShardConfig};
use bellwether_tests::fleet::{Fleet, VENDOR};
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::mqtt::{Login, Mqtt};
use bellwether_tests::raw_device::{Granted, Identity, Line, Options, RawDevice, Report, Said};
use bellwether_tests::raw_gateway::RawGateway;
use bellwether_tests::wait;
use serde_json::{Value, json};

#[expect(clippy::print_stdout, reason = "whoever started this waits for its words")]
fn main() {
    let folder = std::env::args().nth(1).expect("usage: interop_site FOLDER");
    let site = Site::open(Path::new(&folder));
    site.write("site.json", &site.describe());
    println!("ready");
    for line in stdin().lock().lines() {
        if line.is_ok_and(|word| word == "walk") {
            site.write("walk.json", &site.walk());
            println!("walked");
        }
    }
}

struct Site<'a> {
    folder: &'a Path,
    meters: Meters,
}

/// A message by the name of its type in `messages.cddl`.
struct Messages(Vec<Value>);

impl Messages {
    fn add(&mut self, kind: &str, bytes: &[u8]) {
        self.0.push(json!({"type": kind, "bytes": hex::encode(bytes)}));
    }

    fn add_answer(&mut self, bytes: &[u8]) {
        self.add("Answer-Msg", bytes);
        let answer = Answer::decode(bytes).expect("an answer");
        self.add("Grant-Or-Verdict-Msg", answer.message);
        if let Some(descriptor) = answer.descriptor {
            self.add("Descriptor-Msg", descriptor);
        }
    }
}

impl<'a> Site<'a> {
    fn open(folder: &'a Path) -> Self {
        let flags = ["--coap", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"];
        Self { folder, meters: Meters::on(Fleet::start_with(&flags), IMAGE_BYTES) }
    }

    fn write(&self, name: &str, value: &Value) {
        std::fs::write(self.folder.join(name), value.to_string()).expect("written");
    }

    fn enrol(&self, name: &str, security: &str) -> Identity {
        let fleet = &self.meters.fleet;
        fleet.cli.done(&format!("device add {name} --class meter --security {security} --out {name}.unit"));
        let unit = fleet.folder().join(format!("{name}.unit"));
        Identity::from_factory(&unit, "meter", images::digest(&self.meters.old))
    }

    /// Where everything is, and devices that are enrolled for others' clients.
    fn describe(&self) -> Value {
        let server = &self.meters.fleet.server;
        let login = Login::embedded(server.data());
        let short = answer_under_a_short_key();
        let peers: Vec<_> = PEERS
            .iter()
            .map(|(name, security)| {
                let identity = self.enrol(name, security);
                json!({"name": name, "security": security, "psk": hex::encode(identity.psk())})
            })
            .collect();
        json!({
            "coap": server.coap().to_string(),
            "coaps": server.coaps().to_string(),
            "http": server.http_address().to_string(),
            "token": server.token(),
            "data": server.data(),
            "folder": self.meters.fleet.folder(),
            "mqtt": {"host": login.host, "port": login.port, "user": login.user, "password": login.password},
            "peers": peers,
            "short": {
                "coaps": short.to_string(), "name": SHORT_NAME, "psk": hex::encode(SHORT_KEY),
                "content": hex::encode(images::image(9, IMAGE_BYTES)),
            },
            "vendor": VENDOR,
        })
    }

    /// Walks a device through an update over plain UDP, one over DTLS with a gateway, one to its next seed.
    fn walk(&self) -> Value {
        let mut messages = Messages(Vec::new());
        let gateway = self.gateway();
        let meters = &self.meters;
        let told_unit = meters.fleet.device_behind("behind-1", "meter", "gw-1");
        let behind =
            RawDevice::telling(meters.fleet.server.coaps(), &told_unit, "meter", images::digest(&meters.old));
        let identity = self.enrol("walker-1", "none");
        let unit = std::fs::read(meters.fleet.folder().join("walker-1.unit")).expect("the unit file");
        let line = Line::plain(meters.fleet.server.coap());
        line.register("walker-1");
        let mut manager = Mqtt::connect(&Login::embedded(meters.fleet.server.data()), "manager");
        manager.subscribe("bellwether/v1/default/#");
        let campaign = meters.launch();
        let mut walker = RawDevice { identity, line };
        let walk = self.walker(&mut walker, &unit, &mut messages);
        gateway.bundle(1);
        let bundle = gateway.line.heard().bundles[0].clone();
        messages.add("Bundle-Msg", &bundle);
        messages.add("Anchors-Msg", &walker.identity.anchors());
        drop(behind);
        self.shared(&mut messages);
        let author = std::fs::read(meters.fleet.folder().join("author.pub")).expect("the author's key");
        json!({
            "walker": walk,
            "campaign": campaign,
            "bundle": hex::encode(bundle),
            "envelope": hex::encode(std::fs::read(&meters.manifest.path).expect("the envelope")),
            "manifest": hex::encode(meters.manifest.digest),
            "anchors": hex::encode(walker.identity.anchors()),
            "author": hex::encode(author),
            "image": hex::encode(&meters.new),
            "messages": messages.0,
        })
    }

    fn gateway(&self) -> RawGateway {
        let fleet = &self.meters.fleet;
        fleet.cli.done("gateway add gw-1 --uri coaps://127.0.0.1:5999 --out gw-1.unit");
        RawGateway::switch_on(fleet.server.coaps(), &fleet.folder().join("gw-1.unit"))
    }

    fn walker(&self, walker: &mut RawDevice, unit: &[u8], messages: &mut Messages) -> Value {
        let unit = UnitData::decode(unit).expect("a unit file");
        let manifest = self.meters.manifest.digest;
        let fork = walker.identity.fork;
        walker.identity.patches = false;
        let request = walker.identity.request(&manifest, &Options::default());
        messages.add("Request-Msg", &request.bytes);
        let granted = match walker.put_question(&request) {
            Said::Grant(granted) => *granted,
            other => panic!("no grant: {other:?}"),
        };
        messages.add_answer(&granted.answer);
        let frames = frames(&walker.line, &granted);
        assert_eq!(walker.fetch(&granted), self.meters.new);
        let decrypted = walker.identity.report(&granted, Moment::Decrypted);
        let installed = walker.identity.report(&granted, Moment::Installed);
        let receipts = [&decrypted, &installed].map(|report| {
            messages.add("Report-Msg", &report.bytes);
            let receipt = walker.report(report);
            messages.add("Receipt-Msg", &receipt);
            receipt
        });
        // Once more the bytes of before: the server wants proof.
        let again = walker.send_request(&request.bytes);
        assert_eq!(again.code, Code::CHANGED);
        walker.identity.confirm(&installed);
        walker.identity.runs = self.meters.new_digest();
        let nothing = walker.identity.request(&manifest, &Options::default());
        messages.add("Request-Msg", &nothing.bytes);
        let verdict = walker.send_request(&nothing.bytes);
        assert_eq!(walker.identity.read(&nothing, &verdict), Said::Nothing);
        messages.add_answer(&again.payload);
        messages.add_answer(&verdict.payload);
        json!({
            "name": walker.identity.name,
            "seed": hex::encode(unit.seed.expose()),
            "epoch": unit.epoch,
            "chain_length": unit.chain_length.get(),
            "fork": hex::encode(fork),
            "request": hex::encode(&request.bytes),
            "answer": hex::encode(&granted.answer),
            "frames": frames,
            "block_bytes": granted.block_bytes,
            "content_bytes": granted.content_bytes,
            "location": granted.location,
            "decrypted": sealed(&decrypted, &receipts[0]),
            "installed": sealed(&installed, &receipts[1]),
            "again": hex::encode(&again.payload),
            "nothing": {"request": hex::encode(&nothing.bytes), "answer": hex::encode(&verdict.payload)},
            "fork_after": hex::encode(walker.identity.fork),
        })
    }

    /// A signed grant with shares for the next seed, and a failure.
    fn shared(&self, messages: &mut Messages) {
        let meters = &self.meters;
        let (manifest, _) = meters.version(4, "");
        let mut meter = meters.device("sharer-1");
        meters.fleet.launch(&manifest, "--reseed");
        let share = PrivateShare::from_random([0x21; 32]).expect("a scalar");
        let options = Options { share: Some(share.public().expect("a point")), ..Options::default() };
        let request = meter.identity.request(&manifest.digest, &options);
        messages.add("Request-Msg", &request.bytes);
        match meter.put_question(&request) {
            Said::Grant(granted) => {
                assert!(granted.server_share.is_some());
                messages.add_answer(&granted.answer);
                let failed = meter.identity.report(&granted, Moment::Failed);
                messages.add("Report-Msg", &failed.bytes);
                messages.add("Receipt-Msg", &meter.report(&failed));
            }
            other => panic!("no grant: {other:?}"),
        }
        let descriptor = meter.line.send(CoapRequest::new(Method::Get, "/nothing"));
        assert_eq!(descriptor.code, Code::NOT_FOUND);
        let wrong = meter.line.post("/u", content_format::REQUEST, b"\x00");
        assert_eq!(wrong.code, Code::BAD_REQUEST);
    }
}

fn sealed(report: &Report, receipt: &[u8]) -> Value {
    json!({"report": hex::encode(&report.bytes), "receipt": hex::encode(receipt)})
}

/// The frames as they come, unverified.
fn frames(line: &Line, granted: &Granted) -> Vec<String> {
    let count = granted.content_bytes.div_ceil(u64::from(granted.block_bytes));
    let frame = |number| {
        let ask = Block::ask(u32::try_from(number).expect("a number"), BlockSize::MAX);
        let response = line.send(CoapRequest::new(Method::Get, &granted.location).with_block2(ask));
        assert_eq!(response.code, Code::CONTENT);
        hex::encode(response.payload)
    };
    (0..count).map(frame).collect()
}

/// Opens a shard of the server's kind whose one device has a short key, which the server itself gives to none: a GET
/// is answered with a content of many blocks, a POST with the length of what came.
fn answer_under_a_short_key() -> SocketAddr {
    let keys = PskTable::new();
    keys.insert(SHORT_NAME, Secret::new(SHORT_KEY.to_vec()).expect("a key"));
    let security = Security::PskServer(Arc::new(keys));
    let config = ShardConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), security);
    let (shard, mut events) = Shard::spawn(config, Box::new(NoService)).expect("a free port");
    let address = shard.local_addr();
    wait::beside(async move {
        while let Some(event) = events.recv().await {
            if let Event::Request { exchange, request, .. } = event {
                let content = match request.method {
                    Method::Get => images::image(9, IMAGE_BYTES),
                    _ => request.payload.len().to_string().into_bytes(),
                };
                let code = if request.method == Method::Get { Code::CONTENT } else { Code::CHANGED };
                shard.respond(exchange, Response::new(code).with_payload(0, content));
            }
        }
    });
    address
}

/// The one device with a short key, as some libraries take no longer ones.
const SHORT_NAME: &str = "short-1";
const SHORT_KEY: [u8; 16] = [0x5a; 16];

/// Devices for others' clients.
const PEERS: [(&str, &str); 11] = [
    // Several, since a command line carries no key with a zero byte, and one key in nine has one.
    ("libcoap-1", "psk"),
    ("libcoap-2", "psk"),
    ("libcoap-3", "psk"),
    ("libcoap-4", "psk"),
    ("libcoap-plain-1", "none"),
    ("aiocoap-1", "psk"),
    ("aiocoap-plain-1", "none"),
    ("node-1", "none"),
    ("leshan-plain-1", "none"),
    ("leshan-psk-1", "psk"),
    ("leshan-cid-1", "psk"),
];

/// Twenty frames and a few more.
const IMAGE_BYTES: usize = 24_000;
