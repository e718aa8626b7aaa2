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

/// Answers `GET /health/live`: the process runs and answers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Liveness {
    /// Always true: who is not alive does not answer.
    pub live: bool,
    /// Version of the server.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: u64,
}

/// Answers `GET /health/ready`: with 200 where it is, with 503 where it is not.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether the server can do its work.
    pub ready: bool,
    /// The worst of the checks.
    pub status: CheckState,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Check {
    /// `store`, `disk`, `sockets`, `broker` or `master_key`.
    pub name: String,
    /// How it is.
    pub state: CheckState,
    /// For people: what is wrong, and what to do.
    pub reason: String,
}

/// How something is, from good to bad.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// The work is done, but a person should look.
    Degraded,
    /// The work can't be done.
    Failing,
}
