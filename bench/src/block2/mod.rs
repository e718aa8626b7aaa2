//! `block2_serve_1024_*`, `gateway_serve_1024_*`: CPU that one served block of 1,024 bytes costs the shard of our server,
//! and that of our gateway from its cache, beside a raw echo.
//!
//! Only the server's thread is counted. It has one CPU for itself and the load another, where there are two. Each
//! round measures all servers one after the other, so what else the machine does falls on all of them.

mod load;
mod raw;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bellwether_gateway::counters::Counters;
use bellwether_gateway::frames::FrameService as GatewayService;
use bellwether_gateway::frames::cache::{CacheBounds, FrameCache as GatewayCache};

use bellwether_manifests::frame::FrameChain;
use bellwether_net::{Event, PskTable, Secret, Security, Service, Shard, ShardConfig, ShardHandle};
use bellwether_server::builder::BLOCK_BYTES;
use bellwether_server::frames::{self, Body, FrameCache, FrameService};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use self::load::{Load, Window};
use self::raw::RawEcho;
use crate::cpu::{self, Thread};
use crate::figure::{Figure, Taken};
use crate::firmware::noise;
use crate::{Failure, clock};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    rounds: usize,
    window: Duration,
    devices: u16,
}

impl Effort {
    /// What `make bench` does: about 20 seconds.
    pub(crate) const FULL: Self = Self { rounds: 9, window: Duration::from_millis(300), devices: 256 };
}

/// How devices ask.
struct Regime {
    suffix: &'static str,
    text: String,
    devices: usize,
    outstanding: usize,
}

/// A server under load.
struct Target<'f> {
    load: Load<'f>,
    thread: Thread,
    /// CPU microseconds per reply, by regime and round.
    samples: [Vec<f64>; REGIMES],
}

/// Our shard, and the frames that it serves.
struct Ours {
    shard: ShardHandle,
    /// Held, so that the shard's news has somewhere to go.
    _events: mpsc::Receiver<Event>,
}

/// Measures all servers in all regimes.
pub(crate) fn measure(effort: Effort) -> Result<Taken, Failure> {
    eprintln!("measuring block2_serve_1024 ...");
    // The load's thread is pinned; this one, and what it starts later, is not.
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("load".to_owned());
        match thread.spawn_scoped(scope, || on_load_thread(effort))?.join() {
            Ok(taken) => taken,
            Err(_) => Err("the load ended by a panic".into()),
        }
    })
}

fn on_load_thread(effort: Effort) -> Result<Taken, Failure> {
    let image = noise(IMAGE_BYTES);
    let cache = Arc::<FrameCache>::default();
    let body = Body::new(&image, BLOCK_BYTES)?;
    let path = frames::location(&body.root());
    let bytes = FrameChain::build(&image, BLOCK_BYTES)?.framed();
    cache.keep(body);
    let keys = Arc::<PskTable>::default();
    for number in 0..usize::from(effort.devices) {
        let (identity, key) = credential(number)?;
        keys.insert(identity, key);
    }

    let raw = RawEcho::start(&bytes[..FRAME_BYTES])?;
    let plain = Ours::start(Security::Plain, &cache)?;
    let dtls = Ours::start(Security::PskServer(Arc::<PskTable>::clone(&keys)), &cache)?;
    let folder = tempfile::tempdir()?;
    let cached = gateway_cache(folder.path(), &bytes)?;
    let gateway = Ours::serve(Security::PskServer(keys), cached)?;
    let frames = || bytes.chunks(FRAME_BYTES).filter(|frame| frame.len() == FRAME_BYTES);
    let mut targets = [
        Target::new(RawEcho::THREAD, Load::new(raw.address, &path, frames().take(1), effort.devices)?)?,
        Target::new(&plain.thread(), Load::new(plain.shard.local_addr(), &path, frames(), effort.devices)?)?,
        Target::new(&dtls.thread(), Load::new(dtls.shard.local_addr(), &path, frames(), effort.devices)?)?,
        Target::new(
            &gateway.thread(),
            Load::new(gateway.shard.local_addr(), &path, frames(), effort.devices)?,
        )?,
    ];
    let placed = place(&targets)?;
    targets[2].load.secure(credential)?;
    targets[3].load.secure(credential)?;
    for _ in 0..effort.rounds {
        for (at, regime) in regimes(effort).iter().enumerate() {
            for target in &mut targets {
                target.sample(at, regime, effort.window)?;
            }
        }
    }
    raw.stop()?;
    plain.shard.stop();
    dtls.shard.stop();
    gateway.shard.stop();
    Ok(Taken { figures: figures(effort, &targets)?, notes: vec![placed], ..Taken::default() })
}

impl Ours {
    fn start(security: Security, cache: &Arc<FrameCache>) -> Result<Self, Failure> {
        Self::serve(security, Box::new(FrameService::new(Arc::clone(cache))))
    }

    fn serve(security: Security, service: Box<dyn Service>) -> Result<Self, Failure> {
        let config = ShardConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), security);
        let (shard, events) = Shard::spawn(config, service)?;
        Ok(Self { shard, _events: events })
    }

    fn thread(&self) -> String {
        format!("shard-{}", self.shard.local_addr().port())
    }
}

