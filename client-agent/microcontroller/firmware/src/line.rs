//! The way to the server: UDP over the board's Ethernet.

use alloc::boxed::Box;
use alloc::vec;
use bellwether_board::ethernet::Lan9118;
use core::time::Duration;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::udp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr, IpEndpoint};

/// A bound socket, and everything below it.
pub(crate) struct Line {
    controller: Box<Lan9118>,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    server: IpEndpoint,
}

impl Line {
    /// Binds CoAP's port, for talking to one server.
    pub(crate) fn new(
        mut controller: Box<Lan9118>,
        address: [u8; 6],
        (server, port): ([u8; 4], u16),
    ) -> Self {
        let config = Config::new(EthernetAddress(address).into());
        let mut interface = Interface::new(config, &mut *controller, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // The list has room for one.
            let _ = addresses.push(IpCidr::new(OWN, PREFIX_BITS));
        });
        let buffer = || {
            let metadata = vec![udp::PacketMetadata::EMPTY; DATAGRAMS_MAX];
            udp::PacketBuffer::new(metadata, vec![0; DATAGRAM_BYTES_MAX])
        };
        let mut socket = udp::Socket::new(buffer(), buffer());
        // The port is free and not 0.
        let _ = socket.bind(PORT);
        let mut sockets = SocketSet::new(vec![]);
        let socket = sockets.add(socket);
        let server = IpEndpoint::new(IpAddress::v4(server[0], server[1], server[2], server[3]), port);
        Self { controller, interface, sockets, socket, server }
    }

    /// Carries frames both ways.
    pub(crate) fn poll(&mut self, now: Duration) {
        let now = Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
        self.interface.poll(now, &mut *self.controller, &mut self.sockets);
    }

    /// Reads a datagram of the server; others are dropped.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(&[u8])) {
        let server = self.server;
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.socket);
        while let Ok((datagram, from)) = socket.recv() {
            if from.endpoint == server {
                take(datagram);
            }
        }
    }

    /// Tells whether a datagram of any length can be sent.
    pub(crate) fn is_free(&mut self) -> bool {
        self.sockets.get_mut::<udp::Socket<'_>>(self.socket).send_queue() == 0
    }

    /// Sends a datagram to the server; one that does not fit is lost, as any may be.
    pub(crate) fn send(&mut self, datagram: &[u8]) {
        let _ = self.sockets.get_mut::<udp::Socket<'_>>(self.socket).send_slice(datagram, self.server);
    }
}

/// The device's own address. Source: QEMU's user network, which gives the first guest this one.
const OWN: IpAddress = IpAddress::v4(10, 0, 2, 15);
const PREFIX_BITS: u8 = 24;

/// CoAP's port, RFC 7252 §6.1.
const PORT: u16 = 5683;

/// Bytes of the longest datagram, each way.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 1280;

/// Datagrams that wait, each way.
const DATAGRAMS_MAX: usize = 2;
