//! A device and the server's state of it, and the situations that the table's cases start from.

use crate::fork::fork_after;
use crate::identity::{Confirm, Content, Digest, IdentityState, Moment, Place};
use crate::key_index::{
    Arrival, Context, Decision, GrantDetails, OpenGrant, Reply, Report, Request, Unconfirmed, Verdict, decide,
};
use crate::operator;

pub(super) const NOW: u64 = 1_795_000_000;
pub(super) const LATER_S: u64 = 86_400;
pub(super) const OLD_IMAGE: Digest = [0x01; 32];
pub(super) const NEW_IMAGE: Digest = [0x02; 32];
pub(super) const MANIFEST: Digest = [0xA1; 32];
pub(super) const OTHER_MANIFEST: Digest = [0xA2; 32];
pub(super) const SELECTOR: Digest = [0x5E; 32];

/// A device and the server's state of it, driven through the table's own functions.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) state: IdentityState,
    pub(super) context: Context,
    pub(super) counter: u64,
    tokens: u8,
}

impl Pair {
    pub(super) fn new() -> Self {
        let open = OpenGrant { bytes_present: true, cancelled: false, outranked: false, ended_there: false };
        let context = Context {
            now: NOW,
            token: [0; 16],
            chain_length: 16,
            given_again_max: 1,
            reseed_wanted: false,
            restores: 0,
            resync_all_until: None,
            open,
        };
        Self { state: IdentityState::new(0), context, counter: 0, tokens: 0 }
    }

    /// The request that an honest device would send now.
    pub(super) fn request(&mut self) -> Request {
        self.counter += 1;
        Request {
            place: self.state.place,
            counter: self.counter,
            fork: self.state.fork,
            digest: digest_of(0x10, self.counter),
            manifest: MANIFEST,
            selector: SELECTOR,
            running: vec![(0, OLD_IMAGE)],
            echo: None,
            keys: None,
            device_share: None,
            go: None,
            unconfirmed: None,
            clock: None,
        }
    }

    /// A report about the newest grant.
    pub(super) fn report(&self, moment: Moment) -> Report {
        let grant = self.state.grants.last().map_or(0, |grant| grant.number);
        let place = self.state.grants.last().map_or(self.state.place, |grant| grant.place);
        Report { place, grant, moment, digest: digest_of(0x20 + moment.number(), grant), manifest: MANIFEST }
    }

    pub(super) fn decide(&mut self, arrival: impl Into<Arrival>) -> Decision {
        self.tokens = self.tokens.wrapping_add(1);
        self.context.token = [self.tokens; 16];
        decide(&self.state, &arrival.into(), &self.context)
    }

    /// Decides and stores, as the shell does when all goes well.
    pub(super) fn take(&mut self, arrival: impl Into<Arrival>) -> Decision {
        let arrival = arrival.into();
        let decision = self.decide(arrival.clone());
        self.state = stored(&decision, &arrival, Confirm::Both);
        decision
    }

    pub(super) fn granted(mut self) -> Self {
        let request = self.request();
        self.take(request);
        self
    }

    pub(super) fn granted_other(mut self) -> Self {
        let mut request = self.request();
        request.manifest = OTHER_MANIFEST;
        self.take(request);
        self
    }

    pub(super) fn granted_confirming(mut self, confirm: Confirm) -> Self {
        let arrival = Arrival::Request(self.request());
        let decision = self.decide(arrival.clone());
        self.state = stored(&decision, &arrival, confirm);
        self
    }

    pub(super) fn reported(mut self, moment: Moment) -> Self {
        let report = self.report(moment);
        self.take(report);
        self
    }

    pub(super) fn updated() -> Self {
        Self::new().granted().reported(Moment::Installed)
    }

