//! Hands the ledger to the broker: in its order, from where the last acknowledgement stood.
//!
//! The number of the last event moves on only after the broker has acknowledged everything up to it, so nothing is lost
//! by a broker or a server that dies; what was under way then is sent again, under the same event id.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bellwether_api as api;
use bellwether_decide::campaign::{Campaign, CampaignId};
use bellwether_store::error::StoreError;
use bellwether_store::ledger::{Recorded, Scope};
use serde::Serialize;
use thiserror::Error;

use super::messages::messages;
use super::registrations::Registrations;
use super::topics::Topics;
use crate::core::Core;
use crate::ingress::mqtt::{BackOff, Broker, Closed, Heard, Link, Opening};
use crate::refusal::Refusal;

/// Publishes until the server ends; a broker that is away is tried again.
pub async fn run(core: Arc<Core>, broker: Arc<Broker>) {
    let mut back_off = BackOff::default();
    let mut registrations = Registrations::of(&core);
    loop {
        let mut session = Session::open(&core, &broker, &mut registrations);
        let Err(ended) = session.run(&mut back_off).await;
        let why = match ended {
            Ended::Closed => session.why_closed().await,
            Ended::Lost(why) => why,
            other => {
                tracing::error!(error = &other as &dyn std::error::Error, "events wait");
                "the store failed".to_owned()
            }
        };
        broker.outage.began(&broker.at.to_string(), &why);
        drop(session);
        registrations.take_back();
        registrations.wait(&core, back_off.next()).await;
    }
}

/// Why publishing over one connection ended.
#[derive(Debug, Error)]
enum Ended {
    #[error("the connection is closed")]
    Closed,
    #[error("{0}")]
    Lost(String),
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("a campaign can't be told")]
    Told(#[from] Refusal),
}

impl From<Closed> for Ended {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// Nothing ends a session but an error.
enum Never {}

/// One connection's life.
struct Session<'a> {
    core: &'a Core,
    broker: &'a Broker,
    topics: Topics,
    link: Link,
    registrations: &'a mut Registrations,
    /// Campaigns whose progress is to be told, and the event up to which it counts.
    stale: BTreeSet<CampaignId>,
    /// Second in which progress was told last.
    progress_told_at: u64,
    as_of: u64,
}

impl<'a> Session<'a> {
    fn open(core: &'a Core, broker: &'a Broker, registrations: &'a mut Registrations) -> Self {
        let topics = Topics::new(&core.tenant);
        let opening = Opening {
            client_id: format!("{}-events", core.mqtt_name()),
            keeps_session: false,
            will: Some((topics.server_status(), json(&api::ServerStatus { online: false }))),
        };
        let link = Link::open(&broker.at, &opening);
        Self {
            core,
            broker,
            topics,
            link,
            registrations,
            stale: BTreeSet::new(),
            progress_told_at: 0,
            as_of: 0,
        }
    }

    async fn run(&mut self, back_off: &mut BackOff) -> Result<Never, Ended> {
        match self.link.hear().await {
            Heard::Lost(why) => return Err(Ended::Lost(why)),
            _ => self.broker.outage.ended(&self.broker.at.to_string()),
        }
        let mut hears_commands = self.broker.hears_commands();
        self.as_of = self.core.store.published(&self.core.tenant).await?;
        // A broker may have lost what it retained, and this server the progress that it was about to tell.
        self.stale = self.latest_campaigns().await?;
        let mut pause = tokio::time::interval(LOOK_EVERY);
        hears_commands.mark_changed();
        loop {
            if hears_commands.has_changed().unwrap_or_default() {
                let online = *hears_commands.borrow_and_update();
                self.publish_status(online).await?;
            }
            let is_drained = self.publish_page().await?;
            *back_off = BackOff::default();
            self.publish_registrations().await?;
            if !is_drained {
                continue;
            }
            self.publish_progress(false).await?;
            tokio::select! {
                _ = pause.tick() => {}
                Ok(()) = hears_commands.changed() => hears_commands.mark_changed(),
                heard = self.link.hear() => {
                    if let Heard::Lost(why) = heard {
                        return Err(Ended::Lost(why));
                    }
                }
            }
        }
    }

