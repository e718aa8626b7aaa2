//! Where the store is.

use std::fmt;

use zeroize::Zeroizing;

use super::ConfigError;

/// Where the server keeps what it must not forget; images, keys and the token of HTTP are in its data folder anyway.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum StoreAt {
    /// A SQLite file in the data folder.
    #[default]
    Folder,
    /// A PostgreSQL data base.
    Postgres(StoreUrl),
}

/// The URL of a data base, which may hold a password: does not print, and is wiped when it is dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct StoreUrl(Zeroizing<String>);

impl StoreUrl {
    /// Gives the text to whoever connects.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreUrl")
    }
}

/// Takes the word `sqlite` or a URL; what is wrong with it is said without it.
pub(super) fn resolve(chosen: Option<String>) -> Result<StoreAt, ConfigError> {
    let chosen = Zeroizing::new(chosen.unwrap_or_else(|| "sqlite".to_owned()));
    if *chosen == "sqlite" {
        return Ok(StoreAt::Folder);
    }
    if chosen.starts_with("postgres://") || chosen.starts_with("postgresql://") {
        return Ok(StoreAt::Postgres(StoreUrl(chosen)));
    }
    let text = "must be sqlite, or a URL postgres://USER@HOST:PORT/NAME".to_owned();
    Err(ConfigError::Bounds { key: "store", text })
}
