//! Rows of tags, and of what devices run.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bellwether_decide::device::Endpoint;
use bellwether_decide::tag::{TAGS_MAX, Tag};

use super::device::DeviceRow;
use super::failed::backend;
use super::{Connection, Db, SqlStore, Transaction, background, campaign, census, event};
use crate::Digest;
use crate::bounds::STATEMENT_ROWS_MAX;
use crate::census::Ran;
use crate::codec::component;
use crate::columns::{column, digest, endpoint, json_names, number, page, unreadable};
use crate::device::EnrolledDevice;
use crate::error::StoreError;
use crate::fleet::{Background, Fleets, Running, TagCount, TagDevicesError, Tagging, Tags};
use crate::tenant::Tenant;

#[async_trait]
impl Fleets for SqlStore {
    async fn tag_devices(&self, tenant: &Tenant, tagging: Tagging<'_>) -> Result<(), TagDevicesError> {
        let mut tx = self.begin().await?;
        campaign::keep_new_command(&mut tx, tenant, tagging.command).await?;
        if let Some(missing) = missing(&mut tx, tenant, tagging.devices).await? {
            return Err(TagDevicesError::Missing(missing));
        }
        for chunk in tagging.devices.chunks(STATEMENT_ROWS_MAX) {
            let names = json_names(chunk.iter());
            for tag in tagging.removed {
                take_off(&mut tx, tenant, tag, &names).await?;
            }
            for tag in tagging.added {
                put_to(&mut tx, tenant, tag, &names).await?;
            }
        }
        let tags = read_tags(&mut tx, tenant, tagging.devices).await?;
        if let Some((endpoint, _)) = tags.into_iter().find(|(_, tags)| tags.len() > TAGS_MAX) {
            return Err(TagDevicesError::TooMany(endpoint));
        }
        event::append(&mut tx, tenant, tagging.events).await?;
        Ok(tx.commit().await.map_err(backend)?)
    }

    async fn tags_of(&self, tenant: &Tenant, devices: &[Endpoint]) -> Result<Tags, StoreError> {
        let mut reader = self.readers.acquire().await.map_err(backend)?;
        read_tags(&mut reader, tenant, devices).await
    }

    async fn tags(
        &self,
        tenant: &Tenant,
        after: Option<&Tag>,
        rows_max: u32,
    ) -> Result<Vec<TagCount>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT tag, count(*) FROM device_tag WHERE tenant = $1 AND tag > $2 GROUP BY tag ORDER BY tag LIMIT $3",
        )
        .bind(tenant.as_str())
        .bind(after.map_or("", Tag::as_str))
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        let read = |(text, count)| Ok(TagCount { tag: tag(text)?, devices: number(count, "tag")? });
        rows.into_iter().map(read).collect()
    }

    async fn devices_tagged(
        &self,
        tenant: &Tenant,
        tag: &Tag,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<EnrolledDevice>, StoreError> {
        let rows: Vec<DeviceRow> = sqlx::query_as(
            "SELECT device.* FROM device_tag JOIN device ON device.tenant = device_tag.tenant \
             AND device.endpoint = device_tag.endpoint \
             WHERE device_tag.tenant = $1 AND device_tag.tag = $2 AND device_tag.endpoint > $3 \
             ORDER BY device_tag.endpoint LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(tag.as_str())
        .bind(after.map_or("", Endpoint::as_str))
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(EnrolledDevice::try_from).collect()
    }

    async fn note_running(
        &self,
        tenant: &Tenant,
        endpoint: &Endpoint,
        running: &[(u64, Digest)],
        at: u64,
    ) -> Result<(), StoreError> {
        let kept: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT component, digest FROM running WHERE tenant = $1 AND endpoint = $2")
                .bind(tenant.as_str())
                .bind(endpoint.as_str())
                .fetch_all(&self.readers)
                .await
                .map_err(backend)?;
        let is_kept = |(component, digest): &&(u64, Digest)| {
            kept.iter().any(|(at, image)| u64::try_from(*at) == Ok(*component) && image == digest)
        };
        if running.iter().all(|one| is_kept(&one)) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        write_running(&mut tx, tenant, endpoint, running, at).await?;
        tx.commit().await.map_err(backend)
    }

    async fn who_runs(
        &self,
        tenant: &Tenant,
        class: &str,
        image: &Digest,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<Running>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT running.endpoint, min(running.since) FROM running JOIN device \
             ON device.tenant = running.tenant AND device.endpoint = running.endpoint \
             WHERE running.tenant = $1 AND running.digest = $2 AND running.endpoint > $3 \
             AND device.class = $4 AND device.retired_at IS NULL \
             GROUP BY running.endpoint ORDER BY running.endpoint LIMIT $5",
        )
        .bind(tenant.as_str())
        .bind(&image[..])
        .bind(after.map_or("", Endpoint::as_str))
        .bind(class)
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        let read = |(name, since)| {
            Ok(Running { endpoint: endpoint(name, "device")?, since: number(since, "device")? })
        };
        rows.into_iter().map(read).collect()
    }

    async fn backgrounds(
        &self,
        tenant: &Tenant,
        devices: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, Background>, StoreError> {
        background::read(self, tenant, devices).await
    }

    async fn asked_from(
        &self,
        tenant: &Tenant,
        devices: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, Digest>, StoreError> {
        background::asked_from(&self.readers, tenant, devices).await
    }

    async fn count_running(&self, tenant: &Tenant, class: &str, image: &Digest) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(DISTINCT running.endpoint) FROM running JOIN device \
             ON device.tenant = running.tenant AND device.endpoint = running.endpoint \
             WHERE running.tenant = $1 AND running.digest = $2 AND device.class = $3 AND device.retired_at IS NULL",
        )
        .bind(tenant.as_str())
        .bind(&image[..])
        .bind(class)
        .fetch_one(&self.readers)
        .await
        .map_err(backend)?;
        number(count, "device")
    }
}

