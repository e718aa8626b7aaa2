//! The agent against a server, and a gateway in between: registration, objects, and updates from the push to the
//! receipt.

mod gateway;
mod server;
mod servers;

use super::{Agent, Config, Event, Purpose, Route};
use crate::testing::server::{Said, Serve};
use crate::testing::{
    Author, CountingRandom, Device, MemoryFlash, Server, factory_flash, facts, new_image, sha256,
};
use crate::update::{Facts, Updater, trial};
use bellwether_coap::{Code, Failure, Instant, Method, Request, Response};
use bellwether_manifests::message::Moment;
use core::time::Duration;
use lwm2m_rs::firmware::{State, UpdateResult};
use std::string::{String, ToString};
use std::vec::Vec;

/// One device, its server, perhaps a gateway, and the time that they share.
struct World<'a> {
    author: &'a Author,
    server: Server<'a>,
    server_is_away: bool,
    /// Servers of the unit file that sessions were tried with.
    tried: Vec<usize>,
    /// The one of them that cannot be reached.
    unreachable: Option<usize>,
    /// What the next update request is answered with, once.
    said_once: Option<Said>,
    gateway: Option<Gateway>,
    agent: Agent<'static, MemoryFlash, CountingRandom>,
    now: Instant,
    /// Requests that reached the server from the device itself, as `METHOD path?query`.
    seen: Vec<String>,
    events: Vec<Event>,
    registrations: u32,
    /// Frames that are served altered, once each.
    alter_frames: Vec<u32>,
}

/// A gateway, and what it does.
#[derive(Default)]
struct Gateway {
    conduct: Conduct,
    /// What it answers update requests with.
    bundle: Option<Vec<u8>>,
    /// Requests that reached it, as `METHOD path?query`.
    seen: Vec<String>,
}

/// What a gateway does with a request for which it holds nothing.
#[derive(Clone, Debug, Default, PartialEq)]
enum Conduct {
    /// Asks the server, and says 5.03 where that is away.
    #[default]
    Forward,
    /// Takes every message and answers none.
    Silent,
    /// Answers hellos alone.
    Mute,
    /// Cannot be reached.
    Away,
    /// Says this, with this Max-Age.
    Decline(Code, Option<u32>),
    /// Forwards, and alters every frame.
    Alter,
    /// Answers update requests, and has no frame.
    Frameless,
    /// Answers every update request with this.
    Answer(Vec<u8>),
}

fn config(gateway: bool) -> Config {
    Config {
        endpoint: "lamp-1".to_string(),
        lifetime_s: 300,
        manufacturer: "example.com".to_string(),
        model: "lamp".to_string(),
        waiting_silence: Duration::from_mins(1),
        retry_first: Duration::from_secs(2),
        retry_longest: Duration::from_mins(5),
        gateway,
        hello: Duration::from_mins(1),
        detour: Duration::from_mins(10),
    }
}

impl<'a> World<'a> {
    fn new(author: &'a Author) -> Self {
        Self::made(author, None)
    }

    fn with_gateway(author: &'a Author) -> Self {
        Self::made(author, Some(Gateway::default()))
    }

    fn made(author: &'a Author, gateway: Option<Gateway>) -> Self {
        let mut world = Self {
            author,
            server: Server::new(author, new_image()),
            server_is_away: false,
            tried: Vec::new(),
            unreachable: None,
            said_once: None,
            agent: Agent::new(two_servers(factory_flash(), author), config(gateway.is_some())),
            gateway,
            now: Instant(Duration::from_secs(1)),
            seen: Vec::new(),
            events: Vec::new(),
            registrations: 0,
            alter_frames: Vec::new(),
        };
        world.connect();
        world
    }

    /// Makes the sessions that the agent wants.
    fn connect(&mut self) {
        while let Some(route) = self.agent.poll_connect(self.now) {
            let fails = match route {
                Route::Server => {
                    self.tried.push(self.agent.server());
                    self.server_is_away || self.unreachable == Some(self.agent.server())
                }
                Route::Gateway => self.gateway.as_ref().unwrap().conduct == Conduct::Away,
            };
            if fails {
                self.agent.handle_disconnected(self.now, route);
            } else {
                self.agent.handle_connected(self.now, route);
            }
        }
    }

