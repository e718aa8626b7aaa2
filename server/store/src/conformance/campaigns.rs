//! Campaigns, their kept fold, and commands.

use bellwether_decide::campaign::event::{By, Delivery, Event, EventKind};
use bellwether_decide::campaign::progress::Progress;
use bellwether_decide::campaign::stage::Stage;
use bellwether_decide::campaign::standing::Standing;
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState, Policy, Targets};

use super::sample::{
    NAMES, NOW, add_fleet, campaign, command, device, endpoint, event, full_state, identity, manifest,
    other_tenant, tenant,
};
use crate::bounds::LIST_ROWS_MAX;
use crate::campaign::{Given, Launch, Launched, MoveError};
use crate::device::Transition;
use crate::error::{AddError, StoreError};
use crate::ledger::Scope;
use crate::tenant::Tenant;
use crate::{Store, UpdateError};

fn launched(id: u64, targeted: u32) -> Event {
    Event { device: None, ..event(id, "lamp-1", EventKind::Launched { targeted, by: By::default() }) }
}

fn of_campaign(id: u64, kind: EventKind) -> Event {
    Event { device: None, ..event(id, "lamp-1", kind) }
}

fn targeted(id: u64, name: &str) -> Event {
    event(id, name, EventKind::Targeted { class: "lamp".into() })
}

async fn launch(store: &dyn Store, tenant: &Tenant, id: u64) {
    let mut events = vec![launched(id, 3)];
    events.extend(NAMES.map(|name| targeted(id, name)));
    let campaign = campaign(id);
    let launch = Launch { campaign: &campaign, events: &events, command: None };
    assert!(matches!(store.launch(tenant, launch).await.unwrap(), Launched::New { .. }));
}

/// Numbers begin at 1 and go on whatever becomes of a campaign.
pub async fn campaign_numbers_are_never_given_twice(store: &dyn Store) {
    assert_eq!(store.next_campaign_id(&tenant()).await.unwrap(), CampaignId(1));
    assert_eq!(store.next_campaign_id(&tenant()).await.unwrap(), CampaignId(2));
    assert_eq!(store.next_campaign_id(&other_tenant()).await.unwrap(), CampaignId(1));
}

/// The campaign, its events and its waiting devices are there after one call.
pub async fn launched_campaign_reads_back(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, &tenant(), 1).await;
    assert_eq!(store.campaign(&tenant(), CampaignId(1)).await.unwrap(), Some(campaign(1)));
    assert_eq!(store.campaign(&tenant(), CampaignId(2)).await.unwrap(), None);
    let recorded = store.events(&tenant(), Scope::Campaign(CampaignId(1)), 0, 10).await.unwrap();
    assert_eq!(recorded.len(), 4);
    let tracks = store.tracks(&tenant(), CampaignId(1), None, 10).await.unwrap();
    assert_eq!(tracks.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), NAMES);
    assert!(tracks.iter().all(|(_, track)| track.stage == Stage::Waiting && track.class == "lamp"));
}

/// Targets and policy come back as they were given.
pub async fn every_kind_of_targets_reads_back(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let kinds = [
        Targets::All,
        Targets::Classes(vec!["lamp".into(), "meter \"x\"".into()]),
        Targets::Endpoints(vec![endpoint("lamp-1"), endpoint("lamp-2")]),
    ];
    for (id, targets) in (1..).zip(kinds) {
        let policy = Policy {
            in_flight_max: None,
            failure_per_mille_max: 1_000,
            failure_sample_min: 0,
            reseed: false,
            ask_go: false,
        };
        let campaign = Campaign { targets, policy, ..campaign(id) };
        store.launch(&tenant(), Launch { campaign: &campaign, events: &[], command: None }).await.unwrap();
        assert_eq!(store.campaign(&tenant(), CampaignId(id)).await.unwrap(), Some(campaign));
    }
}

