//! Two endpoints over a wire that loses, doubles, delays and so reorders; all from one seed.

use crate::generator::Generator;
use crate::{Config, Endpoint, Event, Instant, Request, RequestId, Response};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

/// How bad the wire is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) loss_percent: u32,
    pub(super) double_percent: u32,
    pub(super) delay_ms_max: u32,
    /// Longest time the server's application thinks about an answer.
    pub(super) think_ms_max: u32,
}

/// What happens at a point in time, in the order it was planned.
enum Planned {
    Arrival { at: usize, bytes: Vec<u8> },
    Answer { event: Event<u64> },
}

/// Client (0), server (1), the wire between them, and the time.
pub(super) struct World {
    pub(super) endpoints: [Endpoint<u64>; 2],
    pub(super) now: Instant,
    weather: Weather,
    dice: Generator,
    planned: BTreeMap<(Instant, u64), Planned>,
    planned_count: u64,
    /// Requests that the server's application was asked, in order.
    pub(super) asked: Vec<Request>,
    pub(super) ended: Vec<(RequestId, Option<Response>)>,
}

impl World {
    pub(super) fn new(seed: u8, weather: Weather) -> Self {
        let endpoint = |side| Endpoint::new(Config::default(), [seed ^ side; 32]);
        Self {
            endpoints: [endpoint(0x55), endpoint(0xaa)],
            now: Instant::default(),
            weather,
            dice: Generator::new([seed; 32]),
            planned: BTreeMap::new(),
            planned_count: 0,
            asked: Vec::new(),
            ended: Vec::new(),
        }
    }

    pub(super) fn ask(&mut self, request: Request) -> RequestId {
        let id = self.endpoints[0].request(self.now, 1, request).unwrap();
        self.drain();
        id
    }

    /// Runs until nothing is planned and no timer waits: all peers are evicted then.
    pub(super) fn run(&mut self, application: &dyn Fn(&Request) -> Response) {
        loop {
            let timers = self.endpoints.iter().filter_map(Endpoint::poll_timeout);
            let planned = self.planned.keys().next().map(|(at, _)| *at);
            let Some(next) = timers.chain(planned).min() else {
                return;
            };
            self.now = self.now.max(next);
            assert!(self.now < END, "something never ends");
            self.arrive(application);
            for endpoint in &mut self.endpoints {
                endpoint.handle_timeout(self.now);
            }
            self.drain();
        }
    }

    fn arrive(&mut self, application: &dyn Fn(&Request) -> Response) {
        while let Some(first) = self.planned.first_entry() {
            if first.key().0 > self.now {
                return;
            }
            match first.remove() {
                Planned::Arrival { at, bytes } => {
                    let from = 1 - u64::try_from(at).unwrap();
                    self.endpoints[at].handle_datagram(self.now, from, &bytes);
                }
                Planned::Answer { event } => self.answer(event, application),
            }
            self.drain();
        }
    }

    fn answer(&mut self, event: Event<u64>, application: &dyn Fn(&Request) -> Response) {
        let Event::Request { exchange, request, .. } = event else {
            return;
        };
        let response = application(&request);
        // The exchange may have been abandoned; the client finds out by its own timer.
        let _ = self.endpoints[1].respond(self.now, exchange, response);
    }

    fn drain(&mut self) {
        for side in 0..2 {
            while let Some(transmit) = self.endpoints[side].poll_transmit() {
                self.carry(1 - side, &transmit.bytes);
            }
            while let Some(event) = self.endpoints[side].poll_event() {
                self.take(event);
            }
        }
        if self.endpoints.iter().any(Endpoint::has_output) {
            self.drain();
        }
    }

    fn take(&mut self, event: Event<u64>) {
        match event {
            Event::Request { ref request, .. } => {
                self.asked.push(request.clone());
                let wait = self.roll(self.weather.think_ms_max);
                self.plan(wait, Planned::Answer { event });
            }
            Event::Response { id, response, .. } => self.ended.push((id, Some(response))),
            Event::Failed { id, .. } => self.ended.push((id, None)),
        }
    }

    fn carry(&mut self, to: usize, bytes: &[u8]) {
        let copies = 1 + u32::from(self.roll(100) < self.weather.double_percent);
        for _ in 0..copies {
            if self.roll(100) < self.weather.loss_percent {
                continue;
            }
            let wait = self.roll(self.weather.delay_ms_max);
            let bytes = bytes.to_vec();
            self.plan(wait, Planned::Arrival { at: to, bytes });
        }
    }

    fn plan(&mut self, wait_ms: u32, planned: Planned) {
        let at = self.now.after(Duration::from_millis(wait_ms.into()));
        self.planned_count += 1;
        self.planned.insert((at, self.planned_count), planned);
    }

    /// A number below `below`, or 0.
    fn roll(&mut self, below: u32) -> u32 {
        self.dice.next() % below.max(1)
    }
}

/// No transfer here takes a day.
const END: Instant = Instant(Duration::from_hours(24));
