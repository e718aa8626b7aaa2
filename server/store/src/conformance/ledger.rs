//! Events and alarms.

use bellwether_decide::alarm::{AlarmKind, Occurrence};
use bellwether_decide::campaign::CampaignId;
use bellwether_decide::campaign::event::{By, Delivery, Event, EventKind};
use bellwether_decide::deed::Deed;

use super::sample::{NOW, endpoint, event, occurrence, other_tenant, tenant};
use crate::Store;
use crate::bounds::LIST_ROWS_MAX;
use crate::ledger::{Recorded, Scope};

const DAY_S: u64 = 86_400;

/// The first event is 1; every call goes on where the last one ended.
pub async fn events_are_numbered_from_one_in_order(store: &dyn Store) {
    assert_eq!(store.append(&tenant(), &[]).await.unwrap(), 0);
    let resolved = EventKind::Resolved {
        delivery: Delivery::Delta { base: [9; 32], algorithm: -70_001 },
        grant: NOW,
        content: [8; 32],
        bytes: 512,
    };
    let first = [event(1, "lamp-1", EventKind::Asked), event(1, "lamp-1", resolved)];
    let second = [Event {
        campaign: None,
        device: None,
        ..event(1, "lamp-1", EventKind::Cancelled { by: By::default() })
    }];
    assert_eq!(store.append(&tenant(), &first).await.unwrap(), 2);
    assert_eq!(store.append(&tenant(), &second).await.unwrap(), 3);
    assert_eq!(store.append(&tenant(), &[]).await.unwrap(), 3);
    let recorded = store.events(&tenant(), Scope::All, 0, 10).await.unwrap();
    assert_eq!(recorded.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [1, 2, 3]);
    let events: Vec<_> = recorded.into_iter().map(|kept| kept.event).collect();
    assert_eq!(events, [&first[..], &second[..]].concat());
}

/// Each scope holds its own events only, with the numbers of the whole.
pub async fn events_are_read_by_campaign_and_by_device(store: &dyn Store) {
    let events = [
        event(1, "lamp-1", EventKind::Asked),
        event(2, "lamp-1", EventKind::Asked),
        event(1, "lamp-2", EventKind::Asked),
        Event { campaign: None, ..event(1, "lamp-2", EventKind::Asked) },
        Event { device: None, ..event(1, "lamp-2", EventKind::Finished) },
    ];
    store.append(&tenant(), &events).await.unwrap();
    let numbers = async |scope: Scope<'_>| {
        let recorded = store.events(&tenant(), scope, 0, 10).await.unwrap();
        recorded.iter().map(|kept| kept.seq).collect::<Vec<_>>()
    };
    assert_eq!(numbers(Scope::Campaign(CampaignId(1))).await, [1, 3, 5]);
    assert_eq!(numbers(Scope::Campaign(CampaignId(2))).await, [2]);
    assert_eq!(numbers(Scope::Device(&endpoint("lamp-1"))).await, [1, 2]);
    assert_eq!(numbers(Scope::Device(&endpoint("lamp-2"))).await, [3, 4]);
    assert_eq!(numbers(Scope::Campaign(CampaignId(3))).await, [0; 0]);
}

/// A reader that remembers the last number misses nothing and sees nothing twice.
pub async fn events_page_from_a_number_on(store: &dyn Store) {
    let events: Vec<_> = (0..5).map(|_| event(1, "lamp-1", EventKind::Asked)).collect();
    store.append(&tenant(), &events).await.unwrap();
    let page = store.events(&tenant(), Scope::All, 2, 2).await.unwrap();
    assert_eq!(page.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [3, 4]);
    let page = store.events(&tenant(), Scope::Campaign(CampaignId(1)), 4, 2).await.unwrap();
    assert_eq!(page.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [5]);
}

/// More events than one statement carries stay in order, and a list call is cut to its bound.
pub async fn many_events_in_one_call_keep_their_order(store: &dyn Store) {
    let events: Vec<_> = (0..5_000).map(|at| Event { at, ..event(1, "lamp-1", EventKind::Asked) }).collect();
    assert_eq!(store.append(&tenant(), &events).await.unwrap(), 5_000);
    let mut since = 0;
    loop {
        let page = store.events(&tenant(), Scope::All, since, u32::MAX).await.unwrap();
        assert!(page.len() <= LIST_ROWS_MAX as usize);
        for kept in &page {
            assert_eq!((kept.seq, kept.event.at), (since + 1, since));
            since += 1;
        }
        if page.is_empty() {
            break;
        }
    }
    assert_eq!(since, 5_000);
}

