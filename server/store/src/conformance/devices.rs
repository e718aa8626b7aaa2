//! Devices and identities.

use bellwether_decide::campaign::event::{Event, EventKind};

use super::sample::{
    NOW, command, device, endpoint, event, full_state, identity, occurrence, other_tenant, tenant,
};
use crate::Store;
use crate::bounds::{BLOB_BYTES_MAX, EPOCHS_MAX, STATE_BYTES_MAX};
use crate::campaign::Command;
use crate::device::{EnrolledDevice, EpochKeys, KeyStep, Restores, Security, Transition};
use crate::error::{AddError, StoreError, UpdateError};
use crate::ledger::Scope;
use crate::sealed::Sealed;

/// What was enrolled is what is read, blob by blob.
pub async fn added_device_and_identity_read_back(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    assert_eq!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap(), Some(device("lamp-1")));
    let kept = store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap();
    let added = identity("lamp-1");
    assert_eq!(kept.endpoint, endpoint("lamp-1"));
    let keys = EpochKeys { epoch: 0, seed: Some(added.seed), links: added.links };
    assert_eq!((kept.chain_length, &kept.keys), (1_024, &vec![keys]));
    assert_eq!(kept.state, added.state);
    assert_eq!(store.identities_of(&tenant(), &endpoint("lamp-1")).await.unwrap(), vec![kept]);
    assert_eq!(store.device(&tenant(), &endpoint("lamp-2")).await.unwrap(), None);
    assert_eq!(store.identity(&tenant(), &endpoint("lamp-2")).await.unwrap(), None);
}

/// One name that is taken takes the whole list back.
pub async fn list_of_devices_is_added_whole_or_not_at_all(store: &dyn Store) {
    let list = |names: [&str; 2]| names.map(|name| (device(name), identity(name)));
    store.add_devices(&tenant(), &list(["lamp-1", "lamp-2"])).await.unwrap();
    let refused = store.add_devices(&tenant(), &list(["lamp-3", "lamp-2"])).await;
    assert!(matches!(refused, Err(AddError::Exists)));
    let kept = store.devices(&tenant(), None, 10).await.unwrap();
    assert_eq!(kept, vec![device("lamp-1"), device("lamp-2")]);
    assert!(store.identity(&tenant(), &endpoint("lamp-2")).await.unwrap().is_some());
}

/// The mode "none" is a value of its own.
pub async fn device_without_security_reads_back(store: &dyn Store) {
    let open = EnrolledDevice { security: Security::None, ..device("lamp-1") };
    store.add_device(&tenant(), &open, &identity("lamp-1")).await.unwrap();
    assert_eq!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap(), Some(open));
}

/// An endpoint names one device.
pub async fn second_device_of_a_name_is_refused_and_the_first_stays(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let second = EnrolledDevice { vendor: "thief.example".into(), ..device("lamp-1") };
    let refused = store.add_device(&tenant(), &second, &identity("lamp-2")).await;
    assert!(matches!(refused, Err(AddError::Exists)));
    assert_eq!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap(), Some(device("lamp-1")));
    assert_eq!(store.identity(&tenant(), &endpoint("lamp-2")).await.unwrap(), None);
}

/// An identity's name is taken once, whichever device holds it; the device of the refused one is not kept.
pub async fn identity_of_a_taken_name_is_refused_with_its_device(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let refused = store.add_device(&tenant(), &device("lamp-2"), &identity("lamp-1")).await;
    assert!(matches!(refused, Err(AddError::Exists)));
    assert_eq!(store.device(&tenant(), &endpoint("lamp-2")).await.unwrap(), None);
}

/// A seed blob past its bound is the caller's fault and leaves nothing.
pub async fn blob_past_its_bound_is_refused_and_leaves_no_device(store: &dyn Store) {
    let mut large = identity("lamp-1");
    large.seed = Sealed::new(vec![0; BLOB_BYTES_MAX + 1]);
    let refused = store.add_device(&tenant(), &device("lamp-1"), &large).await;
    assert!(matches!(refused, Err(AddError::Store(StoreError::OutOfBounds { .. }))));
    assert_eq!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap(), None);
    large.seed = Sealed::new(vec![0; BLOB_BYTES_MAX]);
    store.add_device(&tenant(), &device("lamp-1"), &large).await.unwrap();
}

/// A chain has at most 4096 links.
pub async fn chain_past_its_bound_is_refused(store: &dyn Store) {
    let mut long = identity("lamp-1");
    long.chain_length = 4_097;
    let refused = store.add_device(&tenant(), &device("lamp-1"), &long).await;
    assert!(matches!(refused, Err(AddError::Store(StoreError::OutOfBounds { .. }))));
}

