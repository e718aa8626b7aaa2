//! What a factory does to one board: settings, first image, boot state and record, into a flash that is a file.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bellwether_agent::keys::Seed;
use bellwether_agent::keys::unit::UnitData;
use bellwether_agent::manifests::author::{class_id, vendor_id};
use bellwether_agent::platform::Flash;
use bellwether_agent::update::boot::{BootState, BootStore, Image, Slot, Trial};
use bellwether_agent::update::bounded::Bounded;
use bellwether_agent::update::record::{Record, RecordStore};
use bellwether_agent::update::slot::digest_of_slot;
use bellwether_board::layout::{FLASH_BYTES, SECTOR_BYTES, SETTINGS, SETTINGS_BYTES};
use bellwether_board::nor::{Chip, Nor};
use bellwether_board::settings::Settings;

use crate::fleet::VENDOR;
use crate::images;
use crate::wait;

/// What a board is made of.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// Its unit file.
    pub unit: &'a Path,
    /// Its class.
    pub class: &'a str,
    /// Its first image.
    pub image: &'a [u8],
    /// The version of that.
    pub version: &'a str,
    /// Whether it takes patches.
    pub patches: bool,
    /// Where its server takes CoAP over plain UDP, on this machine.
    pub server: SocketAddr,
}

/// Makes the flash of a board beside its unit file, and gives its path.
///
/// # Panics
///
/// Where what it is made of cannot be used.
pub fn flash(made: Made<'_>) -> PathBuf {
    prepare(&made, settings)
}

/// Makes the flash of a board that runs the example in C, as [`flash`] does.
///
/// # Panics
///
/// Where what it is made of cannot be used.
pub fn flash_of_c_example(made: Made<'_>) -> PathBuf {
    prepare(&made, settings_of_c_example)
}

/// What a factory writes beside the image: the unit file without its seed, which goes into the record alone.
type MakeSettings = fn(unit: &[u8], made: &Made<'_>, built: u64) -> Vec<u8>;

fn prepare(made: &Made<'_>, settings: MakeSettings) -> PathBuf {
    let unit_file = fs::read(made.unit).expect("the unit file");
    let unit = UnitData::decode(&unit_file).expect("a unit file");
    let mut nor = Nor::new(Memory(vec![0xff; FLASH_BYTES as usize]));
    let built = wait::now();
    let seedless = UnitData { seed: Seed::new([0; 32]), ..unit.clone() };
    let settings = settings(&seedless.encode().expect("a unit file"), made, built);
    assert!(settings.len() <= SETTINGS_BYTES as usize, "settings that fit");
    nor.write_at(SETTINGS, &settings).expect("settings in the flash");
    nor.write(Slot::A.region(0), 0, made.image).expect("an image that fits its slot");
    let version = Bounded::copy_of(made.version.as_bytes()).expect("a short version");
    let bytes = u32::try_from(made.image.len()).expect("an image of less than 4 GiB");
    let image = Image { digest: images::digest(made.image), bytes, version };
    BootStore::new().save(&mut nor, &BootState::factory([image])).expect("a boot state");
    let record = Record::factory(unit.epoch, unit.seed.clone(), unit.chain_length, built);
    RecordStore::new().save(&mut nor, &record).expect("a record");
    let path = made.unit.with_extension("nor");
    fs::write(&path, nor.into_chip().0).expect("a flash file");
    path
}

/// Tells which version a board runs by its flash file: the confirmed one, of which the whole image stands in its slot.
///
/// # Panics
///
/// Where the file holds no boot state, or the confirmed image is not whole.
pub fn confirmed_version(flash: &Path) -> String {
    let mut nor = Nor::new(Memory(fs::read(flash).expect("a flash file")));
    let state = BootStore::new().load(&mut nor).expect("a boot state");
    let image = state.running(0).expect("an image");
    let stands = digest_of_slot(&mut nor, state.active(0).region(0), image.bytes).expect("a slot");
    assert_eq!(stands, image.digest, "the confirmed image is damaged");
    image.version_text().to_owned()
}

/// Tells whether an image is on trial, by the flash file of its board.
///
/// # Panics
///
/// Where the file holds no boot state.
pub fn is_on_trial(flash: &Path) -> bool {
    let mut nor = Nor::new(Memory(fs::read(flash).expect("a flash file")));
    let state = BootStore::new().load(&mut nor).expect("a boot state");
    matches!(state.trial, Trial::Pending { .. })
}

fn settings(unit: &[u8], made: &Made<'_>, built: u64) -> Vec<u8> {
    let vendor = vendor_id(VENDOR);
    let settings = Settings {
        unit,
        vendor: VENDOR,
        class: made.class,
        vendor_id: vendor,
        class_id: class_id(&vendor, made.class),
        built,
        patches: made.patches,
        server: HOST,
        port: made.server.port(),
    };
    let mut bytes = vec![0; SETTINGS_BYTES as usize];
    let length = settings.encode(&mut bytes).expect("settings that fit");
    bytes.truncate(length);
    bytes
}

/// `struct factory` of `client-agent/c/examples/board/main.c`.
fn settings_of_c_example(unit: &[u8], made: &Made<'_>, built: u64) -> Vec<u8> {
    let vendor = vendor_id(VENDOR);
    let text = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        assert!(bytes.len() < 32, "a short name");
        bytes.resize(32, 0);
        bytes
    };
    let bytes = u32::try_from(unit.len()).expect("a unit file");
    let head =
        [b"BWC1", &bytes.to_le_bytes()[..], &built.to_le_bytes(), &vendor, &class_id(&vendor, made.class)];
    [head.concat(), text(VENDOR), text(made.class), unit.to_vec()].concat()
}

/// A flash chip in memory.
struct Memory(Vec<u8>);

impl Chip for Memory {
    fn read(&self, at: u32, into: &mut [u8]) {
        into.copy_from_slice(&self.0[at as usize..][..into.len()]);
    }

    fn program(&mut self, at: u32, word: u32) {
        for (byte, written) in self.0[at as usize..][..4].iter_mut().zip(word.to_le_bytes()) {
            *byte &= written;
        }
    }

    fn erase(&mut self, at: u32) {
        self.0[at as usize..][..SECTOR_BYTES as usize].fill(0xff);
    }
}

/// Loopback of this machine as the emulated one sees it. Source: QEMU's user network.
const HOST: [u8; 4] = [10, 0, 2, 2];
