//! Frames for devices: from memory, from disk, or from the server, where each is fetched once for all who wait.

pub mod body;
pub mod cache;
pub mod limit;
pub mod resource;
mod service;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellwether_manifests::message::Digest;
use bellwether_net::Machine;
use bellwether_net::coap::{Block, BlockSize, Code, Method, Request, Response};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use service::{FrameService, asked_root};

use self::body::FETCH_BYTES;
use self::cache::{FrameCache, RESOURCE_BYTES_MAX};
use self::limit::RootLimit;
use self::resource::{Progress, Resource};
use crate::clock;
use crate::counters::Counters;
use crate::recent::Recent;
use crate::uplink::Uplink;

/// Fetches frames and gives them to devices.
#[derive(Debug)]
pub struct Frames {
    machine: Arc<dyn Machine>,
    cache: Arc<FrameCache>,
    uplink: Arc<Uplink>,
    flights: Semaphore,
    limit: Mutex<RootLimit>,
    /// Roots that a verified descriptor named.
    announced: Mutex<Recent<Digest, ()>>,
    /// When the server last gave something else under a root than the chain announces.
    altered: Mutex<Recent<Digest, Instant>>,
    counters: Arc<Counters>,
}

/// Why a frame can't be had now.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FetchError {
    /// The server has no such resource.
    #[error("the server has no such resource")]
    Unknown,
    /// What the server gives under this name is another content, again and again.
    #[error("the server gives another content under this name")]
    Altered,
    /// The server can't be reached, or is too busy.
    #[error("the server can't be reached")]
    Away,
    /// The resource is larger than allowed here.
    #[error("the resource is larger than {RESOURCE_BYTES_MAX} bytes")]
    TooLarge,
}

