//! A new DTLS credential for a device that is at work; everything else of it stays.

use std::io;
use std::path::PathBuf;

use bellwether_agent::keys::unit::{UnitData, UnitError};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::cli::CredentialArgs;
use crate::flash_file::{FlashFile, FlashFileError};

/// Why the device has the credential that it had.
#[derive(Debug, Error)]
pub(crate) enum CredentialError {
    /// Name the file.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Get a unit file by `bellwether device credential replace`.
    #[error("{} is not a unit file; get one by `bellwether device credential replace`", path.display())]
    Unit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: UnitError,
    },
    /// Take the one of this device.
    #[error("the unit file is of {unit}, the flash of {flash}")]
    Another {
        /// The device of the unit file.
        unit: String,
        /// The device of the flash.
        flash: String,
    },
    /// The flash holds no unit data.
    #[error("the unit data in the flash cannot be read")]
    Flash(#[source] UnitError),
    /// The flash file cannot be used; switch the device off first.
    #[error(transparent)]
    File(#[from] FlashFileError),
}

/// Puts the unit file in the place of the one that is in the flash.
///
/// # Errors
///
/// [`CredentialError`] tells what to change.
pub(crate) fn replace(args: &CredentialArgs) -> Result<(), CredentialError> {
    let bytes = std::fs::read(&args.unit);
    let bytes = bytes.map_err(|source| CredentialError::Read { path: args.unit.clone(), source })?;
    let bytes = Zeroizing::new(bytes);
    let failed = |source| CredentialError::Unit { path: args.unit.clone(), source };
    let unit = UnitData::decode(&bytes).map_err(failed)?;
    // Held until the end: a device that runs has it.
    let (_flash, mut header) = FlashFile::open(&args.flash)?;
    let own = UnitData::decode(&header.unit).map_err(CredentialError::Flash)?;
    if own.id != unit.id {
        return Err(CredentialError::Another { unit: unit.id.to_owned(), flash: own.id.to_owned() });
    }
    // The seed, the chain and whom the device believes are its own: the record goes on from them.
    let next = UnitData {
        dtls_identity: unit.dtls_identity,
        dtls_psk: unit.dtls_psk,
        servers: unit.servers,
        gateways: unit.gateways,
        ..own.clone()
    };
    let encoded = next.encode().map_err(failed)?;
    header.unit = Zeroizing::new(encoded.to_vec());
    FlashFile::with_header(&args.flash, &header)?;
    Ok(())
}
