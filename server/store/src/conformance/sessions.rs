//! Sessions of devices that sleep.

use super::sample::{NOW, other_tenant, tenant};
use crate::Store;
use crate::bounds::{BLOB_BYTES_MAX, SESSIONS_PER_IDENTITY_MAX};
use crate::error::StoreError;
use crate::sealed::Sealed;
use crate::session::KeptSession;

fn name(n: u8) -> [u8; 8] {
    [n; 8]
}

fn session(n: u8, identity: &str) -> KeptSession {
    KeptSession {
        session: name(n),
        identity: identity.to_owned(),
        address: "192.0.2.1:5684".to_owned(),
        established_at: NOW,
        slept_at: NOW + u64::from(n),
        expires_at: NOW + 1_000 + u64::from(n),
        state: Sealed::new(vec![n; 300]),
        registration: n.is_multiple_of(2).then(|| vec![n; 40]),
    }
}

/// Nothing of a session gets lost while it sleeps.
pub async fn session_reads_back_unchanged_and_once(store: &dyn Store) {
    let kept = [session(1, "lamp-1"), session(2, "lamp-2")];
    store.put_sessions(&tenant(), &kept).await.unwrap();
    let taken = store.take_sessions(&tenant(), &[name(1), name(9), name(2)]).await.unwrap();
    assert_eq!(taken, kept);
    assert_eq!(store.take_sessions(&tenant(), &[name(1), name(2)]).await.unwrap(), []);
}

/// Two engines must never go on with the same session.
pub async fn of_two_takers_of_a_session_one_gets_it(store: &dyn Store) {
    for n in 0..20 {
        store.put_sessions(&tenant(), &[session(n, "lamp-1")]).await.unwrap();
        let (tenant, names) = (tenant(), [name(n)]);
        let (one, two) =
            tokio::join!(store.take_sessions(&tenant, &names), store.take_sessions(&tenant, &names));
        assert_eq!(one.unwrap().len() + two.unwrap().len(), 1);
    }
}

/// A session that sleeps again is kept as it is now.
pub async fn session_put_again_replaces_the_row(store: &dyn Store) {
    store.put_sessions(&tenant(), &[session(1, "lamp-1")]).await.unwrap();
    let again = KeptSession { state: Sealed::new(vec![7; 300]), slept_at: NOW + 50, ..session(1, "lamp-1") };
    store.put_sessions(&tenant(), std::slice::from_ref(&again)).await.unwrap();
    assert_eq!(store.take_sessions(&tenant(), &[name(1)]).await.unwrap(), [again]);
}

/// One key cannot take the room of all.
pub async fn identity_keeps_its_latest_sessions_only(store: &dyn Store) {
    let most = u8::try_from(SESSIONS_PER_IDENTITY_MAX).unwrap();
    for n in 0..most + 3 {
        store.put_sessions(&tenant(), &[session(n, "lamp-1")]).await.unwrap();
    }
    store.put_sessions(&tenant(), &[session(100, "lamp-2")]).await.unwrap();
    let all: Vec<_> = (0..=100).map(name).collect();
    let taken = store.take_sessions(&tenant(), &all).await.unwrap();
    let names: Vec<_> = taken.iter().map(|session| session.session[0]).collect();
    let latest: Vec<_> = (3..most + 3).chain([100]).collect();
    assert_eq!(names, latest);
}

/// The session that is put stays, even where all others of its second do too.
pub async fn session_put_last_is_not_the_one_that_goes(store: &dyn Store) {
    for n in 0..20 {
        let put = KeptSession { slept_at: NOW, ..session(20 - n, "lamp-1") };
        store.put_sessions(&tenant(), std::slice::from_ref(&put)).await.unwrap();
        let taken = store.take_sessions(&tenant(), &[put.session]).await.unwrap();
        assert_eq!(taken, std::slice::from_ref(&put));
        store.put_sessions(&tenant(), &[put]).await.unwrap();
    }
}

