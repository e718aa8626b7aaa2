//! The line between devices and their server: carries datagrams both ways, and can be cut.
//!
//! It stands for the network. It holds no key and reads nothing; to the server every device behind it has an address
//! of its own, as behind a router that translates addresses.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::net::UdpSocket;

/// A line that was laid.
#[derive(Debug)]
pub struct Uplink {
    front: Arc<UdpSocket>,
    state: Arc<Mutex<State>>,
}

/// What passed, in datagrams and bytes of UDP payload.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Datagrams to the server.
    pub up: u64,
    /// Datagrams from the server.
    pub down: u64,
    /// Bytes to the server.
    pub up_bytes: u64,
    /// Bytes from the server.
    pub down_bytes: u64,
    /// Datagrams of either direction that went nowhere, since the line was cut or led to no server yet.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct State {
    server: Option<SocketAddr>,
    is_cut: bool,
    /// Goes up when the router forgets who is behind it.
    translation: u64,
    /// How often it is still to forget of itself.
    forgetting: Option<Forgetting>,
    counts: Counts,
}

/// A router that forgets who is behind it after every so many datagrams.
#[derive(Clone, Copy, Debug)]
struct Forgetting {
    /// After so many from the server.
    every: u64,
    /// Those of them that have passed.
    passed: u64,
    times: u32,
}

/// Which way a datagram goes.
#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

impl Uplink {
    /// Opens the devices' end on `listen`; it leads nowhere yet.
    ///
    /// # Errors
    ///
    /// What the system says where the address can't be had.
    pub async fn open(listen: SocketAddr) -> io::Result<Self> {
        Ok(Self { front: Arc::new(UdpSocket::bind(listen).await?), state: Arc::default() })
    }

    /// Gives the address that devices call.
    ///
    /// # Errors
    ///
    /// What the system says where the socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.front.local_addr()
    }

    /// Leads it to a server; a datagram that comes from now on goes there.
    pub fn lead_to(&self, server: SocketAddr) {
        lock(&self.state).server = Some(server);
    }

    /// Cuts it: nothing passes, and nobody is told.
    pub fn cut(&self) {
        lock(&self.state).is_cut = true;
    }

    /// Mends it; what was lost stays lost.
    pub fn mend(&self) {
        lock(&self.state).is_cut = false;
    }

    /// Lets the router forget who is behind it, as it does of itself after some silence: to the server every device comes
    /// from another address then, and what is sent to the old ones is lost. It does so after every so many datagrams from
    /// the server, so many times, however slowly whoever ordered it looks on.
    pub fn translate_every(&self, datagrams: u64, times: u32) {
        lock(&self.state).forgetting = Some(Forgetting { every: datagrams, passed: 0, times });
    }

    /// Counts what passed until now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.state).counts
    }

    /// Carries datagrams until the socket fails.
    ///
    /// # Errors
    ///
    /// What the system says; a datagram that can't be delivered is lost, as on any network.
    pub async fn carry(&self) -> io::Result<()> {
        let mut behind: HashMap<SocketAddr, (u64, Arc<UdpSocket>)> = HashMap::new();
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let (length, device) = self.front.recv_from(&mut datagram).await?;
            let now = lock(&self.state).translation;
            let socket = match behind.get(&device) {
                Some((translation, socket)) if *translation == now => Arc::clone(socket),
                None if behind.len() == DEVICES_MAX => continue,
                _ => {
                    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
                    behind.insert(device, (now, Arc::clone(&socket)));
                    let (front, state) = (Arc::clone(&self.front), Arc::clone(&self.state));
                    tokio::spawn(carry_down(Arc::clone(&socket), (device, now), front, state));
                    socket
                }
            };
            let server = lock(&self.state).pass(Way::Up, length);
            if let Some(server) = server {
                // Nobody may listen there just now; the datagram is lost then, as on any network.
                let _ = socket.send_to(&datagram[..length], server).await;
            }
        }
    }
}

