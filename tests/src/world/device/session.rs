//! One boot's conversation: the agent, its links, and the world's time.

use std::net::SocketAddr;
use std::time::Duration;

use bellwether_agent::agent::{Agent, Event, QueueMode, Radio, Route};
use bellwether_agent::coap::Instant;
use bellwether_agent::keys::unit::UnitData;
use bellwether_agent::platform::Random;
use bellwether_agent::update::UpdateError;
use tokio::time::{sleep, sleep_until};

use super::link::{Link, LinkEvent};
use super::{Device, Ended};
use crate::world::dice::Dice;
use crate::world::flash::{Chip, PowerCut};
use crate::world::trace;

/// The conversation of one boot.
pub(super) struct Session<'d, 'f> {
    device: &'d Device,
    unit: &'d UnitData<'d>,
    agent: Agent<'f, &'f mut Chip, DeviceDice>,
    server: Link,
    gateway: Option<Link>,
    queue_mode: Option<QueueMode>,
    booted: tokio::time::Instant,
}

/// The randomness of a device.
#[derive(Debug)]
pub(super) struct DeviceDice(pub(super) Dice);

impl Random for DeviceDice {
    fn fill(&mut self, into: &mut [u8]) {
        self.0.fill(into);
    }
}

enum Wake {
    Link(Route, LinkEvent),
    Due,
    PowerCut,
}

type Failed = UpdateError<PowerCut>;

impl<'d, 'f> Session<'d, 'f> {
    pub(super) fn new(
        device: &'d Device,
        unit: &'d UnitData<'d>,
        agent: Agent<'f, &'f mut Chip, DeviceDice>,
    ) -> Self {
        let machine = &device.surroundings.machine;
        let server = Link::open(machine, device.next_port(), unit.dtls_identity, unit.dtls_psk);
        let gateway = unit
            .gateways
            .get(0)
            .filter(|_| device.make.behind_gateway)
            .map(|gateway| Link::open(machine, device.next_port(), gateway.identity, gateway.psk));
        let locals = [Some(server.local()), gateway.as_ref().map(Link::local)];
        *device.locals() = locals.into_iter().flatten().collect();
        let booted = trace::now();
        let queue_mode = device.make.awake.map(|awake| QueueMode::new(awake, Instant::default()));
        Self { device, unit, agent, server, gateway, queue_mode, booted }
    }

    /// Carries messages until the next boot or power cut.
    pub(super) async fn run(mut self) -> Result<Ended, Failed> {
        loop {
            self.agent.handle_timeout(self.now())?;
            if let Some(ended) = self.take_events() {
                return Ok(ended);
            }
            self.drop_dead_sessions();
            self.switch_radio().await;
            self.connect();
            self.send()?;
            // Sending may have made events, such as a question that has lost its manifest.
            if let Some(ended) = self.take_events() {
                return Ok(ended);
            }
            match self.wait().await {
                Wake::Link(route, event) => self.take(route, event)?,
                Wake::Due => {}
                Wake::PowerCut => return Ok(Ended::PowerCut),
            }
        }
    }

    /// The device's own clock: it starts with each boot, and jumps ahead where the plan says so.
    fn now(&self) -> Instant {
        let now = trace::now();
        let jumps = self.device.make.clock_steps.iter().filter(|(at, _)| (self.booted..=now).contains(at));
        Instant(now - self.booted + jumps.map(|(_, by)| *by).sum::<Duration>())
    }

