//! Drives `bellwether delta` and what scripts do with it: files, pipes, and everything that can be wrong.

#![expect(clippy::expect_used, reason = "a test stops at the first thing that is not as it must be")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A folder with two versions of a made-up image and the patch between them.
struct Desk {
    folder: tempfile::TempDir,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let old: Vec<u8> = (0..600_u32).flat_map(|number| Sha256::digest(number.to_be_bytes())).collect();
        let mut new = old.clone();
        new.splice(5000..5000, *b"a few bytes that are new");
        new.iter_mut().step_by(997).for_each(|byte| *byte ^= 0x5a);
        let desk = Self { folder, old, new };
        desk.put("old.bin", &desk.old);
        desk.put("new.bin", &desk.new);
        desk
    }

    fn with_patch() -> Self {
        let desk = Self::new();
        desk.done("delta make old.bin new.bin lamp.patch");
        desk
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bellwether"));
        command.args(arguments.split_whitespace()).current_dir(self.folder.path()).env_clear();
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("the command runs")
    }

    /// Runs a command with something on its standard input.
    fn piped(&self, arguments: &str, input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        child.stdin.take().expect("piped").write_all(input).expect("the command reads");
        child.wait_with_output().expect("it ends")
    }

    fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.done(&format!("--json {arguments}"))).expect("JSON")
    }

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

    /// Says whether a name is there, or anything that a half-done command would leave.
    fn has(&self, name: &str) -> bool {
        let entries = std::fs::read_dir(self.folder.path()).expect("the folder");
        let mut names = entries.map(|entry| entry.expect("an entry").file_name());
        let has_draft = names.any(|name| name.to_string_lossy().starts_with('.'));
        has_draft || Path::exists(&self.folder.path().join(name))
    }
}

#[test]
fn patch_of_every_profile_makes_the_new_image() {
    let desk = Desk::new();
    for kib in [4, 8, 16] {
        let made = desk.json(&format!("delta make --profile {kib} old.bin new.bin {kib}.patch"));
        assert_eq!(made["patch_size"], desk.file(&format!("{kib}.patch")).len());
        assert!(made["percent"].as_f64().expect("a number") < 5.0, "{made}");
        assert!(made["state_bytes"].as_u64().expect("a number") <= kib * 1024, "{made}");
        let applied = desk.json(&format!("delta apply old.bin {kib}.patch {kib}.bin"));
        assert_eq!(applied["digest"], hex::encode(Sha256::digest(&desk.new)));
        assert_eq!(desk.file(&format!("{kib}.bin")), desk.new);
    }
}

#[test]
fn same_images_give_the_same_patch() {
    let desk = Desk::with_patch();
    desk.done("delta make old.bin new.bin again.patch");
    assert_eq!(desk.file("again.patch"), desk.file("lamp.patch"));
}

#[test]
fn patch_and_images_go_through_pipes() {
    let desk = Desk::new();
    let patch = desk.piped("delta make - new.bin -", &desk.old);
    assert!(patch.status.success(), "{}", String::from_utf8_lossy(&patch.stderr));
    let new = desk.piped("delta apply old.bin - -", &patch.stdout);
    assert_eq!(new.stdout, desk.new);
    let said = desk.refused("delta apply - - new-again.bin");
    assert!(said.contains("only one file"), "{said}");
}

#[test]
fn wrong_base_is_refused_with_both_digests_and_nothing_is_written() {
    let desk = Desk::with_patch();
    let said = desk.refused("delta apply new.bin lamp.patch out.bin");
    let digest = |image: &[u8]| hex::encode(Sha256::digest(image))[..16].to_owned();
    assert!(said.starts_with("new.bin: is not the image"), "{said}");
    assert!(said.contains(&digest(&desk.new)) && said.contains(&digest(&desk.old)), "{said}");
    assert!(!desk.has("out.bin"));
    desk.put("shorter.bin", &desk.old[..desk.old.len() - 1]);
    assert!(desk.refused("delta apply shorter.bin lamp.patch out.bin").contains("is not the image"));
    assert!(!desk.has("out.bin"));
}

#[test]
fn what_stands_behind_the_base_in_its_file_is_no_matter() {
    let desk = Desk::with_patch();
    desk.put("longer.bin", [&desk.old[..], b"x"].concat());
    desk.done("delta apply longer.bin lamp.patch out.bin");
    assert_eq!(desk.file("out.bin"), desk.new);
}

