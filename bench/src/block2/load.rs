//! Devices that download block after block, each with one request at a time, all on one thread and one socket.
//!
//! A device is a source address of its own (127.16.x.y), so that hundreds of them need one descriptor.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bellwether_net::coap;
use bellwether_net::dtls::mbedtls::MbedTls;
use bellwether_net::dtls::{DtlsConfig, Engine, Output, Outputs};
use bellwether_net::{Secret, SessionId};
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};

use super::wire::{self, Asking};
use crate::{Failure, clock};

/// What one window of load was.
pub(super) struct Window {
    /// Devices that take part.
    pub(super) devices: usize,
    /// Requests that are outstanding at a time.
    pub(super) outstanding: usize,
    /// How long new requests are made.
    pub(super) length: Duration,
}

/// Devices, ready to download from one server.
pub(super) struct Load<'f> {
    link: Link,
    asking: Asking,
    frames: Vec<&'f [u8]>,
    devices: Vec<Device>,
    datagram: Vec<u8>,
}

/// The socket, and what time it is on it.
struct Link {
    socket: UdpSocket,
    server: SocketAddrV4,
    began: Instant,
}

struct Device {
    source: Ipv4Addr,
    session: Option<Session>,
    message_id: u16,
    count: u32,
    frame: usize,
}

/// A DTLS session with the server.
struct Session {
    engine: MbedTls,
    id: Option<SessionId>,
    outputs: Outputs,
}

impl<'f> Load<'f> {
    /// Makes devices that ask `server` for the frames of `path` in turn.
    pub(super) fn new(
        server: SocketAddr,
        path: &str,
        frames: impl Iterator<Item = &'f [u8]>,
        devices: u16,
    ) -> Result<Self, Failure> {
        let SocketAddr::V4(server) = server else {
            return Err("the load speaks IPv4".into());
        };
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(REPLY_WAIT))?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        let device = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let source = Ipv4Addr::new(127, 16, high, low);
            Device { source, session: None, message_id: number, count: 0, frame: 0 }
        };
        Ok(Self {
            link: Link { socket, server, began: clock::now() },
            asking: Asking::new(path)?,
            frames: frames.collect(),
            // 127.16.0.0 is left out.
            devices: (1..=devices).map(device).collect(),
            datagram: Vec::new(),
        })
    }

    /// Makes a DTLS session for every device, one after the other.
    pub(super) fn secure(
        &mut self,
        credential: impl Fn(usize) -> Result<(Vec<u8>, Secret), Failure>,
    ) -> Result<(), Failure> {
        for number in 0..self.devices.len() {
            let (identity, key) = credential(number)?;
            let mut engine = MbedTls::client(identity, key, DtlsConfig::default())?;
            let mut outputs = Outputs::new();
            let now = self.link.now();
            engine
                .connect(self.link.server.into(), now, &mut outputs)
                .map_err(|refused| format!("no session is begun: {refused}"))?;
            self.devices[number].session = Some(Session { engine, id: None, outputs });
            self.devices[number].drain(&self.link, |_| {})?;
            while self.devices[number].is_connecting() {
                let (from, length) = self.link.receive(&mut self.datagram)?;
                if from == self.devices[number].source {
                    self.devices[number].take(&self.link, &self.datagram[..length], |_| {})?;
                }
            }
        }
        Ok(())
    }

    /// Downloads for a while and gives the number of right replies; there is no other kind, or it is an error.
    pub(super) fn run(&mut self, window: &Window) -> Result<u64, Failure> {
        let mut waiting: VecDeque<usize> = (0..window.devices).collect();
        let end = clock::now() + window.length;
        let (mut outstanding, mut replies) = (0, 0);
        for _ in 0..window.outstanding {
            outstanding += usize::from(self.ask_next(&mut waiting)?);
        }
        while outstanding > 0 {
            let number = self.reply()?;
            replies += 1;
            outstanding -= 1;
            waiting.push_back(number);
            if clock::now() < end {
                outstanding += usize::from(self.ask_next(&mut waiting)?);
            }
        }
        Ok(replies)
    }

    fn ask_next(&mut self, waiting: &mut VecDeque<usize>) -> Result<bool, Failure> {
        let Some(number) = waiting.pop_front() else {
            return Ok(false);
        };
        let device = &mut self.devices[number];
        device.frame = (device.frame + 1) % self.frames.len();
        device.message_id = device.message_id.wrapping_add(1);
        device.count = device.count.wrapping_add(1);
        let block = u32::try_from(device.frame)?;
        self.asking.write(device.message_id, device.token(), block, &mut self.datagram);
        device.send(&self.link, &self.datagram)?;
        Ok(true)
    }

    /// Waits for the next reply and says which device got it.
    fn reply(&mut self) -> Result<usize, Failure> {
        loop {
            let (to, length) = self.link.receive(&mut self.datagram)?;
            let [.., high, low] = to.octets();
            let number = usize::from(u16::from_be_bytes([high, low])).wrapping_sub(1);
            let Some(device) = self.devices.get_mut(number).filter(|device| device.source == to) else {
                continue;
            };
            let (message_id, token) = (device.message_id, device.token());
            let (expected, mut answered) = (self.frames[device.frame], None);
            device.take(&self.link, &self.datagram[..length], |message| {
                answered = Some(wire::answers(message, message_id, token, expected));
            })?;
            match answered {
                Some(true) => return Ok(number),
                Some(false) => return Err("a reply is not the frame that was asked for".into()),
                None => {}
            }
        }
    }
}

