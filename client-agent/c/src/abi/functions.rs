//! The functions.

use super::board::{self, Callbacks, Calls};
#[cfg(target_os = "none")]
use super::memory;
use super::types::{
    BELLWETHER_MEMORY_BYTES, BellwetherError, BellwetherFlash, BellwetherImage, BellwetherPort,
    BellwetherSettings, BellwetherStep,
};
use crate::device::{Conversation, agent_config};
use crate::flash::Regions;
use alloc::boxed::Box;
use alloc::vec::Vec;
use bellwether_agent::agent::{Agent, Config};
use bellwether_agent::coap::Instant;
use bellwether_agent::delta::Algorithm;
use bellwether_agent::keys::unit::UnitData;
use bellwether_agent::manifests::anchors::Anchors;
use bellwether_agent::manifests::cose::P256;
use bellwether_agent::update::boot::{BootState, BootStore, Image, Slot, Trial};
use bellwether_agent::update::bounded::Bounded;
use bellwether_agent::update::facts::APP;
use bellwether_agent::update::record::{Record, RecordStore};
use bellwether_agent::update::slot::digest_of_slot;
use bellwether_agent::update::{Facts, Memory, ShareOffer, Updater, trial};
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

/// A device that runs.
pub struct BellwetherDevice {
    // Before the memory that it borrows: fields are dropped in this order.
    conversation: Conversation<Regions<Callbacks>, Calls, Calls>,
    _memory: Kept,
}

/// What the update core keeps, secrets among it: they are overwritten when the device ends.
struct Kept(*mut Memory<[u8; ANCHORS_BYTES_MAX]>);

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: it came from a box of this type, once, and the conversation, which alone borrowed it, is gone.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// Starts a device: reads its flash, settles a trial; call `bellwether_poll` next. `memory` is `bytes` of memory for everything that it allocates, of
/// any alignment, which it keeps until `bellwether_end`. The structs are copied; what they point to is not.
///
/// # Safety
///
/// Pointers are null or point to what their types say, and nobody else uses that meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_start(
    device: *mut *mut BellwetherDevice,
    memory: *mut u8,
    bytes: usize,
    flash: *const BellwetherFlash,
    port: *const BellwetherPort,
    settings: *const BellwetherSettings,
    now_ms: u64,
) -> BellwetherError {
    if device.is_null() || memory.is_null() {
        return BellwetherError::Argument;
    }
    // SAFETY: each is null or points to a struct of its type, as the header demands.
    let (flash, port, settings) = unsafe { (flash.as_ref(), port.as_ref(), settings.as_ref()) };
    let (Some(flash), Some(port), Some(settings)) = (flash, port, settings) else {
        return BellwetherError::Argument;
    };
    // SAFETY: the block is of that many bytes and belongs to the device, as the header demands.
    if bytes < BELLWETHER_MEMORY_BYTES || !unsafe { take_memory(memory, bytes) } {
        return BellwetherError::Memory;
    }
    let started = make(*flash, *port, settings).and_then(|mut made| {
        made.conversation.read(Instant(Duration::from_millis(now_ms)))?;
        Ok(made)
    });
    done(started.map(|started| {
        // SAFETY: checked for null above; it points to room for a pointer, as the header demands.
        unsafe { device.write(Box::into_raw(started)) };
        RUNS.store(true, Ordering::Relaxed);
    }))
}

/// Ends a device without a word to its server, and gives its memory back; null is left alone.
///
/// # Safety
///
/// The device was made by `bellwether_start` and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_end(device: *mut BellwetherDevice) {
    if !device.is_null() {
        // SAFETY: it came from a box of this type, once.
        drop(unsafe { Box::from_raw(device) });
        RUNS.store(false, Ordering::Relaxed);
    }
}

