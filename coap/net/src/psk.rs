//! Pre-shared keys and where a server looks them up.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Holds a pre-shared key of 1 to [`PSK_BYTES_MAX`] bytes: never printed, compared in constant time,
/// overwritten when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes `bytes` as a key; `None` if it is empty or longer than [`PSK_BYTES_MAX`].
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        let bytes = Zeroizing::new(bytes);
        (!bytes.is_empty() && bytes.len() <= PSK_BYTES_MAX).then_some(Self(bytes))
    }

    /// Shows the key bytes to an [`Engine`](crate::dtls::Engine), which alone has a use for them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// What a [`PskStore`] knows at once of an identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// Its key.
    Key(Secret),
    /// Nobody has that name.
    Nobody,
    /// It has to be looked up where that takes time: the engine asks the shard's owner, and the handshake waits.
    Later,
}

/// Finds the key of a PSK identity. Called on the shard's thread in the middle of a handshake, so it
/// must answer from memory.
pub trait PskStore: Send + Sync {
    /// Tells what is known of `identity`. The bytes are the peer's and not yet verified; they are valid
    /// UTF-8 of at most [`IDENTITY_BYTES_MAX`] bytes.
    fn find(&self, identity: &[u8]) -> Lookup;
}

/// Keeps pre-shared keys in memory by identity.
#[derive(Debug, Default)]
pub struct PskTable(RwLock<HashMap<Vec<u8>, Secret>>);

impl PskTable {
    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key, or replaces the one `identity` had.
    pub fn insert(&self, identity: impl Into<Vec<u8>>, key: Secret) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.insert(identity.into(), key);
    }

    /// Takes the key of `identity` away. Sessions that it made live on until they are closed.
    pub fn remove(&self, identity: &[u8]) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.remove(identity);
    }

    /// Gives the key of `identity`, or `None` if nobody has that name.
    #[must_use]
    pub fn psk(&self, identity: &[u8]) -> Option<Secret> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.get(identity).cloned()
    }
}

impl PskStore for PskTable {
    fn find(&self, identity: &[u8]) -> Lookup {
        self.psk(identity).map_or(Lookup::Nobody, Lookup::Key)
    }
}

/// The longest pre-shared key: what Mbed TLS takes (`MBEDTLS_PSK_MAX_LEN`).
pub const PSK_BYTES_MAX: usize = 32;

/// The longest PSK identity: the longest LwM2M endpoint name we take.
pub const IDENTITY_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_a_secret_has_no_key_byte() {
        let secret = Secret::new(b"topsecret".to_vec()).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(redacted)");
    }

    #[test]
    fn empty_and_too_long_keys_are_refused() {
        assert!(Secret::new(Vec::new()).is_none());
        assert!(Secret::new(vec![1; PSK_BYTES_MAX + 1]).is_none());
        assert!(Secret::new(vec![1; PSK_BYTES_MAX]).is_some());
    }

    #[test]
    fn removed_identity_has_no_key_any_more() {
        let table = PskTable::new();
        let key = Secret::new(vec![7; 16]).unwrap();
        table.insert("lamp-1", key.clone());
        assert_eq!(table.psk(b"lamp-1"), Some(key));
        table.remove(b"lamp-1");
        assert_eq!(table.psk(b"lamp-1"), None);
    }
}
