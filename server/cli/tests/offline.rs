//! Drives the command without any server: keys, anchors, manifests.

#![expect(clippy::expect_used, reason = "a test stops at the first thing that is not as it must be")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use bellwether_manifests::anchors::Anchors;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A folder in which the command is run, with no server in reach.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    /// With keys and anchors on it.
    fn with_anchors() -> Self {
        let desk = Self::new();
        for name in ["root", "author", "distributor"] {
            desk.done(&format!("keys new {name}.key"));
        }
        desk.done(ANCHORS);
        desk
    }

    fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bellwether"))
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .env_clear()
            .output()
            .expect("the command runs")
    }

    fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.done(&format!("--json {arguments}"))).expect("JSON")
    }

    /// Runs a command that must fail, and gives what it said.
    fn refused(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments} was done");
        String::from_utf8(output.stderr).expect("text")
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).expect("written")
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), content).expect("written");
    }

    fn has(&self, name: &str) -> bool {
        Path::exists(&self.folder.path().join(name))
    }
}

const ANCHORS: &str = "keys anchors --vendor example.com --root root.key --author author.pub \
                       --distributor distributor.pub --out anchors.cose";
const MAKE: &str = "manifest make --vendor example.com --sequence 2 --image lamp=lamp.bin:2.0.0 \
                    --image meter=meter.bin:1.4 --out fleet.suit";
const SIGN: &str = "manifest sign fleet.suit --key author.key --out signed.suit";

#[test]
fn manifest_is_made_signed_and_verified_by_the_anchors() {
    let desk = Desk::with_anchors();
    desk.put("lamp.bin", "lamp");
    desk.put("meter.bin", "meter");
    let made = desk.json(MAKE);
    desk.done(SIGN);
    let shown = desk.json("manifest show signed.suit --anchors anchors.cose");
    let author = desk.json("keys show author.pub");
    assert_eq!(shown["digest"], made["digest"]);
    assert_eq!(shown["verified"], true);
    assert_eq!(shown["signers"][0], author["kid"]);
    assert_eq!(shown["sequence_number"], 2);
    assert_eq!(shown["version"], "lamp 2.0.0, meter 1.4");
    let versions = shown["images"].as_array().expect("a list").iter().map(|image| &image["version"]);
    assert_eq!(versions.collect::<Vec<_>>(), ["2.0.0", "1.4"]);
    assert_eq!(shown["request_identifier"], "/u");
    let digests: Vec<_> = ["lamp", "meter"].map(|image| hex::encode(Sha256::digest(image))).into();
    let images = shown["images"].as_array().expect("a list");
    assert_eq!(
        images.iter().map(|image| &image["digest"]).collect::<Vec<_>>(),
        digests.iter().collect::<Vec<_>>()
    );
}

#[test]
fn version_that_has_no_integers_is_a_text_for_people_alone() {
    let desk = Desk::with_anchors();
    desk.put("lamp.bin", "lamp");
    let make = "manifest make --vendor example.com --sequence 2 --image lamp=lamp.bin:2024.01b --out b.suit";
    let shown = desk.json(make);
    assert_eq!((&shown["version"], &shown["images"][0]["version"]), (&"2024.01b".into(), &Value::Null));
    assert!(desk.done("manifest show b.suit").contains("2024.01b"));
}

#[test]
fn every_profile_is_read_back_with_the_same_questions() {
    let desk = Desk::with_anchors();
    desk.put("lamp.bin", "lamp");
    for profile in ["p", "s", "u"] {
        let make = "manifest make --vendor example.com --sequence 2 --image lamp=lamp.bin";
        let shown = desk.json(&format!("{make} --profile {profile} --out {profile}.suit"));
        assert_eq!(shown["asked"][1]["items"], serde_json::json!([3, 28]), "{profile}");
        assert_eq!(shown["request_identifier"], "/u", "{profile}");
    }
}

#[test]
fn unsigned_manifest_is_shown_as_such_and_not_verified() {
    let desk = Desk::with_anchors();
    desk.put("lamp.bin", "lamp");
    desk.put("meter.bin", "meter");
    desk.done(MAKE);
    assert!(desk.done("manifest show fleet.suit").contains("by nobody"));
    let said = desk.refused("manifest show fleet.suit --anchors anchors.cose");
    assert!(said.contains("no author"), "{said}");
}

