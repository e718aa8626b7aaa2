//! What fleet managers ask for, a noun a file. Wire types in and out; what is decided is decided elsewhere.

mod campaigns;
mod credentials;
mod devices;
pub mod dispatch;
mod events;
mod fleet;
mod gateways;
mod identities;
mod imports;
mod orders;
pub(crate) mod reading;
mod recalls;
mod releases;
pub(crate) mod request;
mod trust;
pub(crate) mod watch;

use bellwether_store::Digest;
pub(crate) use devices::time;

use crate::refusal::Refusal;

/// Reads a digest that a caller wrote in hexadecimal.
fn digest(text: &str) -> Result<Digest, Refusal> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest)
        .map_err(|_| Refusal::invalid(format!("{text:?} is no digest: 64 hexadecimal digits are")))?;
    Ok(digest)
}
