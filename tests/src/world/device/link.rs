//! One link of a device: a socket of its own, a session, and the request that is under way on it.
//!
//! As in the device's Linux shell, over the world's network.

use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bellwether_agent::agent::Ticket;
use bellwether_agent::coap::{ExchangeId, Failure, Request, Response};
use bellwether_net::{
    ConnectError, Event as NetEvent, Machine, NoService, Peer, RequestError, Secret, Security, SessionId,
    ShardConfig, ShardHandle,
};
use tokio::sync::mpsc;

/// A link to a server or a gateway, with its socket.
pub(super) struct Link {
    net: ShardHandle,
    events: mpsc::Receiver<NetEvent>,
    peer: Option<SessionId>,
    connecting: Option<Waiting<Result<Peer, ConnectError>>>,
    in_flight: Option<Waiting<(Ticket, Result<Response, RequestError>)>>,
}

/// What happened on a link.
#[derive(Debug)]
pub(super) enum LinkEvent {
    Connected,
    Disconnected,
    Answered(Ticket, Response),
    Failed(Ticket, Failure),
    Request(ExchangeId, Request),
    Nothing,
}

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Link {
    /// Binds `local` on the machine.
    pub(super) fn open(machine: &Arc<dyn Machine>, local: SocketAddr, identity: &str, psk: &[u8]) -> Self {
        let key = Secret::new(psk.to_vec()).expect("a DTLS key");
        let security = Security::PskClient { identity: identity.as_bytes().to_vec(), key };
        let config = ShardConfig::new(local, security);
        let (net, events) = machine.open_shard(config, Box::new(NoService)).expect("a socket");
        Self { net, events, peer: None, connecting: None, in_flight: None }
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.net.local_addr()
    }

    /// Takes what comes in, or loses it.
    pub(super) fn listen(&self, listens: bool) -> impl Future<Output = ()> + Send + use<> {
        let net = self.net.clone();
        async move { net.listen(listens).await }
    }

    /// Bytes that went, either way.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = self.net.counters().sessions.traffic;
        bytes.application_in + bytes.application_out + bytes.handshake_in + bytes.handshake_out
    }

    pub(super) fn connect(&mut self, to: SocketAddr) {
        let net = self.net.clone();
        self.connecting = Some(Box::pin(async move { net.connect(to).await }));
    }

    pub(super) fn is_connected(&self) -> bool {
        self.peer.is_some()
    }

    pub(super) fn send(&mut self, ticket: Ticket, request: Request) {
        let (peer, net) = (self.peer, self.net.clone());
        self.in_flight = Some(Box::pin(async move {
            match peer {
                Some(session) => (ticket, net.request(session, request).await),
                None => (ticket, Err(RequestError::NoSession)),
            }
        }));
    }

    pub(super) fn respond(&self, exchange: ExchangeId, response: Response) {
        self.net.respond(exchange, response);
    }

    pub(super) fn drop_session(&mut self) {
        self.in_flight = None;
        self.connecting = None;
        if let Some(session) = self.peer.take() {
            self.net.close(session);
        }
    }

    pub(super) async fn wait(&mut self) -> LinkEvent {
        // In this order: an answer that came before a request of the peer, as a receipt before an Execute, is taken
        // before it.
        tokio::select! {
            biased;
            (ticket, answer) = of(&mut self.in_flight) => {
                self.in_flight = None;
                match answer {
                    Ok(response) => LinkEvent::Answered(ticket, response),
                    Err(RequestError::Failed(failure)) => LinkEvent::Failed(ticket, failure),
                    Err(_) => LinkEvent::Failed(ticket, Failure::PeerGone),
                }
            }
            event = self.events.recv() => self.take_event(event.expect("a socket that lives")),
            attempt = of(&mut self.connecting) => self.take_attempt(attempt),
        }
    }

    fn take_event(&mut self, event: NetEvent) -> LinkEvent {
        match event {
            NetEvent::Request { exchange, request, .. } => LinkEvent::Request(exchange, request),
            NetEvent::Closed(peer, _) if Some(peer.session) == self.peer => {
                self.peer = None;
                self.in_flight = None;
                LinkEvent::Disconnected
            }
            _ => LinkEvent::Nothing,
        }
    }

    fn take_attempt(&mut self, attempt: Result<Peer, ConnectError>) -> LinkEvent {
        self.connecting = None;
        match attempt {
            Ok(peer) => {
                self.peer = Some(peer.session);
                LinkEvent::Connected
            }
            Err(_) => LinkEvent::Disconnected,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.net.stop();
    }
}

/// Waits for a future that may not be there, and then for ever.
async fn of<T>(future: &mut Option<Waiting<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
