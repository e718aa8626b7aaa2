//! Rows of sessions.

use async_trait::async_trait;
use sqlx::FromRow;

use super::failed::backend;
use super::{Db, SqlStore, Transaction};
use crate::bounds::{BLOB_BYTES_MAX, NAME_BYTES_MAX, SESSIONS_PER_IDENTITY_MAX};
use crate::columns::{bounded, column, number, page, unreadable};
use crate::error::StoreError;
use crate::sealed::Sealed;
use crate::session::{KeptRegistration, KeptSession, Sessions};
use crate::tenant::Tenant;

#[async_trait]
impl Sessions for SqlStore {
    async fn put_sessions(&self, tenant: &Tenant, sessions: &[KeptSession]) -> Result<(), StoreError> {
        if sessions.is_empty() {
            return Ok(());
        }
        let mut turn = self.turn().await?;
        let put = put_all(&mut turn, tenant, sessions).await;
        turn.end(put).await
    }

    async fn take_sessions(
        &self,
        tenant: &Tenant,
        sessions: &[[u8; 8]],
    ) -> Result<Vec<KeptSession>, StoreError> {
        let kept = self.kept_of(tenant, sessions).await?;
        if kept.is_empty() {
            return Ok(Vec::new());
        }
        let mut turn = self.turn().await?;
        let taken = take(&mut turn, tenant, &kept).await;
        turn.end(taken).await
    }

    async fn forget_sessions_of(&self, tenant: &Tenant, identity: &str) -> Result<u64, StoreError> {
        // Behind whoever writes: a session that is being put now is to be forgotten, too.
        let mut tx = self.begin().await?;
        let done = sqlx::query(FORGET_OF_IDENTITY)
            .bind(tenant.as_str())
            .bind(identity)
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(done.rows_affected())
    }

    async fn forget_registrations_of(&self, tenant: &Tenant, identity: &str) -> Result<u64, StoreError> {
        // Most often there is none: a device that comes again has left a session that was awake.
        let any: bool = sqlx::query_scalar(concat!(
            "SELECT EXISTS (SELECT 1 FROM session",
            by_index!("session_of_identity"),
            " WHERE tenant = $1 AND identity = $2 AND registration IS NOT NULL)"
        ))
        .bind(tenant.as_str())
        .bind(identity)
        .fetch_one(&self.readers)
        .await
        .map_err(backend)?;
        if !any {
            return Ok(0);
        }
        let forget = concat!(
            "UPDATE session",
            by_index!("session_of_identity"),
            " SET registration = NULL WHERE tenant = $1 AND identity = $2 AND registration IS NOT NULL"
        );
        // It touches several rows, as others do: two that took them in another order would wait for each other.
        let mut tx = self.begin().await?;
        let done = sqlx::query(forget)
            .bind(tenant.as_str())
            .bind(identity)
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        tx.commit().await.map_err(backend)?;
        Ok(done.rows_affected())
    }

    async fn sweep_sessions(&self, tenant: &Tenant, now: u64, kept_max: u64) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM session WHERE tenant = $1 AND expires_at < $2")
            .bind(tenant.as_str())
            .bind(column(now, "time")?)
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM session WHERE tenant = $1")
            .bind(tenant.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(backend)?;
        let kept = number(kept, "count of sessions")?;
        let surplus = kept.saturating_sub(kept_max);
        if surplus > 0 {
            forget_longest_asleep(&mut tx, tenant, surplus).await?;
        }
        tx.commit().await.map_err(backend)?;
        Ok(kept - surplus)
    }

    async fn kept_registrations(
        &self,
        tenant: &Tenant,
        after: Option<&KeptRegistration>,
        rows_max: u32,
    ) -> Result<Vec<KeptRegistration>, StoreError> {
        let (slept_at, session) = after.map_or((0, &[][..]), |after| (after.slept_at, &after.session[..]));
        let rows: Vec<(Vec<u8>, String, String, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT session, identity, address, slept_at, registration FROM session \
             WHERE tenant = $1 AND (slept_at, session) > ($2, $3) AND registration IS NOT NULL \
             ORDER BY slept_at, session LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(column(slept_at, "time")?)
        .bind(session)
        .bind(page(rows_max))
        .fetch_all(&self.readers)
        .await
        .map_err(backend)?;
        let read = |(session, identity, address, slept_at, registration)| {
            let (session, slept_at) = (name(session)?, number(slept_at, "session")?);
            Ok(KeptRegistration { session, identity, address, slept_at, registration })
        };
        rows.into_iter().map(read).collect()
    }
}

/// Forgets so many of the sessions that have slept longest. The last of them is looked up first: how many they are says
/// nothing to a data base that plans for any number of them, and it would go through all that stay.
async fn forget_longest_asleep(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    count: u64,
) -> Result<(), StoreError> {
    let last: Option<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT slept_at, session FROM session WHERE tenant = $1 \
         ORDER BY slept_at, session LIMIT 1 OFFSET $2",
    )
    .bind(tenant.as_str())
    .bind(column(count.saturating_sub(1), "count of sessions")?)
    .fetch_optional(&mut **tx)
    .await
    .map_err(backend)?;
    let Some((slept_at, session)) = last else { return Ok(()) };
    sqlx::query("DELETE FROM session WHERE tenant = $1 AND (slept_at, session) <= ($2, $3)")
        .bind(tenant.as_str())
        .bind(slept_at)
        .bind(session)
        .execute(&mut **tx)
        .await
        .map_err(backend)?;
    Ok(())
}

