//! Which bytes suit a device, component by component: by `decide::resolve`, made by the builder.

use std::sync::Arc;
use std::time::Duration;

use bellwether_decide::campaign::event::EventKind;
use bellwether_decide::identity::Grant;
use bellwether_decide::key_index::Verdict;
use bellwether_decide::refusal::Refusal;
use bellwether_decide::release::{Class, Release};
use bellwether_decide::resolve::{self, Algorithm, Catalogue, Delta, DeltaState, Resolution};
use bellwether_net::WorkLost;
use bellwether_store::catalogue::{self, Base};

use super::{RequestError, failed};
use crate::answers::Answers;
use crate::book::{Page, Target};
use crate::builder::{self, BuildError};
use crate::core::Core;
use crate::descriptors::Described;

/// What an eligible device gets.
pub(super) enum Resolved {
    /// One resource for each component that is not at its target yet.
    Resources(Vec<Described>),
    /// No resource, and what the ledger is told.
    Verdict(Verdict, EventKind),
}

/// What one component gets: a resource, nothing as it is at its target, or a verdict on the whole request.
type Component = Result<Option<Described>, Resolved>;

/// What became of a resource that was asked for.
enum Built {
    Ready(Box<catalogue::Resource>),
    Making,
    Failed(BuildError),
}

impl Core {
    /// Resolves every component that the manifest demands of the device's class.
    pub(super) async fn resolve_components(
        &self,
        page: &Page,
        answers: &Answers,
    ) -> Result<Resolved, RequestError> {
        let Some(class) = answers.class else {
            return Ok(refused(Refusal::ClassNotInManifest));
        };
        let targets = page.targets(&class);
        if targets.is_empty() {
            return Ok(refused(Refusal::ClassNotInManifest));
        }
        let releases = self.store.releases_of(&self.tenant, &class).await.map_err(failed)?;
        let is_recalled = |target: &Target| {
            let mut recalled = releases.iter().filter(|one| one.recalled.is_some()).map(|one| &one.release);
            recalled.any(|release| release.digest == target.digest && release.component == target.id)
        };
        if targets.iter().any(is_recalled) {
            return Ok(refused(Refusal::ReleaseRecalled));
        }
        let releases: Vec<Release> = releases.into_iter().map(|catalogued| catalogued.release).collect();
        let mut described = Vec::new();
        for target in &targets {
            match self.resolve_component(&class, target, answers, &releases).await? {
                Ok(resource) => described.extend(resource),
                Err(verdict) => return Ok(verdict),
            }
        }
        if described.is_empty() {
            return Ok(Resolved::Verdict(Verdict::Nothing, EventKind::AlreadyCurrent));
        }
        Ok(Resolved::Resources(described))
    }

    /// Finds what a grant opens, as it was granted; `None` where something of it is lost or was made anew.
    pub(super) async fn granted_resources(
        &self,
        grant: &Grant,
    ) -> Result<Option<Vec<Described>>, RequestError> {
        let mut described = Vec::with_capacity(grant.contents.len());
        for granted in &grant.contents {
            if !self.images.exists(&granted.content).await.map_err(failed)? {
                return Ok(None);
            }
            let made = self.store.resources_to(&self.tenant, &granted.installed).await.map_err(failed)?;
            let Some((key, resource)) =
                made.into_iter().find(|(_, resource)| resource.content == granted.content)
            else {
                return Ok(None);
            };
            let component = u32::try_from(granted.component).map_err(failed)?;
            described.push(Described { component, installed: granted.installed, resource, base: key.base });
        }
        Ok(Some(described))
    }

