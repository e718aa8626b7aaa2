//! Orders to a campaign: pause, resume, cancel, retry what failed.

use std::sync::Arc;

use bellwether_api as api;
use bellwether_decide::campaign::event::Event;
use bellwether_decide::campaign::order::{Order, OrderError};
use bellwether_decide::campaign::progress::Progress;
use bellwether_decide::campaign::stage::Stage;
use bellwether_decide::campaign::{Campaign, CampaignState};
use bellwether_store::campaign::{Launched, MoveError, Ordered};

use super::campaigns::{campaign_id, changed, missing};
use super::request::{by, command, other_body};
use crate::core::Core;
use crate::refusal::Refusal;

impl Core {
    /// Carries an order out, once per request id; the same request again gets the same reply.
    ///
    /// # Errors
    ///
    /// [`Refusal::conflict`] where the campaign's state forbids it, or the request id was used with another body.
    pub async fn order(
        self: &Arc<Self>,
        order: Order,
        asked: &api::OrderCampaign,
    ) -> Result<api::Campaign, Refusal> {
        if let Some(reply) = self.answered(order.name(), &asked.request_id, asked).await? {
            return Ok(reply);
        }
        let by = by(asked.who.as_ref(), asked.why.as_ref())?;
        let id = campaign_id(&asked.campaign)?;
        for _ in 0..CONFLICTS_MAX {
            let campaign = self.store.campaign(&self.tenant, id).await.map_err(Refusal::internal)?;
            let campaign = campaign.ok_or_else(|| missing(id))?;
            let progress = self.progress(id).await?;
            let events = order.decide(&progress, by.clone(), self.now()).map_err(not_done)?;
            if matches!(order, Order::Resume | Order::RetryFailed) {
                self.refuse_to_go_on(&campaign.manifest, &progress).await?;
            }
            if let Some(reply) = self.ordered(order, asked, &campaign, progress, &events).await? {
                return Ok(reply);
            }
        }
        Err(Refusal::conflict(format!("campaign {} changes while it is ordered about; try again", id.0)))
    }

    /// Writes an order down; `None` where the campaign moved meanwhile.
    async fn ordered(
        self: &Arc<Self>,
        order: Order,
        asked: &api::OrderCampaign,
        campaign: &Campaign,
        mut progress: Progress,
        events: &[Event],
    ) -> Result<Option<api::Campaign>, Refusal> {
        let expected = progress.state;
        for event in events {
            progress.apply(event);
        }
        let reply = changed(campaign, &progress);
        let command = command(self.now(), order.name(), &asked.request_id, asked, &reply)?;
        let written = Ordered { campaign: campaign.id, expected, events, command: &command };
        match self.store.order(&self.tenant, written).await {
            Ok(Launched::New { .. }) => {
                tracing::info!(campaign = campaign.id.0, order = order.name(), who = asked.who, "ordered");
                self.follow_up(&progress);
                Ok(Some(reply))
            }
            Ok(Launched::Repeated { reply }) => self.repeated(&reply).await.map(Some),
            Ok(Launched::OtherBody) => Err(other_body(&asked.request_id)),
            Err(MoveError::Conflict { .. }) => Ok(None),
            Err(MoveError::Missing) => Err(missing(campaign.id)),
            Err(error) => Err(Refusal::internal(error)),
        }
    }

    /// What an order lets go on: images that stood ready while nothing was started are started.
    fn follow_up(self: &Arc<Self>, progress: &Progress) {
        self.wake.notify_one();
        if progress.state != CampaignState::Running {
            return;
        }
        let ready = progress.tracks.iter().filter(|(_, track)| track.stage == Stage::Decrypted);
        for (endpoint, _) in ready {
            if self.registry.find(endpoint, self.steady()).is_some() {
                self.execute(endpoint.clone());
            }
        }
    }
}

fn not_done(error: OrderError) -> Refusal {
    Refusal::conflict(error.to_string())
}

/// Times that an order is decided again because the campaign moved: it can halt, finish and be ordered about by others.
const CONFLICTS_MAX: usize = 8;
