//! Requests of peers: each becomes an exchange that the application answers once.

use super::bodies::{BodyKey, Part, Taken};
use super::{Endpoint, Timer};
use crate::code::{Code, Method};
use crate::event::{Event, ExchangeId};
use crate::message::{Header, Kind, Message, Received, Token};
use crate::option::block::Block;
use crate::option::number;
use crate::option::set::{OptionError, OptionSet};
use crate::request::Request;
use crate::response::Response;
use crate::retransmission::Retransmission;
use crate::slice::{number_at, slice};
use crate::time::Instant;
use crate::timers::TimerKey;
use alloc::vec::Vec;
use core::hash::Hash;

/// One request of a peer that the application has not answered.
pub(super) struct Exchange<P> {
    peer: P,
    asked: Asked,
    timer: TimerKey,
}

/// What the answer to a request must fit.
#[derive(Clone, Copy)]
struct Asked {
    message_id: u16,
    token: Token,
    reply: Reply,
    key: BodyKey,
    /// The last block of the request's body, to be named in the answer.
    block1: Option<Block>,
    /// The block of the response that is wanted.
    block2: Option<Block>,
}

/// How the answer travels (RFC 7252 §5.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reply {
    Piggybacked,
    Separate,
    Non,
}

/// A CON response in a message of its own, not acknowledged yet.
pub(super) struct Separate {
    message_id: u16,
    bytes: Vec<u8>,
    retransmission: Retransmission,
    pub(super) timer: TimerKey,
}

impl<P: Copy + Eq + Hash> Endpoint<P> {
    pub(super) fn receive_request(&mut self, now: Instant, peer: P, message: Received) {
        let header = message.header;
        if self.is_duplicate(now, peer, header) {
            return;
        }
        // A response that waits for its acknowledgement is kept too, and only the peer can end that early.
        let open = self.peers.get(&peer).map_or(0, |known| known.exchanges.len() + known.separate.len());
        if open >= self.config.exchanges_per_peer_max {
            // Not remembered, so that a retransmission finds room later.
            self.counters.exchanges_refused += 1;
            return;
        }
        if !self.remember(now, peer, header) {
            return;
        }
        let asked = Asked::of(&message);
        match message.options {
            Err(error) => self.refuse_options(now, peer, asked, error),
            Ok(options) => match Method::from_code(header.code) {
                Some(method) => {
                    self.receive_body(now, peer, asked, method, options, message.payload);
                }
                // RFC 7252 §5.8: an unrecognised or unsupported method MUST generate 4.05.
                None => self.answer_code(now, peer, asked, Code::METHOD_NOT_ALLOWED),
            },
        }
    }

    /// RFC 7252 §5.4.1: critical options not understood cause a 4.02 to a CON request; a NON
    /// message is rejected, which §4.3 allows to do in silence.
    fn refuse_options(&mut self, now: Instant, peer: P, asked: Asked, error: OptionError) {
        self.counters.options_refused += 1;
        let code = match error {
            OptionError::Critical(_) if asked.reply == Reply::Non => return,
            OptionError::Critical(_) => Code::BAD_OPTION,
            OptionError::ReservedBlockSize => Code::BAD_REQUEST,
            OptionError::Proxy => Code::PROXYING_NOT_SUPPORTED,
        };
        self.answer_code(now, peer, asked, code);
    }

    fn receive_body(
        &mut self,
        now: Instant,
        peer: P,
        asked: Asked,
        method: Method,
        options: OptionSet,
        payload: Vec<u8>,
    ) {
        let taken = match options.block1 {
            Some(block) => {
                let part = Part { block, size1: options.size1, payload: &payload };
                self.take_part(now, peer, asked.key, &part)
            }
            None if payload.len() > self.config.body_bytes_max => self.refuse_too_large(),
            None if self.serve_kept(now, peer, asked, method) => return,
            None => Taken::Whole(payload),
        };
        match taken {
            Taken::Whole(body) => {
                let confirmable = asked.reply == Reply::Piggybacked;
                let request = Request::from_options(method, options, body, confirmable);
                self.open_exchange(now, peer, asked, request);
            }
            Taken::Answer(response, block1) => {
                let asked = Asked { block1, ..asked };
                self.send_answer(now, peer, asked, &response, None, &response.payload);
            }
        }
    }

