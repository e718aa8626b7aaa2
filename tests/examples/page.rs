//! A fleet with a past, to look at its page and to measure how long that takes.
//!
//! Usage: `page DEVICES [FOLDER]`, with how many devices there shall be, and where to keep pictures of the page. Devices,
//! campaigns and what happened are written into the store of a stopped server; then it starts, and a few real devices
//! take part.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "it stops at the first thing that is not as it must be, and whoever started it reads what it says"
)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use bellwether_decide::alarm::{AlarmKind, Occurrence};
use bellwether_decide::campaign::event::{By, Delivery, Event, EventKind};
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState, Policy, Targets};
use bellwether_decide::device::{Device, Endpoint};
use bellwether_decide::identity::{Confirm, Confirmed, IdentityState, Place};
use bellwether_store::campaign::{Campaigns, Launch};
use bellwether_store::device::{Devices, EnrolledDevice, NewIdentity, Security};
use bellwether_store::ledger::Ledger;
use bellwether_store::operators::{Contact, Operators};
use bellwether_store::{Sealed, SqliteStore, Tenant};
use bellwether_tests::browser::{Browser, Look};
use bellwether_tests::chance::Chance;
use bellwether_tests::fleet::{Fleet, Manifest};
use bellwether_tests::{images, wait};

fn main() {
    let mut words = std::env::args().skip(1);
    let devices: usize =
        words.next().and_then(|word| word.parse().ok()).expect("usage: page DEVICES [FOLDER]");
    let folder = words.next().map(PathBuf::from);
    let mut site = Site::new();
    site.fill(devices);
    site.take_part();
    site.measure();
    if let Some(folder) = folder {
        site.pictures(&folder);
    }
}

/// A class: its name, its share of the fleet in per cent, and its images, the oldest first.
struct Class {
    name: &'static str,
    share: usize,
    images: Vec<Vec<u8>>,
}

struct Site {
    fleet: Fleet,
    classes: Vec<Class>,
    manifests: Vec<Manifest>,
    now: u64,
    chance: Chance,
}

/// A device as it is made up.
struct Made {
    endpoint: Endpoint,
    class: usize,
    added_at: u64,
    /// Which image it runs.
    runs: usize,
}