/// A number names one campaign.
pub async fn launch_under_a_taken_number_is_refused(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, &tenant(), 1).await;
    let twin = Campaign { launched_at: NOW + 1, ..campaign(1) };
    let refused = store.launch(&tenant(), Launch { campaign: &twin, events: &[], command: None }).await;
    assert!(matches!(refused, Err(AddError::Exists)));
    assert_eq!(store.campaign(&tenant(), CampaignId(1)).await.unwrap(), Some(campaign(1)));
}

/// A campaign without its manifest is not kept, nor are its command and events.
pub async fn launch_of_an_unknown_manifest_writes_nothing(store: &dyn Store) {
    let (campaign, command) = (campaign(1), command(1));
    let launch = Launch { campaign: &campaign, events: &[launched(1, 0)], command: Some(&command) };
    let refused = store.launch(&tenant(), launch).await;
    assert!(matches!(refused, Err(AddError::Store(StoreError::NoParent))));
    assert_eq!(store.command(&tenant(), "request-1").await.unwrap(), None);
    assert_eq!(store.events(&tenant(), Scope::All, 0, 10).await.unwrap(), vec![]);
}

/// A target that nobody enrolled takes the whole launch back.
pub async fn launch_for_an_unknown_device_writes_nothing(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let campaign = campaign(1);
    let events = [launched(1, 2), targeted(1, "lamp-1"), targeted(1, "stranger")];
    let refused =
        store.launch(&tenant(), Launch { campaign: &campaign, events: &events, command: None }).await;
    assert!(matches!(refused, Err(AddError::Store(StoreError::NoParent))));
    assert_eq!(store.campaign(&tenant(), CampaignId(1)).await.unwrap(), None);
    assert_eq!(store.events(&tenant(), Scope::All, 0, 10).await.unwrap(), vec![]);
}

/// A server that starts again finds what is running.
pub async fn campaigns_list_by_number_and_state(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    for id in 1..=3 {
        launch(store, &tenant(), id).await;
    }
    store.append(&tenant(), &[of_campaign(2, EventKind::Cancelled { by: By::default() })]).await.unwrap();
    let ids = async |state, after: Option<u64>, rows_max| {
        let listed = store.campaigns(&tenant(), state, after.map(CampaignId), rows_max).await.unwrap();
        listed.iter().map(|kept| kept.id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, None, 2).await, [1, 2]);
    assert_eq!(ids(None, Some(2), 2).await, [3]);
    assert_eq!(ids(Some(CampaignState::Running), None, 10).await, [1, 3]);
    assert_eq!(ids(Some(CampaignState::Cancelled), None, 10).await, [2]);
}

/// Of two that end a campaign, the second is told; its events are not written.
pub async fn campaign_moves_from_the_expected_state_only(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, &tenant(), 1).await;
    let halted = [of_campaign(1, EventKind::Halted { failure_per_mille: 500 })];
    let running = CampaignState::Running;
    let moved = store.move_campaign(&tenant(), CampaignId(1), running, &halted).await.unwrap();
    assert_eq!(moved, CampaignState::Halted);
    let finished = [of_campaign(1, EventKind::Finished)];
    let late = store.move_campaign(&tenant(), CampaignId(1), running, &finished).await;
    assert!(matches!(late, Err(MoveError::Conflict { found: CampaignState::Halted })));
    let recorded = store.events(&tenant(), Scope::Campaign(CampaignId(1)), 0, 10).await.unwrap();
    assert_eq!(recorded.last().unwrap().event, halted[0]);
    assert_eq!(store.campaign(&tenant(), CampaignId(1)).await.unwrap().unwrap().state, CampaignState::Halted);
}

/// No campaign springs from a move.
pub async fn moving_a_stranger_is_missing(store: &dyn Store) {
    let running = CampaignState::Running;
    let missing = store.move_campaign(&tenant(), CampaignId(1), running, &[]).await;
    assert!(matches!(missing, Err(MoveError::Missing)));
    assert_eq!(store.progress(&tenant(), CampaignId(1)).await.unwrap(), None);
}

