//! What the server asks of devices: take this manifest, start that image. Sleeping devices are waited for.

use std::sync::Arc;

use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use bellwether_net::coap::{Code, Method, Request};
use bellwether_store::error::StoreError;
use lwm2m_rs::firmware::UpdateResult;
use lwm2m_rs::table::{self, firmware_update};
use lwm2m_rs::{ContentFormat, Path};

use crate::asking::AskError;
use crate::book::BookError;
use crate::core::Core;
use crate::registry::Registration;

impl Core {
    /// Sends a manifest to a device, which the ledger already says was offered it.
    pub(crate) fn offer(self: &Arc<Self>, campaign: CampaignId, endpoint: Endpoint, envelope: Arc<Vec<u8>>) {
        let core = Arc::clone(self);
        tokio::spawn(async move {
            let session = || core.registry.find(&endpoint, core.steady()).map(|found| found.session);
            let over = session();
            let kind = match core.send_manifest(&endpoint, &envelope).await {
                Ok(None) => return,
                Ok(Some(reason)) => EventKind::Failed { grant: 0, reason },
                // It registered anew meanwhile, and got the offer again over its new session: that one counts, or another
                // campaign would be let in between.
                Err(_) if session().is_some_and(|now| over != Some(now)) => return,
                Err(Unsent::Asleep) => EventKind::OfferWaits,
                Err(Unsent::Failed(reason)) => EventKind::OfferFailed { reason },
            };
            tracing::info!(device = %endpoint, ?kind, "an offer did not come to its device");
            let waits = kind == EventKind::OfferWaits;
            if let Err(error) = core.note(campaign, endpoint.clone(), kind).await {
                tracing::error!(%error, "the ledger can't be written");
            }
            if waits {
                // It may have woken before that was written.
                core.look_at([endpoint]);
            }
        });
    }

    /// Puts a manifest to a device; gives why the device drops it, where it says so.
    async fn send_manifest(&self, endpoint: &Endpoint, envelope: &[u8]) -> Result<Option<String>, Unsent> {
        let registration = self.registry.find(endpoint, self.steady());
        let registration =
            registration.ok_or_else(|| Unsent::Failed("the device is not registered".to_owned()))?;
        let path = Path::Resource(table::FIRMWARE_UPDATE.id, 0, firmware_update::PACKAGE);
        let request = Request::new(Method::Put, &registration.speaks.uri_path(path))
            .with_payload(ContentFormat::OCTET_STREAM.0, envelope.to_vec());
        match self.send(&registration, request).await? {
            Code::CHANGED => Ok(self.refusal_of(&registration).await),
            code => Err(Unsent::Failed(format!("the device answered {code:?} to the manifest"))),
        }
    }

    /// Tells a device to start the image that stands verified in its spare slot.
    pub(crate) fn execute(self: &Arc<Self>, endpoint: Endpoint) {
        let core = Arc::clone(self);
        tokio::spawn(async move {
            let Some(registration) = core.registry.find(&endpoint, core.steady()) else {
                return;
            };
            let path = Path::Resource(table::FIRMWARE_UPDATE.id, 0, firmware_update::UPDATE);
            let request = Request::new(Method::Post, &registration.speaks.uri_path(path));
            match core.send(&registration, request).await {
                Ok(Code::CHANGED) => tracing::info!(device = %endpoint, "told to start its new image"),
                // It has started already, or failed meanwhile; its report is on the way and will say.
                Ok(Code::METHOD_NOT_ALLOWED) => {
                    tracing::debug!(device = %endpoint, "has nothing to start");
                    if let Err(error) = core.put_back_what_is_old(&registration).await {
                        tracing::error!(%error, "the ledger can't be written");
                    }
                }
                Ok(answer) => tracing::info!(device = %endpoint, ?answer, "does not take Execute now"),
                // It is told when it is heard of.
                Err(Unsent::Asleep) => {
                    tracing::debug!(device = %endpoint, "sleeps; is told to start its image later");
                }
                Err(Unsent::Failed(reason)) => {
                    tracing::info!(device = %endpoint, %reason, "Execute did not reach it");
                }
            }
        });
    }

    /// A device was heard of: what waited for it goes out.
    pub(crate) async fn contact(self: &Arc<Self>, endpoint: &Endpoint) -> Result<(), StoreError> {
        let campaigns = self.store.campaigns_for(&self.tenant, endpoint).await?;
        self.go_on(endpoint, &campaigns);
        Ok(())
    }

