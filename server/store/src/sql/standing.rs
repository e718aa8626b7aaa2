//! Rows of counts: how a campaign stands in numbers, and what its devices were given.

use std::collections::BTreeMap;

use bellwether_decide::campaign::CampaignId;
use bellwether_decide::campaign::event::EventKind;
use bellwether_decide::campaign::stage::Stage;
use bellwether_decide::campaign::standing::{Group, Standing};
use bellwether_decide::device::Endpoint;
use sqlx::FromRow;

use super::failed::backend;
use super::track::{TrackRow, read_state, stage, stage_name};
use super::{Connection, Pool, SqlStore};
use crate::bounds::STATEMENT_ROWS_MAX;
use crate::campaign::{AtWork, Given};
use crate::columns::{column, digest, json_names, number, unreadable};
use crate::error::StoreError;
use crate::tenant::Tenant;

pub(super) async fn read(
    store: &SqlStore,
    tenant: &Tenant,
    id: CampaignId,
) -> Result<Option<Standing>, StoreError> {
    // One transaction, so that state and counts are of the same commit.
    let mut tx = store.begin_read().await?;
    let Some(state) = read_state(&mut tx, tenant, id).await? else {
        return Ok(None);
    };
    let rows: Vec<CountRow> = sqlx::query_as(
        "SELECT class, stage, failed_once, reason, devices FROM track_count \
         WHERE tenant = $1 AND campaign = $2 AND devices > 0",
    )
    .bind(tenant.as_str())
    .bind(column(id.0, "number of a campaign")?)
    .fetch_all(&mut *tx)
    .await
    .map_err(backend)?;
    let groups = rows.into_iter().map(CountRow::read).collect::<Result<_, _>>()?;
    Ok(Some(Standing { campaign: id, state, groups }))
}

/// Adds to the counts of a campaign what has changed.
pub(super) async fn write(
    connection: &mut Connection,
    tenant: &Tenant,
    id: CampaignId,
    changes: &BTreeMap<Group, i64>,
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let as_json = |(group, devices): (&Group, &i64)| {
        let reason = group.reason.as_deref().unwrap_or_default();
        serde_json::json!([
            group.class,
            stage_name(group.stage),
            u8::from(group.failed_once),
            reason,
            devices
        ])
    };
    let rows: Vec<_> = changes.iter().map(as_json).collect();
    for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
        // "WHERE true" keeps SQLite from reading ON as the condition of a join.
        sqlx::query(concat!(
            "INSERT INTO track_count (tenant, campaign, class, stage, failed_once, reason, devices) \
             SELECT $1, $2, value ->> 0, value ->> 1, CAST(value ->> 2 AS BOOLEAN), value ->> 3, \
             CAST(value ->> 4 AS BIGINT) FROM ",
            each!("$3"),
            " WHERE true ON CONFLICT (tenant, campaign, class, stage, failed_once, reason) DO UPDATE SET \
             devices = track_count.devices + excluded.devices"
        ))
        .bind(tenant.as_str())
        .bind(column(id.0, "number of a campaign")?)
        .bind(serde_json::Value::from(chunk.to_vec()).to_string())
        .execute(&mut *connection)
        .await
        .map_err(backend)?;
    }
    Ok(())
}

pub(super) async fn at_work_on(
    readers: &Pool,
    tenant: &Tenant,
    but: CampaignId,
    devices: &[Endpoint],
) -> Result<Vec<AtWork>, StoreError> {
    let mut found = Vec::new();
    for chunk in devices.chunks(STATEMENT_ROWS_MAX) {
        let rows: Vec<AtWorkRow> = sqlx::query_as(concat!(
            "SELECT track.*, campaign.id, campaign.manifest FROM track",
            by_index!("track_by_endpoint"),
            " JOIN campaign ON campaign.tenant = track.tenant AND campaign.id = track.campaign \
             WHERE track.tenant = $1 AND track.campaign <> $2 AND campaign.state = 'running' \
             AND track.stage IN ('offered', 'asked', 'downloading', 'decrypted') AND track.endpoint IN ",
            names!("$3")
        ))
        .bind(tenant.as_str())
        .bind(column(but.0, "number of a campaign")?)
        .bind(json_names(chunk.iter()))
        .fetch_all(readers)
        .await
        .map_err(backend)?;
        for row in rows {
            let (endpoint, track) = row.track.read()?;
            let campaign = CampaignId(number(row.id, "campaign")?);
            found.push(AtWork { endpoint, campaign, manifest: digest(row.manifest, "campaign")?, track });
        }
    }
    Ok(found)
}

pub(super) async fn given(
    readers: &Pool,
    tenant: &Tenant,
    id: CampaignId,
    grants: &[(Endpoint, u64)],
) -> Result<BTreeMap<Endpoint, Given>, StoreError> {
    let mut given = BTreeMap::new();
    for chunk in grants.chunks(STATEMENT_ROWS_MAX) {
        let bodies: Vec<String> = sqlx::query_scalar(concat!(
            "SELECT body FROM event",
            by_index!("event_by_endpoint"),
            " WHERE tenant = $1 AND campaign = $2 AND endpoint IN ",
            names!("$3"),
            " AND ",
            kind_of_body!(),
            " = 'resolved' ORDER BY seq"
        ))
        .bind(tenant.as_str())
        .bind(column(id.0, "number of a campaign")?)
        .bind(json_names(chunk.iter().map(|(endpoint, _)| endpoint)))
        .fetch_all(readers)
        .await
        .map_err(backend)?;
        let wanted: BTreeMap<&Endpoint, u64> =
            chunk.iter().map(|(endpoint, grant)| (endpoint, *grant)).collect();
        for body in bodies {
            let event = bellwether_decide::campaign::event_json::decode(&body)
                .map_err(|cause| unreadable("event", cause))?;
            if let (Some(endpoint), EventKind::Resolved { delivery, grant, bytes, .. }) =
                (event.device, event.kind)
                && wanted.get(&endpoint) == Some(&grant)
            {
                given.insert(endpoint, Given { grant, delivery, bytes });
            }
        }
    }
    Ok(given)
}

#[derive(FromRow)]
struct CountRow {
    class: String,
    stage: String,
    failed_once: bool,
    reason: String,
    devices: i64,
}

impl CountRow {
    fn read(self) -> Result<(Group, u32), StoreError> {
        let stage = stage(&self.stage)?;
        let tells_why = matches!(stage, Stage::Failed | Stage::Refused);
        let group = Group {
            class: self.class,
            stage,
            failed_once: self.failed_once,
            reason: Some(self.reason).filter(|_| tells_why),
        };
        Ok((group, self.devices.try_into().map_err(|cause| unreadable("track", cause))?))
    }
}

#[derive(FromRow)]
struct AtWorkRow {
    id: i64,
    manifest: Vec<u8>,
    #[sqlx(flatten)]
    track: TrackRow,
}
