//! Rows of manifests and releases.

use async_trait::async_trait;
use bellwether_decide::release::{Class, Release, ReleaseId};
use sqlx::FromRow;

use super::failed::{backend, not_added};
use super::{Db, SqlStore, Transaction, campaign, event, resource};
use crate::Digest;
use crate::bounds::{BLOB_BYTES_MAX, DOCUMENT_BYTES_MAX, NAME_BYTES_MAX, STATEMENT_ROWS_MAX};
use crate::catalogue::{
    Catalogue, CataloguedRelease, Manifest, ManifestSummary, NewRelease, Recall, Recalling, Resource,
    ResourceKey,
};
use crate::codec::component;
use crate::columns::{bounded, column, digest, number, page, touched, unreadable};
use crate::error::{AddError, StoreError, UpdateError};
use crate::tenant::Tenant;

#[async_trait]
impl Catalogue for SqlStore {
    async fn add_manifest(&self, tenant: &Tenant, manifest: &Manifest) -> Result<(), AddError> {
        bounded(manifest.envelope.len(), DOCUMENT_BYTES_MAX, "envelope")?;
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO manifest (tenant, digest, sequence, uploaded_at, envelope) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(tenant.as_str())
        .bind(&manifest.digest[..])
        .bind(column(manifest.sequence, "manifest sequence number")?)
        .bind(column(manifest.uploaded_at, "time")?)
        .bind(&manifest.envelope)
        .execute(&mut *tx)
        .await
        .map_err(not_added)?;
        Ok(tx.commit().await.map_err(backend)?)
    }

    async fn manifest(&self, tenant: &Tenant, digest: &Digest) -> Result<Option<Manifest>, StoreError> {
        let row: Option<ManifestRow> =
            sqlx::query_as("SELECT * FROM manifest WHERE tenant = $1 AND digest = $2")
                .bind(tenant.as_str())
                .bind(&digest[..])
                .fetch_optional(&self.readers)
                .await
                .map_err(backend)?;
        row.map(Manifest::try_from).transpose()
    }

    async fn manifests(&self, tenant: &Tenant, rows_max: u32) -> Result<Vec<ManifestSummary>, StoreError> {
        let rows: Vec<SummaryRow> = sqlx::query_as(
            "SELECT digest, sequence, uploaded_at, CAST(length(envelope) AS BIGINT) AS envelope_bytes FROM manifest \
             WHERE tenant = $1 ORDER BY sequence DESC, digest LIMIT $2",
        )
        .bind(tenant.as_str())
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(ManifestSummary::try_from).collect()
    }

    async fn add_release(&self, tenant: &Tenant, release: &NewRelease) -> Result<ReleaseId, AddError> {
        let mut tx = self.begin().await?;
        let id = self.next_number(&mut tx, tenant, "release").await?;
        insert_release(&mut tx, tenant, id, release).await?;
        tx.commit().await.map_err(backend)?;
        Ok(ReleaseId(id))
    }

    async fn releases(
        &self,
        tenant: &Tenant,
        after: Option<ReleaseId>,
        rows_max: u32,
    ) -> Result<Vec<CataloguedRelease>, StoreError> {
        let rows: Vec<ReleaseRow> =
            sqlx::query_as("SELECT * FROM release WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3")
                .bind(tenant.as_str())
                .bind(column(after.map_or(0, |id| id.0), "number of a release")?)
                .bind(page(rows_max))
                .fetch_all(&self.readers)
                .await
                .map_err(backend)?;
        rows.into_iter().map(CataloguedRelease::try_from).collect()
    }

