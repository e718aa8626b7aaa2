//! A machine of the world: an address, a clock that may step, dice, and what runs on it until it is switched off.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bellwether_net::coap::Endpoint;
use bellwether_net::{
    EntropyError, Event, Machine, Security, Service, Shard, ShardConfig, ShardHandle, Wire,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::dice::Dice;
use super::engine::{Bare, Role};
use super::network::{Network, Socket};
use super::time::Wall;

/// A machine from one start to its end. A program that was killed goes on on another one, of the same address.
///
/// What still runs of a killed program can do no more harm: its sockets are gone, and work that it hands out is never
/// done, so that it waits for ever.
pub struct Host {
    ip: IpAddr,
    network: Network,
    wall: Wall,
    dice: Mutex<Dice>,
    next_port: AtomicU16,
    is_on: AtomicBool,
    running: Mutex<Vec<JoinHandle<()>>>,
    bound: Mutex<Vec<SocketAddr>>,
    /// Work of a killed program.
    limbo: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Host {
    /// Switches a machine on; `dice` draw all its randomness.
    pub fn on(ip: IpAddr, network: &Network, wall: &Wall, dice: Dice) -> Arc<Self> {
        Arc::new(Self {
            ip,
            network: network.clone(),
            wall: wall.clone(),
            dice: Mutex::new(dice),
            next_port: AtomicU16::new(FIRST_PORT),
            is_on: AtomicBool::new(true),
            running: Mutex::default(),
            bound: Mutex::default(),
            limbo: Mutex::default(),
        })
    }

    /// Runs a task until it ends or the machine is switched off.
    pub fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(task);
        lock(&self.running).push(task);
    }

    /// Tells whether it is on.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Switches it off at once: nothing of it is heard or done from here on.
    pub fn switch_off(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        for address in lock(&self.bound).iter() {
            self.network.unplug(*address);
        }
        for task in lock(&self.running).iter() {
            task.abort();
        }
    }

    /// Waits until nothing of a machine that was switched off is left in the way of the next one.
    pub async fn gone(&self) {
        let tasks = std::mem::take(&mut *lock(&self.running));
        for task in tasks {
            // It was aborted, or had ended.
            let _ = task.await;
        }
    }

    fn address(&self, asked: SocketAddr) -> SocketAddr {
        let port = match asked.port() {
            0 => self.next_port.fetch_add(1, Ordering::Relaxed),
            port => port,
        };
        SocketAddr::new(self.ip, port)
    }

    fn engine(&self, config: &ShardConfig) -> io::Result<Bare> {
        let role = match &config.security {
            Security::PskServer(store) => Role::Server(Arc::clone(store)),
            Security::PskClient { identity, key } => {
                let identity = String::from_utf8(identity.clone()).map_err(io::Error::other)?;
                Role::Client { identity, key: key.clone() }
            }
            Security::Plain => return Err(io::Error::other("nothing of the world is without a name")),
        };
        Ok(Bare::new(role, config.dtls.clone(), lock(&self.dice).fork()))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("ip", &self.ip).field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

impl Machine for Host {
    fn wall(&self) -> SystemTime {
        self.wall.now()
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        lock(&self.dice).fill(bytes);
        Ok(())
    }

    /// Does it at once: no time passes in this world while something is worked on.
    fn work(&self, work: Box<dyn FnOnce() + Send>) {
        if self.is_on() {
            work();
        } else {
            lock(&self.limbo).push(work);
        }
    }

    fn open_shard(
        &self,
        config: ShardConfig,
        service: Box<dyn Service>,
    ) -> io::Result<(ShardHandle, mpsc::Receiver<Event>)> {
        if !self.is_on() {
            return Err(io::Error::other("the machine is off"));
        }
        let (engine, mut seed) = (self.engine(&config)?, [0; 32]);
        lock(&self.dice).fill(&mut seed);
        let address = self.address(config.bind);
        let cable = Cable(self.network.bind(address));
        lock(&self.bound).push(address);
        let endpoint = Endpoint::new(config.coap, seed);
        let (shard, events, driver) = Shard::over(cable, Box::new(engine), endpoint, service)?;
        self.run(driver);
        Ok((shard, events))
    }
}

/// A socket of the world as a shard sees it.
struct Cable(Socket);

impl Wire for Cable {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.local_addr())
    }

    fn readable(&self) -> impl Future<Output = ()> + Send {
        self.0.readable()
    }

    fn try_receive(&mut self, room: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (datagram, from) = self.0.try_recv().ok_or(io::ErrorKind::WouldBlock)?;
        let length = datagram.len().min(room.len());
        room[..length].copy_from_slice(&datagram[..length]);
        Ok((length, from))
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.0.send_to(datagram, to);
        Ok(())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// First of the ports that nobody asked for by number.
const FIRST_PORT: u16 = 40_000;
