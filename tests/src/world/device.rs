//! A device: the real agent on the real update core, with a chip whose power can be cut.
//!
//! What is here is its shell: boot loader, self-test, links and clock, as the device's Linux shell has them. A device
//! that is cut off from power comes back by itself after a while.

mod link;
mod seen;
mod session;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bellwether_agent::agent::{Agent, Config};
use bellwether_agent::delta::Algorithm;
use bellwether_agent::keys::unit::UnitData;
use bellwether_agent::manifests::anchors::Anchors;
use bellwether_agent::manifests::cose::P256;
use bellwether_agent::platform::Flash;
use bellwether_agent::update::anchors::ANCHORS_BYTES_MAX;
use bellwether_agent::update::boot::{BootError, BootState, BootStore, Image, Slot};
use bellwether_agent::update::bounded::Bounded;
use bellwether_agent::update::record::{Record, RecordStore};
use bellwether_agent::update::trial::{self, Selected};
use bellwether_agent::update::{Facts, Memory, ShareOffer, UpdateError, Updater, Work};
use bellwether_manifests::author::{class_id, vendor_id};
use bellwether_net::Machine;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::sleep;

pub use seen::{At, Digest, Receipted, Seen};
use session::{DeviceDice, Session};

use super::desk::running;
use super::dice::Dice;
use super::flash::{Chip, PowerCut};
use super::network::Network;
use super::trace::Trace;

/// What a device is.
#[derive(Clone, Debug)]
pub struct Make {
    /// Its name in traces; that of its identity is in the unit file, and a clone's is the same.
    pub name: String,
    /// The unit file.
    pub unit: Vec<u8>,
    /// Vendor's domain.
    pub vendor: String,
    /// Class.
    pub class: String,
    /// Its components: 1, or 2.
    pub components: usize,
    /// Whether it uses the gateway of its unit file.
    pub behind_gateway: bool,
    /// Whether it applies deltas.
    pub patches: bool,
    /// When it sends its share for the next seed.
    pub share_offer: ShareOffer,
    /// Whether every image but the factory's fails its self-test.
    pub self_test_fails: bool,
    /// Seconds since 1970 at which it was made.
    pub made: u64,
    /// Lifetime of its registration.
    pub lifetime_s: u32,
    /// How long it listens after an exchange, where it is in queue mode: then it sleeps, and hears nothing.
    pub awake: Option<Duration>,
    /// Jumps of its clock: when, and by how much ahead.
    pub clock_steps: Vec<(tokio::time::Instant, Duration)>,
}

/// What a device stands in.
#[derive(Clone)]
pub struct Surroundings {
    /// Opens its sockets.
    pub machine: Arc<dyn Machine>,
    /// The network, to pull the plug with.
    pub network: Network,
    /// Where everything is written down.
    pub trace: Trace,
    /// Its address.
    pub ip: IpAddr,
}

/// A device with its chip.
pub struct Device {
    /// What it is.
    pub make: Make,
    /// Its flash.
    pub chip: Chip,
    surroundings: Surroundings,
    factory_image: Digest,
    dice: Mutex<Dice>,
    seen: Mutex<Seen>,
    locals: Mutex<Vec<SocketAddr>>,
    ports: AtomicU16,
    power_cut: Notify,
}

/// How a boot ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    Reboot,
    PowerCut,
}

/// Why a boot could not go on.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Boot(#[from] BootError<PowerCut>),
    #[error(transparent)]
    Update(#[from] UpdateError<PowerCut>),
}

impl Device {
    /// Makes a device with the first image of each of its components, as the factory does.
    pub fn make(
        make: Make,
        version: &str,
        images: &[Vec<u8>],
        slot_bytes: usize,
        surroundings: Surroundings,
        dice: Dice,
    ) -> Self {
        let mut dice = dice;
        let mut chip = Chip::new(slot_bytes, dice.fork());
        flash(&mut chip, &make, version, images);
        let digests: Vec<Digest> = images.iter().map(|image| Sha256::digest(image).into()).collect();
        Self::with_chip(make, chip, running(&digests), surroundings, dice)
    }

    /// Copies a device, key and flash, to another address.
    #[must_use]
    pub fn clone_at(&self, name: &str, surroundings: Surroundings, dice: Dice) -> Self {
        let mut dice = dice;
        let chip = self.chip.copy(dice.fork());
        let make = Make { name: name.to_owned(), ..self.make.clone() };
        Self::with_chip(make, chip, self.factory_image, surroundings, dice)
    }

    fn with_chip(
        make: Make,
        chip: Chip,
        factory_image: Digest,
        surroundings: Surroundings,
        dice: Dice,
    ) -> Self {
        Self {
            make,
            chip,
            surroundings,
            factory_image,
            dice: Mutex::new(dice),
            seen: Mutex::default(),
            locals: Mutex::default(),
            ports: AtomicU16::new(FIRST_PORT),
            power_cut: Notify::new(),
        }
    }

