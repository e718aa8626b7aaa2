//! What a device waits for, and what an operator can do about it: one line for each thing that stands in its way.

use crate::alarm::AlarmKind;
use crate::campaign::event::EventKind;
use crate::campaign::stage::{Stage, Track};
use crate::campaign::{Campaign, CampaignState};
use crate::explain::Known;
use crate::operator::Act;
use crate::queue_mode::Listening;

/// Says what an enrolled device waits for and what may be done, the most urgent first.
pub(crate) fn advice(known: &Known<'_>, now: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let name = known.endpoint;
    if known.state.is_some_and(|state| state.is_blocked(now)) {
        lines.push(format!("once it may be updated again: bellwether device unblock {name} --why ..."));
    }
    lines.extend(
        AlarmKind::ALL.into_iter().filter(|kind| stands(known, *kind)).filter_map(|kind| after(kind, known)),
    );
    for (campaign, track) in known.campaigns {
        lines.extend(track.as_ref().and_then(|track| waits(known, campaign, track)));
    }
    lines
}

/// Whether an alarm about the device was raised after the last order about it.
fn stands(known: &Known<'_>, kind: AlarmKind) -> bool {
    let own = known.events.iter().rev().filter(|event| event.device.as_ref() == Some(known.endpoint));
    let mut decisive = own.filter_map(|event| match &event.kind {
        EventKind::AlarmRaised { kind: raised, .. } if *raised == kind => Some(true),
        EventKind::Operated { act, .. } if *act != Act::Block => Some(false),
        _ => None,
    });
    decisive.next().unwrap_or(false)
}

fn after(kind: AlarmKind, known: &Known<'_>) -> Option<String> {
    let name = known.endpoint;
    Some(match kind {
        AlarmKind::UnknownIdentity => return None,
        AlarmKind::AheadOfServer => format!(
            "if you know why it is ahead (a restored database, an update installed offline): bellwether device resync {name} --why ..."
        ),
        AlarmKind::ClocksApart => {
            "compare this server's clock with the right time and set it: the device asks again by itself; if it is \
             right, that of the device is broken: restart it"
                .to_owned()
        }
        AlarmKind::RepeatedRequest => format!(
            "if it lost what it installed (reflashed, flash replaced): bellwether device reissue {name} --why ..."
        ),
        AlarmKind::CloneOrRolledBack => format!(
            "if you know that there is one device only and its flash was restored: bellwether device forward {name} \
             --why ...; else a clone is about: bellwether device block {name} --why ..."
        ),
        AlarmKind::Clone => format!(
            "two devices share its keys: find both by their addresses (bellwether alarm list), and until then: \
             bellwether device block {name} --why ..."
        ),
    })
}

/// What the device waits for in one campaign; `None` where it is done.
fn waits(known: &Known<'_>, campaign: &Campaign, track: &Track) -> Option<String> {
    let id = campaign.id.0;
    let is_ended = matches!(track.stage, Stage::Installed | Stage::Current);
    let is_failed = matches!(track.stage, Stage::Failed | Stage::Refused);
    match campaign.state {
        _ if is_ended => None,
        CampaignState::Cancelled => None,
        CampaignState::Finished if !is_failed => None,
        _ if is_failed => Some(format!(
            "once the cause is mended: bellwether campaign retry-failed {id} puts it back to the start"
        )),
        CampaignState::Paused => {
            Some(format!("it waits for the campaign to go on: bellwether campaign resume {id}"))
        }
        CampaignState::Halted => {
            Some(format!("the campaign was halted; bellwether campaign retry-failed {id} lets it go on"))
        }
        CampaignState::Running | CampaignState::Finished => Some(waits_running(known, track)),
    }
}

fn waits_running(known: &Known<'_>, track: &Track) -> String {
    let is_here = known.seen.registered.is_some() || known.seen.gateway.is_some_and(|(_, is_here)| is_here);
    if !is_here {
        return "it waits for the device to come back: look at its power and its network".to_owned();
    }
    let sleeps = matches!(known.seen.listening, Listening::Asleep { .. });
    match track.stage {
        Stage::Waiting | Stage::Offered if sleeps => {
            "it sleeps: it is offered when it wakes, by the end of its registration"
        }
        _ if sleeps => "it sleeps in queue mode: it goes on when it wakes, by the end of its registration",
        Stage::Waiting => "it waits for its turn: so many devices at once as the campaign allows",
        Stage::Offered => "it waits for the device to ask; the offer is repeated by itself",
        Stage::Asked => "it asks again by itself: its delta or image may still have to be made",
        Stage::Downloading => "it waits for the device to fetch and verify its image",
        _ => "it waits for the device to start its image and report",
    }
    .to_owned()
}
