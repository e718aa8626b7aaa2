//! What the patcher needs of flash, whether there are two slots or one.

use crate::error::{ApplyError, PatchError};
use crate::image::{Base, Sink};
use crate::order::Order;

/// Base and target while a patch is applied.
pub(crate) trait Store {
    /// Why reading the base failed.
    type Read;
    /// Why writing the target or reading it back failed.
    type Write;

    /// Checks whether a patch of this order can be applied here.
    fn check(&mut self, order: &Order) -> Result<(), PatchError>;

    /// Reads bytes of the base that are still there.
    fn base(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), Self::Read>;

    /// Writes the next bytes of the target, which belong at `at`.
    fn put(&mut self, at: u32, bytes: &[u8]) -> Result<(), Self::Write>;

    /// Reads bytes of the target back.
    fn back(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), Self::Write>;
}

/// Result of a step, by the store that it was done in.
pub(crate) type Stored<T, S> = Result<T, ApplyError<<S as Store>::Read, <S as Store>::Write>>;

/// A slot for each image.
pub(crate) struct TwoSlots<'a, B, S> {
    pub(crate) base: &'a mut B,
    pub(crate) sink: &'a mut S,
}

impl<B: Base, S: Sink> Store for TwoSlots<'_, B, S> {
    type Read = B::Error;
    type Write = S::Error;

    fn check(&mut self, order: &Order) -> Result<(), PatchError> {
        if order.layout.is_some() { Err(PatchError::InPlace) } else { Ok(()) }
    }

    fn base(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), B::Error> {
        self.base.read(at, bytes)
    }

    fn put(&mut self, _: u32, bytes: &[u8]) -> Result<(), S::Error> {
        self.sink.write(bytes)
    }

    fn back(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), S::Error> {
        self.sink.read_back(at, bytes)
    }
}
