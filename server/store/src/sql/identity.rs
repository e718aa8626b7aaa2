//! Rows of identities, and the step that moves one.

use bellwether_decide::campaign::event::Event;
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::IdentityState;
use sqlx::FromRow;

use super::failed::{backend, not_added};
use super::{Db, Pool, SqlStore, Transaction, alarm, campaign, event, fleet};
use crate::bounds::{BLOB_BYTES_MAX, EPOCHS_MAX, STATE_BYTES_MAX};
use crate::campaign::Command;
use crate::codec::state;
use crate::columns::{bounded, column, endpoint, number, unreadable};
use crate::device::{
    EpochKeys, Gives, Identity, KeyStep, NewIdentity, NowRuns, Restores, Transition, Updated,
};
use crate::error::{AddError, StoreError, UpdateError};
use crate::sealed::Sealed;
use crate::tenant::Tenant;

pub(super) async fn insert(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    endpoint: &Endpoint,
    identity: &NewIdentity,
) -> Result<(), AddError> {
    bounded(identity.chain_length.into(), CHAIN_LENGTH_MAX, "length of a key chain")?;
    sqlx::query(
        "INSERT INTO identity (tenant, id, endpoint, chain_length, revision, state) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(tenant.as_str())
    .bind(identity.id.as_str())
    .bind(endpoint.as_str())
    .bind(i64::from(identity.chain_length))
    .bind(column(identity.state.revision, "revision")?)
    .bind(written(&identity.state)?)
    .execute(&mut **tx)
    .await
    .map_err(not_added)?;
    let (seed, links) = (Some(identity.seed.clone()), identity.links.clone());
    let keys = EpochKeys { epoch: identity.state.place.epoch, seed, links };
    insert_epoch(tx, tenant, &identity.id, &keys).await
}

async fn insert_epoch(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: &Endpoint,
    keys: &EpochKeys,
) -> Result<(), AddError> {
    bounded(keys.seed.as_ref().map_or(0, |seed| seed.as_bytes().len()), BLOB_BYTES_MAX, "sealed seed")?;
    bounded(keys.links.as_bytes().len(), BLOB_BYTES_MAX, "sealed links")?;
    sqlx::query(
        "INSERT INTO epoch (tenant, id, epoch, seed_sealed, links_sealed) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(tenant.as_str())
    .bind(id.as_str())
    .bind(i64::from(keys.epoch))
    .bind(keys.seed.as_ref().map(Sealed::as_bytes))
    .bind(keys.links.as_bytes())
    .execute(&mut **tx)
    .await
    .map_err(not_added)?;
    Ok(())
}

pub(super) async fn read(
    readers: &Pool,
    tenant: &Tenant,
    id: &Endpoint,
) -> Result<Option<Identity>, StoreError> {
    // One statement, so that state and keys are of one commit.
    let rows: Vec<IdentityRow> = sqlx::query_as(
        "SELECT i.id, i.endpoint, i.chain_length, i.revision, \
         CASE WHEN row_number() OVER (ORDER BY e.epoch) = 1 THEN i.state END AS state, \
         e.epoch, e.seed_sealed, e.links_sealed \
         FROM identity i JOIN epoch e ON e.tenant = i.tenant AND e.id = i.id \
         WHERE i.tenant = $1 AND i.id = $2 ORDER BY e.epoch",
    )
    .bind(tenant.as_str())
    .bind(id.as_str())
    .fetch_all(readers)
    .await
    .map_err(backend)?;
    Ok(gathered(rows)?.pop())
}

pub(super) async fn read_of(
    readers: &Pool,
    tenant: &Tenant,
    endpoint: &Endpoint,
) -> Result<Vec<Identity>, StoreError> {
    let rows: Vec<IdentityRow> = sqlx::query_as(concat!(
        "SELECT i.id, i.endpoint, i.chain_length, i.revision, \
         CASE WHEN row_number() OVER (PARTITION BY i.id ORDER BY e.epoch) = 1 THEN i.state END AS state, \
         e.epoch, e.seed_sealed, e.links_sealed FROM identity i",
        by_index!("identity_by_endpoint"),
        " JOIN epoch e ON e.tenant = i.tenant AND e.id = i.id \
         WHERE i.tenant = $1 AND i.endpoint = $2 ORDER BY i.id, e.epoch LIMIT $3"
    ))
    .bind(tenant.as_str())
    .bind(endpoint.as_str())
    .bind(crate::columns::page(u32::MAX))
    .fetch_all(readers)
    .await
    .map_err(backend)?;
    gathered(rows)
}

pub(super) async fn update(
    store: &SqlStore,
    tenant: &Tenant,
    id: &Endpoint,
    transition: Transition<'_>,
) -> Result<Updated, UpdateError> {
    let state = written(transition.state)?;
    let mut turn = store.turn().await?;
    let updated = step(&mut turn, tenant, id, transition, state).await;
    turn.end(updated).await
}

pub(super) async fn step(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: &Endpoint,
    transition: Transition<'_>,
    state: Vec<u8>,
) -> Result<Updated, UpdateError> {
    compare_and_set(tx, tenant, id, transition, state).await?;
    if let Some(gives) = transition.gives {
        refuse_forbidden(tx, tenant, id, gives).await?;
    }
    step_keys(tx, tenant, id, transition.keys).await?;
    if let Some(command) = transition.command {
        campaign::keep_new_command(tx, tenant, command).await?;
    }
    if let Some(NowRuns { endpoint, components, since }) = transition.running {
        fleet::write_running(tx, tenant, endpoint, components, since).await?;
    }
    let mut seq = event::append(tx, tenant, transition.events).await?;
    let alarms_new = alarm::raise(tx, tenant, transition.alarms).await?;
    if !alarms_new.is_empty() {
        seq = event::highest(tx, tenant).await?;
    }
    Ok(Updated { revision: transition.state.revision, seq, alarms_new })
}

/// Sets the state if the expected revision is kept; a step that changed nothing only compares.
async fn compare_and_set(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: &Endpoint,
    transition: Transition<'_>,
    state: Vec<u8>,
) -> Result<(), UpdateError> {
    let kept: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT revision, state FROM identity WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id.as_str())
            .fetch_optional(&mut **tx)
            .await
            .map_err(backend)?;
    let (revision, kept) = kept.ok_or(UpdateError::Missing)?;
    let (expected, found) = (transition.expected_revision, number(revision, "identity")?);
    let given = transition.state.revision;
    match (found == expected, given > expected) {
        (false, _) => return Err(UpdateError::Conflict { expected, found }),
        (true, false) if given == expected && state == kept => return Ok(()),
        (true, false) => return Err(UpdateError::NotRaised { expected, given }),
        (true, true) => {}
    }
    sqlx::query(
        "UPDATE identity SET revision = $1, state = $2 WHERE tenant = $3 AND id = $4 AND revision = $5",
    )
    .bind(column(given, "revision")?)
    .bind(state)
    .bind(tenant.as_str())
    .bind(id.as_str())
    .bind(revision)
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    Ok(())
}

/// Refuses to give what was forbidden by a commit before this one: whoever pauses a campaign or recalls a release was told
/// that nobody is given anything from then on.
async fn refuse_forbidden(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: &Endpoint,
    gives: Gives<'_>,
) -> Result<(), UpdateError> {
    let images: serde_json::Value = gives.images.iter().map(hex::encode).collect();
    let is_free: bool = sqlx::query_scalar(concat!(
        "SELECT EXISTS (SELECT 1 FROM campaign WHERE tenant = $1 AND id = $2 AND state IN ('running', 'finished')) \
         AND NOT EXISTS (SELECT 1 FROM release WHERE tenant = $1 AND recalled_at IS NOT NULL AND digest IN ",
        digests!("$3"),
        " AND class = (SELECT class FROM identity JOIN device ON device.tenant = identity.tenant \
         AND device.endpoint = identity.endpoint WHERE identity.tenant = $1 AND identity.id = $4))"
    ))
    .bind(tenant.as_str())
    .bind(column(gives.campaign.0, "number of a campaign")?)
    .bind(images.to_string())
    .bind(id.as_str())
    .fetch_one(&mut **tx)
    .await
    .map_err(backend)?;
    if is_free { Ok(()) } else { Err(UpdateError::Forbidden) }
}

/// Adds the keys of a further epoch, and destroys seeds and epochs that nobody needs any more.
async fn step_keys(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: &Endpoint,
    step: KeyStep<'_>,
) -> Result<(), UpdateError> {
    for keys in step.added {
        insert_epoch(tx, tenant, id, keys).await.map_err(|error| match error {
            AddError::Exists => UpdateError::EpochKept(keys.epoch),
            AddError::Store(error) => error.into(),
        })?;
        sqlx::query("DELETE FROM epoch WHERE tenant = $1 AND id = $2 AND epoch <= $3")
            .bind(tenant.as_str())
            .bind(id.as_str())
            .bind(i64::from(keys.epoch) - i64::from(EPOCHS_MAX))
            .execute(&mut **tx)
            .await
            .map_err(backend)?;
    }
    if let Some(epoch) = step.destroyed_up_to {
        sqlx::query(
            "UPDATE epoch SET seed_sealed = NULL \
             WHERE tenant = $1 AND id = $2 AND epoch <= $3 AND seed_sealed IS NOT NULL",
        )
        .bind(tenant.as_str())
        .bind(id.as_str())
        .bind(i64::from(epoch))
        .execute(&mut **tx)
        .await
        .map_err(backend)?;
    }
    Ok(())
}

pub(super) async fn restores(readers: &Pool, tenant: &Tenant) -> Result<Restores, StoreError> {
    let row: Option<(i64, i64)> = sqlx::query_as("SELECT count, resync_until FROM restore WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(readers)
        .await
        .map_err(backend)?;
    row.map_or(Ok(Restores::default()), read_restores)
}

pub(super) async fn add_restore(
    store: &SqlStore,
    tenant: &Tenant,
    resync_until: u64,
    events: &[Event],
    command: &Command,
) -> Result<Restores, UpdateError> {
    let mut tx = store.begin().await?;
    campaign::keep_new_command(&mut tx, tenant, command).await?;
    let row: (i64, i64) = sqlx::query_as(
        "INSERT INTO restore (tenant, count, resync_until) VALUES ($1, 1, $2) ON CONFLICT (tenant) \
         DO UPDATE SET count = restore.count + 1, resync_until = excluded.resync_until RETURNING count, resync_until",
    )
    .bind(tenant.as_str())
    .bind(column(resync_until, "time")?)
    .fetch_one(&mut *tx)
    .await
    .map_err(backend)?;
    event::append(&mut tx, tenant, events).await?;
    tx.commit().await.map_err(backend)?;
    Ok(read_restores(row)?)
}

fn read_restores((count, resync_until): (i64, i64)) -> Result<Restores, StoreError> {
    Ok(Restores { count: number(count, "restore")?, resync_until: number(resync_until, "restore")? })
}

pub(super) fn written(state: &IdentityState) -> Result<Vec<u8>, StoreError> {
    let bytes = state::encode(state);
    bounded(bytes.len(), STATE_BYTES_MAX, "state of an identity")?;
    Ok(bytes)
}

/// One epoch of an identity; the identity's first row has its state.
#[derive(FromRow)]
struct IdentityRow {
    id: String,
    endpoint: String,
    chain_length: i64,
    revision: i64,
    state: Option<Vec<u8>>,
    epoch: i64,
    seed_sealed: Option<Vec<u8>>,
    links_sealed: Vec<u8>,
}

/// Gathers the rows of each identity, which stand together, the oldest epoch first.
fn gathered(rows: Vec<IdentityRow>) -> Result<Vec<Identity>, StoreError> {
    let mut identities: Vec<Identity> = Vec::new();
    for row in rows {
        let keys = EpochKeys {
            epoch: row.epoch.try_into().map_err(|cause| unreadable("identity", cause))?,
            seed: row.seed_sealed.map(Sealed::new),
            links: Sealed::new(row.links_sealed),
        };
        let Some(state) = row.state else {
            let last = identities.last_mut().ok_or_else(|| unreadable("identity", "it has no state"))?;
            last.keys.push(keys);
            continue;
        };
        let revision = number(row.revision, "identity")?;
        identities.push(Identity {
            id: endpoint(row.id, "identity")?,
            endpoint: endpoint(row.endpoint, "identity")?,
            chain_length: row.chain_length.try_into().map_err(|cause| unreadable("identity", cause))?,
            keys: vec![keys],
            state: state::decode(&state, revision)
                .map_err(|cause| unreadable("state of an identity", cause))?,
        });
    }
    Ok(identities)
}

/// Links of the longest key chain: the update protocol's N.
const CHAIN_LENGTH_MAX: usize = 4_096;
