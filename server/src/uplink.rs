//! Reports in, receipts out: the device's key index advances here and nowhere else.

use bellwether_decide::campaign::Campaign;
use bellwether_decide::campaign::concerned::concerned;
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::stage::Track;
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::{IdentityState, Moment, Place};
use bellwether_decide::key_index::{self, Arrival, Decision, Reply, Report};
use bellwether_keys::mac::{self, VerifiedReport};
use bellwether_manifests::message::{self, Receipt};
use bellwether_manifests::report::{Outcome, SuitReport};
use bellwether_store::Digest;
use bellwether_store::device::{Identity, KeyStep, NowRuns, Transition};
use sha2::{Digest as _, Sha256};

use crate::core::Core;
use crate::downlink::may_start;
use crate::metrics::steady;
use crate::resolver::{CONFLICTS_MAX, RequestError, Sender, event, failed, told_of};
use crate::vault::PlaceKeys;

/// What a verified report says, owned.
struct Said {
    report: Report,
    manifest: Digest,
    reason: Option<String>,
}

/// What a report changes.
struct Step<'a> {
    said: &'a Said,
    decision: &'a Decision,
    state: &'a IdentityState,
    keys: KeyStep<'a>,
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
        let began = steady();
        let claimed = mac::peek_report_place(bytes).map_err(|_| self.malformed("no place"))?;
        let place = Place { epoch: claimed.epoch, index: claimed.index };
        for _ in 0..CONFLICTS_MAX {
            let identity = self.identity_of(sender, claimed.id).await?;
            let verify = |keys: &PlaceKeys| mac::open_report(&keys.up, bytes);
            let (keyed, verified) = self.keyed(&identity, place, verify)?;
            let said = self.read_report(&verified, bytes)?;
            let context = self.plain_context(&identity)?;
            let decision = key_index::decide(&identity.state, &Arrival::Report(said.report), &context);
            self.metrics.row(decision.row);
            self.registry.heard(&identity.endpoint, &sender.address, self.now(), false);
            self.registry.awake(&identity.endpoint, self.steady());
            if let Reply::Repeat(receipt) = &decision.reply
                && !decision.changes(&identity.state)
            {
                return Ok(Receipted { receipt: receipt.clone(), start: None });
            }
            let entered = self.entered(&identity, &decision, &keyed)?;
            let (receipt, state) = self.receipted(&identity, &keyed.keys, &said, &decision)?;
            let tracked = self.tracked(&identity, &said.manifest).await?;
            let keys = KeyStep { added: &entered, destroyed_up_to: decision.destroy_seed_of };
            let step = Step { said: &said, decision: &decision, state: &state, keys };
            if self.recorded(sender, &identity, &tracked, &step).await? {
                self.look_at([identity.endpoint.clone()]);
                self.metrics.receipted(began.elapsed());
                let start = starts(&said, &tracked).then_some(identity.endpoint);
                return Ok(Receipted { receipt, start });
            }
        }
        Err(failed("the identity changes faster than it can be decided on"))
    }

    /// Makes the receipt, or finds the one that the same report got, and the state that keeps it.
    fn receipted(
        &self,
        identity: &Identity,
        keys: &PlaceKeys,
        said: &Said,
        decision: &Decision,
    ) -> Result<(Vec<u8>, IdentityState), RequestError> {
        if let Reply::Repeat(receipt) = &decision.reply {
            return Ok((receipt.clone(), decision.state.clone()));
        }
        let receipt = seal_receipt(keys, identity, &said.report, self.now())?;
        let state = decision.receipted(&said.report, &receipt);
        Ok((receipt, state))
    }

    fn read_report(&self, verified: &VerifiedReport<'_>, bytes: &[u8]) -> Result<Said, RequestError> {
        let VerifiedReport { report, suit_report } = verified;
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
        tracked: &[(Campaign, Track)],
        step: &Step<'_>,
    ) -> Result<bool, RequestError> {
        let said = step.said;
        let campaigns = concerned(tracked, &said.manifest, said.report.grant);
        let at = self.now();
        let mut events = told_of(identity, step.decision, self.now());
        let reports: Vec<Event> = match campaigns.as_slice() {
            // The same report again says nothing new.
            _ if matches!(step.decision.reply, Reply::Repeat(_)) => Vec::new(),
            // What was written before it failed is no longer there to be started.
            _ if has_failed_since(said, &identity.state) => vec![event(at, None, identity, reported(said))],
            [] => vec![event(at, None, identity, reported(said))],
            some => {
                some.iter().map(|campaign| event(at, Some(*campaign), identity, reported(said))).collect()
            }
        };
        events.extend(reports);
        let alarms: Vec<_> = self.occurrence(sender, identity, step.decision).into_iter().collect();
        // Read from the state before the step: one that confirms forgets the grant.
        let components = installed(said, &identity.state);
        let running = NowRuns { endpoint: &identity.endpoint, components: &components, since: at };
        let transition = Transition {
            running: (!components.is_empty()).then_some(running),
            events: &events,
            alarms: &alarms,
            keys: step.keys,
            ..Transition::new(identity.state.revision, step.state)
        };
        self.write(identity, transition).await
    }
}

/// Tells whether the device's image is verified and wanted: a campaign that goes on has offered it.
fn starts(said: &Said, tracked: &[(Campaign, Track)]) -> bool {
    let mut offered = tracked.iter().filter(|(one, _)| one.manifest == said.manifest).map(|(one, _)| one);
    said.report.moment == Moment::Decrypted && offered.any(may_start)
}

/// Tells whether an image is reported as verified after its failure was: the two came in the other order than they were
/// made in.
fn has_failed_since(said: &Said, state: &IdentityState) -> bool {
    let report = &said.report;
    report.moment == Moment::Decrypted && state.reported(report.place, report.grant, Moment::Failed)
}

/// The images that a device runs once it has reported that its grant is installed.
fn installed(said: &Said, state: &IdentityState) -> Vec<(u64, Digest)> {
    let report = &said.report;
    let grant = state.grant(report.place, report.grant).filter(|_| report.moment == Moment::Installed);
    let contents = grant.map_or(&[][..], |grant| &grant.contents);
    contents.iter().map(|content| (content.component, content.installed)).collect()
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

fn seal_receipt(
    keys: &PlaceKeys,
    identity: &Identity,
    report: &Report,
    now: u64,
) -> Result<Vec<u8>, RequestError> {
    let Place { epoch, index } = report.place;
    let place = message::Place { id: identity.id.as_str(), epoch, index };
    let receipt = Receipt { place, report: &report.digest, now };
    mac::seal_receipt_to_vec(&keys.down, &receipt).map_err(failed)
}
