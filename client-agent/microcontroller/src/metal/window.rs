//! Ranges of addresses that are no memory of the program's own.

/// A range of addresses behind which a device or a memory lies that the program keeps nothing in.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    base: usize,
    bytes: usize,
}

impl Window {
    /// Reads the word at `offset`, a multiple of 4.
    ///
    /// # Panics
    ///
    /// Where the offset lies outside of the window.
    #[must_use]
    pub fn read(&self, offset: usize) -> u32 {
        let at = self.place(offset) as *const u32;
        // SAFETY: `place` gives an aligned address of the board's map inside of a window, all of which lie outside of the
        // program's own memory; reading one of its words has no effect on that.
        unsafe { at.read_volatile() }
    }

    /// Writes the word at `offset`, a multiple of 4.
    ///
    /// # Panics
    ///
    /// Where the offset lies outside of the window.
    pub fn write(&self, offset: usize, word: u32) {
        let at = self.place(offset) as *mut u32;
        // SAFETY: as above; none of the windows' devices writes to memory by itself, and none of them is memory that the
        // program keeps anything in.
        unsafe { at.write_volatile(word) }
    }

    /// Tells how many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tells at which address it begins.
    #[cfg(feature = "loader")]
    pub(super) const fn address(&self) -> usize {
        self.base
    }

    fn place(&self, offset: usize) -> usize {
        assert!(offset.is_multiple_of(4) && offset < self.bytes);
        self.base + offset
    }
}

/// Timer 0. Source: CMSDK APB timer, Cortex-M System Design Kit reference manual, §4.3.
pub const TIMER: Window = Window { base: map::TIMER, bytes: 0x1000 };

/// The watchdog. Source: CMSDK APB watchdog, same manual, §4.6.
pub const WATCHDOG: Window = Window { base: map::WATCHDOG, bytes: 0x1000 };

/// The Ethernet controller, a LAN9118.
pub const ETHERNET: Window = Window { base: map::ETHERNET, bytes: 0x100 };

/// The board's PSRAM, which stands for its flash and is a file of the host.
pub const FLASH: Window = Window { base: map::FLASH, bytes: 16 * 1024 * 1024 };

/// Where an image is started: memory of no program but the one that is started there. The boot loader lies below it.
#[cfg(feature = "loader")]
pub const EXECUTION: Window = Window { base: map::PROGRAM + 0x0001_0000, bytes: 512 * 1024 };

/// The board's RAM.
#[cfg(feature = "loader")]
pub(super) const MEMORY: u32 = map::MEMORY;
#[cfg(feature = "loader")]
pub(super) const MEMORY_BYTES: u32 = map::MEMORY_BYTES;

/// Source: Arm, application notes AN385 and AN386.
#[cfg(not(an505))]
mod map {
    pub(super) const TIMER: usize = 0x4000_0000;
    pub(super) const WATCHDOG: usize = 0x4000_8000;
    pub(super) const ETHERNET: usize = 0x4020_0000;
    pub(super) const FLASH: usize = 0x2100_0000;
    #[cfg(feature = "loader")]
    pub(super) const PROGRAM: usize = 0;
    #[cfg(feature = "loader")]
    pub(super) const MEMORY: u32 = 0x2000_0000;
    #[cfg(feature = "loader")]
    pub(super) const MEMORY_BYTES: u32 = 4 * 1024 * 1024;
}

/// All in the secure state, in which it starts. Source: Arm, application note AN505.
#[cfg(an505)]
mod map {
    pub(super) const TIMER: usize = 0x5000_0000;
    pub(super) const WATCHDOG: usize = 0x5008_1000;
    pub(super) const ETHERNET: usize = 0x5200_0000;
    pub(super) const FLASH: usize = 0x8000_0000;
    #[cfg(feature = "loader")]
    pub(super) const PROGRAM: usize = 0x1000_0000;
    #[cfg(feature = "loader")]
    pub(super) const MEMORY: u32 = 0x3800_0000;
    #[cfg(feature = "loader")]
    pub(super) const MEMORY_BYTES: u32 = 2 * 1024 * 1024;
}
