//! Gateways: enrolment, lists, removal.

use bellwether_api::{AddGateway, Gateway, NewGateway};
use bellwether_decide::deed::Deed;
use bellwether_decide::device::Endpoint;
use bellwether_manifests::link::GatewayUnit;
use bellwether_manifests::message::List;
use bellwether_store::error::{AddError, StoreError, UpdateError};
use bellwether_store::gateway as rows;

use super::devices::endpoint;
use crate::core::{Core, StartError};
use crate::refusal::Refusal;
use crate::vault::GATEWAY_KEY;

impl Core {
    /// Enrols a gateway; its unit data is in the answer and never shown again.
    ///
    /// # Errors
    ///
    /// [`Refusal::conflict`] where a gateway or a device has the name, [`Refusal::not_found`] without anchors.
    pub async fn add_gateway(&self, asked: &AddGateway) -> Result<NewGateway, Refusal> {
        let name = endpoint(&asked.name)?;
        check_uri(&asked.uri)?;
        let anchors = self.anchors_document().await?;
        let secret = self.vault.new_link(GATEWAY_KEY, name.as_str()).map_err(Refusal::internal)?;
        let servers = [self.public_uri.as_str()];
        let unit = GatewayUnit {
            name: name.as_str(),
            psk: &secret.psk,
            servers: List::new(&servers),
            anchors: &anchors,
        };
        let unit = hex::encode(&*unit.encode().map_err(Refusal::internal)?);
        let now = self.now();
        let gateway = rows::Gateway {
            name: name.clone(),
            uri: asked.uri.clone(),
            psk: secret.sealed,
            bundle_edition: now,
            children_edition: now,
            added_at: now,
        };
        match self.store.add_gateway(&self.tenant, &gateway).await {
            Ok(()) => {}
            Err(AddError::Exists) => {
                return Err(Refusal::conflict(format!(
                    "a gateway or a device named {name} is enrolled already; choose another name"
                )));
            }
            Err(error) => return Err(Refusal::internal(error)),
        }
        self.done(None, Deed::GatewayEnrolled { gateway: name.to_string() }).await;
        self.gateways.add(name);
        Ok(NewGateway { gateway: self.describe_gateway(&gateway), unit })
    }

    /// Lists gateways by name.
    ///
    /// # Errors
    ///
    /// [`Refusal::internal`].
    pub async fn list_gateways(&self) -> Result<Vec<Gateway>, Refusal> {
        let rows = self.all_gateways().await.map_err(Refusal::internal)?;
        Ok(rows.iter().map(|gateway| self.describe_gateway(gateway)).collect())
    }

