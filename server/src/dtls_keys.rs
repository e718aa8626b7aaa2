//! DTLS keys for the handshakes of devices and gateways: in the store, sealed; a bounded number of them in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bellwether_decide::device::Endpoint;
use bellwether_net::{Lookup, PskStore, Secret};
use bellwether_store::error::StoreError;
use thiserror::Error;

use crate::core::Core;
use crate::credentials;
use crate::vault::{GATEWAY_KEY, VaultError};

/// Why a key could not be looked up; the handshake fails, and the device tries again.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The key does not open under the master key.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// Keys that were asked for lately. It knows nobody who has no key, so asking for such a one costs a look into the
/// store as the first question for anybody does.
#[derive(Default)]
pub struct DtlsKeys(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    keys: HashMap<Box<str>, Secret>,
    /// In the order of coming.
    order: VecDeque<Box<str>>,
    /// Goes up with every removal.
    removals: u64,
}

impl DtlsKeys {
    /// Forgets the key of an identity; one that is being looked up meanwhile is not kept.
    pub fn remove(&self, identity: &str) {
        let mut kept = self.locked();
        kept.removals += 1;
        if kept.keys.remove(identity).is_some() {
            kept.order.retain(|name| **name != *identity);
        }
    }

    fn removals(&self) -> u64 {
        self.locked().removals
    }

    fn keep(&self, identity: &str, key: Secret, removals_before: u64) {
        let mut kept = self.locked();
        if kept.removals != removals_before {
            return;
        }
        if kept.keys.insert(identity.into(), key).is_none() {
            kept.order.push_back(identity.into());
        }
        if kept.order.len() > KEYS_MAX
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.keys.remove(&oldest);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PskStore for DtlsKeys {
    fn find(&self, identity: &[u8]) -> Lookup {
        let found = std::str::from_utf8(identity).ok().and_then(|name| self.locked().keys.get(name).cloned());
        found.map_or(Lookup::Later, Lookup::Key)
    }
}

impl Core {
    /// Looks the DTLS key of a device or gateway up; `None` where nobody has that name, or has a key.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub async fn dtls_key(&self, identity: &str) -> Result<Option<Secret>, KeyError> {
        let removals = self.dtls_keys.removals();
        let (name, number) = credentials::holder(identity);
        let Ok(name) = Endpoint::try_from(name) else { return Ok(None) };
        let opened = if let Some(device) = self.store.device(&self.tenant, &name).await? {
            match credentials::sealed(&device, number) {
                Some(credential) => self.vault.dtls_key(name.as_str(), credential)?,
                None => return Ok(None),
            }
        } else if number > 1 {
            return Ok(None);
        } else if let Some(gateway) = self.store.gateway(&self.tenant, &name).await? {
            self.vault.open_sealed(GATEWAY_KEY, identity, &gateway.psk)?
        } else {
            return Ok(None);
        };
        let key = Secret::new(opened.to_vec());
        if let Some(key) = &key {
            self.dtls_keys.keep(identity, key.clone(), removals);
        } else {
            tracing::error!(identity, "its DTLS key has a wrong length; it can't connect");
        }
        Ok(key)
    }
}

/// Keys in memory: a fleet that comes back at once and repeats half its handshakes, at 150 bytes each 10 MB.
const KEYS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Secret {
        Secret::new(vec![n; 16]).expect("a key")
    }

    #[test]
    fn unknown_identity_has_to_be_looked_up_every_time() {
        let keys = DtlsKeys::default();
        assert_eq!(keys.find(b"lamp-1"), Lookup::Later);
        keys.keep("lamp-1", key(1), keys.removals());
        assert_eq!(keys.find(b"lamp-1"), Lookup::Key(key(1)));
        assert_eq!(keys.find(b"\xff"), Lookup::Later);
    }

    #[test]
    fn removed_key_does_not_come_back_with_a_look_up_that_was_under_way() {
        let keys = DtlsKeys::default();
        let before = keys.removals();
        keys.remove("gw-1");
        keys.keep("gw-1", key(1), before);
        assert_eq!(keys.find(b"gw-1"), Lookup::Later);
    }

    #[test]
    fn oldest_key_makes_room() {
        let keys = DtlsKeys::default();
        for n in 0..=KEYS_MAX {
            keys.keep(&n.to_string(), key(1), 0);
        }
        assert_eq!(keys.find(b"0"), Lookup::Later);
        assert_eq!(keys.find(b"1"), Lookup::Key(key(1)));
        assert_eq!(keys.locked().order.len(), KEYS_MAX);
    }
}
