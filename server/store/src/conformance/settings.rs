//! Anchors and settings.

use super::sample::{NOW, other_tenant, tenant};
use crate::Store;
use crate::bounds::{BLOB_BYTES_MAX, NAME_BYTES_MAX};
use crate::error::{AddError, StoreError};
use crate::sealed::Sealed;
use crate::settings::Anchors;

fn anchors(edition: u64) -> Anchors {
    Anchors { edition, document: edition.to_be_bytes().to_vec(), stored_at: NOW + edition }
}

/// Whom devices believe now is the highest edition.
pub async fn anchors_of_the_highest_edition_are_read(store: &dyn Store) {
    assert_eq!(store.anchors(&tenant()).await.unwrap(), None);
    for edition in [1, 2, 10] {
        store.add_anchors(&tenant(), &anchors(edition)).await.unwrap();
        assert_eq!(store.anchors(&tenant()).await.unwrap(), Some(anchors(edition)));
    }
    assert_eq!(store.anchors(&other_tenant()).await.unwrap(), None);
}

/// Anchors are replaced only by a higher number.
pub async fn older_or_equal_edition_is_refused(store: &dyn Store) {
    store.add_anchors(&tenant(), &anchors(5)).await.unwrap();
    for edition in [4, 5] {
        let refused = store.add_anchors(&tenant(), &anchors(edition)).await;
        assert!(matches!(refused, Err(AddError::Exists)));
    }
    assert_eq!(store.anchors(&tenant()).await.unwrap(), Some(anchors(5)));
}

/// A device that missed some gets every one of them, one after the other.
pub async fn editions_above_a_number_are_read_in_order(store: &dyn Store) {
    for edition in [1, 2, 5, 10] {
        store.add_anchors(&tenant(), &anchors(edition)).await.unwrap();
    }
    let above =
        |edition, rows_max| async move { store.anchors_since(&tenant(), edition, rows_max).await.unwrap() };
    assert_eq!(above(1, 10).await, [anchors(2), anchors(5), anchors(10)]);
    assert_eq!(above(0, 2).await, [anchors(1), anchors(2)]);
    assert_eq!(above(10, 10).await, []);
    assert_eq!(store.anchors_since(&other_tenant(), 0, 10).await.unwrap(), []);
}

/// What was generated once is never generated over: of two that start at once, both use the first.
pub async fn setting_is_kept_once(store: &dyn Store) {
    let tenant = tenant();
    assert_eq!(store.setting(&tenant, "distributor").await.unwrap(), None);
    let (one, two) = (Sealed::new(vec![1]), Sealed::new(vec![2]));
    let (first, second) = tokio::join!(
        store.put_setting(&tenant, "distributor", &one),
        store.put_setting(&tenant, "distributor", &two)
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first, second);
    assert!(first == one || first == two);
    assert_eq!(store.setting(&tenant, "distributor").await.unwrap(), Some(first));
    let large = Sealed::new(vec![0; BLOB_BYTES_MAX + 1]);
    let refused = store.put_setting(&tenant, "large", &large).await;
    assert!(matches!(refused, Err(StoreError::OutOfBounds { .. })));
    let refused = store.put_setting(&tenant, &"x".repeat(NAME_BYTES_MAX + 1), &one).await;
    assert!(matches!(refused, Err(StoreError::OutOfBounds { .. })));
}

/// A name is a tenant's own.
pub async fn tenants_have_settings_apart(store: &dyn Store) {
    store.put_setting(&tenant(), "distributor", &Sealed::new(vec![1])).await.unwrap();
    assert_eq!(store.setting(&other_tenant(), "distributor").await.unwrap(), None);
    let theirs = store.put_setting(&other_tenant(), "distributor", &Sealed::new(vec![2])).await.unwrap();
    assert_eq!(theirs, Sealed::new(vec![2]));
}
