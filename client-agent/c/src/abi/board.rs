//! A board's callbacks, as the traits that the rest is made of.

use super::types::{BellwetherError, BellwetherEvent, BellwetherFlash, BellwetherPort};
use crate::device::Port;
use crate::flash::{Chip, Layout, Regions};
use bellwether_agent::platform::Random;

/// A flash whose callbacks are all there.
#[derive(Clone, Debug)]
pub(super) struct Callbacks(BellwetherFlash);

/// Checks a flash and takes it.
pub(super) fn flash(flash: BellwetherFlash) -> Result<Regions<Callbacks>, BellwetherError> {
    if flash.read.is_none() || flash.program.is_none() || flash.erase.is_none() {
        return Err(BellwetherError::Argument);
    }
    let layout = Layout {
        sector_bytes: flash.sector_bytes,
        program_bytes: flash.program_bytes,
        documents: flash.documents,
        slots: [flash.slot_a, flash.slot_b],
        slot_bytes: flash.slot_bytes,
    };
    Ok(Regions::new(Callbacks(flash), layout.check()?))
}

impl Chip for Callbacks {
    fn read(&self, at: u32, into: &mut [u8]) -> bool {
        let (Some(read), Ok(bytes)) = (self.0.read, u32::try_from(into.len())) else { return false };
        // SAFETY: the callback is the C program's, which writes no more than the bytes that it is given.
        unsafe { read(self.0.context, at, into.as_mut_ptr(), bytes) }
    }

    fn program(&mut self, at: u32, unit: &[u8]) -> bool {
        let (Some(program), Ok(bytes)) = (self.0.program, u32::try_from(unit.len())) else { return false };
        // SAFETY: as above; it reads no more than the bytes that it is given.
        unsafe { program(self.0.context, at, unit.as_ptr(), bytes) }
    }

    fn erase(&mut self, at: u32) -> bool {
        // SAFETY: as above; it is given no memory.
        self.0.erase.is_some_and(|erase| unsafe { erase(self.0.context, at) })
    }
}

/// A port whose callbacks are all there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls(BellwetherPort);

/// Checks a port and takes it.
pub(super) fn port(port: BellwetherPort) -> Result<Calls, BellwetherError> {
    if port.random.is_none() || port.send.is_none() {
        Err(BellwetherError::Argument)
    } else {
        Ok(Calls(port))
    }
}

impl Calls {
    /// Fills `into`; false where there are no random bytes.
    pub(super) fn draw(&self, into: &mut [u8]) -> bool {
        // SAFETY: the callback is the C program's, which writes no more than the bytes that it is given.
        self.0.random.is_some_and(|random| unsafe { random(self.0.context, into.as_mut_ptr(), into.len()) })
    }
}

impl Random for Calls {
    /// A generator that worked at the start and fails later leaves zeros: the server refuses a nonce that comes again, and
    /// nothing that is secret comes of one.
    fn fill(&mut self, into: &mut [u8]) {
        if !self.draw(into) {
            into.fill(0);
        }
    }
}

impl Port for Calls {
    fn send(&mut self, datagram: &[u8]) {
        if let Some(send) = self.0.send {
            // SAFETY: as above; it reads no more than the bytes that it is given.
            unsafe { send(self.0.context, datagram.as_ptr(), datagram.len()) }
        }
    }

    fn tell(&mut self, event: BellwetherEvent, first: u32, second: u32) {
        if let Some(tell) = self.0.event {
            // SAFETY: as above; it is given no memory.
            unsafe { tell(self.0.context, event, first, second) }
        }
    }
}
