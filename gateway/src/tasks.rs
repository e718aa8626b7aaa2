//! What goes on beside the answers: pushing, telling the server, delivering reports, fetching ahead.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bellwether_manifests::link::HintKind;
use bellwether_manifests::message::content_format;
use bellwether_net::coap::{Code, Method, Request};
use lwm2m_rs::firmware::UpdateResult;
use lwm2m_rs::table::{self, firmware_update};
use lwm2m_rs::{ContentFormat, Path};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::devices::is_failure;
use crate::frames::FetchError;
use crate::gateway::{Gateway, Session};
use crate::held::HeldBundle;
use crate::hints::{self, Waiting};
use crate::outbox::KeptReport;
use crate::push::{Outcome, Push};
use crate::server::CBOR;

/// Pushes manifests to devices whenever one may be due.
pub async fn push(gateway: Arc<Gateway>) {
    loop {
        let bundles = gateway.shelf.all();
        let session = |name: &str| gateway.reachable(name).map(|session| session.id);
        let has_asked = |name: &str, manifest: &_| gateway.notes.has_asked(name, manifest);
        let planned = {
            let mut pushes = gateway.pushes.lock().unwrap_or_else(PoisonError::into_inner);
            pushes.plan(&bundles, session, has_asked, gateway.now())
        };
        for push in planned {
            tokio::spawn(push_one(Arc::clone(&gateway), push));
        }
        // Windows open and tries fall due without anything happening.
        let _ = timeout(PUSH_ROUND, gateway.push_wake.notified()).await;
    }
}

async fn push_one(gateway: Arc<Gateway>, push: Push) {
    let bundle = gateway.shelf.all().into_iter().find(|bundle| bundle.campaign == push.campaign);
    let (outcome, detail) = match (bundle, gateway.session(&push.endpoint)) {
        (Some(bundle), Some(session)) if session.id == push.session => put_manifest(&bundle, &session).await,
        _ => (Outcome::Unreached, "the session is gone".to_owned()),
    };
    let (counter, what) = match outcome {
        Outcome::Taken => (&gateway.counters.pushes.taken, HintKind::Pushed),
        Outcome::Refused => (&gateway.counters.pushes.refused, HintKind::Refused),
        Outcome::Unreached => (&gateway.counters.pushes.unreached, HintKind::Unreached),
    };
    counter.one();
    tracing::info!(device = push.endpoint, campaign = push.campaign, ?outcome, detail, "manifest pushed");
    let (campaign, endpoint) = (push.campaign.clone(), push.endpoint.clone());
    gateway.hints.add(Waiting { campaign, endpoint, what, detail });
    gateway.pushes.lock().unwrap_or_else(PoisonError::into_inner).finish(&push, outcome, gateway.now());
    gateway.push_wake.notify_one();
}

async fn put_manifest(bundle: &HeldBundle, session: &Session) -> (Outcome, String) {
    let path = Path::Resource(table::FIRMWARE_UPDATE.id, 0, firmware_update::PACKAGE);
    let request = Request::new(Method::Put, &path.to_string())
        .with_payload(ContentFormat::OCTET_STREAM.0, bundle.envelope.clone());
    match session.shard.request(session.id, request).await {
        Ok(response) if response.code == Code::CHANGED => match update_result(session).await {
            Some(result) if is_refusal(result) => (Outcome::Refused, i64::from(result).to_string()),
            _ => (Outcome::Taken, String::new()),
        },
        Ok(response) => (Outcome::Unreached, response.code.to_string()),
        Err(_) => (Outcome::Unreached, "no answer".to_owned()),
    }
}

async fn update_result(session: &Session) -> Option<UpdateResult> {
    let path = Path::Resource(table::FIRMWARE_UPDATE.id, 0, firmware_update::UPDATE_RESULT);
    let mut request = Request::new(Method::Get, &path.to_string());
    request.accept = Some(ContentFormat::TEXT.0);
    let response = session.shard.request(session.id, request).await.ok()?;
    let text = (response.code == Code::CONTENT).then_some(response.payload)?;
    let number: i64 = std::str::from_utf8(&text).ok()?.parse().ok()?;
    UpdateResult::try_from(number).ok()
}

/// Whether this result is a device's word on the manifest it was just given; others come from an earlier update.
const fn is_refusal(result: UpdateResult) -> bool {
    matches!(
        result,
        UpdateResult::NotEnoughFlash
            | UpdateResult::OutOfRam
            | UpdateResult::IntegrityFailure
            | UpdateResult::UnsupportedPackage
            | UpdateResult::InvalidUri
    )
}

/// Tells the server of pushes, in batches.
pub async fn tell(gateway: Arc<Gateway>) {
    let mut backoff = gateway.backoff();
    loop {
        gateway.hints.added().await;
        // A little later there is more to tell at once.
        sleep(GATHER).await;
        loop {
            let batch = gateway.hints.take();
            if batch.is_empty() {
                break;
            }
            let request = Request::new(Method::Post, "/g/t").with_payload(CBOR, hints::encode(&batch));
            match gateway.uplink.ask(request).await {
                Ok(response) if !is_failure(response.code) => backoff.reset(),
                _ => {
                    gateway.hints.put_back(batch);
                    sleep(gateway.jittered(backoff.after_failure())).await;
                }
            }
        }
    }
}