    async fn resolve_component(
        &self,
        class: &Class,
        target: &Target,
        answers: &Answers,
        releases: &[Release],
    ) -> Result<Component, RequestError> {
        let question = answers.question(*class, target);
        let mut deltas = Vec::new();
        // Twice at most: a delta that turns out no smaller than the image is resolved again, to the image.
        for _ in 0..2 {
            let catalogue = Catalogue { releases, algorithms: &ALGORITHMS, deltas: &deltas };
            let resolved = resolve::resolve(&question, &catalogue);
            tracing::info!(component = target.component, reason = %resolved.reason, "resolved");
            let base = match resolved.resolution {
                Resolution::NothingToDo => return Ok(Ok(None)),
                Resolution::Refused(refusal) => return Ok(Err(refused_because(refusal, resolved.reason))),
                Resolution::Later { delay_s } => return Ok(Err(later(delay_s, &resolved.reason))),
                Resolution::Full { .. } => None,
                Resolution::Delta { algorithm, .. } => {
                    question.running.map(|digest| Base { digest, algorithm })
                }
            };
            let Some(base) = base else {
                return self.full_image(target).await;
            };
            match self.build(target, Some(base)).await {
                Built::Ready(resource) if resource.content_size < resource.target_size => {
                    return Ok(Ok(Some(described(target, *resource, Some(base)))));
                }
                Built::Ready(resource) => {
                    let bytes = resource.content_size;
                    deltas.push(known_delta(base, target, DeltaState::Ready { bytes }));
                }
                Built::Making => {
                    deltas.push(known_delta(
                        base,
                        target,
                        DeltaState::Making { retry_after_s: BUILD_RETRY_S },
                    ));
                }
                Built::Failed(error) => {
                    tracing::warn!(%error, "a delta can't be made; the full image goes instead");
                    deltas.push(known_delta(base, target, DeltaState::Failed));
                }
            }
        }
        Ok(Err(later(BUILD_RETRY_S, "the delta is being made")))
    }

    async fn full_image(&self, target: &Target) -> Result<Component, RequestError> {
        match self.build(target, None).await {
            Built::Ready(resource) => Ok(Ok(Some(described(target, *resource, None)))),
            Built::Making => Ok(Err(later(BUILD_RETRY_S, "the image is being encrypted"))),
            Built::Failed(error) => Err(failed(error)),
        }
    }

    /// Finds a resource, or makes it and goes on making it in the background after a while.
    async fn build(&self, target: &Target, base: Option<Base>) -> Built {
        let (builder, key) = (Arc::clone(&self.builder), builder::shared(target.digest, base));
        match builder.made(&key).await {
            Ok(None) => {}
            Ok(Some(resource)) => return Built::Ready(Box::new(resource)),
            Err(error) => return Built::Failed(error),
        }
        let waits = self.builder.wait();
        if waits.is_none() && builder.is_making(&key) {
            return Built::Making;
        }
        let flight = tokio::spawn(async move { builder.resource(&key).await });
        if waits.is_none() {
            return Built::Making;
        }
        match tokio::time::timeout(BUILD_WAIT, flight).await {
            Ok(Ok(Ok(resource))) => Built::Ready(Box::new(resource)),
            Ok(Ok(Err(error))) => Built::Failed(error),
            Ok(Err(_)) => Built::Failed(WorkLost.into()),
            Err(_) => Built::Making,
        }
    }
}

fn described(target: &Target, resource: catalogue::Resource, base: Option<Base>) -> Described {
    Described { component: target.component, installed: target.digest, resource, base }
}

fn known_delta(base: Base, target: &Target, state: DeltaState) -> Delta {
    Delta { base: base.digest, target: target.digest, algorithm: base.algorithm, state }
}

fn refused(refusal: Refusal) -> Resolved {
    refused_because(refusal, refusal.text().to_owned())
}

fn refused_because(refusal: Refusal, reason: String) -> Resolved {
    Resolved::Verdict(Verdict::Refused(refusal), EventKind::Refused { reason })
}

fn later(delay_s: u32, reason: &str) -> Resolved {
    tracing::info!(reason, delay_s, "a device is told to come back later");
    Resolved::Verdict(Verdict::Later { delay_s }, EventKind::Asked)
}

/// Patch algorithms that the builder makes, the best first.
const ALGORITHMS: [Algorithm; 1] = [Algorithm {
    number: bellwether_delta::Algorithm::FIELDS.0 as i64,
    ram_bytes: match bellwether_delta::ram_bytes(bellwether_delta::Algorithm::FIELDS.0, &[]) {
        Ok(bytes) => bytes as u64,
        Err(_) => u64::MAX,
    },
}];

/// Wait for a resource that is being made: well below a device's patience for a separate response.
const BUILD_WAIT: Duration = Duration::from_secs(20);

/// When to ask again for what is being made.
const BUILD_RETRY_S: u32 = 30;
