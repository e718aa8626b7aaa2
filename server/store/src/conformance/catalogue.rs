//! Manifests, releases and resources.

use bellwether_decide::campaign::event::{By, Event, EventKind};
use bellwether_decide::deed::Deed;
use bellwether_decide::release::{Class, ReleaseId};

use super::sample::{
    NOW, command, delta_key, delta_resource, endpoint, full_key, full_resource, manifest, other_tenant,
    release, tenant,
};
use crate::Store;
use crate::bounds::DOCUMENT_BYTES_MAX;
use crate::campaign::Command;
use crate::catalogue::{Manifest, Mode, NewRelease, Recall, Recalling, Resource, ResourceKey};
use crate::error::{AddError, StoreError, UpdateError};
use crate::ledger::Scope;

/// The envelope is a signed document: not a byte of it changes.
pub async fn manifest_reads_back_unchanged(store: &dyn Store) {
    let kept = Manifest { envelope: (0..=255).collect(), ..manifest(1, 7) };
    store.add_manifest(&tenant(), &kept).await.unwrap();
    assert_eq!(store.manifest(&tenant(), &[1; 32]).await.unwrap(), Some(kept));
    assert_eq!(store.manifest(&tenant(), &[2; 32]).await.unwrap(), None);
    assert_eq!(store.manifest(&other_tenant(), &[1; 32]).await.unwrap(), None);
}

/// The digest names it; a second upload is told so.
pub async fn manifest_is_added_once(store: &dyn Store) {
    store.add_manifest(&tenant(), &manifest(1, 7)).await.unwrap();
    let again = Manifest { envelope: vec![0], ..manifest(1, 8) };
    assert!(matches!(store.add_manifest(&tenant(), &again).await, Err(AddError::Exists)));
    assert_eq!(store.manifest(&tenant(), &[1; 32]).await.unwrap(), Some(manifest(1, 7)));
}

/// A document has a bound.
pub async fn envelope_past_its_bound_is_refused(store: &dyn Store) {
    let large = Manifest { envelope: vec![0; DOCUMENT_BYTES_MAX + 1], ..manifest(1, 7) };
    let refused = store.add_manifest(&tenant(), &large).await;
    assert!(matches!(refused, Err(AddError::Store(StoreError::OutOfBounds { .. }))));
}

/// What was signed last stands first.
pub async fn manifests_list_highest_sequence_number_first(store: &dyn Store) {
    for (byte, sequence) in [(1, 7), (2, 9), (3, 8)] {
        store.add_manifest(&tenant(), &manifest(byte, sequence)).await.unwrap();
    }
    let listed = store.manifests(&tenant(), 2).await.unwrap();
    assert_eq!(listed.iter().map(|kept| kept.sequence).collect::<Vec<_>>(), [9, 8]);
    assert_eq!((listed[0].digest, listed[0].envelope_bytes), ([2; 32], 3));
}

/// Numbers begin at 1, and every field comes back.
pub async fn releases_are_numbered_and_read_back(store: &dyn Store) {
    let new = release("1.0", 1);
    assert_eq!(store.add_release(&tenant(), &new).await.unwrap(), ReleaseId(1));
    assert_eq!(store.add_release(&tenant(), &release("2.0", 2)).await.unwrap(), ReleaseId(2));
    let kept = store.releases(&tenant(), None, 1).await.unwrap().remove(0);
    assert_eq!(
        (kept.vendor, kept.class_name, kept.published_at),
        (new.vendor, new.class_name, new.published_at)
    );
    assert_eq!(
        (kept.release.id, kept.release.class, kept.release.component),
        (ReleaseId(1), new.class, new.component)
    );
    assert_eq!((kept.release.version, kept.release.digest), (new.version, new.digest));
    assert_eq!((kept.release.size, kept.release.open), (new.size, new.open));
    let rest = store.releases(&tenant(), Some(ReleaseId(1)), 10).await.unwrap();
    assert_eq!(rest.iter().map(|kept| kept.release.id).collect::<Vec<_>>(), [ReleaseId(2)]);
}