async fn carry_down(
    from: Arc<UdpSocket>,
    (device, translation): (SocketAddr, u64),
    front: Arc<UdpSocket>,
    state: Arc<Mutex<State>>,
) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    while let Ok((length, sender)) = from.recv_from(&mut datagram).await {
        let server = {
            let mut state = lock(&state);
            if state.translation != translation {
                state.counts.lost += 1;
                return;
            }
            state.pass(Way::Down, length)
        };
        if server == Some(sender) {
            // A device that was switched off has no socket any more.
            let _ = front.send_to(&datagram[..length], device).await;
        }
    }
}

impl State {
    /// Counts a datagram and says where the server is, unless it is lost.
    fn pass(&mut self, way: Way, bytes: usize) -> Option<SocketAddr> {
        let server = self.server.filter(|_| !self.is_cut);
        let counts = &mut self.counts;
        let bytes = bytes as u64;
        match (server, way) {
            (None, _) => counts.lost += 1,
            (Some(_), Way::Up) => (counts.up, counts.up_bytes) = (counts.up + 1, counts.up_bytes + bytes),
            (Some(_), Way::Down) => {
                (counts.down, counts.down_bytes) = (counts.down + 1, counts.down_bytes + bytes);
                self.forget_at_times();
            }
        }
        server
    }

    fn forget_at_times(&mut self) {
        let Some(forgetting) = &mut self.forgetting else { return };
        forgetting.passed += 1;
        if forgetting.times > 0 && forgetting.passed >= forgetting.every {
            (forgetting.passed, forgetting.times) = (0, forgetting.times - 1);
            self.translation += 1;
        }
    }
}

/// Counters stay right whoever panicked meanwhile.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The largest UDP payload.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Addresses that have a socket of their own behind the line; each restart of a device takes another one.
const DEVICES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(20);

    fn free() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        let received = tokio::time::timeout(LONG, socket.recv_from(&mut datagram)).await;
        let (length, from) = received.expect("in time").expect("a datagram");
        (datagram[..length].to_vec(), from)
    }

    #[tokio::test]
    async fn line_carries_both_ways_is_cut_mended_and_counts() {
        let (server, device) = (UdpSocket::bind(free()).await, UdpSocket::bind(free()).await);
        let (server, device) = (server.expect("a port"), device.expect("a port"));
        let uplink = Arc::new(Uplink::open(free()).await.expect("a port"));
        uplink.lead_to(server.local_addr().expect("an address"));
        let line = Arc::clone(&uplink);
        let carrying = tokio::spawn(async move { line.carry().await });
        let front = uplink.address().expect("an address");

        device.send_to(b"hello", front).await.expect("sent");
        let (heard, from) = receive(&server).await;
        assert_eq!(heard, b"hello");
        server.send_to(b"welcome", from).await.expect("sent");
        assert_eq!(receive(&device).await, (b"welcome".to_vec(), front));

        uplink.cut();
        device.send_to(b"lost", front).await.expect("sent");
        while uplink.counts().lost == 0 {
            tokio::task::yield_now().await;
        }
        uplink.mend();
        device.send_to(b"again", front).await.expect("sent");
        assert_eq!(receive(&server).await, (b"again".to_vec(), from));
        let expected = Counts { up: 2, down: 1, up_bytes: 10, down_bytes: 7, lost: 1 };
        assert_eq!(uplink.counts(), expected);

        uplink.translate_every(1, 1);
        server.send_to(b"the last", from).await.expect("sent");
        assert_eq!(receive(&device).await, (b"the last".to_vec(), front));
        server.send_to(b"to nobody", from).await.expect("sent");
        while uplink.counts().lost == 1 {
            tokio::task::yield_now().await;
        }
        device.send_to(b"elsewhere", front).await.expect("sent");
        let (heard, elsewhere) = receive(&server).await;
        assert_eq!(heard, b"elsewhere");
        assert_ne!(elsewhere, from);
        carrying.abort();
    }
}
