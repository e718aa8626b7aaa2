//! What a factory does to one board: settings, first image, boot state and record, into a flash that is a file.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

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
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// What a board is made of.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// Its unit file.
    pub unit: &'a Path,
    /// Domain of its vendor.
    pub vendor: &'a str,
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

/// Why a flash can't be made or read.
#[derive(Debug, Error)]
pub enum FactoryError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The unit file is none.
    #[error("{} is no unit file; make one with `bellwether device add`", .0.display())]
    Unit(PathBuf),
    /// Something is too long for its place in the flash.
    #[error("{0} has no room in the flash of a board")]
    NoRoom(&'static str),
    /// The flash holds no boot state, or its confirmed image is damaged.
    #[error("{} has no whole image that is confirmed", .0.display())]
    Damaged(PathBuf),
}

/// Makes the flash of a board beside its unit file, and gives its path.
///
/// # Errors
///
/// [`FactoryError`].
pub fn flash(made: &Made<'_>) -> Result<PathBuf, FactoryError> {
    prepare(made, settings)
}

/// Makes the flash of a board that runs the example in C, as [`flash`] does.
///
/// # Errors
///
/// [`FactoryError`].
pub fn flash_of_c_example(made: &Made<'_>) -> Result<PathBuf, FactoryError> {
    prepare(made, settings_of_c_example)
}

/// What a factory writes beside the image: the unit file without its seed, which goes into the record alone.
type MakeSettings = fn(unit: &[u8], made: &Made<'_>, built: u64) -> Result<Vec<u8>, FactoryError>;

fn prepare(made: &Made<'_>, settings: MakeSettings) -> Result<PathBuf, FactoryError> {
    let no_room = |what| move |_| FactoryError::NoRoom(what);
    let unit_file = fs::read(made.unit).map_err(failed(made.unit))?;
    let no_unit = || FactoryError::Unit(made.unit.to_owned());
    let unit = UnitData::decode(&unit_file).map_err(|_| no_unit())?;
    let mut nor = Nor::new(Memory(vec![0xff; FLASH_BYTES as usize]));
    let built = now();
    let seedless = UnitData { seed: Seed::new([0; 32]), ..unit.clone() };
    let settings = settings(&seedless.encode().map_err(|_| no_unit())?, made, built)?;
    if settings.len() > SETTINGS_BYTES as usize {
        return Err(FactoryError::NoRoom("the unit file"));
    }
    nor.write_at(SETTINGS, &settings).map_err(no_room("the unit file"))?;
    nor.write(Slot::A.region(0), 0, made.image).map_err(no_room(IMAGE))?;
    let version = Bounded::copy_of(made.version.as_bytes()).ok_or(FactoryError::NoRoom("the version"))?;
    let bytes = u32::try_from(made.image.len()).map_err(|_| FactoryError::NoRoom(IMAGE))?;
    let image = Image { digest: Sha256::digest(made.image).into(), bytes, version };
    let saved = BootStore::new().save(&mut nor, &BootState::factory([image]));
    saved.map_err(|_| FactoryError::NoRoom("the boot state"))?;
    let record = Record::factory(unit.epoch, unit.seed.clone(), unit.chain_length, built);
    let saved = RecordStore::new().save(&mut nor, &record);
    saved.map_err(|_| FactoryError::NoRoom("the record"))?;
    let path = made.unit.with_extension("nor");
    fs::write(&path, nor.into_chip().0).map_err(failed(&path))?;
    Ok(path)
}

/// Reads which image a board runs by its flash file: version and SHA-256 of the confirmed one, which stands whole in its
/// slot.
///
/// # Errors
///
/// [`FactoryError::Io`], [`FactoryError::Damaged`].
pub fn confirmed(flash: &Path) -> Result<(String, [u8; 32]), FactoryError> {
    let (mut nor, state) = boot_state(flash)?;
    let damaged = || FactoryError::Damaged(flash.to_owned());
    let image = state.running(0).ok_or_else(damaged)?;
    let stands = digest_of_slot(&mut nor, state.active(0).region(0), image.bytes).map_err(|_| damaged())?;
    if stands != image.digest {
        return Err(damaged());
    }
    Ok((image.version_text().to_owned(), image.digest))
}

/// Tells whether an image is on trial, by the flash file of its board.
///
/// # Errors
///
/// [`FactoryError::Io`], [`FactoryError::Damaged`].
pub fn is_on_trial(flash: &Path) -> Result<bool, FactoryError> {
    Ok(matches!(boot_state(flash)?.1.trial, Trial::Pending { .. }))
}

fn boot_state(flash: &Path) -> Result<(Nor<Memory>, BootState), FactoryError> {
    let bytes = fs::read(flash).map_err(failed(flash))?;
    let damaged = || FactoryError::Damaged(flash.to_owned());
    if bytes.len() != FLASH_BYTES as usize {
        return Err(damaged());
    }
    let mut nor = Nor::new(Memory(bytes));
    let state = BootStore::new().load(&mut nor).map_err(|_| damaged())?;
    Ok((nor, state))
}

fn settings(unit: &[u8], made: &Made<'_>, built: u64) -> Result<Vec<u8>, FactoryError> {
    let vendor = vendor_id(made.vendor);
    let settings = Settings {
        unit,
        vendor: made.vendor,
        class: made.class,
        vendor_id: vendor,
        class_id: class_id(&vendor, made.class),
        built,
        patches: made.patches,
        server: HOST,
        port: made.server.port(),
    };
    let mut bytes = vec![0; SETTINGS_BYTES as usize];
    let length = settings.encode(&mut bytes).map_err(|_| FactoryError::NoRoom("the unit file"))?;
    bytes.truncate(length);
    Ok(bytes)
}

/// `struct board_factory` of `client-agent/c/examples/board/board.h`.
fn settings_of_c_example(unit: &[u8], made: &Made<'_>, built: u64) -> Result<Vec<u8>, FactoryError> {
    let vendor = vendor_id(made.vendor);
    let text = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        if bytes.len() >= NAME_BYTES {
            return Err(FactoryError::NoRoom("a name"));
        }
        bytes.resize(NAME_BYTES, 0);
        Ok(bytes)
    };
    let bytes = u32::try_from(unit.len()).map_err(|_| FactoryError::NoRoom("the unit file"))?;
    let head =
        [b"BWC1", &bytes.to_le_bytes()[..], &built.to_le_bytes(), &vendor, &class_id(&vendor, made.class)];
    Ok([head.concat(), text(made.vendor)?, text(made.class)?, unit.to_vec()].concat())
}

fn failed(path: &Path) -> impl Fn(io::Error) -> FactoryError + '_ {
    |source| FactoryError::Io { path: path.to_owned(), source }
}

#[expect(clippy::disallowed_methods, reason = "the demo is a shell")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
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

/// Bytes of a name in the settings of the example in C, its end included.
const NAME_BYTES: usize = 32;

const IMAGE: &str = "the image";
