//! Whom devices believe: anchors, the distributor's key, health.

use std::sync::{Arc, PoisonError};

use bellwether_api::{Distributor, Health, Manifest, ManifestClass};
use bellwether_decide::deed::Deed;
use bellwether_decide::release::Class;
use bellwether_keys::unit::ANCHORS_BYTES_MAX;
use bellwether_manifests::anchors::{Anchors, AnchorsError};
use bellwether_store::error::AddError;
use bellwether_store::settings;

use crate::book::{BookError, Page};
use crate::core::Core;
use crate::refusal::Refusal;

impl Core {
    /// Says how the server is.
    ///
    /// # Errors
    ///
    /// [`Refusal::internal`] where the store does not answer.
    pub async fn health(&self) -> Result<Health, Refusal> {
        self.store.anchors(&self.tenant).await.map_err(Refusal::internal)?;
        Ok(Health {
            status: "ok".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.now().saturating_sub(self.started),
            registered: self.registry.count() as u64,
        })
    }

    /// Shows the key that anchors must list.
    #[must_use]
    pub fn distributor(&self) -> Distributor {
        let key = self.descriptors.public_key();
        Distributor { public_key: hex::encode(key.encode()), kid: hex::encode(key.kid()) }
    }

    /// Takes an anchors document: the first one on its own word, each later one by the keys of the one before.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why it is not believed.
    pub async fn put_anchors(self: &Arc<Self>, document: &[u8]) -> Result<bellwether_api::Anchors, Refusal> {
        if document.len() > ANCHORS_BYTES_MAX {
            let text = format!(
                "the anchors are {} bytes long; a unit file carries {ANCHORS_BYTES_MAX}",
                document.len()
            );
            return Err(Refusal::too_large(format!("{text}, so list fewer keys")));
        }
        let current = self.store.anchors(&self.tenant).await.map_err(Refusal::internal)?;
        if let Some(same) = current.as_ref().filter(|current| current.document == document) {
            return self.describe_anchors(&same.document);
        }
        let edition = match &current {
            None => believed(Anchors::initial(document))?.edition(),
            Some(current) => {
                let current = believed(Anchors::initial(&current.document))?;
                believed_after(Anchors::replacing(document, &current), &current)?.edition()
            }
        };
        let kept = settings::Anchors { edition, document: document.to_vec(), stored_at: self.now() };
        match self.store.add_anchors(&self.tenant, &kept).await {
            Ok(()) => {
                self.anchors_come_into_force(document);
                self.spread_anchors();
                self.done(None, Deed::AnchorsPublished { edition }).await;
                self.describe_anchors(document)
            }
            Err(AddError::Exists) => {
                Err(Refusal::conflict(format!("edition {edition} or a higher one is here already")))
            }
            Err(error) => Err(Refusal::internal(error)),
        }
    }

    /// Goes by anchors that were just published, or that were in force before the start: what an author who is not
    /// listed any more has signed is forgotten, and nothing is signed by a key that devices would not believe.
    pub(crate) fn anchors_come_into_force(&self, document: &[u8]) {
        let Ok(anchors) = Anchors::initial(document) else {
            tracing::error!("the kept anchors can't be read");
            return;
        };
        // A second publication may have been faster.
        let edition = anchors.edition();
        let mut in_force = self.anchors_edition.lock().unwrap_or_else(PoisonError::into_inner);
        if *in_force > edition {
            return;
        }
        *in_force = edition;
        let listed = anchors.distributor(self.descriptors.public_key().kid()).is_some();
        self.descriptors.set_listed(listed);
        self.book.anchors_changed(edition);
        if !listed {
            tracing::warn!(
                edition,
                "the anchors do not list this server's key: no device would believe its grants"
            );
        }
    }

    /// The edition that grants ask for: none where every device has it from its unit file.
    pub(crate) fn edition_for_grants(&self) -> Option<u64> {
        let edition = *self.anchors_edition.lock().unwrap_or_else(PoisonError::into_inner);
        (edition > 1).then_some(edition)
    }

    /// Shows the anchors that are in force.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`] before the first were published.
    pub async fn anchors(&self) -> Result<bellwether_api::Anchors, Refusal> {
        let document = self.anchors_document().await?;
        self.describe_anchors(&document)
    }

    pub(crate) async fn anchors_document(&self) -> Result<Vec<u8>, Refusal> {
        let anchors = self.store.anchors(&self.tenant).await.map_err(Refusal::internal)?;
        let missing = "there are no anchors yet; make them with `bellwether keys anchors` and publish them with `bellwether keys trust`";
        anchors.map(|anchors| anchors.document).ok_or_else(|| Refusal::not_found(missing))
    }

