//! One run: sets a world up, lets its plan befall it, waits for the calm, and checks what must be true.

mod budget;
mod events;
mod keeper;
mod operators;
mod people;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bellwether_api::CampaignState;
use bellwether_decide::campaign::event::EventKind;
use bellwether_store::Tenant;
use bellwether_store::campaign::Campaigns as _;
use bellwether_store::device::Devices as _;
use bellwether_store::ledger::Ledger as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use self::keeper::Keeper;
use self::operators::Operators;
use self::people::Population;
use super::desk::Desk;
use super::dice::Dice;
use super::network::{Conditions, Network};
use super::plan::{self, Plan, Role};
use super::properties::{self, End, Launched, Subject};
use super::server::{Server, usual_address};
use super::time::{self, Wall};
use super::trace::{self, Trace};
use super::watch::Watch;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was not as it must be; nothing, where all was.
    pub broken: Vec<String>,
    /// Hash of the whole trace, and its lines.
    pub trace: (u64, u64),
    /// The newest lines of the trace.
    pub tail: Vec<String>,
    /// What the run was about, in numbers.
    pub figures: Figures,
    /// What `explain` tells of the first device.
    pub explained: Vec<String>,
}

/// A run in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Virtual seconds from the launch to the end.
    pub seconds: u64,
    /// Devices, copies not counted.
    pub devices: u64,
    /// Devices that run what the newest campaign brings.
    pub updated: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Crashes of the server and of gateways.
    pub crashes: u64,
    /// Times that an old backup took the place of the server's data base.
    pub restores: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Datagrams that did not arrive.
    pub lost: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Bytes that might have been sent at the most.
    pub bytes_max: u64,
    /// Commits of the store.
    pub commits: u64,
    /// Times that sessions of devices were looked for that slept.
    pub wakings: u64,
    /// When the first campaign was seen finished, and what was sent until then.
    pub finished: Option<Finished>,
}

/// What was sent until a campaign was finished.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finished {
    /// Virtual seconds since the launch, to ten.
    pub seconds: u64,
    /// Bytes that the server sent.
    pub down: u64,
    /// Bytes that were sent to the server.
    pub up: u64,
}

/// Runs a plan, and keeps so many lines of its trace.
pub fn run(plan: &Plan, kept_max: usize) -> Outcome {
    let _listening = people::Panics::listen();
    let mut outcome = time::run(World::live(plan, kept_max));
    outcome.broken.extend(people::Panics::heard());
    outcome
}

/// Everything that is in a run.
struct World<'p> {
    plan: &'p Plan,
    trace: Trace,
    network: Network,
    server: Server,
    desk: Desk,
    people: Population,
    keeper: Keeper,
    watch: Watch,
    tenant: Tenant,
    lives: JoinSet<()>,
    /// Addresses that a translator has lent.
    rebound: usize,
    restores: u64,
    began: Instant,
    finished: Option<Finished>,
}

impl<'p> World<'p> {
    async fn live(plan: &'p Plan, kept_max: usize) -> Outcome {
        let mut world = Self::set_up(plan, kept_max).await;
        let began = trace::now();
        world.began = began;
        let mut operators = Operators::begin(&world.server, &world.desk, plan).await;
        world.people.switch_on(plan, began, &mut world.lives);
        world.network.set_conditions(plan.weather);
        world.befall(began, &mut operators).await;
        world.trace.note(&"world", &"the calm begins");
        world.network.set_conditions(Conditions::CALM);
        world.keeper.calm();
        world.people.calm();
        let unfinished = world.wait_for_the_end(&mut operators).await;
        let seconds = trace::now().duration_since(began).as_secs();
        world.check(operators, unfinished, seconds).await
    }

    async fn set_up(plan: &'p Plan, kept_max: usize) -> Self {
        let trace = Trace::start(kept_max);
        let network = Network::new(plan.seed, Conditions::CALM, Some(trace.clone()));
        let wall = Wall::at(BEGINNING);
        let server = Server::new(usual_address(), &network, &trace, &wall, plan.seed);
        assert!(server.start().await, "the server starts");
        let mut dice = Dice::new(plan.seed, "world");
        let desk = Desk::new(&mut dice, plan.image_bytes, plan.components);
        let core = server.core().expect("a server that runs");
        desk.publish(&core).await;
        let ground = people::Ground { network: network.clone(), trace: trace.clone(), wall, seed: plan.seed };
        let people = Population::enrol(plan, &core, &desk, &ground).await;
        let keeper = Keeper::new(server.clone(), people.gateways.clone());
        let (watch, tenant) = (Watch::default(), Tenant::default());
        Self {
            plan,
            trace,
            network,
            server,
            desk,
            people,
            keeper,
            watch,
            tenant,
            lives: JoinSet::new(),
            rebound: 0,
            restores: 0,
            began: trace::now(),
            finished: None,
        }
    }