/// Brings kept reports to the server, the oldest first.
pub async fn deliver(gateway: Arc<Gateway>) {
    let mut backoff = gateway.backoff();
    loop {
        gateway.outbox.expire(gateway.now());
        if deliver_round(&gateway).await {
            backoff.reset();
            let _ = timeout(DELIVERY_ROUND, gateway.outbox_wake.notified()).await;
        } else {
            let wait = gateway.jittered(backoff.after_failure());
            let _ = timeout(wait, gateway.outbox_wake.notified()).await;
        }
    }
}

/// Brings up what can be; a device whose report the server can't take now holds nobody else up. Tells whether all
/// went well.
async fn deliver_round(gateway: &Arc<Gateway>) -> bool {
    let mut skipped = HashSet::new();
    while gateway.uplink.is_up() {
        let batch = gateway.outbox.oldest(DELIVERIES_MAX, &skipped);
        if batch.is_empty() {
            break;
        }
        let mut deliveries = JoinSet::new();
        for report in batch {
            let gateway = Arc::clone(gateway);
            deliveries.spawn(async move {
                let child = report.child.clone();
                (!deliver_one(gateway, report).await).then_some(child)
            });
        }
        skipped.extend(deliveries.join_all().await.into_iter().flatten());
    }
    skipped.is_empty()
}

/// Tells whether the report is off the list.
async fn deliver_one(gateway: Arc<Gateway>, report: Arc<KeptReport>) -> bool {
    let mut request =
        Request::new(Method::Post, "").with_payload(content_format::REPORT, report.report.clone());
    request.path.clone_from(&report.path);
    request.query.clone_from(&report.query);
    let Ok(response) = gateway.uplink.forward(&request).await else {
        return false;
    };
    if is_failure(response.code) {
        return false;
    }
    // What the server refuses it will refuse again; the device hears it when it repeats the report.
    let receipt = response.code.is_success().then_some(response.payload.clone());
    if receipt.is_none() {
        tracing::warn!(device = report.child, answer = %response.code, "the server refuses a kept report");
    }
    gateway.counters.reports.forwarded.one();
    let settler = Arc::clone(&gateway);
    let settled = gateway.machine.beside(move || {
        settler.outbox.settle(&report.digest, receipt.as_deref(), settler.now());
    });
    settled.await.is_ok()
}

/// Fetches the resources of bundles and of descriptors that passed through, one after the other.
pub async fn fetch_ahead(gateway: Arc<Gateway>) {
    loop {
        let mut complete = true;
        for (root, pace) in of_bundles(&gateway) {
            complete &= is_settled(gateway.frames.fetch_ahead(&root, pace).await);
        }
        for root in gateway.passed_roots() {
            if !is_settled(gateway.frames.fetch_ahead(&root, PASSED_BYTES_PER_S).await) {
                gateway.fetch_later(root);
                complete = false;
            }
        }
        if complete {
            gateway.ahead_wake.notified().await;
        } else {
            let _ = timeout(AHEAD_ROUND, gateway.ahead_wake.notified()).await;
        }
    }
}

/// Whether it is there, or can't be had at any later time either.
const fn is_settled(fetched: Result<(), FetchError>) -> bool {
    !matches!(fetched, Err(FetchError::Away | FetchError::Altered))
}

/// What bundles want to be fetched, and how fast.
fn of_bundles(gateway: &Gateway) -> Vec<([u8; 32], u64)> {
    let now = gateway.now();
    let mut ahead = Vec::new();
    for bundle in gateway.shelf.all().iter().filter(|bundle| bundle.is_current(now)) {
        let roots = bundle.descriptors.values().flat_map(|descriptor| descriptor.roots.iter().copied());
        ahead.extend(roots.map(|root| (root, bundle.policy.bytes_per_s)));
    }
    ahead.sort_unstable();
    ahead.dedup_by_key(|(root, _)| *root);
    ahead
}

/// Longest wait before it is looked whether a manifest is due.
const PUSH_ROUND: Duration = Duration::from_secs(5);

/// Wait for more hints before a batch is sent.
const GATHER: Duration = Duration::from_millis(500);

/// Reports on their way at the same time; forwarded questions have two places beside them.
const DELIVERIES_MAX: usize = 2;

/// Longest wait before it is looked whether a report waits.
const DELIVERY_ROUND: Duration = Duration::from_mins(1);

/// Longest wait before what could not be fetched is tried again.
const AHEAD_ROUND: Duration = Duration::from_secs(30);

/// Bytes per second at which resources are fetched ahead that no bundle's policy speaks of.
const PASSED_BYTES_PER_S: u64 = 64 * 1024;
