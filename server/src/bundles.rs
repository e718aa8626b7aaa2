//! Bundles: what a gateway needs to serve a campaign to its devices without the server.

mod desk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bellwether_decide::campaign::stage::{Stage, Track};
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState};
use bellwether_decide::device::Endpoint;
use bellwether_manifests::cbor::EncodeError;
use bellwether_manifests::message::bundle::Name;
use bellwether_manifests::message::{Bundle, List, Policy, content_format};
use bellwether_net::coap::{Code, Method, Request};
use bellwether_store::error::{StoreError, UpdateError};
use bellwether_store::gateway::KeptBundle;
use futures_util::{StreamExt as _, stream};
use thiserror::Error;
use tokio::time::sleep;

pub(crate) use desk::BundleDesk;

use self::desk::Claim;
use crate::book::{BookError, Page};
use crate::core::Core;
use crate::gateways::Presence;
use crate::resolver::ahead::Ahead;

/// Why a bundle did not come to its gateway.
#[derive(Debug, Error)]
enum BundleError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("the edition was not raised")]
    Edition(#[from] UpdateError),
    #[error("its manifest can't be used")]
    Book(#[from] BookError),
    #[error("it is out of the bounds of a bundle")]
    Encode(#[from] EncodeError),
    #[error("the anchors in force do not list this server's key")]
    NotListed,
    #[error("the gateway is away")]
    Away,
    #[error("the gateway answered {0}")]
    Refused(Code),
}

/// What a bundle is made of.
struct Parts {
    ahead: Vec<Ahead>,
    push: Vec<Endpoint>,
}

impl Core {
    /// A gateway is here that was away: it may have missed anchors, a bundle, or that one was withdrawn.
    pub(crate) fn welcome_gateway(self: &Arc<Self>, gateway: Endpoint) {
        let core = Arc::clone(self);
        tokio::spawn(async move {
            let now = core.now();
            core.bundles.wake(&gateway);
            if let Some(presence) = core.gateways.present(&gateway, core.steady()) {
                core.bring_gateway_up_to_date(&gateway, &presence).await;
            }
            match core.store.bundles(&core.tenant, Some(&gateway), now).await {
                Ok(kept) => {
                    for bundle in kept {
                        core.settle(bundle);
                    }
                }
                Err(error) => tracing::error!(%error, %gateway, "what it may hold can't be read"),
            }
            core.look_at(core.gateways.children(&gateway));
        });
    }

    /// Sends again what was withdrawn from a campaign that goes on, and withdraws what is held of one that does not.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn settle_bundles(self: &Arc<Self>) -> Result<(), StoreError> {
        let unsettled = self.store.bundles(&self.tenant, None, self.now()).await?;
        for bundle in unsettled {
            self.settle(bundle);
        }
        Ok(())
    }

    fn settle(self: &Arc<Self>, kept: KeptBundle) {
        match kept.state {
            CampaignState::Running if self.bundles.may_send(&kept, self.steady()) => {
                self.send_bundle(kept.campaign, kept.gateway);
            }
            // Whom it is for was offered the manifest directly when the rest began.
            CampaignState::Running => {}
            _ if kept.withdrawn => {}
            _ => self.withdraw(kept),
        }
    }

    /// Makes the bundle of a campaign for a gateway and sends it, beside everything else. Whom it is for stands in the
    /// ledger already. Devices of a gateway that does not take it are offered the manifest directly.
    pub(crate) fn send_bundle(self: &Arc<Self>, campaign: CampaignId, gateway: Endpoint) {
        let claim = self.bundles.claim(&gateway, campaign, self.steady());
        let core = Arc::clone(self);
        match claim {
            Claim::Queued => {}
            Claim::Granted => drop(tokio::spawn(async move {
                if let Err(error) = core.try_send_bundle(campaign, &gateway).await {
                    core.came_out(&gateway, campaign, Err(error));
                    return core.offer_around(campaign, &gateway).await;
                }
                core.bundles.gone(&gateway, campaign);
                sleep(PACE).await;
                if core.bundles.follows(&gateway, campaign) {
                    core.send_bundle(campaign, gateway);
                }
            })),
            Claim::Resting => {
                drop(tokio::spawn(async move { core.offer_around(campaign, &gateway).await }));
            }
        }
    }

    fn withdraw(self: &Arc<Self>, kept: KeptBundle) {
        if !self.bundles.claim_at_once(&kept.gateway, kept.campaign, self.steady()) {
            return;
        }
        let core = Arc::clone(self);
        tokio::spawn(async move {
            let withdrawn = core.try_withdraw(&kept).await;
            if core.came_out(&kept.gateway, kept.campaign, withdrawn) {
                core.wake.notify_one();
            }
        });
    }

    /// Frees the way of a bundle; tells whether another one was asked for meanwhile.
    fn came_out(&self, gateway: &Endpoint, campaign: CampaignId, sent: Result<(), BundleError>) -> bool {
        let rests_until = sent.err().map(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, %gateway, campaign = campaign.0, "a bundle did not come to its gateway");
            self.steady() + REST_S
        });
        self.bundles.free(gateway, campaign, rests_until)
    }

    async fn try_send_bundle(&self, id: CampaignId, gateway: &Endpoint) -> Result<(), BundleError> {
        let now = self.now();
        let presence = self.gateways.present(gateway, self.steady()).ok_or(BundleError::Away)?;
        let Some(campaign) = self.going_on(id).await? else { return Ok(()) };
        let Some(page) = self.book.page(&campaign.manifest).await? else { return Ok(()) };
        let members = self.members(gateway, id).await?;
        if members.is_empty() {
            // There is nothing to hold: what was withdrawn before is settled.
            self.store.put_bundle(&self.tenant, gateway, id, now, now).await?;
            return Ok(());
        }
        let push = members.iter().filter(|(_, track)| track.stage == Stage::Offered);
        let push: Vec<Endpoint> = push.map(|(endpoint, _)| endpoint.clone()).collect();
        let ahead = fitting(self.grants_ahead(&page, &members).await, names_bytes(&push));
        let parts = Parts { ahead, push };
        let at_a_time = campaign.policy.in_flight_max.map(u64::from).filter(|at_a_time| *at_a_time > 0);
        self.put_bundle(&presence, gateway, (&campaign, &page), &parts, at_a_time).await
    }

    /// Makes or finds the grants of devices, some at the same time: they share commits of the store.
    async fn grants_ahead(&self, page: &Page, members: &[(Endpoint, Track)]) -> Vec<Ahead> {
        // A list of them, since what a task does must not hang on a closure's lifetimes.
        let wanted: Vec<_> = members.iter().map(|(endpoint, _)| self.granted_ahead(page, endpoint)).collect();
        let granted: Vec<Option<Ahead>> = stream::iter(wanted).buffered(GRANTS_AT_ONCE).collect().await;
        granted.into_iter().flatten().collect()
    }

    async fn granted_ahead(&self, page: &Page, endpoint: &Endpoint) -> Option<Ahead> {
        self.grant_ahead(page, endpoint).await.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, device = %endpoint, "no grant was made ahead; it asks for itself");
            None
        })
    }

    /// A campaign that goes on.
    async fn going_on(&self, id: CampaignId) -> Result<Option<Campaign>, StoreError> {
        let campaign = self.store.campaign(&self.tenant, id).await?;
        Ok(campaign.filter(|one| one.state == CampaignState::Running))
    }

    /// The devices of a gateway that a campaign's bundle is for: those in flight, as many as a bundle carries.
    async fn members(
        &self,
        gateway: &Endpoint,
        id: CampaignId,
    ) -> Result<Vec<(Endpoint, Track)>, StoreError> {
        self.store.in_flight_behind(&self.tenant, id, gateway, MEMBERS_MAX).await
    }

    async fn put_bundle(
        &self,
        presence: &Presence,
        gateway: &Endpoint,
        (campaign, page): (&Campaign, &Page),
        parts: &Parts,
        at_a_time: Option<u64>,
    ) -> Result<(), BundleError> {
        let now = self.now();
        let not_after = end_of(&parts.ahead, now + self.config.grant_lifetime_s);
        let edition = self.store.put_bundle(&self.tenant, gateway, campaign.id, not_after, now).await?;
        let text = campaign.id.0.to_string();
        let descriptors: BTreeSet<&[u8]> = parts.ahead.iter().map(|ahead| &*ahead.descriptor).collect();
        let descriptors: Vec<&[u8]> = descriptors.into_iter().collect();
        let grants: Vec<&[u8]> = parts.ahead.iter().map(|ahead| &*ahead.message).collect();
        let push: Vec<Name<'_>> = parts.push.iter().map(|one| Name(one.as_str())).collect();
        let bundle = Bundle {
            edition,
            campaign: &text,
            envelope: &page.envelope,
            descriptors: List::new(&descriptors),
            grants: List::new(&grants),
            policy: Policy {
                devices_at_a_time: at_a_time,
                push: Some(List::new(&push)),
                ..Policy::default()
            },
            not_after,
        };
        let (grants, pushed) = (grants.len(), push.len());
        self.deliver(presence, gateway, &bundle).await?;
        tracing::info!(%gateway, campaign = campaign.id.0, edition, grants, pushed, "a bundle went out");
        Ok(())
    }

    /// Takes back what a gateway holds of a campaign that does not go on.
    async fn try_withdraw(&self, kept: &KeptBundle) -> Result<(), BundleError> {
        let now = self.now();
        let presence = self.gateways.present(&kept.gateway, self.steady()).ok_or(BundleError::Away)?;
        let Some(campaign) = self.store.campaign(&self.tenant, kept.campaign).await? else { return Ok(()) };
        // The manifest of an author who lost trust is dropped by the gateway itself, with the anchors that say so.
        if let Ok(Some(page)) = self.book.page(&campaign.manifest).await {
            let edition = self.store.next_bundle_edition(&self.tenant, &kept.gateway, now).await?;
            let text = kept.campaign.0.to_string();
            let bundle = Bundle {
                edition,
                campaign: &text,
                envelope: &page.envelope,
                descriptors: List::new(&[]),
                grants: List::new(&[]),
                policy: Policy { devices_at_a_time: Some(0), ..Policy::default() },
                not_after: kept.not_after,
            };
            self.deliver(&presence, &kept.gateway, &bundle).await?;
            tracing::info!(gateway = %kept.gateway, campaign = kept.campaign.0, edition, "a bundle was withdrawn");
        }
        let (gateway, edition) = (&kept.gateway, kept.edition);
        Ok(self.store.withdraw_bundle(&self.tenant, gateway, kept.campaign, edition).await?)
    }

    async fn deliver(
        &self,
        presence: &Presence,
        gateway: &Endpoint,
        bundle: &Bundle<'_>,
    ) -> Result<(), BundleError> {
        let signed = self.descriptors.sign_bundle(bundle)?.ok_or(BundleError::NotListed)?;
        let request = Request::new(Method::Put, "/b").with_payload(content_format::BUNDLE, signed);
        match presence.shard.request(presence.session, request).await {
            Ok(response) if response.code == Code::CHANGED => Ok(()),
            Ok(response) => Err(BundleError::Refused(response.code)),
            Err(_) => {
                // Until it says that it is here again, it is not.
                self.gateways.forget_session(gateway.as_str(), presence.session);
                Err(BundleError::Away)
            }
        }
    }

    /// Offers a manifest directly to the devices of a gateway that could not be given their bundle.
    async fn offer_around(self: &Arc<Self>, id: CampaignId, gateway: &Endpoint) {
        if let Err(error) = self.try_offer_around(id, gateway).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, %gateway, campaign = id.0, "its devices can't be offered the manifest directly");
        }
    }

    async fn try_offer_around(
        self: &Arc<Self>,
        id: CampaignId,
        gateway: &Endpoint,
    ) -> Result<(), BundleError> {
        let Some(campaign) = self.going_on(id).await? else { return Ok(()) };
        let Some(page) = self.book.page(&campaign.manifest).await? else { return Ok(()) };
        let envelope = Arc::new(page.envelope.clone());
        let offered = self.members(gateway, id).await?;
        for (endpoint, _) in offered.into_iter().filter(|(_, track)| track.stage == Stage::Offered) {
            self.offer(id, endpoint, Arc::clone(&envelope));
        }
        Ok(())
    }

    /// Parts the devices that a manifest is to be offered to: those that it goes to directly, and the gateways that
    /// bring it to the others. Devices that can be reached in neither way now are left out.
    pub(crate) async fn ways(
        &self,
        id: CampaignId,
        devices: Vec<(Endpoint, Track)>,
        now: u64,
    ) -> Result<Ways, StoreError> {
        let mut ways = Ways::default();
        let mut members = self.members_by_gateway(id, &devices, now).await?;
        for (device, track) in devices {
            let gateway = self.gateways.of(&device);
            let Some((gateway, count)) =
                gateway.and_then(|name| members.get_mut(&name).map(|count| (name, count)))
            else {
                ways.direct.push(device);
                continue;
            };
            let in_flight = track.is_in_flight();
            if !in_flight && *count >= MEMBERS_MAX as usize {
                // Registered devices that the bundle has no room for.
                ways.direct.extend(self.registry.find(&device, now).map(|_| device));
                continue;
            }
            if had_its_chance(&track) && self.registry.find(&device, now).is_some() {
                *count += usize::from(!in_flight);
                ways.direct.push(device);
                ways.gateways.insert(gateway);
                continue;
            }
            *count += usize::from(!in_flight);
            ways.behind.push(device);
            ways.gateways.insert(gateway);
        }
        Ok(ways)
    }

    /// Counts the devices in flight of each gateway that is here and lists one of these, up to what a bundle is for.
    async fn members_by_gateway(
        &self,
        id: CampaignId,
        devices: &[(Endpoint, Track)],
        now: u64,
    ) -> Result<BTreeMap<Endpoint, usize>, StoreError> {
        let gateways: BTreeSet<Endpoint> =
            devices.iter().filter_map(|(device, _)| self.gateways.of(device)).collect();
        let mut members = BTreeMap::new();
        for gateway in gateways {
            if self.gateways.present(&gateway, now).is_some() {
                let count = self.members(&gateway, id).await?.len();
                members.insert(gateway, count);
            }
        }
        Ok(members)
    }
}