    /// Lives until its task is dropped.
    ///
    /// # Panics
    ///
    /// Where it cannot go on with power: a bug of the agent.
    pub async fn live(&self) {
        let unit = UnitData::decode(&self.make.unit).expect("a unit file");
        loop {
            match self.boot(&unit).await {
                Ok(Ended::Reboot) => {}
                Ok(Ended::PowerCut) => self.stay_dark().await,
                Err(_) if !self.chip.is_on() => self.stay_dark().await,
                Err(error) => panic!("{} cannot go on: {error:?}", self.make.name),
            }
            let pause = self.dice().between(REBOOT_LEAST_MS, REBOOT_MOST_MS);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Cuts its power, whatever it does; it comes back by itself.
    pub fn cut_power(&self) {
        self.chip.cut();
        self.unplug();
        self.power_cut.notify_one();
    }

    /// Gives what was seen of it so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the digest of the image that it left the factory with.
    pub fn factory_image(&self) -> Digest {
        self.factory_image
    }

    /// Gives the addresses that its links are bound to now.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.locals().clone()
    }

    fn locals(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.locals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn stay_dark(&self) {
        self.unplug();
        let dark = self.dice().between(DARK_LEAST_MS, DARK_MOST_MS);
        self.note(&format!("power is cut for {dark} ms after {} steps of flash", self.chip.steps()));
        sleep(Duration::from_millis(dark)).await;
        self.chip.power_on();
    }

    fn unplug(&self) {
        for local in self.addresses() {
            self.surroundings.network.unplug(local);
        }
    }

    async fn boot(&self, unit: &UnitData<'_>) -> Result<Ended, Failed> {
        let mut chip = self.chip.clone();
        let Some(selected) = self.load(&mut chip).await? else { return Ok(Ended::Reboot) };
        let servers: Vec<&str> = unit.servers.iter().collect();
        let facts = self.facts(unit, &servers);
        let dice = DeviceDice(self.dice().fork());
        let mut memory = Box::new(Memory::<[u8; ANCHORS_BYTES_MAX]>::new());
        let updater = Updater::start(&mut chip, dice, facts, &mut *memory, Duration::ZERO)?;
        self.seen().record_at_boot(updater.record());
        let (image, place) = (selected.image(0).map_or("", Image::version_text), updater.record().place);
        self.note(&format!("booted {image} at {place:?}"));
        if updater.work() == Work::Reboot {
            return Ok(Ended::Reboot);
        }
        let agent = Agent::new(updater, self.config());
        Ok(Box::pin(Session::new(self, unit, agent).run()).await?)
    }

    /// The boot loader: `None` after a trial that was rolled back.
    async fn load(&self, chip: &mut Chip) -> Result<Option<Selected>, Failed> {
        let selected = trial::select(chip)?;
        self.seen().boot(&selected);
        if !selected.on_trial {
            return Ok(Some(selected));
        }
        sleep(SELF_TEST).await;
        if self.make.self_test_fails && seen::image_of(&selected) != self.factory_image {
            self.note(&"self-test failed");
            self.seen().self_tests_failed += 1;
            trial::roll_back(chip)?;
            return Ok(None);
        }
        trial::confirm(chip)?;
        self.seen().confirm(seen::image_of(&selected));
        Ok(Some(selected))
    }

    fn facts<'a>(&'a self, unit: &UnitData<'a>, servers: &'a [&'a str]) -> Facts<'a> {
        let vendor = vendor_id(&self.make.vendor);
        Facts {
            id: unit.id,
            vendor,
            class: class_id(&vendor, &self.make.class),
            patch_algorithms: if self.make.patches { &PATCHES } else { &[] },
            servers,
            built: self.make.made,
            anchors: Anchors::initial(unit.anchors).expect("anchors in the unit file"),
            signatures: &P256,
            share_offer: self.make.share_offer,
            components: &COMPONENTS[..self.make.components],
        }
    }

    /// What the Linux shell makes of CoAP's own first timeout.
    fn config(&self) -> Config {
        let unit = UnitData::decode(&self.make.unit).expect("a unit file");
        Config {
            endpoint: unit.id.to_owned(),
            lifetime_s: self.make.lifetime_s,
            manufacturer: self.make.vendor.clone(),
            model: self.make.class.clone(),
            waiting_silence: Duration::from_mins(1),
            retry_first: Duration::from_secs(2),
            retry_longest: Duration::from_mins(5),
            gateway: self.make.behind_gateway && unit.gateways.get(0).is_some(),
            hello: Duration::from_mins(1),
            detour: Duration::from_mins(10),
        }
    }

    fn next_port(&self) -> SocketAddr {
        SocketAddr::new(self.surroundings.ip, self.ports.fetch_add(1, Ordering::Relaxed))
    }

    fn note(&self, what: &dyn std::fmt::Display) {
        self.surroundings.trace.note(&self.make.name, what);
    }
}

fn flash(chip: &mut Chip, make: &Make, version: &str, images: &[Vec<u8>]) {
    let unit = UnitData::decode(&make.unit).expect("a unit file");
    let firsts = images.iter().map(|image| Image {
        digest: Sha256::digest(image).into(),
        bytes: u32::try_from(image.len()).expect("a small image"),
        version: Bounded::copy_of(version.as_bytes()).expect("a short version"),
    });
    for (component, image) in images.iter().enumerate() {
        chip.write(Slot::A.region(component), 0, image).expect("power");
    }
    let boot = BootState::factory(firsts);
    BootStore::new().save(chip, &boot).expect("a boot state");
    let record = Record::factory(unit.epoch, unit.seed.clone(), unit.chain_length, make.made);
    RecordStore::new().save(chip, &record).expect("a record");
}

/// As manifests name them, encoded.
static COMPONENTS: [&[u8]; 2] = [b"\x81\x43app", b"\x81\x45radio"];

static PATCHES: [i32; 1] = [Algorithm::FIELDS.0];

/// First port of a device's sockets; each boot takes new ones.
const FIRST_PORT: u16 = 20_000;
const SELF_TEST: Duration = Duration::from_millis(1_500);
const REBOOT_LEAST_MS: u64 = 200;
const REBOOT_MOST_MS: u64 = 3_000;
const DARK_LEAST_MS: u64 = 100;
const DARK_MOST_MS: u64 = 60_000;
