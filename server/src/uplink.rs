//! Reports in, receipts out: the device's key index advances here and nowhere else.

use bellwether_decide::campaign::Campaign;
use bellwether_decide::campaign::concerned::concerned;
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::stage::Track;
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::{IdentityState, Moment, Place};
use bellwether_decide::key_index::{self, Arrival, Context, Decision, OpenGrant, Reply, Report};
use bellwether_keys::mac::{self, VerifiedReport};
use bellwether_manifests::message::{self, Receipt};
use bellwether_manifests::report::{Outcome, SuitReport};
use bellwether_store::Digest;
use bellwether_store::device::{Identity, Transition};
use sha2::{Digest as _, Sha256};

use crate::clock;
use crate::core::Core;
use crate::downlink::may_start;
use crate::resolver::{CONFLICTS_MAX, RequestError, Sender, event, failed};
use crate::vault::PlaceKeys;

/// What a verified report says, owned.
struct Said {
    report: Report,
    manifest: Digest,
    reason: Option<String>,
}

/// What a report is answered by, and what is due once that answer has left.
#[derive(Debug)]
pub struct Receipted {
    /// The receipt.
    pub receipt: Vec<u8>,
    /// The device whose verified image is to be started. Told to before its receipt, it would boot without it and
    /// report again.
    pub start: Option<Endpoint>,
}

impl Core {
    /// Takes one report and gives its receipt; the same report always gets the same bytes.
    ///
    /// # Errors
    ///
    /// [`RequestError`] where there is nobody to give an authenticated answer to.
    pub async fn report(&self, sender: &Sender, bytes: &[u8]) -> Result<Receipted, RequestError> {
        let claimed = mac::peek_report_place(bytes).map_err(|_| self.malformed("no place"))?;
        let place = Place { epoch: claimed.epoch, index: claimed.index };
        for _ in 0..CONFLICTS_MAX {
            let identity = self.identity_of(sender, claimed.id).await?;
            let keys = self.keys(&identity, place)?;
            let said = self.open_report(&keys, bytes)?;
            let decision =
                key_index::decide(&identity.state, &Arrival::Report(said.report), &context(&identity)?);
            if let Reply::Repeat(receipt) = decision.reply {
                return Ok(Receipted { receipt, start: None });
            }
            let receipt = seal_receipt(&keys, &identity, &said.report)?;
            let state = decision.receipted(&said.report, &receipt);
            let tracked = self.store.campaigns_for(&self.tenant, &identity.endpoint).await.map_err(failed)?;
            if self.recorded(sender, &identity, &said, &tracked, &decision, &state).await? {
                self.wake.notify_one();
                let start = starts(&said, &tracked).then_some(identity.endpoint);
                return Ok(Receipted { receipt, start });
            }
        }
        Err(failed("the identity changes faster than it can be decided on"))
    }

    fn open_report(&self, keys: &PlaceKeys, bytes: &[u8]) -> Result<Said, RequestError> {
        let VerifiedReport { report, suit_report } =
            mac::open_report(&keys.up, bytes).map_err(|error| self.turned(&error))?;
        let body = SuitReport::parse(suit_report).map_err(|_| self.malformed("no SUIT_Report"))?;
        let reason = match body.outcome {
            Outcome::Success => None,
            Outcome::Failure { reason, .. } => Some(format!("{reason:?}")),
        };
        let moment = match report.moment {
            message::Moment::Decrypted => Moment::Decrypted,
            message::Moment::Installed => Moment::Installed,
            message::Moment::Failed => Moment::Failed,
        };
        let place = Place { epoch: report.place.epoch, index: report.place.index };
        let digest = Sha256::digest(bytes).into();
        Ok(Said {
            report: Report { place, grant: report.grant, moment, digest, manifest: *body.manifest },
            manifest: *body.manifest,
            reason,
        })
    }

    async fn recorded(
        &self,
        sender: &Sender,
        identity: &Identity,
        said: &Said,
        tracked: &[(Campaign, Track)],
        decision: &Decision,
        state: &IdentityState,
    ) -> Result<bool, RequestError> {
        let campaigns = concerned(tracked, &said.manifest, said.report.grant);
        let events: Vec<Event> = match campaigns.as_slice() {
            [] => vec![event(None, identity, reported(said))],
            some => some.iter().map(|campaign| event(Some(*campaign), identity, reported(said))).collect(),
        };
        let alarms: Vec<_> = self.occurrence(sender, identity, decision).into_iter().collect();
        let expected_revision = identity.state.revision;
        self.write(identity, Transition { expected_revision, state, events: &events, alarms: &alarms }).await
    }
}

/// Tells whether the device's image is verified and wanted: a campaign that goes on has offered it.
fn starts(said: &Said, tracked: &[(Campaign, Track)]) -> bool {
    let mut offered = tracked.iter().filter(|(one, _)| one.manifest == said.manifest).map(|(one, _)| one);
    said.report.moment == Moment::Decrypted && offered.any(may_start)
}

fn context(identity: &Identity) -> Result<Context, RequestError> {
    Ok(Context {
        now: clock::now(),
        token: clock::random().map_err(failed)?,
        chain_length: identity.chain_length,
        given_again_max: 0,
        reseed_wanted: false,
        restores: 0,
        resync_all_until: None,
        open: OpenGrant { bytes_present: false, cancelled: false, outranked: false },
    })
}

fn reported(said: &Said) -> EventKind {
    let grant = said.report.grant;
    match said.report.moment {
        Moment::Decrypted => EventKind::Decrypted { grant },
        Moment::Installed => EventKind::Installed { grant },
        Moment::Failed => {
            let reason = said.reason.clone().unwrap_or_else(|| "no reason given".to_owned());
            EventKind::Failed { grant, reason }
        }
    }
}

fn seal_receipt(keys: &PlaceKeys, identity: &Identity, report: &Report) -> Result<Vec<u8>, RequestError> {
    let Place { epoch, index } = report.place;
    let place = message::Place { id: identity.id.as_str(), epoch, index };
    let receipt = Receipt { place, report: &report.digest, now: clock::now() };
    mac::seal_receipt_to_vec(&keys.down, &receipt).map_err(failed)
}
