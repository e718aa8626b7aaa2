//! Whose rows they are.

use crate::bounds::NAME_BYTES_MAX;

/// Names whose rows a call reads and writes: the first column of every primary key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(String);

impl Tenant {
    /// Takes a tenant's name, or `None` if it is empty or longer than [`NAME_BYTES_MAX`].
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        (!name.is_empty() && name.len() <= NAME_BYTES_MAX).then(|| Self(name.to_owned()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    /// Returns the tenant "default", the only one until tenants are managed.
    fn default() -> Self {
        Self("default".to_owned())
    }
}
