//! `gateway_upstream_bytes`: what passes between a gateway and its server while all devices behind it are updated, beside
//! what as many devices would fetch for themselves.
//!
//! Gateway and server are whole, with their sockets and DTLS, in this process; the datagrams between the two go
//! through a counter. Devices are the bench's own: each asks, fetches every frame in order, and reports twice.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bellwether_gateway::config::Config as GatewayConfig;
use bellwether_gateway::shell::{self, Running};
use bellwether_manifests::cose::Sign1;
use bellwether_manifests::cose::mac0::Mac0;
use bellwether_manifests::frame::Layout;
use bellwether_manifests::message::content_format;
use bellwether_manifests::message::{Answer, Descriptor, Grant, Moment};
use bellwether_net::coap::{Block, BlockSize, Code, Method, Request, Response};
use bellwether_net::{NoService, Secret, Security, SessionId, Shard, ShardConfig, ShardHandle, ThisMachine};
use bellwether_server::frames;
use clap::Parser;
use serde_json::json;

use crate::Failure;
use crate::figure::{Table, Taken};
use crate::firmware::noise;
use crate::fleet::{Device, Facts, Fleet, Published};

/// A line that counts what passes, between one gateway and the server.
struct Line {
    address: SocketAddr,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    server: Arc<Mutex<Option<SocketAddr>>>,
}

/// What passed for one number of devices.
struct Passed {
    devices: usize,
    up: u64,
    down: u64,
    /// Frames of the resource, in bytes.
    resource: u64,
}

/// Measures for one, five and twenty devices.
pub(crate) fn measure() -> Result<Taken, Failure> {
    eprintln!("measuring gateway_upstream_bytes ...");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut rows = Vec::new();
    for devices in DEVICES {
        let folder = tempfile::tempdir()?;
        let Passed { devices, up, down, resource } = runtime.block_on(pass(folder.path(), devices))?;
        let alone = resource * devices as u64;
        let parts = [up + down, alone].map(|bytes| u32::try_from(bytes).map(f64::from));
        let [passed, each] = parts;
        rows.push(vec![
            json!(devices),
            json!(resource),
            json!(up),
            json!(down),
            json!(alone),
            json!(passed? / each?),
        ]);
    }
    let table = Table {
        name: "gateway_upstream_bytes",
        layer: "UDP payload between gateway and server, handshake included: questions, grants, frames, reports, receipts",
        engine:
            "bellwether-gateway and bellwether-server, DTLS 1.2 PSK; devices with equal selectors, full image"
                .to_owned(),
        columns: vec![
            "devices",
            "resource B",
            "up B",
            "down B",
            "n x resource B",
            "(up + down)/(n x resource)",
        ],
        rows,
    };
    Ok(Taken { tables: vec![table], ..Taken::default() })
}

async fn pass(folder: &Path, count: usize) -> Result<Passed, Failure> {
    let line = Line::lay()?;
    let fleet = Fleet::open_at(folder, &format!("coaps://{}", line.address)).await?;
    line.lead_to(fleet.listen()?);
    let (base, target) = (noise(48 * 1024), noise(IMAGE_BYTES));
    let running = fleet.release(CLASS, "1", &base).await?;
    fleet.release(CLASS, "2", &target).await?;
    let published = fleet.manifest(1, CLASS, &target).await?;
    let unit = fleet.enrol_gateway(GATEWAY).await?;
    let mut devices = Vec::with_capacity(count);
    for number in 0..count {
        devices.push(fleet.enrol_behind(&format!("meter-{number}"), CLASS, GATEWAY).await?);
    }
    fleet.launch(&published.digest, &devices).await?;
    // Made here, however long it takes: a device would be told "later".
    fleet.resource(&published, None).await?;
    let gateway = start(folder, &unit)?;
    wait_uplink(&gateway).await?;
    let facts = Facts { class: CLASS, running: &running, applies_deltas: false };
    let mut resource = 0;
    for device in &devices {
        resource = update(&fleet, device, &published, &facts, gateway.address()).await?;
    }
    gateway.stop().await;
    let passed = [&line.up, &line.down].map(|count| count.load(Ordering::Relaxed));
    Ok(Passed { devices: count, up: passed[0], down: passed[1], resource })
}

fn start(folder: &Path, unit: &[u8]) -> Result<Running, Failure> {
    let (file, data) = (folder.join("gateway.unit"), folder.join("gateway"));
    std::fs::write(&file, unit)?;
    let words = ["bellwether-gateway", "--listen", "127.0.0.1:0", "--unit"].map(Path::new);
    let words = words.into_iter().chain([file.as_path(), Path::new("--data"), data.as_path()]);
    Ok(shell::start(Arc::new(ThisMachine), GatewayConfig::try_parse_from(words)?)?)
}