/// Takes a datagram that came from the server; call `bellwether_poll` after it. One that is no CoAP is dropped.
///
/// # Safety
///
/// Pointers are null or point to what their types say, and nobody else uses that meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_handle_datagram(
    device: *mut BellwetherDevice,
    now_ms: u64,
    datagram: *const u8,
    bytes: usize,
) -> BellwetherError {
    // SAFETY: null, or a device that runs and that nobody else has in hand, as the header demands.
    let Some(device) = (unsafe { device.as_mut() }) else { return BellwetherError::Argument };
    // SAFETY: null, or that many bytes, as the header demands.
    let Some(datagram) = (unsafe { read_bytes(datagram, bytes) }) else { return BellwetherError::Argument };
    device.conversation.handle_datagram(Instant(Duration::from_millis(now_ms)), datagram);
    BellwetherError::Ok
}

/// Does everything that is due, which may take as long as writing a whole image. `step` says what is next, and `wait_ms`
/// after how long to call again at the latest, which holds until any other call: after a datagram, or `bellwether_stop`, call
/// at once.
///
/// # Safety
///
/// Pointers are null or point to what their types say, and nobody else uses that meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_poll(
    device: *mut BellwetherDevice,
    now_ms: u64,
    step: *mut BellwetherStep,
    wait_ms: *mut u32,
) -> BellwetherError {
    // SAFETY: null, or a device that runs and that nobody else has in hand, as the header demands.
    let Some(device) = (unsafe { device.as_mut() }) else { return BellwetherError::Argument };
    if step.is_null() || wait_ms.is_null() {
        return BellwetherError::Argument;
    }
    let now = Instant(Duration::from_millis(now_ms));
    done(device.conversation.poll(now).map(|(next, due)| {
        // Rounded up, so that what is due is due then.
        let wait = due.map_or(WAIT_MAX, |due| due.0.saturating_sub(now.0) + ROUNDED_UP).min(WAIT_MAX);
        // SAFETY: not null; each points to room for its type, set or not, as the header demands.
        unsafe {
            step.write(next);
            wait_ms.write(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX));
        }
    }))
}

/// Lets the device de-register and stop: call `bellwether_poll` at once, and on until it gives `BELLWETHER_STEP_STOPPED`. A
/// device that is never to stop needs it not.
///
/// # Safety
///
/// Pointers are null or point to what their types say, and nobody else uses that meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_stop(device: *mut BellwetherDevice) -> BellwetherError {
    // SAFETY: null, or a device that runs and that nobody else has in hand, as the header demands.
    let Some(device) = (unsafe { device.as_mut() }) else { return BellwetherError::Argument };
    device.conversation.stop();
    BellwetherError::Ok
}

/// Tells whether the newest update was installed and the server has acknowledged it; so it stays until the next one.
///
/// # Safety
///
/// Pointers are null or point to what their types say, and nobody else uses that meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_is_updated(device: *const BellwetherDevice) -> bool {
    // SAFETY: null, or a device that runs, as the header demands.
    unsafe { device.as_ref() }.is_some_and(|device| device.conversation.is_updated())
}

/// For a boot loader: chooses the image to start, counts a start on trial, and checks digests. An image on trial that was
/// started three times, or is not whole, is given up. Needs no memory but its stack.
///
/// # Safety
///
/// Pointers are null or point to what their types say, and nobody else uses that meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_boot_select(
    flash: *const BellwetherFlash,
    image: *mut BellwetherImage,
) -> BellwetherError {
    // SAFETY: null or what its type says, as the header demands.
    let Some(flash) = (unsafe { flash.as_ref() }) else { return BellwetherError::Argument };
    if image.is_null() {
        return BellwetherError::Argument;
    }
    // SAFETY: not null; it points to room for its type, set or not, as the header demands.
    done(select(*flash).map(|selected| unsafe { image.write(selected) }))
}

