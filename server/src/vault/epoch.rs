//! The seed that follows: computed when it is asked for, kept only once a message under it was believed.

use std::sync::Arc;

use bellwether_decide::identity::{Place, Shares};
use bellwether_keys::chain::{self, ChainLength};
use bellwether_keys::derive::DeriveError;
use bellwether_keys::seed::{SEED_BYTES, Seed};
use bellwether_keys::share::{self, PrivateShare, PublicShare};
use bellwether_store::Sealed;
use bellwether_store::device::{EpochKeys, Identity};
use zeroize::Zeroize;

use super::{LINKS, PlaceKeys, SEED, Vault, VaultError, kind_of, place_keys, spaced_bytes};

/// What the next epoch's keys come from, if a re-seeding was confirmed with these shares.
pub struct NextSeed {
    /// The epoch.
    pub epoch: u16,
    /// The shares that are mixed in; `None`: it follows from the seed before alone.
    pub shares: Option<Shares>,
    seed: Seed,
}

impl Vault {
    /// Computes the seed that follows the one of the identity's epoch; `None` where that one was destroyed, or where
    /// there is no further epoch.
    ///
    /// # Errors
    ///
    /// [`VaultError::Share`] for shares that are none or not this vault's, [`VaultError::Sealed`].
    pub fn next_seed(
        &self,
        identity: &Identity,
        shares: Option<&Shares>,
    ) -> Result<Option<NextSeed>, VaultError> {
        let (id, epoch) = (identity.id.as_str(), identity.state.place.epoch);
        let sealed = identity.epoch(epoch).and_then(|keys| keys.seed.as_ref());
        let Some((next, sealed)) = epoch.checked_add(1).zip(sealed) else {
            return Ok(None);
        };
        let agreed = match shares {
            Some(shares) => Some(self.agreed(id, next, shares)?),
            None => None,
        };
        let seed = self.open_seed(id, epoch, sealed)?.next(id, epoch, agreed.as_ref())?;
        Ok(Some(NextSeed { epoch: next, shares: shares.cloned(), seed }))
    }

    /// Computes the seed that follows the next one, without shares.
    ///
    /// # Errors
    ///
    /// [`VaultError::Derive`].
    pub fn following(&self, identity: &Identity, next: &NextSeed) -> Result<Option<NextSeed>, VaultError> {
        let Some(epoch) = next.epoch.checked_add(1) else { return Ok(None) };
        let seed = next.seed.next(identity.id.as_str(), next.epoch, None)?;
        Ok(Some(NextSeed { epoch, shares: None, seed }))
    }

    /// Gives the public half of the server's share for the seed of `epoch`; the same for every grant that leads there.
    ///
    /// # Errors
    ///
    /// [`VaultError::Share`], which no valid name ends in.
    pub fn server_share(&self, id: &str, epoch: u16) -> Result<PublicShare, VaultError> {
        Ok(self.private_share(id, epoch)?.public()?)
    }

    /// Derives the keys of a place of the next epoch; `None` for an index past the chain's end.
    ///
    /// # Errors
    ///
    /// [`VaultError::Chain`], [`VaultError::Derive`].
    pub fn next_keys(
        &self,
        identity: &Identity,
        next: &NextSeed,
        place: Place,
    ) -> Result<Option<Arc<PlaceKeys>>, VaultError> {
        if place.epoch != next.epoch || place.index >= identity.chain_length {
            return Ok(None);
        }
        let link = chain::link(&next.seed, place.index, length_of(identity)?)?;
        Ok(Some(Arc::new(place_keys(identity.id.as_str(), &link, place)?)))
    }

    /// Seals seed and links of the next epoch, for the store.
    ///
    /// # Errors
    ///
    /// [`VaultError::Randomness`], [`VaultError::Chain`].
    pub fn seal_epoch(&self, identity: &Identity, next: &NextSeed) -> Result<EpochKeys, VaultError> {
        let id = identity.id.as_str();
        let links = spaced_bytes(&next.seed, length_of(identity)?);
        Ok(EpochKeys {
            epoch: next.epoch,
            seed: Some(self.seal(&kind_of(SEED, next.epoch), id, next.seed.expose())?),
            links: self.seal(&kind_of(LINKS, next.epoch), id, &links)?,
        })
    }

    fn open_seed(&self, id: &str, epoch: u16, sealed: &Sealed) -> Result<Seed, VaultError> {
        let opened = self.open_sealed(&kind_of(SEED, epoch), id, sealed)?;
        let mut bytes: [u8; SEED_BYTES] = opened.as_slice().try_into().map_err(|_| DeriveError::Length)?;
        let seed = Seed::new(bytes);
        bytes.zeroize();
        Ok(seed)
    }

    fn agreed(&self, id: &str, epoch: u16, shares: &Shares) -> Result<share::SharedSecret, VaultError> {
        let ours = self.private_share(id, epoch)?;
        if ours.public()?.as_bytes()[..] != shares.server[..] {
            return Err(VaultError::OtherShare);
        }
        Ok(share::agree(&ours, &PublicShare::parse(&shares.device)?)?)
    }

    fn private_share(&self, id: &str, epoch: u16) -> Result<PrivateShare, VaultError> {
        let secret = self.master.derive(&self.label(SHARES, id))?;
        Ok(PrivateShare::derive(secret.expose(), id, epoch)?)
    }
}