/// Pages follow each other without a gap and without a double.
pub async fn devices_page_by_name(store: &dyn Store) {
    for name in ["lamp-3", "lamp-1", "lamp-2"] {
        store.add_device(&tenant(), &device(name), &identity(name)).await.unwrap();
    }
    let first = store.devices(&tenant(), None, 2).await.unwrap();
    assert_eq!(first, vec![device("lamp-1"), device("lamp-2")]);
    let second = store.devices(&tenant(), Some(&endpoint("lamp-2")), 2).await.unwrap();
    assert_eq!(second, vec![device("lamp-3")]);
}

/// A list longer than one statement carries comes back whole, in order, each name once.
pub async fn named_devices_are_read_in_few_statements_and_strangers_left_out(store: &dyn Store) {
    for name in ["lamp-2", "lamp-1"] {
        store.add_device(&tenant(), &device(name), &identity(name)).await.unwrap();
    }
    let mut names: Vec<_> = (10..5_000).map(|n| endpoint(&format!("stranger-{n}"))).collect();
    names.extend([endpoint("lamp-2"), endpoint("lamp-1"), endpoint("lamp-2")]);
    let found = store.devices_named(&tenant(), &names).await.unwrap();
    assert_eq!(found, vec![device("lamp-1"), device("lamp-2")]);
}

/// The switch is kept.
pub async fn switched_off_device_stays_off(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    store.set_device_enabled(&tenant(), &endpoint("lamp-1"), false).await.unwrap();
    assert!(!store.device(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap().device.enabled);
    store.set_device_enabled(&tenant(), &endpoint("lamp-1"), true).await.unwrap();
    assert!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap().device.enabled);
}

/// A name that nobody enrolled has no switch.
pub async fn switching_a_stranger_is_missing(store: &dyn Store) {
    let missing = store.set_device_enabled(&tenant(), &endpoint("lamp-1"), false).await;
    assert!(matches!(missing, Err(UpdateError::Missing)));
}

/// One commit: the state with every field, two events in order, an alarm with its event.
pub async fn transition_writes_state_events_and_alarms_together(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let events = [event(1, "lamp-1", EventKind::Asked), event(1, "lamp-1", EventKind::AlreadyCurrent)];
    let alarms = [occurrence("lamp-1", NOW)];
    let state = full_state(1);
    let step = Transition { events: &events, alarms: &alarms, ..Transition::new(0, &state) };
    let updated = store.update_identity(&tenant(), &endpoint("lamp-1"), step).await.unwrap();
    assert_eq!((updated.revision, updated.seq), (1, 3));
    assert_eq!(updated.alarms_new, vec![alarms[0].key()]);
    assert_eq!(store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap().state, state);
    let recorded = store.events(&tenant(), Scope::All, 0, 10).await.unwrap();
    assert_eq!(recorded.iter().map(|kept| &kept.event).take(2).collect::<Vec<_>>(), events.each_ref());
    assert!(matches!(recorded[2].event.kind, EventKind::AlarmRaised { .. }));
    assert_eq!(store.alarms(&tenant(), None, 10).await.unwrap()[0].latest, alarms[0]);
}

/// Two writers that decided on the same revision: one is told of the conflict, and what it meant is not there.
pub async fn of_two_writers_of_one_revision_one_wins(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let (mut left, mut right) = (full_state(1), full_state(1));
    left.grant_highest = 11;
    right.grant_highest = 12;
    let step = |state| Transition::new(0, state);
    let (tenant, id) = (tenant(), endpoint("lamp-1"));
    let (first, second) = tokio::join!(
        store.update_identity(&tenant, &id, step(&left)),
        store.update_identity(&tenant, &id, step(&right)),
    );
    let kept = store.identity(&tenant, &id).await.unwrap().unwrap().state;
    match (first, second) {
        (Ok(_), Err(UpdateError::Conflict { expected: 0, found: 1 })) => assert_eq!(kept, left),
        (Err(UpdateError::Conflict { expected: 0, found: 1 }), Ok(_)) => assert_eq!(kept, right),
        other => panic!("one of two writers has to win: {other:?}"),
    }
}

