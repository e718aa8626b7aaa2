//! What an endpoint counts.

/// Totals since the endpoint was made; they only grow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Datagrams handed in.
    pub received: u64,
    /// Datagrams handed out, retransmissions included.
    pub sent: u64,
    /// Datagrams with a message format error, a reserved code or an impossible type and code.
    pub malformed: u64,
    /// CON and NON messages seen before.
    pub duplicates: u64,
    /// Datagrams sent again since no acknowledgement came.
    pub retransmissions: u64,
    /// Acknowledgements, resets and responses that match nothing we sent.
    pub unmatched: u64,
    /// Resets sent, answers to a ping included.
    pub resets_sent: u64,
    /// Requests refused with 4.02 or 5.05, and responses refused, for a critical option.
    pub options_refused: u64,
    /// Requests dropped since the peer has `exchanges_per_peer_max` open ones.
    pub exchanges_refused: u64,
    /// Requests that the application left unanswered for `exchange_wait`.
    pub exchanges_abandoned: u64,
    /// Separate responses that no acknowledgement came for.
    pub responses_lost: u64,
    /// Responses of the application too long for one datagram; the peer got 5.00.
    pub responses_too_long: u64,
    /// Bodies refused with 4.13 or 5.03, or not kept, for `body_bytes_max` or `held_bytes_max`.
    pub bodies_refused: u64,
    /// Half-received or half-fetched bodies given up after `body_wait`.
    pub bodies_expired: u64,
    /// Datagrams of new peers dropped at `peers_max`.
    pub peers_refused: u64,
    /// Peers forgotten after `peer_idle`.
    pub peers_evicted: u64,
}
