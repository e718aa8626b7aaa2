//! Alarms: raised once per cause and day, with where they came from.

use bellwether_api::Alarm;
use bellwether_decide::alarm::Occurrence;
use bellwether_decide::device::Endpoint;
use bellwether_decide::key_index::{self, Decision};
use bellwether_store::device::Identity;

use crate::core::Core;
use crate::refusal::Refusal;
use crate::resolver::{RequestError, Sender, failed};

impl Core {
    /// Joins a decision's alarm with who and where from.
    pub(crate) fn occurrence(
        &self,
        sender: &Sender,
        identity: &Identity,
        decision: &Decision,
    ) -> Option<Occurrence> {
        let now = self.now();
        let known = self.registry.other_address(&identity.endpoint, &sender.address);
        let alarm = decision.alarm.clone()?;
        self.metrics.alarm(alarm.kind.name());
        if let Some(count) = self.quiet.alarm.pass(now) {
            let (device, row, kind) = (&identity.endpoint, decision.row.name(), alarm.kind.name());
            tracing::warn!(%device, row, kind, cause = alarm.cause, count, "alarm; told at most once a minute");
        }
        Some(alarm.occurred(&identity.endpoint, &sender.address, known.as_deref(), now))
    }

    /// Row 2: an unknown name, counted per address.
    pub(crate) async fn alarm_unknown(&self, sender: &Sender, name: &str) -> Result<(), RequestError> {
        let Some(alarm) = key_index::unknown_identity(name).alarm else {
            return Ok(());
        };
        let Ok(endpoint) = Endpoint::try_from(name) else {
            return Ok(());
        };
        self.metrics.alarm(alarm.kind.name());
        if let Some(count) = self.quiet.unknown.pass(self.now()) {
            tracing::warn!(
                name,
                from = sender.address,
                count,
                "unknown identities; told at most once a minute"
            );
        }
        let occurrence = alarm.occurred(&endpoint, &sender.address, None, self.now());
        self.store.raise(&self.tenant, &[occurrence]).await.map(drop).map_err(failed)
    }

    /// Lists alarms, the newest day first.
    ///
    /// # Errors
    ///
    /// [`Refusal::internal`].
    pub async fn alarms(&self) -> Result<Vec<Alarm>, Refusal> {
        let kept = self.store.alarms(&self.tenant, None, ALARMS_MAX).await.map_err(Refusal::internal)?;
        let alarms = kept.into_iter().map(|alarm| {
            let latest = alarm.latest;
            let addresses = latest.other_address.into_iter().chain([latest.address]).collect();
            Alarm {
                kind: latest.kind.name().to_owned(),
                device: latest.identity,
                text: latest.cause,
                addresses,
                count: alarm.count,
                first: alarm.first_at,
                last: latest.at,
            }
        });
        Ok(alarms.collect())
    }
}

/// Alarms in one answer: more than a person reads.
const ALARMS_MAX: u32 = 500;
