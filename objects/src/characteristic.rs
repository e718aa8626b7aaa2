//! Ids of what a manifest may ask of a device, beside the SUIT parameters whose labels they share.
//!
//! A device answers each with a CBOR value; this module says of which kind, and whether the answer may
//! take part in a selector. Wire numbers: never reorder.

/// One thing that a manifest may ask a device about itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Characteristic {
    /// SUIT parameter label, or a private one below -256.
    pub id: i32,
    /// Name for logs and the command line.
    pub name: &'static str,
    /// CBOR kind of the answer.
    pub kind: ValueKind,
    /// Whether the answer changes from day to day, so that it travels beside the selector.
    pub volatile: bool,
}

/// CBOR kind of an answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ValueKind {
    /// Unsigned integer.
    Uint,
    /// Text string.
    Text,
    /// Unsigned integer or text string.
    UintOrText,
    /// UUID as 16 bytes; a vendor may also be a tagged private enterprise number.
    Uuid,
    /// Byte string that holds an encoded `SUIT_Digest`.
    Digest,
    /// Version match `[comparison, [+ int]]`.
    Version,
    /// Byte string that holds an encoded array.
    EncodedArray,
}

/// Vendor id.
pub const VENDOR_ID: i32 = 1;
/// Class id.
pub const CLASS_ID: i32 = 2;
/// Digest of the installed image.
pub const IMAGE_DIGEST: i32 = 3;
/// Slot that the component runs from.
pub const COMPONENT_SLOT: i32 = 5;
/// Size of the installed image, in bytes.
pub const IMAGE_SIZE: i32 = 14;
/// Id of the device itself; makes a selector unique, so nothing can be shared.
pub const DEVICE_ID: i32 = 24;
/// Version of the installed image, as `[3, [..]]`.
pub const VERSION: i32 = 28;
/// Hardware revision.
pub const HARDWARE_REVISION: i32 = -300;
/// Version of the bootloader.
pub const BOOTLOADER_VERSION: i32 = -301;
/// Version of the operating system.
pub const OS_VERSION: i32 = -302;
/// Bitmap of capabilities.
pub const CAPABILITIES: i32 = -303;
/// Bitmap of ways to communicate.
pub const COMMUNICATIONS: i32 = -304;
/// Mandatory-to-implement profiles of SUIT, `[+ [int, int, int, int]]`.
pub const MTI_PROFILES: i32 = -305;
/// Patch algorithms that the device can apply, `[+ int]`.
pub const PATCH_ALGORITHMS: i32 = -306;
/// Free bytes where an image can be staged.
pub const STAGING_BYTES: i32 = -307;
/// Largest block that the device takes, in bytes.
pub const BLOCK_BYTES_MAX: i32 = -308;
/// Energy left in the battery, in milliwatt hours.
pub const BATTERY_MWH: i32 = -309;
/// Region.
pub const REGION: i32 = -310;
/// When the device is awake, `[+ [start second of day, seconds, weekdays]]`.
pub const SLEEP_SCHEDULE: i32 = -311;
/// MTU and type of the link.
pub const LINK: i32 = -312;
/// Key ids that a content key can be wrapped for, `[+ bstr]`.
pub const RECIPIENT_KIDS: i32 = -313;
/// Digests of all slots, `[+ SUIT_Digest]`.
pub const SLOT_DIGESTS: i32 = -314;

/// Every characteristic this crate knows.
pub const ALL: &[Characteristic] = &[
    stable(VENDOR_ID, "vendor-id", ValueKind::Uuid),
    stable(CLASS_ID, "class-id", ValueKind::Uuid),
    stable(IMAGE_DIGEST, "image-digest", ValueKind::Digest),
    stable(COMPONENT_SLOT, "component-slot", ValueKind::Uint),
    stable(IMAGE_SIZE, "image-size", ValueKind::Uint),
    stable(DEVICE_ID, "device-id", ValueKind::Uuid),
    stable(VERSION, "version", ValueKind::Version),
    stable(HARDWARE_REVISION, "hardware-revision", ValueKind::UintOrText),
    stable(BOOTLOADER_VERSION, "bootloader-version", ValueKind::UintOrText),
    stable(OS_VERSION, "os-version", ValueKind::UintOrText),
    stable(CAPABILITIES, "capabilities", ValueKind::Uint),
    stable(COMMUNICATIONS, "communications", ValueKind::Uint),
    stable(MTI_PROFILES, "mti-profiles", ValueKind::EncodedArray),
    stable(PATCH_ALGORITHMS, "patch-algorithms", ValueKind::EncodedArray),
    volatile(STAGING_BYTES, "staging-bytes", ValueKind::Uint),
    stable(BLOCK_BYTES_MAX, "block-bytes-max", ValueKind::Uint),
    volatile(BATTERY_MWH, "battery-mwh", ValueKind::Uint),
    stable(REGION, "region", ValueKind::Text),
    volatile(SLEEP_SCHEDULE, "sleep-schedule", ValueKind::EncodedArray),
    volatile(LINK, "link", ValueKind::EncodedArray),
    stable(RECIPIENT_KIDS, "recipient-kids", ValueKind::EncodedArray),
    stable(SLOT_DIGESTS, "slot-digests", ValueKind::EncodedArray),
];

/// Finds a characteristic by its id.
#[must_use]
pub fn by_id(id: i32) -> Option<&'static Characteristic> {
    ALL.iter().find(|characteristic| characteristic.id == id)
}

/// Says whether an answer to `id` travels beside the selector; an unknown id is stable.
#[must_use]
pub fn is_volatile(id: i32) -> bool {
    by_id(id).is_some_and(|characteristic| characteristic.volatile)
}

const fn stable(id: i32, name: &'static str, kind: ValueKind) -> Characteristic {
    Characteristic { id, name, kind, volatile: false }
}

const fn volatile(id: i32, name: &'static str, kind: ValueKind) -> Characteristic {
    Characteristic { id, name, kind, volatile: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn only_the_four_answers_that_change_by_the_day_are_volatile() {
        let ids: Vec<i32> = ALL.iter().filter(|c| c.volatile).map(|c| c.id).collect();
        assert_eq!(ids, [STAGING_BYTES, BATTERY_MWH, SLEEP_SCHEDULE, LINK]);
        assert_eq!(ids, [-307, -309, -311, -312]);
    }

    #[test]
    fn no_two_characteristics_share_an_id_or_a_name() {
        for (at, one) in ALL.iter().enumerate() {
            assert!(!ALL[..at].iter().any(|other| other.id == one.id || other.name == one.name));
        }
    }

    #[test]
    fn private_ids_stay_below_the_range_that_suit_reserves() {
        assert!(ALL.iter().filter(|c| c.id < 0).all(|c| c.id <= -257));
    }

    #[test]
    fn unknown_id_is_stable() {
        assert!(!is_volatile(-999));
        assert_eq!(by_id(-999), None);
    }
}
