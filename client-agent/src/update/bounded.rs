//! Bytes up to a limit that the type names, kept in place.

use core::fmt;

/// At most `MAX` bytes, without an allocator.
#[derive(Clone, Eq, PartialEq)]
pub struct Bounded<const MAX: usize> {
    bytes: [u8; MAX],
    /// Two bytes, since there are many of these in memory and none is long.
    length: u16,
}

impl<const MAX: usize> Bounded<MAX> {
    /// No bytes.
    pub const EMPTY: Self = Self { bytes: [0; MAX], length: 0 };

    /// Copies `from`; `None` where it has more than `MAX` bytes.
    #[must_use]
    pub fn copy_of(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self { bytes, length: u16::try_from(from.len()).ok()? })
    }

    /// Replaces the bytes by a copy of `from`; `None` where that has more than `MAX`, and then nothing changed.
    pub fn set(&mut self, from: &[u8]) -> Option<()> {
        let length = u16::try_from(from.len()).ok()?;
        self.bytes.get_mut(..from.len())?.copy_from_slice(from);
        self.length = length;
        Some(())
    }

    /// Replaces the bytes by what `write` makes in the room for them, which tells its length.
    ///
    /// # Errors
    ///
    /// That of `write`; no bytes are left then.
    pub fn write_with<E>(&mut self, write: impl FnOnce(&mut [u8; MAX]) -> Result<usize, E>) -> Result<(), E> {
        self.length = 0;
        // No room is larger than two bytes tell, as `length` needs.
        self.length = u16::try_from(write(&mut self.bytes)?.min(MAX)).unwrap_or(0);
        Ok(())
    }

    /// Adds text; `None` where there is no room for it, and then nothing changed.
    pub fn push(&mut self, text: &str) -> Option<()> {
        let start = usize::from(self.length);
        let end = start + text.len();
        let length = u16::try_from(end).ok()?;
        self.bytes.get_mut(start..end)?.copy_from_slice(text.as_bytes());
        self.length = length;
        Some(())
    }

    /// Gives the bytes as text; empty where they are none.
    #[must_use]
    pub fn as_text(&self) -> &str {
        core::str::from_utf8(self.as_slice()).unwrap_or_default()
    }

    /// Gives the bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl<const MAX: usize> fmt::Debug for Bounded<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is kept here may be a wrapped key; its length is enough for a log.
        write!(f, "{} of {MAX} bytes", self.length)
    }
}
