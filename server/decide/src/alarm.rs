//! Alarms: what an operator has to look at.

use crate::device::Endpoint;

/// What kind of trouble an alarm names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AlarmKind {
    /// A name that nobody enrolled asks for updates (row 2).
    UnknownIdentity,
    /// Two devices share one identity (rows 11 and 15).
    Clone,
    /// A device proved that it holds the key of a place that was left (row 18).
    CloneOrRolledBack,
    /// A device asks again for an update that it got (row 7).
    RepeatedRequest,
    /// A device proved that it is ahead of the server, and waits for a resync (row 13).
    AheadOfServer,
    /// The clock of a device is so far ahead of the server's that nothing can be granted by both.
    ClocksApart,
}

/// An alarm as a decision raises it. The shell adds who and where from: [`Occurrence`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alarm {
    /// What kind.
    pub kind: AlarmKind,
    /// One sentence for the operator: what was seen.
    pub cause: String,
}

/// One occurrence of an alarm.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Occurrence {
    /// What kind.
    pub kind: AlarmKind,
    /// Name as the message gave it; the enrolled name for all kinds but the unknown identity.
    pub identity: String,
    /// Address that the message came from.
    pub address: String,
    /// Address from which this identity was last heard before, if it is another.
    pub other_address: Option<String>,
    /// One sentence: what was seen.
    pub cause: String,
    /// Seconds since 1970.
    pub at: u64,
}

/// Key under which an alarm is raised once, with a count.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AlarmKey {
    /// What kind.
    pub kind: AlarmKind,
    /// Who: the identity, or for an unknown one the host that it asked from.
    pub subject: String,
    /// Days since 1970, UTC.
    pub day: u64,
}

impl AlarmKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::UnknownIdentity,
        Self::Clone,
        Self::CloneOrRolledBack,
        Self::RepeatedRequest,
        Self::AheadOfServer,
        Self::ClocksApart,
    ];

    /// Gives the name that stands in stores and interfaces; never changes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownIdentity => "unknown identity",
            Self::Clone => "clone",
            Self::CloneOrRolledBack => "clone or rolled-back device",
            Self::RepeatedRequest => "repeated request",
            Self::AheadOfServer => "ahead of the server",
            Self::ClocksApart => "clocks apart",
        }
    }

    /// Reads a name that [`AlarmKind::name`] gave.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Alarm {
    /// Joins the alarm with who asked, where from and when.
    #[must_use]
    pub fn occurred(
        self,
        endpoint: &Endpoint,
        address: &str,
        other_address: Option<&str>,
        at: u64,
    ) -> Occurrence {
        Occurrence {
            kind: self.kind,
            identity: endpoint.to_string(),
            address: address.to_owned(),
            other_address: other_address.filter(|other| *other != address).map(str::to_owned),
            cause: self.cause,
            at,
        }
    }
}

impl Occurrence {
    /// Gives the key under which occurrences are counted together: once per cause and day.
    #[must_use]
    pub fn key(&self) -> AlarmKey {
        let subject = match self.kind {
            // The name is the attacker's choice; a million invented names are one alarm of one host.
            AlarmKind::UnknownIdentity => host(&self.address).to_owned(),
            _ => self.identity.clone(),
        };
        AlarmKey { kind: self.kind, subject, day: self.at / DAY_S }
    }
}

/// Cuts the port off an address: `host:port` or `[v6]:port`.
fn host(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !is_bare_v6(host) =>
        {
            host
        }
        _ => address,
    }
}

/// Tells an IPv6 address without brackets, whose last group is no port.
fn is_bare_v6(host: &str) -> bool {
    host.contains(':') && !host.ends_with(']')
}

const DAY_S: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(kind: AlarmKind, identity: &str, address: &str, at: u64) -> Occurrence {
        let cause = "seen".to_owned();
        Occurrence {
            kind,
            identity: identity.to_owned(),
            address: address.to_owned(),
            other_address: None,
            cause,
            at,
        }
    }

    #[test]
    fn same_kind_identity_and_day_are_counted_together() {
        let morning = occurrence(AlarmKind::Clone, "meter-1", "192.0.2.1:5684", 10 * DAY_S);
        let evening = occurrence(AlarmKind::Clone, "meter-1", "192.0.2.9:5684", 11 * DAY_S - 1);
        assert_eq!(morning.key(), evening.key());
    }

    #[test]
    fn another_day_kind_or_identity_is_another_alarm() {
        let first = occurrence(AlarmKind::Clone, "meter-1", "192.0.2.1:5684", 11 * DAY_S - 1);
        for other in [
            Occurrence { at: 11 * DAY_S, ..first.clone() },
            Occurrence { kind: AlarmKind::RepeatedRequest, ..first.clone() },
            Occurrence { identity: "meter-2".to_owned(), ..first.clone() },
        ] {
            assert_ne!(first.key(), other.key());
        }
    }

    #[test]
    fn invented_names_from_one_host_are_one_alarm() {
        for (one, other) in
            [("192.0.2.1:1000", "192.0.2.1:2000"), ("[2001:db8::1]:1000", "[2001:db8::1]:2000")]
        {
            let one = occurrence(AlarmKind::UnknownIdentity, "a", one, 5);
            let other = occurrence(AlarmKind::UnknownIdentity, "b", other, 5);
            assert_eq!(one.key(), other.key());
        }
    }

    #[test]
    fn bare_ipv6_addresses_that_differ_in_the_last_group_are_two_hosts() {
        let one = occurrence(AlarmKind::UnknownIdentity, "a", "2001:db8::1", 5);
        let other = occurrence(AlarmKind::UnknownIdentity, "a", "2001:db8::2", 5);
        assert_ne!(one.key(), other.key());
    }

    #[test]
    fn both_addresses_are_named_when_they_differ() {
        let endpoint = Endpoint::try_from("meter-1").expect("a name");
        let alarm = Alarm { kind: AlarmKind::Clone, cause: "seen".to_owned() };
        let occurred = |other| alarm.clone().occurred(&endpoint, "192.0.2.1:1", other, 5).other_address;
        assert_eq!(occurred(Some("192.0.2.2:1")).as_deref(), Some("192.0.2.2:1"));
        assert_eq!(occurred(Some("192.0.2.1:1")), None);
    }

    #[test]
    fn names_are_read_back() {
        for kind in AlarmKind::ALL {
            assert_eq!(AlarmKind::from_name(kind.name()), Some(kind));
        }
    }
}
