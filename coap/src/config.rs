//! Bounds and times of an endpoint.

use crate::option::block::BlockSize;
use alloc::vec::Vec;
use core::time::Duration;

/// Everything an endpoint can be told beforehand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Transmission parameters of RFC 7252 §4.8.
    pub transmission: Transmission,
    /// Largest block sent or asked for; the peer may ask for less. Default 1024 bytes, the most
    /// there is: cost is per block (§4.6 bounds the payload by the same figure).
    pub block_size: BlockSize,
    /// Longest datagram taken or sent, in bytes. Default 1280: RFC 7252 §4.6 advises 1152 for a
    /// message, and IPv6 (RFC 8200 §5) carries 1280 everywhere. A longer one is malformed.
    pub datagram_bytes_max: usize,
    /// Largest body sent or put together, in bytes. Default 256 KiB, a sketch: a signed
    /// manifest is a few KiB, and this leaves room for one that carries a small payload. Firmware
    /// travels as single blocks and is not bound by it. Raising it costs memory per body.
    pub body_bytes_max: usize,
    /// Bodies being received plus bodies kept for the next block, per peer. Default 4: one each
    /// way, twice. The oldest makes room.
    pub bodies_per_peer_max: usize,
    /// Bytes of all bodies of all peers that [`Config::bodies_per_peer_max`] counts. Default
    /// 64 MiB: 256 of the largest at once, a small part of a server's memory.
    pub held_bytes_max: usize,
    /// Requests to one peer that are queued, sent or waiting for their response. Default 16: at
    /// NSTART 1 more would only wait.
    pub in_flight_max: usize,
    /// Requests of one peer that the application has not answered, or whose separate response the
    /// peer has not acknowledged. Default 8: a peer that honours NSTART has one, and a few more
    /// after empty acknowledgements.
    pub exchanges_per_peer_max: usize,
    /// Peers known at once. Default 200,000, a sketch: twice the 100,000 devices that one
    /// process is to serve.
    pub peers_max: usize,
    /// Message ids remembered per peer. Default 16: a peer with NSTART 1 has one message in
    /// flight, and the network rarely holds back more than a few.
    pub dedup_ring_max: usize,
    /// Bytes of answers kept per peer for repeated CON messages. Default 4096: three full
    /// blocks. Older answers go first; their message ids stay remembered.
    pub replay_bytes_max: usize,
    /// Longest wait for a response after the acknowledgement, or after a NON request. Default
    /// `MAX_TRANSMIT_WAIT` (93 s), the patience that a CON request has (RFC 7252 §4.8.2).
    pub response_wait: Duration,
    /// Longest time the application has for an answer. Default `EXCHANGE_LIFETIME` (247 s).
    pub exchange_wait: Duration,
    /// Longest time between two blocks of a body. Default `EXCHANGE_LIFETIME` (247 s): a peer
    /// that is silent for a whole exchange has given up.
    pub body_wait: Duration,
    /// Silence after which a peer's state is dropped. Default `EXCHANGE_LIFETIME` (247 s): no
    /// remembered message id is of use after that (RFC 7252 §4.5).
    pub peer_idle: Duration,
    /// Times a block-wise fetch starts again since the representation changed. Default 2: a
    /// resource that changes faster than it can be read is better given up.
    pub restarts_max: u32,
    /// Critical options that the application itself reads from `other`, such as If-Match.
    /// Default none: any other critical option is refused (RFC 7252 §5.4.1).
    pub critical_options: Vec<u16>,
}

/// Transmission parameters, RFC 7252 §4.8 table 2, and the times derived from them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transmission {
    /// `ACK_TIMEOUT`. Default 2 s. RFC 7252 §4.8.1 warns of less than 1 s.
    pub ack_timeout: Duration,
    /// `ACK_RANDOM_FACTOR` in hundredths. Default 150; at least 100.
    pub ack_random_percent: u32,
    /// `MAX_RETRANSMIT`. Default 4, so five transmissions; at most 16 are made.
    pub max_retransmit: u32,
    /// `NSTART`: outstanding interactions with one peer. Default 1.
    pub nstart: usize,
    /// Time the application has before an empty acknowledgement is sent. Default 1 s: half of
    /// the RFC's `PROCESSING_DELAY`, which equals `ACK_TIMEOUT`, so that the acknowledgement
    /// arrives before the peer's first retransmission.
    pub processing_delay: Duration,
    /// `MAX_LATENCY`. Default 100 s (RFC 7252 §4.8.2).
    pub max_latency: Duration,
}

impl Transmission {
    /// `MAX_TRANSMIT_SPAN`: from the first transmission to the last. 45 s by default.
    #[must_use]
    pub fn max_transmit_span(&self) -> Duration {
        self.longest(2u32.saturating_pow(self.max_retransmit) - 1)
    }

    /// `MAX_TRANSMIT_WAIT`: from the first transmission to giving up. 93 s by default.
    #[must_use]
    pub fn max_transmit_wait(&self) -> Duration {
        self.longest(2u32.saturating_pow(self.max_retransmit.saturating_add(1)) - 1)
    }

    /// `EXCHANGE_LIFETIME`: how long a CON message id stays taken. 247 s by default.
    #[must_use]
    pub fn exchange_lifetime(&self) -> Duration {
        // PROCESSING_DELAY is the RFC's here, not ours: it bounds the peer.
        self.max_transmit_span()
            .saturating_add(self.max_latency.saturating_mul(2))
            .saturating_add(self.ack_timeout)
    }

    /// `NON_LIFETIME`: how long a NON message id stays taken. 145 s by default.
    #[must_use]
    pub fn non_lifetime(&self) -> Duration {
        self.max_transmit_span().saturating_add(self.max_latency)
    }

    fn longest(&self, times: u32) -> Duration {
        self.ack_timeout.saturating_mul(times).saturating_mul(self.ack_random_percent) / 100
    }
}

impl Default for Transmission {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            ack_random_percent: 150,
            max_retransmit: 4,
            nstart: 1,
            processing_delay: Duration::from_secs(1),
            max_latency: Duration::from_secs(100),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let transmission = Transmission::default();
        Self {
            transmission,
            block_size: BlockSize::MAX,
            datagram_bytes_max: 1280,
            body_bytes_max: 256 * 1024,
            bodies_per_peer_max: 4,
            held_bytes_max: 64 * 1024 * 1024,
            in_flight_max: 16,
            exchanges_per_peer_max: 8,
            peers_max: 200_000,
            dedup_ring_max: 16,
            replay_bytes_max: 4096,
            response_wait: transmission.max_transmit_wait(),
            exchange_wait: transmission.exchange_lifetime(),
            body_wait: transmission.exchange_lifetime(),
            peer_idle: transmission.exchange_lifetime(),
            restarts_max: 2,
            critical_options: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7252 §4.8.2, table 3
    #[test]
    fn derived_times_are_those_of_the_table() {
        let transmission = Transmission::default();
        assert_eq!(transmission.max_transmit_span(), Duration::from_secs(45));
        assert_eq!(transmission.max_transmit_wait(), Duration::from_secs(93));
        assert_eq!(transmission.exchange_lifetime(), Duration::from_secs(247));
        assert_eq!(transmission.non_lifetime(), Duration::from_secs(145));
    }
}