    /// Carries messages until nothing is due now.
    fn settle(&mut self) {
        loop {
            self.agent.handle_timeout(self.now).unwrap();
            while let Some(event) = self.agent.poll_event() {
                self.events.push(event);
            }
            self.connect();
            let Some((route, ticket, request)) = self.agent.poll_request(self.now).unwrap() else {
                return;
            };
            match self.deliver(route, &request) {
                Some(response) => self.agent.handle_response(self.now, ticket, response).unwrap(),
                None => self.agent.handle_failure(self.now, ticket, Failure::TimedOut),
            }
        }
    }

    /// Lets the time pass until the agent wants to be woken, and carries messages.
    fn wait(&mut self) {
        self.now = self.agent.poll_timeout(self.now).expect("something to wait for").max(self.now);
        self.settle();
    }

    /// Waits, for no longer than an hour, until something holds.
    fn wait_until(&mut self, holds: impl Fn(&Self) -> bool) {
        let end = self.now.after(Duration::from_hours(1));
        self.settle();
        while !holds(self) {
            assert!(self.now < end, "waited for an hour: {:?}", self.events);
            self.wait();
        }
    }

    fn deliver(&mut self, route: Route, request: &Request) -> Option<Response> {
        match route {
            Route::Server if self.server_is_away => None,
            Route::Server => {
                self.seen.push(line(request));
                Some(self.respond(request))
            }
            Route::Gateway => self.deliver_to_gateway(request),
        }
    }

    fn deliver_to_gateway(&mut self, request: &Request) -> Option<Response> {
        let gateway = self.gateway.as_mut().unwrap();
        gateway.seen.push(line(request));
        let path = request.path.join("/");
        let conduct = gateway.conduct.clone();
        let held = (path == "u").then(|| gateway.bundle.clone()).flatten();
        match (conduct, path.as_str()) {
            (Conduct::Silent | Conduct::Away, _) => None,
            (_, "h") => Some(Response::new(Code::CHANGED)),
            (Conduct::Mute, _) => None,
            (Conduct::Decline(code, max_age), _) => Some(Response { max_age, ..Response::new(code) }),
            (Conduct::Answer(answer), "u") => Some(Response::new(Code::CHANGED).with_payload(65101, answer)),
            (Conduct::Alter, _) if path.starts_with("f/") => {
                let mut response = self.respond(request);
                response.payload[0] ^= 1;
                Some(response)
            }
            (Conduct::Frameless, _) if path.starts_with("f/") => Some(Response::new(Code::NOT_FOUND)),
            _ if held.is_some() => Some(Response::new(Code::CHANGED).with_payload(65101, held?)),
            // Frames are in its cache.
            _ if self.server_is_away && !path.starts_with("f/") => {
                Some(Response { max_age: Some(30), ..Response::new(Code::SERVICE_UNAVAILABLE) })
            }
            _ => Some(self.respond(request)),
        }
    }

    fn respond(&mut self, request: &Request) -> Response {
        let path = request.path.join("/");
        match (request.method, path.as_str()) {
            (Method::Post, "rd") => {
                self.registrations += 1;
                let mut response = Response::new(Code::CREATED);
                response.location_path = std::vec!["rd".into(), self.registrations.to_string()];
                response
            }
            (Method::Post, "u") => {
                let serve = self.server.serve.clone();
                if let Some(said) = self.said_once.take() {
                    self.server.serve = Serve::Verdict(said);
                }
                let answer = self.server.answer(&request.payload);
                self.server.serve = serve;
                Response::new(Code::CHANGED).with_payload(65101, answer)
            }
            (Method::Post, "u/r") => match self.server.receipt(&request.payload) {
                Ok(receipt) => Response::new(Code::CHANGED).with_payload(65104, receipt),
                Err(_) => Response::new(Code::UNAUTHORIZED),
            },
            (Method::Post, location) if location == std::format!("rd/{}", self.registrations) => {
                Response::new(Code::CHANGED)
            }
            (Method::Delete, _) => Response::new(Code::DELETED),
            (Method::Get, frames) => self.frame(frames, request.block2.expect("an explicit block").number),
            _ => Response::new(Code::NOT_FOUND),
        }
    }

