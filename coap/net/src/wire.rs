//! What carries datagrams: a UDP socket, or whatever else a caller has.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};

use tokio::net::UdpSocket;

/// Carries datagrams between one address and all others, as unreliably as it likes.
pub trait Wire {
    /// Gives the address that others reach this end by.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Waits until a datagram may be there. Dropping the future loses none.
    fn readable(&self) -> impl Future<Output = ()> + Send;

    /// Takes the next datagram into `room`, at once; one that is longer than the room is cut.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] where there is none; any other error concerns an earlier datagram of this end.
    fn try_receive(&mut self, room: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends a datagram, at once.
    ///
    /// # Errors
    ///
    /// The datagram is lost; why is for people.
    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> io::Result<()>;
}

/// A UDP socket, registered with the runtime of the thread that made this.
pub(crate) struct Udp {
    socket: UdpSocket,
    /// The same socket for sending: tokio's would refuse until the reactor has seen it writable, and so
    /// lose the first datagram.
    sender: StdSocket,
}

impl Udp {
    /// Takes a socket that does not block; must be called inside a runtime.
    pub(crate) fn new(socket: StdSocket) -> io::Result<Self> {
        let sender = socket.try_clone()?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, sender })
    }
}

impl Wire for Udp {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    async fn readable(&self) {
        // An error shows itself again when the datagram is taken.
        let _ = self.socket.readable().await;
    }

    fn try_receive(&mut self, room: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_recv_from(room)
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.sender.send_to(datagram, to).map(drop)
    }
}
