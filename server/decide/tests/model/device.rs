//! The device, as the protocol's "What the device keeps" says. A step is one write of its record.

use bellwether_decide::fork::fork_after;
use bellwether_decide::identity::{Digest, ForkHead, Moment, Place};

use crate::world::{Act, Ask, Down, Granted, Party, Tell, Up, Verdict, leads_to};

/// The record, and what a power cut takes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Device {
    pub(crate) party: Party,
    pub(crate) place: Place,
    pub(crate) fork: ForkHead,
    pub(crate) grant_highest: u64,
    pub(crate) open: Option<Open>,
    pub(crate) counter: u64,
    pub(crate) pending: Vec<Pending>,
    pub(crate) running: u8,
    /// Reports made so far, in the place of their random bytes.
    pub(crate) told: u8,
    pub(crate) failures: u8,
    /// Times that the record was restored; never restored itself, since random bytes do not come again.
    pub(crate) life: u8,
    /// Number of the last image that it wants.
    pub(crate) goal: u8,
    /// In memory: nonce of the open request.
    pub(crate) asking: Option<u64>,
    /// In memory: the server said "go" for the open grant.
    pub(crate) may_swap: bool,
}

/// The open grant and how far it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Open {
    pub(crate) grant: Granted,
    pub(crate) decrypted: bool,
}

/// A report without a receipt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Pending {
    pub(crate) tell: Tell,
    /// The place that it led to, if it confirms.
    pub(crate) led_to: Option<Place>,
}

impl Device {
    pub(crate) fn new(goal: u8) -> Self {
        Self {
            party: Party::Original,
            place: Place::default(),
            fork: ForkHead::default(),
            grant_highest: 0,
            open: None,
            counter: 0,
            pending: Vec::new(),
            running: 0,
            told: 0,
            failures: 0,
            life: 0,
            goal,
            asking: None,
            may_swap: false,
        }
    }

    /// Tells whether an act is possible now.
    pub(crate) fn can(&self, act: Act) -> bool {
        let free = PENDING_MAX - self.pending.len();
        match act {
            Act::Ask => self.asking.is_none() && self.wanted().is_some(),
            Act::Tell => !self.pending.is_empty(),
            Act::Decrypt => {
                self.open.is_some_and(|open| !open.decrypted && (free > 0 || !open.grant.tells_decrypted))
            }
            Act::Install => {
                let open = self.open.filter(|open| open.decrypted);
                free > 0 && open.is_some_and(|open| !open.grant.go || self.may_swap)
            }
            Act::Fail => free > 0 && self.open.is_some(),
            Act::Forget => self.asking.is_some(),
            Act::AskFarAhead | Act::AskBeyond => false,
        }
    }

    /// Tells whether a request would only ask for what it has: its grant, and the leave to swap.
    pub(crate) fn has_what_it_asked_for(&self) -> bool {
        self.open.is_some_and(|open| !(open.decrypted && open.grant.go && !self.may_swap))
    }

    /// The manifest to ask for: one that failed only after the receipt of its failure report.
    pub(crate) fn wanted(&self) -> Option<u8> {
        let manifest = (self.running < self.goal).then_some(self.running + 1)?;
        let failed =
            |pending: &Pending| pending.tell.moment == Moment::Failed && pending.tell.manifest == manifest;
        (!self.pending.iter().any(failed)).then_some(manifest)
    }

    /// Does an act; gives the message that it sends.
    pub(crate) fn act(&mut self, act: Act) -> Option<Up> {
        match act {
            Act::Ask => self.ask(1, self.place),
            Act::AskFarAhead => self.ask(FAR_AHEAD, self.place),
            Act::AskBeyond => self.ask(1, leads_to(self.place, true)),
            Act::Tell => self.pending.first().map(|pending| Up::Tell(pending.tell)),
            Act::Decrypt => {
                self.decrypt();
                None
            }
            Act::Install => {
                self.finish(Moment::Installed);
                None
            }
            Act::Fail => {
                self.failures += 1;
                self.finish(Moment::Failed);
                None
            }
            Act::Forget => {
                (self.asking, self.may_swap) = (None, false);
                None
            }
        }
    }

    fn ask(&mut self, ahead: u64, place: Place) -> Option<Up> {
        let manifest = self.wanted()?;
        self.counter += ahead;
        self.asking = Some(self.nonce());
        Some(Up::Ask(self.request(manifest, place, None)))
    }

    /// Asks from where a grant leads, as if it had confirmed it: with the fork head that it would have then.
    pub(crate) fn forge(&mut self, grant: &Granted) -> Option<Up> {
        let Up::Ask(mut ask) = self.ask(1, grant.leads_to)? else {
            return None;
        };
        let report = [FORGED; 32];
        ask.fork = fork_after(self.fork, &report);
        ask.unconfirmed = Some((grant.number, report));
        Some(Up::Ask(ask))
    }

    /// Forgets every report but the one that led here, which a request may have to name.
    pub(crate) fn forget_reports(&mut self) {
        let place = self.place;
        self.pending.retain(|pending| pending.led_to == Some(place));
    }

