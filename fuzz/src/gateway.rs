//! What a gateway keeps and reads: files of its data folder, requests, bundles behind a right signature.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use bellwether_gateway::children::Family;
use bellwether_gateway::counters::Counters;
use bellwether_gateway::held::{HeldBundle, HeldGrant};
use bellwether_gateway::notes::Notes;
use bellwether_gateway::outbox::{KeptReport, Outbox};
use bellwether_gateway::question::Question;
use bellwether_manifests::anchors::{Anchors, AnchorsDraft, RoleDraft, RoleName};
use bellwether_manifests::author::{ClassImage, ManifestDraft};
use bellwether_manifests::cbor::{Reader, to_vec};
use bellwether_manifests::cose::{PrivateKey, sign1};
use bellwether_manifests::link::Children;
use bellwether_manifests::message::bundle::Name;
use bellwether_manifests::message::{Bundle, List, Policy, Skipped, Window, word};
use bellwether_net::PskTable;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::input::Input;
use crate::{message, vector};

thread_local! {
    /// One data folder for each thread; a file in it is replaced by each input.
    static FOLDER: TempDir = tempfile::tempdir().expect("a folder");
}

fn path(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

/// Writes the one file of a folder.
fn only(folder: &str, name: &str, bytes: &[u8]) -> PathBuf {
    let folder = path(folder);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(name), bytes).expect("a file");
    folder
}

/// A file of the data folder holds anything: it is read or left alone, and the gateway starts.
pub(crate) fn kept(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 4 {
        0 => note(bytes),
        1 => report(bytes),
        2 => receipt(bytes),
        _ => children(bytes),
    }
}

fn note(bytes: &[u8]) {
    let id = second_text(bytes).unwrap_or_default();
    let name = hex::encode(&Sha256::digest(id.as_bytes())[..16]);
    let folder = only("notes", &name, bytes);
    let open = || Notes::open(&folder, Arc::<Counters>::default()).expect("a damaged note is begun anew");
    open().spend(&id, 5);
    assert!(open().is_spent(&id, 5), "what is noted is there after a restart");
}

/// The second element of an array, where it is a text.
fn second_text(bytes: &[u8]) -> Option<String> {
    let mut reader = Reader::new(bytes);
    reader.array().ok()?;
    reader.item().ok()?;
    reader.text().map(str::to_owned).ok()
}

fn report(bytes: &[u8]) {
    let folder = path("outbox");
    only("outbox/reports", "0000000000000007", bytes);
    only("outbox/receipts", "none", b"");
    let outbox = Outbox::open(&folder).expect("a damaged report is left alone");
    let (reports, receipts) = outbox.len();
    assert!(reports <= 1 && receipts == 0);
    let new = KeptReport {
        digest: [9; 32],
        child: "lamp-1".into(),
        path: vec!["r".into()],
        query: Vec::new(),
        report: b"report".to_vec(),
    };
    let is_new = !outbox.is_kept(&new.digest);
    outbox.keep(new.clone()).expect("room");
    let again = Outbox::open(&folder).expect("as before");
    assert_eq!(again.len().0, reports + usize::from(is_new), "a kept report puts none out");
    assert!(again.is_kept(&new.digest));
}

fn receipt(bytes: &[u8]) {
    let folder = path("outbox");
    let digest = [0xab; 32];
    only("outbox/reports", "none", b"");
    only("outbox/receipts", &"ab".repeat(32), bytes);
    let outbox = Outbox::open(&folder).expect("a damaged receipt is left alone");
    let found = outbox.receipt(&digest);
    assert_eq!(found.is_some(), outbox.len().1 == 1);
    outbox.expire(1_700_000_000);
}

fn children(bytes: &[u8]) {
    let file = only("family", "children", bytes).join("children");
    let table = Arc::<PskTable>::default();
    if let Ok(family) = Family::open(&file, Arc::clone(&table)) {
        let listed = Children::decode(bytes).expect("it was read");
        assert!(family.len() <= listed.children.len());
        assert!(listed.children.iter().all(|child| family.has(child.endpoint)));
        family.take(bytes).expect("it was read before");
    }
}

