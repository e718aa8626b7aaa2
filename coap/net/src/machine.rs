//! What a program takes from the machine under it: time, randomness, threads for long work, sockets.

use std::fmt::Debug;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::entropy::{self, EntropyError};
use crate::shard::{Event, Service, Shard, ShardConfig, ShardHandle};

/// Gives what is different in every run. A program that takes all of it from here can be run again exactly.
///
/// Waits are not in it: they are tokio's, and so the runtime's.
pub trait Machine: Debug + Send + Sync {
    /// Tells the time of the wall clock, which may be wrong by years, and step.
    fn wall(&self) -> SystemTime;

    /// Fills `bytes` with randomness that is good for secrets.
    ///
    /// # Errors
    ///
    /// [`EntropyError`]; nothing secret may be made then.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;

    /// Does work that takes long, or waits for a disk, where it holds up no task.
    fn work(&self, work: Box<dyn FnOnce() + Send>);

    /// Opens a shard, as [`Shard::spawn`] does.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn open_shard(
        &self,
        config: ShardConfig,
        service: Box<dyn Service>,
    ) -> io::Result<(ShardHandle, mpsc::Receiver<Event>)>;
}

/// Says that work was given up before its end: it panicked, or the runtime ends.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[error("the work was given up before its end")]
pub struct WorkLost;

impl dyn Machine + '_ {
    /// Gives seconds since 1970, UTC; 0 where the wall clock stands before that.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Draws `N` random bytes that are good for secrets.
    ///
    /// # Errors
    ///
    /// [`EntropyError`]; nothing secret may be made then.
    pub fn random<const N: usize>(&self) -> Result<[u8; N], EntropyError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Does [`Machine::work`] and waits for what comes of it.
    ///
    /// # Errors
    ///
    /// [`WorkLost`].
    pub async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkLost> {
        let (done, outcome) = oneshot::channel();
        self.work(Box::new(move || drop(done.send(work()))));
        outcome.await.map_err(|_| WorkLost)
    }
}

/// The machine that the process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    #[expect(clippy::disallowed_methods, reason = "a shell's clock; rooms get the value as an argument")]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        entropy::fill(bytes)
    }

    fn work(&self, work: Box<dyn FnOnce() + Send>) {
        drop(tokio::task::spawn_blocking(work));
    }

    fn open_shard(
        &self,
        config: ShardConfig,
        service: Box<dyn Service>,
    ) -> io::Result<(ShardHandle, mpsc::Receiver<Event>)> {
        Shard::spawn(config, service)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_lost_and_the_next_is_done() {
        let machine: Arc<dyn Machine> = Arc::new(ThisMachine);
        assert_eq!(machine.beside(|| panic!("given up")).await, Err::<(), _>(WorkLost));
        assert_eq!(machine.beside(|| 7).await, Ok(7));
    }

    #[test]
    fn random_bytes_differ_from_draw_to_draw() {
        let machine: Arc<dyn Machine> = Arc::new(ThisMachine);
        assert_ne!(machine.random::<16>().unwrap(), machine.random::<16>().unwrap());
    }
}
