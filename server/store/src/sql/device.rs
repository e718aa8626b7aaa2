//! Rows of devices.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bellwether_decide::campaign::event::Event;
use bellwether_decide::device::{Device, Endpoint};
use sqlx::FromRow;

use super::failed::{backend, not_added};
use super::{Db, SqlStore, Transaction, census, gateway, identity, retire};
use crate::bounds::{BLOB_BYTES_MAX, NAME_BYTES_MAX, STATEMENT_ROWS_MAX};
use crate::campaign::Command;
use crate::columns::{bounded, column, endpoint, json_names, number, page, touched, unreadable};
use crate::device::{
    Devices, EnrolledDevice, Identity, NewCredential, NewIdentity, Restores, Retirement, Security,
    Transition, Updated,
};
use crate::error::{AddError, StoreError, UpdateError};
use crate::gateway::GatewayLink;
use crate::sealed::Sealed;
use crate::tenant::Tenant;

#[async_trait]
impl Devices for SqlStore {
    async fn add_device(
        &self,
        tenant: &Tenant,
        device: &EnrolledDevice,
        identity: &NewIdentity,
    ) -> Result<(), AddError> {
        let mut turn = self.turn().await?;
        let added = insert(&mut turn, tenant, device, identity).await;
        turn.end(added).await
    }

    async fn add_devices(
        &self,
        tenant: &Tenant,
        devices: &[(EnrolledDevice, NewIdentity)],
    ) -> Result<(), AddError> {
        let mut tx = self.begin().await?;
        for (device, identity) in devices {
            insert(&mut tx, tenant, device, identity).await?;
        }
        Ok(tx.commit().await.map_err(backend)?)
    }

    async fn device(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
    ) -> Result<Option<EnrolledDevice>, StoreError> {
        let row: Option<DeviceRow> =
            sqlx::query_as("SELECT * FROM device WHERE tenant = $1 AND endpoint = $2")
                .bind(tenant.as_str())
                .bind(endpoint.as_str())
                .fetch_optional(&self.readers)
                .await
                .map_err(backend)?;
        row.map(EnrolledDevice::try_from).transpose()
    }

    async fn devices(
        &self,
        tenant: &Tenant,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<EnrolledDevice>, StoreError> {
        let rows: Vec<DeviceRow> = sqlx::query_as(
            "SELECT * FROM device WHERE tenant = $1 AND endpoint > $2 ORDER BY endpoint LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after.map_or("", Endpoint::as_str))
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(EnrolledDevice::try_from).collect()
    }

    async fn devices_named(
        &self,
        tenant: &Tenant,
        endpoints: &[Endpoint],
    ) -> Result<Vec<EnrolledDevice>, StoreError> {
        let mut names: Vec<&Endpoint> = endpoints.iter().collect();
        names.sort_unstable();
        names.dedup();
        let mut devices = Vec::new();
        for chunk in names.chunks(STATEMENT_ROWS_MAX) {
            let rows: Vec<DeviceRow> = sqlx::query_as(concat!(
                "SELECT * FROM device WHERE tenant = $1 AND endpoint IN ",
                names!("$2"),
                " ORDER BY endpoint"
            ))
            .bind(tenant.as_str())
            .bind(json_names(chunk.iter().copied()))
            .fetch_all(&self.readers)
            .await
            .map_err(backend)?;
            for row in rows {
                devices.push(row.try_into()?);
            }
        }
        Ok(devices)
    }

    async fn set_device_enabled(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        enabled: bool,
    ) -> Result<(), UpdateError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE device SET enabled = $1 WHERE tenant = $2 AND endpoint = $3 AND retired_at IS NULL",
        )
        .bind(enabled)
        .bind(tenant.as_str())
        .bind(endpoint.as_str())
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        touched(done.rows_affected())
    }

    async fn retire_device(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        retirement: Retirement<'_>,
    ) -> Result<(), UpdateError> {
        retire::retire(self, tenant, endpoint, retirement).await
    }

    async fn add_credential(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        credential: NewCredential<'_>,
    ) -> Result<(), UpdateError> {
        retire::add_credential(self, tenant, endpoint, credential).await
    }

    async fn use_credential(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        number: u64,
        events: &[Event],
    ) -> Result<bool, StoreError> {
        retire::use_credential(self, tenant, endpoint, number, events).await
    }

