//! Rows of identities, and the step that moves one.

use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::IdentityState;
use sqlx::{FromRow, Sqlite, SqlitePool, Transaction};

use super::value::{backend, bounded, column, endpoint, not_added, number, unreadable};
use super::{SqliteStore, alarm, event};
use crate::bounds::{BLOB_BYTES_MAX, STATE_BYTES_MAX};
use crate::codec::state;
use crate::device::{Identity, NewIdentity, Transition, Updated};
use crate::error::{AddError, StoreError, UpdateError};
use crate::sealed::Sealed;
use crate::tenant::Tenant;

pub(super) async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    tenant: &Tenant,
    endpoint: &Endpoint,
    identity: &NewIdentity,
) -> Result<(), AddError> {
    bounded(identity.seed.as_bytes().len(), BLOB_BYTES_MAX, "sealed seed")?;
    bounded(identity.links.as_bytes().len(), BLOB_BYTES_MAX, "sealed links")?;
    bounded(identity.chain_length.into(), CHAIN_LENGTH_MAX, "length of a key chain")?;
    sqlx::query(
        "INSERT INTO identity (tenant, id, endpoint, chain_length, seed_sealed, links_sealed, revision, state) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(tenant.as_str())
    .bind(identity.id.as_str())
    .bind(endpoint.as_str())
    .bind(identity.chain_length)
    .bind(identity.seed.as_bytes())
    .bind(identity.links.as_bytes())
    .bind(column(identity.state.revision, "revision")?)
    .bind(written(&identity.state)?)
    .execute(&mut **tx)
    .await
    .map_err(not_added)?;
    Ok(())
}

pub(super) async fn read(
    readers: &SqlitePool,
    tenant: &Tenant,
    id: &Endpoint,
) -> Result<Option<Identity>, StoreError> {
    let row: Option<IdentityRow> = sqlx::query_as("SELECT * FROM identity WHERE tenant = ? AND id = ?")
        .bind(tenant.as_str())
        .bind(id.as_str())
        .fetch_optional(readers)
        .await
        .map_err(backend)?;
    row.map(Identity::try_from).transpose()
}

pub(super) async fn read_of(
    readers: &SqlitePool,
    tenant: &Tenant,
    endpoint: &Endpoint,
) -> Result<Vec<Identity>, StoreError> {
    let rows: Vec<IdentityRow> =
        sqlx::query_as("SELECT * FROM identity WHERE tenant = ? AND endpoint = ? ORDER BY id LIMIT ?")
            .bind(tenant.as_str())
            .bind(endpoint.as_str())
            .bind(super::value::page(u32::MAX))
            .fetch_all(readers)
            .await
            .map_err(backend)?;
    rows.into_iter().map(Identity::try_from).collect()
}

pub(super) async fn update(
    store: &SqliteStore,
    tenant: &Tenant,
    id: &Endpoint,
    transition: Transition<'_>,
) -> Result<Updated, UpdateError> {
    let state = written(transition.state)?;
    let mut tx = store.begin().await?;
    compare_and_set(&mut tx, tenant, id, transition, state).await?;
    let mut seq = event::append(&mut tx, tenant, transition.events).await?;
    let alarms_new = alarm::raise(&mut tx, tenant, transition.alarms).await?;
    if !alarms_new.is_empty() {
        seq = event::highest(&mut tx, tenant).await?;
    }
    tx.commit().await.map_err(backend)?;
    Ok(Updated { revision: transition.state.revision, seq, alarms_new })
}

/// Sets the state if the expected revision is kept; a step that changed nothing only compares.
async fn compare_and_set(
    tx: &mut Transaction<'_, Sqlite>,
    tenant: &Tenant,
    id: &Endpoint,
    transition: Transition<'_>,
    state: Vec<u8>,
) -> Result<(), UpdateError> {
    let kept: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT revision, state FROM identity WHERE tenant = ? AND id = ?")
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
    sqlx::query("UPDATE identity SET revision = ?, state = ? WHERE tenant = ? AND id = ? AND revision = ?")
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

fn written(state: &IdentityState) -> Result<Vec<u8>, StoreError> {
    let bytes = state::encode(state);
    bounded(bytes.len(), STATE_BYTES_MAX, "state of an identity")?;
    Ok(bytes)
}

#[derive(FromRow)]
struct IdentityRow {
    id: String,
    endpoint: String,
    chain_length: i64,
    seed_sealed: Vec<u8>,
    links_sealed: Vec<u8>,
    revision: i64,
    state: Vec<u8>,
}

impl TryFrom<IdentityRow> for Identity {
    type Error = StoreError;

    fn try_from(row: IdentityRow) -> Result<Self, StoreError> {
        let revision = number(row.revision, "identity")?;
        Ok(Self {
            id: endpoint(row.id, "identity")?,
            endpoint: endpoint(row.endpoint, "identity")?,
            chain_length: row.chain_length.try_into().map_err(|cause| unreadable("identity", cause))?,
            seed: Sealed::new(row.seed_sealed),
            links: Sealed::new(row.links_sealed),
            state: state::decode(&row.state, revision)
                .map_err(|cause| unreadable("state of an identity", cause))?,
        })
    }
}

/// Links of the longest key chain: the update protocol's N.
const CHAIN_LENGTH_MAX: usize = 4_096;
