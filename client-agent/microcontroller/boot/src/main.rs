//! The boot loader of the emulated board: chooses an image by the boot state, copies it to where it is started, and
//! starts it under the watchdog.
//!
//! What it decides is the update core's `trial`: images on trial start three times
//! at the most, then the confirmed ones again.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(
    target_os = "none",
    expect(unsafe_code, reason = "the entry must have the name that the start code looks for")
)]

#[cfg(target_os = "none")]
mod load;

#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    let fault = load::run();
    bellwether_board::metal::say(fault);
    bellwether_board::metal::exit(STATUS_NOT_BOOTED)
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    bellwether_board::metal::say("the boot loader panicked\n");
    bellwether_board::metal::exit(STATUS_NOT_BOOTED)
}

/// Exit status of a device that has no image to start.
#[cfg(target_os = "none")]
const STATUS_NOT_BOOTED: u32 = 8;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This is a program for the emulated board: see `make microcontroller`.");
}
