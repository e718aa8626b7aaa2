//! Devices that are given up, and DTLS credentials that take another's place.

use std::collections::BTreeMap;

use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::event_json;
use bellwether_decide::deed::Deed;
use bellwether_decide::device::Endpoint;

use super::failed::backend;
use super::session::FORGET_OF_IDENTITY;
use super::{Db, Pool, SqlStore, Transaction, campaign, census, event, gateway, track};
use crate::bounds::{BLOB_BYTES_MAX, STATEMENT_ROWS_MAX};
use crate::columns::{bounded, column, json_names, number, touched, unreadable};
use crate::device::{NewCredential, Retirement};
use crate::error::{StoreError, UpdateError};
use crate::tenant::Tenant;

pub(super) async fn retire(
    store: &SqlStore,
    tenant: &Tenant,
    endpoint: &Endpoint,
    retirement: Retirement<'_>,
) -> Result<(), UpdateError> {
    let mut tx = store.begin().await?;
    campaign::keep_new_command(&mut tx, tenant, retirement.command).await?;
    let gateway: Option<Option<String>> = sqlx::query_scalar(
        "SELECT gateway FROM device WHERE tenant = $1 AND endpoint = $2 AND retired_at IS NULL",
    )
    .bind(tenant.as_str())
    .bind(endpoint.as_str())
    .fetch_optional(&mut *tx)
    .await
    .map_err(backend)?;
    if let Some(gateway) = gateway.ok_or(UpdateError::Missing)? {
        gateway::raise_children_edition(&mut tx, tenant, &gateway, retirement.at).await?;
    }
    // Whether a device has a key is part of what it is: of one that had, an empty one is left.
    sqlx::query(
        "UPDATE device SET retired_at = $1, enabled = FALSE, gateway = NULL, link_sealed = NULL, next_sealed = NULL, \
         dtls_sealed = CASE WHEN security = 'psk' THEN $2 END WHERE tenant = $3 AND endpoint = $4",
    )
    .bind(column(retirement.at, "time")?)
    .bind(Vec::<u8>::new())
    .bind(tenant.as_str())
    .bind(endpoint.as_str())
    .execute(&mut *tx)
    .await
    .map_err(backend)?;
    destroy_keys(&mut tx, tenant, endpoint).await?;
    census::leave_out(&mut tx, tenant, endpoint, retirement.at).await?;
    event::append(&mut tx, tenant, retirement.events).await?;
    // Campaigns that were launched for it since the caller looked.
    let waiting = track::waiting_for(&mut tx, tenant, endpoint, retirement.at).await?;
    if !waiting.is_empty() {
        event::append(&mut tx, tenant, &waiting).await?;
    }
    Ok(tx.commit().await.map_err(backend)?)
}

/// Destroys what the identities of a device derive their keys from. Their revision goes up, so that whoever decides on
/// one just now writes nothing.
async fn destroy_keys(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    endpoint: &Endpoint,
) -> Result<(), StoreError> {
    let statements = [
        "DELETE FROM epoch WHERE tenant = $1 AND id IN \
         (SELECT id FROM identity WHERE tenant = $1 AND endpoint = $2)",
        "UPDATE identity SET revision = revision + 1 WHERE tenant = $1 AND endpoint = $2",
        FORGET_OF_IDENTITY,
        "DELETE FROM unit_due WHERE tenant = $1 AND endpoint = $2",
        "DELETE FROM running WHERE tenant = $1 AND endpoint = $2",
    ];
    for statement in statements {
        sqlx::query(statement)
            .bind(tenant.as_str())
            .bind(endpoint.as_str())
            .execute(&mut **tx)
            .await
            .map_err(backend)?;
    }
    Ok(())
}

pub(super) async fn add_credential(
    store: &SqlStore,
    tenant: &Tenant,
    endpoint: &Endpoint,
    credential: NewCredential<'_>,
) -> Result<(), UpdateError> {
    bounded(credential.sealed.as_bytes().len(), BLOB_BYTES_MAX, "sealed DTLS credential")?;
    let mut tx = store.begin().await?;
    campaign::keep_new_command(&mut tx, tenant, credential.command).await?;
    let kept: Option<i64> = sqlx::query_scalar(
        "SELECT credential FROM device WHERE tenant = $1 AND endpoint = $2 AND security = 'psk' \
         AND retired_at IS NULL",
    )
    .bind(tenant.as_str())
    .bind(endpoint.as_str())
    .fetch_optional(&mut *tx)
    .await
    .map_err(backend)?;
    let found = number(kept.ok_or(UpdateError::Missing)?, "device")?;
    let expected = credential.number.saturating_sub(1);
    if found != expected {
        return Err(UpdateError::Conflict { expected, found });
    }
    let statement = if credential.at_once {
        "UPDATE device SET credential = $1, dtls_sealed = $2, next_sealed = NULL WHERE tenant = $3 AND endpoint = $4"
    } else {
        "UPDATE device SET credential = $1 - 1, next_sealed = $2 WHERE tenant = $3 AND endpoint = $4"
    };
    let done = sqlx::query(statement)
        .bind(column(credential.number, "number of a credential")?)
        .bind(credential.sealed.as_bytes())
        .bind(tenant.as_str())
        .bind(endpoint.as_str())
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
    touched(done.rows_affected())?;
    event::append(&mut tx, tenant, credential.events).await?;
    Ok(tx.commit().await.map_err(backend)?)
}

pub(super) async fn use_credential(
    store: &SqlStore,
    tenant: &Tenant,
    endpoint: &Endpoint,
    credential: u64,
    events: &[Event],
) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    let done = sqlx::query(
        "UPDATE device SET credential = $1, dtls_sealed = next_sealed, next_sealed = NULL \
         WHERE tenant = $2 AND endpoint = $3 AND credential = $1 - 1 AND next_sealed IS NOT NULL",
    )
    .bind(column(credential, "number of a credential")?)
    .bind(tenant.as_str())
    .bind(endpoint.as_str())
    .execute(&mut *tx)
    .await
    .map_err(backend)?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    event::append(&mut tx, tenant, events).await?;
    tx.commit().await.map_err(backend)?;
    Ok(true)
}

pub(super) async fn credentials_made(
    readers: &Pool,
    tenant: &Tenant,
    devices: &[Endpoint],
) -> Result<BTreeMap<Endpoint, u64>, StoreError> {
    let mut made = BTreeMap::new();
    for chunk in devices.chunks(STATEMENT_ROWS_MAX) {
        let bodies: Vec<String> = sqlx::query_scalar(concat!(
            "SELECT body FROM event",
            by_index!("event_by_endpoint"),
            " WHERE tenant = $1 AND endpoint IN ",
            names!("$2"),
            " AND ",
            kind_of_body!(),
            " = 'done' ORDER BY seq"
        ))
        .bind(tenant.as_str())
        .bind(json_names(chunk.iter()))
        .fetch_all(readers)
        .await
        .map_err(backend)?;
        for body in bodies {
            let event = event_json::decode(&body).map_err(|cause| unreadable("event", cause))?;
            if let (Some(device), EventKind::Done { deed: Deed::CredentialReplaced { .. }, .. }) =
                (event.device, event.kind)
            {
                made.insert(device, event.at);
            }
        }
    }
    Ok(made)
}
