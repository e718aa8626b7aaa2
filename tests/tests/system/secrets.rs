//! No secret of a run is in what the run writes, prints or answers.

use std::fs;

use bellwether_manifests::message::Moment;
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::meters::Meters;
use bellwether_tests::mqtt::{Login, Mqtt};
use bellwether_tests::program::Program;
use bellwether_tests::raw_device::Identity;
use bellwether_tests::stored;

/// A secret under a name for failures.
struct Secret {
    name: String,
    bytes: Vec<u8>,
}

impl Secret {
    fn new(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.to_owned(), bytes: bytes.to_vec() }
    }

    /// The forms in which bytes get out: as they are, in hexadecimal, in base64, and as Rust prints arrays.
    fn forms(&self) -> Vec<Vec<u8>> {
        let list: Vec<String> = self.bytes.iter().take(8).map(ToString::to_string).collect();
        vec![
            self.bytes.clone(),
            hex::encode(&self.bytes).into_bytes(),
            hex::encode_upper(&self.bytes).into_bytes(),
            base64(&self.bytes[..self.bytes.len() / 3 * 3]).into_bytes(),
            list.join(", ").into_bytes(),
            list.join(",").into_bytes(),
        ]
    }

    fn is_in(&self, haystack: &[u8]) -> bool {
        let within = |form: &Vec<u8>| haystack.windows(form.len()).any(|window| window == form);
        self.forms().iter().any(within)
    }
}

/// RFC 4648 §4, of a multiple of three bytes.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks_exact(3) {
        let bits = three.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        text.extend([18, 12, 6, 0].map(|shift| char::from(ALPHABET[bits >> shift & 63])));
    }
    text
}

fn assert_none_in(secrets: &[Secret], what: &str, haystack: &[u8]) {
    for secret in secrets {
        assert!(!secret.is_in(haystack), "{} is in {what}", secret.name);
    }
}

#[test]
fn secrets_of_a_run_are_in_no_log_answer_or_output() {
    let meters = Meters::on(Fleet::start_with(&["--log", "trace"]), 24_000);
    let mut meter = meters.device("meter-1");
    let campaign = meters.launch();
    let granted = meter.granted(&meters.manifest.digest);
    meter.fetch(&granted);
    let failed = meter.identity.report(&granted, Moment::Failed);
    meter.report(&failed);
    let granted = meter.granted(&meters.manifest.digest);
    meter.install(&granted, meters.new_digest());

    let secrets = secrets_of(&meters, &meter.identity);
    let outputs = [
        "device list",
        "device show meter-1",
        "device explain meter-1",
        "release list",
        "alarm list",
        &format!("campaign watch {campaign}"),
        "keys show author.key",
        "manifest show signed-2.suit --anchors anchors.cose",
    ];
    for words in outputs {
        let output = meters.fleet.cli.run(words);
        assert_none_in(&secrets, words, &[output.stdout, output.stderr].concat());
    }
    for path in PATHS {
        let answer = meters.fleet.server.http().get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_none_in(&secrets, path, answer.body.as_bytes());
    }
    assert!(meters.fleet.server.said().contains("TRACE"), "the log is not as talkative as it can be");
    assert_none_in(&secrets, "the server's log", meters.fleet.server.said().as_bytes());
}

/// All that can be read over HTTP.
const PATHS: [&str; 16] = [
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/v1/openapi.json",
    "/v1/asyncapi.json",
    "/v1/events",
    "/v1/devices",
    "/v1/devices/meter-1",
    "/v1/devices/meter-1/explain",
    "/v1/campaigns",
    "/v1/alarms",
    "/v1/anchors",
    "/v1/distributor",
    "/v1/releases",
    "/v1/manifests",
];

