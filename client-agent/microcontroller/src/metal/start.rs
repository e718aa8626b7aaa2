//! How a program of the board begins, how it is started by another one, and how it ends.

#[cfg(feature = "loader")]
use super::window::{EXECUTION, MEMORY, MEMORY_BYTES};
#[cfg(feature = "loader")]
use core::arch::asm;
use core::arch::global_asm;

// Zeroes what begins as zero, copies what begins as something else, and switches the floating-point unit on, whose
// registers the compiler may use for anything. Source: Armv7-M Architecture Reference Manual, B1.5.5 and B3.2.20.
global_asm!(
    ".section .text.reset, \"ax\"",
    ".global reset",
    ".type reset, %function",
    ".thumb_func",
    "reset:",
    "ldr r0, =0xE000ED88",
    "ldr r1, [r0]",
    "orr r1, r1, #0xF00000",
    "str r1, [r0]",
    "dsb",
    "isb",
    "ldr r0, =__bss_start",
    "ldr r1, =__bss_end",
    "movs r2, #0",
    "1:",
    "cmp r0, r1",
    "bcs 2f",
    "str r2, [r0], #4",
    "b 1b",
    "2:",
    "ldr r0, =__data_start",
    "ldr r1, =__data_end",
    "ldr r2, =__data_from",
    "3:",
    "cmp r0, r1",
    "bcs 4f",
    "ldr r3, [r2], #4",
    "str r3, [r0], #4",
    "b 3b",
    "4:",
    "bl main",
    "udf #0",
    ".size reset, . - reset",
    ".section .vectors, \"a\"",
    ".global VECTORS",
    "VECTORS:",
    ".word __stack_top",
    ".word reset",
    // Any fault ends here, and the watchdog ends that.
    ".rept 14",
    ".word stuck",
    ".endr",
    ".section .text.stuck, \"ax\"",
    ".type stuck, %function",
    ".thumb_func",
    "stuck:",
    "b stuck",
    ".size stuck, . - stuck",
);

/// Starts the image that stands in [`EXECUTION`]; returns where what stands there does not begin as an image does.
#[cfg(feature = "loader")]
pub fn start_image() {
    let (stack, entry) = (EXECUTION.read(0), EXECUTION.read(4));
    let first = EXECUTION.address();
    let inside = (first..first + EXECUTION.bytes()).contains(&(entry as usize));
    let in_memory = (MEMORY..=MEMORY + MEMORY_BYTES).contains(&stack) && stack.is_multiple_of(8);
    if !inside || entry & 1 == 0 || !in_memory {
        return;
    }
    // SAFETY: the image was verified by its digest, so it is a program that was made for this address. Its stack pointer
    // lies in RAM and its entry inside of it. Nothing of this program is needed any more.
    unsafe {
        asm!(
            "str {table}, [{vtor}]",
            "dsb",
            "isb",
            "msr msp, {stack}",
            "bx {entry}",
            table = in(reg) first,
            vtor = in(reg) VECTOR_TABLE_OFFSET,
            stack = in(reg) stack,
            entry = in(reg) entry,
            options(noreturn),
        )
    }
}

/// Restarts the board through the boot loader.
pub fn reset() -> ! {
    // SAFETY: a register of the core whose only effect, with this key, is the restart.
    // Source: Armv7-M Architecture Reference Manual, B3.2.6.
    unsafe { (INTERRUPT_AND_RESET as *mut u32).write_volatile(RESET_KEY | RESET_REQUEST) }
    loop {
        core::hint::spin_loop();
    }
}

#[cfg(feature = "loader")]
const VECTOR_TABLE_OFFSET: u32 = 0xE000_ED08;
const INTERRUPT_AND_RESET: usize = 0xE000_ED0C;
const RESET_KEY: u32 = 0x05FA << 16;
const RESET_REQUEST: u32 = 1 << 2;