impl Frames {
    /// Fetches through `uplink` into `cache`.
    #[must_use]
    pub fn new(
        machine: Arc<dyn Machine>,
        cache: Arc<FrameCache>,
        uplink: Arc<Uplink>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            machine,
            cache,
            uplink,
            flights: Semaphore::new(FLIGHTS_MAX),
            limit: Mutex::default(),
            announced: Mutex::new(Recent::new(ANNOUNCED_MAX)),
            altered: Mutex::new(Recent::new(ANNOUNCED_MAX)),
            counters,
        }
    }

    /// Says that a verified descriptor names this root.
    pub fn announce(&self, root: Digest) {
        let _ = self.announced.lock().unwrap_or_else(PoisonError::into_inner).put(root, ());
    }

    /// Forgets what devices asked for that are not the gateway's any more.
    pub fn retain_children(&self, is_child: impl Fn(&str) -> bool) {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner).retain(is_child);
    }

    /// Answers a child's request for a block of `root`; waits for the server where it must.
    pub async fn answer(self: &Arc<Self>, child: &str, root: &Digest, request: &Request) -> Response {
        if !self.admits(child, root) {
            self.counters.frames.refused.one();
            return unavailable(Code::TOO_MANY_REQUESTS, REFUSED_S);
        }
        let resource = self.bring(root).await;
        match self.wait_for(&resource, request).await {
            Ok(response) => response,
            Err(FetchError::Unknown | FetchError::TooLarge) => Response::new(Code::NOT_FOUND),
            Err(FetchError::Altered) => unavailable(Code::BAD_GATEWAY, ALTERED_S),
            Err(FetchError::Away) => unavailable(Code::SERVICE_UNAVAILABLE, self.uplink.retry_s()),
        }
    }

    fn admits(&self, child: &str, root: &Digest) -> bool {
        let announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner).get(root).is_some();
        if announced || self.cache.holds(root) {
            return true;
        }
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        limit.admit(child, root, self.machine.now())
    }

    async fn wait_for(
        self: &Arc<Self>,
        resource: &Arc<Resource>,
        request: &Request,
    ) -> Result<Response, FetchError> {
        loop {
            let failures = resource.progress().failures;
            let wanted = match service::respond(resource, request, &self.counters) {
                Ok(response) => return Ok(response),
                Err(missing) => missing,
            };
            self.check_altered(resource.root())?;
            resource.want(wanted);
            self.fly(resource);
            let is_over = |now: &Progress| now.verified >= wanted || now.complete || now.failures > failures;
            let come = resource.comes_to(is_over).await;
            if come.verified < wanted && !come.complete {
                return Err(come.failure.unwrap_or(FetchError::Away));
            }
        }
    }

    /// Fetches all of a resource at a pace in bytes per second, 0 for as fast as it goes; devices that wait for a
    /// frame of it are served at full speed.
    ///
    /// # Errors
    ///
    /// [`FetchError`] if it is not there in the end.
    pub async fn fetch_ahead(self: &Arc<Self>, root: &Digest, pace: u64) -> Result<(), FetchError> {
        let resource = self.bring(root).await;
        let Progress { failures, complete, .. } = resource.progress();
        if complete {
            return Ok(());
        }
        self.check_altered(root)?;
        if !self.uplink.is_up() {
            return Err(FetchError::Away);
        }
        resource.pace.store(pace, Ordering::Relaxed);
        resource.ahead.store(true, Ordering::SeqCst);
        self.fly(&resource);
        let ended = resource.comes_to(|now| now.complete || now.failures > failures).await;
        if ended.complete { Ok(()) } else { Err(ended.failure.unwrap_or(FetchError::Away)) }
    }

    /// After the server gave something else, nobody asks it again at once.
    fn check_altered(&self, root: &Digest) -> Result<(), FetchError> {
        let altered = self.altered.lock().unwrap_or_else(PoisonError::into_inner);
        let since = altered.get(root).map(|at| clock::steady().saturating_duration_since(*at));
        match since {
            Some(since) if since < Duration::from_secs(ALTERED_S.into()) => Err(FetchError::Altered),
            _ => Ok(()),
        }
    }

    async fn bring(&self, root: &Digest) -> Arc<Resource> {
        if let Some(resource) = self.cache.in_memory(root) {
            return resource;
        }
        let (cache, wanted, now) = (Arc::clone(&self.cache), *root, self.machine.wall());
        let brought = self.machine.beside(move || cache.bring(&wanted, now)).await;
        // Only a runtime that shuts down does not run it.
        brought.unwrap_or_else(|_| self.cache.bring(root, now))
    }

    /// Sets out for what is wanted, unless somebody is on the way.
    fn fly(self: &Arc<Self>, resource: &Arc<Resource>) {
        if resource.flying.swap(true, Ordering::SeqCst) {
            return;
        }
        let (frames, resource) = (Arc::clone(self), Arc::clone(resource));
        tokio::spawn(async move { frames.flight(&resource).await });
    }

    async fn flight(&self, resource: &Resource) {
        loop {
            let flown = self.fetch_wanted(resource).await;
            resource.flying.store(false, Ordering::SeqCst);
            if let Err(failure) = flown {
                resource.ahead.store(false, Ordering::Release);
                tracing::info!(root = hex::encode(resource.root()), %failure, "frames can't be fetched");
                resource.fail(failure);
                self.cache.forget_empty(resource.root());
                return;
            }
            // Who asked for more between the last look and the landing found the flight under way. Each side writes
            // one and reads the other, so that only one order of all four (SeqCst) leaves nobody behind.
            if Self::has_reached(resource) || resource.flying.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }

    async fn fetch_wanted(&self, resource: &Resource) -> Result<(), FetchError> {
        let mut altered = 0;
        while !Self::has_reached(resource) {
            match self.fetch_block(resource).await {
                Err(FetchError::Altered) if altered + 1 < TRIES_MAX => altered += 1,
                Err(FetchError::Altered) => {
                    let mut map = self.altered.lock().unwrap_or_else(PoisonError::into_inner);
                    let _ = map.put(*resource.root(), clock::steady());
                    return Err(FetchError::Altered);
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    altered = 0;
                    Self::pause(resource).await;
                }
            }
        }
        Ok(())
    }

    fn has_reached(resource: &Resource) -> bool {
        if resource.total().is_some() {
            return true;
        }
        // The first frames that a device asks for are a sign that it will want the next ones.
        let asked = resource.asked();
        let wanted = if asked == 0 { 0 } else { asked.saturating_add(READ_AHEAD_BYTES) };
        !resource.ahead.load(Ordering::SeqCst) && resource.len() >= wanted
    }

    /// Keeps the pace of what nobody waits for.
    async fn pause(resource: &Resource) {
        let pace = resource.pace.load(Ordering::Relaxed);
        let is_ahead = || resource.ahead.load(Ordering::Acquire) && resource.len() >= resource.asked();
        let Some(micros) = (FETCH_BYTES as u64).saturating_mul(1_000_000).checked_div(pace) else { return };
        let end = clock::steady() + Duration::from_micros(micros).min(PAUSE_MAX);
        while is_ahead() {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(end) => return,
                () = resource.wanted() => {}
            }
        }
    }

    async fn fetch_block(&self, resource: &Resource) -> Result<(), FetchError> {
        let verified = resource.len();
        if verified + FETCH_BYTES as u64 > RESOURCE_BYTES_MAX as u64 {
            return Err(FetchError::TooLarge);
        }
        let number = u32::try_from(verified / FETCH_BYTES as u64).map_err(|_| FetchError::TooLarge)?;
        let asked = Block::ask(number, BlockSize::MAX);
        let request = Request::new(Method::Get, &service::location(resource.root())).with_block2(asked);
        let response = {
            let _permit = self.flights.acquire().await.map_err(|_| FetchError::Away)?;
            self.uplink.ask(request).await.map_err(|_| FetchError::Away)?
        };
        self.counters.frames.bytes_upstream.add(response.payload.len() as u64);
        match response.code {
            Code::CONTENT => {}
            Code::NOT_FOUND => return Err(FetchError::Unknown),
            _ => return Err(FetchError::Away),
        }
        let more = response.block2.is_some_and(|block| block.more);
        let right =
            response.block2.is_none_or(|block| block.size == BlockSize::MAX && block.number == number);
        if !right || self.cache.append(resource, &response.payload, more).is_err() {
            self.counters.frames.altered_upstream.one();
            return Err(FetchError::Altered);
        }
        self.counters.frames.fetched_upstream.one();
        Ok(())
    }
}

fn unavailable(code: Code, max_age_s: u32) -> Response {
    Response { max_age: Some(max_age_s), ..Response::new(code) }
}

/// Resources that are fetched at the same time: so many blocks are on the way, beside forwarded requests.
const FLIGHTS_MAX: usize = 4;

/// Times that one block is asked for before what comes is taken for altered for good.
const TRIES_MAX: u32 = 3;

/// Bytes that are fetched beyond what devices have asked for: a few seconds of a device's line.
const READ_AHEAD_BYTES: u64 = 64 * 1024;

/// Longest pause between two blocks that nobody waits for, however slow the pace is: less than a session's idle time.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// Roots that are remembered from descriptors: 128 campaigns of 32 resources.
const ANNOUNCED_MAX: usize = 4_096;

/// Seconds after which a device may ask again: after the server gave an altered content, …
const ALTERED_S: u32 = 5;
/// … and after it asked for too many roots.
const REFUSED_S: u32 = 600;