/// The loser's events and alarms are not written either.
pub async fn conflicting_transition_writes_nothing_at_all(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let state = full_state(6);
    let events = [event(1, "lamp-1", EventKind::Asked)];
    let alarms = [occurrence("lamp-1", NOW)];
    let step = Transition { events: &events, alarms: &alarms, ..Transition::new(5, &state) };
    let refused = store.update_identity(&tenant(), &endpoint("lamp-1"), step).await;
    assert!(matches!(refused, Err(UpdateError::Conflict { expected: 5, found: 0 })));
    assert_eq!(store.events(&tenant(), Scope::All, 0, 10).await.unwrap(), vec![]);
    assert_eq!(store.alarms(&tenant(), None, 10).await.unwrap(), vec![]);
}

/// A changed state under the old revision would hide itself from the next compare.
pub async fn transition_that_does_not_raise_the_revision_is_refused(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let state = full_state(0);
    let step = Transition::new(0, &state);
    let refused = store.update_identity(&tenant(), &endpoint("lamp-1"), step).await;
    assert!(matches!(refused, Err(UpdateError::NotRaised { expected: 0, given: 0 })));
}

/// A decision that leaves the state as it is may still have something to tell.
pub async fn transition_without_a_change_only_writes_its_events(store: &dyn Store) {
    let new = identity("lamp-1");
    store.add_device(&tenant(), &device("lamp-1"), &new).await.unwrap();
    let events = [event(1, "lamp-1", EventKind::Asked)];
    let step = Transition { events: &events, ..Transition::new(0, &new.state) };
    let updated = store.update_identity(&tenant(), &endpoint("lamp-1"), step).await.unwrap();
    assert_eq!((updated.revision, updated.seq), (0, 1));
    assert_eq!(store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap().state, new.state);
}

/// No identity springs from a transition.
pub async fn transition_of_a_stranger_is_missing(store: &dyn Store) {
    let state = full_state(1);
    let step = Transition::new(0, &state);
    let missing = store.update_identity(&tenant(), &endpoint("lamp-1"), step).await;
    assert!(matches!(missing, Err(UpdateError::Missing)));
}

/// A state that outgrows its bound is refused and the kept one stays.
pub async fn state_past_its_bound_is_refused(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let mut state = full_state(1);
    state.grants[0].message = vec![0; STATE_BYTES_MAX];
    let step = Transition::new(0, &state);
    let refused = store.update_identity(&tenant(), &endpoint("lamp-1"), step).await;
    assert!(matches!(refused, Err(UpdateError::Store(StoreError::OutOfBounds { .. }))));
    assert_eq!(store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap().state.revision, 0);
}

/// A tenant neither sees nor moves what another one has under the same name.
pub async fn tenants_have_devices_of_the_same_name(store: &dyn Store) {
    let theirs = EnrolledDevice { vendor: "other.example".into(), ..device("lamp-1") };
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    assert_eq!(store.device(&other_tenant(), &endpoint("lamp-1")).await.unwrap(), None);
    assert_eq!(store.identity(&other_tenant(), &endpoint("lamp-1")).await.unwrap(), None);
    assert_eq!(store.devices(&other_tenant(), None, 10).await.unwrap(), vec![]);
    store.add_device(&other_tenant(), &theirs, &identity("lamp-1")).await.unwrap();
    let state = full_state(1);
    let step = Transition::new(0, &state);
    store.update_identity(&other_tenant(), &endpoint("lamp-1"), step).await.unwrap();
    assert_eq!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap(), Some(device("lamp-1")));
    assert_eq!(store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap().state.revision, 0);
    assert_eq!(store.identity(&other_tenant(), &endpoint("lamp-1")).await.unwrap().unwrap().state, state);
}

fn epoch_keys(epoch: u16) -> EpochKeys {
    let seed = Some(Sealed::new(format!("sealed seed {epoch}").into_bytes()));
    EpochKeys { epoch, seed, links: Sealed::new(format!("sealed links {epoch}").into_bytes()) }
}

/// Adds a further epoch's keys and gives the revision that is kept then.
async fn add_epoch(store: &dyn Store, keys: &EpochKeys, expected: u64) -> Result<u64, UpdateError> {
    let state = full_state(expected + 1);
    let added = KeyStep { added: std::slice::from_ref(keys), destroyed_up_to: None };
    let step = Transition { keys: added, ..Transition::new(expected, &state) };
    store.update_identity(&tenant(), &endpoint("lamp-1"), step).await.map(|updated| updated.revision)
}

async fn kept_keys(store: &dyn Store) -> Vec<EpochKeys> {
    store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap().keys
}

