//! The other end of a board's serial line: datagrams in SLIP frames (RFC 1055), carried to a server and back.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A modem that waits for a board to be switched on, again and again, for as long as this process runs. Each time it has a
/// UDP socket of its own.
#[derive(Debug)]
pub struct Modem {
    line: PathBuf,
}

impl Modem {
    /// Connects a serial line, a Unix socket at `line`, with a server.
    ///
    /// # Panics
    ///
    /// Where the socket can't be made.
    pub fn start(line: &Path, server: SocketAddr) -> Self {
        let listener = UnixListener::bind(line).expect("a socket for the serial line");
        thread::spawn(move || {
            for board in listener.incoming().flatten() {
                // A line that breaks is a board that was switched off.
                let _ = carry(board, server);
            }
        });
        Self { line: line.to_owned() }
    }

    /// The serial line.
    pub fn line(&self) -> &Path {
        &self.line
    }
}

impl Drop for Modem {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.line);
    }
}

/// Carries datagrams both ways until the board is switched off.
fn carry(mut board: UnixStream, server: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(LOOK_EVERY))?;
    let (down, mut to_board, is_off) = (socket.try_clone()?, board.try_clone()?, AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut datagram = [0; DATAGRAM_BYTES_MAX];
            while !is_off.load(Ordering::Relaxed) {
                // A server that is away is like a datagram that is lost, and so is a board that is off.
                if let Ok(bytes) = down.recv(&mut datagram) {
                    let _ = to_board.write_all(&frame(&datagram[..bytes]));
                }
            }
        });
        let (mut frames, mut piece) = (Frames::default(), [0; DATAGRAM_BYTES_MAX]);
        while let Ok(bytes @ 1..) = board.read(&mut piece) {
            for datagram in frames.take(&piece[..bytes]) {
                // As above.
                let _ = socket.send(&datagram);
            }
        }
        is_off.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// Puts a datagram into a frame.
fn frame(datagram: &[u8]) -> Vec<u8> {
    let mut framed = vec![END];
    for byte in datagram {
        match *byte {
            END => framed.extend([ESCAPE, ESCAPED_END]),
            ESCAPE => framed.extend([ESCAPE, ESCAPED_ESCAPE]),
            other => framed.push(other),
        }
    }
    framed.push(END);
    framed
}

/// Takes datagrams out of frames.
#[derive(Debug, Default)]
struct Frames {
    datagram: Vec<u8>,
    is_escaped: bool,
}

impl Frames {
    /// Takes bytes of the line, and gives the datagrams that they complete.
    fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        for byte in bytes {
            match (*byte, std::mem::take(&mut self.is_escaped)) {
                (END, _) if self.datagram.is_empty() => {}
                (END, _) => whole.push(std::mem::take(&mut self.datagram)),
                (ESCAPE, false) => self.is_escaped = true,
                (ESCAPED_END, true) => self.datagram.push(END),
                (ESCAPED_ESCAPE, true) => self.datagram.push(ESCAPE),
                (other, _) => self.datagram.push(other),
            }
        }
        whole
    }
}

// Source: RFC 1055.
const END: u8 = 0xc0;
const ESCAPE: u8 = 0xdb;
const ESCAPED_END: u8 = 0xdc;
const ESCAPED_ESCAPE: u8 = 0xdd;

const DATAGRAM_BYTES_MAX: usize = 2048;

/// How soon a board that was switched off is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_out_of_their_frames_in_pieces_of_any_length() {
        let sent = [vec![1, END, ESCAPE, ESCAPED_END, 2], vec![ESCAPE; 3], vec![END]];
        let line: Vec<u8> = sent.iter().flat_map(|datagram| frame(datagram)).collect();
        for piece in 1..=line.len() {
            let mut frames = Frames::default();
            let came: Vec<Vec<u8>> = line.chunks(piece).flat_map(|bytes| frames.take(bytes)).collect();
            assert_eq!(came, sent, "pieces of {piece}");
        }
    }

    #[test]
    fn frame_that_was_cut_off_spoils_no_later_one() {
        let mut frames = Frames::default();
        let cut = [END, 1, 2, ESCAPE];
        let came: Vec<Vec<u8>> =
            [&cut[..], &frame(&[3]), &frame(&[4])].iter().flat_map(|it| frames.take(it)).collect();
        assert_eq!(came.last(), Some(&vec![4]));
    }
}
