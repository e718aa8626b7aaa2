//! What handles ask of the shard's thread.

use std::net::SocketAddr;

use bellwether_coap::{ExchangeId, Request, Response};
use tokio::sync::oneshot;

use super::{ConnectError, Peer, RequestError};
use crate::SessionId;
use crate::dtls::Dormant;
use crate::psk::Secret;

/// One wish of a handle. The queue needs no bound of its own: whoever connects or requests waits for the
/// answer, and a response answers one of the boundedly many open exchanges.
pub(super) enum Command {
    Connect {
        to: SocketAddr,
        reply: oneshot::Sender<Result<Peer, ConnectError>>,
    },
    Request {
        session: SessionId,
        request: Box<Request>,
        ticket: Ticket,
        reply: Reply,
    },
    /// Nobody waits for the answer of this request any more.
    Cancel(Ticket),
    Respond {
        exchange: ExchangeId,
        response: Box<Response>,
    },
    Close(SessionId),
    CloseAllOf(Box<str>),
    SupplyKey {
        session: SessionId,
        key: Option<Secret>,
    },
    Resume {
        session: SessionId,
        dormant: Option<Box<Dormant>>,
    },
    /// Take what comes in from now on, or lose it.
    Listen {
        listens: bool,
        done: oneshot::Sender<()>,
    },
    /// Stop, and give the sessions out instead of closing them.
    Hibernate(oneshot::Sender<Vec<Dormant>>),
    Stop,
}

/// Where the answer of a request goes.
pub(super) type Reply = oneshot::Sender<Result<Response, RequestError>>;

/// Names a request before the endpoint has named it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Ticket(pub(super) u64);
