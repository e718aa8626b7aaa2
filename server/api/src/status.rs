//! The server itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Answers `GET /health`, the one path that needs no token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Health {
    /// `ok`, or what is wrong.
    pub status: String,
    /// Version of the server.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Devices registered right now.
    pub registered: u64,
}

/// Answers `GET /v1/distributor`: the key that anchors must list so that devices take grants from here.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Distributor {
    /// The public `COSE_Key`, encoded, in hexadecimal.
    pub public_key: String,
    /// First 8 bytes of the SHA-256 of that key, in hexadecimal.
    pub kid: String,
}
