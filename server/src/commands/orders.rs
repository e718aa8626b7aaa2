//! Orders to a campaign: pause, resume, cancel, retry what failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwether_api as api;
use bellwether_decide::campaign::event::Event;
use bellwether_decide::campaign::order::{Order, OrderError};
use bellwether_decide::campaign::progress::Progress;
use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::standing::Standing;
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
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
            let standing = self.standing(id).await?;
            let tracks = match order {
                Order::RetryFailed => self.all_in(id, &[Stage::Failed, Stage::Refused]).await?,
                Order::Pause | Order::Resume | Order::Cancel => BTreeMap::new(),
            };
            let progress = Progress { campaign: id, state: standing.state, tracks };
            let events = order.decide(&progress, by.clone(), self.now()).map_err(not_done)?;
            if matches!(order, Order::Resume | Order::RetryFailed) {
                self.refuse_to_go_on(&campaign.manifest, &standing).await?;
            }
            if let Some(reply) = self.ordered(order, asked, &campaign, (standing, progress), &events).await? {
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
        (mut standing, before): (Standing, Progress),
        events: &[Event],
    ) -> Result<Option<api::Campaign>, Refusal> {
        let expected = standing.state;
        let mut after = before.clone();
        for event in events {
            after.apply(event);
        }
        standing.move_on(&before, &after);
        let reply = changed(campaign, &standing);
        let command = command(self.now(), order.name(), &asked.request_id, asked, &reply)?;
        let written = Ordered { campaign: campaign.id, expected, events, command: &command };
        match self.store.order(&self.tenant, written).await {
            Ok(Launched::New { .. }) => {
                tracing::info!(campaign = campaign.id.0, order = order.name(), who = asked.who, "ordered");
                self.follow_up(&standing).await?;
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
    async fn follow_up(self: &Arc<Self>, standing: &Standing) -> Result<(), Refusal> {
        self.look_at_all();
        if standing.state != CampaignState::Running {
            return Ok(());
        }
        for endpoint in self.all_in(standing.campaign, &[Stage::Decrypted]).await?.into_keys() {
            if self.registry.find(&endpoint, self.steady()).is_some() {
                self.execute(endpoint);
            }
        }
        Ok(())
    }

    /// Reads all devices of a campaign that are in these stages.
    async fn all_in(&self, id: CampaignId, stages: &[Stage]) -> Result<BTreeMap<Endpoint, Track>, Refusal> {
        let (mut all, mut after): (BTreeMap<_, _>, Option<Endpoint>) = (BTreeMap::new(), None);
        loop {
            let page = self.store.tracks_in(&self.tenant, id, stages, after.as_ref(), u32::MAX).await;
            let page = page.map_err(Refusal::internal)?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.clone());
            all.extend(page);
        }
    }
}

fn not_done(error: OrderError) -> Refusal {
    Refusal::conflict(error.to_string())
}

/// Times that an order is decided again because the campaign moved: it can halt, finish and be ordered about by others.
const CONFLICTS_MAX: usize = 8;
