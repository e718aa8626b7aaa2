//! What must be true of every run, each a function that names what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bellwether_agent::manifests::message::Moment;
use bellwether_agent::update::trial::ATTEMPTS_MAX;
use bellwether_api::{Campaign, CampaignDevice, CampaignState, DeviceOutcome};
use bellwether_decide::alarm::AlarmKind;
use bellwether_decide::campaign::event::EventKind;
use bellwether_decide::device::Endpoint;
use bellwether_decide::identity::IdentityState;
use bellwether_store::ledger::KeptAlarm;

use super::device::{Digest, Receipted, Seen};
use super::network::Count;
use super::plan::{DevicePlan, Plan, Role};
use super::watch::Watch;

/// A run that has come to its end, with everything that was seen in it.
pub struct End<'a> {
    /// What befell it.
    pub plan: &'a Plan,
    /// Its devices.
    pub subjects: Vec<Subject<'a>>,
    /// Its campaigns, in the order in which they were launched.
    pub campaigns: Vec<Launched>,
    /// What the store was seen to hold.
    pub watch: &'a Watch,
    /// Images that an author signed, and those of the factory.
    pub signed: &'a BTreeSet<Digest>,
    /// Commands that were answered with success, by request id, and whether the store knows them.
    pub commands: Vec<(String, bool)>,
    /// How often the store says that it was restored.
    pub restores: u64,
    /// Alarms that were raised.
    pub alarms: Vec<KeptAlarm>,
    /// Why the run did not end in its calm time; `None` where it did.
    pub unfinished: Option<String>,
    /// What was sent.
    pub counts: BTreeMap<(SocketAddr, SocketAddr), Count>,
    /// Bytes that it may have sent at the most.
    pub bytes_max: u64,
}

/// A device with what is known of it.
pub struct Subject<'a> {
    /// What it was planned to be.
    pub plan: &'a DevicePlan,
    /// Its name.
    pub endpoint: Endpoint,
    /// What was seen of it.
    pub seen: Seen,
    /// What was seen of its copy.
    pub copy: Option<Seen>,
    /// What the device had confirmed when the copy was made.
    pub copied_with: BTreeSet<Digest>,
    /// What the store knows of it.
    pub identity: Option<IdentityState>,
    /// What `explain` tells.
    pub explained: Vec<String>,
}

/// A campaign with how it stands.
pub struct Launched {
    /// The image that it brings.
    pub target: Digest,
    /// How the server shows it.
    pub shown: Campaign,
}

impl End<'_> {
    /// Tells whether an old backup took the place of what was there.
    fn was_restored(&self) -> bool {
        !self.watch.lost.0.is_empty()
    }
}

