//! A broker of one's own over TLS and over web sockets, by password and by certificate: the real mosquitto.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bellwether_tests::certificates::{Authority, Certified};
use bellwether_tests::fleet::Fleet;
use bellwether_tests::mosquitto::{Mosquitto, free_port};
use bellwether_tests::mqtt::Mqtt;
use bellwether_tests::program::Program;
use bellwether_tests::{server, wait};

/// A mosquitto that listens in each way, and the authority of its certificate.
struct Site {
    broker: Mosquitto,
    authority: Authority,
    tls: u16,
    web: u16,
    web_tls: u16,
    by_certificate: u16,
    folder: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new(folder.path(), "authority");
        let own = authority.certify("broker", &["localhost", "127.0.0.1"]);
        let [tls, web, web_tls, by_certificate] = [(); 4].map(|()| free_port());
        let secured = format!(
            "certfile {}\nkeyfile {}\ncafile {}",
            own.certificate.display(),
            own.key.display(),
            authority.certificate.display()
        );
        let further = format!(
            "listener {tls} 127.0.0.1\n{secured}\n\
             listener {web} 127.0.0.1\nprotocol websockets\n\
             listener {web_tls} 127.0.0.1\nprotocol websockets\n{secured}\n\
             listener {by_certificate} 127.0.0.1\n{secured}\nrequire_certificate true\nuse_identity_as_username true\n"
        );
        let broker = Mosquitto::start_with(folder.path(), further);
        Self { broker, authority, tls, web, web_tls, by_certificate, folder }
    }

    /// A client that knows the plain listener alone.
    fn manager(&self, name: &str) -> Mqtt {
        Mqtt::connect(&self.broker.login("manager"), name)
    }

    fn server(&self, url: &str, version: &str, further: &[&str]) -> Fleet {
        let flags = self.broker.flags_of(url, version);
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(further.iter().copied()).collect();
        Fleet::start_with(&flags)
    }

    fn certified(&self) -> Certified {
        self.authority.certify("server", &[])
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Waits until the server says why it can't come in.
fn refusal(fleet: &Fleet) -> String {
    let line = || {
        let said = fleet.server.said();
        said.lines().find(|line| line.contains("the broker can't be used")).map(str::to_owned)
    };
    wait::until("a refusal", wait::LONG, line, || fleet.server.tail())
}

#[test]
fn every_way_to_a_broker_carries_commands_and_their_replies() {
    let site = Site::start();
    let authority = shown(&site.authority.certificate);
    let Site { tls, web, web_tls, by_certificate, .. } = site;
    let client = site.certified();
    let (certificate, key) = (shown(&client.certificate), shown(&client.key));
    let own = ["--mqtt-ca-file", &authority, "--mqtt-cert-file", &certificate, "--mqtt-key-file", &key];
    for (number, (url, version, further)) in [
        (format!("mqtts://server@localhost:{tls}"), "5", &own[..2]),
        (format!("mqtts://server@127.0.0.1:{tls}"), "3.1.1", &own[..2]),
        (format!("ws://server@127.0.0.1:{web}/mqtt"), "5", &[][..]),
        (format!("wss://server@localhost:{web_tls}"), "3.1.1", &own[..2]),
        (format!("wss://server@localhost:{web_tls}/mqtt"), "5", &own[..2]),
        (format!("mqtts://localhost:{by_certificate}"), "5", &own[..]),
    ]
    .into_iter()
    .enumerate()
    {
        let traced = [further, &["--log", "trace"]].concat();
        let fleet = site.server(&url, version, &traced);
        fleet.await_broker();
        let mut manager = site.manager(&format!("manager-{number}"));
        let request = serde_json::json!({"request_id": format!("r{number}")});
        let reply = manager.ask_by_id("bellwether/v1/default/commands/campaigns/list", &request);
        assert_eq!(reply["ok"]["campaigns"], serde_json::json!([]), "{url}: {reply:#}");
        let log = fs::read(fleet.server.log()).expect("the log");
        let password = b"the password of server".to_vec();
        for form in [hex::encode(&password).into_bytes(), password] {
            assert!(!log.windows(form.len()).any(|window| window == form), "{url}: password in the log");
        }
    }
}

#[test]
fn what_tls_refuses_is_said_once_with_what_to_do() {
    let site = Site::start();
    let authority = shown(&site.authority.certificate);
    let stranger = Authority::new(site.folder.path(), "stranger");
    let foreign = stranger.certify("foreigner", &[]);
    let by_foreign = [
        "--mqtt-ca-file",
        &authority,
        "--mqtt-cert-file",
        &shown(&foreign.certificate),
        "--mqtt-key-file",
        &shown(&foreign.key),
    ]
    .map(str::to_owned);
    let ca = ["--mqtt-ca-file".to_owned(), authority];
    let Site { tls, by_certificate, web, .. } = site;
    for (url, further, advice) in [
        (format!("mqtts://server@localhost:{tls}"), vec![], "--mqtt-ca-file"),
        (format!("mqtts://server@127.0.0.2:{tls}"), ca.to_vec(), "I/O"),
        (format!("mqtts://localhost:{by_certificate}"), ca.to_vec(), "--mqtt-cert-file and --mqtt-key-file"),
        (format!("mqtts://localhost:{by_certificate}"), by_foreign.to_vec(), "does not believe"),
        (format!("mqtts://server@localhost:{web}"), ca.to_vec(), "does not speak TLS"),
        (format!("mqtts://observer@localhost:{tls}"), ca.to_vec(), "--mqtt-password-file"),
    ] {
        let further: Vec<&str> = further.iter().map(String::as_str).collect();
        let fleet = site.server(&url, "5", &further);
        let said = refusal(&fleet);
        assert!(said.contains(advice), "{url}: {said}");
        assert_eq!(fleet.server.http().get("/health").status, 200);
    }
}

#[test]
fn renewed_certificate_is_taken_up_at_the_next_connection_and_a_lost_one_is_named() {
    let mut site = Site::start();
    let client = site.certified();
    let url = format!("mqtts://localhost:{}", site.by_certificate);
    let (authority, certificate, key) =
        (shown(&site.authority.certificate), shown(&client.certificate), shown(&client.key));
    let fleet = site.server(
        &url,
        "5",
        &["--mqtt-ca-file", &authority, "--mqtt-cert-file", &certificate, "--mqtt-key-file", &key],
    );
    fleet.await_broker();
    let list = "bellwether/v1/default/commands/campaigns/list";
    site.manager("first").ask(list, r#"{"request_id":"first"}"#);
    site.broker.stop();
    fs::remove_file(&client.certificate).expect("removed");
    let named = || fleet.server.said().contains("server.pem can't be read").then_some(());
    wait::until("the lost file", wait::LONG, named, || fleet.server.tail());
    // With another key as well: nothing of the one before is kept.
    site.certified();
    site.broker.start_again();
    fleet.await_broker();
    site.manager("second").ask(list, r#"{"request_id":"second"}"#);
}

#[test]
fn key_that_others_can_read_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let client = Authority::new(folder.path(), "authority").certify("server", &[]);
    fs::set_permissions(&client.key, fs::Permissions::from_mode(0o644)).expect("opened");
    let mut command = server::command(&folder.path().join("data"));
    command.args(["--mqtt", "mqtts://localhost", "--mqtt-cert-file", &shown(&client.certificate)]);
    command.args(["--mqtt-key-file", &shown(&client.key)]);
    let (status, said) = Program::run(command);
    assert!(!status.success() && said.contains("chmod 600"), "{said}");
}
