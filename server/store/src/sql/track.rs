//! Rows of tracks: the kept fold of a campaign's events.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::progress::Progress;
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::{CampaignId, CampaignState, standing};
use bellwether_decide::device::Endpoint;
use sqlx::FromRow;

use super::failed::backend;
use super::{Connection, Db, Pool, Transaction};
use crate::bounds::STATEMENT_ROWS_MAX;
use crate::columns::{column, endpoint, json_names, number, page, unreadable};
use crate::device::GIVEN_UP;
use crate::error::StoreError;
use crate::tenant::Tenant;

/// Applies appended events to the kept fold of their campaigns.
pub(super) async fn apply(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    events: &[Event],
) -> Result<(), StoreError> {
    let campaigns: BTreeSet<CampaignId> = events.iter().filter_map(|event| event.campaign).collect();
    for id in campaigns {
        let of_campaign: Vec<&Event> = events.iter().filter(|event| event.campaign == Some(id)).collect();
        apply_to_campaign(tx, tenant, id, &of_campaign).await?;
    }
    Ok(())
}

async fn apply_to_campaign(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: CampaignId,
    events: &[&Event],
) -> Result<(), StoreError> {
    let Some(state) = read_state(tx, tenant, id).await? else {
        return Ok(()); // An event may name a campaign that was never launched here; it has no fold.
    };
    let touched: BTreeSet<&Endpoint> = events.iter().filter_map(|event| event.device.as_ref()).collect();
    let before = Progress { campaign: id, state, tracks: read_named(tx, tenant, id, &touched).await? };
    let mut after = before.clone();
    for event in events {
        after.apply(event);
    }
    if after.state != before.state {
        write_state(tx, tenant, id, after.state).await?;
    }
    let changed: Vec<_> = after
        .tracks
        .iter()
        .filter(|(endpoint, track)| before.tracks.get(*endpoint) != Some(*track))
        .collect();
    write(tx, tenant, id, &changed).await?;
    super::standing::write(tx, tenant, id, &standing::changes(&before, &after)).await
}