/// Writers that come at the same time are numbered one after the other.
pub async fn concurrent_appends_leave_no_gap_and_no_double(store: &dyn Store) {
    let append = async || {
        let mut numbers = Vec::new();
        for _ in 0..20 {
            numbers.push(store.append(&tenant(), &[event(1, "lamp-1", EventKind::Asked)]).await.unwrap());
        }
        numbers
    };
    let (left, middle, right) = tokio::join!(append(), append(), append());
    let mut numbers = [left, middle, right].concat();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=60).collect::<Vec<_>>());
}

/// Each tenant counts from one and reads its own.
pub async fn tenants_number_their_events_apart(store: &dyn Store) {
    store.append(&tenant(), &[event(1, "lamp-1", EventKind::Asked)]).await.unwrap();
    assert_eq!(store.events(&other_tenant(), Scope::All, 0, 10).await.unwrap(), vec![]);
    let theirs = event(1, "lamp-1", EventKind::AlreadyCurrent);
    assert_eq!(store.append(&other_tenant(), std::slice::from_ref(&theirs)).await.unwrap(), 1);
    let recorded = store.events(&other_tenant(), Scope::Campaign(CampaignId(1)), 0, 10).await.unwrap();
    assert_eq!(recorded.into_iter().map(|kept| kept.event).collect::<Vec<_>>(), [theirs]);
}

/// A repetition raises the count and moves the last time; another subject, kind or day is another alarm.
pub async fn alarm_is_counted_per_kind_subject_and_day(store: &dyn Store) {
    let again = Occurrence { cause: "again".into(), other_address: None, ..occurrence("lamp-1", NOW + 5) };
    let other_kind = Occurrence { kind: AlarmKind::RepeatedRequest, ..occurrence("lamp-1", NOW) };
    let raised = [occurrence("lamp-1", NOW), occurrence("lamp-2", NOW), other_kind];
    assert_eq!(store.raise(&tenant(), &raised).await.unwrap(), raised.each_ref().map(Occurrence::key));
    assert_eq!(store.raise(&tenant(), std::slice::from_ref(&again)).await.unwrap(), vec![]);
    let tomorrow = occurrence("lamp-1", NOW + DAY_S);
    assert_eq!(store.raise(&tenant(), std::slice::from_ref(&tomorrow)).await.unwrap(), [tomorrow.key()]);

    let alarms = store.alarms(&tenant(), None, 10).await.unwrap();
    assert_eq!(alarms.len(), 4);
    let counted = alarms.iter().find(|kept| kept.key == again.key()).unwrap();
    assert_eq!((counted.count, counted.first_at, counted.latest.at), (2, NOW, NOW + 5));
    assert_eq!(counted.latest.cause, "again");
    // The second address is what an operator needs; a later occurrence without one does not wipe it.
    assert_eq!(counted.latest.other_address, raised[0].other_address);
}

/// The ledger tells of an alarm once a day, however often it is raised.
pub async fn first_alarm_of_a_day_leaves_one_event(store: &dyn Store) {
    for _ in 0..3 {
        store.raise(&tenant(), &[occurrence("lamp-1", NOW), occurrence("lamp-1", NOW)]).await.unwrap();
    }
    let recorded = store.events(&tenant(), Scope::Device(&endpoint("lamp-1")), 0, 10).await.unwrap();
    let cause = occurrence("lamp-1", NOW).cause;
    let expected = EventKind::AlarmRaised { kind: AlarmKind::Clone, cause };
    assert_eq!(recorded.into_iter().map(|kept| kept.event.kind).collect::<Vec<_>>(), [expected]);
}

/// A stranger's word is kept for the operator, but no device's history gets it.
pub async fn alarm_about_an_unknown_name_names_no_device(store: &dyn Store) {
    let stranger = |name| Occurrence { kind: AlarmKind::UnknownIdentity, ..occurrence(name, NOW) };
    store.raise(&tenant(), &[stranger("lamp-1"), stranger("lamp-2")]).await.unwrap();
    let alarms = store.alarms(&tenant(), None, 10).await.unwrap();
    assert_eq!((alarms.len(), alarms[0].count), (1, 2));
    assert_eq!(alarms[0].latest.identity, "lamp-2");
    let recorded = store.events(&tenant(), Scope::All, 0, 10).await.unwrap();
    assert_eq!(recorded.into_iter().map(|kept| kept.event.device).collect::<Vec<_>>(), [None]);
}

