//! Backups: any tar file, and any entries behind right checksums.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bellwether_server::backup::unpack;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::input::{Input, counted};

thread_local! {
    /// One folder for each thread; a backup in it and what is unpacked are replaced by each input.
    static FOLDER: TempDir = tempfile::tempdir().expect("a folder");
}

/// A backup is unpacked into its folder alone, its own files alone, no longer than it is itself; and what is said to
/// be whole is.
pub(crate) fn backup(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let tar = if how & 1 == 0 { rest.to_vec() } else { tar_of(rest, how & 2 == 0) };
    let folder = FOLDER.with(|folder| folder.path().to_owned());
    let (file, into) = (folder.join("backup.tar"), folder.join("into"));
    let _ = std::fs::remove_dir_all(&into);
    std::fs::create_dir(&into).expect("a folder");
    std::fs::write(&file, &tar).expect("a file");
    let read = unpack(&file, &into);
    let found = files(&into);
    let bytes: usize = found.values().map(Vec::len).sum();
    assert!(bytes <= tar.len(), "{bytes} bytes of {}", tar.len());
    for path in found.keys() {
        let name = path.strip_prefix(&into).expect("inside").to_str().expect("text");
        let is_image = name.starts_with("images/") && name.len() == "images/ab/".len() + 64;
        assert!(is_image || ["bellwether.db", "http.token", "mqtt.json"].contains(&name), "{name:?}");
    }
    let beside = std::fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(beside, 2, "nothing is written beside the folder");
    // Whole, but not yet to be believed: the seal is opened later.
    if read.is_ok() {
        assert!(found.contains_key(&into.join("bellwether.db")));
        for (path, bytes) in found.iter().filter(|(path, _)| path.starts_with(into.join("images"))) {
            assert!(path.ends_with(hex::encode(Sha256::digest(bytes))), "an image is its digest");
        }
    }
}

/// Reads all files below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("a kind");
        assert!(!kind.is_symlink(), "a link");
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path(), std::fs::read(entry.path()).expect("a file"));
        }
    }
    found
}

/// Entries with right checksums: of a name and kind of the input's; and at the end what is in it, said right if
/// `is_told`.
fn tar_of(data: &[u8], is_told: bool) -> Vec<u8> {
    let (mut input, mut tar, mut told) = (Input::new(data), Vec::new(), serde_json::Map::new());
    for _ in 0..ENTRIES_MAX {
        if input.is_empty() {
            break;
        }
        let (kind, name, content) = (input.byte(), name(&mut input), input.counted());
        told.insert(
            String::from_utf8_lossy(&name).into_owned(),
            json!({"bytes": content.len(), "sha256": hex::encode(Sha256::digest(content))}),
        );
        append(&mut tar, if kind == 0 { b'0' } else { kind }, &name, content);
    }
    if is_told {
        let contents = json!({
            "format": 2, "made_at": 5, "server": "1", "schema": 7, "files": told, "missing": [],
        });
        append(&mut tar, b'0', b"backup.json", contents.to_string().as_bytes());
        append(&mut tar, b'0', b"backup.seal", b"sealed");
    }
    tar.resize(tar.len() + 1_024, 0);
    tar
}

/// A name of a backup's file, that of an image with some content, or anything.
fn name(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() {
        0 => b"bellwether.db".to_vec(),
        1 => b"http.token".to_vec(),
        2 => {
            let digest = hex::encode(Sha256::digest([input.byte()]));
            format!("images/{}/{digest}", &digest[..2]).into_bytes()
        }
        _ => input.counted().to_vec(),
    }
}

/// Adds an entry of POSIX's form, padded to whole blocks of 512 bytes.
fn append(tar: &mut Vec<u8>, kind: u8, name: &[u8], content: &[u8]) {
    let mut header = [0; 512];
    let length = name.len().min(100);
    header[..length].copy_from_slice(&name[..length]);
    header[100..108].copy_from_slice(b"0000600\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar  \0");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

pub(crate) fn backup_seeds() -> Vec<Vec<u8>> {
    let entry = |kind: u8, name: &[u8], content: &[u8]| [&[kind], name, &counted(content)].concat();
    let named = |name: &[u8]| [&[3][..], &counted(name)].concat();
    let (database, image) = (entry(0, &[0], b"rows"), entry(0, &[2, 7], &[7]));
    let whole = [database.clone(), entry(0, &[1], b"token"), image].concat();
    let above = [database.clone(), entry(0, &named(b"../master.key"), b"key")].concat();
    let link = entry(b'2', &named(b"images"), b"");
    let sparse = entry(b'S', &[0], b"");
    let long = [entry(b'L', &named(b"././@LongLink"), b"images/../../x"), database.clone()].concat();
    let extended =
        [entry(b'x', &named(b"pax"), b"18 path=http.token\n19 size=99999999999\n"), database].concat();
    let mut seeds = vec![[&[0][..], &tar_of(&whole, true)].concat()];
    for entries in [whole, above, link, sparse, long, extended] {
        seeds.push([&[1][..], &entries].concat());
        seeds.push([&[3][..], &entries].concat());
    }
    seeds
}

/// Entries of a run.
const ENTRIES_MAX: usize = 8;