    /// A device registered anew: beside what waited for it, an offer that it has not asked about goes out again, for
    /// the device or this server may have died in the middle of it. One that has the manifest loses nothing.
    pub(crate) async fn welcome(self: &Arc<Self>, endpoint: &Endpoint) -> Result<(), BookError> {
        let campaigns = self.store.campaigns_for(&self.tenant, endpoint).await?;
        self.go_on(endpoint, &campaigns);
        let unanswered = campaigns.iter().filter(|(campaign, track)| {
            campaign.state == CampaignState::Running && track.stage == Stage::Offered
        });
        for (campaign, _) in unanswered {
            // One that it was offered before another one was launched may have come to it after all.
            if self.is_taken(campaign, &campaigns).await? {
                continue;
            }
            if let Some(gateway) = self.gateways.of(endpoint)
                && self.gateways.present(&gateway, self.steady()).is_some()
            {
                // With what the device has told just now, its grant can be made ahead.
                self.send_bundle(campaign.id, gateway);
            } else if let Some(page) = self.book.page(&campaign.manifest).await? {
                self.offer(campaign.id, endpoint.clone(), Arc::new(page.envelope.clone()));
            }
        }
        Ok(())
    }

    fn go_on(self: &Arc<Self>, endpoint: &Endpoint, campaigns: &[(Campaign, Track)]) {
        if campaigns.iter().any(|(one, track)| track.stage == Stage::Decrypted && may_start(one)) {
            self.execute(endpoint.clone());
        }
        self.look_at([endpoint.clone()]);
    }

    /// Tells a gateway that its list of devices changed; one that is away reads it when it comes back.
    pub(crate) fn tell_children_changed(&self, gateway: &Endpoint) {
        let Some(presence) = self.gateways.present(gateway, self.steady()) else {
            return;
        };
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let request = Request::new(Method::Post, "/g/c");
            match presence.shard.request(presence.session, request).await {
                Ok(response) if response.code == Code::CHANGED => {}
                answer => tracing::info!(%gateway, ?answer, "was not told that its list of devices changed"),
            }
        });
    }

    /// Reads why a device dropped the manifest that it was just given: LwM2M tells it in the Update Result alone, and a
    /// device can report nothing about a manifest whose author it does not believe. `None` where it took the manifest, or
    /// does not tell.
    async fn refusal_of(&self, registration: &Registration) -> Option<String> {
        refusal_text(self.update_result(registration).await?)
    }

    async fn update_result(&self, registration: &Registration) -> Option<UpdateResult> {
        let path = Path::Resource(table::FIRMWARE_UPDATE.id, 0, firmware_update::UPDATE_RESULT);
        let mut request = Request::new(Method::Get, &registration.speaks.uri_path(path));
        request.accept = Some(ContentFormat::TEXT.0);
        let response = self.ask(registration, request).await.ok()?;
        let text = (response.code == Code::CONTENT).then_some(response.payload)?;
        let number: i64 = std::str::from_utf8(&text).ok()?.parse().ok()?;
        UpdateResult::try_from(number).ok()
    }

    async fn send(&self, registration: &Registration, request: Request) -> Result<Code, Unsent> {
        let answer = self.ask(registration, request).await;
        answer.map(|response| response.code).map_err(|error| {
            match (&error, std::error::Error::source(&error)) {
                (AskError::Asleep, _) => Unsent::Asleep,
                (_, Some(source)) => Unsent::Failed(format!("{error}: {source}")),
                (_, None) => Unsent::Failed(error.to_string()),
            }
        })
    }

    async fn note(&self, campaign: CampaignId, device: Endpoint, kind: EventKind) -> Result<(), StoreError> {
        let event = Event { at: self.now(), campaign: Some(campaign), device: Some(device), kind };
        self.store.append(&self.tenant, std::slice::from_ref(&event)).await?;
        self.metrics.recorded(&[event]);
        self.wake.notify_one();
        Ok(())
    }
}

/// Whether devices may start the image of a campaign: not once it was ended early. What was about to be started then
/// stays in the spare slot until the next manifest replaces it.
pub(crate) fn may_start(campaign: &Campaign) -> bool {
    matches!(campaign.state, CampaignState::Running | CampaignState::Finished)
}

/// What an Update Result means that a device gave right after a manifest; `None` for one that comes from an update.
pub(crate) fn refusal_text(result: UpdateResult) -> Option<String> {
    let why = match result {
        UpdateResult::NotEnoughFlash => "it does not fit the flash",
        UpdateResult::OutOfRam => "it does not fit the memory",
        UpdateResult::IntegrityFailure => "it was altered, or the device does not believe its author",
        UpdateResult::UnsupportedPackage => "it is not for this device, or of an unknown form",
        UpdateResult::InvalidUri => "it names a server that is not the device's",
        // Others come from an update that was begun, which is reported.
        _ => return None,
    };
    Some(format!("the device refused the manifest: {why} (Update Result {})", i64::from(result)))
}

/// Why something did not come to a device.
enum Unsent {
    /// It sleeps.
    Asleep,
    /// It failed, as people are told.
    Failed(String),
}