    /// Lets everything of the plan happen, and looks on meanwhile.
    async fn befall(&mut self, began: Instant, operators: &mut Operators) {
        let plan = self.plan;
        for (after, happening) in &plan.happenings {
            self.look_until(began + *after).await;
            self.trace.note(&"world", &format!("{happening:?}"));
            self.happen(*happening, operators).await;
        }
        self.look_until(began + plan.storm).await;
    }

    async fn look_until(&mut self, until: Instant) {
        while trace::now() < until {
            sleep_until(until.min(trace::now() + LOOK_EVERY)).await;
            self.look();
        }
    }

    /// Reads the store, where the server has it open.
    fn look(&mut self) {
        let (watch, tenant, names) = (&mut self.watch, &self.tenant, &self.people.names);
        // Where it is down, what it left is read when it is up again.
        let _: Option<()> = self.server.look(async |store| watch.look(store, tenant, names).await);
        let is_finished = || self.watch.ledger.iter().any(|event| event.kind == EventKind::Finished);
        if self.finished.is_none() && is_finished() {
            self.finished = Some(self.sent());
        }
    }

    /// Tells what went to the server and from it so far.
    fn sent(&self) -> Finished {
        let (server, counts) = (plan::server_ip(), self.network.counts());
        let sum = |which: &dyn Fn(&(SocketAddr, SocketAddr)) -> bool| {
            counts.iter().filter(|(pair, _)| which(pair)).map(|(_, count)| count.sent_bytes).sum()
        };
        Finished {
            seconds: trace::now().duration_since(self.began).as_secs(),
            down: sum(&|(from, _)| from.ip() == server),
            up: sum(&|(_, to)| to.ip() == server),
        }
    }

    /// Waits until all has come to its end; tells what has not, where the time is up.
    async fn wait_for_the_end(&mut self, operators: &mut Operators) -> Option<String> {
        let until = trace::now() + CALM_MOST;
        loop {
            sleep(LOOK_EVERY).await;
            self.look();
            let open = self.open(operators).await;
            let Some(open) = open else { break };
            if trace::now() >= until {
                return Some(open);
            }
        }
        // What has ended must stay so.
        self.look_until(trace::now() + LINGER).await;
        self.open(operators).await
    }

    /// Tells what has not come to its end.
    async fn open(&self, operators: &mut Operators) -> Option<String> {
        if let Some(waiting) = operators.waiting() {
            return Some(format!("nobody has answered {waiting}"));
        }
        let shown = self.server.with(async |core| operators.shown(core).await).await;
        let Ok(campaigns) = shown else { return Some("the server is not there".to_owned()) };
        for campaign in &campaigns {
            let is_over = matches!(campaign.state, CampaignState::Finished | CampaignState::Cancelled);
            let open: Vec<_> = campaign
                .devices
                .iter()
                .filter(|row| !is_end(row) && !self.is_copied(&row.endpoint))
                .collect();
            if !is_over && (!open.is_empty() || campaign.devices.iter().all(is_end)) {
                return Some(format!("campaign {} is {:?}: {open:?}", campaign.id, campaign.state));
            }
        }
        let single = self.people.subjects.iter().filter(|subject| !self.is_copied(subject.endpoint.as_str()));
        let owing = single.into_iter().find(|subject| {
            let at = subject.device.seen().at;
            at.is_none_or(|at| at.owes > 0)
        });
        owing.map(|subject| format!("{} owes reports: {:?}", subject.endpoint, subject.device.seen().at))
    }

    /// Tells whether a device is copied: which of the two comes to an end, and how, nobody can say.
    fn is_copied(&self, name: &str) -> bool {
        let mut planned = self.plan.devices.iter().zip(&self.people.subjects);
        planned.any(|(planned, subject)| {
            matches!(planned.role, Role::Copied(_)) && subject.endpoint.as_str() == name
        })
    }

