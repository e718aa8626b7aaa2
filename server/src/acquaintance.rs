//! What devices of ours tell right after they registered, in the private object 26250: which edition of the anchors they
//! believe, and their stable answers. Editions that they miss are written to them, one after the other.

use std::sync::Arc;

use bellwether_decide::device::Endpoint;
use bellwether_manifests::message::StableAnswers;
use bellwether_net::coap::{Code, Method, Request, Response};
use bellwether_store::error::StoreError;
use bellwether_store::settings;
use lwm2m_rs::table::{BELLWETHER_UPDATE, bellwether_update as private};
use lwm2m_rs::{ContentFormat, Path};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::answers::Answers;
use crate::core::Core;
use crate::gateways::Presence;
use crate::registry::Registration;

impl Core {
    /// Gets to know a device that has just registered. Until this ends, campaigns pass it over, so that it gets
    /// nothing that it would need newer anchors for.
    pub(crate) async fn get_to_know(self: &Arc<Self>, endpoint: &Endpoint) {
        let Some(registration) = self.registry.find(endpoint, self.steady()) else {
            return;
        };
        if !registration.lists_updates {
            return;
        }
        let in_force = self.edition_for_grants();
        self.bring_up_to_date(&registration).await;
        let answers = self.stable_answers(&registration).await;
        if let Some(answers) = &answers {
            self.note_told(endpoint, answers).await;
        }
        self.registry.told(endpoint, registration.session, answers);
        // A publication passes over a device that is being got to know.
        if self.edition_for_grants() != in_force {
            self.bring_up_to_date(&registration).await;
        }
    }

