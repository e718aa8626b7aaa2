//! UDP shards and DTLS engines: the only crate with a UDP socket.
//!
//! A [`Shard`] is a socket, a thread, a [`dtls`] engine and a CoAP endpoint. What the endpoint speaks of,
//! requests, responses and bounds, is in [`coap`].

mod clock;
mod counters;
pub mod dtls;
mod entropy;
mod machine;
mod psk;
mod shard;
pub mod supervisor;
mod wire;

pub use bellwether_coap as coap;
pub use counters::{Counters, EngineCounters, Traffic, TrafficBytes};
pub use dtls::{CloseReason, ConnectRefused, Dormant, DtlsConfig};
pub use entropy::EntropyError;
pub use machine::{Machine, ThisMachine, WorkLost};
pub use psk::{IDENTITY_BYTES_MAX, Lookup, PSK_BYTES_MAX, PskStore, PskTable, Secret};
pub use shard::{
    ConnectError, EVENTS_MAX, Event, NoService, Peer, RequestError, Security, Service, Shard, ShardConfig,
    ShardHandle,
};
pub use wire::Wire;

/// Names a session on its shard; never used again for another. It keeps its name while it is hibernated.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub u64);
