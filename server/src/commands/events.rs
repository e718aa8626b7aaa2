//! The ledger as the trail of what happened: who did what, when and why.

use bellwether_api::{EventPage, LedgerCut, ListEvents};
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::deed::Deed;
use bellwether_decide::device::Endpoint;
use bellwether_store::error::StoreError;
use bellwether_store::ledger::Scope;

use super::campaigns::campaign_id;
use super::devices::{endpoint, time};
use super::request::limit;
use crate::caller;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::view::told;

impl Core {
    /// Lists a page of the ledger, the oldest first.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for a page that can't be.
    pub async fn events(&self, asked: &ListEvents) -> Result<EventPage, Refusal> {
        let limit = limit(asked.limit)?;
        let device = asked.endpoint.as_deref().map(endpoint).transpose()?;
        let campaign = asked.campaign.as_deref().map(campaign_id).transpose()?;
        let scope = match (campaign, &device, asked.acts.unwrap_or_default()) {
            (None, None, false) => Scope::All,
            (None, None, true) => Scope::Acts,
            (Some(campaign), None, false) => Scope::Campaign(campaign),
            (Some(campaign), None, true) => Scope::Whole(campaign),
            (None, Some(device), false) => Scope::Device(device),
            _ => return Err(Refusal::invalid("endpoint: goes with neither campaign nor acts")),
        };
        // No event has a number that a column can't hold.
        let since = asked.since.unwrap_or_default().min(i64::MAX.unsigned_abs());
        let recorded =
            self.store.events(&self.tenant, scope, since, limit).await.map_err(Refusal::internal)?;
        let is_full = recorded.len() == limit as usize;
        let next = recorded.last().filter(|_| is_full).map(|last| last.seq);
        let cut = self.store.cut(&self.tenant).await.map_err(Refusal::internal)?;
        let cut = cut.filter(|cut| since.saturating_add(1) < cut.kept_from).map(|cut| LedgerCut {
            kept_from: cut.kept_from,
            kept_since: cut.kept_since,
            cut_at: cut.cut_at,
        });
        Ok(EventPage { events: recorded.iter().map(told).collect(), next, cut })
    }

    /// Says of something that began at a time that the ledger does not have all of it any more; `None` where it has.
    pub(super) async fn cut_since(&self, began: u64) -> Result<Option<String>, StoreError> {
        let cut = self.store.cut(&self.tenant).await?.filter(|cut| began <= cut.kept_since);
        Ok(cut.map(|cut| {
            format!(
                "what happened before {} was exported and removed from the ledger, on {}",
                time(cut.kept_since),
                time(cut.cut_at)
            )
        }))
    }

    /// Writes down what somebody did that concerns no campaign.
    ///
    /// It follows the deed, in a commit of its own: a crash right in between leaves the deed without its line. Where it
    /// can't be written, the log has it: the deed stands, and its answer, which may hold a unit file, must not be lost.
    pub(super) async fn done(&self, device: Option<&Endpoint>, deed: Deed) {
        let by = caller::by(None, None);
        tracing::info!(
            what = deed.name(),
            device = device.map(Endpoint::as_str),
            who = by.who,
            why = by.why,
            "done"
        );
        let kind = EventKind::Done { deed, by };
        let event = Event { at: self.now(), campaign: None, device: device.cloned(), kind };
        let events = [event];
        match self.store.append(&self.tenant, &events).await {
            Ok(_) => self.metrics.recorded(&events),
            Err(error) => {
                self.health.doubt();
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    ?events,
                    "the ledger can't be written: this was done, and is not in it"
                );
            }
        }
    }
}
