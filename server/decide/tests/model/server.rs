//! The server: the real table, and the answers' contents in the place of their bytes.

use bellwether_decide::identity::{Confirm, Content, IdentityState, Place, Token};
use bellwether_decide::key_index::{
    self, Arrival, Context, Decision, GrantDetails, OpenGrant, Reply, Report, Request, Unconfirmed,
};

use crate::device;
use crate::scenario::{CHAIN_LENGTH, Scenario};
use crate::world::{Ask, Down, Granted, Party, Tell, Up, Verdict, World, tells_decrypted};

/// What the store keeps.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Server {
    pub(crate) state: IdentityState,
    /// What answered the last request.
    pub(crate) last: Option<Down>,
    /// Whether an update that only this party made moved the identity: the original, the clone.
    pub(crate) moved_by: [bool; 2],
}

/// What a message was answered by, and what the table decided.
pub(crate) struct Answered {
    pub(crate) decision: Decision,
    pub(crate) answer: Down,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self { state: IdentityState::new(0), last: None, moved_by: [false; 2] }
    }
}

impl World {
    /// Lets a message reach the server; `None` where its key is gone or was never there.
    pub(crate) fn reach(&mut self, scenario: &Scenario, message: &Up) -> Option<Answered> {
        let place = match message {
            Up::Ask(ask) => ask.place,
            Up::Tell(tell) => tell.place,
        };
        if !self.has_key(place) {
            return None;
        }
        let arrival = match message {
            Up::Ask(ask) => Arrival::Request(request(ask)),
            Up::Tell(tell) => Arrival::Report(report(tell)),
        };
        let mut decision =
            key_index::decide(&self.server.state, &arrival, &self.context(scenario, self.token(message)));
        // It counts steps, and would keep states apart that are the same.
        decision.state.revision = 0;
        Some(self.answer(scenario, message, decision))
    }

    /// Gives a gateway the grant that its bundle may carry for the device.
    pub(crate) fn bundle(&mut self, scenario: &Scenario) -> Option<Down> {
        let (manifest, running) = (self.device.wanted()?, self.device.running);
        let (context, now) = (self.context(scenario, Token::default()), self.now());
        let state = &self.server.state;
        let decision = key_index::decide_ahead(state, [manifest; 32], [running; 32], &context)?;
        self.server.change(|server| match &decision.reply {
            Reply::NewGrant(new) => {
                let state = decision.granted(new, details(scenario, now, manifest), &[]);
                server.state = IdentityState { revision: 0, ..state };
                Some(server.granted(new.place, new.number))
            }
            Reply::HeldGrant { place, number } => Some(server.granted(*place, *number)),
            other => panic!("{other:?} in a bundle"),
        })
    }

    /// Seeds that were destroyed leave the link of the last index.
    fn has_key(&self, place: Place) -> bool {
        let state = &self.server.state;
        let gone = place.epoch < state.seed_oldest
            && state.last_index_of(place.epoch).is_some_and(|last| place.index > last);
        place.epoch <= state.place.epoch + EPOCHS_AHEAD && place.index < CHAIN_LENGTH && !gone
    }

    pub(crate) fn now(&self) -> u64 {
        NOW + u64::from(self.passed) * (GRANT_LIFE_S + 1)
    }

    fn context(&self, scenario: &Scenario, token: Token) -> Context {
        Context {
            now: self.now(),
            token,
            chain_length: CHAIN_LENGTH,
            given_again_max: 1,
            reseed_wanted: scenario.reseed,
            restores: self.restores,
            resync_all_until: (scenario.resync_all && self.restores > 0).then_some(u64::MAX),
            open: OpenGrant { bytes_present: true, cancelled: false, outranked: false, ended_there: false },
        }
    }

    /// Bytes that no other "prove" has.
    fn token(&self, message: &Up) -> Token {
        let mut token = [0; 16];
        if let Up::Ask(ask) = message {
            token[0] = ask.by as u8;
            token[1] = u8::try_from(self.server.state.proves.len()).unwrap_or(u8::MAX);
            token[2] = u8::try_from(self.restores).unwrap_or(u8::MAX);
            token[8..].copy_from_slice(&ask.nonce.to_be_bytes());
        }
        token
    }

    fn answer(&mut self, scenario: &Scenario, message: &Up, decision: Decision) -> Answered {
        let now = self.now();
        let answer = self.server.change(|server| match message {
            Up::Ask(ask) => server.answer(scenario, now, ask, &decision),
            Up::Tell(tell) => server.receipt(tell, &decision),
        });
        Answered { decision, answer }
    }
}

