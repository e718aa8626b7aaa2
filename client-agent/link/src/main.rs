//! Proof that the update core links without a standard library and without an allocator.
//!
//! For a bare target this is a whole program: an entry, a panic handler, and a device in its smallest form between
//! them. Anything in the core that needed an allocator or an operating system would stop the linker. It is not meant
//! to be flashed: a board adds its memory map, its flash, its random numbers and its line.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(
    target_os = "none",
    expect(unsafe_code, reason = "an entry must have the name that the linker looks for")
)]

mod device;
mod memory;

/// Where the linker begins: what is not reached from here is left out.
#[cfg(target_os = "none")]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    device::run();
    rest()
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    rest()
}

#[cfg(target_os = "none")]
fn rest() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The same on a host, where memory is empty and the device ends for want of anchors.
#[cfg(not(target_os = "none"))]
fn main() {
    device::run();
}
