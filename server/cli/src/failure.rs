//! Why a command was not done, in words that say what to do.

use std::path::{Path, PathBuf};

use bellwether_api::ErrorBody;
use thiserror::Error;

/// A command's end that is not success. Its text goes to standard error, the exit status is 1.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// No server answers there.
    #[error("no server answers at {url}: {reason}\nStart one with: bellwether-server --data DIR")]
    Unreachable {
        /// Where it was tried.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The server said no.
    #[error("{}", .0.message)]
    Refused(ErrorBody),
    /// The answer is not one of ours.
    #[error("what answers at {url} is not a Bellwether server of this version: {reason}")]
    Foreign {
        /// Where it was tried.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
    /// A file can't be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An argument says nothing that can be done.
    #[error("{0}")]
    Usage(String),
    /// The campaign ended otherwise than with every device installed.
    #[error("{0}")]
    Campaign(String),
}

impl Failure {
    /// Names a file and what is wrong with it.
    pub(crate) fn file(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Joins an error and its causes into one line, outermost first.
#[must_use]
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
