//! Tags of devices, and devices that are given up.

use std::sync::Arc;

use bellwether_api as api;
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::deed::Deed;
use bellwether_decide::device::Endpoint;
use bellwether_decide::tag::{TAGS_MAX, Tag};
use bellwether_store::device::{EnrolledDevice, GIVEN_UP, Retirement};
use bellwether_store::error::UpdateError;
use bellwether_store::fleet::{TagDevicesError, Tagging};

use super::devices::{endpoint, unknown};
use super::request::{by, command, limit};
use crate::caller;
use crate::core::Core;
use crate::refusal::Refusal;

impl Core {
    /// Changes the tags of devices, of all or none, once per request id.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for a text that is no tag, [`Refusal::not_found`] for a device that nobody enrolled.
    pub async fn tag_devices(&self, asked: &api::TagDevices) -> Result<api::TaggedDevices, Refusal> {
        let by = by(asked.who.as_ref(), asked.why.as_ref())?;
        let devices: Vec<Endpoint> =
            asked.endpoints.iter().map(|name| endpoint(name)).collect::<Result<_, _>>()?;
        if devices.is_empty() || devices.len() > TAGGED_MAX {
            return Err(Refusal::invalid(format!(
                "endpoints: 1 to {TAGGED_MAX} are taken at a time, not {}",
                devices.len()
            )));
        }
        let (added, removed) = (tags("add", &asked.add)?, tags("remove", &asked.remove)?);
        if self.carried_out(TAG, &asked.request_id, asked).await?.is_none() {
            let deed = Deed::DeviceTagged { added: asked.add.clone(), removed: asked.remove.clone() };
            let event = |device: &Endpoint| {
                let kind = EventKind::Done { deed: deed.clone(), by: by.clone() };
                Event { at: self.now(), campaign: None, device: Some(device.clone()), kind }
            };
            let events: Vec<Event> = devices.iter().map(event).collect();
            let command = command(self.now(), TAG, &asked.request_id, asked, &"done")?;
            let (added, removed) = (&added[..], &removed[..]);
            let tagging = Tagging { devices: &devices, added, removed, events: &events, command: &command };
            match self.store.tag_devices(&self.tenant, tagging).await {
                Ok(()) => self.metrics.recorded(&events),
                Err(TagDevicesError::Update(UpdateError::CommandKept)) => {}
                Err(error) => return Err(untagged(error)),
            }
        }
        self.tagged(devices).await
    }

    async fn tagged(&self, devices: Vec<Endpoint>) -> Result<api::TaggedDevices, Refusal> {
        let tags = self.store.tags_of(&self.tenant, &devices).await.map_err(Refusal::internal)?;
        let shown = |endpoint: Endpoint| api::DeviceTags {
            tags: tags.get(&endpoint).into_iter().flatten().map(Tag::to_string).collect(),
            endpoint: endpoint.to_string(),
        };
        Ok(api::TaggedDevices { devices: devices.into_iter().map(shown).collect() })
    }

