//! DTLS sessions of devices that sleep.

use async_trait::async_trait;

use crate::error::StoreError;
use crate::sealed::Sealed;
use crate::tenant::Tenant;

/// A session that is kept while nobody uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSession {
    /// Its connection ID.
    pub session: [u8; 8],
    /// Whose it is, by the handshake: a device or a gateway.
    pub identity: String,
    /// Where its peer was last.
    pub address: String,
    /// When its handshake was, seconds since 1970.
    pub established_at: u64,
    /// When it was put here, seconds since 1970.
    pub slept_at: u64,
    /// When it is forgotten, seconds since 1970.
    pub expires_at: u64,
    /// Keys and sequence numbers.
    pub state: Sealed,
    /// What the device registered over it, as the server writes it.
    pub registration: Option<Vec<u8>>,
}

/// A registration of a device that sleeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRegistration {
    /// The session over which it is reached.
    pub session: [u8; 8],
    /// Whose it is.
    pub identity: String,
    /// Where its peer was last.
    pub address: String,
    /// When the session was put here, seconds since 1970.
    pub slept_at: u64,
    /// What the device registered, as the server wrote it.
    pub registration: Vec<u8>,
}

/// Keeps sessions.
#[async_trait]
pub trait Sessions {
    /// Keeps sessions, all or none; one that is kept already is replaced. Of each identity, the
    /// [`crate::bounds::SESSIONS_PER_IDENTITY_MAX`] that were put last stay.
    async fn put_sessions(&self, tenant: &Tenant, sessions: &[KeptSession]) -> Result<(), StoreError>;

    /// Takes sessions out and gives those that were kept: each is given once, whoever asks, and however often.
    async fn take_sessions(
        &self,
        tenant: &Tenant,
        sessions: &[[u8; 8]],
    ) -> Result<Vec<KeptSession>, StoreError>;

    /// Forgets all sessions of an identity; returns how many there were.
    async fn forget_sessions_of(&self, tenant: &Tenant, identity: &str) -> Result<u64, StoreError>;

    /// Forgets the registrations that are kept with sessions of an identity, since it has another one by now; the
    /// sessions stay. Returns how many there were.
    async fn forget_registrations_of(&self, tenant: &Tenant, identity: &str) -> Result<u64, StoreError>;

    /// Forgets the sessions that have expired, and beyond `kept_max` those that have slept longest; returns how many
    /// are left.
    async fn sweep_sessions(&self, tenant: &Tenant, now: u64, kept_max: u64) -> Result<u64, StoreError>;

    /// Reads the registrations that are kept with sessions, those put first first, from after the given one; at most
    /// `rows_max`, cut to [`crate::bounds::LIST_ROWS_MAX`].
    async fn kept_registrations(
        &self,
        tenant: &Tenant,
        after: Option<&KeptRegistration>,
        rows_max: u32,
    ) -> Result<Vec<KeptRegistration>, StoreError>;
}
