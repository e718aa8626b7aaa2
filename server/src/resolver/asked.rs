//! An update request whose MAC was right, read into what decisions need.

use bellwether_decide::identity::Place;
use bellwether_decide::key_index::{Request, Unconfirmed};
use bellwether_keys::{PublicShare, mac};
use bellwether_manifests::message::UpdateRequest;
use bellwether_store::Digest;
use bellwether_store::device::Identity;
use sha2::{Digest as _, Sha256};

use super::{RequestError, failed};
use crate::answers::Answers;
use crate::book::Page;
use crate::core::Core;
use crate::keyring::Keyed;
use crate::vault::PlaceKeys;

/// What a verified request says, owned.
pub(super) struct Asked {
    /// What the key-index table needs.
    pub(super) request: Request,
    /// What a verdict must carry.
    pub(super) nonce: [u8; 8],
    /// Contents of a descriptor that the device holds.
    pub(super) held: Vec<Digest>,
    /// What resolution needs.
    pub(super) answers: Answers,
}

impl Core {
    /// Verifies and reads a request at `place`; only what comes out of here is believed.
    pub(super) fn open_request(
        &self,
        identity: &Identity,
        place: Place,
        page: &Page,
        bytes: &[u8],
    ) -> Result<(Keyed, Asked), RequestError> {
        let verify = |keys: &PlaceKeys| mac::open_request(&keys.up, page.request_identifier(), bytes);
        let (keyed, request) = self.keyed(identity, place, verify)?;
        Ok((keyed, self.read_request(&request, bytes)?))
    }

    fn read_request(&self, request: &UpdateRequest<'_>, bytes: &[u8]) -> Result<Asked, RequestError> {
        if request.options.share.is_some_and(|share| PublicShare::parse(share).is_err()) {
            return Err(self.malformed("a share that is no point of P-256"));
        }
        let answers = Answers::read(request).ok_or_else(|| self.malformed("answers of a wrong type"))?;
        let held = request.options.held.map(|held| held.iter().copied().collect()).unwrap_or_default();
        let unconfirmed =
            request.options.unconfirmed.map(|kept| Unconfirmed { grant: kept.grant, report: *kept.report });
        Ok(Asked {
            nonce: *request.nonce,
            held,
            request: Request {
                place: Place { epoch: request.place.epoch, index: request.place.index },
                counter: request.counter,
                fork: *request.fork,
                digest: Sha256::digest(bytes).into(),
                manifest: *request.selector.manifest,
                selector: request.selector.hash().map_err(failed)?,
                running: answers.running.clone(),
                echo: request.options.echo.map(<[u8]>::to_vec),
                keys: keys_digest(request),
                device_share: request.options.share.map(<[u8]>::to_vec),
                go: request.options.go,
                unconfirmed,
                clock: request.options.clock,
            },
            answers,
        })
    }
}

/// One digest over the keys of options 4 and 6, so that a repeated request is known for the same.
fn keys_digest(request: &UpdateRequest<'_>) -> Option<Digest> {
    let (wrap_to, share) = (request.options.wrap_to, request.options.share);
    if wrap_to.is_none() && share.is_none() {
        return None;
    }
    let mut hash = Sha256::new();
    for key in [wrap_to, share] {
        let key = key.unwrap_or_default();
        hash.update((key.len() as u64).to_be_bytes());
        hash.update(key);
    }
    Some(hash.finalize().into())
}