pub(crate) fn kept_seeds() -> Vec<Vec<u8>> {
    let grants = vector::files("manifests/tests/vectors/update", "grant", ".mac0");
    let (_, held) = HeldGrant::read(&grants[0]).expect("a grant");
    let folder = only("seed", "none", b"");
    let notes = Notes::open(&folder, Arc::<Counters>::default()).expect("a folder");
    for grant in &grants {
        if let Some((key, held)) = HeldGrant::read(grant) {
            notes.keep_grant(&key, &held);
            notes.note_asked(&key.id, &key.manifest);
            notes.spend(&key.id, held.number + 1);
        }
    }
    let outbox = Outbox::open(&path("seedbox")).expect("a folder");
    let reports = vector::update("report");
    for (number, bytes) in (0_u8..).zip(&reports) {
        let kept = KeptReport {
            digest: [number; 32],
            child: format!("lamp-{number}"),
            path: vec!["r".into()],
            query: vec!["a=b".into()],
            report: bytes.clone(),
        };
        outbox.keep(kept).expect("room");
    }
    outbox.settle(&[0; 32], Some(&held.message[..100]), 1_600_000_000);
    let mut seeds = Vec::new();
    for (kind, folder) in [(0, folder), (1, path("seedbox/reports")), (2, path("seedbox/receipts"))] {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
            seeds.push([&[kind][..], &bytes].concat());
        }
    }
    seeds.extend(message::children_seeds().into_iter().map(|list| [&[3][..], &list].concat()));
    seeds
}

fn key(n: u8) -> PrivateKey {
    PrivateKey::from_random(&[n; 32]).expect("a key")
}

/// Anchors under which every key of this file counts.
static ANCHORS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let role = |name, n: u8, components| RoleDraft {
        name,
        threshold: 1,
        keys: vec![key(n).public()],
        components,
        algorithms: vec![-9],
    };
    let roles = vec![
        role(RoleName::Root, 1, vec![]),
        role(RoleName::Author, 2, vec![vec![b"app".to_vec()]]),
        role(RoleName::Distributor, 3, vec![]),
    ];
    let draft = AnchorsDraft { edition: 1, issued: 1_600_000_000, vendor: [7; 16], roles };
    draft.sign(&[key(1)]).expect("anchors")
});

static DISTRIBUTOR: LazyLock<PrivateKey> = LazyLock::new(|| key(3));

/// Any bundle that a distributor signed, and any request that comes to its gateway.
pub(crate) fn bundle(data: &[u8]) {
    let mut input = Input::new(data);
    let question = Question::read(input.counted()).ok();
    let payload = input.rest();
    let anchors = Anchors::verified_before(&ANCHORS).expect("it was made above");
    let message = sign1(payload, &[word::BUNDLE], &DISTRIBUTOR);
    let Ok(held) = HeldBundle::read(&message, &anchors) else { return };
    assert!(held.grants() <= held.names.len());
    assert!(held.descriptors.values().all(|descriptor| descriptor.manifest == held.manifest));
    let read = Bundle::decode(payload).expect("it was read");
    for (key, grant) in read.grants.iter().filter_map(HeldGrant::read) {
        if let Some(found) = held.grant(&key, 0) {
            assert!(found.number > 0 || key.manifest == held.manifest);
            assert_eq!(
                held.grant_numbered(&key.id, grant.number, 0).map(|grant| grant.number),
                Some(grant.number)
            );
        }
    }
    if let Some(question) = question {
        let grant = held.grant(&question.key, 0);
        let _ =
            grant.and_then(|grant| question.answer(grant, held.descriptors.get(&question.key.selector), 0));
    }
}

pub(crate) fn bundle_seeds() -> Vec<Vec<u8>> {
    let class = ClassImage { class: [2; 16], digest: [3; 32], size: 40_000, version: Some(vec![1, 2]) };
    let envelope = ManifestDraft::new(5, [7; 16], vec![class], "coaps://server/m".into())
        .sign(&key(2))
        .expect("a manifest");
    let (windows, push) = ([Window { start_s: 3600, duration_s: 600, weekdays: 0x7f }], [Name("lamp-1")]);
    let grants = vector::files("manifests/tests/vectors/update", "grant", ".mac0");
    let grants: Vec<&[u8]> = grants.iter().map(Vec::as_slice).collect();
    let descriptors = vector::files("manifests/tests/vectors/update", "descriptor", ".sign1");
    let descriptors: Vec<&[u8]> = descriptors.iter().map(Vec::as_slice).collect();
    let policy = Policy {
        bytes_per_s: Some(1000),
        devices_at_a_time: Some(2),
        windows: Some(List::new(&windows)),
        push: Some(List::new(&push)),
        skipped: Skipped::NONE,
    };
    let bundle = |envelope: &[u8]| {
        let bundle = Bundle {
            edition: 1,
            campaign: "7",
            envelope,
            descriptors: List::new(&descriptors),
            grants: List::new(&grants),
            policy,
            not_after: 4_000_000_000,
        };
        to_vec(&bundle).expect("in its bounds")
    };
    let requests = vector::files("manifests/tests/vectors/update", "request", ".mac0");
    let mut seeds: Vec<Vec<u8>> = vector::update("bundle");
    seeds.push(bundle(&envelope));
    seeds
        .iter()
        .zip(&requests)
        .map(|(bundle, request)| [crate::input::counted(request), bundle.clone()].concat())
        .collect()
}
