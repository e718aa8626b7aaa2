//! A whole fleet of real processes, of which one after the other is killed with SIGKILL: server, gateway or device, after
//! a random time or right after it said something; at work are campaigns, an operator, and a device that keeps every
//! receipt. `KILLS` says how many (10), `SEED` who and when.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::thread;

use bellwether_api::{Campaign, CampaignState, Device, DeviceOutcome};
use bellwether_net::coap::Code;
use bellwether_tests::agent::Agent;
use bellwether_tests::chance::Chance;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::images;
use bellwether_tests::mqtt::{Login, Mqtt};
use bellwether_tests::raw_device::{Identity, RawDevice};
use bellwether_tests::site::Site;
use serde_json::json;

use super::server_killed::{Kept, go_through};

#[test]
fn killed_fleet_loses_nothing_acknowledged_and_every_device_ends_updated() {
    let kills = kills();
    let mut chance = Chance::told();
    let mut done = 0;
    while done < kills {
        let mut town = Town::build();
        while done < kills && town.version < VERSIONS_MAX {
            done += town.campaign(&mut chance, kills - done);
            println!("{done} of {kills} kills: {:?}", town.killed);
        }
        town.end();
    }
}

#[expect(clippy::disallowed_methods, reason = "`make soak` asks for more kills by the environment")]
fn kills() -> usize {
    std::env::var("KILLS").map_or(10, |text| text.parse().expect("KILLS is a number"))
}

/// Who is killed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Who {
    Server,
    Gateway,
    Agent(usize),
}

/// Everything that runs, and what was acknowledged.
struct Town {
    site: Site,
    agents: Vec<Agent>,
    /// What the devices that keep receipts were, one after each campaign.
    keeper: Option<Identity>,
    kept: Kept,
    /// Devices whose enrolment was acknowledged.
    enrolled: Vec<String>,
    /// Devices whose block was acknowledged.
    blocked: Vec<String>,
    asked: usize,
    /// Campaigns that were acknowledged, with the request that asked for them.
    launched: Vec<String>,
    /// Version that everyone is being brought to.
    version: u64,
    /// Highest place that the server has shown of each device.
    places: BTreeMap<String, (u16, u16)>,
    killed: BTreeMap<Who, usize>,
}

impl Town {
    fn build() -> Self {
        let site = Site::of_server(IMAGE_BYTES, &["--mqtt-listen", "127.0.0.1:0"]);
        let fleet = &site.meters.fleet;
        let direct = |name| Agent::make_without_patches(fleet, name, "meter", "1.0", "microcontroller");
        let mut agents =
            vec![direct("direct-1"), direct("direct-2"), site.agent("behind-1"), site.agent("behind-2")];
        let unit = fleet.device("keeper", "meter");
        let keeper = Identity::from_factory(&unit, "meter", images::digest(&site.meters.old));
        agents.iter_mut().for_each(switch_on);
        Self {
            site,
            agents,
            keeper: Some(keeper),
            kept: Kept::new(),
            enrolled: Vec::new(),
            blocked: Vec::new(),
            asked: 0,
            launched: Vec::new(),
            version: 2,
            places: BTreeMap::new(),
            killed: BTreeMap::new(),
        }
    }

    fn fleet(&self) -> &Fleet {
        &self.site.meters.fleet
    }

    /// Brings everyone to the next version while processes are killed, at most `most`; gives how many were.
    fn campaign(&mut self, chance: &mut Chance, most: usize) -> usize {
        self.version += 1;
        let (manifest, image) = self.site.meters.version(self.version, "");
        let devices = ["direct-1", "direct-2", "behind-1", "behind-2", "keeper"];
        let words = format!("--device {} --request-id once-{}", devices.join(" --device "), self.version);
        let id = self.fleet().launch(&manifest, &words);
        let keeper = self.keep(manifest.digest);
        self.block();
        let kills = most.min(KILLS_PER_CAMPAIGN);
        for _ in 0..kills {
            let who = self.choose(chance);
            let log = self.log(who).to_owned();
            let operator = self.operate();
            chance.moment(MOMENT_MS, &log);
            self.kill(who);
            self.enrolled.extend(operator.join().expect("the operator came through"));
            self.compare(&id);
        }
        assert_eq!(self.fleet().launch(&manifest, &words), id, "an acknowledged campaign is launched twice");
        self.launched.push(id.clone());
        let (mut device, kept) = keeper.join().expect("the device that keeps receipts came through");
        device.identity.runs = image;
        self.keeper = Some(device.identity);
        self.kept.extend(kept);
        self.wait_updated(&id);
        kills
    }

