//! What an endpoint tells its owner.

use crate::request::Request;
use crate::response::Response;
use thiserror::Error;

/// Names a request of ours until its [`Event::Response`] or [`Event::Failed`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(pub(crate) u64);

/// Names a request of a peer until it is answered.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ExchangeId(pub(crate) u64);

/// Something happened that the owner must know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event<P> {
    /// A peer asks; answer with [`Endpoint::respond`](crate::Endpoint::respond).
    Request {
        /// What to answer with.
        exchange: ExchangeId,
        /// Who asks.
        peer: P,
        /// The request, its body complete.
        request: Request,
    },
    /// A request of ours was answered; errors of the peer (4.xx, 5.xx) come this way too.
    Response {
        /// The request answered.
        id: RequestId,
        /// Who answered.
        peer: P,
        /// The response, its body complete unless the request asked for one block.
        response: Response,
    },
    /// A request of ours ended without an answer.
    Failed {
        /// The request that ended.
        id: RequestId,
        /// Who was asked.
        peer: P,
        /// Why.
        reason: Failure,
    },
}

/// Why a request of ours ended without an answer.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// No acknowledgement after all retransmissions, or no response after one. Whether the peer
    /// acted is unknown.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The peer has no context for the message; it did not act.
    #[error("the peer reset the message")]
    Reset,
    /// The session with the peer ended. Whether the peer acted is unknown.
    #[error("the session with the peer is gone")]
    PeerGone,
    /// The response has a critical option that nobody here understands.
    #[error("the response has critical option {number}, which is not understood")]
    BadOption {
        /// Option number.
        number: u16,
    },
    /// The body could not be transferred.
    #[error("block-wise transfer failed")]
    BlockwiseFailed(#[source] BlockwiseError),
}

/// Why a body could not be transferred in blocks.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum BlockwiseError {
    /// The body is larger than `body_bytes_max`.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// The representation kept changing while its blocks were fetched.
    #[error("the representation changed during the transfer")]
    Changed,
    /// The peer answered with another block than the one asked for or sent.
    #[error("the peer answered with another block")]
    UnexpectedBlock,
}

/// Why a request was not taken; nothing was sent.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// Wait for one of this peer's requests to end.
    #[error("the peer has as many requests in flight as allowed")]
    TooManyInFlight,
    /// Raise `body_bytes_max` or send less.
    #[error("body of {bytes} bytes is larger than allowed")]
    BodyTooLarge {
        /// Size of the body, in bytes.
        bytes: usize,
    },
    /// Shorten path, query or other options.
    #[error("the message does not fit a datagram of {bytes_max} bytes")]
    MessageTooLong {
        /// The bound, `datagram_bytes_max`.
        bytes_max: usize,
    },
    /// Forget a peer first.
    #[error("as many peers are known as allowed")]
    TooManyPeers,
}

/// The exchange was answered, abandoned, or its peer is gone; the response was not sent.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("no such exchange is open")]
pub struct UnknownExchange;
