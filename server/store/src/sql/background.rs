//! What is kept of devices beside their rows, for many of them at once.

use std::collections::BTreeMap;

use bellwether_decide::campaign::event::{Delivery, EventKind};
use bellwether_decide::device::Endpoint;

use super::failed::backend;
use super::operators::ContactRow;
use super::{Connection, Pool, SqlStore};
use crate::Digest;
use crate::bounds::STATEMENT_ROWS_MAX;
use crate::codec::state;
use crate::columns::{digest, endpoint, json_names, number, unreadable};
use crate::error::StoreError;
use crate::fleet::Background;
use crate::operators::Contact;
use crate::tenant::Tenant;

type Backgrounds = BTreeMap<Endpoint, Background>;

pub(super) async fn read(
    store: &SqlStore,
    tenant: &Tenant,
    devices: &[Endpoint],
) -> Result<Backgrounds, StoreError> {
    let mut all = Backgrounds::new();
    let mut tx = store.begin_read().await?;
    for chunk in devices.chunks(STATEMENT_ROWS_MAX) {
        let names = json_names(chunk.iter());
        read_states(&mut tx, tenant, &names, &mut all).await?;
        read_contacts(&mut tx, tenant, &names, &mut all).await?;
        read_running(&mut tx, tenant, &names, &mut all).await?;
    }
    Ok(all)
}

async fn read_states(
    connection: &mut Connection,
    tenant: &Tenant,
    names: &str,
    all: &mut Backgrounds,
) -> Result<(), StoreError> {
    // Of a device that was given up no keys are left, and its identity is read by nobody.
    let rows: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(concat!(
        "SELECT id, revision, state FROM identity WHERE tenant = $1 AND EXISTS \
         (SELECT 1 FROM epoch WHERE epoch.tenant = identity.tenant AND epoch.id = identity.id) AND id IN ",
        names!("$2")
    ))
    .bind(tenant.as_str())
    .bind(names)
    .fetch_all(connection)
    .await
    .map_err(backend)?;
    for (id, revision, bytes) in rows {
        let state = state::decode(&bytes, number(revision, "identity")?)
            .map_err(|cause| unreadable("state of an identity", cause))?;
        all.entry(endpoint(id, "identity")?).or_default().state = Some(state);
    }
    Ok(())
}

async fn read_contacts(
    connection: &mut Connection,
    tenant: &Tenant,
    names: &str,
    all: &mut Backgrounds,
) -> Result<(), StoreError> {
    let rows: Vec<ContactRow> = sqlx::query_as(concat!(
        "SELECT endpoint, registered_at, heard_at, address FROM contact WHERE tenant = $1 AND endpoint IN ",
        names!("$2")
    ))
    .bind(tenant.as_str())
    .bind(names)
    .fetch_all(connection)
    .await
    .map_err(backend)?;
    for row in rows {
        let contact = Contact::try_from(row)?;
        let device = contact.endpoint.clone();
        all.entry(device).or_default().contact = Some(contact);
    }
    Ok(())
}

async fn read_running(
    connection: &mut Connection,
    tenant: &Tenant,
    names: &str,
    all: &mut Backgrounds,
) -> Result<(), StoreError> {
    let rows: Vec<(String, i64, Vec<u8>)> = sqlx::query_as(concat!(
        "SELECT endpoint, component, digest FROM running WHERE tenant = $1 AND endpoint IN ",
        names!("$2"),
        " ORDER BY endpoint, component"
    ))
    .bind(tenant.as_str())
    .bind(names)
    .fetch_all(connection)
    .await
    .map_err(backend)?;
    for (name, component, image) in rows {
        let running = &mut all.entry(endpoint(name, "running")?).or_default().running;
        running.push((number(component, "running")?, digest(image, "running")?));
    }
    Ok(())
}

pub(super) async fn asked_from(
    readers: &Pool,
    tenant: &Tenant,
    devices: &[Endpoint],
) -> Result<BTreeMap<Endpoint, Digest>, StoreError> {
    let mut bases = BTreeMap::new();
    for chunk in devices.chunks(STATEMENT_ROWS_MAX) {
        let bodies: Vec<String> = sqlx::query_scalar(concat!(
            "SELECT body FROM event",
            by_index!("event_by_endpoint"),
            " WHERE tenant = $1 AND endpoint IN ",
            names!("$2"),
            " AND ",
            kind_of_body!(),
            " = 'resolved' ORDER BY seq"
        ))
        .bind(tenant.as_str())
        .bind(json_names(chunk.iter()))
        .fetch_all(readers)
        .await
        .map_err(backend)?;
        for body in bodies {
            let event = bellwether_decide::campaign::event_json::decode(&body)
                .map_err(|cause| unreadable("event", cause))?;
            if let (Some(device), EventKind::Resolved { delivery: Delivery::Delta { base, .. }, .. }) =
                (event.device, event.kind)
            {
                bases.insert(device, base);
            }
        }
    }
    Ok(bases)
}
