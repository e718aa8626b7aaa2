//! Rows of campaigns and commands.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::progress::Progress;
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::standing::Standing;
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use sqlx::FromRow;

use super::failed::{backend, not_added};
use super::track::TrackRow;
use super::{Connection, Db, SqlStore, Transaction, event, standing, track};
use crate::Digest;
use crate::bounds::{BLOB_BYTES_MAX, DOCUMENT_BYTES_MAX, NAME_BYTES_MAX};
use crate::campaign::{AtWork, Campaigns, Command, Given, Launch, Launched, MoveError, Ordered};
use crate::codec::campaign as codec;
use crate::columns::{bounded, column, digest, number, page, unreadable};
use crate::error::{AddError, StoreError, UpdateError};
use crate::tenant::Tenant;

#[async_trait]
impl Campaigns for SqlStore {
    async fn next_campaign_id(&self, tenant: &Tenant) -> Result<CampaignId, StoreError> {
        let mut tx = self.begin().await?;
        let id = self.next_number(&mut tx, tenant, "campaign").await?;
        tx.commit().await.map_err(backend)?;
        Ok(CampaignId(id))
    }

    async fn launch(&self, tenant: &Tenant, launch: Launch<'_>) -> Result<Launched, AddError> {
        let mut tx = self.begin().await?;
        if let Some(command) = launch.command
            && let Some(known) = keep_command(&mut tx, tenant, command).await?
        {
            return Ok(known);
        }
        insert(&mut tx, tenant, launch.campaign).await?;
        let mut seq = event::append(&mut tx, tenant, launch.events).await?;
        let (campaign, at) = (launch.campaign.id, launch.campaign.launched_at);
        seq = refuse_given_up(&mut tx, tenant, campaign, at).await?.unwrap_or(seq);
        tx.commit().await.map_err(backend)?;
        Ok(Launched::New { seq })
    }

    async fn command(&self, tenant: &Tenant, request_id: &str) -> Result<Option<Command>, StoreError> {
        let mut reader = self.readers.acquire().await.map_err(backend)?;
        read_command(&mut reader, tenant, request_id).await
    }

