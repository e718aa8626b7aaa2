//! One port for both versions: a connection's first packet says which one it speaks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::CONNECTIONS_MAX;

/// Where each version is spoken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    pub(crate) v4: SocketAddr,
    pub(crate) v5: SocketAddr,
}

/// Hands connections on until it is aborted.
pub(crate) async fn run(listener: TcpListener, doors: Doors) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of file descriptors, for one: others will close theirs.
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        // Full: the client is let go, and tries again.
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            tokio::spawn(async move {
                // Whichever side ends it, ends it.
                drop(hand_on(client, doors).await);
                drop(place);
            });
        }
    }
}

async fn hand_on(mut client: TcpStream, doors: Doors) -> io::Result<()> {
    let mut begin = Vec::with_capacity(BEGIN_BYTES);
    let level = tokio::time::timeout(FIRST_PACKET, read_level(&mut client, &mut begin)).await??;
    let door = match level {
        V311_LEVEL => doors.v4,
        V5_LEVEL => doors.v5,
        _ => return Err(io::Error::other("not a version of MQTT that is spoken here")),
    };
    let mut inside = TcpStream::connect(door).await?;
    client.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    inside.write_all(&begin).await?;
    copy_bidirectional(&mut client, &mut inside).await.map(drop)
}

/// Reads up to the protocol level of CONNECT: type, remaining length of 1 to 4 bytes, "MQTT" with its length, level.
///
/// Source: MQTT 3.1.1 and 5, §3.1.
async fn read_level(client: &mut (impl AsyncReadExt + Unpin), begin: &mut Vec<u8>) -> io::Result<u8> {
    if next(client, begin).await? != CONNECT {
        return Err(io::Error::other("not MQTT"));
    }
    for position in 0..LENGTH_BYTES_MAX {
        if next(client, begin).await? & MORE == 0 {
            break;
        }
        if position + 1 == LENGTH_BYTES_MAX {
            return Err(io::Error::other("the length of the first packet does not end"));
        }
    }
    for expected in NAME {
        if next(client, begin).await? != *expected {
            return Err(io::Error::other("not MQTT"));
        }
    }
    next(client, begin).await
}

async fn next(client: &mut (impl AsyncReadExt + Unpin), begin: &mut Vec<u8>) -> io::Result<u8> {
    let byte = client.read_u8().await?;
    begin.push(byte);
    Ok(byte)
}

const CONNECT: u8 = 0x10;
const MORE: u8 = 0x80;
const LENGTH_BYTES_MAX: usize = 4;
const NAME: &[u8] = b"\0\x04MQTT";
const V311_LEVEL: u8 = 4;
const V5_LEVEL: u8 = 5;

/// Type, length, name, level.
const BEGIN_BYTES: usize = 1 + LENGTH_BYTES_MAX + 6 + 1;

/// Time for the first packet's beginning, as for the whole of it inside.
const FIRST_PACKET: Duration = Duration::from_secs(10);

/// Wait after a connection that the system could not give us.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    async fn level(bytes: &[u8]) -> Option<u8> {
        let mut begin = Vec::new();
        let level = read_level(&mut &bytes[..], &mut begin).await.ok()?;
        assert_eq!(begin, bytes[..begin.len()], "what was read is handed on unchanged");
        Some(level)
    }

    #[tokio::test]
    async fn version_is_read_behind_a_length_of_any_size() {
        assert_eq!(level(b"\x10\x0c\0\x04MQTT\x04rest").await, Some(V311_LEVEL));
        assert_eq!(level(b"\x10\xff\x7f\0\x04MQTT\x05rest").await, Some(V5_LEVEL));
    }

    #[tokio::test]
    async fn what_is_not_mqtt_is_let_go() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"\x10\xff\xff\xff\xff\x01", b"\x10\x0c\0\x06MQIsdp", b"\x10", b""]
        {
            assert_eq!(level(bytes).await, None, "{bytes:?}");
        }
    }
}