/// However the events came in, the kept fold is the fold of the ledger read from its beginning.
pub async fn kept_progress_is_the_fold_of_the_ledger(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, &tenant(), 1).await;
    let resolved = EventKind::Resolved { delivery: Delivery::Full, grant: NOW, content: [5; 32], bytes: 9 };
    let failed = EventKind::Failed { grant: NOW, reason: "digest differs".into() };
    let calls: [&[Event]; 4] = [
        &[event(1, "lamp-1", EventKind::Offered), event(1, "lamp-2", EventKind::Offered)],
        &[event(1, "lamp-1", EventKind::Asked), event(1, "lamp-1", resolved)],
        &[event(1, "lamp-2", EventKind::OfferFailed { reason: "no answer".into() })],
        &[
            event(1, "lamp-1", failed),
            event(2, "lamp-3", EventKind::Asked),
            event(1, "stranger", EventKind::Asked),
        ],
    ];
    for events in calls {
        store.append(&tenant(), events).await.unwrap();
    }
    let ledger = store.events(&tenant(), Scope::Campaign(CampaignId(1)), 0, 100).await.unwrap();
    let folded = Progress::of(CampaignId(1), ledger.iter().map(|kept| &kept.event));
    let kept = store.progress(&tenant(), CampaignId(1)).await.unwrap().unwrap();
    assert_eq!(kept, folded);
    assert_eq!(kept.tracks[&endpoint("lamp-1")].stage, Stage::Failed);
    assert_eq!(kept.tracks[&endpoint("lamp-2")].offers_failed, 1);
    assert!(!kept.tracks.contains_key(&endpoint("stranger")));
}

/// Who was heard of after it was decided on them is not put back, and nothing about them is written.
pub async fn events_are_appended_for_devices_that_have_not_moved_since(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, &tenant(), 1).await;
    let asked = ["lamp-1", "lamp-2"].map(|name| event(1, name, EventKind::Asked));
    store.append(&tenant(), &asked).await.unwrap();
    let decided = store.progress(&tenant(), CampaignId(1)).await.unwrap().unwrap();
    store.append(&tenant(), &[event(1, "lamp-1", EventKind::Decrypted { grant: 0 })]).await.unwrap();
    let failed = |name| event(1, name, EventKind::Failed { grant: 0, reason: "nothing was heard".into() });
    let retried = |name| event(1, name, EventKind::Retried { by: By::default() });
    let lost = ["lamp-1", "lamp-2", "stranger"].map(|name| [failed(name), retried(name)]).concat();
    let appended = store.append_for_unmoved(&tenant(), CampaignId(1), &decided.tracks, &lost).await.unwrap();
    assert_eq!(appended, [failed("lamp-2"), retried("lamp-2")]);
    let kept = store.progress(&tenant(), CampaignId(1)).await.unwrap().unwrap();
    assert_eq!(kept.tracks[&endpoint("lamp-1")].stage, Stage::Decrypted);
    assert_eq!(kept.tracks[&endpoint("lamp-2")].stage, Stage::Waiting);
    let told = store.latest_events(&tenant(), Scope::All, 3).await.unwrap();
    assert_eq!(told[0].event.device, Some(endpoint("lamp-1")));
    assert_eq!(store.append_for_unmoved(&tenant(), CampaignId(1), &decided.tracks, &lost).await.unwrap(), []);
}

