//! How the fleet and its campaigns stand, counted: for whoever watches. Counts are kept for a moment, so that a hundred
//! who look cost what one does.

mod counting;
mod tally;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bellwether_store::Digest;
use bellwether_store::census::{Asked, Census, HOUR_S};
use bellwether_store::error::StoreError;

use crate::core::Core;
use crate::refusal::Refusal;

pub(crate) use counting::run;

/// What was counted lately.
#[derive(Default)]
pub struct Desk {
    fleet: Mutex<Option<Arc<FleetCount>>>,
    /// One counts, the others take what it comes to.
    counting: tokio::sync::Mutex<()>,
    tallies: tally::Tallies,
}

/// The fleet, counted.
#[derive(Debug, Default)]
pub(crate) struct FleetCount {
    /// When it was counted, seconds since 1970.
    pub(crate) at: u64,
    /// The same on the clock that never steps.
    pub(crate) steady: u64,
    /// Classes by name.
    pub(crate) classes: BTreeMap<String, ClassCount>,
    /// Devices heard within each of [`HEARD_WITHIN_S`].
    pub(crate) heard: Vec<u64>,
}

/// The devices of one class.
#[derive(Debug, Default)]
pub(crate) struct ClassCount {
    /// How many there are.
    pub(crate) devices: u64,
    /// How many came in which hour.
    pub(crate) enrolled: Vec<(u64, i64)>,
    /// What they run, the oldest version first.
    pub(crate) versions: Vec<VersionCount>,
}

/// The devices of one class that run one image.
#[derive(Debug)]
pub(crate) struct VersionCount {
    /// The image.
    pub(crate) image: Digest,
    /// The version under which it is catalogued, else the beginning of its digest.
    pub(crate) name: String,
    /// How many run it.
    pub(crate) devices: u64,
    /// How many more did after which hour.
    pub(crate) changes: Vec<(u64, i64)>,
}

impl FleetCount {
    /// All devices.
    pub(crate) fn devices(&self) -> u64 {
        self.classes.values().map(|class| class.devices).sum()
    }
}

impl Core {
    /// Gives the fleet as it was counted last; counts it where that was a while ago. Who comes meanwhile does not wait.
    ///
    /// # Errors
    ///
    /// [`Refusal::internal`].
    pub(crate) async fn fleet_count(self: &Arc<Self>) -> Result<Arc<FleetCount>, Refusal> {
        let kept = self.census.fleet.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match kept {
            Some(kept) if self.steady().saturating_sub(kept.steady) < FRESH_S => Ok(kept),
            Some(kept) => {
                let core = Arc::clone(self);
                tokio::spawn(async move {
                    if let Err(error) = core.count_fleet().await {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the fleet can't be counted"
                        );
                    }
                });
                Ok(kept)
            }
            None => self.count_fleet().await.map_err(Refusal::internal),
        }
    }

    async fn count_fleet(&self) -> Result<Arc<FleetCount>, StoreError> {
        let _alone = self.census.counting.lock().await;
        let kept = self.census.fleet.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| self.steady().saturating_sub(kept.steady) < FRESH_S) {
            return Ok(kept);
        }
        let now = self.now();
        let from_hour = (now / HOUR_S).saturating_sub(HOURS_TOLD);
        let heard_since = HEARD_WITHIN_S.iter().map(|within| now.saturating_sub(*within)).collect();
        let census = self.store.census(&self.tenant, &Asked { from_hour, heard_since }).await?;
        let names = self.names_of(&census).await?;
        let counted = Arc::new(FleetCount {
            at: now,
            steady: self.steady(),
            heard: census.heard.clone(),
            classes: by_class(census, &names),
        });
        *self.census.fleet.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&counted));
        Ok(counted)
    }

    /// The versions of the images that devices run.
    async fn names_of(&self, census: &Census) -> Result<BTreeMap<Digest, String>, StoreError> {
        let mut images: Vec<Digest> = census.changes.iter().map(|change| change.image).collect();
        images.sort_unstable();
        images.dedup();
        let releases = self.store.releases_with(&self.tenant, &images).await?;
        Ok(releases.into_iter().map(|one| (one.release.digest, one.release.version)).collect())
    }
}

/// Puts the rows of a census together by class and image.
fn by_class(census: Census, names: &BTreeMap<Digest, String>) -> BTreeMap<String, ClassCount> {
    let mut classes = BTreeMap::<String, ClassCount>::new();
    for row in census.enrolled {
        let class = classes.entry(row.class).or_default();
        class.devices += row.devices;
        class.enrolled.push((row.hour, i64::try_from(row.devices).unwrap_or(i64::MAX)));
    }
    for row in census.changes {
        let class = classes.entry(row.class).or_default();
        match class.versions.iter_mut().find(|version| version.image == row.image) {
            Some(version) => version.changes.push((row.hour, row.devices)),
            None => class.versions.push(VersionCount {
                image: row.image,
                name: names.get(&row.image).cloned().unwrap_or_else(|| hex::encode(&row.image[..5])),
                devices: 0,
                changes: vec![(row.hour, row.devices)],
            }),
        }
    }
    for class in classes.values_mut() {
        for version in &mut class.versions {
            let now: i64 = version.changes.iter().map(|(_, devices)| devices).sum();
            version.devices = u64::try_from(now).unwrap_or(0);
        }
        class.versions.sort_by(|a, b| bellwether_decide::version::compare(&a.name, &b.name));
    }
    classes
}

/// Hours that are told apart: 90 days, as far back as anybody looks at a plot.
const HOURS_TOLD: u64 = 90 * 24;

/// Seconds for which a count serves: a glance later it is the same.
const FRESH_S: u64 = 10;

/// How lately devices were heard: five minutes, an hour, a day, a week, ever.
pub(crate) const HEARD_WITHIN_S: [u64; 5] = [300, 3_600, 86_400, 7 * 86_400, u64::MAX];

#[cfg(test)]
mod tests {
    use bellwether_store::census::{Change, Enrolled};

    use super::*;

    #[test]
    fn rows_come_together_by_class_with_the_oldest_version_first() {
        let change =
            |image: u8, hour, devices| Change { class: "lamp".into(), image: [image; 32], hour, devices };
        let census = Census {
            enrolled: vec![
                Enrolled { class: "lamp".into(), hour: 1, devices: 5 },
                Enrolled { class: "lamp".into(), hour: 4, devices: 2 },
                Enrolled { class: "meter".into(), hour: 1, devices: 1 },
            ],
            changes: vec![change(2, 3, 3), change(1, 1, 5), change(1, 3, -3)],
            heard: vec![],
        };
        let names = [([1; 32], "9.0".to_owned()), ([2; 32], "10.0".to_owned())].into();
        let classes = by_class(census, &names);
        let lamp = &classes["lamp"];
        let versions: Vec<_> = lamp.versions.iter().map(|one| (one.name.as_str(), one.devices)).collect();
        assert_eq!((lamp.devices, versions), (7, vec![("9.0", 2), ("10.0", 3)]));
        assert_eq!((classes["meter"].devices, classes["meter"].versions.len()), (1, 0));
    }
}
