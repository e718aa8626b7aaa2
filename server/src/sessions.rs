//! Sleeping sessions: out of the socket's memory into the store, sealed, and back.
//!
//! A row is taken out before its session goes on, in one commit, so no two engines ever use it. What a crash loses is
//! the sessions that were awake; their devices make a new handshake. A copy of the database that is put back has rows
//! of sessions that have gone on since. Their sequence numbers can't repeat, see [`Dormant::age`], but what the devices
//! sent meanwhile could be replayed once by somebody who recorded it; `bellwether-server restore` empties the table
//! for that. Requests and reports of the update protocol are authenticated on their own and can't be replayed at all.
//!
//! For the rest of the server a sleeping device is as much there as one that is awake: its registration stays, and a
//! request to it brings its session back. The registration is kept with the session, so that after a restart the
//! server can still speak first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bellwether_decide::device::Endpoint;
use bellwether_net::{Dormant, SessionId, ShardHandle};
use bellwether_store::error::StoreError;
use bellwether_store::session::{KeptRegistration, KeptSession};
use lwm2m_rs::ContentFormat;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::core::Core;
use crate::credentials;
use crate::dtls_keys::KeyError;
use crate::registry::{Brought, Queue, Registration, Speaks, Told, Touched, carried};

/// What a socket wants of the store, in the order in which it wants it.
pub enum Task {
    /// Keep this one.
    Sleep(Dormant),
    /// Bring this one.
    Wake(SessionId),
}

/// Does the tasks of one shard until there are no more.
pub async fn keep(core: Arc<Core>, shard: ShardHandle, mut tasks: mpsc::Receiver<Task>) {
    let mut batch = Vec::new();
    while tasks.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let (mut asleep, mut wanted) = (Vec::new(), Vec::new());
        for task in batch.drain(..) {
            match task {
                Task::Sleep(dormant) => asleep.push(dormant),
                Task::Wake(session) => wanted.push(session),
            }
        }
        // First, since what is wanted may be among them.
        core.put_to_sleep(shard.local_addr(), &asleep).await;
        core.wake_sessions(&shard, &wanted).await;
    }
}

