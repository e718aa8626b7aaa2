//! What people do that concerns no campaign: enrolments and publications. Who did it and why is in the ledger.

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
}

impl Deed {
    /// Gives the name that stands in stores and interfaces; never changes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::DeviceEnrolled { .. } => "device_enrolled",
            Self::DeviceDetached { .. } => "device_detached",
            Self::GatewayEnrolled { .. } => "gateway_enrolled",
            Self::GatewayRemoved { .. } => "gateway_removed",
            Self::ReleasePublished { .. } => "release_published",
            Self::ManifestPublished { .. } => "manifest_published",
            Self::AnchorsPublished { .. } => "anchors_published",
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
            Self::GatewayEnrolled { gateway } => format!("the gateway {gateway} was enrolled"),
            Self::GatewayRemoved { gateway } => format!("the gateway {gateway} was removed"),
            Self::ReleasePublished { class, component, version, digest } => {
                format!("{component} {version} for {class} was published, image {}", short(digest))
            }
            Self::ManifestPublished { digest, sequence } => {
                format!("the manifest {} with sequence number {sequence} was published", short(digest))
            }
            Self::AnchorsPublished { edition } => format!("edition {edition} of the anchors was published"),
        }
    }
}