/// How the devices of one round of offers are reached.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// The manifest goes to them over their own session.
    pub(crate) direct: Vec<Endpoint>,
    /// Their gateway brings it to them.
    pub(crate) behind: Vec<Endpoint>,
    /// The gateways of those.
    pub(crate) gateways: BTreeSet<Endpoint>,
}

/// Tells whether the gateway was to bring the manifest before, and nothing came of it: it may have brought it long ago
/// and not see why it should again, keep it back, or say that it could not bring it. A registered device is then
/// offered it directly too.
fn had_its_chance(track: &Track) -> bool {
    match track.stage {
        Stage::Offered => true,
        // Put back after an update that failed, or not reached; such offers are repeated after doubled waits.
        Stage::Waiting => track.grant > 0 || track.offers_failed > 0,
        _ => false,
    }
}

/// When a bundle ends: with the last of its grants, and not before one made now would. Each grant ends by itself, and one
/// that was given long ago must not take the manifest and the grants of the others with it.
fn end_of(ahead: &[Ahead], one_made_now: u64) -> u64 {
    ahead.iter().map(|ahead| ahead.not_after).fold(one_made_now, u64::max)
}

/// Takes as many grants as there is room for beside the names that are pushed to: devices that are alike share a
/// descriptor. The others are brought the manifest, and ask for themselves.
fn fitting(ahead: Vec<Ahead>, names_bytes: usize) -> Vec<Ahead> {
    let (mut descriptors, mut bytes) = (BTreeSet::new(), names_bytes);
    let fits = |one: &Ahead| {
        let is_new = descriptors.insert(Arc::clone(&one.descriptor));
        bytes += one.message.len() + HEAD_BYTES;
        bytes += if is_new { one.descriptor.len() + HEAD_BYTES } else { 0 };
        bytes <= PARTS_BYTES_MAX
    };
    ahead.into_iter().take_while(fits).collect()
}