impl Core {
    /// Keeps sessions. Where the store fails they are lost, and their devices can't be reached until they come again.
    pub async fn put_to_sleep(&self, socket: SocketAddr, sessions: &[Dormant]) {
        for chunk in sessions.chunks(BATCH_MAX) {
            if let Err(error) = self.keep_all(chunk).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, sessions = chunk.len(), "sleeping sessions can't be kept");
                for dormant in chunk {
                    self.registry.forget_lost(socket, dormant.session);
                }
            }
        }
    }

    async fn keep_all(&self, sessions: &[Dormant]) -> Result<(), KeyError> {
        let _keeping = self.keeping.read().await;
        let kept: Vec<_> = sessions.iter().map(|dormant| self.written(dormant)).collect::<Result<_, _>>()?;
        self.store.put_sessions(&self.tenant, &kept).await?;
        for one in kept.iter().filter(|one| one.registration.is_some()) {
            // Its device has registered anew or left meanwhile, too early to find this row.
            if self.registry.of_session(&one.identity, SessionId(u64::from_be_bytes(one.session))).is_none() {
                self.store.forget_registrations_of(&self.tenant, &one.identity).await?;
            }
        }
        Ok(())
    }

    /// Forgets what is kept of a registration with sleeping sessions, where it came over another one before it was
    /// renewed or ended: after a crash it would be there again. To be called before that is acknowledged.
    ///
    /// # Errors
    ///
    /// The store's; the device says it again then.
    pub(crate) async fn forget_former(&self, touched: &Touched) -> Result<(), StoreError> {
        if !touched.from_another {
            return Ok(());
        }
        // One that is being kept now was read before this device said what it says: it is there only then.
        drop(self.keeping.write().await);
        self.store.forget_registrations_of(&self.tenant, touched.endpoint.as_str()).await?;
        self.registry.former_is_forgotten(&touched.endpoint);
        Ok(())
    }

    /// Forgets what is kept of devices that have left, where that failed when they did: nobody else may come to ask again.
    pub(crate) async fn forget_left(&self) {
        for endpoint in self.registry.left() {
            let touched = Touched { endpoint, from_another: true };
            if let Err(error) = self.forget_former(&touched).await {
                // Tried again at the next look at the disk, which also says what is wrong with it.
                tracing::debug!(error = &error as &dyn std::error::Error, "a registration is still kept");
                return;
            }
        }
    }

    fn written(&self, dormant: &Dormant) -> Result<KeptSession, KeyError> {
        let (now, session) = (self.now(), dormant.session.0.to_be_bytes());
        // The credential is in the label: a session of one that was replaced does not open.
        let label = label(session, &dormant.identity);
        let (name, _) = credentials::holder(&dormant.identity);
        Ok(KeptSession {
            session,
            identity: name.to_owned(),
            address: dormant.address.to_string(),
            established_at: now.saturating_sub(dormant.age.as_secs()),
            slept_at: now,
            expires_at: now + SESSION_KEPT_S,
            state: self.vault.seal(SESSION, &label, dormant.secret())?,
            registration: self
                .registry
                .of_session(name, dormant.session)
                .map(|one| self.on_the_wall(one))
                .map(|one| encode(&one, self.heard_at(&one.1))),
        })
    }

    /// What outlives this start is timed by the wall clock: each start has a steady clock of its own.
    fn on_the_wall(&self, (location, registration): (String, Registration)) -> (String, Registration) {
        let expires = carried(registration.expires, self.steady(), self.now());
        (location, Registration { expires, ..registration })
    }

    /// When a device in queue mode was heard last, by the wall clock.
    fn heard_at(&self, registration: &Registration) -> Option<u64> {
        let silence = registration.silence(self.steady())?;
        Some(self.now().saturating_sub(silence.silent_s))
    }

    async fn wake_sessions(&self, shard: &ShardHandle, wanted: &[SessionId]) {
        if wanted.is_empty() {
            return;
        }
        let names: Vec<_> = wanted.iter().map(|session| session.0.to_be_bytes()).collect();
        let taken = match self.store.take_sessions(&self.tenant, &names).await {
            Ok(taken) => taken,
            Err(error) => {
                // They stay where they are, and their devices say it again.
                tracing::error!(error = &error as &dyn std::error::Error, "sleeping sessions can't be read");
                return wanted.iter().for_each(|&session| shard.resume(session, None));
            }
        };
        for &session in wanted {
            let kept = taken.iter().find(|kept| kept.session == session.0.to_be_bytes());
            let dormant = match kept {
                Some(kept) => self.opened(kept).await,
                None => None,
            };
            if dormant.is_none() {
                self.registry.forget_lost(shard.local_addr(), session);
            }
            shard.resume(session, dormant);
        }
    }

    /// Opens a session, if its owner still has a key.
    async fn opened(&self, kept: &KeptSession) -> Option<Dormant> {
        let identities = match self.dtls_identities(&kept.identity).await {
            Ok(identities) => identities,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a sleeping session is lost");
                return None;
            }
        };
        if self.is_of_a_former(kept).await {
            return None;
        }
        let open = |identity: String| {
            let label = label(kept.session, &identity);
            Some((self.vault.open_sealed(SESSION, &label, &kept.state).ok()?, identity))
        };
        let (secret, identity) = identities.into_iter().find_map(open)?;
        let age = Duration::from_secs(self.now().saturating_sub(kept.established_at));
        let session = SessionId(u64::from_be_bytes(kept.session));
        let address = kept.address.parse().ok()?;
        Some(Dormant::from_parts(session, identity.into(), address, age, secret.to_vec()))
    }

    /// The DTLS identities under which a device or gateway has a key now.
    async fn dtls_identities(&self, name: &str) -> Result<Vec<String>, StoreError> {
        let Ok(id) = Endpoint::try_from(name) else { return Ok(Vec::new()) };
        if let Some(device) = self.store.device(&self.tenant, &id).await? {
            return Ok(credentials::identities(&device));
        }
        let gateway = self.store.gateway(&self.tenant, &id).await?;
        Ok(gateway.map(|_| name.to_owned()).into_iter().collect())
    }

    /// Tells whether a session was made by a gateway that was removed before one of its name was added, under another
    /// key. Devices keep theirs.
    async fn is_of_a_former(&self, kept: &KeptSession) -> bool {
        let Some(name) = self.gateways.named(&kept.identity) else { return false };
        match self.store.gateway(&self.tenant, &name).await {
            Ok(row) => row.is_none_or(|row| row.added_at > kept.established_at),
            Err(_) => true,
        }
    }

    /// Registers the devices again whose sessions sleep: they come to `shard`.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn restore_registrations(&self, shard: &ShardHandle) -> Result<usize, StoreError> {
        let (now, steady, mut count) = (self.now(), self.steady(), 0);
        let mut after: Option<KeptRegistration> = None;
        loop {
            let page = self.store.kept_registrations(&self.tenant, after.as_ref(), PAGE).await?;
            for kept in &page {
                let Some((location, mut registration)) = decode(kept, shard, (now, steady)) else { continue };
                if registration.expires >= now {
                    registration.expires = carried(registration.expires, now, steady);
                    let _ = self.registry.register(location, registration);
                    count += 1;
                }
            }
            after = page.into_iter().last();
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// Forgets the sessions of somebody whose key is gone.
    ///
    /// # Errors
    ///
    /// The store's.
    pub(crate) async fn forget_sessions_of(&self, identity: &str) -> Result<(), StoreError> {
        self.dtls_keys.remove(identity);
        self.store.forget_sessions_of(&self.tenant, identity).await.map(drop)
    }

    /// Forgets sleeping sessions that have expired or are too many, and imports that nobody commits, once a minute until
    /// the server ends.
    pub async fn sweep_sessions(self: Arc<Self>) {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tick.tick().await;
            if let Err(error) = self.store.sweep_sessions(&self.tenant, self.now(), SESSIONS_KEPT_MAX).await {
                tracing::error!(error = &error as &dyn std::error::Error, "sleeping sessions can't be swept");
            }
            if let Err(error) = self.forget_stale_imports().await {
                tracing::error!(error = &error as &dyn std::error::Error, "imports can't be forgotten");
            }
        }
    }
}

