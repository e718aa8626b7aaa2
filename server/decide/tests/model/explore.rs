//! Every order of steps, by breadth, until a bound of states.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use bellwether_decide::key_index::Row;

use crate::check;
use crate::fair::{self, Needed};
use crate::scenario::Scenario;
use crate::server::Answered;
use crate::world::{Left, Party, Possible, Step, Up, World};
use bellwether_decide::operator;
use std::collections::{BTreeSet, VecDeque};

/// What was seen.
#[derive(Default)]
pub(crate) struct Explored {
    states: usize,
    steps: usize,
    /// Faults within which every state was seen; `None` if not even all without a fault.
    faults: Option<usize>,
    depth: usize,
    runs: usize,
    with_operator: usize,
    rows: BTreeSet<Row>,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, depth, runs, with_operator, .. } = self;
        let rows: Vec<_> = self.rows.iter().map(|row| row.name()).collect();
        let faults = self.faults.map_or("not all without a".to_owned(), |faults| format!("all within {faults}"));
        write!(
            f,
            "{states} states ({faults} faults), {steps} steps, to {depth} deep; {runs} runs to the end, {with_operator} \
             of them with an operator; rows {}",
            rows.join(" ")
        )
    }
}

/// How a state was reached, newest step first.
struct Trace {
    step: Step,
    before: Option<Rc<Trace>>,
}

struct Node {
    world: World,
    trace: Option<Rc<Trace>>,
    depth: usize,
}

/// An exploration that goes on.
struct Search<'a> {
    scenario: &'a Scenario,
    visited: HashSet<u128>,
    ended: HashSet<u128>,
    seen: Explored,
}

/// Explores a scenario up to this many states: all that come about without a fault, then with one more, and so on.
///
/// # Panics
///
/// Where something that is asserted does not hold, with the steps that lead there.
pub(crate) fn explore(scenario: &Scenario, states_max: usize) -> Explored {
    let seen = Explored::default();
    let mut search = Search { scenario, visited: HashSet::new(), ended: HashSet::new(), seen };
    let mut level = vec![Node { world: World::new(), trace: None, depth: 0 }];
    for faults in 0.. {
        let Some(next) = search.close(level, states_max) else {
            return search.seen;
        };
        search.seen.faults = Some(faults);
        if next.is_empty() {
            return search.seen;
        }
        level = next;
    }
    search.seen
}

impl Search<'_> {
    /// Sees every state that follows from these without a fault; gives those that follow by one.
    fn close(&mut self, level: Vec<Node>, states_max: usize) -> Option<Vec<Node>> {
        let mut beyond = Vec::new();
        let mut waiting = VecDeque::from(level);
        while let Some(node) = waiting.pop_front() {
            if !self.visited.insert(fingerprint(&node.world)) {
                continue;
            }
            if self.seen.states >= states_max {
                return None;
            }
            self.seen.states += 1;
            self.seen.depth = self.seen.depth.max(node.depth);
            self.end(&node);
            for Possible { step, is_fault } in node.world.steps(self.scenario) {
                let next = self.follow(&node, step);
                if is_fault {
                    beyond.push(next);
                } else {
                    waiting.push_back(next);
                }
            }
        }
        Some(beyond)
    }

    fn follow(&mut self, node: &Node, step: Step) -> Node {
        self.seen.steps += 1;
        let mut world = node.world.clone();
        let answered = world.apply(self.scenario, &step);
        if let Some(answered) = &answered {
            self.seen.rows.insert(answered.decision.row);
        }
        let checked = check::step(self.scenario, &node.world, &world, &step, answered.as_ref());
        let trace = Rc::new(Trace { step, before: node.trace.clone() });
        if let Err(violation) = checked {
            panic!("{}: {violation}{}", self.scenario.name, told(&trace));
        }
        Node { world, trace: Some(trace), depth: node.depth + 1 }
    }

    /// Runs the world to its end with a network that delivers, from a state that no run began from.
    fn end(&mut self, node: &Node) {
        for party in [Party::Original, Party::Clone] {
            let Some(alone) = fair::alone(&node.world, party) else {
                continue;
            };
            if !self.ended.insert(fingerprint(&alone)) {
                continue;
            }
            self.seen.runs += 1;
            match fair::run(self.scenario, alone, party) {
                Ok(Needed::Nothing) => {}
                Ok(Needed::Operator) => self.seen.with_operator += 1,
                Err(violation) => {
                    let trace = node.trace.as_deref().map(told).unwrap_or_default();
                    panic!("{}: {violation}{trace}", self.scenario.name);
                }
            }
        }
    }
}

