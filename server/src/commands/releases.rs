//! Releases: images that devices may be brought to, or come from.

use bellwether_api::FrameCount;
use bellwether_decide::deed::Deed;
use bellwether_decide::release::Class;
use bellwether_decide::version;
use bellwether_store::catalogue::{CataloguedRelease, NewRelease};
use bellwether_store::error::AddError;

use super::trust::vendor_of;
use crate::core::Core;
use crate::frames::count::Sent;
use crate::recalls::component_name;
use crate::refusal::Refusal;

impl Core {
    /// Keeps an image under class, component and version; the same again is the same release.
    ///
    /// # Errors
    ///
    /// [`Refusal::conflict`] where the version holds another image.
    pub async fn publish_release(
        &self,
        class: &str,
        component: &str,
        version: &str,
        image: &[u8],
    ) -> Result<bellwether_api::Release, Refusal> {
        named("class", class)?;
        named("component", component)?;
        named("version", version)?;
        if image.is_empty() {
            return Err(Refusal::invalid("the image is empty"));
        }
        let class_id = self.class(class).await?;
        let digest = self.images.put(image.to_vec()).await.map_err(Refusal::internal)?;
        let release = NewRelease {
            vendor: hex::encode(class_id.vendor),
            class_name: class.to_owned(),
            class: class_id,
            component: vec![component.as_bytes().to_vec()],
            version: version.to_owned(),
            digest,
            size: image.len() as u64,
            open: false,
            published_at: self.now(),
        };
        match self.store.add_release(&self.tenant, &release).await {
            Ok(_) => {
                let (class, component) = (class.to_owned(), component.to_owned());
                let deed = Deed::ReleasePublished { class, component, version: version.to_owned(), digest };
                self.done(None, deed).await;
                self.published(&release).await
            }
            Err(AddError::Exists) => self.published(&release).await,
            Err(error) => Err(Refusal::internal(error)),
        }
    }

    /// Shows what stands under the release's version, if it is this image.
    async fn published(&self, wanted: &NewRelease) -> Result<bellwether_api::Release, Refusal> {
        let releases =
            self.store.releases_of(&self.tenant, &wanted.class).await.map_err(Refusal::internal)?;
        let same = |one: &&CataloguedRelease| {
            one.release.digest == wanted.digest && one.release.component == wanted.component
        };
        let found = releases.iter().find(same);
        match found.filter(|one| one.release.version == wanted.version) {
            Some(release) => Ok(describe(release)),
            None => Err(Refusal::conflict(match found {
                Some(other) => format!("this image is published already, as {}", other.release.version),
                None => format!(
                    "{} {} holds another image; give this one another version",
                    wanted.class_name, wanted.version
                ),
            })),
        }
    }

    /// Lists releases by class, the newest version first.
    ///
    /// # Errors
    ///
    /// [`Refusal::internal`].
    pub async fn releases(&self) -> Result<Vec<bellwether_api::Release>, Refusal> {
        let mut releases =
            self.store.releases(&self.tenant, None, RELEASES_MAX).await.map_err(Refusal::internal)?;
        releases.sort_by(|a, b| {
            let newest_first = version::compare(&b.release.version, &a.release.version);
            a.class_name.cmp(&b.class_name).then(newest_first)
        });
        Ok(releases.iter().map(describe).collect())
    }

    /// Says how many frames of each resource left this server since it started, and to whom.
    #[must_use]
    pub fn frames_sent(&self) -> Vec<FrameCount> {
        let count = |sent: Sent| FrameCount {
            root: hex::encode(sent.root),
            frames: sent.frames,
            sent: sent.by_identity,
        };
        self.frames.counts().sent().into_iter().map(count).collect()
    }

    /// The ids of a class name, under the vendor of the anchors.
    pub(crate) async fn class(&self, name: &str) -> Result<Class, Refusal> {
        let document = self.anchors_document().await?;
        let vendor = vendor_of(&document)?;
        Ok(Class { vendor, class: bellwether_manifests::author::class_id(&vendor, name) })
    }
}

/// Refuses names that can't stand in lists and URIs.
pub(super) fn named(what: &str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Refusal::invalid(format!(
            "the {what} must have 1 to {NAME_BYTES_MAX} bytes and no control characters"
        )));
    }
    Ok(())
}

pub(super) fn describe(release: &CataloguedRelease) -> bellwether_api::Release {
    let recall = release.recalled.as_ref();
    bellwether_api::Release {
        class: release.class_name.clone(),
        component: component_name(release),
        version: release.release.version.clone(),
        digest: hex::encode(release.release.digest),
        size: release.release.size,
        published: release.published_at,
        recalled: recall.map(|recall| recall.at),
        recalled_why: recall.map(|recall| recall.why.clone()),
    }
}

/// As long as a label that people read.
const NAME_BYTES_MAX: usize = 64;

/// Releases in one answer.
const RELEASES_MAX: u32 = 1_000;