    async fn wait(&mut self) -> Wake {
        let now = self.now();
        let sleeps = self.queue_mode.filter(|_| self.agent.rests()).and_then(|mode| mode.due());
        let due = [self.agent.poll_timeout(now), sleeps].into_iter().flatten().min();
        let due = due.map(|at| at.0.saturating_sub(now.0));
        let gateway = async {
            match &mut self.gateway {
                Some(gateway) => gateway.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.device.power_cut.notified() => Wake::PowerCut,
            event = self.server.wait() => Wake::Link(Route::Server, event),
            event = gateway => Wake::Link(Route::Gateway, event),
            () = sleep(due.unwrap_or(IDLE)) => Wake::Due,
            () = next_step(&self.device.make.clock_steps) => Wake::Due,
        }
    }

    fn take(&mut self, route: Route, event: LinkEvent) -> Result<(), Failed> {
        let now = self.now();
        match event {
            LinkEvent::Connected => self.agent.handle_connected(now, route),
            LinkEvent::Disconnected => self.agent.handle_disconnected(now, route),
            LinkEvent::Answered(ticket, response) => {
                let before = self.agent.updater().record().reports.clone();
                self.agent.handle_response(now, ticket, response)?;
                self.device.seen().receipt(&before, &self.agent.updater().record().reports);
            }
            LinkEvent::Failed(ticket, failure) => self.agent.handle_failure(now, ticket, failure),
            LinkEvent::Request(exchange, request) => {
                let response = self.agent.handle_request(now, route, &request)?;
                if let Some(link) = self.link(route) {
                    link.respond(exchange, response);
                }
            }
            LinkEvent::Nothing => {}
        }
        Ok(())
    }

    fn take_events(&mut self) -> Option<Ended> {
        let mut ended = None;
        self.device.seen().record(self.agent.updater().record());
        while let Some(event) = self.agent.poll_event() {
            self.device.note(&format!("{event:?}"));
            self.device.seen().event(&event);
            if event == Event::Reboot {
                ended = Some(Ended::Reboot);
            }
        }
        ended
    }

    fn drop_dead_sessions(&mut self) {
        for route in [Route::Server, Route::Gateway] {
            let counts = self.agent.is_connected(route);
            if let Some(link) = self.link(route).filter(|link| link.is_connected() && !counts) {
                link.drop_session();
            }
        }
    }

    fn connect(&mut self) {
        while let Some(route) = self.agent.poll_connect(self.now()) {
            let uri = match route {
                Route::Server => self.unit.servers.get(self.agent.server()),
                Route::Gateway => self.unit.gateways.get(0).map(|gateway| gateway.uri),
            };
            let to = address(uri.expect("a URI in the unit file"));
            if let Some(link) = self.link(route) {
                link.connect(to);
            }
        }
    }

    async fn switch_radio(&mut self) {
        let now = self.now();
        let bytes = self.server.bytes() + self.gateway.as_ref().map_or(0, Link::bytes);
        let (due, rests) = (self.agent.poll_timeout(now), self.agent.rests());
        let Some(radio) = self.queue_mode.as_mut().and_then(|mode| mode.look(now, bytes, due, rests)) else {
            return;
        };
        self.device.note(&format!("its radio: {radio:?}"));
        let links = [Some(&self.server), self.gateway.as_ref()].into_iter().flatten();
        let switched: Vec<_> = links.map(|link| link.listen(radio == Radio::On)).collect();
        for one in switched {
            one.await;
        }
    }

    fn send(&mut self) -> Result<(), Failed> {
        while let Some((route, ticket, request)) = self.agent.poll_request(self.now())? {
            let request = if self.queue_mode.is_some() { QueueMode::announced(request) } else { request };
            if let Some(link) = self.link(route) {
                link.send(ticket, request);
            }
        }
        Ok(())
    }

    fn link(&mut self, route: Route) -> Option<&mut Link> {
        match route {
            Route::Server => Some(&mut self.server),
            Route::Gateway => self.gateway.as_mut(),
        }
    }
}

/// Waits for the next jump of the clock: what is due by it is due then.
async fn next_step(steps: &[(tokio::time::Instant, Duration)]) {
    let now = trace::now();
    match steps.iter().map(|(at, _)| *at).filter(|at| *at > now).min() {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Reads the address of a URI; the world has no name service.
fn address(uri: &str) -> SocketAddr {
    let authority = uri.strip_prefix("coaps://").expect("a coaps URI");
    authority.trim_end_matches('/').parse().expect("an address")
}

/// How long nothing needs to be due for.
const IDLE: Duration = Duration::from_hours(1);
