//! DTLS credentials of devices: which of them a DTLS identity names, a new one that waits beside the one in force, and
//! the end of that one once the new one was used.
//!
//! The first credential of a device is under its name, the n-th one under its name, a blank and n. No name has a blank in
//! it, so the two are never mixed up. Behind the door of devices a peer has the device's name, whichever it used.

use std::time::Duration;

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::deed::Deed;
use bellwether_decide::device::Endpoint;
use bellwether_net::Peer;
use bellwether_store::Sealed;
use bellwether_store::device::{EnrolledDevice, Security};
use bellwether_store::error::StoreError;

use crate::core::Core;

/// Takes a DTLS identity apart: the name of its device or gateway, and the number of the credential.
pub(crate) fn holder(identity: &str) -> (&str, u64) {
    let numbered = identity.rsplit_once(' ').and_then(|(name, text)| {
        let number = text.parse().ok().filter(|number| *number > 1 && u64::to_string(number) == text)?;
        Some((name, number))
    });
    numbered.unwrap_or((identity, 1))
}

/// Makes the DTLS identity of a credential.
pub(crate) fn identity(name: &str, number: u64) -> String {
    if number == 1 { name.to_owned() } else { format!("{name} {number}") }
}

/// Names a peer as the rest of the server does; gives the number of the credential that it has shown.
pub(crate) fn named(mut peer: Peer) -> (Peer, u64) {
    let Some(shown) = peer.identity.take() else { return (peer, 1) };
    let (name, number) = holder(&shown);
    peer.identity = Some(if number == 1 { shown } else { name.into() });
    (peer, number)
}

/// Finds the credential of this number, if it opens anything: the one in force, or the one that waits.
pub(crate) fn sealed(device: &EnrolledDevice, number: u64) -> Option<&Sealed> {
    match &device.security {
        // What is left of a device that was given up.
        _ if device.retired_at.is_some() => None,
        Security::Psk { credential } if number == device.credential => Some(credential),
        Security::Psk { .. } if number == device.credential + 1 => device.next_credential.as_ref(),
        _ => None,
    }
}

/// The DTLS identities under which a device may have a session.
pub(crate) fn identities(device: &EnrolledDevice) -> Vec<String> {
    let numbers = [device.credential, device.credential + 1];
    let in_use = numbers.into_iter().filter(|number| sealed(device, *number).is_some());
    in_use.map(|number| identity(device.device.endpoint.as_str(), number)).collect()
}

impl Core {
    /// Takes down that a device has shown a credential by a handshake; until that is written, the one before it is taken too.
    pub(crate) async fn credential_shown(&self, name: &str, number: u64) {
        let Ok(id) = Endpoint::try_from(name) else { return };
        while let Err(error) = self.use_credential(&id, number).await {
            self.blame_disk(&error);
            if let Some(count) = self.quiet.failed.pass(self.now()) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, count, device = %id, "that a credential was used can't be kept; tried again");
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    async fn use_credential(&self, id: &Endpoint, number: u64) -> Result<(), StoreError> {
        let kind = EventKind::Done { deed: Deed::CredentialUsed { number }, by: By::default() };
        let events = [Event { at: self.now(), campaign: None, device: Some(id.clone()), kind }];
        if self.store.use_credential(&self.tenant, id, number, &events).await? {
            self.metrics.recorded(&events);
            tracing::info!(device = %id, number, "a new credential was used; the one before it is refused from now on");
            self.end_former(id, number - 1).await?;
        }
        Ok(())
    }

    /// Ends the credential that was in force, and all that sleeps of its device: that makes a handshake.
    pub(crate) async fn end_former(&self, id: &Endpoint, number: u64) -> Result<(), StoreError> {
        self.end_credential(id, number);
        self.forget_sessions_of(id.as_str()).await
    }

    /// Ends the sessions of a credential, and forgets its key. What sleeps of it does not open any more, and a registration
    /// that is under way over one of its sessions is looked at again.
    pub(crate) fn end_credential(&self, id: &Endpoint, number: u64) {
        self.registry.ends();
        let identity = identity(id.as_str(), number);
        self.dtls_keys.remove(&identity);
        for (_, shard) in self.metrics.doors() {
            shard.close_all_of(&identity);
        }
    }
}

/// While the store fails.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_names_the_device_and_which_of_its_credentials() {
        for number in [1, 2, 10, u64::MAX] {
            assert_eq!(holder(&identity("lamp-1", number)), ("lamp-1", number));
        }
        assert_eq!(holder("lamp-2"), ("lamp-2", 1));
    }

    #[test]
    fn number_that_nobody_writes_so_is_no_number() {
        for odd in [
            "lamp 1",
            "lamp 0",
            "lamp 02",
            "lamp +2",
            "lamp ",
            "lamp 2 ",
            "lamp x",
            "lamp 99999999999999999999",
        ] {
            // Nobody has such a name, so nobody has a key under it.
            assert_eq!(holder(odd), (odd, 1));
            assert!(Endpoint::try_from(odd).is_err());
        }
    }
}
