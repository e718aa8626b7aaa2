//! Rows of events.

use bellwether_decide::campaign::CampaignId;
use bellwether_decide::campaign::event::Event;
use sqlx::{AssertSqlSafe, FromRow};

use super::failed::backend;
use super::{Arguments, Db, Pool, Transaction, track};
use crate::bounds::{BLOB_BYTES_MAX, STATEMENT_ROWS_MAX};
use crate::columns::{bounded, column, number, page, unreadable};
use crate::error::StoreError;
use crate::ledger::{Recorded, Scope};
use crate::tenant::Tenant;

/// Appends events in order and returns the number of the last.
pub(super) async fn append(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    events: &[Event],
) -> Result<u64, StoreError> {
    let mut seq = highest(tx, tenant).await?;
    for chunk in events.chunks(STATEMENT_ROWS_MAX) {
        let rows = chunk.iter().map(as_json).collect::<Result<Vec<_>, _>>()?;
        sqlx::query(
            concat!(
                "INSERT INTO event (tenant, seq, at, campaign, endpoint, body) \
                 SELECT $1, $2 + 1 + key, CAST(value ->> 0 AS BIGINT), CAST(value ->> 1 AS BIGINT), value ->> 2, \
                 value ->> 3 FROM ",
                each!("$3")
            ),
        )
        .bind(tenant.as_str())
        .bind(column(seq, "sequence number")?)
        .bind(serde_json::Value::Array(rows).to_string())
        .execute(&mut **tx)
        .await
        .map_err(backend)?;
        seq += chunk.len() as u64;
    }
    track::apply(tx, tenant, events).await?;
    Ok(seq)
}

/// Reads the number of the last event, 0 if there is none.
pub(super) async fn highest(tx: &mut Transaction<'_, Db>, tenant: &Tenant) -> Result<u64, StoreError> {
    let seq: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM event WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(&mut **tx)
        .await
        .map_err(backend)?;
    number(seq, "event")
}

pub(super) async fn read(
    readers: &Pool,
    tenant: &Tenant,
    scope: Scope<'_>,
    since: u64,
    rows_max: u32,
) -> Result<Vec<Recorded>, StoreError> {
    let text = format!("SELECT seq, body FROM {} AND seq > $2 ORDER BY seq LIMIT $3", of(scope));
    let query = sqlx::query_as(AssertSqlSafe(text))
        .bind(tenant.as_str().to_owned())
        .bind(column(since, "sequence number")?);
    let query = bound(query.bind(page(rows_max)), scope)?;
    let rows: Vec<EventRow> = query.fetch_all(readers).await.map_err(backend)?;
    rows.into_iter().map(Recorded::try_from).collect()
}

pub(super) async fn latest(
    readers: &Pool,
    tenant: &Tenant,
    scope: Scope<'_>,
    rows_max: u32,
) -> Result<Vec<Recorded>, StoreError> {
    let text = format!("SELECT seq, body FROM {} ORDER BY seq DESC LIMIT $3", of(scope));
    // The second place is the other query's.
    let query = sqlx::query_as(AssertSqlSafe(text)).bind(tenant.as_str().to_owned()).bind(None::<i64>);
    let rows: Vec<EventRow> =
        bound(query.bind(page(rows_max)), scope)?.fetch_all(readers).await.map_err(backend)?;
    rows.into_iter().rev().map(Recorded::try_from).collect()
}

/// Which table by which index, and whose events: `$1` is the tenant, `$4` the campaign or the device.
fn of(scope: Scope<'_>) -> &'static str {
    match scope {
        Scope::All => "event WHERE tenant = $1 AND $4 IS NULL",
        Scope::Campaign(_) => {
            concat!("event", by_index!("event_by_campaign"), " WHERE tenant = $1 AND campaign = $4")
        }
        Scope::Whole(_) => concat!(
            "event",
            by_index!("event_of_campaign"),
            " WHERE tenant = $1 AND campaign = $4 AND campaign IS NOT NULL AND endpoint IS NULL"
        ),
        Scope::Device(_) => {
            concat!("event", by_index!("event_by_endpoint"), " WHERE tenant = $1 AND endpoint = $4")
        }
        // Word for word the condition of the index on them.
        Scope::Acts => {
            concat!(
                "event",
                by_index!("event_act"),
                " WHERE tenant = $1 AND $4 IS NULL AND (",
                kind_of_body!(),
                " IN ('launched', 'paused', 'resumed', 'cancelled', 'operated', 'done') OR ",
                kind_of_body!(),
                " = 'retried' AND endpoint IS NULL)"
            )
        }
    }
}

type EventQuery = sqlx::query::QueryAs<'static, Db, EventRow, Arguments>;

/// Binds what [`of`] leaves open.
fn bound(query: EventQuery, scope: Scope<'_>) -> Result<EventQuery, StoreError> {
    Ok(match scope {
        Scope::All | Scope::Acts => query.bind(None::<i64>),
        Scope::Campaign(CampaignId(id)) | Scope::Whole(CampaignId(id)) => {
            query.bind(column(id, "number of a campaign")?)
        }
        Scope::Device(endpoint) => query.bind(endpoint.as_str().to_owned()),
    })
}

fn as_json(event: &Event) -> Result<serde_json::Value, StoreError> {
    let body = bellwether_decide::campaign::event_json::encode(event);
    bounded(body.len(), BLOB_BYTES_MAX, "event")?;
    let at = column(event.at, "time")?;
    let campaign = event.campaign.map(|CampaignId(id)| column(id, "number of a campaign")).transpose()?;
    let device = event.device.as_ref().map(|endpoint| endpoint.as_str().to_owned());
    Ok(serde_json::json!([at, campaign, device, body]))
}

#[derive(FromRow)]
pub(super) struct EventRow {
    seq: i64,
    body: String,
}

impl TryFrom<EventRow> for Recorded {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        let event = bellwether_decide::campaign::event_json::decode(&row.body)
            .map_err(|cause| unreadable("event", cause))?;
        Ok(Self { seq: number(row.seq, "event")?, event })
    }
}
