//! A session outside of the engine: what is left of it while its peer sleeps.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::SessionId;

/// A session that an engine gave out of its hands, and can take back once.
///
/// Whoever keeps it takes it away from where it is kept before it hands it in: two engines that go on with the
/// same session would use nonces twice. See [`Dormant::age`] for what holds where that was not possible.
#[derive(Clone)]
pub struct Dormant {
    /// Its name, then and now.
    pub session: SessionId,
    /// Who its peer has shown to be.
    pub identity: Arc<str>,
    /// Where the peer was last.
    pub address: SocketAddr,
    /// The time since its handshake. The keeper adds what has passed meanwhile, since the sequence numbers of the
    /// engine that goes on are no lower than 65,536 for each second of it: more than a session sends over its life,
    /// so that a copy restored from a backup does not use a nonce twice either.
    pub age: Duration,
    state: State,
}

/// Keys and sequence numbers, as the engine writes them.
#[derive(Clone)]
struct State(Zeroizing<Vec<u8>>);

impl Dormant {
    pub(crate) fn new(
        session: SessionId,
        identity: Arc<str>,
        address: SocketAddr,
        age: Duration,
        state: Zeroizing<Vec<u8>>,
    ) -> Self {
        Self { session, identity, address, age, state: State(state) }
    }

    /// Makes a session of what [`Dormant::secret`] gave; an engine refuses what is not such.
    #[must_use]
    pub fn from_parts(
        session: SessionId,
        identity: Arc<str>,
        address: SocketAddr,
        age: Duration,
        secret: Vec<u8>,
    ) -> Self {
        Self::new(session, identity, address, age, Zeroizing::new(secret))
    }

    /// Shows keys and sequence numbers, to be sealed: whoever has them can read and forge what the session carries.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.state.0
    }

    /// Gives the lowest sequence number that may be written next, by its age.
    pub(crate) fn sequence_floor(&self) -> u64 {
        self.age.as_secs().saturating_mul(SEQUENCE_NUMBERS_PER_S)
    }
}

impl fmt::Debug for Dormant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, identity, address, age, state: _ } = self;
        f.debug_struct("Dormant")
            .field("session", session)
            .field("identity", identity)
            .field("address", address)
            .field("age", age)
            .finish_non_exhaustive()
    }
}

/// 64 MiB a second at 1 KiB a record, over the whole life of a session: an exchange at a time does not come near
/// it. The 48 bits of a sequence number last for 136 years of it.
const SEQUENCE_NUMBERS_PER_S: u64 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_a_dormant_session_has_no_key_byte() {
        let address = SocketAddr::from(([192, 0, 2, 1], 5_684));
        let dormant = Dormant::from_parts(
            SessionId(7),
            "lamp-1".into(),
            address,
            Duration::from_secs(9),
            b"topsecret".to_vec(),
        );
        let text = format!("{dormant:?}");
        assert!(text.contains("lamp-1") && !text.contains("116") && !text.contains("topsecret"), "{text}");
    }
}
