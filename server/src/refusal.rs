//! Why a fleet manager's request was not done, in words that reach the fleet manager.

use bellwether_api::{ErrorBody, ErrorCode};
use bellwether_store::StorageFault;
use thiserror::Error;

use crate::caller;

/// A refusal that its reader can act on. What no reader can act on is [`Refusal::internal`].
#[derive(Debug, Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what is wrong, and what to do.
    pub message: String,
    /// Seconds after which it may be done, where that is known.
    pub retry_after_s: Option<u64>,
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

    /// A device answered what can't be used.
    pub fn bad_answer(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadAnswer, message)
    }

    /// A device did not answer.
    pub fn no_answer(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NoAnswer, message)
    }

    /// A device is in queue mode and sleeps; `retry_after_s`: until it is heard of at the latest, where that is known.
    pub fn asleep(message: impl Into<String>, retry_after_s: Option<u64>) -> Self {
        Self { retry_after_s, ..Self::new(ErrorCode::Asleep, message) }
    }

    /// The server failed: the cause goes to the log, not to the caller.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let source = source.into();
        let (code, message) = match StorageFault::of(&*source) {
            Some(StorageFault::Unwritable(_)) => (ErrorCode::StorageFull, STORAGE_FULL),
            Some(StorageFault::Away(_)) => (ErrorCode::StorageAway, STORAGE_AWAY),
            Some(StorageFault::Damaged(_)) => (ErrorCode::Internal, STORAGE_DAMAGED),
            _ => (ErrorCode::Internal, FAILED),
        };
        Self { code, message: message.to_owned(), retry_after_s: None, source: Some(source) }
    }

    /// Gives what its reader gets, and leaves what failed below in the log.
    #[must_use]
    pub fn body(&self) -> ErrorBody {
        if let Some(source) = std::error::Error::source(self) {
            tracing::error!(error = source, "a request failed");
        }
        ErrorBody {
            code: self.code,
            message: self.message.clone(),
            request_id: caller::request_id(),
            retry_after_s: self.retry_after_s,
        }
    }

    /// Gives what failed below, for whoever watches over it.
    pub(crate) fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self)
    }

    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_s: None, source: None }
    }
}

const FAILED: &str = "the server failed; its log says why";
const STORAGE_FULL: &str = "the server's store takes no writes: its disk is full, a quota is used up, or it is \
     read-only. This was not done; make room there, then send it again";
const STORAGE_AWAY: &str = "the server's data base does not answer. This was not done, or it can't be told whether it \
     was: look, then send it again";
const STORAGE_DAMAGED: &str =
    "the server's database is damaged: stop the server and restore a backup; its log says how";
