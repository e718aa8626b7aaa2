//! Devices: enrolment, lists, the story of one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bellwether_api::{
    AddDevice, Device, DevicePage, Explanation, ListDevices, NewDevice, QueueMode, Security,
};
use bellwether_decide::campaign::Campaign;
use bellwether_decide::campaign::stage::Track;
use bellwether_decide::deed::Deed;
use bellwether_decide::device::{self, Endpoint};
use bellwether_decide::explain::{self, Known, Seen};
use bellwether_decide::identity::IdentityState;
use bellwether_decide::queue_mode::Listening;
use bellwether_keys::chain::ChainLength;
use bellwether_keys::seed::Seed;
use bellwether_keys::unit::{self, UnitData};
use bellwether_manifests::message::List;
use bellwether_store::Digest;
use bellwether_store::device::{self as rows, EnrolledDevice, NewIdentity};
use bellwether_store::error::{AddError, StoreError};
use bellwether_store::fleet::Background;
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
        Ok(NewDevice { device: self.describe(&enrolled, &Background::default()), unit })
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

    /// Describes devices: in a few statements, however many they are.
    pub(super) async fn describe_all(&self, rows: &[EnrolledDevice]) -> Result<Vec<Device>, Refusal> {
        let names: Vec<Endpoint> = rows.iter().map(|row| row.device.endpoint.clone()).collect();
        let tags = self.store.tags_of(&self.tenant, &names).await.map_err(Refusal::internal)?;
        let backgrounds = self.store.backgrounds(&self.tenant, &names).await.map_err(Refusal::internal)?;
        let runs = self.images_of(&names, &backgrounds).await.map_err(Refusal::internal)?;
        let versions = self.versions_of(runs.values().copied()).await.map_err(Refusal::internal)?;
        let made = self.waiting_since(rows).await.map_err(Refusal::internal)?;
        let nothing = Background::default();
        let describe = |enrolled: &EnrolledDevice| {
            let endpoint = &enrolled.device.endpoint;
            let runs = runs.get(endpoint);
            Device {
                runs: runs.map(hex::encode),
                version: runs.and_then(|image| versions.get(image).cloned()),
                tags: tags.get(endpoint).into_iter().flatten().map(ToString::to_string).collect(),
                credential_waits_since: made.get(endpoint).copied(),
                ..self.describe(enrolled, backgrounds.get(endpoint).unwrap_or(&nothing))
            }
        };
        Ok(rows.iter().map(describe).collect())
    }

    /// Since when the new credentials of these devices wait for their first use, where they have one.
    async fn waiting_since(&self, rows: &[EnrolledDevice]) -> Result<BTreeMap<Endpoint, u64>, StoreError> {
        let waiting = rows.iter().filter(|row| row.next_credential.is_some());
        let names: Vec<Endpoint> = waiting.map(|row| row.device.endpoint.clone()).collect();
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.store.credentials_made(&self.tenant, &names).await
    }

    /// Describes a device but for what it runs, its tags, and what the ledger tells.
    fn describe(&self, enrolled: &EnrolledDevice, background: &Background) -> Device {
        let (endpoint, state) = (&enrolled.device.endpoint, background.state.as_ref());
        let place = state.map(|state| state.place).unwrap_or_default();
        let blocked = state.filter(|state| state.is_blocked(self.now()));
        // What memory has, else what is kept.
        let heard = self.registry.last_heard(endpoint).or_else(|| background.contact.clone());
        Device {
            endpoint: endpoint.to_string(),
            class: enrolled.device.class.clone(),
            security: security_of(enrolled),
            gateway: name_of(enrolled.link.as_ref()),
            created: enrolled.device.added_at,
            epoch: place.epoch,
            index: place.index,
            registered: self.registry.find(endpoint, self.steady()).map(|found| found.address.to_string()),
            queue_mode: self.queue_mode(endpoint),
            told: self.registry.stable_answers(endpoint, self.steady()).is_some(),
            runs: None,
            version: None,
            tags: Vec::new(),
            decommissioned: enrolled.retired_at,
            credential: enrolled.credential,
            credential_waits: enrolled.next_credential.is_some(),
            credential_waits_since: None,
            heard: heard.map(|contact| contact.heard_at),
            blocked_until: blocked.and_then(|state| state.blocked_until),
        }
    }

    /// Tells whether a device in queue mode listens; `None` of any other.
    pub(crate) fn queue_mode(&self, endpoint: &Endpoint) -> Option<QueueMode> {
        let (now, steady) = (self.now(), self.steady());
        let registration = self.registry.find(endpoint, steady)?;
        let (since, until) = match registration.listening(self.config.queue_mode_awake_s, steady) {
            Listening::Always => return None,
            Listening::Awake { left_s } => (None, Some(now.saturating_add(left_s))),
            Listening::Asleep { for_s } => (Some(now.saturating_sub(for_s)), None),
        };
        let expires = registration.expires;
        let heard_by = (expires != u64::MAX).then(|| now.saturating_add(expires.saturating_sub(steady)));
        Some(QueueMode { asleep: since.is_some(), since, until, heard_by })
    }

    /// What devices run: by their newest confirmed update; before that, by what they told, or the base that they last asked
    /// from. A device with several components is known by its application.
    async fn images_of(
        &self,
        names: &[Endpoint],
        backgrounds: &BTreeMap<Endpoint, Background>,
    ) -> Result<BTreeMap<Endpoint, Digest>, StoreError> {
        let told = backgrounds.iter().map(|(name, background)| (name, images(background)));
        let told: BTreeMap<&Endpoint, Vec<Digest>> = told.filter(|(_, images)| !images.is_empty()).collect();
        let mut candidates: Vec<Digest> = told.values().flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        let releases = self.store.releases_with(&self.tenant, &candidates).await?;
        let applications = releases.iter().filter(|one| one.release.component == [b"app".to_vec()]);
        let applications: BTreeSet<Digest> = applications.map(|one| one.release.digest).collect();
        let known = |(name, images): (&&Endpoint, &Vec<Digest>)| {
            let application = images.iter().find(|image| applications.contains(*image));
            application.or(images.first()).map(|image| ((*name).clone(), *image))
        };
        let mut all: BTreeMap<Endpoint, Digest> = told.iter().filter_map(known).collect();
        let silent: Vec<Endpoint> = names.iter().filter(|name| !all.contains_key(name)).cloned().collect();
        if !silent.is_empty() {
            all.extend(self.store.asked_from(&self.tenant, &silent).await?);
        }
        Ok(all)
    }

    /// The versions under which images are catalogued.
    pub(crate) async fn versions_of(
        &self,
        images: impl Iterator<Item = Digest>,
    ) -> Result<BTreeMap<Digest, String>, StoreError> {
        let images: BTreeSet<Digest> = images.collect();
        if images.is_empty() {
            return Ok(BTreeMap::new());
        }
        let images: Vec<Digest> = images.into_iter().collect();
        // The first of several releases counts.
        let releases = self.store.releases_with(&self.tenant, &images).await?.into_iter().rev();
        Ok(releases.map(|one| (one.release.digest, one.release.version)).collect())
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
        let tracked = self.store.campaigns_ever(&self.tenant, &endpoint).await.map_err(Refusal::internal)?;
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
            listening: self.registry.listening(&endpoint, steady).unwrap_or_default(),
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

/// The images by which a device may be known, the best first.
fn images(background: &Background) -> Vec<Digest> {
    let confirmed = background.state.iter().flat_map(|state| state.confirmed.values().rev());
    let installed = confirmed.flat_map(|confirmed| &confirmed.installed).map(|(_, digest)| *digest);
    let installed: Vec<Digest> = installed.take(CONFIRMED_LOOKED_AT_MAX).collect();
    if installed.is_empty() {
        background.running.iter().map(|(_, digest)| *digest).collect()
    } else {
        installed
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
