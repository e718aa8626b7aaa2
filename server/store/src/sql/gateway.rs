//! Rows of gateways.

use async_trait::async_trait;
use bellwether_decide::campaign::{CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use sqlx::FromRow;

use super::device::DeviceRow;
use super::failed::backend;
use super::{Db, SqlStore, Transaction};
use crate::bounds::{BLOB_BYTES_MAX, LIST_ROWS_MAX, NAME_BYTES_MAX};
use crate::columns::{bounded, column, endpoint, number, page, touched, unreadable};
use crate::device::EnrolledDevice;
use crate::error::{AddError, StoreError, UpdateError};
use crate::gateway::{Gateway, Gateways, KeptBundle};
use crate::sealed::Sealed;
use crate::tenant::Tenant;

#[async_trait]
impl Gateways for SqlStore {
    async fn add_gateway(&self, tenant: &Tenant, gateway: &Gateway) -> Result<(), AddError> {
        bounded(gateway.uri.len(), NAME_BYTES_MAX, "URI of a gateway")?;
        bounded(gateway.psk.as_bytes().len(), BLOB_BYTES_MAX, "sealed DTLS credential")?;
        // No device of the same name may be added between the look and the row.
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO gateway (tenant, name, uri, psk_sealed, bundle_edition, children_edition, added_at) \
             SELECT $1, $2, $3, $4, $5, $6, $7 \
             WHERE NOT EXISTS (SELECT 1 FROM device WHERE tenant = $1 AND endpoint = $2) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(gateway.name.as_str())
        .bind(&gateway.uri)
        .bind(gateway.psk.as_bytes())
        .bind(column(gateway.bundle_edition, "edition of the bundles")?)
        .bind(column(gateway.children_edition, "edition of the children")?)
        .bind(column(gateway.added_at, "time")?)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        if done.rows_affected() == 0 {
            return Err(AddError::Exists);
        }
        Ok(tx.commit().await.map_err(backend)?)
    }

    async fn gateway(&self, tenant: &Tenant, name: &Endpoint) -> Result<Option<Gateway>, StoreError> {
        let row: Option<GatewayRow> = sqlx::query_as("SELECT * FROM gateway WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(backend)?;
        row.map(Gateway::try_from).transpose()
    }

    async fn gateways(
        &self,
        tenant: &Tenant,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<Gateway>, StoreError> {
        let rows: Vec<GatewayRow> =
            sqlx::query_as("SELECT * FROM gateway WHERE tenant = $1 AND name > $2 ORDER BY name LIMIT $3")
                .bind(tenant.as_str())
                .bind(after.map_or("", Endpoint::as_str))
                .bind(page(rows_max))
                .fetch_all(&self.readers)
                .await
                .map_err(backend)?;
        rows.into_iter().map(Gateway::try_from).collect()
    }

    async fn remove_gateway(&self, tenant: &Tenant, name: &Endpoint) -> Result<(), UpdateError> {
        let mut tx = self.begin().await?;
        sqlx::query(concat!(
            "UPDATE device",
            by_index!("device_by_gateway"),
            " SET gateway = NULL, link_sealed = NULL WHERE tenant = $1 AND gateway = $2"
        ))
        .bind(tenant.as_str())
        .bind(name.as_str())
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        let done = sqlx::query("DELETE FROM gateway WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(name.as_str())
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        touched(done.rows_affected())?;
        Ok(tx.commit().await.map_err(backend)?)
    }

    async fn children(
        &self,
        tenant: &Tenant,
        name: &Endpoint,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<EnrolledDevice>, StoreError> {
        let rows: Vec<DeviceRow> = sqlx::query_as(
            "SELECT * FROM device WHERE tenant = $1 AND gateway = $2 AND endpoint > $3 ORDER BY endpoint LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(name.as_str())
        .bind(after.map_or("", Endpoint::as_str))
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(EnrolledDevice::try_from).collect()
    }

    async fn detach(&self, tenant: &Tenant, endpoint: &Endpoint, at: u64) -> Result<(), UpdateError> {
        let mut tx = self.begin().await?;
        let gateway: Option<Option<String>> =
            sqlx::query_scalar("SELECT gateway FROM device WHERE tenant = $1 AND endpoint = $2")
                .bind(tenant.as_str())
                .bind(endpoint.as_str())
                .fetch_optional(&mut *tx)
                .await
                .map_err(backend)?;
        let gateway = gateway.flatten().ok_or(UpdateError::Missing)?;
        sqlx::query(
            "UPDATE device SET gateway = NULL, link_sealed = NULL WHERE tenant = $1 AND endpoint = $2",
        )
        .bind(tenant.as_str())
        .bind(endpoint.as_str())
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        touched(raise_children_edition(&mut tx, tenant, &gateway, at).await?)?;
        Ok(tx.commit().await.map_err(backend)?)
    }

    async fn next_bundle_edition(
        &self,
        tenant: &Tenant,
        name: &Endpoint,
        at: u64,
    ) -> Result<u64, UpdateError> {
        let mut tx = self.begin().await?;
        let edition: Option<i64> = sqlx::query_scalar(RAISE_BUNDLE_EDITION)
            .bind(tenant.as_str())
            .bind(name.as_str())
            .bind(column(at, "time")?)
            .fetch_optional(&mut *tx)
            .await
            .map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(number(edition.ok_or(UpdateError::Missing)?, "gateway")?)
    }

    async fn put_bundle(
        &self,
        tenant: &Tenant,
        name: &Endpoint,
        campaign: CampaignId,
        not_after: u64,
        at: u64,
    ) -> Result<u64, UpdateError> {
        let mut tx = self.begin().await?;
        let edition: Option<i64> = sqlx::query_scalar(RAISE_BUNDLE_EDITION)
            .bind(tenant.as_str())
            .bind(name.as_str())
            .bind(column(at, "time")?)
            .fetch_optional(&mut *tx)
            .await
            .map_err(backend)?;
        let edition = edition.ok_or(UpdateError::Missing)?;
        sqlx::query("DELETE FROM bundle WHERE tenant = $1 AND gateway = $2 AND not_after < $3")
            .bind(tenant.as_str())
            .bind(name.as_str())
            .bind(column(at, "time")?)
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        sqlx::query(
            concat!("INSERT INTO bundle (tenant, gateway, campaign, edition, not_after, withdrawn) VALUES ($1, $2, $3, $4, $5, FALSE) \
             ON CONFLICT (tenant, gateway, campaign) DO UPDATE SET edition = excluded.edition, \
             withdrawn = FALSE, not_after = ", greatest!("bundle.not_after", "excluded.not_after")),
        )
        .bind(tenant.as_str())
        .bind(name.as_str())
        .bind(column(campaign.0, "number of a campaign")?)
        .bind(edition)
        .bind(column(not_after, "time")?)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(number(edition, "gateway")?)
    }

    async fn withdraw_bundle(
        &self,
        tenant: &Tenant,
        name: &Endpoint,
        campaign: CampaignId,
        edition: u64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE bundle SET withdrawn = TRUE WHERE tenant = $1 AND gateway = $2 AND campaign = $3 AND edition = $4",
        )
        .bind(tenant.as_str())
        .bind(name.as_str())
        .bind(column(campaign.0, "number of a campaign")?)
        .bind(column(edition, "edition of a bundle")?)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        tx.commit().await.map_err(backend)
    }

    async fn bundles(
        &self,
        tenant: &Tenant,
        name: Option<&Endpoint>,
        at: u64,
    ) -> Result<Vec<KeptBundle>, StoreError> {
        let rows: Vec<BundleRow> = sqlx::query_as(
            "SELECT b.gateway, b.campaign, c.state, b.edition, b.not_after, b.withdrawn FROM bundle b \
             JOIN campaign c ON c.tenant = b.tenant AND c.id = b.campaign \
             WHERE b.tenant = $1 AND b.not_after >= $2 \
             AND CASE WHEN $3 IS NULL THEN (c.state = $4) = b.withdrawn ELSE b.gateway = $3 END \
             ORDER BY b.gateway, b.campaign LIMIT $5",
        )
        .bind(tenant.as_str())
        .bind(column(at, "time")?)
        .bind(name.map(Endpoint::as_str))
        .bind(CampaignState::Running.name())
        .bind(i64::from(LIST_ROWS_MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(KeptBundle::try_from).collect()
    }
}

const RAISE_BUNDLE_EDITION: &str = concat!(
    "UPDATE gateway SET bundle_edition = ",
    greatest!("bundle_edition + 1", "$3"),
    " WHERE tenant = $1 AND name = $2 RETURNING bundle_edition"
);

#[derive(FromRow)]
struct BundleRow {
    gateway: String,
    campaign: i64,
    state: String,
    edition: i64,
    not_after: i64,
    withdrawn: bool,
}

impl TryFrom<BundleRow> for KeptBundle {
    type Error = StoreError;

    fn try_from(row: BundleRow) -> Result<Self, StoreError> {
        let state = CampaignState::from_name(&row.state);
        Ok(Self {
            gateway: endpoint(row.gateway, "bundle")?,
            campaign: CampaignId(number(row.campaign, "bundle")?),
            state: state.ok_or_else(|| unreadable("campaign", "its state is not known"))?,
            edition: number(row.edition, "bundle")?,
            not_after: number(row.not_after, "bundle")?,
            withdrawn: row.withdrawn,
        })
    }
}

/// Gives the list of a gateway's devices a new edition; returns how many gateways of the name there are.
pub(super) async fn raise_children_edition(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    name: &str,
    at: u64,
) -> Result<u64, StoreError> {
    let done = sqlx::query(concat!(
        "UPDATE gateway SET children_edition = ",
        greatest!("children_edition + 1", "$3"),
        " WHERE tenant = $1 AND name = $2"
    ))
    .bind(tenant.as_str())
    .bind(name)
    .bind(column(at, "time")?)
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    Ok(done.rows_affected())
}

/// Tells whether a gateway has this name.
pub(super) async fn is_taken(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    name: &str,
) -> Result<bool, StoreError> {
    let found: Option<i32> = sqlx::query_scalar("SELECT 1 FROM gateway WHERE tenant = $1 AND name = $2")
        .bind(tenant.as_str())
        .bind(name)
        .fetch_optional(&mut **tx)
        .await
        .map_err(backend)?;
    Ok(found.is_some())
}

#[derive(FromRow)]
struct GatewayRow {
    name: String,
    uri: String,
    psk_sealed: Vec<u8>,
    bundle_edition: i64,
    children_edition: i64,
    added_at: i64,
}

impl TryFrom<GatewayRow> for Gateway {
    type Error = StoreError;

    fn try_from(row: GatewayRow) -> Result<Self, StoreError> {
        Ok(Self {
            name: endpoint(row.name, "gateway")?,
            uri: row.uri,
            psk: Sealed::new(row.psk_sealed),
            bundle_edition: number(row.bundle_edition, "gateway")?,
            children_edition: number(row.children_edition, "gateway")?,
            added_at: number(row.added_at, "gateway")?,
        })
    }
}