    /// Serves a further block of a response that is being fetched; `false` if the application
    /// has to be asked.
    fn serve_kept(&mut self, now: Instant, peer: P, asked: Asked, method: Method) -> bool {
        if asked.block2.is_none_or(|block| block.number == 0) {
            return false;
        }
        match self.take_response(peer, asked.key) {
            Some(response) => self.answer_whole(now, peer, asked, response),
            // A GET can be asked again, as any block of it. What another method did must not be
            // done twice.
            None if method == Method::Get => return false,
            None => self.answer_code(now, peer, asked, Code::REQUEST_ENTITY_INCOMPLETE),
        }
        true
    }

    fn open_exchange(&mut self, now: Instant, peer: P, asked: Asked, request: Request) {
        let exchange = ExchangeId(self.serial());
        let wait = match asked.reply {
            Reply::Piggybacked => self.config.transmission.processing_delay,
            Reply::Separate | Reply::Non => self.config.exchange_wait,
        };
        let timer = self.wheel.insert(now.after(wait), Timer::Exchange(exchange));
        if let Some(known) = self.peers.get_mut(&peer) {
            known.exchanges.push(exchange);
        }
        let opened = Exchange { peer, asked, timer };
        self.exchanges.insert(exchange, opened);
        self.events.push_back(Event::Request { exchange, peer, request });
    }

    pub(super) fn take_exchange(&mut self, id: ExchangeId) -> Option<Exchange<P>> {
        let exchange = self.exchanges.remove(&id)?;
        self.wheel.cancel(exchange.timer);
        if let Some(known) = self.peers.get_mut(&exchange.peer) {
            known.exchanges.retain(|other| *other != id);
        }
        Some(exchange)
    }