/// Tells whether the image that runs is on trial: it must test itself, then call `bellwether_confirm` or
/// `bellwether_roll_back`, and only after the first of them `bellwether_start`.
///
/// # Safety
///
/// Pointers are null or point to what their types say, and nobody else uses that meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_is_on_trial(
    flash: *const BellwetherFlash,
    on_trial: *mut bool,
) -> BellwetherError {
    // SAFETY: null or what its type says, as the header demands.
    let Some(flash) = (unsafe { flash.as_ref() }) else { return BellwetherError::Argument };
    if on_trial.is_null() {
        return BellwetherError::Argument;
    }
    let state = board::flash(*flash).and_then(|mut flash| Ok(BootStore::new().load(&mut flash)?));
    // SAFETY: not null; it points to room for its type, set or not, as the header demands.
    done(state.map(|state| unsafe { on_trial.write(matches!(state.trial, Trial::Pending { .. })) }))
}

/// Makes the image on trial the confirmed one; without a trial nothing changes.
///
/// # Safety
///
/// Pointers are null or point to what their types say, and nobody else uses that meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_confirm(flash: *const BellwetherFlash) -> BellwetherError {
    // SAFETY: null or what its type says, as the header demands.
    let Some(flash) = (unsafe { flash.as_ref() }) else { return BellwetherError::Argument };
    done(board::flash(*flash).and_then(|mut flash| Ok(trial::confirm(&mut flash)?)))
}

/// Gives up the image on trial; restart through the boot loader after it. Without a trial nothing changes.
///
/// # Safety
///
/// Pointers are null or point to what their types say, and nobody else uses that meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_roll_back(flash: *const BellwetherFlash) -> BellwetherError {
    // SAFETY: null or what its type says, as the header demands.
    let Some(flash) = (unsafe { flash.as_ref() }) else { return BellwetherError::Argument };
    done(board::flash(*flash).and_then(|mut flash| Ok(trial::roll_back(&mut flash)?)))
}

/// For the factory: prepares a flash in whose first slot an image of so many bytes stands. The seed of the unit file goes
/// into the record, and nowhere else; erase the documents before. `version` is the image's, such as "1.2.0".
///
/// # Safety
///
/// Pointers are null or point to what their types say, and nobody else uses that meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_prepare(
    flash: *const BellwetherFlash,
    settings: *const BellwetherSettings,
    image_bytes: u32,
    version: *const c_char,
) -> BellwetherError {
    // SAFETY: each is null or points to what its type says, as the header demands.
    let (flash, settings) = unsafe { (flash.as_ref(), settings.as_ref()) };
    let (Some(flash), Some(settings)) = (flash, settings) else { return BellwetherError::Argument };
    done(prepare(*flash, settings, image_bytes, version))
}

/// Overwrites the seed in a unit file with zeros, in place: for the factory, after `bellwether_prepare`, so that the file can
/// stand in the flash beside the documents and tells nobody who reads it how to be this device.
///
/// # Safety
///
/// `unit` is null or points to that many bytes, which nobody else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bellwether_clear_seed(unit: *mut u8, unit_bytes: usize) -> BellwetherError {
    if unit.is_null() {
        return BellwetherError::Argument;
    }
    // SAFETY: not null, and of that many bytes, as the header demands.
    let unit = unsafe { core::slice::from_raw_parts_mut(unit, unit_bytes) };
    done(clear_seed(unit))
}

fn clear_seed(unit: &mut [u8]) -> Result<(), BellwetherError> {
    let seed = UnitData::decode(unit).map_err(|_| BellwetherError::Unit)?.seed;
    let length = seed.expose().len();
    let at = unit.windows(length).position(|bytes| bytes == seed.expose()).ok_or(BellwetherError::Unit)?;
    unit[at..at + length].fill(0);
    Ok(())
}

/// Gives a sentence about a `bellwether_error` for whoever reads a log; it stays for ever.
#[unsafe(no_mangle)]
pub extern "C" fn bellwether_error_text(error: i32) -> *const c_char {
    BellwetherError::ALL
        .into_iter()
        .find(|one| *one as i32 == error)
        .map_or(c"no error of this library", BellwetherError::text)
        .as_ptr()
}

