//! Rows of resources.

use sqlx::FromRow;

use super::failed::backend;
use super::{Arguments, Db, Pool, SqlStore};
use crate::Digest;
use crate::bounds::BLOB_BYTES_MAX;
use crate::catalogue::{Base, Encryption, Mode, Patch, Resource, ResourceKey};
use crate::columns::{bounded, column, digest, endpoint, number, page, unreadable};
use crate::error::StoreError;
use crate::sealed::Sealed;
use crate::tenant::Tenant;

/// Adds a resource, or replaces the one whose content is `lost`; returns the one that is kept.
///
/// Content key and content digest are in one row, so no crash can part them.
pub(super) async fn put(
    store: &SqlStore,
    tenant: &Tenant,
    key: &ResourceKey,
    lost: Option<&Digest>,
    resource: &Resource,
) -> Result<Resource, StoreError> {
    let key_row = KeyRow::from(key);
    let row = ResourceRow::written(key, resource)?;
    let mut tx = store.begin().await?;
    if let Some(lost) = lost {
        sqlx::query(
            "DELETE FROM resource WHERE tenant = $1 AND target = $2 AND base = $3 AND algorithm = $4 AND mode = $5 \
             AND recipient = $6 AND content = $7",
        )
        .bind(tenant.as_str())
        .bind(key_row.target)
        .bind(key_row.base)
        .bind(key_row.algorithm)
        .bind(key_row.mode)
        .bind(key_row.recipient)
        .bind(&lost[..])
        .execute(&mut *tx)
        .await
        .map_err(backend)?;
    }
    row.insert_query(tenant, &key_row).execute(&mut *tx).await.map_err(backend)?;
    let kept = key_row.select_query(tenant).fetch_one(&mut *tx).await.map_err(backend)?;
    tx.commit().await.map_err(backend)?;
    kept.try_into()
}

pub(super) async fn read(
    readers: &Pool,
    tenant: &Tenant,
    key: &ResourceKey,
) -> Result<Option<Resource>, StoreError> {
    let row = KeyRow::from(key).select_query(tenant).fetch_optional(readers).await.map_err(backend)?;
    row.map(Resource::try_from).transpose()
}

pub(super) async fn read_by_root(
    readers: &Pool,
    tenant: &Tenant,
    root: &Digest,
) -> Result<Option<Resource>, StoreError> {
    // Open resources of several keys may be the same bytes; any of them describes these.
    let row: Option<ResourceRow> =
        sqlx::query_as("SELECT * FROM resource WHERE tenant = $1 AND root = $2 ORDER BY made_at LIMIT 1")
            .bind(tenant.as_str())
            .bind(&root[..])
            .fetch_optional(readers)
            .await
            .map_err(backend)?;
    row.map(Resource::try_from).transpose()
}

pub(super) async fn read_to(
    readers: &Pool,
    tenant: &Tenant,
    target: &Digest,
) -> Result<Vec<(ResourceKey, Resource)>, StoreError> {
    let rows: Vec<KeyedRow> = sqlx::query_as(
        "SELECT * FROM resource WHERE tenant = $1 AND target = $2 ORDER BY made_at DESC LIMIT $3",
    )
    .bind(tenant.as_str())
    .bind(&target[..])
    .bind(page(u32::MAX))
    .fetch_all(readers)
    .await
    .map_err(backend)?;
    rows.into_iter().map(KeyedRow::read).collect()
}

/// The key's columns: what has no value is empty, because NULL is not equal to NULL.
struct KeyRow<'a> {
    target: &'a [u8],
    base: &'a [u8],
    algorithm: i64,
    mode: &'static str,
    recipient: &'a str,
}

impl<'a> From<&'a ResourceKey> for KeyRow<'a> {
    fn from(key: &'a ResourceKey) -> Self {
        let (base, algorithm) = match &key.base {
            Some(base) => (&base.digest[..], base.algorithm),
            None => (&[][..], 0),
        };
        let (mode, recipient) = match &key.mode {
            Mode::Shared => ("shared", ""),
            Mode::Individual(recipient) => ("individual", recipient.as_str()),
            Mode::Open => ("open", ""),
        };
        Self { target: &key.target, base, algorithm, mode, recipient }
    }
}

