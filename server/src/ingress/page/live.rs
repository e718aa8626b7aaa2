//! What happens, told to open pages: one look at the ledger for all of them, and a bounded number of streams.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bellwether_store::ledger::{Recorded, Scope};
use futures_util::stream;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::visitor::Visitor;
use super::{Page, campaigns};
use crate::core::Core;

/// In what something happened.
#[derive(Debug, Default)]
struct Touched {
    campaigns: BTreeSet<u64>,
    /// Whether anything may have happened: where the look at the ledger has just begun.
    all: bool,
}

/// The one look at the ledger.
#[derive(Debug)]
pub(super) struct Feed {
    /// `None` once the server ends.
    sender: Mutex<Option<broadcast::Sender<Arc<Touched>>>>,
    places: Arc<Semaphore>,
}

impl Default for Feed {
    fn default() -> Self {
        let (sender, _) = broadcast::channel(BATCHES_KEPT);
        Self { sender: Mutex::new(Some(sender)), places: Arc::new(Semaphore::new(STREAMS_MAX)) }
    }
}

impl Feed {
    /// Looks at the ledger while anybody watches.
    pub(super) async fn follow(&self, core: &Core) {
        let mut seen = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(sender) = self.sender() else { return };
            if sender.receiver_count() == 0 {
                seen = None;
                continue;
            }
            // A store that is away is told of elsewhere; whoever watches waits.
            if let Ok(Some(touched)) = look(core, &mut seen).await {
                let _nobody_is_left = sender.send(Arc::new(touched));
            }
        }
    }

    /// Ends all streams.
    pub(super) fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn sender(&self) -> Option<broadcast::Sender<Arc<Touched>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads what happened since the last look.
async fn look(core: &Core, seen: &mut Option<u64>) -> Result<Option<Touched>, bellwether_store::StoreError> {
    let Some(since) = *seen else {
        let last = core.store.latest_events(&core.tenant, Scope::All, 1).await?;
        *seen = Some(last.last().map_or(0, |event| event.seq));
        return Ok(Some(Touched { all: true, ..Touched::default() }));
    };
    let page = core.store.events(&core.tenant, Scope::All, since, EVENTS_MAX).await?;
    let Some(last) = page.last() else { return Ok(None) };
    *seen = Some(last.seq);
    let campaign = |one: &Recorded| one.event.campaign.map(|id| id.0);
    Ok(Some(Touched { campaigns: page.iter().filter_map(campaign).collect(), all: false }))
}

/// What an open page is told.
pub(super) struct Told {
    /// Pieces of the page, each under the name of its place.
    pub(super) events: Vec<Event>,
    /// Whether it is all that is known.
    pub(super) is_all: bool,
}

/// One open page that watches a campaign.
struct Stream {
    page: Arc<Page>,
    visitor: Visitor,
    news: broadcast::Receiver<Arc<Touched>>,
    pace: Interval,
    watches: campaigns::Watching,
    /// Whether the open page does not show everything.
    due: bool,
    ready: VecDeque<Event>,
    /// Held for as long as the stream lasts: of this session, and of the server.
    _held: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// Tells a visitor what happens in a campaign, until they go or the server ends.
pub(super) fn stream(page: Arc<Page>, visitor: Visitor, watches: campaigns::Watching) -> Response {
    let own = Arc::clone(&visitor.session.streams).try_acquire_owned();
    let Ok(own) = own else {
        return busy("this session watches as many pages as it may at the same time; close some of them");
    };
    let Ok(of_all) = Arc::clone(&page.feed.places).try_acquire_owned() else {
        return busy(
            "as many pages as the server has room for are being watched; reload this one to see what happened",
        );
    };
    let Some(told) = page.feed.sender() else { return busy("the server is about to end") };
    let news = told.subscribe();
    let mut ticks = interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ready = VecDeque::new();
    let begun = Stream { page, visitor, news, pace: ticks, watches, due: true, ready, _held: (own, of_all) };
    let events = stream::unfold(begun, async |mut stream| {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    let mut response = Sse::new(Box::pin(events)).keep_alive(KeepAlive::default()).into_response();
    // A proxy that collects an answer before it passes it on would keep it for ever.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Stream {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            tokio::select! {
                biased;
                touched = self.news.recv() => self.hear(touched)?,
                _ = self.pace.tick() => self.tell().await?,
            }
        }
    }

    fn hear(&mut self, touched: Result<Arc<Touched>, RecvError>) -> Option<()> {
        match touched {
            Ok(touched) if touched.all || touched.campaigns.contains(&self.watches.campaign) => {
                self.due = true;
            }
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => self.due = true,
            Err(RecvError::Closed) => return None,
        }
        Some(())
    }

    /// Puts what is due into words. Counts may be a moment older than the ledger: then it stays due.
    async fn tell(&mut self) -> Option<()> {
        if !self.page.sessions.is_open(&self.visitor.cookie, self.page.core.steady()) {
            return None;
        }
        if !self.due {
            return Some(());
        }
        // What can't be read now is read at the next turn.
        if let Ok(told) = self.watches.tell(&self.page.core, &self.visitor).await {
            self.ready.extend(told.events);
            self.due = !told.is_all;
        }
        Some(())
    }
}

fn busy(message: &'static str) -> Response {
    let wait = HeaderValue::from_static("60");
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, wait)], message).into_response()
}

/// Streams at the same time, about 20 kB each with their connection: a team on every screen, not the world.
pub(super) const STREAMS_MAX: usize = 512;

/// The ledger is looked at this often while anybody watches.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A page changes at most this often: faster nobody reads.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Looks that a slow stream may be behind; it then takes the whole anew.
const BATCHES_KEPT: usize = 16;

/// Events of one look.
const EVENTS_MAX: u32 = 1_000;
