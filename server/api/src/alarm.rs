//! What needs a person's eye.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One cause on one day, with how often it came.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Alarm {
    /// `clone`, `clone or rolled-back device`, `unknown identity` or `repeated request`.
    pub kind: String,
    /// The endpoint name, or what was claimed.
    pub device: String,
    /// For people: what happened and what may be done.
    pub text: String,
    /// Where it came from, `address:port`, newest last.
    pub addresses: Vec<String>,
    /// How often on that day.
    pub count: u64,
    /// First time.
    pub first: u64,
    /// Last time.
    pub last: u64,
}
