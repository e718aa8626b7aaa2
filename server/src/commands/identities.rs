//! Orders about identities: resync, reissue, forward, block, unblock.
//!
//! Each changes what the key-index table may do with the next messages of the device, and moves nothing by itself. Who
//! gave it, why and until when is in the ledger, in the same commit.

use std::sync::PoisonError;

use bellwether_api as api;
use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::identity::IdentityState;
use bellwether_decide::operator::{self, Act};
use bellwether_store::device::{Identity, Transition};
use bellwether_store::error::UpdateError;

use super::devices::{endpoint, unknown};
use super::digest;
use super::request::{by, command};
use crate::core::Core;
use crate::refusal::Refusal;

impl Core {
    /// Carries an order about one device out, once per request id.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`], [`Refusal::conflict`] where there is nothing to allow or the request id was used with
    /// another body.
    pub async fn operate(&self, act: Act, asked: &api::OrderDevice) -> Result<api::Device, Refusal> {
        let by = by(asked.who.as_ref(), Some(&asked.why))?;
        let id = endpoint(&asked.endpoint)?;
        for _ in 0..CONFLICTS_MAX {
            if self.carried_out(act.name(), &asked.request_id, asked).await?.is_some() {
                return self.device(&asked.endpoint).await;
            }
            let identity = self.store.identity(&self.tenant, &id).await.map_err(Refusal::internal)?;
            let identity = identity.ok_or_else(|| unknown(&asked.endpoint))?;
            let (state, until) = changed(act, asked, &identity.state, self.now())?;
            match self.write_order(act, asked, &identity, &state, (by.clone(), until)).await {
                Ok(()) => {
                    tracing::info!(device = asked.endpoint, act = act.name(), why = asked.why, "ordered");
                    return self.device(&asked.endpoint).await;
                }
                Err(UpdateError::Conflict { .. } | UpdateError::CommandKept) => {}
                Err(error) => return Err(Refusal::internal(error)),
            }
        }
        Err(Refusal::conflict(format!("{} changes while it is ordered about; try again", asked.endpoint)))
    }

    async fn write_order(
        &self,
        act: Act,
        asked: &api::OrderDevice,
        identity: &Identity,
        state: &IdentityState,
        (by, until): (By, Option<u64>),
    ) -> Result<(), UpdateError> {
        let device = Some(identity.endpoint.clone());
        let kind = EventKind::Operated { act, by, until };
        let events = [Event { at: self.now(), campaign: None, device, kind }];
        let command = command(self.now(), act.name(), &asked.request_id, asked, &"done");
        let command = command.map_err(|refusal| bellwether_store::StoreError::Backend(refusal.into()))?;
        let transition = Transition {
            events: &events,
            command: Some(&command),
            ..Transition::new(identity.state.revision, state)
        };
        self.store.update_identity(&self.tenant, &identity.id, transition).await.map(drop)
    }

    /// Takes it that the database was restored from a backup: every device is challenged once, and what it proves is
    /// taken until this second.
    ///
    /// # Errors
    ///
    /// [`Refusal::conflict`] where the request id was used with another body.
    pub async fn resync_all(&self, asked: &api::ResyncAll) -> Result<api::Resynced, Refusal> {
        let by = by(asked.who.as_ref(), Some(&asked.why))?;
        let now = self.now();
        let until = later_than(now, asked.until.unwrap_or(now + RESYNC_ALL_S))?;
        if self.carried_out(RESYNC_ALL, &asked.request_id, asked).await?.is_none() {
            let kind = EventKind::Operated { act: Act::Resync, by, until: Some(until) };
            let events = [Event { at: now, campaign: None, device: None, kind }];
            let command = command(self.now(), RESYNC_ALL, &asked.request_id, asked, &"done")?;
            match self.store.add_restore(&self.tenant, until, &events, &command).await {
                Ok(restores) => {
                    tracing::warn!(
                        restores = restores.count,
                        why = asked.why,
                        "every device is challenged once"
                    );
                    *self.restores.write().unwrap_or_else(PoisonError::into_inner) = restores;
                }
                Err(UpdateError::CommandKept) => {}
                Err(error) => return Err(Refusal::internal(error)),
            }
        }
        let restores = self.restores();
        Ok(api::Resynced { restores: restores.count, until: restores.resync_until })
    }
}

/// The state that an order leads to, and until when it holds.
fn changed(
    act: Act,
    asked: &api::OrderDevice,
    state: &IdentityState,
    now: u64,
) -> Result<(IdentityState, Option<u64>), Refusal> {
    if asked.manifest.is_some() && act != Act::Reissue {
        return Err(Refusal::invalid("manifest: only reissue takes one"));
    }
    if asked.until.is_some() && matches!(act, Act::Reissue | Act::Unblock) {
        return Err(Refusal::invalid(format!("until: {} takes none", act.name())));
    }
    let until = asked.until.map(|until| later_than(now, until)).transpose()?;
    let for_a_day = until.unwrap_or(now + PERMIT_S);
    Ok(match act {
        Act::Resync => (operator::resync(state, for_a_day), Some(for_a_day)),
        Act::Forward => (operator::forward(state, for_a_day), Some(for_a_day)),
        Act::Block => (operator::block(state, until.unwrap_or(u64::MAX)), until),
        Act::Unblock => (operator::unblock(state), None),
        Act::Reissue => {
            let manifest = match &asked.manifest {
                Some(text) => digest(text)?,
                None => last_confirmed(state)?,
            };
            let state = operator::reissue(state, manifest);
            (state.map_err(|error| Refusal::conflict(error.to_string()))?, None)
        }
    })
}

fn last_confirmed(state: &IdentityState) -> Result<bellwether_store::Digest, Refusal> {
    let last = state.confirmed.values().next_back().map(|kept| kept.manifest);
    last.ok_or_else(|| Refusal::conflict("the device never confirmed an update: it gets one by asking"))
}

fn later_than(now: u64, until: u64) -> Result<u64, Refusal> {
    if until > now {
        return Ok(until);
    }
    Err(Refusal::invalid(format!("until: lies in the past; it is {now} now")))
}

/// Name of the command for all devices.
const RESYNC_ALL: &str = "resync-all";

/// How long a leave holds if nobody says: until the device's next contact, which is a matter of hours.
const PERMIT_S: u64 = 86_400;

/// How long proved places are taken after a restore if nobody says: devices that ask daily have asked by then.
const RESYNC_ALL_S: u64 = 2 * 86_400;

/// Times that an order is decided again because the device was heard meanwhile.
const CONFLICTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_that_an_order_would_not_keep_is_refused() {
        let asked = api::OrderDevice {
            request_id: "r".to_owned(),
            endpoint: "meter-1".to_owned(),
            why: "repair".to_owned(),
            who: None,
            until: Some(2_000),
            manifest: None,
        };
        let refused = |act| changed(act, &asked, &IdentityState::new(0), 1_000).err().map(|no| no.message);
        for act in [Act::Reissue, Act::Unblock] {
            assert!(refused(act).is_some_and(|text| text.starts_with("until: ")), "{act:?}");
        }
        for act in [Act::Resync, Act::Forward, Act::Block] {
            assert_eq!(refused(act), None, "{act:?}");
        }
    }
}