    async fn campaign(&self, tenant: &Tenant, id: CampaignId) -> Result<Option<Campaign>, StoreError> {
        let row: Option<CampaignRow> = sqlx::query_as("SELECT * FROM campaign WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(column(id.0, "number of a campaign")?)
            .fetch_optional(&self.readers)
            .await
            .map_err(backend)?;
        row.map(Campaign::try_from).transpose()
    }

    async fn campaigns(
        &self,
        tenant: &Tenant,
        state: Option<CampaignState>,
        after: Option<CampaignId>,
        rows_max: u32,
    ) -> Result<Vec<Campaign>, StoreError> {
        let query = match state {
            Some(_) => {
                "SELECT * FROM campaign WHERE tenant = $1 AND state = $2 AND id > $3 ORDER BY id LIMIT $4"
            }
            None => {
                "SELECT * FROM campaign WHERE tenant = $1 AND $2 IS NULL AND id > $3 ORDER BY id LIMIT $4"
            }
        };
        let rows: Vec<CampaignRow> = sqlx::query_as(query)
            .bind(tenant.as_str())
            .bind(state.map(CampaignState::name))
            .bind(column(after.map_or(0, |id| id.0), "number of a campaign")?)
            .bind(page(rows_max))
            .fetch_all(&self.readers)
            .await
            .map_err(backend)?;
        rows.into_iter().map(Campaign::try_from).collect()
    }

    async fn move_campaign(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        expected: CampaignState,
        events: &[Event],
    ) -> Result<CampaignState, MoveError> {
        let mut tx = self.begin().await?;
        let found = track::read_state(&mut tx, tenant, id).await?.ok_or(MoveError::Missing)?;
        if found != expected {
            return Err(MoveError::Conflict { found });
        }
        event::append(&mut tx, tenant, events).await?;
        let state = track::read_state(&mut tx, tenant, id).await?.ok_or(MoveError::Missing)?;
        tx.commit().await.map_err(backend)?;
        Ok(state)
    }

    async fn append_for_unmoved(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        decided: &BTreeMap<Endpoint, Track>,
        events: &[Event],
    ) -> Result<Vec<Event>, StoreError> {
        let devices = events.iter().filter_map(|event| event.device.as_ref()).collect();
        let mut tx = self.begin().await?;
        let tracks = track::read_named(&mut tx, tenant, id, &devices).await?;
        let is_unmoved =
            |device: &Endpoint| tracks.get(device).is_some_and(|track| decided.get(device) == Some(track));
        let unmoved = events.iter().filter(|event| event.device.as_ref().is_some_and(is_unmoved));
        let unmoved: Vec<Event> = unmoved.cloned().collect();
        if !unmoved.is_empty() {
            event::append(&mut tx, tenant, &unmoved).await?;
            tx.commit().await.map_err(backend)?;
        }
        Ok(unmoved)
    }

    async fn order(&self, tenant: &Tenant, order: Ordered<'_>) -> Result<Launched, MoveError> {
        let mut tx = self.begin().await?;
        // A repetition finds the campaign where its first time has put it.
        if let Some(known) = keep_command(&mut tx, tenant, order.command).await? {
            return Ok(known);
        }
        let found = track::read_state(&mut tx, tenant, order.campaign).await?.ok_or(MoveError::Missing)?;
        if found != order.expected {
            return Err(MoveError::Conflict { found });
        }
        let mut seq = event::append(&mut tx, tenant, order.events).await?;
        // Of those that failed, some may have been given up since.
        if order.events.iter().any(|event| matches!(event.kind, EventKind::Retried { .. })) {
            let given_up = refuse_given_up(&mut tx, tenant, order.campaign, order.command.at).await?;
            seq = given_up.unwrap_or(seq);
        }
        tx.commit().await.map_err(backend)?;
        Ok(Launched::New { seq })
    }

    async fn progress(&self, tenant: &Tenant, id: CampaignId) -> Result<Option<Progress>, StoreError> {
        // One transaction, so that state and tracks are of the same commit.
        let mut tx = self.begin_read().await?;
        let Some(state) = track::read_state(&mut tx, tenant, id).await? else {
            return Ok(None);
        };
        let rows: Vec<TrackRow> = sqlx::query_as("SELECT * FROM track WHERE tenant = $1 AND campaign = $2")
            .bind(tenant.as_str())
            .bind(column(id.0, "number of a campaign")?)
            .fetch_all(&mut *tx)
            .await
            .map_err(backend)?;
        let tracks = rows.into_iter().map(TrackRow::read).collect::<Result<_, _>>()?;
        Ok(Some(Progress { campaign: id, state, tracks }))
    }

    async fn latest_campaigns(
        &self,
        tenant: &Tenant,
        before: Option<CampaignId>,
        rows_max: u32,
    ) -> Result<Vec<Campaign>, StoreError> {
        let before = before.map_or(Ok(i64::MAX), |id| column(id.0, "number of a campaign"))?;
        let rows: Vec<CampaignRow> =
            sqlx::query_as("SELECT * FROM campaign WHERE tenant = $1 AND id < $2 ORDER BY id DESC LIMIT $3")
                .bind(tenant.as_str())
                .bind(before)
                .bind(page(rows_max))
                .fetch_all(&self.readers)
                .await
                .map_err(backend)?;
        rows.into_iter().map(Campaign::try_from).collect()
    }

    async fn standing(&self, tenant: &Tenant, id: CampaignId) -> Result<Option<Standing>, StoreError> {
        standing::read(self, tenant, id).await
    }

    async fn tracks(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<(Endpoint, Track)>, StoreError> {
        let rows: Vec<TrackRow> = sqlx::query_as(
            "SELECT * FROM track WHERE tenant = $1 AND campaign = $2 AND endpoint > $3 ORDER BY endpoint LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(column(id.0, "number of a campaign")?)
        .bind(after.map_or("", Endpoint::as_str))
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(TrackRow::read).collect()
    }

    async fn tracks_in(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        stages: &[Stage],
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<(Endpoint, Track)>, StoreError> {
        // A page of each stage, and the first of all of them: names of one stage stand in their order, those of several
        // do not.
        let mut found = Vec::new();
        for stage in stages {
            found.extend(track::read_in(&self.readers, tenant, id, *stage, after, rows_max).await?);
        }
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        // One that moved on between two of these statements.
        found.dedup_by(|(one, _), (other, _)| one == other);
        found.truncate(usize::try_from(page(rows_max)).unwrap_or(0));
        Ok(found)
    }

    async fn tracks_of(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        devices: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, Track>, StoreError> {
        let mut reader = self.readers.acquire().await.map_err(backend)?;
        track::read_named(&mut reader, tenant, id, &devices.iter().collect()).await
    }

    async fn in_flight_behind(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        gateway: &Endpoint,
        rows_max: u32,
    ) -> Result<Vec<(Endpoint, Track)>, StoreError> {
        track::in_flight_behind(&self.readers, tenant, id, gateway, rows_max).await
    }

    async fn at_work_on(
        &self,
        tenant: &Tenant,
        but: CampaignId,
        devices: &[Endpoint],
    ) -> Result<Vec<AtWork>, StoreError> {
        standing::at_work_on(&self.readers, tenant, but, devices).await
    }

    async fn given(
        &self,
        tenant: &Tenant,
        id: CampaignId,
        grants: &[(Endpoint, u64)],
    ) -> Result<BTreeMap<Endpoint, Given>, StoreError> {
        standing::given(&self.readers, tenant, id, grants).await
    }

    async fn campaigns_about(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        manifests: &[Digest],
    ) -> Result<Vec<(Campaign, Track)>, StoreError> {
        let manifests: serde_json::Value = manifests.iter().map(hex::encode).collect();
        // The inner selection reads no campaign's row: of most campaigns of a device nothing else matters any more.
        let rows: Vec<TrackedRow> = sqlx::query_as(concat!(
            "SELECT * FROM track JOIN campaign ON campaign.tenant = track.tenant AND campaign.id = track.campaign \
             WHERE track.tenant = $1 AND track.endpoint = $2 AND track.campaign IN (SELECT short.id FROM track AS own",
            by_index!("track_by_endpoint"),
            " JOIN campaign AS short",
            by_index!("campaign_in_short"),
            " ON short.tenant = own.tenant AND short.id = own.campaign \
             WHERE own.tenant = $1 AND own.endpoint = $2 AND (short.state IN ('running', 'paused') \
             OR own.stage = 'decrypted' OR short.manifest IN ",
            digests!("$3"),
            ")) ORDER BY track.campaign DESC LIMIT $4"
        ))
        .bind(tenant.as_str())
        .bind(endpoint.as_str())
        .bind(manifests.to_string())
        .bind(page(u32::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(TrackedRow::read).collect()
    }

    async fn campaigns_ever(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
    ) -> Result<Vec<(Campaign, Track)>, StoreError> {
        let rows: Vec<TrackedRow> = sqlx::query_as(concat!(
            "SELECT * FROM track",
            by_index!("track_by_endpoint"),
            " JOIN campaign ON campaign.tenant = track.tenant AND campaign.id = track.campaign \
             WHERE track.tenant = $1 AND track.endpoint = $2 ORDER BY track.campaign DESC LIMIT $3"
        ))
        .bind(tenant.as_str())
        .bind(endpoint.as_str())
        .bind(page(u32::MAX))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(TrackedRow::read).collect()
    }
}

/// Ends the part of devices in a campaign that it waits for though they were given up; gives the number of the last event,
/// if there are such.
async fn refuse_given_up(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    campaign: CampaignId,
    at: u64,
) -> Result<Option<u64>, StoreError> {
    let given_up = track::given_up_in(tx, tenant, campaign, at).await?;
    if given_up.is_empty() {
        return Ok(None);
    }
    event::append(tx, tenant, &given_up).await.map(Some)
}

async fn insert(tx: &mut Transaction<'_, Db>, tenant: &Tenant, campaign: &Campaign) -> Result<(), AddError> {
    let targets = codec::encode_targets(&campaign.targets).map_err(|cause| unreadable("targets", cause))?;
    let policy = codec::encode_policy(&campaign.policy).map_err(|cause| unreadable("policy", cause))?;
    bounded(targets.len(), DOCUMENT_BYTES_MAX, "targets of a campaign")?;
    sqlx::query(
        "INSERT INTO campaign (tenant, id, manifest, targets, policy, state, launched_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(tenant.as_str())
    .bind(column(campaign.id.0, "number of a campaign")?)
    .bind(&campaign.manifest[..])
    .bind(targets)
    .bind(policy)
    .bind(campaign.state.name())
    .bind(column(campaign.launched_at, "time")?)
    .execute(&mut **tx)
    .await
    .map_err(not_added)?;
    Ok(())
}

/// Writes a command down; one that is known already is told as what it was, and nothing is written.
async fn keep_command(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    command: &Command,
) -> Result<Option<Launched>, StoreError> {
    match read_command(tx, tenant, &command.request_id).await? {
        Some(kept) if kept.body == command.body => Ok(Some(Launched::Repeated { reply: kept.reply })),
        Some(_) => Ok(Some(Launched::OtherBody)),
        None => insert_command(tx, tenant, command).await.map(|()| None),
    }
}

async fn read_command(
    connection: &mut Connection,
    tenant: &Tenant,
    request_id: &str,
) -> Result<Option<Command>, StoreError> {
    let row: Option<CommandRow> =
        sqlx::query_as("SELECT * FROM command WHERE tenant = $1 AND request_id = $2")
            .bind(tenant.as_str())
            .bind(request_id)
            .fetch_optional(connection)
            .await
            .map_err(backend)?;
    row.map(Command::try_from).transpose()
}

async fn insert_command(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    command: &Command,
) -> Result<(), StoreError> {
    bounded(command.request_id.len(), NAME_BYTES_MAX, "request id")?;
    bounded(command.reply.len(), BLOB_BYTES_MAX, "reply to a command")?;
    sqlx::query("INSERT INTO command (tenant, request_id, body, reply, at) VALUES ($1, $2, $3, $4, $5)")
        .bind(tenant.as_str())
        .bind(&command.request_id)
        .bind(&command.body[..])
        .bind(&command.reply)
        .bind(column(command.at, "time")?)
        .execute(&mut **tx)
        .await
        .map_err(backend)?;
    Ok(())
}

/// Writes a command down that a transaction carries out.
///
/// # Errors
///
/// [`UpdateError::CommandKept`] if its request id was used before, whatever for.
pub(super) async fn keep_new_command(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    command: &Command,
) -> Result<(), UpdateError> {
    match keep_command(tx, tenant, command).await? {
        None => Ok(()),
        Some(_) => Err(UpdateError::CommandKept),
    }
}

#[derive(FromRow)]
struct CampaignRow {
    id: i64,
    manifest: Vec<u8>,
    targets: String,
    policy: String,
    state: String,
    launched_at: i64,
}

impl TryFrom<CampaignRow> for Campaign {
    type Error = StoreError;

    fn try_from(row: CampaignRow) -> Result<Self, StoreError> {
        let state = CampaignState::from_name(&row.state);
        Ok(Self {
            id: CampaignId(number(row.id, "campaign")?),
            manifest: digest(row.manifest, "campaign")?,
            targets: codec::decode_targets(&row.targets).map_err(|cause| unreadable("campaign", cause))?,
            policy: codec::decode_policy(&row.policy).map_err(|cause| unreadable("campaign", cause))?,
            launched_at: number(row.launched_at, "campaign")?,
            state: state.ok_or_else(|| unreadable("campaign", "its state is not known"))?,
        })
    }
}

#[derive(FromRow)]
struct TrackedRow {
    #[sqlx(flatten)]
    campaign: CampaignRow,
    #[sqlx(flatten)]
    track: TrackRow,
}

impl TrackedRow {
    fn read(self) -> Result<(Campaign, Track), StoreError> {
        Ok((self.campaign.try_into()?, self.track.read()?.1))
    }
}

#[derive(FromRow)]
struct CommandRow {
    request_id: String,
    body: Vec<u8>,
    reply: Vec<u8>,
    at: i64,
}

impl TryFrom<CommandRow> for Command {
    type Error = StoreError;

    fn try_from(row: CommandRow) -> Result<Self, StoreError> {
        Ok(Self {
            request_id: row.request_id,
            body: digest(row.body, "command")?,
            reply: row.reply,
            at: number(row.at, "command")?,
        })
    }
}