    /// Lists a page of tags by name, with how many devices have each.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for a page that can't be.
    pub async fn tag_page(&self, asked: &api::ListTags) -> Result<api::TagPage, Refusal> {
        let limit = limit(asked.limit)?;
        let after = asked.after.as_deref().map(|text| tag("after", text)).transpose()?;
        let rows = self.store.tags(&self.tenant, after.as_ref(), limit).await.map_err(Refusal::internal)?;
        let is_full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| is_full).map(|last| last.tag.to_string());
        let shown = |row: &bellwether_store::fleet::TagCount| api::TagCount {
            tag: row.tag.to_string(),
            devices: row.devices,
        };
        Ok(api::TagPage { tags: rows.iter().map(shown).collect(), next })
    }

    /// Lists devices by name, of one tag or all.
    pub(super) async fn device_rows(
        &self,
        tag: Option<&Tag>,
        after: Option<&Endpoint>,
        rows_max: u32,
    ) -> Result<Vec<EnrolledDevice>, Refusal> {
        let rows = match tag {
            Some(tag) => self.store.devices_tagged(&self.tenant, tag, after, rows_max).await,
            None => self.store.devices(&self.tenant, after, rows_max).await,
        };
        rows.map_err(Refusal::internal)
    }

    /// Gives a device up, once per request id: destroys its keys, ends its sessions and its part in campaigns.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`], [`Refusal::conflict`] where it was given up before.
    pub async fn decommission(
        self: &Arc<Self>,
        asked: &api::DecommissionDevice,
    ) -> Result<api::Device, Refusal> {
        let (core, asked) = (Arc::clone(self), asked.clone());
        let work = async move { core.give_up(&asked).await };
        caller::to_the_end(work).await.map_err(Refusal::internal)?
    }

    async fn give_up(&self, asked: &api::DecommissionDevice) -> Result<api::Device, Refusal> {
        let by = by(asked.who.as_ref(), Some(&asked.why))?;
        let id = endpoint(&asked.endpoint)?;
        if self.carried_out(DECOMMISSION, &asked.request_id, asked).await?.is_none() {
            let enrolled = self.store.device(&self.tenant, &id).await.map_err(Refusal::internal)?;
            let enrolled = enrolled.ok_or_else(|| unknown(&asked.endpoint))?;
            if enrolled.retired_at.is_some() {
                self.shut_out(&id).await?;
                return Err(Refusal::conflict(format!("{id} was decommissioned before")));
            }
            let mut events = self.ended_tracks(&id).await?;
            let kind = EventKind::Done { deed: Deed::DeviceDecommissioned, by };
            events.insert(0, Event { at: self.now(), campaign: None, device: Some(id.clone()), kind });
            let command = command(self.now(), DECOMMISSION, &asked.request_id, asked, &"done")?;
            let retirement = Retirement { at: self.now(), events: &events, command: &command };
            match self.store.retire_device(&self.tenant, &id, retirement).await {
                Ok(()) => self.metrics.recorded(&events),
                Err(UpdateError::CommandKept | UpdateError::Missing) => {}
                Err(error) => return Err(Refusal::internal(error)),
            }
            tracing::info!(device = %id, why = asked.why, "decommissioned");
        }
        // Whenever it is asked for: whoever asked first may have gone away, and its call with it, before this was done.
        self.shut_out(&id).await?;
        self.device(&asked.endpoint).await
    }

    /// What the campaigns of a device are told that will not ask any more.
    async fn ended_tracks(&self, id: &Endpoint) -> Result<Vec<Event>, Refusal> {
        let tracked = self.store.campaigns_ever(&self.tenant, id).await.map_err(Refusal::internal)?;
        let waiting = tracked.into_iter().filter(|(_, track)| !track.is_ended());
        let refused = |campaign| Event {
            at: self.now(),
            campaign: Some(campaign),
            device: Some(id.clone()),
            kind: EventKind::Refused { reason: GIVEN_UP.to_owned() },
        };
        Ok(waiting.map(|(campaign, _)| refused(campaign.id)).collect())
    }

    /// Ends everything that a device has here: its key in memory, sessions, registration, place in its gateway's list.
    pub(super) async fn shut_out(&self, id: &Endpoint) -> Result<(), Refusal> {
        let device = self.store.device(&self.tenant, id).await.map_err(Refusal::internal)?;
        let last = device.map_or(1, |device| device.credential);
        // The one that waits is gone with the others, and may be in use since.
        for number in [1, last, last + 1] {
            self.end_credential(id, number);
        }
        self.registry.forget(id);
        self.forget_sessions_of(id.as_str()).await.map_err(Refusal::internal)?;
        if let Some(gateway) = self.gateways.detach(id) {
            self.tell_children_changed(&gateway);
        }
        self.wake.notify_one();
        Ok(())
    }
}

pub(super) fn tag(field: &str, text: &str) -> Result<Tag, Refusal> {
    Tag::try_from(text).map_err(|error| Refusal::invalid(format!("{field}: {error}")))
}

fn tags(field: &str, texts: &[String]) -> Result<Vec<Tag>, Refusal> {
    if texts.len() > TAGS_MAX {
        return Err(Refusal::invalid(format!(
            "{field}: at most {TAGS_MAX} tags are taken, not {}",
            texts.len()
        )));
    }
    texts.iter().map(|text| tag(field, text)).collect()
}

fn untagged(error: TagDevicesError) -> Refusal {
    match error {
        TagDevicesError::Missing(name) => unknown(name.as_str()),
        TagDevicesError::TooMany(name) => {
            Refusal::conflict(format!("{name} would have more than {TAGS_MAX} tags; take some off it first"))
        }
        other => Refusal::internal(other),
    }
}

/// Names of the commands.
const TAG: &str = "tag";
const DECOMMISSION: &str = "decommission";

/// Devices of one change: with names of 64 bytes half of what a command may have.
const TAGGED_MAX: usize = 500;