impl Device {
    fn token(&self) -> u64 {
        let [a, b, c, d] = self.source.octets();
        u64::from(u32::from_be_bytes([a, b, c, d])) << 32 | u64::from(self.count)
    }

    fn is_connecting(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.id.is_none())
    }

    fn send(&mut self, link: &Link, message: &[u8]) -> Result<(), Failure> {
        let Some(session) = &mut self.session else {
            return link.send(self.source, message);
        };
        let id = session.id.ok_or("the session is not established")?;
        session.engine.send(id, message, link.now(), &mut session.outputs)?;
        self.drain(link, |_| {})
    }

    /// Takes a datagram and gives the message in it to `read`, if there is one.
    fn take(&mut self, link: &Link, datagram: &[u8], mut read: impl FnMut(&[u8])) -> Result<(), Failure> {
        let Some(session) = &mut self.session else {
            read(datagram);
            return Ok(());
        };
        session.engine.on_datagram(link.server.into(), datagram, link.now(), &mut session.outputs);
        self.drain(link, read)
    }

    fn drain(&mut self, link: &Link, mut read: impl FnMut(&[u8])) -> Result<(), Failure> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        while let Some(output) = session.outputs.pop() {
            match output {
                Output::Transmit { datagram, .. } => link.send(self.source, datagram)?,
                Output::Data { bytes, .. } => read(bytes),
                Output::Established(established) => session.id = Some(established.session),
                Output::Closed { reason, .. } => return Err(format!("a session is gone: {reason}").into()),
                // A client is asked for no keys, keeps no sessions and follows nobody.
                _ => {}
            }
        }
        Ok(())
    }
}

impl Link {
    fn now(&self) -> coap::Instant {
        coap::Instant(clock::now().duration_since(self.began))
    }

    fn send(&self, source: Ipv4Addr, datagram: &[u8]) -> Result<(), Failure> {
        let any = in_addr { s_addr: 0 };
        let source = in_addr { s_addr: u32::from_ne_bytes(source.octets()) };
        let from = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any };
        let control = [ControlMessage::Ipv4PacketInfo(&from)];
        let (pieces, to) = ([IoSlice::new(datagram)], SockaddrIn::from(self.server));
        sendmsg(self.socket.as_raw_fd(), &pieces, &control, MsgFlags::empty(), Some(&to))?;
        Ok(())
    }

    /// Waits for a datagram; gives the address that it came to and its length.
    fn receive(&self, datagram: &mut Vec<u8>) -> Result<(Ipv4Addr, usize), Failure> {
        datagram.resize(DATAGRAM_BYTES, 0);
        let mut control = nix::cmsg_space!(in_pktinfo);
        let mut room = [IoSliceMut::new(datagram)];
        let message =
            recvmsg::<SockaddrIn>(self.socket.as_raw_fd(), &mut room, Some(&mut control), MsgFlags::empty());
        let message = message.map_err(|error| format!("no reply came: {error}"))?;
        let came_to = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()))
            }
            _ => None,
        });
        Ok((came_to.ok_or("the system does not say where a datagram came to")?, message.bytes))
    }
}

/// Room for a reply with its options and its DTLS record.
const DATAGRAM_BYTES: usize = 2_048;
/// Nothing is lost on loopback while 64 datagrams fit the buffers: who waits longer waits for a server that hangs.
const REPLY_WAIT: Duration = Duration::from_secs(5);
