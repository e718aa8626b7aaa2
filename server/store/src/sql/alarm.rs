//! Rows of alarms.

use bellwether_decide::alarm::{AlarmKey, AlarmKind, Occurrence};
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::device::Endpoint;
use sqlx::FromRow;

use super::failed::backend;
use super::{Db, Pool, Transaction, event};
use crate::bounds::{BLOB_BYTES_MAX, NAME_BYTES_MAX};
use crate::columns::{bounded, column, number, page, unreadable};
use crate::error::StoreError;
use crate::ledger::KeptAlarm;
use crate::tenant::Tenant;

/// Counts occurrences; those that are the first of their day are returned and leave an event each.
pub(super) async fn raise(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    occurrences: &[Occurrence],
) -> Result<Vec<AlarmKey>, StoreError> {
    let mut keys = Vec::new();
    let mut events = Vec::new();
    for occurrence in occurrences {
        if count(tx, tenant, occurrence).await? == 1 {
            keys.push(occurrence.key());
            events.push(raised(occurrence));
        }
    }
    event::append(tx, tenant, &events).await?;
    Ok(keys)
}

async fn count(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    occurrence: &Occurrence,
) -> Result<i64, StoreError> {
    check_bounds(occurrence)?;
    let key = occurrence.key();
    sqlx::query_scalar(
        "INSERT INTO alarm (tenant, day, kind, subject, count, first_at, last_at, identity, address, other_address, \
         cause) VALUES ($1, $2, $3, $4, 1, $5, $5, $6, $7, $8, $9) \
         ON CONFLICT (tenant, day, kind, subject) DO UPDATE SET count = alarm.count + 1, last_at = excluded.last_at, \
         identity = excluded.identity, address = excluded.address, \
         other_address = coalesce(excluded.other_address, alarm.other_address), cause = excluded.cause RETURNING count",
    )
    .bind(tenant.as_str())
    .bind(column(key.day, "day")?)
    .bind(key.kind.name())
    .bind(&key.subject)
    .bind(column(occurrence.at, "time")?)
    .bind(&occurrence.identity)
    .bind(&occurrence.address)
    .bind(&occurrence.other_address)
    .bind(&occurrence.cause)
    .fetch_one(&mut **tx)
    .await
    .map_err(backend)
}

fn check_bounds(occurrence: &Occurrence) -> Result<(), StoreError> {
    bounded(occurrence.identity.len(), NAME_BYTES_MAX, "identity of an alarm")?;
    bounded(occurrence.address.len(), NAME_BYTES_MAX, "address of an alarm")?;
    bounded(occurrence.other_address.as_ref().map_or(0, String::len), NAME_BYTES_MAX, "address of an alarm")?;
    bounded(occurrence.cause.len(), BLOB_BYTES_MAX, "cause of an alarm")
}

fn raised(occurrence: &Occurrence) -> Event {
    // The name in an alarm about an unknown identity is a stranger's word and names no device.
    let known = occurrence.kind != AlarmKind::UnknownIdentity;
    let device = known.then(|| Endpoint::try_from(occurrence.identity.as_str()).ok()).flatten();
    let kind = EventKind::AlarmRaised { kind: occurrence.kind, cause: occurrence.cause.clone() };
    Event { at: occurrence.at, campaign: None, device, kind }
}

pub(super) async fn read(
    readers: &Pool,
    tenant: &Tenant,
    before: Option<&AlarmKey>,
    rows_max: u32,
) -> Result<Vec<KeptAlarm>, StoreError> {
    let (day, kind, subject) = match before {
        Some(key) => (column(key.day, "day")?, key.kind.name(), key.subject.as_str()),
        None => (i64::MAX, "", ""),
    };
    let rows: Vec<AlarmRow> = sqlx::query_as(
        "SELECT * FROM alarm WHERE tenant = $1 AND (day, kind, subject) < ($2, $3, $4) \
         ORDER BY day DESC, kind DESC, subject DESC LIMIT $5",
    )
    .bind(tenant.as_str())
    .bind(day)
    .bind(kind)
    .bind(subject)
    .bind(page(rows_max))
    .fetch_all(readers)
    .await
    .map_err(backend)?;
    rows.into_iter().map(KeptAlarm::try_from).collect()
}

#[derive(FromRow)]
struct AlarmRow {
    day: i64,
    kind: String,
    subject: String,
    count: i64,
    first_at: i64,
    last_at: i64,
    identity: String,
    address: String,
    other_address: Option<String>,
    cause: String,
}

impl TryFrom<AlarmRow> for KeptAlarm {
    type Error = StoreError;

    fn try_from(row: AlarmRow) -> Result<Self, StoreError> {
        let kind =
            AlarmKind::from_name(&row.kind).ok_or_else(|| unreadable("alarm", "its kind is not known"))?;
        let latest = Occurrence {
            kind,
            identity: row.identity,
            address: row.address,
            other_address: row.other_address,
            cause: row.cause,
            at: number(row.last_at, "alarm")?,
        };
        Ok(Self {
            key: AlarmKey { kind, subject: row.subject, day: number(row.day, "alarm")? },
            count: number(row.count, "alarm")?,
            first_at: number(row.first_at, "alarm")?,
            latest,
        })
    }
}
