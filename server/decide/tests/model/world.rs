//! The state of the world, the messages in it, and the steps that may come next.

use std::collections::BTreeSet;

use bellwether_decide::alarm::AlarmKind;
use bellwether_decide::identity::{Confirm, Digest, ForkHead, Moment, Place, Token};

use crate::device::Device;
use crate::kept::Kept;
use crate::scenario::{CHAIN_LENGTH, Faults, Scenario};
use crate::server::Server;

/// Who made a message. The server can't tell: both hold the same seed.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Party {
    Original,
    Clone,
}

impl Party {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Original => Self::Clone,
            Self::Clone => Self::Original,
        }
    }
}

/// A request. Its bytes are named by who made it and its counter.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Ask {
    pub(crate) by: Party,
    /// Drawn anew for each request; here the counter, and how often the device's record was restored.
    pub(crate) nonce: u64,
    pub(crate) counter: u64,
    pub(crate) place: Place,
    pub(crate) fork: ForkHead,
    pub(crate) manifest: u8,
    pub(crate) running: u8,
    pub(crate) echo: Option<Token>,
    pub(crate) go: Option<u64>,
    pub(crate) unconfirmed: Option<(u64, Digest)>,
}

/// A report. Its random bytes are the name of who made it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Tell {
    pub(crate) by: Party,
    /// How many reports that party had made before.
    pub(crate) nth: u8,
    pub(crate) place: Place,
    pub(crate) grant: u64,
    pub(crate) moment: Moment,
    pub(crate) manifest: u8,
}

/// A message to the server.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Up {
    Ask(Ask),
    Tell(Tell),
}

/// A message to the devices.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Down {
    /// Bound to a place and a number alone: whoever holds the seed can use it, now or later.
    Grant(Granted),
    /// Bound to the request of this party with this nonce.
    Verdict(Party, u64, Verdict),
    Receipt(Digest),
}

/// A grant as the devices read it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Granted {
    pub(crate) number: u64,
    pub(crate) place: Place,
    pub(crate) leads_to: Place,
    pub(crate) manifest: u8,
    pub(crate) moves: Moment,
    pub(crate) tells_decrypted: bool,
    pub(crate) go: bool,
}

/// A verdict as the devices read it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Verdict {
    /// Nothing, later or refused: the request is over.
    No,
    Prove(Place, Token),
    Go(u64),
    Stop(u64),
    Forward(Place, ForkHead, u64),
}

/// Everything that a step may depend on.
#[derive(Clone, Debug, Hash)]
pub(crate) struct World {
    pub(crate) server: Kept<Server>,
    pub(crate) backup: Option<Kept<Server>>,
    pub(crate) restores: u64,
    /// Lives of a grant that have passed.
    pub(crate) passed: u8,
    pub(crate) device: Kept<Device>,
    pub(crate) older: Option<Kept<Device>>,
    pub(crate) rolled_back: bool,
    pub(crate) clone: Option<Kept<Device>>,
    /// Reports that the device had made before there were two.
    pub(crate) common: u8,
    pub(crate) up: BTreeSet<Up>,
    pub(crate) down: BTreeSet<Down>,
    pub(crate) alarms: BTreeSet<&'static str>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Reach(Up, Left),
    Arrive(Party, Down, Left),
    LoseUp(Up),
    LoseDown(Down),
    Act(Party, Act),
    /// A grant ahead of any request, in a gateway's bundle.
    Bundle,
    Pass,
    BackUp,
    Restore,
    Save,
    RollBack,
    Copy,
    /// The clone claims to have confirmed a grant that it overheard.
    Forge(Granted),
    Resync,
    Forward,
    Reissue,
}

/// What becomes of a message that was delivered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Left {
    Nothing,
    /// It can be delivered again: repeated by the network, or held by a gateway.
    Copy,
}

/// A step, and whether something goes wrong in it. Delay and reordering are no faults: any step may come next.
pub(crate) struct Possible {
    pub(crate) step: Step,
    pub(crate) is_fault: bool,
}

/// What a device does by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Act {
    /// Sends a request with a new counter.
    Ask,
    /// Sends its oldest report.
    Tell,
    Decrypt,
    Install,
    Fail,
    /// Power cut, or no answer: what is not in the record is gone.
    Forget,
    /// The clone's tricks: a counter far ahead, and a place that it only computes.
    AskFarAhead,
    AskBeyond,
}

