//! Grants that are made before their device asks, for the bundles of gateways: the table's rows 4 to 6, eligibility and
//! resolution as for a request, with the selector that the device will send.

use std::sync::Arc;

use bellwether_decide::campaign::Campaign;
use bellwether_decide::campaign::stage::Track;
use bellwether_decide::device::Endpoint;
use bellwether_decide::eligibility::{self, Facts};
use bellwether_decide::identity::Grant;
use bellwether_decide::key_index::{self, Decision, NewGrant, Reply};
use bellwether_manifests::definition::Definition;
use bellwether_manifests::message::predict::{self, PredictError};
use bellwether_manifests::message::{Selector, StableAnswers};
use bellwether_store::Digest;
use bellwether_store::device::{Identity, Transition};
use sha2::{Digest as _, Sha256};

use super::components::Resolved;
use super::grant::Terms;
use super::turn::{Given, details, resolved_event};
use super::{CONFLICTS_MAX, RequestError, event, failed};
use crate::answers::Answers;
use crate::book::{Page, Target};
use crate::core::Core;
use crate::descriptors::{Described, Times};

/// A grant with its descriptor, as a bundle carries them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ahead {
    /// The grant's message.
    pub(crate) message: Vec<u8>,
    /// The descriptor's message.
    pub(crate) descriptor: Arc<[u8]>,
    /// When the grant ends, seconds since 1970.
    pub(crate) not_after: u64,
}

/// The selector that a device will send.
struct Predicted {
    selector: Digest,
    answers: Answers,
}

/// One device that a grant is made for.
struct Unasked<'a> {
    identity: &'a Identity,
    page: &'a Page,
    predicted: &'a Predicted,
    tracked: &'a [(Campaign, Track)],
}

impl Core {
    /// Makes, or finds, the grant that a device would get now if it asked for a manifest. `None` where it has to ask for
    /// itself: its answers are not known, the table has doubts, or it would get a verdict.
    ///
    /// # Errors
    ///
    /// [`RequestError::Failed`].
    pub(crate) async fn grant_ahead(
        &self,
        page: &Page,
        endpoint: &Endpoint,
    ) -> Result<Option<Ahead>, RequestError> {
        for _ in 0..CONFLICTS_MAX {
            let identity = self.store.identity(&self.tenant, endpoint).await.map_err(failed)?;
            let Some(identity) = identity else { return Ok(None) };
            let Some(predicted) = self.predicted(page, &identity)? else { return Ok(None) };
            let manifest = &page.summary.digest;
            let tracked = self.tracked(&identity, manifest).await?;
            let context = self.context(&identity, manifest, &tracked, None).await?;
            let decision = key_index::decide_ahead(&identity.state, *manifest, predicted.selector, &context);
            let Some(decision) = decision else { return Ok(None) };
            let unasked = Unasked { identity: &identity, page, predicted: &predicted, tracked: &tracked };
            match &decision.reply {
                Reply::HeldGrant { place, number } => {
                    let grant = decision.state.grant(*place, *number);
                    return self
                        .held_ahead(grant.ok_or_else(|| failed("the grant is not in the state"))?)
                        .await;
                }
                Reply::NewGrant(new) => match self.new_ahead(&unasked, &decision, new).await? {
                    Made::Stored(ahead) => return Ok(Some(ahead)),
                    Made::Nothing => return Ok(None),
                    Made::Lost => {}
                },
                _ => return Ok(None),
            }
        }
        Err(failed("the identity changes faster than it can be decided on"))
    }

    /// What the device told of itself, put as the answer to the manifest; else what its open grant is bound to.
    fn predicted(&self, page: &Page, identity: &Identity) -> Result<Option<Predicted>, RequestError> {
        let manifest = &page.summary.digest;
        let told = self.registry.stable_answers(&identity.endpoint, self.steady());
        let Some(told) = told else {
            let open = identity.state.open_grant().filter(|grant| grant.manifest == *manifest);
            return Ok(open.map(|grant| Predicted { selector: grant.selector, answers: Answers::default() }));
        };
        let foretold = foretold(page, &identity.endpoint, &told)?;
        Ok(foretold
            .map(|(encoded, answers)| Predicted { selector: Sha256::digest(&encoded).into(), answers }))
    }

