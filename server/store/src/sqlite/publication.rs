//! The row of what was published.

use async_trait::async_trait;

use super::SqliteStore;
use super::value::{backend, column, number};
use crate::error::StoreError;
use crate::publication::Publications;
use crate::tenant::Tenant;

#[async_trait]
impl Publications for SqliteStore {
    async fn published(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let seq: Option<i64> = sqlx::query_scalar("SELECT seq FROM publication WHERE tenant = ?")
            .bind(tenant.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(backend)?;
        number(seq.unwrap_or(0), "publication")
    }

    async fn set_published(&self, tenant: &Tenant, seq: u64) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO publication (tenant, seq) VALUES (?, ?) \
             ON CONFLICT (tenant) DO UPDATE SET seq = max(seq, excluded.seq)",
        )
        .bind(tenant.as_str())
        .bind(column(seq, "sequence number")?)
        .execute(&self.writer)
        .await
        .map_err(backend)?;
        Ok(())
    }
}