impl<'a> KeyRow<'a> {
    fn select_query(&self, tenant: &'a Tenant) -> sqlx::query::QueryAs<'a, Db, ResourceRow, Arguments> {
        sqlx::query_as(
            "SELECT * FROM resource WHERE tenant = $1 AND target = $2 AND base = $3 AND algorithm = $4 AND mode = $5 \
             AND recipient = $6",
        )
        .bind(tenant.as_str())
        .bind(self.target)
        .bind(self.base)
        .bind(self.algorithm)
        .bind(self.mode)
        .bind(self.recipient)
    }
}

#[derive(FromRow)]
struct ResourceRow {
    content: Vec<u8>,
    content_size: i64,
    plain: Vec<u8>,
    plain_size: i64,
    target_size: i64,
    block: i64,
    root: Vec<u8>,
    cipher: Option<i64>,
    key_sealed: Option<Vec<u8>>,
    iv: Option<Vec<u8>>,
    base_size: Option<i64>,
    patch_ram: Option<i64>,
    patch_parameters: Option<Vec<u8>>,
    made_at: i64,
}

impl ResourceRow {
    fn written(key: &ResourceKey, resource: &Resource) -> Result<Self, StoreError> {
        check_shape(key, resource)?;
        let (encryption, patch) = (resource.encryption.as_ref(), resource.patch.as_ref());
        Ok(Self {
            content: resource.content.to_vec(),
            content_size: column(resource.content_size, "size of a resource")?,
            plain: resource.plain.to_vec(),
            plain_size: column(resource.plain_size, "size of a resource")?,
            target_size: column(resource.target_size, "size of an image")?,
            block: resource.block.into(),
            root: resource.root.to_vec(),
            cipher: encryption.map(|encryption| encryption.algorithm),
            key_sealed: encryption.map(|encryption| encryption.key.as_bytes().to_vec()),
            iv: encryption.map(|encryption| encryption.iv.clone()),
            base_size: patch.map(|patch| column(patch.base_size, "size of an image")).transpose()?,
            patch_ram: patch.map(|patch| column(patch.ram, "RAM of a patch")).transpose()?,
            patch_parameters: patch.map(|patch| patch.parameters.clone()),
            made_at: column(resource.made_at, "time")?,
        })
    }

    fn insert_query<'a>(self, tenant: &'a Tenant, key: &KeyRow<'a>) -> sqlx::query::Query<'a, Db, Arguments> {
        sqlx::query(
            "INSERT INTO resource (tenant, target, base, algorithm, mode, recipient, content, content_size, plain, \
             plain_size, target_size, block, root, cipher, key_sealed, iv, base_size, patch_ram, patch_parameters, \
             made_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(key.target)
        .bind(key.base)
        .bind(key.algorithm)
        .bind(key.mode)
        .bind(key.recipient)
        .bind(self.content)
        .bind(self.content_size)
        .bind(self.plain)
        .bind(self.plain_size)
        .bind(self.target_size)
        .bind(self.block)
        .bind(self.root)
        .bind(self.cipher)
        .bind(self.key_sealed)
        .bind(self.iv)
        .bind(self.base_size)
        .bind(self.patch_ram)
        .bind(self.patch_parameters)
        .bind(self.made_at)
    }
}

/// Refuses a resource that contradicts its key; the data base's own checks say the same, but not to the caller.
fn check_shape(key: &ResourceKey, resource: &Resource) -> Result<(), StoreError> {
    if (key.mode == Mode::Open) != resource.encryption.is_none() {
        return Err(StoreError::Contradiction { what: "encryption of a resource" });
    }
    if key.base.is_none() != resource.patch.is_none() {
        return Err(StoreError::Contradiction { what: "patch of a resource" });
    }
    if let Some(encryption) = &resource.encryption {
        bounded(encryption.key.as_bytes().len(), BLOB_BYTES_MAX, "sealed content key")?;
        bounded(encryption.iv.len(), IV_BYTES_MAX, "initialisation vector")?;
    }
    let parameters = resource.patch.as_ref().map_or(0, |patch| patch.parameters.len());
    bounded(parameters, BLOB_BYTES_MAX, "parameters of a patch")
}

#[derive(FromRow)]
struct KeyedRow {
    target: Vec<u8>,
    base: Vec<u8>,
    algorithm: i64,
    mode: String,
    recipient: String,
    #[sqlx(flatten)]
    resource: ResourceRow,
}

impl KeyedRow {
    fn read(self) -> Result<(ResourceKey, Resource), StoreError> {
        let base = if self.base.is_empty() {
            None
        } else {
            Some(Base { digest: digest(self.base, "resource")?, algorithm: self.algorithm })
        };
        let mode = match self.mode.as_str() {
            "shared" => Mode::Shared,
            "individual" => Mode::Individual(endpoint(self.recipient, "resource")?),
            "open" => Mode::Open,
            other => return Err(unreadable("resource", format!("mode {other}"))),
        };
        let key = ResourceKey { target: digest(self.target, "resource")?, base, mode };
        Ok((key, self.resource.try_into()?))
    }
}

impl TryFrom<ResourceRow> for Resource {
    type Error = StoreError;

    fn try_from(row: ResourceRow) -> Result<Self, StoreError> {
        const WHAT: &str = "resource";
        let encryption = match (row.cipher, row.key_sealed, row.iv) {
            (Some(algorithm), Some(key), Some(iv)) => {
                Some(Encryption { algorithm, key: Sealed::new(key), iv })
            }
            _ => None,
        };
        let patch = match (row.base_size, row.patch_ram, row.patch_parameters) {
            (Some(base_size), Some(ram), Some(parameters)) => {
                Some(Patch { base_size: number(base_size, WHAT)?, ram: number(ram, WHAT)?, parameters })
            }
            _ => None,
        };
        Ok(Self {
            content: digest(row.content, WHAT)?,
            content_size: number(row.content_size, WHAT)?,
            plain: digest(row.plain, WHAT)?,
            plain_size: number(row.plain_size, WHAT)?,
            target_size: number(row.target_size, WHAT)?,
            block: row.block.try_into().map_err(|cause| unreadable(WHAT, cause))?,
            root: digest(row.root, WHAT)?,
            encryption,
            patch,
            made_at: number(row.made_at, WHAT)?,
        })
    }
}

/// Bytes of the longest initialisation vector in use: A256CTR's.
const IV_BYTES_MAX: usize = 16;
