//! What a server keeps: the written forms of decided values.

use bellwether_decide::campaign::event_json;
use bellwether_store::codec::{campaign, component, state};

use crate::vector;

/// A device's state, of every version.
pub(crate) fn identity(data: &[u8]) {
    let Ok(read) = state::decode(data, 7) else { return };
    let written = state::encode(&read);
    assert_eq!(state::decode(&written, 7).expect("what was written can be read"), read);
    assert!(written.len() <= data.len() + 256, "{} of {}", written.len(), data.len());
}

pub(crate) fn identity_seeds() -> Vec<Vec<u8>> {
    let version = |name: &str| digits(&format!("server/store/src/codec/state/{name}.hex"));
    vec![version("v1"), version("v2")]
}

/// Reads a file of hexadecimal digits.
fn digits(path: &str) -> Vec<u8> {
    let text = String::from_utf8(vector::file(path)).expect("digits");
    hex::decode(text.split_whitespace().collect::<String>()).expect("digits")
}

/// Targets, policy and events as JSON, and component ids.
pub(crate) fn values(data: &[u8]) {
    if let Ok(read) = component::decode(data) {
        let written = component::encode(&read);
        assert_eq!(component::decode(&written).expect("what was written can be read"), read);
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(read) = campaign::decode_targets(text) {
        let written = campaign::encode_targets(&read).expect("what was read can be written");
        assert_eq!(campaign::decode_targets(&written).expect("as written"), read);
    }
    if let Ok(read) = campaign::decode_policy(text) {
        let written = campaign::encode_policy(&read).expect("what was read can be written");
        assert_eq!(campaign::decode_policy(&written).expect("as written"), read);
    }
    if let Ok(read) = event_json::decode(text) {
        assert_eq!(event_json::decode(&event_json::encode(&read)).expect("as written"), read);
    }
}

pub(crate) fn values_seeds() -> Vec<Vec<u8>> {
    let content = "c0".repeat(32);
    let resolved = format!(
        r#"{{"version":1,"at":5,"device":"lamp-1","what":{{"kind":"resolved","grant":1,"content":"{content}","bytes":1,"delta":{{"base":"{content}","algorithm":-1}}}}}}"#
    );
    let texts = [
        r#"{"v":1,"value":"all"}"#,
        r#"{"v":1,"value":{"classes":["lamp"]}}"#,
        r#"{"v":1,"value":{"endpoints":["lamp-1"]}}"#,
        r#"{"v":1,"value":{"in_flight_max":2,"failure_per_mille_max":100,"failure_sample_min":5,"reseed":true,"ask_go":true}}"#,
        r#"{"version":1,"at":5,"campaign":3,"what":{"kind":"launched","targeted":2,"by":{"who":"ann","why":"x"}}}"#,
        r#"{"version":1,"at":5,"device":"lamp-1","what":{"kind":"targeted","class":"lamp"}}"#,
        r#"{"version":1,"at":5,"device":"lamp-1","what":{"kind":"offer_failed","reason":"timeout"}}"#,
        r#"{"version":1,"at":5,"device":"lamp-1","what":{"kind":"installed","grant":18446744073709551615}}"#,
        r#"{"version":1,"at":5,"what":{"kind":"paused","who":null,"why":null}}"#,
        r#"{"version":1,"at":5,"what":{"kind":"halted","failure_per_mille":200}}"#,
        r#"{"version":1,"at":5,"device":"lamp-1","what":{"kind":"operated","act":"block","by":{},"until":9}}"#,
        r#"{"version":1,"at":5,"device":"lamp-1","what":{"kind":"alarm_raised","alarm":"clone","cause":"fork"}}"#,
        &resolved,
    ];
    let mut seeds: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).to_vec();
    seeds.push(component::encode(&[b"app".to_vec(), Vec::new(), vec![0; 30]]));
    seeds
}
