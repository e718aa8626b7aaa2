//! Releases that nobody gets any more, and who runs one.

use std::sync::Arc;

use bellwether_api as api;
use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::campaign::standing::Standing;
use bellwether_decide::deed::Deed;
use bellwether_decide::device::Endpoint;
use bellwether_store::Digest;
use bellwether_store::catalogue::{CataloguedRelease, Recall, Recalling};
use bellwether_store::error::UpdateError;

use super::devices::endpoint;
use super::releases::describe;
use super::request::{by, command, limit};
use super::trust::refused;
use crate::book::{BookError, Page};
use crate::caller;
use crate::core::Core;
use crate::recalls::{component_name, named};
use crate::refusal::Refusal;

impl Core {
    /// Recalls a release, once per request id, and halts the campaigns that lead to it.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`], [`Refusal::conflict`] where it was recalled before.
    pub async fn recall_release(
        self: &Arc<Self>,
        asked: &api::RecallRelease,
    ) -> Result<api::Release, Refusal> {
        let (core, asked) = (Arc::clone(self), asked.clone());
        let work = async move { core.recalled(&asked).await };
        caller::to_the_end(work).await.map_err(Refusal::internal)?
    }

    async fn recalled(&self, asked: &api::RecallRelease) -> Result<api::Release, Refusal> {
        let by = by(asked.who.as_ref(), Some(&asked.why))?;
        let recall = Recall { at: self.now(), why: asked.why.clone() };
        // Whatever happens between the two, the next step of the campaigns halts them.
        self.recalls.begin();
        self.set_recall(RECALL, asked, Some(&recall), &by).await?;
        let release = self.release_named(&asked.class, &asked.component, &asked.version).await?;
        // Also where the request comes again: the server may have ended between the two.
        if release.recalled.is_some() {
            self.halt_recalled(&release, &by).await.map_err(Refusal::internal)?;
        }
        Ok(describe(&release))
    }

    /// Takes a recall back, once per request id. Campaigns that it halted stay so until they are ordered to go on.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`], [`Refusal::conflict`] where it is not recalled.
    pub async fn reinstate_release(&self, asked: &api::RecallRelease) -> Result<api::Release, Refusal> {
        let by = by(asked.who.as_ref(), Some(&asked.why))?;
        self.set_recall(REINSTATE, asked, None, &by).await?;
        let release = self.release_named(&asked.class, &asked.component, &asked.version).await?;
        Ok(describe(&release))
    }

    async fn set_recall(
        &self,
        verb: &str,
        asked: &api::RecallRelease,
        recall: Option<&Recall>,
        by: &By,
    ) -> Result<(), Refusal> {
        if self.carried_out(verb, &asked.request_id, asked).await?.is_some() {
            return Ok(());
        }
        let release = self.release_named(&asked.class, &asked.component, &asked.version).await?;
        let stands = if recall.is_some() { "was recalled before" } else { "is not recalled" };
        let unchanged = || Refusal::conflict(format!("{} {stands}", named(&release)));
        if release.recalled.is_some() == recall.is_some() {
            return Err(unchanged());
        }
        let kind = EventKind::Done { deed: deed(&release, recall.is_some()), by: by.clone() };
        let events = [Event { at: self.now(), campaign: None, device: None, kind }];
        let command = command(self.now(), verb, &asked.request_id, asked, &"done")?;
        let recalling = Recalling { release: release.release.id, recall, events: &events, command: &command };
        match self.store.set_recall(&self.tenant, recalling).await {
            Ok(()) => {
                tracing::info!(release = named(&release), verb, why = asked.why, "ordered");
                self.metrics.recorded(&events);
                Ok(())
            }
            Err(UpdateError::CommandKept) => Ok(()),
            Err(UpdateError::Missing) => Err(unchanged()),
            Err(error) => Err(Refusal::internal(error)),
        }
    }

    /// Lists a page of the devices that run a release, by name.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`], [`Refusal::invalid`] for a page that can't be.
    pub async fn who_runs(&self, asked: &api::AskWhoRuns) -> Result<api::WhoRuns, Refusal> {
        let limit = limit(asked.limit)?;
        let after: Option<Endpoint> = asked.after.as_deref().map(endpoint).transpose()?;
        let release = self.release_named(&asked.class, &asked.component, &asked.version).await?;
        let (class, image) = (release.class_name.as_str(), &release.release.digest);
        let rows = self.store.who_runs(&self.tenant, class, image, after.as_ref(), limit).await;
        let rows = rows.map_err(Refusal::internal)?;
        let total = self.store.count_running(&self.tenant, class, image).await.map_err(Refusal::internal)?;
        let is_full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| is_full).map(|last| last.endpoint.to_string());
        let shown = rows
            .into_iter()
            .map(|row| api::RunningDevice { endpoint: row.endpoint.to_string(), since: row.since });
        Ok(api::WhoRuns { release: describe(&release), total, devices: shown.collect(), next })
    }

    /// Refuses what would bring devices of a campaign to a recalled release.
    pub(super) async fn refuse_recalled(&self, page: &Page, standing: &Standing) -> Result<(), Refusal> {
        let found = self.recalled_for(page, &standing.class_names()).await.map_err(Refusal::internal)?;
        match found.as_ref().and_then(|release| release.recalled.as_ref().map(|recall| (release, recall))) {
            None => Ok(()),
            Some((release, Recall { why, .. })) => Err(Refusal::conflict(format!(
                "{} was recalled: {why}; publish another release, or reinstate this one with \
                 `bellwether release reinstate`",
                named(release)
            ))),
        }
    }

    /// Refuses to let a campaign go on that leads to a recalled release.
    pub(super) async fn refuse_to_go_on(
        &self,
        manifest: &Digest,
        standing: &Standing,
    ) -> Result<(), Refusal> {
        match self.book.page(manifest).await {
            Ok(Some(page)) => self.refuse_recalled(&page, standing).await,
            // Nobody gets anything from it, which is told when its campaign takes its next step.
            Ok(None) | Err(BookError::Verify(_)) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    async fn release_named(
        &self,
        class: &str,
        component: &str,
        version: &str,
    ) -> Result<CataloguedRelease, Refusal> {
        let class_id = self.class(class).await?;
        let releases = self.store.releases_of(&self.tenant, &class_id).await.map_err(Refusal::internal)?;
        let is_named =
            |one: &CataloguedRelease| one.release.version == version && component_name(one) == component;
        releases.into_iter().find(is_named).ok_or_else(|| {
            let text = format!(
                "there is no release {component} {version} for {class}; see `bellwether release list`"
            );
            Refusal::not_found(text)
        })
    }
}

fn deed(release: &CataloguedRelease, is_recall: bool) -> Deed {
    let (class, component) = (release.class_name.clone(), component_name(release));
    let (version, digest) = (release.release.version.clone(), release.release.digest);
    if is_recall {
        Deed::ReleaseRecalled { class, component, version, digest }
    } else {
        Deed::ReleaseReinstated { class, component, version, digest }
    }
}

/// Names of the commands.
const RECALL: &str = "release-recall";
const REINSTATE: &str = "release-reinstate";
