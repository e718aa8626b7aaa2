//! The manifests that the server keeps, and what each of them means for a class.
//!
//! An envelope is verified against the anchors when it is published and again when it is first used after a
//! start: what the database holds is not believed for being there.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bellwether_decide::release::Class;
use bellwether_manifests::anchors;
use bellwether_manifests::author::{ClassSummary, ImageSummary, ManifestSummary, SummaryError};
use bellwether_manifests::envelope::{Envelope, EnvelopeError, VerifyError};
use bellwether_store::catalogue::Manifest;
use bellwether_store::error::{AddError, StoreError};
use bellwether_store::settings::Anchors;
use bellwether_store::{Digest, Store, Tenant};
use thiserror::Error;

/// A manifest that was verified in this process.
#[derive(Debug)]
pub struct Page {
    /// The signed envelope.
    pub envelope: Vec<u8>,
    /// What it says.
    pub summary: ManifestSummary,
    /// When it was published.
    pub published: u64,
}

/// What a manifest demands of one component of a class.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Index of the component in the manifest.
    pub component: u32,
    /// Component id: its segments.
    pub id: Vec<Vec<u8>>,
    /// SHA-256 of the image.
    pub digest: Digest,
    /// Bytes of the image, where the manifest names them.
    pub size: Option<u64>,
}

/// Why a manifest is not in the book.
#[derive(Debug, Error)]
pub enum BookError {
    /// No anchors were published: nobody may sign.
    #[error(
        "there are no anchors yet; make them with `bellwether keys anchors` and publish them with `bellwether keys trust`"
    )]
    NoAnchors,
    /// The bytes are no envelope.
    #[error("these bytes are no SUIT envelope: {0}")]
    Envelope(#[from] EnvelopeError),
    /// No author of the anchors signed it, or it was altered.
    #[error("the manifest is refused: {0}")]
    Verify(#[from] VerifyError),
    /// Its commands or its definition can't be read.
    #[error("the manifest can't be understood: {0}")]
    Summary(#[from] SummaryError),
    /// It asks nobody for anything.
    #[error("the manifest has no request identifier: devices would not know where to ask")]
    NoRequestIdentifier,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Keeps verified manifests.
pub struct Book {
    store: Arc<dyn Store>,
    tenant: Tenant,
    pages: RwLock<Pages>,
}

/// Manifests that were verified against one edition of the anchors.
#[derive(Default)]
struct Pages {
    edition: u64,
    of: HashMap<Digest, Arc<Page>>,
}

impl Book {
    /// Opens the book on a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: Tenant) -> Self {
        Self { store, tenant, pages: RwLock::default() }
    }

    /// Verifies an envelope and keeps it; the same one again is the same page.
    ///
    /// # Errors
    ///
    /// [`BookError`] says why it is not kept.
    pub async fn publish(&self, envelope: &[u8], now: u64) -> Result<(Arc<Page>, bool), BookError> {
        let anchors = self.anchors().await?;
        let page = read(envelope, &anchors.document, now)?;
        let manifest = Manifest {
            digest: page.summary.digest,
            sequence: page.summary.sequence_number,
            uploaded_at: now,
            envelope: envelope.to_vec(),
        };
        match self.store.add_manifest(&self.tenant, &manifest).await {
            // Verified just now, and the digest names the manifest: the page is the same.
            Ok(()) => Ok((self.keep(page, anchors.edition), true)),
            Err(AddError::Exists) => Ok((self.keep(page, anchors.edition), false)),
            Err(AddError::Store(error)) => Err(error.into()),
            Err(other) => Err(StoreError::Backend(other.into()).into()),
        }
    }

    /// Finds the manifest of this digest; verifies it if this process has not yet.
    ///
    /// # Errors
    ///
    /// [`BookError`], where what is stored is no longer allowed by the anchors.
    pub async fn page(&self, digest: &Digest) -> Result<Option<Arc<Page>>, BookError> {
        if let Some(page) = self.pages.read().unwrap_or_else(PoisonError::into_inner).of.get(digest) {
            return Ok(Some(Arc::clone(page)));
        }
        let Some(stored) = self.store.manifest(&self.tenant, digest).await? else {
            return Ok(None);
        };
        let anchors = self.anchors().await?;
        let page = read(&stored.envelope, &anchors.document, stored.uploaded_at)?;
        Ok(Some(self.keep(page, anchors.edition)))
    }

    /// Forgets what was verified against other anchors: each manifest is verified again when it is next used.
    pub fn anchors_changed(&self, edition: u64) {
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        *pages = Pages { edition, of: HashMap::new() };
    }

    async fn anchors(&self) -> Result<Anchors, BookError> {
        self.store.anchors(&self.tenant).await?.ok_or(BookError::NoAnchors)
    }

    /// Keeps a page, unless the anchors that it was verified against were replaced meanwhile.
    fn keep(&self, page: Page, edition: u64) -> Arc<Page> {
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        if edition < pages.edition {
            return Arc::new(page);
        }
        Arc::clone(pages.of.entry(page.summary.digest).or_insert_with(|| Arc::new(page)))
    }
}

impl Page {
    /// Where devices ask, as in the manifest.
    #[must_use]
    pub fn request_identifier(&self) -> &str {
        self.summary.request_identifier.as_deref().unwrap_or_default()
    }

    /// What the manifest demands of the components of a class; empty where it has nothing for it.
    #[must_use]
    pub fn targets(&self, class: &Class) -> Vec<Target> {
        let serves = |summary: &&ClassSummary| (summary.vendor, summary.class) == (class.vendor, class.class);
        let images = self.summary.classes.iter().find(serves).map_or(&[][..], |summary| &summary.images);
        let target = |image: &ImageSummary| {
            let id = self.summary.components.get(image.component)?.clone();
            let component = u32::try_from(image.component).ok()?;
            Some(Target { component, id, digest: image.digest, size: image.size })
        };
        images.iter().filter_map(target).collect()
    }
}

fn read(envelope: &[u8], anchors: &[u8], published: u64) -> Result<Page, BookError> {
    let anchors = anchors::Anchors::initial(anchors).map_err(|_| BookError::NoAnchors)?;
    let verified = Envelope::parse(envelope)?.verify(&anchors)?;
    let summary = ManifestSummary::new(&verified)?;
    if summary.request_identifier.is_none() {
        return Err(BookError::NoRequestIdentifier);
    }
    Ok(Page { envelope: envelope.to_vec(), summary, published })
}