/// Tells how many bytes of the block of memory were used at the most; 0 on a host, where it is not used.
#[unsafe(no_mangle)]
pub extern "C" fn bellwether_memory_peak() -> usize {
    #[cfg(target_os = "none")]
    return memory::peak();
    #[cfg(not(target_os = "none"))]
    0
}

/// Takes the block on a bare target, where everything is allocated in it; false while a device has it. On a host the
/// system's allocator is there, and any number of devices.
///
/// # Safety
///
/// The block is of that many bytes, and belongs to the device until its end.
#[cfg(target_os = "none")]
unsafe fn take_memory(memory: *mut u8, bytes: usize) -> bool {
    if RUNS.load(Ordering::Relaxed) {
        return false;
    }
    // SAFETY: the caller promises the block, and no device runs that could use the one before.
    unsafe { memory::take(memory, bytes) };
    true
}

#[cfg(not(target_os = "none"))]
unsafe fn take_memory(_: *mut u8, _: usize) -> bool {
    true
}

/// Whether a device runs.
static RUNS: AtomicBool = AtomicBool::new(false);

/// Makes a device that has read nothing of its flash yet.
#[inline(never)]
fn make(
    flash: BellwetherFlash,
    port: BellwetherPort,
    settings: &BellwetherSettings,
) -> Result<Box<BellwetherDevice>, BellwetherError> {
    let (flash, calls) = (board::flash(flash)?, board::port(port)?);
    let mut seed = [0; 32];
    if !calls.draw(&mut seed) || seed == [0; 32] {
        return Err(BellwetherError::Random);
    }
    let unit = unit(settings)?;
    let [manufacturer, model] = [text(settings.manufacturer)?, text(settings.model)?];
    let servers: Vec<&'static str> = unit.servers.iter().collect();
    let facts = Facts {
        id: unit.id,
        vendor: settings.vendor_id,
        class: settings.class_id,
        patch_algorithms: if settings.patches { &PATCHES } else { &[] },
        servers: servers.leak(),
        built: settings.built_s,
        anchors: Anchors::initial(unit.anchors).map_err(|_| BellwetherError::Anchors)?,
        signatures: &P256,
        share_offer: ShareOffer::AtChainEnd,
        components: APP,
    };
    let config = agent_config(unit.id, manufacturer, model, settings.lifetime_s);
    Ok(assemble(flash, calls, facts, config, seed))
}

/// Makes the device. By itself, and into the heap before the flash is read: what is moved about on the way is gone from
/// the stack before the work begins.
#[inline(never)]
fn assemble(
    flash: Regions<Callbacks>,
    calls: Calls,
    facts: Facts<'static>,
    config: Config,
    seed: [u8; 32],
) -> Box<BellwetherDevice> {
    let kept = Kept(Box::into_raw(Box::new(Memory::new())));
    // SAFETY: it was made just now, is borrowed this once, and is dropped after who borrows it.
    let memory = unsafe { &mut *kept.0 };
    let agent = Agent::new(Updater::unread(flash, calls, facts, memory), config);
    Box::new(BellwetherDevice { conversation: Conversation::new(agent, calls, seed), _memory: kept })
}

fn select(flash: BellwetherFlash) -> Result<BellwetherImage, BellwetherError> {
    let mut regions = board::flash(flash)?;
    let selected = trial::select(&mut regions)?;
    let image = selected.image(0).ok_or(BellwetherError::Unprepared)?;
    let at = if selected.slot(0) == Slot::A { flash.slot_a } else { flash.slot_b };
    Ok(BellwetherImage { at, bytes: image.bytes, on_trial: selected.on_trial })
}

