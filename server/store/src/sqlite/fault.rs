//! What SQLite's result codes say of the disk and the file.

use sqlx::error::DatabaseError;

use crate::error::{Source, StorageFault};

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
