//! Recalled releases: who must not get them any more, and which campaigns lead to them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use bellwether_store::Digest;
use bellwether_store::campaign::MoveError;
use bellwether_store::catalogue::CataloguedRelease;
use bellwether_store::error::StoreError;

use crate::book::Page;
use crate::campaign::StepError;
use crate::core::Core;

/// Whether a campaign may go on that leads to a recalled release: a recall and the end of its campaigns are several commits,
/// between which the server may have ended, or the store have failed.
#[derive(Debug)]
pub(crate) struct Unsettled(AtomicBool);

impl Default for Unsettled {
    /// Nobody knows what the server was at when it ended last.
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Unsettled {
    /// Notes that a recall is being written.
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Core {
    /// Halts the campaigns that lead to recalled releases, where that may not have been done.
    ///
    /// # Errors
    ///
    /// [`StepError::Store`]; it is tried again at the next step.
    pub(crate) async fn settle_recalls(&self) -> Result<(), StepError> {
        if !self.recalls.0.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let settled = self.halt_all_recalled().await;
        if settled.is_err() {
            self.recalls.begin();
        }
        settled
    }

    async fn halt_all_recalled(&self) -> Result<(), StepError> {
        let mut after = None;
        loop {
            let page = self.store.releases(&self.tenant, after, RELEASES_PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.release.id);
            for release in &page {
                let Some(recall) = &release.recalled else { continue };
                self.halt_recalled(release, &by_server(&recall.why)).await?;
            }
        }
    }

    /// Finds a recalled release that a manifest brings to one of these classes, by name.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn recalled_for(
        &self,
        page: &Page,
        classes: &BTreeSet<&str>,
    ) -> Result<Option<CataloguedRelease>, StoreError> {
        let images = page.summary.classes.iter().flat_map(|class| &class.images);
        let digests: Vec<Digest> = images.map(|image| image.digest).collect();
        let releases = self.store.releases_with(&self.tenant, &digests).await?;
        let is_wanted = |one: &CataloguedRelease| {
            one.recalled.is_some() && classes.contains(one.class_name.as_str()) && leads_to(page, one)
        };
        Ok(releases.into_iter().find(is_wanted))
    }

    /// Tells whether a device must not get one of these images, since its release was recalled.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn is_recalled(
        &self,
        endpoint: &Endpoint,
        images: &[Digest],
    ) -> Result<bool, StoreError> {
        let mut releases = self.store.releases_with(&self.tenant, images).await?;
        releases.retain(|one| one.recalled.is_some());
        if releases.is_empty() {
            return Ok(false);
        }
        let device = self.store.device(&self.tenant, endpoint).await?;
        Ok(device.is_some_and(|one| releases.iter().any(|release| release.class_name == one.device.class)))
    }

    /// Halts every campaign at work or paused that leads to a recalled release.
    ///
    /// # Errors
    ///
    /// [`StepError::Store`].
    pub(crate) async fn halt_recalled(&self, release: &CataloguedRelease, by: &By) -> Result<(), StepError> {
        for state in [CampaignState::Running, CampaignState::Paused] {
            let mut after: Option<CampaignId> = None;
            loop {
                let page = self.store.campaigns(&self.tenant, Some(state), after, CAMPAIGNS_PAGE).await?;
                let Some(last) = page.last().map(|campaign| campaign.id) else { break };
                for campaign in &page {
                    if self.brings(campaign, release).await? {
                        self.halt_for(campaign.id, release, by).await?;
                    }
                }
                after = Some(last);
            }
        }
        // Gateways still have its bundles, and its devices are free for others.
        self.look_at_all();
        Ok(())
    }

    async fn brings(&self, campaign: &Campaign, release: &CataloguedRelease) -> Result<bool, StepError> {
        // Nobody gets anything from a manifest that the anchors do not allow.
        let Ok(Some(page)) = self.book.page(&campaign.manifest).await else { return Ok(false) };
        if !leads_to(&page, release) {
            return Ok(false);
        }
        let standing = self.store.standing(&self.tenant, campaign.id).await?;
        Ok(standing.is_some_and(|standing| standing.class_names().contains(release.class_name.as_str())))
    }

    /// Halts one campaign, whether it runs or is paused.
    ///
    /// # Errors
    ///
    /// [`StepError::Store`].
    pub(crate) async fn halt_for(
        &self,
        id: CampaignId,
        release: &CataloguedRelease,
        by: &By,
    ) -> Result<(), StepError> {
        let kind = EventKind::Recalled { release: named(release), by: by.clone() };
        let event = [Event { at: self.now(), campaign: Some(id), device: None, kind }];
        for from in [CampaignState::Running, CampaignState::Paused, CampaignState::Running] {
            match self.store.move_campaign(&self.tenant, id, from, &event).await {
                Ok(_) => {
                    tracing::info!(
                        campaign = id.0,
                        release = named(release),
                        "halted, since it was recalled"
                    );
                    self.metrics.recorded(&event);
                    return Ok(());
                }
                // It was paused or resumed meanwhile, or it has come to its end.
                Err(MoveError::Conflict { .. }) => {}
                Err(MoveError::Missing) => return Ok(()),
                Err(MoveError::Store(error)) => return Err(error.into()),
                Err(other) => return Err(StoreError::Backend(other.into()).into()),
            }
        }
        Ok(())
    }
}

/// Who halts a campaign that a recall has not found.
pub(crate) fn by_server(why: &str) -> By {
    By { who: Some("the server".to_owned()), why: Some(why.to_owned()), request: None }
}

/// Names a release in the words of the ledger.
pub(crate) fn named(release: &CataloguedRelease) -> String {
    format!("{} {} for {}", component_name(release), release.release.version, release.class_name)
}

/// Names the component of a release.
pub(crate) fn component_name(release: &CataloguedRelease) -> String {
    let segments = release.release.component.iter();
    segments.map(|segment| String::from_utf8_lossy(segment)).collect::<Vec<_>>().join("/")
}

/// Tells whether a manifest brings its class to a release.
fn leads_to(page: &Page, release: &CataloguedRelease) -> bool {
    let release = &release.release;
    let targets = page.targets(&release.class);
    targets.iter().any(|target| target.digest == release.digest && target.id == release.component)
}

/// Campaigns read at a time.
const CAMPAIGNS_PAGE: u32 = 100;

/// Releases read at a time.
const RELEASES_PAGE: u32 = 1_000;
