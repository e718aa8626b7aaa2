//! Events that are removed, and the row of the cut.

use super::event::{self, EventRow};
use super::failed::backend;
use super::{Db, Pool, Transaction};
use crate::bounds::LIST_ROWS_MAX;
use crate::columns::{bounded, column, number, page};
use crate::error::StoreError;
use crate::ledger::{Cut, Recorded};
use crate::tenant::Tenant;

/// Of which campaigns events are needed: those that go on, and those that were halted and may be tried again.
macro_rules! needed {
    () => {
        "(SELECT id FROM campaign WHERE tenant = $1 AND state IN ('running', 'paused', 'halted'))"
    };
}

/// Both selections walk along the key and end at the first row that they find.
pub(super) async fn old_until(
    readers: &Pool,
    tenant: &Tenant,
    before: u64,
    now: u64,
) -> Result<u64, StoreError> {
    let until: Option<i64> = sqlx::query_scalar(
        "SELECT seq + 1 FROM event WHERE tenant = $1 AND at < $2 AND seq < coalesce( \
         (SELECT seq FROM event WHERE tenant = $1 AND at >= $2 AND at <= $3 ORDER BY seq LIMIT 1), \
         9223372036854775807) ORDER BY seq DESC LIMIT 1",
    )
    .bind(tenant.as_str())
    .bind(column(before, "time")?)
    .bind(column(now, "time")?)
    .fetch_optional(readers)
    .await
    .map_err(backend)?;
    number(until.unwrap_or(0), "event")
}

pub(super) async fn unneeded(
    readers: &Pool,
    tenant: &Tenant,
    (since, until): (u64, u64),
    rows_max: u32,
) -> Result<Vec<Recorded>, StoreError> {
    let rows: Vec<EventRow> = sqlx::query_as(concat!(
        "SELECT seq, body FROM event WHERE tenant = $1 AND seq > $2 AND seq < $3 \
         AND (campaign IS NULL OR campaign NOT IN ",
        needed!(),
        ") ORDER BY seq LIMIT $4"
    ))
    .bind(tenant.as_str())
    .bind(column(since, "sequence number")?)
    .bind(column(until, "sequence number")?)
    .bind(page(rows_max))
    .fetch_all(readers)
    .await
    .map_err(backend)?;
    rows.into_iter().map(Recorded::try_from).collect()
}

/// Removes events and moves the cut behind the last of them.
pub(super) async fn remove(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    numbers: &[u64],
    at: u64,
) -> Result<u64, StoreError> {
    bounded(numbers.len(), LIST_ROWS_MAX as usize, "list of events")?;
    let Some(last) = numbers.iter().max() else { return Ok(0) };
    let rows = numbers.iter().map(|seq| Ok(vec![column(*seq, "sequence number")?]));
    let rows = rows.collect::<Result<Vec<_>, StoreError>>()?;
    let removed = sqlx::query(concat!(
        "DELETE FROM event WHERE tenant = $1 AND seq IN (SELECT CAST(value ->> 0 AS BIGINT) FROM ",
        each!("$2"),
        ") AND seq < $3 AND (campaign IS NULL OR campaign NOT IN ",
        needed!(),
        ")"
    ))
    .bind(tenant.as_str())
    .bind(serde_json::json!(rows).to_string())
    .bind(column(event::highest(tx, tenant).await?, "sequence number")?)
    .execute(&mut **tx)
    .await
    .map_err(backend)?
    .rows_affected();
    if removed > 0 {
        move_cut(tx, tenant, last + 1, at).await?;
    }
    Ok(removed)
}

async fn move_cut(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    kept_from: u64,
    at: u64,
) -> Result<(), StoreError> {
    sqlx::query(concat!(
        "INSERT INTO ledger_cut (tenant, kept_from, cut_at) VALUES ($1, $2, $3) ON CONFLICT (tenant) DO UPDATE SET \
         cut_at = excluded.cut_at, kept_from = ",
        greatest!("ledger_cut.kept_from", "excluded.kept_from")
    ))
    .bind(tenant.as_str())
    .bind(column(kept_from, "sequence number")?)
    .bind(column(at, "time")?)
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    Ok(())
}

pub(super) async fn cut(readers: &Pool, tenant: &Tenant) -> Result<Option<Cut>, StoreError> {
    let row: Option<(i64, i64, i64)> = sqlx::query_as(
        "SELECT kept_from, cut_at, coalesce((SELECT at FROM event WHERE event.tenant = $1 \
         AND seq >= ledger_cut.kept_from ORDER BY seq LIMIT 1), cut_at) FROM ledger_cut WHERE tenant = $1",
    )
    .bind(tenant.as_str())
    .fetch_optional(readers)
    .await
    .map_err(backend)?;
    row.map(|(kept_from, cut_at, kept_since)| {
        let read = |column| number(column, "cut of the ledger");
        Ok(Cut { kept_from: read(kept_from)?, kept_since: read(kept_since)?, cut_at: read(cut_at)? })
    })
    .transpose()
}
