//! A CoAP endpoint without IO: client and server in one, for many peers.
//!
//! [`Endpoint`] takes datagrams, time and a seed, and gives back datagrams, the next time to
//! wake, and events. It has no socket, no clock and no source of randomness. Feed it with
//! `handle_*`, [`Endpoint::request`] and [`Endpoint::respond`], then drain `poll_transmit`,
//! `poll_timeout` and `poll_event` in that order.
//!
//! It speaks RFC 7252 and the Block1, Block2, Size1 and Size2 options of RFC 7959. Observe
//! (RFC 7641) is not acted on: the option is elective, so it is handed on in `other`.
//!
//! Where it departs from a MUST:
//! - RFC 7252 §4.4 forbids reusing a Message ID within `EXCHANGE_LIFETIME`. Ids count up from a
//!   random start, so a sender faster than 265 messages a second to one peer wraps earlier. What
//!   is kept for deduplication is a ring far shorter than 65,536 ids, so no such id is mistaken.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod code;
mod config;
mod counters;
mod endpoint;
mod event;
mod generator;
mod map;
mod message;
mod option;
mod request;
mod response;
mod retransmission;
mod seen;
mod slice;
#[cfg(test)]
mod tests;
mod time;
mod timers;
mod transfer;
#[cfg(any(not(target_os = "none"), test))]
mod wheel;

pub use code::{Code, Method};
pub use config::{Config, Transmission};
pub use counters::Counters;
pub use endpoint::{Endpoint, Load, Transmit};
pub use event::{BlockwiseError, Event, ExchangeId, Failure, RequestError, RequestId, UnknownExchange};
pub use option::block::{Block, BlockError, BlockSize};
pub use option::etag::{ETag, ETagError};
pub use option::{RawOption, number};
pub use request::Request;
pub use response::Response;
pub use time::Instant;
