//! A full disk under the server, the gateway, the device and the backup: told with what to do, nothing acknowledged is
//! lost, and what waits goes on by itself once there is room.

use std::path::Path;

use bellwether_api::{CampaignState, DeviceOutcome};
use bellwether_manifests::message::Moment;
use bellwether_net::coap::{Code, Method, Request};
use bellwether_tests::agent::Agent;
use bellwether_tests::fleet::Fleet;
use bellwether_tests::http::Http;
use bellwether_tests::images;
use bellwether_tests::meters::Meters;
use bellwether_tests::open_metrics::Scrape;
use bellwether_tests::program::{self, Program};
use bellwether_tests::raw_device::{Line, Options};
use bellwether_tests::small_disk::{self, Here, SmallDisk};
use bellwether_tests::wait;
use serde_json::json;

use bellwether_tests::site::Site;

#[test]
fn full_disk_of_the_server_is_told_loses_nothing_and_is_over_when_there_is_room() {
    let Here::Yes { mounts } = small_disk::enter(
        "disk_full::full_disk_of_the_server_is_told_loses_nothing_and_is_over_when_there_is_room",
    ) else {
        return;
    };
    let folder = Fleet::new_folder();
    let disk = SmallDisk::on(&folder.path().join("server"), 12 * 1024, mounts);
    let mut meters = Meters::on(Fleet::start_in(folder, &[]), 24_000);
    let mut asking = meters.device("asking");
    let mut reporting = meters.device("reporting");
    let campaign = meters.launch();
    let granted = reporting.granted(&meters.manifest.digest);
    let processes = [meters.fleet.server.process()];
    disk.fill(&processes);

    let enrolled = fill_with_devices(&meters.fleet);
    let image = meters.fleet.server.http().upload(
        reqwest::Method::POST,
        "/v1/releases?class=meter&component=app&version=9.0",
        images::image(9, 200_000),
    );
    assert_eq!(image.status, 507, "{image:?}");
    let request = asking.identity.request(&meters.manifest.digest, &Options::default());
    let report = reporting.identity.report(&granted, Moment::Decrypted);
    for response in [asking.line.send_request(&request.bytes), reporting.line.send_report(&report.bytes)] {
        assert_eq!(response.code, Code::SERVICE_UNAVAILABLE);
        assert!(response.max_age.is_some_and(|seconds| seconds > 0), "{response:?}");
    }
    let reads: Vec<bellwether_api::Release> = meters.fleet.server.http().read("/v1/releases");
    assert_eq!(reads.len(), 2, "reading goes on");
    let told = || meters.fleet.server.said().contains("takes no writes").then_some(());
    // Under a limit of file sizes the log takes no lines either.
    if mounts {
        wait::until("a word about the disk", wait::LONG, told, || meters.fleet.server.tail());
    }
    let health = meters.fleet.server.http().get("/health/ready");
    assert!(health.status == 503 && health.body.contains("takes no writes"), "{health:?}");

    disk.free(&processes);
    let look = || {
        let response = asking.line.send_request(&request.bytes);
        (response.code == Code::CHANGED).then_some(())
    };
    wait::until("a grant", wait::LONG, look, || meters.fleet.server.tail());
    reporting.report(&report);
    let told = || meters.fleet.server.said().contains("takes writes again").then_some(());
    wait::until("a word about the disk", wait::LONG, told, || meters.fleet.server.tail());
    meters.fleet.release("meter", "9.0", &images::image(9, 200_000));
    meters.fleet.kill_and_restart();
    for name in enrolled {
        assert_eq!(meters.fleet.show(&name).class, "meter", "an acknowledged device is lost");
    }
    assert_eq!(meters.fleet.track(&campaign, "reporting").outcome, DeviceOutcome::Ready);
    assert!(!meters.fleet.server.said().contains("panicked"), "{}", meters.fleet.server.tail());
    drop(meters);
    drop(disk);
}

