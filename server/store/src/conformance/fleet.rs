//! Tags, what devices run, devices that are given up, credentials that take another's place.

use bellwether_decide::campaign::event::{By, Delivery, Event, EventKind};
use bellwether_decide::campaign::stage::Stage;
use bellwether_decide::campaign::{CampaignId, CampaignState};
use bellwether_decide::deed::Deed;
use bellwether_decide::device::Endpoint;
use bellwether_decide::tag::{TAGS_MAX, Tag};

use super::sample::{
    NAMES, NOW, add_fleet, campaign, child, command, device, endpoint, event, full_state, gateway, identity,
    other_tenant, release, tenant,
};
use crate::Store;
use crate::campaign::{Command, Launch, Launched, Ordered};
use crate::catalogue::{NewRelease, Recall, Recalling};
use crate::device::{EnrolledDevice, Gives, NewCredential, NowRuns, Retirement, Security, Transition};
use crate::error::{AddError, UpdateError};
use crate::fleet::{Background, Running, TagCount, TagDevicesError, Tagging};
use crate::ledger::Scope;
use crate::operators::Contact;
use crate::sealed::Sealed;

fn tag(text: &str) -> Tag {
    Tag::try_from(text).unwrap()
}

fn request(number: u8) -> Command {
    Command { request_id: format!("request-{number}"), ..command(number) }
}

fn done(deed: Deed) -> [Event; 1] {
    let kind = EventKind::Done { deed, by: By::default() };
    [Event { at: NOW, campaign: None, device: Some(endpoint("lamp-1")), kind }]
}

async fn change(
    store: &dyn Store,
    number: u8,
    devices: &[&str],
    added: &[&str],
    removed: &[&str],
) -> Result<(), TagDevicesError> {
    let devices: Vec<Endpoint> = devices.iter().map(|name| endpoint(name)).collect();
    let (added, removed): (Vec<Tag>, Vec<Tag>) =
        (added.iter().map(|text| tag(text)).collect(), removed.iter().map(|text| tag(text)).collect());
    let events = done(Deed::DeviceTagged { added: vec!["roof".into()], removed: Vec::new() });
    let command = request(number);
    let tagging =
        Tagging { devices: &devices, added: &added, removed: &removed, events: &events, command: &command };
    store.tag_devices(&tenant(), tagging).await
}

/// Tags are put and taken off in one commit with their event and command, and read back by device and by tag.
pub async fn tags_are_put_to_devices_and_taken_off(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    add_fleet(store, &other_tenant()).await;
    change(store, 1, &NAMES, &["roof", "ring=1"], &[]).await.unwrap();
    change(store, 2, &NAMES[..1], &["ring=2", "roof"], &["ring=1", "never"]).await.unwrap();
    let names = NAMES.map(endpoint);
    let tags = store.tags_of(&tenant(), &names).await.unwrap();
    assert_eq!(tags[&names[0]], [tag("ring=2"), tag("roof")].into());
    assert_eq!(tags[&names[1]], [tag("ring=1"), tag("roof")].into());
    let counted = |text, devices| TagCount { tag: tag(text), devices };
    let fleet = NAMES.len() as u64;
    let expected = [counted("ring=1", fleet - 1), counted("ring=2", 1), counted("roof", fleet)];
    assert_eq!(store.tags(&tenant(), None, 10).await.unwrap(), expected);
    assert_eq!(store.tags(&tenant(), Some(&tag("ring=1")), 1).await.unwrap(), expected[1..2]);
    let of_ring = store.devices_tagged(&tenant(), &tag("ring=1"), None, 10).await.unwrap();
    assert_eq!(of_ring.iter().map(|one| one.device.endpoint.clone()).collect::<Vec<_>>(), names[1..]);
    let next = store.devices_tagged(&tenant(), &tag("roof"), Some(&names[0]), 1).await.unwrap();
    assert_eq!(next, vec![device(NAMES[1])]);
    assert_eq!(store.events(&tenant(), Scope::Acts, 0, 10).await.unwrap().len(), 2);
    assert_eq!(store.tags(&other_tenant(), None, 10).await.unwrap(), []);
}

