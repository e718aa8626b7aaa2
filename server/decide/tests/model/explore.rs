//! Every order of steps, by breadth, until a bound of states.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use bellwether_decide::identity::IdentityState;
use bellwether_decide::key_index::Row;

use crate::check;
use crate::device;
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
        let faults =
            self.faults.map_or("not all without a".to_owned(), |faults| format!("all within {faults}"));
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

/// A step that is a fault, and where it may happen: made only when its turn comes, since most states lead to several.
struct Fault {
    at: Rc<Node>,
    step: Step,
}

/// An exploration that goes on.
struct Search<'a> {
    scenario: &'a Scenario,
    states_max: usize,
    /// States that follow from one fault, beyond the first: many faults, not all that follows from few.
    states_max_each: usize,
    is_cut: bool,
    visited: HashSet<u64>,
    ended: HashSet<u64>,
    seen: Explored,
}

/// Explores a scenario up to this many states: all that come about without a fault, then with one more, and so on.
///
/// # Panics
///
/// Where something that is asserted does not hold, with the steps that lead there.
pub(crate) fn explore(scenario: &Scenario, states_max: usize) -> Explored {
    let (visited, ended, seen) = (HashSet::new(), HashSet::new(), Explored::default());
    let mut search =
        Search { scenario, states_max, states_max_each: states_max, is_cut: false, visited, ended, seen };
    let mut faults = Vec::new();
    let first = Node { world: World::new(scenario), trace: None, depth: 0 };
    search.close(Rc::new(first), &mut faults);
    for count in 0.. {
        if search.is_cut {
            break;
        }
        search.seen.faults = Some(count);
        let mut level = std::mem::take(&mut faults);
        // Mixed, so that a bound cuts no kind of state off.
        level.sort_by_cached_key(|fault| fingerprint(&fault.at.world));
        if level.is_empty() {
            break;
        }
        if count > 0 {
            search.states_max_each = states_max / EACH_SHARE;
        }
        for Fault { at, step } in level {
            let node = search.follow(&at, step);
            search.close(node, &mut faults);
            if search.seen.states >= states_max {
                break;
            }
        }
    }
    search.seen
}

impl Search<'_> {
    /// Sees every state that follows from this one without a fault, up to the bounds.
    fn close(&mut self, node: Rc<Node>, faults: &mut Vec<Fault>) {
        let enough = self.states_max.min(self.seen.states + self.states_max_each);
        let mut waiting = VecDeque::from([node]);
        while let Some(node) = waiting.pop_front() {
            if !self.visited.insert(fingerprint(&node.world)) {
                continue;
            }
            if self.seen.states >= enough {
                self.is_cut = true;
                return;
            }
            self.seen.states += 1;
            self.seen.depth = self.seen.depth.max(node.depth);
            self.end(&node);
            for Possible { step, is_fault } in node.world.steps(self.scenario) {
                if is_fault {
                    faults.push(Fault { at: Rc::clone(&node), step });
                } else {
                    waiting.push_back(self.follow(&node, step));
                }
            }
        }
    }

    fn follow(&mut self, node: &Node, step: Step) -> Rc<Node> {
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
        Rc::new(Node { world, trace: Some(trace), depth: node.depth + 1 })
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
                let answer = self.change(*party, |device| device.take(message)).flatten();
                self.up.extend(answer);
            }
            Step::LoseUp(message) => {
                self.up.remove(message);
            }
            Step::LoseDown(message) => {
                self.down.remove(message);
            }
            Step::Act(party, act) => {
                let message = self.change(*party, |device| device.act(*act)).flatten();
                self.up.extend(message);
            }
            Step::Bundle => {
                let grant = self.bundle(scenario);
                self.down.extend(grant);
            }
            Step::Pass => self.passed += 1,
            Step::BackUp => self.backup = Some(self.server.clone()),
            Step::Restore => self.restore(),
            Step::Save => self.older = Some(self.device.clone()),
            Step::RollBack => self.roll_back(),
            Step::Copy => self.copy(),
            Step::Forge(grant) => {
                let message = self.change(Party::Clone, |clone| clone.forge(grant)).flatten();
                self.up.extend(message);
            }
            Step::Resync => self.operate(|state| operator::resync(state, u64::MAX)),
            Step::Forward => self.operate(|state| operator::forward(state, u64::MAX)),
            Step::Reissue => self.reissue(),
        }
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
        let (by, nth) = match message {
            Up::Ask(ask) => (ask.by, ask.unconfirmed.map(|(_, report)| device::nth(&report))),
            Up::Tell(tell) => (tell.by, Some(tell.nth)),
        };
        if self.clone.is_some() && nth.is_some_and(|nth| nth >= self.common) {
            self.server.change(|server| server.moved_by[by as usize] = true);
        }
    }

    fn restore(&mut self) {
        if let Some(backup) = self.backup.take() {
            self.server = backup;
            self.restores += 1;
        }
    }

    fn roll_back(&mut self) {
        if let Some(older) = self.older.clone() {
            let life = self.device.life + 1;
            self.device = older;
            self.device.change(|device| (device.life, device.asking, device.may_swap) = (life, None, false));
            self.rolled_back = true;
        }
    }

    fn copy(&mut self) {
        let mut clone = self.device.clone();
        clone.change(|clone| (clone.party, clone.asking, clone.may_swap) = (Party::Clone, None, false));
        self.common = clone.told;
        self.clone = Some(clone);
    }

    pub(crate) fn reissue(&mut self) {
        let wanted = self.device.wanted().map(|manifest| [manifest; 32]);
        if let Some(Ok(state)) = wanted.map(|manifest| operator::reissue(&self.server.state, manifest)) {
            self.operate(|_| state);
        }
    }

    /// An operator changes the state; its revision counts steps, and would keep states apart that are the same.
    pub(crate) fn operate(&mut self, verb: impl FnOnce(&IdentityState) -> IdentityState) {
        self.server.change(|server| server.state = IdentityState { revision: 0, ..verb(&server.state) });
    }
}

/// Two of a million states share one with a chance of one in ten million; then one of them is not gone on from.
fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
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

/// Share of the states that may follow from one of two faults: five hundred such faults are looked at.
const EACH_SHARE: usize = 500;