/// Pages go back in time without a gap and without a double.
pub async fn alarms_page_from_the_latest_day(store: &dyn Store) {
    for day in 0..3 {
        let raised = ["lamp-1", "lamp-2"].map(|name| occurrence(name, NOW + day * DAY_S));
        store.raise(&tenant(), &raised).await.unwrap();
    }
    let all = store.alarms(&tenant(), None, 10).await.unwrap();
    assert_eq!(all.len(), 6);
    assert!(all.windows(2).all(|pair| pair[0].key.day >= pair[1].key.day));
    let mut paged = Vec::new();
    loop {
        let before = paged.last().map(|kept: &crate::ledger::KeptAlarm| kept.key.clone());
        let page = store.alarms(&tenant(), before.as_ref(), 4).await.unwrap();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

/// What people did is found without reading what devices did, and what devices did again after an order is no act.
pub async fn acts_of_people_read_apart(store: &dyn Store) {
    let by = By { who: Some("kim".into()), ..By::default() };
    let whole = |kind| Event { device: None, ..event(1, "lamp-1", kind) };
    let deed = Deed::DeviceEnrolled { class: "lamp".into(), gateway: None };
    let events = [
        event(1, "lamp-1", EventKind::Asked),
        whole(EventKind::Retried { by: by.clone() }),
        event(1, "lamp-1", EventKind::Retried { by: By::default() }),
        Event { campaign: None, ..event(1, "lamp-1", EventKind::Done { deed, by: by.clone() }) },
        event(1, "lamp-1", EventKind::Installed { grant: 1 }),
        whole(EventKind::Cancelled { by }),
    ];
    store.append(&tenant(), &events).await.unwrap();
    let numbers = |read: Vec<Recorded>| read.iter().map(|one| one.seq).collect::<Vec<_>>();
    assert_eq!(numbers(store.events(&tenant(), Scope::Acts, 0, 10).await.unwrap()), [2, 4, 6]);
    assert_eq!(numbers(store.events(&tenant(), Scope::Acts, 2, 1).await.unwrap()), [4]);
    assert_eq!(numbers(store.latest_events(&tenant(), Scope::Acts, 2).await.unwrap()), [4, 6]);
}

/// The last events come in their order, whatever their number.
pub async fn latest_events_are_the_last_in_order(store: &dyn Store) {
    let events: Vec<Event> = (0..7).map(|at| Event { at, ..event(1, "lamp-1", EventKind::Asked) }).collect();
    store.append(&tenant(), &events).await.unwrap();
    store.append(&other_tenant(), &events).await.unwrap();
    let lamp = endpoint("lamp-1");
    for scope in [Scope::All, Scope::Campaign(CampaignId(1)), Scope::Device(&lamp)] {
        let read = store.latest_events(&tenant(), scope, 3).await.unwrap();
        assert_eq!(read.iter().map(|one| one.seq).collect::<Vec<_>>(), [5, 6, 7], "{scope:?}");
    }
    assert!(store.latest_events(&tenant(), Scope::Whole(CampaignId(1)), 3).await.unwrap().is_empty());
}

/// Alarms are counted within a tenant.
pub async fn tenants_have_alarms_apart(store: &dyn Store) {
    store.raise(&tenant(), &[occurrence("lamp-1", NOW)]).await.unwrap();
    assert_eq!(store.alarms(&other_tenant(), None, 10).await.unwrap(), vec![]);
    let theirs = store.raise(&other_tenant(), &[occurrence("lamp-1", NOW)]).await.unwrap();
    assert_eq!(theirs, [occurrence("lamp-1", NOW).key()]);
    assert_eq!(store.alarms(&tenant(), None, 10).await.unwrap()[0].count, 1);
}

/// Who launched and who paused a campaign is found without reading what its devices did.
pub async fn events_of_a_campaign_as_a_whole_read_apart(store: &dyn Store) {
    let whole = |kind| Event { device: None, ..event(1, "lamp-1", kind) };
    let by = By { who: Some("kim".into()), ..By::default() };
    let events = [
        whole(EventKind::Paused { by: by.clone() }),
        event(1, "lamp-1", EventKind::Asked),
        whole(EventKind::Resumed { by: by.clone() }),
        Event { campaign: Some(CampaignId(2)), ..whole(EventKind::Cancelled { by }) },
    ];
    store.append(&tenant(), &events).await.unwrap();
    let read = store.events(&tenant(), Scope::Whole(CampaignId(1)), 0, 10).await.unwrap();
    assert_eq!(read.iter().map(|one| one.seq).collect::<Vec<_>>(), [1, 3]);
}