/// A gateway and its device, told to say all they can, with the embedded broker listened to all the while.
#[test]
fn secrets_are_in_no_log_message_or_folder_of_a_site() {
    let flags = ["--log", "trace", "--log-json", "--mqtt-listen", "127.0.0.1:0"];
    let meters = Meters::on(Fleet::start_with(&flags), 24_000);
    let mut gateway = meters.fleet.gateway("gw-1").with_flags(&["--log", "trace"]);
    gateway.start();
    let login = Login::embedded(meters.fleet.server.data());
    let mut listener = Mqtt::connect(&login, "listener");
    listener.subscribe("bellwether/#");
    let mut agent = Agent::make_behind(&meters.fleet, "meter-1", "meter", "1.0", "gw-1");
    agent.log_filter = "trace";
    meters.launch();
    agent.run_until("decrypted");
    agent.run_until_updated();
    listener.wait("the end of the update", |message| message.payload.contains("\"installed\""));
    let heard = format!("{:?}", listener.so_far());

    let unit = meters.fleet.folder().join("meter-1.unit");
    let mut secrets = secrets_of(&meters, &Identity::from_factory(&unit, "meter", [0; 32]));
    secrets.push(Secret::new("the password", login.password.as_bytes()));
    let author = fs::read_to_string(meters.fleet.folder().join("author.key")).expect("the author's key");
    secrets.extend(long_words(&author).map(|word| Secret::new("the author's key", word.as_bytes())));
    assert_none_in(&secrets, "messages", heard.as_bytes());
    assert_none_in(&secrets, "the server's log", meters.fleet.server.said().as_bytes());
    assert_none_in(&secrets, "the gateway's log", gateway.said().as_bytes());
    assert_none_in(&secrets, "the agent's log", agent.said().as_bytes());
    for (path, content) in stored::files(gateway.data()) {
        assert_none_in(&secrets, &path.display().to_string(), &content);
    }
    // Keys of links are the gateway's own; those of devices never were in its memory.
    let memory = gateway.memory();
    for secret in &secrets {
        let found = memory.windows(secret.bytes.len()).any(|window| window == secret.bytes);
        assert!(!found, "{} is in the gateway's memory", secret.name);
    }
}

/// The words of a text that are long enough to be keys.
fn long_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() >= 32)
}

/// A start that fails, help, and a panic's trace say as little as a run that goes well.
#[test]
fn secrets_are_in_no_refusal_to_start() {
    let meters = Meters::on(Fleet::start_with(&[]), 4_000);
    let meter = meters.device("meter-1");
    let secrets = secrets_of(&meters, &meter.identity);
    let key = meters.fleet.server.data().join("master.key");
    let mut server = meters.fleet.server;
    server.stop();
    let kept = fs::read_to_string(&key).expect("the master key");
    let cut = &kept[..kept.trim().len() - 2];
    fs::write(&key, cut).expect("written");
    let run = |flags: &[&str]| {
        let mut command = bellwether_tests::server::command(server.data());
        command.env("RUST_BACKTRACE", "1").args(["--mqtt", "off"]).args(flags);
        Program::run(command)
    };
    for flags in [&["--log", "trace"][..], &["--help"], &["--sessions-max", "none"]] {
        let (status, said) = run(flags);
        assert_eq!(status.success(), flags == ["--help"], "{said}");
        assert_none_in(&secrets, "what a failed start says", said.as_bytes());
        assert!(!said.contains(&cut[..16]), "a part of the master key is in {said}");
    }
}

#[test]
fn secrets_at_rest_are_in_their_own_files_alone() {
    let meters = Meters::on(Fleet::start_with(&["--log", "debug"]), 24_000);
    let mut agent = Agent::make(&meters.fleet, "meter-1", "meter", "1.0", "microcontroller");
    agent.log_filter = "trace";
    meters.launch();
    agent.run_until("decrypted");
    agent.run_until_updated();
    assert!(agent.said().contains("DEBUG"), "the log is not as talkative as it can be");

    let unit = meters.fleet.folder().join("meter-1.unit");
    let secrets = secrets_of(&meters, &Identity::from_factory(&unit, "meter", [0; 32]));
    let mut found = Vec::new();
    for (path, content) in stored::files(meters.fleet.folder()) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let within = secrets.iter().filter(|secret| secret.is_in(&content));
        found.extend(within.map(|secret| format!("{} in {name}", secret.name)));
    }
    found.sort();
    let expected = [
        "the DTLS key in meter-1.flash",
        "the DTLS key in meter-1.unit",
        "the master key in master.key",
        "the secret of connection IDs in connection-ids.key",
        "the seed in meter-1.flash",
        "the seed in meter-1.unit",
        "the token in http.token",
    ];
    assert_eq!(found, expected);
}

fn secrets_of(meters: &Meters, identity: &Identity) -> Vec<Secret> {
    let master = fs::read_to_string(meters.fleet.server.data().join("master.key")).expect("the master key");
    let cids = fs::read_to_string(meters.fleet.server.data().join("connection-ids.key")).expect("a secret");
    let decoded = |text: &str| hex::decode(text.trim()).expect("hexadecimal");
    vec![
        Secret::new("the secret of connection IDs", &decoded(&cids)),
        Secret::new("the seed", &identity.seed()),
        Secret::new("the DTLS key", &identity.psk()),
        Secret::new("the master key", &decoded(&master)),
        Secret::new("the token", &decoded(&meters.fleet.server.token())),
    ]
}
