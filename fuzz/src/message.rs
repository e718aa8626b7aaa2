//! The messages of update.cddl: what is read is written back to exactly the bytes that came.

use core::fmt::Debug;

use bellwether_keys::unit::{GatewayLink, UnitData};
use bellwether_keys::{ChainLength, Seed};
use bellwether_manifests::cbor::to_vec;
use bellwether_manifests::link::{Child, Children, GatewayUnit, Hint, HintKind, Hints};
use bellwether_manifests::message::peek::{attached_payload, peek, peek_cose};
use bellwether_manifests::message::{
    Answer, Bundle, Descriptor, Grant, List, Receipt, Report, Selector, StableAnswers, UpdateRequest, Verdict,
};
use minicbor::Encode;

/// Reads, writes again and compares; the value is shown too, since logs show it.
fn exact<'a, T, E>(data: &'a [u8], read: impl Fn(&'a [u8]) -> Result<T, E>) -> Option<T>
where
    T: Encode<()> + Debug,
{
    let value = read(data).ok()?;
    assert_eq!(to_vec(&value).expect("what was read can be written"), data, "{value:?}");
    assert!(!format!("{value:?}").is_empty());
    Some(value)
}

pub(crate) fn request(data: &[u8]) {
    let Some(request) = exact(data, UpdateRequest::decode) else { return };
    request.digest().expect("it was encoded before");
    request.selector.hash().expect("it was encoded before");
    for scope in &request.volatile {
        for (id, value) in &scope.answers {
            assert_eq!(request.volatile_answer(scope.component, id), Some(value), "each id stands once");
        }
    }
    assert_eq!(peek(data).map(|seen| seen.place), Ok(request.place));
}

pub(crate) fn selector(data: &[u8]) {
    if let Some(selector) = exact(data, Selector::decode) {
        for scope in &selector.scopes {
            for (id, value) in &scope.answers {
                assert_eq!(selector.answer(scope.component, id), Some(value), "each id stands once");
            }
        }
    }
    if let Ok(stable) = StableAnswers::decode(data) {
        for scope in &stable.scopes {
            for (id, value) in &scope.answers {
                assert_eq!(stable.answer(scope.component, id), Some(value));
            }
        }
    }
}

pub(crate) fn descriptor(data: &[u8]) {
    let Some(descriptor) = exact(data, Descriptor::decode) else { return };
    assert!((1..=8).contains(&descriptor.resources.len()));
    for resource in &descriptor.resources {
        let found = descriptor.resource(resource.component).expect("it is in the list");
        assert_eq!(found.component, resource.component);
    }
}

pub(crate) fn grant(data: &[u8]) {
    let Some(grant) = exact(data, Grant::decode) else { return };
    assert!((1..=8).contains(&grant.resources.len()));
    for resource in &grant.resources {
        assert!(grant.resource(resource.component).is_some());
    }
    assert_eq!(peek(data).map(|seen| (seen.kind, seen.place)), Ok((Some(0), grant.place)));
}

pub(crate) fn verdict(data: &[u8]) {
    let Some(verdict) = exact(data, Verdict::decode) else { return };
    let seen = peek(data).expect("a verdict has a place");
    assert_eq!((seen.kind, seen.place), (Some(verdict.detail.kind().into()), verdict.place));
}

pub(crate) fn report(data: &[u8]) {
    let Some(report) = exact(data, Report::decode) else { return };
    let head = report.head().expect("it was encoded before");
    assert!(data.starts_with(head.as_bytes()), "the head is what stands before the message in it");
    assert_eq!(peek(data).map(|seen| seen.place), Ok(report.place));
}

pub(crate) fn receipt(data: &[u8]) {
    if let Some(receipt) = exact(data, Receipt::decode) {
        assert_eq!(peek(data).map(|seen| seen.place), Ok(receipt.place));
    }
}

pub(crate) fn answer(data: &[u8]) {
    if let Some(answer) = exact(data, Answer::decode) {
        let seen = answer.peek();
        assert_eq!(seen.is_ok(), peek_cose(answer.message).is_ok());
    }
    if let Ok(payload) = attached_payload(data) {
        let within = payload.as_ptr_range();
        assert!(payload.is_empty() || data.as_ptr_range().contains(&within.start));
    }
}

pub(crate) fn bundle(data: &[u8]) {
    let Some(bundle) = exact(data, Bundle::decode) else { return };
    assert!(
        bundle.descriptors.iter().chain(bundle.grants.iter()).map(<[u8]>::len).sum::<usize>() <= data.len()
    );
    let _ = bundle.is_withdrawn();
}

pub(crate) fn gateway_unit(data: &[u8]) {
    if let Ok(unit) = GatewayUnit::decode(data) {
        assert_eq!(unit.encode().expect("what was read can be written")[..], *data);
        assert!(!format!("{unit:?}").contains(&format!("{:?}", unit.psk)), "the key is not shown");
    }
}

pub(crate) fn children(data: &[u8]) {
    if let Ok(children) = Children::decode(data) {
        assert_eq!(children.encode().expect("what was read can be written")[..], *data);
        let shown = format!("{children:?}");
        for child in &children.children {
            assert!(!shown.contains(&format!("{:?}", child.psk)), "the key is not shown");
        }
    }
}

pub(crate) fn hints(data: &[u8]) {
    exact(data, Hints::decode);
}

pub(crate) fn unit(data: &[u8]) {
    let Ok(unit) = UnitData::decode(data) else { return };
    let written = unit.encode().expect("what was read can be written");
    // A file of the version before the gateways is written as one of today.
    let again = UnitData::decode(&written).expect("what was written can be read");
    assert_eq!(again.encode().expect("as above"), written);
    assert_eq!(
        (again.id, again.servers.len(), again.gateways.len()),
        (unit.id, unit.servers.len(), unit.gateways.len())
    );
}

pub(crate) fn unit_seeds() -> Vec<Vec<u8>> {
    let servers = ["coaps://server:5684", "coaps://other"];
    let gateways = [GatewayLink { uri: "coaps://gateway:5684", identity: "lamp-1", psk: &[0xcc; 32] }];
    let unit = |gateways| UnitData {
        id: "lamp-1",
        epoch: 0,
        chain_length: ChainLength::DEFAULT,
        seed: Seed::new([0xaa; 32]),
        anchors: b"anchors",
        dtls_identity: "lamp-1",
        dtls_psk: &[0xbb; 32],
        servers: List::new(&servers),
        gateways,
    };
    let today = unit(List::new(&gateways)).encode().expect("in its bounds").to_vec();
    // Version 1 ends before the gateways.
    let mut first = unit(List::default()).encode().expect("in its bounds").to_vec();
    first.pop();
    first[..2].copy_from_slice(&[0x89, 1]);
    vec![today, first]
}

pub(crate) fn children_seeds() -> Vec<Vec<u8>> {
    let children = ["lamp-1", "lamp-2"].map(|endpoint| Child { endpoint, psk: &[0xc7; 32] });
    let list = |children| {
        Children { edition: 4, children: List::new(children) }.encode().expect("in its bounds").to_vec()
    };
    vec![list(&children), list(&[])]
}

pub(crate) fn gateway_unit_seeds() -> Vec<Vec<u8>> {
    let servers = ["coaps://server:5684", "coaps://other"];
    let unit = GatewayUnit {
        name: "gateway-1",
        psk: &[0xc8; 32],
        servers: List::new(&servers),
        anchors: b"anchors",
    };
    vec![unit.encode().expect("in its bounds").to_vec()]
}

pub(crate) fn hints_seeds() -> Vec<Vec<u8>> {
    let hint = |what, detail| Hint { campaign: "7", endpoint: "lamp-1", what, detail };
    let hints = [hint(HintKind::Pushed, ""), hint(HintKind::Refused, "8"), hint(HintKind::Unreached, "")];
    vec![to_vec(&Hints(List::new(&hints))).expect("in its bounds")]
}