#[test]
fn cut_patch_is_refused_wherever_it_is_cut() {
    let desk = Desk::with_patch();
    let patch = desk.file("lamp.patch");
    for length in [0, 1, 10, 20, 30, patch.len() / 2, patch.len() - 1] {
        desk.put("cut.patch", &patch[..length]);
        let said = desk.refused("delta apply old.bin cut.patch out.bin");
        assert!(said.starts_with("cut.patch: ") && said.contains("fetch it again"), "{length}: {said}");
        assert!(!desk.has("out.bin"), "{length}");
    }
}

#[test]
fn altered_patch_is_refused_unless_it_says_the_same() {
    let desk = Desk::with_patch();
    let patch = desk.file("lamp.patch");
    let mut refused = 0;
    for at in (0..patch.len()).step_by(patch.len().div_ceil(24)) {
        let mut altered = patch.clone();
        altered[at] ^= 0x40;
        desk.put("altered.patch", &altered);
        let output = desk.run("delta apply old.bin altered.patch -");
        refused += u32::from(!output.status.success());
        // The coder's last bytes can often be read in several ways.
        let expected: &[u8] = if output.status.success() { &desk.new } else { &[] };
        assert!(output.stdout == expected, "{at}");
    }
    assert!(refused >= 12, "{refused}");
    desk.put("altered.patch", [&patch[..], b"more than the coder reads ahead"].concat());
    desk.refused("delta apply old.bin altered.patch out.bin");
    assert!(!desk.has("out.bin"));
}

#[test]
fn file_that_is_no_patch_is_refused() {
    let desk = Desk::new();
    let said = desk.refused("delta apply old.bin new.bin out.bin");
    assert!(said.starts_with("new.bin: ") && !desk.has("out.bin"), "{said}");
    assert!(desk.refused("delta show new.bin").starts_with("new.bin: "));
}

#[test]
fn image_that_is_there_already_is_not_overwritten() {
    let desk = Desk::with_patch();
    let said = desk.refused("delta apply old.bin lamp.patch new.bin");
    assert!(said.contains("not overwritten"), "{said}");
    assert_eq!(desk.file("new.bin"), desk.new);
    assert!(desk.refused("delta make old.bin new.bin lamp.patch").contains("not overwritten"));
}

#[test]
fn shown_bytes_of_a_patch_add_up_to_its_size() {
    let desk = Desk::with_patch();
    let plain = desk.json("delta show lamp.patch");
    assert_eq!((&plain["old_size"], &plain["new_size"]), (&desk.old.len().into(), &desk.new.len().into()));
    assert_eq!(plain["new_digest"], hex::encode(&Sha256::digest(&desk.new)[..8]));
    assert_eq!(plain["bytes"], Value::Null);
    let shown = desk.json("delta show lamp.patch --base old.bin");
    let spent = shown["bytes"].as_array().expect("a list").iter();
    let sum: f64 = spent.map(|one| one["bytes"].as_f64().expect("a number")).sum();
    let size = shown["patch_size"].as_f64().expect("a number");
    assert!((sum - size).abs() <= 4.0, "{sum} of {size}");
    assert!(desk.done("delta show lamp.patch --base old.bin").contains("bytes that are new"));
    assert!(desk.refused("delta show lamp.patch --base new.bin").contains("is not the image"));
}

#[test]
fn patch_between_hex_files_is_the_one_between_their_images() {
    let desk = Desk::with_patch();
    for name in ["old", "new"] {
        let image = desk.file(&format!("{name}.bin"));
        desk.put(&format!("{name}.hex"), hex_file(&image));
    }
    desk.done("delta make old.hex new.hex hex.patch");
    assert_eq!(desk.file("hex.patch"), desk.file("lamp.patch"));
    desk.done("delta apply old.hex hex.patch out.bin");
    assert_eq!(desk.file("out.bin"), desk.new);
}

fn hex_file(image: &[u8]) -> String {
    let mut text = String::new();
    for (index, piece) in image.chunks(16).enumerate() {
        let at = u16::try_from(index * 16).expect("below 64 KiB");
        let [high, low] = at.to_be_bytes();
        let count = u8::try_from(piece.len()).expect("at most 16");
        let bytes = [&[count, high, low, 0], piece].concat();
        let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        text += &[":", &hex::encode(&bytes), &hex::encode([sum.wrapping_neg()]), "\n"].concat();
    }
    text + ":00000001FF\n"
}