impl World {
    /// Does a step; gives what the server answered.
    pub(crate) fn apply(&mut self, scenario: &Scenario, step: &Step) -> Option<Answered> {
        match step {
            Step::Reach(message, left) => {
                if *left == Left::Nothing {
                    self.up.remove(message);
                }
                return self.reached(scenario, message);
            }
            Step::Arrive(party, message, left) => {
                if *left == Left::Nothing {
                    self.down.remove(message);
                }
                let answer = self.party_mut(*party).and_then(|device| device.take(message));
                self.up.extend(answer);
            }
            Step::LoseUp(message) => {
                self.up.remove(message);
            }
            Step::LoseDown(message) => {
                self.down.remove(message);
            }
            Step::Act(party, act) => {
                let message = self.party_mut(*party).and_then(|device| device.act(*act));
                self.up.extend(message);
            }
            Step::Pass => self.passed += 1,
            Step::BackUp => self.backup = Some(Box::new(self.server.clone())),
            Step::Restore => self.restore(),
            Step::Save => self.older = Some(Box::new(self.device.clone())),
            Step::RollBack => self.roll_back(),
            Step::Copy => self.copy(),
            Step::Resync => self.server.state = operator::resync(&self.server.state, u64::MAX),
            Step::Forward => self.server.state = operator::forward(&self.server.state, u64::MAX),
            Step::Reissue => self.reissue(),
        }
        self.server.state.revision = 0;
        None
    }

    fn reached(&mut self, scenario: &Scenario, message: &Up) -> Option<Answered> {
        let before = self.server.state.place;
        let answered = self.reach(scenario, message)?;
        if self.server.state.place > before {
            self.moved(message);
        }
        if let Some(alarm) = &answered.decision.alarm {
            self.raise(alarm.kind);
        }
        self.down.insert(answered.answer.clone());
        Some(answered)
    }

    /// Notes whose update moved the identity, if the other one did not make it, too.
    fn moved(&mut self, message: &Up) {
        let (by, report) = match message {
            Up::Ask(ask) => (ask.by, ask.unconfirmed.map(|(_, report)| report)),
            Up::Tell(tell) => (tell.by, Some(crate::device::digest(tell))),
        };
        if self.clone.is_some() && report.is_some_and(|report| !self.common.contains(&report)) {
            self.server.moved_by[by as usize] = true;
        }
    }

    fn restore(&mut self) {
        if let Some(backup) = self.backup.take() {
            self.server = *backup;
            self.restores += 1;
        }
    }

    fn roll_back(&mut self) {
        if let Some(older) = self.older.as_deref() {
            let life = self.device.life + 1;
            self.device = crate::device::Device { life, asking: None, may_swap: false, ..older.clone() };
            self.rolled_back = true;
        }
    }

    fn copy(&mut self) {
        let mut clone = self.device.clone();
        (clone.party, clone.asking, clone.may_swap) = (Party::Clone, None, false);
        self.common = clone.pending.iter().map(|pending| crate::device::digest(&pending.tell)).collect();
        self.clone = Some(clone);
    }

    pub(crate) fn reissue(&mut self) {
        let wanted = self.device.wanted().map(|manifest| [manifest; 32]);
        if let Some(Ok(state)) = wanted.map(|manifest| operator::reissue(&self.server.state, manifest)) {
            self.server.state = state;
        }
    }
}

fn fingerprint(world: &World) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, world).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

fn told(trace: &Trace) -> String {
    let mut steps = Vec::new();
    let mut at = Some(trace);
    while let Some(Trace { step, before }) = at {
        steps.push(format!("\n  {step:?}"));
        at = before.as_deref();
    }
    steps.reverse();
    steps.concat()
}
