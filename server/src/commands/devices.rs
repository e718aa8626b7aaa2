//! Devices: enrolment, lists, the story of one.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bellwether_api::{AddDevice, Device, DevicePage, Explanation, ListDevices, NewDevice, Security};
use bellwether_decide::campaign::Campaign;
use bellwether_decide::campaign::event::{Delivery, EventKind};
use bellwether_decide::campaign::stage::Track;
use bellwether_decide::deed::Deed;
use bellwether_decide::device::{self, Endpoint};
use bellwether_decide::explain::{self, Known, Seen};
use bellwether_decide::identity::IdentityState;
use bellwether_keys::chain::ChainLength;
use bellwether_keys::seed::Seed;
use bellwether_keys::unit::{self, UnitData};
use bellwether_manifests::message::List;
use bellwether_store::Digest;
use bellwether_store::device::{self as rows, EnrolledDevice, NewIdentity};
use bellwether_store::error::{AddError, StoreError};
use bellwether_store::fleet::Tags;
use bellwether_store::gateway::{Gateway, GatewayLink};
use bellwether_store::ledger::{Recorded, Scope};
use bellwether_store::operators::Contact;

use super::fleet;
use super::gateways::name_of;
use super::releases::named;
use super::request::limit;
use crate::caller;
use crate::core::Core;
use crate::refusal::Refusal;
use crate::vault::{LINK_KEY, NewLink, NewSecrets};
use crate::view::told;

impl Core {
    /// Enrols a device; its unit data is in the answer and never shown again.
    ///
    /// # Errors
    ///
    /// [`Refusal::conflict`] where the name is taken, [`Refusal::not_found`] without anchors.
    pub async fn add_device(self: &Arc<Self>, asked: &AddDevice) -> Result<NewDevice, Refusal> {
        let (core, asked) = (Arc::clone(self), asked.clone());
        let work = async move { core.enrol(&asked).await };
        caller::to_the_end(work).await.map_err(Refusal::internal)?
    }

    async fn enrol(&self, asked: &AddDevice) -> Result<NewDevice, Refusal> {
        let endpoint = endpoint(&asked.endpoint)?;
        named("class", &asked.class)?;
        if asked.security == Security::None && self.config.coap.is_none() {
            let text =
                "plain UDP is off here: start the server with --coap ADDRESS, or enrol the device with a key";
            return Err(Refusal::invalid(text));
        }
        let gateway = self.wanted_gateway(asked).await?;
        let anchors = self.anchors_document().await?;
        let class = self.class(&asked.class).await?;
        let (length, now) = (chain_length(asked.chain_length)?, self.now());
        let secrets = self.vault.new_secrets(endpoint.as_str(), length).map_err(Refusal::internal)?;
        let enrolled = EnrolledDevice {
            device: device::Device {
                endpoint: endpoint.clone(),
                class: asked.class.clone(),
                enabled: true,
                added_at: now,
            },
            vendor: hex::encode(class.vendor),
            security: row_security(asked.security, &secrets),
            link: gateway
                .as_ref()
                .map(|(row, link)| GatewayLink { gateway: row.name.clone(), psk: link.sealed.clone() }),
            credential: 1,
            next_credential: None,
            retired_at: None,
        };
        let identity = NewIdentity {
            id: endpoint.clone(),
            chain_length: length.get(),
            seed: secrets.sealed_seed.clone(),
            links: secrets.sealed_links.clone(),
            state: IdentityState::new(0),
        };
        // Made before the device is enrolled: a seed that can't be handed out must not take the name.
        let parts = UnitParts {
            endpoint: &endpoint,
            chain_length: length,
            seed: &secrets.seed,
            psk: &secrets.psk,
            gateway: gateway.as_ref().map(|(row, link)| (row.uri.as_str(), &*link.psk)),
        };
        let unit = self.unit(&parts, &anchors)?;
        match self.store.add_device(&self.tenant, &enrolled, &identity).await {
            Ok(()) => {}
            Err(AddError::Exists) => {
                return Err(Refusal::conflict(format!(
                    "a device or a gateway named {endpoint} is enrolled already; its unit data is not shown again"
                )));
            }
            Err(error) => return Err(Refusal::internal(error)),
        }
        let gateway = enrolled.link.as_ref().map(|link| link.gateway.to_string());
        self.done(Some(&endpoint), Deed::DeviceEnrolled { class: asked.class.clone(), gateway }).await;
        if let Some(link) = &enrolled.link {
            self.gateways.attach(&link.gateway, endpoint.clone());
            self.tell_children_changed(&link.gateway);
        }
        Ok(NewDevice { device: self.describe(&enrolled, &Tags::new()).await?, unit })
    }