fn prepare(
    flash: BellwetherFlash,
    settings: &BellwetherSettings,
    bytes: u32,
    version: *const c_char,
) -> Result<(), BellwetherError> {
    let mut flash = board::flash(flash)?;
    let (unit, version) = (unit(settings)?, text(version)?);
    // `bellwether_clear_seed` was there before.
    if *unit.seed.expose() == [0; 32] {
        return Err(BellwetherError::Unit);
    }
    let version = Bounded::copy_of(version.as_bytes()).ok_or(BellwetherError::Argument)?;
    let digest = digest_of_slot(&mut flash, Slot::A.region(0), bytes).map_err(|_| BellwetherError::Flash)?;
    let image = Image { digest, bytes, version };
    BootStore::new().save(&mut flash, &BootState::factory([image]))?;
    let record = Record::factory(unit.epoch, unit.seed, unit.chain_length, settings.built_s);
    Ok(RecordStore::new().save(&mut flash, &record)?)
}

fn unit(settings: &BellwetherSettings) -> Result<UnitData<'static>, BellwetherError> {
    // SAFETY: null, or that many bytes, which stay for as long as the device runs, as the header demands.
    let unit = unsafe { read_bytes(settings.unit, settings.unit_bytes) }.ok_or(BellwetherError::Argument)?;
    UnitData::decode(unit).map_err(|_| BellwetherError::Unit)
}

/// Reads a text that is not too long.
fn text(text: *const c_char) -> Result<&'static str, BellwetherError> {
    if text.is_null() {
        return Err(BellwetherError::Argument);
    }
    // SAFETY: not null; it ends with a zero and stays for as long as the device runs, as the header demands.
    let text = unsafe { CStr::from_ptr(text) }.to_str().map_err(|_| BellwetherError::Argument)?;
    if text.len() <= TEXT_BYTES_MAX { Ok(text) } else { Err(BellwetherError::Argument) }
}

/// Reads memory; `None` where it is null.
///
/// # Safety
///
/// It is null, or of that many bytes, for as long as they are used.
unsafe fn read_bytes<'a>(bytes: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: not null, and the caller promises the rest.
    (!bytes.is_null()).then(|| unsafe { core::slice::from_raw_parts(bytes, length) })
}

fn done(result: Result<(), BellwetherError>) -> BellwetherError {
    result.err().unwrap_or(BellwetherError::Ok)
}

/// Patch algorithms that it applies.
const PATCHES: [i32; 1] = [Algorithm::FIELDS.0];

/// Bytes of a document that replaces the anchors: three roles with four keys each and as many signatures have less.
const ANCHORS_BYTES_MAX: usize = 2048;

/// Bytes of a text in the settings: what object 3 is asked for in one datagram, and more than any such name has.
const TEXT_BYTES_MAX: usize = 64;

/// The longest time between two calls, also where nothing is due.
const WAIT_MAX: Duration = Duration::from_mins(1);
const ROUNDED_UP: Duration = Duration::from_micros(999);

#[cfg(test)]
mod tests {
    use super::*;
    use bellwether_agent::keys::{ChainLength, Seed};
    use bellwether_manifests::message::list::List;

    #[test]
    fn unit_file_without_its_seed_is_the_same_otherwise() {
        let mut file = unit_of([0x5e; 32]);
        assert_eq!(clear_seed(&mut file), Ok(()));
        assert_eq!(file, unit_of([0; 32]));
        assert_eq!(clear_seed(&mut file[1..]), Err(BellwetherError::Unit));
    }

    fn unit_of(seed: [u8; 32]) -> Vec<u8> {
        let unit = UnitData {
            id: "probe-1",
            epoch: 3,
            chain_length: ChainLength::DEFAULT,
            seed: Seed::new(seed),
            anchors: b"anchors",
            dtls_identity: "probe-1",
            dtls_psk: &[0xbb; 32],
            servers: List::new(&["coaps://localhost:5684"]),
            gateways: List::default(),
        };
        unit.encode().unwrap().to_vec()
    }
}
