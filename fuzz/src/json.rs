//! JSON of fleet managers: every verb's command over MQTT and HTTP, and the types of HTTP alone.

use bellwether_api as api;
use bellwether_server::commands::dispatch::VERBS;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A command of any verb, read by the verb itself: what was understood is understood as the same.
pub(crate) fn command(data: &[u8]) {
    let Some((verb, body)) = data.split_first() else { return };
    let verb = &VERBS[usize::from(*verb) % VERBS.len()];
    match verb.understand(body) {
        Ok(understood) => {
            let written = serde_json::to_vec(&understood).expect("JSON");
            let again = verb
                .understand(&written)
                .unwrap_or_else(|refusal| panic!("{understood} is refused: {refusal}"));
            assert_eq!(again, understood, "{} {}", verb.noun, verb.name);
        }
        Err(refusal) => assert!(refusal.to_string().len() <= 512 + 2 * body.len(), "{refusal}"),
    }
}

pub(crate) fn command_seeds() -> Vec<Vec<u8>> {
    const BODIES: [&str; 9] = [
        r#"{"request_id":"1","manifest":"MM","targets":{"classes":["lamp"]},"policy":{"in_flight_max":3}}"#,
        r#"{"request_id":"1","manifest":"MM","targets":{"endpoints":["lamp-1"]},"policy":{"reseed":true,"ask_go":false}}"#,
        r#"{"request_id":"r-2","campaign":7,"who":"ann","why":"too many failures"}"#,
        r#"{"after":"lamp-1","limit":20}"#,
        r#"{"campaign":7}"#,
        r#"{"endpoint":"lamp-1"}"#,
        r#"{"request_id":"r-3","endpoint":"lamp-1","who":"ann","why":"board was changed","manifest":"MM","hours":2}"#,
        r#"{"request_id":"r-4","who":"ann","why":"restored"}"#,
        "{}",
    ];
    let digest = "5a".repeat(32);
    let verbs = 0..u8::try_from(VERBS.len()).expect("few");
    verbs
        .flat_map(|verb| BODIES.map(|body| [&[verb][..], body.replace("MM", &digest).as_bytes()].concat()))
        .collect()
}

fn same<T: DeserializeOwned + Serialize>(data: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<T>(data) {
        let written = serde_json::to_vec(&read).expect("what was read can be written");
        let again: T = serde_json::from_slice(&written).expect("what was written can be read");
        assert_eq!(serde_json::to_vec(&again).expect("as before"), written);
    }
}

/// Bodies and answers of HTTP, which the command reads too.
pub(crate) fn body(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    READERS[usize::from(*kind) % READERS.len()](body);
}

const READERS: [fn(&[u8]); 14] = [
    same::<api::AddDevice>,
    same::<api::AddGateway>,
    same::<api::Campaign>,
    same::<api::CampaignExplanation>,
    same::<api::CampaignPage>,
    same::<api::Device>,
    same::<api::DevicePage>,
    same::<api::Event>,
    same::<api::Explanation>,
    same::<api::Gateway>,
    same::<api::Manifest>,
    same::<api::Release>,
    same::<api::Alarm>,
    same::<api::ErrorBody>,
];

pub(crate) fn body_seeds() -> Vec<Vec<u8>> {
    let digest = "5a".repeat(32);
    let rows = [
        (0, r#"{"endpoint":"lamp-1","class":"lamp","security":"psk"}"#.to_owned()),
        (1, r#"{"name":"gateway-1"}"#.to_owned()),
        (2, format!(r#"{{"id":7,"manifest":"{digest}","state":"running","classes":{{}},"devices":[]}}"#)),
        (5, r#"{"endpoint":"lamp-1","class":"lamp","registered":true,"epoch":0,"index":3}"#.to_owned()),
        (7, r#"{"at":5,"campaign":7,"device":"lamp-1","kind":"installed","text":"x"}"#.to_owned()),
        (9, r#"{"name":"gateway-1","children":["lamp-1"],"here":true}"#.to_owned()),
        (11, format!(r#"{{"id":1,"class":"lamp","version":"1.2","digest":"{digest}","size":40000}}"#)),
        (13, r#"{"code":"invalid","message":"no"}"#.to_owned()),
    ];
    rows.map(|(kind, text)| [&[kind][..], text.as_bytes()].concat()).to_vec()
}
