//! The bundles that are kept, one a campaign: on disk before the server hears so, verified again at each start.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwether_manifests::anchors::{Anchors, AnchorsError};
use bellwether_manifests::message::Digest;
use bellwether_manifests::message::bundle::BUNDLE_BYTES_MAX;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::disk::{self, Durable};
use crate::held::{BundleRefusal, GrantKey, HeldBundle, HeldDescriptor, HeldGrant};

/// All bundles by campaign.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    bundles: Mutex<BTreeMap<String, Arc<HeldBundle>>>,
    /// Bundles are taken one after the other, so that what is on disk is what is in memory.
    taking: Mutex<()>,
}

/// Why a bundle is not kept.
#[derive(Debug, Error)]
pub enum ShelfError {
    /// It is not believed.
    #[error("the bundle is not believed")]
    Refused(#[from] BundleRefusal),
    /// The anchors that are kept can't be read.
    #[error("the anchors are not readable")]
    Anchors(#[from] AnchorsError),
    /// A higher edition is kept, or another bundle of the same one.
    #[error("edition {kept} of the campaign is kept")]
    Edition {
        /// The edition that is kept.
        kept: u64,
    },
    /// The disk refuses; the sender may try again.
    #[error("the bundle can't be kept")]
    Disk(#[from] io::Error),
}

impl Shelf {
    /// Reads and verifies what is kept; what the anchors don't believe any more goes.
    ///
    /// # Errors
    ///
    /// [`ShelfError`] if the folder can't be made or read, or the anchors are not readable.
    pub fn open(folder: &Path, anchors: &[u8]) -> Result<Self, ShelfError> {
        disk::make_folder(folder)?;
        let shelf = Self { folder: folder.to_owned(), bundles: Mutex::default(), taking: Mutex::default() };
        let anchors = Anchors::initial(anchors)?;
        for (name, bytes) in disk::read_all(folder, FILE_BYTES_MAX)? {
            match HeldBundle::read(&bytes, &anchors) {
                Ok(held) if file_name(&held.campaign) == name => {
                    shelf.locked().insert(held.campaign.clone(), Arc::new(held));
                }
                Ok(_) => tracing::warn!(name, "a kept bundle has another's name"),
                Err(error) => tracing::warn!(name, %error, "a kept bundle is not believed"),
            }
        }
        Ok(shelf)
    }

    /// Verifies a bundle and has it on disk; it counts from then on. It waits for the disk.
    ///
    /// # Errors
    ///
    /// [`ShelfError`]; what was kept of the campaign stands then.
    pub fn take(&self, message: &[u8], anchors: &[u8]) -> Result<Arc<HeldBundle>, ShelfError> {
        let _one_at_a_time = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let held = HeldBundle::read(message, &Anchors::initial(anchors)?)?;
        if let Some(kept) = self.locked().get(&held.campaign) {
            if kept.message == held.message {
                return Ok(Arc::clone(kept));
            }
            if held.edition <= kept.edition {
                return Err(ShelfError::Edition { kept: kept.edition });
            }
        }
        disk::replace(&self.path(&held.campaign), message, Durable::Yes)?;
        let held = Arc::new(held);
        let dropped = {
            let mut bundles = self.locked();
            bundles.insert(held.campaign.clone(), Arc::clone(&held));
            make_room(&mut bundles, &held.campaign)
        };
        for campaign in dropped {
            disk::remove(&self.path(&campaign))?;
        }
        Ok(held)
    }

    /// Verifies all bundles anew, after the anchors were replaced; what they don't believe any more goes.
    ///
    /// # Errors
    ///
    /// [`ShelfError`] if the anchors are not readable or the disk refuses.
    pub fn verify_again(&self, anchors: &[u8]) -> Result<(), ShelfError> {
        let _one_at_a_time = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let anchors = Anchors::initial(anchors)?;
        for bundle in self.all() {
            match HeldBundle::read(&bundle.message, &anchors) {
                Ok(held) => drop(self.locked().insert(held.campaign.clone(), Arc::new(held))),
                Err(error) => {
                    tracing::warn!(campaign = bundle.campaign, %error, "a bundle is not believed any more");
                    self.locked().remove(&bundle.campaign);
                    disk::remove(&self.path(&bundle.campaign))?;
                }
            }
        }
        Ok(())
    }

    /// All bundles, also those that are withdrawn or expired.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<HeldBundle>> {
        self.locked().values().map(Arc::clone).collect()
    }

    /// Number of bundles.
    #[must_use]
    pub fn len(&self) -> usize {
        self.locked().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds a grant for a question in any bundle: the one with the highest number.
    #[must_use]
    pub fn grant(&self, key: &GrantKey, now: u64) -> Option<(Arc<HeldBundle>, HeldGrant)> {
        let bundles = self.locked();
        let found = bundles.values().filter_map(|bundle| Some((bundle, bundle.grant(key, now)?)));
        found.max_by_key(|(_, grant)| grant.number).map(|(bundle, grant)| (Arc::clone(bundle), grant.clone()))
    }

    /// Finds a grant by identity and number in any bundle.
    #[must_use]
    pub fn grant_numbered(&self, id: &str, number: u64, now: u64) -> Option<HeldGrant> {
        self.locked().values().find_map(|bundle| bundle.grant_numbered(id, number, now)).cloned()
    }

    /// Finds a verified descriptor that fits in any bundle.
    #[must_use]
    pub fn descriptor(
        &self,
        manifest: &Digest,
        selector: &Digest,
        fits: impl Fn(&HeldDescriptor) -> bool,
    ) -> Option<HeldDescriptor> {
        let bundles = self.locked();
        let of_manifest = bundles.values().filter(|bundle| bundle.manifest == *manifest);
        let mut found = of_manifest.filter_map(|bundle| bundle.descriptors.get(selector));
        found.find(|descriptor| fits(descriptor)).cloned()
    }

    fn path(&self, campaign: &str) -> PathBuf {
        self.folder.join(file_name(campaign))
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Arc<HeldBundle>>> {
        self.bundles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes bundles out while there are too many: withdrawn ones first, then those of the lowest edition. A clock has no
/// say in it: one that is wrong by a year would throw away what can't be had again while the server is away.
fn make_room(bundles: &mut BTreeMap<String, Arc<HeldBundle>>, keep: &str) -> Vec<String> {
    let mut dropped = Vec::new();
    while bundles.len() > BUNDLES_MAX {
        let others = bundles.values().filter(|bundle| bundle.campaign != keep);
        let victim = others.min_by_key(|bundle| (!bundle.withdrawn, bundle.edition));
        let Some(campaign) = victim.map(|bundle| bundle.campaign.clone()) else {
            break;
        };
        bundles.remove(&campaign);
        dropped.push(campaign);
    }
    dropped
}

/// Names hold any character; a digest of one is always a file name.
fn file_name(campaign: &str) -> String {
    hex::encode(&Sha256::digest(campaign)[..16])
}

/// Bundles that are kept: 16 MiB of disk and memory with the largest.
pub const BUNDLES_MAX: usize = 32;

/// Bytes of a signed bundle: head, key id and signature beside the payload.
const FILE_BYTES_MAX: u64 = BUNDLE_BYTES_MAX as u64 + 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, BundleOf};

    #[test]
    fn bundle_is_there_after_a_restart() {
        let (folder, world) = (tempfile::tempdir().unwrap(), testing::World::new());
        let anchors = testing::anchors(1, 1);
        let shelf = Shelf::open(folder.path(), &anchors).unwrap();
        shelf.take(&world.bundle(&BundleOf::default()), &anchors).unwrap();
        let again = Shelf::open(folder.path(), &anchors).unwrap();
        assert!(again.grant(&world.key("lamp-1"), testing::NOW).is_some());
        assert!(again.descriptor(&world.manifest(), &world.selector_hash(), |_| true).is_some());
    }

    #[test]
    fn lower_edition_is_refused_and_the_same_bundle_is_taken_again() {
        let (folder, world) = (tempfile::tempdir().unwrap(), testing::World::new());
        let anchors = testing::anchors(1, 1);
        let shelf = Shelf::open(folder.path(), &anchors).unwrap();
        let bundle =
            |edition, not_after| world.bundle(&BundleOf { edition, not_after, ..BundleOf::default() });
        shelf.take(&bundle(5, testing::NOT_AFTER), &anchors).unwrap();
        shelf.take(&bundle(5, testing::NOT_AFTER), &anchors).unwrap();
        for other in [bundle(4, testing::NOT_AFTER), bundle(5, testing::NOT_AFTER + 1)] {
            assert!(matches!(shelf.take(&other, &anchors), Err(ShelfError::Edition { kept: 5 })));
        }
        shelf.take(&bundle(6, testing::NOT_AFTER), &anchors).unwrap();
    }

    #[test]
    fn withdrawn_campaign_does_not_come_back_by_its_old_bundle() {
        let (folder, world) = (tempfile::tempdir().unwrap(), testing::World::new());
        let anchors = testing::anchors(1, 1);
        let shelf = Shelf::open(folder.path(), &anchors).unwrap();
        let old = world.bundle(&BundleOf { edition: 1, ..BundleOf::default() });
        shelf.take(&old, &anchors).unwrap();
        let withdrawn = BundleOf { edition: 2, at_a_time: 0, ..BundleOf::default() };
        shelf.take(&world.bundle(&withdrawn), &anchors).unwrap();
        assert!(shelf.grant(&world.key("lamp-1"), testing::NOW).is_none());
        assert!(matches!(shelf.take(&old, &anchors), Err(ShelfError::Edition { kept: 2 })));
    }

    #[test]
    fn bundle_of_a_distributor_who_was_replaced_goes() {
        let (folder, world) = (tempfile::tempdir().unwrap(), testing::World::new());
        let anchors = testing::anchors(1, 1);
        let shelf = Shelf::open(folder.path(), &anchors).unwrap();
        shelf.take(&world.bundle(&BundleOf::default()), &anchors).unwrap();
        shelf.verify_again(&testing::anchors_with(2, 1, 99)).unwrap();
        assert_eq!(shelf.len(), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn bundles_are_bounded_and_withdrawn_ones_go_first() {
        let (folder, world) = (tempfile::tempdir().unwrap(), testing::World::new());
        let anchors = testing::anchors(1, 1);
        let shelf = Shelf::open(folder.path(), &anchors).unwrap();
        for n in 0..=BUNDLES_MAX as u64 {
            let at_a_time = if n == 7 { 0 } else { 2 };
            let campaign = format!("campaign-{n}");
            let bundle = BundleOf { edition: n + 1, at_a_time, campaign: &campaign, ..BundleOf::default() };
            shelf.take(&world.bundle(&bundle), &anchors).unwrap();
        }
        let kept: Vec<String> = shelf.all().iter().map(|bundle| bundle.campaign.clone()).collect();
        assert_eq!(kept.len(), BUNDLES_MAX);
        assert!(!kept.contains(&"campaign-7".to_owned()) && kept.contains(&"campaign-0".to_owned()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), BUNDLES_MAX);
    }
}
