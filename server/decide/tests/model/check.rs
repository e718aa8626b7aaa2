//! What has to hold in every step.

use bellwether_decide::alarm::AlarmKind;
use bellwether_decide::key_index::{Reply, Verdict};

use crate::scenario::Scenario;
use crate::server::Answered;
use crate::world::{Down, Step, Up, World};

/// Tells what does not hold.
pub(crate) fn step(
    scenario: &Scenario,
    before: &World,
    after: &World,
    step: &Step,
    answered: Option<&Answered>,
) -> Result<(), String> {
    honest_is_not_doubted(scenario, after)?;
    if !matches!(step, Step::Restore) {
        nothing_goes_back(before, after)?;
    }
    if after.server.state.grants.iter().filter(|grant| grant.is_open()).count() > 1 {
        return Err("two grants are open".to_owned());
    }
    match (step, answered) {
        (Step::Reach(message, _), Some(answered)) => answer(before, after, message, answered),
        _ => Ok(()),
    }
}

/// No honest device is taken for a clone: the alarm needs a second device, or a record that was restored.
fn honest_is_not_doubted(scenario: &Scenario, world: &World) -> Result<(), String> {
    let doubts = [AlarmKind::Clone, AlarmKind::CloneOrRolledBack];
    let honest = world.clone.is_none() && !world.rolled_back;
    if honest && doubts.into_iter().any(|kind| world.raised(kind)) {
        return Err(format!("an honest device is doubted: {:?}", world.alarms));
    }
    if scenario.has_no_faults() && !world.alarms.is_empty() {
        return Err(format!("an alarm without a fault: {:?}", world.alarms));
    }
    Ok(())
}

/// Places and grant numbers never go back, on the server and on the device.
fn nothing_goes_back(before: &World, after: &World) -> Result<(), String> {
    let (old, new) = (&before.server.state, &after.server.state);
    if new.place < old.place || new.grant_highest < old.grant_highest || new.seed_oldest < old.seed_oldest {
        return Err(format!("the server goes back from {:?} to {:?}", old.place, new.place));
    }
    let (old, new) = (&before.device, &after.device);
    if new.life == old.life && (new.place < old.place || new.grant_highest < old.grant_highest) {
        return Err(format!("the device goes back from {:?} to {:?}", old.place, new.place));
    }
    Ok(())
}

fn answer(before: &World, after: &World, message: &Up, answered: &Answered) -> Result<(), String> {
    let Up::Ask(ask) = message else {
        return Ok(());
    };
    let state = &after.server.state;
    if let Reply::NewGrant(new) = &answered.decision.reply {
        if state.confirmed.contains_key(&new.place) || new.place != state.place || new.place != ask.place {
            return Err(format!("a new grant at {:?}, which was confirmed", new.place));
        }
        if new.number <= before.server.state.grant_highest {
            return Err(format!("the number {} is given twice", new.number));
        }
    }
    if let Reply::Verdict(Verdict::Forward { place, .. }) = &answered.decision.reply
        && (*place < ask.place || *place != state.place)
    {
        return Err(format!("a device at {:?} is sent back to {place:?}", ask.place));
    }
    let granted = matches!(answered.answer, Down::Grant(_));
    if granted && before.server.moved_by[ask.by.other() as usize] && after.alarms.is_empty() {
        return Err(format!("{:?} gets a grant, unseen, after the other one confirmed", ask.by));
    }
    Ok(())
}