fn length_of(identity: &Identity) -> Result<ChainLength, VaultError> {
    Ok(ChainLength::try_from(u64::from(identity.chain_length))?)
}

/// Label of the secret that the server's shares are derived from; never rename, or open grants with shares are lost.
const SHARES: &str = "shares";

#[cfg(test)]
mod tests {
    use bellwether_decide::device::Endpoint;
    use bellwether_decide::identity::IdentityState;
    use bellwether_keys::sealing::MasterKey;
    use bellwether_manifests::message;

    use super::*;
    use bellwether_net::ThisMachine;

    /// A vault, an identity of it, and the seed that its device has.
    fn enrolled() -> (Vault, Identity, Seed) {
        let vault = Vault::new(Arc::new(ThisMachine), "default", MasterKey::new([7; 32]));
        let secrets = vault.new_secrets("lamp-1", ChainLength::DEFAULT).expect("drawn");
        let keys = EpochKeys { epoch: 0, seed: Some(secrets.sealed_seed), links: secrets.sealed_links };
        let id = Endpoint::try_from("lamp-1").expect("a name");
        let identity = Identity {
            endpoint: id.clone(),
            id,
            chain_length: 1024,
            keys: vec![keys],
            state: IdentityState::new(0),
        };
        (vault, identity, secrets.seed)
    }

    fn receipt_under(keys: &PlaceKeys, index: u16) -> Vec<u8> {
        let place = message::Place { id: "lamp-1", epoch: 1, index };
        let receipt = message::Receipt { place, report: &[1; 32], now: 2 };
        bellwether_keys::mac::seal_receipt_to_vec(&keys.down, &receipt).expect("sealed")
    }

    /// What the device's side computes.
    fn device_keys(seed: &Seed, index: u16) -> PlaceKeys {
        let link = chain::link(seed, index, ChainLength::DEFAULT).expect("in the chain");
        place_keys("lamp-1", &link, Place { epoch: 1, index }).expect("derived")
    }

    #[test]
    fn keys_of_the_next_epoch_are_the_device_s_before_and_after_they_are_kept() {
        let (vault, mut identity, seed) = enrolled();
        let next = vault.next_seed(&identity, None).expect("computed").expect("there is one");
        let kept = vault.seal_epoch(&identity, &next).expect("sealed");
        identity.keys.push(kept);
        for index in [0, 64, 1023] {
            let place = Place { epoch: 1, index };
            let expected =
                receipt_under(&device_keys(&seed.next("lamp-1", 0, None).expect("next"), index), index);
            let before = vault.next_keys(&identity, &next, place).expect("derived").expect("in the chain");
            let after = vault.keys(&identity, place).expect("derived").expect("kept");
            assert_eq!(
                [receipt_under(&before, index), receipt_under(&after, index)],
                [expected.clone(), expected]
            );
        }
        let past = Place { epoch: 1, index: 1024 };
        assert!(vault.next_keys(&identity, &next, past).expect("derived").is_none());
    }

    #[test]
    fn with_shares_both_sides_have_a_seed_that_the_old_one_does_not_give() {
        let (vault, identity, seed) = enrolled();
        let device = PrivateShare::from_random([9; 32]).expect("a scalar");
        let server = vault.server_share("lamp-1", 1).expect("derived");
        let public = device.public().expect("a point");
        let shares = Shares { server: server.as_bytes().to_vec(), device: public.as_bytes().to_vec() };
        let next = vault.next_seed(&identity, Some(&shares)).expect("computed").expect("there is one");
        let place = Place { epoch: 1, index: 0 };
        let ours = vault.next_keys(&identity, &next, place).expect("derived").expect("in the chain");
        let agreed = share::agree(&device, &server).expect("agreed");
        let theirs = device_keys(&seed.next("lamp-1", 0, Some(&agreed)).expect("next"), 0);
        let stolen = device_keys(&seed.next("lamp-1", 0, None).expect("next"), 0);
        assert_eq!(receipt_under(&ours, 0), receipt_under(&theirs, 0));
        assert_ne!(receipt_under(&ours, 0), receipt_under(&stolen, 0));
    }

    #[test]
    fn share_that_this_vault_did_not_give_is_refused() {
        let (vault, identity, _) = enrolled();
        let other = PrivateShare::from_random([9; 32]).and_then(|share| share.public()).expect("a point");
        let shares = Shares { server: other.as_bytes().to_vec(), device: other.as_bytes().to_vec() };
        assert!(matches!(vault.next_seed(&identity, Some(&shares)), Err(VaultError::OtherShare)));
    }

    #[test]
    fn after_the_seed_is_destroyed_its_epoch_still_verifies_and_leads_nowhere() {
        let (vault, mut identity, _) = enrolled();
        identity.keys[0].seed = None;
        assert!(vault.next_seed(&identity, None).expect("looked").is_none());
        assert!(vault.keys(&identity, Place { epoch: 0, index: 7 }).expect("derived").is_some());
    }

    #[test]
    fn links_of_one_epoch_do_not_open_as_another_s() {
        let (vault, mut identity, _) = enrolled();
        let moved = EpochKeys { epoch: 1, ..identity.keys[0].clone() };
        identity.keys.push(moved);
        let keys = vault.keys(&identity, Place { epoch: 1, index: 0 });
        assert!(matches!(keys, Err(VaultError::Sealed { .. })));
    }
}