#[test]
fn device_that_leaves_while_the_disk_is_full_is_not_back_after_a_crash() {
    let Here::Yes { mounts } =
        small_disk::enter("disk_full::device_that_leaves_while_the_disk_is_full_is_not_back_after_a_crash")
    else {
        return;
    };
    let folder = Fleet::new_folder();
    let disk = SmallDisk::on(&folder.path().join("server"), 12 * 1024, mounts);
    let mut meters = Meters::on(Fleet::start_in(folder, &["--hibernate-after-s", "1"]), 24_000);
    let names = ["repeating", "silent"];
    let devices = names.map(|name| meters.device(name));
    let locations = devices.each_ref().map(|device| device.line.register(&device.identity.name));
    let asleep = || {
        let labels = [("door", "coaps"), ("what", "hibernated")];
        let metrics = meters.fleet.server.http_with(None).get("/metrics").body;
        let scrape = Scrape::parse(&metrics).unwrap_or_else(|error| panic!("{error}"));
        scrape
            .value("bellwether_session_turns_total", &labels)
            .is_some_and(|count| count >= 2.0)
            .then_some(())
    };
    wait::until("sleep", wait::LONG, asleep, || meters.fleet.server.tail());
    // As after their own reset: another session than the one that sleeps, beside which the registration is kept.
    let coaps = meters.fleet.server.coaps();
    let lines =
        devices.each_ref().map(|device| Line::connect(coaps, &device.identity.name, device.identity.psk()));
    let leaves = locations.map(|location| Request::new(Method::Delete, &format!("/{location}")));
    let processes = [meters.fleet.server.process()];
    disk.fill(&processes);
    fill_with_devices(&meters.fleet);
    for (line, leave) in lines.iter().zip(&leaves) {
        assert_eq!(line.send(leave.clone()).code, Code::SERVICE_UNAVAILABLE);
    }

    disk.free(&processes);
    let left = || (lines[0].send(leaves[0].clone()).code == Code::DELETED).then_some(());
    wait::until("room to forget it", wait::LONG, left, || meters.fleet.server.tail());
    let told = || meters.fleet.server.said().contains("takes writes again").then_some(());
    wait::until("a word about the disk", wait::LONG, told, || meters.fleet.server.tail());
    meters.fleet.kill_and_restart();
    for name in names {
        assert_eq!(meters.fleet.show(name).registered, None, "{name}");
    }
    drop(meters);
    drop(disk);
}

/// Enrols devices until the server says that it has no room; gives those that it acknowledged.
fn fill_with_devices(fleet: &Fleet) -> Vec<String> {
    let mut enrolled = Vec::new();
    let look = || {
        let name = format!("extra-{}", enrolled.len());
        let answer = fleet.server.http().post("/v1/devices", &json!({"endpoint": name, "class": "meter"}));
        if answer.status == 200 {
            enrolled.push(name);
            return None;
        }
        let (status, message) = answer.refusal();
        assert_eq!(status, 507, "{answer:?}");
        assert!(answer.body.contains("\"storage_full\""), "{}", answer.body);
        assert!(message.contains("takes no writes") && message.contains("make room"), "{message}");
        Some(())
    };
    wait::until("a refusal for want of room", wait::LONG, look, || fleet.server.tail());
    enrolled
}

#[test]
fn full_disk_of_a_gateway_holds_up_no_device_and_is_over_when_there_is_room() {
    let Here::Yes { mounts } = small_disk::enter(
        "disk_full::full_disk_of_a_gateway_holds_up_no_device_and_is_over_when_there_is_room",
    ) else {
        return;
    };
    let mut site = Site::new();
    site.gateway.kill9();
    std::fs::remove_dir_all(site.gateway.data()).expect("removed");
    let disk = SmallDisk::on(site.gateway.data(), 2 * 1024, mounts);
    site.gateway.start();
    let mut first = site.agent("meter-1");
    let identity = site.identity("meter-2");
    let campaign = site.meters.launch();
    let mut raw = site.connect(identity);
    let granted = raw.granted_soon(&site.meters.manifest.digest);
    let processes = [site.gateway.process()];
    disk.fill(&processes);

    first.switch_on(&["--exit-when-updated"]);
    site.ends_well(&mut first, &campaign);
    // Where the server is away, a report that can't be kept is not taken: the device brings it again.
    site.uplink.cut();
    let report = raw.identity.report(&granted, Moment::Decrypted);
    assert_eq!(raw.line.send_report(&report.bytes).code, Code::SERVICE_UNAVAILABLE);
    if mounts {
        let told = || site.gateway.said().contains("disk").then_some(());
        wait::until("a word about the disk", wait::LONG, told, || site.gateway.tail());
    }
    disk.free(&processes);
    assert_eq!(raw.line.send_report(&report.bytes).code, Code::SERVICE_UNAVAILABLE);
    site.wait_reports(1);
    site.gateway.kill_and_restart();
    site.wait_reports(1);
    site.uplink.mend();
    site.meters.fleet.wait_outcome(&campaign, "meter-2", DeviceOutcome::Ready);
    assert!(!site.gateway.said().contains("panicked"), "{}", site.gateway.tail());
    drop(site);
    drop(disk);
}

#[test]
fn flash_has_its_room_so_a_full_disk_ends_no_update_and_one_without_room_is_not_made() {
    let Here::Yes { mounts } = small_disk::enter(
        "disk_full::flash_has_its_room_so_a_full_disk_ends_no_update_and_one_without_room_is_not_made",
    ) else {
        return;
    };
    let meters = Meters::on(Fleet::start(), 100_000);
    let mut agent = Agent::make_without_patches(&meters.fleet, "meter-1", "meter", "1.0", "microcontroller");
    let small = meters.fleet.folder().join("small");
    let disk = SmallDisk::on(&small, 2 * 1024, mounts);
    let flash = small.join("meter-1.flash");
    std::fs::copy(agent.flash(), &flash).expect("copied");
    std::fs::remove_file(agent.flash()).expect("removed");
    std::os::unix::fs::symlink(&flash, agent.flash()).expect("linked");
    let campaign = meters.launch();
    agent.run_until("frame:12");
    disk.fill(&[]);
    let mut command = program::command("bellwether-agent");
    command.args(["flash", "--class", "meter", "--vendor", "example.com", "--kind", "microcontroller"]);
    command.args(["--version", "1.0", "--unit"]).arg(meters.fleet.device("meter-2", "meter"));
    command.arg("--image").arg(meters.fleet.folder().join("meter-1.0.bin"));
    command.arg("--out").arg(small.join("meter-2.flash"));
    if mounts {
        let (status, said) = Program::run(command);
        assert!(!status.success() && said.contains("meter-2.flash") && said.contains("space"), "{said}");
        assert!(!small.join("meter-2.flash").exists(), "half a flash is left");
    }
    agent.run_until_updated();
    meters.fleet.wait_outcome(&campaign, "meter-1", DeviceOutcome::Installed);
    disk.free(&[]);
    drop(meters);
    drop(disk);
}

