//! Lists of devices that are enrolled at once.

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::deed::Deed;
use bellwether_decide::tag::Tag;

use super::sample::{NOW, child, device, endpoint, gateway, identity, other_tenant, tenant};
use crate::Store;
use crate::bounds::IMPORT_ROWS_MAX;
use crate::census::{Asked, Enrolled, HOUR_S};
use crate::device::EnrolledDevice;
use crate::import::{
    Committed, Import, ImportCommit, LineFault, StageError, StagedDevice, StagedName, UnitDue,
};
use crate::ledger::Scope;

const LIST: [u8; 32] = [0xC1; 32];

fn staged(line: u64, device: EnrolledDevice) -> StagedDevice {
    let identity = identity(device.device.endpoint.as_str());
    let tags = ["roof", "ring=1"].map(|text| Tag::try_from(text).unwrap()).to_vec();
    StagedDevice { line, device, identity, tags }
}

async fn stage(store: &dyn Store, lines: u64, rows: &[StagedDevice]) -> Result<(), StageError> {
    store.stage_import(&tenant(), "spring", &LIST, lines, rows, NOW).await
}

fn event(deed: Deed) -> [Event; 1] {
    let kind = EventKind::Done { deed, by: By::default() };
    [Event { at: NOW, campaign: None, device: None, kind }]
}

async fn commit(store: &dyn Store) -> Committed {
    let events = event(Deed::DevicesImported { import: "spring".into(), devices: 2 });
    let state = identity("lamp-1").state;
    let commit = ImportCommit { at: NOW + 9, state: &state, events: &events };
    store.commit_import(&tenant(), "spring", commit).await.unwrap()
}

/// Nobody is enrolled by a piece; all are by the commit, with identity, keys, tags and event.
pub async fn devices_of_an_import_are_enrolled_by_its_commit(store: &dyn Store) {
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    let before = store.gateway(&tenant(), &endpoint("gw-1")).await.unwrap().unwrap();
    stage(store, 2, &[staged(2, child("lamp-1", "gw-1"))]).await.unwrap();
    stage(store, 2, &[staged(5, device("lamp-2"))]).await.unwrap();
    assert_eq!(store.devices(&tenant(), None, 10).await.unwrap(), []);
    let half = store.import(&tenant(), "spring").await.unwrap().unwrap();
    let expected = Import { content: LIST, lines: 2, staged: 2, staged_to: 5, committed_at: None, due: 0 };
    assert_eq!(half, expected);
    let class = || "lamp".to_owned();
    let first =
        StagedName { line: 2, endpoint: endpoint("lamp-1"), class: class(), gateway: Some(endpoint("gw-1")) };
    let second = StagedName { line: 5, endpoint: endpoint("lamp-2"), class: class(), gateway: None };
    assert_eq!(store.staged(&tenant(), "spring", 0, 10).await.unwrap(), [first, second.clone()]);
    assert_eq!(store.staged(&tenant(), "spring", 2, 10).await.unwrap(), [second]);
    assert_eq!(commit(store).await, Committed::New);
    assert_eq!(store.figures(&tenant()).await.unwrap().devices, 2);
    let asked = Asked { from_hour: 0, heard_since: Vec::new() };
    let counted = store.census(&tenant(), &asked).await.unwrap().enrolled;
    assert_eq!(counted, [Enrolled { class: class(), hour: (NOW + 9) / HOUR_S, devices: 2 }]);

    let mut expected = child("lamp-1", "gw-1");
    expected.device.added_at = NOW + 9;
    assert_eq!(store.device(&tenant(), &endpoint("lamp-1")).await.unwrap(), Some(expected));
    let kept = store.identity(&tenant(), &endpoint("lamp-2")).await.unwrap().unwrap();
    let new = identity("lamp-2");
    assert_eq!((kept.chain_length, &kept.state, &kept.keys[0].seed), (1_024, &new.state, &Some(new.seed)));
    let tags = store.tags_of(&tenant(), &[endpoint("lamp-1")]).await.unwrap();
    assert_eq!(tags[&endpoint("lamp-1")].len(), 2);
    let lengths = store.chain_lengths(&tenant(), &[endpoint("lamp-1"), endpoint("stranger")]).await.unwrap();
    assert_eq!(lengths, [(endpoint("lamp-1"), 1_024)].into());
    let after = store.gateway(&tenant(), &endpoint("gw-1")).await.unwrap().unwrap();
    assert!(after.children_edition > before.children_edition);
    assert_eq!(commit(store).await, Committed::Before);
    assert_eq!(store.events(&tenant(), Scope::Acts, 0, 10).await.unwrap().len(), 1);
    assert_eq!(store.import(&other_tenant(), "spring").await.unwrap(), None);
}

