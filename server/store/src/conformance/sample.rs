//! Values to store: complete, every field different from its neighbours.

use bellwether_decide::alarm::{AlarmKind, Occurrence};
use bellwether_decide::campaign::event::{Event, EventKind};
use bellwether_decide::campaign::{Campaign, CampaignId, CampaignState, Policy, Targets};
use bellwether_decide::device::{Device, Endpoint};
use bellwether_decide::identity::{
    Confirm, Confirmed, Content, ForwardPermit, Grant, GrantState, IdentityState, KeptReport, LastAnswer,
    Moment, Permits, Place, Prove, ProveRow, Reseed, Shares,
};
use bellwether_decide::release::Class;

use crate::Store;
use crate::campaign::Command;
use crate::catalogue::{Base, Encryption, Manifest, Mode, NewRelease, Patch, Resource, ResourceKey};
use crate::device::{EnrolledDevice, NewIdentity, Security};
use crate::gateway::{Gateway, GatewayLink};
use crate::sealed::Sealed;
use crate::tenant::Tenant;

/// A moment of 2027, seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

/// Makes the tenant that most cases use.
#[must_use]
pub fn tenant() -> Tenant {
    Tenant::default()
}

/// Makes a second tenant.
#[must_use]
pub fn other_tenant() -> Tenant {
    Tenant::new("other").unwrap()
}

/// Makes an endpoint of a name that is one.
#[must_use]
pub fn endpoint(name: &str) -> Endpoint {
    Endpoint::try_from(name).unwrap()
}

/// Makes an enrolled lamp with a DTLS credential.
#[must_use]
pub fn device(name: &str) -> EnrolledDevice {
    EnrolledDevice {
        device: Device { endpoint: endpoint(name), class: "lamp".into(), enabled: true, added_at: NOW },
        vendor: "lamps.example".into(),
        security: Security::Psk { credential: Sealed::new(b"sealed credential".to_vec()) },
        link: None,
        credential: 1,
        next_credential: None,
        retired_at: None,
    }
}

/// Makes a gateway as it is enrolled.
#[must_use]
pub fn gateway(name: &str) -> Gateway {
    Gateway {
        name: endpoint(name),
        uri: format!("coaps://{name}.example:5684"),
        psk: Sealed::new(b"sealed key of the gateway".to_vec()),
        bundle_edition: NOW,
        children_edition: NOW + 1,
        added_at: NOW + 2,
    }
}

/// Makes an enrolled lamp that a gateway lists.
#[must_use]
pub fn child(name: &str, gateway: &str) -> EnrolledDevice {
    let psk = Sealed::new(format!("sealed link of {name}").into_bytes());
    EnrolledDevice { link: Some(GatewayLink { gateway: endpoint(gateway), psk }), ..device(name) }
}

/// Makes the identity of a device, as it leaves the factory.
#[must_use]
pub fn identity(name: &str) -> NewIdentity {
    NewIdentity {
        id: endpoint(name),
        chain_length: 1_024,
        seed: Sealed::new(b"sealed seed".to_vec()),
        links: Sealed::new(b"sealed links".to_vec()),
        state: IdentityState::new(0),
    }
}

/// Makes a state in which everything is set, at this revision.
#[must_use]
pub fn full_state(revision: u64) -> IdentityState {
    let left = Place { epoch: 0, index: 6 };
    IdentityState {
        revision,
        place: Place { epoch: 0, index: 7 },
        fork: [1, 2, 3, 4, 5, 6, 7, 8],
        counter_highest: Some(640),
        last: Some(LastAnswer { request: [0x21; 32], answer: b"answer".to_vec() }),
        grant_highest: NOW + 1,
        grants: vec![
            grant(left, GrantState::Confirmed),
            grant(Place { epoch: 0, index: 7 }, GrantState::Decrypted),
        ],
        confirmed: [(left, confirmed())].into(),
        reports: vec![KeptReport {
            digest: [0x31; 32],
            place: left,
            grant: NOW,
            moment: Moment::Installed,
            receipt: b"receipt".to_vec(),
            ahead: Some([0x32; 32]),
        }],
        proves: vec![Prove {
            token: [0x41; 16],
            row: ProveRow::R14,
            place: left,
            counter_highest: Some(639),
            expires: NOW + 60,
        }],
        restores: 4,
        unknown_at: Some(Place { epoch: 0, index: 7 }),
        fork_unsure: true,
        counter_doubtful: Some(704),
        seed_oldest: 0,
        epochs_shared: [2, 5].into(),
        permits: Permits {
            resync_until: Some(NOW + 3_600),
            reissue: vec![[0x33; 32]],
            forward: Some(ForwardPermit { until: NOW + 7_200, used: true }),
        },
        blocked_until: Some(NOW + 10_800),
    }
}

