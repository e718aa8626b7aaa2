//! What goes over the interface.

use core::ffi::{c_char, c_void};

/// Bytes of the block of memory that a device needs: what updates were measured to allocate, and a third
/// more.
pub const BELLWETHER_MEMORY_BYTES: usize = 24 * 1024;

/// Bytes of the longest datagram, each way.
pub const BELLWETHER_DATAGRAM_BYTES_MAX: usize = 1280;

/// What was done, or why it could not be. Never reuse a number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BellwetherError {
    /// It was done.
    Ok = 0,
    /// An argument is null, or a text is not UTF-8 or longer than 64 bytes. Correct the call.
    Argument = 1,
    /// A part of the flash's layout is no whole number of sectors, or overlaps another. Correct the layout.
    Layout = 2,
    /// The block of memory is smaller than `BELLWETHER_MEMORY_BYTES`, or its device still runs. Correct the call.
    Memory = 3,
    /// A callback for the flash failed, or what was written does not stand there. Restart the device.
    Flash = 4,
    /// The callback for random bytes failed, or gives no random bytes. Restart the device.
    Random = 5,
    /// The flash holds no valid record or boot state, or no whole image. Prepare it anew.
    Unprepared = 6,
    /// The record is of a version that this one cannot read. Do not write over it; flash a newer program.
    Record = 7,
    /// The unit file cannot be read, or has no seed to prepare a flash with. Give the device its own.
    Unit = 8,
    /// The anchors in the unit file are not believed. Give the device a unit file of this vendor.
    Anchors = 9,
    /// The anchors are older than those that were believed before. Give the device its newest unit file.
    OldAnchors = 10,
    /// The components are not those that the flash was prepared for. Prepare it anew.
    Components = 11,
    /// The key chain has no key for this place: it is used up, or the record is not this device's.
    Keys = 12,
    /// A bound in this library is wrong. Report it.
    Internal = 13,
}

/// What a device does next.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BellwetherStep {
    /// It waits: for a datagram, or for time to pass.
    Wait = 0,
    /// Restart through the boot loader now.
    Reboot = 1,
    /// It has stopped, as it was told to.
    Stopped = 2,
}

/// What happened, for a log or a lamp; nothing needs to be done. Never reuse a number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BellwetherEvent {
    /// The server knows this device.
    Registered = 1,
    /// No answer came; it is tried again later.
    Unanswered = 2,
    /// A manifest was verified and stored.
    ManifestStored = 3,
    /// A manifest was not followed; first: LwM2M Update Result.
    ManifestRefused = 4,
    /// An update request goes out.
    Asked = 5,
    /// An update was granted; first: bytes to fetch, second: 1 for a delta, 0 for a whole image.
    Granted = 6,
    /// The server refused for good; first: number of the reason.
    Refused = 7,
    /// A frame stands in the flash; first: how many do, second: of how many.
    FrameStored = 8,
    /// The new image stands in the spare slot and is the one that was signed.
    ImageVerified = 9,
    /// An update was given up; it is reported.
    GivenUp = 10,
    /// The server took its word back.
    TakenBack = 11,
    /// The next boot starts the new image on trial.
    TrialBegun = 12,
    /// The server has acknowledged that the new image is installed.
    Installed = 13,
    /// The server has acknowledged that an update failed.
    Failed = 14,
}

/// The flash of a board: a NOR flash, inside of the microcontroller or beside it. Addresses are its own, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BellwetherFlash {
    /// Given to each callback.
    pub context: *mut c_void,
    /// Reads bytes, any number at any address; false where the flash failed.
    pub read: Option<unsafe extern "C" fn(context: *mut c_void, at: u32, into: *mut u8, bytes: u32) -> bool>,
    /// Programs one unit: `bytes` is `program_bytes`, and `at` a multiple of it; bits that are set in it stay as they are.
    /// Returns when it would survive a power cut; false where the flash failed.
    pub program:
        Option<unsafe extern "C" fn(context: *mut c_void, at: u32, from: *const u8, bytes: u32) -> bool>,
    /// Erases the sector that begins there; false where the flash failed. Put the watchdog off here: a call of this library
    /// that writes an image erases a sector now and then, and one that hangs does not.
    pub erase: Option<unsafe extern "C" fn(context: *mut c_void, at: u32) -> bool>,
    /// Bytes of a sector: what is erased at once.
    pub sector_bytes: u32,
    /// Bytes that are programmed at once: 1, 2, 4, 8, 16 or 32.
    pub program_bytes: u32,
    /// Where boot state, record, anchors and manifests lie, in this order: two copies of each, of 4,096 bytes or a sector,
    /// whichever is more; eight sectors of 4,096 bytes, or of more.
    pub documents: u32,
    /// Where the first image slot lies.
    pub slot_a: u32,
    /// Where the second image slot lies.
    pub slot_b: u32,
    /// Bytes of each slot, whole sectors: the longest image, and a patch behind it; an image and a half do.
    pub slot_bytes: u32,
}

/// What a board brings beside its flash.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BellwetherPort {
    /// Given to each callback.
    pub context: *mut c_void,
    /// Fills memory with random bytes that nobody can guess; false where there are none.
    pub random: Option<unsafe extern "C" fn(context: *mut c_void, into: *mut u8, bytes: usize) -> bool>,
    /// Sends a datagram to the server. One that cannot be sent may be dropped: it is sent again.
    pub send: Option<unsafe extern "C" fn(context: *mut c_void, datagram: *const u8, bytes: usize)>,
    /// Tells what happened; may be null.
    pub event:
        Option<unsafe extern "C" fn(context: *mut c_void, event: BellwetherEvent, first: u32, second: u32)>,
}

/// What makes a device the one that it is. What is pointed to is read in place and must stay for as long as it runs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BellwetherSettings {
    /// The unit file of the device: its name, its anchors, its servers. Its seed is used by `bellwether_prepare` alone;
    /// `bellwether_clear_seed` takes it out after that.
    pub unit: *const u8,
    /// Bytes of that.
    pub unit_bytes: usize,
    /// UUID of the vendor, as in the manifests.
    pub vendor_id: [u8; 16],
    /// UUID of the class, as in the manifests.
    pub class_id: [u8; 16],
    /// Name of the manufacturer, object 3: at most 64 bytes of UTF-8, and a zero.
    pub manufacturer: *const c_char,
    /// Name of the model, object 3, in the same way.
    pub model: *const c_char,
    /// Seconds since 1970 at which the program was built (`-DBUILT_S=$(date +%s)`): it believes no earlier time.
    pub built_s: u64,
    /// Lifetime of the registration, in seconds: it is renewed before that, such as each day with 86,400.
    pub lifetime_s: u32,
    /// Whether it takes deltas; else whole images only.
    pub patches: bool,
}

/// What a boot loader starts.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BellwetherImage {
    /// Where it lies in the flash.
    pub at: u32,
    /// Bytes of it.
    pub bytes: u32,
    /// Whether it is on trial: it must test itself, and be confirmed.
    pub on_trial: bool,
}
