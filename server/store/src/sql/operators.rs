//! Figures, and when devices were heard.

use async_trait::async_trait;
use bellwether_decide::campaign::CampaignId;
use bellwether_decide::device::Endpoint;
use sqlx::FromRow;

use super::SqlStore;
use super::failed::backend;
use crate::bounds::{NAME_BYTES_MAX, STATEMENT_ROWS_MAX};
use crate::columns::{bounded, column, endpoint, number};
use crate::error::StoreError;
use crate::operators::{Contact, FIGURED_CAMPAIGNS_MAX, Figures, Operators};
use crate::tenant::Tenant;

#[async_trait]
impl Operators for SqlStore {
    async fn figures(&self, tenant: &Tenant) -> Result<Figures, StoreError> {
        let counts: (i64, i64, i64) = sqlx::query_as(
            "SELECT (SELECT coalesce(max(seq), 0) FROM event WHERE tenant = $1), \
             (SELECT CAST(coalesce(sum(devices), 0) AS BIGINT) FROM device_count WHERE tenant = $1), \
             (SELECT count(*) FROM gateway WHERE tenant = $1)",
        )
        .bind(tenant.as_str())
        .fetch_one(&self.readers)
        .await
        .map_err(backend)?;
        let stages: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT campaign, stage, CAST(sum(devices) AS BIGINT) FROM track_count WHERE tenant = $1 AND campaign IN \
             (SELECT id FROM campaign WHERE tenant = $1 AND state IN ('running', 'paused') ORDER BY id DESC LIMIT $2) \
             GROUP BY campaign, stage HAVING sum(devices) > 0",
        )
        .bind(tenant.as_str())
        .bind(i64::from(FIGURED_CAMPAIGNS_MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        let read = |(campaign, stage, count): (i64, String, i64)| {
            let campaign = CampaignId(number(campaign, "track")?);
            Ok((campaign, super::track::stage(&stage)?, number(count, "track")?))
        };
        Ok(Figures {
            events: number(counts.0, "event")?,
            devices: number(counts.1, "device")?,
            gateways: number(counts.2, "gateway")?,
            stages: stages.into_iter().map(read).collect::<Result<_, StoreError>>()?,
        })
    }

    async fn put_contacts(&self, tenant: &Tenant, contacts: &[Contact]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for chunk in contacts.chunks(STATEMENT_ROWS_MAX) {
            let rows = chunk.iter().map(as_json).collect::<Result<Vec<_>, _>>()?;
            // "WHERE true" keeps SQLite from reading ON as the condition of a join.
            sqlx::query(
                concat!(
                    "INSERT INTO contact (tenant, endpoint, registered_at, heard_at, address) \
                     SELECT $1, value ->> 0, CAST(value ->> 1 AS BIGINT), CAST(value ->> 2 AS BIGINT), value ->> 3 FROM ",
                    each!("$2"),
                    " WHERE true ON CONFLICT (tenant, endpoint) DO UPDATE SET heard_at = excluded.heard_at, \
                     address = excluded.address, registered_at = ",
                    greatest!("contact.registered_at", "excluded.registered_at"),
                    " WHERE excluded.heard_at >= contact.heard_at"
                ),
            )
            .bind(tenant.as_str())
            .bind(serde_json::Value::Array(rows).to_string())
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        }
        tx.commit().await.map_err(backend)
    }

    async fn contact(&self, tenant: &Tenant, endpoint: &Endpoint) -> Result<Option<Contact>, StoreError> {
        let row: Option<ContactRow> = sqlx::query_as(
            "SELECT endpoint, registered_at, heard_at, address FROM contact WHERE tenant = $1 AND endpoint = $2",
        )
        .bind(tenant.as_str())
        .bind(endpoint.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(backend)?;
        row.map(Contact::try_from).transpose()
    }
}

fn as_json(contact: &Contact) -> Result<serde_json::Value, StoreError> {
    bounded(contact.address.len(), NAME_BYTES_MAX, "address")?;
    let (registered_at, heard_at) =
        (column(contact.registered_at, "time")?, column(contact.heard_at, "time")?);
    Ok(serde_json::json!([contact.endpoint.as_str(), registered_at, heard_at, contact.address]))
}

#[derive(FromRow)]
pub(super) struct ContactRow {
    endpoint: String,
    registered_at: i64,
    heard_at: i64,
    address: String,
}

impl TryFrom<ContactRow> for Contact {
    type Error = StoreError;

    fn try_from(row: ContactRow) -> Result<Self, StoreError> {
        Ok(Self {
            endpoint: endpoint(row.endpoint, "contact")?,
            registered_at: number(row.registered_at, "contact")?,
            heard_at: number(row.heard_at, "contact")?,
            address: row.address,
        })
    }
}
