//! What the factory writes beside the first image: who the device is, and where its server is.
//!
//! `length (2, big-endian) ‖ [version 1, unit file, vendor, class, vendor id, class id, built, whether it takes patches,
//! server's address (4), server's port]`. The seed is taken out of the unit file: it goes into the record alone.

use bellwether_agent::manifests::cbor::{CborError, Full, Reader, Sink};
use minicbor::Encoder;
use thiserror::Error;

/// The factory's settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The unit file, without its seed.
    pub unit: &'a [u8],
    /// Domain of the vendor.
    pub vendor: &'a str,
    /// Name of the class.
    pub class: &'a str,
    /// UUID of the vendor.
    pub vendor_id: [u8; 16],
    /// UUID of the class.
    pub class_id: [u8; 16],
    /// Seconds since 1970 at which the device was made: it believes no earlier time.
    pub built: u64,
    /// Whether it takes patches; else full images only.
    pub patches: bool,
    /// IPv4 address of the server, as the device sees it.
    pub server: [u8; 4],
    /// Its port for CoAP over plain UDP.
    pub port: u16,
}

/// Why the settings cannot be read.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SettingsError {
    /// The flash was never prepared.
    #[error("the flash holds no settings; prepare it")]
    Missing,
    /// Prepare the flash anew.
    #[error("the settings are damaged")]
    Cbor(#[from] CborError),
    /// A newer factory wrote them.
    #[error("the settings have the unknown version {0}")]
    Version(u64),
}

impl<'a> Settings<'a> {
    /// Reads settings, with the length before them; bytes after them are left alone.
    ///
    /// # Errors
    ///
    /// See [`SettingsError`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, SettingsError> {
        let length = body_bytes(bytes).ok_or(SettingsError::Missing)?;
        let mut reader =
            Reader::new(bytes.get(HEAD_BYTES..HEAD_BYTES + length).ok_or(SettingsError::Missing)?);
        reader.array_of(ELEMENTS)?;
        let version = reader.uint()?;
        if version != VERSION {
            return Err(SettingsError::Version(version));
        }
        let settings = Self {
            unit: reader.bytes()?,
            vendor: reader.text()?,
            class: reader.text()?,
            vendor_id: *reader.bytes_exact()?,
            class_id: *reader.bytes_exact()?,
            built: reader.uint()?,
            patches: reader.bool()?,
            server: *reader.bytes_exact()?,
            port: reader.u16()?,
        };
        reader.finish()?;
        Ok(settings)
    }

    /// Writes settings into `into` and tells how many bytes they have.
    ///
    /// # Errors
    ///
    /// Where they do not fit.
    pub fn encode(&self, into: &mut [u8]) -> Result<usize, minicbor::encode::Error<Full>> {
        let (head, body) = into.split_at_mut_checked(HEAD_BYTES).ok_or_else(too_long)?;
        let mut e = Encoder::new(Sink::new(body));
        e.array(ELEMENTS as u64)?.u64(VERSION)?.bytes(self.unit)?.str(self.vendor)?.str(self.class)?;
        e.bytes(&self.vendor_id)?.bytes(&self.class_id)?.u64(self.built)?;
        e.bool(self.patches)?.bytes(&self.server)?.u16(self.port)?;
        let length = e.writer().written();
        head.copy_from_slice(&u16::try_from(length).map_err(|_| too_long())?.to_be_bytes());
        Ok(HEAD_BYTES + length)
    }
}

/// Tells from their first bytes how many bytes settings have; `None` where there are none.
#[must_use]
pub fn bytes_of(start: [u8; HEAD_BYTES]) -> Option<usize> {
    body_bytes(&start).map(|body| HEAD_BYTES + body)
}

fn body_bytes(bytes: &[u8]) -> Option<usize> {
    let head: [u8; HEAD_BYTES] = bytes.get(..HEAD_BYTES)?.try_into().ok()?;
    // An erased flash has all bits set.
    Some(usize::from(u16::from_be_bytes(head))).filter(|length| *length != usize::from(u16::MAX))
}

fn too_long() -> minicbor::encode::Error<Full> {
    minicbor::encode::Error::message("the settings are too long")
}

/// Bytes of the length before the settings.
pub const HEAD_BYTES: usize = 2;

/// The layout. Never reuse a number.
const VERSION: u64 = 1;
const ELEMENTS: usize = 10;

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    const SETTINGS: Settings<'static> = Settings {
        unit: b"unit",
        vendor: "example.com",
        class: "meter",
        vendor_id: [1; 16],
        class_id: [2; 16],
        built: 1_700_000_000,
        patches: true,
        server: [10, 0, 2, 2],
        port: 5683,
    };

    #[test]
    fn settings_come_back() {
        let mut bytes = [0xff; 200];
        let length = SETTINGS.encode(&mut bytes).unwrap();
        assert_eq!(bytes_of([bytes[0], bytes[1]]), Some(length));
        let read = Settings::decode(&bytes).unwrap();
        assert_eq!(std::format!("{read:?}"), std::format!("{SETTINGS:?}"));
    }

    #[test]
    fn erased_flash_has_no_settings() {
        assert_eq!(Settings::decode(&[0xff; 200]).unwrap_err(), SettingsError::Missing);
        assert_eq!(bytes_of([0xff; 2]), None);
    }

    #[test]
    fn settings_cut_short_and_of_a_newer_version_are_refused() {
        let mut bytes = [0xff; 200];
        let length = SETTINGS.encode(&mut bytes).unwrap();
        for end in 0..length {
            assert!(Settings::decode(&bytes[..end]).is_err(), "{end}");
        }
        bytes[3] = 2;
        assert_eq!(Settings::decode(&bytes).unwrap_err(), SettingsError::Version(2));
    }

    #[test]
    fn settings_that_do_not_fit_are_refused() {
        assert!(SETTINGS.encode(&mut [0; 40]).is_err());
        assert!(SETTINGS.encode(&mut [0; 1]).is_err());
    }
}