    /// The gateway that a new device shall be listed by, with the key of their link.
    async fn wanted_gateway(&self, asked: &AddDevice) -> Result<Option<(Gateway, NewLink)>, Refusal> {
        let Some(name) = &asked.gateway else {
            return Ok(None);
        };
        if asked.security == Security::None {
            let text = "a device without a key can't have a gateway: their link is DTLS";
            return Err(Refusal::invalid(text));
        }
        let gateway = self.gateway_for(name).await?;
        let link = self.vault.new_link(LINK_KEY, &asked.endpoint).map_err(Refusal::internal)?;
        Ok(Some((gateway, link)))
    }

    /// Writes a unit file in hexadecimal.
    pub(super) fn unit(&self, parts: &UnitParts<'_>, anchors: &[u8]) -> Result<String, Refusal> {
        let servers = [self.public_uri.as_str()];
        let identity = parts.endpoint.as_str();
        let gateways: Vec<_> =
            parts.gateway.map(|(uri, psk)| unit::GatewayLink { uri, identity, psk }).into_iter().collect();
        let unit = UnitData {
            id: identity,
            epoch: 0,
            chain_length: parts.chain_length,
            seed: parts.seed.clone(),
            anchors,
            dtls_identity: identity,
            dtls_psk: parts.psk,
            servers: List::new(&servers),
            gateways: List::new(&gateways),
        };
        let bytes = unit.encode().map_err(Refusal::internal)?;
        Ok(hex::encode(&*bytes))
    }

    /// Lists devices by name, of one tag or all.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for a text that is no tag.
    pub async fn devices(&self, tag: Option<&str>) -> Result<Vec<Device>, Refusal> {
        let tag = tag.map(|text| fleet::tag("tag", text)).transpose()?;
        let mut devices: Vec<Device> = Vec::new();
        let mut after: Option<Endpoint> = None;
        while devices.len() < DEVICES_MAX {
            let page = self.device_rows(tag.as_ref(), after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.device.endpoint.clone());
            devices.extend(self.describe_all(&page).await?);
        }
        Ok(devices)
    }

