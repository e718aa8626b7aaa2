//! Writers that share a commit.
//!
//! A commit waits for the disk; a statement does not. Who is done while others wait does therefore not commit at once:
//! writers take turns in one transaction, each behind a savepoint of its own, and then queue once more, to commit for all
//! that came before. Nobody is told how its turn went before that commit: not what was written, and not what was refused
//! either, since that may hang on what another has written in the same batch. A writer that is alone does what it would do
//! without all this: begin, write, commit.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::failed::backend;
use super::{Db, SqlStore, Transaction, without_savepoint};
use crate::bounds::BATCH_TURNS_MAX;
use crate::error::StoreError;

/// The batch that is open, and the queue for it: first come, first served.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<Option<Batch>>>);

type Open = OwnedMutexGuard<Option<Batch>>;

/// A transaction that several write in.
struct Batch {
    tx: Transaction<'static, Db>,
    /// Those who are done and wait for the commit.
    done: Vec<oneshot::Sender<Committed>>,
    /// Turns that were begun.
    turns: u32,
    savepoint: Savepoint,
    /// Tells this batch from the next.
    name: Arc<()>,
}

/// Where the turn that is under way began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Savepoint {
    /// With the transaction: who takes the first turn back ends it.
    Begin,
    /// At the savepoint.
    Set,
    /// There, and it was given up in the middle: it is still to be taken back.
    Abandoned,
}

/// How the commit went, for each who waits for it.
type Committed = Result<(), Shared>;

/// A failure that several are told.
#[derive(Clone, Debug, Error)]
#[error("the commit that this write was a part of failed")]
struct Shared(#[source] Arc<StoreError>);

#[derive(Clone, Copy, Debug, Error)]
#[error("the commit that this write was a part of was given up")]
struct GivenUp;

/// The right to write until [`Turn::end`]; dropped before that, it leaves nothing.
pub(super) struct Turn {
    turns: Turns,
    /// Some, with a batch in it, until the end.
    open: Option<Open>,
}

impl SqlStore {
    /// Waits for a turn to write.
    pub(super) async fn turn(&self) -> Result<Turn, StoreError> {
        let mut open = Arc::clone(&self.turns.0).lock_owned().await;
        if open.is_some() {
            open = Carried::new(next_turn(open)).await;
        }
        if open.is_none() {
            *open = Some(Batch::new(self.begin().await?));
        }
        Ok(Turn { turns: self.turns.clone(), open: Some(open) })
    }
}

impl Turn {
    /// Keeps what was written if `outcome` is good, else takes it back; gives `outcome` once it is committed and nothing can
    /// change it any more.
    ///
    /// # Errors
    ///
    /// That of `outcome`, or that the commit failed: then nothing was written.
    pub(super) async fn end<T, E: From<StoreError>>(mut self, outcome: Result<T, E>) -> Result<T, E> {
        let Some(mut open) = self.open.take() else { return outcome };
        let Some(mut batch) = open.take() else { return outcome };
        if outcome.is_err() {
            if batch.savepoint == Savepoint::Begin {
                // What the rollback says changes nothing: an open transaction ends with its connection.
                let _ = batch.tx.rollback().await;
                return outcome;
            }
            batch.savepoint = Savepoint::Abandoned;
        }
        let (tell, told) = oneshot::channel();
        batch.done.push(tell);
        let commit = if batch.turns >= BATCH_TURNS_MAX {
            drop(open);
            Carried::new(batch.commit())
        } else {
            let name = Arc::clone(&batch.name);
            *open = Some(batch);
            drop(open);
            Carried::new(self.turns.clone().commit(name))
        };
        Ending { told, commit }.await?;
        outcome
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(open) = &mut self.open else { return };
        match &mut **open {
            Some(batch) if batch.savepoint == Savepoint::Set => batch.savepoint = Savepoint::Abandoned,
            // Nobody else has a part in it; its transaction is rolled back by being dropped.
            batch => *batch = None,
        }
    }
}

impl Deref for Turn {
    type Target = Transaction<'static, Db>;

    fn deref(&self) -> &Self::Target {
        &opened(self.open.as_ref().and_then(|open| open.as_ref())).tx
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut opened(self.open.as_mut().and_then(|open| open.as_mut())).tx
    }
}

#[expect(
    clippy::expect_used,
    reason = "a turn is made with an open batch, and only its end, which consumes it, takes it"
)]
fn opened<T>(batch: Option<T>) -> T {
    batch.expect("an open batch")
}