/// The gateway's own service with a resource in its cache, on disk and in memory.
fn gateway_cache(folder: &Path, framed: &[u8]) -> Result<Box<dyn Service>, Failure> {
    let counters = Arc::<Counters>::default();
    let bounds = CacheBounds { disk_bytes_max: CACHE_BYTES, memory_bytes_max: CACHE_BYTES };
    let cache = GatewayCache::open(&folder.join("frames"), bounds, Arc::clone(&counters))?;
    let root = Sha256::digest(&framed[..FRAME_BYTES.min(framed.len())]).into();
    let resource = cache.bring(&root, clock::system());
    let pieces = framed.chunks(FRAME_BYTES).count();
    for (number, piece) in framed.chunks(FRAME_BYTES).enumerate() {
        cache
            .append(&resource, piece, number + 1 < pieces)
            .map_err(|_| "a frame is not what was announced")?;
    }
    Ok(Box::new(GatewayService::new(Arc::new(cache), counters)))
}

impl<'f> Target<'f> {
    fn new(thread: &str, load: Load<'f>) -> Result<Self, Failure> {
        Ok(Self { load, thread: Thread::named(thread)?, samples: Default::default() })
    }

    fn sample(&mut self, at: usize, regime: &Regime, length: Duration) -> Result<(), Failure> {
        let window = |length| Window { devices: regime.devices, outstanding: regime.outstanding, length };
        self.load.run(&window(length / 10))?;
        let before = self.settled()?;
        let replies = self.load.run(&window(length))?;
        let used = self.settled()?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "a window has far fewer than 2^52 replies")]
        self.samples[at].push(used.as_secs_f64() * 1e6 / replies as f64);
        Ok(())
    }

    /// Reads the thread's time after it has gone to sleep: what it has just used is not in it before.
    fn settled(&self) -> Result<Duration, Failure> {
        thread::sleep(Duration::from_millis(2));
        self.thread.cpu()
    }
}

/// Gives the servers one CPU and the load another, and says so.
fn place(targets: &[Target<'_>]) -> Result<String, Failure> {
    let Some((server, load)) = cpu::two()? else {
        return Ok("block2_serve_1024: servers and load shared one CPU".to_owned());
    };
    for target in targets {
        target.thread.pin(server)?;
    }
    cpu::pin_self(load)?;
    Ok(format!(
        "block2_serve_1024: servers on CPU {server}, load on CPU {load}; only the server's thread is counted"
    ))
}

fn figures(effort: Effort, [raw, plain, dtls, gateway]: &[Target<'_>; 4]) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for (kind, engine, target) in [
        ("block2_serve_1024_plain", "bellwether-net shard, plain UDP", plain),
        ("block2_serve_1024_dtls", "bellwether-net shard, DTLS 1.2 PSK-AES128-CCM8 by Mbed TLS", dtls),
        ("gateway_serve_1024_dtls", "bellwether-gateway from its cache, DTLS as above", gateway),
    ] {
        for (at, regime) in regimes(effort).iter().enumerate() {
            let (ours, raw) = (&target.samples[at], &raw.samples[at]);
            let name = format!("{kind}_{}", regime.suffix);
            let layer = format!("socket to socket: CoAP, Block2, frame from memory; {}", regime.text);
            let figure = Figure::new(name, UNIT, layer, engine, ours)?;
            figures.push(figure.beside(RAW, ours, raw)?);
        }
    }
    Ok(figures)
}

fn regimes(effort: Effort) -> [Regime; REGIMES] {
    let devices = usize::from(effort.devices);
    let text = format!("{OUTSTANDING} requests outstanding, of {devices} devices with one each");
    [
        Regime {
            suffix: "one",
            text: "1 device, one request at a time".to_owned(),
            devices: 1,
            outstanding: 1,
        },
        Regime { suffix: "many", text, devices, outstanding: OUTSTANDING },
    ]
}

fn credential(number: usize) -> Result<(Vec<u8>, Secret), Failure> {
    let identity = format!("device-{number}").into_bytes();
    let key = Secret::new(Sha256::digest(&identity).to_vec()).ok_or("the key has a wrong length")?;
    Ok((identity, key))
}

const UNIT: &str = "us of CPU per block";
const RAW: &str = "recvmmsg/sendmmsg echo of a prebuilt CoAP reply with 1,024 bytes of payload, plain UDP";
const REGIMES: usize = 2;
/// A block and the digest of the next frame: one CoAP block.
const FRAME_BYTES: usize = BLOCK_BYTES as usize + 32;
/// As many as a burst of devices that answer a push.
const OUTSTANDING: usize = 64;
const IMAGE_BYTES: usize = 256 * 1024;
/// More than the image with its digests.
const CACHE_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_answers_every_request_and_costs_something() {
        let effort = Effort { rounds: 1, window: Duration::from_millis(20), devices: 4 };
        let taken = measure(effort).expect("measured");
        let names: Vec<&str> = taken.figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "block2_serve_1024_plain_one",
                "block2_serve_1024_plain_many",
                "block2_serve_1024_dtls_one",
                "block2_serve_1024_dtls_many",
                "gateway_serve_1024_dtls_one",
                "gateway_serve_1024_dtls_many",
            ]
        );
        for figure in &taken.figures {
            let peer = figure.peer.as_ref().expect("a peer");
            assert!(figure.spread.median > 0.0 && peer.spread.median > 0.0, "{}", figure.name);
        }
    }
}
