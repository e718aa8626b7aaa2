//! Rows of anchors and settings.

use async_trait::async_trait;

use super::SqlStore;
use super::failed::backend;
use crate::bounds::{BLOB_BYTES_MAX, DOCUMENT_BYTES_MAX, NAME_BYTES_MAX};
use crate::columns::{bounded, column, number, page};
use crate::error::{AddError, StoreError};
use crate::sealed::Sealed;
use crate::settings::{Anchors, Settings};
use crate::tenant::Tenant;

#[async_trait]
impl Settings for SqlStore {
    async fn add_anchors(&self, tenant: &Tenant, anchors: &Anchors) -> Result<(), AddError> {
        bounded(anchors.document.len(), DOCUMENT_BYTES_MAX, "anchors document")?;
        // No higher edition may be added between the look and the row.
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO anchors (tenant, edition, document, stored_at) SELECT $1, $2, $3, $4 \
             WHERE NOT EXISTS (SELECT 1 FROM anchors WHERE tenant = $1 AND edition >= $2)",
        )
        .bind(tenant.as_str())
        .bind(column(anchors.edition, "edition of the anchors")?)
        .bind(&anchors.document)
        .bind(column(anchors.stored_at, "time")?)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        if done.rows_affected() == 0 {
            return Err(AddError::Exists);
        }
        Ok(tx.commit().await.map_err(backend)?)
    }

    async fn anchors(&self, tenant: &Tenant) -> Result<Option<Anchors>, StoreError> {
        let row: Option<(i64, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT edition, document, stored_at FROM anchors WHERE tenant = $1 ORDER BY edition DESC LIMIT 1",
        )
        .bind(tenant.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(backend)?;
        row.map(read).transpose()
    }

    async fn anchors_since(
        &self,
        tenant: &Tenant,
        edition: u64,
        rows_max: u32,
    ) -> Result<Vec<Anchors>, StoreError> {
        let rows: Vec<(i64, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT edition, document, stored_at FROM anchors WHERE tenant = $1 AND edition > $2 ORDER BY edition LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(column(edition, "edition of the anchors")?)
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(read).collect()
    }

    async fn put_setting(&self, tenant: &Tenant, name: &str, value: &Sealed) -> Result<Sealed, StoreError> {
        bounded(name.len(), NAME_BYTES_MAX, "name of a setting")?;
        bounded(value.as_bytes().len(), BLOB_BYTES_MAX, "setting")?;
        let mut tx = self.begin().await?;
        // The update changes nothing: it makes RETURNING give the row that was there first.
        let kept: Vec<u8> = sqlx::query_scalar(
            "INSERT INTO setting (tenant, name, value_sealed) VALUES ($1, $2, $3) \
             ON CONFLICT (tenant, name) DO UPDATE SET value_sealed = setting.value_sealed RETURNING value_sealed",
        )
        .bind(tenant.as_str())
        .bind(name)
        .bind(value.as_bytes())
        .fetch_one(&mut *tx)
        .await
        .map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(Sealed::new(kept))
    }

    async fn setting(&self, tenant: &Tenant, name: &str) -> Result<Option<Sealed>, StoreError> {
        let kept: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT value_sealed FROM setting WHERE tenant = $1 AND name = $2")
                .bind(tenant.as_str())
                .bind(name)
                .fetch_optional(&self.readers)
                .await
                .map_err(backend)?;
        Ok(kept.map(Sealed::new))
    }

    async fn try_write(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO counter (tenant, name, last) VALUES ($1, 'probe', 1) \
             ON CONFLICT (tenant, name) DO UPDATE SET last = counter.last + 1",
        )
        .bind(tenant.as_str())
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        tx.commit().await.map_err(backend)
    }
}

fn read((edition, document, stored_at): (i64, Vec<u8>, i64)) -> Result<Anchors, StoreError> {
    let (edition, stored_at) = (number(edition, "anchors document")?, number(stored_at, "anchors document")?);
    Ok(Anchors { edition, document, stored_at })
}