/// One line that can't be enrolled takes the whole list back, and is named.
pub async fn import_with_a_line_that_can_not_be_enrolled_enrols_nobody(store: &dyn Store) {
    store.add_gateway(&tenant(), &gateway("gw-1")).await.unwrap();
    store.add_device(&tenant(), &device("lamp-9"), &identity("lamp-9")).await.unwrap();
    let rows = [
        staged(2, device("lamp-1")),
        staged(3, device("lamp-9")),
        staged(4, device("gw-1")),
        staged(5, child("lamp-2", "gw-2")),
    ];
    assert_eq!(commit(store).await, Committed::Missing);
    stage(store, 4, &rows[..3]).await.unwrap();
    assert_eq!(commit(store).await, Committed::Incomplete { staged: 3, lines: 4 });
    stage(store, 4, &rows[3..]).await.unwrap();
    let faults = vec![
        (3, LineFault::Taken(endpoint("lamp-9"))),
        (4, LineFault::Taken(endpoint("gw-1"))),
        (5, LineFault::NoGateway(endpoint("gw-2"))),
    ];
    assert_eq!(commit(store).await, Committed::Faults(faults));
    assert_eq!(store.devices(&tenant(), None, 10).await.unwrap(), [device("lamp-9")]);
    assert_eq!(store.events(&tenant(), Scope::All, 0, 10).await.unwrap(), []);
}

/// The same piece again leaves the keys that were made first; another list, or a name twice, is refused.
pub async fn piece_of_an_import_is_kept_once(store: &dyn Store) {
    stage(store, 2, &[staged(2, device("lamp-1"))]).await.unwrap();
    let mut again = staged(2, device("lamp-1"));
    again.identity.seed = crate::Sealed::new(b"another seed".to_vec());
    stage(store, 2, &[again]).await.unwrap();
    let twice = stage(store, 2, &[staged(3, device("lamp-2")), staged(4, device("lamp-1"))]).await;
    assert!(matches!(twice, Err(StageError::Twice)));
    assert!(matches!(stage(store, 3, &[]).await, Err(StageError::OtherContent)));
    let other = store.stage_import(&tenant(), "spring", &[0xC2; 32], 2, &[], NOW).await;
    assert!(matches!(other, Err(StageError::OtherContent)));
    stage(store, 2, &[staged(3, device("lamp-2"))]).await.unwrap();
    assert_eq!(commit(store).await, Committed::New);
    assert!(matches!(stage(store, 2, &[]).await, Err(StageError::Committed)));
    let kept = store.identity(&tenant(), &endpoint("lamp-1")).await.unwrap().unwrap();
    assert_eq!(kept.keys[0].seed, Some(identity("lamp-1").seed));
}

