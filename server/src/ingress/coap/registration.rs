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
use crate::credentials;
use crate::registry::{self, Brought, Queue, Registration, Speaks, Told, Touched};

/// Registers a device, and gives its name; `from`: who asks, and the number of the credential of their session.
pub(super) async fn register(
    core: &Arc<Core>,
    shard: &ShardHandle,
    from: (&Peer, u64),
    request: &Request,
) -> (Response, Option<Endpoint>) {
    let arrival = Arrival { core, shard, peer: from.0, credential: from.1 };
    match arrival.registered(request).await {
        Ok((location, endpoint)) => {
            let location_path = vec!["rd".to_owned(), location];
            (Response { location_path, ..Response::new(Code::CREATED) }, Some(endpoint))
        }
        Err(response) => (response, None),
    }
}

/// Somebody who wants to register a device.
struct Arrival<'a> {
    core: &'a Arc<Core>,
    shard: &'a ShardHandle,
    peer: &'a Peer,
    credential: u64,
}

/// A device that was found to be theirs.
struct Admitted {
    endpoint: Endpoint,
    /// What [`Registry::endings`](registry::Registry::endings) was before.
    endings: u64,
}

impl Arrival<'_> {
    async fn registered(&self, request: &Request) -> Result<(String, Endpoint), Response> {
        let parameters = RegisterParameters::parse(&request.query).map_err(|error| refused_query(&error))?;
        let objects = ObjectList::parse(&request.payload)
            .map_err(|_| diagnostic(Code::BAD_REQUEST, "the object list is no link format"))?;
        let claimed = parameters.endpoint.as_ref().map(ToString::to_string);
        // LwM2M 1.1: a client may leave its name out where its credential names it.
        let name = claimed.or_else(|| self.peer.identity.as_deref().map(str::to_owned));
        let name = name.ok_or_else(|| diagnostic(Code::BAD_REQUEST, "ep is missing"))?;
        let admitted = self.admitted(&name).await?;
        self.enter(admitted, &parameters, objects).await
    }

    /// Finds the device of this name, if this peer may register it: its DTLS identity, or plain UDP where it is
    /// enrolled so.
    async fn admitted(&self, name: &str) -> Result<Admitted, Response> {
        let endpoint =
            Endpoint::try_from(name).map_err(|_| diagnostic(Code::BAD_REQUEST, "ep is no endpoint name"))?;
        let endings = self.core.registry.endings();
        let device = match self.core.store.device(&self.core.tenant, &endpoint).await {
            Ok(device) => device.ok_or_else(|| Response::new(Code::FORBIDDEN))?,
            Err(error) => return Err(failed(self.core, &error)),
        };
        let is_theirs = match (&self.peer.identity, &device.security) {
            // Over plain UDP, or over a session that is being closed.
            _ if device.retired_at.is_some() => false,
            // Over a session of a credential that was replaced, which is being closed as well, it is nobody's.
            (Some(identity), Security::Psk { .. }) => {
                **identity == *name && credentials::sealed(&device, self.credential).is_some()
            }
            (None, Security::None) => true,
            _ => false,
        };
        if is_theirs { Ok(Admitted { endpoint, endings }) } else { Err(Response::new(Code::FORBIDDEN)) }
    }

    /// Registers a device; gives its location and its name.
    async fn enter(
        &self,
        Admitted { endpoint, endings }: Admitted,
        parameters: &RegisterParameters,
        objects: ObjectList,
    ) -> Result<(String, Endpoint), Response> {
        let core = self.core;
        let drawn = core.machine.random::<8>().map_err(|_| Response::new(Code::INTERNAL_SERVER_ERROR))?;
        let location = hex::encode(drawn);
        let registration = self.registration(endpoint.clone(), parameters, objects);
        let from_another = core.registry.register(location.clone(), registration);
        // Whoever lost the right to it since it was looked up was not registered yet when what they had here was ended.
        if core.registry.endings() != endings
            && let Err(refused) = self.admitted(endpoint.as_str()).await
        {
            core.registry.withdraw(&location);
            return Err(refused);
        }
        let touched = Touched { endpoint, from_another };
        match core.forget_former(&touched).await {
            Ok(()) => Ok((location, touched.endpoint)),
            Err(error) => Err(failed(core, &error)),
        }
    }

    fn registration(
        &self,
        endpoint: Endpoint,
        parameters: &RegisterParameters,
        objects: ObjectList,
    ) -> Registration {
        let (lifetime_s, now) = (u64::from(parameters.lifetime_s), self.core.steady());
        let lists_updates = objects.has_object(BELLWETHER_UPDATE.id);
        let ObjectList { root, content_formats: formats, .. } = objects;
        Registration {
            endpoint,
            session: self.peer.session,
            shard: self.shard.clone(),
            address: self.peer.address,
            lifetime_s,
            expires: registry::expiry(lifetime_s, now),
            speaks: Arc::new(Speaks { version: parameters.version, formats, root }),
            lists_updates,
            told: if lists_updates { Told::Awaited } else { Told::Nothing },
            anchors: Brought::UpToDate,
            queue: parameters.queue_mode.then(|| Queue::heard(now, Some(self.peer.clone()))),
        }
    }
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

#[cfg(test)]
mod tests;
