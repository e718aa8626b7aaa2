//! The written forms of decided values: versioned, so that later programs read what earlier ones wrote.

pub mod campaign;
pub mod component;
pub mod state;

use thiserror::Error;

/// Why kept bytes are not a value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// A later program wrote this. Use that program.
    #[error("its version {0} is not known")]
    Version(u64),
    /// The bytes are damaged.
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    /// The bytes are not CBOR as written here.
    #[error("it is not the CBOR that was written: {0}")]
    Cbor(#[from] minicbor::decode::Error),
    /// The text is not JSON as written here.
    #[error("it is not the JSON that was written: {0}")]
    Json(#[from] serde_json::Error),
}