    /// Tells whether a device has told that it runs everything that a manifest brings it.
    ///
    /// # Errors
    ///
    /// [`RequestError::Failed`] where what it told can't be put as the answer to the manifest.
    pub(crate) fn runs(&self, page: &Page, endpoint: &Endpoint) -> Result<bool, RequestError> {
        let Some(told) = self.registry.stable_answers(endpoint, self.steady()) else { return Ok(false) };
        let Some((_, answers)) = foretold(page, endpoint, &told)? else { return Ok(false) };
        let targets = answers.class.map(|class| page.targets(&class)).unwrap_or_default();
        let runs = |target: &Target| answers.running.contains(&(target.component.into(), target.digest));
        Ok(!targets.is_empty() && targets.iter().all(runs))
    }

    async fn held_ahead(&self, grant: &Grant) -> Result<Option<Ahead>, RequestError> {
        let Some(described) = self.granted_resources(grant).await? else { return Ok(None) };
        let descriptor = self
            .descriptors
            .signed(&grant.manifest, &grant.selector, &described, Times::at(self.now()))
            .map_err(failed)?;
        Ok(Some(Ahead { message: grant.message.clone(), descriptor, not_after: grant.not_after }))
    }

    async fn new_ahead(
        &self,
        unasked: &Unasked<'_>,
        decision: &Decision,
        new: &NewGrant,
    ) -> Result<Made, RequestError> {
        let Unasked { identity, page, predicted, tracked } = *unasked;
        let manifest = &page.summary.digest;
        let device = self.store.device(&self.tenant, &identity.endpoint).await.map_err(failed)?;
        let device = device.map(|enrolled| enrolled.device);
        let campaigns: Vec<Campaign> = tracked.iter().map(|(campaign, _)| campaign.clone()).collect();
        let facts = Facts { device: device.as_ref(), manifest, campaigns: &campaigns, sent_before: false };
        let Ok(campaign) = eligibility::check(&facts).outcome else { return Ok(Made::Nothing) };
        let Resolved::Resources(described) = self.resolve_components(page, &predicted.answers).await? else {
            return Ok(Made::Nothing);
        };
        let go = campaigns.iter().any(|one| one.id == campaign && one.policy.ask_go);
        let (message, not_after) = self.message_ahead(unasked, new, go, &described)?;
        let descriptor = self
            .descriptors
            .signed(manifest, &predicted.selector, &described, Times::at(self.now()))
            .map_err(failed)?;
        let ahead = Ahead { message: message.clone(), descriptor, not_after };
        let state = decision.granted(new, details(&described, not_after, None, go, message), &[]);
        let events = [event(self.now(), Some(campaign), identity, resolved_event(new.number, &described))];
        let opens = Given::new(campaign, &described);
        let gives = Some(opens.of());
        let transition =
            Transition { events: &events, gives, ..Transition::new(identity.state.revision, &state) };
        let stored = self.write(identity, transition).await?;
        Ok(if stored { Made::Stored(ahead) } else { Made::Lost })
    }

    fn message_ahead(
        &self,
        unasked: &Unasked<'_>,
        new: &NewGrant,
        go: bool,
        described: &[Described],
    ) -> Result<(Vec<u8>, u64), RequestError> {
        let Unasked { identity, page, predicted, .. } = *unasked;
        let not_after = new.judged_at + self.config.grant_lifetime_s;
        let keys = self.keys(identity, new.place)?;
        let (manifest, selector) = (&page.summary.digest, &predicted.selector);
        // A share of the device comes with a request alone.
        let terms = Terms { new, manifest, selector, not_after, shares: None, go };
        Ok((self.grant_message(identity, &keys, &terms, described)?, not_after))
    }
}

/// Puts what a device told of itself as the answer to a manifest: the encoded selector, and what it says.
fn foretold(
    page: &Page,
    endpoint: &Endpoint,
    told: &[u8],
) -> Result<Option<(Vec<u8>, Answers)>, RequestError> {
    let manifest = &page.summary.digest;
    let Some(definition) = &page.summary.definition else { return Ok(None) };
    let definition = Definition::parse(definition).map_err(failed)?;
    let told = StableAnswers::decode(told).map_err(failed)?;
    // Told by number: a manifest for some of the components only may count them otherwise.
    let components = told.scopes.iter().filter(|scope| scope.component.is_some()).count();
    if components != page.summary.components.len() {
        return Ok(None);
    }
    let encoded = match predict::selector(&definition, &told, manifest) {
        Ok(encoded) => encoded,
        Err(error @ (PredictError::Missing { .. } | PredictError::Signed)) => {
            tracing::info!(device = %endpoint, %error, "has to ask for itself");
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let answers = Answers::of(&Selector::decode(&encoded).map_err(failed)?);
    Ok(answers.map(|answers| (encoded, answers)))
}

/// What became of a new grant.
enum Made {
    Stored(Ahead),
    Nothing,
    /// Somebody else wrote first: read and decide again.
    Lost,
}
