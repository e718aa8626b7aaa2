//! Rows of imports, and of unit files that are due.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bellwether_decide::device::Endpoint;
use bellwether_decide::tag::Tag;
use sqlx::FromRow;

use super::device::DeviceRow;
use super::failed::{backend, not_added};
use super::{Connection, Db, SqlStore, Transaction, event, gateway, identity};
use crate::Digest;
use crate::bounds::{BLOB_BYTES_MAX, IMPORT_ROWS_MAX, NAME_BYTES_MAX, STATEMENT_ROWS_MAX};
use crate::columns::{bounded, column, digest, endpoint, json_names, number, page, unreadable};
use crate::error::{AddError, StoreError};
use crate::import::{
    Committed, Import, ImportCommit, Imports, LineFault, StageError, StagedDevice, StagedName, UnitDue,
};
use crate::sealed::Sealed;
use crate::tenant::Tenant;

#[async_trait]
impl Imports for SqlStore {
    async fn stage_import(
        &self,
        tenant: &Tenant,
        id: &str,
        content: &Digest,
        lines: u64,
        rows: &[StagedDevice],
        at: u64,
    ) -> Result<(), StageError> {
        bounded(id.len(), NAME_BYTES_MAX, "name of an import")?;
        let mut tx = self.begin().await?;
        match read_begun(&mut tx, tenant, id).await? {
            None => begin(&mut tx, tenant, id, content, lines, at).await?,
            Some(kept) if kept.content != *content || kept.lines != lines => {
                return Err(StageError::OtherContent);
            }
            Some(kept) if kept.committed_at.is_some() => return Err(StageError::Committed),
            Some(_) => {}
        }
        for row in rows {
            stage(&mut tx, tenant, id, row).await?;
        }
        Ok(tx.commit().await.map_err(backend)?)
    }

    async fn import(&self, tenant: &Tenant, id: &str) -> Result<Option<Import>, StoreError> {
        // One transaction, so that the counts are of one commit.
        let mut tx = self.begin_read().await?;
        read_import(&mut tx, tenant, id).await
    }