    async fn check(mut self, operators: Operators, unfinished: Option<String>, seconds: u64) -> Outcome {
        let (watch, tenant) = (&mut self.watch, &self.tenant);
        self.server.look(async |store| watch.look_back(store, tenant).await);
        let shown = self.server.with(async |core| operators.shown(core).await).await.unwrap_or_default();
        let campaigns: Vec<Launched> = shown
            .into_iter()
            .map(|shown| Launched { target: target_of(&shown.manifest, &operators), shown })
            .collect();
        let commands = self.commands(&operators);
        let signed: BTreeSet<_> = self.desk.images.keys().map(|version| self.desk.digest(version)).collect();
        let mut subjects = Vec::new();
        for (planned, subject) in self.plan.devices.iter().zip(&self.people.subjects) {
            subjects.push(self.subject(planned, subject).await);
        }
        let alarms =
            self.server.look(async |store| store.alarms(&self.tenant, None, 100).await.expect("the store"));
        let restores = self.server.with(async |core| core.restores().count).await.unwrap_or_default();
        let end = End {
            plan: self.plan,
            restores,
            subjects,
            campaigns,
            watch: &self.watch,
            signed: &signed,
            commands,
            alarms: alarms.unwrap_or_default(),
            unfinished,
            counts: self.network.counts(),
            bytes_max: self.bytes_max(seconds),
        };
        let broken = properties::check(&end);
        let figures = self.figures(&end, seconds);
        let (trace, tail) = (self.trace.hash(), self.trace.tail());
        self.lives.shutdown().await;
        self.server.crash().await;
        let explained = end.subjects.into_iter().next().map(|subject| subject.explained).unwrap_or_default();
        Outcome { broken, trace, tail, figures, explained }
    }

    /// Looks up each command that was answered with success.
    fn commands(&self, operators: &Operators) -> Vec<(String, bool)> {
        let known = |id: &String| {
            let looked =
                self.server.look(async |store| store.command(&self.tenant, id).await.expect("the store"));
            (id.clone(), looked.flatten().is_some())
        };
        operators.acknowledged().iter().map(known).collect()
    }

    async fn subject<'w>(&self, planned: &'w plan::DevicePlan, subject: &people::Subject) -> Subject<'w> {
        let name = &subject.endpoint;
        let identity =
            self.server.look(async |store| store.identity(&self.tenant, name).await.expect("the store"));
        let explained = self.server.with(async |core| core.explain(name.as_str()).await).await;
        let explained = explained.ok().and_then(Result::ok).map(|told| told.lines).unwrap_or_default();
        let copy = subject.copy();
        Subject {
            plan: planned,
            endpoint: name.clone(),
            seen: subject.device.seen().clone(),
            copied_with: copy.as_ref().map(|(_, with)| with.clone()).unwrap_or_default(),
            copy: copy.map(|(copy, _)| copy.seen().clone()),
            identity: identity.flatten().map(|identity| identity.state),
            explained,
        }
    }

    fn figures(&self, end: &End<'_>, seconds: u64) -> Figures {
        let wanted = end.campaigns.last().map(|campaign| campaign.target);
        let updated =
            end.subjects.iter().filter(|subject| Some(subject.seen.running) == wanted).count() as u64;
        let sum = |of: fn(&super::network::Count) -> u64| end.counts.values().map(of).sum();
        Figures {
            seconds,
            devices: end.subjects.len() as u64,
            updated,
            cuts: self.people.subjects.iter().map(|subject| subject.device.chip.cuts()).sum(),
            crashes: self.keeper.crashes(),
            restores: self.restores,
            datagrams: sum(|count| count.sent),
            lost: sum(|count| count.lost),
            bytes: sum(|count| count.sent_bytes),
            bytes_max: end.bytes_max,
            commits: self.server.commits().count(),
            wakings: self.server.commits().wakings(),
            finished: self.finished,
        }
    }
}

fn is_end(row: &bellwether_api::CampaignDevice) -> bool {
    use bellwether_api::DeviceOutcome as At;
    matches!(row.outcome, At::Installed | At::Failed | At::Refused | At::NothingToDo)
}

/// Seconds since 1970 at which every world begins.
const BEGINNING: u64 = 1_800_000_000;

/// How often the store is read.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Time after the last happening in which all must end: the longest wait of a device is five minutes, the longest detour
/// around a gateway ten, a grant lives an hour, and a registration is noticed dead within its lifetime of at most fifteen; several of them may
/// follow one another.
const CALM_MOST: Duration = Duration::from_hours(3);

/// Time in which what has ended must stay so.
const LINGER: Duration = Duration::from_mins(5);

/// The image that a manifest of ours is for.
fn target_of(manifest: &str, operators: &Operators) -> super::device::Digest {
    let signed = operators.manifests.iter().find(|signed| hex::encode(signed.digest) == manifest);
    signed.expect("a manifest of ours").target
}