    /// Sends a request that is answered "prove", and gives the token.
    pub(super) fn challenged(&mut self, request: Request) -> Vec<u8> {
        match self.take(request).reply {
            Reply::Verdict(Verdict::Prove(token)) => token.to_vec(),
            other => panic!("no prove but {other:?}"),
        }
    }
}

/// Stores a grant that was given ahead of a request.
pub(super) fn stored_ahead(decision: &Decision) -> IdentityState {
    match &decision.reply {
        Reply::NewGrant(new) => decision.granted(new, details(new.number, Confirm::Both), &[]),
        other => panic!("no grant but {other:?}"),
    }
}

fn details(number: u64, confirm: Confirm) -> GrantDetails {
    let contents = vec![Content { component: 0, content: [0xC0; 32], installed: NEW_IMAGE }];
    let message = format!("grant {number}").into_bytes();
    GrantDetails { contents, not_after: NOW + LATER_S, confirm, shares: None, go: false, message }
}

pub(super) fn stored(decision: &Decision, arrival: &Arrival, confirm: Confirm) -> IdentityState {
    match (arrival, &decision.reply) {
        (Arrival::Request(request), Reply::NewGrant(new)) => {
            let details = details(new.number, confirm);
            decision.granted(new, details, format!("answer {}", request.counter).as_bytes())
        }
        (Arrival::Request(request), Reply::Verdict(_) | Reply::HeldGrant { .. }) => {
            decision.answered(format!("answer {}", request.counter).as_bytes())
        }
        (Arrival::Report(report), Reply::Receipt) => {
            decision.receipted(report, format!("receipt {}", decision.state.revision).as_bytes())
        }
        (_, _) => decision.state.clone(),
    }
}

pub(super) fn digest_of(kind: u8, number: u64) -> Digest {
    let mut digest = [kind; 32];
    digest[24..].copy_from_slice(&number.to_be_bytes());
    digest
}

