//! The HTTP interface under wrong tokens, misspelt fields, repeated and oversized requests, and forged documents.

use bellwether_api::{Campaign, CampaignPage, Health};
use bellwether_tests::meters::Meters;
use reqwest::Method;
use serde_json::{Value, json};

/// Publishes the manifest and gives its name.
fn published(meters: &Meters) -> String {
    let envelope = std::fs::read(&meters.manifest.path).expect("the envelope");
    let manifest: bellwether_api::Manifest =
        meters.fleet.server.http().upload(Method::POST, "/v1/manifests", envelope).json();
    assert_eq!(manifest.digest, hex::encode(meters.manifest.digest));
    manifest.digest
}

#[test]
fn health_needs_no_token_and_everything_else_does() {
    let meters = Meters::new();
    let health: Health = meters.fleet.server.http_with(None).read("/health");
    assert_eq!(health.status, "ok");
    let token = meters.fleet.server.token();
    let (start, last) = token.split_at(token.len() - 1);
    let almost = format!("{start}{}", if last == "0" { "1" } else { "0" });
    let wrong = [None, Some(""), Some("x"), Some(&*almost), Some(&token[..32])];
    for path in ["/v1/devices", "/v1/campaigns", "/v1/alarms", "/v1/distributor", "/v1/anchors"] {
        for token in wrong {
            let (status, message) = meters.fleet.server.http_with(token).get(path).refusal();
            assert_eq!(status, 401, "{path} with {token:?}");
            assert!(message.contains("http.token") && !message.contains(&*almost), "{message}");
        }
    }
    let refused =
        meters.fleet.server.http_with(None).post("/v1/devices", &json!({"endpoint": "a", "class": "b"}));
    assert_eq!(refused.status, 401);
    assert_eq!(meters.fleet.server.http().get("/v1/devices/a").status, 404);
}

#[test]
fn misspelt_field_is_refused_by_its_name() {
    let meters = Meters::new();
    let http = meters.fleet.server.http();
    let manifest = published(&meters);
    let cases: [(&str, Value, &str); 5] = [
        ("/v1/devices", json!({"endpoint": "a", "clas": "meter"}), "clas"),
        ("/v1/devices", json!({"endpoint": "a", "class": "meter", "security": "none at all"}), "none at all"),
        (
            "/v1/campaigns",
            json!({"request_id": "r", "manifest": manifest, "policy": {"at_mots": 3}}),
            "at_mots",
        ),
        (
            "/v1/campaigns",
            json!({"request_id": "r", "manifest": manifest, "targets": {"class": []}}),
            "class",
        ),
        ("/v1/campaigns", json!({"manifest": manifest}), "request_id"),
    ];
    for (path, body, named) in cases {
        let (status, message) = http.post(path, &body).refusal();
        assert_eq!(status, 400, "{body}");
        assert!(message.contains(named), "{message}");
    }
    let (status, message) =
        http.upload(Method::POST, "/v1/releases?class=a&component=app&vresion=1", vec![1]).refusal();
    assert_eq!(status, 400);
    assert!(message.contains("vresion") || message.contains("version"), "{message}");
}

#[test]
fn values_out_of_bounds_are_refused_by_their_names() {
    let meters = Meters::new();
    let _meter = meters.device("meter-1");
    let http = meters.fleet.server.http();
    let manifest = published(&meters);
    let launch = |policy: Value| {
        http.post("/v1/campaigns", &json!({"request_id": "r", "manifest": manifest, "policy": policy}))
            .refusal()
    };
    assert!(matches!(launch(json!({"at_most": 0})), (400, message) if message.contains("at_most")));
    assert!(matches!(launch(json!({"at_most": -1})), (400, _)));
    let refused = launch(json!({"abort_failed_per_mille": 1001}));
    assert!(matches!(&refused, (400, message) if message.contains("abort_failed_per_mille")), "{refused:?}");
    let name = "x".repeat(65);
    let long = http.post("/v1/devices", &json!({"endpoint": name, "class": "meter"})).refusal();
    assert_eq!(long.0, 400, "{}", long.1);
    let refused = http.post("/v1/campaigns", &json!({"request_id": "r", "manifest": "zz"})).refusal();
    assert!(matches!(&refused, (400, message) if message.contains("digest")), "{refused:?}");
    let CampaignPage { campaigns, .. } = http.read("/v1/campaigns");
    assert!(campaigns.is_empty());
}

#[test]
fn launch_is_done_once_per_request_id_and_another_body_is_refused() {
    let meters = Meters::new();
    let _devices = [meters.device("meter-1"), meters.device("meter-2")];
    let http = meters.fleet.server.http();
    let manifest = published(&meters);
    let body = json!({"request_id": "once", "manifest": manifest, "policy": {"at_most": 1}});
    let first: Campaign = http.post("/v1/campaigns", &body).json();
    let again: Campaign = http.post("/v1/campaigns", &body).json();
    assert_eq!((&again.id, again.created), (&first.id, first.created));
    let other = json!({"request_id": "once", "manifest": manifest, "policy": {"at_most": 2}});
    let (status, message) = http.post("/v1/campaigns", &other).refusal();
    assert_eq!(status, 409);
    assert!(message.contains("once"), "{message}");
    let CampaignPage { campaigns, .. } = http.read("/v1/campaigns");
    assert_eq!(campaigns.len(), 1);
}