/// Within a class a version means one image and an image one version; another class may have the same.
pub async fn version_or_image_of_a_class_is_released_once(store: &dyn Store) {
    store.add_release(&tenant(), &release("1.0", 1)).await.unwrap();
    for twin in [release("1.0", 2), release("1.1", 1)] {
        assert!(matches!(store.add_release(&tenant(), &twin).await, Err(AddError::Exists)));
    }
    let other_class =
        NewRelease { class: Class { vendor: [0x71; 16], class: [0x73; 16] }, ..release("1.0", 1) };
    store.add_release(&tenant(), &other_class).await.unwrap();
    store.add_release(&other_tenant(), &release("1.0", 1)).await.unwrap();
}

/// A release is recalled once, with its event and its command, and shown as such until the recall is taken back.
pub async fn release_is_recalled_and_reinstated_once(store: &dyn Store) {
    let id = store.add_release(&tenant(), &release("1.0", 1)).await.unwrap();
    store.add_release(&tenant(), &release("2.0", 2)).await.unwrap();
    store.add_release(&other_tenant(), &release("1.0", 1)).await.unwrap();
    let recall = Recall { at: NOW, why: "it flickers".to_owned() };
    let kind = EventKind::Done { deed: Deed::DeviceDecommissioned, by: By::default() };
    let events = [Event { at: NOW, campaign: None, device: None, kind }];
    let commands = [1, 2, 3, 4].map(|n| Command { request_id: format!("request-{n}"), ..command(n) });
    let step = |number: usize, recall| Recalling {
        release: id,
        recall,
        events: &events,
        command: &commands[number],
    };
    let recalled = async || {
        let kept = store.releases(&tenant(), None, 10).await.unwrap();
        kept.into_iter().map(|one| one.recalled).collect::<Vec<_>>()
    };
    let early = store.set_recall(&tenant(), step(0, None)).await;
    assert!(matches!(early, Err(UpdateError::Missing)), "it is not recalled");
    store.set_recall(&tenant(), step(0, Some(&recall))).await.unwrap();
    assert_eq!(recalled().await, [Some(recall.clone()), None]);
    let again = store.set_recall(&tenant(), step(0, Some(&recall))).await;
    assert!(matches!(again, Err(UpdateError::CommandKept)));
    let twice = store.set_recall(&tenant(), step(1, Some(&recall))).await;
    assert!(matches!(twice, Err(UpdateError::Missing)));
    assert_eq!(store.releases(&other_tenant(), None, 10).await.unwrap()[0].recalled, None);
    store.set_recall(&tenant(), step(2, None)).await.unwrap();
    assert_eq!(recalled().await, [None, None]);
    // What was refused left nothing.
    assert_eq!(store.events(&tenant(), Scope::Acts, 0, 10).await.unwrap().len(), 2);
    assert!(store.command(&tenant(), "request-2").await.unwrap().is_none());
}

