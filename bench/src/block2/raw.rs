//! The peer: one socket, one thread, `recvmmsg`, a prebuilt reply with message id and token copied, `sendmmsg`.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

use super::wire;
use crate::Failure;

/// A running echo.
pub(super) struct RawEcho {
    pub(super) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), Errno>>>,
}

impl RawEcho {
    /// Name of its thread.
    pub(super) const THREAD: &str = "raw-echo";

    /// Starts it on a free port; it answers everything with `payload`.
    pub(super) fn start(payload: &[u8]) -> Result<Self, Failure> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(STOP_WAIT))?;
        let (address, reply) = (socket.local_addr()?, wire::fixed_reply(payload)?);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name(Self::THREAD.to_owned());
        // A thread names itself when it starts, and is looked for by its name.
        let (started, start) = sync_channel(1);
        let thread = thread.spawn(move || {
            let _ = started.send(());
            serve(&socket, &reply, &stopped)
        })?;
        start.recv()?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Stops it and tells how it went.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(served)) => Ok(served?),
            _ => Err("the raw echo ended by a panic".into()),
        }
    }
}

impl Drop for RawEcho {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn serve(socket: &UdpSocket, reply: &[u8], stop: &AtomicBool) -> Result<(), Errno> {
    let mut requests = vec![[0; DATAGRAM_BYTES]; BATCH];
    let mut replies = vec![reply.to_vec(); BATCH];
    let mut senders: Vec<Option<SockaddrIn>> = Vec::with_capacity(BATCH);
    let mut incoming = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut outgoing = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    while !stop.load(Ordering::Relaxed) {
        senders.clear();
        {
            let mut rooms: Vec<_> = requests.iter_mut().map(|room| [IoSliceMut::new(room)]).collect();
            let received =
                recvmmsg(socket.as_raw_fd(), &mut incoming, rooms.iter_mut(), MsgFlags::MSG_WAITFORONE, None);
            match received {
                Ok(received) => senders.extend(received.map(|message| message.address)),
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(error) => return Err(error),
            }
        }
        for (reply, request) in replies.iter_mut().zip(&requests[..senders.len()]) {
            wire::fill_in(reply, request);
        }
        let slices: Vec<_> = replies[..senders.len()].iter().map(|reply| [IoSlice::new(reply)]).collect();
        sendmmsg(socket.as_raw_fd(), &mut outgoing, slices.iter(), &senders, [], MsgFlags::empty())?;
    }
    Ok(())
}

/// Datagrams taken and sent at a time.
const BATCH: usize = 64;
/// Room for a request.
const DATAGRAM_BYTES: usize = 256;
/// How long it may go on after it was told to stop.
const STOP_WAIT: Duration = Duration::from_millis(50);