    /// The application is late: acknowledges the request so that the peer stops repeating it,
    /// and later gives the exchange up.
    ///
    /// RFC 7252 §5.2.2: when it takes longer to obtain the response, the server acknowledges
    /// with an Empty message and sends the response in a CON of its own.
    pub(super) fn exchange_timeout(&mut self, now: Instant, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            return;
        };
        if exchange.asked.reply == Reply::Piggybacked {
            exchange.asked.reply = Reply::Separate;
            let at = now.after(self.config.exchange_wait);
            exchange.timer = self.wheel.insert(at, Timer::Exchange(id));
            let (peer, message_id) = (exchange.peer, exchange.asked.message_id);
            self.send_empty_ack(now, peer, message_id);
        } else {
            self.take_exchange(id);
            self.counters.exchanges_abandoned += 1;
        }
    }

    pub(super) fn answer_exchange(&mut self, now: Instant, exchange: &Exchange<P>, response: Response) {
        let (peer, asked) = (exchange.peer, exchange.asked);
        if response.block2.is_some() {
            let block2 = response.block2;
            self.send_answer(now, peer, asked, &response, block2, &response.payload);
        } else {
            self.answer_whole(now, peer, asked, response);
        }
    }

    /// Sends the block of a whole response that is asked for, and keeps it for the others.
    fn answer_whole(&mut self, now: Instant, peer: P, asked: Asked, mut response: Response) {
        let size_max = self.config.block_size;
        if !response.code.is_success() {
            // What comes with an error is a text for a reader (RFC 7252 §5.5.2): one block does.
            response.payload.truncate(size_max.bytes());
            return self.send_answer(now, peer, asked, &response, None, &response.payload);
        }
        // RFC 7959 §2.4: the server uses the size asked for or a smaller one, never a larger.
        let size = asked.block2.map_or(size_max, |block| block.size.min(size_max));
        let offset = asked.block2.map_or(0, Block::offset_bytes);
        let Some((block, part)) = slice(&response.payload, number_at(offset, size), size) else {
            return self.answer_code(now, peer, asked, Code::BAD_REQUEST);
        };
        if block.more && block.number == 0 {
            response.size2 = u32::try_from(response.payload.len()).ok();
        }
        let block2 = (block.more || asked.block2.is_some()).then_some(block);
        self.send_answer(now, peer, asked, &response, block2, part);
        if block.more {
            response.size2 = None;
            self.keep_response(now, peer, asked.key, response);
        }
    }

    fn answer_code(&mut self, now: Instant, peer: P, asked: Asked, code: Code) {
        self.send_answer(now, peer, asked, &Response::new(code), None, &[]);
    }

    fn send_answer(
        &mut self,
        now: Instant,
        peer: P,
        asked: Asked,
        response: &Response,
        block2: Option<Block>,
        payload: &[u8],
    ) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        let (kind, message_id) = match asked.reply {
            Reply::Piggybacked => (Kind::Ack, asked.message_id),
            Reply::Separate => (Kind::Con, known.take_message_id()),
            Reply::Non => (Kind::Non, known.take_message_id()),
        };
        let mut message = Message {
            header: Header { kind, code: response.code, message_id },
            token: asked.token,
            options: OptionSet { block1: asked.block1, block2, ..response.to_options() },
            payload,
        };
        let bytes_max = self.config.datagram_bytes_max;
        let bytes = message.to_bytes(bytes_max).or_else(|| {
            self.counters.responses_too_long += 1;
            message.header.code = Code::INTERNAL_SERVER_ERROR;
            message.options = OptionSet::default();
            message.payload = &[];
            message.to_bytes(bytes_max)
        });
        match (asked.reply, bytes) {
            (_, None) => {}
            (Reply::Piggybacked, Some(bytes)) => self.transmit_reply(now, peer, message_id, bytes),
            (Reply::Separate, Some(bytes)) => self.send_separate(now, peer, message_id, bytes),
            (Reply::Non, Some(bytes)) => self.transmit(peer, bytes),
        }
    }

    fn send_separate(&mut self, now: Instant, peer: P, message_id: u16, bytes: Vec<u8>) {
        let jitter = self.generator.next_u16();
        let retransmission = Retransmission::start(&self.config.transmission, jitter);
        let at = now.after(retransmission.timeout());
        let timer = self.wheel.insert(at, Timer::Separate(peer, message_id));
        if let Some(known) = self.peers.get_mut(&peer) {
            known.separate.push(Separate { message_id, bytes: bytes.clone(), retransmission, timer });
        }
        self.transmit(peer, bytes);
    }

    /// Ends a separate response that was acknowledged or reset; `false` if there is none.
    pub(super) fn end_separate(&mut self, peer: P, message_id: u16) -> bool {
        let Some(known) = self.peers.get_mut(&peer) else {
            return false;
        };
        let found = known.separate.iter().position(|separate| separate.message_id == message_id);
        let Some(at) = found else {
            return false;
        };
        self.wheel.cancel(known.separate.swap_remove(at).timer);
        true
    }

    pub(super) fn separate_timeout(&mut self, now: Instant, peer: P, message_id: u16) {
        let separate = self
            .peers
            .get_mut(&peer)
            .and_then(|known| known.separate.iter_mut().find(|separate| separate.message_id == message_id));
        let Some(separate) = separate else {
            return;
        };
        if let Some(wait) = separate.retransmission.next(&self.config.transmission) {
            let timer = Timer::Separate(peer, message_id);
            separate.timer = self.wheel.insert(now.after(wait), timer);
            let bytes = separate.bytes.clone();
            self.counters.retransmissions += 1;
            self.transmit(peer, bytes);
        } else {
            self.end_separate(peer, message_id);
            self.counters.responses_lost += 1;
        }
    }
}

impl Asked {
    fn of(message: &Received) -> Self {
        let options = message.options.as_ref().ok();
        // RFC 9175 §3.3: blocks whose Request-Tags differ belong to different operations, so that a proxy can have
        // several on one resource at the same time.
        let tags = options.map(|set| {
            let tags = set.other.iter().filter(|option| option.number == number::REQUEST_TAG);
            tags.map(|option| option.value.as_slice()).collect::<Vec<_>>()
        });
        let subject = options.map(|set| (&set.path, &set.query, set.accept, tags));
        Self {
            message_id: message.header.message_id,
            token: message.token,
            reply: match message.header.kind {
                Kind::Con => Reply::Piggybacked,
                _ => Reply::Non,
            },
            key: BodyKey::of(&(message.header.code, subject)),
            block1: options.and_then(|set| set.block1),
            block2: options.and_then(|set| set.block2),
        }
    }
}
