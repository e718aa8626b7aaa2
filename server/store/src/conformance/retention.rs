//! Events that are removed from the ledger.

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::campaign::{CampaignId, CampaignState};

use super::sample::{NAMES, NOW, add_fleet, campaign, endpoint, event, other_tenant, tenant};
use crate::Store;
use crate::bounds::LIST_ROWS_MAX;
use crate::campaign::Launch;
use crate::census::{Asked, Counted, Ran};
use crate::ledger::{Cut, Recorded, Scope};
use crate::tenant::Tenant;

async fn launch(store: &dyn Store, id: u64) {
    let launched = whole(id, EventKind::Launched { targeted: 3, by: By::default() });
    let targeted = |name| event(id, name, EventKind::Targeted { class: "lamp".into() });
    let events: Vec<Event> = std::iter::once(launched).chain(NAMES.map(targeted)).collect();
    let campaign = campaign(id);
    store.launch(&tenant(), Launch { campaign: &campaign, events: &events, command: None }).await.unwrap();
}

fn whole(id: u64, kind: EventKind) -> Event {
    Event { device: None, ..event(id, "lamp-1", kind) }
}

fn told(at: u64) -> Event {
    Event { at, campaign: None, ..event(1, "lamp-1", EventKind::Asked) }
}

fn numbers(read: &[Recorded]) -> Vec<u64> {
    read.iter().map(|one| one.seq).collect()
}

async fn unneeded(store: &dyn Store, since: u64, until: u64) -> Vec<u64> {
    numbers(&store.unneeded_events(&tenant(), since, until, 100).await.unwrap())
}

async fn kept(store: &dyn Store, tenant: &Tenant) -> Vec<u64> {
    numbers(&store.events(tenant, Scope::All, 0, 100).await.unwrap())
}

/// What a campaign that runs, waits or was halted did is read no less than what happened today.
pub async fn events_of_campaigns_that_go_on_are_needed(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, 1).await;
    launch(store, 2).await;
    store.append(&tenant(), &[told(NOW), whole(2, EventKind::Finished)]).await.unwrap();
    assert_eq!(unneeded(store, 0, 100).await, [5, 6, 7, 8, 9, 10]);
    assert_eq!(unneeded(store, 6, 9).await, [7, 8]);
    assert_eq!(store.remove_events(&tenant(), &[1, 2, 5], NOW).await.unwrap(), 1);
    assert_eq!(kept(store, &tenant()).await, [1, 2, 3, 4, 6, 7, 8, 9, 10]);
    for (kind, needed) in [
        (EventKind::Paused { by: By::default() }, true),
        (EventKind::Resumed { by: By::default() }, true),
        (EventKind::Halted { failure_per_mille: 500 }, true),
        (EventKind::Cancelled { by: By::default() }, false),
    ] {
        store.append(&tenant(), &[whole(1, kind.clone())]).await.unwrap();
        assert_eq!(!unneeded(store, 0, 5).await.contains(&1), needed, "{kind:?}");
    }
    assert_eq!(
        store.campaign(&tenant(), CampaignId(1)).await.unwrap().unwrap().state,
        CampaignState::Cancelled
    );
}

/// The ledger says from where on it is whole, and goes on counting where it was.
pub async fn removed_events_are_gone_and_no_number_is_given_twice(store: &dyn Store) {
    assert_eq!(store.cut(&tenant()).await.unwrap(), None);
    store.append(&tenant(), &[told(11), told(12), told(13), told(14)]).await.unwrap();
    assert_eq!(store.remove_events(&tenant(), &[], NOW).await.unwrap(), 0);
    assert_eq!(store.cut(&tenant()).await.unwrap(), None);
    assert_eq!(store.remove_events(&tenant(), &[1, 2], NOW).await.unwrap(), 2);
    assert_eq!(kept(store, &tenant()).await, [3, 4]);
    assert_eq!(store.cut(&tenant()).await.unwrap(), Some(Cut { kept_from: 3, kept_since: 13, cut_at: NOW }));
    // Once more, as after a crash: nothing is left of them, and nothing is said anew.
    assert_eq!(store.remove_events(&tenant(), &[1, 2], NOW + 1).await.unwrap(), 0);
    assert_eq!(store.cut(&tenant()).await.unwrap(), Some(Cut { kept_from: 3, kept_since: 13, cut_at: NOW }));
    assert_eq!(store.remove_events(&tenant(), &[3], NOW + 2).await.unwrap(), 1);
    assert_eq!(store.append(&tenant(), &[told(15)]).await.unwrap(), 5);
    assert_eq!(kept(store, &tenant()).await, [4, 5]);
    let cut = Cut { kept_from: 4, kept_since: 14, cut_at: NOW + 2 };
    assert_eq!(store.cut(&tenant()).await.unwrap(), Some(cut));
    assert_eq!(
        numbers(&store.latest_events(&tenant(), Scope::Device(&endpoint("lamp-1")), 9).await.unwrap()),
        [4, 5]
    );
    let many: Vec<u64> = (0..=u64::from(LIST_ROWS_MAX)).collect();
    assert!(store.remove_events(&tenant(), &many, NOW).await.is_err());
}

