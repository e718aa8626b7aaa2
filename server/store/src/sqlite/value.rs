//! Between columns and values.

use bellwether_decide::device::Endpoint;
use sqlx::error::DatabaseError;

use crate::Digest;
use crate::bounds::LIST_ROWS_MAX;
use crate::error::{AddError, Source, StorageFault, StoreError, UpdateError};

/// Turns a failure of the data base into an error of the store.
pub(super) fn backend(cause: sqlx::Error) -> StoreError {
    match cause.as_database_error() {
        Some(error) if error.is_foreign_key_violation() => StoreError::NoParent,
        _ => StoreError::Backend(fault(cause)),
    }
}

/// Names the fault of the disk or the file that an error of the data base stands for.
pub(super) fn fault(cause: sqlx::Error) -> Source {
    match code(&cause) {
        Some(code) if is_damage(code) => StorageFault::Damaged(cause.into()).into(),
        Some(code) if is_unwritable(code) => StorageFault::Unwritable(cause.into()).into(),
        _ => cause.into(),
    }
}

/// The extended result code that SQLite gave, if it is SQLite that failed.
pub(super) fn code(cause: &sqlx::Error) -> Option<i32> {
    cause.as_database_error().and_then(DatabaseError::code).and_then(|code| code.parse().ok())
}

/// Tells whether the file is not what was written: `SQLITE_CORRUPT`, `SQLITE_NOTADB`, and reads that end too early.
pub(super) fn is_damage(code: i32) -> bool {
    matches!(code & PRIMARY, 11 | 26) || code == IOERR_SHORT_READ
}

/// Tells whether the disk takes no writes: `SQLITE_FULL`, `SQLITE_READONLY`, `SQLITE_CANTOPEN` of a side file, and the
/// ways in which a write, a sync or the making of a side file fails.
fn is_unwritable(code: i32) -> bool {
    matches!(code & PRIMARY, 8 | 13 | 14) || IOERR_WRITES.contains(&code)
}

/// The n-th extended code of `SQLITE_IOERR`.
const fn io_error(nth: i32) -> i32 {
    0x0A | nth << 8
}

/// The low byte of an extended code is the primary one.
const PRIMARY: i32 = 0xFF;
const IOERR_SHORT_READ: i32 = io_error(2);

/// `SQLITE_IOERR_` `WRITE`, `FSYNC`, `DIR_FSYNC`, `TRUNCATE`, `SHMOPEN`, `SHMSIZE`, `SHMMAP`: a quota and a limit of file
/// sizes come as these.
const IOERR_WRITES: [i32; 7] =
    [io_error(3), io_error(4), io_error(5), io_error(6), io_error(18), io_error(19), io_error(21)];

/// Turns a failed insert into an error: a key that is taken is the caller's to know.
pub(super) fn not_added(cause: sqlx::Error) -> AddError {
    match cause.as_database_error() {
        Some(error) if error.is_unique_violation() => AddError::Exists,
        _ => AddError::Store(backend(cause)),
    }
}

/// Turns a statement that touched no row into [`UpdateError::Missing`].
pub(super) fn touched(rows: u64) -> Result<(), UpdateError> {
    if rows == 0 { Err(UpdateError::Missing) } else { Ok(()) }
}

/// Gives the column value of a number; SQLite counts to 2^63 - 1.
pub(super) fn column(number: u64, what: &'static str) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::OutOfBounds { what, max: i64::MAX.unsigned_abs() })
}

/// Reads back what [`column`] wrote.
pub(super) fn number(column: i64, what: &'static str) -> Result<u64, StoreError> {
    u64::try_from(column).map_err(|_| unreadable(what, "a number is negative"))
}

pub(super) fn digest(bytes: Vec<u8>, what: &'static str) -> Result<Digest, StoreError> {
    bytes.try_into().map_err(|_| unreadable(what, "a digest has another length"))
}

pub(super) fn endpoint(name: String, what: &'static str) -> Result<Endpoint, StoreError> {
    Endpoint::try_from(name).map_err(|cause| unreadable(what, cause))
}

pub(super) fn unreadable(what: &'static str, reason: impl Into<Source>) -> StoreError {
    StoreError::Unreadable { what, reason: reason.into() }
}

/// Refuses a value of more bytes than its bound.
pub(super) fn bounded(bytes: usize, max: usize, what: &'static str) -> Result<(), StoreError> {
    if bytes > max {
        return Err(StoreError::OutOfBounds { what, max: max as u64 });
    }
    Ok(())
}

/// Cuts a wish for rows to the bound of a list.
pub(super) fn page(rows_max: u32) -> i64 {
    rows_max.min(LIST_ROWS_MAX).into()
}

/// Writes endpoint names as the JSON array that `json_each` takes apart.
pub(super) fn json_names<'a>(names: impl Iterator<Item = &'a Endpoint>) -> String {
    let names: serde_json::Value = names.map(Endpoint::as_str).collect();
    names.to_string()
}