    /// Tells whether the server is there: who reads it may publish a command and will be answered.
    async fn publish_status(&mut self, online: bool) -> Result<(), Closed> {
        self.link.publish(&self.topics.server_status(), json(&api::ServerStatus { online }), true).await
    }

    /// Publishes the next page of the ledger; tells whether there was no more.
    async fn publish_page(&mut self) -> Result<bool, Ended> {
        let (store, tenant) = (&self.core.store, &self.core.tenant);
        let page = store.events(tenant, Scope::All, self.as_of, PAGE_EVENTS).await?;
        let Some(last) = page.last() else { return Ok(true) };
        let (until, count) = (last.seq, page.len());
        for recorded in &page {
            for message in messages(&self.topics, recorded) {
                self.link.publish(&message.topic, message.payload, false).await?;
            }
        }
        self.stale.extend(page.iter().filter_map(|recorded| recorded.event.campaign));
        self.as_of = until;
        // What a person waits for, such as the end of a campaign, is told at once; and it is not lost with this
        // session, since the ledger is handed on only after it.
        self.publish_progress(page.iter().any(concerns_a_whole)).await?;
        self.link.all_acknowledged().await?;
        store.set_published(tenant, until).await?;
        Ok(count < PAGE_EVENTS as usize)
    }

    /// Tells the progress of campaigns in which something happened: now, or at most once a second.
    async fn publish_progress(&mut self, is_due: bool) -> Result<(), Ended> {
        let now = self.core.now();
        if !is_due && now == self.progress_told_at {
            return Ok(());
        }
        self.progress_told_at = now;
        for id in std::mem::take(&mut self.stale) {
            let Some(campaign) = self.core.campaign_in_short(id).await? else { continue };
            let progress = api::Progress { as_of: self.as_of, campaign };
            self.link.publish(&self.topics.progress(id), json(&progress), true).await?;
        }
        Ok(())
    }

    /// Tells who came and who went. The page of the ledger behind it, at the latest, waits until it is acknowledged.
    async fn publish_registrations(&mut self) -> Result<(), Ended> {
        self.registrations.take_in(self.core.now());
        while let Some(registration) = self.registrations.next() {
            let topic = self.topics.device_registration(&registration.0);
            self.link.publish(&topic, json(&registration.1), false).await?;
        }
        if self.registrations.are_under_way() {
            self.link.all_acknowledged().await?;
            self.registrations.were_told();
        }
        Ok(())
    }

    /// The campaigns that go on, and the newest of the others.
    async fn latest_campaigns(&self) -> Result<BTreeSet<CampaignId>, Ended> {
        let mut all: Vec<Campaign> = Vec::new();
        loop {
            let after = all.last().map(|campaign| campaign.id);
            let page = self.core.store.campaigns(&self.core.tenant, None, after, CAMPAIGNS_PAGE).await?;
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        let newest = all.len().saturating_sub(RETOLD_MAX);
        let retold = all.iter().enumerate().filter(|(at, one)| *at >= newest || one.state.is_live());
        Ok(retold.map(|(_, campaign)| campaign.id).collect())
    }

    /// The reason stands behind what was heard before the connection closed.
    async fn why_closed(&mut self) -> String {
        loop {
            if let Heard::Lost(why) = self.link.hear().await {
                return why;
            }
        }
    }
}

fn concerns_a_whole(recorded: &Recorded) -> bool {
    recorded.event.campaign.is_some() && recorded.event.device.is_none()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Our wire types have text keys and finite numbers alone, so each has a JSON form.
    serde_json::to_vec(value).unwrap_or_default()
}

/// The ledger is looked at this often: an event is on its way within a tenth of a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Events between two acknowledged positions: one write of the position for so many.
const PAGE_EVENTS: u32 = 500;

/// Campaigns read at a time.
const CAMPAIGNS_PAGE: u32 = 1_000;

/// Campaigns that are over and whose progress is told again with every new connection.
const RETOLD_MAX: usize = 100;
