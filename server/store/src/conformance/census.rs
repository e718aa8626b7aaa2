//! How many devices run what.

use super::sample::{NOW, add_fleet, command, device, endpoint, identity, other_tenant, tenant};
use crate::Store;
use crate::census::{Asked, Census, Change, Counted, HOUR_S, Ran};
use crate::device::Retirement;
use crate::operators::Contact;

const HOUR: u64 = NOW / HOUR_S;
const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

fn ran(name: &str, image: [u8; 32], at: u64) -> Ran {
    Ran { endpoint: endpoint(name), class: "lamp".into(), image, at, at_first: false }
}

fn change(image: [u8; 32], hour: u64, devices: i64) -> Change {
    Change { class: "lamp".into(), image, hour, devices }
}

async fn read(store: &dyn Store, from_hour: u64) -> Census {
    store.census(&tenant(), &Asked { from_hour, heard_since: Vec::new() }).await.unwrap()
}

/// A fleet that told nothing is counted by class and by when it came.
pub async fn devices_are_counted_by_class_and_hour(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let mut late = device("meter-9");
    late.device.class = "meter".into();
    late.device.added_at = NOW + 2 * HOUR_S;
    store.add_device(&tenant(), &late, &identity("meter-9")).await.unwrap();
    let counts = |census: &Census| {
        let one = |row: &crate::census::Enrolled| (row.class.clone(), row.hour, row.devices);
        census.enrolled.iter().map(one).collect::<Vec<_>>()
    };
    let apart = read(store, 0).await;
    assert_eq!(counts(&apart), [("lamp".to_owned(), HOUR, 3), ("meter".to_owned(), HOUR + 2, 1)]);
    // What came before the first hour asked for is told under it.
    let together = read(store, HOUR + 9).await;
    assert_eq!(counts(&together), [("lamp".to_owned(), HOUR + 9, 3), ("meter".to_owned(), HOUR + 9, 1)]);
    assert_eq!(together.changes, vec![]);
}

/// A device counts for one image at a time, whatever is told of it and however often.
pub async fn device_moves_from_image_to_image(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let first = Ran { at_first: true, ..ran("lamp-1", OLD, NOW) };
    let told = [first.clone(), ran("lamp-2", OLD, NOW), ran("lamp-1", NEW, NOW + HOUR_S), first];
    assert!(store.count(&tenant(), Counted { after: 0, until: 7, ran: &told }).await.unwrap());
    let again = [ran("lamp-1", NEW, NOW + 2 * HOUR_S)];
    assert!(store.count(&tenant(), Counted { after: 7, until: 8, ran: &again }).await.unwrap());
    let back = [ran("lamp-1", OLD, NOW + 2 * HOUR_S)];
    assert!(store.count(&tenant(), Counted { after: 8, until: 9, ran: &back }).await.unwrap());
    let expected = [
        change(OLD, HOUR, 2),
        change(OLD, HOUR + 1, -1),
        change(NEW, HOUR + 1, 1),
        change(OLD, HOUR + 2, 1),
        change(NEW, HOUR + 2, -1),
    ];
    assert_eq!(read(store, 0).await.changes, expected);
    let sums = [change(OLD, HOUR + 3, 2), change(NEW, HOUR + 3, 0)];
    assert_eq!(read(store, HOUR + 3).await.changes, sums);
}

/// What a device says itself is counted with it, and what the ledger says of before that comes too late.
pub async fn device_that_told_what_it_runs_is_counted_at_once(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    store.note_running(&tenant(), &endpoint("lamp-1"), &[(0, NEW), (1, [7; 32])], NOW).await.unwrap();
    let told = [ran("lamp-1", OLD, NOW - 5), ran("lamp-2", OLD, NOW)];
    assert!(store.count(&tenant(), Counted { after: 0, until: 7, ran: &told }).await.unwrap());
    assert_eq!(read(store, 0).await.changes, [change(OLD, HOUR, 1), change(NEW, HOUR, 1)]);
    // A clock that was set back keeps nobody from being counted as what they run.
    store.note_running(&tenant(), &endpoint("lamp-1"), &[(0, OLD)], NOW - HOUR_S).await.unwrap();
    let now = [change(OLD, HOUR + 1, 2), change(NEW, HOUR + 1, 0)];
    assert_eq!(read(store, HOUR + 1).await.changes, now);
    assert_eq!(store.count_running(&tenant(), "lamp", &NEW).await.unwrap(), 0);
}

/// A device that was given up counts nowhere: not as enrolled, not as heard, not for an image.
pub async fn device_that_was_given_up_is_not_counted(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let name = endpoint("lamp-1");
    store.note_running(&tenant(), &name, &[(0, NEW)], NOW).await.unwrap();
    let contact =
        Contact { endpoint: name.clone(), registered_at: 0, heard_at: NOW, address: "192.0.2.1:5684".into() };
    store.put_contacts(&tenant(), &[contact]).await.unwrap();
    let asked = Asked { from_hour: HOUR + 1, heard_since: vec![0] };
    let counted = async || {
        let census = store.census(&tenant(), &asked).await.unwrap();
        let running: i64 = census.changes.iter().map(|change| change.devices).sum();
        (census.enrolled.iter().map(|row| row.devices).sum::<u64>(), running, census.heard[0])
    };
    assert_eq!(counted().await, (3, 1, 1));
    let kept = command(1);
    let retirement = Retirement { at: NOW + HOUR_S, events: &[], command: &kept };
    store.retire_device(&tenant(), &name, retirement).await.unwrap();
    assert_eq!(counted().await, (2, 0, 0));
    store.note_running(&tenant(), &name, &[(0, OLD)], NOW + HOUR_S).await.unwrap();
    assert_eq!(counted().await, (2, 0, 0), "it told something on its way out");
}

/// Of two that count the same stretch one does.
pub async fn stretch_of_the_ledger_is_counted_once(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let told = [ran("lamp-1", OLD, NOW)];
    assert_eq!(store.counted(&tenant()).await.unwrap(), 0);
    assert!(store.count(&tenant(), Counted { after: 0, until: 7, ran: &told }).await.unwrap());
    let twin = [ran("lamp-2", OLD, NOW)];
    assert!(!store.count(&tenant(), Counted { after: 0, until: 9, ran: &twin }).await.unwrap());
    assert_eq!(store.counted(&tenant()).await.unwrap(), 7);
    assert_eq!(read(store, 0).await.changes, [change(OLD, HOUR, 1)]);
    assert_eq!(store.counted(&other_tenant()).await.unwrap(), 0);
}

/// Devices are counted by how lately they were heard.
pub async fn devices_are_counted_by_when_they_were_heard(store: &dyn Store) {
    add_fleet(store, &tenant()).await;
    let contact = |name, heard_at| Contact {
        endpoint: endpoint(name),
        registered_at: 0,
        heard_at,
        address: "192.0.2.1:5684".into(),
    };
    let heard = [contact("lamp-1", NOW), contact("lamp-2", NOW - 10), contact("lamp-3", NOW - 100)];
    store.put_contacts(&tenant(), &heard).await.unwrap();
    let asked = Asked { from_hour: 0, heard_since: vec![NOW, NOW - 10, NOW - 99, 0] };
    assert_eq!(store.census(&tenant(), &asked).await.unwrap().heard, [1, 2, 2, 3]);
    assert_eq!(store.census(&other_tenant(), &asked).await.unwrap().heard, [0; 4]);
}