    /// Shows one gateway.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub async fn gateway(&self, name: &str) -> Result<Gateway, Refusal> {
        let found = self.store.gateway(&self.tenant, &endpoint(name)?).await.map_err(Refusal::internal)?;
        Ok(self.describe_gateway(&found.ok_or_else(|| unknown(name))?))
    }

    /// Removes a gateway: its session and its key end at once, and its devices ask the server themselves.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`].
    pub async fn remove_gateway(&self, name: &str) -> Result<Gateway, Refusal> {
        let removed = self.gateway(name).await?;
        let name = endpoint(name)?;
        match self.store.remove_gateway(&self.tenant, &name).await {
            Ok(()) => {}
            Err(UpdateError::Missing) => return Err(unknown(name.as_str())),
            Err(error) => return Err(Refusal::internal(error)),
        }
        self.dtls_keys.remove(name.as_str());
        if let Some(presence) = self.gateways.remove(&name) {
            presence.shard.close(presence.session);
        }
        // It may have more sessions than the one that it said to be here over, and one of its name may be added anew.
        for (_, shard) in self.metrics.doors() {
            shard.close_all_of(name.as_str());
        }
        self.forget_sessions_of(name.as_str()).await.map_err(Refusal::internal)?;
        self.done(None, Deed::GatewayRemoved { gateway: name.to_string() }).await;
        Ok(removed)
    }

    fn describe_gateway(&self, gateway: &rows::Gateway) -> Gateway {
        let present = self.gateways.present(&gateway.name, self.steady());
        Gateway {
            name: gateway.name.to_string(),
            uri: gateway.uri.clone(),
            created: gateway.added_at,
            devices: self.gateways.children_count(&gateway.name) as u64,
            present: present.map(|presence| presence.address.to_string()),
        }
    }

    async fn all_gateways(&self) -> Result<Vec<rows::Gateway>, StoreError> {
        let mut all: Vec<rows::Gateway> = Vec::new();
        loop {
            let after = all.last().map(|gateway| gateway.name.clone());
            let page = self.store.gateways(&self.tenant, after.as_ref(), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Reads who the gateways are, and tries their keys: there are few, and a wrong master key is better found now.
    ///
    /// # Errors
    ///
    /// [`StartError`] where one does not open under the master key.
    pub(crate) async fn load_gateways(&self) -> Result<(), StartError> {
        for gateway in self.all_gateways().await? {
            self.vault.open_sealed(GATEWAY_KEY, gateway.name.as_str(), &gateway.psk)?;
            self.gateways.add(gateway.name);
        }
        Ok(())
    }

    /// Lists devices under their gateways.
    ///
    /// # Errors
    ///
    /// The store's.
    pub(crate) async fn load_children(&self) -> Result<(), StoreError> {
        for gateway in self.all_gateways().await? {
            let mut after: Option<Endpoint> = None;
            loop {
                let page = self.store.children(&self.tenant, &gateway.name, after.as_ref(), PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.device.endpoint.clone());
                for enrolled in page {
                    self.gateways.attach(&gateway.name, enrolled.device.endpoint);
                }
            }
        }
        Ok(())
    }

    /// Finds the gateway that a new device shall be listed by.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`], or [`Refusal::conflict`] where its list is full.
    pub(super) async fn gateway_for(&self, name: &str) -> Result<rows::Gateway, Refusal> {
        let found = self.store.gateway(&self.tenant, &endpoint(name)?).await.map_err(Refusal::internal)?;
        let gateway = found.ok_or_else(|| unknown(name))?;
        if self.gateways.children_count(&gateway.name) >= CHILDREN_MAX {
            return Err(Refusal::conflict(format!(
                "{name} lists {CHILDREN_MAX} devices already; enrol another gateway"
            )));
        }
        Ok(gateway)
    }

    /// Takes a device off the list of its gateway: from then on it asks the server itself.
    ///
    /// # Errors
    ///
    /// [`Refusal::not_found`] where no gateway lists it.
    pub async fn detach_device(&self, name: &str) -> Result<bellwether_api::Device, Refusal> {
        let endpoint = endpoint(name)?;
        match self.store.detach(&self.tenant, &endpoint, self.now()).await {
            Ok(()) => {}
            Err(UpdateError::Missing) => {
                return Err(Refusal::not_found(format!("no gateway lists a device named {name}")));
            }
            Err(error) => return Err(Refusal::internal(error)),
        }
        if let Some(gateway) = self.gateways.detach(&endpoint) {
            self.tell_children_changed(&gateway);
            self.done(Some(&endpoint), Deed::DeviceDetached { gateway: gateway.to_string() }).await;
        }
        self.device(name).await
    }
}

fn check_uri(uri: &str) -> Result<(), Refusal> {
    let authority = uri.strip_prefix("coaps://").filter(|rest| {
        !rest.is_empty() && uri.len() <= URI_BYTES_MAX && !rest.contains(['/', '?', '#']) && uri.is_ascii()
    });
    let fits = authority.is_some_and(|rest| !rest.contains(|c: char| c.is_whitespace() || c.is_control()));
    if fits {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "{uri:?} is no address of a gateway: coaps://HOST:PORT is, with at most {URI_BYTES_MAX} bytes"
    )))
}

fn unknown(name: &str) -> Refusal {
    Refusal::not_found(format!("no gateway named {name} is enrolled; see `bellwether gateway list`"))
}

/// Names a gateway for the list of devices.
pub(super) fn name_of(link: Option<&rows::GatewayLink>) -> Option<String> {
    link.map(|link| Endpoint::to_string(&link.gateway))
}

/// Devices of one gateway: their list, with names of 64 bytes about 100 bytes each, stays below the 256 KiB that a
/// CoAP body has here.
pub(super) const CHILDREN_MAX: usize = 2_000;

/// Bytes of a gateway's URI: a unit file's location.
const URI_BYTES_MAX: usize = 255;

/// Rows read at a time.
const PAGE: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_a_gateway_is_scheme_host_and_port_alone() {
        for fine in ["coaps://gw.example", "coaps://127.0.0.1:5684", "coaps://[::1]:5685"] {
            assert!(check_uri(fine).is_ok(), "{fine}");
        }
        for wrong in ["coap://gw.example", "coaps://", "coaps://gw/u", "coaps://g w", "gw", "coaps://gw?x"] {
            assert!(check_uri(wrong).is_err(), "{wrong}");
        }
        assert!(check_uri(&format!("coaps://{}", "g".repeat(URI_BYTES_MAX))).is_err());
    }
}
