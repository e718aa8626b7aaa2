//! Rows of anchors and settings.

use async_trait::async_trait;

use super::SqliteStore;
use super::value::{backend, bounded, column, number, page};
use crate::bounds::{BLOB_BYTES_MAX, DOCUMENT_BYTES_MAX, NAME_BYTES_MAX};
use crate::error::{AddError, StoreError};
use crate::sealed::Sealed;
use crate::settings::{Anchors, Settings};
use crate::tenant::Tenant;

#[async_trait]
impl Settings for SqliteStore {
    async fn add_anchors(&self, tenant: &Tenant, anchors: &Anchors) -> Result<(), AddError> {
        bounded(anchors.document.len(), DOCUMENT_BYTES_MAX, "anchors document")?;
        let done = sqlx::query(
            "INSERT INTO anchors (tenant, edition, document, stored_at) SELECT ?1, ?2, ?3, ?4 \
             WHERE NOT EXISTS (SELECT 1 FROM anchors WHERE tenant = ?1 AND edition >= ?2)",
        )
        .bind(tenant.as_str())
        .bind(column(anchors.edition, "edition of the anchors")?)
        .bind(&anchors.document)
        .bind(column(anchors.stored_at, "time")?)
        .execute(&self.writer)
        .await
        .map_err(backend)?;
        if done.rows_affected() == 0 { Err(AddError::Exists) } else { Ok(()) }
    }

    async fn anchors(&self, tenant: &Tenant) -> Result<Option<Anchors>, StoreError> {
        let row: Option<(i64, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT edition, document, stored_at FROM anchors WHERE tenant = ? ORDER BY edition DESC LIMIT 1",
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
            "SELECT edition, document, stored_at FROM anchors WHERE tenant = ? AND edition > ? ORDER BY edition LIMIT ?",
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
        // The update changes nothing: it makes RETURNING give the row that was there first.
        let kept: Vec<u8> = sqlx::query_scalar(
            "INSERT INTO setting (tenant, name, value_sealed) VALUES (?, ?, ?) \
             ON CONFLICT (tenant, name) DO UPDATE SET value_sealed = value_sealed RETURNING value_sealed",
        )
        .bind(tenant.as_str())
        .bind(name)
        .bind(value.as_bytes())
        .fetch_one(&self.writer)
        .await
        .map_err(backend)?;
        Ok(Sealed::new(kept))
    }

    async fn setting(&self, tenant: &Tenant, name: &str) -> Result<Option<Sealed>, StoreError> {
        let kept: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT value_sealed FROM setting WHERE tenant = ? AND name = ?")
                .bind(tenant.as_str())
                .bind(name)
                .fetch_optional(&self.readers)
                .await
                .map_err(backend)?;
        Ok(kept.map(Sealed::new))
    }

    async fn try_write(&self, tenant: &Tenant) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO counter (tenant, name, last) VALUES (?, 'probe', 1) \
             ON CONFLICT (tenant, name) DO UPDATE SET last = last + 1",
        )
        .bind(tenant.as_str())
        .execute(&self.writer)
        .await
        .map_err(backend)
        .map(drop)
    }
}

fn read((edition, document, stored_at): (i64, Vec<u8>, i64)) -> Result<Anchors, StoreError> {
    let (edition, stored_at) = (number(edition, "anchors document")?, number(stored_at, "anchors document")?);
    Ok(Anchors { edition, document, stored_at })
}