    async fn credentials_made(
        &self,
        tenant: &Tenant,
        devices: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, u64>, StoreError> {
        retire::credentials_made(&self.readers, tenant, devices).await
    }

    async fn identity(&self, tenant: &Tenant, id: &Endpoint) -> Result<Option<Identity>, StoreError> {
        identity::read(&self.readers, tenant, id).await
    }

    async fn identities_of(&self, tenant: &Tenant, endpoint: &Endpoint) -> Result<Vec<Identity>, StoreError> {
        identity::read_of(&self.readers, tenant, endpoint).await
    }

    async fn update_identity(
        &self,
        tenant: &Tenant,
        id: &Endpoint,
        transition: Transition<'_>,
    ) -> Result<Updated, UpdateError> {
        identity::update(self, tenant, id, transition).await
    }

    async fn restores(&self, tenant: &Tenant) -> Result<Restores, StoreError> {
        identity::restores(&self.readers, tenant).await
    }

    async fn add_restore(
        &self,
        tenant: &Tenant,
        resync_until: u64,
        events: &[Event],
        command: &Command,
    ) -> Result<Restores, UpdateError> {
        identity::add_restore(self, tenant, resync_until, events, command).await
    }
}

async fn insert(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    device: &EnrolledDevice,
    identity: &NewIdentity,
) -> Result<(), AddError> {
    let row = DeviceRow::try_from(device)?;
    if gateway::is_taken(tx, tenant, &row.endpoint).await? {
        return Err(AddError::Exists);
    }
    if let Some(name) = &row.gateway {
        let raised = gateway::raise_children_edition(tx, tenant, name, device.device.added_at).await?;
        if raised == 0 {
            return Err(StoreError::NoParent.into());
        }
    }
    sqlx::query(
        "INSERT INTO device (tenant, endpoint, vendor, class, security, dtls_sealed, enabled, added_at, gateway, \
         link_sealed, credential) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(tenant.as_str())
    .bind(row.endpoint)
    .bind(row.vendor)
    .bind(row.class)
    .bind(row.security)
    .bind(row.dtls_sealed)
    .bind(row.enabled)
    .bind(row.added_at)
    .bind(row.gateway)
    .bind(row.link_sealed)
    .bind(row.credential)
    .execute(&mut **tx)
    .await
    .map_err(not_added)?;
    census::take_in(tx, tenant, &device.device).await?;
    identity::insert(tx, tenant, &device.device.endpoint, identity).await
}

#[derive(FromRow)]
pub(super) struct DeviceRow {
    pub(super) endpoint: String,
    pub(super) vendor: String,
    pub(super) class: String,
    pub(super) security: String,
    pub(super) dtls_sealed: Option<Vec<u8>>,
    pub(super) enabled: bool,
    pub(super) added_at: i64,
    pub(super) gateway: Option<String>,
    pub(super) link_sealed: Option<Vec<u8>>,
    pub(super) retired_at: Option<i64>,
    pub(super) credential: i64,
    pub(super) next_sealed: Option<Vec<u8>>,
}

impl TryFrom<&EnrolledDevice> for DeviceRow {
    type Error = StoreError;

    fn try_from(enrolled: &EnrolledDevice) -> Result<Self, StoreError> {
        bounded(enrolled.vendor.len(), NAME_BYTES_MAX, "vendor name")?;
        bounded(enrolled.device.class.len(), NAME_BYTES_MAX, "class name")?;
        let (security, dtls_sealed) = match &enrolled.security {
            Security::Psk { credential } => ("psk", Some(credential.as_bytes().to_vec())),
            Security::None => ("none", None),
        };
        bounded(dtls_sealed.as_ref().map_or(0, Vec::len), BLOB_BYTES_MAX, "sealed DTLS credential")?;
        let link_sealed = enrolled.link.as_ref().map(|link| link.psk.as_bytes().to_vec());
        bounded(link_sealed.as_ref().map_or(0, Vec::len), BLOB_BYTES_MAX, "sealed key of a link")?;
        Ok(Self {
            endpoint: enrolled.device.endpoint.to_string(),
            vendor: enrolled.vendor.clone(),
            class: enrolled.device.class.clone(),
            security: security.into(),
            dtls_sealed,
            enabled: enrolled.device.enabled,
            added_at: column(enrolled.device.added_at, "time")?,
            gateway: enrolled.link.as_ref().map(|link| link.gateway.to_string()),
            link_sealed,
            // A device comes without these; its later calls write them.
            retired_at: None,
            credential: column(enrolled.credential, "number of a credential")?,
            next_sealed: None,
        })
    }
}

impl TryFrom<DeviceRow> for EnrolledDevice {
    type Error = StoreError;

    fn try_from(row: DeviceRow) -> Result<Self, StoreError> {
        let security = match (row.security.as_str(), row.dtls_sealed) {
            ("psk", Some(bytes)) => Security::Psk { credential: Sealed::new(bytes) },
            ("none", None) => Security::None,
            (other, _) => return Err(unreadable("device", format!("security mode {other}"))),
        };
        let device = Device {
            endpoint: endpoint(row.endpoint, "device")?,
            class: row.class,
            enabled: row.enabled,
            added_at: number(row.added_at, "device")?,
        };
        let link = match (row.gateway, row.link_sealed) {
            (None, None) => None,
            (Some(name), Some(bytes)) => {
                Some(GatewayLink { gateway: endpoint(name, "device")?, psk: Sealed::new(bytes) })
            }
            _ => return Err(unreadable("device", "half a link to a gateway")),
        };
        Ok(Self {
            device,
            vendor: row.vendor,
            security,
            link,
            credential: number(row.credential, "device")?,
            next_credential: row.next_sealed.map(Sealed::new),
            retired_at: row.retired_at.map(|at| number(at, "device")).transpose()?,
        })
    }
}
