//! The example in C for a host: firmware's first step with the C interface, compiled and run as `docs/porting.md` says.

use std::path::{Path, PathBuf};

use bellwether_agent::manifests::author::{class_id, vendor_id};
use bellwether_api::DeviceOutcome;
use bellwether_tests::fleet::{Fleet, VENDOR};
use bellwether_tests::images;
use bellwether_tests::program::{self, Program};

/// Compiles the example with every warning an error, and gives its path.
fn compile(fleet: &Fleet) -> PathBuf {
    let c = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("client-agent/c");
    let (library, device) = (program::binary("libbellwether_c.a"), fleet.folder().join("device"));
    let mut command = program::system_command(Path::new("/usr/bin/cc"));
    command.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"]).arg(c.join("include"));
    command.arg(c.join("examples/host/main.c")).arg(library).arg("-lm").arg("-o").arg(&device);
    let (status, said) = Program::run(command);
    assert!(status.success(), "{said}");
    device
}

#[test]
fn device_in_c_takes_a_delta_restarts_confirms_and_reports() {
    let fleet = Fleet::start_with(&["--coap", "127.0.0.1:0"]);
    let device = compile(&fleet);
    let old = images::image(5, 20_000);
    fleet.release("probe", "1.0.0", &old);
    fleet.release("probe", "2.0.0", &images::next_version(&old));
    fleet.cli.done("device add probe-1 --class probe --security none --out probe-1.unit");
    let campaign = fleet.launch(&fleet.manifest(1, &[("probe", "2.0.0")]), "");

    let vendor = vendor_id(VENDOR);
    let (vendor, class) = (hex::encode(vendor), hex::encode(class_id(&vendor, "probe")));
    let run = |words: &[&str]| {
        let mut command = program::system_command(&device);
        command.arg("flash").args(words).current_dir(fleet.folder());
        Program::run(command)
    };
    let (status, said) = run(&["prepare", "probe-1.unit", &vendor, &class, "probe-1.0.0.bin", "1.0.0"]);
    assert!(status.success(), "{said}");
    let (host, port) = (fleet.server.coap().ip().to_string(), fleet.server.coap().port().to_string());
    let on = ["run", "probe-1.unit", &vendor, &class, &host, &port];
    let (status, said) = run(&on);
    // It has begun the trial of the new image, and is to be restarted.
    assert_eq!(status.code(), Some(3), "{said}");
    let (status, said) = run(&on);
    assert!(said.contains("on trial"), "{said}");
    assert_eq!(status.code(), Some(0), "{said}");
    fleet.wait_outcome(&campaign, "probe-1", DeviceOutcome::Installed);
}

#[test]
fn device_in_c_says_what_is_wrong_with_a_flash_that_was_never_prepared() {
    let fleet = Fleet::start_with(&["--coap", "127.0.0.1:0"]);
    let device = compile(&fleet);
    fleet.cli.done("device add probe-1 --class probe --security none --out probe-1.unit");
    fleet.put("flash", &vec![0xff; 64 * 1024 + 2 * 1024 * 1024]);
    let id = "00".repeat(16);
    let mut command = program::system_command(&device);
    command.args(["flash", "run", "probe-1.unit", &id, &id, "127.0.0.1", "1"]).current_dir(fleet.folder());
    let (status, said) = Program::run(command);
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("boot: the flash holds no valid record or boot state"), "{said}");
}