async fn wait_uplink(gateway: &Running) -> Result<(), Failure> {
    for _ in 0..UPLINK_LOOKS {
        if gateway.gateway.uplink.is_up() && !gateway.gateway.family.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err("the gateway does not reach its server".into())
}

/// Takes one device through its update, and gives the bytes of its frames.
async fn update(
    fleet: &Fleet,
    device: &Device,
    published: &Published,
    facts: &Facts<'_>,
    gateway: SocketAddr,
) -> Result<u64, Failure> {
    let key = Secret::new(device.link_psk.clone()).ok_or("no key of a link")?;
    let security = Security::PskClient { identity: device.name.as_bytes().to_vec(), key };
    let config = ShardConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), security);
    let (shard, _events) = Shard::spawn(config, Box::new(NoService))?;
    let session = shard.connect(gateway).await?.session;
    let call = Call { shard: &shard, session };
    shard.request(session, Request::new(Method::Post, "/h")).await?;
    let request = fleet.request(device, &published.digest, facts)?;
    let answered = call.post("/u", content_format::REQUEST, request).await?.payload;
    let answer = Answer::decode(&answered)?;
    let descriptor = Sign1::parse(answer.descriptor.ok_or("no descriptor came")?)?;
    let descriptor = Descriptor::decode(descriptor.payload())?;
    let resource = descriptor.resource(0).ok_or("the descriptor has no resource")?;
    let layout = Layout::new(resource.content_bytes, resource.chain.block_bytes)?;
    let path = frames::location(resource.chain.root);
    for number in 0..layout.frames() {
        call.frame(&path, number).await?;
    }
    let grant = Grant::decode(Mac0::decode(answer.message)?.payload)?.grant;
    let runs = (&published.target, IMAGE_BYTES as u64);
    for (moment, runs) in [(Moment::Decrypted, None), (Moment::Installed, Some(runs))] {
        let report = device.report(moment, grant, &published.digest, runs)?;
        call.post("/u/r", content_format::REPORT, report).await?;
    }
    shard.stop();
    Ok(layout.framed_bytes())
}

/// A session with the gateway.
struct Call<'a> {
    shard: &'a ShardHandle,
    session: SessionId,
}

impl Call<'_> {
    /// Posts until it is done; the gateway may ask for patience.
    async fn post(&self, path: &str, format: u16, body: Vec<u8>) -> Result<Response, Failure> {
        for _ in 0..TRIES {
            let request = Request::new(Method::Post, path).with_payload(format, body.clone());
            let response = self.shard.request(self.session, request).await?;
            match response.code {
                Code::CHANGED => return Ok(response),
                Code::SERVICE_UNAVAILABLE => tokio::time::sleep(LOOK_EVERY).await,
                other => return Err(format!("{path} is answered {other}").into()),
            }
        }
        Err(format!("{path} is not answered").into())
    }

    async fn frame(&self, path: &str, number: u32) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let request = Request::new(Method::Get, path).with_block2(Block::ask(number, BlockSize::MAX));
            let response = self.shard.request(self.session, request).await?;
            match response.code {
                Code::CONTENT => return Ok(()),
                Code::SERVICE_UNAVAILABLE => tokio::time::sleep(LOOK_EVERY).await,
                other => return Err(format!("frame {number} is answered {other}").into()),
            }
        }
        Err(format!("frame {number} does not come").into())
    }
}

impl Line {
    fn lay() -> Result<Self, Failure> {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (front, back) = (UdpSocket::bind(local)?, UdpSocket::bind(local)?);
        for socket in [&front, &back] {
            socket.set_read_timeout(Some(LOOK_EVERY))?;
        }
        let line = Self {
            address: front.local_addr()?,
            up: Arc::default(),
            down: Arc::default(),
            is_over: Arc::default(),
            server: Arc::default(),
        };
        let gateway = Arc::<Mutex<Option<SocketAddr>>>::default();
        let ends = [(&front, &back, &line.server, &line.up), (&back, &front, &gateway, &line.down)];
        for (number, (from, to, target, count)) in ends.into_iter().enumerate() {
            let (from, to) = (from.try_clone()?, to.try_clone()?);
            let (target, count, is_over) = (Arc::clone(target), Arc::clone(count), Arc::clone(&line.is_over));
            let heard = (number == 0).then(|| Arc::clone(&gateway));
            thread::spawn(move || carry(&from, &to, &target, heard.as_deref(), &count, &is_over));
        }
        Ok(line)
    }

    fn lead_to(&self, server: SocketAddr) {
        set(&self.server, server);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Carries datagrams one way; `heard` is where the sender's address is kept for the way back.
fn carry(
    from: &UdpSocket,
    to: &UdpSocket,
    target: &Mutex<Option<SocketAddr>>,
    heard: Option<&Mutex<Option<SocketAddr>>>,
    count: &AtomicU64,
    is_over: &AtomicBool,
) {
    let mut datagram = vec![0; DATAGRAM_BYTES];
    while !is_over.load(Ordering::Relaxed) {
        let Ok((length, sender)) = from.recv_from(&mut datagram) else { continue };
        if let Some(heard) = heard {
            set(heard, sender);
        }
        let target = *target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = target {
            count.fetch_add(length as u64, Ordering::Relaxed);
            // Nothing is lost on loopback, and a datagram that is would be sent again.
            let _ = to.send_to(&datagram[..length], target);
        }
    }
}

fn set(kept: &Mutex<Option<SocketAddr>>, address: SocketAddr) {
    *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
}

const DEVICES: [usize; 3] = [1, 5, 20];
const GATEWAY: &str = "gateway-1";
const CLASS: &str = "meter";
/// As large as the open firmware of the demo, about.
const IMAGE_BYTES: usize = 96 * 1024;
const DATAGRAM_BYTES: usize = 2_048;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Ten seconds of asking again.
const TRIES: usize = 500;
const UPLINK_LOOKS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn devices_behind_a_gateway_take_one_download() {
        let folder = tempfile::tempdir().expect("a folder");
        let passed = pass(folder.path(), 3).await.expect("measured");
        assert!(passed.down > passed.resource, "{} of {}", passed.down, passed.resource);
        assert!(passed.down < 2 * passed.resource, "{} of {}", passed.down, passed.resource);
    }
}
