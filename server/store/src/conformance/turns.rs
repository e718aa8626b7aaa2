//! Writers at the same time, who may share commits: each gets what it would get alone.

use std::pin::pin;
use std::sync::Arc;

use bellwether_decide::campaign::event::EventKind;
use bellwether_decide::identity::IdentityState;
use futures_util::future::{join_all, poll_immediate};

use super::sample::{device, endpoint, event, identity, tenant};
use crate::device::{Transition, Updated};
use crate::error::{AddError, UpdateError};
use crate::ledger::Scope;
use crate::{Store, StoreError};

async fn add_lamps(store: &dyn Store, count: usize) {
    let lamps: Vec<_> = (0..count).map(|lamp| (device(&name(lamp)), identity(&name(lamp)))).collect();
    store.add_devices(&tenant(), &lamps).await.unwrap();
}

fn name(lamp: usize) -> String {
    format!("lamp-{lamp}")
}

/// Moves a lamp from one revision to the next, with an event.
async fn advance(store: &dyn Store, lamp: usize, from: u64) -> Result<Updated, UpdateError> {
    let next = IdentityState { revision: from + 1, grant_highest: from + 1, ..IdentityState::new(0) };
    let events = [event(1, &name(lamp), EventKind::Installed { grant: from + 1 })];
    let step = Transition { events: &events, ..Transition::new(from, &next) };
    store.update_identity(&tenant(), &endpoint(&name(lamp)), step).await
}

/// How often a lamp was moved, by its state; its events must say the same.
async fn moved(store: &dyn Store, lamp: usize) -> u64 {
    let name = endpoint(&name(lamp));
    let state = store.identity(&tenant(), &name).await.unwrap().unwrap().state;
    let events = store.events(&tenant(), Scope::Device(&name), 0, u32::MAX).await.unwrap();
    assert_eq!(events.len() as u64, state.revision, "state and ledger are of one commit");
    state.revision
}

/// Each of many writers reads its own write once it returned, and the ledger has no gap.
pub async fn writes_at_the_same_time_are_all_there_when_they_return(store: &(impl Store + Clone + 'static)) {
    add_lamps(store, LAMPS).await;
    let shared = Arc::new(store.clone());
    let tasks = (0..LAMPS).map(|lamp| {
        let store = Arc::clone(&shared);
        tokio::spawn(async move {
            for from in 0..STEPS {
                advance(&*store, lamp, from).await.unwrap();
                // Read over another connection: it is committed.
                assert_eq!(moved(&*store, lamp).await, from + 1);
            }
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    let events = store.events(&tenant(), Scope::All, 0, u32::MAX).await.unwrap();
    let numbers: Vec<u64> = events.iter().map(|kept| kept.seq).collect();
    assert_eq!(numbers, (1..=LAMPS as u64 * STEPS).collect::<Vec<u64>>());
}

/// A conflict in the middle of others changes nothing for them.
pub async fn refused_write_among_others_takes_back_itself_alone(store: &dyn Store) {
    add_lamps(store, LAMPS).await;
    // Every third is at another revision than it believes, every third is a stranger.
    let step = |lamp: usize| async move {
        match lamp % 3 {
            0 => advance(store, lamp, 0).await.map(drop),
            1 => advance(store, lamp, 7).await.map(drop),
            _ => advance(store, lamp + LAMPS, 0).await.map(drop),
        }
    };
    let outcomes = join_all((0..LAMPS).map(step)).await;
    for (lamp, outcome) in outcomes.iter().enumerate() {
        let fits = match lamp % 3 {
            0 => outcome.is_ok(),
            1 => matches!(outcome, Err(UpdateError::Conflict { expected: 7, found: 0 })),
            _ => matches!(outcome, Err(UpdateError::Missing)),
        };
        assert!(fits, "lamp {lamp}: {outcome:?}");
        assert_eq!(moved(store, lamp).await, u64::from(lamp % 3 == 0));
    }
}

/// A key that is taken ends the turn of its writer, not that of the others.
pub async fn failed_statement_among_others_fails_its_writer_alone(store: &dyn Store) {
    add_lamps(store, LAMPS).await;
    let known = device("lamp-0");
    // A device that is there already is refused by the data base, in the middle of a turn.
    let add = |lamp: usize| {
        let known = &known;
        async move {
            if lamp.is_multiple_of(2) {
                return store.add_device(&tenant(), known, &identity("other")).await;
            }
            advance(store, lamp, 0).await.map(drop).map_err(|_| AddError::Store(StoreError::NoParent))
        }
    };
    for (lamp, outcome) in join_all((0..LAMPS).map(add)).await.iter().enumerate() {
        match (lamp % 2, outcome) {
            (0, Err(AddError::Exists)) | (1, Ok(())) => {}
            other => panic!("lamp {lamp}: {other:?}"),
        }
        assert_eq!(moved(store, lamp).await, u64::from(lamp % 2 == 1));
    }
    assert!(store.identity(&tenant(), &endpoint("other")).await.unwrap().is_none());
}

/// A refusal is told when what it comes of can be read.
pub async fn second_of_two_who_decided_on_one_revision_hears_of_it_once_the_first_is_committed(
    store: &dyn Store,
) {
    add_lamps(store, 1).await;
    let after = |outcome: Result<Updated, UpdateError>| async move {
        // What it reads now is what it was refused for: it can decide again.
        if let Err(UpdateError::Conflict { found, .. }) = outcome {
            assert_eq!(moved(store, 0).await, found);
            return false;
        }
        outcome.map(|updated| updated.revision == 1).unwrap()
    };
    let writers = (0..LAMPS).map(|_| async { after(advance(store, 0, 0).await).await });
    let won = join_all(writers).await.into_iter().filter(|won| *won).count();
    assert_eq!((won, moved(store, 0).await), (1, 1));
}

/// A caller that is dropped at any of its waits leaves nothing half-done, and nobody waiting.
pub async fn write_that_is_given_up_anywhere_is_whole_or_not_there_and_harms_no_other(store: &dyn Store) {
    add_lamps(store, LAMPS).await;
    for polls in 0..POLLS_MAX {
        let lamps = (0..LAMPS).map(|lamp| {
            let from = async move { store.identity(&tenant(), &endpoint(&name(lamp))).await };
            async move {
                let from = from.await.unwrap().unwrap().state.revision;
                let mut write = pin!(advance(store, lamp, from));
                if lamp.is_multiple_of(2) {
                    for _ in 0..polls {
                        if poll_immediate(&mut write).await.is_some() {
                            return;
                        }
                        // Others, and the data base, go on meanwhile.
                        tokio::task::yield_now().await;
                    }
                    return;
                }
                write.await.unwrap();
            }
        });
        join_all(lamps).await;
        for lamp in 0..LAMPS {
            let moved = moved(store, lamp).await;
            assert!(lamp.is_multiple_of(2) || moved == polls + 1, "lamp {lamp}: {moved} of {}", polls + 1);
        }
    }
}

const LAMPS: usize = 24;
const STEPS: u64 = 5;

/// Further than most writes go: a write that is polled so often has done its statements one after the other.
const POLLS_MAX: u64 = 30;