/// The keys of the next epoch come with the step that leads there, and not without it.
pub async fn keys_of_the_next_epoch_are_added_with_their_transition(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    store.add_device(&tenant(), &device("lamp-2"), &identity("lamp-2")).await.unwrap();
    let refused = add_epoch(store, &epoch_keys(1), 5).await;
    assert!(matches!(refused, Err(UpdateError::Conflict { .. })));
    assert_eq!(kept_keys(store).await.len(), 1);
    add_epoch(store, &epoch_keys(1), 0).await.unwrap();
    let kept = store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap();
    assert_eq!((kept.state.revision, kept.epoch(1)), (1, Some(&epoch_keys(1))));
    assert_eq!(kept.keys.iter().map(|keys| keys.epoch).collect::<Vec<_>>(), [0, 1]);
    let other = store.identity(&tenant(), &endpoint("lamp-2")).await.unwrap().unwrap();
    assert_eq!(other.keys.len(), 1);
    assert_eq!(store.identities_of(&tenant(), &endpoint("lamp-1")).await.unwrap(), vec![kept]);
}

/// Keys that are there may be all that opens a device's reports: nothing takes their place, and nothing is written.
pub async fn keys_of_a_kept_epoch_are_never_replaced(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    add_epoch(store, &epoch_keys(1), 0).await.unwrap();
    let other = EpochKeys { links: Sealed::new(b"others".to_vec()), ..epoch_keys(1) };
    assert!(matches!(add_epoch(store, &other, 1).await, Err(UpdateError::EpochKept(1))));
    let kept = store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap();
    assert_eq!((kept.state.revision, kept.epoch(1)), (1, Some(&epoch_keys(1))));
}

/// A destroyed seed is gone, its links stay; later seeds stay.
pub async fn destroyed_seed_leaves_its_links(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    add_epoch(store, &epoch_keys(1), 0).await.unwrap();
    let state = full_state(2);
    let keys = KeyStep { added: &[], destroyed_up_to: Some(0) };
    let step = Transition { keys, ..Transition::new(1, &state) };
    store.update_identity(&tenant(), &endpoint("lamp-1"), step).await.unwrap();
    let kept = kept_keys(store).await;
    assert_eq!(kept, [EpochKeys { epoch: 0, seed: None, links: identity("lamp-1").links }, epoch_keys(1)]);
}

/// Past the bound the oldest epoch is forgotten.
pub async fn epochs_past_their_bound_are_forgotten(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    for epoch in 1..=EPOCHS_MAX {
        add_epoch(store, &epoch_keys(epoch), u64::from(epoch) - 1).await.unwrap();
    }
    let kept: Vec<_> = kept_keys(store).await.iter().map(|keys| keys.epoch).collect();
    assert_eq!(kept, (1..=EPOCHS_MAX).collect::<Vec<_>>());
}

/// The operator's command is kept with the step that it asked for, and asks for no second one.
pub async fn command_is_kept_with_its_transition_once(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let (first, second, command) = (full_state(1), full_state(2), command(1));
    let step = Transition { command: Some(&command), ..Transition::new(0, &first) };
    store.update_identity(&tenant(), &endpoint("lamp-1"), step).await.unwrap();
    assert_eq!(store.command(&tenant(), &command.request_id).await.unwrap().as_ref(), Some(&command));
    let again = Transition { command: Some(&command), ..Transition::new(1, &second) };
    let refused = store.update_identity(&tenant(), &endpoint("lamp-1"), again).await;
    assert!(matches!(refused, Err(UpdateError::CommandKept)));
    assert_eq!(store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap().state.revision, 1);
}

/// Restores are counted within a tenant, each command once; the latest date counts.
pub async fn restores_are_counted_once_per_command(store: &dyn Store) {
    assert_eq!(store.restores(&tenant()).await.unwrap(), Restores::default());
    let restored = [Event { campaign: None, ..event(1, "lamp-1", EventKind::Asked) }];
    let one = store.add_restore(&tenant(), NOW + 60, &restored, &command(1)).await.unwrap();
    assert_eq!(one, Restores { count: 1, resync_until: NOW + 60 });
    let again = store.add_restore(&tenant(), NOW + 90, &restored, &command(1)).await;
    assert!(matches!(again, Err(UpdateError::CommandKept)));
    assert_eq!(store.restores(&tenant()).await.unwrap(), one);
    let other = Command { request_id: "request-2".into(), ..command(1) };
    let two = store.add_restore(&tenant(), NOW, &[], &other).await.unwrap();
    assert_eq!(two, Restores { count: 2, resync_until: NOW });
    assert_eq!(store.restores(&other_tenant()).await.unwrap(), Restores::default());
    assert_eq!(store.events(&tenant(), Scope::All, 0, 10).await.unwrap().len(), 1);
}
