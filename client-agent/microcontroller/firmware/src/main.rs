//! The firmware of the emulated board: a device that registers with its server and updates itself.
//!
//! It is the image that is updated, and the program that updates it. The boot loader starts it; on trial it tests the
//! board and confirms itself, or goes back.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(
    target_os = "none",
    expect(unsafe_code, reason = "the entry must have the name that the start code looks for")
)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod device;
#[cfg(target_os = "none")]
mod line;
#[cfg(target_os = "none")]
mod session;
#[cfg(target_os = "none")]
mod words;

#[cfg(target_os = "none")]
use bellwether_board::{
    console::{Said, say},
    metal,
};

#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    metal::paint();
    let status = match device::run(&HEAP) {
        Ok(session::Ended::Reboot) => metal::reset(),
        Ok(session::Ended::Finished(status)) => status,
        Err(fault) => {
            say(&[Said::Text("fault: "), Said::Text(fault)]);
            STATUS_FAULT
        }
    };
    metal::exit(status)
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    say(&[Said::Text("panicked")]);
    metal::exit(STATUS_FAULT)
}

/// The heap of the LwM2M agent, of CoAP and of the network; the update core needs none.
#[cfg(target_os = "none")]
#[global_allocator]
static HEAP: metal::heap::Counted<HEAP_BYTES> = metal::heap::Counted::new();

/// Bytes of the heap: what an update was measured to need, and a third more.
#[cfg(target_os = "none")]
const HEAP_BYTES: usize = 48 * 1024;

/// Exit status of a device that cannot go on.
#[cfg(target_os = "none")]
const STATUS_FAULT: u32 = 2;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("This is a program for the emulated board: see `make microcontroller`.");
}
