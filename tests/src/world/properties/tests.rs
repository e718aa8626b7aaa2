//! Each property is shown an end that is as it must be, and the same end with one thing otherwise.

use bellwether_agent::update::record::Place;
use bellwether_api::ClassProgress;
use bellwether_decide::campaign::event::Event;

use super::*;
use crate::world::device::At;

/// An end of one device, in parts that can be changed.
struct Stage {
    plan: Plan,
    planned: DevicePlan,
    seen: Seen,
    copy: Option<Seen>,
    identity: IdentityState,
    explained: Vec<String>,
    row: CampaignDevice,
    counted: ClassProgress,
    state: CampaignState,
    restores: u64,
    watch: Watch,
    commands: Vec<(String, bool)>,
    unfinished: Option<String>,
    sent: Count,
}

impl Stage {
    /// A device that ran one image and was updated to another by the one campaign.
    fn good() -> Self {
        let plan = Plan::calm(1);
        let planned = DevicePlan { role: Role::Honest, ..plan.devices[0].clone() };
        let ran: BTreeSet<Digest> = [OLD, NEW].into();
        let at = At { place: Place { epoch: 0, index: 1 }, ..AT };
        let mut identity = IdentityState::new(0);
        identity.place.index = 1;
        let receipt = Receipted {
            moment: Moment::Installed,
            place: at.place,
            grant: 1,
            manifest: [7; 32],
            report: [8; 32],
        };
        let kind = EventKind::Installed { grant: 1 };
        let endpoint = Endpoint::try_from(NAME).expect("a name");
        let told = Event { at: 1, campaign: None, device: Some(endpoint), kind };
        let mut watch = Watch::default();
        watch.ledger.push(told);
        let row = CampaignDevice {
            endpoint: NAME.to_owned(),
            class: "meter".to_owned(),
            outcome: DeviceOutcome::Installed,
            got: None,
            reason: None,
        };
        let class = "meter".to_owned();
        let counted = ClassProgress {
            class,
            targeted: 1,
            waiting: 0,
            offered: 0,
            granted: 0,
            ready: 0,
            installed: 1,
            failed: 0,
        };
        let seen = Seen {
            running: NEW,
            ran: ran.clone(),
            confirmed: ran,
            at: Some(at),
            receipts: vec![receipt],
            ..Seen::default()
        };
        Self {
            plan,
            planned,
            seen,
            copy: None,
            identity,
            explained: Vec::new(),
            row,
            counted,
            state: CampaignState::Finished,
            restores: 0,
            watch,
            commands: vec![("launch-1".to_owned(), true)],
            unfinished: None,
            sent: Count { sent: 1, sent_bytes: 100, longest: 100, ..Count::default() },
        }
    }

    /// Names what is broken.
    fn broken(&self) -> Vec<String> {
        let subject = Subject {
            plan: &self.planned,
            endpoint: Endpoint::try_from(NAME).expect("a name"),
            seen: self.seen.clone(),
            copy: self.copy.clone(),
            copied_with: [OLD].into(),
            identity: Some(self.identity.clone()),
            explained: self.explained.clone(),
        };
        let shown = Campaign {
            id: "1".to_owned(),
            manifest: String::new(),
            state: self.state,
            reason: None,
            created: 0,
            classes: vec![self.counted.clone()],
            devices: vec![self.row.clone()],
            next: None,
        };
        let address = |port| SocketAddr::from(([10, 0, 0, 1], port));
        check(&End {
            plan: &self.plan,
            subjects: vec![subject],
            campaigns: vec![Launched { target: NEW, shown }],
            watch: &self.watch,
            signed: &[OLD, NEW].into(),
            commands: self.commands.clone(),
            restores: self.restores,
            alarms: Vec::new(),
            unfinished: self.unfinished.clone(),
            counts: [((address(1), address(2)), self.sent)].into(),
            bytes_max: 1_000,
        })
    }
}

/// Names the one property that a change breaks.
fn breaks(change: impl FnOnce(&mut Stage)) -> String {
    let mut stage = Stage::good();
    change(&mut stage);
    let broken = stage.broken();
    assert_eq!(broken.len(), 1, "{broken:#?}");
    broken[0].split(':').next().unwrap_or_default().to_owned()
}

#[test]
fn end_as_it_must_be_breaks_nothing() {
    assert_eq!(Stage::good().broken(), Vec::<String>::new());
}

#[test]
fn what_has_no_end_is_named() {
    assert_eq!(breaks(|it| it.unfinished = Some("it waits".to_owned())), "everything comes to its end");
}

#[test]
fn receipt_without_its_report_and_answer_without_its_command_are_named() {
    assert_eq!(breaks(|it| it.watch.ledger.clear()), "nothing acknowledged is lost");
    assert_eq!(breaks(|it| it.seen.receipts[0].grant = 2), "nothing acknowledged is lost");
    assert_eq!(breaks(|it| it.commands[0].1 = false), "nothing acknowledged is lost");
    let mut kept = Stage::good();
    kept.watch.lost.0 = std::mem::take(&mut kept.watch.ledger);
    assert_eq!(kept.broken(), Vec::<String>::new(), "a disk that is lost has had it");
}

