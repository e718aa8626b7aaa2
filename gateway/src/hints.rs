//! What the server is told of pushes: in batches, without proof, lost if the process ends.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bellwether_manifests::cbor;
use bellwether_manifests::link::{HINTS_MAX, Hint, HintKind, Hints};
use bellwether_manifests::message::List;
use tokio::sync::Notify;

/// Hints that wait to be sent.
#[derive(Debug, Default)]
pub struct HintQueue {
    waiting: Mutex<VecDeque<Waiting>>,
    added: Notify,
}

/// One hint that waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiting {
    /// Name of the campaign.
    pub campaign: String,
    /// Endpoint of the device.
    pub endpoint: String,
    /// What was seen.
    pub what: HintKind,
    /// More of it.
    pub detail: String,
}

impl HintQueue {
    /// Adds a hint; the oldest ones go where the bound would be passed.
    pub fn add(&self, hint: Waiting) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(hint);
        while waiting.len() > WAITING_MAX {
            waiting.pop_front();
        }
        self.added.notify_one();
    }

    /// Waits until there is something to send.
    pub async fn added(&self) {
        self.added.notified().await;
    }

    /// Takes the oldest hints out, at most a batch.
    #[must_use]
    pub fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(HINTS_MAX);
        waiting.drain(..count).collect()
    }

    /// Puts a batch back that was not sent.
    pub fn put_back(&self, batch: Vec<Waiting>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for hint in batch.into_iter().rev() {
            waiting.push_front(hint);
        }
        waiting.truncate(WAITING_MAX);
    }
}

/// Writes a batch; hints that the structure has no room for are left out.
#[must_use]
pub fn encode(batch: &[Waiting]) -> Vec<u8> {
    let hints: Vec<Hint<'_>> = batch
        .iter()
        .map(|hint| Hint {
            campaign: &hint.campaign,
            endpoint: &hint.endpoint,
            what: hint.what,
            detail: &hint.detail,
        })
        .filter(|hint| cbor::to_vec(&Hints(List::new(&[*hint]))).is_ok())
        .collect();
    cbor::to_vec(&Hints(List::new(&hints))).unwrap_or_default()
}

/// Hints that wait: one of every device for each of two campaigns.
const WAITING_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(n: usize) -> Waiting {
        let detail = n.to_string();
        Waiting { campaign: "c".into(), endpoint: "e".into(), what: HintKind::Pushed, detail }
    }

    #[test]
    fn batch_that_was_not_sent_goes_first_the_next_time() {
        let queue = HintQueue::default();
        (0..=HINTS_MAX).for_each(|n| queue.add(hint(n)));
        let batch = queue.take();
        assert_eq!(batch.len(), HINTS_MAX);
        queue.put_back(batch.clone());
        assert_eq!(queue.take(), batch);
        assert_eq!(queue.take(), [hint(HINTS_MAX)]);
    }

    #[test]
    fn batch_is_written_so_that_the_server_reads_it() {
        let batch = [hint(1), Waiting { detail: "x".repeat(1_000), ..hint(2) }];
        let bytes = encode(&batch);
        let read = Hints::decode(&bytes).unwrap();
        assert_eq!(read.0.iter().map(|hint| hint.detail).collect::<Vec<_>>(), ["1"]);
    }
}