    fn describe_anchors(&self, document: &[u8]) -> Result<bellwether_api::Anchors, Refusal> {
        let anchors = believed(Anchors::initial(document))?;
        let kid = self.descriptors.public_key().kid();
        Ok(bellwether_api::Anchors {
            edition: anchors.edition(),
            vendor: hex::encode(anchors.vendor()),
            lists_this_distributor: anchors.distributor(kid).is_some(),
        })
    }

    /// Verifies and keeps a signed envelope.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why devices would not take it either.
    pub async fn publish_manifest(&self, envelope: &[u8]) -> Result<Manifest, Refusal> {
        let (page, is_new) = self.book.publish(envelope, self.now()).await.map_err(refused)?;
        if is_new {
            let (digest, sequence) = (page.summary.digest, page.summary.sequence_number);
            self.done(None, Deed::ManifestPublished { digest, sequence }).await;
        }
        self.describe_manifest(&page).await
    }

    /// Lists the manifests that the anchors in force allow, the highest sequence number first.
    ///
    /// # Errors
    ///
    /// [`Refusal::internal`].
    pub async fn manifests(&self) -> Result<Vec<Manifest>, Refusal> {
        let kept = self.store.manifests(&self.tenant, MANIFESTS_MAX).await.map_err(Refusal::internal)?;
        let mut manifests = Vec::with_capacity(kept.len());
        for summary in kept {
            match self.book.page(&summary.digest).await {
                Ok(Some(page)) => manifests.push(self.describe_manifest(&page).await?),
                Ok(None) => {}
                Err(BookError::Store(error)) => return Err(Refusal::internal(error)),
                // Its author lost trust; what nobody may install any more is not listed.
                Err(error) => tracing::info!(manifest = hex::encode(summary.digest), %error, "is left out"),
            }
        }
        Ok(manifests)
    }

    pub(super) async fn describe_manifest(&self, page: &Arc<Page>) -> Result<Manifest, Refusal> {
        let mut classes = Vec::new();
        for summary in &page.summary.classes {
            let class = Class { vendor: summary.vendor, class: summary.class };
            let releases = self.store.releases_of(&self.tenant, &class).await.map_err(Refusal::internal)?;
            let name =
                releases.first().map_or_else(|| hex::encode(summary.class), |one| one.class_name.clone());
            for image in &summary.images {
                let release = releases.iter().find(|one| one.release.digest == image.digest);
                classes.push(ManifestClass {
                    class: name.clone(),
                    digest: hex::encode(image.digest),
                    size: image.size.unwrap_or_default(),
                    version: release.map(|one| one.release.version.clone()),
                });
            }
        }
        Ok(Manifest {
            digest: hex::encode(page.summary.digest),
            sequence_number: page.summary.sequence_number,
            size: page.envelope.len() as u64,
            request_identifier: page.request_identifier().to_owned(),
            classes,
            published: page.published,
        })
    }
}

/// The vendor that the anchors in force speak for.
pub(super) fn vendor_of(document: &[u8]) -> Result<[u8; 16], Refusal> {
    Ok(*believed(Anchors::initial(document))?.vendor())
}

fn believed<T>(anchors: Result<T, AnchorsError>) -> Result<T, Refusal> {
    anchors.map_err(|error| Refusal::refused(format!("the anchors are not believed: {error}")))
}

/// Like [`believed`], with what the author of anchors needs to know of those that are to be replaced.
fn believed_after<T>(anchors: Result<T, AnchorsError>, current: &Anchors<'_>) -> Result<T, Refusal> {
    let edition = current.edition();
    match anchors {
        Err(AnchorsError::Edition(given)) => Err(Refusal::conflict(format!(
            "edition {edition} of the anchors is in force and edition {given} is not newer; give the new ones a higher --edition"
        ))),
        Err(AnchorsError::Threshold) => Err(Refusal::refused(format!(
            "too few root keys signed: the anchors need the threshold of their own root role and that of edition {edition}, \
             which is in force; add signatures with `bellwether keys sign-anchors`"
        ))),
        other => believed(other),
    }
}

pub(super) fn refused(error: BookError) -> Refusal {
    match error {
        BookError::Store(error) => Refusal::internal(error),
        other => Refusal::refused(other.to_string()),
    }
}

/// Manifests in one answer.
const MANIFESTS_MAX: u32 = 200;