impl From<Request> for Arrival {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Report> for Arrival {
    fn from(report: Report) -> Self {
        Self::Report(report)
    }
}

/// Changes an honest request of this pair.
pub(super) fn asking(mut pair: Pair, change: impl FnOnce(&mut Request)) -> (Pair, Arrival) {
    let mut request = pair.request();
    change(&mut request);
    (pair, request.into())
}

pub(super) fn telling(pair: Pair, moment: Moment, change: impl FnOnce(&mut Report)) -> (Pair, Arrival) {
    let mut report = pair.report(moment);
    change(&mut report);
    (pair, report.into())
}

/// A pair whose device has confirmed, but whose report never came; and the device's next request.
pub(super) fn lost_confirm() -> (Pair, Request) {
    let mut pair = Pair::new().granted();
    let report = pair.report(Moment::Installed);
    let mut request = pair.request();
    request.place.index = 1;
    request.fork = fork_after(pair.state.fork, &report.digest);
    request.unconfirmed = Some(Unconfirmed { grant: report.grant, report: report.digest });
    request.manifest = OTHER_MANIFEST;
    request.running = vec![(0, NEW_IMAGE)];
    (pair, request)
}

pub(super) fn lost(change: impl FnOnce(&mut Request)) -> (Pair, Arrival) {
    let (pair, mut request) = lost_confirm();
    change(&mut request);
    (pair, request.into())
}

/// A clone that asks below the index, and gets "prove".
pub(super) fn clone_challenged() -> (Pair, Request, Vec<u8>) {
    let mut pair = Pair::updated();
    let mut request = pair.request();
    (request.place.index, request.fork, request.counter) = (0, [0; 8], 1);
    let token = pair.challenged(request.clone());
    (pair, request, token)
}

pub(super) fn clone_proving(change: impl FnOnce(&mut Pair, &mut Request)) -> (Pair, Arrival) {
    let (mut pair, mut request, token) = clone_challenged();
    request.echo = Some(token);
    request.counter += 1;
    change(&mut pair, &mut request);
    (pair, request.into())
}

/// A device that asks at s with a counter that was passed, is challenged, and answers with this counter.
pub(super) fn stale_counter_proving(counter: u64) -> (Pair, Arrival) {
    let mut pair = Pair::new().granted().granted();
    let mut request = pair.request();
    (request.counter, request.digest) = (1, digest_of(0x77, 1));
    request.echo = Some(pair.challenged(request.clone()));
    request.counter = counter;
    (pair, request.into())
}

/// An identity that is ahead, is challenged, and proves it.
pub(super) fn ahead_proving() -> (Pair, Arrival) {
    let mut pair = Pair::new();
    let mut request = pair.request();
    request.place.index = 3;
    request.echo = Some(pair.challenged(request.clone()));
    request.counter += 1;
    (pair, request.into())
}

/// An update that moved the index when decrypted, and failed afterwards.
pub(super) fn failed_after_confirm() -> Pair {
    Pair::new().granted_confirming(Confirm::Decrypted).reported(Moment::Decrypted).reported(Moment::Failed)
}

pub(super) fn at_chain_end() -> Pair {
    let mut pair = Pair::updated();
    pair.context.chain_length = 2;
    pair
}

pub(super) const BLOCKED_UNTIL: u64 = NOW + 600;

pub(super) fn blocked(mut pair: Pair) -> Pair {
    pair.state = operator::block(&pair.state, BLOCKED_UNTIL);
    pair
}

pub(super) fn reissued(mut pair: Pair) -> Pair {
    pair.state = operator::reissue(&pair.state, MANIFEST).expect("it was confirmed");
    pair
}

/// A pair whose store was restored.
pub(super) fn restored(mut pair: Pair) -> Pair {
    pair.context.restores += 1;
    pair
}

/// A device that was granted, whose store was restored, and that proved itself since.
pub(super) fn heard_since_restore() -> Pair {
    let mut pair = restored(Pair::new().granted());
    let request = pair.request();
    let echo = Some(pair.challenged(request));
    let mut request = pair.request();
    request.echo = echo;
    pair.take(request);
    pair
}

/// A confirming report for the grant of a number that the restored store does not know.
pub(super) fn confirming_lost_grant(number: i64) -> (Pair, Arrival) {
    telling(restored(Pair::new()), Moment::Installed, |report| {
        report.grant = if number < 0 { 0 } else { NOW + 7 };
    })
}

/// A device that was ahead, and was believed by an operator's leave.
pub(super) fn resynced() -> Pair {
    let (mut pair, arrival) = ahead_proving();
    pair.state = operator::resync(&pair.state, NOW + 5);
    pair.take(arrival);
    pair.counter += 1;
    pair
}

/// A device with a grant that leads to the next epoch.
pub(super) fn reseeding() -> Pair {
    let mut pair = Pair::new();
    pair.context.reseed_wanted = true;
    let mut pair = pair.granted();
    pair.context.reseed_wanted = false;
    pair
}

/// The first request of the next epoch; its report never came.
pub(super) fn reseeded_request(mut pair: Pair) -> (Pair, Arrival) {
    let report = pair.report(Moment::Installed);
    let mut request = pair.request();
    request.place = Place { epoch: 1, index: 0 };
    request.fork = fork_after(pair.state.fork, &report.digest);
    request.unconfirmed = Some(Unconfirmed { grant: report.grant, report: report.digest });
    request.manifest = OTHER_MANIFEST;
    (pair, request.into())
}

/// A device that an operator let go on, and the echo that its first request at s is asked for.
pub(super) fn forwarded() -> (Pair, Vec<u8>) {
    let (mut pair, arrival) = clone_proving(|pair, _| {
        pair.counter = 9;
        *pair = pair.clone().granted_other();
        pair.state = operator::forward(&pair.state, NOW + 5);
    });
    pair.take(arrival);
    pair.counter = 2;
    let request = pair.request();
    let echo = pair.challenged(request);
    (pair, echo)
}