impl SqlStore {
    /// Picks the sessions that are kept. Anybody can make names up: those must not keep the one writer busy.
    async fn kept_of<'a>(
        &self,
        tenant: &Tenant,
        sessions: &'a [[u8; 8]],
    ) -> Result<Vec<&'a [u8; 8]>, StoreError> {
        let mut kept = Vec::new();
        for session in sessions {
            let found: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM session WHERE tenant = $1 AND session = $2)",
            )
            .bind(tenant.as_str())
            .bind(session.as_slice())
            .fetch_one(&self.readers)
            .await
            .map_err(backend)?;
            if found {
                kept.push(session);
            }
        }
        Ok(kept)
    }
}

async fn put_all(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    sessions: &[KeptSession],
) -> Result<(), StoreError> {
    for session in sessions {
        put(tx, tenant, session).await?;
    }
    Ok(())
}

async fn take(
    tx: &mut Transaction<'_, Db>,
    tenant: &Tenant,
    sessions: &[&[u8; 8]],
) -> Result<Vec<KeptSession>, StoreError> {
    let mut taken = Vec::new();
    for session in sessions {
        let row: Option<SessionRow> = sqlx::query_as(
            "DELETE FROM session WHERE tenant = $1 AND session = $2 RETURNING session, identity, address, \
             established_at, slept_at, expires_at, state_sealed, registration",
        )
        .bind(tenant.as_str())
        .bind(session.as_slice())
        .fetch_optional(&mut **tx)
        .await
        .map_err(backend)?;
        taken.extend(row.map(KeptSession::try_from).transpose()?);
    }
    Ok(taken)
}

async fn put(tx: &mut Transaction<'_, Db>, tenant: &Tenant, session: &KeptSession) -> Result<(), StoreError> {
    bounded(session.identity.len(), NAME_BYTES_MAX, "identity of a session")?;
    bounded(session.address.len(), NAME_BYTES_MAX, "address of a session")?;
    bounded(session.state.as_bytes().len(), BLOB_BYTES_MAX, "sealed session")?;
    bounded(session.registration.as_ref().map_or(0, Vec::len), BLOB_BYTES_MAX, "registration")?;
    sqlx::query(
        "INSERT INTO session (tenant, session, identity, address, established_at, slept_at, expires_at, \
         state_sealed, registration) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant, session) \
         DO UPDATE SET identity = excluded.identity, address = excluded.address, \
         established_at = excluded.established_at, slept_at = excluded.slept_at, expires_at = excluded.expires_at, \
         state_sealed = excluded.state_sealed, registration = excluded.registration",
    )
    .bind(tenant.as_str())
    .bind(session.session.as_slice())
    .bind(&session.identity)
    .bind(&session.address)
    .bind(column(session.established_at, "time")?)
    .bind(column(session.slept_at, "time")?)
    .bind(column(session.expires_at, "time")?)
    .bind(session.state.as_bytes())
    .bind(&session.registration)
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    sqlx::query(concat!(
        "DELETE FROM session",
        by_index!("session_of_identity"),
        " WHERE tenant = $1 AND identity = $2 AND session NOT IN (SELECT session FROM session \
         WHERE tenant = $1 AND identity = $2 ORDER BY slept_at DESC, session = $3 DESC LIMIT $4)"
    ))
    .bind(tenant.as_str())
    .bind(&session.identity)
    .bind(session.session.as_slice())
    .bind(i64::from(SESSIONS_PER_IDENTITY_MAX))
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    Ok(())
}

/// Forgets all sessions of an identity.
pub(super) const FORGET_OF_IDENTITY: &str =
    concat!("DELETE FROM session", by_index!("session_of_identity"), " WHERE tenant = $1 AND identity = $2");

#[derive(FromRow)]
struct SessionRow {
    session: Vec<u8>,
    identity: String,
    address: String,
    established_at: i64,
    slept_at: i64,
    expires_at: i64,
    state_sealed: Vec<u8>,
    registration: Option<Vec<u8>>,
}

impl TryFrom<SessionRow> for KeptSession {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        Ok(Self {
            session: name(row.session)?,
            identity: row.identity,
            address: row.address,
            established_at: number(row.established_at, "session")?,
            slept_at: number(row.slept_at, "session")?,
            expires_at: number(row.expires_at, "session")?,
            state: Sealed::new(row.state_sealed),
            registration: row.registration,
        })
    }
}

fn name(bytes: Vec<u8>) -> Result<[u8; 8], StoreError> {
    bytes.try_into().map_err(|_| unreadable("session", "a connection ID has another length"))
}