/// Names what of it is not true.
type Property = fn(&End<'_>) -> Vec<String>;

/// Checks all properties and tells which are broken, a line each.
pub fn check(end: &End<'_>) -> Vec<String> {
    let properties: [(&str, Property); 10] = [
        ("everything comes to its end", everything_comes_to_its_end),
        ("nothing acknowledged is lost", nothing_acknowledged_is_lost),
        ("every honest device ends well or for a stated reason", every_honest_device_ends),
        ("only signed images run", only_signed_images_run),
        ("nothing goes back", nothing_goes_back),
        ("device and server agree on the place", device_and_server_agree),
        ("no grant number has two forms", no_grant_number_has_two_forms),
        ("campaigns count what devices run", campaigns_count_what_devices_run),
        ("copies get nothing unnoticed", copies_get_nothing_unnoticed),
        ("bytes are within their bound", bytes_are_within_their_bound),
    ];
    let broken = properties
        .iter()
        .flat_map(|(name, property)| property(end).into_iter().map(move |what| format!("{name}: {what}")));
    broken.collect()
}

/// Within the calm time every campaign that was not cancelled finishes and every device has its reports acknowledged; but
/// for one that was copied, whose identity waits for a person.
pub fn everything_comes_to_its_end(end: &End<'_>) -> Vec<String> {
    end.unfinished.iter().cloned().collect()
}

/// Whatever a device holds a receipt for is in the ledger or in the reports of its identity, and whatever was answered
/// to a fleet manager with success is in the store: also when the server died right after it.
pub fn nothing_acknowledged_is_lost(end: &End<'_>) -> Vec<String> {
    let mut lost = Vec::new();
    for subject in &end.subjects {
        let copied = subject.copy.iter().flat_map(|seen| &seen.receipts);
        for receipted in subject.seen.receipts.iter().chain(copied) {
            if !is_known(end, subject, receipted) {
                lost.push(format!("{} has a receipt for {receipted:?}", subject.endpoint));
            }
        }
    }
    let commands = end.commands.iter().filter(|(_, known)| !known);
    lost.extend(commands.map(|(id, _)| format!("command {id} was acknowledged")));
    lost
}

fn is_known(end: &End<'_>, subject: &Subject<'_>, receipted: &Receipted) -> bool {
    let kept = subject.identity.as_ref().is_some_and(|identity| {
        let mut reports = identity.reports.iter().map(|kept| kept.digest);
        let mut confirmed = identity.confirmed.values().map(|confirmed| confirmed.report);
        reports.any(|digest| digest == receipted.report) || confirmed.any(|digest| digest == receipted.report)
    });
    // It was kept until the disk was lost.
    let (lost, lost_reports) = &end.watch.lost;
    let kept = kept || lost_reports.contains(&receipted.report);
    let told = |kind: &EventKind| match (kind, receipted.moment) {
        (EventKind::Decrypted { grant }, Moment::Decrypted)
        | (EventKind::Installed { grant }, Moment::Installed)
        | (EventKind::Failed { grant, .. }, Moment::Failed) => *grant == receipted.grant,
        _ => false,
    };
    let ledger = end.watch.ledger.iter().chain(lost);
    let mut ledger = ledger.filter(|event| event.device.as_ref() == Some(&subject.endpoint));
    kept || ledger.any(|event| told(&event.kind))
}

/// Every honest device runs what the newest campaign that was not cancelled brings, or that campaign states why not, and
/// there is such a reason: its trial was cut off as often as trials are, or its image does not pass.
pub fn every_honest_device_ends(end: &End<'_>) -> Vec<String> {
    let Some(wanted) = end.campaigns.iter().rev().find(|one| one.shown.state != CampaignState::Cancelled)
    else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for subject in &end.subjects {
        let ended = match subject.plan.role {
            Role::Copied(_) => Ok(()),
            Role::Honest if subject.seen.running == wanted.target => Ok(()),
            Role::Honest if was_cut_off(&subject.seen, &wanted.target) => states_why(wanted, subject),
            Role::Honest => Err(format!("does not run the image: {:?}", row(wanted, subject))),
            Role::FailsSelfTest | Role::Foreign if subject.seen.running == wanted.target => {
                Err("runs an image that is not for it".to_owned())
            }
            Role::FailsSelfTest | Role::Foreign => states_why(wanted, subject),
        };
        if let Err(why) = ended {
            let told = subject.explained.join("\n    ");
            wrong.push(format!("{} ({:?}) {why}; told:\n    {told}", subject.endpoint, subject.plan.role));
        }
    }
    wrong
}

/// Tells whether every trial of the image that there may be was begun and none came to its end.
fn was_cut_off(seen: &Seen, image: &Digest) -> bool {
    seen.trials.get(image).is_some_and(|trials| *trials >= u64::from(ATTEMPTS_MAX))
}

fn states_why(campaign: &Launched, subject: &Subject<'_>) -> Result<(), String> {
    let row = row(campaign, subject);
    let ended = row.is_some_and(|row| {
        matches!(row.outcome, DeviceOutcome::Failed | DeviceOutcome::Refused) && row.reason.is_some()
    });
    if !ended {
        return Err(format!("did not end for a stated reason: {row:?}"));
    }
    let reason = row.and_then(|row| row.reason.as_deref()).unwrap_or_default();
    if subject.explained.iter().any(|line| line.contains(reason)) {
        return Ok(());
    }
    Err(format!("is not explained: {reason:?} is in none of {:#?}", subject.explained))
}

fn row<'c>(campaign: &'c Launched, subject: &Subject<'_>) -> Option<&'c CampaignDevice> {
    campaign.shown.devices.iter().find(|row| row.endpoint == subject.endpoint.as_str())
}

/// No device ever starts an image, not even on trial, that neither an author signed nor the factory gave it.
pub fn only_signed_images_run(end: &End<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for subject in &end.subjects {
        let copied = subject.copy.iter().flat_map(|seen| &seen.ran);
        let ran = subject.seen.ran.iter().chain(copied);
        for image in ran.filter(|image| !end.signed.contains(*image)) {
            wrong.push(format!("{} ran {}", subject.endpoint, hex::encode(image)));
        }
    }
    wrong
}

/// Place, grant numbers, counters, sequence numbers and time floor never fall on a device, revision, place, grant numbers
/// and counters never in the store, and the ledger only grows.
pub fn nothing_goes_back(end: &End<'_>) -> Vec<String> {
    let mut broken: Vec<String> = end.watch.broken.clone();
    for subject in &end.subjects {
        let copied = subject.copy.iter().flat_map(|seen| &seen.broken);
        let said = subject.seen.broken.iter().chain(copied);
        broken.extend(said.map(|what| format!("{}: {what}", subject.endpoint)));
    }
    broken
}

/// At the end a device that was not copied stands where the server says: as many updates confirmed, in the same epoch. One
/// that was not heard with a proof since its place was lost with the disk may be ahead, and the server knows that it is not
/// sure.
pub fn device_and_server_agree(end: &End<'_>) -> Vec<String> {
    let single = end.subjects.iter().filter(|subject| !matches!(subject.plan.role, Role::Copied(_)));
    let apart = single.filter_map(|subject| {
        let (at, place) = (subject.seen.at?.place, subject.identity.as_ref()?.place);
        let (at, known) = ((at.epoch, at.index), (place.epoch, place.index));
        let is_unheard = end.was_restored() && subject.identity.as_ref()?.is_stale(end.restores);
        let agree = at == known || (is_unheard && at > known);
        (!agree).then(|| format!("{} stands at {at:?}, the server says {place:?}", subject.endpoint))
    });
    apart.collect()
}

/// A number of a grant, in an epoch of an identity, always means the same bytes: on the device, its copy and the server.
pub fn no_grant_number_has_two_forms(end: &End<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for subject in &end.subjects {
        let copied = subject.copy.iter().flat_map(|seen| &seen.grants);
        for ((epoch, number), digest) in subject.seen.grants.iter().chain(copied) {
            let given = end.watch.grant(&subject.endpoint, *epoch, *number);
            if given.is_some_and(|given| given != *digest) {
                wrong.push(format!("{}: grant {number} of epoch {epoch}", subject.endpoint));
            }
        }
    }
    wrong
}

/// A campaign says "installed" of a device that has run its image and of no other, and its counts are those of its rows.
/// A server on an old backup can't hear of an image that a device has left again.
pub fn campaigns_count_what_devices_run(end: &End<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for campaign in &end.campaigns {
        for subject in end.subjects.iter().filter(|subject| subject.copy.is_none()) {
            let outcome = row(campaign, subject).map(|row| row.outcome);
            let says = matches!(outcome, Some(DeviceOutcome::Installed | DeviceOutcome::NothingToDo));
            let confirmed = subject.seen.confirmed.contains(&campaign.target);
            let is_left = confirmed && subject.seen.running != campaign.target;
            if says != confirmed && outcome.is_some() && !(end.was_restored() && is_left) {
                let text = format!("{} is {outcome:?}, and has confirmed: {confirmed}", subject.endpoint);
                wrong.push(format!("campaign {}: {text}", campaign.shown.id));
            }
        }
        wrong.extend(miscounted(&campaign.shown));
    }
    wrong
}

fn miscounted(campaign: &Campaign) -> Option<String> {
    let count = |wanted: &[DeviceOutcome]| {
        campaign.devices.iter().filter(|row| wanted.contains(&row.outcome)).count() as u64
    };
    let sum = |of: fn(&bellwether_api::ClassProgress) -> u64| campaign.classes.iter().map(of).sum::<u64>();
    let installed = count(&[DeviceOutcome::Installed, DeviceOutcome::NothingToDo]);
    let failed = count(&[DeviceOutcome::Failed, DeviceOutcome::Refused]);
    let counted = (sum(|row| row.installed), sum(|row| row.failed), sum(|row| row.targeted));
    let right = (installed, failed, campaign.devices.len() as u64);
    (counted != right).then(|| format!("campaign {} counts {counted:?}, its rows {right:?}", campaign.id))
}

/// Where a device and its copy both came to run what the campaign brings, an alarm says that there are two.
pub fn copies_get_nothing_unnoticed(end: &End<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    for subject in &end.subjects {
        let Some(copy) = &subject.copy else { continue };
        let got: Vec<_> = copy.confirmed.difference(&subject.copied_with).collect();
        let both = got.iter().any(|image| subject.seen.confirmed.contains(*image));
        let noticed = end.alarms.iter().any(|alarm| {
            let about = alarm.key.subject == subject.endpoint.as_str();
            about && matches!(alarm.key.kind, AlarmKind::Clone | AlarmKind::CloneOrRolledBack)
        });
        if both && !noticed {
            wrong.push(format!("{} and its copy both run {got:?}", subject.endpoint));
        }
    }
    wrong
}

/// What all sent together is within the bound for the loss, which is derived in `run/budget.rs`.
pub fn bytes_are_within_their_bound(end: &End<'_>) -> Vec<String> {
    let sent: u64 = end.counts.values().map(|count| count.sent_bytes).sum();
    let too_many =
        (sent > end.bytes_max).then(|| format!("{sent} bytes were sent, {} allowed", end.bytes_max));
    let longest = end.counts.values().map(|count| count.longest).max().unwrap_or_default();
    let too_long = (longest > DATAGRAM_BYTES_MAX).then(|| format!("a datagram of {longest} bytes was sent"));
    too_many.into_iter().chain(too_long).collect()
}

/// What IPv6 carries everywhere, without its header and that of UDP.
const DATAGRAM_BYTES_MAX: usize = 1280;

#[cfg(test)]
mod tests;