    fn frame(&mut self, path: &str, number: u32) -> Response {
        let hex = path.strip_prefix("f/").unwrap();
        let mut root = [0; 32];
        for (byte, at) in root.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        }
        let Some(mut frame) = self.server.frame(&root, number) else {
            return Response::new(Code::NOT_FOUND);
        };
        if let Some(at) = self.alter_frames.iter().position(|altered| *altered == number) {
            self.alter_frames.remove(at);
            frame[0] ^= 1;
        }
        Response::new(Code::CONTENT).with_payload(42, frame)
    }

    fn ask_device(&mut self, method: Method, path: &str, body: Option<(u16, Vec<u8>)>) -> Response {
        self.ask_device_over(Route::Server, method, path, body)
    }

    fn ask_device_over(
        &mut self,
        route: Route,
        method: Method,
        path: &str,
        body: Option<(u16, Vec<u8>)>,
    ) -> Response {
        let mut request = Request::new(method, path);
        if let Some((format, body)) = body {
            request = request.with_payload(format, body);
        }
        self.agent.handle_request(self.now, route, &request).unwrap()
    }

    fn push(&mut self, manifest: Vec<u8>) -> Code {
        self.ask_device(Method::Put, "/5/0/0", Some((42, manifest))).code
    }

    fn push_over_gateway(&mut self, manifest: Vec<u8>) -> Code {
        self.ask_device_over(Route::Gateway, Method::Put, "/5/0/0", Some((42, manifest))).code
    }

    fn push_manifest(&mut self) {
        let manifest = self.server.manifest(1);
        assert_eq!(self.push(manifest), Code::CHANGED);
    }

    fn read(&mut self, path: &str) -> String {
        String::from_utf8(self.ask_device(Method::Get, path, None).payload).unwrap()
    }

    /// Boots what the boot state chooses and registers again.
    fn reboot(&mut self, self_test: bool) {
        let config = || config(self.gateway.is_some());
        let blank = Agent::new(two_servers(factory_flash(), self.author), config());
        let agent = core::mem::replace(&mut self.agent, blank);
        let mut flash = agent.into_updater().into_flash();
        if trial::select(&mut flash).unwrap().on_trial {
            if self_test {
                trial::confirm(&mut flash).unwrap();
            } else {
                trial::roll_back(&mut flash).unwrap();
            }
        }
        self.agent = Agent::new(two_servers(flash, self.author), config());
        self.settle();
    }

    fn count(&self, what: &str) -> usize {
        self.seen.iter().filter(|seen| seen.starts_with(what)).count()
    }

    fn count_at_gateway(&self, what: &str) -> usize {
        let gateway = self.gateway.as_ref().unwrap();
        gateway.seen.iter().filter(|seen| seen.starts_with(what)).count()
    }

    fn conduct(&mut self, conduct: Conduct) {
        self.gateway.as_mut().unwrap().conduct = conduct;
    }

    fn moments(&self) -> Vec<Moment> {
        self.server.reported.iter().map(|(moment, _)| *moment).collect()
    }
}

/// A device whose unit file names two servers.
fn two_servers(flash: MemoryFlash, author: &Author) -> Device {
    let servers = &["coaps://server.example:5684", "coaps://second.example:5684"];
    let facts = Facts { servers, ..facts(author) };
    Updater::start(flash, CountingRandom(7), facts, crate::testing::memory(), Duration::ZERO).unwrap()
}

fn line(request: &Request) -> String {
    std::format!("{:?} {}?{}", request.method, request.path.join("/"), request.query.join("&"))
}
