//! From a state on, a network that delivers everything and one device that goes on: does it get there?

use bellwether_decide::alarm::AlarmKind;
use bellwether_decide::operator;

use crate::check;
use crate::scenario::Scenario;
use crate::world::{Act, Down, Left, Party, Step, Up, World};

/// Whose help a run needed.
pub(crate) enum Needed {
    Nothing,
    Operator,
}

/// The world with this party alone, after a power cut, with all messages lost; `None` if there is none.
///
/// It wants one update more than before, so that no state counts as an end.
pub(crate) fn alone(world: &World, party: Party) -> Option<World> {
    let mut alone = world.clone();
    alone.up.clear();
    alone.down.clear();
    (alone.backup, alone.older) = (None, None);
    alone.change(party, |device| {
        device.act(Act::Forget);
        device.goal += 1;
    })?;
    Some(alone)
}

/// Lets the party run to its goal.
///
/// # Errors
///
/// Says what it is stuck at, or what it got unseen.
pub(crate) fn run(scenario: &Scenario, mut world: World, party: Party) -> Result<Needed, String> {
    let other_confirmed = world.server.moved_by[party.other() as usize];
    let two = world.clone.is_some();
    let mut needed = Needed::Nothing;
    for _ in 0..TURNS_MAX {
        if two && !world.alarms.is_empty() {
            // Seen: what becomes of two devices is an operator's business.
            return Ok(Needed::Nothing);
        }
        let device = world.party(party).ok_or("there is no such device")?;
        let tells_all = party == Party::Clone || device.pending.is_empty();
        if device.running == device.goal && tells_all {
            return done(scenario, other_confirmed, needed);
        }
        world.alarms.clear();
        turn(scenario, &mut world, party)?;
        if operate(&mut world) {
            needed = Needed::Operator;
        }
    }
    Err(format!("{party:?} is stuck: {:#?}\n{:#?}", world.party(party), world.server))
}

fn done(scenario: &Scenario, other_confirmed: bool, needed: Needed) -> Result<Needed, String> {
    if other_confirmed {
        return Err("one of two devices is updated, unseen, after the other one confirmed".to_owned());
    }
    if scenario.has_no_faults() && matches!(needed, Needed::Operator) {
        return Err("an operator was needed without a fault".to_owned());
    }
    Ok(needed)
}

/// The device does what is due, and every message arrives.
fn turn(scenario: &Scenario, world: &mut World, party: Party) -> Result<(), String> {
    let due = match party {
        Party::Original => [Act::Tell, Act::Install, Act::Decrypt, Act::Ask],
        // A clone has no wish to be heard of, and forgets what it would have to tell.
        Party::Clone => [Act::Install, Act::Decrypt, Act::Ask, Act::Tell],
    };
    let acted = world.change(party, |device| {
        device.asking = None;
        if party == Party::Clone {
            device.forget_reports();
        }
        let act = due.into_iter().find(|act| device.can(*act))?;
        Some((act, device.act(act), device.open))
    });
    let Some((act, mut message, had)) = acted.flatten() else {
        return Err(format!("{party:?} has nothing to do: {:#?}", world.party(party)));
    };
    for _ in 0..EXCHANGES_MAX {
        let Some(up) = message.take() else {
            break;
        };
        message = exchanged(scenario, world, party, &up)?;
    }
    let device = world.party(party).ok_or("there is no such device")?;
    if act == Act::Ask && device.open == had && !device.may_swap {
        // It asks again the next day, so that a grant which it can't use comes to its end.
        world.passed += 1;
    }
    Ok(())
}

/// Lets a message reach the server, and its answer the device; gives what the device sends then.
fn exchanged(scenario: &Scenario, world: &mut World, party: Party, up: &Up) -> Result<Option<Up>, String> {
    let (before, step) = (world.clone(), Step::Reach(up.clone(), Left::Nothing));
    let Some(answered) = world.apply(scenario, &step) else {
        return Ok(None);
    };
    check::step(scenario, &before, world, &step, Some(&answered))?;
    world.down.clear();
    let answer: &Down = &answered.answer;
    let heeds = world.party(party).is_some_and(|device| device.heeds(answer));
    Ok(heeds.then(|| world.change(party, |device| device.take(answer)).flatten()).flatten())
}

/// Operators answer to alarms, except to those of two devices.
fn operate(world: &mut World) -> bool {
    if world.raised(AlarmKind::AheadOfServer) {
        world.operate(|state| operator::resync(state, u64::MAX));
    } else if world.raised(AlarmKind::RepeatedRequest) {
        world.reissue();
    } else if world.rolled_back && !world.alarms.is_empty() {
        world.operate(|state| operator::forward(state, u64::MAX));
    } else {
        return false;
    }
    true
}

/// Messages of one exchange: a request, and echoes of the rows that it comes to one after the other.
const EXCHANGES_MAX: usize = 4;

/// Turns within which a device gets its updates: a request, its echo, decryption, installation and reports of three
/// updates, with an operator's help for each.
const TURNS_MAX: usize = 60;
