//! Rows of the census.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bellwether_decide::device::{Device, Endpoint};
use serde_json::{Value, json};
use sqlx::FromRow;

use super::failed::backend;
use super::{Db, SqlStore, Transaction};
use crate::Digest;
use crate::bounds::STATEMENT_ROWS_MAX;
use crate::census::{Asked, Census, Censuses, Change, Counted, Enrolled, HOUR_S, Ran};
use crate::columns::{column, digest, endpoint, json_names, number};
use crate::error::StoreError;
use crate::tenant::Tenant;

#[async_trait]
impl Censuses for SqlStore {
    async fn counted(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let seq: Option<i64> = sqlx::query_scalar("SELECT seq FROM census WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(backend)?;
        number(seq.unwrap_or(0), "census")
    }

    async fn count(&self, tenant: &Tenant, counted: Counted<'_>) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let seq: Option<i64> = sqlx::query_scalar("SELECT seq FROM census WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(backend)?;
        if number(seq.unwrap_or(0), "census")? != counted.after {
            return Ok(false);
        }
        for chunk in counted.ran.chunks(STATEMENT_ROWS_MAX) {
            take(&mut tx, tenant, chunk, By::Ledger).await?;
        }
        sqlx::query(
            "INSERT INTO census (tenant, seq) VALUES ($1, $2) ON CONFLICT (tenant) DO UPDATE SET seq = excluded.seq",
        )
        .bind(tenant.as_str())
        .bind(column(counted.until, "sequence number")?)
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(true)
    }

    async fn census(&self, tenant: &Tenant, asked: &Asked) -> Result<Census, StoreError> {
        let from = column(asked.from_hour, "hour")?;
        let mut tx = self.begin_read().await?;
        let enrolled: Vec<(String, i64, i64)> = sqlx::query_as(concat!(
            "SELECT class, ",
            greatest!("hour", "$2"),
            " AS since, CAST(sum(devices - given_up) AS BIGINT) FROM device_count WHERE tenant = $1 \
             GROUP BY class, 2 HAVING sum(devices - given_up) > 0 ORDER BY class, 2"
        ))
        .bind(tenant.as_str())
        .bind(from)
        .fetch_all(&mut *tx)
        .await
        .map_err(backend)?;
        let changes: Vec<ChangeRow> = sqlx::query_as(concat!(
            "SELECT class, image, ",
            greatest!("hour", "$2"),
            " AS since, CAST(sum(devices) AS BIGINT) AS devices FROM census_change WHERE tenant = $1 \
             GROUP BY class, image, 3 ORDER BY class, 3, image"
        ))
        .bind(tenant.as_str())
        .bind(from)
        .fetch_all(&mut *tx)
        .await
        .map_err(backend)?;
        let mut heard = Vec::with_capacity(asked.heard_since.len());
        for since in &asked.heard_since {
            let count: i64 = sqlx::query_scalar(HEARD)
                .bind(tenant.as_str())
                .bind(column(*since, "time")?)
                .fetch_one(&mut *tx)
                .await
                .map_err(backend)?;
            heard.push(number(count, "contact")?);
        }
        let read = |(class, hour, devices)| {
            Ok(Enrolled { class, hour: number(hour, "device")?, devices: number(devices, "device")? })
        };
        Ok(Census {
            enrolled: enrolled.into_iter().map(read).collect::<Result<_, StoreError>>()?,
            changes: changes.into_iter().map(Change::try_from).collect::<Result<_, _>>()?,
            heard,
        })
    }
}

/// Counts who was heard, but for those that were given up since.
const HEARD: &str = "SELECT (SELECT count(*) FROM contact WHERE tenant = $1 AND heard_at >= $2) - \
     (SELECT count(*) FROM device JOIN contact ON contact.tenant = device.tenant AND contact.endpoint = device.endpoint \
     WHERE device.tenant = $1 AND device.retired_at IS NOT NULL AND contact.heard_at >= $2)";

/// Who says what a device runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum By {
    /// The device, now.
    Device,
    /// The ledger, which is read behind what devices say: what is older than what is known changes nothing.
    Ledger,
}

/// What a device runs and since when, by the rows as they are and by what is taken on top of them.
type Runs = BTreeMap<Endpoint, (String, Digest, u64)>;

/// Takes what devices were seen to run: their rows, and the counts of the hours.
pub(super) async fn take(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    ran: &[Ran],
    by: By,
) -> Result<(), StoreError> {
    let mut runs = read_running(tx, tenant, ran).await?;
    let mut changes = BTreeMap::<(u64, String, Digest), i64>::new();
    let mut moved = BTreeMap::<&Endpoint, &Ran>::new();
    for seen in ran {
        let before = runs.get(&seen.endpoint);
        let is_same = before.is_some_and(|(class, image, _)| *class == seen.class && *image == seen.image);
        let is_late = by == By::Ledger && before.is_some_and(|(_, _, since)| *since > seen.at);
        if is_same || is_late || (seen.at_first && before.is_some()) {
            continue;
        }
        let hour = seen.at / HOUR_S;
        if let Some((class, image, _)) = before {
            *changes.entry((hour, class.clone(), *image)).or_default() -= 1;
        }
        *changes.entry((hour, seen.class.clone(), seen.image)).or_default() += 1;
        runs.insert(seen.endpoint.clone(), (seen.class.clone(), seen.image, seen.at));
        moved.insert(&seen.endpoint, seen);
    }
    write_running(tx, tenant, moved.into_values()).await?;
    write_changes(tx, tenant, &changes).await
}