fn grant(place: Place, state: GrantState) -> Grant {
    Grant {
        number: NOW + u64::from(place.index),
        place,
        leads_to: Place { index: place.index + 1, ..place },
        manifest: [0x51; 32],
        selector: [0x52; 32],
        contents: vec![Content { component: 0, content: [0x53; 32], installed: [0x54; 32] }],
        keys: Some([0x55; 32]),
        not_after: NOW + 86_400,
        confirm: Confirm::Both,
        message: b"grant message".to_vec(),
        state,
        reseed: Some(Reseed {
            shares: Some(Shares { server: b"server share".to_vec(), device: b"device share".to_vec() }),
        }),
        go: true,
    }
}

fn confirmed() -> Confirmed {
    Confirmed {
        grant: NOW,
        confirm: Confirm::Installed,
        report: [0x61; 32],
        manifest: [0x62; 32],
        installed: vec![(0, [0x63; 32])],
        given_again: 2,
        leads_to: Place { epoch: 1, index: 0 },
    }
}

/// Makes an event of a device in a campaign.
#[must_use]
pub fn event(campaign: u64, name: &str, kind: EventKind) -> Event {
    Event { at: NOW, campaign: Some(CampaignId(campaign)), device: Some(endpoint(name)), kind }
}

/// Makes a clone alarm.
#[must_use]
pub fn occurrence(name: &str, at: u64) -> Occurrence {
    Occurrence {
        kind: AlarmKind::Clone,
        identity: name.into(),
        address: "192.0.2.1:5683".into(),
        other_address: Some("192.0.2.9:5683".into()),
        cause: "a request at its place has another fork head".into(),
        at,
    }
}

/// Makes a manifest with this byte as its digest.
#[must_use]
pub fn manifest(byte: u8, sequence: u64) -> Manifest {
    Manifest { digest: [byte; 32], sequence, uploaded_at: NOW, envelope: vec![0xD8, 0x6B, byte] }
}

/// Makes a release for the lamps.
#[must_use]
pub fn release(version: &str, digest: u8) -> NewRelease {
    NewRelease {
        vendor: "lamps.example".into(),
        class_name: "lamp".into(),
        class: Class { vendor: [0x71; 16], class: [0x72; 16] },
        component: vec![b"app".to_vec()],
        version: version.into(),
        digest: [digest; 32],
        size: 4_096,
        open: false,
        published_at: NOW,
    }
}

/// Makes the key of a full image, encrypted for all.
#[must_use]
pub fn full_key(target: u8) -> ResourceKey {
    ResourceKey { target: [target; 32], base: None, mode: Mode::Shared }
}

/// Makes the key of a delta, encrypted for all.
#[must_use]
pub fn delta_key(target: u8, base: u8) -> ResourceKey {
    ResourceKey { base: Some(Base { digest: [base; 32], algorithm: -70_001 }), ..full_key(target) }
}

/// Makes a full image with this byte in its digests and key.
#[must_use]
pub fn full_resource(byte: u8) -> Resource {
    Resource {
        content: [byte; 32],
        content_size: 4_097,
        plain: [byte ^ 0x0F; 32],
        plain_size: 4_098,
        target_size: 4_099,
        block: 992,
        root: [byte ^ 0xF0; 32],
        encryption: Some(Encryption {
            algorithm: -65_532,
            key: Sealed::new(vec![byte; 60]),
            iv: vec![byte; 16],
        }),
        patch: None,
        made_at: NOW,
    }
}

/// Makes a delta with this byte in its digests and key.
#[must_use]
pub fn delta_resource(byte: u8) -> Resource {
    let patch = Patch { base_size: 4_000, ram: 2_048, parameters: vec![0x0A, byte] };
    Resource { patch: Some(patch), ..full_resource(byte) }
}

/// Makes a running campaign of this number for every device.
#[must_use]
pub fn campaign(id: u64) -> Campaign {
    Campaign {
        id: CampaignId(id),
        manifest: [1; 32],
        targets: Targets::All,
        policy: Policy {
            in_flight_max: Some(2),
            failure_per_mille_max: 100,
            failure_sample_min: 5,
            reseed: true,
            ask_go: true,
        },
        launched_at: NOW,
        state: CampaignState::Running,
    }
}

/// Makes a command with this byte as the digest of its body.
#[must_use]
pub fn command(body: u8) -> Command {
    Command { request_id: "request-1".into(), body: [body; 32], reply: vec![0xAA, body], at: NOW }
}

/// Adds a manifest and the lamps of [`NAMES`], so that a campaign can be launched.
pub async fn add_fleet(store: &dyn Store, tenant: &Tenant) {
    store.add_manifest(tenant, &manifest(1, 7)).await.unwrap();
    for name in NAMES {
        store.add_device(tenant, &device(name), &identity(name)).await.unwrap();
    }
}

/// Names of the lamps that [`add_fleet`] adds.
pub const NAMES: [&str; 3] = ["lamp-1", "lamp-2", "lamp-3"];