pub(super) async fn read_state(
    connection: &mut Connection,
    tenant: &Tenant,
    id: CampaignId,
) -> Result<Option<CampaignState>, StoreError> {
    let name: Option<String> = sqlx::query_scalar("SELECT state FROM campaign WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(column(id.0, "number of a campaign")?)
        .fetch_optional(connection)
        .await
        .map_err(backend)?;
    name.map(|name| {
        CampaignState::from_name(&name).ok_or_else(|| unreadable("campaign", "its state is not known"))
    })
    .transpose()
}

async fn write_state(
    connection: &mut Connection,
    tenant: &Tenant,
    id: CampaignId,
    state: CampaignState,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE campaign SET state = $1 WHERE tenant = $2 AND id = $3")
        .bind(state.name())
        .bind(tenant.as_str())
        .bind(column(id.0, "number of a campaign")?)
        .execute(connection)
        .await
        .map_err(backend)?;
    Ok(())
}

/// Reads the tracks of these devices; those that are no targets are left out.
pub(super) async fn read_named(
    connection: &mut Connection,
    tenant: &Tenant,
    id: CampaignId,
    names: &BTreeSet<&Endpoint>,
) -> Result<BTreeMap<Endpoint, Track>, StoreError> {
    let names: Vec<&Endpoint> = names.iter().copied().collect();
    let mut tracks = BTreeMap::new();
    for chunk in names.chunks(STATEMENT_ROWS_MAX) {
        let rows: Vec<TrackRow> = sqlx::query_as(concat!(
            "SELECT * FROM track WHERE tenant = $1 AND campaign = $2 AND endpoint IN ",
            names!("$3")
        ))
        .bind(tenant.as_str())
        .bind(column(id.0, "number of a campaign")?)
        .bind(json_names(chunk.iter().copied()))
        .fetch_all(&mut *connection)
        .await
        .map_err(backend)?;
        for row in rows {
            let (endpoint, track) = row.read()?;
            tracks.insert(endpoint, track);
        }
    }
    Ok(tracks)
}

/// Reads a page of the tracks in one stage, by name.
pub(super) async fn read_in(
    readers: &Pool,
    tenant: &Tenant,
    id: CampaignId,
    stage: Stage,
    after: Option<&Endpoint>,
    rows_max: u32,
) -> Result<Vec<(Endpoint, Track)>, StoreError> {
    let rows: Vec<TrackRow> = sqlx::query_as(
        "SELECT * FROM track WHERE tenant = $1 AND campaign = $2 AND stage = $3 AND endpoint > $4 \
         ORDER BY endpoint LIMIT $5",
    )
    .bind(tenant.as_str())
    .bind(column(id.0, "number of a campaign")?)
    .bind(stage_name(stage))
    .bind(after.map_or("", Endpoint::as_str))
    .bind(page(rows_max))
    .fetch_all(readers)
    .await
    .map_err(backend)?;
    rows.into_iter().map(TrackRow::read).collect()
}

/// Reads the tracks of the devices of a gateway that are in flight, by name.
pub(super) async fn in_flight_behind(
    readers: &Pool,
    tenant: &Tenant,
    id: CampaignId,
    gateway: &Endpoint,
    rows_max: u32,
) -> Result<Vec<(Endpoint, Track)>, StoreError> {
    // By the gateway's list, which is bounded: that of who is in flight may be the whole fleet.
    let rows: Vec<TrackRow> = sqlx::query_as(concat!(
        "SELECT track.* FROM device",
        by_index!("device_by_gateway"),
        " JOIN track ON track.tenant = device.tenant AND track.campaign = $2 AND track.endpoint = device.endpoint \
         WHERE device.tenant = $1 AND device.gateway = $3 AND track.stage IN ",
        names!("$4"),
        " ORDER BY device.endpoint LIMIT $5"
    ))
    .bind(tenant.as_str())
    .bind(column(id.0, "number of a campaign")?)
    .bind(gateway.as_str())
    .bind(in_flight())
    .bind(page(rows_max))
    .fetch_all(readers)
    .await
    .map_err(backend)?;
    rows.into_iter().map(TrackRow::read).collect()
}

/// Names the stages that count against the limit of devices at a time.
fn in_flight() -> String {
    let names: serde_json::Value =
        Stage::ALL.into_iter().filter(|stage| stage.is_in_flight()).map(stage_name).collect();
    names.to_string()
}

/// Refusals for the devices that a campaign waits for though they were given up.
pub(super) async fn given_up_in(
    connection: &mut Connection,
    tenant: &Tenant,
    campaign: CampaignId,
    at: u64,
) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<TrackRow> = sqlx::query_as(
        "SELECT track.* FROM track JOIN device \
         ON device.tenant = track.tenant AND device.endpoint = track.endpoint \
         WHERE track.tenant = $1 AND track.campaign = $2 AND device.retired_at IS NOT NULL ORDER BY track.endpoint",
    )
    .bind(tenant.as_str())
    .bind(column(campaign.0, "number of a campaign")?)
    .fetch_all(connection)
    .await
    .map_err(backend)?;
    let mut events = Vec::new();
    for row in rows {
        let (name, track) = row.read()?;
        if !track.is_ended() {
            events.push(refused(campaign, name, at));
        }
    }
    Ok(events)
}

/// Refusals for the campaigns that wait for a device that is given up at a time.
pub(super) async fn waiting_for(
    connection: &mut Connection,
    tenant: &Tenant,
    device: &Endpoint,
    at: u64,
) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<CampaignTrackRow> = sqlx::query_as(concat!(
        "SELECT * FROM track",
        by_index!("track_by_endpoint"),
        " WHERE tenant = $1 AND endpoint = $2 ORDER BY campaign"
    ))
    .bind(tenant.as_str())
    .bind(device.as_str())
    .fetch_all(connection)
    .await
    .map_err(backend)?;
    let mut events = Vec::new();
    for row in rows {
        let (name, track) = row.track.read()?;
        if !track.is_ended() {
            events.push(refused(CampaignId(number(row.campaign, "track")?), name, at));
        }
    }
    Ok(events)
}

