//! Grants as bytes: content keys wrapped for one device, sealed under its key or signed by the distributor.

use bellwether_decide::identity::{Place, Shares};
use bellwether_decide::key_index::NewGrant;
use bellwether_keys::{mac, wrap};
use bellwether_manifests::message::grant::{Grant, GrantOptions, GrantedResource, Shares as SharesBytes};
use bellwether_manifests::message::{self, List};
use bellwether_store::Digest;
use bellwether_store::catalogue::Encryption;
use bellwether_store::device::Identity;

use super::{RequestError, failed};
use crate::core::Core;
use crate::descriptors::Described;
use crate::vault::PlaceKeys;

/// What a grant says beside what it opens.
pub(crate) struct Terms<'a> {
    /// Number and places, as the table decided.
    pub(crate) new: &'a NewGrant,
    /// Digest of the manifest.
    pub(crate) manifest: &'a Digest,
    /// SHA-256 of the encoded selector.
    pub(crate) selector: &'a Digest,
    /// Expiry, seconds since 1970.
    pub(crate) not_after: u64,
    /// The shares of the next seed; they make it a signed grant.
    pub(crate) shares: Option<&'a Shares>,
    /// Whether the device asks "go?" before it swaps.
    pub(crate) go: bool,
}

impl Core {
    /// Makes a grant's message.
    ///
    /// # Errors
    ///
    /// [`RequestError::Failed`] where a content key does not open or the message breaks a bound.
    pub(crate) fn grant_message(
        &self,
        identity: &Identity,
        keys: &PlaceKeys,
        terms: &Terms<'_>,
        described: &[Described],
    ) -> Result<Vec<u8>, RequestError> {
        let mut wrapped = Vec::with_capacity(described.len());
        for described in described {
            let encryption = encryption(described)?;
            let key = self.builder.content_key(&described.resource.content, encryption).map_err(failed)?;
            wrapped.push((encryption, wrap::wrap(&keys.wrap, &key).map_err(failed)?));
        }
        let resources: Vec<GrantedResource<'_>> = described
            .iter()
            .zip(&wrapped)
            .map(|(described, (encryption, wrapped))| granted(described, encryption, wrapped))
            .collect();
        let grant = Grant {
            place: placed(identity, terms.new.place),
            grant: terms.new.number,
            manifest: terms.manifest,
            selector: terms.selector,
            resources: List::new(&resources),
            not_after: terms.not_after,
            confirm: message::Confirm::Both,
            options: GrantOptions { anchors_edition: self.edition_for_grants(), ..options(terms) },
        };
        match terms.shares {
            // Who knows the seed knows its MAC keys: shares would protect nothing if anyone of them could replace them.
            Some(_) => self.descriptors.sign_grant(&grant).map_err(failed),
            None => mac::seal_grant_to_vec(&keys.down, &grant).map_err(failed),
        }
    }

    /// Puts the server's share beside the device's, where a grant re-seeds and the device sent one.
    ///
    /// # Errors
    ///
    /// [`RequestError::Failed`].
    pub(crate) fn shares(&self, identity: &Identity, new: &NewGrant) -> Result<Option<Shares>, RequestError> {
        let Some(device) = new.device_share.clone().filter(|_| new.reseed) else { return Ok(None) };
        let server = self.vault.server_share(identity.id.as_str(), new.leads_to.epoch).map_err(failed)?;
        Ok(Some(Shares { server: server.as_bytes().to_vec(), device }))
    }
}

/// A place as messages write it.
pub(super) fn placed(identity: &Identity, place: Place) -> message::Place<'_> {
    message::Place { id: identity.id.as_str(), epoch: place.epoch, index: place.index }
}

fn options<'a>(terms: &Terms<'a>) -> GrantOptions<'a> {
    GrantOptions {
        reseed: terms.new.reseed.then_some(true),
        ask_go: terms.go.then_some(true),
        shares: terms.shares.map(|shares| SharesBytes { server: &shares.server, device: &shares.device }),
        ..GrantOptions::default()
    }
}

fn granted<'a>(
    described: &'a Described,
    encryption: &'a Encryption,
    wrapped: &'a wrap::WrappedKey,
) -> GrantedResource<'a> {
    GrantedResource {
        component: described.component,
        content: &described.resource.content,
        installed: &described.installed,
        algorithm: encryption.algorithm,
        iv: &encryption.iv,
        key: wrapped.get(),
    }
}

fn encryption(described: &Described) -> Result<&Encryption, RequestError> {
    described.resource.encryption.as_ref().ok_or_else(|| failed("the resource is not encrypted"))
}