/// A transition and the track move in one commit, or neither does.
pub async fn transition_of_an_identity_moves_its_track(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, &tenant(), 1).await;
    let state = full_state(1);
    let events =
        [event(1, "lamp-1", EventKind::Asked), event(1, "lamp-1", EventKind::Installed { grant: 1 })];
    let step = Transition { events: &events, ..Transition::new(0, &state) };
    store.update_identity(&tenant(), &endpoint("lamp-1"), step).await.unwrap();
    let late = Transition { expected_revision: 9, ..step };
    let refused = store.update_identity(&tenant(), &endpoint("lamp-2"), late).await;
    assert!(matches!(refused, Err(UpdateError::Conflict { .. })));
    let kept = store.progress(&tenant(), CampaignId(1)).await.unwrap().unwrap();
    assert_eq!(kept.tracks[&endpoint("lamp-1")].stage, Stage::Installed);
    assert_eq!(kept.tracks[&endpoint("lamp-2")].stage, Stage::Waiting);
}

/// A fleet larger than any chunk is launched in one call and read in pages.
pub async fn ten_thousand_devices_are_launched_and_paged(store: &dyn Store) {
    store.add_manifest(&tenant(), &manifest(1, 7)).await.unwrap();
    let names: Vec<String> = (0..10_000).map(|n| format!("lamp-{n:05}")).collect();
    let fleet: Vec<_> = names.iter().map(|name| (device(name), identity(name))).collect();
    store.add_devices(&tenant(), &fleet).await.unwrap();
    let mut events = vec![launched(1, 10_000)];
    events.extend(names.iter().map(|name| targeted(1, name)));
    let campaign = campaign(1);
    let launch = Launch { campaign: &campaign, events: &events, command: None };
    assert_eq!(store.launch(&tenant(), launch).await.unwrap(), Launched::New { seq: 10_001 });

    let mut paged: Vec<String> = Vec::new();
    loop {
        let after = paged.last().map(|name| endpoint(name));
        let page = store.tracks(&tenant(), CampaignId(1), after.as_ref(), u32::MAX).await.unwrap();
        assert!(page.len() <= LIST_ROWS_MAX as usize);
        if page.is_empty() {
            break;
        }
        paged.extend(page.into_iter().map(|(name, _)| name.to_string()));
    }
    assert_eq!(paged, names);
    let progress = store.progress(&tenant(), CampaignId(1)).await.unwrap().unwrap();
    assert_eq!(progress.classes()["lamp"].waiting, 10_000);
}

/// Whoever looks at the latest campaigns reads no others.
pub async fn latest_campaigns_page_backwards(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    for id in 1..=5 {
        launch(store, &tenant(), id).await;
    }
    let page = async |before: Option<u64>| {
        let listed = store.latest_campaigns(&tenant(), before.map(CampaignId), 2).await.unwrap();
        listed.iter().map(|campaign| campaign.id.0).collect::<Vec<_>>()
    };
    assert_eq!(
        (page(None).await, page(Some(4)).await, page(Some(2)).await),
        (vec![5, 4], vec![3, 2], vec![1])
    );
    assert_eq!(page(Some(1)).await, Vec::<u64>::new());
}

/// What is counted in the data base is what the fold over all devices counts.
pub async fn counts_by_stage_are_those_of_the_progress(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, &tenant(), 1).await;
    launch(store, &tenant(), 2).await;
    let events = [
        event(1, "lamp-1", EventKind::Offered),
        event(1, "lamp-2", EventKind::Failed { grant: 0, reason: "no room".into() }),
        event(1, "lamp-3", EventKind::OfferFailed { reason: "away".into() }),
        event(2, "lamp-1", EventKind::AlreadyCurrent),
    ];
    store.append(&tenant(), &events).await.unwrap();
    for id in [1, 2].map(CampaignId) {
        let folded = store.progress(&tenant(), id).await.unwrap().unwrap();
        let standing = store.standing(&tenant(), id).await.unwrap().unwrap();
        assert_eq!(standing, Standing::of(&folded), "{id:?}");
    }
    assert_eq!(store.standing(&tenant(), CampaignId(3)).await.unwrap(), None);
    let named = async |stages: &[Stage], after: Option<&str>| {
        let after = after.map(endpoint);
        let listed = store.tracks_in(&tenant(), CampaignId(1), stages, after.as_ref(), 9).await.unwrap();
        listed.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(named(&[Stage::Failed, Stage::Offered], None).await, ["lamp-1", "lamp-2"]);
    assert_eq!(named(&[Stage::Failed, Stage::Offered], Some("lamp-1")).await, ["lamp-2"]);
    assert_eq!(named(&[Stage::Installed], None).await, Vec::<String>::new());
}

