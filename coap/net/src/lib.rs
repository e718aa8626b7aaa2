//! UDP shards and DTLS engines: the only crate with a UDP socket.

mod counters;
pub mod dtls;
mod entropy;
mod psk;

pub use counters::{EngineCounters, Traffic, TrafficBytes};
pub use dtls::DtlsConfig;
pub use entropy::EntropyError;
pub use psk::{IDENTITY_BYTES_MAX, PSK_BYTES_MAX, PskStore, PskTable, Secret};

/// Names a session on its shard; never used again for another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId(pub u64);
