//! The row of what was published.

use async_trait::async_trait;

use super::SqlStore;
use super::failed::backend;
use crate::columns::{column, number};
use crate::error::StoreError;
use crate::publication::Publications;
use crate::tenant::Tenant;

#[async_trait]
impl Publications for SqlStore {
    async fn published(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let seq: Option<i64> = sqlx::query_scalar("SELECT seq FROM publication WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(backend)?;
        number(seq.unwrap_or(0), "publication")
    }

    async fn set_published(&self, tenant: &Tenant, seq: u64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(concat!(
            "INSERT INTO publication (tenant, seq) VALUES ($1, $2) ON CONFLICT (tenant) DO UPDATE SET seq = ",
            greatest!("publication.seq", "excluded.seq")
        ))
        .bind(tenant.as_str())
        .bind(column(seq, "sequence number")?)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        tx.commit().await.map_err(backend)
    }
}