/// A resolver finds what a class has, and what an image is.
pub async fn releases_are_found_by_class_and_by_digest(store: &dyn Store) {
    let other_class = Class { vendor: [0x71; 16], class: [0x73; 16] };
    store.add_release(&tenant(), &release("1.0", 1)).await.unwrap();
    store.add_release(&tenant(), &release("2.0", 2)).await.unwrap();
    store.add_release(&tenant(), &NewRelease { class: other_class, ..release("1.0", 1) }).await.unwrap();
    let of_class = store.releases_of(&tenant(), &other_class).await.unwrap();
    assert_eq!(of_class.iter().map(|kept| kept.release.id.0).collect::<Vec<_>>(), [3]);
    let with = store.releases_with(&tenant(), &[[1; 32], [9; 32], [1; 32]]).await.unwrap();
    assert_eq!(with.iter().map(|kept| kept.release.id.0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(store.releases_with(&other_tenant(), &[[1; 32]]).await.unwrap(), vec![]);
}

/// Every shape of resource keeps every field, under a key of its own.
pub async fn full_and_delta_resources_read_back(store: &dyn Store) {
    let individual = ResourceKey { mode: Mode::Individual(endpoint("lamp-1")), ..full_key(1) };
    let open = ResourceKey { mode: Mode::Open, ..full_key(1) };
    let plaintext = Resource { encryption: None, ..full_resource(4) };
    let made = [
        (full_key(1), full_resource(1)),
        (delta_key(1, 2), delta_resource(2)),
        (individual, full_resource(3)),
        (open, plaintext),
    ];
    for (key, resource) in &made {
        assert_eq!(store.resource(&tenant(), key).await.unwrap(), None);
        assert_eq!(&store.put_resource(&tenant(), key, resource).await.unwrap(), resource);
    }
    for (key, resource) in &made {
        assert_eq!(store.resource(&tenant(), key).await.unwrap().as_ref(), Some(resource));
        let found = store.resource_by_root(&tenant(), &resource.root).await.unwrap();
        assert_eq!(found.as_ref(), Some(resource));
    }
    assert_eq!(store.resource_by_root(&tenant(), &[9; 32]).await.unwrap(), None);
}

/// Content key and content digest are one row: the second builder is given the first's, and never a mixture.
pub async fn of_two_builders_the_first_key_stays(store: &dyn Store) {
    let (tenant, key) = (tenant(), full_key(1));
    let (one, two) = (full_resource(1), full_resource(2));
    let (first, second) =
        tokio::join!(store.put_resource(&tenant, &key, &one), store.put_resource(&tenant, &key, &two));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first, second);
    assert!(first == one || first == two);
    assert_eq!(store.resource(&tenant, &key).await.unwrap(), Some(first));
}

/// Lost bytes get a new key; whoever comes second is given that one.
pub async fn lost_resource_is_replaced_once(store: &dyn Store) {
    let (tenant, key) = (tenant(), full_key(1));
    let (lost, new, late) = (full_resource(1), full_resource(2), full_resource(3));
    store.put_resource(&tenant, &key, &lost).await.unwrap();
    assert_eq!(store.replace_resource(&tenant, &key, &lost.content, &new).await.unwrap(), new);
    assert_eq!(store.replace_resource(&tenant, &key, &lost.content, &late).await.unwrap(), new);
    assert_eq!(store.resource(&tenant, &key).await.unwrap(), Some(new));
    assert_eq!(store.resource_by_root(&tenant, &lost.root).await.unwrap(), None);
    assert_eq!(store.replace_resource(&tenant, &full_key(7), &[0; 32], &late).await.unwrap(), late);
}

/// Plaintext is never kept as encrypted, nor a delta as a full image.
pub async fn resource_that_contradicts_its_key_is_refused(store: &dyn Store) {
    let open = ResourceKey { mode: Mode::Open, ..full_key(1) };
    let plaintext = Resource { encryption: None, ..full_resource(1) };
    for (key, resource) in [
        (open, full_resource(1)),
        (full_key(1), plaintext),
        (full_key(1), delta_resource(1)),
        (delta_key(1, 2), full_resource(1)),
    ] {
        let refused = store.put_resource(&tenant(), &key, &resource).await;
        assert!(matches!(refused, Err(StoreError::Contradiction { .. })));
        assert_eq!(store.resource(&tenant(), &key).await.unwrap(), None);
    }
}

/// A resolver sees which deltas are made already.
pub async fn resources_to_a_target_come_with_their_keys(store: &dyn Store) {
    let individual = ResourceKey { mode: Mode::Individual(endpoint("lamp-1")), ..delta_key(1, 3) };
    let late = |resource: Resource, by| Resource { made_at: resource.made_at + by, ..resource };
    let made = [
        (individual, late(delta_resource(3), 3)),
        (delta_key(1, 2), late(delta_resource(2), 2)),
        (full_key(1), full_resource(1)),
    ];
    for (key, resource) in &made {
        store.put_resource(&tenant(), key, resource).await.unwrap();
    }
    store.put_resource(&tenant(), &full_key(8), &full_resource(8)).await.unwrap();
    assert_eq!(store.resources_to(&tenant(), &[1; 32]).await.unwrap(), made);
}

/// The same key is another resource for another tenant.
pub async fn tenants_have_resources_apart(store: &dyn Store) {
    store.put_resource(&tenant(), &full_key(1), &full_resource(1)).await.unwrap();
    assert_eq!(store.resource(&other_tenant(), &full_key(1)).await.unwrap(), None);
    assert_eq!(store.resource_by_root(&other_tenant(), &full_resource(1).root).await.unwrap(), None);
    assert_eq!(store.resources_to(&other_tenant(), &[1; 32]).await.unwrap(), vec![]);
    let theirs = store.put_resource(&other_tenant(), &full_key(1), &full_resource(2)).await.unwrap();
    assert_eq!(theirs, full_resource(2));
}
