//! The ledger's calls.

use async_trait::async_trait;
use bellwether_decide::alarm::{AlarmKey, Occurrence};
use bellwether_decide::campaign::event::Event;

use super::{SqlStore, alarm, event, retention};
use crate::error::StoreError;
use crate::ledger::{Cut, KeptAlarm, Ledger, Recorded, Scope};
use crate::tenant::Tenant;

#[async_trait]
impl Ledger for SqlStore {
    async fn append(&self, tenant: &Tenant, events: &[Event]) -> Result<u64, StoreError> {
        let mut turn = self.turn().await?;
        let appended = event::append(&mut turn, tenant, events).await;
        turn.end(appended).await
    }

    async fn events(
        &self,
        tenant: &Tenant,
        scope: Scope<'_>,
        since: u64,
        rows_max: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        event::read(&self.readers, tenant, scope, since, rows_max).await
    }

    async fn latest_events(
        &self,
        tenant: &Tenant,
        scope: Scope<'_>,
        rows_max: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        event::latest(&self.readers, tenant, scope, rows_max).await
    }

    async fn old_until(&self, tenant: &Tenant, before: u64, now: u64) -> Result<u64, StoreError> {
        retention::old_until(&self.readers, tenant, before, now).await
    }

    async fn unneeded_events(
        &self,
        tenant: &Tenant,
        since: u64,
        until: u64,
        rows_max: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        retention::unneeded(&self.readers, tenant, (since, until), rows_max).await
    }

    async fn remove_events(&self, tenant: &Tenant, numbers: &[u64], at: u64) -> Result<u64, StoreError> {
        let mut turn = self.turn().await?;
        let removed = retention::remove(&mut turn, tenant, numbers, at).await;
        turn.end(removed).await
    }

    async fn cut(&self, tenant: &Tenant) -> Result<Option<Cut>, StoreError> {
        retention::cut(&self.readers, tenant).await
    }

    async fn raise(&self, tenant: &Tenant, occurrences: &[Occurrence]) -> Result<Vec<AlarmKey>, StoreError> {
        let mut turn = self.turn().await?;
        let raised = alarm::raise(&mut turn, tenant, occurrences).await;
        turn.end(raised).await
    }

    async fn alarms(
        &self,
        tenant: &Tenant,
        before: Option<&AlarmKey>,
        rows_max: u32,
    ) -> Result<Vec<KeptAlarm>, StoreError> {
        alarm::read(&self.readers, tenant, before, rows_max).await
    }
}
