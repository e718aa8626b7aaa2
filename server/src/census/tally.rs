//! Counts of one campaign, kept until something happens in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bellwether_decide::campaign::progress::ClassProgress;
use bellwether_decide::campaign::{Campaign, CampaignId};
use bellwether_store::ledger::Scope;

use crate::core::Core;
use crate::refusal::Refusal;

/// The devices of a campaign, counted.
#[derive(Debug)]
pub(crate) struct Tally {
    /// By class.
    pub(crate) classes: BTreeMap<String, ClassProgress>,
    /// Number of the last event that is counted in.
    pub(crate) as_of: u64,
    steady: u64,
}

/// Counts that were made lately.
#[derive(Default)]
pub(super) struct Tallies(Mutex<HashMap<CampaignId, Arc<Tally>>>);

impl Core {
    /// Counts the devices of a campaign by class and stage. While much happens in it, the counts of a second ago serve.
    ///
    /// # Errors
    ///
    /// [`Refusal::internal`].
    pub(crate) async fn tally(&self, campaign: &Campaign) -> Result<Arc<Tally>, Refusal> {
        let id = campaign.id;
        let steady = self.steady();
        let kept = self.census.tallies.find(id);
        if let Some(kept) = kept.clone().filter(|kept| kept.steady == steady) {
            return Ok(kept);
        }
        let last = self.store.latest_events(&self.tenant, Scope::Campaign(id), 1).await;
        let as_of = last.map_err(Refusal::internal)?.last().map_or(0, |event| event.seq);
        if let Some(kept) = kept.filter(|kept| kept.as_of == as_of) {
            return Ok(kept);
        }
        let standing = self.store.standing(&self.tenant, id).await.map_err(Refusal::internal)?;
        let classes = standing.map(|standing| standing.classes()).unwrap_or_default();
        let tally = Arc::new(Tally { classes, as_of, steady });
        self.census.tallies.keep(id, Arc::clone(&tally));
        Ok(tally)
    }
}

impl Tallies {
    fn find(&self, id: CampaignId) -> Option<Arc<Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn keep(&self, id: CampaignId, tally: Arc<Tally>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= TALLIES_MAX {
            kept.clear();
        }
        kept.insert(id, tally);
    }
}

/// Campaigns whose counts are kept, a few kilobytes each: those of a dozen pages of the list.
const TALLIES_MAX: usize = 256;
