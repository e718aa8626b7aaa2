//! How many frames left the server, by resource and by who asked: what caches near the devices save is seen here.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bellwether_store::Digest;

/// Counts frames since the server started.
#[derive(Debug, Default)]
pub struct FrameCounts {
    counted: Mutex<Counted>,
    total: AtomicU64,
}

#[derive(Debug, Default)]
struct Counted {
    resources: HashMap<Digest, Resource>,
    entries: usize,
}

#[derive(Debug)]
struct Resource {
    frames: u64,
    sent: HashMap<Arc<str>, u64>,
    others: u64,
}

/// Frames of one resource that left the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Digest of its first frame.
    pub root: Digest,
    /// Frames that it has.
    pub frames: u64,
    /// Frames sent, by DTLS identity; [`PLAIN`] for those without one, [`OTHERS`] for those past the bound.
    pub by_identity: BTreeMap<String, u64>,
}

impl FrameCounts {
    /// Counts one frame of a resource of that many.
    pub fn count(&self, root: &Digest, frames: u64, identity: Option<&Arc<str>>) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let Counted { resources, entries } = &mut *counted;
        if resources.len() >= ROOTS_MAX && !resources.contains_key(root) {
            return;
        }
        let new = || Resource { frames, sent: HashMap::new(), others: 0 };
        let resource = resources.entry(*root).or_insert_with(new);
        let name = identity.map_or(PLAIN, |identity| identity);
        if let Some(sent) = resource.sent.get_mut(name) {
            *sent += 1;
        } else if *entries < IDENTITIES_MAX {
            *entries += 1;
            resource.sent.insert(identity.map_or_else(|| Arc::from(PLAIN), Arc::clone), 1);
        } else {
            resource.others += 1;
        }
    }

    /// Frames of all resources, those past the bounds included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Lists what was sent, by root.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sent: Vec<Sent> =
            counted.resources.iter().map(|(root, resource)| resource.sent(*root)).collect();
        sent.sort_by_key(|one| one.root);
        sent
    }
}

impl Resource {
    fn sent(&self, root: Digest) -> Sent {
        let mut by_identity: BTreeMap<String, u64> =
            self.sent.iter().map(|(name, sent)| (name.to_string(), *sent)).collect();
        if self.others > 0 {
            by_identity.insert(OTHERS.to_owned(), self.others);
        }
        Sent { root, frames: self.frames, by_identity }
    }
}

/// The name under which frames over plain UDP are counted; no endpoint has it, for the blank.
pub const PLAIN: &str = "plain UDP";

/// The name under which identities past the bound are counted together; no endpoint has it, for the blank.
pub const OTHERS: &str = "all others";

/// Resources that are counted: the deltas and images of hundreds of releases, 100 bytes each.
const ROOTS_MAX: usize = 4_096;

/// Pairs of resource and identity that are counted apart: two resources for each of 100,000 devices, about 12 MiB.
const IDENTITIES_MAX: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(of: &FrameCounts) -> Vec<(u8, u64, BTreeMap<String, u64>)> {
        of.sent().into_iter().map(|sent| (sent.root[0], sent.frames, sent.by_identity)).collect()
    }

    #[test]
    fn frames_are_counted_by_resource_and_identity() {
        let counts = FrameCounts::default();
        let lamp: Arc<str> = "lamp-1".into();
        for (root, identity) in [(2, Some(&lamp)), (1, Some(&lamp)), (1, Some(&lamp)), (1, None)] {
            counts.count(&[root; 32], 7, identity);
        }
        let names = |of: &[(&str, u64)]| of.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let expected = vec![(1, 7, names(&[("lamp-1", 2), (PLAIN, 1)])), (2, 7, names(&[("lamp-1", 1)]))];
        assert_eq!(counted(&counts), expected);
    }

    #[test]
    fn identities_past_the_bound_are_counted_together() {
        let counts = FrameCounts::default();
        for number in 0..IDENTITIES_MAX + 5 {
            counts.count(&[1; 32], 1, Some(&Arc::from(number.to_string())));
        }
        let sent = counts.sent();
        assert_eq!(sent[0].by_identity[OTHERS], 5);
        assert_eq!(sent[0].by_identity.len(), IDENTITIES_MAX + 1);
    }

    #[test]
    fn resources_past_the_bound_are_not_counted() {
        let counts = FrameCounts::default();
        for number in 0..=ROOTS_MAX {
            let mut root = [0; 32];
            root[..8].copy_from_slice(&number.to_be_bytes());
            counts.count(&root, 1, None);
        }
        assert_eq!(counts.sent().len(), ROOTS_MAX);
    }
}