/// Numbers follow devices that fail, are put back and succeed, through the events of one call and of several.
pub async fn numbers_of_a_campaign_follow_each_event(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, &tenant(), 1).await;
    let failed = || EventKind::Failed { grant: 0, reason: "no room".into() };
    let retried = || EventKind::Retried { by: By::default() };
    let calls = [
        vec![event(1, "lamp-1", EventKind::Offered), event(1, "lamp-1", failed())],
        vec![event(1, "lamp-2", failed()), event(1, "lamp-3", failed())],
        vec![event(1, "lamp-1", retried()), event(1, "lamp-1", EventKind::Offered)],
        vec![event(1, "lamp-2", retried()), event(1, "lamp-1", EventKind::Installed { grant: 3 })],
        vec![event(1, "lamp-1", EventKind::Offered), of_campaign(1, EventKind::Paused { by: By::default() })],
        vec![event(1, "stranger", EventKind::Offered)],
    ];
    for events in calls {
        store.append(&tenant(), &events).await.unwrap();
        let folded = store.progress(&tenant(), CampaignId(1)).await.unwrap().unwrap();
        let standing = store.standing(&tenant(), CampaignId(1)).await.unwrap().unwrap();
        assert_eq!(standing, Standing::of(&folded));
    }
}

/// Tracks by name, who else is at work on a device, and what it was given.
pub async fn devices_of_a_campaign_are_looked_at_by_name(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, &tenant(), 1).await;
    launch(store, &tenant(), 2).await;
    let delta = Delivery::Delta { base: [9; 32], algorithm: 1 };
    let resolved = |grant, delivery| EventKind::Resolved { delivery, grant, content: [0; 32], bytes: grant };
    let events = [
        event(1, "lamp-1", EventKind::Asked),
        event(1, "lamp-1", resolved(4, Delivery::Full)),
        event(1, "lamp-1", resolved(5, delta)),
        event(2, "lamp-2", EventKind::Offered),
        event(2, "lamp-3", EventKind::Installed { grant: 1 }),
    ];
    store.append(&tenant(), &events).await.unwrap();
    let names = ["lamp-1", "lamp-2", "lamp-3", "stranger"].map(endpoint);
    let tracks = store.tracks_of(&tenant(), CampaignId(1), &names).await.unwrap();
    assert_eq!(tracks.keys().cloned().collect::<Vec<_>>(), names[..3]);
    assert_eq!(tracks[&names[0]].stage, Stage::Downloading);

    let others = async |but| {
        let found = store.at_work_on(&tenant(), CampaignId(but), &names).await.unwrap();
        found
            .into_iter()
            .map(|one| (one.campaign.0, one.endpoint.to_string(), one.track.stage))
            .collect::<Vec<_>>()
    };
    assert_eq!(others(1).await, [(2, "lamp-2".to_owned(), Stage::Offered)]);
    assert_eq!(others(2).await, [(1, "lamp-1".to_owned(), Stage::Downloading)]);
    store.append(&tenant(), &[of_campaign(2, EventKind::Paused { by: By::default() })]).await.unwrap();
    assert_eq!(others(1).await, []);

    let given = async |grant| {
        let asked = [(names[0].clone(), grant), (names[1].clone(), 1)];
        store.given(&tenant(), CampaignId(1), &asked).await.unwrap()
    };
    assert_eq!(given(5).await, [(names[0].clone(), Given { grant: 5, delivery: delta, bytes: 5 })].into());
    assert_eq!(given(4).await[&names[0]].delivery, Delivery::Full);
    assert_eq!(given(6).await, [].into());
}