impl World {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            server: Kept::new(Server::new()),
            backup: None,
            restores: 0,
            passed: 0,
            device: Kept::new(Device::new(scenario.updates)),
            older: None,
            rolled_back: false,
            clone: None,
            common: 0,
            up: BTreeSet::new(),
            down: BTreeSet::new(),
            alarms: BTreeSet::new(),
        }
    }

    pub(crate) fn party(&self, party: Party) -> Option<&Device> {
        match party {
            Party::Original => Some(&self.device),
            Party::Clone => self.clone.as_deref(),
        }
    }

    /// Changes a device; `None` if there is no such one.
    pub(crate) fn change<R>(&mut self, party: Party, change: impl FnOnce(&mut Device) -> R) -> Option<R> {
        match party {
            Party::Original => Some(self.device.change(change)),
            Party::Clone => self.clone.as_mut().map(|clone| clone.change(change)),
        }
    }

    pub(crate) fn raise(&mut self, kind: AlarmKind) {
        self.alarms.insert(kind.name());
    }

    pub(crate) fn raised(&self, kind: AlarmKind) -> bool {
        self.alarms.contains(kind.name())
    }

    /// Steps that are possible now.
    pub(crate) fn steps(&self, scenario: &Scenario) -> Vec<Possible> {
        let mut steps = Vec::new();
        self.deliveries(&mut steps);
        self.acts(scenario, &mut steps);
        self.faults(scenario.faults, &mut steps);
        self.operators(&mut steps);
        steps
    }

    fn deliveries(&self, steps: &mut Vec<Possible>) {
        let mut add = |step, is_fault| steps.push(Possible { step, is_fault });
        for message in &self.up {
            if self.down.len() < DOWN_MAX {
                add(Step::Reach(message.clone(), Left::Nothing), false);
                add(Step::Reach(message.clone(), Left::Copy), true);
            }
            add(Step::LoseUp(message.clone()), true);
        }
        for message in &self.down {
            for party in [Party::Original, Party::Clone] {
                if self.party(party).is_some_and(|device| device.heeds(message)) && self.up.len() < UP_MAX {
                    add(Step::Arrive(party, message.clone(), Left::Nothing), false);
                    add(Step::Arrive(party, message.clone(), Left::Copy), true);
                }
            }
            // What nobody heeds is only in the way.
            let heeded = [Party::Original, Party::Clone]
                .into_iter()
                .any(|party| self.party(party).is_some_and(|device| device.heeds(message)));
            add(Step::LoseDown(message.clone()), heeded);
        }
    }

    fn acts(&self, scenario: &Scenario, steps: &mut Vec<Possible>) {
        for party in [Party::Original, Party::Clone] {
            let Some(device) = self.party(party) else {
                continue;
            };
            for act in [Act::Ask, Act::Tell, Act::Decrypt, Act::Install, Act::Fail, Act::Forget] {
                let within_bounds = match act {
                    Act::Ask => self.up.len() < UP_MAX && device.counter < COUNTER_MAX,
                    Act::Tell => self.up.len() < UP_MAX,
                    Act::Fail => device.failures < scenario.faults.failures,
                    _ => true,
                };
                if within_bounds && device.can(act) {
                    let is_fault = match act {
                        Act::Ask => device.has_what_it_asked_for(),
                        Act::Fail | Act::Forget => true,
                        _ => false,
                    };
                    steps.push(Possible { step: Step::Act(party, act), is_fault });
                }
            }
        }
        if let Some(clone) = &self.clone
            && clone.can(Act::Ask)
            && clone.counter < COUNTER_MAX
            && self.up.len() < UP_MAX
        {
            for act in [Act::AskFarAhead, Act::AskBeyond] {
                steps.push(Possible { step: Step::Act(Party::Clone, act), is_fault: true });
            }
            for message in &self.down {
                if let Down::Grant(grant) = message {
                    steps.push(Possible { step: Step::Forge(*grant), is_fault: true });
                }
            }
        }
    }

    fn faults(&self, faults: Faults, steps: &mut Vec<Possible>) {
        let restored = self.restores >= u64::from(faults.restores);
        let possible = [
            (self.down.len() < DOWN_MAX && self.device.wanted().is_some(), Step::Bundle),
            (self.passed < faults.passes, Step::Pass),
            (!restored && self.backup.is_none(), Step::BackUp),
            (!restored && self.backup.is_some(), Step::Restore),
            (faults.rollbacks > 0 && self.older.is_none(), Step::Save),
            (self.older.is_some() && !self.rolled_back, Step::RollBack),
            (faults.copies > 0 && self.clone.is_none(), Step::Copy),
        ];
        for (possible, step) in possible {
            if possible {
                // A backup is made for being restored: the two are one fault.
                let is_fault = !matches!(step, Step::Restore | Step::RollBack);
                steps.push(Possible { step, is_fault });
            }
        }
    }

    fn operators(&self, steps: &mut Vec<Possible>) {
        let permits = &self.server.state.permits;
        let possible = [
            (self.raised(AlarmKind::AheadOfServer) && permits.resync_until.is_none(), Step::Resync),
            (self.rolled_back && permits.forward.is_none() && self.doubted(), Step::Forward),
            (self.raised(AlarmKind::RepeatedRequest) && permits.reissue.is_empty(), Step::Reissue),
        ];
        for (possible, step) in possible {
            if possible {
                steps.push(Possible { step, is_fault: false });
            }
        }
    }

    /// An alarm that an operator looks at before he lets a device go on.
    fn doubted(&self) -> bool {
        self.raised(AlarmKind::Clone) || self.raised(AlarmKind::CloneOrRolledBack)
    }
}

/// The place that a grant leads to.
pub(crate) fn leads_to(place: Place, reseed: bool) -> Place {
    if reseed || place.index + 1 >= CHAIN_LENGTH {
        Place { epoch: place.epoch + 1, index: 0 }
    } else {
        Place { index: place.index + 1, ..place }
    }
}

/// The moments of a report that a kind of grant asks for before the last one.
pub(crate) fn tells_decrypted(confirm: Confirm) -> bool {
    confirm != Confirm::Installed
}

/// Messages on their way to the server, each as often as it likes: the one that is due and an old one.
const UP_MAX: usize = 2;

/// Messages on their way to the devices: one more, which a gateway holds.
const DOWN_MAX: usize = 3;

/// Requests of a device in one exploration: two for each update, echoes, and some that come to nothing.
const COUNTER_MAX: u64 = 8;
