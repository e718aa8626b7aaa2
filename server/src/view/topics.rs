//! Names of topics.

use std::borrow::Cow;

use bellwether_decide::alarm::AlarmKind;
use bellwether_decide::campaign::CampaignId;
use bellwether_decide::device::Endpoint;
use bellwether_store::Tenant;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Topics of one tenant.
#[derive(Clone, Debug)]
pub struct Topics {
    /// `bellwether/v1/<tenant>`.
    prefix: String,
}

impl Topics {
    /// Makes the topics of a tenant.
    #[must_use]
    pub fn new(tenant: &Tenant) -> Self {
        Self { prefix: format!("{ROOT}/{}", level(tenant.as_str())) }
    }

    /// What the server subscribes to.
    pub(crate) fn all_commands(&self) -> String {
        format!("{}/commands/#", self.prefix)
    }

    /// Reads noun and verb from the topic of a command.
    pub(crate) fn verb<'a>(&self, topic: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = topic.strip_prefix(&self.prefix)?.strip_prefix("/commands/")?;
        rest.split_once('/').filter(|(_, name)| !name.contains('/'))
    }

    /// Where a reply goes: where the sender wants it, if that is not among our own topics beside the replies: nobody
    /// shall make the server write commands or events. Without a request id it goes to the level above.
    pub(crate) fn reply(&self, wanted: Option<&str>, request_id: Option<&str>) -> String {
        let replies = format!("{}/replies", self.prefix);
        let is_fit = |topic: &&str| {
            let own = topic.starts_with(&format!("{ROOT}/"));
            let levels = !topic.is_empty() && !topic.starts_with('$') && !topic.contains(['+', '#', '\0']);
            levels && (!own || topic.starts_with(&format!("{replies}/")))
        };
        match (wanted.filter(is_fit), request_id) {
            (Some(topic), _) => topic.to_owned(),
            (None, Some(id)) => format!("{replies}/{id}"),
            (None, None) => replies,
        }
    }

    pub(crate) fn progress(&self, campaign: CampaignId) -> String {
        format!("{}/campaigns/{}/progress", self.prefix, campaign.0)
    }

    pub(crate) fn campaign_events(&self, campaign: CampaignId) -> String {
        format!("{}/campaigns/{}/events", self.prefix, campaign.0)
    }

    pub(crate) fn campaign_device(&self, campaign: CampaignId, endpoint: &Endpoint) -> String {
        format!("{}/campaigns/{}/devices/{}", self.prefix, campaign.0, level(endpoint.as_str()))
    }

    pub(crate) fn device_update(&self, endpoint: &Endpoint) -> String {
        format!("{}/devices/{}/update", self.prefix, level(endpoint.as_str()))
    }

    pub(crate) fn device_registration(&self, endpoint: &Endpoint) -> String {
        format!("{}/devices/{}/registration", self.prefix, level(endpoint.as_str()))
    }

    pub(crate) fn alarm(&self, kind: AlarmKind) -> String {
        format!("{}/alarms/{}", self.prefix, kind.name().replace(' ', "-"))
    }

    pub(crate) fn server_status(&self) -> String {
        format!("{}/server/status", self.prefix)
    }
}

/// Makes one level of a name: what would part levels, or stand for other levels, is percent-encoded.
fn level(name: &str) -> Cow<'_, str> {
    utf8_percent_encode(name, RESERVED).into()
}

const RESERVED: &AsciiSet = &CONTROLS.add(b'/').add(b'+').add(b'#').add(b'%');

/// Version 1 of everything that is said over MQTT.
const ROOT: &str = "bellwether/v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new(&Tenant::default())
    }

    #[test]
    fn verb_is_read_from_its_topic_alone() {
        let topics = topics();
        assert_eq!(
            topics.verb("bellwether/v1/default/commands/campaigns/pause"),
            Some(("campaigns", "pause"))
        );
        for other in [
            "bellwether/v1/default/commands/campaigns",
            "bellwether/v1/default/commands/campaigns/pause/now",
            "bellwether/v1/other/commands/campaigns/pause",
            "commands/campaigns/pause",
        ] {
            assert_eq!(topics.verb(other), None, "{other}");
        }
    }

    #[test]
    fn name_with_slashes_or_wildcards_is_one_level() {
        let endpoint = Endpoint::try_from("urn:a/b+#%ü").expect("a name");
        assert_eq!(
            topics().device_update(&endpoint),
            "bellwether/v1/default/devices/urn:a%2Fb%2B%23%25%C3%BC/update"
        );
    }

    #[test]
    fn reply_goes_where_its_sender_wants_it_but_never_among_commands_and_events() {
        let reply = |wanted, id| topics().reply(wanted, id);
        assert_eq!(reply(Some("my/answers"), Some("r")), "my/answers");
        assert_eq!(
            reply(Some("bellwether/v1/default/replies/me"), Some("r")),
            "bellwether/v1/default/replies/me"
        );
        for own in ["bellwether/v1/default/commands/campaigns/cancel", "bellwether/v1/x", "a/#", "$SYS/a", ""]
        {
            assert_eq!(reply(Some(own), Some("r")), "bellwether/v1/default/replies/r", "{own}");
        }
        assert_eq!(reply(None, None), "bellwether/v1/default/replies");
    }
}
