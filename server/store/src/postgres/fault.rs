//! What PostgreSQL's SQLSTATE codes say of the data base, its disk and the way to it.

use sqlx::error::DatabaseError;

use crate::error::{Source, StorageFault};

/// Names the fault that an error of the data base stands for.
pub(super) fn fault(cause: sqlx::Error) -> Source {
    match code(&cause).as_deref() {
        Some(code) if is_damage(code) => StorageFault::Damaged(cause.into()).into(),
        Some(code) if is_unwritable(code) => StorageFault::Unwritable(cause.into()).into(),
        Some(code) if is_away(code) => StorageFault::Away(cause.into()).into(),
        None if is_broken_off(&cause) => StorageFault::Away(cause.into()).into(),
        _ => cause.into(),
    }
}

pub(super) fn code(cause: &sqlx::Error) -> Option<String> {
    cause.as_database_error().and_then(DatabaseError::code).map(String::from)
}

/// `data_corrupted`, `index_corrupted`.
fn is_damage(code: &str) -> bool {
    matches!(code, "XX001" | "XX002")
}

/// `disk_full`, `read_only_sql_transaction`.
fn is_unwritable(code: &str) -> bool {
    matches!(code, "53100" | "25006")
}

/// Connection exceptions; too many connections; ended by an operator or by `statement_timeout`; shut down, crashed, starting
/// up; ended for being idle too long.
fn is_away(code: &str) -> bool {
    code.starts_with("08")
        || matches!(code, "53300" | "57014" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03")
}

/// Tells whether no answer came at all.
pub(super) fn is_broken_off(cause: &sqlx::Error) -> bool {
    matches!(
        cause,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::WorkerCrashed
    )
}