/// Counts a device that is enrolled.
pub(super) async fn take_in(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    device: &Device,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO device_count (tenant, class, hour, devices, given_up) VALUES ($1, $2, $3, 1, 0) \
         ON CONFLICT (tenant, class, hour) DO UPDATE SET devices = device_count.devices + 1",
    )
    .bind(tenant.as_str())
    .bind(&device.class)
    .bind(column(device.added_at / HOUR_S, "hour")?)
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    Ok(())
}

/// Takes a device that is given up out of what is counted.
pub(super) async fn leave_out(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    device: &Endpoint,
    at: u64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE device_count SET given_up = given_up + 1 WHERE tenant = $1 AND (class, hour) = \
         (SELECT class, added_at / 3600 FROM device WHERE tenant = $1 AND endpoint = $2)",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    let row: Option<(String, Vec<u8>)> = sqlx::query_as(
        "DELETE FROM census_running WHERE tenant = $1 AND endpoint = $2 RETURNING class, image",
    )
    .bind(tenant.as_str())
    .bind(device.as_str())
    .fetch_optional(&mut **tx)
    .await
    .map_err(backend)?;
    let Some((class, image)) = row else { return Ok(()) };
    let changes = [((at / HOUR_S, class, digest(image, "running")?), -1)].into();
    write_changes(tx, tenant, &changes).await
}

async fn read_running(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    ran: &[Ran],
) -> Result<Runs, StoreError> {
    let rows: Vec<(String, String, Vec<u8>, i64)> = sqlx::query_as(concat!(
        "SELECT endpoint, class, image, since FROM census_running WHERE tenant = $1 AND endpoint IN ",
        names!("$2")
    ))
    .bind(tenant.as_str())
    .bind(json_names(ran.iter().map(|seen| &seen.endpoint)))
    .fetch_all(&mut **tx)
    .await
    .map_err(backend)?;
    let read = |(name, class, image, since)| {
        let image = digest(image, "running")?;
        Ok((endpoint(name, "running")?, (class, image, number(since, "running")?)))
    };
    rows.into_iter().map(read).collect()
}

async fn write_running(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    moved: impl Iterator<Item = &Ran>,
) -> Result<(), StoreError> {
    let as_json = |seen: &Ran| {
        let since = column(seen.at, "time")?;
        Ok(json!([seen.endpoint.as_str(), seen.class, hex(&seen.image), since]))
    };
    let rows = moved.map(as_json).collect::<Result<Vec<_>, StoreError>>()?;
    if rows.is_empty() {
        return Ok(());
    }
    // "WHERE true" keeps SQLite from reading ON as the condition of a join.
    sqlx::query(concat!(
        "INSERT INTO census_running (tenant, endpoint, class, image, since) SELECT $1, value ->> 0, value ->> 1, ",
        bytes_of!("value ->> 2"),
        ", CAST(value ->> 3 AS BIGINT) FROM ",
        each!("$2"),
        " WHERE true ON CONFLICT (tenant, endpoint) DO UPDATE SET class = excluded.class, image = excluded.image, \
         since = excluded.since"
    ))
    .bind(tenant.as_str())
    .bind(Value::Array(rows).to_string())
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    Ok(())
}

async fn write_changes(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    changes: &BTreeMap<(u64, String, Digest), i64>,
) -> Result<(), StoreError> {
    let as_json = |((hour, class, image), devices): (&(u64, String, Digest), &i64)| {
        Ok(json!([column(*hour, "hour")?, class, hex(image), devices]))
    };
    let rows = changes.iter().map(as_json).collect::<Result<Vec<_>, StoreError>>()?;
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(concat!(
        "INSERT INTO census_change (tenant, hour, class, image, devices) SELECT $1, CAST(value ->> 0 AS BIGINT), \
         value ->> 1, ",
        bytes_of!("value ->> 2"),
        ", CAST(value ->> 3 AS BIGINT) FROM ",
        each!("$2"),
        " WHERE true ON CONFLICT (tenant, hour, class, image) DO UPDATE SET \
         devices = census_change.devices + excluded.devices"
    ))
    .bind(tenant.as_str())
    .bind(Value::Array(rows).to_string())
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    Ok(())
}

fn hex(image: &Digest) -> String {
    use std::fmt::Write;
    image.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[derive(FromRow)]
struct ChangeRow {
    class: String,
    image: Vec<u8>,
    since: i64,
    devices: i64,
}

impl TryFrom<ChangeRow> for Change {
    type Error = StoreError;

    fn try_from(row: ChangeRow) -> Result<Self, StoreError> {
        let image = digest(row.image, "census")?;
        Ok(Self { class: row.class, image, hour: number(row.since, "census")?, devices: row.devices })
    }
}
