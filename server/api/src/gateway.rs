//! Gateways: enrolment and what is known of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Asks for a new gateway: `POST /v1/gateways`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddGateway {
    /// Its name, which is its DTLS identity: 1 to 64 bytes, and no device's.
    pub name: String,
    /// Where its devices call it: `coaps://HOST:PORT`.
    pub uri: String,
}

/// Answers `POST /v1/gateways`. The unit data is shown here and never again.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
pub struct NewGateway {
    /// What was enrolled.
    pub gateway: Gateway,
    /// The unit file's bytes in hexadecimal. Secret: the key of its link to the server is in it.
    pub unit: String,
}

impl core::fmt::Debug for NewGateway {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NewGateway").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

/// A gateway as the server knows it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Gateway {
    /// Its name.
    pub name: String,
    /// Where its devices call it.
    pub uri: String,
    /// When it was enrolled.
    pub created: u64,
    /// Devices that it lists.
    pub devices: u64,
    /// Whether it is here right now, and from where.
    pub present: Option<String>,
}