/// What has a bound in time and number ends by itself.
pub async fn expired_and_surplus_sessions_are_swept(store: &dyn Store) {
    let all: Vec<_> = (1..=10).map(|n| session(n, &format!("lamp-{n}"))).collect();
    store.put_sessions(&tenant(), &all).await.unwrap();
    assert_eq!(store.sweep_sessions(&tenant(), NOW + 1_003, 100).await.unwrap(), 8);
    assert_eq!(store.sweep_sessions(&tenant(), NOW + 1_003, 5).await.unwrap(), 5);
    let names: Vec<_> = (0..=10).map(name).collect();
    let left: Vec<_> = store.take_sessions(&tenant(), &names).await.unwrap();
    assert_eq!(left, all[5..]);
}

/// Who has no key any more has no session either.
pub async fn sessions_of_an_identity_are_forgotten(store: &dyn Store) {
    let kept = [session(1, "gw-1"), session(2, "gw-1"), session(3, "lamp-1")];
    store.put_sessions(&tenant(), &kept).await.unwrap();
    assert_eq!(store.forget_sessions_of(&tenant(), "gw-1").await.unwrap(), 2);
    let left = store.take_sessions(&tenant(), &[name(1), name(2), name(3)]).await.unwrap();
    assert_eq!(left, kept[2..]);
}

/// After a start, everybody who sleeps and is registered can be reached.
pub async fn registrations_page_by_sleep(store: &dyn Store) {
    let all: Vec<_> = (1..=9).rev().map(|n| session(n, &format!("lamp-{n}"))).collect();
    store.put_sessions(&tenant(), &all).await.unwrap();
    let mut found = Vec::new();
    loop {
        let page = store.kept_registrations(&tenant(), found.last(), 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    let names: Vec<_> = found.iter().map(|one| (one.session[0], one.registration[0])).collect();
    assert_eq!(names, [(2, 2), (4, 4), (6, 6), (8, 8)]);
    assert_eq!((found[0].identity.as_str(), found[0].address.as_str()), ("lamp-2", "192.0.2.1:5684"));
}

/// Who registered anew is not found where it was registered before.
pub async fn registrations_of_an_identity_are_forgotten_and_its_sessions_stay(store: &dyn Store) {
    let kept = [session(1, "lamp-1"), session(2, "lamp-1"), session(4, "lamp-1"), session(6, "lamp-2")];
    store.put_sessions(&tenant(), &kept).await.unwrap();
    assert_eq!(store.forget_registrations_of(&other_tenant(), "lamp-1").await.unwrap(), 0);
    assert_eq!(store.forget_registrations_of(&tenant(), "lamp-1").await.unwrap(), 2);
    assert_eq!(store.forget_registrations_of(&tenant(), "lamp-1").await.unwrap(), 0);
    let left = store.kept_registrations(&tenant(), None, 10).await.unwrap();
    assert_eq!(left.iter().map(|one| one.session).collect::<Vec<_>>(), [name(6)]);
    let taken = store.take_sessions(&tenant(), &[name(1), name(2), name(4), name(6)]).await.unwrap();
    let without = |session: &KeptSession| KeptSession { registration: None, ..session.clone() };
    assert_eq!(taken, [without(&kept[0]), without(&kept[1]), without(&kept[2]), kept[3].clone()]);
}

/// A value past its bound is refused, and nothing of its call is kept.
pub async fn session_past_its_bound_is_refused(store: &dyn Store) {
    let large = KeptSession { state: Sealed::new(vec![0; BLOB_BYTES_MAX + 1]), ..session(2, "lamp-2") };
    let refused = store.put_sessions(&tenant(), &[session(1, "lamp-1"), large]).await;
    assert!(matches!(refused, Err(StoreError::OutOfBounds { .. })));
    assert_eq!(store.take_sessions(&tenant(), &[name(1)]).await.unwrap(), []);
}

/// A connection ID is a tenant's own.
pub async fn tenants_have_sessions_apart(store: &dyn Store) {
    store.put_sessions(&tenant(), &[session(2, "lamp-1")]).await.unwrap();
    assert_eq!(store.take_sessions(&other_tenant(), &[name(2)]).await.unwrap(), []);
    assert_eq!(store.kept_registrations(&other_tenant(), None, 10).await.unwrap(), []);
    assert_eq!(store.forget_sessions_of(&other_tenant(), "lamp-1").await.unwrap(), 0);
    assert_eq!(store.sweep_sessions(&other_tenant(), NOW + 9_999, 0).await.unwrap(), 0);
    assert_eq!(store.take_sessions(&tenant(), &[name(2)]).await.unwrap().len(), 1);
}
