//! What tests need: a flash whose power can be cut, an author, and a server that answers by the protocol.

pub(crate) mod author;
pub(crate) mod flash;
pub(crate) mod server;

pub(crate) use author::Author;
pub(crate) use flash::{CountingRandom, MemoryFlash, PowerCut};
pub(crate) use server::Server;

use crate::platform::Flash;
use crate::update::anchors::ANCHORS_BYTES_MAX;
use crate::update::boot::{BootState, BootStore, Image, Slot};
use crate::update::bounded::Bounded;
use crate::update::facts::APP;
use crate::update::record::{Record, RecordStore};
use crate::update::{Facts, Memory, Updater};
use bellwether_delta::Patcher;
use bellwether_keys::{ChainLength, Seed};
use bellwether_manifests::cose::P256;
use core::time::Duration;
use sha2::{Digest, Sha256};
use std::boxed::Box;
use std::vec::Vec;

pub(crate) const ID: &str = "lamp-1";
pub(crate) const SEED: [u8; 32] = [0x5E; 32];
pub(crate) const CLASS: &str = "lamp";
pub(crate) const BUILT: u64 = 1_790_000_000;
pub(crate) const NOW: u64 = BUILT + 86_400;
pub(crate) const SLOT_BYTES: usize = 64 * 1024;
pub(crate) const UPTIME: Duration = Duration::from_secs(5);

pub(crate) type Device = Updater<'static, MemoryFlash, CountingRandom>;

/// Image of some length whose parts differ.
pub(crate) fn image(version: u8, bytes: usize) -> Vec<u8> {
    let mut image: Vec<u8> = (0..=250).map(|at: u8| at.wrapping_mul(7)).cycle().take(bytes).collect();
    for at in (0..bytes).step_by(97) {
        image[at] = version;
    }
    image
}

pub(crate) fn old_image() -> Vec<u8> {
    image(1, 20_000)
}

pub(crate) fn new_image() -> Vec<u8> {
    image(2, 21_500)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The components of a device with two.
pub(crate) const WITH_RADIO: &[&[u8]] = &[b"\x81\x43app", b"\x81\x45radio"];

pub(crate) fn old_radio() -> Vec<u8> {
    image(11, 3_300)
}

pub(crate) fn new_radio() -> Vec<u8> {
    image(12, 3_500)
}

/// Flash of a device as the factory leaves it, running the old image.
pub(crate) fn factory_flash() -> MemoryFlash {
    factory_flash_with(&[old_image()])
}

/// Flash of a device as the factory leaves it, with an image of each component.
pub(crate) fn factory_flash_with(images: &[Vec<u8>]) -> MemoryFlash {
    let mut flash = MemoryFlash::new(SLOT_BYTES);
    for (component, image) in images.iter().enumerate() {
        flash.write(Slot::A.region(component), 0, image).unwrap();
    }
    let boot = BootState::factory(images.iter().map(|image| Image {
        digest: sha256(image),
        bytes: u32::try_from(image.len()).unwrap(),
        version: Bounded::copy_of(b"1.0.0").unwrap(),
    }));
    BootStore::new().save(&mut flash, &boot).unwrap();
    let record = Record::factory(0, Seed::new(SEED), ChainLength::DEFAULT, BUILT);
    RecordStore::new().save(&mut flash, &record).unwrap();
    flash.writes = 0;
    flash
}

pub(crate) fn facts(author: &Author) -> Facts<'static> {
    Facts {
        id: ID,
        vendor: author.vendor,
        class: author.class(CLASS),
        patch_algorithms: &[bellwether_delta::Algorithm::FIELDS.0],
        servers: &["coaps://server.example:5684"],
        built: BUILT,
        anchors: author.anchors(),
        signatures: &P256,
        share_offer: crate::update::ShareOffer::AtChainEnd,
        components: APP,
    }
}

/// Starts the update core as after a boot of what the boot state calls active.
pub(crate) fn start(flash: MemoryFlash, author: &Author) -> Device {
    Updater::start(flash, CountingRandom(7), facts(author), memory(), Duration::ZERO).unwrap()
}

/// Memory of a device, which it has for as long as it is there.
pub(crate) fn memory() -> &'static mut Memory {
    Box::leak(Box::new(Memory::<[u8; ANCHORS_BYTES_MAX]>::new()))
}

/// Memory for applying patches.
pub(crate) fn patcher() -> Patcher {
    Patcher::idle()
}

/// A device from the factory.
pub(crate) fn device(author: &Author) -> Device {
    start(factory_flash(), author)
}

/// Sends one update request and gives what came of the server's answer.
pub(crate) fn ask(device: &mut Device, server: &mut Server) -> crate::update::Answered {
    let request = request(device);
    let answer = server.answer(&request);
    take(device, &answer)
}

/// The bytes of an update request.
pub(crate) fn request(device: &mut Device) -> Vec<u8> {
    let (mut scratch, mut out) = (std::vec![0; 8192], std::vec![0; 4096]);
    let length = device.ask(UPTIME, &mut scratch, &mut out).unwrap().expect("something to ask for");
    out.truncate(length);
    out
}

pub(crate) fn take(device: &mut Device, answer: &[u8]) -> crate::update::Answered {
    device.answer(UPTIME, &mut std::vec![0; 8192], answer).unwrap()
}

/// Fetches every frame that is left.
pub(crate) fn fetch(device: &mut Device, server: &Server) {
    while let Some(wanted) = device.frame_wanted() {
        let frame = server.frame(&wanted.root, wanted.number).expect("a frame that the server has");
        let fetched = device.frame(&frame).unwrap();
        assert!(matches!(fetched, crate::update::Fetched::Stored { .. }), "{fetched:?}");
    }
}

/// Delivers every report that waits.
pub(crate) fn report(device: &mut Device, server: &mut Server) {
    while let Some((report, _)) = device.pending_report() {
        let receipt = server.receipt(report).expect("a receipt");
        let receipted = device.receipt(UPTIME, &receipt).unwrap();
        assert!(matches!(receipted, crate::update::Receipted::Done(_)), "{receipted:?}");
    }
}