    /// Who is killed next: the server and the gateway as often as all devices.
    fn choose(&self, chance: &mut Chance) -> Who {
        match chance.below(3) {
            0 => Who::Server,
            1 => Who::Gateway,
            _ => Who::Agent(chance.index(self.agents.len())),
        }
    }

    fn log(&self, who: Who) -> &Path {
        match who {
            Who::Server => self.fleet().server.log(),
            Who::Gateway => self.site.gateway.log(),
            Who::Agent(number) => self.agents[number].log(),
        }
    }

    fn kill(&mut self, who: Who) {
        *self.killed.entry(who).or_default() += 1;
        match who {
            Who::Server => self.site.meters.fleet.kill_and_restart(),
            Who::Gateway => self.site.gateway.kill_and_restart(),
            Who::Agent(number) => {
                self.agents[number].kill9();
                switch_on(&mut self.agents[number]);
            }
        }
    }

    /// A device that goes through the campaign by hand and keeps what it is told.
    fn keep(&mut self, manifest: [u8; 32]) -> thread::JoinHandle<(RawDevice, Kept)> {
        let address = self.fleet().server.coaps();
        let identity = self.keeper.take().expect("it is here between campaigns");
        let device = RawDevice::with(address, identity);
        thread::spawn(move || go_through(device, address, &manifest, &AtomicUsize::new(0)))
    }

    /// An operator who enrols a device while somebody is killed; gives its name if that was acknowledged.
    fn operate(&mut self) -> thread::JoinHandle<Option<String>> {
        let http = self.fleet().server.http();
        self.asked += 1;
        let name = format!("extra-{}", self.asked);
        let body = json!({"endpoint": name, "class": "other"});
        thread::spawn(move || {
            let answer = http.try_post("/v1/devices", &body);
            answer.filter(|answer| answer.status == 200).map(|_| name)
        })
    }

    /// Blocks a device by MQTT; acknowledged when this returns.
    fn block(&mut self) {
        let name = format!("blocked-{}", self.version);
        self.fleet().enrol(&name, "other");
        let mut mqtt = Mqtt::connect(&Login::embedded(self.fleet().server.data()), &name);
        let order = json!({"request_id": name, "endpoint": name, "why": "a test", "until": BLOCKED_UNTIL});
        let reply = mqtt.ask_by_id("bellwether/v1/default/commands/devices/block", &order);
        assert_eq!(reply["ok"]["endpoint"], name.as_str(), "{reply:#}");
        self.blocked.push(name);
    }

    /// Holds what the server knows against what it knew and acknowledged before.
    fn compare(&mut self, campaign: &str) {
        for agent in &self.agents {
            let Device { epoch, index, .. } = self.fleet().show(&agent.name);
            let before = self.places.insert(agent.name.clone(), (epoch, index));
            assert!(before.is_none_or(|before| before <= (epoch, index)), "{} went back", agent.name);
        }
        let shown: Campaign = self.fleet().campaign(campaign);
        assert!(shown.devices.iter().all(|device| device.outcome != DeviceOutcome::Failed), "{shown:#?}");
        if let Some(name) = self.enrolled.last() {
            assert_eq!(self.fleet().show(name).class, "other", "{name} was acknowledged");
        }
        if let Some(name) = self.blocked.last() {
            assert_eq!(self.fleet().show(name).blocked_until, Some(BLOCKED_UNTIL), "{name} was acknowledged");
        }
    }