/// A registration as it lies beside its session.
#[derive(Deserialize, Serialize)]
struct Written {
    location: String,
    lifetime_s: u64,
    /// Seconds since 1970.
    expires: u64,
    version: String,
    formats: Vec<u16>,
    root: String,
    lists_updates: bool,
    /// Hexadecimal.
    told: Option<String>,
    /// When it was heard last, seconds since 1970, where it is in queue mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard_at: Option<u64>,
}

fn encode((location, registration): &(String, Registration), heard_at: Option<u64>) -> Vec<u8> {
    let told = match &registration.told {
        Told::Answers(answers) => Some(hex::encode(answers)),
        // Awaited ones are asked for again when the device registers anew.
        Told::Nothing | Told::Awaited => None,
    };
    let Registration { lifetime_s, expires, lists_updates, .. } = *registration;
    let Speaks { version, formats, root } = &*registration.speaks;
    let (version, root, location) = (version.as_str().to_owned(), root.clone(), location.clone());
    let formats = formats.iter().map(|format| format.0).collect();
    let written =
        Written { location, lifetime_s, expires, version, formats, root, lists_updates, told, heard_at };
    serde_json::to_vec(&written).unwrap_or_default()
}

/// Reads a registration; `times` are now by the wall clock and by the one that never steps.
fn decode(kept: &KeptRegistration, shard: &ShardHandle, times: (u64, u64)) -> Option<(String, Registration)> {
    let written: Written = serde_json::from_slice(&kept.registration).ok()?;
    let told = written.told.and_then(|told| hex::decode(told).ok());
    let formats = written.formats.into_iter().map(ContentFormat).collect();
    let speaks = Speaks { version: written.version.parse().ok()?, formats, root: written.root };
    let registration = Registration {
        endpoint: Endpoint::try_from(kept.identity.as_str()).ok()?,
        session: SessionId(u64::from_be_bytes(kept.session)),
        shard: shard.clone(),
        address: kept.address.parse().ok()?,
        lifetime_s: written.lifetime_s,
        expires: written.expires,
        speaks: Arc::new(speaks),
        lists_updates: written.lists_updates,
        told: told.map_or(Told::Nothing, |told| Told::Answers(told.into())),
        // What was published last may not have come to it before the restart.
        anchors: Brought::Behind,
        queue: written.heard_at.map(|at| Queue::silent_since(at, times)),
    };
    Some((written.location, registration))
}

/// Names a sealed session: nobody's row opens as somebody else's.
fn label(session: [u8; 8], identity: &str) -> String {
    format!("{} {identity}", hex::encode(session))
}

/// The label of sealed sessions.
const SESSION: &str = "dtls session";

/// Tasks done in one commit. At a millisecond for a commit, a quarter of a million sessions a second can come and go.
const BATCH_MAX: usize = 256;

/// Tasks that wait; then the socket's events wait too. A dormant session is about 500 bytes.
pub const TASKS_MAX: usize = 4_096;

/// Rows read at a time.
const PAGE: u32 = 1_000;

/// How long a session is kept: a device that speaks once a month goes on without a handshake.
const SESSION_KEPT_S: u64 = 32 * 86_400;

/// Sleeping sessions kept: with a row of about 600 bytes and its indices, 0.8 GB on disk.
const SESSIONS_KEPT_MAX: u64 = 1_000_000;

/// A minute: what expired does no harm until then.
const SWEEP: Duration = Duration::from_mins(1);
