//! A new DTLS credential for a device.

use std::sync::Arc;

use bellwether_api as api;
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::deed::Deed;
use bellwether_decide::device::Endpoint;
use bellwether_keys::seed::Seed;
use bellwether_keys::unit::{self, UnitData};
use bellwether_manifests::message::List;
use bellwether_store::device::{EnrolledDevice, NewCredential, Security};
use bellwether_store::error::UpdateError;

use super::devices::{chain_length, endpoint, unknown};
use super::request::{by, command};
use crate::caller;
use crate::core::Core;
use crate::credentials;
use crate::refusal::Refusal;
use crate::vault::{DTLS_KEY, LINK_KEY};

impl Core {
    /// Makes a new DTLS credential for a device, once per request id. The one in force is taken until the new one was used,
    /// or is refused at once.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`], [`Refusal::conflict`] where the device has no key, was decommissioned, or another new one
    /// waits already.
    pub async fn replace_credential(
        self: &Arc<Self>,
        name: &str,
        asked: &api::ReplaceCredential,
    ) -> Result<api::NewCredential, Refusal> {
        let (core, name, asked) = (Arc::clone(self), name.to_owned(), asked.clone());
        let work = async move { core.replaced(&name, &asked).await };
        caller::to_the_end(work).await.map_err(Refusal::internal)?
    }

    async fn replaced(
        &self,
        name: &str,
        asked: &api::ReplaceCredential,
    ) -> Result<api::NewCredential, Refusal> {
        let by = by(asked.who.as_ref(), Some(&asked.why))?;
        let id = endpoint(name)?;
        let named = (name, asked);
        if let Some(done) = self.carried_out(REPLACE, &asked.request_id, &named).await? {
            return self.given_again(&id, &done.reply).await;
        }
        let device = self.replaceable(&id).await?;
        if device.next_credential.is_some() && !asked.at_once && !asked.again {
            let number = device.credential + 1;
            return Err(Refusal::conflict(format!(
                "credential {number} of {id} waits for its first use: with --again another one takes its place, with --at-once \
                 the one in force is refused as well"
            )));
        }
        let number = device.credential + 1;
        let new = self.vault.new_link(DTLS_KEY, id.as_str()).map_err(Refusal::internal)?;
        // Made first: a credential that can't be handed out must not take a place.
        let answer = self.handed_out(&device, number, &new.psk).await?;
        let kind = EventKind::Done { deed: Deed::CredentialReplaced { number, at_once: asked.at_once }, by };
        let events = [Event { at: self.now(), campaign: None, device: Some(id.clone()), kind }];
        let command = command(self.now(), REPLACE, &asked.request_id, &named, &number)?;
        let credential = NewCredential {
            number,
            sealed: &new.sealed,
            at_once: asked.at_once,
            events: &events,
            command: &command,
        };
        match self.store.add_credential(&self.tenant, &id, credential).await {
            Ok(()) => self.metrics.recorded(&events),
            Err(UpdateError::Conflict { .. } | UpdateError::Missing | UpdateError::CommandKept) => {
                let text = format!("somebody else changed {id} just now; look at it and ask again");
                return Err(Refusal::conflict(text));
            }
            Err(error) => return Err(Refusal::internal(error)),
        }
        tracing::info!(device = %id, number, at_once = asked.at_once, why = asked.why, "a credential was made");
        // Another one of this number may have waited, and be in memory.
        self.end_credential(&id, number);
        if asked.at_once {
            // Nobody has the new one yet: whoever is registered, also over a session that sleeps, came by what is refused now.
            self.registry.forget(&id);
            self.end_former(&id, device.credential).await.map_err(Refusal::internal)?;
        }
        Ok(answer)
    }

    async fn replaceable(&self, id: &Endpoint) -> Result<EnrolledDevice, Refusal> {
        let device = self.store.device(&self.tenant, id).await.map_err(Refusal::internal)?;
        let device = device.ok_or_else(|| unknown(id.as_str()))?;
        if device.retired_at.is_some() {
            return Err(Refusal::conflict(format!("{id} was decommissioned: its keys are gone for good")));
        }
        if device.security == Security::None {
            return Err(Refusal::conflict(format!(
                "{id} is enrolled without a key; there is none to replace"
            )));
        }
        Ok(device)
    }

    /// Answers a request that comes again: as long as its credential is kept, so that an answer that was lost costs nothing.
    async fn given_again(&self, id: &Endpoint, reply: &[u8]) -> Result<api::NewCredential, Refusal> {
        let number: u64 = serde_json::from_slice(reply).map_err(Refusal::internal)?;
        let device = self.replaceable(id).await?;
        let kept = credentials::sealed(&device, number).ok_or_else(|| {
            Refusal::conflict(format!("credential {number} of {id} was made and has been replaced since"))
        })?;
        let psk = self.vault.key_of(DTLS_KEY, id.as_str(), kept).map_err(Refusal::internal)?;
        self.handed_out(&device, number, &psk).await
    }

    /// Writes the unit file of a device that is at work: without a seed, which is in the device alone by now.
    async fn handed_out(
        &self,
        device: &EnrolledDevice,
        number: u64,
        psk: &[u8; 32],
    ) -> Result<api::NewCredential, Refusal> {
        let name = device.device.endpoint.as_str();
        let anchors = self.anchors_document().await?;
        let kept =
            self.store.identity(&self.tenant, &device.device.endpoint).await.map_err(Refusal::internal)?;
        let length = kept.ok_or_else(|| unknown(name))?.chain_length;
        let link = match &device.link {
            Some(link) => {
                let gateway =
                    self.store.gateway(&self.tenant, &link.gateway).await.map_err(Refusal::internal)?;
                let key = self.vault.key_of(LINK_KEY, name, &link.psk).map_err(Refusal::internal)?;
                gateway.map(|gateway| (gateway.uri, key))
            }
            None => None,
        };
        let servers = [self.public_uri.as_str()];
        let gateways: Vec<_> = link
            .iter()
            .map(|(uri, psk)| unit::GatewayLink { uri: uri.as_str(), identity: name, psk })
            .collect();
        let identity = credentials::identity(name, number);
        let unit = UnitData {
            id: name,
            epoch: 0,
            chain_length: chain_length(Some(length))?,
            seed: Seed::new(NO_SEED),
            anchors: &anchors,
            dtls_identity: &identity,
            dtls_psk: psk,
            servers: List::new(&servers),
            gateways: List::new(&gateways),
        };
        let bytes = unit.encode().map_err(Refusal::internal)?;
        let unit = hex::encode(&*bytes);
        Ok(api::NewCredential { endpoint: name.to_owned(), number, identity, unit })
    }
}

/// Where the seed stands in a unit file of a device that keeps its own.
const NO_SEED: [u8; 32] = [0; 32];

/// Name of the command.
const REPLACE: &str = "replace credential";
