//! The one shape of every refusal.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Says why a request was refused and what to do about it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct ErrorBody {
    /// For programs: stable.
    pub code: ErrorCode,
    /// For people: what is wrong, and what to do.
    pub message: String,
    /// Names the request in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Seconds after which it may be done, where that is known; also the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request can't be understood, or a value is out of its bounds (400).
    Invalid,
    /// The token is missing or wrong (401).
    Unauthorized,
    /// The token only reads (403).
    Forbidden,
    /// There is no such thing (404).
    NotFound,
    /// It exists already with another content, or its state forbids this (409).
    Conflict,
    /// The body is larger than the bound (413).
    TooLarge,
    /// Signed material that the anchors do not allow (422).
    Refused,
    /// The server's disk takes no writes; nothing of it was done, and it can be sent again once there is space (507).
    StorageFull,
    /// The server's data base does not answer; it can be sent again once it does (503).
    StorageAway,
    /// The device answered, but with what can't be used (502).
    BadAnswer,
    /// The device did not answer (504).
    NoAnswer,
    /// The device is in queue mode and asleep: nothing was sent to it (503).
    Asleep,
    /// The server failed; its log says why (500).
    Internal,
}