    /// Keeps which images a device says it runs; that it is asked about is nothing a registration must fail for.
    async fn note_told(&self, endpoint: &Endpoint, answers: &[u8]) {
        let told = StableAnswers::decode(answers).ok().and_then(|told| Answers::told(&told));
        let Some(Answers { running, .. }) = told else { return };
        if let Err(error) = self.store.note_running(&self.tenant, endpoint, &running, self.now()).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, device = %endpoint, "what it runs can't be kept");
        }
    }

    /// Brings newer anchors to devices that they did not come to when they could not be reached: one that was heard of
    /// since may be asking for what it needs them for.
    pub(crate) fn catch_up(self: &Arc<Self>) {
        for registration in self.registry.take_behind(self.steady()) {
            let core = Arc::clone(self);
            tokio::spawn(async move { core.bring_up_to_date(&registration).await });
        }
    }

    /// Writes to a device every edition of the anchors above the one that it believes, and notes whether it has all.
    async fn bring_up_to_date(&self, registration: &Registration) {
        let reached = self.bring_anchors(registration).await;
        let in_force = self.edition_for_grants().unwrap_or(FIRST_EDITION);
        self.registry.brought(&registration.endpoint, registration.session, reached >= in_force);
    }

    /// Gives the edition that the device is known to believe then; 0 for none.
    async fn bring_anchors(&self, registration: &Registration) -> u64 {
        let device = &registration.endpoint;
        let Some(mut reached) = self.anchors_edition(registration).await else {
            tracing::info!(%device, "does not tell the edition of its anchors");
            return 0;
        };
        let missing = match self.editions_above(reached).await {
            Ok(missing) => missing,
            Err(error) => {
                tracing::error!(%error, %device, "the anchors can't be read");
                return reached;
            }
        };
        for anchors in missing {
            let request = Request::new(Method::Put, &path(private::ANCHORS))
                .with_payload(ContentFormat::OCTET_STREAM.0, anchors.document);
            let answer = self.ask(registration, request).await;
            let edition = anchors.edition;
            match answer {
                Ok(response) if response.code == Code::CHANGED => {
                    tracing::info!(%device, edition, "believes newer anchors");
                    reached = edition;
                }
                // What comes after it builds on it.
                answer => {
                    tracing::warn!(%device, edition, ?answer, "does not take newer anchors");
                    break;
                }
            }
        }
        reached
    }

    async fn editions_above(&self, edition: u64) -> Result<Vec<settings::Anchors>, StoreError> {
        self.store.anchors_since(&self.tenant, edition, EDITIONS_MAX).await
    }

    /// Brings newer anchors to all devices and gateways that can be reached, a few at a time. Those that can't be get
    /// them when they come back.
    pub(crate) fn spread_anchors(self: &Arc<Self>) {
        let core = Arc::clone(self);
        tokio::spawn(async move {
            // One round after the other: a round that begins later has all that the ones before had.
            let _alone = core.spreading.lock().await;
            let now = core.steady();
            for gateway in core.gateways.all_present(now) {
                if let Some(presence) = core.gateways.present(&gateway, now) {
                    core.bring_gateway_up_to_date(&gateway, &presence).await;
                }
            }
            let at_once = Arc::new(Semaphore::new(SPREAD_AT_ONCE_MAX));
            let mut round = JoinSet::new();
            for registration in core.registry.listing_updates(now) {
                let Ok(slot) = Arc::clone(&at_once).acquire_owned().await else { break };
                let core = Arc::clone(&core);
                round.spawn(async move {
                    core.bring_up_to_date(&registration).await;
                    drop(slot);
                });
                while round.try_join_next().is_some() {}
            }
            while round.join_next().await.is_some() {}
        });
    }

    /// Puts to a gateway every edition after its first; those that it has, it says so of.
    pub(crate) async fn bring_gateway_up_to_date(&self, gateway: &Endpoint, presence: &Presence) {
        let editions = match self.editions_above(FIRST_EDITION).await {
            Ok(editions) => editions,
            Err(error) => {
                tracing::error!(%error, %gateway, "the anchors can't be read");
                return;
            }
        };
        for anchors in editions {
            let request = Request::new(Method::Put, "/a")
                .with_payload(bellwether_manifests::message::content_format::ANCHORS, anchors.document);
            let edition = anchors.edition;
            match presence.shard.request(presence.session, request).await {
                Ok(response) if matches!(response.code, Code::CHANGED | Code::CONFLICT) => {}
                answer => {
                    tracing::warn!(%gateway, edition, ?answer, "the gateway does not take newer anchors");
                    return;
                }
            }
        }
    }
}

impl Core {
    async fn anchors_edition(&self, registration: &Registration) -> Option<u64> {
        let response = self.told_at(registration, private::ANCHORS_EDITION, ContentFormat::TEXT).await?;
        std::str::from_utf8(&response.payload).ok()?.parse().ok()
    }

    async fn stable_answers(&self, registration: &Registration) -> Option<Arc<[u8]>> {
        let format = ContentFormat::OCTET_STREAM;
        let response = self.told_at(registration, private::STABLE_ANSWERS, format).await?;
        if let Err(error) = StableAnswers::decode(&response.payload) {
            tracing::info!(%error, device = %registration.endpoint, "its stable answers can't be read");
            return None;
        }
        Some(response.payload.into())
    }

    async fn told_at(
        &self,
        registration: &Registration,
        resource: u16,
        format: ContentFormat,
    ) -> Option<Response> {
        let request = Request { accept: Some(format.0), ..Request::new(Method::Get, &path(resource)) };
        let response = self.ask(registration, request).await.ok()?;
        (response.code == Code::CONTENT).then_some(response)
    }
}

fn path(resource: u16) -> String {
    Path::Resource(BELLWETHER_UPDATE.id, 0, resource).to_string()
}

/// The edition that every gateway is made with at least.
const FIRST_EDITION: u64 = 1;

/// Editions brought at a time: a device that missed more gets the rest when it registers again.
const EDITIONS_MAX: u32 = 32;

/// Devices that are brought newer anchors at the same time: a few kilobytes each, beside everything else.
const SPREAD_AT_ONCE_MAX: usize = 16;
