//! One endpoint on the bench: the test plays its peer by hand, message by message.

use crate::code::Code;
use crate::message::{Header, Kind, Message, Received, Token};
use crate::option::set::OptionSet;
use crate::{Config, Endpoint, Event, ExchangeId, Instant, Request, Response};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

pub(super) const PEER: u64 = 1;

/// An endpoint, the time it is, and what it said.
pub(super) struct Bench {
    pub(super) endpoint: Endpoint<u64>,
    pub(super) now: Instant,
}

/// A message to the endpoint, in the making.
pub(super) struct Sending {
    kind: Kind,
    code: Code,
    message_id: u16,
    token: Vec<u8>,
    pub(super) options: OptionSet,
    pub(super) payload: Vec<u8>,
}

pub(super) fn con(code: Code, message_id: u16) -> Sending {
    sending(Kind::Con, code, message_id)
}

pub(super) fn non(code: Code, message_id: u16) -> Sending {
    sending(Kind::Non, code, message_id)
}

pub(super) fn ack(code: Code, message_id: u16) -> Sending {
    sending(Kind::Ack, code, message_id)
}

pub(super) fn rst(message_id: u16) -> Sending {
    sending(Kind::Rst, Code::EMPTY, message_id)
}

fn sending(kind: Kind, code: Code, message_id: u16) -> Sending {
    Sending { kind, code, message_id, token: Vec::new(), options: OptionSet::default(), payload: Vec::new() }
}

impl Sending {
    pub(super) fn path(mut self, path: &str) -> Self {
        self.options.path = path.split('/').map(ToString::to_string).collect();
        self
    }

    pub(super) fn token(mut self, token: &[u8]) -> Self {
        self.token = token.to_vec();
        self
    }

    pub(super) fn token_of(self, request: &Received) -> Self {
        let token = request.token.as_bytes().to_vec();
        self.token(&token)
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut OptionSet)) -> Self {
        change(&mut self.options);
        self
    }

    pub(super) fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let message = Message {
            header: Header { kind: self.kind, code: self.code, message_id: self.message_id },
            token: Token::new(&self.token),
            options: self.options.clone(),
            payload: &self.payload,
        };
        message.to_bytes(usize::MAX).unwrap()
    }
}

impl Bench {
    pub(super) fn new(config: Config) -> Self {
        Self { endpoint: Endpoint::new(config, [7; 32]), now: Instant::default() }
    }

    /// Hands a message in and returns what came back.
    pub(super) fn take(&mut self, sending: &Sending) -> Vec<Received> {
        self.take_from(PEER, sending)
    }

    pub(super) fn take_from(&mut self, peer: u64, sending: &Sending) -> Vec<Received> {
        self.endpoint.handle_datagram(self.now, peer, &sending.bytes());
        self.sent()
    }

    /// Returns what was sent since the last call.
    pub(super) fn sent(&mut self) -> Vec<Received> {
        core::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| {
                let header = Header::parse(&transmit.bytes).unwrap();
                Received::parse(header, &transmit.bytes, &[]).unwrap()
            })
            .collect()
    }

    pub(super) fn events(&mut self) -> Vec<Event<u64>> {
        core::iter::from_fn(|| self.endpoint.poll_event()).collect()
    }

    /// Lets time pass, waking the endpoint whenever it asks for it.
    pub(super) fn pass(&mut self, wait: Duration) {
        let until = self.now.after(wait);
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
        }
        self.now = until;
    }

    pub(super) fn pass_s(&mut self, s: u64) {
        self.pass(Duration::from_secs(s));
    }

    /// Sends a request and returns its first message.
    pub(super) fn ask(&mut self, request: Request) -> Received {
        self.endpoint.request(self.now, PEER, request).unwrap();
        one(self.sent())
    }

    /// Takes the one request that must have come up.
    pub(super) fn asked(&mut self) -> (ExchangeId, Request) {
        match one(self.events()) {
            Event::Request { exchange, request, .. } => (exchange, request),
            other => panic!("no request: {other:?}"),
        }
    }

    pub(super) fn respond(&mut self, exchange: ExchangeId, response: Response) -> Vec<Received> {
        self.endpoint.respond(self.now, exchange, response).unwrap();
        self.sent()
    }
}

pub(super) fn one<T: core::fmt::Debug>(mut all: Vec<T>) -> T {
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

pub(super) fn reset_of(message_id: u16) -> Header {
    Header { kind: Kind::Rst, code: Code::EMPTY, message_id }
}

pub(super) fn empty_ack_of(message_id: u16) -> Header {
    Header { kind: Kind::Ack, code: Code::EMPTY, message_id }
}
