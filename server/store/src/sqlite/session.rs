//! Rows of sessions.

use async_trait::async_trait;
use sqlx::{FromRow, Sqlite, Transaction};

use super::SqliteStore;
use super::value::{backend, bounded, column, number, page, unreadable};
use crate::bounds::{BLOB_BYTES_MAX, NAME_BYTES_MAX, SESSIONS_PER_IDENTITY_MAX};
use crate::error::StoreError;
use crate::sealed::Sealed;
use crate::session::{KeptRegistration, KeptSession, Sessions};
use crate::tenant::Tenant;

#[async_trait]
impl Sessions for SqliteStore {
    async fn put_sessions(&self, tenant: &Tenant, sessions: &[KeptSession]) -> Result<(), StoreError> {
        if sessions.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        for session in sessions {
            put(&mut tx, tenant, session).await?;
        }
        tx.commit().await.map_err(backend)
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
        let mut tx = self.begin().await?;
        let mut taken = Vec::new();
        for session in kept {
            let row: Option<SessionRow> = sqlx::query_as(
                "DELETE FROM session WHERE tenant = ? AND session = ? RETURNING session, identity, address, \
                 established_at, slept_at, expires_at, state_sealed, registration",
            )
            .bind(tenant.as_str())
            .bind(session.as_slice())
            .fetch_optional(&mut *tx)
            .await
            .map_err(backend)?;
            taken.extend(row.map(KeptSession::try_from).transpose()?);
        }
        tx.commit().await.map_err(backend)?;
        Ok(taken)
    }

    async fn forget_sessions_of(&self, tenant: &Tenant, identity: &str) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM session WHERE tenant = ? AND identity = ?")
            .bind(tenant.as_str())
            .bind(identity)
            .execute(&self.writer)
            .await
            .map_err(backend)?;
        Ok(done.rows_affected())
    }

    async fn forget_registrations_of(&self, tenant: &Tenant, identity: &str) -> Result<u64, StoreError> {
        // Most often there is none: a device that comes again has left a session that was awake.
        let any: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM session WHERE tenant = ? AND identity = ? AND registration IS NOT NULL)",
        )
        .bind(tenant.as_str())
        .bind(identity)
        .fetch_one(&self.readers)
        .await
        .map_err(backend)?;
        if any == 0 {
            return Ok(0);
        }
        let forget = "UPDATE session SET registration = NULL \
                      WHERE tenant = ? AND identity = ? AND registration IS NOT NULL";
        let done = sqlx::query(forget)
            .bind(tenant.as_str())
            .bind(identity)
            .execute(&self.writer)
            .await
            .map_err(backend)?;
        Ok(done.rows_affected())
    }

    async fn sweep_sessions(&self, tenant: &Tenant, now: u64, kept_max: u64) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM session WHERE tenant = ? AND expires_at < ?")
            .bind(tenant.as_str())
            .bind(column(now, "time")?)
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM session WHERE tenant = ?")
            .bind(tenant.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(backend)?;
        let kept = number(kept, "count of sessions")?;
        let surplus = kept.saturating_sub(kept_max);
        if surplus > 0 {
            sqlx::query(
                "DELETE FROM session WHERE tenant = ?1 AND session IN \
                 (SELECT session FROM session WHERE tenant = ?1 ORDER BY slept_at, session LIMIT ?2)",
            )
            .bind(tenant.as_str())
            .bind(column(surplus, "count of sessions")?)
            .execute(&mut *tx)
            .await
            .map_err(backend)?;
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
             WHERE tenant = ? AND (slept_at, session) > (?, ?) AND registration IS NOT NULL \
             ORDER BY slept_at, session LIMIT ?",
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

impl SqliteStore {
    /// Picks the sessions that are kept. Anybody can make names up: those must not keep the one writer busy.
    async fn kept_of<'a>(
        &self,
        tenant: &Tenant,
        sessions: &'a [[u8; 8]],
    ) -> Result<Vec<&'a [u8; 8]>, StoreError> {
        let mut kept = Vec::new();
        for session in sessions {
            let found: i64 =
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM session WHERE tenant = ? AND session = ?)")
                    .bind(tenant.as_str())
                    .bind(session.as_slice())
                    .fetch_one(&self.readers)
                    .await
                    .map_err(backend)?;
            if found == 1 {
                kept.push(session);
            }
        }
        Ok(kept)
    }
}

async fn put(
    tx: &mut Transaction<'_, Sqlite>,
    tenant: &Tenant,
    session: &KeptSession,
) -> Result<(), StoreError> {
    bounded(session.identity.len(), NAME_BYTES_MAX, "identity of a session")?;
    bounded(session.address.len(), NAME_BYTES_MAX, "address of a session")?;
    bounded(session.state.as_bytes().len(), BLOB_BYTES_MAX, "sealed session")?;
    bounded(session.registration.as_ref().map_or(0, Vec::len), BLOB_BYTES_MAX, "registration")?;
    sqlx::query(
        "INSERT OR REPLACE INTO session (tenant, session, identity, address, established_at, slept_at, expires_at, \
         state_sealed, registration) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
    sqlx::query(
        "DELETE FROM session WHERE tenant = ?1 AND session IN (SELECT session FROM session \
         WHERE tenant = ?1 AND identity = ?2 ORDER BY slept_at DESC, session = ?3 DESC LIMIT -1 OFFSET ?4)",
    )
    .bind(tenant.as_str())
    .bind(&session.identity)
    .bind(session.session.as_slice())
    .bind(SESSIONS_PER_IDENTITY_MAX)
    .execute(&mut **tx)
    .await
    .map_err(backend)?;
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn names_that_nobody_keeps_do_not_wait_for_the_writer() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&dir.path().join("bellwether.db")).await.expect("opened");
        let (writing, tenant) = (store.begin().await.expect("the writer"), Tenant::default());
        let taken = store.take_sessions(&tenant, &[[1; 8], [2; 8]]);
        let taken = tokio::time::timeout(Duration::from_secs(20), taken).await.expect("it did not wait");
        assert_eq!(taken.expect("looked up"), []);
        drop(writing);
    }
}
