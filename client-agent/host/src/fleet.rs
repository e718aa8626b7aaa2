//! Many devices in one process, for demonstrations and load: each has its own flash file, keys, socket and session.

use crate::cli::{FlashArgs, RunArgs, Share};
use crate::device;
use crate::header::Kind;
use crate::prepare;
use crate::status::{Status, StatusFile};
use bellwether_agent::delta::Algorithm;
use std::error::Error;
use std::path::{Path, PathBuf};

/// What a factory writes to each device of a fleet, beside its unit file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Model {
    /// Domain name of the vendor.
    pub vendor: String,
    /// Class, as the vendor names it.
    pub class: String,
    /// Image that the devices run at first; it is never started as a program.
    pub image: PathBuf,
    /// Version of that image.
    pub version: String,
    /// Bytes of a slot; a delta needs room for image and patch together.
    pub slot_bytes: u32,
}

/// How a device of a fleet is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// Whether a registration stands.
    pub registered: bool,
    /// Whether an update was installed since the device was switched on, and its report acknowledged.
    pub updated: bool,
    /// SHA-256 of what it runs, in hexadecimal.
    pub running: String,
    /// Bytes of UDP payload that it received, handshakes included.
    pub bytes_in: u64,
    /// Bytes of UDP payload that it sent, handshakes included.
    pub bytes_out: u64,
    /// Those received over the link to its gateway; zero without one.
    pub gateway_in: u64,
    /// Those sent over the link to its gateway; zero without one.
    pub gateway_out: u64,
    /// Why the newest update, manifest or answer was not followed.
    pub reason: Option<String>,
}

/// Makes the flash file `out` of a device from its unit file, as `bellwether-agent flash` does.
///
/// # Errors
///
/// Says what to change; nothing is left behind then.
pub fn make(model: &Model, unit: &Path, out: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let args = FlashArgs {
        unit: unit.to_owned(),
        class: model.class.clone(),
        vendor: model.vendor.clone(),
        image: model.image.clone(),
        version: model.version.clone(),
        components: Vec::new(),
        kind: Kind::Microcontroller,
        slot_bytes: Some(model.slot_bytes),
        patch: Algorithm::FIELDS.0,
        no_patch: false,
        out: out.to_owned(),
    };
    Ok(prepare::prepare(&args)?)
}

/// Switches the device of a flash file on, as `bellwether-agent run` does, and tells at each step how it is; returns when
/// SIGTERM or SIGINT told it to end.
///
/// Must be called inside a runtime with time and input/output. The future does not move between threads, and waits for
/// the flash file's disk without letting others run; a thread of its own serves the socket.
///
/// # Errors
///
/// Says why the device cannot go on.
pub async fn switch_on(
    flash: &Path,
    lifetime_s: u32,
    tell: impl Fn(&Told) + 'static,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let args = RunArgs {
        flash: flash.to_owned(),
        status: None,
        ack_timeout_ms: ACK_TIMEOUT_MS,
        lifetime_s,
        queue_mode: false,
        awake_s: 0,
        hello_s: None,
        no_gateway: false,
        share: Share::ChainEnd,
        halt_at: None,
        exit_when_updated: false,
    };
    let watch = StatusFile::watched(Box::new(move |status| tell(&Told::from(status))));
    device::run(&args, watch).await?;
    Ok(())
}

impl From<&Status> for Told {
    fn from(status: &Status) -> Self {
        let traffic = status.traffic;
        let gateway = status.traffic_gateway.unwrap_or_default();
        Self {
            registered: status.registered,
            updated: status.updated,
            running: status.running.digest.clone(),
            bytes_in: traffic.application_in + traffic.handshake_in,
            bytes_out: traffic.application_out + traffic.handshake_out,
            gateway_in: gateway.application_in + gateway.handshake_in,
            gateway_out: gateway.application_out + gateway.handshake_out,
            reason: status.reason.clone(),
        }
    }
}

/// RFC 7252 §4.8.
const ACK_TIMEOUT_MS: u64 = 2000;