#[test]
fn backup_to_a_full_disk_says_so_and_leaves_nothing() {
    let Here::Yes { mounts } =
        small_disk::enter("disk_full::backup_to_a_full_disk_says_so_and_leaves_nothing")
    else {
        return;
    };
    let meters = Meters::on(Fleet::start(), 400_000);
    let target = meters.fleet.folder().join("target");
    let disk = SmallDisk::on(&target, 500, mounts);
    let mut command = program::command("bellwether-server");
    command.args(["backup", "--data"]).arg(meters.fleet.server.data()).arg(target.join("backup.tar"));
    if !mounts {
        // The limit of the process that starts it is that of the backup.
        let mut limited = std::process::Command::new("prlimit");
        limited.arg("--fsize=300000").arg("env").args(["--ignore-signal=XFSZ"]);
        limited.arg(program::binary("bellwether-server"));
        limited.args(["backup", "--data"]).arg(meters.fleet.server.data()).arg(target.join("backup.tar"));
        command = limited;
    }
    let (status, said) = Program::run(command);
    assert!(!status.success() && said.contains("target/backup.tar"), "{said}");
    assert!(["space", "large", "full"].iter().any(|word| said.contains(word)), "{said}");
    assert_eq!(std::fs::read_dir(&target).expect("a folder").count(), 0, "{said}");
    assert_eq!(meters.fleet.server.http().get("/health").status, 200);
    drop(meters);
    drop(disk);
}

#[test]
fn server_that_starts_on_a_full_disk_says_which() {
    let Here::Yes { mounts } = small_disk::enter("disk_full::server_that_starts_on_a_full_disk_says_which")
    else {
        return;
    };
    let folder = Fleet::new_folder();
    let disk = SmallDisk::on(&folder.path().join("server"), 8 * 1024, mounts);
    let mut meters = Meters::on(Fleet::start_in(folder, &[]), 24_000);
    meters.fleet.device("meter-1", "meter");
    meters.fleet.server.kill9();
    if mounts {
        disk.fill(&[]);
        let (status, said) = Program::run(bellwether_tests::server::command(meters.fleet.server.data()));
        assert_eq!(status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains("server/") && (last.contains("space") || last.contains("full")), "{said}");
        disk.free(&[]);
    }
    meters.fleet.server.restart();
    assert_eq!(meters.fleet.show("meter-1").class, "meter");
    let campaign = meters.launch();
    assert_eq!(meters.fleet.campaign(&campaign).state, CampaignState::Running);
    drop(meters);
    drop(disk);
}

/// Where a log goes whose disk is full.
const FULL: &str = "/dev/full";

/// Waits for what a process leaves in its folder once it listens; it must not end.
fn listening(data: &Path, program: &mut Program) -> serde_json::Value {
    let look = || {
        assert!(program.ended().is_none(), "it ended since its log takes no lines");
        serde_json::from_slice(&std::fs::read(data.join("listening.json")).ok()?).ok()
    };
    wait::until("a process that listens", wait::LONG, look, String::new)
}

#[test]
fn log_on_a_full_disk_ends_neither_a_server_nor_a_request_nor_a_gateway() {
    let folder = Fleet::new_folder();
    let data = folder.path().join("server");
    let mut command = bellwether_tests::server::command(&data);
    command.args(["--mqtt", "off", "--log", "debug"]);
    let mut server = Program::start(command, Path::new(FULL));
    let address = listening(&data, &mut server)["http"].as_str().and_then(|at| at.parse().ok());
    let token = std::fs::read_to_string(data.join("http.token")).expect("a token");
    let http = Http::new(address.expect("an address"), Some(token.trim()));
    // Each is a line in the log.
    for _ in 0..3 {
        assert_eq!(http.get("/v1/devices").status, 200);
    }
    assert!(server.ended().is_none());

    let fleet = Fleet::start();
    let gateway = fleet.gateway("gw-1").with_flags(&["--log", "debug"]);
    let mut running = Program::start(gateway.command(), Path::new(FULL));
    listening(gateway.data(), &mut running);
    gateway.wait_status("a session with the server", |status| status["uplink"] == true);
    assert!(running.ended().is_none());
}