    /// Lists a page of devices by name.
    ///
    /// # Errors
    ///
    /// [`Refusal::invalid`] for a page that can't be.
    pub async fn device_page(&self, asked: &ListDevices) -> Result<DevicePage, Refusal> {
        let limit = limit(asked.limit)?;
        let after = asked.after.as_deref().map(endpoint).transpose()?;
        let tag = asked.tag.as_deref().map(|text| fleet::tag("tag", text)).transpose()?;
        let rows = self.device_rows(tag.as_ref(), after.as_ref(), limit).await?;
        let is_full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| is_full).map(|last| last.device.endpoint.to_string());
        Ok(DevicePage { devices: self.describe_all(&rows).await?, next })
    }

    /// Shows one device.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub async fn device(&self, name: &str) -> Result<Device, Refusal> {
        let endpoint = endpoint(name)?;
        let enrolled = self.store.device(&self.tenant, &endpoint).await.map_err(Refusal::internal)?;
        let described = self.describe_all(&[enrolled.ok_or_else(|| unknown(name))?]).await?;
        described.into_iter().next().ok_or_else(|| unknown(name))
    }

    pub(super) async fn describe_all(&self, rows: &[EnrolledDevice]) -> Result<Vec<Device>, Refusal> {
        let names: Vec<Endpoint> = rows.iter().map(|row| row.device.endpoint.clone()).collect();
        let tags = self.store.tags_of(&self.tenant, &names).await.map_err(Refusal::internal)?;
        let mut devices = Vec::with_capacity(rows.len());
        for enrolled in rows {
            devices.push(self.describe(enrolled, &tags).await?);
        }
        Ok(devices)
    }

    async fn describe(&self, enrolled: &EnrolledDevice, tags: &Tags) -> Result<Device, Refusal> {
        let endpoint = &enrolled.device.endpoint;
        let identity = self.store.identity(&self.tenant, endpoint).await.map_err(Refusal::internal)?;
        let state = identity.map(|identity| identity.state);
        let place = state.as_ref().map(|state| state.place).unwrap_or_default();
        let blocked = state.as_ref().filter(|state| state.is_blocked(self.now()));
        let blocked = blocked.and_then(|state| state.blocked_until);
        let heard = self.last_contact(endpoint).await.map_err(Refusal::internal)?;
        let runs = self.running(endpoint, state.as_ref()).await.map_err(Refusal::internal)?;
        let version = match runs {
            Some(digest) => self.version_of(&digest).await.map_err(Refusal::internal)?,
            None => None,
        };
        Ok(Device {
            endpoint: endpoint.to_string(),
            class: enrolled.device.class.clone(),
            security: security_of(enrolled),
            gateway: name_of(enrolled.link.as_ref()),
            created: enrolled.device.added_at,
            epoch: place.epoch,
            index: place.index,
            registered: self.registry.find(endpoint, self.steady()).map(|found| found.address.to_string()),
            told: self.registry.stable_answers(endpoint, self.steady()).is_some(),
            runs: runs.map(hex::encode),
            version,
            tags: tags.get(endpoint).into_iter().flatten().map(ToString::to_string).collect(),
            decommissioned: enrolled.retired_at,
            credential: enrolled.credential,
            credential_waits: enrolled.next_credential.is_some(),
            heard: heard.map(|contact| contact.heard_at),
            blocked_until: blocked,
        })
    }

    /// What a device runs, by its newest confirmed update; before that, by the base that it last asked from.
    async fn running(
        &self,
        endpoint: &Endpoint,
        state: Option<&IdentityState>,
    ) -> Result<Option<Digest>, StoreError> {
        let confirmed = state.into_iter().flat_map(|state| state.confirmed.values().rev());
        let installed: Vec<Digest> = confirmed
            .flat_map(|confirmed| &confirmed.installed)
            .map(|(_, digest)| *digest)
            .take(CONFIRMED_LOOKED_AT_MAX)
            .collect();
        if let Some(newest) = installed.first() {
            return Ok(Some(self.newest_application(&installed).await?.unwrap_or(*newest)));
        }
        let events = self.store.latest_events(&self.tenant, Scope::Device(endpoint), PAGE).await?;
        let base = events.iter().rev().find_map(|recorded| match recorded.event.kind {
            EventKind::Resolved { delivery: Delivery::Delta { base, .. }, .. } => Some(base),
            _ => None,
        });
        Ok(base)
    }

    /// The first of these images that is an application: a device with several components is known by that.
    async fn newest_application(&self, installed: &[Digest]) -> Result<Option<Digest>, StoreError> {
        let releases = self.store.releases_with(&self.tenant, installed).await?;
        let is_application = |digest: &&Digest| {
            let mut held = releases.iter().map(|one| &one.release).filter(|one| one.digest == **digest);
            held.any(|release| release.component == [b"app".to_vec()])
        };
        Ok(installed.iter().find(is_application).copied())
    }

    /// The version under which an image is catalogued.
    pub(crate) async fn version_of(&self, digest: &Digest) -> Result<Option<String>, StoreError> {
        let releases = self.store.releases_with(&self.tenant, &[*digest]).await?;
        Ok(releases.into_iter().next().map(|one| one.release.version))
    }

    /// Tells the story of a device.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub async fn explain(&self, name: &str) -> Result<Explanation, Refusal> {
        let endpoint = endpoint(name)?;
        let enrolled = self.store.device(&self.tenant, &endpoint).await.map_err(Refusal::internal)?;
        let enrolled = enrolled.ok_or_else(|| unknown(name))?;
        let identity = self.store.identity(&self.tenant, &endpoint).await.map_err(Refusal::internal)?;
        let tracked = self.store.campaigns_for(&self.tenant, &endpoint).await.map_err(Refusal::internal)?;
        let campaigns: Vec<_> =
            tracked.into_iter().map(|(campaign, track)| (campaign, Some(track))).collect();
        let recorded = self.story_of(&endpoint, &campaigns).await.map_err(Refusal::internal)?;
        let events: Vec<_> = recorded.iter().map(|one| one.event.clone()).collect();
        let (now, steady) = (self.now(), self.steady());
        let heard = self.last_contact(&endpoint).await.map_err(Refusal::internal)?;
        let registered = self.registry.find(&endpoint, steady).map(|found| found.address.to_string());
        let gateway = enrolled.link.as_ref().map(|link| link.gateway.clone());
        let is_here =
            gateway.as_ref().is_some_and(|gateway| self.gateways.present(gateway, steady).is_some());
        let seen = Seen {
            registered: registered.as_deref(),
            heard: heard.as_ref().map(|one| (now.saturating_sub(one.heard_at), one.address.as_str())),
            gateway: gateway.as_ref().map(|gateway| (gateway.as_str(), is_here)),
        };
        let known = Known {
            endpoint: &endpoint,
            device: Some(&enrolled.device),
            state: identity.as_ref().map(|identity| &identity.state),
            seen,
            campaigns: &campaigns,
            events: &events,
        };
        let mut story = explain::explain(&known, now);
        let cut = self.cut_since(enrolled.device.added_at).await.map_err(Refusal::internal)?;
        story.standing.extend(cut);
        let happened = story.happened.iter().map(|one| format!("{}  {}", time(one.at), one.text));
        let lines = story.standing.iter().chain(&story.advice).cloned().chain(happened).collect();
        let events = recorded.iter().map(told).collect();
        Ok(Explanation {
            endpoint: name.to_owned(),
            lines,
            standing: story.standing,
            advice: story.advice,
            events,
        })
    }

    /// The latest events of a device, and those of its campaigns as a whole, in the order of the ledger.
    async fn story_of(
        &self,
        endpoint: &Endpoint,
        campaigns: &[(Campaign, Option<Track>)],
    ) -> Result<Vec<Recorded>, StoreError> {
        let mut story = self.store.latest_events(&self.tenant, Scope::Device(endpoint), PAGE).await?;
        for (campaign, _) in campaigns {
            story.extend(self.store.latest_events(&self.tenant, Scope::Whole(campaign.id), PAGE).await?);
        }
        story.sort_by_key(|one| one.seq);
        let surplus = story.len().saturating_sub(PAGE as usize);
        story.drain(..surplus);
        Ok(story)
    }

    /// When a device was heard last: what memory has, else what is kept.
    async fn last_contact(&self, endpoint: &Endpoint) -> Result<Option<Contact>, StoreError> {
        match self.registry.last_heard(endpoint) {
            Some(heard) => Ok(Some(heard)),
            None => self.store.contact(&self.tenant, endpoint).await,
        }
    }
}

