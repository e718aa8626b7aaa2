//! Why a fleet manager's request was not done, in words that reach the fleet manager.

use bellwether_api::{ErrorBody, ErrorCode};
use thiserror::Error;

/// A refusal that its reader can act on. What no reader can act on is [`Refusal::internal`].
#[derive(Debug, Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what is wrong, and what to do.
    pub message: String,
    /// What failed below, for the log alone.
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Refusal {
    /// The request can't be understood or a value is out of bounds.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Invalid, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// It exists with another content, or its state forbids this.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    /// Signed material that the anchors do not allow.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Refused, message)
    }

    /// A body beyond its bound.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::TooLarge, message)
    }

    /// The server failed: the cause goes to the log, not to the caller.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let message = "the server failed; its log says why".to_owned();
        Self { code: ErrorCode::Internal, message, source: Some(source.into()) }
    }

    /// Gives what its reader gets, and leaves what failed below in the log.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        if let Some(source) = std::error::Error::source(self) {
            tracing::error!(error = source, "a request failed");
        }
        ErrorBody { code: self.code, message: self.message.clone() }
    }

    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), source: None }
    }
}
