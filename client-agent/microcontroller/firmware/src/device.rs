//! One boot: settings, self-test, update core, agent.

use crate::HEAP_BYTES;
use crate::line::Line;
use crate::session::{DeviceAgent, Ended, Session};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use bellwether_agent::agent::{Agent, Config};
use bellwether_agent::delta::Algorithm;
use bellwether_agent::keys::unit::UnitData;
use bellwether_agent::manifests::anchors::Anchors;
use bellwether_agent::manifests::cose::P256;
use bellwether_agent::update::boot::{BootStore, Trial};
use bellwether_agent::update::facts::APP;
use bellwether_agent::update::{Facts, Memory, ShareOffer, Updater, trial};
use bellwether_board::chip::{self, BoardChip, Phase};
use bellwether_board::clock::Clock;
use bellwether_board::console::{Said, say};
use bellwether_board::ethernet::Lan9118;
use bellwether_board::layout::SETTINGS;
use bellwether_board::metal::heap::Counted;
use bellwether_board::noise::HostNoise;
use bellwether_board::nor::Nor;
use bellwether_board::settings::{HEAD_BYTES, Settings, bytes_of};
use core::time::Duration;

/// Why the device cannot go on, for whoever watches.
pub(crate) type Fault = &'static str;

/// Boots and works until the board is to be restarted or switched off.
pub(crate) fn run(heap: &Counted<HEAP_BYTES>) -> Result<Ended, Fault> {
    let Some((session, network_bytes)) = set_up(heap, memory())? else {
        return Ok(Ended::Reboot);
    };
    // Nothing is given back at the end of a boot.
    let ended = Box::leak(session).run()?;
    tell_memory(heap, network_bytes);
    Ok(ended)
}

/// Makes the session, and tells the bytes of the network's heap; `None` after an image that did not pass its self-test.
/// By itself: what is moved about on the way is gone from the stack before the work begins.
#[inline(never)]
fn set_up(
    heap: &Counted<HEAP_BYTES>,
    memory: &'static mut Memory,
) -> Result<Option<(Box<Session>, usize)>, Fault> {
    let clock = Clock::start();
    let mut flash = Nor::new(BoardChip);
    let settings = Settings::decode(read_settings(&flash)?).map_err(|_| "the settings cannot be read")?;
    let before = heap.used_bytes();
    let controller = controller();
    if !settle_trial(&mut flash, controller.is_some())? {
        return Ok(None);
    }
    let controller = controller.ok_or("the Ethernet controller does not answer")?;
    let line = line(controller, &settings);
    let network_bytes = heap.used_bytes() - before;
    let facts = facts(&settings)?;
    let config = config(facts.id, &settings);
    let agent = agent(flash, facts, memory, config);
    Ok(Some((session(agent, line, clock), network_bytes)))
}

/// What the device is, read once and there for as long as it is. By itself, as above.
#[inline(never)]
fn facts(settings: &Settings<'static>) -> Result<Facts<'static>, Fault> {
    let unit = UnitData::decode(settings.unit).map_err(|_| "the unit file cannot be read")?;
    Ok(Facts {
        id: unit.id,
        vendor: settings.vendor_id,
        class: settings.class_id,
        patch_algorithms: if settings.patches { &PATCHES } else { &[] },
        servers: unit.servers.iter().collect::<Vec<&str>>().leak(),
        built: settings.built,
        anchors: Anchors::initial(unit.anchors).map_err(|_| "the anchors are not believed")?,
        signatures: &P256,
        share_offer: ShareOffer::AtChainEnd,
        components: APP,
    })
}

/// What the update core keeps in RAM, for as long as the device is there. By itself, as above.
#[inline(never)]
fn memory() -> &'static mut Memory {
    Box::leak(Box::new(Memory::<[u8; ANCHORS_BYTES_MAX]>::new()))
}