/// Writes which images the components of a device run, and counts it by its application; a device that is not there, or was
/// given up, is passed over.
pub(super) async fn write_running(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    endpoint: &Endpoint,
    running: &[(u64, Digest)],
    at: u64,
) -> Result<(), StoreError> {
    for (component, digest) in running {
        sqlx::query(
            "INSERT INTO running (tenant, endpoint, component, digest, since) \
             SELECT tenant, endpoint, $3, $4, $5 FROM device \
             WHERE tenant = $1 AND endpoint = $2 AND retired_at IS NULL \
             ON CONFLICT (tenant, endpoint, component) DO UPDATE SET digest = excluded.digest, \
             since = excluded.since WHERE running.digest <> excluded.digest",
        )
        .bind(tenant.as_str())
        .bind(endpoint.as_str())
        .bind(column(*component, "number of a component")?)
        .bind(&digest[..])
        .bind(column(at, "time")?)
        .execute(&mut **tx)
        .await
        .map_err(backend)?;
    }
    if let Some((class, image)) = application(tx, tenant, endpoint).await? {
        let ran = Ran { endpoint: endpoint.clone(), class, image, at, at_first: false };
        census::take(tx, tenant, &[ran], census::By::Device).await?;
    }
    Ok(())
}

/// The class of a device and the image that it is known by: of several, the one that is catalogued as its application,
/// else the first.
async fn application(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    endpoint: &Endpoint,
) -> Result<Option<(String, Digest)>, StoreError> {
    let rows: Vec<(String, Vec<u8>, bool)> = sqlx::query_as(
        "SELECT device.class, running.digest, EXISTS (SELECT 1 FROM release WHERE release.tenant = running.tenant \
         AND release.digest = running.digest AND release.component = $3) AS is_application FROM running \
         JOIN device ON device.tenant = running.tenant AND device.endpoint = running.endpoint \
         WHERE running.tenant = $1 AND running.endpoint = $2 ORDER BY running.component",
    )
    .bind(tenant.as_str())
    .bind(endpoint.as_str())
    .bind(component::encode(&[b"app".to_vec()]))
    .fetch_all(&mut **tx)
    .await
    .map_err(backend)?;
    let at = rows.iter().position(|(_, _, is_application)| *is_application).unwrap_or(0);
    let Some((class, image, _)) = rows.into_iter().nth(at) else { return Ok(None) };
    Ok(Some((class, digest(image, "running")?)))
}

/// The first of these that nobody enrolled.
async fn missing(
    connection: &mut Connection,
    tenant: &Tenant,
    devices: &[Endpoint],
) -> Result<Option<Endpoint>, StoreError> {
    for chunk in devices.chunks(STATEMENT_ROWS_MAX) {
        let found: Vec<String> = sqlx::query_scalar(concat!(
            "SELECT endpoint FROM device WHERE tenant = $1 AND endpoint IN ",
            names!("$2")
        ))
        .bind(tenant.as_str())
        .bind(json_names(chunk.iter()))
        .fetch_all(&mut *connection)
        .await
        .map_err(backend)?;
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        if let Some(missing) = chunk.iter().find(|one| !found.contains(one.as_str())) {
            return Ok(Some(missing.clone()));
        }
    }
    Ok(None)
}

async fn take_off(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    tag: &Tag,
    names: &str,
) -> Result<(), StoreError> {
    sqlx::query(concat!(
        "DELETE FROM device_tag WHERE tenant = $1 AND tag = $2 AND endpoint IN ",
        names!("$3")
    ))
    .bind(tenant.as_str())
    .bind(tag.as_str())
    .bind(names)
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    Ok(())
}

async fn put_to(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    tag: &Tag,
    names: &str,
) -> Result<(), StoreError> {
    sqlx::query(concat!(
        "INSERT INTO device_tag (tenant, endpoint, tag) SELECT tenant, endpoint, $2 FROM device \
         WHERE tenant = $1 AND endpoint IN ",
        names!("$3"),
        " ON CONFLICT (tenant, endpoint, tag) DO NOTHING"
    ))
    .bind(tenant.as_str())
    .bind(tag.as_str())
    .bind(names)
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    Ok(())
}

async fn read_tags(
    connection: &mut Connection,
    tenant: &Tenant,
    devices: &[Endpoint],
) -> Result<Tags, StoreError> {
    let mut tags = Tags::new();
    for chunk in devices.chunks(STATEMENT_ROWS_MAX) {
        let rows: Vec<(String, String)> = sqlx::query_as(concat!(
            "SELECT endpoint, tag FROM device_tag WHERE tenant = $1 AND endpoint IN ",
            names!("$2")
        ))
        .bind(tenant.as_str())
        .bind(json_names(chunk.iter()))
        .fetch_all(&mut *connection)
        .await
        .map_err(backend)?;
        for (name, text) in rows {
            tags.entry(endpoint(name, "tag")?).or_default().insert(tag(text)?);
        }
    }
    Ok(tags)
}

pub(super) fn tag(text: String) -> Result<Tag, StoreError> {
    Tag::try_from(text).map_err(|cause| unreadable("tag", cause))
}
