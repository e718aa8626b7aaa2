//! `bellwether-agent flash`: what a factory does to one device.

use crate::cli::FlashArgs;
use crate::clock;
use crate::flash_file::{FlashFile, FlashFileError};
use crate::header::{APP, Component, Header};
use bellwether_agent::delta::Algorithm;
use bellwether_agent::keys::unit::{UnitData, UnitError};
use bellwether_agent::manifests::anchors::{Anchors, AnchorsError};
use bellwether_agent::platform::Flash;
use bellwether_agent::update::boot::{BootError, BootState, BootStore, Image, Slot, VERSION_BYTES_MAX};
use bellwether_agent::update::bounded::Bounded;
use bellwether_agent::update::facts::COMPONENTS_MAX;
use bellwether_agent::update::record::{Record, RecordError, RecordStore};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Why no flash was made.
#[derive(Debug, Error)]
pub(crate) enum PrepareError {
    /// Check the path.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Get a unit file by `bellwether device add`.
    #[error("{} is not a unit file; get one by `bellwether device add`", path.display())]
    Unit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: UnitError,
    },
    /// The unit file is damaged, or was made with other anchors.
    #[error("the anchors in the unit file are not believed; have the device added anew")]
    Anchors(#[source] AnchorsError),
    /// Give the vendor's own domain.
    #[error(
        "the anchors in the unit file do not speak for vendor {0:?}; give the domain that the keys were made for"
    )]
    Vendor(String),
    /// Choose larger slots.
    #[error("the image has {image} bytes, a slot {slot}; raise --slot-bytes")]
    ImageTooLarge {
        /// Bytes of the image.
        image: u64,
        /// Bytes of a slot.
        slot: u32,
    },
    /// Give an image.
    #[error("{} is empty", .0.display())]
    ImageEmpty(PathBuf),
    /// Name each once, and no more than there is room for.
    #[error("a device has at most {COMPONENTS_MAX} components, of different names")]
    Components,
    /// Shorten it.
    #[error("version {0:?} has more than {VERSION_BYTES_MAX} bytes")]
    Version(String),
    /// Choose a known one.
    #[error("patch algorithm {0} is not known here; known: {known:?}, or --no-patch", known = known_algorithms())]
    Patch(i32),
    /// The flash file could not be made.
    #[error(transparent)]
    File(#[from] FlashFileError),
    /// The flash file could not be written.
    #[error("the flash file cannot be written")]
    Write(#[from] io::Error),
    /// The boot state could not be written.
    #[error(transparent)]
    Boot(#[from] BootError<io::Error>),
    /// The record could not be written.
    #[error(transparent)]
    Record(#[from] RecordError<io::Error>),
}

/// Makes the flash of a new device; nothing is left behind where it fails.
///
/// # Errors
///
/// [`PrepareError`] tells what to change.
pub(crate) fn prepare(args: &FlashArgs) -> Result<(), PrepareError> {
    let unit_file = Zeroizing::new(read(&args.unit)?);
    let unit = UnitData::decode(&unit_file)
        .map_err(|source| PrepareError::Unit { path: args.unit.clone(), source })?;
    let anchors = Anchors::initial(unit.anchors).map_err(PrepareError::Anchors)?;
    if *anchors.vendor() != vendor_id(&args.vendor) {
        return Err(PrepareError::Vendor(args.vendor.clone()));
    }
    let parts = parts(args)?;
    let header = header(args, &unit_file, &parts)?;
    let mut flash = FlashFile::create(&args.out, &header)?;
    let written = write(&mut flash, &unit, &header, &parts);
    if written.is_err() {
        // A half-made flash would be taken for a damaged device; that it stays is the lesser fault.
        let _ = std::fs::remove_file(&args.out);
    }
    written
}

/// Makes the vendor id of a domain.
///
/// Source: draft-ietf-suit-manifest-37 §8.4.8.2, `UUIDv5` in the DNS namespace.
#[must_use]
pub(crate) fn vendor_id(domain: &str) -> [u8; 16] {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, domain.as_bytes()).into_bytes()
}

/// Makes the class id of a name within a vendor.
#[must_use]
pub(crate) fn class_id(vendor: [u8; 16], class: &str) -> [u8; 16] {
    Uuid::new_v5(&Uuid::from_bytes(vendor), class.as_bytes()).into_bytes()
}

fn read(path: &Path) -> Result<Vec<u8>, PrepareError> {
    std::fs::read(path).map_err(|source| PrepareError::Read { path: path.to_owned(), source })
}

/// A component with its first image.
struct Part {
    component: Component,
    image: Vec<u8>,
    version: Bounded<VERSION_BYTES_MAX>,
}

/// The application, then the components beside it.
fn parts(args: &FlashArgs) -> Result<Vec<Part>, PrepareError> {
    let mut parts = vec![part(args, APP, &args.image, &args.version)?];
    for further in &args.components {
        if parts.iter().any(|part| part.component.name == further.name) || parts.len() == COMPONENTS_MAX {
            return Err(PrepareError::Components);
        }
        parts.push(part(args, &further.name, &further.image, &further.version)?);
    }
    Ok(parts)
}

fn part(args: &FlashArgs, name: &str, image: &Path, version: &str) -> Result<Part, PrepareError> {
    let version =
        Bounded::copy_of(version.as_bytes()).ok_or_else(|| PrepareError::Version(version.to_owned()))?;
    let content = read(image)?;
    let bytes = content.len() as u64;
    if bytes == 0 {
        return Err(PrepareError::ImageEmpty(image.to_owned()));
    }
    let slot_bytes = args.slot_bytes.unwrap_or_else(|| default_slot_bytes(bytes));
    if bytes > u64::from(slot_bytes) {
        return Err(PrepareError::ImageTooLarge { image: bytes, slot: slot_bytes });
    }
    let component = Component { name: name.to_owned(), slot_bytes };
    Ok(Part { component, image: content, version })
}

fn header(args: &FlashArgs, unit_file: &[u8], parts: &[Part]) -> Result<Header, PrepareError> {
    if !args.no_patch && !known_algorithms().contains(&args.patch) {
        return Err(PrepareError::Patch(args.patch));
    }
    let mut header = Header {
        unit: Zeroizing::new(unit_file.to_vec()),
        vendor: args.vendor.clone(),
        class: args.class.clone(),
        kind: args.kind,
        components: parts.iter().map(|part| part.component.clone()).collect(),
        patch_algorithms: if args.no_patch { Vec::new() } else { vec![args.patch] },
        made: clock::factory_time(),
    };
    // It goes into the record alone.
    header.forget_seed().map_err(|source| PrepareError::Unit { path: args.unit.clone(), source })?;
    Ok(header)
}

fn write(
    flash: &mut FlashFile,
    unit: &UnitData<'_>,
    header: &Header,
    parts: &[Part],
) -> Result<(), PrepareError> {
    for (component, part) in parts.iter().enumerate() {
        flash.write(Slot::A.region(component), 0, &part.image)?;
    }
    let boot = BootState::factory(parts.iter().map(|part| Image {
        digest: Sha256::digest(&part.image).into(),
        bytes: u32::try_from(part.image.len()).unwrap_or(u32::MAX),
        version: part.version.clone(),
    }));
    BootStore::new().save(flash, &boot)?;
    let record = Record::factory(unit.epoch, unit.seed.clone(), unit.chain_length, header.made);
    RecordStore::new().save(flash, &record)?;
    Ok(())
}

fn known_algorithms() -> Vec<i32> {
    Algorithm::ALL.iter().map(|algorithm| algorithm.0).collect()
}

/// Room for an image that grows, or for a delta beside it.
fn default_slot_bytes(image_bytes: u64) -> u32 {
    let wanted = image_bytes.saturating_mul(2).max(SLOT_BYTES_LEAST).next_multiple_of(SLOT_STEP_BYTES);
    u32::try_from(wanted).unwrap_or(u32::MAX)
}

/// A quarter of a megabyte: what small microcontrollers have for an image.
const SLOT_BYTES_LEAST: u64 = 256 * 1024;

/// Slots end on a sector.
const SLOT_STEP_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    // The vendor id of the examples in draft-ietf-suit-manifest, and Python's `uuid.uuid5` for the rest.
    #[test]
    fn ids_are_uuids_of_version_5_in_the_dns_namespace_and_the_vendors() {
        let text = |id: [u8; 16]| Uuid::from_bytes(id).to_string();
        assert_eq!(text(vendor_id("arm.com")), "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe");
        let vendor = vendor_id("example.com");
        assert_eq!(text(vendor), "cfbff0d1-9375-5685-968c-48ce8b15ae17");
        assert_eq!(text(class_id(vendor, "lamp")), "7fd968df-da31-5a19-b454-35f5cb2264c7");
    }

    #[test]
    fn flash_is_made_without_a_second_copy_of_the_seed() {
        let args = FlashArgs {
            unit: "lamp-1.unit".into(),
            class: "lamp".into(),
            vendor: "example.com".into(),
            image: "image".into(),
            version: "1.0.0".into(),
            components: Vec::new(),
            kind: crate::header::Kind::Microcontroller,
            slot_bytes: None,
            patch: -2,
            no_patch: false,
            out: "lamp-1.flash".into(),
        };
        let header = header(&args, &crate::header::tests::unit_file(), &[]).unwrap();
        assert!(!header.encode().windows(32).any(|window| window == [9; 32]));
    }

    #[test]
    fn default_slot_holds_twice_the_image_on_a_sector() {
        assert_eq!(default_slot_bytes(1), 262_144);
        assert_eq!(default_slot_bytes(1_000_001), 2_002_944);
    }
}