/// Makes the agent; by itself, as above.
#[inline(never)]
fn agent(
    flash: Nor<BoardChip>,
    facts: Facts<'static>,
    memory: &'static mut Memory,
    config: Config,
) -> Box<DeviceAgent> {
    Box::new(Agent::new(Updater::unread(flash, HostNoise, facts, memory), config))
}

/// Makes the session; by itself, as above.
#[inline(never)]
#[expect(
    clippy::unnecessary_box_returns,
    reason = "by value it would stand on the caller's stack for the whole run"
)]
fn session(agent: Box<DeviceAgent>, line: Box<Line>, clock: Clock) -> Box<Session> {
    Box::new(Session::new(agent, line, clock))
}

/// Starts the Ethernet controller, which holds a frame each way; by itself, as above.
#[inline(never)]
fn controller() -> Option<Box<Lan9118>> {
    Lan9118::start(ADDRESS).map(Box::new)
}

/// Makes the line; by itself, as above.
#[inline(never)]
fn line(controller: Box<Lan9118>, settings: &Settings<'_>) -> Box<Line> {
    Box::new(Line::new(controller, ADDRESS, (settings.server, settings.port)))
}

/// Says what was measured since the boot.
fn tell_memory(heap: &Counted<HEAP_BYTES>, network_bytes: usize) {
    let number = |bytes: usize| Said::Number(u32::try_from(bytes).unwrap_or(u32::MAX));
    say(&[
        Said::Text("measured stack "),
        number(bellwether_board::metal::peak_bytes()),
        Said::Text(" heap "),
        number(heap.peak_bytes()),
        Said::Text(" network "),
        number(network_bytes),
    ]);
}

/// Confirms an image on trial that passed its self-test; false after one that did not, which is rolled back. By itself, as
/// above.
#[inline(never)]
fn settle_trial(flash: &mut Nor<BoardChip>, passed: bool) -> Result<bool, Fault> {
    let state = BootStore::new().load(flash).map_err(|_| "the boot state cannot be read")?;
    let on_trial = matches!(state.trial, Trial::Pending { .. });
    let standing = if on_trial { " on trial" } else { " confirmed" };
    say(&[Said::Text("firmware "), Said::Text(VERSION), Said::Text(standing)]);
    chip::begin(if on_trial { Phase::Trial } else { Phase::Work });
    if on_trial && !passed {
        trial::roll_back(flash).map_err(|_| "the boot state cannot be written")?;
        return Ok(false);
    }
    trial::confirm(flash).map_err(|_| "the boot state cannot be written")?;
    Ok(true)
}

/// Reads the settings, which are there for as long as the device is.
fn read_settings(flash: &Nor<BoardChip>) -> Result<&'static [u8], Fault> {
    let mut head = [0; HEAD_BYTES];
    flash.read_settings(SETTINGS, &mut head);
    let mut kept = vec![0; bytes_of(head).ok_or("the flash was never prepared")?];
    flash.read_settings(SETTINGS, &mut kept);
    Ok(kept.leak())
}

fn config(endpoint: &str, settings: &Settings<'_>) -> Config {
    Config {
        endpoint: endpoint.to_string(),
        lifetime_s: LIFETIME_S,
        manufacturer: settings.vendor.to_string(),
        model: settings.class.to_string(),
        waiting_silence: Duration::from_mins(1),
        retry_first: Duration::from_secs(2),
        retry_longest: Duration::from_mins(5),
        gateway: false,
        hello: Duration::from_mins(1),
        detour: Duration::from_mins(10),
    }
}

/// The version of this image.
const VERSION: &str = match option_env!("FIRMWARE_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

/// Patch algorithms that it applies.
const PATCHES: [i32; 1] = [Algorithm::FIELDS.0];

/// A locally administered address.
const ADDRESS: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Bytes of a document that replaces the anchors: six keys with their roles and three signatures have less.
const ANCHORS_BYTES_MAX: usize = 1024;

/// Lifetime of the registration.
const LIFETIME_S: u32 = 300;
