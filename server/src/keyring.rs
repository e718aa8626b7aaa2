//! Which keys a message may be under: those of an epoch that is kept, else what the next epoch's may be.
//!
//! A device that confirmed a re-seeding grant speaks under a seed that the server has not stored yet. It is computed,
//! the message is verified under it, and only a decision that enters the epoch keeps it.

use std::sync::Arc;

use bellwether_decide::identity::{IdentityState, Place, Shares};
use bellwether_decide::key_index::{Decision, Entered, Row};
use bellwether_keys::mac::OpenError;
use bellwether_store::device::{EpochKeys, Identity};

use crate::core::Core;
use crate::resolver::{RequestError, failed};
use crate::vault::{NextSeed, PlaceKeys};

/// Keys under which a message was verified.
pub(crate) struct Keyed {
    /// The keys of its place.
    pub(crate) keys: Arc<PlaceKeys>,
    /// Where they come from, if they are not kept yet.
    pub(crate) next: Option<NextSeed>,
}

impl Keyed {
    /// The epoch that a decision enters under a seed which only shares give: nobody else can compute it.
    pub(crate) fn shared_epoch(&self, decision: &Decision) -> Option<u16> {
        let next = self.next.as_ref().filter(|next| next.shares.is_some() && decision.enters.is_some());
        next.map(|next| next.epoch)
    }
}

impl Core {
    /// Finds the keys of the claimed place under which a message is verified, and gives what was read of it.
    ///
    /// A place that has no key can't have made a right MAC.
    ///
    /// # Errors
    ///
    /// [`RequestError::NotAuthentic`] where no key fits (row 1).
    pub(crate) fn keyed<T>(
        &self,
        identity: &Identity,
        place: Place,
        verify: impl Fn(&PlaceKeys) -> Result<T, OpenError>,
    ) -> Result<(Keyed, T), RequestError> {
        if let Some(keys) = self.vault.keys(identity, place).map_err(failed)? {
            let read = verify(&keys).map_err(|error| self.turned(error))?;
            return Ok((Keyed { keys, next: None }, read));
        }
        for shares in shares_ahead(&identity.state, place) {
            let Some(next) = self.vault.next_seed(identity, shares).map_err(failed)? else { break };
            let Some(keys) = self.vault.next_keys(identity, &next, place).map_err(failed)? else { break };
            match verify(&keys) {
                Ok(read) => return Ok((Keyed { keys, next: Some(next) }, read)),
                Err(OpenError::Mac) => {}
                Err(error) => return Err(self.turned(error)),
            }
        }
        Err(self.not_authentic())
    }

    /// Seals the keys of the epochs up to the one that a decision enters, unless they are kept already.
    ///
    /// # Errors
    ///
    /// [`RequestError::NotAuthentic`] for a message whose MAC was made under another seed than the one that its grant
    /// leads to: who knows the old seed alone must not step in where shares were sent.
    pub(crate) fn entered(
        &self,
        identity: &Identity,
        decision: &Decision,
        keyed: &Keyed,
    ) -> Result<Vec<EpochKeys>, RequestError> {
        let Some(entered) = decision.enters.as_ref() else { return Ok(Vec::new()) };
        let mut sealed = Vec::new();
        let mut next = self.first_entered(identity, decision.row, entered, keyed)?;
        // More than one where reports that waited for a resync lead through an epoch.
        while let Some(seed) = next.filter(|seed| seed.epoch <= entered.epoch) {
            if identity.epoch(seed.epoch).is_none() {
                sealed.push(self.vault.seal_epoch(identity, &seed).map_err(failed)?);
            }
            next = self.vault.following(identity, &seed).map_err(failed)?;
        }
        if sealed.last().is_some_and(|keys| keys.epoch == entered.epoch) {
            return Ok(sealed);
        }
        Err(failed("the seed that the next one follows from is gone"))
    }

    /// The seed of the first epoch after the one where the identity stands.
    fn first_entered(
        &self,
        identity: &Identity,
        row: Row,
        entered: &Entered,
        keyed: &Keyed,
    ) -> Result<Option<NextSeed>, RequestError> {
        let proved = keyed.next.as_ref().map(|next| &next.shares);
        let shares = match proved {
            // Where a resync takes what a device proved, the key that it proved tells the shares.
            Some(shares) if row != Row::R12 => shares,
            Some(shares) if *shares != entered.shares => return Err(self.not_authentic()),
            _ => &entered.shares,
        };
        self.vault.next_seed(identity, shares.as_ref()).map_err(failed)
    }
}

/// The shares that the next seed may be made with, if the place is one of the next epoch: those of each grant at s that
/// re-seeds, and none at all, which is what a server that lost the grant by a restore can still compute.
fn shares_ahead(state: &IdentityState, place: Place) -> Vec<Option<&Shares>> {
    if state.place.reseeded().map(|next| next.epoch) != Some(place.epoch) {
        return Vec::new();
    }
    let mut ahead = Vec::new();
    for grant in state.grants.iter().filter(|grant| grant.place == state.place).rev() {
        let shares = grant.reseed.as_ref().and_then(|reseed| reseed.shares.as_ref());
        if shares.is_some() && !ahead.contains(&shares) {
            ahead.push(shares);
        }
    }
    ahead.push(None);
    ahead
}
