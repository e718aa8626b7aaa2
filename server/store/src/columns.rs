//! Between columns and values.

use bellwether_decide::device::Endpoint;

use crate::Digest;
use crate::bounds::LIST_ROWS_MAX;
use crate::error::{Source, StoreError, UpdateError};

/// Turns a statement that touched no row into [`UpdateError::Missing`].
pub(crate) fn touched(rows: u64) -> Result<(), UpdateError> {
    if rows == 0 { Err(UpdateError::Missing) } else { Ok(()) }
}

/// Gives the column value of a number; columns count to 2^63 - 1.
pub(crate) fn column(number: u64, what: &'static str) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::OutOfBounds { what, max: i64::MAX.unsigned_abs() })
}

/// Reads back what [`column`] wrote.
pub(crate) fn number(column: i64, what: &'static str) -> Result<u64, StoreError> {
    u64::try_from(column).map_err(|_| unreadable(what, "a number is negative"))
}

pub(crate) fn digest(bytes: Vec<u8>, what: &'static str) -> Result<Digest, StoreError> {
    bytes.try_into().map_err(|_| unreadable(what, "a digest has another length"))
}

pub(crate) fn endpoint(name: String, what: &'static str) -> Result<Endpoint, StoreError> {
    Endpoint::try_from(name).map_err(|cause| unreadable(what, cause))
}

pub(crate) fn unreadable(what: &'static str, reason: impl Into<Source>) -> StoreError {
    StoreError::Unreadable { what, reason: reason.into() }
}

/// Refuses a value of more bytes than its bound.
pub(crate) fn bounded(bytes: usize, max: usize, what: &'static str) -> Result<(), StoreError> {
    if bytes > max {
        return Err(StoreError::OutOfBounds { what, max: max as u64 });
    }
    Ok(())
}

/// Cuts a wish for rows to the bound of a list.
pub(crate) fn page(rows_max: u32) -> i64 {
    rows_max.min(LIST_ROWS_MAX).into()
}

/// Writes endpoint names as the JSON array that statements take apart.
pub(crate) fn json_names<'a>(names: impl Iterator<Item = &'a Endpoint>) -> String {
    let names: serde_json::Value = names.map(Endpoint::as_str).collect();
    names.to_string()
}
