//! What people do that concerns no campaign: enrolments, publications, recalls. Who did it and why is in the ledger.

use crate::identity::Digest;

/// One thing that somebody did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Deed {
    /// Enrolled the device.
    DeviceEnrolled {
        /// Name of its class.
        class: String,
        /// The gateway that lists it.
        gateway: Option<String>,
    },
    /// Took the device off the list of its gateway.
    DeviceDetached {
        /// The gateway.
        gateway: String,
    },
    /// Gave the device up: its keys are gone.
    DeviceDecommissioned,
    /// Made a new DTLS credential for the device.
    CredentialReplaced {
        /// Number of the new one.
        number: u64,
        /// Whether the one before it was refused from then on; else until the new one was used.
        at_once: bool,
    },
    /// The device used its new DTLS credential; the one before it is refused from then on.
    CredentialUsed {
        /// Number of the new one.
        number: u64,
    },
    /// Put tags to the device, or took tags off it.
    DeviceTagged {
        /// Those that were put to it.
        added: Vec<String>,
        /// Those that were taken off it.
        removed: Vec<String>,
    },
    /// Enrolled a list of devices; each has an event of its own too.
    DevicesImported {
        /// Name of the import.
        import: String,
        /// How many devices.
        devices: u64,
    },
    /// Enrolled a gateway.
    GatewayEnrolled {
        /// Its name.
        gateway: String,
    },
    /// Removed a gateway.
    GatewayRemoved {
        /// Its name.
        gateway: String,
    },
    /// Published an image.
    ReleasePublished {
        /// Name of the class that it is for.
        class: String,
        /// Name of the component.
        component: String,
        /// Its version.
        version: String,
        /// Its digest.
        digest: Digest,
    },
    /// Recalled a release: nobody gets it any more.
    ReleaseRecalled {
        /// Name of the class that it is for.
        class: String,
        /// Name of the component.
        component: String,
        /// Its version.
        version: String,
        /// Its digest.
        digest: Digest,
    },
    /// Took a recall back.
    ReleaseReinstated {
        /// Name of the class that it is for.
        class: String,
        /// Name of the component.
        component: String,
        /// Its version.
        version: String,
        /// Its digest.
        digest: Digest,
    },
    /// Published a signed manifest.
    ManifestPublished {
        /// Its digest.
        digest: Digest,
        /// Its sequence number.
        sequence: u64,
    },
    /// Published anchors.
    AnchorsPublished {
        /// Their edition.
        edition: u64,
    },
    /// Removed old events from the ledger, after they were exported.
    LedgerCut {
        /// How many.
        events: u64,
        /// The event from which on the ledger is whole.
        kept_from: u64,
    },
}

impl Deed {
    /// Gives the name that stands in stores and interfaces; never changes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::DeviceEnrolled { .. } => "device_enrolled",
            Self::DeviceDetached { .. } => "device_detached",
            Self::DeviceDecommissioned => "device_decommissioned",
            Self::CredentialReplaced { .. } => "credential_replaced",
            Self::CredentialUsed { .. } => "credential_used",
            Self::DeviceTagged { .. } => "device_tagged",
            Self::DevicesImported { .. } => "devices_imported",
            Self::GatewayEnrolled { .. } => "gateway_enrolled",
            Self::GatewayRemoved { .. } => "gateway_removed",
            Self::ReleasePublished { .. } => "release_published",
            Self::ReleaseRecalled { .. } => "release_recalled",
            Self::ReleaseReinstated { .. } => "release_reinstated",
            Self::ManifestPublished { .. } => "manifest_published",
            Self::AnchorsPublished { .. } => "anchors_published",
            Self::LedgerCut { .. } => "ledger_cut",
        }
    }

    /// Says it in words, as in "the device was ...".
    #[must_use]
    pub fn text(&self) -> String {
        let short = |digest: &Digest| hex::encode(&digest[..6]);
        match self {
            Self::DeviceEnrolled { class, gateway: None } => {
                format!("was enrolled as a device of class {class}")
            }
            Self::DeviceEnrolled { class, gateway: Some(gateway) } => {
                format!("was enrolled as a device of class {class} behind the gateway {gateway}")
            }
            Self::DeviceDetached { gateway } => format!("was taken off the list of the gateway {gateway}"),
            Self::DeviceDecommissioned => "was decommissioned: its keys are gone".to_owned(),
            Self::CredentialReplaced { number, at_once: true } => {
                format!("got DTLS credential {number}; the one before it is refused from now on")
            }
            Self::CredentialReplaced { number, at_once: false } => {
                format!("got DTLS credential {number}; the one before it is taken until this one was used")
            }
            Self::CredentialUsed { number } => {
                format!("used DTLS credential {number}; the one before it is refused from now on")
            }
            Self::DeviceTagged { added, removed } => {
                let words = [("was tagged", added), ("lost the tag", removed)];
                let said = words.into_iter().filter(|(_, tags)| !tags.is_empty());
                said.map(|(word, tags)| format!("{word} {}", tags.join(", ")))
                    .collect::<Vec<_>>()
                    .join(", and ")
            }
            Self::DevicesImported { import, devices } => {
                format!("{devices} device(s) were enrolled by the import {import}")
            }
            Self::GatewayEnrolled { gateway } => format!("the gateway {gateway} was enrolled"),
            Self::GatewayRemoved { gateway } => format!("the gateway {gateway} was removed"),
            Self::ReleasePublished { class, component, version, digest } => {
                format!("{component} {version} for {class} was published, image {}", short(digest))
            }
            Self::ReleaseRecalled { class, component, version, digest } => {
                format!("{component} {version} for {class} was recalled, image {}", short(digest))
            }
            Self::ReleaseReinstated { class, component, version, digest } => {
                format!(
                    "the recall of {component} {version} for {class} was taken back, image {}",
                    short(digest)
                )
            }
            Self::ManifestPublished { digest, sequence } => {
                format!("the manifest {} with sequence number {sequence} was published", short(digest))
            }
            Self::AnchorsPublished { edition } => format!("edition {edition} of the anchors was published"),
            Self::LedgerCut { events, kept_from } => format!(
                "{events} old event(s) were exported and removed from the ledger, which is whole from event {kept_from} on"
            ),
        }
    }
}