#[test]
fn manifest_signed_by_a_stranger_is_not_verified() {
    let desk = Desk::with_anchors();
    desk.put("lamp.bin", "lamp");
    desk.put("meter.bin", "meter");
    desk.done(MAKE);
    desk.done("keys new stranger.key");
    desk.done("manifest sign fleet.suit --key stranger.key --out signed.suit");
    desk.refused("manifest show signed.suit --anchors anchors.cose");
}

#[test]
fn altered_manifest_is_neither_signed_nor_shown() {
    let desk = Desk::with_anchors();
    desk.put("lamp.bin", "lamp");
    desk.put("meter.bin", "meter");
    desk.done(MAKE);
    let mut envelope = desk.file("fleet.suit");
    let middle = envelope.len() / 2;
    envelope[middle] ^= 1;
    desk.put("fleet.suit", envelope);
    let said = desk.refused(SIGN);
    assert!(said.contains("fleet.suit"), "{said}");
    assert!(!desk.has("signed.suit"));
    desk.refused("manifest show fleet.suit");
}

#[test]
fn private_key_is_for_its_owner_alone_and_never_overwritten() {
    let desk = Desk::new();
    desk.done("keys new author.key");
    let before = (desk.file("author.key"), desk.file("author.pub"));
    let mode = std::fs::metadata(desk.folder.path().join("author.key")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = desk.refused("keys new author.key");
    assert!(said.contains("not overwritten"), "{said}");
    assert_eq!((desk.file("author.key"), desk.file("author.pub")), before);
}

#[test]
fn key_file_is_never_the_place_for_an_output() {
    let desk = Desk::with_anchors();
    desk.put("lamp.bin", "lamp");
    desk.put("meter.bin", "meter");
    desk.done(MAKE);
    let before = desk.file("author.key");
    desk.refused("manifest sign fleet.suit --key author.key --out author.key");
    assert_eq!(desk.file("author.key"), before);
}

#[test]
fn both_halves_of_a_key_show_the_same_id() {
    let desk = Desk::new();
    let made = desk.json("keys new author.key");
    let (private, public) = (desk.json("keys show author.key"), desk.json("keys show author.pub"));
    assert_eq!((&private["kid"], &public["kid"]), (&made["kid"], &made["kid"]));
    assert_eq!((&private["kind"], &public["kind"]), (&Value::from("private"), &Value::from("public")));
    assert_eq!(private["public"], public["public"]);
}

#[test]
fn missing_empty_or_doubled_images_are_refused_by_name() {
    let desk = Desk::new();
    desk.put("empty.bin", "");
    desk.put("lamp.bin", "lamp");
    let make =
        |image: &str| format!("manifest make --vendor example.com --sequence 2 --out f.suit --image {image}");
    for (image, expected) in [
        ("lamp=gone.bin", "gone.bin"),
        ("lamp=empty.bin", "empty"),
        ("lamp=.", "no file"),
        ("lamp.bin", "CLASS=FILE"),
        ("=lamp.bin", "CLASS=FILE"),
        ("lamp=lamp.bin --image lamp=lamp.bin", "twice"),
    ] {
        let said = desk.refused(&make(image));
        assert!(said.contains(expected), "{image}: {said}");
        assert!(!desk.has("f.suit"));
    }
}

#[test]
fn key_of_the_wrong_kind_is_refused_with_the_right_one() {
    let desk = Desk::with_anchors();
    desk.put("lamp.bin", "lamp");
    desk.put("meter.bin", "meter");
    desk.put("no.key", "-----BEGIN nonsense-----");
    desk.done(MAKE);
    let said = desk.refused("manifest sign fleet.suit --key author.pub --out signed.suit");
    assert!(said.contains("public key"), "{said}");
    let said = desk.refused("manifest sign fleet.suit --key no.key --out signed.suit");
    assert!(said.contains("bellwether keys new"), "{said}");
    let said = desk.refused(&ANCHORS.replace("author.pub", "author.key").replace("anchors.cose", "b.cose"));
    assert!(said.contains("author.pub"), "{said}");
}

#[test]
fn anchors_whose_threshold_no_root_reaches_are_not_signed() {
    let desk = Desk::with_anchors();
    let again = ANCHORS.replace("anchors.cose", "b.cose");
    desk.refused(&format!("{again} --threshold 2"));
    desk.done("keys new second.key");
    let signed = desk.json(&format!("{again} --threshold 2 --root second.key"));
    assert_eq!(signed["root"].as_array().expect("a list").len(), 2);
}

#[test]
fn root_keys_sign_in_steps_until_none_is_missing() {
    let desk = Desk::with_anchors();
    desk.done("keys new a.key");
    desk.done("keys new b.key");
    let next = "keys anchors --vendor example.com --edition 2 --root a.key --root b.pub --threshold root=2 \
                --author author.pub --distributor distributor.pub --replacing anchors.cose --out next.cose";
    let signed = desk.json(next);
    assert_eq!((&signed["missing"]["own"], &signed["missing"]["replaced"]), (&1.into(), &1.into()));
    let both = desk
        .json("keys sign-anchors next.cose --key b.key --key b.key --replacing anchors.cose --out both.cose");
    assert_eq!((&both["missing"]["own"], &both["missing"]["replaced"]), (&0.into(), &1.into()));
    let all = desk.json("keys sign-anchors both.cose --key root.key --replacing anchors.cose --out all.cose");
    assert_eq!((&all["missing"]["own"], &all["missing"]["replaced"]), (&0.into(), &0.into()));
    let old = desk.file("anchors.cose");
    let old = Anchors::initial(&old).expect("the first anchors");
    assert!(Anchors::replacing(&desk.file("all.cose"), &old).is_ok());
    assert!(Anchors::replacing(&desk.file("both.cose"), &old).is_err());
    assert!(Anchors::initial(&desk.file("next.cose")).is_err());
}

#[test]
fn anchors_of_a_lower_edition_or_another_vendor_replace_nothing() {
    let desk = Desk::with_anchors();
    let again = ANCHORS.replace("anchors.cose", "b.cose");
    let said = desk.refused(&format!("{again} --replacing anchors.cose"));
    assert!(said.contains("higher --edition"), "{said}");
    let other = again.replace("example.com", "other.example");
    let said = desk.refused(&format!("{other} --edition 2 --replacing anchors.cose"));
    assert!(said.contains("vendor"), "{said}");
    let said = desk.refused(&format!("{again} --threshold boss=2"));
    assert!(said.contains("root, author or distributor"), "{said}");
    desk.refused(&format!("{again} --threshold 0"));
    let said = desk.refused(&again.replace("root.key", "root.pub"));
    assert!(said.contains("nobody signs"), "{said}");
}

#[test]
fn altered_anchors_are_not_signed() {
    let desk = Desk::with_anchors();
    let mut altered = desk.file("anchors.cose");
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    desk.put("altered.cose", altered);
    desk.refused("keys sign-anchors altered.cose --key root.key --out b.cose");
    assert!(!desk.has("b.cose"));
}

#[test]
fn author_who_is_the_distributor_too_is_refused() {
    let desk = Desk::with_anchors();
    let same = ANCHORS.replace("distributor.pub", "author.pub").replace("anchors.cose", "b.cose");
    let said = desk.refused(&same);
    assert!(said.contains("stolen server"), "{said}");
}

#[test]
fn manifest_that_has_expired_already_is_not_made() {
    let desk = Desk::new();
    desk.put("lamp.bin", "lamp");
    let make = "manifest make --vendor example.com --sequence 2 --image lamp=lamp.bin --out f.suit";
    let said = desk.refused(&format!("{make} --use-before 1000"));
    assert!(said.contains("past"), "{said}");
}

#[test]
fn command_for_the_server_says_how_to_reach_one() {
    let desk = Desk::with_anchors();
    let said = desk.refused("keys trust anchors.cose");
    assert!(said.contains("--server"), "{said}");
    desk.put("token", "t");
    // Port 1 of the loopback: nothing listens there.
    let said = desk.refused("--server http://127.0.0.1:1 --token-file token keys trust anchors.cose");
    assert!(said.contains("bellwether-server"), "{said}");
}

/// Twelve bytes at 0x08000000, as a toolchain writes them.
const HEX: &str = ":020000040800F2\n:0C00000048656C6C6F2C206C616D7021E9\n:00000001FF\n";

#[test]
fn hex_file_is_shown_and_extracted_as_the_image_that_flash_gets() {
    let desk = Desk::new();
    desk.put("lamp.hex", HEX);
    let shown = desk.json("image show lamp.hex");
    assert_eq!((&shown["format"], &shown["size"]), (&"Intel HEX".into(), &12.into()));
    assert_eq!(shown["address"], 0x0800_0000);
    assert_eq!(shown["digest"], hex::encode(Sha256::digest("Hello, lamp!")));
    desk.done("image extract lamp.hex lamp.bin");
    assert_eq!(desk.file("lamp.bin"), b"Hello, lamp!");
    assert_eq!(desk.run("image extract lamp.hex -").stdout, b"Hello, lamp!");
    assert!(desk.refused("image extract lamp.hex lamp.bin").contains("not overwritten"));
}

#[test]
fn manifest_of_a_hex_file_has_the_digest_of_its_image_unless_the_file_itself_is_meant() {
    let desk = Desk::new();
    desk.put("lamp.hex", HEX);
    let command = "manifest make --vendor example.com --sequence 2 --image lamp=lamp.hex";
    let made = desk.json(&format!("{command} --out image.suit"));
    assert_eq!(made["images"][0]["digest"], hex::encode(Sha256::digest("Hello, lamp!")));
    let made = desk.json(&format!("{command} --as flat --out file.suit"));
    assert_eq!(made["images"][0]["digest"], hex::encode(Sha256::digest(HEX)));
}

#[test]
fn broken_hex_file_is_refused_with_its_line_and_what_can_be_done() {
    let desk = Desk::new();
    desk.put("lamp.hex", HEX.replace("21E9", "21F4"));
    let said = desk.refused("image show lamp.hex");
    assert!(
        said.contains("lamp.hex: line 2") && said.contains("checksum") && said.contains("--as flat"),
        "{said}"
    );
    desk.put("cut.hex", &HEX[..HEX.len() - 13]);
    assert!(desk.refused("image extract cut.hex cut.bin").contains("cut off"));
    assert!(!desk.has("cut.bin"));
}

#[test]
fn region_of_a_hex_file_is_asked_for_where_there_are_several() {
    let desk = Desk::new();
    let options = ":020000041000EA\n:0110000055 9A\n:00000001FF\n".replace(' ', "");
    desk.put("lamp.hex", HEX.replace(":00000001FF\n", &options));
    let said = desk.refused("image show lamp.hex");
    assert!(
        said.contains("12 bytes from 0x08000000, 1 bytes from 0x10001000") && said.contains("--region"),
        "{said}"
    );
    assert_eq!(desk.json("image show lamp.hex --region 0x10001000")["size"], 1);
}

#[test]
fn earlier_images_are_signed_again_under_a_higher_number() {
    let desk = Desk::with_anchors();
    std::fs::write(desk.folder.path().join("lamp.bin"), b"lamp").expect("written");
    std::fs::write(desk.folder.path().join("radio.bin"), b"radio").expect("written");
    desk.done(
        "manifest make --vendor example.com --sequence 2 --image lamp=lamp.bin:1.2-rc.3 \
         --image lamp/radio=radio.bin:7 --priority 4 --out old.suit",
    );
    desk.done("manifest sign old.suit --key author.key --out old.signed.suit");
    let back = "release return old.signed.suit --key author.key --out back.suit --sequence";
    let said = desk.refused(&format!("{back} 2"));
    assert!(said.contains("--sequence must be above 2"), "{said}");
    desk.done(&format!("{back} 9"));
    let old = desk.json("manifest show old.signed.suit");
    let new = desk.json("manifest show back.suit");
    for same in ["components", "images", "asked", "request_identifier", "version", "signers"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    assert_eq!(new["sequence_number"], 9);
    assert_eq!(new["reference_uri"], "https://example.com/manifests/9");
    assert_ne!(old["digest"], new["digest"]);

    desk.done("manifest make --vendor example.com --sequence 3 --image lamp=lamp.bin:2.0 --out one.suit");
    let nobodys = desk.refused("release return one.suit --key author.key --out again.suit --sequence 4");
    assert!(nobodys.contains("is not signed by the key in author.key"), "{nobodys}");
    desk.done("manifest sign one.suit --key author.key --out one.signed.suit");
    desk.done("release return one.signed.suit --key author.key --out again.suit --sequence 4");
    let verified = desk.json("manifest show again.suit --anchors anchors.cose");
    assert_eq!(verified["verified"], true);
    let other = desk.refused("release return lamp.bin --key author.key --out x.suit --sequence 9");
    assert!(other.contains("lamp.bin"), "{other}");
}
