//! Registrations of devices: made, renewed, ended.

use std::sync::Arc;

use bellwether_decide::device::Endpoint;
use bellwether_net::coap::{Code, Request, Response};
use bellwether_net::{Peer, ShardHandle};
use bellwether_store::device::Security;
use lwm2m_rs::registration::{ObjectList, QueryError, RegisterParameters, UpdateParameters, Version};
use lwm2m_rs::table::BELLWETHER_UPDATE;

use super::failed;
use crate::core::Core;
use crate::registry::{self, Brought, Queue, Registration, Speaks, Told, Touched};

pub(super) async fn register(
    core: &Arc<Core>,
    shard: &ShardHandle,
    peer: &Peer,
    request: &Request,
) -> (Response, Option<Endpoint>) {
    let parameters = match RegisterParameters::parse(&request.query) {
        Ok(parameters) => parameters,
        Err(error) => return (refused_query(&error), None),
    };
    let Ok(objects) = ObjectList::parse(&request.payload) else {
        return (diagnostic(Code::BAD_REQUEST, "the object list is no link format"), None);
    };
    let claimed = parameters.endpoint.as_ref().map(ToString::to_string);
    // LwM2M 1.1: a client may leave its name out where its credential names it.
    let Some(name) = claimed.or_else(|| peer.identity.as_deref().map(str::to_owned)) else {
        return (diagnostic(Code::BAD_REQUEST, "ep is missing"), None);
    };
    match admitted(core, peer, &name).await {
        Ok(endpoint) => {
            let (lifetime_s, now) = (u64::from(parameters.lifetime_s), core.steady());
            let Ok(drawn) = core.machine.random::<8>() else {
                return (Response::new(Code::INTERNAL_SERVER_ERROR), None);
            };
            let location = hex::encode(drawn);
            let expires = registry::expiry(lifetime_s, now);
            let (session, address, shard) = (peer.session, peer.address, shard.clone());
            let lists_updates = objects.has_object(BELLWETHER_UPDATE.id);
            let told = if lists_updates { Told::Awaited } else { Told::Nothing };
            let ObjectList { root, content_formats: formats, .. } = objects;
            let speaks = Arc::new(Speaks { version: parameters.version, formats, root });
            let registration = Registration {
                endpoint: endpoint.clone(),
                session,
                shard,
                address,
                lifetime_s,
                expires,
                speaks,
                lists_updates,
                told,
                anchors: Brought::UpToDate,
                queue: parameters.queue_mode.then(|| Queue::heard(now, Some(peer.clone()))),
            };
            let from_another = core.registry.register(location.clone(), registration);
            let touched = Touched { endpoint: endpoint.clone(), from_another };
            if let Err(error) = core.forget_former(&touched).await {
                return (failed(core, &error), None);
            }
            let location_path = vec!["rd".to_owned(), location];
            (Response { location_path, ..Response::new(Code::CREATED) }, Some(endpoint))
        }
        Err(response) => (response, None),
    }
}

/// Finds the device of this name, if this peer may register it: its DTLS identity, or plain UDP where it is
/// enrolled so.
async fn admitted(core: &Arc<Core>, peer: &Peer, name: &str) -> Result<Endpoint, Response> {
    let endpoint =
        Endpoint::try_from(name).map_err(|_| diagnostic(Code::BAD_REQUEST, "ep is no endpoint name"))?;
    let device = match core.store.device(&core.tenant, &endpoint).await {
        Ok(device) => device.ok_or_else(|| Response::new(Code::FORBIDDEN))?,
        Err(error) => return Err(failed(core, &error)),
    };
    let admitted = match (&peer.identity, &device.security) {
        // Over plain UDP, or over a session that is being closed.
        _ if device.retired_at.is_some() => false,
        (Some(identity), Security::Psk { .. }) => **identity == *name,
        (None, Security::None) => true,
        _ => false,
    };
    if admitted { Ok(endpoint) } else { Err(Response::new(Code::FORBIDDEN)) }
}

pub(super) async fn update(
    core: &Core,
    from: (&ShardHandle, &Peer),
    location: &str,
    request: &Request,
) -> (Response, Option<Endpoint>) {
    // What a query means depends on the version; one that is not registered gets its 4.04 below.
    let version = core.registry.version(location).unwrap_or(Version::V1_1);
    let parameters = match UpdateParameters::parse(version, &request.query) {
        Ok(parameters) => parameters,
        Err(error) => return (refused_query(&error), None),
    };
    let lifetime_s = parameters.lifetime_s.map(u64::from);
    let updated = core.registry.update(location, from, lifetime_s, core.steady());
    if let (Some(_), Some(is_on)) = (&updated, parameters.queue_mode) {
        core.registry.turn_queue_mode(location, is_on, core.steady());
    }
    touched(core, updated, Code::CHANGED).await
}

/// Answers who has renewed or ended a registration, once nothing is kept of it where it came over another session.
pub(super) async fn touched(
    core: &Core,
    touched: Option<Touched>,
    done: Code,
) -> (Response, Option<Endpoint>) {
    let Some(touched) = touched else { return (Response::new(Code::NOT_FOUND), None) };
    match core.forget_former(&touched).await {
        Ok(()) => (Response::new(done), Some(touched.endpoint)),
        Err(error) => (failed(core, &error), None),
    }
}

fn refused_query(error: &QueryError) -> Response {
    let code = match error {
        QueryError::Version => Code::PRECONDITION_FAILED,
        _ => Code::BAD_REQUEST,
    };
    diagnostic(code, &error.to_string())
}

/// RFC 7252 §5.5.2: an error's payload is a diagnostic for people, without Content-Format.
fn diagnostic(code: Code, text: &str) -> Response {
    Response { payload: text.as_bytes().to_vec(), ..Response::new(code) }
}