#[test]
fn empty_and_equal_images_have_patches_too() {
    let desk = Desk::new();
    desk.put("empty.bin", []);
    for (old, new) in [("empty", "new"), ("old", "empty"), ("empty", "empty"), ("new", "new")] {
        let patch = format!("{old}-{new}.patch");
        desk.done(&format!("delta make {old}.bin {new}.bin {patch}"));
        desk.done(&format!("delta apply {old}.bin {patch} {old}-{new}.bin"));
        assert_eq!(desk.file(&format!("{old}-{new}.bin")), desk.file(&format!("{new}.bin")));
    }
}

#[test]
fn patch_for_one_slot_is_made_applied_and_shown() {
    let desk = Desk::new();
    desk.done("delta make --in-place 4 --page-size 512 old.bin new.bin lamp.patch");
    desk.done("delta apply old.bin lamp.patch again.bin");
    assert_eq!(desk.file("again.bin"), desk.new);
    let shown = desk.json("delta show lamp.patch --base old.bin");
    assert_eq!(shown["in_place"]["spare_pages"], 4);
    assert_eq!(shown["in_place"]["page_bytes"], 512);
    assert!(desk.done("delta show lamp.patch").contains("one slot and 4 spare pages of 512"));
    let refused = desk.refused("delta make --in-place 4 --page-size 1000 old.bin new.bin other.patch");
    assert!(refused.contains("power of two"), "{refused}");
    assert!(desk.refused("delta make --in-place 0 old.bin new.bin other.patch").contains("--in-place"));
}

#[test]
fn patches_are_merged_without_the_image_between_them() {
    let desk = Desk::with_patch();
    let mut third = desk.new.clone();
    third.splice(9000..9100, *b"and what the third version has");
    desk.put("third.bin", &third);
    desk.done("delta make new.bin third.bin second.patch");
    desk.done("delta merge --images old.bin lamp.patch second.patch both.patch");
    desk.done("delta apply old.bin both.patch again.bin");
    assert_eq!(desk.file("again.bin"), third);
    desk.done("delta make old.bin third.bin direct.patch");
    assert!(desk.file("both.patch").len() <= desk.file("direct.patch").len());

    // Changes say everything without any image.
    desk.done("delta merge --images old.bin --change lamp.patch 1.change");
    desk.done("delta merge --images new.bin --change second.patch 2.change");
    let merged = desk.json("delta merge 1.change 2.change 1-2.change");
    assert_eq!(merged["is_change"], true);
    desk.done("delta merge --images old.bin 1-2.change change.patch");
    assert_eq!(desk.file("change.patch"), desk.file("both.patch"));

    assert!(desk.refused("delta merge lamp.patch second.patch no.patch").contains("--images OLD"));
    assert!(desk.refused("delta merge 2.change 1.change no.change").contains("does not start from"));
    assert!(!desk.has("no.patch") && !desk.has("no.change"));
}

#[test]
fn bench_prints_every_profile_and_mode() {
    let desk = Desk::new();
    desk.put("pairs.tsv", "pair\tkind\told\tnew\nlamp\tminor\told.bin\tnew.bin\n");
    let measured = desk.json("delta bench .");
    let rows = measured["rows"].as_array().expect("rows");
    assert_eq!((rows.len(), measured["means"].as_array().map(Vec::len)), (5, Some(5)));
    assert!(rows.iter().all(|row| row["patch_size"].as_u64().is_some_and(|size| size > 0)));
    assert!(desk.done("delta bench old.bin new.bin").contains("16 KiB"));
    desk.put("pairs.tsv", "old\tnew\n");
    assert!(desk.refused("delta bench .").contains("column pair"));
}

#[test]
fn interrupted_work_leaves_no_file() {
    let desk = Desk::new();
    let image: Vec<u8> =
        (0..200_000_u32).flat_map(|at| (at.wrapping_mul(0x9e37_79b1) >> 5).to_le_bytes()).collect();
    desk.put("old.bin", &image);
    desk.put("new.bin", image.iter().rev().copied().collect::<Vec<u8>>());
    let before = std::fs::read_dir(desk.folder.path()).expect("a folder").count();
    let mut child = desk.command("delta make old.bin new.bin slow.patch").spawn().expect("the command runs");
    // Not -INT: whoever runs the tests in the background of a shell has that one ignored.
    let signalled =
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(signalled.success() && !child.wait().expect("it ends").success());
    assert_eq!(std::fs::read_dir(desk.folder.path()).expect("a folder").count(), before);
}