impl Site {
    fn new() -> Self {
        let fleet = Fleet::start();
        let class = |(seed, (name, share, bytes)): (u32, (&'static str, usize, usize))| {
            let first = images::image(seed, bytes);
            let second = images::next_version(&first);
            let third = images::next_version(&images::next_version(&second));
            let images = vec![first, second.clone(), third.clone(), images::next_version(&third)];
            Class { name, share, images }
        };
        let classes: Vec<Class> = (1..).zip(CLASSES).map(class).collect();
        for class in &classes {
            for (version, image) in VERSIONS.iter().zip(&class.images) {
                fleet.release(class.name, version, image);
            }
        }
        let manifest = |(sequence, version): (u64, &&str)| {
            let images: Vec<(&str, &str)> = classes.iter().map(|class| (class.name, *version)).collect();
            let manifest = fleet.manifest_with(sequence, &images, "");
            fleet.cli.done(&format!("manifest publish {}", manifest.path.display()));
            manifest
        };
        let manifests = (2..).zip(&VERSIONS[1..]).map(manifest).collect();
        for (name, _, _) in BENCH {
            fleet.device(name, "lamp");
        }
        Self { fleet, classes, manifests, now: wait::now(), chance: Chance::new(7) }
    }

    /// Writes devices and their past into the store of the stopped server, and starts it again.
    #[expect(clippy::disallowed_methods, reason = "it tells how long it took")]
    fn fill(&mut self, count: usize) {
        let began = Instant::now();
        self.fleet.server.stop();
        let made = self.made(count);
        let data = self.fleet.server.data().join("bellwether.db");
        let store = wait::soon("an open store", SqliteStore::open(&data)).expect("a store");
        for chunk in made.chunks(5_000) {
            let rows: Vec<_> = chunk.iter().map(|one| self.rows(one)).collect();
            wait::soon("devices", store.add_devices(&Tenant::default(), &rows)).expect("added");
        }
        for campaign in 0..self.manifests.len() {
            self.fill_campaign(&store, &made, campaign);
        }
        let contacts: Vec<Contact> = made.iter().filter_map(|one| self.contact(one)).collect();
        for chunk in contacts.chunks(5_000) {
            wait::soon("contacts", store.put_contacts(&Tenant::default(), chunk)).expect("kept");
        }
        let clone = Occurrence {
            kind: AlarmKind::Clone,
            identity: made[made.len() / 3].endpoint.to_string(),
            address: "198.51.100.7:49152".into(),
            other_address: Some("192.0.2.31:5683".into()),
            cause: "a request at its place has another fork head: two devices share its keys".into(),
            at: self.now - 4_000,
        };
        wait::soon("an alarm", store.raise(&Tenant::default(), &[clone])).expect("raised");
        wait::soon("the end", store.close());
        println!("{count} devices written in {} s", began.elapsed().as_secs());
        self.fleet.server.restart();
    }

    fn made(&mut self, count: usize) -> Vec<Made> {
        let mut made = Vec::with_capacity(count);
        for (class, one) in self.classes.iter().enumerate() {
            for number in 0..count * one.share / 100 {
                let name = format!("{}-{number:05}", one.name);
                let ago = (29 - number % 29) as u64 * DAY_S / 2 + 27 * DAY_S;
                made.push(Made {
                    endpoint: Endpoint::try_from(name.as_str()).expect("a name"),
                    class,
                    added_at: self.now - if number % 5 == 0 { ago / 3 } else { ago },
                    runs: 0,
                });
            }
        }
        for one in &mut made {
            let old_enough = one.added_at < self.now - 21 * DAY_S;
            one.runs = match self.chance.below(100) {
                0..=3 => 0,
                4..=11 if old_enough => 1,
                12..=54 => 2,
                _ => 3,
            };
        }
        made
    }

    fn rows(&self, made: &Made) -> (EnrolledDevice, NewIdentity) {
        let class = &self.classes[made.class];
        let device = EnrolledDevice {
            device: Device {
                endpoint: made.endpoint.clone(),
                class: class.name.into(),
                enabled: true,
                added_at: made.added_at,
            },
            vendor: "example.com".into(),
            security: Security::None,
            link: None,
            retired_at: None,
            credential: 1,
            next_credential: None,
        };
        let index = u16::try_from(made.runs).expect("few");
        let place = Place { epoch: 0, index };
        let mut state = IdentityState::new(0);
        state.place = place;
        if index > 0 {
            let confirmed = Confirmed {
                grant: made.added_at,
                confirm: Confirm::Installed,
                report: [1; 32],
                manifest: self.manifests[made.runs - 1].digest,
                installed: vec![(0, images::digest(&class.images[made.runs]))],
                given_again: 0,
                leads_to: place,
            };
            state.confirmed.insert(Place { epoch: 0, index: index - 1 }, confirmed);
        }
        let identity = NewIdentity {
            id: made.endpoint.clone(),
            chain_length: 1_024,
            seed: Sealed::new(vec![1; 60]),
            links: Sealed::new(vec![1; 540]),
            state,
        };
        (device, identity)
    }

    fn contact(&self, made: &Made) -> Option<Contact> {
        let mut chance = Chance::new(
            u64::from(made.endpoint.as_str().bytes().map(u32::from).sum::<u32>()) * 7 + made.added_at,
        );
        let ago = match chance.below(100) {
            0..=44 => chance.below(300),
            45..=76 => chance.below(3_600),
            77..=91 => chance.below(DAY_S),
            92..=95 => chance.below(7 * DAY_S),
            96..=98 => chance.below(20 * DAY_S),
            _ => return None,
        };
        let heard_at = self.now - ago;
        let address = format!("192.0.2.{}:5683", 1 + ago % 250);
        Some(Contact { endpoint: made.endpoint.clone(), registered_at: heard_at, heard_at, address })
    }

    /// Writes a campaign and what came of it: the last one goes on.
    fn fill_campaign(&mut self, store: &SqliteStore, made: &[Made], nth: usize) {
        let goes_on = nth + 1 == self.manifests.len();
        let launched_at = self.now - [24 * DAY_S, 10 * DAY_S, 20 * 3_600][nth];
        let takes = [9 * DAY_S, 7 * DAY_S, 20 * 3_600 - 60][nth];
        let id = CampaignId(nth as u64 + 1);
        let tenant = Tenant::default();
        let drawn = wait::soon("a number", store.next_campaign_id(&tenant)).expect("a number");
        assert_eq!(drawn, id);
        let policy = Policy {
            in_flight_max: Some(250),
            failure_per_mille_max: 1_000,
            failure_sample_min: 100,
            reseed: false,
            ask_go: false,
        };
        let campaign = Campaign {
            id,
            manifest: self.manifests[nth].digest,
            targets: Targets::All,
            policy,
            launched_at,
            state: CampaignState::Running,
        };
        let targets: Vec<&Made> = made.iter().filter(|one| one.added_at < launched_at).collect();
        let bench: Vec<Endpoint> = BENCH
            .iter()
            .filter(|one| one.2 == nth)
            .map(|one| Endpoint::try_from(one.0).expect("a name"))
            .collect();
        let by = By { who: Some("kim".into()), why: Some("the autumn release".into()), request: None };
        let event = |at, device: Option<&Endpoint>, kind| Event {
            at,
            campaign: Some(id),
            device: device.cloned(),
            kind,
        };
        let targeted = u32::try_from(targets.len() + bench.len()).expect("few");
        let mut events = vec![event(launched_at, None, EventKind::Launched { targeted, by })];
        let class = |one: &Made| EventKind::Targeted { class: self.classes[one.class].name.into() };
        events.extend(targets.iter().map(|one| event(launched_at, Some(&one.endpoint), class(one))));
        events.extend(
            bench
                .iter()
                .map(|one| event(launched_at, Some(one), EventKind::Targeted { class: "lamp".into() })),
        );
        let launch = Launch { campaign: &campaign, events: &events, command: None };
        wait::soon("a launch", store.launch(&Tenant::default(), launch)).expect("launched");

        let mut happened = Vec::new();
        for one in targets {
            happened.extend(self.past(one, &campaign, (takes, goes_on)));
        }
        happened.sort_by_key(|event| event.at);
        for chunk in happened.chunks(5_000) {
            wait::soon("events", store.append(&Tenant::default(), chunk)).expect("written");
        }
    }

    /// What befell one device in a campaign, which takes so long and goes on or not.
    fn past(&mut self, one: &Made, campaign: &Campaign, (takes, goes_on): (u64, bool)) -> Vec<Event> {
        let nth = usize::try_from(campaign.id.0 - 1).expect("few");
        let launched_at = campaign.launched_at;
        let mut happened = Vec::new();
        let step = self.chance.below(1_000);
        // Few at first, many in the middle, few at last.
        let (a, b) = (self.chance.below(takes), self.chance.below(takes));
        let at = launched_at + u64::midpoint(a, b);
        let base = images::digest(&self.classes[one.class].images[one.runs.min(nth)]);
        let grant = launched_at + 1;
        let mut say = |after: u64, kind| {
            let at = (at + after).min(self.now - 30);
            happened.push(Event {
                at,
                campaign: Some(campaign.id),
                device: Some(one.endpoint.clone()),
                kind,
            });
        };
        let delivery = Delivery::Delta { base, algorithm: 1 };
        let given = EventKind::Resolved { delivery, grant, content: [2; 32], bytes: 6_000 + step * 9 };
        if one.runs > nth {
            say(0, EventKind::Offered);
            say(9, given);
            say(70, EventKind::Decrypted { grant });
            say(95, EventKind::Installed { grant });
        } else if !goes_on || step < 30 {
            say(0, EventKind::Offered);
            match step % 9 {
                0..=3 => {
                    say(9, given);
                    say(
                        80,
                        EventKind::Failed {
                            grant,
                            reason: "the new image failed its self-test and was rolled back".into(),
                        },
                    );
                }
                4..=6 => say(
                    3,
                    EventKind::Refused {
                        reason: "it has no room for the image, and applies no delta".into(),
                    },
                ),
                _ => say(
                    3,
                    EventKind::Failed { grant: 0, reason: "its battery is too low for an update".into() },
                ),
            }
        } else if step < 90 {
            say(takes, EventKind::Offered);
            if step < 80 {
                say(takes, given);
            }
            if step < 50 {
                say(takes, EventKind::Decrypted { grant });
            }
        }
        happened
    }

    /// Lets real devices ask, so that deltas are made.
    fn take_part(&mut self) {
        let lamp = &self.classes[0].images;
        for (name, runs, nth) in BENCH {
            let unit = self.fleet.folder().join(format!("{name}.unit"));
            let image = images::digest(&lamp[runs]);
            let coaps = self.fleet.server.coaps();
            let mut device = bellwether_tests::raw_device::RawDevice::switch_on(coaps, &unit, "lamp", image);
            let granted = device.granted_soon(&self.manifests[nth].digest);
            device.install(&granted, images::digest(&lamp[nth + 1]));
        }
        self.fleet.cli.done("device tag add hall=north bench-1 bench-2 lamp-00100");
    }

    /// Says how long pages take, from the request to the last byte.
    fn measure(&self) {
        let visit = Visit::new(&self.fleet);
        self.wait_counted(&visit);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("load of the machine: {}", load.trim());
        println!("{:<34} {:>9} {:>9} {:>9} {:>9}", "page", "bytes", "first ms", "median", "worst");
        for path in [
            "/fleet",
            "/fleet?q=meter-01",
            "/fleet?tag=hall%3Dnorth",
            "/campaigns",
            "/campaigns/3",
            "/campaigns/3?of=failed",
            "/devices/lamp-00100",
            "/releases",
            "/releases/lamp/app/2.0.1",
        ] {
            let (first, bytes) = visit.time(path);
            let mut times: Vec<f64> = (0..ROUNDS).map(|_| visit.time(path).0).collect();
            times.sort_by(f64::total_cmp);
            println!(
                "{path:<34} {bytes:>9} {first:>9.1} {:>9.1} {:>9.1}",
                times[ROUNDS / 2],
                times[ROUNDS - 1]
            );
        }
    }

    /// Waits until what the ledger tells is counted.
    fn wait_counted(&self, visit: &Visit) {
        let newest = format!("{}: ", VERSIONS[3]);
        let look = || {
            let page = visit.get("/fleet");
            (page.contains(&newest) && page.contains("not told yet")).then_some(())
        };
        wait::until("a count", wait::LONG * 10, look, || self.fleet.server.tail());
    }

    fn pictures(&self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder");
        let browser = Browser::start();
        let base = format!("http://{}", self.fleet.server.http_address());
        let manifest = format!("/manifests/{}", hex::encode(self.manifests[2].digest));
        browser.look(WIDE);
        browser.go(&base);
        browser.picture(&folder.join("login-wide-light.png"));
        browser.fill("#token", &self.fleet.server.token());
        browser.fill("#who", "kim");
        browser.press("form[action='/login'] button");
        browser.wait_text("h1", "Fleet");
        let release = format!("/releases/lamp/app/{}", VERSIONS[2]);
        let pages: [Pictured<'_>; 6] = [
            (
                "/fleet?span=month",
                "fleet",
                &[("wide-light", WIDE), ("wide-dark", dark(WIDE)), ("narrow-light", NARROW)],
            ),
            (
                "/campaigns/3?of=failed",
                "campaign",
                &[("wide-light", WIDE), ("wide-dark", dark(WIDE)), ("narrow-dark", dark(NARROW))],
            ),
            ("/devices/bench-1", "device", &[("wide-light", WIDE), ("narrow-dark", dark(NARROW))]),
            ("/releases", "releases", &[("wide-light", WIDE), ("narrow-dark", dark(NARROW))]),
            (&release, "release", &[("wide-light", WIDE), ("narrow-dark", dark(NARROW))]),
            (&manifest, "manifest", &[("wide-dark", dark(WIDE))]),
        ];
        for (path, name, looks) in pages {
            for (kind, look) in looks {
                browser.look(*look);
                browser.go(&format!("{base}{path}"));
                browser.picture(&folder.join(format!("{name}-{kind}.png")));
            }
        }
        let complaints = browser.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

/// A page: its path, the name of its pictures, and how they are taken.
type Pictured<'a> = (&'a str, &'a str, &'a [(&'a str, Look)]);

/// Somebody who is logged in, without a browser.
struct Visit {
    client: reqwest::Client,
    base: String,
    cookie: String,
}

impl Visit {
    fn new(fleet: &Fleet) -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let client = client.build().expect("a client");
        let base = format!("http://{}", fleet.server.http_address());
        let request = client.post(format!("{base}/login")).header("origin", &base);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = request.body(format!("token={}", fleet.server.token()));
        let response = wait::soon("a login", request.send()).expect("an answer");
        let cookie = response.headers()["set-cookie"].to_str().expect("text");
        let cookie = cookie.split(';').next().expect("a cookie").to_owned();
        Self { client, base, cookie }
    }

    fn get(&self, path: &str) -> String {
        let request = self.client.get(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        wait::soon(path, async { request.send().await?.error_for_status()?.text().await }).expect("a page")
    }

    #[expect(clippy::disallowed_methods, reason = "it measures")]
    fn time(&self, path: &str) -> (f64, usize) {
        let began = Instant::now();
        let bytes = self.get(path).len();
        (began.elapsed().as_secs_f64() * 1e3, bytes)
    }
}

const fn dark(look: Look) -> Look {
    Look { dark: true, ..look }
}

const WIDE: Look = Look { width: 1_280, height: 1_000, dark: false };
const NARROW: Look = Look { width: 390, height: 844, dark: false };
const CLASSES: [(&str, usize, usize); 4] =
    [("lamp", 46, 180_000), ("meter", 34, 96_000), ("lock", 14, 64_000), ("pump", 6, 220_000)];
const VERSIONS: [&str; 4] = ["1.4.2", "2.0.0", "2.0.1", "2.1.0"];
/// Real devices: name, which image they run, and in which campaign.
const BENCH: [(&str, usize, usize); 6] = [
    ("bench-1", 0, 0),
    ("bench-2", 0, 1),
    ("bench-3", 1, 1),
    ("bench-4", 0, 2),
    ("bench-5", 1, 2),
    ("bench-6", 2, 2),
];
const DAY_S: u64 = 86_400;
const ROUNDS: usize = 31;
