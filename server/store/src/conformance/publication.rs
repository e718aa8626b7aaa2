//! How far events were published.

use super::sample::{other_tenant, tenant};
use crate::Store;

/// A store that nothing was published from stands at 0.
pub async fn nothing_is_published_at_first(store: &dyn Store) {
    assert_eq!(store.published(&tenant()).await.unwrap(), 0);
}

/// Two publishers of one store can't send it back.
pub async fn published_number_only_rises(store: &dyn Store) {
    for (set, kept) in [(7, 7), (3, 7), (9, 9)] {
        store.set_published(&tenant(), set).await.unwrap();
        assert_eq!(store.published(&tenant()).await.unwrap(), kept);
    }
}

/// Each tenant's events are handed over apart.
pub async fn tenants_are_published_apart(store: &dyn Store) {
    store.set_published(&tenant(), 7).await.unwrap();
    assert_eq!(store.published(&other_tenant()).await.unwrap(), 0);
}
