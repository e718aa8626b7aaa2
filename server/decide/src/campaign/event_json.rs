//! The text form of events: JSON with a version, which stays readable for ever.
//!
//! Domain types are not `Serialize`; the types here are the ledger's, and a rename in the domain does not reach them.
//! A new kind of event or a new field that may be absent keeps the version; anything else raises it, and the old
//! version stays readable. Unknown fields are passed over.

use super::CampaignId;
use super::event::{By, Delivery, Event, EventKind};
use crate::alarm::AlarmKind;
use crate::deed::Deed;
use crate::device::{Endpoint, EndpointError};
use crate::identity::Digest;
use crate::key_index::Row;
use crate::operator::Act;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Version of the text form that is written.
pub const EVENT_VERSION: u32 = 1;

/// Why a text is no event.
#[derive(Debug, Error)]
pub enum EventError {
    /// A newer server wrote it: update this one.
    #[error("an event has version {0}, this server reads up to {EVENT_VERSION}")]
    Version(u32),
    /// The ledger is damaged.
    #[error("an event is not in its form")]
    Form(#[source] serde_json::Error),
    /// The ledger is damaged.
    #[error("an event names a device badly")]
    Device(#[source] EndpointError),
    /// The ledger is damaged.
    #[error("an event has a digest that is not 64 hexadecimal digits")]
    Digest,
    /// A newer server wrote it, or the ledger is damaged.
    #[error("an event names an unknown kind of alarm: {0}")]
    Alarm(String),
    /// A newer server wrote it, or the ledger is damaged.
    #[error("an event names an unknown act of an operator: {0}")]
    Act(String),
    /// A newer server wrote it, or the ledger is damaged.
    #[error("an event names an unknown row of the key-index table: {0}")]
    Row(String),
}

/// Writes an event as one line of JSON.
#[must_use]
pub fn encode(event: &Event) -> String {
    let row = EventRow {
        version: EVENT_VERSION,
        at: event.at,
        campaign: event.campaign.map(|campaign| campaign.0),
        device: event.device.as_ref().map(Endpoint::to_string),
        what: write_kind(&event.kind),
    };
    // Maps with text keys, numbers and texts always have a JSON form.
    serde_json::to_string(&row).unwrap_or_default()
}

/// Reads an event of any version up to [`EVENT_VERSION`].
///
/// # Errors
///
/// [`EventError::Version`] for a newer one, the others for a damaged text.
pub fn decode(text: &str) -> Result<Event, EventError> {
    let Version { version } = serde_json::from_str(text).map_err(EventError::Form)?;
    if version != EVENT_VERSION {
        return Err(EventError::Version(version));
    }
    let row: EventRow = serde_json::from_str(text).map_err(EventError::Form)?;
    Ok(Event {
        at: row.at,
        campaign: row.campaign.map(CampaignId),
        device: row.device.map(Endpoint::try_from).transpose().map_err(EventError::Device)?,
        kind: read_kind(row.what)?,
    })
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize, Serialize)]
struct EventRow {
    version: u32,
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    what: KindRow,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum KindRow {
    Launched {
        targeted: u32,
        #[serde(flatten)]
        by: ByRow,
    },
    Targeted {
        class: String,
    },
    Offered,
    OfferFailed {
        reason: String,
    },
    OfferWaits,
    Asked,
    Resolved {
        grant: u64,
        content: String,
        bytes: u64,
        delta: Option<DeltaRow>,
    },
    AlreadyCurrent,
    Decrypted {
        grant: u64,
    },
    Installed {
        grant: u64,
    },
    Failed {
        grant: u64,
        reason: String,
    },
    Refused {
        reason: String,
    },
    Cancelled(ByRow),
    Paused(ByRow),
    Resumed(ByRow),
    Retried(ByRow),
    Halted {
        failure_per_mille: u32,
    },
    Recalled {
        release: String,
        #[serde(flatten)]
        by: ByRow,
    },
    Finished,
    Operated {
        act: String,
        #[serde(flatten)]
        by: ByRow,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
    },
    Fitted {
        row: String,
    },
    Done {
        deed: DeedRow,
        #[serde(flatten)]
        by: ByRow,
    },
    AlarmRaised {
        alarm: String,
        cause: String,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
enum DeedRow {
    DeviceEnrolled {
        class: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gateway: Option<String>,
    },
    DeviceDetached {
        gateway: String,
    },
    DeviceDecommissioned,
    CredentialReplaced {
        number: u64,
        at_once: bool,
    },
    CredentialUsed {
        number: u64,
    },
    DeviceTagged {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        added: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        removed: Vec<String>,
    },
    DevicesImported {
        import: String,
        devices: u64,
    },
    GatewayEnrolled {
        gateway: String,
    },
    GatewayRemoved {
        gateway: String,
    },
    ReleasePublished {
        class: String,
        component: String,
        version: String,
        digest: String,
    },
    ReleaseRecalled {
        class: String,
        component: String,
        version: String,
        digest: String,
    },
    ReleaseReinstated {
        class: String,
        component: String,
        version: String,
        digest: String,
    },
    ManifestPublished {
        digest: String,
        sequence: u64,
    },
    AnchorsPublished {
        edition: u64,
    },
    LedgerCut {
        events: u64,
        kept_from: u64,
    },
}

/// Left out of the text where nobody said it, as in texts from before it could be said.
#[derive(Default, Deserialize, Serialize)]
struct ByRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    who: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

impl From<By> for ByRow {
    fn from(By { who, why, request }: By) -> Self {
        Self { who, why, request }
    }
}

impl From<ByRow> for By {
    fn from(ByRow { who, why, request }: ByRow) -> Self {
        Self { who, why, request }
    }
}

#[derive(Deserialize, Serialize)]
struct DeltaRow {
    base: String,
    algorithm: i64,
}

fn write_kind(kind: &EventKind) -> KindRow {
    match kind.clone() {
        EventKind::Launched { targeted, by } => KindRow::Launched { targeted, by: by.into() },
        EventKind::Targeted { class } => KindRow::Targeted { class },
        EventKind::Offered => KindRow::Offered,
        EventKind::OfferFailed { reason } => KindRow::OfferFailed { reason },
        EventKind::OfferWaits => KindRow::OfferWaits,
        EventKind::Asked => KindRow::Asked,
        EventKind::Resolved { delivery, grant, content, bytes } => {
            let delta = match delivery {
                Delivery::Full => None,
                Delivery::Delta { base, algorithm } => Some(DeltaRow { base: hex::encode(base), algorithm }),
            };
            KindRow::Resolved { grant, content: hex::encode(content), bytes, delta }
        }
        EventKind::AlreadyCurrent => KindRow::AlreadyCurrent,
        EventKind::Decrypted { grant } => KindRow::Decrypted { grant },
        EventKind::Installed { grant } => KindRow::Installed { grant },
        EventKind::Failed { grant, reason } => KindRow::Failed { grant, reason },
        EventKind::Refused { reason } => KindRow::Refused { reason },
        EventKind::Cancelled { by } => KindRow::Cancelled(by.into()),
        EventKind::Paused { by } => KindRow::Paused(by.into()),
        EventKind::Resumed { by } => KindRow::Resumed(by.into()),
        EventKind::Retried { by } => KindRow::Retried(by.into()),
        EventKind::Halted { failure_per_mille } => KindRow::Halted { failure_per_mille },
        EventKind::Recalled { release, by } => KindRow::Recalled { release, by: by.into() },
        EventKind::Finished => KindRow::Finished,
        EventKind::Operated { act, by, until } => {
            KindRow::Operated { act: act.name().to_owned(), by: by.into(), until }
        }
        EventKind::Fitted { row } => KindRow::Fitted { row: row.name().to_owned() },
        EventKind::Done { deed, by } => KindRow::Done { deed: write_deed(deed), by: by.into() },
        EventKind::AlarmRaised { kind, cause } => {
            KindRow::AlarmRaised { alarm: kind.name().to_owned(), cause }
        }
    }
}

fn read_kind(row: KindRow) -> Result<EventKind, EventError> {
    Ok(match row {
        KindRow::Launched { targeted, by } => EventKind::Launched { targeted, by: by.into() },
        KindRow::Targeted { class } => EventKind::Targeted { class },
        KindRow::Offered => EventKind::Offered,
        KindRow::OfferFailed { reason } => EventKind::OfferFailed { reason },
        KindRow::OfferWaits => EventKind::OfferWaits,
        KindRow::Asked => EventKind::Asked,
        KindRow::Resolved { grant, content, bytes, delta } => {
            let delivery = match delta {
                None => Delivery::Full,
                Some(row) => Delivery::Delta { base: read_digest(&row.base)?, algorithm: row.algorithm },
            };
            EventKind::Resolved { delivery, grant, content: read_digest(&content)?, bytes }
        }
        KindRow::AlreadyCurrent => EventKind::AlreadyCurrent,
        KindRow::Decrypted { grant } => EventKind::Decrypted { grant },
        KindRow::Installed { grant } => EventKind::Installed { grant },
        KindRow::Failed { grant, reason } => EventKind::Failed { grant, reason },
        KindRow::Refused { reason } => EventKind::Refused { reason },
        KindRow::Cancelled(by) => EventKind::Cancelled { by: by.into() },
        KindRow::Paused(by) => EventKind::Paused { by: by.into() },
        KindRow::Resumed(by) => EventKind::Resumed { by: by.into() },
        KindRow::Retried(by) => EventKind::Retried { by: by.into() },
        KindRow::Halted { failure_per_mille } => EventKind::Halted { failure_per_mille },
        KindRow::Recalled { release, by } => EventKind::Recalled { release, by: by.into() },
        KindRow::Finished => EventKind::Finished,
        KindRow::Operated { act, by, until } => {
            let act = Act::from_name(&act).ok_or(EventError::Act(act))?;
            EventKind::Operated { act, by: by.into(), until }
        }
        KindRow::Fitted { row } => {
            EventKind::Fitted { row: Row::from_name(&row).ok_or(EventError::Row(row))? }
        }
        KindRow::Done { deed, by } => EventKind::Done { deed: read_deed(deed)?, by: by.into() },
        KindRow::AlarmRaised { alarm, cause } => {
            let kind = AlarmKind::from_name(&alarm).ok_or(EventError::Alarm(alarm))?;
            EventKind::AlarmRaised { kind, cause }
        }
    })
}

fn write_deed(deed: Deed) -> DeedRow {
    match deed {
        Deed::DeviceEnrolled { class, gateway } => DeedRow::DeviceEnrolled { class, gateway },
        Deed::DeviceDetached { gateway } => DeedRow::DeviceDetached { gateway },
        Deed::DeviceDecommissioned => DeedRow::DeviceDecommissioned,
        Deed::CredentialReplaced { number, at_once } => DeedRow::CredentialReplaced { number, at_once },
        Deed::CredentialUsed { number } => DeedRow::CredentialUsed { number },
        Deed::DeviceTagged { added, removed } => DeedRow::DeviceTagged { added, removed },
        Deed::DevicesImported { import, devices } => DeedRow::DevicesImported { import, devices },
        Deed::GatewayEnrolled { gateway } => DeedRow::GatewayEnrolled { gateway },
        Deed::GatewayRemoved { gateway } => DeedRow::GatewayRemoved { gateway },
        Deed::ReleasePublished { class, component, version, digest } => {
            DeedRow::ReleasePublished { class, component, version, digest: hex::encode(digest) }
        }
        Deed::ReleaseRecalled { class, component, version, digest } => {
            DeedRow::ReleaseRecalled { class, component, version, digest: hex::encode(digest) }
        }
        Deed::ReleaseReinstated { class, component, version, digest } => {
            DeedRow::ReleaseReinstated { class, component, version, digest: hex::encode(digest) }
        }
        Deed::ManifestPublished { digest, sequence } => {
            DeedRow::ManifestPublished { digest: hex::encode(digest), sequence }
        }
        Deed::AnchorsPublished { edition } => DeedRow::AnchorsPublished { edition },
        Deed::LedgerCut { events, kept_from } => DeedRow::LedgerCut { events, kept_from },
    }
}

fn read_deed(row: DeedRow) -> Result<Deed, EventError> {
    Ok(match row {
        DeedRow::DeviceEnrolled { class, gateway } => Deed::DeviceEnrolled { class, gateway },
        DeedRow::DeviceDetached { gateway } => Deed::DeviceDetached { gateway },
        DeedRow::DeviceDecommissioned => Deed::DeviceDecommissioned,
        DeedRow::CredentialReplaced { number, at_once } => Deed::CredentialReplaced { number, at_once },
        DeedRow::CredentialUsed { number } => Deed::CredentialUsed { number },
        DeedRow::DeviceTagged { added, removed } => Deed::DeviceTagged { added, removed },
        DeedRow::DevicesImported { import, devices } => Deed::DevicesImported { import, devices },
        DeedRow::GatewayEnrolled { gateway } => Deed::GatewayEnrolled { gateway },
        DeedRow::GatewayRemoved { gateway } => Deed::GatewayRemoved { gateway },
        DeedRow::ReleasePublished { class, component, version, digest } => {
            Deed::ReleasePublished { class, component, version, digest: read_digest(&digest)? }
        }
        DeedRow::ReleaseRecalled { class, component, version, digest } => {
            Deed::ReleaseRecalled { class, component, version, digest: read_digest(&digest)? }
        }
        DeedRow::ReleaseReinstated { class, component, version, digest } => {
            Deed::ReleaseReinstated { class, component, version, digest: read_digest(&digest)? }
        }
        DeedRow::ManifestPublished { digest, sequence } => {
            Deed::ManifestPublished { digest: read_digest(&digest)?, sequence }
        }
        DeedRow::AnchorsPublished { edition } => Deed::AnchorsPublished { edition },
        DeedRow::LedgerCut { events, kept_from } => Deed::LedgerCut { events, kept_from },
    })
}

fn read_digest(text: &str) -> Result<Digest, EventError> {
    let mut digest = Digest::default();
    hex::decode_to_slice(text, &mut digest).map_err(|_| EventError::Digest)?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Lines as version 1 wrote them. Lines are added; none is ever changed.
    const GOLDEN: &str = include_str!("event_json_v1.jsonl");

    fn every_kind() -> Vec<EventKind> {
        let delta = Delivery::Delta { base: [0x0B; 32], algorithm: -7 };
        let by = By { who: Some("kim".to_owned()), why: Some("storm".to_owned()), request: None };
        let named = By { request: Some("r-1".to_owned()), ..by.clone() };
        let done = |deed| EventKind::Done { deed, by: named.clone() };
        let name = || "gw-1".to_owned();
        vec![
            EventKind::Launched { targeted: 3, by: By::default() },
            EventKind::Targeted { class: "meter".to_owned() },
            EventKind::Offered,
            EventKind::OfferFailed { reason: "no answer".to_owned() },
            EventKind::Asked,
            EventKind::Resolved { delivery: Delivery::Full, grant: 7, content: [0xC0; 32], bytes: 1000 },
            EventKind::Resolved { delivery: delta, grant: 8, content: [0xC1; 32], bytes: 90 },
            EventKind::AlreadyCurrent,
            EventKind::Decrypted { grant: 8 },
            EventKind::Installed { grant: 8 },
            EventKind::Failed { grant: 7, reason: "digest \"differs\"".to_owned() },
            EventKind::Refused { reason: "no".to_owned() },
            EventKind::Cancelled { by: By::default() },
            EventKind::Halted { failure_per_mille: 200 },
            EventKind::Finished,
            EventKind::AlarmRaised { kind: AlarmKind::CloneOrRolledBack, cause: "seen".to_owned() },
            EventKind::Launched { targeted: 3, by: by.clone() },
            EventKind::Paused { by: by.clone() },
            EventKind::Resumed { by: By::default() },
            EventKind::Cancelled { by: by.clone() },
            EventKind::Retried { by: by.clone() },
            EventKind::Operated { act: Act::Resync, by: by.clone(), until: Some(1_795_100_000) },
            EventKind::Operated { act: Act::Unblock, by, until: None },
            EventKind::Paused { by: named.clone() },
            done(Deed::DeviceEnrolled { class: "meter".to_owned(), gateway: None }),
            done(Deed::DeviceEnrolled { class: "meter".to_owned(), gateway: Some(name()) }),
            done(Deed::DeviceDetached { gateway: name() }),
            done(Deed::GatewayEnrolled { gateway: name() }),
            done(Deed::GatewayRemoved { gateway: name() }),
            done(Deed::ReleasePublished {
                class: "meter".to_owned(),
                component: "app".to_owned(),
                version: "2.0".to_owned(),
                digest: [0xD1; 32],
            }),
            done(Deed::ManifestPublished { digest: [0xD2; 32], sequence: 7 }),
            done(Deed::AnchorsPublished { edition: 2 }),
            EventKind::Fitted { row: Row::R9a },
            done(Deed::DeviceDecommissioned),
            done(Deed::CredentialReplaced { number: 2, at_once: true }),
            done(Deed::CredentialUsed { number: 2 }),
            done(Deed::DeviceTagged { added: vec!["roof".to_owned()], removed: Vec::new() }),
            done(Deed::DevicesImported { import: "spring".to_owned(), devices: 3 }),
            done(Deed::ReleaseRecalled {
                class: "meter".to_owned(),
                component: "app".to_owned(),
                version: "2.0".to_owned(),
                digest: [0xD1; 32],
            }),
            done(Deed::ReleaseReinstated {
                class: "meter".to_owned(),
                component: "app".to_owned(),
                version: "2.0".to_owned(),
                digest: [0xD1; 32],
            }),
            EventKind::Recalled { release: "app 2.0 for meter".to_owned(), by: named.clone() },
            done(Deed::LedgerCut { events: 12, kept_from: 14 }),
            EventKind::OfferWaits,
        ]
    }

    fn every_event() -> Vec<Event> {
        let device = Endpoint::try_from("meter-1").ok();
        let whole = |kind: &EventKind| {
            matches!(
                kind,
                EventKind::Launched { .. }
                    | EventKind::Cancelled { .. }
                    | EventKind::Paused { .. }
                    | EventKind::Resumed { .. }
                    | EventKind::Retried { .. }
                    | EventKind::Halted { .. }
                    | EventKind::Recalled { .. }
                    | EventKind::Finished
            )
        };
        let event = |(at, kind): (u64, EventKind)| Event {
            at,
            campaign: (!matches!(
                kind,
                EventKind::AlarmRaised { .. }
                    | EventKind::Operated { .. }
                    | EventKind::Done { .. }
                    | EventKind::Fitted { .. }
            ))
            .then_some(CampaignId(1)),
            device: device.clone().filter(|_| !whole(&kind)),
            kind,
        };
        (1_795_000_000..).zip(every_kind()).map(event).collect()
    }

    #[test]
    fn lines_of_version_1_stay_readable() {
        let read: Vec<_> = GOLDEN.lines().map(|line| decode(line).expect("a readable line")).collect();
        assert_eq!(read, every_event());
    }

    #[test]
    fn events_are_written_as_version_1_wrote_them() {
        let written: Vec<_> = every_event().iter().map(encode).collect();
        assert_eq!(written, GOLDEN.lines().collect::<Vec<_>>());
    }

    #[test]
    fn newer_version_is_refused_by_its_number() {
        let newer = r#"{"version":2,"when":"a form that nobody knows yet"}"#;
        assert!(matches!(decode(newer), Err(EventError::Version(2))));
    }

    #[test]
    fn unknown_field_is_passed_over() {
        let line = r#"{"version":1,"at":5,"colour":"red","what":{"kind":"cancelled","shade":"dark"}}"#;
        let event = decode(line).expect("a readable line");
        assert_eq!((event.at, event.kind), (5, EventKind::Cancelled { by: By::default() }));
    }

    #[test]
    fn damaged_digest_device_and_alarm_are_told_apart() {
        let resolved =
            r#"{"version":1,"at":5,"what":{"kind":"resolved","grant":1,"content":"c0","bytes":1}}"#;
        assert!(matches!(decode(resolved), Err(EventError::Digest)));
        let device = r#"{"version":1,"at":5,"device":"","what":{"kind":"asked"}}"#;
        assert!(matches!(decode(device), Err(EventError::Device(EndpointError::Empty))));
        let alarm = r#"{"version":1,"at":5,"what":{"kind":"alarm_raised","alarm":"fire","cause":""}}"#;
        assert!(matches!(decode(alarm), Err(EventError::Alarm(kind)) if kind == "fire"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = decode(&text);
        }

        #[test]
        fn any_reason_comes_back_as_it_was(reason in ".*", grant in any::<u64>(), at in any::<u64>()) {
            let event = Event { at, campaign: None, device: None, kind: EventKind::Failed { grant, reason } };
            prop_assert_eq!(decode(&encode(&event)).expect("what was written"), event);
        }
    }
}
