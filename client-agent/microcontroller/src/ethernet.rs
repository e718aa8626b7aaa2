//! The board's Ethernet controller, a LAN9118, polled. Source: SMSC LAN9118 datasheet, revision 1.5.

use crate::metal::ETHERNET;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// The controller, with a buffer for each way.
#[derive(Debug)]
pub struct Lan9118 {
    received: [u8; FRAME_BYTES_MAX],
    sent: [u8; FRAME_BYTES_MAX],
}

impl Lan9118 {
    /// Starts the controller with this address; `None` where it does not answer as one does.
    #[must_use]
    pub fn start(address: [u8; 6]) -> Option<Self> {
        if ETHERNET.read(BYTE_TEST) != BYTE_ORDER {
            return None;
        }
        ETHERNET.write(HW_CFG, HW_CFG_RESET);
        while ETHERNET.read(HW_CFG) & HW_CFG_RESET != 0 {}
        ETHERNET.write(HW_CFG, HW_CFG_MUST_BE_ONE | HW_CFG_SEND_5_KIB);
        let ([low @ .., _, _], [_, _, _, _, high @ ..]) = (address, address);
        write_mac(MAC_ADDRESS_HIGH, u32::from(u16::from_le_bytes(high)));
        write_mac(MAC_ADDRESS_LOW, u32::from_le_bytes(low));
        ETHERNET.write(TX_CFG, TX_CFG_ON);
        write_mac(MAC_CONTROL, MAC_FULL_DUPLEX | MAC_SENDS | MAC_RECEIVES);
        Some(Self { received: [0; FRAME_BYTES_MAX], sent: [0; FRAME_BYTES_MAX] })
    }

    /// Takes a frame from the controller; gives its length.
    fn take(&mut self) -> Option<usize> {
        if waiting(RX_FIFO_INF) == 0 {
            return None;
        }
        let status = ETHERNET.read(RX_STATUS);
        let bytes = (status >> 16 & 0x3fff) as usize;
        for at in (0..bytes).step_by(4) {
            let word = ETHERNET.read(RX_DATA).to_le_bytes();
            // The whole frame must be read, also what there is no room for.
            if let Some(into) = self.received.get_mut(at..at + 4) {
                into.copy_from_slice(&word);
            }
        }
        let is_whole = status & RX_STATUS_ERROR == 0 && bytes <= self.received.len();
        bytes.checked_sub(CHECKSUM_BYTES).filter(|_| is_whole)
    }
}

impl Device for Lan9118 {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sent<'_>)> {
        let bytes = self.take()?;
        Some((Received(&self.received[..bytes]), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES_MAX - CHECKSUM_BYTES;
        capabilities
    }
}

/// A frame that came.
#[derive(Debug)]
pub struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// Room for a frame to send.
#[derive(Debug)]
pub struct Sent<'a>(&'a mut [u8; FRAME_BYTES_MAX]);

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, bytes: usize, write: F) -> R {
        self.0.fill(0);
        let written = write(&mut self.0[..bytes]);
        let bytes = bytes.max(FRAME_BYTES_MIN);
        let length = u32::try_from(bytes).unwrap_or_default();
        ETHERNET.write(TX_DATA, TX_FIRST | TX_LAST | length);
        ETHERNET.write(TX_DATA, length);
        for word in self.0[..bytes.next_multiple_of(4)].chunks_exact(4) {
            ETHERNET.write(TX_DATA, u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        }
        // Nobody looks at what became of it: what is lost is sent again by CoAP.
        while waiting(TX_FIFO_INF) != 0 {
            _ = ETHERNET.read(TX_STATUS);
        }
        written
    }
}

/// Tells how many status words wait, of frames that came or were sent.
fn waiting(queue: usize) -> u8 {
    ETHERNET.read(queue).to_le_bytes()[2]
}

/// Writes a register of the media access controller, which is behind two others.
fn write_mac(register: u32, value: u32) {
    while ETHERNET.read(MAC_COMMAND) & MAC_BUSY != 0 {}
    ETHERNET.write(MAC_DATA, value);
    ETHERNET.write(MAC_COMMAND, MAC_BUSY | register);
    while ETHERNET.read(MAC_COMMAND) & MAC_BUSY != 0 {}
}

/// Bytes of a frame with its checksum: CoAP's datagrams of at most 1,280 bytes and 46 bytes around them, to a word.
const FRAME_BYTES_MAX: usize = 1328;

/// Shorter frames are no Ethernet (IEEE 802.3), without the checksum.
const FRAME_BYTES_MIN: usize = 60;
const CHECKSUM_BYTES: usize = 4;

// Registers.
const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const BYTE_TEST: usize = 0x64;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_FIFO_INF: usize = 0x7c;
const TX_FIFO_INF: usize = 0x80;
const MAC_COMMAND: usize = 0xa4;
const MAC_DATA: usize = 0xa8;

const BYTE_ORDER: u32 = 0x8765_4321;
const HW_CFG_RESET: u32 = 1;
const HW_CFG_MUST_BE_ONE: u32 = 1 << 20;
const HW_CFG_SEND_5_KIB: u32 = 5 << 16;
const TX_CFG_ON: u32 = 1 << 1;
const TX_FIRST: u32 = 1 << 13;
const TX_LAST: u32 = 1 << 12;
const RX_STATUS_ERROR: u32 = 1 << 15;
const MAC_BUSY: u32 = 1 << 31;

// Registers behind those.
const MAC_CONTROL: u32 = 1;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;
const MAC_FULL_DUPLEX: u32 = 1 << 20;
const MAC_SENDS: u32 = 1 << 3;
const MAC_RECEIVES: u32 = 1 << 2;