/// The next event's number is one more than that of the last one, so the last one stays.
pub async fn last_event_is_never_removed(store: &dyn Store) {
    store.append(&tenant(), &[told(11), told(12)]).await.unwrap();
    assert_eq!(store.remove_events(&tenant(), &[1, 2], NOW).await.unwrap(), 1);
    assert_eq!(store.append(&tenant(), &[told(13)]).await.unwrap(), 3);
    assert_eq!(kept(store, &tenant()).await, [2, 3]);
}

/// A step of the clock neither keeps old events for ever nor lets young ones go.
pub async fn ledger_is_cut_before_the_first_event_that_is_to_be_kept(store: &dyn Store) {
    assert_eq!(store.old_until(&tenant(), 50, 100).await.unwrap(), 0);
    let ahead = 9_000;
    let times = [10, ahead, 20, ahead, 60, 30, 70];
    store.append(&tenant(), &times.map(told)).await.unwrap();
    for (before, until) in [(5, 0), (11, 2), (20, 2), (21, 4), (50, 4), (61, 7), (100, 8)] {
        assert_eq!(store.old_until(&tenant(), before, 100).await.unwrap(), until, "before {before}");
    }
    assert_eq!(store.old_until(&other_tenant(), 100, 100).await.unwrap(), 0);
}

/// Progress of campaigns and the census are counts, kept beside the events that they were made of.
pub async fn what_was_counted_from_removed_events_stays(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    launch(store, 1).await;
    let done = event(1, "lamp-1", EventKind::Installed { grant: 1 });
    store.append(&tenant(), &[done, whole(1, EventKind::Finished), told(NOW)]).await.unwrap();
    let ran =
        Ran { endpoint: endpoint("lamp-1"), class: "lamp".into(), image: [2; 32], at: NOW, at_first: false };
    assert!(store.count(&tenant(), Counted { after: 0, until: 7, ran: &[ran] }).await.unwrap());
    let asked = Asked { from_hour: 0, heard_since: Vec::new() };
    let progress = store.progress(&tenant(), CampaignId(1)).await.unwrap();
    let census = store.census(&tenant(), &asked).await.unwrap();
    let figures = store.figures(&tenant()).await.unwrap();

    let old = store.unneeded_events(&tenant(), 0, 7, 100).await.unwrap();
    assert_eq!(store.remove_events(&tenant(), &numbers(&old), NOW).await.unwrap(), 6);
    assert_eq!(store.progress(&tenant(), CampaignId(1)).await.unwrap(), progress);
    assert_eq!(store.census(&tenant(), &asked).await.unwrap(), census);
    assert_eq!(store.figures(&tenant()).await.unwrap(), figures);
    assert_eq!(store.counted(&tenant()).await.unwrap(), 7);
}

/// Whoever cuts one ledger leaves the others whole.
pub async fn tenants_are_cut_apart(store: &dyn Store) {
    for tenant in [tenant(), other_tenant()] {
        store.append(&tenant, &[told(11), told(12)]).await.unwrap();
    }
    assert_eq!(store.remove_events(&tenant(), &[1], NOW).await.unwrap(), 1);
    assert_eq!(kept(store, &other_tenant()).await, [1, 2]);
    assert_eq!(store.cut(&other_tenant()).await.unwrap(), None);
}