fn names_bytes(push: &[Endpoint]) -> usize {
    push.iter().map(|name| name.as_str().len() + HEAD_BYTES).sum()
}

/// Devices of one bundle, and so of those behind a gateway that are at work at the same time without the server being
/// asked. The others are offered directly, or when these have come to an end.
const MEMBERS_MAX: u32 = 256;

/// Bytes of grants, descriptors and names: half of the 256 KiB that a CoAP body has here; the envelope has the other.
/// Of devices that are alike 256 have their grants there, of devices with a descriptor of their own each about 110.
const PARTS_BYTES_MAX: usize = 128 * 1024;

/// Bytes that stand before a string of CBOR of this size.
const HEAD_BYTES: usize = 3;

/// Grants that are made at the same time: enough that they share commits, and devices that ask are not kept waiting.
const GRANTS_AT_ONCE: usize = 32;

/// Time between two bundles of a campaign for a gateway. While its devices come to their ends one after the other, others
/// take their places, and each bundle names all that are at work.
const PACE: Duration = Duration::from_secs(1);

/// Wait after a gateway did not take a bundle, before it is given one of the same campaign again.
const REST_S: u64 = 30;

#[cfg(test)]
mod tests {
    use bellwether_decide::campaign::event::{By, Delivery, EventKind};