/// A unit file is due from the commit on until its receipt, and of a device that was given up no more.
pub async fn unit_files_are_due_until_they_were_received(store: &dyn Store) {
    let rows: Vec<_> = (2..6).map(|line| staged(line, device(&format!("lamp-{line}")))).collect();
    stage(store, 4, &rows).await.unwrap();
    assert_eq!(store.units_due(&tenant(), "spring", 0, 10).await.unwrap(), []);
    commit(store).await;
    let due = async |after| store.units_due(&tenant(), "spring", after, 10).await.unwrap();
    let lines = |due: &[UnitDue]| due.iter().map(|one| one.line).collect::<Vec<_>>();
    let first = due(0).await;
    assert_eq!(lines(&first), [2, 3, 4, 5]);
    assert_eq!((first[0].chain_length, &first[0].seed), (1_024, &Some(identity("lamp-2").seed)));
    assert_eq!(lines(&due(3).await), [4, 5]);
    assert_eq!(store.units_received(&tenant(), "spring", 3).await.unwrap(), 2);
    assert_eq!(store.units_received(&tenant(), "spring", 3).await.unwrap(), 0);
    assert_eq!(lines(&due(0).await), [4, 5]);
    assert_eq!(store.import(&tenant(), "spring").await.unwrap().unwrap().due, 2);
    assert_eq!(store.units_received(&other_tenant(), "spring", 9).await.unwrap(), 0);
}

/// What nobody committed is forgotten with its keys; what was committed stays.
pub async fn import_that_nobody_commits_is_forgotten(store: &dyn Store) {
    stage(store, 1, &[staged(2, device("lamp-1"))]).await.unwrap();
    assert_eq!(store.forget_imports(&tenant(), NOW).await.unwrap(), 0);
    assert_eq!(store.forget_imports(&tenant(), NOW + 1).await.unwrap(), 1);
    assert_eq!(store.import(&tenant(), "spring").await.unwrap(), None);
    stage(store, 1, &[staged(2, device("lamp-1"))]).await.unwrap();
    commit(store).await;
    assert_eq!(store.forget_imports(&tenant(), NOW + 99).await.unwrap(), 0);
}

/// Lines that no statement goes through at once.
const MANY: u64 = 2 * IMPORT_ROWS_MAX as u64 + 1;

async fn stage_many(store: &dyn Store) {
    let rows: Vec<_> = (1..=MANY).map(|line| staged(line * 3, device(&format!("lamp-{line}")))).collect();
    for piece in rows.chunks(1_000) {
        stage(store, MANY, piece).await.unwrap();
    }
}

/// Each of many devices is enrolled by one commit, and its unit file is due until its receipt.
pub async fn list_that_takes_several_statements_is_enrolled_whole(store: &dyn Store) {
    stage_many(store).await;
    assert_eq!(commit(store).await, Committed::New);
    assert_eq!(store.figures(&tenant()).await.unwrap().devices, MANY);
    let enrolled = store.import(&tenant(), "spring").await.unwrap().unwrap();
    assert_eq!((enrolled.staged, enrolled.due), (0, MANY));
    let last = endpoint(&format!("lamp-{MANY}"));
    assert!(store.identity(&tenant(), &last).await.unwrap().is_some());
    assert_eq!(store.tags_of(&tenant(), std::slice::from_ref(&last)).await.unwrap()[&last].len(), 2);
    assert_eq!(store.units_received(&tenant(), "spring", MANY * 3 - 1).await.unwrap(), MANY - 1);
    assert_eq!(store.units_due(&tenant(), "spring", 0, 10).await.unwrap()[0].line, MANY * 3);
}

/// A fault at the end of many lines takes all of them back; nobody commits them, and all are forgotten.
pub async fn list_that_takes_several_statements_is_refused_and_forgotten_whole(store: &dyn Store) {
    stage_many(store).await;
    let last = format!("lamp-{MANY}");
    store.add_device(&tenant(), &device(&last), &identity(&last)).await.unwrap();
    let faults = vec![(MANY * 3, LineFault::Taken(endpoint(&last)))];
    assert_eq!(commit(store).await, Committed::Faults(faults));
    assert_eq!(store.figures(&tenant()).await.unwrap().devices, 1);
    assert_eq!(store.forget_imports(&tenant(), NOW + 1).await.unwrap(), 1);
    assert_eq!(store.import(&tenant(), "spring").await.unwrap(), None);
    assert_eq!(store.staged(&tenant(), "spring", 0, 10).await.unwrap(), []);
}
