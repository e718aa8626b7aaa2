//! Thousands of devices: a socket, an address and a session each, all on one thread.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket};
use std::rc::Rc;
use std::time::Duration;

use bellwether_api::{AddDevice, Security};
use bellwether_keys::unit::UnitData;
use bellwether_net::coap::{Code, Config, Endpoint, Method, Request};
use bellwether_net::dtls::Engine;
use bellwether_net::dtls::mbedtls::MbedTls;
use bellwether_net::dtls::plain::Plain;
use bellwether_net::{DtlsConfig, NoService, Secret, SessionId, Shard, ShardHandle, Wire};
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::Failure;
use crate::fleet::Fleet;

/// An enrolled device.
#[derive(Clone)]
pub(super) struct Device {
    pub(super) name: String,
    /// Its DTLS key; `None`: plain UDP.
    pub(super) key: Option<Secret>,
}

/// Enrols so many devices of a name.
pub(super) async fn enrolled(
    fleet: &Fleet,
    prefix: &str,
    count: usize,
    secured: bool,
) -> Result<Vec<Device>, Failure> {
    let mut devices = Vec::with_capacity(count);
    for number in 0..count {
        let name = format!("{prefix}-{number}");
        let asked = AddDevice {
            endpoint: name.clone(),
            class: prefix.to_owned(),
            security: if secured { Security::Psk } else { Security::None },
            gateway: None,
            chain_length: Some(CHAIN_LENGTH),
        };
        let added = fleet.core.add_device(&asked).await?;
        let bytes = hex::decode(&added.unit)?;
        let psk = UnitData::decode(&bytes)?.dtls_psk.to_vec();
        devices.push(Device { name, key: Secret::new(psk).filter(|_| secured) });
    }
    Ok(devices)
}

/// Devices that are on.
pub(super) struct Devices {
    on: Vec<(Device, ShardHandle)>,
    drivers: Vec<JoinHandle<()>>,
}

impl Drop for Devices {
    /// As a power cut would: nobody hears of it.
    fn drop(&mut self) {
        for driver in &self.drivers {
            driver.abort();
        }
    }
}

impl Devices {
    /// Lets all register, or only make a session: a part of them at a time where they are more than this process may have
    /// sockets. Gives those that are on at the end; the others are cut off, which a server notices as little as sleep.
    pub(super) async fn come(
        devices: Vec<Device>,
        server: SocketAddr,
        registers: bool,
    ) -> Result<Self, Failure> {
        let mut rest = devices.into_iter().enumerate().peekable();
        loop {
            let part = Self::switch_on(rest.by_ref().take(AT_ONCE_MAX)).await?;
            part.each(server, registers).await?;
            if rest.peek().is_none() {
                return Ok(part);
            }
            drop(part);
            // What was cut off gives its sockets back when its tasks are next looked at.
            tokio::task::yield_now().await;
        }
    }

    /// Switches devices on; none of them says anything yet.
    async fn switch_on(devices: impl Iterator<Item = (usize, Device)>) -> Result<Self, Failure> {
        let (mut on, mut drivers) = (Vec::new(), Vec::new());
        for (number, device) in devices {
            let engine: Box<dyn Engine> = match device.key.clone() {
                Some(key) => {
                    Box::new(MbedTls::client(device.name.clone().into_bytes(), key, DtlsConfig::default())?)
                }
                None => Box::new(Plain::new(DtlsConfig::default())),
            };
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let endpoint: Endpoint<SessionId> = Endpoint::new(Config::default(), seed);
            let wire = Socket::bind(number)?;
            let (handle, _, driver) = Shard::over(wire, engine, endpoint, Box::new(NoService))?;
            drivers.push(tokio::task::spawn_local(driver));
            on.push((device, handle));
            tokio::task::yield_now().await;
        }
        Ok(Self { on, drivers })
    }

    /// Makes a session for each that is on, and registers it.
    pub(super) async fn register_all(&self, server: SocketAddr) -> Result<(), Failure> {
        self.each(server, true).await
    }

    async fn each(&self, server: SocketAddr, registers: bool) -> Result<(), Failure> {
        let at_once = Rc::new(Semaphore::new(AT_ONCE));
        let mut all = JoinSet::new();
        for (device, handle) in &self.on {
            let (device, handle) = (device.clone(), handle.clone());
            let at_once = Rc::clone(&at_once);
            all.spawn_local(async move {
                let _place = at_once.acquire().await?;
                come(&device, &handle, server, registers).await
            });
        }
        while let Some(done) = all.join_next().await {
            done??;
        }
        Ok(())
    }
}

/// Connects a device, and registers it where that is wished; what fails is tried again after a second.
async fn come(
    device: &Device,
    handle: &ShardHandle,
    server: SocketAddr,
    registers: bool,
) -> Result<(), Failure> {
    let mut last: Failure = "never tried".into();
    for _ in 0..TRIES {
        match try_to_come(device, handle, server, registers).await {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
    Err(format!("{} does not get through: {last}", device.name).into())
}

async fn try_to_come(
    device: &Device,
    handle: &ShardHandle,
    server: SocketAddr,
    registers: bool,
) -> Result<(), Failure> {
    let peer = handle.connect(server).await?;
    if !registers {
        return Ok(());
    }
    let mut request = Request::new(Method::Post, "/rd").with_query("lwm2m=1.1").with_query("lt=86400");
    request = request.with_query(&format!("ep={}", device.name)).with_query("b=U");
    let request = request.with_payload(LINK_FORMAT, b"</1/0>,</3/0>,</5/0>".to_vec());
    match handle.request(peer.session, request).await?.code {
        Code::CREATED => Ok(()),
        code => Err(format!("the server answers {code:?} to a registration").into()),
    }
}

/// One UDP socket with one file descriptor, on an address of its own.
struct Socket(UdpSocket);

impl Socket {
    fn bind(number: usize) -> io::Result<Self> {
        // 127.1.0.1 and on: a server may bound what comes from one address.
        let host = 0x7f01_0001 + u32::try_from(number).map_err(io::Error::other)?;
        let socket = StdSocket::bind((Ipv4Addr::from(host), 0))?;
        socket.set_nonblocking(true)?;
        Ok(Self(UdpSocket::from_std(socket)?))
    }
}

impl Wire for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    async fn readable(&self) {
        // An error shows itself again when the datagram is taken.
        drop(self.0.readable().await);
    }

    fn try_receive(&mut self, room: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.try_recv_from(room)
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        // tokio's own would refuse until its reactor has seen the socket writable.
        SockRef::from(&self.0).send_to(datagram, &to.into()).map(drop)
    }
}

/// The shortest chain: enrolment is not what is measured.
const CHAIN_LENGTH: u16 = 1;
/// Devices that are on at the same time: a socket each, of the 20,000 files that a process may have open.
pub(super) const AT_ONCE_MAX: usize = 19_000;
/// Handshakes under way at the same time: all devices come at once, and a server bounds them at 1,024.
const AT_ONCE: usize = 512;
const TRIES: usize = 60;
const TRY_EVERY: Duration = Duration::from_secs(1);
const LINK_FORMAT: u16 = 40;