/// A device's history in campaigns, the newest first.
pub async fn campaigns_of_a_device_list_latest_first(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, &tenant(), 1).await;
    launch(store, &tenant(), 2).await;
    store.append(&tenant(), &[event(2, "lamp-1", EventKind::Offered)]).await.unwrap();
    let listed = store.campaigns_ever(&tenant(), &endpoint("lamp-1")).await.unwrap();
    let seen: Vec<_> = listed.iter().map(|(campaign, track)| (campaign.id.0, track.stage)).collect();
    assert_eq!(seen, [(2, Stage::Offered), (1, Stage::Waiting)]);
    assert_eq!(listed[0].0, campaign(2));
    assert_eq!(store.campaigns_ever(&tenant(), &endpoint("stranger")).await.unwrap(), vec![]);
}

/// What is over is not read with everything that a device asks or says, but for what it asks about.
pub async fn campaigns_that_matter_to_a_device_are_read_alone(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    store.add_manifest(&tenant(), &manifest(2, 8)).await.unwrap();
    for id in 1..=5 {
        let manifest = if id == 2 { [2; 32] } else { [1; 32] };
        let campaign = Campaign { manifest, ..campaign(id) };
        let events = [launched(id, 1), targeted(id, "lamp-1")];
        let launch = Launch { campaign: &campaign, events: &events, command: None };
        store.launch(&tenant(), launch).await.unwrap();
    }
    let by = By::default;
    let over = [
        of_campaign(1, EventKind::Cancelled { by: by() }),
        of_campaign(2, EventKind::Cancelled { by: by() }),
        of_campaign(3, EventKind::Paused { by: by() }),
        event(4, "lamp-1", EventKind::Decrypted { grant: 1 }),
        of_campaign(4, EventKind::Finished),
    ];
    store.append(&tenant(), &over).await.unwrap();
    let lamp = endpoint("lamp-1");
    let numbers = |listed: Vec<(Campaign, _)>| listed.iter().map(|(one, _)| one.id.0).collect::<Vec<_>>();
    let about = async |manifests: &[[u8; 32]]| {
        numbers(store.campaigns_about(&tenant(), &lamp, manifests).await.unwrap())
    };
    assert_eq!(numbers(store.campaigns_for(&tenant(), &lamp).await.unwrap()), [5, 4, 3]);
    assert_eq!(about(&[[2; 32], [9; 32]]).await, [5, 4, 3, 2]);
    assert_eq!(about(&[[1; 32], [2; 32]]).await, [5, 4, 3, 2, 1]);
    assert_eq!(numbers(store.campaigns_ever(&tenant(), &lamp).await.unwrap()), [5, 4, 3, 2, 1]);
    assert_eq!(store.campaigns_about(&tenant(), &endpoint("lamp-2"), &[[1; 32]]).await.unwrap(), vec![]);
}

/// A campaign of the same number is another tenant's own.
pub async fn tenants_have_campaigns_apart(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    add_fleet(store, &other_tenant()).await;
    launch(store, &tenant(), 1).await;
    assert_eq!(store.campaign(&other_tenant(), CampaignId(1)).await.unwrap(), None);
    assert_eq!(store.campaigns_for(&other_tenant(), &endpoint("lamp-1")).await.unwrap(), vec![]);
    launch(store, &other_tenant(), 1).await;
    let end =
        [of_campaign(1, EventKind::Cancelled { by: By::default() }), event(1, "lamp-1", EventKind::Offered)];
    store.append(&other_tenant(), &end).await.unwrap();
    let ours = store.progress(&tenant(), CampaignId(1)).await.unwrap().unwrap();
    assert_eq!(ours.state, CampaignState::Running);
    assert_eq!(ours.tracks[&endpoint("lamp-1")].stage, Stage::Waiting);
}
