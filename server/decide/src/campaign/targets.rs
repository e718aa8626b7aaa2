//! Which devices a campaign is for.

use super::Targets;
use crate::device::Device;

impl Targets {
    /// Tells whether the campaign is for this device.
    #[must_use]
    pub fn include(&self, device: &Device) -> bool {
        match self {
            Self::All => true,
            Self::Classes(classes) => classes.contains(&device.class),
            Self::Endpoints(endpoints) => endpoints.contains(&device.endpoint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Endpoint;

    fn meter() -> Device {
        let endpoint = Endpoint::try_from("meter-1").expect("a name");
        Device { endpoint, class: "meter".to_owned(), enabled: true, added_at: 0 }
    }

    #[test]
    fn all_include_every_device() {
        assert!(Targets::All.include(&meter()));
    }

    #[test]
    fn classes_include_their_devices_only() {
        assert!(Targets::Classes(vec!["lamp".to_owned(), "meter".to_owned()]).include(&meter()));
        assert!(!Targets::Classes(vec!["lamp".to_owned()]).include(&meter()));
    }

    #[test]
    fn endpoints_include_those_named_only() {
        let named = |name: &str| Targets::Endpoints(vec![Endpoint::try_from(name).expect("a name")]);
        assert!(named("meter-1").include(&meter()));
        assert!(!named("meter-10").include(&meter()));
    }
}