    use super::*;

    fn gateway() -> Endpoint {
        Endpoint::try_from("gw-1").expect("a name")
    }

    #[test]
    fn gateway_has_its_chance_with_the_first_offer_alone() {
        let content = [0; 32];
        let resolved = EventKind::Resolved { delivery: Delivery::Full, grant: 5, content, bytes: 1 };
        let failed = EventKind::Failed { grant: 5, reason: String::new() };
        let retried = EventKind::Retried { by: By::default() };
        let unreached = EventKind::OfferFailed { reason: String::new() };
        let after = |events: &[&EventKind]| {
            let mut track = Track::new("lamp".to_owned(), 1);
            for event in events {
                track.apply(2, event);
            }
            had_its_chance(&track)
        };
        assert!(!after(&[]));
        assert!(after(&[&EventKind::Offered, &resolved, &unreached]), "it could not bring it");
        assert!(after(&[&EventKind::Offered]), "it was offered, and is again");
        assert!(after(&[&EventKind::Offered, &resolved, &failed, &retried]));
    }

    #[test]
    fn grant_that_ends_soon_does_not_end_the_bundle_of_the_others() {
        let ahead = |not_after| Ahead { message: Vec::new(), descriptor: Arc::from([]), not_after };
        assert_eq!(end_of(&[ahead(11), ahead(500)], 400), 500);
        assert_eq!(end_of(&[ahead(11)], 400), 400);
        assert_eq!(end_of(&[], 400), 400);
    }

    #[test]
    fn bundle_has_as_many_grants_as_there_is_room_for() {
        let alike: Arc<[u8]> = Arc::from([7; 700]);
        let ahead = |descriptor: &Arc<[u8]>| Ahead {
            message: vec![1; 400],
            descriptor: Arc::clone(descriptor),
            not_after: 0,
        };
        let all_alike = vec![ahead(&alike); MEMBERS_MAX as usize];
        let names = vec![gateway(); MEMBERS_MAX as usize];
        assert_eq!(fitting(all_alike.clone(), names_bytes(&names)), all_alike);
        let own = |number: u32| ahead(&number.to_be_bytes().repeat(175).into());
        let all_own: Vec<Ahead> = (0..MEMBERS_MAX).map(own).collect();
        let fit = fitting(all_own.clone(), names_bytes(&names));
        assert_eq!(fit, all_own[..fit.len()]);
        let bytes = fit.len() * (400 + 700 + 2 * HEAD_BYTES) + names_bytes(&names);
        assert!(bytes <= PARTS_BYTES_MAX && bytes + 1_106 > PARTS_BYTES_MAX, "{bytes}");
    }
}