#[test]
fn honest_device_that_stays_behind_without_a_reason_is_named() {
    let stays = |it: &mut Stage| {
        (it.seen.running, it.row.outcome) = (OLD, DeviceOutcome::Failed);
        (it.seen.confirmed, it.counted.installed, it.counted.failed) = ([OLD].into(), 0, 1);
    };
    assert_eq!(breaks(stays), "every honest device ends well or for a stated reason");
    let states_why = |it: &mut Stage| {
        stays(it);
        it.planned.role = Role::FailsSelfTest;
        it.row.reason = Some("rolled back".to_owned());
        it.explained = vec!["its update failed: rolled back".to_owned()];
    };
    let mut fails = Stage::good();
    states_why(&mut fails);
    assert_eq!(fails.broken(), Vec::<String>::new());
    let unexplained = |it: &mut Stage| {
        states_why(it);
        it.explained.clear();
    };
    assert_eq!(breaks(unexplained), "every honest device ends well or for a stated reason");
    let foreign = |it: &mut Stage| it.planned.role = Role::Foreign;
    assert_eq!(breaks(foreign), "every honest device ends well or for a stated reason");
}

#[test]
fn image_that_nobody_signed_is_named_also_where_a_copy_ran_it() {
    let unsigned = |it: &mut Stage| {
        it.seen.ran.insert([9; 32]);
    };
    assert_eq!(breaks(unsigned), "only signed images run");
    let copy = Seen { ran: [[9; 32]].into(), ..Seen::default() };
    assert_eq!(breaks(|it| it.copy = Some(copy)), "only signed images run");
}

#[test]
fn what_went_back_is_named() {
    assert_eq!(breaks(|it| it.watch.broken.push("the place".to_owned())), "nothing goes back");
    assert_eq!(breaks(|it| it.seen.broken.push("the floor".to_owned())), "nothing goes back");
}

#[test]
fn device_that_stands_elsewhere_than_the_server_says_is_named() {
    let behind = |it: &mut Stage| it.identity.place.index = 0;
    assert_eq!(breaks(behind), "device and server agree on the place");
    let restored = |it: &mut Stage| {
        it.watch.lost.0 = it.watch.ledger.clone();
        it.restores = 1;
    };
    let mut unheard = Stage::good();
    restored(&mut unheard);
    behind(&mut unheard);
    assert_eq!(unheard.broken(), Vec::<String>::new(), "it was not heard since");
    let heard = |it: &mut Stage| {
        restored(it);
        behind(it);
        it.identity.restores = 1;
    };
    assert_eq!(breaks(heard), "device and server agree on the place");
    let ahead = |it: &mut Stage| {
        restored(it);
        it.identity.place.index = 2;
    };
    assert_eq!(breaks(ahead), "device and server agree on the place");
}

#[test]
fn grant_number_with_two_forms_is_named() {
    let two_forms = |it: &mut Stage| {
        it.seen.grants.insert((0, 1), [1; 32]);
        it.watch.gave(NAME, 0, 1, [2; 32]);
    };
    assert_eq!(breaks(two_forms), "no grant number has two forms");
}

#[test]
fn campaign_that_counts_otherwise_than_devices_run_is_named() {
    let unheard = |it: &mut Stage| {
        (it.row.outcome, it.counted.installed, it.counted.granted) = (DeviceOutcome::Granted, 0, 1);
    };
    assert_eq!(breaks(unheard), "campaigns count what devices run");
    assert_eq!(breaks(|it| it.counted.installed = 2), "campaigns count what devices run");
    let restored = |it: &mut Stage| {
        unheard(it);
        it.watch.lost.0 = it.watch.ledger.clone();
    };
    assert_eq!(breaks(restored), "campaigns count what devices run", "it still runs it, and tells");
    let never_ran = |it: &mut Stage| {
        restored(it);
        (it.row.outcome, it.counted.installed, it.counted.granted) = (DeviceOutcome::Installed, 1, 0);
        (it.state, it.seen.confirmed) = (CampaignState::Cancelled, [OLD].into());
    };
    assert_eq!(breaks(never_ran), "campaigns count what devices run");
}

#[test]
fn copy_that_was_updated_like_its_device_without_an_alarm_is_named() {
    let both = |it: &mut Stage| it.copy = Some(it.seen.clone());
    assert_eq!(breaks(both), "copies get nothing unnoticed");
}

#[test]
fn more_bytes_than_the_bound_and_a_datagram_that_is_too_long_are_named() {
    assert_eq!(breaks(|it| it.sent.sent_bytes = 1_001), "bytes are within their bound");
    assert_eq!(breaks(|it| it.sent.longest = 1_281), "bytes are within their bound");
}

const NAME: &str = "device-0";
const OLD: Digest = [1; 32];
const NEW: Digest = [2; 32];
const AT: At = At {
    place: Place { epoch: 0, index: 0 },
    grant_highest: 1,
    counter_reserved: 8,
    manifest_sequence: 1,
    time_floor: 0,
    anchors_edition: 1,
    owes: 0,
    is_busy: false,
    result: 1,
};
