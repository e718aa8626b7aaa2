//! What the gateway keeps on its disk: bounded, and believed only once verified.

use bellwether_tests::images;
use bellwether_tests::raw_device::Identity;
use bellwether_tests::site::{GATEWAY, Site};

#[test]
fn cache_stays_within_its_bytes_and_old_resources_make_room() {
    let site = Site::with(500_000, &["--cache-mib", "1"]);
    let fleet = &site.meters.fleet;
    let bytes = || site.stored().iter().map(|(_, content)| content.len()).sum::<usize>();
    for (round, class) in (0u32..).zip(["pump", "fan", "bell", "horn"]) {
        let seed = 40 + round;
        let (old, new) = (images::image(seed, 4_000), images::image(seed + 10, 500_000));
        fleet.release(class, "1.0", &old);
        fleet.release(class, "2.0", &new);
        let manifest = fleet.manifest(10 + u64::from(round), &[(class, "2.0")]);
        let name = format!("{class}-1");
        let unit = fleet.device_behind(&name, class, GATEWAY);
        let identity = Identity::from_factory(&unit, class, images::digest(&old));
        fleet.launch(&manifest, "");
        let mut device = site.connect(identity);
        let granted = device.granted_soon(&manifest.digest);
        assert_eq!(device.fetch(&granted), new);
        // A little beside the frames is allowed: children, bundles, reports.
        assert!(bytes() < CACHE_BYTES + BESIDE_BYTES, "{} bytes after {class}", bytes());
    }
    // Four resources of half a mebibyte do not fit: the first is not there any more, and is fetched again.
    assert!(bytes() > CACHE_BYTES / 3, "{} bytes", bytes());
}

#[test]
fn frames_altered_on_its_own_disk_are_never_served_and_are_fetched_again() {
    let mut site = Site::new();
    let mut first = site.agent("meter-1");
    let mut second = site.agent("meter-2");
    let campaign = site.meters.launch();
    first.switch_on(&["--exit-when-updated"]);
    site.ends_well(&mut first, &campaign);
    let before = site.sent();
    assert_eq!(before.sent[GATEWAY], before.frames);

    site.gateway.kill9();
    let mut altered = 0;
    for (path, mut content) in site.stored() {
        if !path.components().any(|part| part.as_os_str() == FRAMES_FOLDER) {
            continue;
        }
        // A bit in every thousandth byte: no frame of the first half stays whole.
        for at in (0..content.len() / 2).step_by(1_000) {
            content[at] ^= 4;
            altered += 1;
        }
        std::fs::write(path, content).expect("written");
    }
    assert!(altered > 5, "{altered} bytes were altered");
    site.gateway.start();

    second.switch_on(&["--exit-when-updated"]);
    site.ends_well(&mut second, &campaign);
    let after = site.sent();
    assert!(after.sent[GATEWAY] > before.frames, "{after:?}");
    assert!(after.sent.len() == 1, "the device was served by the gateway alone: {after:?}");
    assert!(!second.said().contains("NotTheFrame"), "{}", second.said());
}

#[test]
fn folder_that_was_emptied_is_filled_again() {
    let mut site = Site::new();
    let mut first = site.agent("meter-1");
    let campaign = site.meters.launch();
    first.switch_on(&["--exit-when-updated"]);
    site.ends_well(&mut first, &campaign);
    site.gateway.kill9();
    std::fs::remove_dir_all(site.gateway.data()).expect("removed");
    site.gateway.start();
    let mut second = site.agent("meter-2");
    let again = site.meters.launch();
    second.switch_on(&["--exit-when-updated"]);
    site.ends_well(&mut second, &again);
    let sent = site.sent();
    assert_eq!(sent.sent[GATEWAY], 2 * sent.frames, "{sent:?}");
}

const CACHE_BYTES: usize = 1024 * 1024;
/// Children, one bundle a campaign, reports; none is larger than a manifest.
const BESIDE_BYTES: usize = 256 * 1024;
const FRAMES_FOLDER: &str = "frames";
