//! Follows the ledger and counts what devices run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bellwether_decide::campaign::CampaignId;
use bellwether_decide::campaign::event::{Delivery, EventKind};
use bellwether_decide::device::Endpoint;
use bellwether_store::Digest;
use bellwether_store::census::{Counted, Ran};
use bellwether_store::error::StoreError;
use bellwether_store::ledger::{Recorded, Scope};

use crate::core::Core;

/// Counts until the server ends.
pub(crate) async fn run(core: Arc<Core>) {
    let mut images = Images::new();
    loop {
        match core.count_page(&mut images).await {
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(LOOK_EVERY).await,
            Err(error) => {
                if let Some(count) = core.quiet.failed.pass(core.now()) {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(
                        error,
                        count,
                        "what devices run can't be counted; told at most once a minute"
                    );
                }
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
        }
    }
}

/// The image that a campaign brings to a class, as far as it was looked up.
type Images = HashMap<(CampaignId, String), Option<Digest>>;

impl Core {
    /// Counts the next page of the ledger; tells whether there may be more.
    async fn count_page(&self, images: &mut Images) -> Result<bool, StoreError> {
        let after = self.store.counted(&self.tenant).await?;
        let page = self.store.events(&self.tenant, Scope::All, after, PAGE_EVENTS).await?;
        let Some(last) = page.last() else { return Ok(false) };
        let ran = self.ran(&page, images).await?;
        let counted = Counted { after, until: last.seq, ran: &ran };
        let _ours = self.store.count(&self.tenant, counted).await?;
        Ok(page.len() == PAGE_EVENTS as usize)
    }

    /// What devices were seen to run.
    async fn ran(&self, page: &[Recorded], images: &mut Images) -> Result<Vec<Ran>, StoreError> {
        let telling: Vec<&Recorded> = page.iter().filter(|one| tells(&one.event.kind)).collect();
        let names: Vec<Endpoint> = telling.iter().filter_map(|one| one.event.device.clone()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let devices = self.store.devices_named(&self.tenant, &names).await?;
        // One that was given up since is not counted any more.
        let devices = devices.iter().filter(|one| one.retired_at.is_none());
        let classes: HashMap<&Endpoint, &str> =
            devices.map(|one| (&one.device.endpoint, one.device.class.as_str())).collect();
        let mut ran = Vec::new();
        for one in telling {
            let Some(endpoint) = &one.event.device else { continue };
            let Some(class) = classes.get(endpoint) else { continue };
            let (image, at_first) = match (&one.event.kind, one.event.campaign) {
                (EventKind::Resolved { delivery: Delivery::Delta { base, .. }, .. }, _) => {
                    (self.as_application(*base).await?, true)
                }
                (_, Some(campaign)) => (self.image_of(campaign, class, images).await?, false),
                _ => (None, false),
            };
            if let Some(image) = image {
                let (endpoint, class) = (endpoint.clone(), (*class).to_owned());
                ran.push(Ran { endpoint, class, image, at: one.event.at, at_first });
            }
        }
        Ok(ran)
    }

    /// The image that a campaign brings to a class: of a device with several components, its application.
    async fn image_of(
        &self,
        campaign: CampaignId,
        class: &str,
        images: &mut Images,
    ) -> Result<Option<Digest>, StoreError> {
        let key = (campaign, class.to_owned());
        if let Some(known) = images.get(&key) {
            return Ok(*known);
        }
        let image = match self.store.campaign(&self.tenant, campaign).await? {
            None => None,
            Some(kept) => match (self.book.page(&kept.manifest).await, self.class(class).await) {
                (Ok(Some(page)), Ok(class)) => {
                    let targets = page.targets(&class);
                    let application = targets.iter().find(|target| target.id == [b"app".to_vec()]);
                    application.or(targets.first()).map(|target| target.digest)
                }
                // The anchors do not allow it any more, or there are none: who ran it is not told.
                _ => None,
            },
        };
        if images.len() >= IMAGES_MAX {
            images.clear();
        }
        images.insert(key, image);
        Ok(image)
    }

    /// This image, unless it is known as that of another component.
    async fn as_application(&self, image: Digest) -> Result<Option<Digest>, StoreError> {
        let releases = self.store.releases_with(&self.tenant, &[image]).await?;
        let is_other =
            !releases.is_empty() && releases.iter().all(|one| one.release.component != [b"app".to_vec()]);
        Ok((!is_other).then_some(image))
    }
}

/// Whether an event tells what a device runs.
fn tells(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Installed { .. }
            | EventKind::AlreadyCurrent
            | EventKind::Resolved { delivery: Delivery::Delta { .. }, .. }
    )
}

/// A plot is looked at by people.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A store that fails has other things to do.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Events between two commits.
const PAGE_EVENTS: u32 = 1_000;

/// Images that are remembered, 100 bytes each: those of the campaigns that go on, many times over.
const IMAGES_MAX: usize = 1_024;