impl Server {
    fn answer(&mut self, scenario: &Scenario, now: u64, ask: &Ask, decision: &Decision) -> Down {
        let answer = match &decision.reply {
            Reply::Repeat(_) => return self.last.clone().expect("there was an answer"),
            Reply::NewGrant(new) => {
                self.state = decision.granted(new, details(scenario, now, ask.manifest), &[]);
                self.granted(new.place, new.number)
            }
            Reply::HeldGrant { place, number } => {
                self.state = decision.answered(&[]);
                self.granted(*place, *number)
            }
            Reply::Verdict(verdict) => {
                self.state = decision.answered(&[]);
                Down::Verdict(ask.by, ask.nonce, told(*verdict, ask.place))
            }
            Reply::Receipt => panic!("a receipt answers a request"),
        };
        if self.state.last.as_ref().is_some_and(|last| last.request == request(ask).digest) {
            self.last = Some(answer.clone());
        }
        answer
    }

    fn receipt(&mut self, tell: &Tell, decision: &Decision) -> Down {
        match decision.reply {
            Reply::Receipt => self.state = decision.receipted(&report(tell), &[]),
            Reply::Repeat(_) => {}
            _ => panic!("{:?} answers a report", decision.reply),
        }
        Down::Receipt(device::digest(tell))
    }

    fn granted(&self, place: Place, number: u64) -> Down {
        let grant = self.state.grant(place, number).expect("a grant that is given is kept");
        Down::Grant(Granted {
            number,
            place,
            leads_to: grant.leads_to,
            manifest: grant.manifest[0],
            moves: grant.confirm.moment(),
            tells_decrypted: tells_decrypted(grant.confirm),
            go: grant.go,
        })
    }
}

fn told(verdict: key_index::Verdict, place: Place) -> Verdict {
    match verdict {
        key_index::Verdict::Nothing | key_index::Verdict::Later { .. } | key_index::Verdict::Refused(_) => {
            Verdict::No
        }
        key_index::Verdict::Prove(token) => Verdict::Prove(place, token),
        key_index::Verdict::Go { grant } => Verdict::Go(grant),
        key_index::Verdict::Stop { grant } => Verdict::Stop(grant),
        key_index::Verdict::Forward { place, fork, grant } => Verdict::Forward(place, fork, grant),
    }
}

fn details(scenario: &Scenario, now: u64, manifest: u8) -> GrantDetails {
    let contents = vec![Content { component: 0, content: [manifest; 32], installed: [manifest; 32] }];
    GrantDetails {
        contents,
        not_after: now + GRANT_LIFE_S,
        confirm: scenario.confirm,
        shares: None,
        go: scenario.go && scenario.confirm != Confirm::Decrypted,
        message: Vec::new(),
    }
}

fn request(ask: &Ask) -> Request {
    let mut digest = [0; 32];
    digest[0] = match ask.by {
        Party::Original => 0x11,
        Party::Clone => 0x12,
    };
    digest[1..9].copy_from_slice(&ask.nonce.to_be_bytes());
    digest[9..17].copy_from_slice(&ask.fork);
    (digest[17], digest[18], digest[19]) = (ask.manifest, ask.running, u8::from(ask.go.is_some()));
    digest[20..22].copy_from_slice(&ask.place.epoch.to_be_bytes());
    digest[22..24].copy_from_slice(&ask.place.index.to_be_bytes());
    Request {
        place: ask.place,
        counter: ask.counter,
        fork: ask.fork,
        digest,
        manifest: [ask.manifest; 32],
        selector: [ask.running; 32],
        running: vec![(0, [ask.running; 32])],
        echo: ask.echo.map(|token| token.to_vec()),
        keys: None,
        device_share: None,
        go: ask.go,
        clock: None,
        unconfirmed: ask.unconfirmed.map(|(grant, report)| Unconfirmed { grant, report }),
    }
}

pub(crate) fn report(tell: &Tell) -> Report {
    Report {
        place: tell.place,
        grant: tell.grant,
        moment: tell.moment,
        digest: device::digest(tell),
        manifest: [tell.manifest; 32],
    }
}

/// Seeds that a restored server computes from the one that it has.
const EPOCHS_AHEAD: u16 = 2;

const NOW: u64 = 1_795_000_000;

/// Long beside a "prove".
const GRANT_LIFE_S: u64 = 86_400;
