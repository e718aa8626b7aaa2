//! The place moves: by a confirming report to its successor, by an operator's verdict anywhere ahead.
//!
//! With a new epoch the seed is replaced. What is still owed at a place of the old one keeps its own keys in the
//! record: that of the receipt for a report that waits, those of both ways for a grant whose last report is still to
//! come. They open nothing else.
//!
//! Source: protocol.md §3, "Re-seeding"; update.cddl, "keys".

use super::record::{Granted, PassedKeys, Place, Record, State};
use super::updater::{UpdateError, Updater};
use crate::platform::{Flash, Random};
use bellwether_keys::chain::{self, Link};
use bellwether_keys::fork::ForkHead;
use bellwether_keys::share::{PublicShare, SharedSecret, agree};
use bellwether_keys::{DownKey, Secret, Seed, UpKey, derive};
use bellwether_manifests::message::Grant;

/// Where the place goes.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) place: Place,
    /// The seed of its epoch, where that is another one.
    pub(super) seed: Option<Seed>,
}

impl<F: Flash, R: Random> Updater<'_, F, R> {
    /// Computes where confirming this grant leads from the place that counts now.
    pub(super) fn successor(&self, grant: &Grant<'_>) -> Result<Next, UpdateError<F::Error>> {
        let Place { epoch, index } = self.record.place;
        if grant.options.reseed != Some(true) {
            let index = index.checked_add(1).ok_or(chain::ChainError::PastEnd(index))?;
            return Ok(Next { place: Place { epoch, index }, seed: None });
        }
        let shared = self.shared_secret(grant)?;
        let seed = self.record.seed.next(self.facts.id, epoch, shared.as_ref())?;
        Ok(Next { place: Place { epoch: epoch.saturating_add(1), index: 0 }, seed: Some(seed) })
    }

    /// What both shares of the grant give; `None` where it has none.
    fn shared_secret(&self, grant: &Grant<'_>) -> Result<Option<SharedSecret>, UpdateError<F::Error>> {
        let Some(shares) = grant.options.shares else {
            return Ok(None);
        };
        // Both were looked at before the grant was accepted.
        let ours = self.record.share.as_ref().ok_or(UpdateError::KeyGone)?;
        Ok(Some(agree(ours, &PublicShare::parse(shares.server)?)?))
    }

    /// Moves place and fork head; the caller writes. The open request and the share end with the place.
    pub(super) fn move_to(&mut self, next: Next, fork: ForkHead) -> Result<(), UpdateError<F::Error>> {
        if let Some(seed) = next.seed {
            self.keep_passed_keys()?;
            self.record.seed = seed;
            self.seed_replaced = true;
        }
        self.record.place = next.place;
        self.record.fork = fork;
        self.record.share = None;
        self.asked = None;
        self.echo = None;
        Ok(())
    }

    /// Takes out of the seed what is still needed when it goes.
    fn keep_passed_keys(&mut self) -> Result<(), UpdateError<F::Error>> {
        for slot in 0..self.record.reports.len() {
            let Some(report) =
                self.record.reports[slot].as_ref().filter(|report| report.receipt_key.is_none())
            else {
                continue;
            };
            let key = Secret::new(*self.down_key(report.place)?.expose());
            if let Some(report) = &mut self.record.reports[slot] {
                report.receipt_key = Some(key);
            }
        }
        let Some(granted) = self.record.granted().filter(|granted| granted.keys.is_none()) else {
            return Ok(());
        };
        let keys = PassedKeys {
            up: Secret::new(*self.up_key(granted.place)?.expose()),
            down: Secret::new(*self.down_key(granted.place)?.expose()),
        };
        if let State::Granted(granted) = &mut self.record.state {
            granted.keys = Some(keys);
        }
        Ok(())
    }

    /// Gives the key of requests and reports at a place: one of this epoch, or that of the open grant.
    pub(super) fn up_key(&self, place: Place) -> Result<UpKey, UpdateError<F::Error>> {
        let of = place.of(self.facts.id);
        match self.passed_keys(place)? {
            Some(keys) => Ok(UpKey::stored(keys.up.clone(), &of)?),
            None => Ok(derive::up(&self.link(place)?, &of)?),
        }
    }

    /// Gives the key of answers and receipts at a place: one of this epoch, or that of the open grant.
    pub(super) fn down_key(&self, place: Place) -> Result<DownKey, UpdateError<F::Error>> {
        let of = place.of(self.facts.id);
        match self.passed_keys(place)? {
            Some(keys) => Ok(DownKey::stored(keys.down.clone(), &of)?),
            None => Ok(derive::down(&self.link(place)?, &of)?),
        }
    }

    /// The kept keys of a place of an earlier epoch; `None` for one of this epoch, whose seed is there.
    fn passed_keys(&self, place: Place) -> Result<Option<&PassedKeys>, UpdateError<F::Error>> {
        if place.epoch == self.record.place.epoch {
            return Ok(None);
        }
        let of_place = |granted: &&Granted| granted.place == place;
        let keys = self.record.granted().filter(of_place).and_then(|granted| granted.keys.as_ref());
        keys.map(Some).ok_or(UpdateError::KeyGone)
    }

    /// Computes the chain's link at a place of this epoch.
    pub(super) fn link(&self, place: Place) -> Result<Link, UpdateError<F::Error>> {
        if place.epoch != self.record.place.epoch {
            return Err(UpdateError::KeyGone);
        }
        Ok(chain::link(&self.record.seed, place.index, self.record.chain_length)?)
    }

    /// Computes where an operator's verdict would lead; `None` for a place behind, too far ahead, or past the chain.
    ///
    /// An epoch that was made with shares is never reached so: its seed hangs on a secret that is not here.
    pub(super) fn ahead(&self, place: Place) -> Result<Option<Next>, UpdateError<F::Error>> {
        let from = self.record.place;
        if place < from || place.index > self.record.chain_length.last_index() {
            return Ok(None);
        }
        if place.epoch - from.epoch > EPOCHS_AHEAD_MAX {
            return Ok(None);
        }
        let mut seed = None;
        for epoch in from.epoch..place.epoch {
            let before = seed.as_ref().unwrap_or(&self.record.seed);
            seed = Some(before.next(self.facts.id, epoch, None)?);
        }
        Ok(Some(Next { place, seed }))
    }
}

impl Next {
    /// Gives the key of answers at this place.
    pub(super) fn down_key<E>(&self, id: &str, record: &Record) -> Result<DownKey, UpdateError<E>> {
        let seed = self.seed.as_ref().unwrap_or(&record.seed);
        let link = chain::link(seed, self.place.index, record.chain_length)?;
        Ok(derive::down(&link, &self.place.of(id))?)
    }
}

/// Epochs that a verdict may skip: its MAC is under the last one's key, so each costs a derivation before anything is
/// known to be authentic. A device re-seeds a few times in its life.
const EPOCHS_AHEAD_MAX: u16 = 16;