    async fn staged(
        &self,
        tenant: &Tenant,
        id: &str,
        after: u64,
        rows_max: u32,
    ) -> Result<Vec<StagedName>, StoreError> {
        let rows: Vec<(i64, String, String, Option<String>)> = sqlx::query_as(
            "SELECT line, endpoint, class, gateway FROM import_row \
             WHERE tenant = $1 AND import = $2 AND line > $3 ORDER BY line LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(column(after, "number of a line")?)
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        let read = |(line, name, class, gateway): (i64, String, String, Option<String>)| {
            let gateway = gateway.map(|name| endpoint(name, "import")).transpose()?;
            Ok(StagedName {
                line: number(line, "import")?,
                endpoint: endpoint(name, "import")?,
                class,
                gateway,
            })
        };
        rows.into_iter().map(read).collect()
    }

    async fn commit_import(
        &self,
        tenant: &Tenant,
        id: &str,
        commit: ImportCommit<'_>,
    ) -> Result<Committed, StoreError> {
        let mut tx = self.begin().await?;
        let Some(kept) = read_begun(&mut tx, tenant, id).await? else { return Ok(Committed::Missing) };
        if kept.committed_at.is_some() {
            return Ok(Committed::Before);
        }
        let stretches = stretches(&mut tx, tenant, id).await?;
        let staged: u64 = stretches.iter().map(|stretch| stretch.rows).sum();
        if staged != kept.lines {
            return Ok(Committed::Incomplete { staged, lines: kept.lines });
        }
        let faults = faults(&mut tx, tenant, id, &stretches).await?;
        if !faults.is_empty() {
            return Ok(Committed::Faults(faults));
        }
        raise_editions(&mut tx, tenant, id, &stretches, commit.at).await?;
        enrol(&mut tx, tenant, id, &stretches, commit).await?;
        event::append(&mut tx, tenant, commit.events).await?;
        tx.commit().await.map_err(backend)?;
        Ok(Committed::New)
    }

    async fn units_due(
        &self,
        tenant: &Tenant,
        id: &str,
        after: u64,
        rows_max: u32,
    ) -> Result<Vec<UnitDue>, StoreError> {
        let rows: Vec<UnitRow> = sqlx::query_as(
            "SELECT unit_due.line, device.*, identity.chain_length, epoch.seed_sealed FROM unit_due \
             JOIN device ON device.tenant = unit_due.tenant AND device.endpoint = unit_due.endpoint \
             JOIN identity ON identity.tenant = unit_due.tenant AND identity.id = unit_due.endpoint \
             LEFT JOIN epoch ON epoch.tenant = unit_due.tenant AND epoch.id = unit_due.endpoint AND epoch.epoch = 0 \
             WHERE unit_due.tenant = $1 AND unit_due.import = $2 AND unit_due.line > $3 \
             ORDER BY unit_due.line LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(column(after, "number of a line")?)
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        rows.into_iter().map(UnitDue::try_from).collect()
    }

    async fn units_received(&self, tenant: &Tenant, id: &str, up_to: u64) -> Result<u64, StoreError> {
        let (up_to, mut received) = (column(up_to, "number of a line")?, 0);
        // A commit each: what was received stays so, and others write in between.
        loop {
            let mut tx = self.begin().await?;
            let done = sqlx::query(
                "DELETE FROM unit_due WHERE tenant = $1 AND import = $2 AND line <= (\
                   SELECT max(line) FROM (SELECT line FROM unit_due WHERE tenant = $1 AND import = $2 AND line <= $3 \
                   ORDER BY line LIMIT $4) AS first)",
            )
            .bind(tenant.as_str())
            .bind(id)
            .bind(up_to)
            .bind(i64::from(IMPORT_ROWS_MAX))
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
            tx.commit().await.map_err(backend)?;
            received += done.rows_affected();
            if done.rows_affected() < u64::from(IMPORT_ROWS_MAX) {
                return Ok(received);
            }
        }
    }

    async fn chain_lengths(
        &self,
        tenant: &Tenant,
        devices: &[Endpoint],
    ) -> Result<BTreeMap<Endpoint, u16>, StoreError> {
        let mut lengths = BTreeMap::new();
        for chunk in devices.chunks(STATEMENT_ROWS_MAX) {
            let rows: Vec<(String, i64)> = sqlx::query_as(concat!(
                "SELECT id, chain_length FROM identity WHERE tenant = $1 AND id IN ",
                names!("$2")
            ))
            .bind(tenant.as_str())
            .bind(json_names(chunk.iter()))
            .fetch_all(&self.readers)
            .await
            .map_err(backend)?;
            for (name, length) in rows {
                let length = length.try_into().map_err(|cause| unreadable("identity", cause))?;
                lengths.insert(endpoint(name, "identity")?, length);
            }
        }
        Ok(lengths)
    }

    async fn forget_imports(&self, tenant: &Tenant, begun_before: u64) -> Result<u64, StoreError> {
        let before = column(begun_before, "time")?;
        // Most often there is none, and the one writer need not wait for that.
        let stale: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM import WHERE tenant = $1 AND begun_at < $2 AND committed_at IS NULL",
        )
        .bind(tenant.as_str())
        .bind(before)
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        let mut forgotten = 0;
        for id in stale {
            while let Some(is_gone) = self.forget_some(tenant, &id, before).await? {
                if is_gone {
                    forgotten += 1;
                    break;
                }
            }
        }
        Ok(forgotten)
    }
}

impl SqlStore {
    /// Forgets the last rows of an import in a commit of their own, so that others write in between, and the import with the
    /// last of them: then `true`. `None` where it was committed or begun anew meanwhile.
    ///
    /// What is left is the beginning of the list at any time, as where its pieces have not come yet.
    async fn forget_some(&self, tenant: &Tenant, id: &str, before: i64) -> Result<Option<bool>, StoreError> {
        let mut tx = self.begin().await?;
        let is_stale: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM import \
             WHERE tenant = $1 AND id = $2 AND begun_at < $3 AND committed_at IS NULL)",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(before)
        .fetch_one(&mut *tx)
        .await
        .map_err(backend)?;
        if !is_stale {
            return Ok(None);
        }
        let rows = sqlx::query(
            "DELETE FROM import_row WHERE tenant = $1 AND import = $2 AND line >= (\
               SELECT min(line) FROM (SELECT line FROM import_row WHERE tenant = $1 AND import = $2 \
               ORDER BY line DESC LIMIT $3) AS last)",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(i64::from(IMPORT_ROWS_MAX))
        .execute(&mut *tx)
        .await
        .map_err(backend)?
        .rows_affected();
        let is_last = rows < u64::from(IMPORT_ROWS_MAX);
        if is_last {
            sqlx::query("DELETE FROM import WHERE tenant = $1 AND id = $2")
                .bind(tenant.as_str())
                .bind(id)
                .execute(&mut *tx)
                .await
                .map_err(backend)?;
        }
        tx.commit().await.map_err(backend)?;
        Ok(Some(is_last))
    }
}

/// What an import was begun with, and when it was committed.
struct Begun {
    content: Digest,
    lines: u64,
    committed_at: Option<i64>,
}

/// Reads what an import was begun with, without counting its rows.
async fn read_begun(
    connection: &mut Connection,
    tenant: &Tenant,
    id: &str,
) -> Result<Option<Begun>, StoreError> {
    let row: Option<(Vec<u8>, i64, Option<i64>)> =
        sqlx::query_as("SELECT content, lines, committed_at FROM import WHERE tenant = $1 AND id = $2")
            .bind(tenant.as_str())
            .bind(id)
            .fetch_optional(connection)
            .await
            .map_err(backend)?;
    let read = |(content, lines, committed_at)| {
        let (content, lines) = (digest(content, "import")?, number(lines, "import")?);
        Ok(Begun { content, lines, committed_at })
    };
    row.map(read).transpose()
}

async fn read_import(
    connection: &mut Connection,
    tenant: &Tenant,
    id: &str,
) -> Result<Option<Import>, StoreError> {
    let row: Option<ImportRow> = sqlx::query_as(
        "SELECT content, lines, committed_at, \
         (SELECT count(*) FROM import_row WHERE tenant = $1 AND import = $2) AS staged, \
         (SELECT coalesce(max(line), 0) FROM import_row WHERE tenant = $1 AND import = $2) AS staged_to, \
         (SELECT count(*) FROM unit_due WHERE tenant = $1 AND import = $2) AS due \
         FROM import WHERE tenant = $1 AND id = $2",
    )
    .bind(tenant.as_str())
    .bind(id)
    .fetch_optional(connection)
    .await
    .map_err(backend)?;
    row.map(Import::try_from).transpose()
}

async fn begin(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: &str,
    content: &Digest,
    lines: u64,
    at: u64,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO import (tenant, id, content, begun_at, lines) VALUES ($1, $2, $3, $4, $5)")
        .bind(tenant.as_str())
        .bind(id)
        .bind(&content[..])
        .bind(column(at, "time")?)
        .bind(column(lines, "number of lines")?)
        .execute(&mut **tx)
        .await
        .map_err(backend)?;
    Ok(())
}

async fn stage(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: &str,
    staged: &StagedDevice,
) -> Result<(), StageError> {
    let row = DeviceRow::try_from(&staged.device)?;
    bounded(staged.identity.seed.as_bytes().len(), BLOB_BYTES_MAX, "sealed seed")?;
    bounded(staged.identity.links.as_bytes().len(), BLOB_BYTES_MAX, "sealed links")?;
    let tags: serde_json::Value = staged.tags.iter().map(Tag::as_str).collect();
    sqlx::query(
        "INSERT INTO import_row (tenant, import, line, endpoint, vendor, class, security, dtls_sealed, gateway, \
         link_sealed, chain_length, seed_sealed, links_sealed, tags) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
         ON CONFLICT (tenant, import, line) DO NOTHING",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(column(staged.line, "number of a line")?)
    .bind(row.endpoint)
    .bind(row.vendor)
    .bind(row.class)
    .bind(row.security)
    .bind(row.dtls_sealed)
    .bind(row.gateway)
    .bind(row.link_sealed)
    .bind(i64::from(staged.identity.chain_length))
    .bind(staged.identity.seed.as_bytes())
    .bind(staged.identity.links.as_bytes())
    .bind(tags.to_string())
    .execute(&mut **tx)
    .await
    .map_err(|cause| match not_added(cause) {
        AddError::Exists => StageError::Twice,
        AddError::Store(error) => error.into(),
    })?;
    Ok(())
}

/// Lines of an import that one statement goes through, of which there are at most [`IMPORT_ROWS_MAX`].
struct Stretch {
    /// The line before the first.
    after: i64,
    /// The last line.
    to: i64,
    rows: u64,
}

/// Divides the rows of an import, by line.
async fn stretches(
    connection: &mut Connection,
    tenant: &Tenant,
    id: &str,
) -> Result<Vec<Stretch>, StoreError> {
    let mut stretches: Vec<Stretch> = Vec::new();
    loop {
        let after = stretches.last().map_or(-1, |last| last.to);
        let (to, rows): (Option<i64>, i64) = sqlx::query_as(
            "SELECT max(line), count(*) FROM (SELECT line FROM import_row \
             WHERE tenant = $1 AND import = $2 AND line > $3 ORDER BY line LIMIT $4) AS next",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(after)
        .bind(i64::from(IMPORT_ROWS_MAX))
        .fetch_one(&mut *connection)
        .await
        .map_err(backend)?;
        let Some(to) = to else { return Ok(stretches) };
        stretches.push(Stretch { after, to, rows: number(rows, "import")? });
    }
}

/// The first lines that can't be enrolled.
async fn faults(
    connection: &mut Connection,
    tenant: &Tenant,
    id: &str,
    stretches: &[Stretch],
) -> Result<Vec<(u64, LineFault)>, StoreError> {
    let mut faults = Vec::new();
    for stretch in stretches {
        let rows: Vec<(i64, String, Option<String>)> = sqlx::query_as(FAULTS)
            .bind(tenant.as_str())
            .bind(id)
            .bind(stretch.after)
            .bind(stretch.to)
            .bind(i64::try_from(FAULTS_MAX - faults.len()).unwrap_or(0))
            .fetch_all(&mut *connection)
            .await
            .map_err(backend)?;
        faults.extend(rows.into_iter().map(read_fault).collect::<Result<Vec<_>, _>>()?);
        if faults.len() >= FAULTS_MAX {
            break;
        }
    }
    Ok(faults)
}

fn read_fault((line, name, gateway): (i64, String, Option<String>)) -> Result<(u64, LineFault), StoreError> {
    let fault = match gateway {
        Some(gateway) => LineFault::NoGateway(endpoint(gateway, "import")?),
        None => LineFault::Taken(endpoint(name, "import")?),
    };
    Ok((number(line, "import")?, fault))
}

const FAULTS: &str = "SELECT line, endpoint, NULL FROM import_row \
     WHERE tenant = $1 AND import = $2 AND line > $3 AND line <= $4 AND (\
       EXISTS (SELECT 1 FROM device WHERE device.tenant = $1 AND device.endpoint = import_row.endpoint) OR \
       EXISTS (SELECT 1 FROM gateway WHERE gateway.tenant = $1 AND gateway.name = import_row.endpoint)) \
     UNION ALL \
     SELECT line, endpoint, gateway FROM import_row \
     WHERE tenant = $1 AND import = $2 AND line > $3 AND line <= $4 AND gateway IS NOT NULL \
       AND NOT EXISTS (SELECT 1 FROM gateway WHERE gateway.tenant = $1 AND gateway.name = import_row.gateway) \
     ORDER BY 1 LIMIT $5";

async fn raise_editions(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: &str,
    stretches: &[Stretch],
    at: u64,
) -> Result<(), StoreError> {
    let mut gateways = BTreeSet::new();
    for stretch in stretches {
        let named: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT gateway FROM import_row \
             WHERE tenant = $1 AND import = $2 AND line > $3 AND line <= $4 AND gateway IS NOT NULL",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(stretch.after)
        .bind(stretch.to)
        .fetch_all(&mut **tx)
        .await
        .map_err(backend)?;
        gateways.extend(named);
    }
    for name in gateways {
        gateway::raise_children_edition(tx, tenant, &name, at).await?;
    }
    Ok(())
}

/// Makes devices, identities, keys, tags and due unit files of the staged rows, each kind by one statement a stretch.
async fn enrol(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    id: &str,
    stretches: &[Stretch],
    commit: ImportCommit<'_>,
) -> Result<(), StoreError> {
    let (at, state) = (column(commit.at, "time")?, identity::written(commit.state)?);
    let revision = column(commit.state.revision, "revision")?;
    let epoch = i64::from(commit.state.place.epoch);
    for stretch in stretches {
        for (number, statement) in ENROL.into_iter().enumerate() {
            let query = sqlx::query(statement).bind(tenant.as_str()).bind(id);
            let query = query.bind(stretch.after).bind(stretch.to);
            let query = match number {
                0 | 3 => query.bind(at),
                1 => query.bind(revision).bind(state.as_slice()),
                2 => query.bind(epoch),
                _ => query,
            };
            query.execute(&mut **tx).await.map_err(backend)?;
        }
    }
    sqlx::query("UPDATE import SET committed_at = $3 WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id)
        .bind(at)
        .execute(&mut **tx)
        .await
        .map_err(backend)?;
    Ok(())
}

const ENROL: [&str; 7] = [
    "INSERT INTO device (tenant, endpoint, vendor, class, security, dtls_sealed, enabled, added_at, gateway, link_sealed) \
     SELECT tenant, endpoint, vendor, class, security, dtls_sealed, TRUE, $5, gateway, link_sealed FROM import_row \
     WHERE tenant = $1 AND import = $2 AND line > $3 AND line <= $4",
    "INSERT INTO identity (tenant, id, endpoint, chain_length, revision, state) \
     SELECT tenant, endpoint, endpoint, chain_length, $5, $6 FROM import_row \
     WHERE tenant = $1 AND import = $2 AND line > $3 AND line <= $4",
    "INSERT INTO epoch (tenant, id, epoch, seed_sealed, links_sealed) \
     SELECT tenant, endpoint, $5, seed_sealed, links_sealed FROM import_row \
     WHERE tenant = $1 AND import = $2 AND line > $3 AND line <= $4",
    "INSERT INTO device_count (tenant, class, hour, devices, given_up) \
     SELECT tenant, class, $5 / 3600, count(*), 0 FROM import_row \
     WHERE tenant = $1 AND import = $2 AND line > $3 AND line <= $4 GROUP BY tenant, class \
     ON CONFLICT (tenant, class, hour) DO UPDATE SET devices = device_count.devices + excluded.devices",
    concat!(
        "INSERT INTO device_tag (tenant, endpoint, tag) SELECT r.tenant, r.endpoint, each.value ",
        "FROM import_row r, ",
        elements!("r.tags"),
        " WHERE r.tenant = $1 AND r.import = $2 AND r.line > $3 AND r.line <= $4"
    ),
    "INSERT INTO unit_due (tenant, import, line, endpoint) \
     SELECT tenant, import, line, endpoint FROM import_row \
     WHERE tenant = $1 AND import = $2 AND line > $3 AND line <= $4",
    "DELETE FROM import_row WHERE tenant = $1 AND import = $2 AND line > $3 AND line <= $4",
];

#[derive(FromRow)]
struct ImportRow {
    content: Vec<u8>,
    lines: i64,
    committed_at: Option<i64>,
    staged: i64,
    staged_to: i64,
    due: i64,
}

impl TryFrom<ImportRow> for Import {
    type Error = StoreError;

    fn try_from(row: ImportRow) -> Result<Self, StoreError> {
        Ok(Self {
            content: digest(row.content, "import")?,
            lines: number(row.lines, "import")?,
            staged: number(row.staged, "import")?,
            staged_to: number(row.staged_to, "import")?,
            committed_at: row.committed_at.map(|at| number(at, "import")).transpose()?,
            due: number(row.due, "import")?,
        })
    }
}

#[derive(FromRow)]
struct UnitRow {
    line: i64,
    #[sqlx(flatten)]
    device: DeviceRow,
    chain_length: i64,
    seed_sealed: Option<Vec<u8>>,
}

impl TryFrom<UnitRow> for UnitDue {
    type Error = StoreError;

    fn try_from(row: UnitRow) -> Result<Self, StoreError> {
        Ok(Self {
            line: number(row.line, "unit file")?,
            device: row.device.try_into()?,
            chain_length: row.chain_length.try_into().map_err(|cause| unreadable("identity", cause))?,
            seed: row.seed_sealed.map(Sealed::new),
        })
    }
}

/// Lines that are told at a time: what a person mends before trying again.
const FAULTS_MAX: usize = 20;