fn refused(campaign: CampaignId, device: Endpoint, at: u64) -> Event {
    let kind = EventKind::Refused { reason: GIVEN_UP.to_owned() };
    Event { at, campaign: Some(campaign), device: Some(device), kind }
}

#[derive(FromRow)]
struct CampaignTrackRow {
    campaign: i64,
    #[sqlx(flatten)]
    track: TrackRow,
}

async fn write(
    connection: &mut Connection,
    tenant: &Tenant,
    id: CampaignId,
    tracks: &[(&Endpoint, &Track)],
) -> Result<(), StoreError> {
    for chunk in tracks.chunks(STATEMENT_ROWS_MAX) {
        let rows =
            chunk.iter().map(|(endpoint, track)| as_json(endpoint, track)).collect::<Result<_, _>>()?;
        // "WHERE true" keeps SQLite from reading ON as the condition of a join.
        sqlx::query(
            concat!(
                "INSERT INTO track (tenant, campaign, endpoint, class, stage, since, grant_number, offers_failed, \
                 failed_once, reason) SELECT $1, $2, value ->> 0, value ->> 1, value ->> 2, \
                 CAST(value ->> 3 AS BIGINT), CAST(value ->> 4 AS BIGINT), CAST(value ->> 5 AS BIGINT), \
                 CAST(value ->> 6 AS BOOLEAN), value ->> 7 FROM ",
                each!("$3"),
                " WHERE true ON CONFLICT (tenant, campaign, endpoint) DO UPDATE SET stage = excluded.stage, since = excluded.since, \
             grant_number = excluded.grant_number, offers_failed = excluded.offers_failed, \
             failed_once = excluded.failed_once, reason = excluded.reason"
            ),
        )
        .bind(tenant.as_str())
        .bind(column(id.0, "number of a campaign")?)
        .bind(serde_json::Value::Array(rows).to_string())
        .execute(&mut *connection)
        .await
        .map_err(backend)?;
    }
    Ok(())
}

fn as_json(endpoint: &Endpoint, track: &Track) -> Result<serde_json::Value, StoreError> {
    Ok(serde_json::json!([
        endpoint.as_str(),
        track.class,
        stage_name(track.stage),
        column(track.since, "time")?,
        column(track.grant, "number of a grant")?,
        track.offers_failed,
        u8::from(track.failed_once),
        track.reason,
    ]))
}

#[derive(FromRow)]
pub(super) struct TrackRow {
    endpoint: String,
    class: String,
    stage: String,
    since: i64,
    grant_number: i64,
    offers_failed: i64,
    failed_once: bool,
    reason: Option<String>,
}

impl TrackRow {
    pub(super) fn read(self) -> Result<(Endpoint, Track), StoreError> {
        let track = Track {
            class: self.class,
            stage: stage(&self.stage)?,
            since: number(self.since, "track")?,
            grant: number(self.grant_number, "track")?,
            offers_failed: self.offers_failed.try_into().map_err(|cause| unreadable("track", cause))?,
            failed_once: self.failed_once,
            reason: self.reason,
        };
        Ok((endpoint(self.endpoint, "track")?, track))
    }
}

/// Names the stages on disk; never change a name.
pub(super) fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Waiting => "waiting",
        Stage::Offered => "offered",
        Stage::Asked => "asked",
        Stage::Downloading => "downloading",
        Stage::Decrypted => "decrypted",
        Stage::Installed => "installed",
        Stage::Current => "current",
        Stage::Failed => "failed",
        Stage::Refused => "refused",
    }
}

pub(super) fn stage(name: &str) -> Result<Stage, StoreError> {
    Stage::ALL
        .into_iter()
        .find(|stage| stage_name(*stage) == name)
        .ok_or_else(|| unreadable("track", format!("stage {name}")))
}
