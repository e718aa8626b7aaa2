//! Makes resources: images and deltas, encrypted once, named by their digest. One flight per key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bellwether_delta as delta;
use bellwether_keys::content::{ContentAlgorithm, ContentCipher, ContentError, ContentKey};
use bellwether_manifests::frame::FrameError;
use bellwether_net::{Machine, WorkLost};
use bellwether_store::catalogue::{Base, Encryption, Mode, Patch, Resource, ResourceKey};
use bellwether_store::error::StoreError;
use bellwether_store::images::{ImageError, Images};
use bellwether_store::{Digest, Store, Tenant};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use crate::frames::{Body, FrameCache};
use crate::vault::{CONTENT_KEY, Vault, VaultError};

/// Why a resource was not made.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// An image is missing or damaged.
    #[error("an image can't be had")]
    Image(#[from] ImageError),
    /// No patch can be made of these images.
    #[error("no patch can be made")]
    Patch(#[from] delta::make::MakeError),
    /// A secret can't be made or sealed.
    #[error("the vault refuses")]
    Vault(#[from] VaultError),
    /// The content can't be encrypted.
    #[error("the content can't be encrypted")]
    Content(#[from] ContentError),
    /// The content has no frames: the image is empty.
    #[error("the content can't be framed")]
    Frames(#[from] FrameError),
    /// The work was ended by a panic or by the end of the server.
    #[error("the work did not come to its end")]
    Aborted(#[from] WorkLost),
}

/// Makes and finds resources.
pub struct Builder {
    machine: Arc<dyn Machine>,
    store: Arc<dyn Store>,
    tenant: Tenant,
    images: Images,
    vault: Arc<Vault>,
    cache: Arc<FrameCache>,
    flights: Mutex<HashMap<ResourceKey, Arc<tokio::sync::Mutex<()>>>>,
    /// Patches take memory and a core each.
    at_once: Semaphore,
    /// A fleet that asks for what is being made must not hold all requests of everybody else.
    waiting: Semaphore,
}

/// What is to be encrypted, and how it is applied.
struct Plain {
    bytes: Vec<u8>,
    target_size: u64,
    patch: Option<Patch>,
}

/// An encrypted content.
struct Content {
    bytes: Vec<u8>,
    plain: Digest,
    iv: [u8; 16],
    key: ContentKey,
}

impl Builder {
    /// Builds into this store and these images.
    #[must_use]
    pub fn new(
        machine: Arc<dyn Machine>,
        store: Arc<dyn Store>,
        tenant: Tenant,
        images: Images,
        vault: Arc<Vault>,
        cache: Arc<FrameCache>,
    ) -> Self {
        let at_once = Semaphore::new(BUILDS_AT_ONCE_MAX);
        let waiting = Semaphore::new(WAITING_MAX);
        Self { machine, store, tenant, images, vault, cache, flights: Mutex::default(), at_once, waiting }
    }
    /// Gives the resource of a key if it is made and its bytes are there.
    ///
    /// # Errors
    ///
    /// [`BuildError`] where folder or store fail.
    pub async fn made(&self, key: &ResourceKey) -> Result<Option<Resource>, BuildError> {
        match self.store.resource(&self.tenant, key).await? {
            Some(resource) if self.images.exists(&resource.content).await? => Ok(Some(resource)),
            _ => Ok(None),
        }
    }

    /// Tells whether a resource is being made.
    pub fn is_making(&self, key: &ResourceKey) -> bool {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Resources that are being made, those that wait for a core included, and requests that wait for one.
    pub fn load(&self) -> (usize, usize) {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner).len();
        (flights, WAITING_MAX - self.waiting.available_permits())
    }

    /// Takes a place among those who wait for a resource; `None` where there are enough of them.
    pub fn wait(&self) -> Option<SemaphorePermit<'_>> {
        self.waiting.try_acquire().ok()
    }

    /// Gives the resource of a key; makes it where there is none, or where its bytes are lost.
    ///
    /// # Errors
    ///
    /// [`BuildError`].
    pub async fn resource(&self, key: &ResourceKey) -> Result<Resource, BuildError> {
        let flight = self.flight(key);
        let _alone = flight.lock().await;
        let kept = self.store.resource(&self.tenant, key).await?;
        let made = match kept {
            Some(resource) if self.images.exists(&resource.content).await? => Ok(resource),
            kept => self.make(key, kept.map(|resource| resource.content)).await,
        };
        self.land(key);
        made
    }

    /// Gives the frames of a root: from memory, else from the folder. `None` where the bytes are lost or damaged: the
    /// device then asks for its grant again, and the resource is made anew.
    ///
    /// # Errors
    ///
    /// [`BuildError`] where folder or store fail.
    pub async fn body(&self, root: &Digest) -> Result<Option<Arc<Body>>, BuildError> {
        if let Some(body) = self.cache.get(root) {
            return Ok(Some(body));
        }
        let Some(resource) = self.store.resource_by_root(&self.tenant, root).await? else {
            return Ok(None);
        };
        let content = match self.images.get(&resource.content).await {
            Err(ImageError::Missing) => return Ok(None),
            Err(damaged @ ImageError::Damaged { .. }) => {
                tracing::error!(error = %damaged, "a resource is damaged: it is thrown away and made anew when asked for");
                self.images.remove(&resource.content).await?;
                return Ok(None);
            }
            content => content?,
        };
        let body = self.machine.beside(move || Body::new(&content, BLOCK_BYTES)).await??;
        Ok(Some(self.cache.keep(body)))
    }

    /// Opens the content key of a resource.
    ///
    /// # Errors
    ///
    /// [`BuildError::Vault`] under another master key; [`BuildError::Content`] for an algorithm that is not known.
    pub fn content_key(&self, content: &Digest, encryption: &Encryption) -> Result<ContentKey, BuildError> {
        let opened = self.vault.open_sealed(CONTENT_KEY, &hex::encode(content), &encryption.key)?;
        Ok(ContentKey::new(ContentAlgorithm::try_from(encryption.algorithm)?, &opened)?)
    }

    async fn make(&self, key: &ResourceKey, lost: Option<Digest>) -> Result<Resource, BuildError> {
        // The semaphore is never closed.
        let _slot = self.at_once.acquire().await.ok();
        let plain = self.plain(key).await?;
        let (target_size, patch) = (plain.target_size, plain.patch.clone());
        let machine = Arc::clone(&self.machine);
        let (content, body) = self.machine.beside(move || encrypt(&*machine, plain.bytes)).await??;
        let sizes = (content.bytes.len() as u64, content.plain);
        let digest = self.images.put(content.bytes).await?;
        let sealed = self.vault.seal(CONTENT_KEY, &hex::encode(digest), content.key.expose())?;
        let algorithm = content.key.algorithm().number();
        let resource = Resource {
            content: digest,
            content_size: sizes.0,
            plain: sizes.1,
            plain_size: sizes.0,
            target_size,
            block: u32::from(BLOCK_BYTES),
            root: body.root(),
            encryption: Some(Encryption { algorithm, key: sealed, iv: content.iv.to_vec() }),
            patch,
            made_at: self.machine.now(),
        };
        let kept = match lost {
            None => self.store.put_resource(&self.tenant, key, &resource).await?,
            Some(lost) => self.store.replace_resource(&self.tenant, key, &lost, &resource).await?,
        };
        if kept.root == body.root() {
            self.cache.keep(body);
        }
        Ok(kept)
    }

    async fn plain(&self, key: &ResourceKey) -> Result<Plain, BuildError> {
        let target = self.images.get(&key.target).await?;
        let Some(base) = key.base else {
            return Ok(Plain { target_size: target.len() as u64, bytes: target, patch: None });
        };
        let base_image = self.images.get(&base.digest).await?;
        Ok(self.machine.beside(move || patch(&base_image, &target)).await??)
    }

    fn flight(&self, key: &ResourceKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(flights.entry(key.clone()).or_default())
    }

    /// Forgets a flight that nobody else waits for.
    fn land(&self, key: &ResourceKey) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // One count is the map's, one the caller's.
        if flights.get(key).is_some_and(|flight| Arc::strong_count(flight) <= 2) {
            flights.remove(key);
        }
    }
}

/// Names the resource that is encrypted once for all devices.
#[must_use]
pub fn shared(target: Digest, base: Option<Base>) -> ResourceKey {
    ResourceKey { target, base, mode: Mode::Shared }
}

fn patch(base: &[u8], target: &[u8]) -> Result<Plain, delta::make::MakeError> {
    let made = delta::make::make(base, target)?;
    let patch = Patch { base_size: base.len() as u64, ram: u64::from(made.ram), parameters: made.parameters };
    Ok(Plain { bytes: made.bytes, target_size: target.len() as u64, patch: Some(patch) })
}

/// Encrypts under a fresh key, which is never used again, and frames the ciphertext.
fn encrypt(machine: &dyn Machine, mut bytes: Vec<u8>) -> Result<(Content, Body), BuildError> {
    let plain = Sha256::digest(&bytes).into();
    let secret = Zeroizing::new(machine.random::<32>().map_err(VaultError::from)?);
    let iv = machine.random::<16>().map_err(VaultError::from)?;
    let key = ContentKey::new(ContentAlgorithm::A256Ctr, secret.as_ref())?;
    ContentCipher::new(&key, &iv)?.apply_at(0, &mut bytes)?;
    let body = Body::new(&bytes, BLOCK_BYTES)?;
    Ok((Content { bytes, plain, iv, key }, body))
}

/// One CoAP block of 1,024 bytes is one frame: 992 bytes of content and the next frame's digest.
pub const BLOCK_BYTES: u16 = 992;

/// Patches made at the same time: about twenty times an image's size in memory each.
const BUILDS_AT_ONCE_MAX: usize = 2;

/// Requests that wait for resources at the same time: half of all that are at work. Others come back later.
const WAITING_MAX: usize = 256;