    fn nonce(&self) -> u64 {
        u64::from(self.life) << 32 | self.counter
    }

    fn request(&self, manifest: u8, place: Place, echo: Option<[u8; 16]>) -> Ask {
        let demands = self.open.filter(|open| open.decrypted && open.grant.go);
        let led_here = self.pending.iter().find(|pending| pending.led_to == Some(self.place));
        Ask {
            by: self.party,
            nonce: self.nonce(),
            counter: self.counter,
            place,
            fork: self.fork,
            manifest,
            running: self.running,
            echo,
            go: demands.map(|open| open.grant.number),
            unconfirmed: led_here.map(|pending| (pending.tell.grant, digest(&pending.tell))),
        }
    }

    fn decrypt(&mut self) {
        let Some(open) = &mut self.open else {
            return;
        };
        open.decrypted = true;
        let grant = open.grant;
        if grant.tells_decrypted {
            self.report(&grant, Moment::Decrypted);
        }
    }

    fn finish(&mut self, moment: Moment) {
        let Some(open) = self.open.take() else {
            return;
        };
        if moment == Moment::Installed {
            self.running = open.grant.manifest;
        }
        self.may_swap = false;
        self.report(&open.grant, moment);
    }

    /// Report, place and fork head move in one write.
    fn report(&mut self, grant: &Granted, moment: Moment) {
        let Granted { number, place, manifest, .. } = *grant;
        let tell =
            Tell { by: self.party, nth: self.life << 4 | self.told, place, grant: number, moment, manifest };
        self.told += 1;
        let confirms = moment == grant.moves && place == self.place;
        if confirms {
            self.place = grant.leads_to;
            self.fork = fork_after(self.fork, &digest(&tell));
            self.asking = None;
        }
        self.pending.push(Pending { tell, led_to: confirms.then_some(grant.leads_to) });
    }

    /// Tells whether a message makes a difference to this device.
    pub(crate) fn heeds(&self, message: &Down) -> bool {
        match message {
            Down::Grant(grant) => self.accepts(grant),
            Down::Verdict(party, nonce, _) => *party == self.party && self.asking == Some(*nonce),
            Down::Receipt(report) => self.pending.iter().any(|pending| digest(&pending.tell) == *report),
        }
    }

    fn accepts(&self, grant: &Granted) -> bool {
        let held = self.open.is_some_and(|open| open.grant == *grant) && self.asking.is_some();
        grant.place == self.place && (grant.number > self.grant_highest || held)
    }

    /// Takes a message; gives the answer to a "prove".
    pub(crate) fn take(&mut self, message: &Down) -> Option<Up> {
        match message {
            Down::Grant(grant) => {
                if self.open.is_none_or(|open| open.grant != *grant) {
                    self.open = Some(Open { grant: *grant, decrypted: false });
                }
                self.grant_highest = grant.number;
                (self.asking, self.may_swap) = (None, false);
                None
            }
            Down::Verdict(_, _, verdict) => self.heed(*verdict),
            Down::Receipt(report) => {
                self.pending.retain(|pending| digest(&pending.tell) != *report);
                None
            }
        }
    }

    fn heed(&mut self, verdict: Verdict) -> Option<Up> {
        let open = self.open.map(|open| open.grant.number);
        match verdict {
            Verdict::No => {}
            Verdict::Prove(place, token) => {
                let manifest = self.wanted().filter(|_| place == self.place || self.party == Party::Clone)?;
                self.counter += 1;
                self.asking = Some(self.nonce());
                return Some(Up::Ask(self.request(manifest, place, Some(token))));
            }
            Verdict::Go(number) => self.may_swap = open == Some(number),
            Verdict::Stop(number) => self.open = self.open.filter(|open| open.grant.number != number),
            Verdict::Forward(place, fork, highest) => {
                if place >= self.place {
                    (self.place, self.fork) = (place, fork);
                    self.grant_highest = self.grant_highest.max(highest);
                    self.open = None;
                }
            }
        }
        self.asking = None;
        None
    }
}

/// Which of its maker's reports has this digest.
pub(crate) fn nth(digest: &Digest) -> u8 {
    digest[2]
}

/// The digest of a report's bytes.
pub(crate) fn digest(tell: &Tell) -> Digest {
    let mut digest = [0; 32];
    digest[0] = 1 + tell.by as u8;
    digest[1] = tell.moment.number();
    digest[2] = tell.nth;
    digest[3..5].copy_from_slice(&tell.place.epoch.to_be_bytes());
    digest[5..7].copy_from_slice(&tell.place.index.to_be_bytes());
    digest[7..15].copy_from_slice(&tell.grant.to_be_bytes());
    digest
}

/// Reports in the record. Source: "What the device keeps".
const PENDING_MAX: usize = 2;

/// Bytes of a digest that no report has; its number is that of a report which only the clone made.
const FORGED: u8 = 0xFF;

/// A clone that wants to be ahead of the original.
const FAR_AHEAD: u64 = 8;
