//! Failures of the data base as errors of the store.

use super::fault::fault;
use crate::error::{AddError, StoreError};

/// Turns a failure of the data base into an error of the store.
pub(super) fn backend(cause: sqlx::Error) -> StoreError {
    match cause.as_database_error() {
        Some(error) if error.is_foreign_key_violation() => StoreError::NoParent,
        _ => StoreError::Backend(fault(cause)),
    }
}

/// Turns a failed insert into an error: a key that is taken is the caller's to know.
pub(super) fn not_added(cause: sqlx::Error) -> AddError {
    match cause.as_database_error() {
        Some(error) if error.is_unique_violation() => AddError::Exists,
        _ => AddError::Store(backend(cause)),
    }
}