impl Turns {
    /// Waits behind all who wait now, and commits the batch of this name unless that is done already.
    async fn commit(self, name: Arc<()>) {
        let mut open = self.0.lock_owned().await;
        let found = open.take_if(|batch| Arc::ptr_eq(&batch.name, &name));
        // The next batch can be begun meanwhile.
        drop(open);
        if let Some(batch) = found {
            batch.commit().await;
        }
    }
}

impl Batch {
    fn new(tx: Transaction<'static, Db>) -> Self {
        Self { tx, done: Vec::new(), turns: 1, savepoint: Savepoint::Begin, name: Arc::default() }
    }

    /// Sets the savepoint of the next turn.
    async fn next_turn(&mut self) -> Result<(), StoreError> {
        if self.savepoint == Savepoint::Abandoned {
            self.take_back().await?;
        }
        let set = match self.savepoint {
            Savepoint::Begin => "SAVEPOINT turn",
            // In one go, and never more than one: each that stands makes the statements behind it dearer.
            Savepoint::Set | Savepoint::Abandoned => "RELEASE SAVEPOINT turn; SAVEPOINT turn",
        };
        self.execute(set).await?;
        self.savepoint = Savepoint::Set;
        self.turns += 1;
        Ok(())
    }

    async fn take_back(&mut self) -> Result<(), StoreError> {
        self.execute("ROLLBACK TO SAVEPOINT turn").await?;
        self.savepoint = Savepoint::Set;
        Ok(())
    }

    async fn execute(&mut self, savepoint: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(savepoint).execute(&mut *self.tx).await.map(drop).map_err(without_savepoint)
    }

    /// Commits, and tells all who wait for it.
    async fn commit(mut self) {
        if self.savepoint == Savepoint::Abandoned
            && let Err(lost) = self.take_back().await
        {
            return self.fail(lost);
        }
        let committed = self.tx.commit().await.map_err(|cause| Shared(Arc::new(backend(cause))));
        tell(self.done, &committed);
    }

    /// Rolls all of it back, and tells so.
    fn fail(self, lost: StoreError) {
        tell(self.done, &Err(Shared(Arc::new(lost))));
    }
}

fn tell(all: Vec<oneshot::Sender<Committed>>, committed: &Committed) {
    for one in all {
        // Who was dropped meanwhile does not listen.
        let _ = one.send(committed.clone());
    }
}

/// Begins a turn in the batch that is open; where it is lost, none is open any more.
async fn next_turn(mut open: Open) -> Open {
    if let Some(mut batch) = open.take() {
        match batch.next_turn().await {
            Ok(()) => *open = Some(batch),
            Err(lost) => batch.fail(lost),
        }
    }
    open
}

/// Work that goes on without the one who waits for it, if that is dropped: others may wait for the same.
struct Carried<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send + 'static> Carried<T> {
    fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for Carried<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Carried<T> {
    fn drop(&mut self) {
        // Without a runtime nobody is left to wait.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

/// Waits for the commit, and does it where nobody else has done so.
struct Ending {
    told: oneshot::Receiver<Committed>,
    commit: Carried<()>,
}

impl Future for Ending {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let _ = Pin::new(&mut self.commit).poll(context);
        let Poll::Ready(told) = Pin::new(&mut self.told).poll(context) else { return Poll::Pending };
        self.commit.0 = None;
        Poll::Ready(match told {
            Ok(Ok(())) => Ok(()),
            Ok(Err(shared)) => Err(StoreError::Backend(shared.into())),
            Err(_) => Err(StoreError::Backend(GivenUp.into())),
        })
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turns")
    }
}
