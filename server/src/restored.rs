//! What a restored store says of devices that went on since its backup, corrected by what they tell. Their reports are
//! lost with what was there before, and they make none again.

use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::plan::put_back;
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::{Campaign, CampaignState};
use bellwether_decide::device::Endpoint;
use bellwether_net::coap::{Code, Method, Request};
use bellwether_store::error::StoreError;
use lwm2m_rs::firmware::State;
use lwm2m_rs::table::{FIRMWARE_UPDATE, firmware_update};
use lwm2m_rs::{ContentFormat, Path};
use thiserror::Error;

use crate::book::BookError;
use crate::core::Core;
use crate::registry::Registration;
use crate::resolver::RequestError;

/// Why nothing could be corrected; it is tried again when the device registers again.
#[derive(Debug, Error)]
pub(crate) enum CorrectError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A manifest can't be used.
    #[error(transparent)]
    Book(#[from] BookError),
    /// What the device told can't be put as the answer to a manifest.
    #[error(transparent)]
    Told(#[from] RequestError),
}

impl Core {
    /// Counts a device that has just told what it runs as current in campaigns of the backup that bring just that.
    ///
    /// A device tells what it has confirmed, so one on trial is not taken for updated.
    pub(crate) async fn count_what_it_runs(&self, endpoint: &Endpoint) -> Result<(), CorrectError> {
        for (campaign, track) in self.store.campaigns_ever(&self.tenant, endpoint).await? {
            let is_counted = matches!(track.stage, Stage::Installed | Stage::Current);
            if is_counted || self.is_known_since_the_start(&track) {
                continue;
            }
            let page = match self.book.page(&campaign.manifest).await {
                // The campaign says so itself, and no device is asked by it.
                Err(BookError::Verify(_)) => None,
                page => page?,
            };
            let Some(page) = page else { continue };
            if self.runs(&page, endpoint)? {
                let current = self.event_of(&campaign, endpoint, EventKind::AlreadyCurrent);
                self.correct(&campaign, endpoint, track, &[current]).await?;
            }
        }
        Ok(())
    }

    /// Puts a device that did not take Execute, and works on nothing, back to the start of campaigns of the backup that say
    /// that its image is there. One that has its image may not be free to start it yet: put back, it would wait for
    /// Execute for ever, since it asks for nothing that it has.
    pub(crate) async fn put_back_what_is_old(&self, registration: &Registration) -> Result<(), StoreError> {
        let endpoint = &registration.endpoint;
        for (campaign, track) in self.store.campaigns_for(&self.tenant, endpoint).await? {
            let waits = campaign.state == CampaignState::Running && track.stage == Stage::Decrypted;
            if !waits || self.is_known_since_the_start(&track) {
                continue;
            }
            if !has_nothing_in_hand(self, registration).await {
                return Ok(());
            }
            let back = put_back((campaign.id, endpoint), track.grant, self.now(), RESTORED);
            self.correct(&campaign, endpoint, track, &back).await?;
        }
        Ok(())
    }

    /// Writes down what is so, unless the device was heard of meanwhile.
    async fn correct(
        &self,
        campaign: &Campaign,
        endpoint: &Endpoint,
        track: Track,
        events: &[Event],
    ) -> Result<(), StoreError> {
        let tracks = [(endpoint.clone(), track)].into();
        let appended = self.store.append_for_unmoved(&self.tenant, campaign.id, &tracks, events).await?;
        self.metrics.recorded(&appended);
        self.look_at([endpoint.clone()]);
        Ok(())
    }

    fn event_of(&self, campaign: &Campaign, endpoint: &Endpoint, kind: EventKind) -> Event {
        Event { at: self.now(), campaign: Some(campaign.id), device: Some(endpoint.clone()), kind }
    }
}

/// Reads from a device that it works on no update; `false` also where it does not tell.
async fn has_nothing_in_hand(core: &Core, registration: &Registration) -> bool {
    let path = Path::Resource(FIRMWARE_UPDATE.id, 0, firmware_update::STATE);
    let mut request = Request::new(Method::Get, &registration.speaks.uri_path(path));
    request.accept = Some(ContentFormat::TEXT.0);
    let answer = core.ask(registration, request).await;
    let text = answer.ok().filter(|response| response.code == Code::CONTENT).map(|response| response.payload);
    let number = text.and_then(|text| std::str::from_utf8(&text).ok()?.parse::<i64>().ok());
    number == Some(State::Idle.into())
}

/// Why a device is put back whose image an old backup knows of, and the device does not.
const RESTORED: &str = "it has nothing to start of what it had when the backup was made";