/// One stranger, one tag too many or one command that was carried out takes the whole change back.
pub async fn change_of_tags_is_made_whole_or_not_at_all(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let strange = change(store, 1, &[NAMES[0], "stranger"], &["roof"], &[]).await;
    assert!(matches!(strange, Err(TagDevicesError::Missing(name)) if name == endpoint("stranger")));
    let many: Vec<String> = (0..=TAGS_MAX).map(|n| format!("t{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(matches!(change(store, 1, &NAMES[..1], &many, &[]).await, Err(TagDevicesError::TooMany(_))));
    change(store, 1, &NAMES[..1], &many[1..], &[]).await.unwrap();
    let again = change(store, 1, &NAMES[..1], &[], &many[1..]).await;
    assert!(matches!(again, Err(TagDevicesError::Update(UpdateError::CommandKept))));
    assert_eq!(store.tags(&tenant(), None, 100).await.unwrap().len(), TAGS_MAX);
    assert_eq!(store.events(&tenant(), Scope::Acts, 0, 10).await.unwrap().len(), 1);
}

/// Who runs an image is told by class and by name; a device that runs another one since is not among them.
pub async fn devices_are_found_by_the_image_that_they_run(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let image = [0xE1; 32];
    for (n, name) in NAMES.iter().enumerate() {
        let running = [(0, [0xE0; 32]), (1, image)];
        store.note_running(&tenant(), &endpoint(name), &running, NOW + n as u64).await.unwrap();
    }
    store.note_running(&tenant(), &endpoint("stranger"), &[(0, image)], NOW).await.unwrap();
    // What is known already keeps the time since which it is.
    store.note_running(&tenant(), &endpoint(NAMES[1]), &[(1, image)], NOW + 900).await.unwrap();
    store.note_running(&tenant(), &endpoint(NAMES[0]), &[(1, [0xE2; 32])], NOW + 901).await.unwrap();
    let found = store.who_runs(&tenant(), "lamp", &image, None, 10).await.unwrap();
    assert_eq!(found.len(), NAMES.len() - 1);
    assert_eq!(found[0], Running { endpoint: endpoint(NAMES[1]), since: NOW + 1 });
    let next = store.who_runs(&tenant(), "lamp", &image, Some(&found[0].endpoint), 10).await.unwrap();
    assert_eq!(next, found[1..]);
    assert_eq!(store.count_running(&tenant(), "lamp", &image).await.unwrap(), found.len() as u64);
    assert_eq!(store.count_running(&tenant(), "meter", &image).await.unwrap(), 0);
    assert_eq!(store.count_running(&other_tenant(), "lamp", &image).await.unwrap(), 0);
}

/// State, contact and images of each device come together; of a stranger, and of one that was given up, comes what is there.
pub async fn what_is_kept_of_devices_is_read_at_once(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let names = [NAMES[0], NAMES[1], "stranger"].map(endpoint);
    let contact = |name: &str| Contact {
        endpoint: endpoint(name),
        registered_at: NOW,
        heard_at: NOW + 1,
        address: "198.51.100.7:5684".into(),
    };
    store.put_contacts(&tenant(), &[contact(NAMES[0]), contact("stranger")]).await.unwrap();
    store.note_running(&tenant(), &names[0], &[(1, [0xE1; 32]), (0, [0xE0; 32])], NOW).await.unwrap();
    let found = store.backgrounds(&tenant(), &names).await.unwrap();
    let expected = Background {
        state: store.identity(&tenant(), &names[0]).await.unwrap().map(|identity| identity.state),
        contact: Some(contact(NAMES[0])),
        running: vec![(0, [0xE0; 32]), (1, [0xE1; 32])],
    };
    assert!(expected.state.is_some());
    assert_eq!(found[&names[0]], expected);
    assert_eq!((found[&names[1]].state.is_some(), found[&names[1]].contact.is_some()), (true, false));
    assert_eq!(found[&names[2]].state, None);
    let command = request(1);
    let retirement = Retirement { at: NOW, events: &done(Deed::DeviceDecommissioned), command: &command };
    store.retire_device(&tenant(), &names[0], retirement).await.unwrap();
    let found = store.backgrounds(&tenant(), &names).await.unwrap();
    let left = Background { contact: Some(contact(NAMES[0])), ..Background::default() };
    assert_eq!(found[&names[0]], left);
    assert_eq!(store.backgrounds(&other_tenant(), &names).await.unwrap(), [].into());

    let resolved = |base, grant| {
        let delivery = Delivery::Delta { base, algorithm: 1 };
        event(1, NAMES[1], EventKind::Resolved { delivery, grant, content: [0; 32], bytes: 9 })
    };
    let events = [resolved([1; 32], 1), resolved([2; 32], 2), event(1, NAMES[1], EventKind::Asked)];
    store.append(&tenant(), &events).await.unwrap();
    assert_eq!(store.asked_from(&tenant(), &names).await.unwrap(), [(names[1].clone(), [2; 32])].into());
}

/// What a step says that its device runs is written with it, or not at all.
pub async fn transition_says_what_its_device_runs_now(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let (name, image) = (endpoint("lamp-1"), [0xE1; 32]);
    let components = [(0, image)];
    let running = Some(NowRuns { endpoint: &name, components: &components, since: NOW });
    let state = full_state(1);
    let late = Transition { running, ..Transition::new(9, &state) };
    assert!(matches!(
        store.update_identity(&tenant(), &name, late).await,
        Err(UpdateError::Conflict { .. } | UpdateError::NotRaised { .. })
    ));
    assert_eq!(store.count_running(&tenant(), "lamp", &image).await.unwrap(), 0);
    let step = Transition { running, ..Transition::new(0, &state) };
    store.update_identity(&tenant(), &name, step).await.unwrap();
    let found = store.who_runs(&tenant(), "lamp", &image, None, 10).await.unwrap();
    assert_eq!(found, [Running { endpoint: name.clone(), since: NOW }]);
}

/// A grant that is decided on while its campaign is stopped, or its release recalled, is not written.
pub async fn nothing_is_given_that_was_forbidden_before(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let (name, id) = (endpoint("lamp-1"), CampaignId(1));
    let of_campaign = |kind| [Event { device: None, ..event(1, "lamp-1", kind) }];
    let launch = Launch {
        campaign: &campaign(1),
        events: &of_campaign(EventKind::Launched { targeted: 0, by: By::default() }),
        command: None,
    };
    store.launch(&tenant(), launch).await.unwrap();
    let number = store.add_release(&tenant(), &release("1.0", 1)).await.unwrap();
    let other = NewRelease { class_name: "meter".into(), ..release("2.0", 2) };
    let of_another_class = store.add_release(&tenant(), &other).await.unwrap();
    let give = async |revision, image| {
        let (state, images) = (full_state(revision), [image]);
        let gives = Some(Gives { campaign: id, images: &images });
        let step = Transition { gives, ..Transition::new(revision - 1, &state) };
        let outcome = store.update_identity(&tenant(), &name, step).await;
        if let Err(error) = &outcome {
            assert!(matches!(error, UpdateError::Forbidden), "{error:?}");
        }
        outcome.is_ok()
    };
    let recall = Recall { at: NOW, why: "it flickers".to_owned() };
    let recalling = async |release, nth, recall| {
        let recalling = Recalling { release, recall, events: &[], command: &request(nth) };
        store.set_recall(&tenant(), recalling).await.unwrap();
    };
    assert!(give(1, [1; 32]).await);
    recalling(of_another_class, 1, Some(&recall)).await;
    assert!(give(2, [2; 32]).await, "it is recalled for another class");
    recalling(number, 2, Some(&recall)).await;
    assert!(!give(3, [1; 32]).await);
    recalling(number, 3, None).await;
    let paused = of_campaign(EventKind::Paused { by: By::default() });
    store.move_campaign(&tenant(), id, CampaignState::Running, &paused).await.unwrap();
    assert!(!give(3, [1; 32]).await);
    let resumed = of_campaign(EventKind::Resumed { by: By::default() });
    store.move_campaign(&tenant(), id, CampaignState::Paused, &resumed).await.unwrap();
    assert!(give(3, [1; 32]).await);
    store
        .move_campaign(&tenant(), id, CampaignState::Running, &of_campaign(EventKind::Finished))
        .await
        .unwrap();
    assert!(give(4, [1; 32]).await, "a finished campaign still serves who asks again");
}

fn retirement<'a>(events: &'a [Event], command: &'a Command) -> Retirement<'a> {
    Retirement { at: NOW + 5, events, command }
}

/// Nothing is left that a key could be derived from; the name stays taken, and what was decided meanwhile is not written.
pub async fn device_that_is_given_up_leaves_no_key_and_keeps_its_name(store: &dyn Store) {
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    store.add_device(&tenant(), &child("lamp-1", "gw-1"), &identity("lamp-1")).await.unwrap();
    let before = store.gateway(&tenant(), &endpoint("gw-1")).await.unwrap().unwrap();
    let (events, asked) = (done(Deed::DeviceDecommissioned), command(1));
    store.retire_device(&tenant(), &endpoint("lamp-1"), retirement(&events, &asked)).await.unwrap();
    let kept = store.device(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap();
    assert_eq!((kept.retired_at, kept.device.enabled, &kept.link), (Some(NOW + 5), false, &None));
    assert_eq!(kept.security, Security::Psk { credential: Sealed::new(Vec::new()) });
    assert_eq!(store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap(), None);
    let after = store.gateway(&tenant(), &endpoint("gw-1")).await.unwrap().unwrap();
    assert!(after.children_edition > before.children_edition);
    let state = full_state(1);
    let late = store.update_identity(&tenant(), &endpoint("lamp-1"), Transition::new(0, &state)).await;
    assert!(matches!(late, Err(UpdateError::Conflict { .. })));
    let taken = store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await;
    assert!(matches!(taken, Err(AddError::Exists)));
    assert_eq!(store.events(&tenant(), Scope::Acts, 0, 10).await.unwrap().len(), 1);
}

/// Once, and only who is there.
pub async fn device_is_given_up_once(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    let open = EnrolledDevice { security: Security::None, ..device("lamp-2") };
    store.add_device(&tenant(), &open, &identity("lamp-2")).await.unwrap();
    let give_up = async |name: &str, number| {
        let command = request(number);
        store.retire_device(&tenant(), &endpoint(name), retirement(&[], &command)).await
    };
    assert!(matches!(give_up("stranger", 1).await, Err(UpdateError::Missing)));
    give_up("lamp-1", 1).await.unwrap();
    assert!(matches!(give_up("lamp-2", 1).await, Err(UpdateError::CommandKept)));
    assert!(matches!(give_up("lamp-1", 2).await, Err(UpdateError::Missing)));
    let switched = store.set_device_enabled(&tenant(), &endpoint("lamp-1"), true).await;
    assert!(matches!(switched, Err(UpdateError::Missing)), "{switched:?}");
    give_up("lamp-2", 2).await.unwrap();
    let open = store.device(&tenant(), &endpoint("lamp-2")).await.unwrap().unwrap();
    assert_eq!((open.security, open.retired_at), (Security::None, Some(NOW + 5)));
}

/// A campaign that was made for a device, and the giving up of that device, in whichever order they are written: it waits
/// for nobody.
pub async fn campaign_does_not_wait_for_a_device_that_is_given_up_as_it_is_launched(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let launch = async |id| {
        let targeted = EventKind::Targeted { class: "lamp".into() };
        let events = NAMES.map(|name| event(id, name, targeted.clone()));
        let launch = Launch { campaign: &campaign(id), events: &events, command: None };
        store.launch(&tenant(), launch).await.unwrap()
    };
    launch(1).await;
    let asked = command(1);
    // Whoever decided on it had not seen the campaign.
    store.retire_device(&tenant(), &endpoint(NAMES[0]), retirement(&[], &asked)).await.unwrap();
    let Launched::New { seq } = launch(2).await else { panic!("it was launched before") };
    for id in [1, 2] {
        let progress = store.progress(&tenant(), CampaignId(id)).await.unwrap().unwrap();
        let stages: Vec<Stage> = progress.tracks.values().map(|track| track.stage).collect();
        assert_eq!(stages[0], Stage::Refused, "campaign {id}");
        assert!(stages[1..].iter().all(|stage| *stage == Stage::Waiting), "campaign {id}: {stages:?}");
    }
    let events = store.events(&tenant(), Scope::All, 0, 100).await.unwrap();
    assert_eq!((events.len(), seq), (2 * NAMES.len() + 2, 2 * NAMES.len() as u64 + 2));
}

/// Who failed and was given up since does not try again with the others.
pub async fn campaign_that_tries_again_does_not_wait_for_a_device_that_was_given_up(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let failed = EventKind::Failed { grant: 1, reason: "power".into() };
    let mut events: Vec<Event> =
        NAMES.map(|name| event(1, name, EventKind::Targeted { class: "lamp".into() })).into();
    events.extend(NAMES.map(|name| event(1, name, failed.clone())));
    let launch = Launch { campaign: &campaign(1), events: &events, command: None };
    store.launch(&tenant(), launch).await.unwrap();
    store.retire_device(&tenant(), &endpoint(NAMES[0]), retirement(&[], &request(1))).await.unwrap();
    let again = NAMES.map(|name| event(1, name, EventKind::Retried { by: By::default() }));
    let (expected, command) = (CampaignState::Running, request(2));
    let order = Ordered { campaign: CampaignId(1), expected, events: &again, command: &command };
    let Launched::New { seq } = store.order(&tenant(), order).await.unwrap() else {
        panic!("ordered before")
    };
    let progress = store.progress(&tenant(), CampaignId(1)).await.unwrap().unwrap();
    let stages: Vec<Stage> = progress.tracks.values().map(|track| track.stage).collect();
    assert_eq!(stages, [Stage::Refused, Stage::Waiting, Stage::Waiting]);
    assert_eq!(seq, 3 * NAMES.len() as u64 + 1);
}

async fn put_credential(store: &dyn Store, number: u64, at_once: bool) -> Result<(), UpdateError> {
    let sealed = Sealed::new(format!("credential {number}").into_bytes());
    let command = request(u8::try_from(number).unwrap() + u8::from(at_once) * 100);
    let events = done(Deed::CredentialReplaced { number, at_once });
    let credential = NewCredential { number, sealed: &sealed, at_once, events: &events, command: &command };
    store.add_credential(&tenant(), &endpoint("lamp-1"), credential).await
}

/// The new credential waits beside the one in force, and takes its place when it is used; once.
pub async fn credential_takes_the_place_of_another_when_it_is_used(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    put_credential(store, 2, false).await.unwrap();
    let kept = async || store.device(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap();
    let both = kept().await;
    assert_eq!((both.credential, both.security), (1, device("lamp-1").security));
    assert_eq!(both.next_credential, Some(Sealed::new(b"credential 2".to_vec())));
    let events = done(Deed::CredentialUsed { number: 2 });
    let used =
        async |number| store.use_credential(&tenant(), &endpoint("lamp-1"), number, &events).await.unwrap();
    assert!(!used(3).await);
    assert!(used(2).await);
    assert!(!used(2).await);
    let one = kept().await;
    assert_eq!((one.credential, one.next_credential), (2, None));
    assert_eq!(one.security, Security::Psk { credential: Sealed::new(b"credential 2".to_vec()) });
    assert_eq!(store.events(&tenant(), Scope::Acts, 0, 10).await.unwrap().len(), 2);
}

/// When the newest one was made is told by the ledger; nobody else's is, and no other deed.
pub async fn newest_credential_is_known_by_when_it_was_made(store: &dyn Store) {
    for name in ["lamp-1", "lamp-2"] {
        store.add_device(&tenant(), &device(name), &identity(name)).await.unwrap();
    }
    let names = [endpoint("lamp-1"), endpoint("lamp-2"), endpoint("stranger")];
    let made = async || store.credentials_made(&tenant(), &names).await.unwrap();
    assert_eq!(made().await, [].into());
    for (number, at) in [(1, NOW), (2, NOW + 60)] {
        let mut events = done(Deed::CredentialReplaced { number: 2, at_once: false });
        events[0].at = at;
        let sealed = Sealed::new(b"credential".to_vec());
        let command = request(number);
        let credential =
            NewCredential { number: 2, sealed: &sealed, at_once: false, events: &events, command: &command };
        store.add_credential(&tenant(), &names[0], credential).await.unwrap();
    }
    let [mut later] = done(Deed::DeviceTagged { added: vec!["roof".into()], removed: Vec::new() });
    later.at = NOW + 90;
    store.append(&tenant(), &[later, event(1, "lamp-2", EventKind::Asked)]).await.unwrap();
    assert_eq!(made().await, [(endpoint("lamp-1"), NOW + 60)].into());
    assert_eq!(store.credentials_made(&other_tenant(), &names).await.unwrap(), [].into());
}

/// At once, the one in force is gone; a number that is not the next one is a conflict.
pub async fn credential_that_is_replaced_at_once_is_gone(store: &dyn Store) {
    store.add_device(&tenant(), &device("lamp-1"), &identity("lamp-1")).await.unwrap();
    assert!(matches!(
        put_credential(store, 3, true).await,
        Err(UpdateError::Conflict { expected: 2, found: 1 })
    ));
    put_credential(store, 2, false).await.unwrap();
    put_credential(store, 2, true).await.unwrap();
    let kept = store.device(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap();
    assert_eq!((kept.credential, kept.next_credential), (2, None));
    assert_eq!(kept.security, Security::Psk { credential: Sealed::new(b"credential 2".to_vec()) });
    let stranger = NewCredential {
        number: 2,
        sealed: &Sealed::new(Vec::new()),
        at_once: true,
        events: &[],
        command: &request(9),
    };
    let missing = store.add_credential(&tenant(), &endpoint("stranger"), stranger).await;
    assert!(matches!(missing, Err(UpdateError::Missing)));
}