    /// Every device ends updated, once, and nobody is suspected.
    fn wait_updated(&self, campaign: &str) {
        let fleet = self.fleet();
        for agent in &self.agents {
            fleet.wait_outcome(campaign, &agent.name, DeviceOutcome::Installed);
            let version = format!("{}.0", self.version);
            agent.wait_status("the new version", |status| status["running"]["version"] == version.as_str());
            let index = u64::from(fleet.show(&agent.name).index);
            assert_eq!(index, self.version - 2, "{} was not updated once for each campaign", agent.name);
            assert!(fleet.alarms(&agent.name).is_empty(), "{:?}", fleet.alarms(&agent.name));
        }
        let ended = fleet.wait_state(campaign, CampaignState::Finished);
        assert_eq!(ended.classes[0].installed, 5, "{ended:#?}");
    }

    /// Nothing that was acknowledged is lost, and nothing is left over.
    fn end(mut self) {
        for name in &self.enrolled {
            assert_eq!(self.fleet().show(name).class, "other", "{name} was acknowledged");
        }
        for name in &self.blocked {
            assert_eq!(self.fleet().show(name).blocked_until, Some(BLOCKED_UNTIL), "{name} was acknowledged");
        }
        for campaign in &self.launched {
            assert_eq!(self.fleet().campaign(campaign).state, CampaignState::Finished);
        }
        let identity = self.keeper.take().expect("it is here between campaigns");
        let keeper = RawDevice::with(self.fleet().server.coaps(), identity);
        for (report, receipt) in &self.kept {
            let again = keeper.line.send_report(report);
            assert_eq!((again.code, &again.payload), (Code::CHANGED, receipt), "a receipt is lost");
        }
        drop(keeper);
        self.agents.iter_mut().for_each(Agent::kill9);
        // A start clears up behind the last kill.
        self.site.gateway.kill_and_restart();
        assert!(self.site.gateway.stop().success());
        self.site.meters.fleet.kill_and_restart();
        assert!(self.site.meters.fleet.server.stop().success());
        let said = [self.fleet().server.said(), self.site.gateway.said()].join("\n");
        assert!(!said.contains("panicked"), "{said}");
        self.nothing_is_left_over();
    }

    fn nothing_is_left_over(&self) {
        let data = self.fleet().server.data();
        let left: Vec<_> = names(data).into_iter().filter(|name| !KEPT.contains(&name.as_str())).collect();
        assert!(left.is_empty(), "{left:?} is left in {}", data.display());
        // A stop in the middle of a look at the disk leaves its one file to the first look after the next start.
        for folder in names(&data.join("images")).into_iter().filter(|name| name != "probe") {
            for name in names(&data.join("images").join(&folder)) {
                let bytes = fs::read(data.join("images").join(&folder).join(&name)).expect("an image");
                assert_eq!(name, hex::encode(images::digest(&bytes)), "an image is not what its name says");
            }
        }
        let left = self.site.stored().into_iter().map(|(path, _)| path);
        let left: Vec<_> = left.filter(|path| path.extension().is_some_and(|end| end == "new")).collect();
        assert!(left.is_empty(), "{left:?}");
        let beside = names(self.fleet().folder());
        let left: Vec<_> = beside.iter().filter(|name| name.starts_with('.')).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("everything is kept in {}", self.site.meters.fleet.keep_folder().display());
        }
    }
}

fn switch_on(agent: &mut Agent) {
    // One that has nothing to do notices a server without its session at its next sign of life.
    agent.switch_on(&["--ack-timeout-ms", "60", "--lifetime-s", "10"]);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What a server's folder has in it after a stop.
const KEPT: [&str; 8] = [
    "bellwether.db",
    "connection-ids.key",
    "http-watch.token",
    "http.token",
    "images",
    "listening.json",
    "master.key",
    "mqtt.json",
];

/// Two kinds of a meter's images: 60 frames, a transfer of a second or two.
const IMAGE_BYTES: usize = 60_000;

/// Kills while one campaign is under way.
const KILLS_PER_CAMPAIGN: usize = 5;

/// Versions after which a new town is built, so that a long run is no run on one large database alone.
const VERSIONS_MAX: u64 = 11;

/// Long after any test.
const BLOCKED_UNTIL: u64 = 9_000_000_000;

/// Longest wait for a moment: by then a campaign of this size is through.
const MOMENT_MS: u64 = 900;