#[test]
fn oversized_body_is_refused_and_the_next_request_is_served() {
    let meters = Meters::new();
    let http = meters.fleet.server.http();
    let path = "/v1/releases?class=meter&component=app&version=9";
    let (status, message) = http.upload(Method::POST, path, vec![0x5a; 32 * 1024 * 1024 + 1]).refusal();
    assert_eq!(status, 413, "{message}");
    let devices: Vec<bellwether_api::Device> = http.read("/v1/devices");
    assert!(devices.is_empty());
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    let meters = Meters::new();
    let http = meters.fleet.server.http();
    for path in ["/v1/devices/ghost", "/v1/devices/ghost/explain", "/v1/campaigns/7"] {
        let (status, message) = http.get(path).refusal();
        assert_eq!(status, 404, "{path}: {message}");
    }
    let absent = json!({"request_id": "r", "manifest": hex::encode([7; 32])});
    assert_eq!(http.post("/v1/campaigns", &absent).refusal().0, 404);
    let (manifest, nobody) = (published(&meters), ["ghost"]);
    let body = json!({"request_id": "r", "manifest": manifest, "targets": {"endpoints": nobody}});
    assert!(
        matches!(http.post("/v1/campaigns", &body).refusal(), (404, message) if message.contains("ghost"))
    );
}

#[test]
fn device_is_enrolled_once_and_its_secrets_are_shown_once() {
    let meters = Meters::new();
    meters.fleet.device("meter-1", "meter");
    let body = json!({"endpoint": "meter-1", "class": "meter"});
    let (status, message) = meters.fleet.server.http().post("/v1/devices", &body).refusal();
    assert_eq!(status, 409);
    assert!(message.contains("not shown again"), "{message}");
}

#[test]
fn version_is_not_published_twice_with_different_images() {
    let meters = Meters::new();
    let http = meters.fleet.server.http();
    let path = "/v1/releases?class=meter&component=app&version=1.0";
    let same: bellwether_api::Release = http.upload(Method::POST, path, meters.old.clone()).json();
    assert_eq!(same.version, "1.0");
    let (status, message) = http.upload(Method::POST, path, meters.new.clone()).refusal();
    assert_eq!(status, 409, "{message}");
    let (status, message) = http.upload(Method::POST, path, vec![7; 100]).refusal();
    assert_eq!(status, 409, "{message}");
    assert_eq!(http.upload(Method::POST, path, Vec::new()).refusal().0, 400);
}

#[test]
fn manifest_by_a_stranger_is_refused_with_the_reason() {
    let meters = Meters::new();
    meters.fleet.cli.done("keys new stranger.key");
    meters.fleet.cli.done("manifest sign draft-2.suit --key stranger.key --out forged.suit");
    let said = meters.fleet.cli.refused("campaign launch --manifest forged.suit");
    assert!(said.contains("no author that is believed here has signed"), "{said}");
    let said = meters.fleet.cli.refused("campaign launch --manifest draft-2.suit");
    assert!(said.contains("no author that is believed here has signed"), "{said}");
}

#[test]
fn altered_manifest_is_refused_with_the_reason() {
    let meters = Meters::new();
    let http = meters.fleet.server.http();
    let envelope = std::fs::read(&meters.manifest.path).expect("the envelope");
    // Every seventh byte: each is refused, and the reason is told.
    for at in (0..envelope.len()).step_by(7) {
        let mut altered = envelope.clone();
        altered[at] ^= 1 << (at % 8);
        let (status, message) = http.upload(Method::POST, "/v1/manifests", altered).refusal();
        assert_eq!(status, 422, "byte {at}: {message}");
        assert!(message.contains("manifest") || message.contains("envelope"), "byte {at}: {message}");
    }
    let cut = envelope[..envelope.len() / 2].to_vec();
    assert_eq!(http.upload(Method::POST, "/v1/manifests", cut).refusal().0, 422);
    assert_eq!(http.upload(Method::POST, "/v1/manifests", b"hello".to_vec()).refusal().0, 422);
    let manifests: Vec<bellwether_api::Manifest> = http.read("/v1/manifests");
    assert!(manifests.is_empty());
}

#[test]
fn anchors_are_replaced_only_by_the_roots_that_are_believed() {
    let meters = Meters::new();
    let (fleet, cli) = (&meters.fleet, &meters.fleet.cli);
    cli.done("keys new usurper.key");
    let make = |root: &str, edition: u32, out: &str| {
        cli.done(&format!(
            "keys anchors --vendor example.com --root {root} --author author.pub --distributor distributor.pub \
             --edition {edition} --out {out}"
        ))
    };
    make("usurper.key", 2, "usurped.cose");
    assert!(cli.refused("keys trust usurped.cose").contains("too few root keys signed"));
    make("root.key", 2, "second.cose");
    cli.done("keys trust second.cose");
    // Back to the first edition.
    cli.refused("keys trust anchors.cose");
    let anchors: bellwether_api::Anchors = fleet.server.http().read("/v1/anchors");
    assert_eq!(anchors.edition, 2);
    assert_eq!(fleet.server.http().upload(Method::PUT, "/v1/anchors", vec![0; 10]).refusal().0, 422);
    // What no unit file could carry would make every later enrolment fail.
    let too_long = vec![0; bellwether_keys::unit::ANCHORS_BYTES_MAX + 1];
    assert_eq!(fleet.server.http().upload(Method::PUT, "/v1/anchors", too_long).refusal().0, 413);
}
