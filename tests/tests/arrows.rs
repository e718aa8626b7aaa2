//! Holds the dependencies between our crates against the table in ARCHITECTURE.md.

#![expect(clippy::expect_used, reason = "a test stops at the first thing that is not as it must be")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is one level up")
}

/// Reads the block fenced as `arrows`: `crate ► what it may depend on`.
fn allowed() -> Arrows {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let block =
        text.split("```arrows\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the arrows block");
    block
        .lines()
        .map(|line| {
            let (from, to) = line.split_once('►').expect("an arrow in every line");
            (from.trim().to_owned(), to.split_whitespace().map(str::to_owned).collect())
        })
        .collect()
}

/// What the manifests of our crates really say; development dependencies reach no user and don't count.
fn actual() -> Arrows {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let ours: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let arrows = |package: &cargo_metadata::Package| {
        package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .filter(|dependency| ours.contains(&dependency.name))
            .map(|dependency| dependency.name.clone())
            .collect()
    };
    metadata.packages.iter().map(|package| (package.name.to_string(), arrows(package))).collect()
}

#[test]
fn every_crate_stands_in_the_table() {
    let (allowed, actual) = (allowed(), actual());
    assert_eq!(allowed.keys().collect::<Vec<_>>(), actual.keys().collect::<Vec<_>>());
}

#[test]
fn no_crate_depends_on_more_than_the_table_allows() {
    let allowed = allowed();
    for (from, to) in actual() {
        let may = &allowed[&from];
        if may.contains("anything") {
            continue;
        }
        let extra: Vec<_> = to.difference(may).collect();
        assert!(extra.is_empty(), "{from} must not depend on {extra:?}");
    }
}

#[test]
fn nothing_depends_on_demo_bench_or_tests() {
    for (from, to) in actual() {
        for end in ["bellwether-demo", "bellwether-bench", "bellwether-tests"] {
            // The bench measures what loss costs in the world of the tests, and these flash the board as the demo does.
            let shown = [("bellwether-bench", "bellwether-tests"), ("bellwether-tests", "bellwether-demo")];
            assert!(
                shown.contains(&(from.as_str(), end)) || !to.contains(end),
                "{from} must not depend on {end}"
            );
        }
    }
}

/// Everything that a crate is linked with, however far away.
fn linked_with(name: &str) -> BTreeSet<String> {
    let metadata =
        MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().expect("cargo metadata");
    let graph = metadata.resolve.as_ref().expect("the dependency graph");
    let start = metadata.packages.iter().find(|package| package.name.as_str() == name).expect("the crate");
    let (mut found, mut left) = (BTreeSet::new(), vec![start.id.clone()]);
    while let Some(id) = left.pop() {
        let node = graph.nodes.iter().find(|node| node.id == id).expect("a node of every package");
        let linked = node
            .deps
            .iter()
            .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
        left.extend(linked.map(|dependency| dependency.pkg.clone()).filter(|id| found.insert(id.clone())));
    }
    found.iter().map(|id| metadata[id].name.to_string()).collect()
}

#[test]
fn no_key_code_and_no_ledger_is_linked_into_the_gateway() {
    let linked = linked_with("bellwether-gateway");
    assert!(linked.contains("bellwether-manifests") && linked.contains("mbedtls-rs-sys"), "{linked:?}");
    for code in ["bellwether-keys", "bellwether-store", "bellwether-agent", "bellwether-server", "sqlx"] {
        assert!(!linked.contains(code), "{code} is linked into the gateway");
    }
}

#[test]
fn sql_sockets_and_seeds_stay_in_their_rooms() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let rooms =
        [("sqlx", "bellwether-store"), ("mbedtls-rs-sys", "bellwether-net"), ("hkdf", "bellwether-keys")];
    for package in &metadata.packages {
        for (library, room) in rooms {
            let uses = package.dependencies.iter().any(|dependency| {
                dependency.name == library && dependency.kind != DependencyKind::Development
            });
            assert!(
                !uses || package.name.as_str() == room,
                "{} must not use {library}: only {room}",
                package.name
            );
        }
    }
}