/// What makes a device an individual.
pub(super) struct UnitParts<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) chain_length: ChainLength,
    pub(super) seed: &'a Seed,
    pub(super) psk: &'a [u8; 32],
    /// Where its gateway is, and the key of their link.
    pub(super) gateway: Option<(&'a str, &'a [u8; 32])>,
}

pub(super) fn security_of(enrolled: &EnrolledDevice) -> Security {
    match enrolled.security {
        rows::Security::Psk { .. } => Security::Psk,
        rows::Security::None => Security::None,
    }
}

pub(super) fn chain_length(asked: Option<u16>) -> Result<ChainLength, Refusal> {
    let Some(length) = asked else { return Ok(ChainLength::DEFAULT) };
    ChainLength::try_from(u64::from(length))
        .map_err(|error| Refusal::invalid(format!("chain_length: {error}")))
}

pub(super) fn row_security(security: Security, secrets: &NewSecrets) -> rows::Security {
    match security {
        Security::Psk => rows::Security::Psk { credential: secrets.sealed_psk.clone() },
        Security::None => rows::Security::None,
    }
}

pub(super) fn endpoint(name: &str) -> Result<Endpoint, Refusal> {
    Endpoint::try_from(name).map_err(|error| Refusal::invalid(format!("{name:?}: {error}")))
}

pub(super) fn unknown(name: &str) -> Refusal {
    Refusal::not_found(format!("no device named {name} is enrolled; see `bellwether device list`"))
}

/// Writes seconds since 1970 as `2026-11-21 13:04:50Z`; what no calendar has as the number.
pub(crate) fn time(at: u64) -> String {
    // The library writes years up to 9999.
    match UNIX_EPOCH.checked_add(Duration::from_secs(at)) {
        Some(time) if at < YEAR_10000 => {
            humantime::format_rfc3339_seconds(time).to_string().replace('T', " ")
        }
        _ => at.to_string(),
    }
}

/// Seconds from 1970 to the first year that RFC 3339 can't write.
const YEAR_10000: u64 = 253_402_300_800;

/// Rows read at a time.
const PAGE: u32 = 1_000;

/// Devices in one answer: what a terminal or a script takes in one piece.
const DEVICES_MAX: usize = 100_000;

/// Confirmed images that are looked at to find the application among them: a dozen updates of another component alone.
const CONFIRMED_LOOKED_AT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_read_them() {
        assert_eq!(time(0), "1970-01-01 00:00:00Z");
        assert_eq!(time(951_782_400), "2000-02-29 00:00:00Z");
        assert_eq!(time(1_795_266_290), "2026-11-21 13:04:50Z");
        assert_eq!(time(u64::MAX), u64::MAX.to_string());
    }
}