    async fn releases_with(
        &self,
        tenant: &Tenant,
        digests: &[Digest],
    ) -> Result<Vec<CataloguedRelease>, StoreError> {
        let mut digests: Vec<&Digest> = digests.iter().collect();
        digests.sort_unstable();
        digests.dedup();
        let mut releases: Vec<CataloguedRelease> = Vec::new();
        for chunk in digests.chunks(STATEMENT_ROWS_MAX) {
            let names: serde_json::Value = chunk.iter().map(hex::encode).collect();
            let rows: Vec<ReleaseRow> = sqlx::query_as(concat!(
                "SELECT * FROM release WHERE tenant = $1 AND digest IN ",
                digests!("$2")
            ))
            .bind(tenant.as_str())
            .bind(names.to_string())
            .fetch_all(&self.readers)
            .await
            .map_err(backend)?;
            for row in rows {
                releases.push(row.try_into()?);
            }
        }
        releases.sort_by_key(|kept| kept.release.id);
        Ok(releases)
    }

    async fn releases_of(
        &self,
        tenant: &Tenant,
        class: &Class,
    ) -> Result<Vec<CataloguedRelease>, StoreError> {
        let rows: Vec<ReleaseRow> = sqlx::query_as(
            "SELECT * FROM release WHERE tenant = $1 AND vendor_id = $2 AND class_id = $3 ORDER BY id DESC LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(&class.vendor[..])
        .bind(&class.class[..])
        .bind(page(u32::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(CataloguedRelease::try_from).collect()
    }

    async fn set_recall(&self, tenant: &Tenant, recalling: Recalling<'_>) -> Result<(), UpdateError> {
        let Recalling { release, recall, events, command } = recalling;
        bounded(recall.map_or(0, |recall| recall.why.len()), BLOB_BYTES_MAX, "reason of a recall")?;
        let mut tx = self.begin().await?;
        campaign::keep_new_command(&mut tx, tenant, command).await?;
        let at = recall.map(|recall| column(recall.at, "time")).transpose()?;
        let done = sqlx::query(
            "UPDATE release SET recalled_at = $1, recalled_why = $2 WHERE tenant = $3 AND id = $4 \
             AND (recalled_at IS NULL) = $5",
        )
        .bind(at)
        .bind(recall.map(|recall| recall.why.as_str()))
        .bind(tenant.as_str())
        .bind(column(release.0, "number of a release")?)
        .bind(recall.is_some())
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        touched(done.rows_affected())?;
        event::append(&mut tx, tenant, events).await?;
        Ok(tx.commit().await.map_err(backend)?)
    }

    async fn put_resource(
        &self,
        tenant: &Tenant,
        key: &ResourceKey,
        resource: &Resource,
    ) -> Result<Resource, StoreError> {
        resource::put(self, tenant, key, None, resource).await
    }

    async fn replace_resource(
        &self,
        tenant: &Tenant,
        key: &ResourceKey,
        lost: &Digest,
        resource: &Resource,
    ) -> Result<Resource, StoreError> {
        resource::put(self, tenant, key, Some(lost), resource).await
    }

    async fn resource(&self, tenant: &Tenant, key: &ResourceKey) -> Result<Option<Resource>, StoreError> {
        resource::read(&self.readers, tenant, key).await
    }

    async fn resources_to(
        &self,
        tenant: &Tenant,
        target: &Digest,
    ) -> Result<Vec<(ResourceKey, Resource)>, StoreError> {
        resource::read_to(&self.readers, tenant, target).await
    }

    async fn resource_by_root(&self, tenant: &Tenant, root: &Digest) -> Result<Option<Resource>, StoreError> {
        resource::read_by_root(&self.readers, tenant, root).await
    }
}

impl SqlStore {
    /// Draws the next number of a kind of row; the numbers begin at 1 and are never given twice.
    pub(super) async fn next_number(
        &self,
        tx: &mut Transaction<'_, Db>,
        tenant: &Tenant,
        name: &'static str,
    ) -> Result<u64, StoreError> {
        let last: i64 = sqlx::query_scalar(
            "INSERT INTO counter (tenant, name, last) VALUES ($1, $2, 1) \
             ON CONFLICT (tenant, name) DO UPDATE SET last = counter.last + 1 RETURNING last",
        )
        .bind(tenant.as_str())
        .bind(name)
        .fetch_one(&mut **tx)
        .await
        .map_err(backend)?;
        number(last, "counter")
    }
}

async fn insert_release(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: u64,
    release: &NewRelease,
) -> Result<(), AddError> {
    bounded(release.vendor.len(), NAME_BYTES_MAX, "vendor name")?;
    bounded(release.class_name.len(), NAME_BYTES_MAX, "class name")?;
    bounded(release.version.len(), NAME_BYTES_MAX, "version")?;
    let component = component::encode(&release.component);
    bounded(component.len(), BLOB_BYTES_MAX, "component id")?;
    sqlx::query(
        "INSERT INTO release (tenant, id, vendor, class, vendor_id, class_id, component, version, digest, size, open, \
         published_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(tenant.as_str())
    .bind(column(id, "number of a release")?)
    .bind(&release.vendor)
    .bind(&release.class_name)
    .bind(&release.class.vendor[..])
    .bind(&release.class.class[..])
    .bind(component)
    .bind(&release.version)
    .bind(&release.digest[..])
    .bind(column(release.size, "size of an image")?)
    .bind(release.open)
    .bind(column(release.published_at, "time")?)
    .execute(&mut **tx)
    .await
    .map_err(not_added)?;
    Ok(())
}

#[derive(FromRow)]
struct ManifestRow {
    digest: Vec<u8>,
    sequence: i64,
    uploaded_at: i64,
    envelope: Vec<u8>,
}

impl TryFrom<ManifestRow> for Manifest {
    type Error = StoreError;

    fn try_from(row: ManifestRow) -> Result<Self, StoreError> {
        Ok(Self {
            digest: digest(row.digest, "manifest")?,
            sequence: number(row.sequence, "manifest")?,
            uploaded_at: number(row.uploaded_at, "manifest")?,
            envelope: row.envelope,
        })
    }
}

#[derive(FromRow)]
struct SummaryRow {
    digest: Vec<u8>,
    sequence: i64,
    uploaded_at: i64,
    envelope_bytes: i64,
}

impl TryFrom<SummaryRow> for ManifestSummary {
    type Error = StoreError;

    fn try_from(row: SummaryRow) -> Result<Self, StoreError> {
        Ok(Self {
            digest: digest(row.digest, "manifest")?,
            sequence: number(row.sequence, "manifest")?,
            uploaded_at: number(row.uploaded_at, "manifest")?,
            envelope_bytes: number(row.envelope_bytes, "manifest")?,
        })
    }
}

#[derive(FromRow)]
struct ReleaseRow {
    id: i64,
    vendor: String,
    class: String,
    vendor_id: Vec<u8>,
    class_id: Vec<u8>,
    component: Vec<u8>,
    version: String,
    digest: Vec<u8>,
    size: i64,
    open: bool,
    published_at: i64,
    recalled_at: Option<i64>,
    recalled_why: Option<String>,
}

impl TryFrom<ReleaseRow> for CataloguedRelease {
    type Error = StoreError;

    fn try_from(row: ReleaseRow) -> Result<Self, StoreError> {
        let uuid = |bytes: Vec<u8>| bytes.try_into().map_err(|_| unreadable("release", "an id is no UUID"));
        let release = Release {
            id: ReleaseId(number(row.id, "release")?),
            class: Class { vendor: uuid(row.vendor_id)?, class: uuid(row.class_id)? },
            component: component::decode(&row.component).map_err(|cause| unreadable("release", cause))?,
            version: row.version,
            digest: digest(row.digest, "release")?,
            size: number(row.size, "release")?,
            open: row.open,
        };
        let recalled = row.recalled_at.map(|at| -> Result<_, StoreError> {
            Ok(Recall { at: number(at, "release")?, why: row.recalled_why.unwrap_or_default() })
        });
        Ok(Self {
            recalled: recalled.transpose()?,
            release,
            vendor: row.vendor,
            class_name: row.class,
            published_at: number(row.published_at, "release")?,
        })
    }
}
